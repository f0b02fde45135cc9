/// The 16 sums of a product of floats as one register; sets whose registers are narrower hold them
/// as several parts, which pass over the elements one after the other (avx2/float_parts.h).

namespace plrt::PLRT_ISA {
namespace {

constexpr int kFloatParts = 1;
using FloatPart = F32x16;

inline FloatPart part_zero() {
    return zero();
}
inline FloatPart part_load(const float* p) {
    return load(p);
}
inline void part_store(float* p, FloatPart a) {
    store(p, a);
}
inline FloatPart part_load_f16(const uint16_t* p) {
    return load_f16(p);
}
/// The first, or the second, of each two bfloat16 from p on.
inline FloatPart part_bf16_first(const uint16_t* p) {
    return bits_to_floats(shift_left<16>(as_ints(load_bytes(p))));
}
inline FloatPart part_bf16_second(const uint16_t* p) {
    return bits_to_floats(and_ints(as_ints(load_bytes(p)), 0xffff0000u));
}
inline FloatPart part_fma(FloatPart a, FloatPart b, FloatPart c) {
    return fma(a, b, c);
}
/// Keeps a value in its register, where compilers would load it once for each use. Sets that gain
/// by it have their own; in the others this does nothing.
template <typename T>
inline void hold(T& /*value*/) {}

}  // namespace
}  // namespace plrt::PLRT_ISA
