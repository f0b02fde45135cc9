#include "core/tensor_type.h"

#include <array>

#include "core/blocks.h"
#include "core/checked.h"

namespace plrt {
namespace {

constexpr std::array<TensorTypeInfo, 15> kTypes{{
    {TensorType::kF32, "f32", 1, 4, false},
    {TensorType::kF16, "f16", 1, 2, false},
    {TensorType::kQ4_0, "q4_0", kSmallBlock, sizeof(BlockQ4_0), true},
    {TensorType::kQ4_1, "q4_1", kSmallBlock, sizeof(BlockQ4_1), true},
    {TensorType::kQ5_0, "q5_0", kSmallBlock, sizeof(BlockQ5_0), true},
    {TensorType::kQ5_1, "q5_1", kSmallBlock, sizeof(BlockQ5_1), true},
    {TensorType::kQ8_0, "q8_0", kSmallBlock, sizeof(BlockQ8_0), true},
    {TensorType::kQ2_K, "q2_k", kSuperBlock, sizeof(BlockQ2_K), true},
    {TensorType::kQ3_K, "q3_k", kSuperBlock, sizeof(BlockQ3_K), true},
    {TensorType::kQ4_K, "q4_k", kSuperBlock, sizeof(BlockQ4_K), true},
    {TensorType::kQ5_K, "q5_k", kSuperBlock, sizeof(BlockQ5_K), true},
    {TensorType::kQ6_K, "q6_k", kSuperBlock, sizeof(BlockQ6_K), true},
    {TensorType::kIQ4_NL, "iq4_nl", kSmallBlock, sizeof(BlockIQ4_NL), true},
    {TensorType::kIQ4_XS, "iq4_xs", kSuperBlock, sizeof(BlockIQ4_XS), true},
    {TensorType::kBF16, "bf16", 1, 2, false},
}};

}  // namespace

std::span<const TensorTypeInfo> tensor_types() {
    return kTypes;
}

const TensorTypeInfo& info(TensorType type) {
    for (const TensorTypeInfo& row : kTypes) {
        if (row.type == type) return row;
    }
    fail(ErrorKind::kUnsupported, "tensor type id ", static_cast<int32_t>(type),
         " is not a weight type");
}

const TensorTypeInfo& info(std::string_view name) {
    for (const TensorTypeInfo& row : kTypes) {
        if (row.name == name) return row;
    }
    fail(ErrorKind::kConfig, "tensor type '", name, "' is not a weight type");
}

int64_t row_bytes(TensorType type, int64_t n_elements) {
    const TensorTypeInfo& row = info(type);
    require(n_elements >= 0 && n_elements % row.block_size == 0, ErrorKind::kShape, "row of ",
            n_elements, " elements: expected a multiple of ", row.block_size, " for ", row.name);
    return checked_mul(n_elements / row.block_size, row.block_bytes);
}

}  // namespace plrt
