#include "backends/cpu/kv_writer.h"

#include <algorithm>
#include <cstring>

namespace plrt::cpu {
namespace {

/// Bytes of n floats, rounded up to cache lines.
int64_t float_bytes(int64_t n) {
    return activation_part(n * static_cast<int64_t>(sizeof(float)));
}

}  // namespace

int64_t KvWriter::scratch_bytes() const {
    const int64_t n_blocks = kv_blocks(head_dim_);
    // The row in whole blocks, its codes, and four numbers a block.
    return float_bytes(n_blocks * kKvBlock) + activation_part(n_blocks * kKvBlock) +
           4 * float_bytes(n_blocks);
}

void KvWriter::write(KvType type, const float* k, const float* v, uint8_t* keys, uint8_t* values,
                     int64_t cell, uint8_t* scratch) const {
    if (type == KvType::kQ8_0) {
        write_q8(k, keys, head_dim_, kPageCells, 1, cell, scratch);
        write_q8(v, values, padded_, 1, padded_, cell, scratch);
    } else if (type == KvType::kF16) {
        auto* column = reinterpret_cast<uint16_t*>(keys) + cell;
        auto* halves = reinterpret_cast<uint16_t*>(scratch);
        kernels_.to_f16(k, head_dim_, halves);
        for (int64_t d = 0; d < head_dim_; ++d) column[d * kPageCells] = halves[d];
        kernels_.to_f16(v, head_dim_, reinterpret_cast<uint16_t*>(values) + cell * padded_);
    } else {
        auto* column = reinterpret_cast<float*>(keys) + cell;
        for (int64_t d = 0; d < head_dim_; ++d) column[d * kPageCells] = k[d];
        std::memcpy(reinterpret_cast<float*>(values) + cell * padded_, v,
                    static_cast<size_t>(head_dim_) * sizeof(float));
    }
}

/// Element d of x goes to code d * row_stride + cell * cell_stride; the scales, of all blocks and
/// cells, follow the codes of all n_rows elements and cells.
void KvWriter::write_q8(const float* x, uint8_t* to, int64_t n_rows, int64_t row_stride,
                        int64_t cell_stride, int64_t cell, uint8_t* scratch) const {
    const int64_t n_blocks = kv_blocks(head_dim_);
    const int64_t width = n_blocks * kKvBlock;
    auto* whole = reinterpret_cast<float*>(scratch);
    std::copy_n(x, head_dim_, whole);
    std::fill_n(whole + head_dim_, width - head_dim_, 0.0f);
    uint8_t* rest = scratch + float_bytes(width);
    Activations32 out{};
    out.q = reinterpret_cast<int8_t*>(rest);
    rest += activation_part(width);
    out.d = reinterpret_cast<float*>(rest);
    out.s = reinterpret_cast<float*>(rest + float_bytes(n_blocks));
    out.sums = reinterpret_cast<int16_t*>(rest + 2 * float_bytes(n_blocks));
    auto* halves = reinterpret_cast<uint16_t*>(rest + 3 * float_bytes(n_blocks));
    kernels_.quantize_rows_32(whole, width, out);
    kernels_.to_f16(out.d, n_blocks, halves);
    auto* codes = reinterpret_cast<int8_t*>(to) + cell * cell_stride;
    for (int64_t d = 0; d < head_dim_; ++d) codes[d * row_stride] = out.q[d];
    auto* scales = reinterpret_cast<uint16_t*>(to + n_rows * kPageCells) + cell;
    for (int64_t b = 0; b < n_blocks; ++b) scales[b * kPageCells] = halves[b];
}

}  // namespace plrt::cpu
