#pragma once
/// The instruction sets that this build holds, and the choice among them.

#include <string>
#include <vector>

#include "core/tensor_type.h"
#include "kernels/kernel_table.h"

namespace plrt {

/// Names of the instruction sets in this build, best first.
std::vector<std::string> isa_names();

/// Whether this CPU runs the instruction set of that name.
bool isa_supported(const std::string& name);

/// The table called `forced`, or the best one that this CPU supports if `forced` is empty.
/// Throws Error(kConfig), listing the choices, if the name is unknown or this CPU lacks it.
const KernelTable& select_kernels(const std::string& forced);

/// The matmul of a weight type.
MatmulFunction matmul_for(const KernelTable& kernels, TensorType type);

}  // namespace plrt
