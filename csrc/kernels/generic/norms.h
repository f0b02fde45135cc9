/// Norms of one row. Sums run in 16 lanes, which meet in the order of reduce_add.

namespace plrt::PLRT_ISA {
namespace {

void rms_norm(const float* x, const float* weight, float eps, int64_t n, float* out) {
    F32x16 squares = zero();
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const F32x16 v = load(x + i);
        squares = fma(v, v, squares);
    }
    if (i < n) {
        const F32x16 v = load_part(x + i, n - i);
        squares = fma(v, v, squares);
    }
    const float mean = reduce_add(squares) / static_cast<float>(n);
    const float scale = 1.0f / sqrt1(mean + eps);
    const F32x16 scales = set1(scale);
    for (i = 0; i + 16 <= n; i += 16) {
        store(out + i, mul(mul(load(x + i), scales), load(weight + i)));
    }
    for (; i < n; ++i) out[i] = x[i] * scale * weight[i];
}

/// Sum of a row.
inline float lane_sum(const float* x, int64_t n) {
    F32x16 sum = zero();
    for (int64_t i = 0; i < n; i += 16) sum = add(sum, load_part(x + i, n - i < 16 ? n - i : 16));
    return reduce_add(sum);
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t n,
                float* out) {
    const float mean = lane_sum(x, n) / static_cast<float>(n);
    const F32x16 means = set1(mean);
    map_row(x, n, out, [=](F32x16 v) { return sub(v, means); });
    F32x16 squares = zero();
    for (int64_t i = 0; i < n; i += 16) {
        const F32x16 v = load_part(out + i, n - i < 16 ? n - i : 16);
        squares = fma(v, v, squares);
    }
    const float variance = reduce_add(squares) / static_cast<float>(n);
    const F32x16 scales = set1(1.0f / sqrt1(variance + eps));
    map_rows(out, weight, n, out, [=](F32x16 v, F32x16 w) { return mul(mul(v, scales), w); });
    if (bias != nullptr) add_rows(out, bias, n, out);
}

}  // namespace
}  // namespace plrt::PLRT_ISA
