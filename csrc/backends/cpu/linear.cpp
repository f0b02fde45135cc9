#include "backends/cpu/cpu_backend.h"
#include "kernels/registry.h"

namespace plrt::cpu {
namespace {

/// y = x · Wᵀ + bias; threads take runs of the columns of y.
class Linear : public Operation {
  public:
    explicit Linear(const BindContext& c)
        : node_(c.index), in_(input_view(c, 0)), out_(output_view(c)) {
        const Node& node = c.node();
        weight_ = c.weights.get(node.weights[0], out_.width, in_.width);
        row_bytes_ = row_bytes(weight_.type, weight_.cols);
        matmul_ = matmul_for(c.kernels, weight_.type);
        if (!node.weights[1].empty()) bias_ = vector_weight(c, node.weights[1], out_.width);
    }

    int64_t scratch_bytes(int64_t /*n_rows*/) const override { return kMatmulScratchBytes; }

    void run(const StepContext& step, Team& team, int thread) const override {
        if (step.rows(out_.rows) == 0) return;
        MatmulArgs args{};
        args.weights = weight_.data;
        args.weight_row_bytes = row_bytes_;
        args.k = in_.width;
        args.activations = in_.row(step, 0);
        args.activation_row_bytes = in_.bytes_per_row;
        args.n_cols = step.rows(out_.rows);
        args.out = out_.floats(step, 0);
        args.out_stride = out_.bytes_per_row / static_cast<int64_t>(sizeof(float));
        args.bias = bias_.empty() ? nullptr : bias_.data();
        args.scratch = step.scratch[thread];
        WorkQueue& queue = step.queues[node_];
        const int64_t grain = matmul_grain(args.n_cols);
        for (Range rows = queue.take_run(out_.width, team.size(), grain); rows.begin < rows.end;
             rows = queue.take_run(out_.width, team.size(), grain)) {
            args.row_begin = rows.begin;
            args.row_end = rows.end;
            matmul_(args);
        }
    }

  private:
    int node_;
    RowView in_;
    RowView out_;
    Weight weight_;
    int64_t row_bytes_;
    MatmulFunction matmul_;
    std::vector<float> bias_;
};

}  // namespace

std::unique_ptr<Operation> bind_linear(const BindContext& c) {
    return std::make_unique<Linear>(c);
}

}  // namespace plrt::cpu
