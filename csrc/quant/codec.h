#pragma once
/// Rows of numbers to blocks and back, for every weight type.

#include <cstdint>

#include "core/tensor_type.h"
#include "quant/guidance.h"

namespace plrt {

/// Args: blocks: row_bytes(type, n) bytes, of any alignment. out: (n,).
/// Throws: Error(kShape) unless n is a multiple of the block size.
void dequantize_row(TensorType type, const void* blocks, float* out, int64_t n);

/// Args: x: (n_rows, n), finite. blocks: row_bytes(type, n) bytes a row, of any alignment.
/// Throws: Error(kShape) unless n is a multiple of the block size.
void quantize_rows(TensorType type, const float* x, void* blocks, int64_t n_rows, int64_t n,
                   const Guidance& guidance = {});

/// Index of the first of (n,) floats that the type cannot hold, or -1: NaN and infinities, and
/// numbers that F16 or BF16 would round to infinity. Block types clip numbers beyond their range.
int64_t first_unstorable(TensorType type, const float* x, int64_t n);

}  // namespace plrt
