#pragma once
/// Where sums of products of columns lie: within blocks of 256 columns, in tiles of 16 x 16, those
/// on and above the diagonal, row by row. The last block may be shorter; columns that its last
/// tiles have too many stay 0.

#include <cstdint>

namespace plrt {

inline constexpr int64_t kMomentBlock = 256;
inline constexpr int64_t kMomentPanel = 16;
inline constexpr int64_t kMomentTile = kMomentPanel * kMomentPanel;

/// Panels of 16 columns of the block that begins at column `begin`.
static inline int64_t moment_panels(int64_t cols, int64_t begin) {
    const int64_t left = cols - begin < kMomentBlock ? cols - begin : kMomentBlock;
    return (left + kMomentPanel - 1) / kMomentPanel;
}

/// Tiles of a block of so many panels.
static inline int64_t panel_tiles(int64_t n_panels) {
    return n_panels * (n_panels + 1) / 2;
}

/// Tiles of all blocks before column `begin`, where a block begins.
static inline int64_t tiles_before(int64_t begin) {
    return begin / kMomentBlock * panel_tiles(kMomentBlock / kMomentPanel);
}

/// Tiles of a matrix of so many columns.
static inline int64_t moment_tiles(int64_t cols) {
    const int64_t last = (cols - 1) / kMomentBlock * kMomentBlock;
    return tiles_before(last) + panel_tiles(moment_panels(cols, last));
}

/// Calls f(tile, i, k) for the tiles of a block of so many panels: their number in the block and
/// the panels of their rows and columns.
template <typename F>
void for_tiles(int64_t n_panels, F f) {
    int64_t tile = 0;
    for (int64_t i = 0; i < n_panels; ++i) {
        for (int64_t k = i; k < n_panels; ++k) f(tile++, i, k);
    }
}

/// Writes the sums of all blocks to out (cols, 256): each column with all of its block.
inline void unpack_moments(const float* tiles, int64_t cols, float* out) {
    for (int64_t begin = 0; begin < cols; begin += kMomentBlock) {
        const float* block = tiles + tiles_before(begin) * kMomentTile;
        const int64_t n = cols - begin < kMomentBlock ? cols - begin : kMomentBlock;
        for_tiles(moment_panels(cols, begin), [&](int64_t tile, int64_t i, int64_t k) {
            for (int64_t at = 0; at < kMomentTile; ++at) {
                const int64_t row = i * kMomentPanel + at / kMomentPanel;
                const int64_t col = k * kMomentPanel + at % kMomentPanel;
                if (row >= n || col >= n) continue;
                const float sum = block[tile * kMomentTile + at];
                out[(begin + row) * kMomentBlock + col] = sum;
                out[(begin + col) * kMomentBlock + row] = sum;
            }
        });
    }
}

}  // namespace plrt
