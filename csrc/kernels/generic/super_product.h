/// Panels of super-blocks by activations in blocks of 256.

namespace plrt::PLRT_ISA {
namespace {

/// kFold: multiply the codes by their sub-scales as the panel is made, where the product fits a
/// code. That pays when many columns meet the panel; the integer sums are the same.
template <typename Type, bool kFold>
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
        if constexpr (kFold) fold_scales(p);
    }

    /// Adds the super-block, the activations' `b`, to sums.
    template <int C>
    static void multiply(const Panel& p, int64_t b, int64_t /*n_blocks: one*/, const Acts* x,
                         F32x16* sums) {
        I32x16 main[C];
        I32x16 rest[C];
        if constexpr (kFold) {
            folded_product<C>(p, b, x, main);
        } else {
            codes_product<C>(p, b, x, main);
        }
        if constexpr (kHasMins) mins_product<C>(p, b, x, rest);
        const F32x16 d = load(p.d);
        PLRT_UNROLL
        for (int c = 0; c < C; ++c) {
            if constexpr (Type::kMins == Mins::kTimesD) main[c] = isub(main[c], rest[c]);
            const F32x16 xd = set1(x[c].d[b]);
            sums[c] = fma(mul(d, xd), to_float(main[c]), sums[c]);
            if constexpr (Type::kMins == Mins::kTimesDmin) {
                sums[c] = fma(mul(load(p.minus_dmin), xd), to_float(rest[c]), sums[c]);
            }
        }
    }

  private:
    static constexpr bool kHasMins = Type::kMins != Mins::kNone;
    static constexpr int kSteps = Type::kSub / 4;

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

    template <int C, int kSteps, int kMaxCode>
    static void dot(I32x16* acc, const uint8_t* codes, const int8_t* const* q) {
        if constexpr (kMaxCode == 0) {
            dot_signed<C, kSteps>(acc, codes, q);
        } else {
            dot_unsigned<C, kSteps, kMaxCode>(acc, codes, q);
        }
    }

    template <int C>
    static void folded_product(const Panel& p, int64_t b, const Acts* x, I32x16* sums) {
        const int8_t* q[C];
        PLRT_UNROLL
        for (int c = 0; c < C; ++c) {
            sums[c] = izero();
            q[c] = x[c].q + 256 * b;
        }
        for (int64_t i = 0; i < 8; ++i) {
            dot<C, 8, Type::kFolded>(sums, p.codes + 8 * 64 * i, q);
            PLRT_UNROLL
            for (int c = 0; c < C; ++c) q[c] += 32;
        }
    }

    template <int C>
    static void codes_product(const Panel& p, int64_t b, const Acts* x, I32x16* sums) {
        const int8_t* q[C];
        PLRT_UNROLL
        for (int c = 0; c < C; ++c) {
            sums[c] = izero();
            q[c] = x[c].q + 256 * b;
        }
        for (int64_t s = 0; s < 256 / Type::kSub; ++s) {
            I32x16 acc[C];
            PLRT_UNROLL
            for (int c = 0; c < C; ++c) acc[c] = izero();
            dot<C, kSteps, Type::kMaxCode>(acc, p.codes + 64 * kSteps * s, q);
            const I32x16 scale = iload(p.scales + kPanelRows * s);
            PLRT_UNROLL
            for (int c = 0; c < C; ++c) {
                sums[c] = imul_add(sums[c], acc[c], scale);
                q[c] += Type::kSub;
            }
        }
    }

    static I32x16 min_pairs(const Panel& p, int64_t s) {
        if constexpr (kFold && Type::kMins == Mins::kTimesD) {
            return iset1(Type::kFoldedZero | Type::kFoldedZero << 16);
        }
        return iload(p.mins + kPanelRows * s);
    }

    template <int C>
    static void mins_product(const Panel& p, int64_t b, const Acts* x, I32x16* sums) {
        PLRT_UNROLL
        for (int c = 0; c < C; ++c) sums[c] = izero();
        for (int64_t s = 0; s < 8; ++s) {
            const I32x16 pairs = min_pairs(p, s);
            PLRT_UNROLL
            for (int c = 0; c < C; ++c) {
                sums[c] = dot_pairs(sums[c], pairs, x[c].sums + 16 * b + 2 * s);
            }
        }
    }
};

}  // namespace
}  // namespace plrt::PLRT_ISA
