#include <algorithm>

#include "backends/cpu/cpu_backend.h"
#include "core/errors.h"

namespace plrt::cpu {
namespace {

/// Rotates pairs of the first `dims` elements of each head by the angles of the row's table.
class Rope : public Operation {
  public:
    explicit Rope(const BindContext& c)
        : kernels_(c.kernels),
          in_(input_view(c, 0)),
          table_(input_view(c, 1)),
          out_(output_view(c)) {
        const Node& node = c.node();
        n_heads_ = node.integer("n_heads");
        head_dim_ = node.integer("head_dim");
        half_ = node.integer("dims") / 2;
        const std::string& pairing = node.word("pairing");
        require(pairing == "interleaved" || pairing == "half", ErrorKind::kFormat,
                "rope pairing: expected interleaved or half, found ", pairing);
        require(n_heads_ > 0 && head_dim_ > 0 && out_.width % head_dim_ == 0 &&
                    out_.width / head_dim_ == n_heads_ && in_.width == out_.width && half_ > 0 &&
                    2 * half_ <= head_dim_ && table_.width == 2 * half_,
                ErrorKind::kFormat, "rope: heads, widths and table do not fit together");
        interleaved_ = pairing == "interleaved";
    }

    void run(const StepContext& step, Team& team, int thread) const override {
        const Range part = split_range(step.n_rows, thread, team.size());
        for (int64_t row = part.begin; row < part.end; ++row) {
            const float* cosines = table_.floats(step, row);
            for (int64_t h = 0; h < n_heads_; ++h) {
                const float* x = in_.floats(step, row) + h * head_dim_;
                float* out = out_.floats(step, row) + h * head_dim_;
                kernels_.rope(x, cosines, cosines + half_, half_, interleaved_, out);
                std::copy(x + 2 * half_, x + head_dim_, out + 2 * half_);
            }
        }
    }

  private:
    const KernelTable& kernels_;
    RowView in_;
    RowView table_;
    RowView out_;
    int64_t n_heads_;
    int64_t head_dim_;
    int64_t half_;
    bool interleaved_;
};

}  // namespace

std::unique_ptr<Operation> bind_rope(const BindContext& c) {
    return std::make_unique<Rope>(c);
}

}  // namespace plrt::cpu
