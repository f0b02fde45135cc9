#include <algorithm>
#include <cmath>

#include "backends/cpu/cpu_backend.h"
#include "core/errors.h"

namespace plrt::cpu {
namespace {

/// Per row: dims/2 cosines, then dims/2 sines, of position * frequencies[i] / factor[i], times the
/// magnitude. A frequency is rounded to float and multiplied in float, as the checkpoints were
/// trained. A sequence whose base is scaled has frequencies of its own.
class RopeTable : public Operation {
  public:
    explicit RopeTable(const BindContext& c)
        : out_(output_view(c)), magnitude_(c.node().real("magnitude")) {
        const Node& node = c.node();
        const int64_t half = out_.width / 2;
        frequencies_ = node.reals("frequencies");
        require(out_.width % 2 == 0 && static_cast<int64_t>(frequencies_.size()) == half,
                ErrorKind::kFormat, "rope_table: expected an even width and ", half,
                " frequencies, found ", frequencies_.size());
        if (node.weights[0].empty()) return;
        const auto factors = vector_weight(c, node.weights[0], half);
        for (size_t i = 0; i < frequencies_.size(); ++i) {
            frequencies_[i] /= static_cast<double>(factors[i]);
        }
    }

    int64_t scratch_bytes(int64_t /*n_rows*/) const override {
        return out_.width / 2 * static_cast<int64_t>(sizeof(float));
    }

    void run(const StepContext& step, Team& team, int thread) const override {
        const Range part = split_range(step.n_rows, thread, team.size());
        auto* frequencies = reinterpret_cast<float*>(step.scratch[thread]);
        for (const Run& run : step.runs) {
            const int64_t begin = std::max(part.begin, run.first_row);
            const int64_t end = std::min(part.end, run.first_row + run.n_rows);
            if (begin < end) scaled_frequencies(run.rope_alpha, frequencies);
            for (int64_t row = begin; row < end; ++row) {
                fill_row(static_cast<float>(step.positions[row]), frequencies,
                         out_.floats(step, row));
            }
        }
    }

  private:
    /// The base times alpha^(dims / (dims - 2)): the slowest pair turns alpha times as slowly, the
    /// fastest as it did.
    void scaled_frequencies(double alpha, float* to) const {
        const auto last = static_cast<double>(frequencies_.size()) - 1.0;
        for (size_t i = 0; i < frequencies_.size(); ++i) {
            const double share = last > 0 ? static_cast<double>(i) / last : 0.0;
            const double divisor = alpha == 1.0 ? 1.0 : std::pow(alpha, share);
            to[i] = static_cast<float>(frequencies_[i] / divisor);
        }
    }

    void fill_row(float position, const float* frequencies, float* out) const {
        const int64_t half = out_.width / 2;
        for (int64_t i = 0; i < half; ++i) {
            const auto angle = static_cast<double>(position * frequencies[i]);
            out[i] = static_cast<float>(std::cos(angle) * magnitude_);
            out[half + i] = static_cast<float>(std::sin(angle) * magnitude_);
        }
    }

    RowView out_;
    double magnitude_;
    std::vector<double> frequencies_;
};

}  // namespace

std::unique_ptr<Operation> bind_rope_table(const BindContext& c) {
    return std::make_unique<RopeTable>(c);
}

}  // namespace plrt::cpu
