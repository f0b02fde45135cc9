/// The generic bodies that all sets share, in the order in which they use one another. No include
/// guards: they are compiled once an ISA, in the namespace of the vocabulary that was included
/// before.

// clang-format off
#include "kernels/generic/elementwise.h"
#include "kernels/generic/activations.h"
#include "kernels/generic/norms.h"
#include "kernels/generic/quantize.h"
#include "kernels/generic/panel_rows.h"
#include "kernels/generic/panel_small.h"
#include "kernels/generic/panel_super.h"
#include "kernels/generic/super_product.h"
#include "kernels/generic/panel_matmul.h"
#include "kernels/generic/float_matmul.h"
#include "kernels/generic/attention_tile.h"
#include "kernels/generic/attention.h"
#include "kernels/generic/add_products.h"
#include "kernels/generic/read_bytes.h"
// clang-format on
