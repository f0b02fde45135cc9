#pragma once
/// The fastest int8 multiply-accumulates that this instruction set has, with nothing around them.

#include <immintrin.h>

#include <cstdint>

namespace plrt::PLRT_ISA {
namespace {

/// chain + the sums of four products each: three instructions for 32 multiply-accumulates.
inline __m256i add_products(__m256i chain, const uint8_t* codes, __m256i x) {
    const __m256i c = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
    const __m256i pairs = _mm256_maddubs_epi16(c, x);
    return _mm256_add_epi32(chain, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/// Chains written out one by one, since GCC keeps an array of them in memory. The codes do come
/// from memory, which is free here: from registers a compiler would take each product once. Two
/// steps are enough, and more make GCC load too much in advance.
inline int64_t int8_peak(int64_t n_rounds, int32_t* sum) {
    constexpr int kSteps = 2, kRun = 4 * 32, kStarts = 8;
    uint8_t codes[kSteps * kRun + kStarts * 32];
    for (int i = 0; i < kSteps * kRun + kStarts * 32; ++i) codes[i] = static_cast<uint8_t>(i * 37);
    const __m256i x = _mm256_set1_epi8(-5);
    const __m256i zero = _mm256_setzero_si256();
    __m256i a = zero, b = zero, c = zero, d = zero;
    for (int64_t round = 0; round < n_rounds; ++round) {
        const uint8_t* start = codes + round % kStarts * 32;
        for (int step = 0; step < kSteps; ++step) {
            const uint8_t* run = start + step * kRun;
            a = add_products(a, run, x);
            b = add_products(b, run + 32, x);
            c = add_products(c, run + 64, x);
            d = add_products(d, run + 96, x);
        }
    }
    const __m256i all = _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
    const __m128i half =
        _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    const __m128i pair = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    *sum = _mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32(pair, 0xb1)));
    return n_rounds * kSteps * kRun;
}

}  // namespace
}  // namespace plrt::PLRT_ISA
