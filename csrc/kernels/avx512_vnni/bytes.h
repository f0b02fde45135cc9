#pragma once
/// The integer half of the vector vocabulary (documented in scalar/bytes.h) in AVX-512 BW and VNNI.

#include <immintrin.h>

#include <cstdint>

namespace plrt::PLRT_ISA {
namespace {

constexpr int kColumnTile = 8;
constexpr int kPanelTile = 2;
/// Tile of a product with float weights.
constexpr int kFloatRows = 8;
constexpr int kFloatColumns = 3;
constexpr int32_t kSignedShift = 128;
constexpr bool kScalesInDots = false;
constexpr bool kNarrowSums = true;

struct U8x64 {
    __m512i v;
};
struct I32x16 {
    __m512i v;
};
inline I32x16 as_ints(U8x64 a) {
    return {a.v};
}

inline void prefetch(const void* p) {
    _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1);
}
inline void prefetch_write(void* p) {
    _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
}

inline U8x64 load_bytes(const void* p) {
    return {_mm512_loadu_si512(p)};
}
inline void store_bytes(void* p, U8x64 a) {
    _mm512_storeu_si512(p, a.v);
}
inline U8x64 load_lanes(const uint8_t* p0, const uint8_t* p1, const uint8_t* p2,
                        const uint8_t* p3) {
    const __m256i low =
        _mm256_inserti128_si256(_mm256_castsi128_si256(load_128(p0)), load_128(p1), 1);
    const __m512i three = _mm512_inserti32x4(_mm512_castsi256_si512(low), load_128(p2), 2);
    return {_mm512_inserti32x4(three, load_128(p3), 3)};
}
inline __m512i set1_byte(int b) {
    return _mm512_set1_epi8(static_cast<char>(b));
}
inline U8x64 xor_bytes(U8x64 a, uint8_t b) {
    return {_mm512_xor_si512(a.v, set1_byte(b))};
}
inline U8x64 add_bytes(U8x64 a, U8x64 b) {
    return {_mm512_add_epi8(a.v, b.v)};
}
inline U8x64 set1_bytes(int b) {
    return {set1_byte(b)};
}
/// Shifts over byte borders; what comes in from the neighbour has to be masked off.
template <int kShift>
inline __m512i shifted(U8x64 a) {
    if constexpr (kShift > 0) return _mm512_srli_epi16(a.v, kShift);
    if constexpr (kShift < 0) return _mm512_slli_epi16(a.v, -kShift);
    return a.v;
}
template <int kShift, int kMask>
inline U8x64 bits(U8x64 a) {
    return {_mm512_and_si512(shifted<kShift>(a), set1_byte(kMask))};
}
template <int kShift, int kMask>
inline U8x64 or_bits(U8x64 a, U8x64 rest) {
    constexpr int kAndOr = 0xea;  // (first & second) | third
    return {_mm512_ternarylogic_epi32(shifted<kShift>(a), set1_byte(kMask), rest.v, kAndOr)};
}
inline __m512i in_every_lane(const void* sixteen_bytes) {
    return _mm512_broadcast_i32x4(load_128(sixteen_bytes));
}
inline U8x64 lookup(const int8_t* table, U8x64 a) {
    return {_mm512_shuffle_epi8(in_every_lane(table), a.v)};
}

template <int a, int b, int c, int d>
inline U8x64 spread(U8x64 v) {
    static constexpr GroupShuffle kShuffle(a, b, c, d);
    return {_mm512_shuffle_epi8(v.v, in_every_lane(kShuffle.from))};
}
template <int i>
inline U8x64 fifth_bits(U8x64 v) {
    const __m512i byte = spread<i / 2, i / 2, i / 2, i / 2>(v).v;
    const __m512i bit = _mm512_set1_epi32(i % 2 == 0 ? 0x08040201 : static_cast<int>(0x80402010u));
    return {_mm512_maskz_mov_epi8(_mm512_test_epi8_mask(byte, bit), set1_byte(16))};
}
inline void transpose_groups(U8x64* v) {
    const __m512i a = _mm512_unpacklo_epi32(v[0].v, v[1].v);
    const __m512i b = _mm512_unpackhi_epi32(v[0].v, v[1].v);
    const __m512i c = _mm512_unpacklo_epi32(v[2].v, v[3].v);
    const __m512i d = _mm512_unpackhi_epi32(v[2].v, v[3].v);
    v[0].v = _mm512_unpacklo_epi64(a, c);
    v[1].v = _mm512_unpackhi_epi64(a, c);
    v[2].v = _mm512_unpacklo_epi64(b, d);
    v[3].v = _mm512_unpackhi_epi64(b, d);
}

inline U8x64 mul_bytes(U8x64 v, I32x16 factors) {
    const __m512i two = _mm512_or_si512(_mm512_and_si512(factors.v, _mm512_set1_epi32(0xffff)),
                                        _mm512_slli_epi32(factors.v, 16));
    const __m512i odd = _mm512_mullo_epi16(_mm512_srli_epi16(v.v, 8), two);
    const __m512i even = _mm512_mullo_epi16(v.v, two);  // its low byte is that of the even byte
    return {_mm512_mask_mov_epi8(_mm512_slli_epi16(odd, 8), 0x5555555555555555u, even)};
}

inline I32x16 izero() {
    return {_mm512_setzero_si512()};
}
inline I32x16 iset1(int32_t x) {
    return {_mm512_set1_epi32(x)};
}
inline I32x16 iload(const int32_t* p) {
    return {_mm512_loadu_si512(p)};
}
inline void istore(int32_t* p, I32x16 a) {
    _mm512_storeu_si512(p, a.v);
}
inline I32x16 iadd(I32x16 a, I32x16 b) {
    return {_mm512_add_epi32(a.v, b.v)};
}
inline I32x16 imul_add(I32x16 acc, I32x16 a, I32x16 b) {
    return {_mm512_add_epi32(acc.v, _mm512_mullo_epi32(a.v, b.v))};
}
template <int n>
inline I32x16 shift_left(I32x16 a) {
    return {_mm512_slli_epi32(a.v, n)};
}
template <int n>
inline I32x16 shift_right(I32x16 a) {
    return {_mm512_srli_epi32(a.v, n)};
}
template <int n>
inline I32x16 shift_right_signed(I32x16 a) {
    return {_mm512_srai_epi32(a.v, n)};
}
inline I32x16 and_ints(I32x16 a, uint32_t mask) {
    return {_mm512_and_si512(a.v, _mm512_set1_epi32(static_cast<int>(mask)))};
}
inline I32x16 float_bits(F32x16 a) {
    return {_mm512_castps_si512(a.v)};
}
inline F32x16 bits_to_floats(I32x16 a) {
    return {_mm512_castsi512_ps(a.v)};
}
inline void store_low_halves(uint16_t* p, I32x16 a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(a.v));
}
inline F32x16 to_float(I32x16 a) {
    return {_mm512_cvtepi32_ps(a.v)};
}
inline F32x16 halves_to_float(I32x16 a) {
    return {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(a.v))};
}

