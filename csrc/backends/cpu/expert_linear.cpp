#include <algorithm>
#include <cstring>
#include <span>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/expert_rows.h"
#include "core/checked.h"
#include "kernels/registry.h"

namespace plrt::cpu {
namespace {

/// For each row and each expert that it chose: y = x · Wᵀ with that expert's matrix. The rows that
/// chose an expert meet its matrix together; threads take runs of the rows of their matrices.
class ExpertLinear : public Operation {
  public:
    explicit ExpertLinear(const BindContext& c)
        : node_(c.index),
          in_(input_view(c, 0)),
          route_(input_view(c, 1)),
          out_(output_view(c)),
          format_(c.input(0).format),
          n_experts_(c.node().integer("n_experts")),
          n_used_(c.node().integer("n_used")),
          is_shared_(c.node().integer("shared") != 0),
          k_(is_shared_ ? in_.width : in_.width / n_used_),
          width_(out_.width / n_used_) {
        weight_ = c.weights.get(c.node().weights[0], checked_mul(n_experts_, width_), k_);
        row_bytes_ = row_bytes(weight_.type, k_);
        matmul_ = matmul_for(c.kernels, weight_.type);
        column_bytes_ = activation_row_bytes(format_, k_);
    }

    int64_t scratch_bytes(int64_t n_rows) const override {
        const int64_t per_row = checked_add(
            column_bytes_, kMatmulRows * static_cast<int64_t>(sizeof(float)) + kChoiceBytes);
        return checked_add(kMatmulScratchBytes + list_bytes(), checked_mul(n_rows, per_row));
    }

    void run(const StepContext& step, Team& /*team*/, int thread) const override {
        const int64_t n_rows = step.rows(out_.rows);
        const std::span<const int32_t> chosen = chosen_experts(step, n_rows, thread);
        const int64_t per_expert = (width_ + kMatmulRows - 1) / kMatmulRows;
        const int64_t n_runs = static_cast<int64_t>(chosen.size()) * per_expert;
        WorkQueue& queue = step.queues[node_];
        Columns columns{};
        int64_t gathered = -1;  // the expert whose columns they are
        for (int64_t run = queue.take(n_runs); run < n_runs; run = queue.take(n_runs)) {
            const int64_t expert = chosen[static_cast<size_t>(run / per_expert)];
            if (expert != gathered) columns = gather(step, expert, n_rows, thread);
            gathered = expert;
            multiply(step, expert, columns, run % per_expert * kMatmulRows, thread);
        }
    }

  private:
    /// A row of the step and the place among its experts where it names the one at hand.
    struct Choice {
        int32_t row;
        int32_t slot;
    };
    static constexpr int64_t kChoiceBytes = sizeof(Choice);

    /// The activations of the rows that chose an expert, and room for a run of their results.
    struct Columns {
        int64_t n;
        uint8_t* activations;
        float* results;  // [n][kMatmulRows]
        Choice* choices;
    };

    /// Room for the numbers of all experts, in whole cache lines.
    int64_t list_bytes() const {
        return activation_part(n_experts_ * static_cast<int64_t>(sizeof(int32_t)));
    }

    /// The experts that some row chose, ascending.
    std::span<const int32_t> chosen_experts(const StepContext& step, int64_t n_rows,
                                            int thread) const {
        auto* list = reinterpret_cast<int32_t*>(step.scratch[thread] + kMatmulScratchBytes);
        std::fill_n(list, n_experts_, 0);
        for (int64_t row = 0; row < n_rows; ++row) {
            const float* route = route_.floats(step, row);
            for (int64_t i = 0; i < n_used_; ++i) list[static_cast<int64_t>(route[i])] = 1;
        }
        size_t n = 0;
        for (int32_t expert = 0; expert < n_experts_; ++expert) {
            if (list[expert] != 0) list[n++] = expert;  // never past what is still to be read
        }
        return {list, n};
    }

    Columns gather(const StepContext& step, int64_t expert, int64_t n_rows, int thread) const {
        uint8_t* activations = step.scratch[thread] + kMatmulScratchBytes + list_bytes();
        auto* results = reinterpret_cast<float*>(activations + n_rows * column_bytes_);
        Columns columns{0, activations, results,
                        reinterpret_cast<Choice*>(results + n_rows * kMatmulRows)};
        for (int64_t row = 0; row < n_rows; ++row) {
            const float* route = route_.floats(step, row);
            const float* found = std::find(route, route + n_used_, static_cast<float>(expert));
            if (found == route + n_used_) continue;
            const int64_t slot = found - route;
            copy_columns(format_, in_.row(step, row), in_.width, is_shared_ ? 0 : slot * k_, k_,
                         activations + columns.n * column_bytes_);
            columns.choices[columns.n++] = {static_cast<int32_t>(row), static_cast<int32_t>(slot)};
        }
        return columns;
    }

    /// kMatmulRows rows of an expert's matrix, from `row` on.
    void multiply(const StepContext& step, int64_t expert, const Columns& columns, int64_t row,
                  int thread) const {
        MatmulArgs args{};
        args.weight_row_bytes = row_bytes_;
        args.k = k_;
        args.activations = columns.activations;
        args.activation_row_bytes = column_bytes_;
        args.n_cols = columns.n;
        args.out = columns.results;
        args.out_stride = kMatmulRows;
        args.scratch = step.scratch[thread];
        args.weights = weight_.data + (expert * width_ + row) * row_bytes_;
        args.row_begin = 0;
        args.row_end = std::min(kMatmulRows, width_ - row);
        matmul_(args);
        for (int64_t i = 0; i < columns.n; ++i) {
            const Choice& choice = columns.choices[i];
            std::memcpy(out_.floats(step, choice.row) + choice.slot * width_ + row,
                        columns.results + i * kMatmulRows,
                        static_cast<size_t>(args.row_end) * sizeof(float));
        }
    }

    int node_;
    RowView in_;
    RowView route_;
    RowView out_;
    ValueFormat format_;
    int64_t n_experts_;
    int64_t n_used_;
    bool is_shared_;
    int64_t k_;
    int64_t width_;
    Weight weight_;
    int64_t row_bytes_;
    MatmulFunction matmul_;
    int64_t column_bytes_;
};

}  // namespace

std::unique_ptr<Operation> bind_expert_linear(const BindContext& c) {
    return std::make_unique<ExpertLinear>(c);
}

}  // namespace plrt::cpu
