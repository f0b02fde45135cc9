#pragma once
/// What the CPU that we run on can do.

#include <string_view>

namespace plrt {

/// Whether this CPU and operating system run the instruction set called `isa`
/// ("scalar", "avx2", "avx512_vnni"). Unknown names give false.
bool cpu_supports(std::string_view isa);

}  // namespace plrt
