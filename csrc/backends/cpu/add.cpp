#include "backends/cpu/row_operation.h"

namespace plrt::cpu {

std::unique_ptr<Operation> bind_add(const BindContext& c) {
    return row_operation(c, [&kernels = c.kernels, n = output_width(c)](InputRows in, float* out) {
        kernels.add(in[0], in[1], n, out);
    });
}

}  // namespace plrt::cpu
