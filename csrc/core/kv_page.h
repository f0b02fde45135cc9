#pragma once
/// The key/value cache is made of pages. One page holds, for each layer and KV head, the keys
/// [head_dim][kPageCells] and the values [kPageCells][padded head_dim] of kPageCells positions. In
/// Q8_0 both are int8 codes, each followed by half-precision scales [blocks][kPageCells], a block
/// being 32 elements of one position's key or value.

#include <cstdint>

namespace plrt {

/// Element type of the cache.
enum class KvType { kF32, kF16, kQ8_0 };

/// Number of KvTypes.
inline constexpr int kKvTypes = 3;

/// Positions of a page, and of an attention tile.
inline constexpr int64_t kPageCells = 64;

/// Elements of a key or value that share a scale in Q8_0.
inline constexpr int64_t kKvBlock = 32;

/// head_dim rounded up to whole vectors of 16; the padding stays zero.
static inline int64_t padded_head_dim(int64_t head_dim) {
    return (head_dim + 15) / 16 * 16;
}

/// Q8_0 blocks of a key or value; the last may be short.
static inline int64_t kv_blocks(int64_t head_dim) {
    return (head_dim + kKvBlock - 1) / kKvBlock;
}

static inline int64_t kv_element_bytes(KvType type) {
    return type == KvType::kF32 ? 4 : type == KvType::kF16 ? 2 : 1;
}

/// Bytes of the scales behind the codes of a head's keys, or of its values, in a page.
static inline int64_t kv_scale_bytes(KvType type, int64_t head_dim) {
    return type == KvType::kQ8_0 ? kv_blocks(head_dim) * kPageCells * 2 : 0;
}

/// Bytes of a head's keys in a page, scales included.
static inline int64_t k_page_bytes(KvType type, int64_t head_dim) {
    return head_dim * kPageCells * kv_element_bytes(type) + kv_scale_bytes(type, head_dim);
}

/// Bytes of a head's values in a page, scales included.
static inline int64_t v_page_bytes(KvType type, int64_t head_dim) {
    return padded_head_dim(head_dim) * kPageCells * kv_element_bytes(type) +
           kv_scale_bytes(type, head_dim);
}

}  // namespace plrt
