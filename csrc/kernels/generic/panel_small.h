/// Panels of small blocks (32 elements): 16 weight rows by up to 8 blocks. A step of codes holds 4
/// elements of each row, so that sums need no reduction over lanes.
///
/// Element order and bit positions: docs/formats.md.

namespace plrt::PLRT_ISA {
namespace {

/// codes [step][row][4], d and m [block][row].
struct SmallPanel {
    static constexpr int kBlocks = 8;
    alignas(64) uint8_t codes[kBlocks * 8 * 64];
    alignas(64) float d[kBlocks * kPanelRows];
    alignas(64) float m[kBlocks * kPanelRows];
};

/// 16 bytes of nibbles: the low ones are elements 0 … 15, the high ones 16 … 31.
inline void store_nibbles(Rows rows, int64_t at, uint8_t* codes) {
    U8x64 v[4];
    load_groups(rows, at, v);
    PLRT_UNROLL
    for (int i = 0; i < 4; ++i) {
        store_codes(codes, i, bits<0, 15>(v[i]));
        store_codes(codes, 4 + i, bits<4, 15>(v[i]));
    }
}

/// The first 4 bytes of each row's block.
inline I32x16 load_head(Rows rows, int64_t at) {
    U8x64 v[4];
    load_groups<1>(rows, at, v);
    return as_ints(v[0]);
}
inline void store_half(I32x16 low_halves, float* out) {
    store(out, halves_to_float(low_halves));
}

/// A type: kMaxCode (0: signed codes, stored with kSignedShift added), kZero (code of the value 0),
/// and load, which reads the block `at` bytes into each row: its codes to 8 steps, scale, minimum.
struct Q4_0 {
    using Block = BlockQ4_0;
    static constexpr int kMaxCode = 15;
    static constexpr int kZero = 8;
    static constexpr bool kHasMin = false;
    static void load(Rows rows, int64_t at, uint8_t* codes, float* d, float* /*m*/) {
        store_half(load_head(rows, at), d);
        store_nibbles(rows, at + 2, codes);
    }
};

struct Q4_1 {
    using Block = BlockQ4_1;
    static constexpr int kMaxCode = 15;
    static constexpr int kZero = 0;
    static constexpr bool kHasMin = true;
    static void load(Rows rows, int64_t at, uint8_t* codes, float* d, float* m) {
        const I32x16 head = load_head(rows, at);
        store_half(head, d);
        store_half(shift_right<16>(head), m);
        store_nibbles(rows, at + 4, codes);
    }
};

/// Nibbles of 16 bytes with a fifth bit each: bit e of qh belongs to element e.
template <int... i>
inline void store_five_bits(const U8x64* v, U8x64 qh, uint8_t* codes,
                            std::integer_sequence<int, i...> /*steps*/) {
    (store_codes(codes, i, or_bits<0, 15>(v[i], fifth_bits<i>(qh))), ...);
    (store_codes(codes, 4 + i, or_bits<4, 15>(v[i], fifth_bits<4 + i>(qh))), ...);
}
inline void store_five_bits(Rows rows, int64_t at, U8x64 qh, uint8_t* codes) {
    U8x64 v[4];
    load_groups(rows, at, v);
    store_five_bits(v, qh, codes, std::make_integer_sequence<int, 4>());
}

struct Q5_0 {
    using Block = BlockQ5_0;
    static constexpr int kMaxCode = 31;
    static constexpr int kZero = 16;
    static constexpr bool kHasMin = false;
    static void load(Rows rows, int64_t at, uint8_t* codes, float* d, float* /*m*/) {
        U8x64 v[4];
        load_groups<2>(rows, at, v);
        store_half(as_ints(v[0]), d);
        store_five_bits(rows, at + 6, joined(v[0], v[1]), codes);
    }
};

struct Q5_1 {
    using Block = BlockQ5_1;
    static constexpr int kMaxCode = 31;
    static constexpr int kZero = 0;
    static constexpr bool kHasMin = true;
    static void load(Rows rows, int64_t at, uint8_t* codes, float* d, float* m) {
        U8x64 v[4];
        load_groups<2>(rows, at, v);
        store_half(as_ints(v[0]), d);
        store_half(shift_right<16>(as_ints(v[0])), m);
        store_five_bits(rows, at + 8, v[1], codes);
    }
};

struct Q8_0 {
    using Block = BlockQ8_0;
    static constexpr int kMaxCode = 0;
    static constexpr int kZero = kSignedShift;
    static constexpr bool kHasMin = false;
    static void load(Rows rows, int64_t at, uint8_t* codes, float* d, float* /*m*/) {
        store_half(load_head(rows, at), d);
        for (int half = 0; half < 2; ++half) {
            U8x64 v[4];
            load_groups(rows, at + 2 + 16 * half, v);
            PLRT_UNROLL
            for (int i = 0; i < 4; ++i) {
                store_codes(codes, 4 * half + i, xor_bytes(v[i], kSignedShift));
            }
        }
    }
};

/// The values of the 4-bit codes of IQ4_NL and IQ4_XS, for 16 bytes of nibbles.
inline void store_iq4_values(Rows rows, int64_t at, uint8_t* codes) {
    U8x64 v[4];
    load_groups(rows, at, v);
    PLRT_UNROLL
    for (int i = 0; i < 4; ++i) {
        const U8x64 low = lookup(kIq4Values, bits<0, 15>(v[i]));
        const U8x64 high = lookup(kIq4Values, bits<4, 15>(v[i]));
        store_codes(codes, i, xor_bytes(low, kSignedShift));
        store_codes(codes, 4 + i, xor_bytes(high, kSignedShift));
    }
}

struct IQ4_NL {
    using Block = BlockIQ4_NL;
    static constexpr int kMaxCode = 0;
    static constexpr int kZero = kSignedShift;
    static constexpr bool kHasMin = false;
    static void load(Rows rows, int64_t at, uint8_t* codes, float* d, float* /*m*/) {
        store_half(load_head(rows, at), d);
        store_iq4_values(rows, at + 2, codes);
    }
};

/// Small-block weights by activations in blocks of 32.
template <typename Type>
struct SmallProduct {
    using Panel = SmallPanel;
    using Acts = Activations32;
    static constexpr int64_t kBlockElements = 32;
    static constexpr int64_t kBlockBytes = sizeof(typename Type::Block);

