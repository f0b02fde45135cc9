#include "quant/spread.h"

#include "core/compiler.h"
#include "core/cpu_features.h"
#include "quant/feedback.h"

namespace plrt {
namespace {

void spread(const Spread& of, float* left, float* output) {
    const Spread element = of;
    for (int k = element.from; k < Feedback::kWindow; ++k) {
        left[k] += element.error * element.upper[k];
        output[k] += element.x * element.upper[k];
    }
}

#if defined(PLRT_TARGET_AVX2)
PLRT_TARGET_AVX2 void spread_avx2(const Spread& of, float* left, float* output) {
    const Spread element = of;
    for (int k = element.from; k < Feedback::kWindow; ++k) {
        left[k] += element.error * element.upper[k];
        output[k] += element.x * element.upper[k];
    }
}
#endif

}  // namespace

SpreadFunction spread_function() {
#if defined(PLRT_TARGET_AVX2)
    if (cpu_supports("avx2")) return spread_avx2;
#endif
    return spread;
}

}  // namespace plrt
