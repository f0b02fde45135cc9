#include "backends/cpu/cpu_backend.h"

namespace plrt::cpu {
namespace {

/// Activations in the format that the plan wants, which is that of the matmul kernels.
class QuantizeRows : public Operation {
  public:
    explicit QuantizeRows(const BindContext& c)
        : kernels_(c.kernels),
          in_(input_view(c, 0)),
          out_(output_view(c)),
          format_(c.value(c.index).format) {}

    void run(const StepContext& step, Team& team, int thread) const override {
        const Range part = split_range(step.rows(out_.rows), thread, team.size());
        for (int64_t i = part.begin; i < part.end; ++i) {
            const float* x = in_.floats(step, i);
            uint8_t* row = out_.row(step, i);
            if (format_ == ValueFormat::kBF16) {
                kernels_.round_rows_bf16(x, out_.width, reinterpret_cast<uint16_t*>(row));
            } else if (format_ == ValueFormat::kAct32) {
                kernels_.quantize_rows_32(x, out_.width, activations_32(row, out_.width));
            } else {
                kernels_.quantize_rows_256(x, out_.width, activations_256(row, out_.width));
            }
        }
    }

  private:
    const KernelTable& kernels_;
    RowView in_;
    RowView out_;
    ValueFormat format_;
};

}  // namespace

std::unique_ptr<Operation> bind_quantize_rows(const BindContext& c) {
    return std::make_unique<QuantizeRows>(c);
}

}  // namespace plrt::cpu
