#pragma once
/// The key/value cache is made of pages. One page holds, for each layer and KV head, the keys
/// [head_dim][kPageCells] and the values [kPageCells][padded head_dim] of kPageCells positions.

#include <cstdint>

namespace plrt {

/// Element type of the cache.
enum class KvType { kF32, kF16 };

/// Positions of a page, and of an attention tile.
inline constexpr int64_t kPageCells = 64;

/// head_dim rounded up to whole vectors of 16; the padding stays zero.
static inline int64_t padded_head_dim(int64_t head_dim) { return (head_dim + 15) / 16 * 16; }

static inline int64_t kv_element_bytes(KvType type) { return type == KvType::kF32 ? 4 : 2; }

}  // namespace plrt
