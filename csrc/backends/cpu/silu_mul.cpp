#include "backends/cpu/cpu_backend.h"

namespace plrt::cpu {
namespace {

class SiluMul : public Operation {
  public:
    explicit SiluMul(const BindContext& c)
        : kernels_(c.kernels), gate_(input_view(c, 0)), up_(input_view(c, 1)), out_(output_view(c)) {}

    void run(const StepContext& step, Team& team, int thread) const override {
        const Range part = split_range(step.rows(out_.rows), thread, team.size());
        for (int64_t i = part.begin; i < part.end; ++i) {
            kernels_.silu_mul(gate_.floats(step, i), up_.floats(step, i), out_.width,
                              out_.floats(step, i));
        }
    }

  private:
    const KernelTable& kernels_;
    RowView gate_;
    RowView up_;
    RowView out_;
};

}  // namespace

std::unique_ptr<Operation> bind_silu_mul(const BindContext& c) {
    return std::make_unique<SiluMul>(c);
}

}  // namespace plrt::cpu
