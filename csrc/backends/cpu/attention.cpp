#include <algorithm>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/kv_writer.h"
#include "core/errors.h"

namespace plrt::cpu {
namespace {

/// Queries that one call of the attention kernel takes on together: enough for the conversion of
/// a page to cost little, few enough for their scores and values to stay in the L2 cache.
constexpr int64_t kQueryTile = 128;

/// Tiles that sharing out tiles must save a thread to pay for its barrier and merge.
constexpr int64_t kWorthSplitting = 4;

/// Positions beyond which a window hides nothing that a cache could hold.
constexpr int64_t kMaxWindow = int64_t{1} << 32;

/// The most memory that sharing out tiles may take.
constexpr int64_t kMaxPartialBytes = int64_t{64} << 20;

/// What one call of the kernel works on: some rows of a run, and one KV head.
struct Item {
    const Run& run;
    int64_t row;  // of the run
    int64_t n_rows;
    int64_t head;
    TileRange tiles;

    int64_t n_tiles() const { return tiles.end - tiles.begin; }
};

/// Writes the new keys and values into the cache, then attends. Items, or where these are few the
/// tiles of items, are shared out among threads; how does not change any result.
class Attention : public Operation {
  public:
    explicit Attention(const BindContext& c)
        : kernels_(c.kernels),
          node_(c.index),
          q_(input_view(c, 0)),
          k_(input_view(c, 1)),
          v_(input_view(c, 2)),
          out_(output_view(c)),
          layer_(c.node().integer("layer")),
          n_kv_heads_(c.node().integer("n_kv_heads")),
          head_dim_(c.node().integer("head_dim")),
          scale_(static_cast<float>(c.node().real("scale"))),
          window_(c.node().integer("window")),
          softcap_(static_cast<float>(c.node().real("softcap"))),
          is_causal_(c.node().integer("causal") != 0),
          writer_(c.kernels, head_dim_) {
        const int64_t n_heads = c.node().integer("n_heads");
        require(n_kv_heads_ > 0 && head_dim_ > 0 && n_heads > 0 && n_heads % n_kv_heads_ == 0 &&
                    q_.width / n_heads == head_dim_ && q_.width % n_heads == 0 &&
                    out_.width == q_.width && k_.width == v_.width &&
                    k_.width / n_kv_heads_ == head_dim_ && k_.width % n_kv_heads_ == 0,
                ErrorKind::kFormat, "attention: heads and widths do not fit together");
        require(
            window_ >= 0 && window_ <= kMaxWindow && softcap_ >= 0 && (is_causal_ || window_ == 0),
            ErrorKind::kFormat,
            "attention: expected a window and a softcap of at least 0, windows only if causal");
        group_ = n_heads / n_kv_heads_;
        row_tile_ = std::max<int64_t>(kQueryTile / group_, 1);
    }

    int64_t scratch_bytes(int64_t /*n_rows*/) const override {
        return std::max(writer_.scratch_bytes(),
                        attention_scratch_floats(row_tile_ * group_, head_dim_) *
                            static_cast<int64_t>(sizeof(float)));
    }

    int64_t shared_bytes(std::span<const Run> runs, int n_threads) const override {
        int64_t n_items = 0;
        int64_t n_tiles = 0;
        int64_t longest = 0;
        int64_t n_floats = 0;
        for_items(runs, [&](const Item& item) {
            ++n_items;
            n_tiles += item.n_tiles();
            longest = std::max(longest, item.n_tiles());
            n_floats += item.n_tiles() * partial_floats(item);
        });
        if (n_threads == 1 || n_items >= 2 * n_threads) return 0;
        const int64_t unsplit = n_items > n_threads ? 2 * longest : longest;
        if (unsplit - n_tiles / n_threads < kWorthSplitting) return 0;
        const int64_t n_bytes = n_floats * static_cast<int64_t>(sizeof(float));
        return n_bytes <= kMaxPartialBytes ? n_bytes : 0;
    }

    int64_t max_shared_bytes(int64_t n_cells, int n_threads) const override {
        const int64_t n_tiles = (n_cells + kPageCells - 1) / kPageCells;
        if (n_threads == 1 || n_tiles < kWorthSplitting) return 0;
        const int64_t per_tile = attention_partial_floats(row_tile_ * group_, head_dim_);
        const int64_t n_floats = 2 * n_threads * n_tiles * per_tile;
        return std::min(kMaxPartialBytes, n_floats * static_cast<int64_t>(sizeof(float)));
    }

    void run(const StepContext& step, Team& team, int thread) const override {
        const Range part = split_range(step.n_rows, thread, team.size());
        for (const Run& run : step.runs) {
            const int64_t begin = std::max(part.begin, run.first_row);
            const int64_t end = std::min(part.end, run.first_row + run.n_rows);
            for (int64_t row = begin; row < end; ++row) {
                store_row(step, run, row - run.first_row, thread);
            }
        }
        team.barrier();
        if (shared_bytes(step.runs, team.size()) > 0) {
            share_tiles(step, team, thread);
            team.barrier();
            merge_tiles(step, team, thread);
        } else {
            share_items(step, thread);
        }
    }

