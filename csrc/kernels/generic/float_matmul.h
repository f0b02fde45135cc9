/// Products of float weights: 16 lanes over k, summed by reduce_add's tree. A tile of weight rows
/// meets a tile of activation rows in registers; a block of activation rows stays in the second
/// cache while all weight rows pass by.

namespace plrt::PLRT_ISA {
namespace {

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

/// R weight rows from `row` on by C columns from `col` on.
template <typename Type, int R, int C>
void float_tile(const MatmulArgs& a, int64_t row, int64_t col) {
    using Element = typename Type::Element;
    const Element* w[R];
    const float* x[C];
    F32x16 acc[R][C];
    PLRT_UNROLL
    for (int r = 0; r < R; ++r) {
        w[r] = reinterpret_cast<const Element*>(a.weights + (row + r) * a.weight_row_bytes);
    }
    PLRT_UNROLL
    for (int c = 0; c < C; ++c) {
        x[c] = reinterpret_cast<const float*>(a.activations + (col + c) * a.activation_row_bytes);
        PLRT_UNROLL
        for (int r = 0; r < R; ++r) acc[r][c] = zero();
    }
    const int64_t whole = a.k / 16 * 16;
    for (int64_t i = 0; i < whole; i += 16) {
        F32x16 weights[R];
        PLRT_UNROLL
        for (int r = 0; r < R; ++r) weights[r] = Type::load_vector(w[r] + i);
        PLRT_UNROLL
        for (int c = 0; c < C; ++c) {
            const F32x16 v = load(x[c] + i);
            PLRT_UNROLL
            for (int r = 0; r < R; ++r) acc[r][c] = fma(weights[r], v, acc[r][c]);
        }
    }
    if (whole < a.k) {
        for (int r = 0; r < R; ++r) {
            Element tail[16] = {};
            for (int64_t i = whole; i < a.k; ++i) tail[i - whole] = w[r][i];
            for (int c = 0; c < C; ++c) {
                const F32x16 v = load_part(x[c] + whole, a.k - whole);
                acc[r][c] = fma(Type::load_vector(tail), v, acc[r][c]);
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
