#pragma once
/// The two functions of each type, one file per family; codec.cpp holds the table.

#include <cstdint>

#include "quant/guidance.h"

namespace plrt {

using DequantizeRow = void (*)(const void* blocks, float* out, int64_t n);
using QuantizeRows = void (*)(const float* x, void* blocks, int64_t n_rows, int64_t n,
                              const Guidance& guidance);

struct RowCodec {
    DequantizeRow dequantize;
    QuantizeRows quantize;
};

// float.cpp
extern const RowCodec kF32Codec;
extern const RowCodec kF16Codec;
extern const RowCodec kBF16Codec;
// small_blocks.cpp
extern const RowCodec kQ4_0Codec;
extern const RowCodec kQ4_1Codec;
extern const RowCodec kQ5_0Codec;
extern const RowCodec kQ5_1Codec;
extern const RowCodec kQ8_0Codec;
// k_affine.cpp
extern const RowCodec kQ2_KCodec;
extern const RowCodec kQ4_KCodec;
extern const RowCodec kQ5_KCodec;
// k_symmetric.cpp
extern const RowCodec kQ3_KCodec;
extern const RowCodec kQ6_KCodec;
// iq4.cpp
extern const RowCodec kIQ4_NLCodec;
extern const RowCodec kIQ4_XSCodec;

}  // namespace plrt
