#include "graph/kv_layout.h"

#include "core/checked.h"

namespace plrt {
namespace {

constexpr int64_t kMaxHeadDim = 1 << 16;

}  // namespace

int64_t KvLayout::k_offset(int64_t layer, int64_t head) const {
    const KvLayer& l = layers[static_cast<size_t>(layer)];
    const int64_t per_head = (l.head_dim + padded_head_dim(l.head_dim)) * kPageCells;
    return l.offset + head * per_head * kv_element_bytes(type);
}

int64_t KvLayout::v_offset(int64_t layer, int64_t head) const {
    const KvLayer& l = layers[static_cast<size_t>(layer)];
    return k_offset(layer, head) + l.head_dim * kPageCells * kv_element_bytes(type);
}

KvLayout make_kv_layout(const Plan& plan, KvType type) {
    KvLayout layout{type, {}, 0};
    for (const Node& node : plan.nodes) {
        if (node.op != Op::attention) continue;
        const int64_t heads = node.integer("n_kv_heads");
        const int64_t head_dim = node.integer("head_dim");
        require(heads > 0 && head_dim > 0 && head_dim <= kMaxHeadDim, ErrorKind::kFormat,
                "attention: expected 1 to ", kMaxHeadDim, " elements a head, found ", heads,
                " heads of ", head_dim);
        layout.layers.push_back({heads, head_dim, layout.page_bytes});
        const int64_t cells = checked_mul(heads, head_dim + padded_head_dim(head_dim));
        const int64_t bytes = checked_mul(cells, kPageCells * kv_element_bytes(type));
        layout.page_bytes = checked_add(layout.page_bytes, bytes);
    }
    return layout;
}

}  // namespace plrt