  private:
    template <typename F>
    void for_items(std::span<const Run> runs, F f) const {
        for (const Run& run : runs) {
            for (int64_t row = 0; row < run.n_rows; row += row_tile_) {
                const int64_t n_rows = std::min(row_tile_, run.n_rows - row);
                const TileRange tiles =
                    attention_tiles(run.first_position + row, n_rows, n_seen(run), window_);
                for (int64_t head = 0; head < n_kv_heads_; ++head) {
                    f(Item{run, row, n_rows, head, tiles});
                }
            }
        }
    }

    /// Positions that all rows of a run see; 0: those up to their own.
    int64_t n_seen(const Run& run) const {
        return is_causal_ ? 0 : run.first_position + run.n_rows;
    }

    void store_row(const StepContext& step, const Run& run, int64_t i, int thread) const {
        const int64_t position = run.first_position + i;
        uint8_t* page = run.pages[position / kPageCells];
        const float* k = k_.floats(step, run.first_row + i);
        const float* v = v_.floats(step, run.first_row + i);
        for (int64_t h = 0; h < n_kv_heads_; ++h) {
            writer_.write(step.kv->type, k + h * head_dim_, v + h * head_dim_,
                          page + step.kv->k_offset(layer_, h), page + step.kv->v_offset(layer_, h),
                          position % kPageCells, step.scratch[thread]);
        }
    }

    void share_items(const StepContext& step, int thread) const {
        int64_t n_items = 0;
        for_items(step.runs, [&](const Item&) { ++n_items; });
        WorkQueue& queue = step.queues[node_];
        int64_t mine = queue.take(n_items);
        int64_t number = 0;
        for_items(step.runs, [&](const Item& item) {
            if (number++ != mine) return;
            kernels_.attention(arguments(step, item, thread));
            mine = queue.take(n_items);
        });
    }

    void share_tiles(const StepContext& step, const Team& team, int thread) const {
        int64_t total = 0;
        for_items(step.runs, [&](const Item& item) { total += item.n_tiles(); });
        WorkQueue& queue = step.queues[node_];
        for (Range part = queue.take_run(total, team.size(), 1); part.begin < part.end;
             part = queue.take_run(total, team.size(), 1)) {
            compute_tiles(step, part, thread);
        }
    }

    /// Tiles part.begin … part.end - 1, counted over all items.
    void compute_tiles(const StepContext& step, Range part, int thread) const {
        auto* partials = reinterpret_cast<float*>(step.shared);
        int64_t first = 0;
        for_items(step.runs, [&](const Item& item) {
            const int64_t begin = std::max(part.begin - first, int64_t{0});
            const int64_t end = std::min(part.end - first, item.n_tiles());
            if (begin < end) {
                kernels_.attention_partials(arguments(step, item, thread), item.tiles.begin + begin,
                                            item.tiles.begin + end, partials);
            }
            first += item.n_tiles();
            partials += item.n_tiles() * partial_floats(item);
        });
    }

    void merge_tiles(const StepContext& step, const Team& team, int thread) const {
        const Range part = split_range(step.n_rows * n_kv_heads_ * group_, thread, team.size());
        const auto* partials = reinterpret_cast<const float*>(step.shared);
        int64_t first = 0;
        for_items(step.runs, [&](const Item& item) {
            const int64_t n_queries = item.n_rows * group_;
            const int64_t begin = std::max(part.begin - first, int64_t{0});
            const int64_t end = std::min(part.end - first, n_queries);
            if (begin < end) {
                kernels_.attention_merge(arguments(step, item, thread), begin, end, partials);
            }
            first += n_queries;
            partials += item.n_tiles() * partial_floats(item);
        });
    }

    int64_t partial_floats(const Item& item) const {
        return attention_partial_floats(item.n_rows * group_, head_dim_);
    }

    AttentionArgs arguments(const StepContext& step, const Item& item, int thread) const {
        AttentionArgs args{};
        const int64_t first = item.run.first_row + item.row;
        const int64_t offset = item.head * group_ * head_dim_;
        args.q = q_.floats(step, first) + offset;
        args.q_stride = q_.bytes_per_row / static_cast<int64_t>(sizeof(float));
        args.out = out_.floats(step, first) + offset;
        args.out_stride = out_.bytes_per_row / static_cast<int64_t>(sizeof(float));
        args.n_rows = item.n_rows;
        args.first_position = item.run.first_position + item.row;
        args.n_seen = n_seen(item.run);
        args.window = window_;
        args.group = group_;
        args.head_dim = head_dim_;
        args.pages = item.run.pages;
        args.k_offset = step.kv->k_offset(layer_, item.head);
        args.v_offset = step.kv->v_offset(layer_, item.head);
        args.kv_type = step.kv->type;
        args.scale = scale_;
        args.softcap = softcap_;
        args.scratch = reinterpret_cast<float*>(step.scratch[thread]);
        return args;
    }

    const KernelTable& kernels_;
    int node_;
    RowView q_;
    RowView k_;
    RowView v_;
    RowView out_;
    int64_t layer_;
    int64_t n_kv_heads_;
    int64_t head_dim_;
    float scale_;
    int64_t window_;
    float softcap_;
    bool is_causal_;
    KvWriter writer_;
    int64_t group_;
    int64_t row_tile_;
};

}  // namespace

std::unique_ptr<Operation> bind_attention(const BindContext& c) {
    return std::make_unique<Attention>(c);
}

}  // namespace plrt::cpu
