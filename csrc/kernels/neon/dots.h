#pragma once
/// Dot products of panels in plain NEON: products are summed in int16 as long as they fit, then
/// widened and added in pairs.

namespace plrt::PLRT_ISA {
namespace {

constexpr int kColumnTile = 2;
constexpr int kPanelTile = 1;

/// kSteps steps whose sums of one product a step fit int16.
template <int C, int kSteps>
inline void dot_short(I32x16* acc, const uint8_t* w, const int8_t* const* x) {
    int16x8_t low[C][4];
    int16x8_t high[C][4];
    PLRT_UNROLL
    for (int step = 0; step < kSteps; ++step) {
        const U8x64 codes = load_bytes(w + 64 * step);
        PLRT_UNROLL
        for (int c = 0; c < C; ++c) {
            const int8x16_t four = broadcast_4(x[c] + 4 * step);
            PLRT_UNROLL
            for (int i = 0; i < 4; ++i) {
                const int8x16_t code = vreinterpretq_s8_u8(codes.v[i]);
                const int8x8_t front = vget_low_s8(code);
                const bool is_first = step == 0;
                low[c][i] = is_first ? vmull_s8(front, vget_low_s8(four))
                                     : vmlal_s8(low[c][i], front, vget_low_s8(four));
                high[c][i] =
                    is_first ? vmull_high_s8(code, four) : vmlal_high_s8(high[c][i], code, four);
            }
        }
    }
    PLRT_UNROLL
    for (int c = 0; c < C; ++c) {
        acc[c] = make_ints([&](int i) {
            const int32x4_t pairs = vpaddq_s32(vpaddlq_s16(low[c][i]), vpaddlq_s16(high[c][i]));
            return vaddq_s32(acc[c].v[i], pairs);
        });
    }
}
/// Steps, a part of n_steps, whose products of int8 with codes up to `largest` sum to an int16.
constexpr int steps_that_fit(int n_steps, int largest) {
    while (n_steps * 127 * largest > 32767) n_steps /= 2;
    return n_steps;
}
template <int C, int kSteps, int kLargest>
inline void dot_in_parts(I32x16* acc, const uint8_t* w, const int8_t* const* x) {
    constexpr int kShort = steps_that_fit(kSteps, kLargest);
    static_assert(kShort > 0 && kSteps % kShort == 0);
    for (int step = 0; step < kSteps; step += kShort) {
        const int8_t* there[C];
        for (int c = 0; c < C; ++c) there[c] = x[c] + 4 * step;
        dot_short<C, kShort>(acc, w + 64 * step, there);
    }
}
template <int R, int C, int kSteps, int kMaxCode>
inline void dot_unsigned(I32x16* acc, const uint8_t* const* w, const int8_t* const* x) {
    static_assert(R == 1);
    dot_in_parts<C, kSteps, kMaxCode>(acc, w[0], x);
}
template <int R, int C, int kSteps>
inline void dot_signed(I32x16* acc, const uint8_t* const* w, const int8_t* const* x) {
    static_assert(R == 1);
    dot_in_parts<C, kSteps, 128>(acc, w[0], x);
}

}  // namespace
}  // namespace plrt::PLRT_ISA
