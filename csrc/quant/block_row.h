#pragma once
/// Loops over the blocks of a row. Blocks are copied in and out: a file aligns them to 2 bytes
/// only.

#include <bit>
#include <cstdint>
#include <cstring>

namespace plrt {

static_assert(std::endian::native == std::endian::little, "blocks are little-endian in memory");

template <class Block, int N, void (*Decode)(const Block&, float*)>
void decode_row(const void* blocks, float* out, int64_t n) {
    const auto* source = static_cast<const uint8_t*>(blocks);
    for (int64_t i = 0; i < n; i += N, source += sizeof(Block)) {
        Block block;
        std::memcpy(&block, source, sizeof(Block));
        Decode(block, out + i);
    }
}

template <class Block, int N, void (*Encode)(const float*, Block&)>
void encode_row(const float* x, void* blocks, int64_t n) {
    auto* target = static_cast<uint8_t*>(blocks);
    for (int64_t i = 0; i < n; i += N, target += sizeof(Block)) {
        Block block{};
        Encode(x + i, block);
        std::memcpy(target, &block, sizeof(Block));
    }
}

}  // namespace plrt
