#pragma once
/// The integer half of the vector vocabulary (documented in scalar/bytes.h) in NEON: four registers
/// a vector, one a lane. The dot products are in dots.h of the instruction set.

#include <arm_neon.h>

#include <cstdint>

namespace plrt::PLRT_ISA {
namespace {

/// Tile of a product with float weights.
constexpr int kFloatRows = 2;
constexpr int kFloatColumns = 2;
/// Signed codes stay as they are: Arm multiplies signed bytes by signed bytes.
constexpr int32_t kSignedShift = 0;
constexpr bool kScalesInDots = false;
constexpr bool kNarrowSums = false;

struct U8x64 {
    uint8x16_t v[4];
};
struct I32x16 {
    int32x4_t v[4];
};
template <typename F>
inline U8x64 make_bytes(F f) {
    return {{f(0), f(1), f(2), f(3)}};
}
template <typename F>
inline I32x16 make_ints(F f) {
    return {{f(0), f(1), f(2), f(3)}};
}
inline I32x16 as_ints(U8x64 a) {
    return make_ints([&](int i) { return vreinterpretq_s32_u8(a.v[i]); });
}
inline U8x64 as_bytes(I32x16 a) {
    return make_bytes([&](int i) { return vreinterpretq_u8_s32(a.v[i]); });
}

inline void prefetch(const void* p) {
#if defined(_MSC_VER) && !defined(__clang__)
    __prefetch(p);
#else
    __builtin_prefetch(p, 0, 2);
#endif
}
inline void prefetch_write(void* p) {
#if defined(_MSC_VER) && !defined(__clang__)
    __prefetch(p);
#else
    __builtin_prefetch(p, 1, 3);
#endif
}

inline U8x64 load_bytes(const void* p) {
    return make_bytes([=](int i) { return vld1q_u8(static_cast<const uint8_t*>(p) + 16 * i); });
}
inline void store_bytes(void* p, U8x64 a) {
    for (int i = 0; i < 4; ++i) vst1q_u8(static_cast<uint8_t*>(p) + 16 * i, a.v[i]);
}
inline U8x64 load_lanes(const uint8_t* p0, const uint8_t* p1, const uint8_t* p2,
                        const uint8_t* p3) {
    return {{vld1q_u8(p0), vld1q_u8(p1), vld1q_u8(p2), vld1q_u8(p3)}};
}
inline U8x64 xor_bytes(U8x64 a, uint8_t b) {
    return make_bytes([&](int i) { return veorq_u8(a.v[i], vdupq_n_u8(b)); });
}
inline U8x64 add_bytes(U8x64 a, U8x64 b) {
    return make_bytes([&](int i) { return vaddq_u8(a.v[i], b.v[i]); });
}
inline U8x64 set1_bytes(int b) {
    return make_bytes([=](int) { return vdupq_n_u8(static_cast<uint8_t>(b)); });
}
template <int kShift, int kMask>
inline uint8x16_t bits_16(uint8x16_t a) {
    if constexpr (kShift > 0) a = vshrq_n_u8(a, kShift);
    if constexpr (kShift < 0) a = vshlq_n_u8(a, -kShift);
    return vandq_u8(a, vdupq_n_u8(kMask));
}
template <int kShift, int kMask>
inline U8x64 bits(U8x64 a) {
    return make_bytes([&](int i) { return bits_16<kShift, kMask>(a.v[i]); });
}
template <int kShift, int kMask>
inline U8x64 or_bits(U8x64 a, U8x64 rest) {
    return make_bytes([&](int i) { return vorrq_u8(bits_16<kShift, kMask>(a.v[i]), rest.v[i]); });
}
inline U8x64 shuffle(int8x16_t from, U8x64 a) {
    const uint8x16_t index = vreinterpretq_u8_s8(from);
    return make_bytes([&](int i) { return vqtbl1q_u8(a.v[i], index); });
}
inline U8x64 lookup(const int8_t* table, U8x64 a) {
    const uint8x16_t t = vreinterpretq_u8_s8(vld1q_s8(table));
    return make_bytes([&](int i) { return vqtbl1q_u8(t, a.v[i]); });
}
template <int a, int b, int c, int d>
inline U8x64 spread(U8x64 v) {
    static constexpr GroupShuffle kShuffle(a, b, c, d);
    return shuffle(vld1q_s8(kShuffle.from), v);
}
template <int i>
inline U8x64 fifth_bits(U8x64 v) {
    const U8x64 byte = spread<i / 2, i / 2, i / 2, i / 2>(v);
    const uint8x16_t bit =
        vreinterpretq_u8_u32(vdupq_n_u32(i % 2 == 0 ? 0x08040201u : 0x80402010u));
    return make_bytes([&](int r) { return vandq_u8(vtstq_u8(byte.v[r], bit), vdupq_n_u8(16)); });
}
inline void transpose_groups(U8x64* v) {
    for (int lane = 0; lane < 4; ++lane) {
        const auto row = [&](int i) { return vreinterpretq_u32_u8(v[i].v[lane]); };
        const auto wide = [](uint32x4_t x) { return vreinterpretq_u64_u32(x); };
        const uint64x2_t a = wide(vzip1q_u32(row(0), row(1)));
        const uint64x2_t b = wide(vzip2q_u32(row(0), row(1)));
        const uint64x2_t c = wide(vzip1q_u32(row(2), row(3)));
        const uint64x2_t d = wide(vzip2q_u32(row(2), row(3)));
        v[0].v[lane] = vreinterpretq_u8_u64(vzip1q_u64(a, c));
        v[1].v[lane] = vreinterpretq_u8_u64(vzip2q_u64(a, c));
        v[2].v[lane] = vreinterpretq_u8_u64(vzip1q_u64(b, d));
        v[3].v[lane] = vreinterpretq_u8_u64(vzip2q_u64(b, d));
    }
}

inline U8x64 mul_bytes(U8x64 v, I32x16 factors) {
    const U8x64 low = spread<0, 0, 0, 0>(as_bytes(factors));
    return make_bytes([&](int i) { return vmulq_u8(v.v[i], low.v[i]); });
}

inline I32x16 iset1(int32_t x) {
    return make_ints([=](int) { return vdupq_n_s32(x); });
}
inline I32x16 izero() {
    return iset1(0);
}
inline I32x16 iload(const int32_t* p) {
    return make_ints([=](int i) { return vld1q_s32(p + 4 * i); });
}
inline void istore(int32_t* p, I32x16 a) {
    for (int i = 0; i < 4; ++i) vst1q_s32(p + 4 * i, a.v[i]);
}
inline I32x16 iadd(I32x16 a, I32x16 b) {
    return make_ints([&](int i) { return vaddq_s32(a.v[i], b.v[i]); });
}
inline I32x16 imul_add(I32x16 acc, I32x16 a, I32x16 b) {
    return make_ints([&](int i) { return vmlaq_s32(acc.v[i], a.v[i], b.v[i]); });
}
template <int n>
inline I32x16 shift_left(I32x16 a) {
    return make_ints([&](int i) { return vshlq_n_s32(a.v[i], n); });
}
template <int n>
inline I32x16 shift_right(I32x16 a) {
    return make_ints([&](int i) {
        return vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(a.v[i]), n));
    });
}
template <int n>
inline I32x16 shift_right_signed(I32x16 a) {
    return make_ints([&](int i) { return vshrq_n_s32(a.v[i], n); });
}
inline I32x16 and_ints(I32x16 a, uint32_t mask) {
    const int32x4_t m = vreinterpretq_s32_u32(vdupq_n_u32(mask));
    return make_ints([&](int i) { return vandq_s32(a.v[i], m); });
}
inline I32x16 float_bits(F32x16 a) {
    return make_ints([&](int i) { return vreinterpretq_s32_f32(a.v[i]); });
}
inline F32x16 bits_to_floats(I32x16 a) {
    return make([&](int i) { return vreinterpretq_f32_s32(a.v[i]); });
}
inline void store_low_halves(uint16_t* p, I32x16 a) {
    for (int i = 0; i < 4; ++i) vst1_u16(p + 4 * i, vmovn_u32(vreinterpretq_u32_s32(a.v[i])));
}
inline F32x16 to_float(I32x16 a) {
    return make([&](int i) { return vcvtq_f32_s32(a.v[i]); });
}
inline F32x16 halves_to_float(I32x16 a) {
    return make([&](int i) { return widen_f16(vreinterpret_u16_s16(vmovn_s32(a.v[i]))); });
}
/// 4 bytes from anywhere, four times.
inline int8x16_t broadcast_4(const void* p) {
    int32_t four;
    __builtin_memcpy(&four, p, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}
inline I32x16 dot_pairs(I32x16 acc, I32x16 pairs, const int16_t* x) {
    const int16x8_t both = vreinterpretq_s16_s8(broadcast_4(x));
    return make_ints([&](int i) {
        const int16x8_t p = vreinterpretq_s16_s32(pairs.v[i]);
        const int32x4_t low = vmull_s16(vget_low_s16(p), vget_low_s16(both));
        return vaddq_s32(acc.v[i], vpaddq_s32(low, vmull_high_s16(p, both)));
    });
}

}  // namespace
}  // namespace plrt::PLRT_ISA
