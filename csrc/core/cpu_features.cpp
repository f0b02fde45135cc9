#include "core/cpu_features.h"

#if defined(__x86_64__) || defined(_M_X64)
#define PLRT_X86 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) || defined(_M_ARM64)
#define PLRT_ARM64 1
#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32)
#include <windows.h>
#endif
#endif

#include <cstdint>

namespace plrt {
namespace {

#ifdef PLRT_X86

struct Registers {
    uint32_t a, b, c, d;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf = 0) {
    Registers r{};
#if defined(_MSC_VER)
    int out[4];
    __cpuidex(out, static_cast<int>(leaf), static_cast<int>(subleaf));
    r = {static_cast<uint32_t>(out[0]), static_cast<uint32_t>(out[1]),
         static_cast<uint32_t>(out[2]), static_cast<uint32_t>(out[3])};
#else
    __cpuid_count(leaf, subleaf, r.a, r.b, r.c, r.d);
#endif
    return r;
}

/// State components that the operating system saves (register XCR0).
uint64_t saved_state() {
#if defined(_MSC_VER)
    return _xgetbv(0);
#else
    uint32_t low;
    uint32_t high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (static_cast<uint64_t>(high) << 32) | low;
#endif
}

bool bit(uint32_t value, int index) {
    return ((value >> index) & 1u) != 0;
}

/// AVX2, FMA and F16C, with the upper halves of the registers saved by the operating system.
bool has_avx2() {
    if (cpuid(0).a < 7) return false;
    const Registers one = cpuid(1);
    const bool os_saves = bit(one.c, 27) && (saved_state() & 6u) == 6u;
    return os_saves && bit(one.c, 12) && bit(one.c, 29) && bit(cpuid(7).b, 5);
}

/// AVX2 and VNNI in the encoding that needs no AVX-512.
bool has_avx2_vnni() {
    return has_avx2() && cpuid(7).a >= 1 && bit(cpuid(7, 1).a, 4);
}

/// AVX-512 F, BW, VL, DQ and VNNI, with masks and the wide registers saved as well.
bool has_avx512_vnni() {
    if (!has_avx2() || (saved_state() & 0xe6u) != 0xe6u) return false;
    const Registers seven = cpuid(7);
    return bit(seven.b, 16) && bit(seven.b, 17) && bit(seven.b, 30) && bit(seven.b, 31) &&
           bit(seven.c, 11);
}

/// The same and products of bfloat16.
bool has_avx512_bf16() {
    return has_avx512_vnni() && cpuid(7).a >= 1 && bit(cpuid(7, 1).a, 5);
}

#if defined(__linux__)

constexpr long kTileData = 18;

/// The same and int8 products of tiles, which Linux gives to a process that asks for them.
/// Source: the kernel's Documentation/arch/x86/xstate.rst.
bool has_amx_int8() {
    constexpr uint32_t kTiles = 1u << 24 | 1u << 25;  // AMX-TILE and AMX-INT8
    constexpr long kGetSupported = 0x1021;
    if (!has_avx512_vnni() || (cpuid(7).d & kTiles) != kTiles) return false;
    uint64_t supported = 0;
    return syscall(SYS_arch_prctl, kGetSupported, &supported) == 0 &&
           (supported >> kTileData & 1u) != 0;
}
bool enable_tiles() {
    constexpr long kRequestPermission = 0x1023;
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

#else

bool has_amx_int8() {
    return false;
}
bool enable_tiles() {
    return false;
}

#endif

/// Intel's cores multiply float faster; `pytest benchmarks/kernels -k "linear and bf16"` tells.
bool bf16_is_fast() {
    return cpuid(0).b == 0x68747541;  // "Auth" of AuthenticAMD
}

bool detect(std::string_view isa) {
    if (isa == "amx_int8") return has_amx_int8();
    if (isa == "avx512_bf16") return has_avx512_bf16();
    if (isa == "avx512_vnni") return has_avx512_vnni();
    if (isa == "avx2_vnni") return has_avx2_vnni();
    return isa == "avx2" && has_avx2();
}

#elif defined(PLRT_ARM64)

// The numbers are part of each system's interface; its older headers do not name them all.
#if defined(__linux__)

bool has_dotprod() {
    return (getauxval(AT_HWCAP) & (1ul << 20)) != 0;  // HWCAP_ASIMDDP
}
bool has_i8mm() {
    return (getauxval(AT_HWCAP2) & (1ul << 13)) != 0;  // HWCAP2_I8MM
}

#elif defined(__APPLE__)

bool has_feature(const char* name) {
    int value = 0;
    size_t size = sizeof(value);
    return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
bool has_dotprod() {
    return has_feature("hw.optional.arm.FEAT_DotProd");
}
bool has_i8mm() {
    return has_feature("hw.optional.arm.FEAT_I8MM");
}

#elif defined(_WIN32)

bool has_dotprod() {
    return IsProcessorFeaturePresent(43) != 0;  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE
}
bool has_i8mm() {
    return IsProcessorFeaturePresent(66) != 0;  // PF_ARM_V82_I8MM_INSTRUCTIONS_AVAILABLE
}

#else

bool has_dotprod() {
    return false;
}
bool has_i8mm() {
    return false;
}

#endif

bool detect(std::string_view isa) {
    if (isa == "neon") return true;  // part of every 64-bit Arm
    if (isa == "neon_dotprod") return has_dotprod();
    return isa == "neon_i8mm" && has_dotprod() && has_i8mm();
}

#else

bool detect(std::string_view) {
    return false;
}

#endif

}  // namespace

bool cpu_supports(std::string_view isa) {
    return isa == "scalar" || detect(isa);
}

bool cpu_enable([[maybe_unused]] std::string_view isa) {
#ifdef PLRT_X86
    if (isa == "amx_int8") return enable_tiles();
#endif
    return true;
}

bool cpu_prefers(std::string_view isa) {
#ifdef PLRT_X86
    if (isa == "avx512_bf16" && !bf16_is_fast()) return false;
#endif
    return cpu_supports(isa);
}

}  // namespace plrt
