#include <algorithm>
#include <cstring>

#include "backends/cpu/cpu_backend.h"
#include "core/errors.h"

namespace plrt::cpu {
namespace {

/// Rows that one call of the attention kernel takes on together.
constexpr int64_t kRowTile = 16;

/// Writes the new keys and values into the cache, then attends. Work items are (run, tile of
/// rows, KV head); how they are shared among threads does not change any result.
class Attention : public Operation {
  public:
    explicit Attention(const BindContext& c)
        : kernels_(c.kernels),
          q_(input_view(c, 0)),
          k_(input_view(c, 1)),
          v_(input_view(c, 2)),
          out_(output_view(c)) {
        const Node& node = c.node();
        layer_ = node.integer("layer");
        n_kv_heads_ = node.integer("n_kv_heads");
        head_dim_ = node.integer("head_dim");
        scale_ = static_cast<float>(node.real("scale"));
        const int64_t n_heads = node.integer("n_heads");
        require(n_kv_heads_ > 0 && head_dim_ > 0 && n_heads > 0 && n_heads % n_kv_heads_ == 0 &&
                    q_.width / n_heads == head_dim_ && q_.width % n_heads == 0 &&
                    out_.width == q_.width && k_.width == v_.width &&
                    k_.width / n_kv_heads_ == head_dim_ && k_.width % n_kv_heads_ == 0,
                ErrorKind::kFormat, "attention: heads and widths do not fit together");
        group_ = n_heads / n_kv_heads_;
    }

    int64_t scratch_bytes(int64_t /*n_rows*/) const override {
        return attention_scratch_floats(kRowTile * group_, head_dim_) *
               static_cast<int64_t>(sizeof(float));
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
        int64_t item = 0;
        for (const Run& run : step.runs) {
            for (int64_t row = 0; row < run.n_rows; row += kRowTile) {
                for (int64_t head = 0; head < n_kv_heads_; ++head, ++item) {
                    if (item % team.size() == thread) attend(step, run, row, head, thread);
                }
            }
        }
    }

  private:
    void store_row(const StepContext& step, const Run& run, int64_t i, int thread) const {
        const int64_t position = run.first_position + i;
        uint8_t* page = run.pages[position / kPageCells];
        const int64_t cell = position % kPageCells;
        const float* k = k_.floats(step, run.first_row + i);
        const float* v = v_.floats(step, run.first_row + i);
        for (int64_t h = 0; h < n_kv_heads_; ++h) {
            uint8_t* keys = page + step.kv->k_offset(layer_, h);
            uint8_t* values = page + step.kv->v_offset(layer_, h);
            store_head(step.kv->type, k + h * head_dim_, v + h * head_dim_, keys, values, cell,
                       step.scratch[thread]);
        }
    }

    /// Keys go down a column of [head_dim][kPageCells], values along a row.
    void store_head(KvType type, const float* k, const float* v, uint8_t* keys, uint8_t* values,
                    int64_t cell, uint8_t* scratch) const {
        const int64_t padded = padded_head_dim(head_dim_);
        if (type == KvType::kF32) {
            auto* column = reinterpret_cast<float*>(keys) + cell;
            for (int64_t d = 0; d < head_dim_; ++d) column[d * kPageCells] = k[d];
            std::memcpy(reinterpret_cast<float*>(values) + cell * padded, v,
                        static_cast<size_t>(head_dim_) * sizeof(float));
        } else {
            auto* column = reinterpret_cast<uint16_t*>(keys) + cell;
            auto* halves = reinterpret_cast<uint16_t*>(scratch);
            kernels_.to_f16(k, head_dim_, halves);
            for (int64_t d = 0; d < head_dim_; ++d) column[d * kPageCells] = halves[d];
            kernels_.to_f16(v, head_dim_, reinterpret_cast<uint16_t*>(values) + cell * padded);
        }
    }

    void attend(const StepContext& step, const Run& run, int64_t row, int64_t head,
                int thread) const {
        AttentionArgs args{};
        const int64_t first = run.first_row + row;
        const int64_t offset = head * group_ * head_dim_;
        args.q = q_.floats(step, first) + offset;
        args.q_stride = q_.bytes_per_row / static_cast<int64_t>(sizeof(float));
        args.out = out_.floats(step, first) + offset;
        args.out_stride = out_.bytes_per_row / static_cast<int64_t>(sizeof(float));
        args.n_rows = std::min(kRowTile, run.n_rows - row);
        args.first_position = run.first_position + row;
        args.group = group_;
        args.head_dim = head_dim_;
        args.pages = run.pages;
        args.k_offset = step.kv->k_offset(layer_, head);
        args.v_offset = step.kv->v_offset(layer_, head);
        args.kv_type = step.kv->type;
        args.scale = scale_;
        args.scratch = reinterpret_cast<float*>(step.scratch[thread]);
        kernels_.attention(args);
    }

    const KernelTable& kernels_;
    RowView q_;
    RowView k_;
    RowView v_;
    RowView out_;
    int64_t layer_;
    int64_t n_kv_heads_;
    int64_t head_dim_;
    int64_t group_;
    float scale_;
};

}  // namespace

std::unique_ptr<Operation> bind_attention(const BindContext& c) {
    return std::make_unique<Attention>(c);
}

}  // namespace plrt::cpu
