#pragma once
/// The kernels of one instruction set, as a table of functions. Each ISA folder fills one. The
/// arithmetic of every result element is fixed (docs/architecture.md, C3) and does not depend on
/// how the work is cut.

#include <cstdint>

#include "core/kv_page.h"

namespace plrt {

/// One row of activations, quantised to int8. x[e] ~ d[e / block] * q[e].
struct Activations32 {
    int8_t* q;      // (width), |q| <= 127
    float* d;       // (width / 32)
    float* s;       // (width / 32): d * sum of the block's q
    int16_t* sums;  // (width / 32): sums of the block's q
};
struct Activations256 {
    int8_t* q;        // (width), |q| <= 127
    float* d;         // (width / 256)
    int16_t* sums;    // (width / 16): sums of 16 q
    int16_t* sums32;  // (width / 32): sums of 32 q
};

/// A slice of y = x · Wᵀ + bias: rows row_begin … row_end of W against all n_cols rows of x.
struct MatmulArgs {
    const uint8_t* weights;  // first row of W
    int64_t weight_row_bytes;
    int64_t k;  // elements of a row of W and of x
    uint8_t*
        activations;  // rows of x: floats (bfloat16 for bf16), or as activations_32 and _256 say
    int64_t activation_row_bytes;
    int64_t n_cols;
    float* out;  // out[col * out_stride + row]
    int64_t out_stride;
    const float* bias;  // (rows of W) or null
    int64_t row_begin;
    int64_t row_end;
    uint8_t* scratch;  // kMatmulScratchBytes, 64-byte aligned, of this thread
};
using MatmulFunction = void (*)(const MatmulArgs&);

/// Bytes of a run of a quantised activation row, rounded up to whole cache lines.
static inline int64_t activation_part(int64_t bytes) {
    return (bytes + 63) / 64 * 64;
}

/// The parts of a quantised activation row of k elements: q, then d, then s, then sums.
static inline Activations32 activations_32(uint8_t* row, int64_t k) {
    uint8_t* d = row + activation_part(k);
    uint8_t* s = d + activation_part(k / 32 * 4);
    uint8_t* sums = s + activation_part(k / 32 * 4);
    return {reinterpret_cast<int8_t*>(row), reinterpret_cast<float*>(d),
            reinterpret_cast<float*>(s), reinterpret_cast<int16_t*>(sums)};
}
static inline Activations256 activations_256(uint8_t* row, int64_t k) {
    uint8_t* d = row + activation_part(k);
    uint8_t* sums = d + activation_part(k / 256 * 4);
    uint8_t* sums32 = sums + activation_part(k / 16 * 2);
    return {reinterpret_cast<int8_t*>(row), reinterpret_cast<float*>(d),
            reinterpret_cast<int16_t*>(sums), reinterpret_cast<int16_t*>(sums32)};
}

/// Kernels work on up to kMatmulRows rows and kMatmulColumns columns at a time.
inline constexpr int64_t kMatmulRows = 64;
inline constexpr int64_t kMatmulColumns = 512;

/// Row ranges are best cut at multiples of this: a panel, or the two that share a tile of columns.
static inline int64_t matmul_grain(int64_t n_cols) {
    return n_cols == 1 ? 16 : 32;
}

/// Bytes of MatmulArgs::scratch: panels of kMatmulRows rows, in two planes where there are tiles,
/// the blocks of a panel that is not full, and sums.
inline constexpr int64_t kMatmulScratchBytes = 49152 + kMatmulRows * kMatmulColumns * 4;

/// Attention of some rows of one sequence over one KV head. Row r sits at position
/// first_position + r and sees the positions up to its own, or as n_seen and window say.
struct AttentionArgs {
    const float* q;  // q[r * q_stride + g * head_dim + d]
    int64_t q_stride;
    float* out;  // laid out as q
    int64_t out_stride;
    int64_t n_rows;
    int64_t first_position;
    int64_t n_seen;  // every row sees positions 0 … n_seen - 1; 0: those up to its own
    int64_t window;  // of those up to its own, a row sees the last so many; 0: all
    int64_t group;   // query heads that share this KV head
    int64_t head_dim;
    const uint8_t* const* pages;  // pages of the sequence
    int64_t k_offset;             // bytes into a page: keys, as core/kv_page.h lays them out
    int64_t v_offset;             // bytes into a page: values
    KvType kv_type;
    float scale;
    float softcap;   // scores become softcap * tanh(score / softcap); 0: they stay
    float* scratch;  // attention_scratch_floats(n_rows * group, head_dim)
};

/// Floats of one number for each of n queries, with room for the last vector of 16.
static inline int64_t per_query_floats(int64_t n_queries) {
    return n_queries + 16;
}

/// Floats of AttentionArgs::scratch.
static inline int64_t attention_scratch_floats(int64_t n_queries, int64_t head_dim) {
    const int64_t padded = padded_head_dim(head_dim);
    return kPageCells * padded + n_queries * (kPageCells + padded) +
           4 * per_query_floats(n_queries);
}

/// Floats of what a tile contributes to n queries: largest scores, sums of weights, values.
static inline int64_t attention_partial_floats(int64_t n_queries, int64_t head_dim) {
    return 2 * per_query_floats(n_queries) + n_queries * padded_head_dim(head_dim);
}

/// The tiles begin … end - 1 that the rows of a call see.
struct TileRange {
    int64_t begin;
    int64_t end;
};
static inline TileRange attention_tiles(int64_t first_position, int64_t n_rows, int64_t n_seen,
                                        int64_t window) {
    const int64_t last = n_seen > 0 ? n_seen : first_position + n_rows;
    const int64_t first = window > 0 ? first_position + 1 - window : 0;
    return {(first > 0 ? first : 0) / kPageCells, (last - 1) / kPageCells + 1};
}
static inline TileRange attention_tiles(const AttentionArgs& a) {
    return attention_tiles(a.first_position, a.n_rows, a.n_seen, a.window);
}

/// KernelTable::read_bytes reads whole runs of this many bytes.
inline constexpr int64_t kReadGrain = 256;

struct KernelTable {
    const char* name;

