/// Activation functions, element by element, built on exp.

namespace plrt::PLRT_ISA {
namespace {

void exp_row(const float* x, int64_t n, float* out) {
    map_row(x, n, out, [](F32x16 v) { return exp(v); });
}

/// Where x >= limit, `above`, else `below`; both finite.
inline F32x16 choose(F32x16 x, float limit, F32x16 above, F32x16 below) {
    return add(zero_where_below(x, limit, above), sub(below, zero_where_below(x, limit, below)));
}

/// x with the sign of `sign`, which is not 0.
inline F32x16 with_sign_of(F32x16 sign, F32x16 x) {
    return mul(x, div(sign, abs(sign)));
}

/// tanh: near 0 a polynomial, which keeps the relative precision, else by exp.
/// Source: the Cephes library's single-precision tanh.
inline F32x16 tanh(F32x16 x) {
    const F32x16 near = max(set1(-1.0f), min(set1(1.0f), x));
    const F32x16 square = mul(near, near);
    F32x16 p = set1(-5.70498872745e-3f);
    p = fma(p, square, set1(2.06390887954e-2f));
    p = fma(p, square, set1(-5.37397155531e-2f));
    p = fma(p, square, set1(1.33314422036e-1f));
    p = fma(p, square, set1(-3.33332819422e-1f));
    const F32x16 small = fma(mul(p, square), near, near);
    const F32x16 one = set1(1.0f);
    const F32x16 size = min(set1(20.0f), abs(x));  // beyond, it is 1
    const F32x16 large = sub(one, div(set1(2.0f), add(exp(add(size, size)), one)));
    return choose(abs(x), 0.625f, with_sign_of(x, large), small);
}

inline F32x16 softcap_vector(F32x16 x, float cap) {
    return mul(set1(cap), tanh(div(x, set1(cap))));
}

void softcap(const float* x, float cap, int64_t n, float* out) {
    map_row(x, n, out, [=](F32x16 v) { return softcap_vector(v, cap); });
}

inline F32x16 silu(F32x16 x) {
    return div(x, add(set1(1.0f), exp(sub(zero(), x))));
}

void silu_mul(const float* gate, const float* up, int64_t n, float* out) {
    map_rows(gate, up, n, out, [](F32x16 g, F32x16 u) { return mul(silu(g), u); });
}

/// 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), which is x / (1 + exp(-2 …)).
inline F32x16 gelu_by_tanh(F32x16 x) {
    const F32x16 inner = mul(x, fma(mul(x, x), set1(0.044715f), set1(1.0f)));
    return div(x, add(set1(1.0f), exp(mul(inner, set1(-1.5957691216057308f)))));
}

/// 0.5 x (1 + erf(x / sqrt 2)). Source of erf: Abramowitz and Stegun, 7.1.26.
inline F32x16 gelu_by_erf(F32x16 x) {
    const F32x16 size = abs(x);
    const F32x16 one = set1(1.0f);
    const F32x16 t = div(one, fma(size, set1(0.3275911f * 0.70710678f), one));
    F32x16 p = set1(1.061405429f);
    p = fma(p, t, set1(-1.453152027f));
    p = fma(p, t, set1(1.421413741f));
    p = fma(p, t, set1(-0.284496736f));
    p = fma(p, t, set1(0.254829592f));
    // What is missing to 1: half of it is the share of x that a negative x keeps.
    const F32x16 rest = mul(mul(p, t), exp(mul(mul(x, x), set1(-0.5f))));
    const F32x16 lost = mul(mul(set1(0.5f), size), rest);
    return sub(max(x, zero()), lost);
}

void gelu(const float* x, bool is_tanh, int64_t n, float* out) {
    if (is_tanh) {
        map_row(x, n, out, [](F32x16 v) { return gelu_by_tanh(v); });
    } else {
        map_row(x, n, out, [](F32x16 v) { return gelu_by_erf(v); });
    }
}

void gelu_mul(const float* gate, const float* up, int64_t n, float* out) {
    map_rows(gate, up, n, out, [](F32x16 g, F32x16 u) { return mul(gelu_by_tanh(g), u); });
}

}  // namespace
}  // namespace plrt::PLRT_ISA
