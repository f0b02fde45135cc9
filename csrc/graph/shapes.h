#pragma once
/// The rules by which the rows and widths of a graph's values fit together.

#include "graph/graph.h"

namespace plrt {

/// Backends trust these rules: an operation reads as many numbers of an input as they promise.
/// Throws Error(kFormat) naming the first value that breaks one.
void check_shapes(const Graph& graph);

}  // namespace plrt
