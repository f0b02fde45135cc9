#pragma once
/// The integer half of the vector vocabulary (documented in scalar/bytes.h) in AVX2: two registers
/// a vector. The dot products are in dots.h of the instruction set.

#include <immintrin.h>

#include <cstdint>

namespace plrt::PLRT_ISA {
namespace {

constexpr int kColumnTile = 4;
constexpr int kPanelTile = 1;
/// Tile of a product with float weights.
constexpr int kFloatRows = 4;
constexpr int kFloatColumns = 3;

struct U8x64 {
    __m256i low;
    __m256i high;
};
struct I32x16 {
    __m256i low;
    __m256i high;
};
inline I32x16 as_ints(U8x64 a) {
    return {a.low, a.high};
}

inline void prefetch(const void* p) {
    _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1);
}
inline void prefetch_write(void* p) {
    _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
}

inline U8x64 load_bytes(const void* p) {
    const auto* bytes = static_cast<const uint8_t*>(p);
    return {load_256(bytes), load_256(bytes + 32)};
}
inline void store_256(void* p, __m256i a) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), a);
}
inline void store_bytes(void* p, U8x64 a) {
    auto* bytes = static_cast<uint8_t*>(p);
    store_256(bytes, a.low);
    store_256(bytes + 32, a.high);
}
inline __m256i two_lanes(const uint8_t* p0, const uint8_t* p1) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load_128(p0)), load_128(p1), 1);
}
inline U8x64 load_lanes(const uint8_t* p0, const uint8_t* p1, const uint8_t* p2,
                        const uint8_t* p3) {
    return {two_lanes(p0, p1), two_lanes(p2, p3)};
}
inline __m256i set1_byte(int b) {
    return _mm256_set1_epi8(static_cast<char>(b));
}
inline U8x64 xor_bytes(U8x64 a, uint8_t b) {
    return {_mm256_xor_si256(a.low, set1_byte(b)), _mm256_xor_si256(a.high, set1_byte(b))};
}
inline U8x64 add_bytes(U8x64 a, U8x64 b) {
    return {_mm256_add_epi8(a.low, b.low), _mm256_add_epi8(a.high, b.high)};
}
inline U8x64 set1_bytes(int b) {
    return {set1_byte(b), set1_byte(b)};
}
template <int kShift, int kMask>
inline __m256i bits_256(__m256i a) {
    if constexpr (kShift > 0) a = _mm256_srli_epi16(a, kShift);
    if constexpr (kShift < 0) a = _mm256_slli_epi16(a, -kShift);
    return _mm256_and_si256(a, set1_byte(kMask));
}
template <int kShift, int kMask>
inline U8x64 bits(U8x64 a) {
    return {bits_256<kShift, kMask>(a.low), bits_256<kShift, kMask>(a.high)};
}
template <int kShift, int kMask>
inline U8x64 or_bits(U8x64 a, U8x64 rest) {
    return {_mm256_or_si256(bits_256<kShift, kMask>(a.low), rest.low),
            _mm256_or_si256(bits_256<kShift, kMask>(a.high), rest.high)};
}
inline __m256i in_both_lanes(const void* sixteen_bytes) {
    return _mm256_broadcastsi128_si256(load_128(sixteen_bytes));
}
inline U8x64 lookup(const int8_t* table, U8x64 a) {
    const __m256i t = in_both_lanes(table);
    return {_mm256_shuffle_epi8(t, a.low), _mm256_shuffle_epi8(t, a.high)};
}
template <int a, int b, int c, int d>
inline U8x64 spread(U8x64 v) {
    static constexpr GroupShuffle kShuffle(a, b, c, d);
    const __m256i from = in_both_lanes(kShuffle.from);
    return {_mm256_shuffle_epi8(v.low, from), _mm256_shuffle_epi8(v.high, from)};
}
template <int i>
inline U8x64 fifth_bits(U8x64 v) {
    const U8x64 byte = spread<i / 2, i / 2, i / 2, i / 2>(v);
    const __m256i bit = _mm256_set1_epi32(i % 2 == 0 ? 0x08040201 : static_cast<int>(0x80402010u));
    const auto flags = [&](__m256i b) {
        const __m256i is_set = _mm256_cmpeq_epi8(_mm256_and_si256(b, bit), bit);
        return _mm256_and_si256(is_set, set1_byte(16));
    };
    return {flags(byte.low), flags(byte.high)};
}
inline void transpose_256(__m256i& v0, __m256i& v1, __m256i& v2, __m256i& v3) {
    const __m256i a = _mm256_unpacklo_epi32(v0, v1);
    const __m256i b = _mm256_unpackhi_epi32(v0, v1);
    const __m256i c = _mm256_unpacklo_epi32(v2, v3);
    const __m256i d = _mm256_unpackhi_epi32(v2, v3);
    v0 = _mm256_unpacklo_epi64(a, c);
    v1 = _mm256_unpackhi_epi64(a, c);
    v2 = _mm256_unpacklo_epi64(b, d);
    v3 = _mm256_unpackhi_epi64(b, d);
}
inline void transpose_groups(U8x64* v) {
    transpose_256(v[0].low, v[1].low, v[2].low, v[3].low);
    transpose_256(v[0].high, v[1].high, v[2].high, v[3].high);
}

