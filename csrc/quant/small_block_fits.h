#pragma once
/// 32 elements under one f16 scale, or one and a minimum: Fits as encode_rows.h wants them, but for
/// the packing.

#include "core/blocks.h"
#include "quant/code_runs.h"
#include "quant/normalised.h"
#include "quant/search.h"

namespace plrt {

/// d * value of a code. Codes: as IntegerCodes.
template <class Codes>
struct SymmetricBlock {
    static constexpr int kRun = kSmallBlock;

    RoundedScale d{};

    SymmetricRun<Codes> run(int /*r*/) const { return SymmetricRun<Codes>(d.value); }
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
    static constexpr int kRun = kSmallBlock;

    RoundedScale d{};
    RoundedScale m{};

    AffineRun<MaxCode> run(int /*r*/) const { return AffineRun<MaxCode>({d.value, -m.value}); }
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
