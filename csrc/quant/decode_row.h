#pragma once
/// A row of blocks to numbers. Blocks are copied: a file aligns them to 2 bytes only.

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

}  // namespace plrt
