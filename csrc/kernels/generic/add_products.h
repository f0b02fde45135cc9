/// Sums of products of columns, a tile of 16 x 16 of them: as many rows of the tile at a time as
/// registers hold.
///
/// Canonical order: an fma chain over rows from 0, then one addition to the sum.

namespace plrt::PLRT_ISA {
namespace {

constexpr int kProductRows = kAttentionQueries * kAttentionVectors;

inline void add_products(const float* a, const float* b, int64_t n_rows, float* sums) {
    for (int64_t first = 0; first < 16; first += kProductRows) {
        F32x16 acc[kProductRows];
        PLRT_UNROLL
        for (int i = 0; i < kProductRows; ++i) acc[i] = zero();
        const float* left = a + first;
        const float* right = b;
        for (int64_t row = 0; row < n_rows; ++row, left += 16, right += 16) {
            const F32x16 columns = load(right);
            PLRT_UNROLL
            for (int i = 0; i < kProductRows; ++i) acc[i] = fma(set1(left[i]), columns, acc[i]);
        }
        PLRT_UNROLL
        for (int i = 0; i < kProductRows; ++i) {
            float* sum = sums + (first + i) * 16;
            store(sum, add(load(sum), acc[i]));
        }
    }
}

}  // namespace
}  // namespace plrt::PLRT_ISA
