/// The 16 sums of a product of floats as one register; sets whose registers are narrower hold them
/// as several parts, which pass over the elements one after the other (avx2/float_parts.h).

namespace plrt::PLRT_ISA {
namespace {

constexpr int kFloatParts = 1;
using FloatPart = F32x16;
using Bf16Part = U8x64;

inline FloatPart part_zero() {
    return zero();
}
inline FloatPart part_load(const float* p) {
    return load(p);
}
inline FloatPart part_load_f16(const uint16_t* p) {
    return load_f16(p);
}
inline Bf16Part part_load_bf16(const uint16_t* p) {
    return load_bytes(p);
}
inline FloatPart part_fma(FloatPart a, FloatPart b, FloatPart c) {
    return fma(a, b, c);
}
inline FloatPart part_dot_bf16(FloatPart acc, Bf16Part w, Bf16Part x) {
    return dot_bf16(acc, w, x);
}
inline F32x16 join_parts(FloatPart part) {
    return part;
}

constexpr int kBf16Rows = kFloatRows;
constexpr int kBf16Columns = kFloatColumns;

}  // namespace
}  // namespace plrt::PLRT_ISA
