/// Causal attention over cache pages. A page is a tile of 64 positions: each tile gives each query
/// a partial result (largest score, sum of weights, weighted values), and the partial results are
/// merged in ascending order, so that nothing depends on chunks, threads or neighbours.
///
/// Canonical order in a tile: a score is an fma chain over head_dim; weights are summed in 16
/// lanes; a value is an fma chain over positions.
/// Source: arXiv:2205.14135, section 3.1 (online softmax).

namespace plrt::PLRT_ISA {
namespace {

/// Keys of a tile as floats [head_dim][64], values [64][padded]; weights [64]; partial [padded].
struct AttentionTile {
    float* keys;
    float* values;
    float* weights;
    float* partial;
};

/// What a query has seen so far; `sum` of its weights relative to exp(largest).
struct QueryState {
    float* values;  // (padded head_dim)
    float* largest;
    float* sum;
};

inline void read_page(const AttentionArgs& a, const uint8_t* page, const AttentionTile& tile) {
    const int64_t n_keys = a.head_dim * kPageCells;
    const int64_t n_values = padded_head_dim(a.head_dim) * kPageCells;
    if (a.kv_type == KvType::kF32) {
        const auto* k = reinterpret_cast<const float*>(page + a.k_offset);
        const auto* v = reinterpret_cast<const float*>(page + a.v_offset);
        for (int64_t i = 0; i < n_keys; i += 16) store(tile.keys + i, load(k + i));
        for (int64_t i = 0; i < n_values; i += 16) store(tile.values + i, load(v + i));
    } else {
        const auto* k = reinterpret_cast<const uint16_t*>(page + a.k_offset);
        const auto* v = reinterpret_cast<const uint16_t*>(page + a.v_offset);
        for (int64_t i = 0; i < n_keys; i += 16) store(tile.keys + i, load_f16(k + i));
        for (int64_t i = 0; i < n_values; i += 16) store(tile.values + i, load_f16(v + i));
    }
}

/// Scores of one query against the 64 keys of a tile, -infinity from position `n_seen` on.
inline void tile_scores(const AttentionArgs& a, const AttentionTile& tile, const float* q,
                        int64_t n_seen) {
    F32x16 s[4] = {zero(), zero(), zero(), zero()};
    for (int64_t d = 0; d < a.head_dim; ++d) {
        const F32x16 qd = set1(q[d]);
        const float* keys = tile.keys + d * kPageCells;
        for (int i = 0; i < 4; ++i) s[i] = fma(qd, load(keys + 16 * i), s[i]);
    }
    for (int i = 0; i < 4; ++i) store(tile.weights + 16 * i, mul(s[i], set1(a.scale)));
    for (int64_t j = n_seen; j < kPageCells; ++j) tile.weights[j] = -kInfinity;
}

/// Scores to exp(score - largest); returns their sum and sets `largest`.
inline float tile_weights(const AttentionTile& tile, float& largest) {
    F32x16 s[4];
    for (int i = 0; i < 4; ++i) s[i] = load(tile.weights + 16 * i);
    largest = reduce_max(max(max(s[0], s[1]), max(s[2], s[3])));
    const F32x16 shift = set1(largest);
    for (int i = 0; i < 4; ++i) {
        s[i] = exp(sub(s[i], shift));
        store(tile.weights + 16 * i, s[i]);
    }
    return reduce_add(add(add(s[0], s[1]), add(s[2], s[3])));
}

inline void tile_values(const AttentionArgs& a, const AttentionTile& tile, int64_t n_seen) {
    const int64_t padded = padded_head_dim(a.head_dim);
    for (int64_t d = 0; d < padded; d += 16) {
        F32x16 sum = zero();
        for (int64_t j = 0; j < n_seen; ++j) {
            sum = fma(set1(tile.weights[j]), load(tile.values + j * padded + d), sum);
        }
        store(tile.partial + d, sum);
    }
}

inline float exp1(float x) {
    float lanes[16];
    store(lanes, exp(set1(x)));
    return lanes[0];
}

inline void merge_tile(const QueryState& state, const AttentionTile& tile, int64_t padded,
                       float largest, float sum, bool is_first) {
    if (is_first) {
        for (int64_t d = 0; d < padded; d += 16) store(state.values + d, load(tile.partial + d));
        *state.largest = largest;
        *state.sum = sum;
        return;
    }
    const float both = *state.largest > largest ? *state.largest : largest;
    const float old_share = exp1(*state.largest - both);
    const float new_share = exp1(largest - both);
    for (int64_t d = 0; d < padded; d += 16) {
        const F32x16 fresh = mul(set1(new_share), load(tile.partial + d));
        store(state.values + d, fma(set1(old_share), load(state.values + d), fresh));
    }
    *state.sum = *state.sum * old_share + sum * new_share;
    *state.largest = both;
}

void attention(const AttentionArgs& a) {
    const int64_t padded = padded_head_dim(a.head_dim);
    AttentionTile tile;
    tile.keys = a.scratch;
    tile.values = tile.keys + a.head_dim * kPageCells;
    tile.weights = tile.values + padded * kPageCells;
    tile.partial = tile.weights + kPageCells;
    float* states = tile.partial + padded;
    const int64_t stride = padded + 32;
    const int64_t last = a.first_position + a.n_rows - 1;
    for (int64_t t = 0; t <= last / kPageCells; ++t) {
        read_page(a, a.pages[t], tile);
        for (int64_t row = 0; row < a.n_rows; ++row) {
            const int64_t visible = a.first_position + row + 1 - t * kPageCells;
            const int64_t n_seen = visible < kPageCells ? visible : kPageCells;
            if (n_seen <= 0) continue;
            for (int64_t g = 0; g < a.group; ++g) {
                float* base = states + (row * a.group + g) * stride;
                const QueryState state = {base, base + padded, base + padded + 16};
                float largest = 0.0f;
                tile_scores(a, tile, a.q + row * a.q_stride + g * a.head_dim, n_seen);
                const float sum = tile_weights(tile, largest);
                tile_values(a, tile, n_seen);
                merge_tile(state, tile, padded, largest, sum, t == 0);
            }
        }
    }
    for (int64_t row = 0; row < a.n_rows; ++row) {
        for (int64_t g = 0; g < a.group; ++g) {
            const float* base = states + (row * a.group + g) * stride;
            const float inverse = 1.0f / base[padded + 16];
            float* out = a.out + row * a.out_stride + g * a.head_dim;
            for (int64_t d = 0; d < a.head_dim; ++d) out[d] = base[d] * inverse;
        }
    }
}

}  // namespace
}  // namespace plrt::PLRT_ISA
