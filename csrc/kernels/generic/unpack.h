/// Blocks of weights to int8 codes with integer sub-scales: the form that the dot products read.
///
/// A small block (32 elements) gives codes, d and, for Q4_1 and Q5_1, m: w = d * code + m.
/// A super-block (256) gives codes, a sub-scale and a sub-min for each 16 elements, d and dmin:
/// w = d * scale * code - (d or dmin) * min. Zero points are folded into the sub-mins.
/// Element order and bit positions: docs/formats.md.

namespace plrt::PLRT_ISA {
namespace {

inline float half(uint16_t bits) {
    const uint16_t padded[16] = {bits};
    float out[16];
    store(out, load_f16(padded));
    return out[0];
}

/// The low nibbles of 16 bytes, then the high ones.
inline void nibbles_of(const uint8_t* qs, uint8_t* q) {
    for (int i = 0; i < 16; ++i) {
        q[i] = qs[i] & 15;
        q[i + 16] = qs[i] >> 4;
    }
}

struct Q4_0 {
    using Block = BlockQ4_0;
    static constexpr bool kSigned = true;
    static constexpr bool kHasMin = false;
    static void codes(const Block& b, uint8_t* q) {
        for (int i = 0; i < 16; ++i) {
            q[i] = static_cast<uint8_t>((b.qs[i] & 15) - 8);
            q[i + 16] = static_cast<uint8_t>((b.qs[i] >> 4) - 8);
        }
    }
};

struct Q4_1 {
    using Block = BlockQ4_1;
    static constexpr bool kSigned = false;
    static constexpr bool kHasMin = true;
    static void codes(const Block& b, uint8_t* q) { nibbles_of(b.qs, q); }
};

/// The fifth bits of Q5_0 and Q5_1: bit e of the four bytes belongs to element e.
inline void add_fifth_bits(const uint8_t* qh, uint8_t* q) {
    for (int byte = 0; byte < 4; ++byte) {
        for (int bit = 0; bit < 8; ++bit) {
            q[8 * byte + bit] |= static_cast<uint8_t>(((qh[byte] >> bit) & 1) << 4);
        }
    }
}

struct Q5_0 {
    using Block = BlockQ5_0;
    static constexpr bool kSigned = true;
    static constexpr bool kHasMin = false;
    static void codes(const Block& b, uint8_t* q) {
        nibbles_of(b.qs, q);
        add_fifth_bits(b.qh, q);
        for (int i = 0; i < 32; ++i) q[i] = static_cast<uint8_t>(q[i] - 16);
    }
};

struct Q5_1 {
    using Block = BlockQ5_1;
    static constexpr bool kSigned = false;
    static constexpr bool kHasMin = true;
    static void codes(const Block& b, uint8_t* q) {
        nibbles_of(b.qs, q);
        add_fifth_bits(b.qh, q);
    }
};

struct Q8_0 {
    using Block = BlockQ8_0;
    static constexpr bool kSigned = true;
    static constexpr bool kHasMin = false;
    static void codes(const Block& b, uint8_t* q) {
        for (int i = 0; i < 32; ++i) q[i] = static_cast<uint8_t>(b.qs[i]);
    }
};

struct IQ4_NL {
    using Block = BlockIQ4_NL;
    static constexpr bool kSigned = true;
    static constexpr bool kHasMin = false;
    static void codes(const Block& b, uint8_t* q) {
        for (int i = 0; i < 16; ++i) {
            q[i] = static_cast<uint8_t>(kIq4Values[b.qs[i] & 15]);
            q[i + 16] = static_cast<uint8_t>(kIq4Values[b.qs[i] >> 4]);
        }
    }
};

/// kSubBlock: elements that share a scale. kFold: what is added to scale * (code - kZero) so that
/// it fits a byte, or -1 where it does not fit.

/// Which float multiplies the sub-mins of a super-block.
enum class Mins { kNone, kTimesD, kTimesDmin };

struct Q2_K {
    using Block = BlockQ2_K;
    static constexpr bool kSigned = false;
    static constexpr Mins kMins = Mins::kTimesDmin;
    static constexpr int kSubBlock = 16;
    static constexpr int kZero = 0;
    static constexpr int kFold = 0;  // scale * code <= 45
    static void codes(const Block& b, uint8_t* q) {
        for (int h = 0; h < 2; ++h) {
            for (int g = 0; g < 4; ++g) {
                for (int l = 0; l < 32; ++l) {
                    q[128 * h + 32 * g + l] = (b.qs[32 * h + l] >> (2 * g)) & 3;
                }
            }
        }
    }
    static void scales(const Block& b, int16_t* scale, int16_t* min) {
        for (int s = 0; s < 16; ++s) {
            scale[s] = b.scales[s] & 15;
            min[s] = b.scales[s] >> 4;
        }
    }
};

struct Q3_K {
    using Block = BlockQ3_K;
    static constexpr bool kSigned = false;
    static constexpr Mins kMins = Mins::kTimesD;
    static constexpr int kSubBlock = 16;
    static constexpr int kZero = 4;
    static constexpr int kFold = 124;  // scale * (code - 4) lies in -124 … 128
    static void codes(const Block& b, uint8_t* q) {
        for (int h = 0; h < 2; ++h) {
            for (int g = 0; g < 4; ++g) {
                for (int l = 0; l < 32; ++l) {
                    const int low = (b.qs[32 * h + l] >> (2 * g)) & 3;
                    const int high = (b.hmask[l] >> (4 * h + g)) & 1;
                    q[128 * h + 32 * g + l] = static_cast<uint8_t>(low | (high << 2));
                }
            }
        }
    }
    static void scales(const Block& b, int16_t* scale, int16_t* min) {
        for (int s = 0; s < 16; ++s) {
            const int low = s < 8 ? b.scales[s] & 15 : b.scales[s - 8] >> 4;
            const int high = (b.scales[8 + s % 4] >> (2 * (s / 4))) & 3;
            scale[s] = static_cast<int16_t>((low | (high << 4)) - 32);
            min[s] = static_cast<int16_t>(4 * scale[s]);
        }
    }
};

/// The 6-bit sub-scales and sub-mins that Q4_K and Q5_K pack into 12 bytes, one pair per 32.
inline void unpack_6bit_pairs(const uint8_t* packed, int16_t* scale, int16_t* min) {
    for (int s = 0; s < 8; ++s) {
        int sc;
        int mn;
        if (s < 4) {
            sc = packed[s] & 63;
            mn = packed[s + 4] & 63;
        } else {
            sc = (packed[s + 4] & 15) | ((packed[s - 4] >> 6) << 4);
            mn = (packed[s + 4] >> 4) | ((packed[s] >> 6) << 4);
        }
        scale[2 * s] = scale[2 * s + 1] = static_cast<int16_t>(sc);
        min[2 * s] = min[2 * s + 1] = static_cast<int16_t>(mn);
    }
}

struct Q4_K {
    using Block = BlockQ4_K;
    static constexpr bool kSigned = false;
    static constexpr Mins kMins = Mins::kTimesDmin;
    static constexpr int kSubBlock = 32;
    static constexpr int kFold = -1;
    static void codes(const Block& b, uint8_t* q) {
        for (int p = 0; p < 4; ++p) {
            for (int l = 0; l < 32; ++l) {
                q[64 * p + l] = b.qs[32 * p + l] & 15;
                q[64 * p + 32 + l] = b.qs[32 * p + l] >> 4;
            }
        }
    }
    static void scales(const Block& b, int16_t* scale, int16_t* min) {
        unpack_6bit_pairs(b.scales, scale, min);
    }
};

struct Q5_K {
    using Block = BlockQ5_K;
    static constexpr bool kSigned = false;
    static constexpr Mins kMins = Mins::kTimesDmin;
    static constexpr int kSubBlock = 32;
    static constexpr int kFold = -1;
    static void codes(const Block& b, uint8_t* q) {
        for (int p = 0; p < 4; ++p) {
            for (int l = 0; l < 32; ++l) {
                const int fifth_low = ((b.qh[l] >> (2 * p)) & 1) << 4;
                const int fifth_high = ((b.qh[l] >> (2 * p + 1)) & 1) << 4;
                q[64 * p + l] = static_cast<uint8_t>((b.qs[32 * p + l] & 15) | fifth_low);
                q[64 * p + 32 + l] = static_cast<uint8_t>((b.qs[32 * p + l] >> 4) | fifth_high);
            }
        }
    }
    static void scales(const Block& b, int16_t* scale, int16_t* min) {
        unpack_6bit_pairs(b.scales, scale, min);
    }
};

struct Q6_K {
    using Block = BlockQ6_K;
    static constexpr bool kSigned = false;
    static constexpr Mins kMins = Mins::kTimesD;
    static constexpr int kSubBlock = 16;
    static constexpr int kFold = -1;
    static void codes(const Block& b, uint8_t* q) {
        for (int h = 0; h < 2; ++h) {
            for (int g = 0; g < 4; ++g) {
                for (int l = 0; l < 32; ++l) {
                    const int byte = b.ql[64 * h + 32 * (g & 1) + l];
                    const int low = g < 2 ? byte & 15 : byte >> 4;
                    const int high = (b.qh[32 * h + l] >> (2 * g)) & 3;
                    q[128 * h + 32 * g + l] = static_cast<uint8_t>(low | (high << 4));
                }
            }
        }
    }
    static void scales(const Block& b, int16_t* scale, int16_t* min) {
        for (int s = 0; s < 16; ++s) {
            scale[s] = b.scales[s];
            min[s] = static_cast<int16_t>(32 * b.scales[s]);
        }
    }
};

struct IQ4_XS {
    using Block = BlockIQ4_XS;
    static constexpr bool kSigned = true;
    static constexpr Mins kMins = Mins::kNone;
    static constexpr int kSubBlock = 32;
    static constexpr int kFold = -1;
    static void codes(const Block& b, uint8_t* q) {
        for (int s = 0; s < 8; ++s) {
            for (int l = 0; l < 16; ++l) {
                const uint8_t byte = b.qs[16 * s + l];
                q[32 * s + l] = static_cast<uint8_t>(kIq4Values[byte & 15]);
                q[32 * s + 16 + l] = static_cast<uint8_t>(kIq4Values[byte >> 4]);
            }
        }
    }
    static void scales(const Block& b, int16_t* scale, int16_t* min) {
        for (int s = 0; s < 8; ++s) {
            const int low = (b.scales_l[s / 2] >> (4 * (s % 2))) & 15;
            const int high = (b.scales_h >> (2 * s)) & 3;
            scale[2 * s] = scale[2 * s + 1] = static_cast<int16_t>((low | (high << 4)) - 32);
            min[2 * s] = min[2 * s + 1] = 0;
        }
    }
};

}  // namespace
}  // namespace plrt::PLRT_ISA
