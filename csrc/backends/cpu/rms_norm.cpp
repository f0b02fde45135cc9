#include "backends/cpu/cpu_backend.h"

namespace plrt::cpu {
namespace {

class RmsNorm : public Operation {
  public:
    explicit RmsNorm(const BindContext& c)
        : kernels_(c.kernels),
          in_(input_view(c, 0)),
          out_(output_view(c)),
          weight_(vector_weight(c, c.node().weights[0], out_.width)),
          eps_(static_cast<float>(c.node().real("eps"))) {}

    void run(const StepContext& step, Team& team, int thread) const override {
        const Range part = split_range(step.rows(out_.rows), thread, team.size());
        for (int64_t i = part.begin; i < part.end; ++i) {
            kernels_.rms_norm(in_.floats(step, i), weight_.data(), eps_, out_.width,
                              out_.floats(step, i));
        }
    }

  private:
    const KernelTable& kernels_;
    RowView in_;
    RowView out_;
    std::vector<float> weight_;
    float eps_;
};

}  // namespace

std::unique_ptr<Operation> bind_rms_norm(const BindContext& c) {
    return std::make_unique<RmsNorm>(c);
}

}  // namespace plrt::cpu
