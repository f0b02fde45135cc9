#pragma once
/// The case files that tests/kernel_cases.py writes from the NumPy twins: graphs of one op with
/// their weights, and the result that the twin gave.
///
/// A file is lines of text, some of them followed by raw bytes, little-endian:
///
///     plrt-cases 1
///     case linear q4_k: 3 x 64 x 768
///     largest_nmse 1e-11                (0: every number has to be equal)
///     cache f32                         (or f16)
///     graph 123                         then 123 bytes of graph text
///     weight w q4_k 64 768              then the bytes of 64 rows; any number of weights
///     expected 3 64                     then 3 x 64 floats; rows 0 … 2 were embedded

#include <istream>
#include <string>
#include <vector>

#include "core/kv_page.h"
#include "tiny_model.h"

namespace plrt::testing {

struct Case {
    std::string name;
    double largest_nmse = 0;
    KvType cache = KvType::kF32;
    std::string graph;
    MemoryWeights weights;
    int64_t n_rows = 0;
    std::vector<float> expected;  // (n_rows, output width)

    /// What the name starts with, up to a colon.
    std::string group() const;
};

/// Reads a whole file. Throws Error if anything in it is out of order.
std::vector<Case> read_cases(std::istream& file);

/// Runs a case on an instruction set. Returns (n_rows, output width). Throws Error.
std::vector<float> run_case(const Case& c, const std::string& isa);

}  // namespace plrt::testing
