/// IQ4_NL and IQ4_XS: 4-bit codes into a table of 16 unevenly spaced values.

#include <array>

#include "core/blocks.h"
#include "core/float_types.h"
#include "quant/block_row.h"
#include "quant/normalised.h"
#include "quant/row_codecs.h"
#include "quant/search.h"
#include "quant/symmetric_super_block.h"

namespace plrt {
namespace {

constexpr int kHalf = 16;

/// The nearest code and its value for every multiple of one half from the least value to the
/// largest: no threshold lies between two of them.
struct NearestTable {
    static constexpr size_t kSize = 2 * (113 + 127) + 1;
    std::array<uint8_t, kSize> code{};
    std::array<float, kSize> value{};

    constexpr NearestTable() {
        size_t nearest = 0;
        for (size_t i = 0; i < kSize; ++i) {
            const int doubled = static_cast<int>(i) - 254;
            while (nearest < 15 && doubled >= kIq4Values[nearest] + kIq4Values[nearest + 1]) {
                ++nearest;
            }
            code[i] = static_cast<uint8_t>(nearest);
            value[i] = kIq4Values[nearest];
        }
    }
};

constexpr NearestTable kNearest;

struct Iq4Codes {
    static constexpr float kLow = kIq4Values[0];

    /// Place in the table; NaN gives the first.
    static size_t index(float value) {
        const float bounded = std::min(113.0f, std::max(-127.0f, value));
        return static_cast<size_t>(static_cast<int>(bounded * 2.0f + 254.0f));
    }

    static float nearest(float value) { return kNearest.value[index(value)]; }
    static int code(float value) { return kNearest.code[index(value)]; }
};

void decode_nl(const BlockIQ4_NL& block, float* out) {
    const float d = f16_to_f32(block.d);
    for (int i = 0; i < kHalf; ++i) {
        out[i] = d * static_cast<float>(kIq4Values[block.qs[i] & 15]);
        out[i + kHalf] = d * static_cast<float>(kIq4Values[block.qs[i] >> 4]);
    }
}

void pack_codes(const float* x, float scale, uint8_t* qs) {
    const float inverse = inverse_of(scale);
    for (int i = 0; i < kHalf; ++i) {
        const int low = Iq4Codes::code(x[i] * inverse);
        const int high = Iq4Codes::code(x[i + kHalf] * inverse);
        qs[i] = static_cast<uint8_t>(low | high << 4);
    }
}

void encode_nl(const float* block_x, BlockIQ4_NL& block) {
    const Normalised<kSmallBlock> in(block_x);
    if (in.is_zero) return;
    float w[kSmallBlock];
    weigh<kSmallBlock>(in.x, w);
    const RoundedScale d = in.round(best_scale<Iq4Codes, kSmallBlock>(in.x, w, 8, 2.0f));
    block.d = d.bits;
    pack_codes(in.x, d.value, block.qs);
}

void decode_xs(const BlockIQ4_XS& block, float* out) {
    const float d = f16_to_f32(block.d);
    for (int s = 0; s < 8; ++s) {
        const int low = (block.scales_l[s / 2] >> (4 * (s % 2))) & 15;
        const int high = (block.scales_h >> (2 * s)) & 3;
        const float scale = d * static_cast<float>((low | high << 4) - 32);
        const uint8_t* qs = block.qs + kHalf * s;
        for (int i = 0; i < kHalf; ++i) {
            out[32 * s + i] = scale * static_cast<float>(kIq4Values[qs[i] & 15]);
            out[32 * s + kHalf + i] = scale * static_cast<float>(kIq4Values[qs[i] >> 4]);
        }
    }
}

void encode_xs(const float* block_x, BlockIQ4_XS& block) {
    const Normalised<kSuperBlock> in(block_x);
    if (in.is_zero) return;
    float w[kSuperBlock];
    weigh<kSuperBlock>(in.x, w);
    const auto fit = SymmetricSuperBlock<Iq4Codes, 32, 32>::search(in, w, 8, 2.0f);
    block.d = fit.d.bits;
    for (int s = 0; s < 8; ++s) {
        const int stored = fit.scales[s] + 32;
        block.scales_l[s / 2] =
            static_cast<uint8_t>(block.scales_l[s / 2] | (stored & 15) << (4 * (s % 2)));
        block.scales_h = static_cast<uint16_t>(block.scales_h | (stored >> 4) << (2 * s));
        pack_codes(in.x + 32 * s, fit.scale(s), block.qs + kHalf * s);
    }
}

}  // namespace

const RowCodec kIQ4_NLCodec{decode_row<BlockIQ4_NL, kSmallBlock, decode_nl>,
                            encode_row<BlockIQ4_NL, kSmallBlock, encode_nl>};
const RowCodec kIQ4_XSCodec{decode_row<BlockIQ4_XS, kSuperBlock, decode_xs>,
                            encode_row<BlockIQ4_XS, kSuperBlock, encode_xs>};

}  // namespace plrt
