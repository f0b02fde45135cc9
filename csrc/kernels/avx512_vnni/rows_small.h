#pragma once
/// Products of small blocks with few activation rows: four weight rows and two blocks at a time.
/// The arithmetic of an element is that of generic/matmul.h.

#include "kernels/avx512_vnni/rows_super.h"

namespace plrt::PLRT_ISA {
namespace {

/// Unsigned codes of a small block, kOffset above the signed ones.
template <typename Type>
struct SmallCodes;

inline __m256i nibbles(const uint8_t* qs) {
    const __m128i v = load_128(qs);
    const __m256i both =
        _mm256_inserti128_si256(_mm256_castsi128_si256(v), _mm_srli_epi16(v, 4), 1);
    return _mm256_and_si256(both, _mm256_set1_epi8(15));
}
/// 16 in each byte whose bit is set among the 32.
inline __m256i fifth_bits(const uint8_t* qh) {
    uint32_t bits;
    __builtin_memcpy(&bits, qh, 4);
    return _mm256_maskz_set1_epi8(bits, 16);
}

template <>
struct SmallCodes<Q4_0> {
    static constexpr int kOffset = 8;
    static __m256i load(const BlockQ4_0& b) { return nibbles(b.qs); }
};
template <>
struct SmallCodes<Q4_1> {
    static constexpr int kOffset = 0;
    static __m256i load(const BlockQ4_1& b) { return nibbles(b.qs); }
};
template <>
struct SmallCodes<Q5_0> {
    static constexpr int kOffset = 16;
    static __m256i load(const BlockQ5_0& b) {
        return _mm256_or_si256(nibbles(b.qs), fifth_bits(b.qh));
    }
};
template <>
struct SmallCodes<Q5_1> {
    static constexpr int kOffset = 0;
    static __m256i load(const BlockQ5_1& b) {
        return _mm256_or_si256(nibbles(b.qs), fifth_bits(b.qh));
    }
};
template <>
struct SmallCodes<Q8_0> {
    static constexpr int kOffset = 128;
    static __m256i load(const BlockQ8_0& b) {
        return _mm256_xor_si256(load_256(b.qs), _mm256_set1_epi8(-128));
    }
};
template <>
struct SmallCodes<IQ4_NL> {
    static constexpr int kOffset = 128;
    static __m256i load(const BlockIQ4_NL& b) {
        const __m256i table = _mm256_broadcastsi128_si256(load_128(kIq4Values));
        const __m256i values = _mm256_shuffle_epi8(table, nibbles(b.qs));
        return _mm256_xor_si256(values, _mm256_set1_epi8(-128));
    }
};

/// Two neighbouring blocks of four rows: lane r of sums[i] is the exact sum of row r, block b + i.
template <typename Type>
inline void dot_two_blocks(const typename Type::Block* const* rows, int64_t b, const int8_t* x,
                           __m128i* sums) {
    const __m512i xs = _mm512_loadu_si512(x);
    __m512i p[kTile];
    for (int64_t r = 0; r < kTile; ++r) {
        const __m512i codes =
            two_halves(SmallCodes<Type>::load(rows[r][b]), SmallCodes<Type>::load(rows[r][b + 1]));
        p[r] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes, xs);
    }
    const __m512i ab =
        _mm512_add_epi32(_mm512_unpacklo_epi32(p[0], p[1]), _mm512_unpackhi_epi32(p[0], p[1]));
    const __m512i cd =
        _mm512_add_epi32(_mm512_unpacklo_epi32(p[2], p[3]), _mm512_unpackhi_epi32(p[2], p[3]));
    const __m512i all =
        _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    const __m256i low = _mm512_castsi512_si256(all);
    const __m256i high = _mm512_extracti64x4_epi64(all, 1);
    sums[0] = _mm_add_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    sums[1] = _mm_add_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
}

/// The last block of an odd number.
template <typename Type>
inline __m128i dot_one_block(const typename Type::Block* const* rows, int64_t b, const int8_t* x) {
    __m512i p[kTile];
    for (int64_t r = 0; r < kTile; ++r) {
        const __m512i codes = _mm512_zextsi256_si512(SmallCodes<Type>::load(rows[r][b]));
        const __m512i xs = _mm512_zextsi256_si512(load_256(x));
        p[r] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes, xs);
    }
    return sum_lanes(p[0], p[1], p[2], p[3]);
}

template <typename Type>
inline F32x4 add_small_block(F32x4 acc, const typename Type::Block* const* rows, int64_t b,
                             const Activations32& x, __m128i sum) {
    const int32_t shift = SmallCodes<Type>::kOffset * x.sums[b];
    if constexpr (SmallCodes<Type>::kOffset != 0) sum = _mm_sub_epi32(sum, _mm_set1_epi32(shift));
    const F32x4 d = halves(rows[0][b].d, rows[1][b].d, rows[2][b].d, rows[3][b].d);
    acc = fma4(mul4(d, set4(x.d[b])), to_float4({sum}), acc);
    if constexpr (Type::kHasMin) {
        const F32x4 m = halves(rows[0][b].m, rows[1][b].m, rows[2][b].m, rows[3][b].m);
        acc = fma4(m, set4(x.s[b]), acc);
    }
    return acc;
}

template <typename Type>
void few_columns_small(const MatmulArgs& a) {
    using Block = typename Type::Block;
    for (int64_t first = a.row_begin; first < a.row_end; first += kTile) {
        const Block* rows[kTile];
        for (int64_t r = 0; r < kTile; ++r) {
            rows[r] = reinterpret_cast<const Block*>(weight_row(a, first, r));
        }
        for (int64_t col = 0; col < a.n_cols; ++col) {
            const Activations32 x =
                activations_32(a.activations + col * a.activation_row_bytes, a.k);
            F32x4 acc = set4(0.0f);
            int64_t b = 0;
            for (; b + 2 <= a.k / 32; b += 2) {
                __m128i sums[2];
                dot_two_blocks<Type>(rows, b, x.q + 32 * b, sums);
                acc = add_small_block<Type>(acc, rows, b, x, sums[0]);
                acc = add_small_block<Type>(acc, rows, b + 1, x, sums[1]);
            }
            if (b < a.k / 32) {
                const __m128i sum = dot_one_block<Type>(rows, b, x.q + 32 * b);
                acc = add_small_block<Type>(acc, rows, b, x, sum);
            }
            store_tile(a, first, col, acc);
        }
    }
}

}  // namespace
}  // namespace plrt::PLRT_ISA
