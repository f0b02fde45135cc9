/// Panels of super-blocks (256 elements): 16 weight rows by one super-block. A step of codes holds
/// 4 elements of each row, so that sums need no reduction over lanes.
///
/// Element order and bit positions: docs/formats.md.

namespace plrt::PLRT_ISA {
namespace {

/// codes [step][row][4], scales [sub-block][row], mins [sub-block / 2][row] as pairs of int16, d
/// and minus_dmin [row]. What a type leaves free of mins is SuperProduct's.
struct SuperPanel {
    alignas(64) uint8_t codes[64 * 64];
    alignas(64) int32_t scales[16 * kPanelRows];
    alignas(64) int32_t mins[8 * kPanelRows];
    alignas(64) float d[kPanelRows];
    alignas(64) float minus_dmin[kPanelRows];
};

inline void store_ints(int32_t* out, int64_t vector, I32x16 v) {
    istore(out + kPanelRows * vector, v);
}
inline void store_d(SuperPanel& p, I32x16 low_halves) {
    store(p.d, halves_to_float(low_halves));
}
inline void store_dmin(SuperPanel& p, I32x16 low_halves) {
    store(p.minus_dmin, sub(zero(), halves_to_float(low_halves)));
}

/// Calls f with the compile-time constants 0 … n - 1.
template <typename F, int... i>
inline void for_each_index(F f, std::integer_sequence<int, i...> /*indices*/) {
    (f(std::integral_constant<int, i>()), ...);
}
template <int n, typename F>
inline void for_each_index(F f) {
    for_each_index(f, std::make_integer_sequence<int, n>());
}

/// A type: kMaxCode (0: signed codes, stored with kSignedShift added), kZero (code of the value 0),
/// kSub (elements that share a scale), kHasMins, and fill. Where a code less its kZero times its
/// sub-scale fits a code, kFolded is the largest, kFoldedZero added to make it positive; else 0.
/// kCentre: where kZero is 0 and sub-scales are not negative, a code so near to all that products
/// of a sub-block sum to an int16; 0 where none is, or where kFolded does better.
struct Q2_K {
    using Block = BlockQ2_K;
    static constexpr int kMaxCode = 3;
    static constexpr int kSub = 16;
    static constexpr bool kHasMins = true;
    static constexpr int kCentre = 0;
    static constexpr int kFolded = 45;
    static constexpr int kFoldedZero = 0;
    static constexpr int kZero = 0;
    static void fill(Rows rows, SuperPanel& p) {
        U8x64 v[4];
        load_groups(rows, 0, v);
        for_each_index<4>([&](auto i) {
            const U8x64 scales = bits<0, 15>(v[i]);
            const U8x64 mins = bits<4, 15>(v[i]);
            for_each_index<4>([&](auto t) { store_ints(p.scales, 4 * i + t, byte_of<t>(scales)); });
            store_ints(p.mins, 2 * i, byte_pair<0, 1>(mins));
            store_ints(p.mins, 2 * i + 1, byte_pair<2, 3>(mins));
        });
        for (int64_t part = 0; part < 4; ++part) {
            load_groups(rows, 16 + 16 * part, v);
            uint8_t* codes = p.codes + 64 * (32 * (part / 2) + 4 * (part % 2));
            for_each_index<4>([&](auto i) {
                store_codes(codes, i, bits<0, 3>(v[i]));
                store_codes(codes, 8 + i, bits<2, 3>(v[i]));
                store_codes(codes, 16 + i, bits<4, 3>(v[i]));
                store_codes(codes, 24 + i, bits<6, 3>(v[i]));
            });
        }
        load_groups(rows, 68, v);
        store_d(p, as_ints(v[3]));
        store_dmin(p, shift_right<16>(as_ints(v[3])));
    }
};

struct Q3_K {
    using Block = BlockQ3_K;
    static constexpr int kMaxCode = 7;
    static constexpr int kSub = 16;
    static constexpr bool kHasMins = false;
    static constexpr int kCentre = 0;
    // -124 … 128 needs a whole byte.
    static constexpr int kFolded = kSignedShift == 128 ? 252 : 0;
    static constexpr int kFoldedZero = 124;
    static constexpr int kZero = 4;
    static void fill(Rows rows, SuperPanel& p) {
        fill_scales(rows, p);
        for (int64_t part = 0; part < 2; ++part) {
            U8x64 high[4];
            U8x64 low[4];
            load_groups(rows, 16 * part, high);
            load_groups(rows, 32 + 16 * part, low);
            store_half_block<0>(low, high, p.codes + 64 * 4 * part);
            load_groups(rows, 64 + 16 * part, low);
            store_half_block<4>(low, high, p.codes + 64 * (32 + 4 * part));
        }
    }

