#pragma once
/// Dot products of panels by SDOT, which multiplies the 4 bytes of each group by one group of x.

namespace plrt::PLRT_ISA {
namespace {

/// Step `group` of the four whose x is one register.
template <int C, int group>
inline void dot_step(I32x16* acc, const uint8_t* w, const int8x16_t* x) {
    const U8x64 codes = load_bytes(w + 64 * group);
    PLRT_UNROLL
    for (int c = 0; c < C; ++c) {
        acc[c] = make_ints([&](int i) {
            return vdotq_laneq_s32(acc[c].v[i], vreinterpretq_s8_u8(codes.v[i]), x[c], group);
        });
    }
}
template <int C, int kSteps>
inline void dot_by_groups(I32x16* acc, const uint8_t* w, const int8_t* const* x) {
    static_assert(kSteps % 4 == 0);
    PLRT_UNROLL
    for (int step = 0; step < kSteps; step += 4) {
        int8x16_t sixteen[C];
        PLRT_UNROLL
        for (int c = 0; c < C; ++c) sixteen[c] = vld1q_s8(x[c] + 4 * step);
        const uint8_t* there = w + 64 * step;
        dot_step<C, 0>(acc, there, sixteen);
        dot_step<C, 1>(acc, there, sixteen);
        dot_step<C, 2>(acc, there, sixteen);
        dot_step<C, 3>(acc, there, sixteen);
    }
}

}  // namespace
}  // namespace plrt::PLRT_ISA
