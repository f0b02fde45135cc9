/// Panels of super-blocks by activations in blocks of 256.

namespace plrt::PLRT_ISA {
namespace {

/// When codes meet their sub-scales; the integer sums are the same.
enum class ScaleWay {
    kAfter,   // each sub-block's sum is multiplied
    kNarrow,  // the same in one instruction, where sums fit int16: sets with kNarrowSums
    kInDots,  // the dot products multiply while they sum: sets with kScalesInDots
    kFolded,  // codes are multiplied as the panel is made, where that fits a code
};

template <typename Type>
constexpr ScaleWay scale_way(bool many_columns) {
    if (kScalesInDots && Type::kMaxCode != 0) {
        return many_columns || Type::kZero == 0 ? ScaleWay::kInDots : ScaleWay::kAfter;
    }
    if (!many_columns) return ScaleWay::kAfter;
    if (Type::kFolded != 0) return ScaleWay::kFolded;
    return kNarrowSums && Type::kCentre != 0 ? ScaleWay::kNarrow : ScaleWay::kAfter;
}

/// Ways other than kAfter cost more as the panel is made; most pay when many columns meet it.
template <typename Type, ScaleWay kWay>
struct SuperProduct {
    using Panel = SuperPanel;
    using Acts = Activations256;
    static constexpr int64_t kBlockElements = 256;
    static constexpr int64_t kBlockBytes = sizeof(typename Type::Block);

    static Acts activations(const MatmulArgs& a, int64_t col) {
        return activations_256(a.activations + col * a.activation_row_bytes, a.k);
    }

    static void fill(Rows rows, int64_t /*n_blocks: one*/, Panel& p) {
        Type::fill(rows, p);
        if constexpr (kWay == ScaleWay::kFolded) fold_scales(p);
        if constexpr (kWay == ScaleWay::kInDots) pair_scales(p);
        if constexpr (kWay == ScaleWay::kNarrow) add_centres(p);
    }

    /// Where the integer sums of a column start: what is taken from the codes, by its activations.
    static void start(const Acts& x, int64_t b, int64_t /*n_blocks: one*/, int32_t* starts) {
        if constexpr (kWay == ScaleWay::kFolded) {
            int32_t sum = 0;
            for (int i = 0; i < 8; ++i) sum += x.sums32[8 * b + i];
            starts[0] = -Type::kFoldedZero * sum;
        } else if constexpr (kStart != 0) {
            const int16_t* sums = Type::kSub == 16 ? x.sums + 16 * b : x.sums32 + 8 * b;
            for (int i = 0; i < 256 / Type::kSub; ++i) starts[i] = -kStart * sums[i];
        }
    }

    /// Adds the super-block, the activations' `b`, to sums[C * r + c].
    template <int R, int C>
    static void multiply(const Panel* p, int64_t b, int64_t /*n_blocks: one*/, const Acts* x,
                         const ColumnStarts* starts, F32x16* sums) {
        I32x16 main[R * C];
        I32x16 rest[R * C];
        if constexpr (kWay == ScaleWay::kFolded) {
            folded_product<R, C>(p, b, x, starts, main);
        } else if constexpr (kWay == ScaleWay::kInDots) {
            scaled_product<R, C>(p, b, x, main);
        } else {
            codes_product<R, C>(p, b, x, starts, main);
        }
        if constexpr (Type::kHasMins) pairs_product<R, C>(p, 0, b, x, rest);
        PLRT_UNROLL
        for (int i = 0; i < R * C; ++i) {
            const F32x16 xd = set1(x[i % C].d[b]);
            sums[i] = fma(mul(load(p[i / C].d), xd), to_float(main[i]), sums[i]);
            if constexpr (Type::kHasMins) {
                sums[i] = fma(mul(load(p[i / C].minus_dmin), xd), to_float(rest[i]), sums[i]);
            }
        }
    }

