#pragma once
/// Byte shuffles that do the same in every group of 4.

#include <cstdint>

namespace plrt::PLRT_ISA {
namespace {

/// Operand of a byte shuffle; a negative number gives 0.
struct alignas(16) GroupShuffle {
    int8_t from[16];
    constexpr GroupShuffle(int a, int b, int c, int d) : from() {
        const int group[4] = {a, b, c, d};
        for (int i = 0; i < 16; ++i) {
            from[i] = static_cast<int8_t>(group[i % 4] < 0 ? -128 : i / 4 * 4 + group[i % 4]);
        }
    }
};

}  // namespace
}  // namespace plrt::PLRT_ISA
