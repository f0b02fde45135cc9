#include "graph/kv_layout.h"

#include "core/checked.h"

namespace plrt {
namespace {

constexpr int64_t kMaxHeadDim = 1 << 16;

}  // namespace

int64_t KvLayout::k_offset(int64_t layer, int64_t head) const {
    const KvLayer& l = layers[static_cast<size_t>(layer)];
    return l.offset + head * (k_page_bytes(type, l.head_dim) + v_page_bytes(type, l.head_dim));
}

int64_t KvLayout::v_offset(int64_t layer, int64_t head) const {
    return k_offset(layer, head) + k_page_bytes(type, layers[static_cast<size_t>(layer)].head_dim);
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
        const int64_t per_head = k_page_bytes(type, head_dim) + v_page_bytes(type, head_dim);
        const int64_t bytes = checked_mul(heads, per_head);
        layout.page_bytes = checked_add(layout.page_bytes, bytes);
    }
    return layout;
}

}  // namespace plrt
