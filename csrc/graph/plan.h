#pragma once
/// Turns a graph into steps that run one after the other: adds what backends need, and decides
/// where in the scratch memory each value lives.

#include <cstdint>
#include <functional>
#include <vector>

#include "core/tensor_type.h"
#include "graph/graph.h"

namespace plrt {

/// Element format of a value in scratch memory.
enum class ValueFormat { kF32, kBF16, kAct32, kAct256 };

struct Value {
    ValueFormat format;
    Rows rows;
    int64_t width;
    int64_t bytes_per_row;
    int slot;  // values of the same rows that live in different stages may share a slot
};

struct Slot {
    Rows rows;
    int64_t bytes_per_row;
};

struct Plan {
    std::vector<Node> nodes;    // inputs name values
    std::vector<Value> values;  // one a node
    std::vector<int> stages;    // one a node, ascending; a barrier stands between two stages
    std::vector<Slot> slots;
};

/// Type of the weight called `name`; the planner asks it of every first operand of a linear.
using WeightTypeOf = std::function<TensorType(const std::string& name)>;

/// Bytes of one row of activations in a format.
int64_t activation_row_bytes(ValueFormat format, int64_t width);

/// Inserts quantize_rows before linears whose weights want it (once per value and format),
/// numbers the attention nodes (attribute "layer"), groups nodes that need no barrier between them
/// into stages, and assigns slots.
Plan make_plan(const Graph& graph, const WeightTypeOf& type_of);

}  // namespace plrt
