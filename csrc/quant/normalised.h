#pragma once
/// Blocks brought to one order of magnitude before a search, and scales rounded to f16.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "core/float_types.h"
#include "quant/lanes.h"

namespace plrt {

/// Nearest f16, but away from zero among subnormals: they are so coarse that a scale rounded down
/// could not reach the largest element, whereas integer sub-scales and codes absorb one that is
/// too large. Never infinite.
inline uint16_t scale_to_f16(float scale) {
    uint16_t bits = f32_to_f16(scale);
    if ((bits & 0x7fffu) >= 0x7c00u) return static_cast<uint16_t>((bits & 0x8000u) | 0x7bffu);
    if ((bits & 0x7fffu) < 0x400u && std::fabs(f16_to_f32(bits)) < std::fabs(scale)) ++bits;
    return bits;
}

/// An f16 scale as it is stored, and its value in the units of the block it belongs to.
struct RoundedScale {
    uint16_t bits;
    float value;
    float unit;  // of the block

    static RoundedScale of(float value, float unit) {
        const uint16_t bits = scale_to_f16(value * unit);
        return {bits, f16_to_f32(bits) / unit, unit};
    }
    /// Subnormal scales stay: their steps are larger than what a factor near 1 asks for.
    RoundedScale times(float factor) const {
        const bool is_subnormal = (bits & 0x7fffu) < 0x400u;
        return is_subnormal ? *this : of(value * factor, unit);
    }
};

/// N elements times a power of two that brings the largest magnitude near 1, so that no square or
/// quotient of a search overflows or underflows. Exact, so it changes no result.
template <int N>
struct Normalised {
    float x[N];
    float unit;    // x * unit is the block
    bool is_zero;  // every element is nearer to zero than the smallest f16 is

    explicit Normalised(const float* block) {
        const float largest = std::fabs(signed_max<N>(block));
        is_zero = largest < 0x1p-25f;
        const int exponent = static_cast<int>(std::bit_cast<uint32_t>(largest) >> 23) - 127;
        unit = std::ldexp(1.0f, std::clamp(exponent, -25, 126));
        const float inverse = 1.0f / unit;
        for (int i = 0; i < N; ++i) x[i] = block[i] * inverse;
    }

    RoundedScale round(float scale) const { return RoundedScale::of(scale, unit); }
};

}  // namespace plrt