  private:
    static constexpr bool kHasZero = Type::kZero != 0;
    /// What is taken from the codes as each sub-block's sum starts.
    static constexpr int kStart = kWay == ScaleWay::kAfter    ? Type::kZero
                                  : kWay == ScaleWay::kNarrow ? Type::kCentre
                                                              : 0;
    static_assert(kWay != ScaleWay::kNarrow || Type::kMaxCode <= 2 * Type::kCentre);
    static_assert(kWay != ScaleWay::kNarrow || Type::kCentre * 127 * Type::kSub <= 32767);
    static_assert(kWay != ScaleWay::kNarrow || (Type::kZero == 0 && Type::kSub == 32));
    static_assert(kWay != ScaleWay::kInDots || !kHasZero || !Type::kHasMins,
                  "both take SuperPanel::mins");
    static constexpr int kSteps = Type::kSub / 4;
    static constexpr int64_t kPairs = 128 / Type::kSub;

    static void fold_scales(Panel& p) {
        for (int64_t s = 0; s < 256 / Type::kSub; ++s) {
            const I32x16 scale = iload(p.scales + kPanelRows * s);
            const U8x64 zero = mul_bytes(set1_bytes(-Type::kZero), scale);
            const U8x64 shift = add_bytes(zero, set1_bytes(Type::kFoldedZero));
            PLRT_UNROLL
            for (int i = 0; i < kSteps; ++i) {
                uint8_t* codes = p.codes + 64 * (kSteps * s + i);
                store_bytes(codes, add_bytes(mul_bytes(load_bytes(codes), scale), shift));
            }
        }
    }

    /// Scales to pairs of one int16 twice; the mins of types that have none get what makes up for
    /// the code of the value 0.
    static void pair_scales(Panel& p) {
        if constexpr (kHasZero) {
            for (int64_t s = 0; s < kPairs; ++s) {
                const I32x16 even = iload(p.scales + kPanelRows * 2 * s);
                const I32x16 odd = iload(p.scales + kPanelRows * (2 * s + 1));
                const I32x16 low = imul_add(izero(), even, iset1(-Type::kZero));
                istore(p.mins + kPanelRows * s,
                       imul_add(and_ints(low, 0xffff), odd, iset1(-Type::kZero * 65536)));
            }
        }
        for (int64_t s = 0; s < 256 / Type::kSub; ++s) {
            const I32x16 low = and_ints(iload(p.scales + kPanelRows * s), 0xffff);
            istore(p.scales + kPanelRows * s, iadd(low, shift_left<16>(low)));
        }
    }

    /// What makes up for kCentre, behind the mins: it times the scales, all in 0 … 32767.
    static void add_centres(Panel& p) {
        for (int64_t s = 0; s < kPairs; ++s) {
            const I32x16 even = iload(p.scales + kPanelRows * 2 * s);
            const I32x16 odd = iload(p.scales + kPanelRows * (2 * s + 1));
            const I32x16 pairs = iadd(even, shift_left<16>(odd));
            istore(p.mins + kPanelRows * (kPairs + s),
                   imul_add(izero(), pairs, iset1(Type::kCentre)));
        }
    }

    template <int R, int C, int kSteps, int kMaxCode>
    static void dot(I32x16* acc, const uint8_t* const* w, const int8_t* const* q) {
        if constexpr (kMaxCode == 0) {
            dot_signed<R, C, kSteps>(acc, w, q);
        } else {
            dot_unsigned<R, C, kSteps, kMaxCode>(acc, w, q);
        }
    }

    /// Codes and activations of a super-block, from its start on.
    template <int R, int C>
    struct Operands {
        const uint8_t* w[R];
        const int8_t* q[C];

