#pragma once
/// Dot products of panels by SDOT. Unsigned codes stay below 128, so they are signed ones too.

#include "kernels/neon_dotprod/sdot.h"

namespace plrt::PLRT_ISA {
namespace {

constexpr int kColumnTile = 4;
constexpr int kPanelTile = 1;

template <int R, int C, int kSteps>
inline void dot_signed(I32x16* acc, const uint8_t* const* w, const int8_t* const* x) {
    static_assert(R == 1);
    dot_by_groups<C, kSteps>(acc, w[0], x);
}
template <int R, int C, int kSteps, int /*kMaxCode*/>
inline void dot_unsigned(I32x16* acc, const uint8_t* const* w, const int8_t* const* x) {
    static_assert(R == 1);
    dot_by_groups<C, kSteps>(acc, w[0], x);
}

}  // namespace
}  // namespace plrt::PLRT_ISA
