/// The parts of attention within one tile of 64 positions, for several queries at a time: each
/// vector of keys or values that is loaded serves them all.
///
/// Canonical order: a score is an fma chain over head_dim; weights are summed in 16 lanes; a value
/// is an fma chain over positions. Which queries share a load does not change it.

namespace plrt::PLRT_ISA {
namespace {

constexpr int64_t kTileVectors = kPageCells / 16;

/// Codes [rows][64] times the scales [rows / 32][64] of their positions.
inline void read_q8_keys(const uint8_t* from, int64_t head_dim, float* to) {
    const auto* codes = reinterpret_cast<const int8_t*>(from);
    const auto* scales = reinterpret_cast<const uint16_t*>(from + head_dim * kPageCells);
    for (int64_t d = 0; d < head_dim; ++d) {
        const uint16_t* of_block = scales + d / kKvBlock * kPageCells;
        for (int64_t i = 0; i < kPageCells; i += 16) {
            const int64_t at = d * kPageCells + i;
            store(to + at, mul(load_i8(codes + at), load_f16(of_block + i)));
        }
    }
}

/// Codes [64][padded] times the scales [blocks][64] of their positions.
inline void read_q8_values(const uint8_t* from, int64_t padded, float* to) {
    const auto* codes = reinterpret_cast<const int8_t*>(from);
    const auto* scales = reinterpret_cast<const uint16_t*>(from + padded * kPageCells);
    for (int64_t block = 0; block * kKvBlock < padded; ++block) {
        float of_block[kPageCells];
        for (int64_t i = 0; i < kPageCells; i += 16) {
            store(of_block + i, load_f16(scales + block * kPageCells + i));
        }
        const int64_t begin = block * kKvBlock;
        const int64_t end = begin + kKvBlock < padded ? begin + kKvBlock : padded;
        for (int64_t j = 0; j < kPageCells; ++j) {
            const F32x16 scale = set1(of_block[j]);
            for (int64_t at = j * padded + begin; at < j * padded + end; at += 16) {
                store(to + at, mul(load_i8(codes + at), scale));
            }
        }
    }
}

inline const float* read_halves(const uint8_t* from, int64_t n, float* to) {
    const auto* halves = reinterpret_cast<const uint16_t*>(from);
    for (int64_t i = 0; i < n; i += 16) store(to + i, load_f16(halves + i));
    return to;
}

/// A page's keys as floats [head_dim][64]: in place, or converted into `buffer`.
inline const float* read_keys(const AttentionArgs& a, const uint8_t* page, float* buffer) {
    const uint8_t* from = page + a.k_offset;
    if (a.kv_type == KvType::kF32) return reinterpret_cast<const float*>(from);
    if (a.kv_type == KvType::kF16) return read_halves(from, a.head_dim * kPageCells, buffer);
    read_q8_keys(from, a.head_dim, buffer);
    return buffer;
}

/// A page's values as floats [64][padded head_dim], likewise.
inline const float* read_values(const AttentionArgs& a, const uint8_t* page, float* buffer) {
    const int64_t padded = padded_head_dim(a.head_dim);
    const uint8_t* from = page + a.v_offset;
    if (a.kv_type == KvType::kF32) return reinterpret_cast<const float*>(from);
    if (a.kv_type == KvType::kF16) return read_halves(from, padded * kPageCells, buffer);
    read_q8_values(from, padded, buffer);
    return buffer;
}

/// Bytes that are going to be read next. The loops over a tile ask for a line of them in each turn,
/// so that memory works while they compute.
class Upcoming {
  public:
    /// Args: n_turns: turns of all the loops that are going to share the bytes.
    Upcoming(const uint8_t* begin, int64_t n_bytes, int64_t n_turns)
        : at_(begin), end_(begin + n_bytes) {
        while (stride_ * n_turns < n_bytes) stride_ += kLine;
    }

    /// The lines for a loop's next n turns.
    struct Lines {
        const uint8_t* at;
        int64_t stride;

        void prefetch_next() {
            prefetch(at);
            at += stride;
        }
    };
    Lines take(int64_t n) {
        const bool is_done = end_ - at_ < n * stride_;
        const Lines lines = is_done ? Lines{end_ - kLine, 0} : Lines{at_, stride_};
        if (!is_done) at_ += n * stride_;
        return lines;
    }

