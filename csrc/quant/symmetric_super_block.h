#pragma once
/// 256 elements in sub-blocks with signed integer scales under one f16 scale: d * scale * code.
/// A Fit as encode_rows.h wants it, but for the packing.

#include <algorithm>
#include <cfloat>

#include "core/blocks.h"
#include "quant/code_runs.h"
#include "quant/normalised.h"
#include "quant/search.h"

namespace plrt {

/// Scales and codes of a superblock. Codes: as IntegerCodes. N: elements of a sub-block.
/// Limit: sub-scales lie in -Limit … Limit - 1.
template <class Codes, int N, int Limit>
struct SymmetricSuperBlock {
    static constexpr int kSubBlocks = kSuperBlock / N;
    static constexpr int kRun = N;

    RoundedScale d{};
    int scales[kSubBlocks] = {};
    float error = FLT_MAX;

    SymmetricRun<Codes> run(int s) const { return SymmetricRun<Codes>(scale(s)); }
    void stretch(float factor) { d = d.times(factor); }

  protected:
    /// Args: w: (256,) weights. n_steps, step: as in best_scale.
    static SymmetricSuperBlock best(const Normalised<kSuperBlock>& in, const float* w, int n_steps,
                                    float step) {
        float wanted[kSubBlocks];
        for (int s = 0; s < kSubBlocks; ++s) {
            wanted[s] = best_scale<Codes, N>(in.x + N * s, w + N * s, n_steps, step);
        }
        const float largest = signed_max<kSubBlocks>(wanted);
        SymmetricSuperBlock found;
        float d = largest / static_cast<float>(-Limit);
        for (int i = 0; i < 3; ++i) {
            const SymmetricSuperBlock fit = with_scale(in, w, wanted, in.round(d));
            if (fit.error >= found.error) break;
            found = fit;
            d = found.least_squares_d(in, w);
        }
        return found;
    }

  private:
    float scale(int s) const { return d.value * static_cast<float>(scales[s]); }

    /// The best sub-scales under a given d: the integers around the wanted ones are tried.
    static SymmetricSuperBlock with_scale(const Normalised<kSuperBlock>& in, const float* w,
                                          const float* wanted, const RoundedScale& d) {
        SymmetricSuperBlock fit;
        fit.d = d;
        fit.error = 0.0f;
        const float inverse = inverse_of(d.value);
        for (int s = 0; s < kSubBlocks; ++s) {
            const int middle =
                static_cast<int>(nearest_integer(wanted[s] * inverse, -Limit, Limit - 1));
            float least = FLT_MAX;
            const int last = std::min(Limit - 1, middle + 1);
            for (int trial = std::max(-Limit, middle - 1); trial <= last; ++trial) {
                const float error = symmetric_error<Codes, N>(in.x + N * s, w + N * s,
                                                              d.value * static_cast<float>(trial));
                if (error >= least) continue;
                least = error;
                fit.scales[s] = trial;
            }
            fit.error += least;
        }
        return fit;
    }

    /// The d that fits the present sub-scales and codes best.
    float least_squares_d(const Normalised<kSuperBlock>& in, const float* w) const {
        SymmetricSums total;
        for (int s = 0; s < kSubBlocks; ++s) {
            const SymmetricSums sums =
                symmetric_sums<Codes, N>(in.x + N * s, w + N * s, inverse_of(scale(s)));
            const float factor = static_cast<float>(scales[s]);
            total.xq += factor * sums.xq;
            total.qq += factor * factor * sums.qq;
        }
        return total.scale();
    }
};

}  // namespace plrt
