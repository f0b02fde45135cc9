#pragma once
/// The fastest int8 multiply-accumulates that this instruction set has, with nothing around them.

#include <immintrin.h>

#include <cstdint>

#include "kernels/generic/int8_chains.h"

namespace plrt::PLRT_ISA {
namespace {

struct PeakDot {
    using Vector = __m512i;
    static constexpr int64_t kMacs = 64;

    static Vector start(int i) { return _mm512_set1_epi32(i); }
    static Vector add(Vector v) {
        return _mm512_dpbusd_epi32(v, _mm512_set1_epi8(3), _mm512_set1_epi8(-5));
    }
    static int32_t total(Vector v) { return _mm512_reduce_add_epi32(v); }
};

inline int64_t int8_peak(int64_t n_rounds, int32_t* sum) {
    return int8_chains<PeakDot>(n_rounds, sum);
}

}  // namespace
}  // namespace plrt::PLRT_ISA