inline __m256i mul_bytes_256(__m256i v, __m256i factors) {
    const __m256i low_halves = _mm256_and_si256(factors, _mm256_set1_epi32(0xffff));
    const __m256i two = _mm256_or_si256(low_halves, _mm256_slli_epi32(factors, 16));
    const __m256i odd = _mm256_mullo_epi16(_mm256_srli_epi16(v, 8), two);
    const __m256i even = _mm256_mullo_epi16(v, two);  // its low byte is that of the even byte
    return _mm256_or_si256(_mm256_slli_epi16(odd, 8),
                           _mm256_and_si256(even, _mm256_set1_epi16(255)));
}
inline U8x64 mul_bytes(U8x64 v, I32x16 factors) {
    return {mul_bytes_256(v.low, factors.low), mul_bytes_256(v.high, factors.high)};
}

inline I32x16 izero() {
    return {_mm256_setzero_si256(), _mm256_setzero_si256()};
}
inline I32x16 iset1(int32_t x) {
    return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}
inline I32x16 iload(const int32_t* p) {
    return {load_256(p), load_256(p + 8)};
}
inline void istore(int32_t* p, I32x16 a) {
    store_256(p, a.low);
    store_256(p + 8, a.high);
}
inline I32x16 iadd(I32x16 a, I32x16 b) {
    return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}
inline I32x16 imul_add(I32x16 acc, I32x16 a, I32x16 b) {
    return {_mm256_add_epi32(acc.low, _mm256_mullo_epi32(a.low, b.low)),
            _mm256_add_epi32(acc.high, _mm256_mullo_epi32(a.high, b.high))};
}
template <int n>
inline I32x16 shift_left(I32x16 a) {
    return {_mm256_slli_epi32(a.low, n), _mm256_slli_epi32(a.high, n)};
}
template <int n>
inline I32x16 shift_right(I32x16 a) {
    return {_mm256_srli_epi32(a.low, n), _mm256_srli_epi32(a.high, n)};
}
template <int n>
inline I32x16 shift_right_signed(I32x16 a) {
    return {_mm256_srai_epi32(a.low, n), _mm256_srai_epi32(a.high, n)};
}
inline F32x16 to_float(I32x16 a) {
    return {_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)};
}
/// The low 16 bits of each int32, in order.
inline __m256i low_halves(I32x16 a) {
    const __m256i mask = _mm256_set1_epi32(0xffff);
    const __m256i packed =
        _mm256_packus_epi32(_mm256_and_si256(a.low, mask), _mm256_and_si256(a.high, mask));
    return _mm256_permute4x64_epi64(packed, 0xd8);
}
inline F32x16 halves_to_float(I32x16 a) {
    const __m256i packed = low_halves(a);
    return {_mm256_cvtph_ps(_mm256_castsi256_si128(packed)),
            _mm256_cvtph_ps(_mm256_extracti128_si256(packed, 1))};
}
inline I32x16 and_ints(I32x16 a, uint32_t mask) {
    const __m256i m = _mm256_set1_epi32(static_cast<int>(mask));
    return {_mm256_and_si256(a.low, m), _mm256_and_si256(a.high, m)};
}
inline I32x16 float_bits(F32x16 a) {
    return {_mm256_castps_si256(a.low), _mm256_castps_si256(a.high)};
}
inline F32x16 bits_to_floats(I32x16 a) {
    return {_mm256_castsi256_ps(a.low), _mm256_castsi256_ps(a.high)};
}
inline void store_low_halves(uint16_t* p, I32x16 a) {
    store_256(p, low_halves(a));
}
inline __m256i broadcast_4(const void* p) {
    int32_t four;
    __builtin_memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
}

}  // namespace
}  // namespace plrt::PLRT_ISA
