#include <algorithm>

#include "backends/cpu/moment_sums.h"

namespace plrt::cpu {
namespace {

/// Adds the squares of the columns of what enters a matrix, row by row, and counts the rows; of a
/// stack of experts, those of the rows that chose each. Threads share the columns, so that the
/// order of a sum is that of the rows. Where the plan wants them, also products of columns.
class CountInputs : public Operation {
  public:
    explicit CountInputs(const BindContext& c)
        : in_(input_view(c, 0)),
          index_(c.node().integer("index")),
          cols_(c.plan.tallies[static_cast<size_t>(index_)].cols),
          has_moments_(c.plan.tallies[static_cast<size_t>(index_)].has_moments),
          moments_(in_, c.kernels) {
        if (c.node().inputs.size() == 1) return;
        route_ = input_view(c, 1);
        n_used_ = c.node().integer("n_used");
        step_ = c.node().integer("shared") != 0 ? 0 : cols_;
    }

    int64_t scratch_bytes(int64_t /*n_rows*/) const override {
        return has_moments_ ? MomentSums::kScratchBytes : 0;
    }

    void run(const StepContext& step, Team& team, int thread) const override {
        Tally& tally = step.tallies[index_];
        const Range part = split_range(cols_, thread, team.size(), kGrain);
        const int64_t n_rows = step.rows(in_.rows);
        // A piece of the sums at a time, which stays in the nearest cache while the rows go by.
        for (int64_t begin = part.begin; begin < part.end; begin += kPiece) {
            const Range piece{begin, std::min(begin + kPiece, part.end)};
            int64_t row = 0;
            for (; !has_experts() && row + 4 <= n_rows; row += 4) add_rows(step, row, piece, tally);
            for (; row < n_rows; ++row) add_row(step, row, piece, tally);
        }
        if (has_moments_) moments_.add(step, team, thread, tally.moments.data());
        if (thread == 0) count_rows(step, n_rows, tally);
    }

  private:
    static constexpr int64_t kGrain = 64;
    static constexpr int64_t kPiece = 512;

    void add_row(const StepContext& step, int64_t row, Range piece, Tally& tally) const {
        const float* x = in_.floats(step, row);
        for (int64_t slot = 0; slot < n_used_; ++slot) {
            double* sums = tally.sums.data() + expert(step, row, slot) * cols_;
            const float* from = x + slot * step_;
            for (int64_t i = piece.begin; i < piece.end; ++i) {
                const double value = from[i];
                sums[i] += value * value;  // exact but for the sum
            }
        }
    }

    /// Four rows at once, of which each sum takes one after the other: half the time.
    void add_rows(const StepContext& step, int64_t row, Range piece, Tally& tally) const {
        const float* a = in_.floats(step, row);
        const float* b = in_.floats(step, row + 1);
        const float* c = in_.floats(step, row + 2);
        const float* d = in_.floats(step, row + 3);
        double* sums = tally.sums.data();
        const auto square = [](double value) { return value * value; };
        for (int64_t i = piece.begin; i < piece.end; ++i) {
            sums[i] = sums[i] + square(a[i]) + square(b[i]) + square(c[i]) + square(d[i]);
        }
    }

    void count_rows(const StepContext& step, int64_t n_rows, Tally& tally) const {
        for (int64_t row = 0; row < n_rows; ++row) {
            for (int64_t slot = 0; slot < n_used_; ++slot) {
                ++tally.counts[static_cast<size_t>(expert(step, row, slot))];
            }
        }
    }

    bool has_experts() const { return route_.width > 0; }

    /// The matrix that a row meets in one of its slots.
    int64_t expert(const StepContext& step, int64_t row, int64_t slot) const {
        return !has_experts() ? 0 : static_cast<int64_t>(route_.floats(step, row)[slot]);
    }

    RowView in_;
    RowView route_{};  // of experts; width 0: there is one matrix
    int64_t index_;
    int64_t cols_;
    bool has_moments_;
    MomentSums moments_;
    int64_t n_used_ = 1;
    int64_t step_ = 0;  // columns from one slot's input to the next one's
};

}  // namespace

std::unique_ptr<Operation> bind_tally(const BindContext& c) {
    return std::make_unique<CountInputs>(c);
}

}  // namespace plrt::cpu
