#pragma once
/// Adds the products of the columns of what enters a matrix, within blocks of 256 columns.

#include <algorithm>
#include <cstring>

#include "backends/cpu/cpu_backend.h"
#include "core/moment_tiles.h"

namespace plrt::cpu {

class MomentSums {
  public:
    MomentSums(const RowView& in, const KernelTable& kernels) : in_(in), kernels_(&kernels) {}

    /// Of each thread: a block's columns of a chunk of rows.
    static constexpr int64_t kScratchBytes =
        128 * kMomentBlock * static_cast<int64_t>(sizeof(float));

    /// This thread's tiles. Threads share out tiles, so that the order of a sum is that of the
    /// rows: chunks of 128 from the step's first row on, each summed in float by itself.
    void add(const StepContext& step, Team& team, int thread, float* sums) const {
        const Range part = split_range(moment_tiles(in_.width), thread, team.size(), 1);
        for (int64_t begin = 0; begin < in_.width; begin += kMomentBlock) {
            const int64_t first = tiles_before(begin);
            const int64_t n_panels = moment_panels(in_.width, begin);
            const Range tiles{std::max(part.begin - first, int64_t{0}),
                              std::min(part.end - first, panel_tiles(n_panels))};
            if (tiles.begin < tiles.end) {
                add_block(step, thread, begin, tiles, sums + first * kMomentTile);
            }
        }
    }

  private:
    static constexpr int64_t kChunk = kScratchBytes / (kMomentBlock * sizeof(float));

    void add_block(const StepContext& step, int thread, int64_t begin, Range tiles,
                   float* sums) const {
        auto* panels = reinterpret_cast<float*>(step.scratch[thread]);
        const int64_t n_rows = step.rows(in_.rows);
        for (int64_t row = 0; row < n_rows; row += kChunk) {
            const int64_t n = std::min(kChunk, n_rows - row);
            pack(step, row, n, begin, panels);
            for_tiles(moment_panels(in_.width, begin), [&](int64_t tile, int64_t i, int64_t k) {
                if (tile < tiles.begin || tile >= tiles.end) return;
                kernels_->add_products(panels + i * n * kMomentPanel, panels + k * n * kMomentPanel,
                                       n, sums + tile * kMomentTile);
            });
        }
    }

    /// Rows of a block as panels: (16 columns) of each row, one panel after the other. As they lie,
    /// rows are so far apart that they would push one another out of the nearest cache.
    void pack(const StepContext& step, int64_t row, int64_t n, int64_t begin, float* panels) const {
        const int64_t n_cols = std::min(kMomentBlock, in_.width - begin);
        const int64_t whole = n_cols / kMomentPanel;
        const auto left = static_cast<size_t>(n_cols % kMomentPanel);
        for (int64_t r = 0; r < n; ++r) {
            const float* from = in_.floats(step, row + r) + begin;
            float* to = panels + r * kMomentPanel;
            for (int64_t p = 0; p < whole; ++p, from += kMomentPanel, to += n * kMomentPanel) {
                std::memcpy(to, from, kMomentPanel * sizeof(float));
            }
            if (left == 0) continue;
            std::memset(to, 0, kMomentPanel * sizeof(float));
            std::memcpy(to, from, left * sizeof(float));
        }
    }

    RowView in_;
    const KernelTable* kernels_;
};

}  // namespace plrt::cpu
