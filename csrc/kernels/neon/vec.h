#pragma once
/// The float half of the vector vocabulary (documented in scalar/vec.h) in NEON: four registers a
/// vector. The same on every Arm instruction set.

#include <arm_neon.h>

#include <cstdint>

namespace plrt::PLRT_ISA {
namespace {

struct F32x16 {
    float32x4_t v[4];
};

const float kInfinity = __builtin_bit_cast(float, 0x7f800000u);
const float kNan = __builtin_bit_cast(float, 0x7fc00000u);
inline float sqrt1(float x) {
    return vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0);
}

/// The four registers that f gives for 0 … 3.
template <typename F>
inline F32x16 make(F f) {
    return {{f(0), f(1), f(2), f(3)}};
}

inline F32x16 set1(float x) {
    return make([=](int) { return vdupq_n_f32(x); });
}
inline F32x16 zero() {
    return set1(0.0f);
}
inline F32x16 load(const float* p) {
    return make([=](int i) { return vld1q_f32(p + 4 * i); });
}
inline void store(float* p, F32x16 a) {
    for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, a.v[i]);
}
inline float32x4_t widen_f16(uint16x4_t bits) {
    return vcvt_f32_f16(vreinterpret_f16_u16(bits));
}
inline F32x16 load_f16(const uint16_t* p) {
    return make([=](int i) { return widen_f16(vld1_u16(p + 4 * i)); });
}
inline void store_f16(uint16_t* p, F32x16 a) {
    for (int i = 0; i < 4; ++i) vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(a.v[i])));
}

inline F32x16 add(F32x16 a, F32x16 b) {
    return make([&](int i) { return vaddq_f32(a.v[i], b.v[i]); });
}
inline F32x16 sub(F32x16 a, F32x16 b) {
    return make([&](int i) { return vsubq_f32(a.v[i], b.v[i]); });
}
inline F32x16 mul(F32x16 a, F32x16 b) {
    return make([&](int i) { return vmulq_f32(a.v[i], b.v[i]); });
}
inline F32x16 div(F32x16 a, F32x16 b) {
    return make([&](int i) { return vdivq_f32(a.v[i], b.v[i]); });
}
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
    return make([&](int i) { return vfmaq_f32(c.v[i], a.v[i], b.v[i]); });
}
// Arm's own maximum and minimum differ from the vocabulary's on NaN.
inline float32x4_t larger(float32x4_t a, float32x4_t b) {
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}
inline F32x16 max(F32x16 a, F32x16 b) {
    return make([&](int i) { return larger(a.v[i], b.v[i]); });
}
inline F32x16 min(F32x16 a, F32x16 b) {
    return make([&](int i) { return vbslq_f32(vcltq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]); });
}
inline F32x16 abs(F32x16 a) {
    return make([&](int i) { return vabsq_f32(a.v[i]); });
}
inline F32x16 zero_where_below(F32x16 x, float limit, F32x16 value) {
    const float32x4_t bound = vdupq_n_f32(limit);
    return make([&](int i) {
        const uint32x4_t bits = vreinterpretq_u32_f32(value.v[i]);
        return vreinterpretq_f32_u32(vbicq_u32(bits, vcltq_f32(x.v[i], bound)));
    });
}
inline F32x16 half_pow2(F32x16 t) {
    const uint32x4_t offset = vdupq_n_u32(0x4b400000u - 126u);
    return make([&](int i) {
        const uint32x4_t n = vsubq_u32(vreinterpretq_u32_f32(t.v[i]), offset);
        return vreinterpretq_f32_u32(vshlq_n_u32(n, 23));
    });
}
inline float reduce_add(F32x16 a) {
    const float32x4_t s4 = vaddq_f32(vaddq_f32(a.v[0], a.v[2]), vaddq_f32(a.v[1], a.v[3]));
    const float32x2_t s2 = vadd_f32(vget_low_f32(s4), vget_high_f32(s4));
    return vget_lane_f32(s2, 0) + vget_lane_f32(s2, 1);
}
inline float reduce_max(F32x16 a) {
    const float32x4_t m4 = larger(larger(a.v[0], a.v[2]), larger(a.v[1], a.v[3]));
    const float32x4_t m2 = larger(m4, vextq_f32(m4, m4, 2));
    return vgetq_lane_f32(larger(m2, vextq_f32(m2, m2, 1)), 0);
}
inline void store_i8(int8_t* p, F32x16 a) {
    const auto narrow = [&](int i) { return vmovn_s32(vcvtnq_s32_f32(a.v[i])); };
    const int8x8_t low = vmovn_s16(vcombine_s16(narrow(0), narrow(1)));
    const int8x8_t high = vmovn_s16(vcombine_s16(narrow(2), narrow(3)));
    vst1q_s8(p, vcombine_s8(low, high));
}
inline int32_t sum_i8_32(const int8_t* q) {
    return vaddlvq_s16(vpadalq_s8(vpaddlq_s8(vld1q_s8(q)), vld1q_s8(q + 16)));
}

/// Sums of neighbours, from 16 runs of 16 to 16 sums.
inline void sums_i8_16(const int8_t* q, int16_t* sums) {
    for (int g = 0; g < 16; g += 8) {
        int16x8_t runs[8];
        for (int i = 0; i < 8; ++i) runs[i] = vpaddlq_s8(vld1q_s8(q + 16 * (g + i)));
        for (int n = 4; n > 0; n /= 2) {
            for (int i = 0; i < n; ++i) runs[i] = vpaddq_s16(runs[2 * i], runs[2 * i + 1]);
        }
        vst1q_s16(sums + g, runs[0]);
    }
}

inline F32x16 load_i8(const int8_t* p) {
    const int8x16_t codes = vld1q_s8(p);
    const int16x8_t low = vmovl_s8(vget_low_s8(codes));
    const int16x8_t high = vmovl_s8(vget_high_s8(codes));
    return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
             vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
             vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
             vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)))}};
}

constexpr int kAttentionQueries = 4;
constexpr int kAttentionVectors = 1;

}  // namespace
}  // namespace plrt::PLRT_ISA
