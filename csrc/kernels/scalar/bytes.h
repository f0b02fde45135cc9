#pragma once
/// The integer half of the vector vocabulary in plain C++; every ISA's bytes.h defines the same
/// names with the same results.
///
/// A vector is 64 bytes, or 16 int32. Bytes stand in four lanes of 16, each of four groups of 4: a
/// group belongs to one weight row of a panel, group g and int32 g to row g.

#include <cstdint>

namespace plrt::PLRT_ISA {
namespace {

/// Activation rows that a product takes on together; accumulators have to fit the registers.
constexpr int kColumnTile = 2;
/// Panels that a product takes on together.
constexpr int kPanelTile = 1;
/// Tile of a product with float weights.
constexpr int kFloatRows = 1;
constexpr int kFloatColumns = 1;
/// What is added to signed codes so that dot_signed can read them.
constexpr int32_t kSignedShift = 0;
/// Whether there is dot_scaled (avx2/dots.h), and imul_add_narrow (avx512_vnni/bytes.h).
constexpr bool kScalesInDots = false;
constexpr bool kNarrowSums = false;

struct U8x64 {
    uint8_t b[64];
};
struct I32x16 {
    int32_t lane[16];
};

template <typename F>
inline U8x64 make_bytes(F f) {
    U8x64 r;
    for (int i = 0; i < 64; ++i) r.b[i] = static_cast<uint8_t>(f(i));
    return r;
}
template <typename F>
inline I32x16 make_ints(F f) {
    I32x16 r;
    for (int i = 0; i < 16; ++i) r.lane[i] = static_cast<int32_t>(f(i));
    return r;
}
inline I32x16 as_ints(U8x64 v) {
    return __builtin_bit_cast(I32x16, v);
}

/// Fetches a cache line that is needed soon.
inline void prefetch(const void* /*p*/) {}
/// Fetches a cache line that is written soon.
inline void prefetch_write(void* /*p*/) {}

inline U8x64 load_bytes(const void* p) {
    U8x64 r;
    __builtin_memcpy(r.b, p, 64);
    return r;
}
inline void store_bytes(void* p, U8x64 v) {
    __builtin_memcpy(p, v.b, 64);
}
/// Four lanes from four places.
inline U8x64 load_lanes(const uint8_t* p0, const uint8_t* p1, const uint8_t* p2,
                        const uint8_t* p3) {
    U8x64 r;
    const uint8_t* p[4] = {p0, p1, p2, p3};
    for (int i = 0; i < 4; ++i) __builtin_memcpy(r.b + 16 * i, p[i], 16);
    return r;
}
inline U8x64 xor_bytes(U8x64 a, uint8_t b) {
    return make_bytes([&](int i) { return a.b[i] ^ b; });
}
inline U8x64 add_bytes(U8x64 a, U8x64 b) {
    return make_bytes([&](int i) { return a.b[i] + b.b[i]; });
}
inline U8x64 set1_bytes(int b) {
    return make_bytes([=](int) { return b; });
}
/// (byte >> kShift) & kMask; a negative kShift goes left.
template <int kShift, int kMask>
inline U8x64 bits(U8x64 v) {
    return make_bytes([&](int i) {
        return (kShift >= 0 ? v.b[i] >> (kShift & 7) : v.b[i] << (-kShift & 7)) & kMask;
    });
}
/// bits<kShift, kMask>(v) | rest.
template <int kShift, int kMask>
inline U8x64 or_bits(U8x64 v, U8x64 rest) {
    const U8x64 b = bits<kShift, kMask>(v);
    return make_bytes([&](int i) { return b.b[i] | rest.b[i]; });
}
/// table[byte] for bytes 0 … 15.
inline U8x64 lookup(const int8_t* table, U8x64 v) {
    return make_bytes([&](int i) { return table[v.b[i]]; });
}
/// In each group: its bytes a, b, c, d; a negative number gives 0.
template <int a, int b, int c, int d>
inline U8x64 spread(U8x64 v) {
    constexpr int kFrom[4] = {a, b, c, d};
    return make_bytes([&](int i) {
        const int from = kFrom[i % 4];
        return from < 0 ? 0 : v.b[i / 4 * 4 + (from & 3)];
    });
}
/// In each group, byte j: 16 if bit 4 * i + j of the group is set, else 0.
template <int i>
inline U8x64 fifth_bits(U8x64 v) {
    const I32x16 group = as_ints(v);
    return make_bytes([&](int e) {
        return ((static_cast<uint32_t>(group.lane[e / 4]) >> (4 * i + e % 4)) & 1u) << 4;
    });
}
/// In each lane: group g of v[i] and group i of v[g] change places.
inline void transpose_groups(U8x64* v) {
    U8x64 r[4];
    for (int to = 0; to < 4; ++to) {
        for (int lane = 0; lane < 4; ++lane) {
            for (int g = 0; g < 4; ++g) {
                __builtin_memcpy(r[to].b + 16 * lane + 4 * g, v[g].b + 16 * lane + 4 * to, 4);
            }
        }
    }
    for (int i = 0; i < 4; ++i) v[i] = r[i];
}

/// The low 8 bits of each byte times the low 16 bits of its group's factor.
inline U8x64 mul_bytes(U8x64 v, I32x16 factors) {
    return make_bytes([&](int i) { return v.b[i] * factors.lane[i / 4]; });
}

inline I32x16 izero() {
    return make_ints([](int) { return 0; });
}
inline I32x16 iset1(int32_t x) {
    return make_ints([=](int) { return x; });
}
inline I32x16 iload(const int32_t* p) {
    return make_ints([=](int i) { return p[i]; });
}
inline void istore(int32_t* p, I32x16 a) {
    for (int i = 0; i < 16; ++i) p[i] = a.lane[i];
}
inline I32x16 iadd(I32x16 a, I32x16 b) {
    return make_ints([&](int i) { return a.lane[i] + b.lane[i]; });
}
/// acc + a * b.
inline I32x16 imul_add(I32x16 acc, I32x16 a, I32x16 b) {
    return make_ints([&](int i) { return acc.lane[i] + a.lane[i] * b.lane[i]; });
}
/// Logical shifts; n = 1 … 31.
template <int n>
inline I32x16 shift_left(I32x16 a) {
    return make_ints([&](int i) { return static_cast<uint32_t>(a.lane[i]) << n; });
}
template <int n>
inline I32x16 shift_right(I32x16 a) {
    return make_ints([&](int i) { return static_cast<uint32_t>(a.lane[i]) >> n; });
}
/// Arithmetic shift.
template <int n>
inline I32x16 shift_right_signed(I32x16 a) {
    return make_ints([&](int i) { return a.lane[i] >> n; });
}
inline I32x16 and_ints(I32x16 a, uint32_t mask) {
    return make_ints([&](int i) { return static_cast<uint32_t>(a.lane[i]) & mask; });
}
inline I32x16 float_bits(F32x16 a) {
    return __builtin_bit_cast(I32x16, a);
}
inline F32x16 bits_to_floats(I32x16 a) {
    return __builtin_bit_cast(F32x16, a);
}
/// The low 16 bits of each int32.
inline void store_low_halves(uint16_t* p, I32x16 a) {
    for (int i = 0; i < 16; ++i) p[i] = static_cast<uint16_t>(a.lane[i]);
}
inline F32x16 to_float(I32x16 a) {
    return make([&](int i) { return static_cast<float>(a.lane[i]); });
}
/// The low 16 bits of each int32 as a half.
inline F32x16 halves_to_float(I32x16 a) {
    return make([&](int i) { return half_to_float(static_cast<uint16_t>(a.lane[i])); });
}

/// For R panels and C columns, adds to acc[C * r + c], for each of kSteps vectors of codes at w[r],
/// each group's product with the 4 int8 at x[c] + 4 * step. Codes 0 … kMaxCode, at most 127.
template <int R, int C, int kSteps, int kMaxCode>
inline void dot_unsigned(I32x16* acc, const uint8_t* const* w, const int8_t* const* x) {
    static_assert(R == kPanelTile || R == 1);
    for (int i = 0; i < 4 * kSteps; ++i) {
        for (int c = 0; c < C; ++c) {
            for (int g = 0; g < 16; ++g) {
                acc[c].lane[g] += w[0][i / 4 * 64 + 4 * g + i % 4] * x[c][i];
            }
        }
    }
}
/// The same for codes -128 … 127 to which kSignedShift was added: the sums are too large by
/// kSignedShift times the sum of x.
template <int R, int C, int kSteps>
inline void dot_signed(I32x16* acc, const uint8_t* const* w, const int8_t* const* x) {
    static_assert(R == kPanelTile || R == 1);
    for (int i = 0; i < 4 * kSteps; ++i) {
        for (int c = 0; c < C; ++c) {
            for (int g = 0; g < 16; ++g) {
                const auto code = static_cast<int8_t>(w[0][i / 4 * 64 + 4 * g + i % 4]);
                acc[c].lane[g] += code * x[c][i];
            }
        }
    }
}
/// acc + for each int32, read as two int16, the product with the two int16 at x.
inline I32x16 dot_pairs(I32x16 acc, I32x16 pairs, const int16_t* x) {
    return make_ints([&](int i) {
        const auto low = static_cast<int16_t>(pairs.lane[i]);
        const auto high = static_cast<int16_t>(pairs.lane[i] >> 16);
        return acc.lane[i] + low * x[0] + high * x[1];
    });
}

}  // namespace
}  // namespace plrt::PLRT_ISA
