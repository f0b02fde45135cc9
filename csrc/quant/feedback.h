#pragma once
/// Rounding with feedback: what rounding one element does to the outputs, the elements after it
/// make good.
///
/// With H the second moments of the inputs, rounding a row w to q changes its outputs by e' H e on
/// average, e = w - q. From H = U D U', U unit upper triangular, that is the sum over k of
/// D_k (e_k + sum over i < k of U_ik e_i)^2: each term is least if w_k plus that sum is rounded.
/// Source: LDLQ of arXiv:2307.13304, section 3.1, which is GPTQ (arXiv:2210.17323) written anew.

#include <cstdint>
#include <vector>

#include "core/blocks.h"

namespace plrt {

/// U and D for each window of 256 columns; inputs of different windows are taken as unrelated.
class Feedback {
  public:
    static constexpr int kWindow = kSuperBlock;

    struct Window {
        const float* upper;     // (256, 256): U above its diagonal, 0 elsewhere
        const float* diagonal;  // (256): D
    };

    /// Args: importance: (n), mean squares of the inputs. correlations: (n, 256), each input's with
    ///       those of its window: mean products over the root of both mean squares.
    Feedback(const float* importance, const float* correlations, int64_t n, int n_threads);

    int64_t columns() const { return columns_; }
    Window window(int64_t index) const;

  private:
    static constexpr int kWindowFloats = kWindow * kWindow + kWindow;

    int64_t columns_;
    std::vector<float> windows_;
};

}  // namespace plrt
