#include <cmath>

#include "backends/cpu/cpu_backend.h"
#include "core/errors.h"

namespace plrt::cpu {
namespace {

/// Per row: dims/2 cosines, then dims/2 sines, of position * scale / (base^(2i/dims) * factor[i]).
/// The frequency is rounded to float and multiplied in float, as the checkpoints were trained.
class RopeTable : public Operation {
  public:
    explicit RopeTable(const BindContext& c) : out_(output_view(c)) {
        const Node& node = c.node();
        const int64_t half = out_.width / 2;
        const double base = node.real("base");
        const double scale = node.real("scale");
        require(out_.width % 2 == 0 && base > 0, ErrorKind::kFormat,
                "rope_table: expected an even width and a positive base");
        std::vector<float> factors(static_cast<size_t>(half), 1.0f);
        if (!node.weights[0].empty()) factors = vector_weight(c, node.weights[0], half);
        for (int64_t i = 0; i < half; ++i) {
            const double exponent = static_cast<double>(2 * i) / static_cast<double>(out_.width);
            const double frequency = 1.0 / std::pow(base, exponent);
            const double factor = static_cast<double>(factors[static_cast<size_t>(i)]);
            frequencies_.push_back(static_cast<float>(frequency * scale / factor));
        }
    }

    void run(const StepContext& step, Team& team, int thread) const override {
        const int64_t half = out_.width / 2;
        const Range part = split_range(step.n_rows, thread, team.size());
        for (int64_t row = part.begin; row < part.end; ++row) {
            float* out = out_.floats(step, row);
            const float position = static_cast<float>(step.positions[row]);
            for (int64_t i = 0; i < half; ++i) {
                const float angle = position * frequencies_[static_cast<size_t>(i)];
                out[i] = static_cast<float>(std::cos(static_cast<double>(angle)));
                out[half + i] = static_cast<float>(std::sin(static_cast<double>(angle)));
            }
        }
    }

  private:
    RowView out_;
    std::vector<float> frequencies_;
};

}  // namespace

std::unique_ptr<Operation> bind_rope_table(const BindContext& c) {
    return std::make_unique<RopeTable>(c);
}

}  // namespace plrt::cpu
