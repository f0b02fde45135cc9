#include "backends/cpu/cpu_backend.h"
#include "quant/codec.h"

namespace plrt::cpu {
namespace {

/// out[i] = row ids[i] of the matrix, as floats. The executor has checked the ids.
class Embed : public Operation {
  public:
    explicit Embed(const BindContext& c) : out_(output_view(c)) {
        const std::string& name = c.node().weights[0];
        matrix_ = c.weights.get(name, 0, out_.width);
        row_bytes_ = row_bytes(matrix_.type, matrix_.cols);
    }

    void run(const StepContext& step, Team& team, int thread) const override {
        const Range part = split_range(step.n_rows, thread, team.size());
        for (int64_t i = part.begin; i < part.end; ++i) {
            const uint8_t* row = matrix_.data + step.ids[i] * row_bytes_;
            dequantize_row(matrix_.type, row, out_.floats(step, i), out_.width);
        }
    }

  private:
    RowView out_;
    Weight matrix_;
    int64_t row_bytes_;
};

}  // namespace

std::unique_ptr<Operation> bind_embed(const BindContext& c) { return std::make_unique<Embed>(c); }

}  // namespace plrt::cpu
