/// Where a panel's 16 weight rows come from, and the step from rows to groups.

namespace plrt::PLRT_ISA {
namespace {

constexpr int64_t kPanelRows = 16;

/// Row r of a panel starts at base + r * stride. The rows that come after the panel start at
/// `ahead`: for each byte of a row that is read, 16 bytes there are fetched, so that memory is read
/// in one direction and while there is something to compute.
struct Rows {
    const uint8_t* base;
    int64_t stride;
    const uint8_t* ahead;
};

/// Bytes offset … offset + 15 of each row: group r of v[i] is the i-th 4 bytes of row r. Fetches
/// kLines cache lines ahead; 4 are what is read here.
template <int kLines = 4>
inline void load_groups(Rows rows, int64_t offset, U8x64* v) {
    const uint8_t* first = rows.base + offset;
    const int64_t stride = rows.stride;
    PLRT_UNROLL
    for (int i = 0; i < 4; ++i) {
        const uint8_t* p = first + i * stride;
        v[i] = load_lanes(p, p + 4 * stride, p + 8 * stride, p + 12 * stride);
    }
    PLRT_UNROLL
    for (int i = 0; i < kLines; ++i) prefetch(rows.ahead + kPanelRows * offset + 64 * i);
    transpose_groups(v);
}

/// In each group: the last 2 bytes of a, then the first 2 of b.
inline U8x64 joined(U8x64 a, U8x64 b) {
    return or_bits<0, 255>(spread<2, 3, -1, -1>(a), spread<-1, -1, 0, 1>(b));
}

inline void store_codes(uint8_t* codes, int64_t step, U8x64 v) {
    store_bytes(codes + 64 * step, v);
}

/// Byte t of each group.
template <int t>
inline I32x16 byte_of(U8x64 v) {
    return as_ints(spread<t, -1, -1, -1>(v));
}
template <int t>
inline I32x16 signed_byte_of(U8x64 v) {
    return shift_right_signed<24>(as_ints(spread<-1, -1, -1, t>(v)));
}
/// Bytes a and b of each group as a pair of int16.
template <int a, int b>
inline I32x16 byte_pair(U8x64 v) {
    return as_ints(spread<a, -1, b, -1>(v));
}

/// Where the integer sums of one column start, a number for each run of elements with a scale.
struct ColumnStarts {
    int32_t of_run[16];
};

/// sums[C * r + c] of a run: where column c starts, or 0 where the type's codes have no zero point.
template <int R, int C, bool kHasZero>
inline void set_starts(const ColumnStarts* starts, int64_t run, I32x16* sums) {
    PLRT_UNROLL
    for (int c = 0; c < C; ++c) {
        const I32x16 start = kHasZero ? iset1(starts[c].of_run[run]) : izero();
        PLRT_UNROLL
        for (int r = 0; r < R; ++r) sums[C * r + c] = start;
    }
}

}  // namespace
}  // namespace plrt::PLRT_ISA
