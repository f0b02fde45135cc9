/// Rows of weights times rows of activations, four weight rows at a time. A tile of weight rows is
/// unpacked once into scratch and then meets every activation row, so that one row (generation)
/// and many (a prompt) run the same arithmetic.
///
/// Canonical order of an element: blocks ascending; in a block one exact integer sum, one
/// conversion to float, one fma with d * d_x; then, where the type has mins, one fma more.

namespace plrt::PLRT_ISA {
namespace {

constexpr int64_t kTile = 4;

/// Start of the weight row r of a tile; rows past the end repeat the last one.
inline const uint8_t* weight_row(const MatmulArgs& a, int64_t first, int64_t r) {
    const int64_t row = first + r < a.row_end ? first + r : a.row_end - 1;
    return a.weights + row * a.weight_row_bytes;
}

inline void store_tile(const MatmulArgs& a, int64_t first, int64_t col, F32x4 sums) {
    float result[kTile];
    if (a.bias != nullptr) {
        float bias[kTile] = {};
        for (int64_t r = 0; r < kTile && first + r < a.row_end; ++r) bias[r] = a.bias[first + r];
        sums = add4(sums, load4(bias));
    }
    store4(result, sums);
    float* out = a.out + col * a.out_stride + first;
    for (int64_t r = 0; r < kTile && first + r < a.row_end; ++r) out[r] = result[r];
}

template <typename T>
T* take(uint8_t*& scratch, int64_t count) {
    T* part = reinterpret_cast<T*>(scratch);
    scratch += activation_part(count * static_cast<int64_t>(sizeof(T)));
    return part;
}

template <typename Type>
inline Dot dot_codes(Dot acc, const uint8_t* codes, const int8_t* x, const int16_t* scales) {
    if constexpr (Type::kSigned) {
        return dot_signed(acc, reinterpret_cast<const int8_t*>(codes), x, scales);
    } else {
        return dot_unsigned(acc, codes, x, scales);
    }
}

alignas(32) constexpr int16_t kOnes[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

/// Four rows of 32-element blocks: codes[row][k], d and m [block][row].
struct SmallPanel {
    uint8_t* codes;
    float* d;
    float* m;
};

template <typename Type>
void unpack_small(const MatmulArgs& a, int64_t first, const SmallPanel& p) {
    for (int64_t r = 0; r < kTile; ++r) {
        const auto* blocks = reinterpret_cast<const typename Type::Block*>(weight_row(a, first, r));
        for (int64_t b = 0; b < a.k / 32; ++b) {
            Type::codes(blocks[b], p.codes + r * a.k + 32 * b);
            p.d[kTile * b + r] = half(blocks[b].d);
            if constexpr (Type::kHasMin) p.m[kTile * b + r] = half(blocks[b].m);
        }
    }
}

template <typename Type>
void matmul_small(const MatmulArgs& a) {
    uint8_t* rest = a.scratch;
    SmallPanel p;
    p.codes = take<uint8_t>(rest, kTile * a.k);
    p.d = take<float>(rest, kTile * a.k / 32);
    p.m = take<float>(rest, kTile * a.k / 32);
    for (int64_t first = a.row_begin; first < a.row_end; first += kTile) {
        unpack_small<Type>(a, first, p);
        for (int64_t col = 0; col < a.n_cols; ++col) {
            const Activations32 x =
                activations_32(a.activations + col * a.activation_row_bytes, a.k);
            F32x4 acc = set4(0.0f);
            for (int64_t b = 0; b < a.k / 32; ++b) {
                Dot dot[kTile];
                for (int64_t r = 0; r < kTile; ++r) {
                    const uint8_t* codes = p.codes + r * a.k + 32 * b;
                    dot[r] = dot_codes<Type>(dot_zero(), codes, x.q + 32 * b, kOnes);
                }
                const F32x4 sums = to_float4(reduce4(dot[0], dot[1], dot[2], dot[3]));
                acc = fma4(mul4(load4(p.d + kTile * b), set4(x.d[b])), sums, acc);
                if constexpr (Type::kHasMin) {
                    acc = fma4(load4(p.m + kTile * b), set4(x.s[b]), acc);
                }
            }
            store_tile(a, first, col, acc);
        }
    }
}

/// Four rows of super-blocks: codes[row][k], scales[row][k / 32][16], mins[row][k / 16],
/// d and minus_dmin [block][row].
struct SuperPanel {
    uint8_t* codes;
    int16_t* scales;
    int16_t* mins;
    float* d;
    float* minus_dmin;
};

template <typename Type>
void unpack_super(const MatmulArgs& a, int64_t first, const SuperPanel& p) {
    for (int64_t r = 0; r < kTile; ++r) {
        const auto* blocks = reinterpret_cast<const typename Type::Block*>(weight_row(a, first, r));
        for (int64_t b = 0; b < a.k / 256; ++b) {
            Type::codes(blocks[b], p.codes + r * a.k + 256 * b);
            int16_t scale[16];
            Type::scales(blocks[b], scale, p.mins + (r * a.k + 256 * b) / 16);
            int16_t* wide = p.scales + (r * a.k + 256 * b) / 2;
            for (int s = 0; s < 16; ++s) {
                for (int i = 0; i < 8; ++i) wide[8 * s + i] = scale[s];
            }
            p.d[kTile * b + r] = half(blocks[b].d);
            if constexpr (Type::kMins == Mins::kTimesDmin) {
                p.minus_dmin[kTile * b + r] = -half(blocks[b].dmin);
            }
        }
    }
}

/// One super-block of four rows with one activation row, added to acc.
template <typename Type>
inline F32x4 dot_super(const SuperPanel& p, int64_t k, int64_t b, const Activations256& x,
                       F32x4 acc) {
    Dot dot[kTile];
    for (int64_t r = 0; r < kTile; ++r) {
        const int64_t base = r * k + 256 * b;
        dot[r] = dot_zero();
        for (int64_t s = 0; s < 8; ++s) {
            dot[r] = dot_codes<Type>(dot[r], p.codes + base + 32 * s, x.q + 256 * b + 32 * s,
                                     p.scales + base / 2 + 16 * s);
        }
    }
    I32x4 sums = reduce4(dot[0], dot[1], dot[2], dot[3]);
    const F32x4 d = mul4(load4(p.d + kTile * b), set4(x.d[b]));
    if constexpr (Type::kMins == Mins::kNone) return fma4(d, to_float4(sums), acc);
    for (int64_t r = 0; r < kTile; ++r) {
        dot[r] = dot_i16(p.mins + (r * k + 256 * b) / 16, x.sums + 16 * b);
    }
    const I32x4 mins = reduce4(dot[0], dot[1], dot[2], dot[3]);
    if constexpr (Type::kMins == Mins::kTimesD) {
        return fma4(d, to_float4(sub4(sums, mins)), acc);
    } else {
        acc = fma4(d, to_float4(sums), acc);
        const F32x4 dmin = mul4(load4(p.minus_dmin + kTile * b), set4(x.d[b]));
        return fma4(dmin, to_float4(mins), acc);
    }
}

template <typename Type>
void matmul_super(const MatmulArgs& a) {
    uint8_t* rest = a.scratch;
    SuperPanel p;
    p.codes = take<uint8_t>(rest, kTile * a.k);
    p.scales = take<int16_t>(rest, kTile * a.k / 2);
    p.mins = take<int16_t>(rest, kTile * a.k / 16);
    p.d = take<float>(rest, kTile * a.k / 256);
    p.minus_dmin = take<float>(rest, kTile * a.k / 256);
    for (int64_t first = a.row_begin; first < a.row_end; first += kTile) {
        unpack_super<Type>(a, first, p);
        for (int64_t col = 0; col < a.n_cols; ++col) {
            const Activations256 x =
                activations_256(a.activations + col * a.activation_row_bytes, a.k);
            F32x4 acc = set4(0.0f);
            for (int64_t b = 0; b < a.k / 256; ++b) acc = dot_super<Type>(p, a.k, b, x, acc);
            store_tile(a, first, col, acc);
        }
    }
}

struct F32 {
    using Element = float;
    static F32x16 load_vector(const float* p) { return load(p); }
};
struct F16 {
    using Element = uint16_t;
    static F32x16 load_vector(const uint16_t* p) { return load_f16(p); }
};
struct BF16 {
    using Element = uint16_t;
    static F32x16 load_vector(const uint16_t* p) { return load_bf16(p); }
};

/// Float weights: 16 lanes over k, summed by reduce_add's tree.
template <typename Type>
void matmul_float(const MatmulArgs& a) {
    using Element = typename Type::Element;
    const int64_t whole = a.k / 16 * 16;
    for (int64_t first = a.row_begin; first < a.row_end; first += kTile) {
        const Element* rows[kTile];
        Element tails[kTile][16] = {};
        for (int64_t r = 0; r < kTile; ++r) {
            rows[r] = reinterpret_cast<const Element*>(weight_row(a, first, r));
            for (int64_t i = whole; i < a.k; ++i) tails[r][i - whole] = rows[r][i];
        }
        for (int64_t col = 0; col < a.n_cols; ++col) {
            const auto* x =
                reinterpret_cast<const float*>(a.activations + col * a.activation_row_bytes);
            F32x16 acc[kTile] = {zero(), zero(), zero(), zero()};
            for (int64_t i = 0; i < whole; i += 16) {
                const F32x16 v = load(x + i);
                for (int64_t r = 0; r < kTile; ++r) {
                    acc[r] = fma(Type::load_vector(rows[r] + i), v, acc[r]);
                }
            }
            if (whole < a.k) {
                const F32x16 v = load_part(x + whole, a.k - whole);
                for (int64_t r = 0; r < kTile; ++r) {
                    acc[r] = fma(Type::load_vector(tails[r]), v, acc[r]);
                }
            }
            float sums[kTile];
            for (int64_t r = 0; r < kTile; ++r) sums[r] = reduce_add(acc[r]);
            store_tile(a, first, col, load4(sums));
        }
    }
}

template <typename Type>
constexpr bool kIsSmall = sizeof(typename Type::Block) < 64;

/// Few activation rows: row by row. Instruction sets with panels put their own choice in front.
template <typename Type>
void matmul_rows(const MatmulArgs& a) {
    if constexpr (kIsSmall<Type>) {
        matmul_small<Type>(a);
    } else {
        matmul_super<Type>(a);
    }
}

}  // namespace
}  // namespace plrt::PLRT_ISA
