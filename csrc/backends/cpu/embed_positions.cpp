#include "backends/cpu/cpu_backend.h"
#include "quant/codec.h"

namespace plrt::cpu {
namespace {

/// out[i] = row positions[i] of the matrix, as floats. The executor keeps positions below its rows.
class EmbedPositions : public Operation {
  public:
    explicit EmbedPositions(const BindContext& c)
        : out_(output_view(c)),
          matrix_(c.weights.get(c.node().weights[0], 0, out_.width)),
          row_bytes_(row_bytes(matrix_.type, matrix_.cols)) {}

    int64_t max_positions() const override { return matrix_.rows; }

    void run(const StepContext& step, Team& team, int thread) const override {
        const Range part = split_range(step.n_rows, thread, team.size());
        for (int64_t i = part.begin; i < part.end; ++i) {
            const uint8_t* row = matrix_.data + step.positions[i] * row_bytes_;
            dequantize_row(matrix_.type, row, out_.floats(step, i), out_.width);
        }
    }

  private:
    RowView out_;
    Weight matrix_;
    int64_t row_bytes_;
};

}  // namespace

std::unique_ptr<Operation> bind_embed_positions(const BindContext& c) {
    return std::make_unique<EmbedPositions>(c);
}

}  // namespace plrt::cpu
