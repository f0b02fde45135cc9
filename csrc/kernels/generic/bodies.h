/// All generic bodies, in the order in which they use one another. No include guards: they are
/// compiled once an ISA, in the namespace of the vec.h that was included before, which names the
/// file for prompt-sized products in PLRT_PROMPT_MATMUL.

// clang-format off
#include "kernels/generic/elementwise.h"
#include "kernels/generic/quantize.h"
#include "kernels/generic/unpack.h"
#include "kernels/generic/matmul.h"
#include PLRT_MATMUL_CHOICE
#include "kernels/generic/attention.h"
#include "kernels/generic/read_bytes.h"
#include "kernels/generic/table.h"
// clang-format on
