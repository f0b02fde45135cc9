#include <cstring>

#include "backends/cpu/cpu_backend.h"

namespace plrt::cpu {
namespace {

/// Gathers the rows that asked for an output.
class OutputRows : public Operation {
  public:
    explicit OutputRows(const BindContext& c) : in_(input_view(c, 0)), out_(output_view(c)) {}

    void run(const StepContext& step, Team& team, int thread) const override {
        const Range part = split_range(step.n_outputs, thread, team.size());
        for (int64_t i = part.begin; i < part.end; ++i) {
            std::memcpy(out_.row(step, i), in_.row(step, step.output_rows[i]),
                        static_cast<size_t>(out_.width) * sizeof(float));
        }
    }

  private:
    RowView in_;
    RowView out_;
};

}  // namespace

std::unique_ptr<Operation> bind_output_rows(const BindContext& c) {
    return std::make_unique<OutputRows>(c);
}

}  // namespace plrt::cpu
