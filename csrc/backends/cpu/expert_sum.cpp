#include "backends/cpu/row_operation.h"

namespace plrt::cpu {

std::unique_ptr<Operation> bind_expert_sum(const BindContext& c) {
    const int64_t n_used = c.node().integer("n_used");
    return row_operation(
        c, [&kernels = c.kernels, n = output_width(c), n_used](InputRows in, float* out) {
            const float* shares = in[1] + n_used;
            kernels.scale(in[0], shares[0], n, out);
            for (int64_t i = 1; i < n_used; ++i)
                kernels.add_scaled(in[0] + i * n, shares[i], n, out);
        });
}

}  // namespace plrt::cpu
