#pragma once
/// The measuring loop of the instruction sets that have an int8 dot product in one instruction.

#include <cstdint>

#include "core/compiler.h"

namespace plrt::PLRT_ISA {
namespace {

/// More chains than the instruction's latency times its units, and fewer than registers.
inline constexpr int kChains = 12;
inline constexpr int kChainSteps = 8;

/// Dot: Vector, its int32 lanes; start(i), something else for each i; add(v), v and kMacs products
/// of constants; total(v), the sum of the lanes.
/// Written out by hand, because GCC keeps an array of chains in memory.
template <typename Dot>
inline int64_t int8_chains(int64_t n_rounds, int32_t* sum) {
    using V = typename Dot::Vector;
    // Each starts at a number of its own, or else the compiler would see that they are all one.
    V a = Dot::start(1), b = Dot::start(2), c = Dot::start(3), d = Dot::start(4);
    V e = Dot::start(5), f = Dot::start(6), g = Dot::start(7), h = Dot::start(8);
    V i = Dot::start(9), j = Dot::start(10), k = Dot::start(11), l = Dot::start(12);
    for (int64_t round = 0; round < n_rounds; ++round) {
        PLRT_UNROLL
        for (int step = 0; step < kChainSteps; ++step) {
            a = Dot::add(a), b = Dot::add(b), c = Dot::add(c), d = Dot::add(d);
            e = Dot::add(e), f = Dot::add(f), g = Dot::add(g), h = Dot::add(h);
            i = Dot::add(i), j = Dot::add(j), k = Dot::add(k), l = Dot::add(l);
        }
    }
    *sum = Dot::total(a) + Dot::total(b) + Dot::total(c) + Dot::total(d) + Dot::total(e) +
           Dot::total(f) + Dot::total(g) + Dot::total(h) + Dot::total(i) + Dot::total(j) +
           Dot::total(k) + Dot::total(l);
    return n_rounds * kChainSteps * kChains * Dot::kMacs;
}

}  // namespace
}  // namespace plrt::PLRT_ISA
