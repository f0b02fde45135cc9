#pragma once
/// Weighted least squares over integer codes: which scale loses least when every element is
/// rounded to the nearest code?
///
/// For a given scale the nearest code is best whatever the weights, so the search runs over scales
/// only: try a range of inverse scales, solve for the scale that fits the codes each gives, and
/// repeat from the best one.

#include <algorithm>
#include <cfloat>
#include <cstdint>

#include "quant/lanes.h"

namespace plrt {

static_assert(FLT_EVAL_METHOD == 0, "rounding by addition needs plain float arithmetic");

/// Nearest integer in [low, high], ties to even, as a float; NaN gives `low`. The bounds must be
/// small: adding 1.5 * 2^23 leaves no room for a fraction.
inline float nearest_integer(float value, float low, float high) {
    const float bounded = std::min(high, std::max(low, value));
    return (bounded + 12582912.0f) - 12582912.0f;
}
inline Lanes nearest_integer(Lanes value, float low, float high) {
    const Lanes bounded = smaller(larger(value, Lanes::all(low)), Lanes::all(high));
    const Lanes shift = Lanes::all(12582912.0f);
    return (bounded + shift) - shift;
}

/// 1 / scale, or 0 for scale 0.
inline float inverse_of(float scale) {
    return scale != 0.0f ? 1.0f / scale : 0.0f;
}

/// Codes Low … High, each of which stands for its own value.
template <int Low, int High>
struct IntegerCodes {
    static constexpr float kLow = Low;  // value of largest magnitude
    static Lanes nearest(Lanes value) { return nearest_integer(value, Low, High); }
    /// The same, and their codes.
    static Lanes nearest(Lanes value, uint8_t* codes) {
        const Lanes found = nearest(value);
        float values[kLanes];
        found.store(values);
        for (int i = 0; i < kLanes; ++i) {
            codes[i] = static_cast<uint8_t>(static_cast<int>(values[i]) - Low);
        }
        return found;
    }
    static float nearest(float value) { return nearest_integer(value, Low, High); }
    static int code(float value) { return static_cast<int>(nearest(value)) - Low; }
};

/// Sums over one sub-block for the codes q that an inverse scale gives.
struct SymmetricSums {
    float xq = 0.0f;  // sum of w * x * q
    float qq = 0.0f;  // sum of w * q * q

    float scale() const { return qq > 0.0f ? xq / qq : 0.0f; }
    /// What the best scale takes off the error sum(w * x * x).
    float gain() const { return scale() * xq; }
};

template <class Codes, int N>
SymmetricSums symmetric_sums(const float* x, const float* w, float inverse) {
    static_assert(N % kLanes == 0);
    const Lanes factor = Lanes::all(inverse);
    Lanes xq{};
    Lanes qq{};
    for (int i = 0; i < N; i += kLanes) {
        const Lanes xs = Lanes::of(x + i);
        const Lanes q = Codes::nearest(xs * factor);
        const Lanes wq = Lanes::of(w + i) * q;
        xq = xq + wq * xs;
        qq = qq + wq * q;
    }
    return {xq.total(), qq.total()};
}

/// Sum of w * (x - scale * q)^2 for the nearest codes q.
template <class Codes, int N>
float symmetric_error(const float* x, const float* w, float scale) {
    const Lanes factor = Lanes::all(scale);
    const Lanes inverse = Lanes::all(inverse_of(scale));
    Lanes error{};
    for (int i = 0; i < N; i += kLanes) {
        const Lanes xs = Lanes::of(x + i);
        const Lanes e = xs - factor * Codes::nearest(xs * inverse);
        error = error + Lanes::of(w + i) * e * e;
    }
    return error.total();
}

/// The scale of one sub-block: x is about scale * q.
/// Args: x, w: (N,). n_steps: trials on each side of the scale that maps the extreme to kLow,
///       `step` apart in units of codes.
template <class Codes, int N>
float best_scale(const float* x, const float* w, int n_steps, float step) {
    const float extreme = signed_max<N>(x);
    if (extreme == 0.0f) return 0.0f;
    // Of scales that are equal but for rounding, as in a block of equal numbers, the first.
    constexpr float kMore = 1.0f + 1e-6f;
    SymmetricSums best;
    for (int i = -n_steps; i <= n_steps; ++i) {
        const float inverse = (Codes::kLow + step * static_cast<float>(i)) / extreme;
        const SymmetricSums sums = symmetric_sums<Codes, N>(x, w, inverse);
        if (sums.gain() > best.gain() * kMore) best = sums;
    }
    for (int i = 0; i < 2; ++i) {
        const SymmetricSums sums = symmetric_sums<Codes, N>(x, w, inverse_of(best.scale()));
        if (sums.gain() <= best.gain()) break;
        best = sums;
    }
    return best.scale();
}

/// A scale and what is subtracted: x is about scale * q - min.
struct Affine {
    float scale = 0.0f;
    float min = 0.0f;
};

/// Sums over one sub-block; n is the sum of the weights.
struct AffineSums {
    float n = 0.0f;
    float x = 0.0f;
    float q = 0.0f;
    float qq = 0.0f;
    float xq = 0.0f;

