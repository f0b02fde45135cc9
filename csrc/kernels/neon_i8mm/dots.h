#pragma once
/// Dot products of panels by SMMLA, which multiplies 8 bytes of two rows by 8 bytes of two columns,
/// where there are two columns; by SDOT where there is one.
/// Unsigned codes stay below 128, so they are signed ones too.

#include "kernels/neon_dotprod/sdot.h"

namespace plrt::PLRT_ISA {
namespace {

constexpr int kColumnTile = 8;
constexpr int kPanelTile = 1;

/// x of a pair of columns: 8 bytes of the one, then 8 of the other, for each two steps.
template <int kSteps>
inline void load_pair(const int8_t* const* x, int8x16_t* pair) {
    PLRT_UNROLL
    for (int step = 0; step < kSteps; step += 4) {
        const int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(x[0] + 4 * step));
        const int64x2_t b = vreinterpretq_s64_s8(vld1q_s8(x[1] + 4 * step));
        pair[step / 2] = vreinterpretq_s8_s64(vzip1q_s64(a, b));
        pair[step / 2 + 1] = vreinterpretq_s8_s64(vzip2q_s64(a, b));
    }
}

/// One lane after the other (four rows), so that x and the sums of all columns stay in registers.
template <int C, int kSteps>
inline void dot_by_pairs(I32x16* acc, const uint8_t* w, const int8_t* const* x) {
    static_assert(C % 2 == 0 && kSteps % 4 == 0);
    int8x16_t pairs[C / 2][kSteps / 2];
    PLRT_UNROLL
    for (int p = 0; p < C / 2; ++p) load_pair<kSteps>(x + 2 * p, pairs[p]);
    PLRT_UNROLL
    for (int lane = 0; lane < 4; ++lane) {
        int32x4_t first[C / 2];   // rows 0 and 1 by both columns
        int32x4_t second[C / 2];  // rows 2 and 3
        for (int p = 0; p < C / 2; ++p) first[p] = second[p] = vdupq_n_s32(0);
        PLRT_UNROLL
        for (int step = 0; step < kSteps; step += 2) {
            const uint8_t* there = w + 64 * step + 16 * lane;
            const uint32x4_t a = vreinterpretq_u32_u8(vld1q_u8(there));
            const uint32x4_t b = vreinterpretq_u32_u8(vld1q_u8(there + 64));
            const int8x16_t upper = vreinterpretq_s8_u32(vzip1q_u32(a, b));
            const int8x16_t lower = vreinterpretq_s8_u32(vzip2q_u32(a, b));
            PLRT_UNROLL
            for (int p = 0; p < C / 2; ++p) {
                first[p] = vmmlaq_s32(first[p], upper, pairs[p][step / 2]);
                second[p] = vmmlaq_s32(second[p], lower, pairs[p][step / 2]);
            }
        }
        PLRT_UNROLL
        for (int p = 0; p < C / 2; ++p) {
            int32x4_t& one = acc[2 * p].v[lane];
            int32x4_t& other = acc[2 * p + 1].v[lane];
            one = vaddq_s32(one, vuzp1q_s32(first[p], second[p]));
            other = vaddq_s32(other, vuzp2q_s32(first[p], second[p]));
        }
    }
}
template <int R, int C, int kSteps>
inline void dot_signed(I32x16* acc, const uint8_t* const* w, const int8_t* const* x) {
    static_assert(R == 1);
    if constexpr (C % 2 == 0) {
        dot_by_pairs<C, kSteps>(acc, w[0], x);
    } else {
        dot_by_groups<C, kSteps>(acc, w[0], x);
    }
}
template <int R, int C, int kSteps, int /*kMaxCode*/>
inline void dot_unsigned(I32x16* acc, const uint8_t* const* w, const int8_t* const* x) {
    static_assert(R == 1);
    dot_signed<R, C, kSteps>(acc, w, x);
}

}  // namespace
}  // namespace plrt::PLRT_ISA
