/// Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0: 32 elements, one f16 scale, for some an f16 minimum.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/blocks.h"
#include "core/float_types.h"
#include "quant/decode_row.h"
#include "quant/encode_rows.h"
#include "quant/row_codecs.h"
#include "quant/small_block_fits.h"

namespace plrt {
namespace {

constexpr int kHalf = kSmallBlock / 2;

/// Byte i holds the low four bits of codes i and i + 16.
void pack_nibbles(const uint8_t* codes, uint8_t* qs) {
    for (int i = 0; i < kHalf; ++i) {
        qs[i] = static_cast<uint8_t>((codes[i] & 15) | (codes[i + kHalf] & 15) << 4);
    }
}

void unpack_nibbles(const uint8_t* qs, uint8_t* codes) {
    for (int i = 0; i < kHalf; ++i) {
        codes[i] = qs[i] & 15;
        codes[i + kHalf] = qs[i] >> 4;
    }
}

/// Bit i of qh is bit 4 of code i.
void pack_fifth_bits(const uint8_t* codes, uint8_t* qh) {
    for (int i = 0; i < kSmallBlock; ++i) {
        qh[i / 8] = static_cast<uint8_t>(qh[i / 8] | (codes[i] >> 4) << (i % 8));
    }
}

void unpack_fifth_bits(const uint8_t* qh, uint8_t* codes) {
    for (int i = 0; i < kSmallBlock; ++i) {
        codes[i] = static_cast<uint8_t>(codes[i] | ((qh[i / 8] >> (i % 8)) & 1) << 4);
    }
}

/// Values d * (code - offset).
void decode_symmetric(uint16_t d_bits, const uint8_t* codes, int offset, float* out) {
    const float d = f16_to_f32(d_bits);
    for (int i = 0; i < kSmallBlock; ++i) out[i] = d * static_cast<float>(codes[i] - offset);
}

/// Values d * code + m.
void decode_affine(uint16_t d_bits, uint16_t m_bits, const uint8_t* codes, float* out) {
    const float d = f16_to_f32(d_bits);
    const float m = f16_to_f32(m_bits);
    for (int i = 0; i < kSmallBlock; ++i) out[i] = d * static_cast<float>(codes[i]) + m;
}

void decode_q4_0(const BlockQ4_0& block, float* out) {
    uint8_t codes[kSmallBlock];
    unpack_nibbles(block.qs, codes);
    decode_symmetric(block.d, codes, 8, out);
}

struct Q4_0Format {
    using Block = BlockQ4_0;
    static constexpr int kElements = kSmallBlock;

    struct Fit : SymmetricBlock<IntegerCodes<-8, 7>> {
        static Fit search(const Normalised<kSmallBlock>& in, const float* w) {
            return {best(in, w, 4, 0.25f)};
        }
        void pack(const uint8_t* codes, BlockQ4_0& block) const {
            block.d = d.bits;
            pack_nibbles(codes, block.qs);
        }
    };
};

void decode_q4_1(const BlockQ4_1& block, float* out) {
    uint8_t codes[kSmallBlock];
    unpack_nibbles(block.qs, codes);
    decode_affine(block.d, block.m, codes, out);
}

struct Q4_1Format {
    using Block = BlockQ4_1;
    static constexpr int kElements = kSmallBlock;

    struct Fit : AffineBlock<15> {
        static Fit search(const Normalised<kSmallBlock>& in, const float* w) {
            return {best(in, w, -0.4f, 0.25f, 5)};
        }
        void pack(const uint8_t* codes, BlockQ4_1& block) const {
            block.d = d.bits;
            block.m = m.bits;
            pack_nibbles(codes, block.qs);
        }
    };
};

void decode_q5_0(const BlockQ5_0& block, float* out) {
    uint8_t codes[kSmallBlock];
    unpack_nibbles(block.qs, codes);
    unpack_fifth_bits(block.qh, codes);
    decode_symmetric(block.d, codes, 16, out);
}

struct Q5_0Format {
    using Block = BlockQ5_0;
    static constexpr int kElements = kSmallBlock;