/// sums[c] + acc[c] * scales for C columns, in one instruction: acc fits int16, scales 0 … 32767.
template <int C>
inline void imul_add_narrow(I32x16* sums, const I32x16* acc, I32x16 scales) {
    PLRT_UNROLL
    for (int c = 0; c < C; ++c) {
        sums[c].v = _mm512_dpwssd_epi32(sums[c].v, acc[c].v, scales.v);
    }
}

inline __m512i broadcast_4(const void* p) {
    int32_t four;
    __builtin_memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
}
/// acc + each group's product with the 4 int8 at x, in one instruction. Compilers load x into a
/// register of its own first, which costs the front end a third more.
inline void dot_group(__m512i& acc, __m512i codes, const int8_t* x) {
#if defined(_MSC_VER)
    acc = _mm512_dpbusd_epi32(acc, codes, broadcast_4(x));
#else
    asm("vpdpbusd %2%{1to16%}, %1, %0"
        : "+v"(acc)
        : "v"(codes), "m"(*reinterpret_cast<const int8_t(*)[4]>(x)));
#endif
}
template <int R, int C, int kSteps>
inline void dot_signed(I32x16* acc, const uint8_t* const* w, const int8_t* const* x) {
    PLRT_UNROLL
    for (int step = 0; step < kSteps; ++step) {
        __m512i codes[R];
        PLRT_UNROLL
        for (int r = 0; r < R; ++r) codes[r] = _mm512_loadu_si512(w[r] + 64 * step);
        PLRT_UNROLL
        for (int c = 0; c < C; ++c) {
            if constexpr (R == 1) {
                dot_group(acc[c].v, codes[0], x[c] + 4 * step);
            } else {
                const __m512i four = broadcast_4(x[c] + 4 * step);
                PLRT_UNROLL
                for (int r = 0; r < R; ++r) {
                    acc[C * r + c].v = _mm512_dpbusd_epi32(acc[C * r + c].v, codes[r], four);
                }
            }
        }
    }
}
template <int R, int C, int kSteps, int kMaxCode>
inline void dot_unsigned(I32x16* acc, const uint8_t* const* w, const int8_t* const* x) {
    dot_signed<R, C, kSteps>(acc, w, x);  // the instruction takes codes up to 255
}
inline I32x16 dot_pairs(I32x16 acc, I32x16 pairs, const int16_t* x) {
#if defined(_MSC_VER)
    acc.v = _mm512_dpwssd_epi32(acc.v, pairs.v, broadcast_4(x));
#else
    asm("vpdpwssd %2%{1to16%}, %1, %0"
        : "+v"(acc.v)
        : "v"(pairs.v), "m"(*reinterpret_cast<const int16_t(*)[2]>(x)));
#endif
    return acc;
}

}  // namespace
}  // namespace plrt::PLRT_ISA
