#pragma once
/// The fastest int8 multiply-accumulates that this instruction set has, with nothing around them.

#include <immintrin.h>

#include <cstdint>

namespace plrt::PLRT_ISA {
namespace {

/// Chains written out one by one, since GCC keeps an array of them in memory: more than the
/// instruction's latency times its ports, fewer than registers. Each starts at a number of its
/// own, or else the compiler would see that they are all the same.
inline int64_t int8_peak(int64_t n_rounds, int32_t* sum) {
    constexpr int kSteps = 8;
    const __m512i codes = _mm512_set1_epi8(3);
    const __m512i x = _mm512_set1_epi8(-5);
    __m512i a = _mm512_set1_epi32(1), b = _mm512_set1_epi32(2), c = _mm512_set1_epi32(3);
    __m512i d = _mm512_set1_epi32(4), e = _mm512_set1_epi32(5), f = _mm512_set1_epi32(6);
    __m512i g = _mm512_set1_epi32(7), h = _mm512_set1_epi32(8), i = _mm512_set1_epi32(9);
    __m512i j = _mm512_set1_epi32(10), k = _mm512_set1_epi32(11), l = _mm512_set1_epi32(12);
    for (int64_t round = 0; round < n_rounds; ++round) {
        for (int step = 0; step < kSteps; ++step) {  // unrolled: the loop itself costs nothing then
            a = _mm512_dpbusd_epi32(a, codes, x);
            b = _mm512_dpbusd_epi32(b, codes, x);
            c = _mm512_dpbusd_epi32(c, codes, x);
            d = _mm512_dpbusd_epi32(d, codes, x);
            e = _mm512_dpbusd_epi32(e, codes, x);
            f = _mm512_dpbusd_epi32(f, codes, x);
            g = _mm512_dpbusd_epi32(g, codes, x);
            h = _mm512_dpbusd_epi32(h, codes, x);
            i = _mm512_dpbusd_epi32(i, codes, x);
            j = _mm512_dpbusd_epi32(j, codes, x);
            k = _mm512_dpbusd_epi32(k, codes, x);
            l = _mm512_dpbusd_epi32(l, codes, x);
        }
    }
    const __m512i abcd = _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d));
    const __m512i efgh = _mm512_add_epi32(_mm512_add_epi32(e, f), _mm512_add_epi32(g, h));
    const __m512i ijkl = _mm512_add_epi32(_mm512_add_epi32(i, j), _mm512_add_epi32(k, l));
    *sum = _mm512_reduce_add_epi32(_mm512_add_epi32(_mm512_add_epi32(abcd, efgh), ijkl));
    return n_rounds * kSteps * 12 * 64;
}

}  // namespace
}  // namespace plrt::PLRT_ISA
