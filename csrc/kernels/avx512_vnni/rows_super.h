#pragma once
/// Products of super-blocks with few activation rows (generation): weights go from their blocks
/// straight into registers, four rows at a time. The arithmetic of an element is that of
/// generic/matmul.h.
///
/// A super-block becomes four vectors of 64 unsigned codes, in the order that unpacking gives; the
/// activations are put into the same order once for the four rows. An int32 lane then holds the
/// sum of four products; sums fit int16 (63 * 127 * 4), so that two vectors are packed into one and
/// meet the sub-scales in a second dot product.

namespace plrt::PLRT_ISA {
namespace {

inline __m512i two_halves(__m256i low, __m256i high) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}
inline __m512i mask_of(int8_t byte) {
    return _mm512_set1_epi8(byte);
}
/// Bits of bytes shifted right; what comes in from the neighbour has to be masked off.
inline __m512i shift_right(__m512i v, int n) {
    return _mm512_srl_epi16(v, _mm_cvtsi32_si128(n));
}
inline __m512i and_bits(__m512i v, int8_t byte) {
    return _mm512_and_si512(v, mask_of(byte));
}

/// Sub-scales of a super-block as int16, one for each 16 or 32 elements, and sub-mins likewise.
struct SubScales {
    __m256i scales;
    __m256i mins;
};

/// Codes of a block in the order kOrder[vector][128-bit lane] = first element / 16.
template <typename Type>
struct Codes;

constexpr int kHalfPairs[4][4] = {{0, 1, 8, 9}, {2, 3, 10, 11}, {4, 5, 12, 13}, {6, 7, 14, 15}};
constexpr int kNibblePairs[4][4] = {{0, 1, 4, 5}, {2, 3, 6, 7}, {8, 9, 12, 13}, {10, 11, 14, 15}};
constexpr int kInOrder[4][4] = {{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9, 10, 11}, {12, 13, 14, 15}};

/// The 6-bit pairs of Q4_K and Q5_K: scales in int16 0 … 7, mins in 8 … 15.
inline __m256i six_bit_pairs(const uint8_t* packed) {
    uint32_t u[3];
    __builtin_memcpy(u, packed, 12);
    const uint32_t scales_low = u[0] & 0x3f3f3f3fu;
    const uint32_t scales_high = (u[2] & 0x0f0f0f0fu) | ((u[0] >> 2) & 0x30303030u);
    const uint32_t mins_low = u[1] & 0x3f3f3f3fu;
    const uint32_t mins_high = ((u[2] >> 4) & 0x0f0f0f0fu) | ((u[1] >> 2) & 0x30303030u);
    return _mm256_cvtepu8_epi16(
        _mm_set_epi32(static_cast<int>(mins_high), static_cast<int>(mins_low),
                      static_cast<int>(scales_high), static_cast<int>(scales_low)));
}

template <>
struct Codes<Q4_K> {
    static constexpr const auto& kOrder = kNibblePairs;
    static constexpr int kSub = 32;
    static void load(const BlockQ4_K& b, __m512i* q) {
        for (int i = 0; i < 2; ++i) {
            const __m512i v = _mm512_loadu_si512(b.qs + 64 * i);
            q[2 * i] = and_bits(v, 15);
            q[2 * i + 1] = and_bits(shift_right(v, 4), 15);
        }
    }
    static SubScales scales(const BlockQ4_K& b) {
        const __m256i both = six_bit_pairs(b.scales);
        return {both, both};
    }
};

template <>
struct Codes<Q5_K> {
    static constexpr const auto& kOrder = kNibblePairs;
    static constexpr int kSub = 32;
    static void load(const BlockQ5_K& b, __m512i* q) {
        const __m256i qh = load_256(b.qh);
        for (int i = 0; i < 2; ++i) {
            const __m512i v = _mm512_loadu_si512(b.qs + 64 * i);
            const __m128i shift = _mm_cvtsi32_si128(4 * i);
            const __m128i shift2 = _mm_cvtsi32_si128(4 * i + 2);
            const __m512i bits =
                two_halves(_mm256_srl_epi16(qh, shift), _mm256_srl_epi16(qh, shift2));
            const __m512i low = and_bits(_mm512_slli_epi16(bits, 4), 16);
            const __m512i high = and_bits(_mm512_slli_epi16(bits, 3), 16);
            q[2 * i] = _mm512_or_si512(and_bits(v, 15), low);
            q[2 * i + 1] = _mm512_or_si512(and_bits(shift_right(v, 4), 15), high);
        }
    }
    static SubScales scales(const BlockQ5_K& b) {
        const __m256i both = six_bit_pairs(b.scales);
        return {both, both};
    }
};

template <>
struct Codes<Q2_K> {
    static constexpr const auto& kOrder = kHalfPairs;
    static constexpr int kSub = 16;
    static void load(const BlockQ2_K& b, __m512i* q) {
        const __m512i v = _mm512_loadu_si512(b.qs);
        for (int g = 0; g < 4; ++g) q[g] = and_bits(shift_right(v, 2 * g), 3);
    }
    static SubScales scales(const BlockQ2_K& b) {
        const __m128i packed = load_128(b.scales);
        const __m128i nibble = _mm_set1_epi8(15);
        return {_mm256_cvtepu8_epi16(_mm_and_si128(packed, nibble)),
                _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(packed, 4), nibble))};
    }
};

