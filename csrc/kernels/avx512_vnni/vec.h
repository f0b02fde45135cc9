#pragma once
/// The float half of the vector vocabulary (documented in scalar/vec.h) in AVX-512.

#include <immintrin.h>

#include <cstdint>

#include "kernels/x86/sums.h"

namespace plrt::PLRT_ISA {
namespace {

const float kInfinity = __builtin_bit_cast(float, 0x7f800000u);
const float kNan = __builtin_bit_cast(float, 0x7fc00000u);
inline float sqrt1(float x) {
    return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
}

struct F32x16 {
    __m512 v;
};

inline F32x16 zero() {
    return {_mm512_setzero_ps()};
}
inline F32x16 set1(float x) {
    return {_mm512_set1_ps(x)};
}
inline F32x16 load(const float* p) {
    return {_mm512_loadu_ps(p)};
}
inline void store(float* p, F32x16 a) {
    _mm512_storeu_ps(p, a.v);
}
/// As in generic/float_parts.h.
inline void hold([[maybe_unused]] F32x16& value) {
#if !defined(_MSC_VER)
    asm("" : "+v"(value.v));
#endif
}
inline __m128i load_128(const void* p) {
    return _mm_loadu_si128(static_cast<const __m128i*>(p));
}
inline __m256i load_256(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
inline F32x16 load_f16(const uint16_t* p) {
    return {_mm512_cvtph_ps(load_256(p))};
}
inline void store_f16(uint16_t* p, F32x16 a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}

inline F32x16 add(F32x16 a, F32x16 b) {
    return {_mm512_add_ps(a.v, b.v)};
}
inline F32x16 sub(F32x16 a, F32x16 b) {
    return {_mm512_sub_ps(a.v, b.v)};
}
inline F32x16 mul(F32x16 a, F32x16 b) {
    return {_mm512_mul_ps(a.v, b.v)};
}
inline F32x16 div(F32x16 a, F32x16 b) {
    return {_mm512_div_ps(a.v, b.v)};
}
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
    return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
inline F32x16 max(F32x16 a, F32x16 b) {
    return {_mm512_max_ps(a.v, b.v)};
}
inline F32x16 min(F32x16 a, F32x16 b) {
    return {_mm512_min_ps(a.v, b.v)};
}
inline F32x16 abs(F32x16 a) {
    const __m512i mask = _mm512_set1_epi32(0x7fffffff);
    return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a.v), mask))};
}
inline F32x16 zero_where_below(F32x16 x, float limit, F32x16 value) {
    const __mmask16 below = _mm512_cmp_ps_mask(x.v, _mm512_set1_ps(limit), _CMP_LT_OQ);
    return {_mm512_mask_mov_ps(value.v, below, _mm512_setzero_ps())};
}
inline F32x16 half_pow2(F32x16 t) {
    const __m512i n =
        _mm512_sub_epi32(_mm512_castps_si512(t.v), _mm512_set1_epi32(0x4b400000 - 126));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(n, 23))};
}
inline __m256 upper_half(__m512 v) {
    return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
}
inline float reduce_add(F32x16 a) {
    const __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(a.v), upper_half(a.v));
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}
inline float reduce_max(F32x16 a) {
    const __m256 m8 = _mm256_max_ps(_mm512_castps512_ps256(a.v), upper_half(a.v));
    const __m128 m4 = _mm_max_ps(_mm256_castps256_ps128(m8), _mm256_extractf128_ps(m8, 1));
    const __m128 m2 = _mm_max_ps(m4, _mm_movehl_ps(m4, m4));
    return _mm_cvtss_f32(_mm_max_ss(m2, _mm_movehdup_ps(m2)));
}
inline void store_i8(int8_t* p, F32x16 a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a.v)));
}

inline int32_t sum_i8_32(const int8_t* q) {
    const __m256i ones = _mm256_set1_epi8(1);
    const __m256i sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), ones, load_256(q));
    const __m128i s4 =
        _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    const __m128i s2 = _mm_add_epi32(s4, _mm_shuffle_epi32(s4, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s2, _mm_shuffle_epi32(s2, 0xb1)));
}

inline F32x16 load_i8(const int8_t* p) {
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_128(p)))};
}

constexpr int kAttentionQueries = 8;
constexpr int kAttentionVectors = 2;

}  // namespace
}  // namespace plrt::PLRT_ISA
