/// Prompt-sized products: 16 weight rows are unpacked into a panel in which a vector holds 4 codes
/// of each row, and the panel meets the activation rows 8 at a time. Sums need no reduction over
/// lanes. The arithmetic of an element is that of matmul.h, so the bits are the same.
///
/// Codes are unsigned here: signed ones are shifted by 128, which the sums of x take back exactly.

namespace plrt::PLRT_ISA {
namespace {

/// Activation rows that make a panel worth its making.
constexpr int64_t kPanelMinCols = 8;
constexpr int kColumnTile = 8;
constexpr int32_t kShift = 128;

/// Writes a tile of sums (16 rows) of one column.
inline void store_panel(const MatmulArgs& a, int64_t first, int64_t col, F32x16 sums) {
    const int64_t n = a.row_end - first < kPanelRows ? a.row_end - first : kPanelRows;
    if (a.bias != nullptr) sums = add(sums, load_part(a.bias + first, n));
    store_part(a.out + col * a.out_stride + first, sums, n);
}

/// Small blocks. codes [k/4][row][4], d and m [k/32][row].
template <typename Type>
struct SmallPanels {
    using Acts = Activations32;
    uint8_t* codes;
    float* d;
    float* m;

    SmallPanels(const MatmulArgs& a) {
        uint8_t* rest = a.scratch;
        codes = take<uint8_t>(rest, kPanelRows * (a.k + 32));  // interleaved two blocks at a time
        d = take<float>(rest, kPanelRows * a.k / 32);
        m = take<float>(rest, kPanelRows * a.k / 32);
    }

    static Acts activations(const MatmulArgs& a, int64_t col) {
        return activations_32(a.activations + col * a.activation_row_bytes, a.k);
    }

    void fill(const MatmulArgs& a, int64_t first) {
        alignas(64) uint8_t rows[kPanelRows][64] = {};
        for (int64_t b = 0; b < a.k / 32; b += 2) {
            const int n_blocks = b + 1 < a.k / 32 ? 2 : 1;
            for (int64_t r = 0; r < kPanelRows; ++r) {
                const auto* blocks =
                    reinterpret_cast<const typename Type::Block*>(weight_row(a, first, r));
                for (int i = 0; i < n_blocks; ++i) {
                    Type::codes(blocks[b + i], rows[r] + 32 * i);
                    d[kPanelRows * (b + i) + r] = half(blocks[b + i].d);
                    if constexpr (Type::kHasMin) {
                        m[kPanelRows * (b + i) + r] = half(blocks[b + i].m);
                    }
                }
                if constexpr (Type::kSigned) {
                    for (int i = 0; i < 64; ++i) rows[r][i] ^= kShift;
                }
            }
            interleave(rows[0], 64, codes + kPanelRows * 32 * b);
        }
    }

    template <int C>
    void dot(int64_t k, const Acts* x, F32x16* sums) const {
        for (int c = 0; c < C; ++c) sums[c] = zero();
        for (int64_t b = 0; b < k / 32; ++b) {
            I32x16 acc[C];
            for (int c = 0; c < C; ++c) {
                acc[c] = Type::kSigned ? iset1(-kShift * x[c].sums[b]) : izero();
            }
            for (int64_t i = 0; i < 8; ++i) {
                const I32x16 w = iload(codes + 64 * (8 * b + i));
                for (int c = 0; c < C; ++c) acc[c] = dot4(acc[c], w, x[c].q + 32 * b + 4 * i);
            }
            const F32x16 scale = load(d + kPanelRows * b);
            for (int c = 0; c < C; ++c) {
                sums[c] = fma(mul(scale, set1(x[c].d[b])), to_float(acc[c]), sums[c]);
                if constexpr (Type::kHasMin) {
                    sums[c] = fma(load(m + kPanelRows * b), set1(x[c].s[b]), sums[c]);
                }
            }
        }
    }
};

/// Super-blocks. codes [k/4][row][4], scales [k/kSub][row] int32, mins [k/32][row][2] int16,
/// d and minus_dmin [k/256][row]. Where scale times code fits a byte (Q2_K, Q3_K) it is folded
/// into the codes and scales are not used.
template <typename Type>
struct SuperPanels {
    using Acts = Activations256;
    static constexpr int kSub = Type::kSubBlock;
    uint8_t* codes;
    int32_t* scales;
    int16_t* mins;
    float* d;
    float* minus_dmin;

    SuperPanels(const MatmulArgs& a) {
        uint8_t* rest = a.scratch;
        codes = take<uint8_t>(rest, kPanelRows * a.k);
        scales = take<int32_t>(rest, kPanelRows * a.k / kSub);
        mins = take<int16_t>(rest, kPanelRows * a.k / 16);
        d = take<float>(rest, kPanelRows * a.k / 256);
        minus_dmin = take<float>(rest, kPanelRows * a.k / 256);
    }

    static Acts activations(const MatmulArgs& a, int64_t col) {
        return activations_256(a.activations + col * a.activation_row_bytes, a.k);
    }

    void fill(const MatmulArgs& a, int64_t first) {
        alignas(64) uint8_t rows[kPanelRows][256];
        for (int64_t b = 0; b < a.k / 256; ++b) {
            for (int64_t r = 0; r < kPanelRows; ++r) {
                const auto* blocks =
                    reinterpret_cast<const typename Type::Block*>(weight_row(a, first, r));
                fill_row(blocks[b], b, r, rows[r]);
            }
            for (int64_t part = 0; part < 4; ++part) {
                interleave(rows[0] + 64 * part, 256, codes + kPanelRows * (256 * b + 64 * part));
            }
        }
    }

