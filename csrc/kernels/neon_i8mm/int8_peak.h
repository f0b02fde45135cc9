#pragma once
/// The fastest int8 multiply-accumulates that this instruction set has, with nothing around them.

#include <arm_neon.h>

#include <cstdint>

#include "kernels/generic/int8_chains.h"

namespace plrt::PLRT_ISA {
namespace {

struct PeakDot {
    using Vector = int32x4_t;
    static constexpr int64_t kMacs = 32;

    static Vector start(int i) { return vdupq_n_s32(i); }
    static Vector add(Vector v) { return vmmlaq_s32(v, vdupq_n_s8(3), vdupq_n_s8(-5)); }
    static int32_t total(Vector v) { return vaddvq_s32(v); }
};

inline int64_t int8_peak(int64_t n_rounds, int32_t* sum) {
    return int8_chains<PeakDot>(n_rounds, sum);
}

}  // namespace
}  // namespace plrt::PLRT_ISA