  private:
    static constexpr int64_t kLine = 64;
    const uint8_t* at_;
    const uint8_t* end_;
    int64_t stride_ = kLine;
};

/// N queries that meet a tile together.
template <int N>
struct QueryBlock {
    const float* q[N];
    int64_t n_seen[N];    // positions of the tile up to the last that the query sees, ascending
    int64_t n_hidden[N];  // of those, the first ones that lie before its window
    float* weights;       // [N][64]
};

/// Scores of N queries against V vectors of keys, from position `at` of the tile.
template <int N, int V>
inline void score_vectors(const AttentionArgs& a, const float* keys, const QueryBlock<N>& block,
                          int64_t at, Upcoming::Lines next) {
    F32x16 s[N][V];
    for (int i = 0; i < N; ++i) {
        for (int v = 0; v < V; ++v) s[i][v] = zero();
    }
    const float* from = keys + at;
    for (int64_t d = 0; d < a.head_dim; ++d, from += kPageCells) {
        next.prefetch_next();
        F32x16 k[V];
        for (int v = 0; v < V; ++v) k[v] = load(from + 16 * v);
        for (int i = 0; i < N; ++i) {
            const F32x16 qd = set1(block.q[i][d]);
            for (int v = 0; v < V; ++v) s[i][v] = fma(qd, k[v], s[i][v]);
        }
    }
    const F32x16 scale = set1(a.scale);
    for (int i = 0; i < N; ++i) {
        float* to = block.weights + i * kPageCells + at;
        for (int v = 0; v < V; ++v) {
            F32x16 score = mul(s[i][v], scale);
            if (a.softcap > 0) score = softcap_vector(score, a.softcap);
            store(to + 16 * v, score);
        }
    }
}

/// Scores of the positions that any of the queries sees; the others' are -infinity.
template <int N>
inline void tile_scores(const AttentionArgs& a, const float* keys, const QueryBlock<N>& block,
                        Upcoming& next) {
    constexpr int64_t step = 16 * kAttentionVectors;
    const int64_t n = (block.n_seen[N - 1] + 15) / 16 * 16;
    int64_t at = 0;
    for (; at + step <= n; at += step) {
        score_vectors<N, kAttentionVectors>(a, keys, block, at, next.take(a.head_dim));
    }
    for (; at < n; at += 16) score_vectors<N, 1>(a, keys, block, at, next.take(a.head_dim));
    for (int i = 0; i < N; ++i) {
        float* scores = block.weights + i * kPageCells;
        for (int64_t j = 0; j < block.n_hidden[i]; ++j) scores[j] = -kInfinity;
        for (int64_t j = block.n_seen[i]; j < kPageCells; ++j) scores[j] = -kInfinity;
    }
}

/// One query's scores to exp(score - largest); returns their sum and sets `largest`.
inline float tile_weights(float* weights, float& largest) {
    F32x16 s[kTileVectors];
    for (int i = 0; i < kTileVectors; ++i) s[i] = load(weights + 16 * i);
    largest = reduce_max(max(max(s[0], s[1]), max(s[2], s[3])));
    const F32x16 shift = set1(largest);
    for (int i = 0; i < kTileVectors; ++i) {
        s[i] = exp(sub(s[i], shift));
        store(weights + 16 * i, s[i]);
    }
    return reduce_add(add(add(s[0], s[1]), add(s[2], s[3])));
}

/// Where N queries' values go. Without shares they are set to the tile's; with them, to
/// old_share * what is there + new_share * the tile's.
struct ValueSink {
    float* values;            // [queries][padded]
    const float* old_shares;  // (queries) or null
    const float* new_shares;
};

/// V vectors of N queries' values, from element `at` of the head.
template <int N, int V>
inline void value_vectors(const QueryBlock<N>& block, const float* values, int64_t padded,
                          int64_t at, const ValueSink& sink, Upcoming::Lines next) {
    F32x16 sum[N][V];
    for (int i = 0; i < N; ++i) {
        for (int v = 0; v < V; ++v) sum[i][v] = zero();
    }
    const int64_t n_common = block.n_seen[0];
    const float* from = values + at;
    for (int64_t j = 0; j < n_common; ++j, from += padded) {
        next.prefetch_next();
        F32x16 row[V];
        for (int v = 0; v < V; ++v) row[v] = load(from + 16 * v);
        for (int i = 0; i < N; ++i) {
            const F32x16 weight = set1(block.weights[i * kPageCells + j]);
            for (int v = 0; v < V; ++v) sum[i][v] = fma(weight, row[v], sum[i][v]);
        }
    }
    for (int i = 0; i < N; ++i) {
        // Not the others' positions with weight 0: what lies there may be infinite.
        for (int64_t j = n_common; j < block.n_seen[i]; ++j) {
            const F32x16 weight = set1(block.weights[i * kPageCells + j]);
            const float* row = values + j * padded + at;
            for (int v = 0; v < V; ++v) sum[i][v] = fma(weight, load(row + 16 * v), sum[i][v]);
        }
        float* to = sink.values + i * padded + at;
        for (int v = 0; v < V; ++v) {
            F32x16 result = sum[i][v];
            if (sink.old_shares != nullptr) {
                const F32x16 fresh = mul(set1(sink.new_shares[i]), result);
                result = fma(set1(sink.old_shares[i]), load(to + 16 * v), fresh);
            }
            store(to + 16 * v, result);
        }
    }
}

template <int N>
inline void tile_values(const QueryBlock<N>& block, const float* values, int64_t padded,
                        const ValueSink& sink, Upcoming& next) {
    constexpr int64_t step = 16 * kAttentionVectors;
    int64_t at = 0;
    for (; at + step <= padded; at += step) {
        value_vectors<N, kAttentionVectors>(block, values, padded, at, sink, next.take(kPageCells));
    }
    for (; at < padded; at += 16) {
        value_vectors<N, 1>(block, values, padded, at, sink, next.take(kPageCells));
    }
}

}  // namespace
}  // namespace plrt::PLRT_ISA
