#include "backends/cpu/row_operation.h"
#include "core/errors.h"
#include "quant/codec.h"

namespace plrt::cpu {

std::unique_ptr<Operation> bind_add_row(const BindContext& c) {
    const int64_t width = output_width(c);
    const Weight matrix = c.weights.get(c.node().weights[0], 0, width);
    const int64_t row = c.node().integer("row");
    require(row >= 0 && row < matrix.rows, ErrorKind::kFormat, "add_row row: expected 0 to ",
            matrix.rows - 1, ", found ", row);
    std::vector<float> added(static_cast<size_t>(width));
    dequantize_row(matrix.type, matrix.data + row * row_bytes(matrix.type, width), added.data(),
                   width);
    return row_operation(
        c, [&kernels = c.kernels, width, added = std::move(added)](InputRows in, float* out) {
            kernels.add(in[0], added.data(), width, out);
        });
}

}  // namespace plrt::cpu
