#pragma once
/// Products of bfloat16 in one instruction; products are exact, denormal numbers count as 0.

namespace plrt::PLRT_ISA {
namespace {

inline F32x16 dot_bf16(F32x16 acc, U8x64 a, U8x64 b) {
    const auto pairs = [](U8x64 v) { return __builtin_bit_cast(__m512bh, v.v); };
    return {_mm512_dpbf16_ps(acc.v, pairs(a), pairs(b))};
}

}  // namespace
}  // namespace plrt::PLRT_ISA
