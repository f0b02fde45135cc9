#pragma once
/// Dot products of panels by SDOT. Unsigned codes stay below 128, so they are signed ones too.

#include "kernels/neon_dotprod/sdot.h"

namespace plrt::PLRT_ISA {
namespace {

constexpr int kColumnTile = 4;

template <int C, int kSteps>
inline void dot_signed(I32x16* acc, const uint8_t* w, const int8_t* const* x) {
    dot_by_groups<C, kSteps>(acc, w, x);
}
template <int C, int kSteps, int /*kMaxCode*/>
inline void dot_unsigned(I32x16* acc, const uint8_t* w, const int8_t* const* x) {
    dot_by_groups<C, kSteps>(acc, w, x);
}

}  // namespace
}  // namespace plrt::PLRT_ISA
