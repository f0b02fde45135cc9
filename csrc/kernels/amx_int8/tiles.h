#pragma once
/// Tile registers: 8 of up to 16 rows of 64 bytes, and products of int8 tiles. In assembly, because
/// the compilers' own functions do not tell that they read and write memory.
/// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, chapter on AMX.

#include <cstdint>

namespace plrt::PLRT_ISA {
namespace {

/// Columns of activations that meet a panel in one product: rows of a tile.
constexpr int kTileColumns = 16;
/// The last two tiles hold what is multiplied, those before them sums.
constexpr int kActivationTile = 6;
constexpr int kCodesTile = 7;

/// The shapes of the tiles, as ldtilecfg reads them.
struct alignas(64) TileShapes {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t bytes[16] = {};  // of a row
    uint8_t rows[16] = {};
};

/// Asks for products of n_cols columns of activations, 64 elements deep.
inline void shape_tiles(int n_cols) {
    TileShapes shapes;
    for (int t = 0; t < 8; ++t) {
        shapes.bytes[t] = 64;
        shapes.rows[t] = static_cast<uint8_t>(t == kCodesTile ? 16 : n_cols);
    }
    asm volatile("ldtilecfg %0" : : "m"(shapes) : "memory");
}
/// Gives the tiles back, so that nobody has to keep them.
inline void release_tiles() {
    asm volatile("tilerelease" : : : "memory");
}

template <int tile>
inline void clear_tile() {
    asm volatile("tilezero %%tmm%c0" : : "i"(tile) : "memory");
}
template <int tile>
inline void load_tile(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(tile) : "memory");
}
template <int tile>
inline void store_tile(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(tile) : "memory");
}
/// Adds the activations by the codes in their tiles to `sums`; codes are signed, or else unsigned.
template <int sums, bool kSigned>
inline void multiply_tiles() {
    if constexpr (kSigned) {
        asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0"
                     :
                     : "i"(sums), "i"(kActivationTile), "i"(kCodesTile)
                     : "memory");
    } else {
        asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0"
                     :
                     : "i"(sums), "i"(kActivationTile), "i"(kCodesTile)
                     : "memory");
    }
}

}  // namespace
}  // namespace plrt::PLRT_ISA
