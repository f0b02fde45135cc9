#include "runtime/executor.h"

#include <algorithm>
#include <cmath>

#include "core/checked.h"
#include "core/fork.h"
#include "core/moment_tiles.h"

namespace plrt {

/// What one step allocates and hands to the operations.
struct Program::StepState {
    std::vector<int32_t> positions;
    std::vector<int32_t> output_rows;
    std::vector<Run> runs;
    std::vector<int64_t> run_sequences;
    std::vector<uint8_t*> values;
    std::vector<uint8_t*> scratch;
    int64_t n_rows = 0;

    int64_t rows(Rows kind) const {
        return kind == Rows::kStep ? n_rows : static_cast<int64_t>(output_rows.size());
    }
};

/// Gives back at the end of a step, however it ends, the pages that hold nothing committed: a step
/// that failed must not keep them from other sequences.
struct Program::Reservations {
    KvCache& cache;
    const std::vector<int64_t>& sequences;

    ~Reservations() {
        for (const int64_t sequence : sequences) cache.drop_reserved(sequence);
    }
};

Program::Program(std::string_view graph_text, const WeightSource& weights,
                 const WeightTypeOf& type_of, std::unique_ptr<Backend> backend, Observe observe)
    : plan_(make_plan(parse_graph(graph_text), type_of, observe)),
      backend_(std::move(backend)),
      kv_layouts_{make_kv_layout(plan_, KvType::kF32), make_kv_layout(plan_, KvType::kF16),
                  make_kv_layout(plan_, KvType::kQ8_0)},
      fork_generation_(fork_generation()) {
    for (size_t i = 0; i < plan_.nodes.size(); ++i) {
        const Node& node = plan_.nodes[i];
        require(backend_->supports(node), ErrorKind::kUnsupported, "op ", op_name(node.op),
                " is not supported by backend ", backend_->name());
        operations_.push_back(backend_->bind(plan_, static_cast<int>(i), weights));
        max_positions_ = std::min(max_positions_, operations_.back()->max_positions());
        if (node.op == Op::embed) {
            const int64_t rows = weights.get(node.weights[0], 0, node.width).rows;
            // With several embeddings an id has to be in all of them.
            vocab_size_ = vocab_size_ == 0 ? rows : std::min(vocab_size_, rows);
        }
    }
    require(plan_.values.back().rows == Rows::kOutput, ErrorKind::kFormat,
            "graph: expected output_rows before the last node");
    slots_.resize(plan_.slots.size());
    queues_ = std::vector<WorkQueue>(plan_.nodes.size());
    for (const TallyPlan& tally : plan_.tallies) {  // as large as weights that are there by now
        const auto n_mats = static_cast<size_t>(tally.n_mats);
        const int64_t n_moments = tally.has_moments ? moment_tiles(tally.cols) * kMomentTile : 0;
        tallies_.push_back({std::vector<double>(n_mats * static_cast<size_t>(tally.cols)),
                            std::vector<int64_t>(n_mats),
                            std::vector<float>(static_cast<size_t>(n_moments))});
    }
}

std::vector<Tally> Program::tallies() {
    const std::lock_guard<std::mutex> no_step(mutex_);
    std::vector<Tally> found;
    for (const Tally& tally : tallies_) found.push_back({tally.sums, tally.counts, {}});
    return found;
}

void Program::moments(size_t tally, float* out) {
    const std::lock_guard<std::mutex> no_step(mutex_);
    unpack_moments(tallies_[tally].moments.data(), plan_.tallies[tally].cols, out);
}

int64_t Program::shared_bytes(std::span<const Run> runs, int n_threads) const {
    int64_t largest = 0;
    for (const auto& operation : operations_) {
        largest = std::max(largest, operation->shared_bytes(runs, n_threads));
    }
    return largest;
}

int64_t Program::scratch_bytes(int64_t n_rows, int64_t n_outputs, int n_threads,
                               int64_t n_cells) const {
    int64_t total = 0;
    for (const Slot& slot : plan_.slots) {
        const int64_t rows = slot.rows == Rows::kStep ? n_rows : n_outputs;
        total = checked_add(total, checked_mul(slot.bytes_per_row, rows));
    }
    int64_t largest = 0;
    for (const auto& operation : operations_) {
        largest = std::max(largest, operation->scratch_bytes(n_rows));
    }
    total = checked_add(total, checked_mul(largest, n_threads));
    int64_t shared = 0;
    for (const auto& operation : operations_) {
        shared = std::max(shared, operation->max_shared_bytes(n_cells, n_threads));
    }
    return checked_add(total, shared);
}

void Program::check_batch(const Batch& batch) const {
    const size_t n = batch.ids.size();
    require(n > 0 && batch.sequences.size() == n && batch.wanted.size() == n, ErrorKind::kShape,
            "step: expected ids, sequences and wanted of one equal length above 0, found ", n, ", ",
            batch.sequences.size(), ", ", batch.wanted.size());
    for (const int32_t id : batch.ids) {
        require(id >= 0 && id < vocab_size_, ErrorKind::kConfig,
                "step: expected token ids from 0 to ", vocab_size_ - 1, ", found ", id);
    }
}

void Program::make_runs(const Batch& batch, KvCache& cache, StepState& state) const {
    const size_t n = batch.ids.size();
    state.n_rows = static_cast<int64_t>(n);
    state.positions.resize(n);
    for (size_t begin = 0, end = 0; begin < n; begin = end) {
        const int64_t sequence = batch.sequences[begin];
        while (end < n && batch.sequences[end] == sequence) ++end;
        const auto& known = state.run_sequences;
        require(std::find(known.begin(), known.end(), sequence) == known.end(), ErrorKind::kConfig,
                "step: the rows of sequence ", sequence, " do not stand together");
        const int64_t first = cache.length_locked(sequence);
        const auto n_rows = static_cast<int64_t>(end - begin);
        require(n_rows <= max_positions_ - first, ErrorKind::kContext, "step: the model has ",
                max_positions_, " positions, which ", first, " and ", n_rows,
                " more tokens exceed; shorten the text");
        state.run_sequences.push_back(sequence);
        state.runs.push_back({static_cast<int64_t>(begin), n_rows, first,
                              cache.rope_alpha_locked(sequence), cache.reserve(sequence, n_rows)});
        for (size_t i = begin; i < end; ++i) {
            state.positions[i] = static_cast<int32_t>(first + static_cast<int64_t>(i - begin));
        }
    }
    for (size_t i = 0; i < n; ++i) {
        if (batch.wanted[i] != 0) state.output_rows.push_back(static_cast<int32_t>(i));
    }
}

void Program::place_values(StepState& state, int n_threads) {
    for (size_t s = 0; s < slots_.size(); ++s) {
        const Slot& slot = plan_.slots[s];
        slots_[s].grow(
            checked_mul(slot.bytes_per_row, std::max<int64_t>(state.rows(slot.rows), 1)));
    }
    for (const Value& value : plan_.values) {
        state.values.push_back(slots_[static_cast<size_t>(value.slot)].data());
    }
    int64_t largest = 1;
    for (const auto& operation : operations_) {
        largest = std::max(largest, operation->scratch_bytes(state.n_rows));
    }
    if (scratch_.size() < static_cast<size_t>(n_threads)) {
        scratch_.resize(static_cast<size_t>(n_threads));
    }
    for (int t = 0; t < n_threads; ++t) {
        AlignedBuffer& buffer = scratch_[static_cast<size_t>(t)];
        buffer.grow(largest);
        state.scratch.push_back(buffer.data());
    }
    shared_.grow(std::max<int64_t>(shared_bytes(state.runs, n_threads), 1));
}

void Program::run_nodes(const StepContext& context, int n_threads,
                        const std::function<bool()>& poll) {
    std::atomic<bool> cancelled{false};
    run_parallel(n_threads, [&](Team& team, int thread) {
        for (size_t i = 0; i < operations_.size(); ++i) {
            if (i > 0 && plan_.stages[i] != plan_.stages[i - 1]) {
                if (thread == 0 && poll && poll()) cancelled = true;
                team.barrier();
                if (cancelled) return;
            }
            operations_[i]->run(context, team, thread);
        }
    });
    require(!cancelled, ErrorKind::kCancelled, "step: cancelled; nothing of it was kept");
}

void Program::check_outputs(const StepState& state) const {
    const int64_t width = output_width();
    for (size_t i = 0; i < state.output_rows.size(); ++i) {
        const auto* row = reinterpret_cast<const float*>(
            state.values.back() + static_cast<int64_t>(i) * plan_.values.back().bytes_per_row);
        float poison = 0.0f;
        for (int64_t e = 0; e < width; ++e) poison += row[e] * 0.0f;
        require(poison == 0.0f, ErrorKind::kNumerics, "logits: position ",
                state.positions[static_cast<size_t>(state.output_rows[i])],
                " holds a NaN or an infinity; the file's weights are damaged "
                "(see: pyllama-rt inspect --verify)");
    }
}

void Program::step(const Batch& batch, KvCache& cache, int n_threads,
                   const std::function<bool()>& poll,
                   const std::function<void(const float*, int64_t, int64_t)>& consume) {
    require(n_threads > 0 && n_threads <= kMaxThreads, ErrorKind::kConfig, "step: expected 1 to ",
            kMaxThreads, " threads, found ", n_threads);
    check_not_forked(fork_generation_, "program");
    const std::lock_guard<std::mutex> one_step(mutex_);
    const auto cache_guard = cache.lock();
    require(cache.layout() == kv_layout(cache.layout().type), ErrorKind::kConfig,
            "step: the cache was made for another model");
    check_batch(batch);
    StepState state;
    const Reservations reservations{cache, state.run_sequences};
    make_runs(batch, cache, state);
    place_values(state, n_threads);
    StepContext context{};
    context.n_rows = state.n_rows;
    context.n_outputs = static_cast<int64_t>(state.output_rows.size());
    context.ids = batch.ids.data();
    context.positions = state.positions.data();
    context.output_rows = state.output_rows.data();
    context.runs = state.runs;
    context.kv = &cache.layout();
    context.values = state.values.data();
    context.scratch = state.scratch.data();
    context.shared = shared_.data();
    context.tallies = tallies_.data();
    for (WorkQueue& queue : queues_) queue.restart();
    context.queues = queues_.data();
    run_nodes(context, n_threads, poll);
    check_outputs(state);
    for (size_t i = 0; i < state.runs.size(); ++i) {
        cache.commit(state.run_sequences[i], state.runs[i].n_rows);
    }
    consume(reinterpret_cast<const float*>(state.values.back()), context.n_outputs,
            plan_.values.back().bytes_per_row / static_cast<int64_t>(sizeof(float)));
}

}  // namespace plrt