    /// Least-squares solution. With `min_sign`, min may not be negative.
    Affine solve(bool min_sign) const {
        const float determinant = n * qq - q * q;
        // Equal codes leave nothing but rounding errors, which must not be divided by.
        if (determinant > 1e-5f * n * qq) {
            const float scale = (n * xq - x * q) / determinant;
            const float min = (q * xq - qq * x) / determinant;
            if (scale > 0.0f && (min >= 0.0f || !min_sign)) return {scale, min};
        }
        return {qq > 0.0f ? std::max(0.0f, xq / qq) : 0.0f, 0.0f};
    }

    /// What that solution takes off the error sum(w * x * x).
    float gain(const Affine& fit) const { return fit.scale * xq - fit.min * x; }
};

/// The sums that do not depend on the codes.
template <int N>
AffineSums weight_sums(const float* x, const float* w) {
    static_assert(N % kLanes == 0);
    Lanes sn{}, sx{};
    for (int i = 0; i < N; i += kLanes) {
        const Lanes ws = Lanes::of(w + i);
        sn = sn + ws;
        sx = sx + ws * Lanes::of(x + i);
    }
    return {.n = sn.total(), .x = sx.total()};
}

/// `sums` with those that depend on the codes of a given inverse scale and min.
template <int MaxCode, int N>
AffineSums affine_sums(AffineSums sums, const float* x, const float* w, float inverse, float min) {
    const Lanes shift = Lanes::all(min);
    const Lanes factor = Lanes::all(inverse);
    Lanes sq{}, sqq{}, sxq{};
    for (int i = 0; i < N; i += kLanes) {
        const Lanes xs = Lanes::of(x + i);
        const Lanes q = nearest_integer((xs + shift) * factor, 0, MaxCode);
        const Lanes wq = Lanes::of(w + i) * q;
        sq = sq + wq;
        sqq = sqq + wq * q;
        sxq = sxq + wq * xs;
    }
    sums.q = sq.total();
    sums.qq = sqq.total();
    sums.xq = sxq.total();
    return sums;
}

/// Sum of w * (x - (scale * q - min))^2 for the nearest codes q.
template <int MaxCode, int N>
float affine_error(const float* x, const float* w, const Affine& fit) {
    const Lanes scale = Lanes::all(fit.scale);
    const Lanes min = Lanes::all(fit.min);
    const Lanes inverse = Lanes::all(inverse_of(fit.scale));
    Lanes error{};
    for (int i = 0; i < N; i += kLanes) {
        const Lanes xs = Lanes::of(x + i);
        const Lanes q = nearest_integer((xs + min) * inverse, 0, MaxCode);
        const Lanes e = xs - (scale * q - min);
        error = error + Lanes::of(w + i) * e * e;
    }
    return error.total();
}

/// Scale and min of one sub-block.
/// Args: x, w: (N,). first_step, step, n_steps: inverse scales to try, as the code that the range
///       of x spans: MaxCode + first_step + step * i. min_sign: min may not be negative.
template <int MaxCode, int N>
Affine best_affine(const float* x, const float* w, float first_step, float step, int n_steps,
                   bool min_sign) {
    auto [low, high] = bounds<N>(x);
    if (min_sign) low = std::min(low, 0.0f);
    if (high <= low) return {0.0f, -low};
    Affine best{0.0f, -low};
    float best_gain = -FLT_MAX;
    const AffineSums fixed = weight_sums<N>(x, w);
    const auto consider = [&](float inverse, float min) {
        const AffineSums sums = affine_sums<MaxCode, N>(fixed, x, w, inverse, min);
        const Affine fit = sums.solve(min_sign);
        const float gain = sums.gain(fit);
        if (gain <= best_gain) return false;
        best_gain = gain;
        best = fit;
        return true;
    };
    for (int i = 0; i <= n_steps; ++i) {
        const float span = MaxCode + first_step + step * static_cast<float>(i);
        consider(span / (high - low), -low);
    }
    for (int i = 0; i < 3; ++i) {
        if (!consider(inverse_of(best.scale), best.min)) break;
    }
    return best;
}

}  // namespace plrt