    static Acts activations(const MatmulArgs& a, int64_t col) {
        return activations_32(a.activations + col * a.activation_row_bytes, a.k);
    }

    static void fill(Rows rows, int64_t n_blocks, Panel& p) {
        for (int64_t b = 0; b < n_blocks; ++b) {
            Type::load(rows, b * kBlockBytes, p.codes + 8 * 64 * b, p.d + kPanelRows * b,
                       p.m + kPanelRows * b);
        }
    }

    /// Where the integer sums of a column start: what makes up for the code of the value 0.
    static void start(const Acts& x, int64_t first, int64_t n_blocks, int32_t* starts) {
        if constexpr (Type::kZero != 0) {
            for (int64_t i = 0; i < n_blocks; ++i) starts[i] = -Type::kZero * x.sums[first + i];
        }
    }

    /// Adds n_blocks blocks, the activations' from `first` on, to sums[C * r + c].
    template <int R, int C>
    static void multiply(const Panel* p, int64_t first, int64_t n_blocks, const Acts* x,
                         const ColumnStarts* starts, F32x16* sums) {
        for (int64_t b = 0; b < n_blocks; ++b) {
            I32x16 acc[R * C];
            set_starts<R, C, Type::kZero != 0>(starts, b, acc);
            codes_product<R, C>(p, b, first + b, x, acc);
            PLRT_UNROLL
            for (int i = 0; i < R * C; ++i) {
                const auto& xs = x[i % C];
                const F32x16 d = load(p[i / C].d + kPanelRows * b);
                sums[i] = fma(mul(d, set1(xs.d[first + b])), to_float(acc[i]), sums[i]);
                if constexpr (Type::kHasMin) {
                    const F32x16 m = load(p[i / C].m + kPanelRows * b);
                    sums[i] = fma(m, set1(xs.s[first + b]), sums[i]);
                }
            }
        }
    }

  private:
    template <int R, int C>
    static void codes_product(const Panel* p, int64_t b, int64_t x_block, const Acts* x,
                              I32x16* acc) {
        const uint8_t* w[R];
        const int8_t* q[C];
        PLRT_UNROLL
        for (int r = 0; r < R; ++r) w[r] = p[r].codes + 8 * 64 * b;
        PLRT_UNROLL
        for (int c = 0; c < C; ++c) q[c] = x[c].q + 32 * x_block;
        if constexpr (Type::kMaxCode == 0) {
            dot_signed<R, C, 8>(acc, w, q);
        } else {
            dot_unsigned<R, C, 8, Type::kMaxCode>(acc, w, q);
        }
    }
};

}  // namespace
}  // namespace plrt::PLRT_ISA
