#pragma once
/// generic/float_parts.h in two parts: with one register a sum, more sums fit the 16 registers, and
/// each vector of weights or activations that is loaded meets more of them.

namespace plrt::PLRT_ISA {
namespace {

constexpr int kFloatParts = 2;
struct FloatPart {
    __m256 v;
};

inline FloatPart part_zero() {
    return {_mm256_setzero_ps()};
}
inline FloatPart part_load(const float* p) {
    return {_mm256_loadu_ps(p)};
}
inline void part_store(float* p, FloatPart a) {
    _mm256_storeu_ps(p, a.v);
}
inline FloatPart part_load_f16(const uint16_t* p) {
    return {_mm256_cvtph_ps(load_128(p))};
}
inline FloatPart part_bf16_first(const uint16_t* p) {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(load_256(p), 16))};
}
inline FloatPart part_bf16_second(const uint16_t* p) {
    const __m256i mask = _mm256_set1_epi32(static_cast<int32_t>(0xffff0000u));
    return {_mm256_castsi256_ps(_mm256_and_si256(load_256(p), mask))};
}
inline FloatPart part_fma(FloatPart a, FloatPart b, FloatPart c) {
    return {_mm256_fmadd_ps(a.v, b.v, c.v)};
}

/// Keeps a value in its register, where compilers would load it once for each use.
inline void hold([[maybe_unused]] FloatPart& value) {
#if !defined(_MSC_VER)
    asm("" : "+x"(value.v));
#endif
}
}  // namespace
}  // namespace plrt::PLRT_ISA
