#pragma once
/// The fastest int8 multiply-accumulates that this instruction set has, with nothing around them.

#include <cstdint>

#include "kernels/amx_int8/tiles.h"

namespace plrt::PLRT_ISA {
namespace {

inline int64_t int8_peak(int64_t n_rounds, int32_t* sum) {
    constexpr int64_t kMacs = 16 * 16 * 64;
    alignas(64) int8_t ones[16 * 64];
    alignas(64) int32_t sums[16 * 16];
    __builtin_memset(ones, 1, sizeof(ones));
    shape_tiles(kTileColumns);
    load_tile<kActivationTile>(ones, 64);
    load_tile<kCodesTile>(ones, 64);
    for (int64_t round = 0; round < n_rounds; ++round) {
        multiply_tiles<0, true>();
        multiply_tiles<1, true>();
        multiply_tiles<2, true>();
        multiply_tiles<3, true>();
    }
    store_tile<0>(sums, 64);
    release_tiles();
    *sum = sums[0];
    return 4 * n_rounds * kMacs;
}

}  // namespace
}  // namespace plrt::PLRT_ISA
