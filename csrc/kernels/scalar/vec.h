#pragma once
/// The vector vocabulary in plain C++: for CPUs that no other set fits, and the slow truth for the
/// others. Every ISA's vec.h defines the same names with the same results.

#include <cstdint>

#if defined(_MSC_VER) && !defined(__clang__)
#include <cmath>
#endif

namespace plrt::PLRT_ISA {
namespace {

struct F32x16 {
    float lane[16];
};

inline float bits_to_float(uint32_t bits) {
    return __builtin_bit_cast(float, bits);
}
inline uint32_t float_to_bits(float x) {
    return __builtin_bit_cast(uint32_t, x);
}

#if defined(_MSC_VER) && !defined(__clang__)
inline float sqrt1(float x) {
    return std::sqrt(x);
}
#else
inline float sqrt1(float x) {
    return __builtin_sqrtf(x);
}
#endif
const float kInfinity = bits_to_float(0x7f800000u);
const float kNan = bits_to_float(0x7fc00000u);

/// a * b + c, the product exact. The sum is rounded to double and then to float, which differs
/// from a fused operation only where the first rounding lands on a tie of the second.
inline float fma1(float a, float b, float c) {
    return static_cast<float>(static_cast<double>(a) * static_cast<double>(b) +
                              static_cast<double>(c));
}

inline float half_to_float(uint16_t bits) {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    const uint32_t exponent = (bits >> 10) & 0x1fu;
    const uint32_t mantissa = bits & 0x3ffu;
    if (exponent == 0x1f) {
        // A signalling NaN comes out quiet, as the conversion instructions make it.
        const uint32_t quiet = mantissa != 0 ? 0x400000u : 0u;
        return bits_to_float(sign | 0x7f800000u | quiet | (mantissa << 13));
    }
    if (exponent != 0) return bits_to_float(sign | ((exponent + 112) << 23) | (mantissa << 13));
    return bits_to_float(sign | float_to_bits(static_cast<float>(mantissa) * 0x1p-24f));
}

template <typename F>
inline F32x16 make(F f) {
    F32x16 r;
    for (int i = 0; i < 16; ++i) r.lane[i] = f(i);
    return r;
}

inline F32x16 zero() {
    return make([](int) { return 0.0f; });
}
inline F32x16 set1(float x) {
    return make([=](int) { return x; });
}
inline F32x16 load(const float* p) {
    return make([=](int i) { return p[i]; });
}
inline void store(float* p, F32x16 a) {
    for (int i = 0; i < 16; ++i) p[i] = a.lane[i];
}
inline F32x16 load_f16(const uint16_t* p) {
    return make([=](int i) { return half_to_float(p[i]); });
}
/// Rounded to nearest even.
inline void store_f16(uint16_t* p, F32x16 a) {
    for (int i = 0; i < 16; ++i) {
        const uint32_t bits = float_to_bits(a.lane[i]);
        const uint32_t sign = (bits >> 16) & 0x8000u;
        const uint32_t magnitude = bits & 0x7fffffffu;
        uint32_t half;
        if (magnitude > 0x7f800000u) {
            half = 0x7e00u | ((magnitude >> 13) & 0x1ffu);
        } else if (magnitude >= 0x477ff000u) {
            half = 0x7c00u;
        } else if (magnitude < 0x38800000u) {
            half = float_to_bits(bits_to_float(magnitude) + 0.5f) - 0x3f000000u;
        } else {
            half = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
        }
        p[i] = static_cast<uint16_t>(sign | half);
    }
}

inline F32x16 add(F32x16 a, F32x16 b) {
    return make([&](int i) { return a.lane[i] + b.lane[i]; });
}
inline F32x16 sub(F32x16 a, F32x16 b) {
    return make([&](int i) { return a.lane[i] - b.lane[i]; });
}
inline F32x16 mul(F32x16 a, F32x16 b) {
    return make([&](int i) { return a.lane[i] * b.lane[i]; });
}
inline F32x16 div(F32x16 a, F32x16 b) {
    return make([&](int i) { return a.lane[i] / b.lane[i]; });
}
/// a * b + c with one rounding.
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
    return make([&](int i) { return fma1(a.lane[i], b.lane[i], c.lane[i]); });
}
/// The larger; b where either is NaN.
inline F32x16 max(F32x16 a, F32x16 b) {
    return make([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}
/// The smaller; b where either is NaN.
inline F32x16 min(F32x16 a, F32x16 b) {
    return make([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
}
inline F32x16 abs(F32x16 a) {
    return make([&](int i) { return bits_to_float(float_to_bits(a.lane[i]) & 0x7fffffffu); });
}
/// value where x >= limit or x is NaN, else 0.
inline F32x16 zero_where_below(F32x16 x, float limit, F32x16 value) {
    return make([&](int i) { return x.lane[i] < limit ? 0.0f : value.lane[i]; });
}
/// 2^(n-1) for lanes that hold 1.5 * 2^23 + n.
inline F32x16 half_pow2(F32x16 t) {
    return make([&](int i) {
        return bits_to_float((float_to_bits(t.lane[i]) - 0x4b400000u + 126u) << 23);
    });
}
/// Sum over lanes: i with i + 8, then + 4, + 2, + 1.
inline float reduce_add(F32x16 a) {
    for (int step = 8; step > 0; step /= 2) {
        for (int i = 0; i < step; ++i) a.lane[i] = a.lane[i] + a.lane[i + step];
    }
    return a.lane[0];
}
inline float reduce_max(F32x16 a) {
    float r = a.lane[0];
    for (int i = 1; i < 16; ++i) r = r > a.lane[i] ? r : a.lane[i];
    return r;
}
/// Rounded to nearest even and stored as int8; lanes must lie in -127 … 127.
inline void store_i8(int8_t* p, F32x16 a) {
    for (int i = 0; i < 16; ++i) {
        const float shifted = a.lane[i] + 12582912.0f;
        p[i] = static_cast<int8_t>(static_cast<int32_t>(float_to_bits(shifted) - 0x4b400000u));
    }
}

/// Sum of 32 int8.
inline int32_t sum_i8_32(const int8_t* q) {
    int32_t sum = 0;
    for (int i = 0; i < 32; ++i) sum += q[i];
    return sum;
}

/// 16 int8 as floats.
inline F32x16 load_i8(const int8_t* p) {
    return make([=](int i) { return static_cast<float>(p[i]); });
}

/// 16 sums of 16 of the 256 codes at q.
inline void sums_i8_16(const int8_t* q, int16_t* sums) {
    for (int g = 0; g < 16; ++g) {
        int32_t sum = 0;
        for (int i = 0; i < 16; ++i) sum += q[16 * g + i];
        sums[g] = static_cast<int16_t>(sum);
    }
}

/// Queries and vectors of keys or values that attention holds in registers at a time.
constexpr int kAttentionQueries = 1;
constexpr int kAttentionVectors = 1;

}  // namespace
}  // namespace plrt::PLRT_ISA
