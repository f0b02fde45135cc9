#include "backends/cpu/row_operation.h"

namespace plrt::cpu {

std::unique_ptr<Operation> bind_scale(const BindContext& c) {
    const auto factor = static_cast<float>(c.node().real("factor"));
    return row_operation(
        c, [&kernels = c.kernels, n = output_width(c), factor](InputRows in, float* out) {
            kernels.scale(in[0], factor, n, out);
        });
}

}  // namespace plrt::cpu
