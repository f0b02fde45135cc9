#pragma once
/// The CPU backend: one file per op, each with a `bind_<op>` function.

#include <memory>
#include <string>

#include "backends/backend.h"
#include "kernels/kernel_table.h"

namespace plrt {

/// A CPU backend on the named instruction set ("": the best one). Throws Error(kConfig).
std::unique_ptr<Backend> make_cpu_backend(const std::string& isa);

namespace cpu {

/// What binding a node needs.
struct BindContext {
    const Plan& plan;
    int index;  // of the node in the plan
    const WeightSource& weights;
    const KernelTable& kernels;

    const Node& node() const { return plan.nodes[static_cast<size_t>(index)]; }
    const Value& value(int i) const { return plan.values[static_cast<size_t>(i)]; }
    const Value& input(size_t i) const { return value(node().inputs[i]); }
};

/// Rows of a value in the step's memory.
struct RowView {
    int value;
    Rows rows;
    int64_t width;
    int64_t bytes_per_row;

    uint8_t* row(const StepContext& step, int64_t i) const {
        return step.values[value] + i * bytes_per_row;
    }
    float* floats(const StepContext& step, int64_t i) const {
        return reinterpret_cast<float*>(row(step, i));
    }
};

RowView output_view(const BindContext& c);
RowView input_view(const BindContext& c, size_t i);

/// A vector of floats: a copy of a 1-D weight, whatever float type it is stored in.
std::vector<float> vector_weight(const BindContext& c, const std::string& name, int64_t width);

#define PLRT_OP(name, n_values, n_weights, sharing, attributes) \
    std::unique_ptr<Operation> bind_##name(const BindContext& c);
#define PLRT_INTERNAL_OP(name, n_values, n_weights, sharing, attributes) \
    std::unique_ptr<Operation> bind_##name(const BindContext& c);
#include "graph/ops.def"
#undef PLRT_OP
#undef PLRT_INTERNAL_OP

}  // namespace cpu
}  // namespace plrt
