#include <cstdint>
#include <utility>

#include "core/blocks.h"
#include "core/compiler.h"
#include "kernels/kernel_table.h"
// The vocabulary, then the generic bodies, in the order in which they use one another.
// clang-format off
#include "kernels/avx512_vnni/vec.h"
#include "kernels/generic/group_shuffle.h"
#include "kernels/avx512_vnni/bytes.h"
#include "kernels/avx512_vnni/int8_peak.h"
#include "kernels/generic/float_parts.h"
#include "kernels/generic/bf16_dot.h"
#include "kernels/generic/bodies.h"
#include "kernels/generic/super_matmul.h"
#include "kernels/generic/table.h"
// clang-format on
