#pragma once
/// Turns a graph into steps that run one after the other: adds what backends need, and decides
/// where in the scratch memory each value lives.

#include <cstdint>
#include <functional>
#include <string>
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

/// What an observing program adds up of what enters its matrices: nothing, the squares of the
/// columns, or, of matrices that are no experts, also their products with one another.
enum class Observe { kNothing, kSquares, kMoments };

/// What enters some matrices of one width: a node `tally` adds it up for all of them.
struct TallyPlan {
    std::vector<std::string> weights;  // names of the matrices, or stacks of experts
    int64_t n_mats;                    // experts of a stack, else 1
    int64_t cols;
    bool has_moments;
};

struct Plan {
    std::vector<Node> nodes;    // inputs name values
    std::vector<Value> values;  // one a node
    std::vector<int> stages;    // one a node, ascending; a barrier stands between two stages
    std::vector<Slot> slots;
    std::vector<TallyPlan> tallies;  // by the attribute "index" of their nodes
};

/// Type of the weight called `name`; the planner asks it of every first operand of a linear.
using WeightTypeOf = std::function<TensorType(const std::string& name)>;

/// Bytes of one row of activations in a format.
int64_t activation_row_bytes(ValueFormat format, int64_t width);

/// Inserts quantize_rows before linears whose weights want it (once per value and format),
/// numbers the attention nodes (attribute "layer"), groups nodes that need no barrier between them
/// into stages, and assigns slots. An observing plan also has a tally of what enters each linear,
/// in float whatever the linear reads.
Plan make_plan(const Graph& graph, const WeightTypeOf& type_of,
               Observe observe = Observe::kNothing);

}  // namespace plrt
