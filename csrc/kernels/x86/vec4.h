#pragma once
/// Four lanes, for the four weight rows of a matmul tile: the same on every x86 instruction set.

#include <immintrin.h>

namespace plrt::PLRT_ISA {
namespace {

struct F32x4 {
    __m128 v;
};
struct I32x4 {
    __m128i v;
};
inline F32x4 load4(const float* p) {
    return {_mm_loadu_ps(p)};
}
inline void store4(float* p, F32x4 a) {
    _mm_storeu_ps(p, a.v);
}
inline F32x4 set4(float x) {
    return {_mm_set1_ps(x)};
}
inline F32x4 mul4(F32x4 a, F32x4 b) {
    return {_mm_mul_ps(a.v, b.v)};
}
inline F32x4 add4(F32x4 a, F32x4 b) {
    return {_mm_add_ps(a.v, b.v)};
}
inline F32x4 fma4(F32x4 a, F32x4 b, F32x4 c) {
    return {_mm_fmadd_ps(a.v, b.v, c.v)};
}
inline F32x4 to_float4(I32x4 a) {
    return {_mm_cvtepi32_ps(a.v)};
}
inline I32x4 sub4(I32x4 a, I32x4 b) {
    return {_mm_sub_epi32(a.v, b.v)};
}

}  // namespace
}  // namespace plrt::PLRT_ISA
