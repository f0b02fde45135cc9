/// Causal attention over cache pages. A page is a tile of 64 positions: each tile gives each query
/// a partial result (largest score, sum of weights, weighted values), and the partial results are
/// merged in ascending order, so that nothing depends on chunks, threads or neighbours.
/// Source: arXiv:2205.14135, section 3.1 (online softmax).

namespace plrt::PLRT_ISA {
namespace {

/// What the queries of a call have seen of some tiles; sums are relative to exp(largest).
struct QueryStates {
    float* largest;  // (queries), room for the last vector
    float* sums;     // (queries), likewise
    float* values;   // [queries][padded head_dim]
};

inline QueryStates states_at(float* p, int64_t n_queries) {
    const int64_t n = per_query_floats(n_queries);
    return {p, p + n, p + 2 * n};
}

/// One call's work: queries are numbered row by row, the heads of a group side by side.
struct AttentionWork {
    const AttentionArgs& a;
    int64_t n_queries;
    int64_t padded;
    float* buffer;      // [64][padded]: keys, then values of a page
    float* weights;     // [queries][64]
    QueryStates whole;  // of the tiles so far
    float* largest;     // (queries) of the tile at hand, then the shares of what was before
    float* sums;        // (queries) likewise, then the shares of the tile
};

inline AttentionWork make_work(const AttentionArgs& a) {
    const int64_t n_queries = a.n_rows * a.group;
    const int64_t padded = padded_head_dim(a.head_dim);
    float* weights = a.scratch + kPageCells * padded;
    const QueryStates whole = states_at(weights + n_queries * kPageCells, n_queries);
    float* largest = whole.values + n_queries * padded;
    float* sums = largest + per_query_floats(n_queries);
    return {a, n_queries, padded, a.scratch, weights, whole, largest, sums};
}

/// The queries from `first` on; `tile_begin` is the tile's first position.
template <int N>
inline QueryBlock<N> block_at(const AttentionWork& w, int64_t first, int64_t tile_begin) {
    QueryBlock<N> block;
    block.weights = w.weights + first * kPageCells;
    for (int i = 0; i < N; ++i) {
        const int64_t row = (first + i) / w.a.group;
        const int64_t visible = w.a.first_position + row + 1 - tile_begin;
        block.n_seen[i] = visible < kPageCells ? visible : kPageCells;
        block.q[i] = w.a.q + row * w.a.q_stride + (first + i) % w.a.group * w.a.head_dim;
    }
    return block;
}

/// Calls f(size, query) with blocks of N queries, then of half as many and so on; `size` is a
/// Size of them.
template <int N>
struct Size {};
template <int N, typename F>
inline void for_blocks(int64_t begin, int64_t end, F f) {
    for (; begin + N <= end; begin += N) f(Size<N>{}, begin);
    if constexpr (N > 1) for_blocks<N / 2>(begin, end, f);
}

template <int N>
inline void weigh_block(const AttentionWork& w, const float* keys, int64_t first,
                        int64_t tile_begin, float* largest, float* sums, Upcoming& next) {
    const QueryBlock<N> block = block_at<N>(w, first, tile_begin);
    tile_scores<N>(w.a, keys, block, next);
    for (int i = 0; i < N; ++i) {
        sums[first + i] = tile_weights(block.weights + i * kPageCells, largest[first + i]);
    }
}

/// Turns of the loops over a tile for the queries from q_begin on.
inline int64_t loop_turns(const AttentionWork& w, int64_t q_begin) {
    const int64_t n_blocks = (w.n_queries - q_begin) / kAttentionQueries;
    return (n_blocks > 1 ? n_blocks : 1) * w.padded * (kTileVectors / kAttentionVectors);
}

/// Weights, largest scores and sums of the queries from q_begin on in tile t.
inline void weigh_tile(const AttentionWork& w, int64_t t, int64_t q_begin, float* largest,
                       float* sums) {
    const float* keys = read_keys(w.a, w.a.pages[t], w.buffer);
    Upcoming values(w.a.pages[t] + w.a.v_offset, v_page_bytes(w.a.kv_type, w.a.head_dim),
                    loop_turns(w, q_begin));
    for_blocks<kAttentionQueries>(q_begin, w.n_queries, [&]<int N>(Size<N>, int64_t first) {
        weigh_block<N>(w, keys, first, t * kPageCells, largest, sums, values);
    });
}

/// The same queries' values in tile t, by the weights of weigh_tile. Tiles before n_tiles follow.
inline void mix_tile(const AttentionWork& w, int64_t t, int64_t n_tiles, int64_t q_begin,
                     const ValueSink& sink) {
    const float* values = read_values(w.a, w.a.pages[t], w.buffer);
    const uint8_t* next_page = w.a.pages[t + 1 < n_tiles ? t + 1 : t];
    Upcoming keys(next_page + w.a.k_offset, k_page_bytes(w.a.kv_type, w.a.head_dim),
                  loop_turns(w, q_begin));
    for_blocks<kAttentionQueries>(q_begin, w.n_queries, [&]<int N>(Size<N>, int64_t first) {
        ValueSink at = sink;
        at.values += first * w.padded;
        if (sink.old_shares != nullptr) {
            at.old_shares += first;
            at.new_shares += first;
        }
        tile_values<N>(block_at<N>(w, first, t * kPageCells), values, w.padded, at, keys);
    });
}

/// First query of the call that sees tile t; those behind it do, too.
inline int64_t first_query(const AttentionArgs& a, int64_t t) {
    const int64_t row = t * kPageCells - a.first_position;
    return row > 0 ? row * a.group : 0;
}

/// Merges largest scores and sums of a tile into `whole`, and turns them into the shares that the
/// values before it, and its own, have in the merged values.
inline void merge_sums(const QueryStates& whole, float* largest, float* sums, int64_t begin,
                       int64_t end) {
    for (int64_t i = begin; i < end; i += 16) {
        const F32x16 before = load(whole.largest + i);
        const F32x16 now = load(largest + i);
        const F32x16 both = max(before, now);
        const F32x16 old_share = exp(sub(before, both));
        const F32x16 new_share = exp(sub(now, both));
        const F32x16 kept = mul(load(whole.sums + i), old_share);
        store(whole.sums + i, add(kept, mul(load(sums + i), new_share)));
        store(whole.largest + i, both);
        store(largest + i, old_share);
        store(sums + i, new_share);
    }
}

inline void finish(const AttentionWork& w, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
        const float* values = w.whole.values + i * w.padded;
        const float inverse = 1.0f / w.whole.sums[i];
        float* out = w.a.out + i / w.a.group * w.a.out_stride + i % w.a.group * w.a.head_dim;
        for (int64_t d = 0; d < w.a.head_dim; ++d) out[d] = values[d] * inverse;
    }
}

void attention(const AttentionArgs& a) {
    const AttentionWork w = make_work(a);
    const int64_t n_tiles = attention_tiles(a.first_position, a.n_rows);
    weigh_tile(w, 0, 0, w.whole.largest, w.whole.sums);
    mix_tile(w, 0, n_tiles, 0, {w.whole.values, nullptr, nullptr});
    for (int64_t t = 1; t < n_tiles; ++t) {
        const int64_t q_begin = first_query(a, t);
        weigh_tile(w, t, q_begin, w.largest, w.sums);
        merge_sums(w.whole, w.largest, w.sums, q_begin, w.n_queries);
        mix_tile(w, t, n_tiles, q_begin, {w.whole.values, w.largest, w.sums});
    }
    finish(w, 0, w.n_queries);
}

void attention_partials(const AttentionArgs& a, int64_t tile_begin, int64_t tile_end,
                        float* partials) {
    const AttentionWork w = make_work(a);
    const int64_t stride = attention_partial_floats(w.n_queries, a.head_dim);
    for (int64_t t = tile_begin; t < tile_end; ++t) {
        const QueryStates part = states_at(partials + t * stride, w.n_queries);
        const int64_t q_begin = first_query(a, t);
        weigh_tile(w, t, q_begin, part.largest, part.sums);
        mix_tile(w, t, tile_end, q_begin, {part.values, nullptr, nullptr});
    }
}

inline void copy_floats(const float* from, int64_t n, float* to) {
    for (int64_t i = 0; i < n; ++i) to[i] = from[i];
}

void attention_merge(const AttentionArgs& a, int64_t begin, int64_t end, const float* partials) {
    const AttentionWork w = make_work(a);
    const int64_t stride = attention_partial_floats(w.n_queries, a.head_dim);
    const int64_t sums = per_query_floats(w.n_queries);
    const int64_t values = 2 * sums;
    copy_floats(partials + begin, end - begin, w.whole.largest + begin);
    copy_floats(partials + sums + begin, end - begin, w.whole.sums + begin);
    copy_floats(partials + values + begin * w.padded, (end - begin) * w.padded,
                w.whole.values + begin * w.padded);
    for (int64_t t = 1; t < attention_tiles(a.first_position, a.n_rows); ++t) {
        const float* part = partials + t * stride;
        const int64_t seen = first_query(a, t);
        const int64_t from = seen > begin ? seen : begin;
        if (from >= end) break;
        copy_floats(part + from, end - from, w.largest + from);
        copy_floats(part + sums + from, end - from, w.sums + from);
        merge_sums(w.whole, w.largest, w.sums, from, end);
        for (int64_t i = from; i < end; ++i) {
            const F32x16 old_share = set1(w.largest[i]);
            const F32x16 new_share = set1(w.sums[i]);
            for (int64_t at = i * w.padded; at < (i + 1) * w.padded; at += 16) {
                const F32x16 fresh = mul(new_share, load(part + values + at));
                store(w.whole.values + at, fma(old_share, load(w.whole.values + at), fresh));
            }
        }
    }
    finish(w, begin, end);
}

}  // namespace
}  // namespace plrt::PLRT_ISA
