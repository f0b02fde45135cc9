#include "quant/codec.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "core/errors.h"
#include "quant/row_codecs.h"

namespace plrt {
namespace {

const RowCodec& codec(TensorType type) {
    switch (type) {
        case TensorType::kF32: return kF32Codec;
        case TensorType::kF16: return kF16Codec;
        case TensorType::kBF16: return kBF16Codec;
        case TensorType::kQ4_0: return kQ4_0Codec;
        case TensorType::kQ4_1: return kQ4_1Codec;
        case TensorType::kQ5_0: return kQ5_0Codec;
        case TensorType::kQ5_1: return kQ5_1Codec;
        case TensorType::kQ8_0: return kQ8_0Codec;
        case TensorType::kQ2_K: return kQ2_KCodec;
        case TensorType::kQ3_K: return kQ3_KCodec;
        case TensorType::kQ4_K: return kQ4_KCodec;
        case TensorType::kQ5_K: return kQ5_KCodec;
        case TensorType::kQ6_K: return kQ6_KCodec;
        case TensorType::kIQ4_NL: return kIQ4_NLCodec;
        case TensorType::kIQ4_XS: return kIQ4_XSCodec;
    }
    fail(ErrorKind::kUnsupported, "tensor type id ", static_cast<int32_t>(type),
         " is not a weight type");
}

/// Magnitudes from here on are infinite in the type.
float overflow_limit(TensorType type) {
    if (type == TensorType::kF16) return 65520.0f;
    if (type == TensorType::kBF16) return std::bit_cast<float>(0x7f7f8000u);
    return std::numeric_limits<float>::infinity();
}

}  // namespace

void dequantize_row(TensorType type, const void* blocks, float* out, int64_t n) {
    row_bytes(type, n);  // checks n
    codec(type).dequantize(blocks, out, n);
}

void quantize_rows(TensorType type, const float* x, void* blocks, int64_t n_rows, int64_t n,
                   const Guidance& guidance) {
    row_bytes(type, n);  // checks n
    codec(type).quantize(x, blocks, n_rows, n, guidance);
}

int64_t first_unstorable(TensorType type, const float* x, int64_t n) {
    const float limit = overflow_limit(type);
    const auto is_good = [limit](float value) { return std::fabs(value) < limit; };
    constexpr int64_t kChunk = 256;  // one branch per chunk lets the test itself be vectorised
    for (int64_t begin = 0; begin < n; begin += kChunk) {
        const int64_t end = std::min(n, begin + kChunk);
        int32_t n_bad = 0;
        for (int64_t i = begin; i < end; ++i) n_bad += !is_good(x[i]);
        if (n_bad > 0) return std::find_if_not(x + begin, x + end, is_good) - x;
    }
    return -1;
}

}  // namespace plrt
