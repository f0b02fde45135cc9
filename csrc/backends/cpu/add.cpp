#include "backends/cpu/cpu_backend.h"

namespace plrt::cpu {
namespace {

class Add : public Operation {
  public:
    explicit Add(const BindContext& c)
        : kernels_(c.kernels), a_(input_view(c, 0)), b_(input_view(c, 1)), out_(output_view(c)) {}

    void run(const StepContext& step, Team& team, int thread) const override {
        const Range part = split_range(step.rows(out_.rows), thread, team.size());
        for (int64_t i = part.begin; i < part.end; ++i) {
            kernels_.add(a_.floats(step, i), b_.floats(step, i), out_.width, out_.floats(step, i));
        }
    }

  private:
    const KernelTable& kernels_;
    RowView a_;
    RowView b_;
    RowView out_;
};

}  // namespace

std::unique_ptr<Operation> bind_add(const BindContext& c) { return std::make_unique<Add>(c); }

}  // namespace plrt::cpu
