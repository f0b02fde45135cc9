#pragma once
/// What an encoder may know of the numbers that a row's elements will be multiplied with.

#include <algorithm>
#include <cmath>

#include "core/blocks.h"
#include "quant/feedback.h"
#include "quant/search.h"

namespace plrt {

/// Nothing by default: then all elements count alike.
struct Guidance {
    const float* importance = nullptr;   // (n): mean squares of the inputs, finite and not negative
    const Feedback* feedback = nullptr;  // of the same n columns

    /// What concerns the columns from `first` on.
    const float* importance_at(int64_t first) const {
        return importance == nullptr ? nullptr : importance + first;
    }
};

/// Weights of a block's elements in the search for its scales. An input that is large or often
/// there makes an error cost more; the root of an element's size joins in because trained rows
/// point where inputs do, so that errors of large elements add up.
/// Args: importance: (N,) or null.
template <int N>
void weigh(const float* x, const float* importance, float* w) {
    if (importance == nullptr) {
        std::fill_n(w, N, 1.0f);
        return;
    }
    Lanes squares{};
    for (int i = 0; i < N; i += kLanes) squares = squares + Lanes::of(x + i) * Lanes::of(x + i);
    const float mean = squares.total() / N;
    const float largest = bounds<N>(importance).high;
    // Inputs that a text never showed still count a little.
    const float least = 1e-4f * largest;
    const float unit = largest > 0.0f ? 1.0f / largest : 1.0f;
    for (int i = 0; i < N; ++i) {
        const float seen = largest > 0.0f ? std::max(importance[i], least) * unit : 1.0f;
        w[i] = seen * std::sqrt(mean + x[i] * x[i]);
    }
}

}  // namespace plrt
