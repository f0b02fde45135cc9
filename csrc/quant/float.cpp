/// F32, F16 and BF16. Rounding is to the nearest, ties to even.

#include <cstring>

#include "core/float_types.h"
#include "quant/block_row.h"
#include "quant/row_codecs.h"

namespace plrt {
namespace {

void copy_in(const void* blocks, float* out, int64_t n) {
    std::memcpy(out, blocks, static_cast<size_t>(n) * sizeof(float));
}

void copy_out(const float* x, void* blocks, int64_t n) {
    std::memcpy(blocks, x, static_cast<size_t>(n) * sizeof(float));
}

void decode_f16(const uint16_t& bits, float* out) {
    *out = f16_to_f32(bits);
}
void decode_bf16(const uint16_t& bits, float* out) {
    *out = bf16_to_f32(bits);
}
void encode_f16(const float* x, uint16_t& bits) {
    bits = f32_to_f16(*x);
}
void encode_bf16(const float* x, uint16_t& bits) {
    bits = f32_to_bf16(*x);
}

}  // namespace

const RowCodec kF32Codec{copy_in, copy_out};
const RowCodec kF16Codec{decode_row<uint16_t, 1, decode_f16>, encode_row<uint16_t, 1, encode_f16>};
const RowCodec kBF16Codec{decode_row<uint16_t, 1, decode_bf16>,
                          encode_row<uint16_t, 1, encode_bf16>};

}  // namespace plrt
