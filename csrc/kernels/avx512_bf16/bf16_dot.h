#pragma once
/// generic/bf16_dot.h in one instruction; products are exact, denormal numbers count as 0.

namespace plrt::PLRT_ISA {
namespace {

using Bf16Part = U8x64;
using Bf16Ready = uint16_t;
constexpr int kBf16Columns = kFloatColumns;

inline Bf16Part part_load_bf16(const uint16_t* p) {
    return load_bytes(p);
}
inline void part_ready_bf16(const uint16_t* p, uint16_t* ready) {
    store_bytes(ready, load_bytes(p));
}
inline FloatPart part_dot_bf16(FloatPart acc, Bf16Part w, Bf16Part x) {
    const auto pairs = [](U8x64 v) { return __builtin_bit_cast(__m512bh, v.v); };
    return {_mm512_dpbf16_ps(acc.v, pairs(w), pairs(x))};
}

}  // namespace
}  // namespace plrt::PLRT_ISA
