#pragma once
/// What compilers are asked for and the language has no word for.

/// The loop that follows is unrolled, so that arrays indexed by it become registers. Sanitizers
/// make each copy so long that compiling takes minutes; there it stays a loop.
#if defined(PLRT_NO_UNROLL)
#define PLRT_UNROLL
#elif defined(__clang__)
#define PLRT_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define PLRT_UNROLL _Pragma("GCC unroll 16")
#else
#define PLRT_UNROLL
#endif

/// The function that follows stays out of its callers' fast paths.
#if defined(_MSC_VER)
#define PLRT_NOINLINE __declspec(noinline)
#else
#define PLRT_NOINLINE __attribute__((noinline))
#endif

/// The function that follows is always part of its callers.
#if defined(_MSC_VER)
#define PLRT_INLINE __forceinline
#else
#define PLRT_INLINE inline __attribute__((always_inline))
#endif

/// The function that follows is built for AVX2 (without fused products). It may call nothing that
/// is not built for every CPU. Not defined where there is no way to say so.
#if defined(__GNUC__) && defined(__x86_64__)
#define PLRT_TARGET_AVX2 __attribute__((target("avx2")))
#endif
