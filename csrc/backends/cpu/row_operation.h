#pragma once
/// Operations whose rows each depend on the same row of their inputs alone.

#include <utility>

#include "backends/cpu/cpu_backend.h"

namespace plrt::cpu {

/// Rows of the inputs as floats.
using InputRows = const float* const*;

template <typename F>
class RowOperation : public Operation {
  public:
    RowOperation(const BindContext& c, F f) : out_(output_view(c)), f_(std::move(f)) {
        for (size_t i = 0; i < c.node().inputs.size(); ++i) in_.push_back(input_view(c, i));
    }

    void run(const StepContext& step, Team& team, int thread) const override {
        const Range part = split_range(step.rows(out_.rows), thread, team.size());
        for (int64_t i = part.begin; i < part.end; ++i) {
            const float* rows[kMaxInputs] = {};
            for (size_t j = 0; j < in_.size(); ++j) rows[j] = in_[j].floats(step, i);
            f_(rows, out_.floats(step, i));
        }
    }

  private:
    static constexpr size_t kMaxInputs = 2;

    std::vector<RowView> in_;
    RowView out_;
    F f_;
};

/// f(InputRows in, float* out) computes one row; it may throw nothing.
template <typename F>
std::unique_ptr<Operation> row_operation(const BindContext& c, F f) {
    return std::make_unique<RowOperation<F>>(c, std::move(f));
}

/// Numbers of a row of the result.
inline int64_t output_width(const BindContext& c) {
    return c.value(c.index).width;
}

}  // namespace plrt::cpu
