#include "backends/cpu/cpu_backend.h"
#include "core/errors.h"

namespace plrt::cpu {
namespace {

/// Rotates pairs of the first `dims` elements of each head by the angles of the row's table.
class Rope : public Operation {
  public:
    explicit Rope(const BindContext& c)
        : in_(input_view(c, 0)), table_(input_view(c, 1)), out_(output_view(c)) {
        const Node& node = c.node();
        n_heads_ = node.integer("n_heads");
        head_dim_ = node.integer("head_dim");
        half_ = node.integer("dims") / 2;
        const std::string& pairing = node.word("pairing");
        require(pairing == "interleaved" || pairing == "half", ErrorKind::kFormat,
                "rope pairing: expected interleaved or half, found ", pairing);
        require(n_heads_ > 0 && head_dim_ > 0 && out_.width % head_dim_ == 0 &&
                    out_.width / head_dim_ == n_heads_ && in_.width == out_.width &&
                    half_ > 0 && 2 * half_ <= head_dim_ && table_.width == 2 * half_,
                ErrorKind::kFormat, "rope: heads, widths and table do not fit together");
        step_ = pairing == "interleaved" ? 2 : 1;
        partner_ = pairing == "interleaved" ? 1 : half_;
    }

    void run(const StepContext& step, Team& team, int thread) const override {
        const Range part = split_range(step.n_rows, thread, team.size());
        for (int64_t row = part.begin; row < part.end; ++row) {
            const float* cosines = table_.floats(step, row);
            for (int64_t h = 0; h < n_heads_; ++h) {
                rotate(in_.floats(step, row) + h * head_dim_, cosines,
                       out_.floats(step, row) + h * head_dim_);
            }
        }
    }

  private:
    void rotate(const float* x, const float* cosines, float* out) const {
        const float* sines = cosines + half_;
        for (int64_t i = 0; i < half_; ++i) {
            const float a = x[i * step_];
            const float b = x[i * step_ + partner_];
            out[i * step_] = a * cosines[i] - b * sines[i];
            out[i * step_ + partner_] = a * sines[i] + b * cosines[i];
        }
        for (int64_t i = 2 * half_; i < head_dim_; ++i) out[i] = x[i];
    }

    RowView in_;
    RowView table_;
    RowView out_;
    int64_t n_heads_;
    int64_t head_dim_;
    int64_t half_;
    int64_t step_;
    int64_t partner_;
};

}  // namespace

std::unique_ptr<Operation> bind_rope(const BindContext& c) { return std::make_unique<Rope>(c); }

}  // namespace plrt::cpu
