/// IQ4_NL and IQ4_XS: 4-bit codes into a table of 16 unevenly spaced values.

#include <array>

#include "core/blocks.h"
#include "core/float_types.h"
#include "quant/decode_row.h"
#include "quant/encode_rows.h"
#include "quant/row_codecs.h"
#include "quant/small_block_fits.h"
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

    static Lanes nearest(Lanes value) {
        uint8_t codes[kLanes];
        return nearest(value, codes);
    }
    static Lanes nearest(Lanes value, uint8_t* codes) {
        float values[kLanes];
        value.store(values);
        for (int i = 0; i < kLanes; ++i) {
            const size_t at = index(values[i]);
            values[i] = kNearest.value[at];
            codes[i] = kNearest.code[at];
        }
        return Lanes::of(values);
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

/// Byte i holds codes i and i + 16.
void pack_codes(const uint8_t* codes, uint8_t* qs) {
    for (int i = 0; i < kHalf; ++i) qs[i] = static_cast<uint8_t>(codes[i] | codes[i + kHalf] << 4);
}

struct IQ4_NLFormat {
    using Block = BlockIQ4_NL;
    static constexpr int kElements = kSmallBlock;

    struct Fit : SymmetricBlock<Iq4Codes> {
        static Fit search(const Normalised<kSmallBlock>& in, const float* w) {
            return {best(in, w, 4, 4.0f)};
        }
        void pack(const uint8_t* codes, BlockIQ4_NL& block) const {
            block.d = d.bits;
            pack_codes(codes, block.qs);
        }
    };
};

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

struct IQ4_XSFormat {
    using Block = BlockIQ4_XS;
    static constexpr int kElements = kSuperBlock;

    struct Fit : SymmetricSuperBlock<Iq4Codes, 32, 32> {
        static Fit search(const Normalised<kSuperBlock>& in, const float* w) {
            return {best(in, w, 4, 4.0f)};
        }
        void pack(const uint8_t* codes, BlockIQ4_XS& block) const {
            block.d = d.bits;
            for (int s = 0; s < 8; ++s) {
                const int stored = scales[s] + 32;
                uint8_t& low = block.scales_l[s / 2];
                low = static_cast<uint8_t>(low | (stored & 15) << (4 * (s % 2)));
                block.scales_h = static_cast<uint16_t>(block.scales_h | (stored >> 4) << (2 * s));
                pack_codes(codes + 32 * s, block.qs + kHalf * s);
            }
        }
    };
};

}  // namespace

const RowCodec kIQ4_NLCodec{decode_row<BlockIQ4_NL, kSmallBlock, decode_nl>,
                            encode_rows<IQ4_NLFormat>};
const RowCodec kIQ4_XSCodec{decode_row<BlockIQ4_XS, kSuperBlock, decode_xs>,
                            encode_rows<IQ4_XSFormat>};

}  // namespace plrt
