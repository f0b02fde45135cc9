#pragma once
/// 256 elements in sub-blocks with integer scales and minima under two f16 scales:
/// d * scale * code - dmin * min. A Fit as encode_rows.h wants it, but for the packing.

#include <algorithm>
#include <cfloat>

#include "core/blocks.h"
#include "quant/code_runs.h"
#include "quant/normalised.h"
#include "quant/search.h"

namespace plrt {

/// N: elements of a sub-block. Codes lie in 0 … MaxCode, sub-scales and minima in 0 … Limit.
template <int MaxCode, int N, int Limit>
struct AffineSuperBlock {
    static constexpr int kSubBlocks = kSuperBlock / N;
    static constexpr int kRun = N;

    RoundedScale d{};
    RoundedScale dmin{};
    int scales[kSubBlocks] = {};
    int mins[kSubBlocks] = {};
    float error = FLT_MAX;

    AffineRun<MaxCode> run(int s) const { return AffineRun<MaxCode>(affine(s)); }
    void stretch(float factor) {
        d = d.times(factor);
        dmin = dmin.times(factor);
    }

  protected:
    /// Args: w: (256,) weights. first_step, step, n_steps: as in best_affine.
    static AffineSuperBlock best(const Normalised<kSuperBlock>& in, const float* w,
                                 float first_step, float step, int n_steps) {
        Affine wanted[kSubBlocks];
        Affine next;  // d and dmin to try
        for (int s = 0; s < kSubBlocks; ++s) {
            wanted[s] =
                best_affine<MaxCode, N>(in.x + N * s, w + N * s, first_step, step, n_steps, true);
            next.scale = std::max(next.scale, wanted[s].scale / Limit);
            next.min = std::max(next.min, wanted[s].min / Limit);
        }
        AffineSuperBlock found;
        for (int i = 0; i < 3; ++i) {
            const AffineSuperBlock fit =
                with_scales(in, w, wanted, in.round(next.scale), in.round(next.min));
            if (fit.error >= found.error) break;
            found = fit;
            next = found.least_squares_scales(in, w);
        }
        return found;
    }

  private:
    Affine affine(int s) const { return affine(scales[s], mins[s]); }

    Affine affine(int scale, int min) const {
        return {d.value * static_cast<float>(scale), dmin.value * static_cast<float>(min)};
    }

    /// The best sub-scales and minima under given d and dmin: integers around the wanted ones.
    static AffineSuperBlock with_scales(const Normalised<kSuperBlock>& in, const float* w,
                                        const Affine* wanted, const RoundedScale& d,
                                        const RoundedScale& dmin) {
        AffineSuperBlock fit;
        fit.d = d;
        fit.dmin = dmin;
        fit.error = 0.0f;
        for (int s = 0; s < kSubBlocks; ++s) fit.error += fit.choose(in, w, wanted[s], s);
        return fit;
    }

    float choose(const Normalised<kSuperBlock>& in, const float* w, const Affine& wanted, int s) {
        const auto middle = [](float value, float scale) {
            return static_cast<int>(nearest_integer(value * inverse_of(scale), 0, Limit));
        };
        const int scale = middle(wanted.scale, d.value);
        const int min = middle(wanted.min, dmin.value);
        float least = FLT_MAX;
        for (int i = std::max(0, scale - 1); i <= std::min(Limit, scale + 1); ++i) {
            for (int j = std::max(0, min - 1); j <= std::min(Limit, min + 1); ++j) {
                const float trial = affine_error<MaxCode, N>(in.x + N * s, w + N * s, affine(i, j));
                if (trial >= least) continue;
                least = trial;
                scales[s] = i;
                mins[s] = j;
            }
        }
        return least;
    }

    /// The d and dmin that fit the present sub-scales, minima and codes best.
    Affine least_squares_scales(const Normalised<kSuperBlock>& in, const float* w) const {
        AffineSums total;
        for (int s = 0; s < kSubBlocks; ++s) {
            const Affine fit = affine(s);
            const float* sub_x = in.x + N * s;
            const float* sub_w = w + N * s;
            const AffineSums sums = affine_sums<MaxCode, N>(weight_sums<N>(sub_x, sub_w), sub_x,
                                                            sub_w, inverse_of(fit.scale), fit.min);
            const float scale = static_cast<float>(scales[s]);
            const float min = static_cast<float>(mins[s]);
            total.n += min * min * sums.n;
            total.x += min * sums.x;
            total.q += min * scale * sums.q;
            total.qq += scale * scale * sums.qq;
            total.xq += scale * sums.xq;
        }
        return total.solve(true);
    }
};

}  // namespace plrt