template <>
struct Codes<Q3_K> {
    static constexpr const auto& kOrder = kHalfPairs;
    static constexpr int kSub = 16;
    static void load(const BlockQ3_K& b, __m512i* q) {
        const __m512i v = _mm512_loadu_si512(b.qs);
        const __m256i mask = load_256(b.hmask);
        const __m512i high = two_halves(mask, _mm256_srli_epi16(mask, 4));
        for (int g = 0; g < 4; ++g) {
            const __m512i third = and_bits(_mm512_slli_epi16(shift_right(high, g), 2), 4);
            q[g] = _mm512_or_si512(and_bits(shift_right(v, 2 * g), 3), third);
        }
    }
    static SubScales scales(const BlockQ3_K& b) {
        uint32_t u[3];
        __builtin_memcpy(u, b.scales, 12);
        const auto part = [&](int i) {
            const uint32_t low = (u[i % 2] >> (i < 2 ? 0 : 4)) & 0x0f0f0f0fu;
            const uint32_t high = (u[2] >> (2 * i)) & 0x03030303u;
            return static_cast<int>(low | (high << 4));
        };
        const __m128i packed = _mm_set_epi32(part(3), part(2), part(1), part(0));
        const __m256i scale = _mm256_sub_epi16(_mm256_cvtepu8_epi16(packed), _mm256_set1_epi16(32));
        return {scale, _mm256_slli_epi16(scale, 2)};
    }
};

template <>
struct Codes<Q6_K> {
    static constexpr const auto& kOrder = kInOrder;
    static constexpr int kSub = 16;
    static void load(const BlockQ6_K& b, __m512i* q) {
        for (int h = 0; h < 2; ++h) {
            const __m512i v = _mm512_loadu_si512(b.ql + 64 * h);
            const __m256i qh = load_256(b.qh + 32 * h);
            const __m512i bits = two_halves(qh, _mm256_srli_epi16(qh, 2));
            const __m512i low = and_bits(_mm512_slli_epi16(bits, 4), 0x30);
            q[2 * h] = _mm512_or_si512(and_bits(v, 15), low);
            q[2 * h + 1] = _mm512_or_si512(and_bits(shift_right(v, 4), 15), and_bits(bits, 0x30));
        }
    }
    static SubScales scales(const BlockQ6_K& b) {
        const __m256i scale = _mm256_cvtepi8_epi16(load_128(b.scales));
        return {scale, _mm256_slli_epi16(scale, 5)};
    }
};

/// For packed vectors 2p and 2p + 1: which sub-scale each int16 lane takes.
template <typename Type>
__m512i scale_index(int p) {
    using C = Codes<Type>;
    alignas(64) int16_t index[32];
    for (int lane = 0; lane < 4; ++lane) {
        for (int i = 0; i < 8; ++i) {
            const int group = C::kOrder[2 * p + i / 4][lane];
            index[8 * lane + i] = static_cast<int16_t>(group * 16 / C::kSub);
        }
    }
    return _mm512_load_si512(index);
}

/// One super-block of activations in the order of the codes.
struct OrderedX {
    __m512i q[4];
    __m256i sums;  // as the mins are: 16 int16, or for kSub 32 the sums of pairs in 8 … 15
};

