#pragma once
/// The int8 multiply-accumulates that a compiler makes of plain C++, with next to nothing around.

#include <cstdint>

namespace plrt::PLRT_ISA {
namespace {

inline int64_t int8_peak(int64_t n_rounds, int32_t* sum) {
    constexpr int64_t kPerRound = 2048;
    int8_t codes[2 * kPerRound];
    for (int64_t i = 0; i < 2 * kPerRound; ++i) codes[i] = static_cast<int8_t>(i * 37);
    int32_t total = 0;
    for (int64_t round = 0; round < n_rounds; ++round) {
        // Other products in every round, or else they would be taken once.
        const int8_t* x = codes + round % kPerRound;
        for (int64_t i = 0; i < kPerRound; ++i) total += int32_t{x[i]} * int32_t{codes[i]};
    }
    *sum = total;
    return n_rounds * kPerRound;
}

}  // namespace
}  // namespace plrt::PLRT_ISA
