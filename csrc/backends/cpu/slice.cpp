#include <cstring>

#include "backends/cpu/row_operation.h"

namespace plrt::cpu {

std::unique_ptr<Operation> bind_slice(const BindContext& c) {
    const int64_t first = c.node().integer("first");
    return row_operation(c, [first, n = output_width(c)](InputRows in, float* out) {
        std::memcpy(out, in[0] + first, static_cast<size_t>(n) * sizeof(float));
    });
}

}  // namespace plrt::cpu
