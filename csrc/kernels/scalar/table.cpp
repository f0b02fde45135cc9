#include <cstdint>

#include "core/blocks.h"
#include "kernels/kernel_table.h"
#include "kernels/scalar/int8_peak.h"
#include "kernels/scalar/vec.h"
// The generic bodies, in the order in which they use one another.
#include "kernels/generic/bodies.h"
