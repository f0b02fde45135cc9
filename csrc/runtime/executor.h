#pragma once
/// A graph bound to its weights, run step by step.

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "backends/backend.h"
#include "core/aligned_buffer.h"
#include "runtime/kv_cache.h"

namespace plrt {

/// Rows to compute. Rows of one sequence stand together and continue it.
struct Batch {
    std::span<const int32_t> ids;        // (n)
    std::span<const int64_t> sequences;  // (n), numbers from KvCache::create
    std::span<const uint8_t> wanted;     // (n), 1 where the row's logits are wanted
};

class Program {
  public:
    /// Binds every node of the graph; an observing program counts what enters its matrices.
    /// Throws Error(kFormat) if weights do not fit it.
    Program(std::string_view graph_text, const WeightSource& weights, const WeightTypeOf& type_of,
            std::unique_ptr<Backend> backend, Observe observe = Observe::kNothing);

    const Backend& backend() const { return *backend_; }
    /// Pages for keys and values of this graph.
    const KvLayout& kv_layout(KvType type) const { return kv_layouts_[static_cast<size_t>(type)]; }
    int64_t output_width() const { return plan_.values.back().width; }
    int64_t vocab_size() const { return vocab_size_; }
    /// Bytes of scratch memory for steps of at most n_rows rows, of which n_outputs want logits, in
    /// a sequence that grows to n_cells positions.
    int64_t scratch_bytes(int64_t n_rows, int64_t n_outputs, int n_threads, int64_t n_cells) const;

    /// What an observing program has tallies of, and what they have counted in all steps so far; a
    /// step that threw may be counted in part. One of the other for each. The sums of products,
    /// which are large, are left out: they are unpacked for one tally at a time, to out (cols,
    /// 256), if its plan has them.
    const std::vector<TallyPlan>& tally_plans() const { return plan_.tallies; }
    std::vector<Tally> tallies();
    void moments(size_t tally, float* out);

    /// Runs a batch and commits its rows to the cache; `poll` is called between nodes by the
    /// calling thread and cancels the step by returning true. Returns the outputs of the wanted
    /// rows (n_wanted, output_width), valid until `consume` returns. Nothing is committed if
    /// anything throws.
    /// Throws: Error(kConfig) on ids or rows out of range, Error(kContext) on a full cache,
    /// Error(kNumerics) on a non-finite output, Error(kCancelled).
    void step(const Batch& batch, KvCache& cache, int n_threads, const std::function<bool()>& poll,
              const std::function<void(const float*, int64_t n_rows, int64_t stride)>& consume);

  private:
    struct StepState;
    struct Reservations;

    void check_batch(const Batch& batch) const;
    void make_runs(const Batch& batch, KvCache& cache, StepState& state) const;
    int64_t shared_bytes(std::span<const Run> runs, int n_threads) const;
    void place_values(StepState& state, int n_threads);
    void run_nodes(const StepContext& context, int n_threads, const std::function<bool()>& poll);
    void check_outputs(const StepState& state) const;

    Plan plan_;
    std::unique_ptr<Backend> backend_;
    std::vector<std::unique_ptr<Operation>> operations_;
    std::array<KvLayout, kKvTypes> kv_layouts_;  // by KvType
    int64_t vocab_size_ = 0;
    int64_t max_positions_ = std::numeric_limits<int64_t>::max();
    const int fork_generation_;
    std::vector<AlignedBuffer> slots_;
    std::vector<AlignedBuffer> scratch_;
    AlignedBuffer shared_;
    std::vector<Tally> tallies_;
    std::vector<WorkQueue> queues_;  // one a node
    std::mutex mutex_;
};

}  // namespace plrt
