#include "backends/cpu/row_operation.h"

namespace plrt::cpu {

std::unique_ptr<Operation> bind_silu_mul(const BindContext& c) {
    return row_operation(c, [&kernels = c.kernels, n = output_width(c)](InputRows in, float* out) {
        kernels.silu_mul(in[0], in[1], n, out);
    });
}

}  // namespace plrt::cpu