    /// Activations to int8, d = max|x| / 127, codes rounded to nearest even. A block with a NaN or
    /// an infinity gets d = NaN, so that the results show it.
    void (*quantize_rows_32)(const float* x, int64_t n, Activations32 out);
    void (*quantize_rows_256)(const float* x, int64_t n, Activations256 out);
    /// Activations to bfloat16, nearest even; all NaN where one is a NaN or an infinity.
    void (*round_rows_bf16)(const float* x, int64_t n, uint16_t* out);

    MatmulFunction matmul_f32;
    MatmulFunction matmul_f16;
    MatmulFunction matmul_bf16;
    MatmulFunction matmul_q4_0;
    MatmulFunction matmul_q4_1;
    MatmulFunction matmul_q5_0;
    MatmulFunction matmul_q5_1;
    MatmulFunction matmul_q8_0;
    MatmulFunction matmul_q2_k;
    MatmulFunction matmul_q3_k;
    MatmulFunction matmul_q4_k;
    MatmulFunction matmul_q5_k;
    MatmulFunction matmul_q6_k;
    MatmulFunction matmul_iq4_nl;
    MatmulFunction matmul_iq4_xs;

    /// out = x / sqrt(mean(x²) + eps) * weight.
    void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* out);
    /// out = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias; bias may be null.
    void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int64_t n,
                       float* out);
    /// out = gate / (1 + exp(-gate)) * up.
    void (*silu_mul)(const float* gate, const float* up, int64_t n, float* out);
    /// out = gelu(x), by tanh or by erf. Source: arXiv:1606.08415, section 2.
    void (*gelu)(const float* x, bool is_tanh, int64_t n, float* out);
    /// out = gelu(gate) * up, by tanh.
    void (*gelu_mul)(const float* gate, const float* up, int64_t n, float* out);
    /// out = cap * tanh(x / cap).
    void (*softcap)(const float* x, float cap, int64_t n, float* out);
    /// out = a + b.
    void (*add)(const float* a, const float* b, int64_t n, float* out);
    /// out = x * factor.
    void (*scale)(const float* x, float factor, int64_t n, float* out);
    /// sum += x * factor, in one rounding.
    void (*add_scaled)(const float* x, float factor, int64_t n, float* sum);
    /// Turns each pair (a, b) by its angle: (a cos - b sin, a sin + b cos). Pairs are neighbours if
    /// interleaved, else n_pairs apart.
    void (*rope)(const float* x, const float* cosines, const float* sines, int64_t n_pairs,
                 bool interleaved, float* out);
    /// out = half(x), round to nearest even.
    void (*to_f16)(const float* x, int64_t n, uint16_t* out);
    /// out = exp(x). Within 2 units in the last place of float, 0 below -86.5.
    void (*exp)(const float* x, int64_t n, float* out);
    void (*attention)(const AttentionArgs& args);
    /// The same in two steps, so that threads may share one call's tiles: first what each of the
    /// tiles tile_begin … tile_end contributes, to partials[i * attention_partial_floats] for the
    /// i-th tile of attention_tiles; when all tiles are there, the results of queries begin … end,
    /// numbered row by row.
    void (*attention_partials)(const AttentionArgs& args, int64_t tile_begin, int64_t tile_end,
                               float* partials);
    void (*attention_merge)(const AttentionArgs& args, int64_t begin, int64_t end,
                            const float* partials);

    /// sums[16 i + j] += the sum over n_rows rows of a[16 row + i] * b[16 row + j], i and j
    /// below 16.
    void (*add_products)(const float* a, const float* b, int64_t n_rows, float* sums);

    /// For measuring what the processor can do: n_rounds rounds of int8 dot products in registers,
    /// whose sum goes to *sum. Returns the number of multiply-accumulates.
    int64_t (*int8_peak)(int64_t n_rounds, int32_t* sum);
    /// Likewise: reads n bytes, a multiple of kReadGrain at an aligned address, and returns the
    /// exclusive or of their 64-bit words.
    uint64_t (*read_bytes)(const uint8_t* data, int64_t n);
};

}  // namespace plrt
