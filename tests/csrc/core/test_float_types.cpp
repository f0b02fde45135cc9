/// Every f16 and bf16, and the rounding between each pair of neighbours.

#include <bit>
#include <cmath>
#include <limits>

#include "core/float_types.h"
#include "testing.h"

namespace plrt::testing {
namespace {

/// Value of a half by the definition of the format.
double half_by_definition(uint32_t bits) {
    const int exponent = static_cast<int>((bits >> 10) & 31);
    const int mantissa = static_cast<int>(bits & 1023);
    const double sign = bits & 0x8000 ? -1.0 : 1.0;
    if (exponent == 31) return sign * std::numeric_limits<double>::infinity();
    if (exponent == 0) return sign * std::ldexp(mantissa, -24);
    return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

const Test f16_to_float("f16: every value to float and back", [] {
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
        const auto half = static_cast<uint16_t>(bits);
        const float value = f16_to_f32(half);
        if ((bits & 0x7fff) > 0x7c00) {
            check(std::isnan(value) && std::isnan(f16_to_f32(f32_to_f16(value))), "NaN is kept");
            continue;
        }
        check(static_cast<double>(value) == half_by_definition(bits), "value");
        check(f32_to_f16(value) == half, "round trip, with the sign of zero");
    }
});

/// Checks the numbers between each value and the next, of both signs. `to_float` and `to_bits`
/// are the two conversions; `infinity` is the bits of infinity.
template <class ToFloat, class ToBits>
void check_rounding(uint32_t infinity, const ToFloat& to_float, const ToBits& to_bits) {
    for (uint32_t bits = 0; bits < infinity; ++bits) {
        const float low = to_float(static_cast<uint16_t>(bits));
        // Beyond the largest number the halfway point is where the next one would have been.
        const float below = bits > 0 ? to_float(static_cast<uint16_t>(bits - 1)) : 0.0f;
        const float high =
            bits + 1 == infinity ? low + (low - below) : to_float(static_cast<uint16_t>(bits + 1));
        const float middle = low + (high - low) / 2;
        const uint32_t even = bits % 2 == 0 ? bits : bits + 1;
        for (const uint32_t sign : {0u, 0x8000u}) {
            const float s = sign == 0 ? 1.0f : -1.0f;
            check(to_bits(s * std::nextafter(middle, low)) == (sign | bits), "below the middle");
            check(to_bits(s * middle) == (sign | even), "ties go to even");
            check(to_bits(s * std::nextafter(middle, high)) == (sign | (bits + 1)), "above it");
        }
    }
}

const Test f16_rounding("f16: rounding between neighbours", [] {
    check_rounding(0x7c00, f16_to_f32, f32_to_f16);
    check(f32_to_f16(3e38f) == 0x7c00 && f32_to_f16(-1e5f) == 0xfc00, "overflow");
    check(f32_to_f16(1e-45f) == 0 && f32_to_f16(-1e-45f) == 0x8000, "underflow");
});

const Test bf16_rounding("bf16: every value, and rounding between neighbours", [] {
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
        const float value = bf16_to_f32(static_cast<uint16_t>(bits));
        if (std::isnan(value)) {
            check(std::isnan(bf16_to_f32(f32_to_bf16(value))), "NaN is kept");
        } else {
            check(f32_to_bf16(value) == bits, "round trip");
        }
    }
    check_rounding(0x7f7f, bf16_to_f32, f32_to_bf16);
    check(f32_to_bf16(std::bit_cast<float>(0x7f7f7fffu)) == 0x7f7f, "largest that stays finite");
    check(f32_to_bf16(std::bit_cast<float>(0x7f7f8000u)) == 0x7f80, "overflow");
});

}  // namespace
}  // namespace plrt::testing
