/// Row operations on floats. Tails are padded with zeros, so that an element's arithmetic does not
/// depend on where it stands.

namespace plrt::PLRT_ISA {
namespace {

PLRT_NOINLINE F32x16 load_few(const float* p, int64_t count) {
    float padded[16] = {};
    for (int64_t i = 0; i < count; ++i) padded[i] = p[i];
    return load(padded);
}

PLRT_NOINLINE void store_few(float* p, F32x16 a, int64_t count) {
    float padded[16];
    store(padded, a);
    for (int64_t i = 0; i < count; ++i) p[i] = padded[i];
}

/// The first `count` lanes; the others are 0.
inline F32x16 load_part(const float* p, int64_t count) {
    return count == 16 ? load(p) : load_few(p, count);
}

inline void store_part(float* p, F32x16 a, int64_t count) {
    if (count == 16) return store(p, a);
    store_few(p, a, count);
}

/// exp, from n = round(x / ln 2) and a polynomial on the rest.
/// Source: the Cephes library's single-precision exp.
inline F32x16 exp(F32x16 x) {
    constexpr float kSmallest = -86.5f;  // below: 0
    constexpr float kLargest = 88.75f;   // above: infinity
    const F32x16 clamped = min(set1(kLargest), max(set1(kSmallest), x));
    const F32x16 magic = set1(12582912.0f);  // 1.5 * 2^23: the sum holds n in its low bits
    const F32x16 t = fma(clamped, set1(1.44269504088896341f), magic);
    const F32x16 n = sub(t, magic);
    F32x16 r = fma(n, set1(-0.693359375f), clamped);
    r = fma(n, set1(2.12194440e-4f), r);
    F32x16 p = set1(1.9875691500e-4f);
    p = fma(p, r, set1(1.3981999507e-3f));
    p = fma(p, r, set1(8.3334519073e-3f));
    p = fma(p, r, set1(4.1665795894e-2f));
    p = fma(p, r, set1(1.6666665459e-1f));
    p = fma(p, r, set1(5.0000001201e-1f));
    p = add(fma(p, mul(r, r), r), set1(1.0f));
    return zero_where_below(x, kSmallest, mul(add(p, p), half_pow2(t)));
}

void exp_row(const float* x, int64_t n, float* out) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) store(out + i, exp(load(x + i)));
    if (i < n) store_part(out + i, exp(load_part(x + i, n - i)), n - i);
}

inline F32x16 silu_mul_vector(F32x16 gate, F32x16 up) {
    const F32x16 one = set1(1.0f);
    return mul(div(gate, add(one, exp(sub(zero(), gate)))), up);
}

void silu_mul(const float* gate, const float* up, int64_t n, float* out) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) store(out + i, silu_mul_vector(load(gate + i), load(up + i)));
    if (i < n) {
        const F32x16 y = silu_mul_vector(load_part(gate + i, n - i), load_part(up + i, n - i));
        store_part(out + i, y, n - i);
    }
}

void add_rows(const float* a, const float* b, int64_t n, float* out) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) store(out + i, add(load(a + i), load(b + i)));
    for (; i < n; ++i) out[i] = a[i] + b[i];
}

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

void to_f16(const float* x, int64_t n, uint16_t* out) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) store_f16(out + i, load(x + i));
    if (i < n) {
        uint16_t padded[16];
        store_f16(padded, load_part(x + i, n - i));
        for (int64_t j = 0; i + j < n; ++j) out[i + j] = padded[j];
    }
}

}  // namespace
}  // namespace plrt::PLRT_ISA
