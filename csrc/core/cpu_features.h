#pragma once
/// What the CPU that we run on can do.

#include <string_view>

namespace plrt {

/// Whether this CPU and operating system run the instruction set called `isa`
/// (a name of csrc/kernels/CMakeLists.txt). Unknown names give false.
bool cpu_supports(std::string_view isa);

/// Asks the operating system for what the set needs beyond the processor; for good, and for the
/// whole process. Returns: false where that is refused.
bool cpu_enable(std::string_view isa);

/// Whether it also gains from the set, beside those that stand below it in the list.
bool cpu_prefers(std::string_view isa);

}  // namespace plrt