template <typename Type>
OrderedX order_x(const Activations256& x, int64_t b) {
    using C = Codes<Type>;
    OrderedX out;
    const int8_t* q = x.q + 256 * b;
    for (int i = 0; i < 4; ++i) {
        out.q[i] =
            two_halves(load_256(q + 16 * C::kOrder[i][0]), load_256(q + 16 * C::kOrder[i][2]));
    }
    out.sums = load_256(x.sums + 16 * b);
    if constexpr (C::kSub == 32) {
        const __m256i pairs = _mm256_madd_epi16(out.sums, _mm256_set1_epi16(1));
        const __m128i eight = _mm256_cvtepi32_epi16(pairs);
        out.sums = _mm256_inserti128_si256(_mm256_setzero_si256(), eight, 1);
    }
    return out;
}

/// Sums over the lanes of four vectors, one to a lane of the result.
inline __m128i sum_lanes(__m512i a, __m512i b, __m512i c, __m512i d) {
    const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    const __m512i all =
        _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    const __m256i half =
        _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

inline F32x4 halves(uint16_t a, uint16_t b, uint16_t c, uint16_t d) {
    const __m128i bits = _mm_set_epi16(0, 0, 0, 0, static_cast<int16_t>(d), static_cast<int16_t>(c),
                                       static_cast<int16_t>(b), static_cast<int16_t>(a));
    return {_mm_cvtph_ps(bits)};
}

template <typename Type>
void few_columns_super(const MatmulArgs& a) {
    using Block = typename Type::Block;
    constexpr bool kOwnMins = Type::kMins == Mins::kTimesDmin;
    const __m512i index[2] = {scale_index<Type>(0), scale_index<Type>(1)};
    for (int64_t first = a.row_begin; first < a.row_end; first += kTile) {
        const Block* rows[kTile];
        for (int64_t r = 0; r < kTile; ++r) {
            rows[r] = reinterpret_cast<const Block*>(weight_row(a, first, r));
        }
        for (int64_t col = 0; col < a.n_cols; ++col) {
            const Activations256 x =
                activations_256(a.activations + col * a.activation_row_bytes, a.k);
            F32x4 acc = set4(0.0f);
            for (int64_t b = 0; b < a.k / 256; ++b) {
                const OrderedX xs = order_x<Type>(x, b);
                __m512i sums[kTile];
                __m512i mins[kTile];
                for (int64_t r = 0; r < kTile; ++r) {
                    const Block& block = rows[r][b];
                    __m512i q[4];
                    Codes<Type>::load(block, q);
                    const SubScales sub = Codes<Type>::scales(block);
                    const __m512i scale = _mm512_castsi256_si512(sub.scales);
                    __m512i sum = _mm512_setzero_si512();
                    for (int p = 0; p < 2; ++p) {
                        const __m512i zero = _mm512_setzero_si512();
                        const __m512i low = _mm512_dpbusd_epi32(zero, q[2 * p], xs.q[2 * p]);
                        const __m512i high =
                            _mm512_dpbusd_epi32(zero, q[2 * p + 1], xs.q[2 * p + 1]);
                        sum = _mm512_dpwssd_epi32(sum, _mm512_packs_epi32(low, high),
                                                  _mm512_permutexvar_epi16(index[p], scale));
                    }
                    sums[r] = sum;
                    mins[r] = _mm512_zextsi256_si512(_mm256_madd_epi16(sub.mins, xs.sums));
                }
                if constexpr (!kOwnMins) {
                    for (int64_t r = 0; r < kTile; ++r) {
                        sums[r] = _mm512_sub_epi32(sums[r], mins[r]);
                    }
                }
                const F32x4 xd = set4(x.d[b]);
                const F32x4 d = halves(rows[0][b].d, rows[1][b].d, rows[2][b].d, rows[3][b].d);
                const I32x4 total = {sum_lanes(sums[0], sums[1], sums[2], sums[3])};
                acc = fma4(mul4(d, xd), to_float4(total), acc);
                if constexpr (kOwnMins) {
                    const F32x4 dmin = halves(rows[0][b].dmin ^ 0x8000u, rows[1][b].dmin ^ 0x8000u,
                                              rows[2][b].dmin ^ 0x8000u, rows[3][b].dmin ^ 0x8000u);
                    const I32x4 rest = {sum_lanes(mins[0], mins[1], mins[2], mins[3])};
                    acc = fma4(mul4(dmin, xd), to_float4(rest), acc);
                }
            }
            store_tile(a, first, col, acc);
        }
    }
}

}  // namespace
}  // namespace plrt::PLRT_ISA
