#pragma once
/// Sums of int8 codes, the same on every x86 instruction set.

#include <immintrin.h>

#include <cstdint>

namespace plrt::PLRT_ISA {
namespace {

/// 16 sums of 16 of the 256 codes at q.
inline void sums_i8_16(const int8_t* q, int16_t* sums) {
    const __m256i ones = _mm256_set1_epi8(1);
    __m256i pairs[8];  // each 128-bit lane holds the eight sums of two of one run of 16
    for (int i = 0; i < 8; ++i) {
        const auto* from = reinterpret_cast<const __m256i*>(q + 32 * i);
        pairs[i] = _mm256_maddubs_epi16(ones, _mm256_loadu_si256(from));
    }
    for (int n = 4; n > 0; n /= 2) {
        for (int i = 0; i < n; ++i) pairs[i] = _mm256_hadd_epi16(pairs[2 * i], pairs[2 * i + 1]);
    }
    const __m128i even = _mm256_castsi256_si128(pairs[0]);
    const __m128i odd = _mm256_extracti128_si256(pairs[0], 1);
    auto* to = reinterpret_cast<__m128i*>(sums);
    _mm_storeu_si128(to, _mm_unpacklo_epi16(even, odd));
    _mm_storeu_si128(to + 1, _mm_unpackhi_epi16(even, odd));
}

}  // namespace
}  // namespace plrt::PLRT_ISA
