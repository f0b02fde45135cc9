/// Size arithmetic at the edges of int64, and the table of tensor types.

#include <limits>

#include "core/checked.h"
#include "core/tensor_type.h"
#include "testing.h"

namespace plrt::testing {
namespace {

constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();

const Test checked_mul_edges("checked_mul: edges", [] {
    check(checked_mul(0, kLargest) == 0 && checked_mul(kLargest, 0) == 0, "zero");
    check(checked_mul(kLargest, 1) == kLargest, "largest");
    check(checked_mul(1LL << 31, 1LL << 31) == 1LL << 62, "fits");
    check_throws(ErrorKind::kShape, [] { checked_mul(1LL << 32, 1LL << 31); });
    check_throws(ErrorKind::kShape, [] { checked_mul(-1, 1); });
});

const Test checked_add_edges("checked_add: edges", [] {
    check(checked_add(kLargest, 0) == kLargest, "largest");
    check_throws(ErrorKind::kShape, [] { checked_add(kLargest, 1); });
    check_throws(ErrorKind::kShape, [] { checked_add(0, -1); });
});

const Test tensor_type_lookup("tensor types: by id and name", [] {
    for (const TensorTypeInfo& row : tensor_types()) {
        check(info(row.type).name == row.name, "by id");
        check(info(row.name).type == row.type, "by name");
        check(row_bytes(row.type, 3 * row.block_size) == 3 * row.block_bytes, "row_bytes");
        check_throws(ErrorKind::kShape, [&] { row_bytes(row.type, -row.block_size); });
    }
    check_throws(ErrorKind::kUnsupported, [] { info(static_cast<TensorType>(4)); });
    check_throws(ErrorKind::kConfig, [] { info("q4"); });
    check_throws(ErrorKind::kShape, [] { row_bytes(TensorType::kQ4_K, 32); });
    check_throws(ErrorKind::kShape, [] { row_bytes(TensorType::kF32, kLargest / 2); });
});

}  // namespace
}  // namespace plrt::testing
