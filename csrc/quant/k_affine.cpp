/// Q2_K, Q4_K and Q5_K: superblocks with scales and minima.

#include "core/blocks.h"
#include "core/float_types.h"
#include "quant/affine_super_block.h"
#include "quant/decode_row.h"
#include "quant/encode_rows.h"
#include "quant/row_codecs.h"

namespace plrt {
namespace {

void decode_q2_k(const BlockQ2_K& block, float* out) {
    const float d = f16_to_f32(block.d);
    const float dmin = f16_to_f32(block.dmin);
    for (int s = 0; s < 16; ++s) {
        const float scale = d * static_cast<float>(block.scales[s] & 15);
        const float min = dmin * static_cast<float>(block.scales[s] >> 4);
        const uint8_t* qs = block.qs + 32 * (s / 8) + 16 * (s % 2);
        const int shift = 2 * (s / 2 % 4);
        for (int i = 0; i < 16; ++i) {
            out[16 * s + i] = scale * static_cast<float>((qs[i] >> shift) & 3) - min;
        }
    }
}

struct Q2_KFormat {
    using Block = BlockQ2_K;
    static constexpr int kElements = kSuperBlock;

    struct Fit : AffineSuperBlock<3, 16, 15> {
        static Fit search(const Normalised<kSuperBlock>& in, const float* w) {
            return {best(in, w, -0.5f, 0.1f, 15)};
        }
        void pack(const uint8_t* codes, BlockQ2_K& block) const {
            block.d = d.bits;
            block.dmin = dmin.bits;
            for (int s = 0; s < 16; ++s) {
                block.scales[s] = static_cast<uint8_t>(scales[s] | mins[s] << 4);
                uint8_t* qs = block.qs + 32 * (s / 8) + 16 * (s % 2);
                const int shift = 2 * (s / 2 % 4);
                for (int i = 0; i < 16; ++i) {
                    qs[i] = static_cast<uint8_t>(qs[i] | codes[16 * s + i] << shift);
                }
            }
        }
    };
};

/// Scale and minimum of sub-block s from the 12 bytes of Q4_K and Q5_K: six bits each, the upper
/// two bits of the last four stored above the six bits of the first four.
void unpack_scale_min(const uint8_t* packed, int s, int& scale, int& min) {
    if (s < 4) {
        scale = packed[s] & 63;
        min = packed[s + 4] & 63;
    } else {
        scale = (packed[s + 4] & 15) | (packed[s - 4] >> 6) << 4;
        min = packed[s + 4] >> 4 | (packed[s] >> 6) << 4;
    }
}

void pack_scales_mins(const int* scales, const int* mins, uint8_t* packed) {
    for (int s = 0; s < 4; ++s) {
        packed[s] = static_cast<uint8_t>(scales[s] | (scales[s + 4] >> 4) << 6);
        packed[s + 4] = static_cast<uint8_t>(mins[s] | (mins[s + 4] >> 4) << 6);
        packed[s + 8] = static_cast<uint8_t>((scales[s + 4] & 15) | (mins[s + 4] & 15) << 4);
    }
}

/// Bit 4 of code i of sub-block s, which only Q5_K has.
int fifth_bit(const BlockQ4_K& /*block*/, int /*s*/, int /*i*/) {
    return 0;
}
int fifth_bit(const BlockQ5_K& block, int s, int i) {
    return (block.qh[i] >> s) & 1;
}
void put_fifth_bit(int /*bit*/, int /*s*/, int /*i*/, BlockQ4_K& /*block*/) {}
void put_fifth_bit(int bit, int s, int i, BlockQ5_K& block) {
    block.qh[i] = static_cast<uint8_t>(block.qh[i] | bit << s);
}

/// Q4_K and Q5_K.
template <class Block>
void decode_nibbles(const Block& block, float* out) {
    const float d = f16_to_f32(block.d);
    const float dmin = f16_to_f32(block.dmin);
    for (int s = 0; s < 8; ++s) {
        int scale_code = 0;
        int min_code = 0;
        unpack_scale_min(block.scales, s, scale_code, min_code);
        const float scale = d * static_cast<float>(scale_code);
        const float min = dmin * static_cast<float>(min_code);
        const uint8_t* qs = block.qs + 32 * (s / 2);
        const int shift = 4 * (s % 2);
        for (int i = 0; i < 32; ++i) {
            const int code = ((qs[i] >> shift) & 15) | fifth_bit(block, s, i) << 4;
            out[32 * s + i] = scale * static_cast<float>(code) - min;
        }
    }
}

template <class Block, int MaxCode>
struct NibbleFit : AffineSuperBlock<MaxCode, 32, 63> {
    void pack(const uint8_t* codes, Block& block) const {
        block.d = this->d.bits;
        block.dmin = this->dmin.bits;
        pack_scales_mins(this->scales, this->mins, block.scales);
        for (int s = 0; s < 8; ++s) {
            uint8_t* qs = block.qs + 32 * (s / 2);
            const int shift = 4 * (s % 2);
            for (int i = 0; i < 32; ++i) {
                const int code = codes[32 * s + i];
                qs[i] = static_cast<uint8_t>(qs[i] | (code & 15) << shift);
                put_fifth_bit(code >> 4, s, i, block);
            }
        }
    }
};

struct Q4_KFormat {
    using Block = BlockQ4_K;
    static constexpr int kElements = kSuperBlock;

    struct Fit : NibbleFit<BlockQ4_K, 15> {
        static Fit search(const Normalised<kSuperBlock>& in, const float* w) {
            return {{best(in, w, -1.0f, 0.2f, 10)}};
        }
    };
};

struct Q5_KFormat {
    using Block = BlockQ5_K;
    static constexpr int kElements = kSuperBlock;

    struct Fit : NibbleFit<BlockQ5_K, 31> {
        static Fit search(const Normalised<kSuperBlock>& in, const float* w) {
            return {{best(in, w, -0.5f, 0.2f, 8)}};
        }
    };
};

}  // namespace

const RowCodec kQ2_KCodec{decode_row<BlockQ2_K, kSuperBlock, decode_q2_k>, encode_rows<Q2_KFormat>};
const RowCodec kQ4_KCodec{decode_row<BlockQ4_K, kSuperBlock, decode_nibbles<BlockQ4_K>>,
                          encode_rows<Q4_KFormat>};
const RowCodec kQ5_KCodec{decode_row<BlockQ5_K, kSuperBlock, decode_nibbles<BlockQ5_K>>,
                          encode_rows<Q5_KFormat>};

}  // namespace plrt
