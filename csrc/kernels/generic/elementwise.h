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

/// out[i] = f(x[i]) for a function of vectors.
template <typename F>
inline void map_row(const float* x, int64_t n, float* out, F f) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) store(out + i, f(load(x + i)));
    if (i < n) store_part(out + i, f(load_part(x + i, n - i)), n - i);
}

/// out[i] = f(a[i], b[i]), likewise.
template <typename F>
inline void map_rows(const float* a, const float* b, int64_t n, float* out, F f) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) store(out + i, f(load(a + i), load(b + i)));
    if (i < n) store_part(out + i, f(load_part(a + i, n - i), load_part(b + i, n - i)), n - i);
}

void add_rows(const float* a, const float* b, int64_t n, float* out) {
    map_rows(a, b, n, out, [](F32x16 x, F32x16 y) { return add(x, y); });
}

void scale_row(const float* x, float factor, int64_t n, float* out) {
    map_row(x, n, out, [=](F32x16 v) { return mul(v, set1(factor)); });
}

void add_scaled(const float* x, float factor, int64_t n, float* sum) {
    map_rows(x, sum, n, sum, [=](F32x16 v, F32x16 s) { return fma(v, set1(factor), s); });
}

/// Rotates n pairs (x[step * i], x[step * i + partner]). The step is known to the compiler, so that
/// it finds the vectors by itself.
template <int step>
inline void rotate_pairs(const float* x, const float* cosines, const float* sines, int64_t n,
                         int64_t partner, float* out) {
    for (int64_t i = 0; i < n; ++i) {
        const float a = x[step * i];
        const float b = x[step * i + partner];
        out[step * i] = a * cosines[i] - b * sines[i];
        out[step * i + partner] = a * sines[i] + b * cosines[i];
    }
}

void rope(const float* x, const float* cosines, const float* sines, int64_t n_pairs,
          bool interleaved, float* out) {
    if (interleaved) {
        rotate_pairs<2>(x, cosines, sines, n_pairs, 1, out);
    } else {
        rotate_pairs<1>(x, cosines, sines, n_pairs, n_pairs, out);
    }
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
