/// Attention over cache pages. A page is a tile of 64 positions: each tile gives each query
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
        const int64_t own_end = w.a.first_position + row + 1;
        const int64_t visible = (w.a.n_seen > 0 ? w.a.n_seen : own_end) - tile_begin;
        const int64_t hidden = w.a.window > 0 ? own_end - w.a.window - tile_begin : 0;
        block.n_seen[i] = visible < kPageCells ? visible : kPageCells;
        block.n_hidden[i] = hidden > 0 ? hidden : 0;
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

/// Queries begin … end - 1 of a call.
struct QueryRange {
    int64_t begin;
    int64_t end;
};

/// Those that see tile t.
inline QueryRange queries_of(const AttentionArgs& a, int64_t t) {
    const int64_t n = a.n_rows;
    const int64_t first = a.n_seen > 0 ? 0 : t * kPageCells - a.first_position;
    const int64_t last = a.window > 0 ? (t + 1) * kPageCells + a.window - 1 - a.first_position : n;
    return {(first > 0 ? first : 0) * a.group, (last < n ? last : n) * a.group};
}

/// Turns of the loops over a tile for some queries.
inline int64_t loop_turns(const AttentionWork& w, QueryRange q) {
    const int64_t n_blocks = (q.end - q.begin) / kAttentionQueries;
    return (n_blocks > 1 ? n_blocks : 1) * w.padded * (kTileVectors / kAttentionVectors);
}

/// Weights, largest scores and sums of some queries in tile t.
inline void weigh_tile(const AttentionWork& w, int64_t t, QueryRange q, float* largest,
                       float* sums) {
    const float* keys = read_keys(w.a, w.a.pages[t], w.buffer);
    Upcoming values(w.a.pages[t] + w.a.v_offset, v_page_bytes(w.a.kv_type, w.a.head_dim),
                    loop_turns(w, q));
    for_blocks<kAttentionQueries>(q.begin, q.end, [&]<int N>(Size<N>, int64_t first) {
        weigh_block<N>(w, keys, first, t * kPageCells, largest, sums, values);
    });
}

/// The same queries' values in tile t, by the weights of weigh_tile. Tiles before n_tiles follow.
inline void mix_tile(const AttentionWork& w, int64_t t, int64_t n_tiles, QueryRange q,
                     const ValueSink& sink) {
    const float* values = read_values(w.a, w.a.pages[t], w.buffer);
    const uint8_t* next_page = w.a.pages[t + 1 < n_tiles ? t + 1 : t];
    Upcoming keys(next_page + w.a.k_offset, k_page_bytes(w.a.kv_type, w.a.head_dim),
                  loop_turns(w, q));
    for_blocks<kAttentionQueries>(q.begin, q.end, [&]<int N>(Size<N>, int64_t first) {
        ValueSink at = sink;
        at.values += first * w.padded;
        if (sink.old_shares != nullptr) {
            at.old_shares += first;
            at.new_shares += first;
        }
        tile_values<N>(block_at<N>(w, first, t * kPageCells), values, w.padded, at, keys);
    });
}

/// Merges largest scores and sums of a tile into `whole`, and turns them into the shares that the
/// values before it, and its own, have in the merged values. Without a window the queries behind q
/// are either none or another thread's, so that the last vector need not stop at its end.
inline void merge_sums(const AttentionWork& w, QueryRange q) {
    const QueryStates& whole = w.whole;
    for (int64_t i = q.begin; i < q.end; i += 16) {
        const int64_t count = w.a.window > 0 && q.end - i < 16 ? q.end - i : 16;
        const F32x16 before = load_part(whole.largest + i, count);
        const F32x16 now = load_part(w.largest + i, count);
        const F32x16 both = max(before, now);
        const F32x16 old_share = exp(sub(before, both));
        const F32x16 new_share = exp(sub(now, both));
        const F32x16 kept = mul(load_part(whole.sums + i, count), old_share);
        const F32x16 fresh = mul(load_part(w.sums + i, count), new_share);
        store_part(whole.sums + i, add(kept, fresh), count);
        store_part(whole.largest + i, both, count);
        store_part(w.largest + i, old_share, count);
        store_part(w.sums + i, new_share, count);
    }
}

