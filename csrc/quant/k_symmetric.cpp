/// Q3_K and Q6_K: superblocks of 16 sub-blocks with signed scales.

#include "core/blocks.h"
#include "core/float_types.h"
#include "quant/decode_row.h"
#include "quant/encode_rows.h"
#include "quant/row_codecs.h"
#include "quant/symmetric_super_block.h"

namespace plrt {
namespace {

/// Six-bit scales, 32 added: four bits in the first eight bytes, two bits in the last four.
int unpack_q3_k_scale(const uint8_t* packed, int s) {
    const int low = (packed[s % 8] >> (4 * (s / 8))) & 15;
    const int high = (packed[8 + s % 4] >> (2 * (s / 4))) & 3;
    return (low | high << 4) - 32;
}

void pack_q3_k_scale(int scale, int s, uint8_t* packed) {
    const int stored = scale + 32;
    uint8_t& low = packed[s % 8];
    uint8_t& high = packed[8 + s % 4];
    low = static_cast<uint8_t>(low | (stored & 15) << (4 * (s / 8)));
    high = static_cast<uint8_t>(high | (stored >> 4) << (2 * (s / 4)));
}

void decode_q3_k(const BlockQ3_K& block, float* out) {
    const float d = f16_to_f32(block.d);
    for (int s = 0; s < 16; ++s) {
        const float scale = d * static_cast<float>(unpack_q3_k_scale(block.scales, s));
        const uint8_t* qs = block.qs + 32 * (s / 8) + 16 * (s % 2);
        const uint8_t* hmask = block.hmask + 16 * (s % 2);
        const int shift = 2 * (s / 2 % 4);
        for (int i = 0; i < 16; ++i) {
            const int code = ((qs[i] >> shift) & 3) | ((hmask[i] >> (s / 2)) & 1) << 2;
            out[16 * s + i] = scale * static_cast<float>(code - 4);
        }
    }
}

struct Q3_KFormat {
    using Block = BlockQ3_K;
    static constexpr int kElements = kSuperBlock;

    struct Fit : SymmetricSuperBlock<IntegerCodes<-4, 3>, 16, 32> {
        static Fit search(const Normalised<kSuperBlock>& in, const float* w) {
            return {best(in, w, 4, 0.25f)};
        }
        void pack(const uint8_t* codes, BlockQ3_K& block) const {
            block.d = d.bits;
            for (int s = 0; s < 16; ++s) {
                pack_q3_k_scale(scales[s], s, block.scales);
                uint8_t* qs = block.qs + 32 * (s / 8) + 16 * (s % 2);
                uint8_t* hmask = block.hmask + 16 * (s % 2);
                const int shift = 2 * (s / 2 % 4);
                for (int i = 0; i < 16; ++i) {
                    const int code = codes[16 * s + i];
                    qs[i] = static_cast<uint8_t>(qs[i] | (code & 3) << shift);
                    hmask[i] = static_cast<uint8_t>(hmask[i] | (code >> 2) << (s / 2));
                }
            }
        }
    };
};

void decode_q6_k(const BlockQ6_K& block, float* out) {
    const float d = f16_to_f32(block.d);
    for (int s = 0; s < 16; ++s) {
        const float scale = d * static_cast<float>(block.scales[s]);
        const int group = s / 2 % 4;  // of 32 elements, within each half of the block
        const uint8_t* ql = block.ql + 64 * (s / 8) + 32 * (group % 2) + 16 * (s % 2);
        const uint8_t* qh = block.qh + 32 * (s / 8) + 16 * (s % 2);
        for (int i = 0; i < 16; ++i) {
            const int code = ((ql[i] >> (4 * (group / 2))) & 15) | ((qh[i] >> (2 * group)) & 3)
                                                                       << 4;
            out[16 * s + i] = scale * static_cast<float>(code - 32);
        }
    }
}

struct Q6_KFormat {
    using Block = BlockQ6_K;
    static constexpr int kElements = kSuperBlock;

    struct Fit : SymmetricSuperBlock<IntegerCodes<-32, 31>, 16, 128> {
        static Fit search(const Normalised<kSuperBlock>& in, const float* w) {
            return {best(in, w, 4, 0.25f)};
        }
        void pack(const uint8_t* codes, BlockQ6_K& block) const {
            block.d = d.bits;
            for (int s = 0; s < 16; ++s) {
                block.scales[s] = static_cast<int8_t>(scales[s]);
                const int group = s / 2 % 4;
                uint8_t* ql = block.ql + 64 * (s / 8) + 32 * (group % 2) + 16 * (s % 2);
                uint8_t* qh = block.qh + 32 * (s / 8) + 16 * (s % 2);
                for (int i = 0; i < 16; ++i) {
                    const int code = codes[16 * s + i];
                    ql[i] = static_cast<uint8_t>(ql[i] | (code & 15) << (4 * (group / 2)));
                    qh[i] = static_cast<uint8_t>(qh[i] | (code >> 4) << (2 * group));
                }
            }
        }
    };
};

}  // namespace

const RowCodec kQ3_KCodec{decode_row<BlockQ3_K, kSuperBlock, decode_q3_k>, encode_rows<Q3_KFormat>};
const RowCodec kQ6_KCodec{decode_row<BlockQ6_K, kSuperBlock, decode_q6_k>, encode_rows<Q6_KFormat>};

}  // namespace plrt