  private:
    template <int first_bit>
    static void store_half_block(const U8x64* low, const U8x64* high, uint8_t* codes) {
        for_each_index<4>([&](auto g) {
            for_each_index<4>([&](auto i) {
                const U8x64 third = bits<first_bit + g - 2, 4>(high[i]);
                store_codes(codes, 8 * g + i, or_bits<2 * g, 3>(low[i], third));
            });
        });
    }

    /// The last 16 bytes: two of codes, 12 of sub-scales (low nibbles in bytes 0 … 7, two high bits
    /// each in 8 … 11), d.
    static void fill_scales(Rows rows, SuperPanel& p) {
        U8x64 v[4];
        load_groups(rows, 94, v);
        store_d(p, shift_right<16>(as_ints(v[3])));
        U8x64 u[3];
        for_each_index<3>([&](auto i) { u[i] = joined(v[i], v[i + 1]); });
        const U8x64 scales[4] = {
            or_bits<0, 15>(u[0], bits<-4, 48>(u[2])), or_bits<0, 15>(u[1], bits<-2, 48>(u[2])),
            or_bits<4, 15>(u[0], bits<0, 48>(u[2])), or_bits<4, 15>(u[1], bits<2, 48>(u[2]))};
        for_each_index<4>([&](auto i) {
            const U8x64 centred = add_bytes(scales[i], set1_bytes(-32));
            for_each_index<4>(
                [&](auto t) { store_ints(p.scales, 4 * i + t, signed_byte_of<t>(centred)); });
        });
    }
};

/// d, dmin and the 6-bit sub-scales and sub-mins of Q4_K and Q5_K: the first 16 bytes.
inline void fill_six_bit_pairs(Rows rows, SuperPanel& p) {
    U8x64 v[4];
    load_groups(rows, 0, v);
    store_d(p, as_ints(v[0]));
    store_dmin(p, shift_right<16>(as_ints(v[0])));
    const U8x64 scales[2] = {bits<0, 63>(v[1]), or_bits<0, 15>(v[3], bits<2, 48>(v[1]))};
    const U8x64 mins[2] = {bits<0, 63>(v[2]), or_bits<4, 15>(v[3], bits<2, 48>(v[2]))};
    for_each_index<2>([&](auto i) {
        for_each_index<4>([&](auto t) { store_ints(p.scales, 4 * i + t, byte_of<t>(scales[i])); });
        store_ints(p.mins, 2 * i, byte_pair<0, 1>(mins[i]));
        store_ints(p.mins, 2 * i + 1, byte_pair<2, 3>(mins[i]));
    });
}

struct Q4_K {
    using Block = BlockQ4_K;
    static constexpr int kMaxCode = 15;
    static constexpr int kSub = 32;
    static constexpr bool kHasMins = true;
    static constexpr int kZero = 0;
    static constexpr int kCentre = 8;
    static constexpr int kFolded = 0;
    static void fill(Rows rows, SuperPanel& p) {
        fill_six_bit_pairs(rows, p);
        for (int64_t part = 0; part < 8; ++part) {
            U8x64 v[4];
            load_groups(rows, 16 + 16 * part, v);
            uint8_t* codes = p.codes + 64 * (16 * (part / 2) + 4 * (part % 2));
            for_each_index<4>([&](auto i) {
                store_codes(codes, i, bits<0, 15>(v[i]));
                store_codes(codes, 8 + i, bits<4, 15>(v[i]));
            });
        }
    }
};

struct Q5_K {
    using Block = BlockQ5_K;
    static constexpr int kMaxCode = 31;
    static constexpr int kSub = 32;
    static constexpr bool kHasMins = true;
    static constexpr int kZero = 0;
    static constexpr int kCentre = 0;
    static constexpr int kFolded = 0;
    static void fill(Rows rows, SuperPanel& p) {
        fill_six_bit_pairs(rows, p);
        for_each_index<2>([&](auto part) {
            U8x64 high[4];
            load_groups(rows, 16 + 16 * part, high);
            for_each_index<4>([&](auto pair) {
                U8x64 v[4];
                load_groups(rows, 48 + 32 * pair + 16 * part, v);
                uint8_t* codes = p.codes + 64 * (16 * pair + 4 * part);
                for_each_index<4>([&](auto i) {
                    store_codes(codes, i, or_bits<0, 15>(v[i], bits<2 * pair - 4, 16>(high[i])));
                    store_codes(codes, 8 + i,
                                or_bits<4, 15>(v[i], bits<2 * pair - 3, 16>(high[i])));
                });
            });
        });
    }
};

/// Codes 0 … 63 stand for -32 … 31.
struct Q6_K {
    using Block = BlockQ6_K;
    static constexpr int kMaxCode = 63;
    static constexpr int kSub = 16;
    static constexpr bool kHasMins = false;
    static constexpr int kZero = 32;
    static constexpr int kCentre = 0;
    static constexpr int kFolded = 0;
    static void fill(Rows rows, SuperPanel& p) {
        U8x64 v[4];
        load_groups<0>(rows, 194, v);  // the last 16 bytes; d is the last half
        store_d(p, shift_right<16>(as_ints(v[3])));
        load_groups(rows, 192, v);
        for_each_index<4>([&](auto i) {
            for_each_index<4>(
                [&](auto t) { store_ints(p.scales, 4 * i + t, signed_byte_of<t>(v[i])); });
        });
        for (int64_t half = 0; half < 2; ++half) {
            for (int64_t part = 0; part < 2; ++part) {
                store_part(rows, 64 * half + 16 * part, 128 + 32 * half + 16 * part,
                           p.codes + 64 * (32 * half + 4 * part));
            }
        }
    }

