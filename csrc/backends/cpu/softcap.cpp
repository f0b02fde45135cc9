#include "backends/cpu/row_operation.h"
#include "core/errors.h"

namespace plrt::cpu {

std::unique_ptr<Operation> bind_softcap(const BindContext& c) {
    const auto cap = static_cast<float>(c.node().real("cap"));
    require(cap > 0, ErrorKind::kFormat, "softcap cap: expected a positive number, found ", cap);
    return row_operation(c, [&kernels = c.kernels, n = output_width(c), cap](
                                InputRows in, float* out) { kernels.softcap(in[0], cap, n, out); });
}

}  // namespace plrt::cpu
