#include "backends/cpu/row_operation.h"
#include "core/errors.h"

namespace plrt::cpu {

std::unique_ptr<Operation> bind_rms_norm(const BindContext& c) {
    const int64_t width = output_width(c);
    const int64_t n_groups = c.node().integer("groups");
    require(n_groups > 0 && width % n_groups == 0, ErrorKind::kFormat,
            "rms_norm: expected groups that divide the width ", width, ", found ", n_groups);
    auto weight = vector_weight(c, c.node().weights[0], width / n_groups);
    const auto eps = static_cast<float>(c.node().real("eps"));
    return row_operation(c, [&kernels = c.kernels, width, eps, weight = std::move(weight)](
                                InputRows in, float* out) {
        const auto n = static_cast<int64_t>(weight.size());
        for (int64_t at = 0; at < width; at += n) {
            kernels.rms_norm(in[0] + at, weight.data(), eps, n, out + at);
        }
    });
}

}  // namespace plrt::cpu
