/// Products of bfloat16, where there is no instruction for them (avx512_bf16/bf16_dot.h).

namespace plrt::PLRT_ISA {
namespace {

/// A part of pairs as floats. Made ready (Bf16Ready), the second ones lie before the first ones.
struct Bf16Part {
    FloatPart second;
    FloatPart first;
};
using Bf16Ready = float;
constexpr int kBf16Columns = kFloatColumns > 1 ? kFloatColumns - 1 : 1;  // each takes two registers

inline Bf16Part part_load_bf16(const uint16_t* p) {
    return {part_bf16_second(p), part_bf16_first(p)};
}
inline Bf16Part part_load_bf16(const float* ready) {
    return {part_load(ready), part_load(ready + 16 / kFloatParts)};
}
inline void part_ready_bf16(const uint16_t* p, float* ready) {
    part_store(ready, part_bf16_second(p));
    part_store(ready + 16 / kFloatParts, part_bf16_first(p));
}
inline void hold(Bf16Part& value) {
    hold(value.second);
    hold(value.first);
}
/// acc + for each pair the product of the second ones, then that of the first ones.
inline FloatPart part_dot_bf16(FloatPart acc, Bf16Part w, Bf16Part x) {
    return part_fma(w.first, x.first, part_fma(w.second, x.second, acc));
}

}  // namespace
}  // namespace plrt::PLRT_ISA
