#include "backends/cpu/row_operation.h"
#include "core/errors.h"

namespace plrt::cpu {

std::unique_ptr<Operation> bind_gelu(const BindContext& c) {
    const std::string& form = c.node().word("form");
    require(form == "tanh" || form == "erf", ErrorKind::kFormat,
            "gelu form: expected tanh or erf, found ", form);
    return row_operation(c,
                         [&kernels = c.kernels, n = output_width(c), is_tanh = form == "tanh"](
                             InputRows in, float* out) { kernels.gelu(in[0], is_tanh, n, out); });
}

}  // namespace plrt::cpu