    struct Fit : SymmetricBlock<IntegerCodes<-16, 15>> {
        static Fit search(const Normalised<kSmallBlock>& in, const float* w) {
            return {best(in, w, 4, 0.25f)};
        }
        void pack(const uint8_t* codes, BlockQ5_0& block) const {
            block.d = d.bits;
            pack_nibbles(codes, block.qs);
            pack_fifth_bits(codes, block.qh);
        }
    };
};

void decode_q5_1(const BlockQ5_1& block, float* out) {
    uint8_t codes[kSmallBlock];
    unpack_nibbles(block.qs, codes);
    unpack_fifth_bits(block.qh, codes);
    decode_affine(block.d, block.m, codes, out);
}

struct Q5_1Format {
    using Block = BlockQ5_1;
    static constexpr int kElements = kSmallBlock;

    struct Fit : AffineBlock<31> {
        static Fit search(const Normalised<kSmallBlock>& in, const float* w) {
            return {best(in, w, -0.4f, 0.25f, 5)};
        }
        void pack(const uint8_t* codes, BlockQ5_1& block) const {
            block.d = d.bits;
            block.m = m.bits;
            pack_nibbles(codes, block.qs);
            pack_fifth_bits(codes, block.qh);
        }
    };
};

void decode_q8_0(const BlockQ8_0& block, float* out) {
    const float d = f16_to_f32(block.d);
    for (int i = 0; i < kSmallBlock; ++i) out[i] = d * static_cast<float>(block.qs[i]);
}

/// Nearest integer, ties away from zero, clipped to int8.
int8_t round_to_int8(float value) {
    const float magnitude = std::min(std::fabs(value), 127.0f);
    const int floor = static_cast<int>(magnitude);
    const int rounded = floor + (magnitude - static_cast<float>(floor) >= 0.5f);
    return static_cast<int8_t>(value < 0.0f ? -rounded : rounded);
}

/// Files in Q8_0 are compared byte by byte with those of other writers, so this is the common
/// rule: the codes belong to the scale before it was rounded to f16. Where f16 is too coarse for
/// that (a subnormal scale) or too small, they belong to the scale after.
void encode_q8_0(const float* x, BlockQ8_0& block) {
    float largest = 0.0f;
    for (int i = 0; i < kSmallBlock; ++i) largest = std::max(largest, std::fabs(x[i]));
    if (largest < 0x1p-25f) return;
    const float d = largest / 127.0f;
    block.d = scale_to_f16(d);
    const bool in_normal_range = d >= 0x1p-14f && d <= 65504.0f;
    const float inverse = 1.0f / (in_normal_range ? d : f16_to_f32(block.d));
    for (int i = 0; i < kSmallBlock; ++i) block.qs[i] = round_to_int8(x[i] * inverse);
}

/// Without guidance: codes this fine leave nothing for it to do.
void encode_rows_q8_0(const float* x, void* blocks, int64_t n_rows, int64_t n,
                      const Guidance& /*guidance*/) {
    auto* target = static_cast<uint8_t*>(blocks);
    for (int64_t i = 0; i < n_rows * n; i += kSmallBlock, target += sizeof(BlockQ8_0)) {
        BlockQ8_0 block{};
        encode_q8_0(x + i, block);
        std::memcpy(target, &block, sizeof(block));
    }
}

}  // namespace

const RowCodec kQ4_0Codec{decode_row<BlockQ4_0, kSmallBlock, decode_q4_0>, encode_rows<Q4_0Format>};
const RowCodec kQ4_1Codec{decode_row<BlockQ4_1, kSmallBlock, decode_q4_1>, encode_rows<Q4_1Format>};
const RowCodec kQ5_0Codec{decode_row<BlockQ5_0, kSmallBlock, decode_q5_0>, encode_rows<Q5_0Format>};
const RowCodec kQ5_1Codec{decode_row<BlockQ5_1, kSmallBlock, decode_q5_1>, encode_rows<Q5_1Format>};
const RowCodec kQ8_0Codec{decode_row<BlockQ8_0, kSmallBlock, decode_q8_0>, encode_rows_q8_0};

}  // namespace plrt
