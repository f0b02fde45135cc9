#include "quant/spread.h"

#include "core/compiler.h"
#include "quant/feedback.h"

namespace plrt {
namespace {

/// Inlined, so that it is compiled for the instruction set of its caller.
PLRT_INLINE void spread_over(const Spread& of, float* left, float* output) {
    const Spread element = of;
    for (int k = element.from; k < Feedback::kWindow; ++k) {
        left[k] += element.error * element.upper[k];
        output[k] += element.x * element.upper[k];
    }
}

void spread(const Spread& of, float* left, float* output) {
    spread_over(of, left, output);
}

#if defined(PLRT_TARGET_AVX2)
PLRT_TARGET_AVX2 void spread_avx2(const Spread& of, float* left, float* output) {
    spread_over(of, left, output);
}
#endif

}  // namespace

SpreadFunction spread_function([[maybe_unused]] bool has_avx2) {
#if defined(PLRT_TARGET_AVX2)
    if (has_avx2) return spread_avx2;
#endif
    return spread;
}

}  // namespace plrt
