#pragma once
/// A graph as read from its text form (pyllama_rt/graph/builder.py documents the form), with every
/// shape worked out again here.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace plrt {

enum class Op {
#define PLRT_OP(name, n_values, n_weights, sharing, attributes) name,
#define PLRT_INTERNAL_OP(name, n_values, n_weights, sharing, attributes) name,
#include "graph/ops.def"
#undef PLRT_OP
#undef PLRT_INTERNAL_OP
};

/// How threads share the work of an op; ops.def explains each.
enum class Sharing { by_row, by_row_then_own, own };

/// The word of an op.
std::string_view op_name(Op op);
Sharing op_sharing(Op op);

/// Rows of a value: those of the step, or those that asked for an output.
enum class Rows { kStep, kOutput };

struct Node {
    Op op;
    std::vector<int> inputs;           // numbers of earlier nodes
    std::vector<std::string> weights;  // names; "" for an absent optional one
    std::map<std::string, std::string> attributes;
    Rows rows;
    int64_t width;

    /// Attributes by type. Throw Error(kFormat) if absent or not of that type.
    int64_t integer(const std::string& key) const;
    double real(const std::string& key) const;
    std::vector<double> reals(const std::string& key) const;  // with commas between
    const std::string& word(const std::string& key) const;
};

struct Graph {
    std::vector<Node> nodes;
};

/// Throws Error(kFormat) with the number of the line that is wrong.
Graph parse_graph(std::string_view text);

}  // namespace plrt
