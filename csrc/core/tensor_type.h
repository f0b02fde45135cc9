#pragma once
/// The weight types of GGUF. The values are the ids in the file.

#include <cstdint>
#include <span>
#include <string_view>

namespace plrt {

enum class TensorType : int32_t {
    kF32 = 0,
    kF16 = 1,
    kQ4_0 = 2,
    kQ4_1 = 3,
    kQ5_0 = 6,
    kQ5_1 = 7,
    kQ8_0 = 8,
    kQ2_K = 10,
    kQ3_K = 11,
    kQ4_K = 12,
    kQ5_K = 13,
    kQ6_K = 14,
    kIQ4_NL = 20,
    kIQ4_XS = 23,
    kBF16 = 30,
};

struct TensorTypeInfo {
    TensorType type;
    std::string_view name;  // as users type it
    int32_t block_size;     // elements per block
    int32_t block_bytes;    // bytes per block
    bool is_quantized;
};

/// Every weight type, in the order of the ids.
std::span<const TensorTypeInfo> tensor_types();

/// Throws Error(kUnsupported) if the type is not a weight type.
const TensorTypeInfo& info(TensorType type);

/// Throws Error(kConfig) if no weight type has that name.
const TensorTypeInfo& info(std::string_view name);

/// Bytes of a row. Throws Error(kShape) unless n_elements is a multiple of the block size.
int64_t row_bytes(TensorType type, int64_t n_elements);

}  // namespace plrt