/// States of queries that have seen nothing. With a window queries begin at different tiles, and
/// merging the first one into this changes no bit of it.
inline void clear_states(const AttentionWork& w, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
        w.whole.largest[i] = -kInfinity;
        w.whole.sums[i] = 0.0f;
    }
    for (int64_t i = begin * w.padded; i < end * w.padded; ++i) w.whole.values[i] = 0.0f;
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
    const TileRange tiles = attention_tiles(a);
    int64_t t = tiles.begin;
    if (a.window > 0) {
        clear_states(w, 0, w.n_queries);
    } else {
        weigh_tile(w, t, {0, w.n_queries}, w.whole.largest, w.whole.sums);
        mix_tile(w, t, tiles.end, {0, w.n_queries}, {w.whole.values, nullptr, nullptr});
        ++t;
    }
    for (; t < tiles.end; ++t) {
        const QueryRange q = queries_of(a, t);
        weigh_tile(w, t, q, w.largest, w.sums);
        merge_sums(w, q);
        mix_tile(w, t, tiles.end, q, {w.whole.values, w.largest, w.sums});
    }
    finish(w, 0, w.n_queries);
}

void attention_partials(const AttentionArgs& a, int64_t tile_begin, int64_t tile_end,
                        float* partials) {
    const AttentionWork w = make_work(a);
    const int64_t stride = attention_partial_floats(w.n_queries, a.head_dim);
    const int64_t first = attention_tiles(a).begin;
    for (int64_t t = tile_begin; t < tile_end; ++t) {
        const QueryStates part = states_at(partials + (t - first) * stride, w.n_queries);
        const QueryRange q = queries_of(a, t);
        weigh_tile(w, t, q, part.largest, part.sums);
        mix_tile(w, t, tile_end, q, {part.values, nullptr, nullptr});
    }
}

inline void copy_floats(const float* from, int64_t n, float* to) {
    for (int64_t i = 0; i < n; ++i) to[i] = from[i];
}

/// Merges a tile's part into the whole of some queries, as attention does.
inline void merge_part(const AttentionWork& w, const float* part, QueryRange q) {
    const int64_t sums = per_query_floats(w.n_queries);
    copy_floats(part + q.begin, q.end - q.begin, w.largest + q.begin);
    copy_floats(part + sums + q.begin, q.end - q.begin, w.sums + q.begin);
    merge_sums(w, q);
    for (int64_t i = q.begin; i < q.end; ++i) {
        const F32x16 old_share = set1(w.largest[i]);
        const F32x16 new_share = set1(w.sums[i]);
        for (int64_t at = i * w.padded; at < (i + 1) * w.padded; at += 16) {
            const F32x16 fresh = mul(new_share, load(part + 2 * sums + at));
            store(w.whole.values + at, fma(old_share, load(w.whole.values + at), fresh));
        }
    }
}

void attention_merge(const AttentionArgs& a, int64_t begin, int64_t end, const float* partials) {
    const AttentionWork w = make_work(a);
    const int64_t stride = attention_partial_floats(w.n_queries, a.head_dim);
    const int64_t sums = per_query_floats(w.n_queries);
    const TileRange tiles = attention_tiles(a);
    int64_t t = tiles.begin;
    if (a.window > 0) {
        clear_states(w, begin, end);
    } else {
        copy_floats(partials + begin, end - begin, w.whole.largest + begin);
        copy_floats(partials + sums + begin, end - begin, w.whole.sums + begin);
        copy_floats(partials + 2 * sums + begin * w.padded, (end - begin) * w.padded,
                    w.whole.values + begin * w.padded);
        ++t;
    }
    for (; t < tiles.end; ++t) {
        const QueryRange seen = queries_of(a, t);
        const QueryRange q = {seen.begin > begin ? seen.begin : begin,
                              seen.end < end ? seen.end : end};
        if (q.begin < q.end) merge_part(w, partials + (t - tiles.begin) * stride, q);
    }
    finish(w, begin, end);
}

}  // namespace
}  // namespace plrt::PLRT_ISA
