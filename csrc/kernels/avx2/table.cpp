#include <cstdint>

#include "core/blocks.h"
#include "kernels/avx2/int8_peak.h"
#include "kernels/avx2/vec.h"
#include "kernels/kernel_table.h"
// The generic bodies, in the order in which they use one another.
#include "kernels/generic/bodies.h"
