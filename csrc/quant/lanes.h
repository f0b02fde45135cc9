#pragma once
/// Eight floats at a time, in fixed lanes: every compiler and CPU adds in the same order and writes
/// the same file. Vector instructions are named, because compilers find few of these by themselves.

#include <algorithm>
#include <cstring>

#if defined(__GNUC__) && defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace plrt {

#if defined(__GNUC__)
using Quad = float __attribute__((vector_size(16)));
#else
struct Quad {
    float at[4];
    float operator[](int i) const { return at[i]; }
};
template <typename F>
inline Quad each(Quad a, Quad b, F f) {
    return {{f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])}};
}
inline Quad operator+(Quad a, Quad b) {
    return each(a, b, [](float x, float y) { return x + y; });
}
inline Quad operator-(Quad a, Quad b) {
    return each(a, b, [](float x, float y) { return x - y; });
}
inline Quad operator*(Quad a, Quad b) {
    return each(a, b, [](float x, float y) { return x * y; });
}
#endif

/// a > b ? a : b of each, so b where either is NaN.
inline Quad larger(Quad a, Quad b) {
#if defined(__GNUC__) && defined(__SSE2__)
    return _mm_max_ps(a, b);
#elif defined(__GNUC__)
    return a > b ? a : b;
#else
    return each(a, b, [](float x, float y) { return x > y ? x : y; });
#endif
}

/// a < b ? a : b of each, so b where either is NaN.
inline Quad smaller(Quad a, Quad b) {
#if defined(__GNUC__) && defined(__SSE2__)
    return _mm_min_ps(a, b);
#elif defined(__GNUC__)
    return a < b ? a : b;
#else
    return each(a, b, [](float x, float y) { return x < y ? x : y; });
#endif
}

inline constexpr int kLanes = 8;

struct Lanes {
    Quad low;
    Quad high;

    static Lanes all(float x) {
        const Quad four = {x, x, x, x};
        return {four, four};
    }
    static Lanes of(const float* x) {
        Lanes r;
        std::memcpy(&r, x, sizeof(r));
        return r;
    }
    void store(float* x) const { std::memcpy(x, this, sizeof(*this)); }

    /// The sum of all.
    float total() const {
        const Quad four = low + high;
        return (four[0] + four[2]) + (four[1] + four[3]);
    }
};

static_assert(sizeof(Lanes) == kLanes * sizeof(float));

inline Lanes operator+(Lanes a, Lanes b) {
    return {a.low + b.low, a.high + b.high};
}
inline Lanes operator-(Lanes a, Lanes b) {
    return {a.low - b.low, a.high - b.high};
}
inline Lanes operator*(Lanes a, Lanes b) {
    return {a.low * b.low, a.high * b.high};
}
inline Lanes larger(Lanes a, Lanes b) {
    return {larger(a.low, b.low), larger(a.high, b.high)};
}
inline Lanes smaller(Lanes a, Lanes b) {
    return {smaller(a.low, b.low), smaller(a.high, b.high)};
}

struct Bounds {
    float low;
    float high;
};

/// Least and largest of x (N,), which holds no NaN.
template <int N>
Bounds bounds(const float* x) {
    static_assert(N % kLanes == 0);
    Lanes low = Lanes::of(x);
    Lanes high = low;
    for (int i = kLanes; i < N; i += kLanes) {
        low = smaller(Lanes::of(x + i), low);
        high = larger(Lanes::of(x + i), high);
    }
    const Quad least = smaller(low.low, low.high);
    const Quad most = larger(high.low, high.high);
    return {std::min(std::min(least[0], least[1]), std::min(least[2], least[3])),
            std::max(std::max(most[0], most[1]), std::max(most[2], most[3]))};
}

/// Element of the largest magnitude, with its sign; of two that differ in nothing else, the
/// positive one.
template <int N>
float signed_max(const float* x) {
    const Bounds found = bounds<N>(x);
    return found.high >= -found.low ? found.high : found.low;
}

}  // namespace plrt
