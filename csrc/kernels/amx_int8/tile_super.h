/// Panels of super-blocks by activations in blocks of 256, in tiles: codes are multiplied by their
/// sub-scales as the panel is made, and where that does not fit a byte, go into two.

namespace plrt::PLRT_ISA {
namespace {

template <typename Type>
struct TileSuper {
    static constexpr bool kFolded = Type::kFolded != 0;
    using ByVectors = SuperProduct<Type, kFolded ? ScaleWay::kFolded : ScaleWay::kAfter>;
    using Acts = Activations256;
    static constexpr int64_t kBlockElements = 256;
    static constexpr int64_t kBlockBytes = ByVectors::kBlockBytes;
    static constexpr int kPanels = 2;
    static constexpr int kPlanes = kFolded ? 1 : 2;
    static constexpr bool kHasStart = [] {
        if constexpr (kFolded) return Type::kFoldedZero != 0;
        return false;
    }();
    static_assert(kPanels * kPlanes <= kActivationTile);
    static_assert(!kHasStart || !Type::kHasMins, "finish reads sums of one size");

    struct Sums {
        TileSums plane[kPanels][kPlanes];
    };
    /// In two planes an element is codes + 256 * high, the latter signed.
    struct Panel : SuperPanel {
        alignas(64) uint8_t high[kPlanes == 2 ? 64 * 64 : 64];
    };

    static Acts activations(const MatmulArgs& a, int64_t col) {
        return ByVectors::activations(a, col);
    }

    static void fill(Rows rows, int64_t n_blocks, Panel& p) {
        ByVectors::fill(rows, n_blocks, p);
        if constexpr (kPlanes == 2) split_products(p);
    }

    /// Sums of the unit's super-block. Calls between(begin, end) for runs of the columns 0 … 15.
    template <int R, typename Between>
    static void multiply(TileUnit<TileSuper>& unit, Between between) {
        const int8_t* q = unit.x.q + 256 * unit.block;
        const Panel* p = unit.panels;
        for_each_index<R * kPlanes>([&](auto t) { clear_tile<t>(); });
        for (int i = 0; i < 4; ++i) {
            load_tile<kActivationTile>(q + 64 * i, unit.stride);
            for_each_index<R>([&](auto r) {
                load_tile<kCodesTile>(p[r].codes + 1024 * i, 64);
                multiply_tiles<kPlanes * r, false>();
                if constexpr (kPlanes == 2) {
                    load_tile<kCodesTile>(p[r].high + 1024 * i, 64);
                    multiply_tiles<kPlanes * r + 1, true>();
                }
            });
            between(4 * i, 4 * i + 4);
        }
        for_each_index<R>([&](auto r) {
            for_each_index<kPlanes>([&](auto plane) {
                store_tile<kPlanes * r + plane>(unit.found.plane[r][plane].of, 64);
            });
        });
    }

    /// Adds the columns [begin, end) of the unit to its sums.
    template <int R>
    static void finish(const TileUnit<TileSuper>& unit, int begin, int end) {
        for (int c = begin; c < end; ++c) {
            const F32x16 xd = set1(unit.in_column(unit.x.d, c)[unit.block]);
            const int16_t* sums = Type::kSub == 16 && Type::kHasMins
                                      ? unit.in_column(unit.x.sums, c) + 16 * unit.block
                                      : unit.in_column(unit.x.sums32, c) + 8 * unit.block;
            const I32x16 start = start_of(sums);
            PLRT_UNROLL
            for (int r = 0; r < R; ++r) {
                float* to = unit.sums + kMatmulRows * c + kPanelRows * r;
                const F32x16 sum = unit.block == 0 ? zero() : load(to);
                const TileSums* found = unit.found.plane[r];
                store(to, add_super(unit.panels[r], found, c, start, xd, sums, sum));
            }
        }
    }

  private:
    /// What makes up for codes that were made positive, in a column with these sums.
    static I32x16 start_of(const int16_t* sums) {
        I32x16 start = izero();
        if constexpr (kHasStart) {
            constexpr uint32_t kOne = static_cast<uint16_t>(-Type::kFoldedZero);
            const I32x16 factors = iset1(static_cast<int32_t>(kOne << 16 | kOne));
            PLRT_UNROLL
            for (int i = 0; i < 8; i += 2) start = dot_pairs(start, factors, sums + i);
        }
        return start;
    }

    static F32x16 add_super(const Panel& p, const TileSums* found, int c, I32x16 start, F32x16 xd,
                            const int16_t* sums, F32x16 sum) {
        I32x16 dot = iload(found[0].of + kPanelRows * c);
        if constexpr (kHasStart) dot = iadd(dot, start);
        if constexpr (kPlanes == 2) {
            dot = iadd(dot, shift_left<8>(iload(found[1].of + kPanelRows * c)));
        }
        sum = fma(mul(load(p.d), xd), to_float(dot), sum);
        if constexpr (Type::kHasMins) {
            I32x16 rest = izero();
            PLRT_UNROLL
            for (int s = 0; s < 128 / Type::kSub; ++s) {
                rest = dot_pairs(rest, iload(p.mins + kPanelRows * s), sums + 2 * s);
            }
            sum = fma(mul(load(p.minus_dmin), xd), to_float(rest), sum);
        }
        return sum;
    }

    /// Codes less their zero times their sub-scales, to low and high bytes. Both factors are within
    /// -128 … 127, the products within an int16.
    static void split_products(Panel& p) {
        constexpr int kSteps = Type::kSub / 4;
        for (int sub = 0; sub < 256 / Type::kSub; ++sub) {
            const __m512i scale = iload(p.scales + kPanelRows * sub).v;
            const __m512i low_half = _mm512_and_si512(scale, _mm512_set1_epi32(0xffff));
            const __m512i scales = _mm512_or_si512(low_half, _mm512_slli_epi32(scale, 16));
            PLRT_UNROLL
            for (int step = kSteps * sub; step < kSteps * (sub + 1); ++step) {
                split_step(p.codes + 64 * step, scales, p.high + 64 * step);
            }
        }
    }

    /// scales: int16. Bytes of even and of odd numbers are multiplied apart.
    static PLRT_INLINE void split_step(uint8_t* codes, __m512i scales, uint8_t* high) {
        constexpr __mmask64 kOdd = 0xaaaaaaaaaaaaaaaau;
        const __m512i both = load_bytes(codes).v;
        const __m512i zero = _mm512_set1_epi16(Type::kZero);
        __m512i even = _mm512_and_si512(both, _mm512_set1_epi16(0xff));
        __m512i odd = _mm512_srli_epi16(both, 8);
        even = _mm512_mullo_epi16(_mm512_sub_epi16(even, zero), scales);
        odd = _mm512_mullo_epi16(_mm512_sub_epi16(odd, zero), scales);
        store_bytes(codes, {_mm512_mask_mov_epi8(even, kOdd, _mm512_slli_epi16(odd, 8))});
        store_bytes(high, {_mm512_mask_mov_epi8(_mm512_srli_epi16(even, 8), kOdd, odd)});
    }
};

}  // namespace
}  // namespace plrt::PLRT_ISA
