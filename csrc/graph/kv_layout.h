#pragma once
/// Where the keys and values of each layer lie in a cache page.

#include <cstdint>
#include <vector>

#include "core/kv_page.h"
#include "graph/plan.h"

namespace plrt {

struct KvLayer {
    int64_t n_kv_heads;
    int64_t head_dim;
    int64_t offset;  // bytes into a page

    bool operator==(const KvLayer&) const = default;
};

struct KvLayout {
    KvType type;
    std::vector<KvLayer> layers;
    int64_t page_bytes;

    bool operator==(const KvLayout&) const = default;

    /// Bytes into a page of a head's keys (core/kv_page.h).
    int64_t k_offset(int64_t layer, int64_t head) const;
    /// Bytes into a page of a head's values.
    int64_t v_offset(int64_t layer, int64_t head) const;
};

/// The layout that a plan's attention nodes ask for.
KvLayout make_kv_layout(const Plan& plan, KvType type);

}  // namespace plrt
