#include "backends/cpu/row_operation.h"

namespace plrt::cpu {

std::unique_ptr<Operation> bind_layer_norm(const BindContext& c) {
    const Node& node = c.node();
    const int64_t width = output_width(c);
    auto weight = vector_weight(c, node.weights[0], width);
    std::vector<float> bias;
    if (!node.weights[1].empty()) bias = vector_weight(c, node.weights[1], width);
    const auto eps = static_cast<float>(node.real("eps"));
    return row_operation(c, [&kernels = c.kernels, width, eps, weight = std::move(weight),
                             bias = std::move(bias)](InputRows in, float* out) {
        const float* added = bias.empty() ? nullptr : bias.data();
        kernels.layer_norm(in[0], weight.data(), added, eps, width, out);
    });
}

}  // namespace plrt::cpu
