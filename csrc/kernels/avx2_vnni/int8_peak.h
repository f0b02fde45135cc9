#pragma once
/// The fastest int8 multiply-accumulates that this instruction set has, with nothing around them.

#include <immintrin.h>

#include <cstdint>

#include "kernels/generic/int8_chains.h"

namespace plrt::PLRT_ISA {
namespace {

struct PeakDot {
    using Vector = __m256i;
    static constexpr int64_t kMacs = 32;

    static Vector start(int i) { return _mm256_set1_epi32(i); }
    static Vector add(Vector v) {
        return _mm256_dpbusd_avx_epi32(v, _mm256_set1_epi8(3), _mm256_set1_epi8(-5));
    }
    static int32_t total(Vector v) {
        const __m128i half =
            _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        const __m128i pair = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
        return _mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32(pair, 0xb1)));
    }
};

inline int64_t int8_peak(int64_t n_rounds, int32_t* sum) {
    return int8_chains<PeakDot>(n_rounds, sum);
}

}  // namespace
}  // namespace plrt::PLRT_ISA
