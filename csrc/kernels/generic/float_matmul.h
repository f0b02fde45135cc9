/// Products of float weights: 16 sums over k, added up by reduce_add's tree. A tile of weight rows
/// meets a tile of activation rows in registers; a block of activation rows stays in the second
/// cache while all weight rows pass by.

namespace plrt::PLRT_ISA {
namespace {

/// A weight type: how many elements a vector holds, of weights and of activations (Input), and how
/// two vectors are multiplied and added to 16 sums.
struct F32 {
    using Element = float;
    using Input = float;
    static constexpr int64_t kStep = 16;
    static F32x16 load_weights(const Element* p) { return load(p); }
    static F32x16 load_input(const Input* p) { return load(p); }
    static F32x16 dot(F32x16 acc, F32x16 w, F32x16 x) { return fma(w, x, acc); }
};
struct F16 : F32 {
    using Element = uint16_t;
    static F32x16 load_weights(const Element* p) { return load_f16(p); }
};
struct BF16 {
    using Element = uint16_t;
    using Input = uint16_t;
    static constexpr int64_t kStep = 32;
    static U8x64 load_weights(const Element* p) { return load_bytes(p); }
    static U8x64 load_input(const Input* p) { return load_bytes(p); }
    static F32x16 dot(F32x16 acc, U8x64 w, U8x64 x) { return dot_bf16(acc, w, x); }
};

/// The last elements of a row, padded with zeros.
template <typename Type, typename T>
struct Tail {
    T elements[Type::kStep] = {};
    Tail(const T* row, int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) elements[i - begin] = row[i];
    }
};

/// R weight rows from `row` on by C columns from `col` on.
template <typename Type, int R, int C>
void float_tile(const MatmulArgs& a, int64_t row, int64_t col) {
    using Element = typename Type::Element;
    using Input = typename Type::Input;
    const Element* w[R];
    const Input* x[C];
    F32x16 acc[R][C];
    PLRT_UNROLL
    for (int r = 0; r < R; ++r) {
        w[r] = reinterpret_cast<const Element*>(a.weights + (row + r) * a.weight_row_bytes);
    }
    PLRT_UNROLL
    for (int c = 0; c < C; ++c) {
        x[c] = reinterpret_cast<const Input*>(a.activations + (col + c) * a.activation_row_bytes);
        PLRT_UNROLL
        for (int r = 0; r < R; ++r) acc[r][c] = zero();
    }
    const int64_t whole = a.k / Type::kStep * Type::kStep;
    for (int64_t i = 0; i < whole; i += Type::kStep) {
        decltype(Type::load_weights(w[0])) weights[R];
        PLRT_UNROLL
        for (int r = 0; r < R; ++r) {
            weights[r] = Type::load_weights(w[r] + i);
            // One column waits for memory: fetch the rows of the next tile meanwhile.
            if constexpr (C == 1) {
                prefetch(reinterpret_cast<const uint8_t*>(w[r] + i) + R * a.weight_row_bytes);
            }
        }
        PLRT_UNROLL
        for (int c = 0; c < C; ++c) {
            const auto input = Type::load_input(x[c] + i);
            PLRT_UNROLL
            for (int r = 0; r < R; ++r) acc[r][c] = Type::dot(acc[r][c], weights[r], input);
        }
    }
    if (whole < a.k) {
        for (int r = 0; r < R; ++r) {
            const Tail<Type, Element> weights(w[r], whole, a.k);
            for (int c = 0; c < C; ++c) {
                const Tail<Type, Input> input(x[c], whole, a.k);
                acc[r][c] = Type::dot(acc[r][c], Type::load_weights(weights.elements),
                                      Type::load_input(input.elements));
            }
        }
    }
    PLRT_UNROLL
    for (int c = 0; c < C; ++c) {
        float* out = a.out + (col + c) * a.out_stride + row;
        PLRT_UNROLL
        for (int r = 0; r < R; ++r) {
            const float sum = reduce_add(acc[r][c]);
            out[r] = a.bias != nullptr ? sum + a.bias[row + r] : sum;
        }
    }
}

template <typename Type, int R>
void float_rows(const MatmulArgs& a, int64_t row, int64_t col_begin, int64_t col_end) {
    int64_t col = col_begin;
    for (; col + kFloatColumns <= col_end; col += kFloatColumns) {
        float_tile<Type, R, kFloatColumns>(a, row, col);
    }
    for (; col < col_end; ++col) float_tile<Type, R, 1>(a, row, col);
}

template <typename Type>
void float_matmul(const MatmulArgs& a) {
    constexpr int64_t kColumnBlock = 8 * kFloatColumns;
    for (int64_t begin = 0; begin < a.n_cols; begin += kColumnBlock) {
        const int64_t end = begin + kColumnBlock < a.n_cols ? begin + kColumnBlock : a.n_cols;
        int64_t row = a.row_begin;
        for (; row + kFloatRows <= a.row_end; row += kFloatRows) {
            float_rows<Type, kFloatRows>(a, row, begin, end);
        }
        for (; row < a.row_end; ++row) float_rows<Type, 1>(a, row, begin, end);
    }
}

}  // namespace
}  // namespace plrt::PLRT_ISA
