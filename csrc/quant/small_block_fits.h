#pragma once
/// 32 elements under one f16 scale, or one and a minimum: Fits as encode_row.h wants them, but for
/// the packing.

#include "core/blocks.h"
#include "quant/normalised.h"
#include "quant/search.h"

namespace plrt {

/// d * value of a code. Codes: as IntegerCodes.
template <class Codes>
struct SymmetricBlock {
    RoundedScale d{};

    int code(int /*i*/, float x) const { return Codes::code(x * inverse_of(d.value)); }
    float value(int /*i*/, int code) const { return d.value * Codes::value(code); }
    void stretch(float factor) { d = d.times(factor); }

  protected:
    /// Args: as best_scale.
    static SymmetricBlock best(const Normalised<kSmallBlock>& in, const float* w, int n_steps,
                               float step) {
        return {in.round(best_scale<Codes, kSmallBlock>(in.x, w, n_steps, step))};
    }
};

/// d * code + m, codes 0 … MaxCode.
template <int MaxCode>
struct AffineBlock {
    RoundedScale d{};
    RoundedScale m{};

    int code(int /*i*/, float x) const {
        return static_cast<int>(nearest_integer((x - m.value) * inverse_of(d.value), 0, MaxCode));
    }
    float value(int /*i*/, int code) const { return d.value * static_cast<float>(code) + m.value; }
    void stretch(float factor) {
        d = d.times(factor);
        m = m.times(factor);
    }

  protected:
    /// Args: as best_affine.
    static AffineBlock best(const Normalised<kSmallBlock>& in, const float* w, float first_step,
                            float step, int n_steps) {
        const Affine fit =
            best_affine<MaxCode, kSmallBlock>(in.x, w, first_step, step, n_steps, false);
        return {in.round(fit.scale), in.round(-fit.min)};
    }
};

}  // namespace plrt
