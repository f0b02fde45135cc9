/// F32, F16 and BF16. Rounding is to the nearest, ties to even.

#include <cstring>

#include "core/float_types.h"
#include "quant/decode_row.h"
#include "quant/row_codecs.h"

namespace plrt {
namespace {

void copy_in(const void* blocks, float* out, int64_t n) {
    std::memcpy(out, blocks, static_cast<size_t>(n) * sizeof(float));
}

void copy_out(const float* x, void* blocks, int64_t n_rows, int64_t n,
              const Guidance& /*guidance*/) {
    std::memcpy(blocks, x, static_cast<size_t>(n_rows * n) * sizeof(float));
}

void decode_f16(const uint16_t& bits, float* out) {
    *out = f16_to_f32(bits);
}
void decode_bf16(const uint16_t& bits, float* out) {
    *out = bf16_to_f32(bits);
}

template <uint16_t (*Round)(float)>
void round_rows(const float* x, void* blocks, int64_t n_rows, int64_t n,
                const Guidance& /*guidance*/) {
    auto* target = static_cast<uint8_t*>(blocks);
    for (int64_t i = 0; i < n_rows * n; ++i, target += sizeof(uint16_t)) {
        const uint16_t bits = Round(x[i]);
        std::memcpy(target, &bits, sizeof(bits));
    }
}

}  // namespace

const RowCodec kF32Codec{copy_in, copy_out};
const RowCodec kF16Codec{decode_row<uint16_t, 1, decode_f16>, round_rows<f32_to_f16>};
const RowCodec kBF16Codec{decode_row<uint16_t, 1, decode_bf16>, round_rows<f32_to_bf16>};

}  // namespace plrt
