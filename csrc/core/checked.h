#pragma once
/// The one helper for size arithmetic on numbers that come from outside: it never wraps.

#include <cstdint>
#include <limits>

#include "core/errors.h"

namespace plrt {

/// a * b. Throws Error(kShape) if the product does not fit int64.
inline int64_t checked_mul(int64_t a, int64_t b) {
    require(a >= 0 && b >= 0, ErrorKind::kShape, "size: expected non-negative numbers, found ", a,
            " and ", b);
    require(b == 0 || a <= std::numeric_limits<int64_t>::max() / b, ErrorKind::kShape, "size: ", a,
            " x ", b, " does not fit 63 bits");
    return a * b;
}

/// a + b. Throws Error(kShape) if the sum does not fit int64.
inline int64_t checked_add(int64_t a, int64_t b) {
    require(a >= 0 && b >= 0, ErrorKind::kShape, "size: expected non-negative numbers, found ", a,
            " and ", b);
    require(a <= std::numeric_limits<int64_t>::max() - b, ErrorKind::kShape, "size: ", a, " + ", b,
            " does not fit 63 bits");
    return a + b;
}

}  // namespace plrt
