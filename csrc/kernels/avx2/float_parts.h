#pragma once
/// generic/float_parts.h in two parts: with one register a sum, more sums fit the 16 registers, and
/// each vector of weights or activations that is loaded meets more of them.

namespace plrt::PLRT_ISA {
namespace {

constexpr int kFloatParts = 2;
struct FloatPart {
    __m256 v;
};
struct Bf16Part {
    __m256i v;
};

inline FloatPart part_zero() {
    return {_mm256_setzero_ps()};
}
inline FloatPart part_load(const float* p) {
    return {_mm256_loadu_ps(p)};
}
inline FloatPart part_load_f16(const uint16_t* p) {
    return {_mm256_cvtph_ps(load_128(p))};
}
inline Bf16Part part_load_bf16(const uint16_t* p) {
    return {load_256(p)};
}
inline FloatPart part_fma(FloatPart a, FloatPart b, FloatPart c) {
    return {_mm256_fmadd_ps(a.v, b.v, c.v)};
}
inline FloatPart part_dot_bf16(FloatPart acc, Bf16Part w, Bf16Part x) {
    const __m256i mask = _mm256_set1_epi32(static_cast<int32_t>(0xffff0000u));
    const auto first = [](__m256i v) { return _mm256_castsi256_ps(_mm256_slli_epi32(v, 16)); };
    const auto second = [&](__m256i v) { return _mm256_castsi256_ps(_mm256_and_si256(v, mask)); };
    const __m256 sum = _mm256_fmadd_ps(second(w.v), second(x.v), acc.v);
    return {_mm256_fmadd_ps(first(w.v), first(x.v), sum)};
}
inline F32x16 join_parts(FloatPart low, FloatPart high) {
    return {low.v, high.v};
}

constexpr int kBf16Rows = 2;
constexpr int kBf16Columns = 4;

}  // namespace
}  // namespace plrt::PLRT_ISA
