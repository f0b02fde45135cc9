#pragma once
/// The fastest int8 multiply-accumulates that this instruction set has, with nothing around them.

#include <arm_neon.h>

#include <cstdint>

namespace plrt::PLRT_ISA {
namespace {

/// chain + 16 products: three instructions.
inline int32x4_t add_products(int32x4_t chain, const int8_t* codes, int8x16_t x) {
    const int8x16_t c = vld1q_s8(codes);
    const int16x8_t low = vmull_s8(vget_low_s8(c), vget_low_s8(x));
    return vpadalq_s16(chain, vmlal_high_s8(low, c, x));
}

/// The codes come from memory, which is free here: from registers a compiler would take each
/// product once. Two steps are enough, and more make GCC load too much in advance.
inline int64_t int8_peak(int64_t n_rounds, int32_t* sum) {
    constexpr int kSteps = 2, kRun = 4 * 16, kStarts = 8;
    int8_t codes[kSteps * kRun + kStarts * 16];
    for (int i = 0; i < kSteps * kRun + kStarts * 16; ++i) codes[i] = static_cast<int8_t>(i * 37);
    const int8x16_t x = vdupq_n_s8(-5);
    int32x4_t a = vdupq_n_s32(0), b = a, c = a, d = a;
    for (int64_t round = 0; round < n_rounds; ++round) {
        const int8_t* start = codes + round % kStarts * 16;
        for (int step = 0; step < kSteps; ++step) {
            const int8_t* run = start + step * kRun;
            a = add_products(a, run, x);
            b = add_products(b, run + 16, x);
            c = add_products(c, run + 32, x);
            d = add_products(d, run + 48, x);
        }
    }
    *sum = vaddvq_s32(vaddq_s32(vaddq_s32(a, b), vaddq_s32(c, d)));
    return n_rounds * kSteps * kRun;
}

}  // namespace
}  // namespace plrt::PLRT_ISA