    void fill_row(const typename Type::Block& block, int64_t b, int64_t r, uint8_t* row) {
        int16_t scale[16];
        int16_t min[16];
        Type::codes(block, row);
        Type::scales(block, scale, min);
        d[kPanelRows * b + r] = half(block.d);
        if constexpr (Type::kMins == Mins::kTimesDmin) {
            minus_dmin[kPanelRows * b + r] = -half(block.dmin);
        }
        if constexpr (Type::kFold >= 0) {
            for (int s = 0; s < 16; ++s) {
                for (int i = 0; i < 16; ++i) {
                    const int code = row[16 * s + i] - Type::kZero;
                    row[16 * s + i] = static_cast<uint8_t>(code * scale[s] + Type::kFold);
                }
            }
        } else {
            if constexpr (Type::kSigned) {
                for (int i = 0; i < 256; ++i) row[i] ^= kShift;
                for (int s = 0; s < 16; ++s) min[s] = static_cast<int16_t>(kShift * scale[s]);
            }
            for (int s = 0; s < 256 / kSub; ++s) {
                scales[kPanelRows * (256 / kSub * b + s) + r] = scale[s * kSub / 16];
            }
        }
        for (int s = 0; s < 8; ++s) {
            int16_t* pair = mins + 2 * (kPanelRows * (8 * b + s) + r);
            pair[0] = min[2 * s];
            pair[1] = min[2 * s + 1];
        }
    }

    /// Integer sums of one super-block: codes with scales, and mins.
    template <int C>
    void dot_codes_of(int64_t b, const Acts* x, I32x16* sums) const {
        const uint8_t* w = codes + kPanelRows * 256 * b;
        for (int c = 0; c < C; ++c) sums[c] = izero();
        for (int64_t s = 0; s < 256 / kSub; ++s) {
            I32x16 acc[C];
            for (int c = 0; c < C; ++c) acc[c] = Type::kFold >= 0 ? sums[c] : izero();
            for (int64_t i = s * kSub; i < (s + 1) * kSub; i += 4) {
                const I32x16 four = iload(w + kPanelRows * i);
                for (int c = 0; c < C; ++c) acc[c] = dot4(acc[c], four, x[c].q + 256 * b + i);
            }
            if constexpr (Type::kFold >= 0) {
                for (int c = 0; c < C; ++c) sums[c] = acc[c];
            } else {
                const I32x16 scale = iload(scales + kPanelRows * (256 / kSub * b + s));
                for (int c = 0; c < C; ++c) sums[c] = iadd(sums[c], imul(acc[c], scale));
            }
        }
    }

    template <int C>
    void dot_mins_of(int64_t b, const Acts* x, I32x16* sums) const {
        for (int c = 0; c < C; ++c) sums[c] = izero();
        for (int64_t s = 0; s < 8; ++s) {
            const I32x16 pairs = Type::kFold > 0 ? iset1(Type::kFold | (Type::kFold << 16))
                                                 : iload(mins + 2 * kPanelRows * (8 * b + s));
            for (int c = 0; c < C; ++c) {
                sums[c] = dot2(sums[c], pairs, x[c].sums + 16 * b + 2 * s);
            }
        }
    }

    template <int C>
    void dot(int64_t k, const Acts* x, F32x16* sums) const {
        constexpr bool kOwnMins = Type::kMins == Mins::kTimesDmin;
        for (int c = 0; c < C; ++c) sums[c] = zero();
        for (int64_t b = 0; b < k / 256; ++b) {
            I32x16 main[C];
            I32x16 rest[C];
            dot_codes_of<C>(b, x, main);
            dot_mins_of<C>(b, x, rest);
            const F32x16 scale = load(d + kPanelRows * b);
            for (int c = 0; c < C; ++c) {
                if constexpr (!kOwnMins) main[c] = isub(main[c], rest[c]);
                const F32x16 xd = set1(x[c].d[b]);
                sums[c] = fma(mul(scale, xd), to_float(main[c]), sums[c]);
                if constexpr (kOwnMins) {
                    const F32x16 dmin = load(minus_dmin + kPanelRows * b);
                    sums[c] = fma(mul(dmin, xd), to_float(rest[c]), sums[c]);
                }
            }
        }
    }
};

template <typename Panels, int C>
void panel_columns(const MatmulArgs& a, const Panels& panels, int64_t first, int64_t col) {
    typename Panels::Acts x[C];
    F32x16 sums[C];
    for (int c = 0; c < C; ++c) x[c] = Panels::activations(a, col + c);
    panels.template dot<C>(a.k, x, sums);
    for (int c = 0; c < C; ++c) store_panel(a, first, col + c, sums[c]);
}

template <typename Panels>
void panel_matmul(const MatmulArgs& a) {
    Panels panels(a);
    for (int64_t first = a.row_begin; first < a.row_end; first += kPanelRows) {
        panels.fill(a, first);
        int64_t col = 0;
        for (; col + kColumnTile <= a.n_cols; col += kColumnTile) {
            panel_columns<Panels, kColumnTile>(a, panels, first, col);
        }
        for (; col + 2 <= a.n_cols; col += 2) panel_columns<Panels, 2>(a, panels, first, col);
        if (col < a.n_cols) panel_columns<Panels, 1>(a, panels, first, col);
    }
}

}  // namespace
}  // namespace plrt::PLRT_ISA
