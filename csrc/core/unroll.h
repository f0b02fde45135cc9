#pragma once
/// Asks for the loop that follows to be unrolled, so that arrays indexed by it become registers.

#if defined(__clang__)
#define PLRT_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define PLRT_UNROLL _Pragma("GCC unroll 16")
#else
#define PLRT_UNROLL
#endif