  private:
    static void store_part(Rows rows, int64_t low_at, int64_t high_at, uint8_t* codes) {
        U8x64 first[4];
        U8x64 second[4];
        U8x64 high[4];
        load_groups(rows, low_at, first);
        load_groups(rows, low_at + 32, second);
        load_groups(rows, high_at, high);
        for_each_index<4>([&](auto i) {
            const U8x64 h = high[i];
            store_codes(codes, i, or_bits<0, 15>(first[i], bits<-4, 48>(h)));
            store_codes(codes, 8 + i, or_bits<0, 15>(second[i], bits<-2, 48>(h)));
            store_codes(codes, 16 + i, or_bits<4, 15>(first[i], bits<0, 48>(h)));
            store_codes(codes, 24 + i, or_bits<4, 15>(second[i], bits<2, 48>(h)));
        });
    }
};

struct IQ4_XS {
    using Block = BlockIQ4_XS;
    static constexpr int kMaxCode = 0;
    static constexpr int kSub = 32;
    static constexpr bool kHasMins = false;
    static constexpr int kZero = kSignedShift;
    static constexpr int kCentre = 0;
    static constexpr int kFolded = 0;
    static void fill(Rows rows, SuperPanel& p) {
        U8x64 v[4];
        load_groups(rows, 0, v);
        store_d(p, as_ints(v[0]));
        const U8x64 low = v[1];  // scales_l
        for_each_index<4>([&](auto t) {
            // scales_h: sub-blocks 2t and 2t + 1 have bits 4t … 4t + 3 of bytes 2 and 3 of v[0].
            const U8x64 high = spread<2 + t / 2, -1, -1, -1>(v[0]);
            const U8x64 from = spread<t, -1, -1, -1>(low);
            constexpr int kAt = t % 2 * 4;
            const U8x64 even = or_bits<0, 15>(from, bits<kAt - 4, 48>(high));
            const U8x64 odd = or_bits<4, 15>(from, bits<kAt - 2, 48>(high));
            const U8x64 both = or_bits<0, 255>(even, spread<-1, 0, -1, -1>(odd));
            const U8x64 scales = add_bytes(both, set1_bytes(-32));
            store_ints(p.scales, 2 * t, signed_byte_of<0>(scales));
            store_ints(p.scales, 2 * t + 1, signed_byte_of<1>(scales));
        });
        for (int64_t sub = 0; sub < 8; ++sub) {
            store_iq4_values(rows, 8 + 16 * sub, p.codes + 8 * 64 * sub);
        }
    }
};

}  // namespace
}  // namespace plrt::PLRT_ISA
