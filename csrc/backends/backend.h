#pragma once
/// What the executor asks of a backend: bind a node to its weights once, then run it each step.

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/tensor_type.h"
#include "core/thread_pool.h"
#include "core/work_queue.h"
#include "graph/kv_layout.h"
#include "graph/plan.h"

namespace plrt {

/// A weight as it lies in memory: rows of `cols` elements; one row for a vector.
struct Weight {
    TensorType type;
    int64_t rows;
    int64_t cols;
    const uint8_t* data;
};

/// Finds weights by name.
class WeightSource {
  public:
    virtual ~WeightSource() = default;
    /// Throws Error(kFormat) if the weight is absent or has another shape; rows 0 fits any.
    virtual Weight get(const std::string& name, int64_t rows, int64_t cols) const = 0;
};

/// What an observing program has counted of the rows that enter some matrices.
struct Tally {
    std::vector<double> sums;     // (n_mats, cols): of squares
    std::vector<int64_t> counts;  // (n_mats): rows
    std::vector<float> moments;   // of products, as core/moment_tiles.h lays them out; or empty
};

/// Rows of a step that belong to one sequence and stand together.
struct Run {
    int64_t first_row;
    int64_t n_rows;
    int64_t first_position;
    double rope_alpha;      // the rotary base of the sequence is times alpha^(dims / (dims - 2))
    uint8_t* const* pages;  // of the sequence, room for the new rows included
};

/// A step in progress, as an operation sees it.
struct StepContext {
    int64_t n_rows;
    int64_t n_outputs;
    const int32_t* ids;          // (n_rows)
    const int32_t* positions;    // (n_rows)
    const int32_t* output_rows;  // (n_outputs), ascending
    std::span<const Run> runs;
    const KvLayout* kv;
    uint8_t* const* values;   // per value of the plan: rows of bytes_per_row
    uint8_t* const* scratch;  // per thread: the largest scratch_bytes of all operations
    uint8_t* shared;          // of all threads: the largest shared_bytes of all operations
    Tally* tallies;           // of the plan's, added to as the step goes
    WorkQueue* queues;        // one a node of the plan, at their beginnings

    int64_t rows(Rows kind) const { return kind == Rows::kStep ? n_rows : n_outputs; }
};

/// A node bound to its weights.
class Operation {
  public:
    virtual ~Operation() = default;
    /// Positions that a sequence may have; what a table of positions holds.
    virtual int64_t max_positions() const { return std::numeric_limits<int64_t>::max(); }
    /// Scratch bytes that each thread needs for a step of n_rows rows.
    virtual int64_t scratch_bytes(int64_t /*n_rows*/) const { return 0; }
    /// Bytes that a team of n_threads needs in common for a step of these runs.
    virtual int64_t shared_bytes(std::span<const Run> /*runs*/, int /*n_threads*/) const {
        return 0;
    }
    /// At least as much as shared_bytes asks for, whatever the step, in a cache of n_cells.
    virtual int64_t max_shared_bytes(int64_t /*n_cells*/, int /*n_threads*/) const { return 0; }
    /// The part of thread `thread` of the team. May use the team's barrier. Throws nothing.
    virtual void run(const StepContext& step, Team& team, int thread) const = 0;
};

class Backend {
  public:
    virtual ~Backend() = default;
    virtual std::string name() const = 0;
    virtual bool supports(const Node& node) const = 0;
    /// Throws Error(kFormat) if weights or attributes do not fit the node.
    virtual std::unique_ptr<Operation> bind(const Plan& plan, int index,
                                            const WeightSource& weights) const = 0;
};

}  // namespace plrt
