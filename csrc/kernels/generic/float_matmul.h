/// Products of float weights: 16 sums over k, added up by reduce_add's tree. A tile of weight rows
/// meets a tile of activation rows in registers; a block of activation rows stays in the second
/// cache while all weight rows pass by.

namespace plrt::PLRT_ISA {
namespace {

/// A weight type: how many elements a step takes of weights and of activations (Input), how a part
/// of them is loaded and multiplied, and the tile that fits the registers.
struct F32 {
    using Element = float;
    using Input = float;
    static constexpr int64_t kStep = 16;
    static constexpr int kRows = kFloatRows;
    static constexpr int kColumns = kFloatColumns;
    static FloatPart load_weights(const Element* p) { return part_load(p); }
    static FloatPart load_input(const Input* p) { return part_load(p); }
    static FloatPart dot(FloatPart acc, FloatPart w, FloatPart x) { return part_fma(w, x, acc); }
};
struct F16 : F32 {
    using Element = uint16_t;
    static FloatPart load_weights(const Element* p) { return part_load_f16(p); }
};
struct BF16 {
    using Element = uint16_t;
    using Input = uint16_t;
    static constexpr int64_t kStep = 32;
    static constexpr int kRows = kBf16Rows;
    static constexpr int kColumns = kBf16Columns;
    static Bf16Part load_weights(const Element* p) { return part_load_bf16(p); }
    static Bf16Part load_input(const Input* p) { return part_load_bf16(p); }
    static FloatPart dot(FloatPart acc, Bf16Part w, Bf16Part x) { return part_dot_bf16(acc, w, x); }
};

/// The last elements of a row, padded with zeros.
template <typename Type, typename T>
struct Tail {
    T elements[Type::kStep] = {};
    Tail(const T* row, int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) elements[i - begin] = row[i];
    }
};

/// R weight rows by C columns, and a part of their sums.
template <typename Type, int R, int C>
struct FloatTile {
    const typename Type::Element* w[R];
    const typename Type::Input* x[C];
    int64_t weight_row_bytes;

    static constexpr int64_t kPartStep = Type::kStep / kFloatParts;

    /// One part's share of the elements begin … end, whole steps.
    void add(FloatPart (&acc)[R][C], int part, int64_t begin, int64_t end) const {
        FloatPart sums[R][C];
        PLRT_UNROLL
        for (int i = 0; i < R * C; ++i) sums[i / C][i % C] = acc[i / C][i % C];
        const int64_t offset = part * kPartStep;
        for (int64_t i = begin + offset; i < end; i += Type::kStep) {
            decltype(Type::load_weights(w[0])) weights[R];
            PLRT_UNROLL
            for (int r = 0; r < R; ++r) {
                weights[r] = Type::load_weights(w[r] + i);
                // One column waits for memory: fetch the rows of the next tile meanwhile.
                if constexpr (C == 1) {
                    prefetch(reinterpret_cast<const uint8_t*>(w[r] + i) + R * weight_row_bytes);
                }
            }
            PLRT_UNROLL
            for (int c = 0; c < C; ++c) {
                const auto input = Type::load_input(x[c] + i);
                PLRT_UNROLL
                for (int r = 0; r < R; ++r) {
                    sums[r][c] = Type::dot(sums[r][c], weights[r], input);
                }
            }
        }
        PLRT_UNROLL
        for (int i = 0; i < R * C; ++i) acc[i / C][i % C] = sums[i / C][i % C];
    }

    /// The same for a last step that is not whole.
    void add_tail(FloatPart (&acc)[R][C], int part, int64_t begin, int64_t end) const {
        for (int r = 0; r < R; ++r) {
            const Tail<Type, typename Type::Element> weights(w[r], begin, end);
            for (int c = 0; c < C; ++c) {
                const Tail<Type, typename Type::Input> input(x[c], begin, end);
                acc[r][c] =
                    Type::dot(acc[r][c], Type::load_weights(weights.elements + part * kPartStep),
                              Type::load_input(input.elements + part * kPartStep));
            }
        }
    }
};

/// The 16 sums of a row and a column.
template <int R, int C>
inline F32x16 joined(const FloatPart (&acc)[kFloatParts][R][C], int r, int c) {
    if constexpr (kFloatParts == 1) {
        return join_parts(acc[0][r][c]);
    } else {
        return join_parts(acc[0][r][c], acc[1][r][c]);
    }
}

/// So many elements of a tile's rows stay in the first cache while each part passes over them.
constexpr int64_t kFloatChunk = 512;

/// R weight rows from `row` on by C columns from `col` on.
template <typename Type, int R, int C>
void float_tile(const MatmulArgs& a, int64_t row, int64_t col) {
    using Element = typename Type::Element;
    using Input = typename Type::Input;
    FloatTile<Type, R, C> tile;
    FloatPart acc[kFloatParts][R][C];
    tile.weight_row_bytes = a.weight_row_bytes;
    PLRT_UNROLL
    for (int r = 0; r < R; ++r) {
        tile.w[r] = reinterpret_cast<const Element*>(a.weights + (row + r) * a.weight_row_bytes);
    }
    PLRT_UNROLL
    for (int c = 0; c < C; ++c) {
        const uint8_t* input = a.activations + (col + c) * a.activation_row_bytes;
        tile.x[c] = reinterpret_cast<const Input*>(input);
    }
    PLRT_UNROLL
    for (int i = 0; i < kFloatParts * R * C; ++i) acc[i / (R * C)][i / C % R][i % C] = part_zero();
    const int64_t whole = a.k / Type::kStep * Type::kStep;
    const int64_t chunk = kFloatParts > 1 ? kFloatChunk : whole;
    for (int64_t begin = 0; begin < whole; begin += chunk) {
        const int64_t end = begin + chunk < whole ? begin + chunk : whole;
        for (int part = 0; part < kFloatParts; ++part) tile.add(acc[part], part, begin, end);
    }
    if (whole < a.k) {
        for (int part = 0; part < kFloatParts; ++part) tile.add_tail(acc[part], part, whole, a.k);
    }
    PLRT_UNROLL
    for (int c = 0; c < C; ++c) {
        float* out = a.out + (col + c) * a.out_stride + row;
        PLRT_UNROLL
        for (int r = 0; r < R; ++r) {
            const float sum = reduce_add(joined<R, C>(acc, r, c));
            out[r] = a.bias != nullptr ? sum + a.bias[row + r] : sum;
        }
    }
}

template <typename Type, int R>
void float_rows(const MatmulArgs& a, int64_t row, int64_t col_begin, int64_t col_end) {
    int64_t col = col_begin;
    for (; col + Type::kColumns <= col_end; col += Type::kColumns) {
        float_tile<Type, R, Type::kColumns>(a, row, col);
    }
    for (; col < col_end; ++col) float_tile<Type, R, 1>(a, row, col);
}

template <typename Type>
void float_matmul(const MatmulArgs& a) {
    constexpr int64_t kColumnBlock = 8 * Type::kColumns;
    for (int64_t begin = 0; begin < a.n_cols; begin += kColumnBlock) {
        const int64_t end = begin + kColumnBlock < a.n_cols ? begin + kColumnBlock : a.n_cols;
        int64_t row = a.row_begin;
        for (; row + Type::kRows <= a.row_end; row += Type::kRows) {
            float_rows<Type, Type::kRows>(a, row, begin, end);
        }
        for (; row < a.row_end; ++row) float_rows<Type, 1>(a, row, begin, end);
    }
}

}  // namespace
}  // namespace plrt::PLRT_ISA
