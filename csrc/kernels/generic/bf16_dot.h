/// Products of bfloat16, where there is no instruction for them.

namespace plrt::PLRT_ISA {
namespace {

/// acc + for each group of 4 bytes, read as two bfloat16, the product of the second ones, then that
/// of the first ones.
inline F32x16 dot_bf16(F32x16 acc, U8x64 a, U8x64 b) {
    const auto first = [](U8x64 v) { return bits_to_floats(shift_left<16>(as_ints(v))); };
    const auto second = [](U8x64 v) { return bits_to_floats(and_ints(as_ints(v), 0xffff0000u)); };
    return fma(first(a), first(b), fma(second(a), second(b), acc));
}

}  // namespace
}  // namespace plrt::PLRT_ISA
