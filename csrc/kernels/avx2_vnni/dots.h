#pragma once
/// Dot products of panels with VNNI in registers of 256 bits.

namespace plrt::PLRT_ISA {
namespace {

constexpr int32_t kSignedShift = 128;
constexpr bool kScalesInDots = false;
constexpr bool kNarrowSums = true;

template <int R, int C, int kSteps>
inline void dot_signed(I32x16* acc, const uint8_t* const* w, const int8_t* const* x) {
    static_assert(R == 1);
    PLRT_UNROLL
    for (int step = 0; step < kSteps; ++step) {
        const U8x64 codes = load_bytes(w[0] + 64 * step);
        PLRT_UNROLL
        for (int c = 0; c < C; ++c) {
            const __m256i four = broadcast_4(x[c] + 4 * step);
            acc[c] = {_mm256_dpbusd_avx_epi32(acc[c].low, codes.low, four),
                      _mm256_dpbusd_avx_epi32(acc[c].high, codes.high, four)};
        }
    }
}
template <int R, int C, int kSteps, int kMaxCode>
inline void dot_unsigned(I32x16* acc, const uint8_t* const* w, const int8_t* const* x) {
    dot_signed<R, C, kSteps>(acc, w, x);  // the instruction takes codes up to 255
}
template <int C>
inline void imul_add_narrow(I32x16* sums, const I32x16* acc, I32x16 scales) {
    PLRT_UNROLL
    for (int c = 0; c < C; ++c) {
        sums[c] = {_mm256_dpwssd_avx_epi32(sums[c].low, acc[c].low, scales.low),
                   _mm256_dpwssd_avx_epi32(sums[c].high, acc[c].high, scales.high)};
    }
}
inline I32x16 dot_pairs(I32x16 acc, I32x16 pairs, const int16_t* x) {
    const __m256i both = broadcast_4(x);
    return {_mm256_dpwssd_avx_epi32(acc.low, pairs.low, both),
            _mm256_dpwssd_avx_epi32(acc.high, pairs.high, both)};
}

}  // namespace
}  // namespace plrt::PLRT_ISA
