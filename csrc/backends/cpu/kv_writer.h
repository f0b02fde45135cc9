#pragma once
/// Writes keys and values into cache pages, rounded to the cache's type.

#include "core/kv_page.h"
#include "kernels/kernel_table.h"

namespace plrt::cpu {

class KvWriter {
  public:
    KvWriter(const KernelTable& kernels, int64_t head_dim)
        : kernels_(kernels), head_dim_(head_dim), padded_(padded_head_dim(head_dim)) {}

    /// Bytes of the scratch memory of `write`.
    int64_t scratch_bytes() const;

    /// Writes one position's key and value of one head: keys go down a column, values along a row.
    /// Args: k, v: (head_dim). keys, values: the head's part of the page. cell: place in the page.
    ///     scratch: scratch_bytes, 64-byte aligned.
    void write(KvType type, const float* k, const float* v, uint8_t* keys, uint8_t* values,
               int64_t cell, uint8_t* scratch) const;

  private:
    void write_q8(const float* x, uint8_t* to, int64_t n_rows, int64_t row_stride,
                  int64_t cell_stride, int64_t cell, uint8_t* scratch) const;

    const KernelTable& kernels_;
    int64_t head_dim_;
    int64_t padded_;
};

}  // namespace plrt::cpu