        Operands(const Panel* p, int64_t b, const Acts* x) {
            PLRT_UNROLL
            for (int r = 0; r < R; ++r) w[r] = p[r].codes;
            PLRT_UNROLL
            for (int c = 0; c < C; ++c) q[c] = x[c].q + 256 * b;
        }
        void advance(int elements) {
            PLRT_UNROLL
            for (int r = 0; r < R; ++r) w[r] += 16 * elements;
            PLRT_UNROLL
            for (int c = 0; c < C; ++c) q[c] += elements;
        }
    };

    template <int R, int C>
    static void folded_product(const Panel* p, int64_t b, const Acts* x, const ColumnStarts* starts,
                               I32x16* sums) {
        Operands<R, C> at(p, b, x);
        set_starts<R, C, Type::kFoldedZero != 0>(starts, 0, sums);
        for (int64_t i = 0; i < 8; ++i) {
            dot<R, C, 8, Type::kFolded>(sums, at.w, at.q);
            at.advance(32);
        }
    }

    template <int R, int C>
    static void codes_product(const Panel* p, int64_t b, const Acts* x, const ColumnStarts* starts,
                              I32x16* sums) {
        Operands<R, C> at(p, b, x);
        if constexpr (kWay == ScaleWay::kNarrow) {
            pairs_product<R, C>(p, kPairs, b, x, sums);
        } else {
            PLRT_UNROLL
            for (int i = 0; i < R * C; ++i) sums[i] = izero();
        }
        for (int64_t s = 0; s < 256 / Type::kSub; ++s) {
            I32x16 acc[R * C];
            set_starts<R, C, kStart != 0>(starts, s, acc);
            dot<R, C, kSteps, Type::kMaxCode>(acc, at.w, at.q);
            PLRT_UNROLL
            for (int r = 0; r < R; ++r) {
                const I32x16 scales = iload(p[r].scales + kPanelRows * s);
                if constexpr (kWay == ScaleWay::kNarrow) {
                    imul_add_narrow<C>(sums + C * r, acc + C * r, scales);
                } else {
                    PLRT_UNROLL
                    for (int c = 0; c < C; ++c) {
                        sums[C * r + c] = imul_add(sums[C * r + c], acc[C * r + c], scales);
                    }
                }
            }
            at.advance(Type::kSub);
        }
    }

    template <int R, int C>
    static void scaled_product(const Panel* p, int64_t b, const Acts* x, I32x16* sums) {
        Operands<R, C> at(p, b, x);
        if constexpr (kHasZero) {
            pairs_product<R, C>(p, 0, b, x, sums);
        } else {
            PLRT_UNROLL
            for (int i = 0; i < R * C; ++i) sums[i] = izero();
        }
        for (int64_t s = 0; s < 256 / Type::kSub; ++s) {
            I32x16 scales[R];
            PLRT_UNROLL
            for (int r = 0; r < R; ++r) scales[r] = iload(p[r].scales + kPanelRows * s);
            dot_scaled<R, C, kSteps, Type::kMaxCode>(sums, at.w, at.q, scales);
            at.advance(Type::kSub);
        }
    }

    /// The pairs from the vector `first` of SuperPanel::mins on, by the sums of the activations.
    template <int R, int C>
    static void pairs_product(const Panel* p, int64_t first, int64_t b, const Acts* x,
                              I32x16* sums) {
        const int16_t* pairs[C];
        PLRT_UNROLL
        for (int c = 0; c < C; ++c) {
            pairs[c] = Type::kSub == 16 ? x[c].sums + 16 * b : x[c].sums32 + 8 * b;
        }
        PLRT_UNROLL
        for (int i = 0; i < R * C; ++i) sums[i] = izero();
        for (int64_t s = 0; s < kPairs; ++s) {
            PLRT_UNROLL
            for (int i = 0; i < R * C; ++i) {
                const I32x16 factors = iload(p[i / C].mins + kPanelRows * (first + s));
                sums[i] = dot_pairs(sums[i], factors, pairs[i % C] + 2 * s);
            }
        }
    }
};

}  // namespace
}  // namespace plrt::PLRT_ISA
