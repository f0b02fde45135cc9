/// All generic bodies, in the order in which they use one another. No include guards: they are
/// compiled once an ISA, in the namespace of the vec.h that was included before.

// clang-format off
#include "kernels/generic/elementwise.h"
#include "kernels/generic/quantize.h"
#include "kernels/generic/unpack.h"
#include "kernels/generic/matmul.h"
#include "kernels/generic/attention.h"
#include "kernels/generic/table.h"
// clang-format on
