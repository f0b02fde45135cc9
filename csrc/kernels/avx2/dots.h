#pragma once
/// Dot products of panels without VNNI: pairs of products in int16, as many as fit, then int32.

namespace plrt::PLRT_ISA {
namespace {

constexpr int32_t kSignedShift = 0;
constexpr bool kScalesInDots = true;
constexpr bool kNarrowSums = false;

/// acc + the products of pairs of int16, added up.
inline __m256i add_pairs(__m256i acc, __m256i a, __m256i b) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
}

/// kSteps steps whose sums fit int16, times factors, which are pairs of int16.
template <int C, int kSteps>
inline void dot_short(I32x16* acc, const uint8_t* w, const int8_t* const* x, I32x16 factors) {
    __m256i low[C];
    __m256i high[C];
    PLRT_UNROLL
    for (int step = 0; step < kSteps; ++step) {
        const U8x64 codes = load_bytes(w + 64 * step);
        PLRT_UNROLL
        for (int c = 0; c < C; ++c) {
            const __m256i four = broadcast_4(x[c] + 4 * step);
            const __m256i first = _mm256_maddubs_epi16(codes.low, four);
            const __m256i second = _mm256_maddubs_epi16(codes.high, four);
            low[c] = step == 0 ? first : _mm256_add_epi16(low[c], first);
            high[c] = step == 0 ? second : _mm256_add_epi16(high[c], second);
        }
    }
    PLRT_UNROLL
    for (int c = 0; c < C; ++c) {
        acc[c] = {add_pairs(acc[c].low, low[c], factors.low),
                  add_pairs(acc[c].high, high[c], factors.high)};
    }
}
/// dot_unsigned, times a scale for each row: pairs of one int16 twice.
template <int R, int C, int kSteps, int kMaxCode>
inline void dot_scaled(I32x16* acc, const uint8_t* const* w, const int8_t* const* x,
                       const I32x16* scales) {
    static_assert(R == 1);
    constexpr int kFit = 32767 / (2 * 127 * kMaxCode);
    constexpr int kShort = kFit < kSteps ? kFit : kSteps;
    static_assert(kShort > 0 && kSteps % kShort == 0);
    PLRT_UNROLL
    for (int step = 0; step < kSteps; step += kShort) {
        const int8_t* there[C];
        for (int c = 0; c < C; ++c) there[c] = x[c] + 4 * step;
        dot_short<C, kShort>(acc, w[0] + 64 * step, there, scales[0]);
    }
}
template <int R, int C, int kSteps, int kMaxCode>
inline void dot_unsigned(I32x16* acc, const uint8_t* const* w, const int8_t* const* x) {
    const I32x16 ones = iset1(0x00010001);
    dot_scaled<R, C, kSteps, kMaxCode>(acc, w, x, &ones);
}
/// |code| <= 128 and |x| <= 127, so that a sum of two products fits int16.
template <int R, int C, int kSteps>
inline void dot_signed(I32x16* acc, const uint8_t* const* w, const int8_t* const* x) {
    static_assert(R == 1);
    const __m256i ones = _mm256_set1_epi16(1);
    PLRT_UNROLL
    for (int step = 0; step < kSteps; ++step) {
        const U8x64 codes = load_bytes(w[0] + 64 * step);
        const U8x64 size = {_mm256_abs_epi8(codes.low), _mm256_abs_epi8(codes.high)};
        PLRT_UNROLL
        for (int c = 0; c < C; ++c) {
            const __m256i four = broadcast_4(x[c] + 4 * step);
            const __m256i low = _mm256_sign_epi8(four, codes.low);
            const __m256i high = _mm256_sign_epi8(four, codes.high);
            acc[c] = {add_pairs(acc[c].low, _mm256_maddubs_epi16(size.low, low), ones),
                      add_pairs(acc[c].high, _mm256_maddubs_epi16(size.high, high), ones)};
        }
    }
}
inline I32x16 dot_pairs(I32x16 acc, I32x16 pairs, const int16_t* x) {
    const __m256i both = broadcast_4(x);
    return {add_pairs(acc.low, pairs.low, both), add_pairs(acc.high, pairs.high, both)};
}

}  // namespace
}  // namespace plrt::PLRT_ISA
