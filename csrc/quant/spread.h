#pragma once
/// The inner loop of rounding with feedback.

namespace plrt {

/// What an element of a row does to those after it, through its row of U (256).
struct Spread {
    const float* upper;
    int from;     // the first that is touched, a multiple of 16; U is 0 up to the diagonal
    float error;  // of rounding the element
    float x;      // the element
};

/// left[k] += error * upper[k] and output[k] += x * upper[k], k = from … 255.
using SpreadFunction = void (*)(const Spread& of, float* left, float* output);

/// For CPUs with AVX2 or, as the only one elsewhere, for all; both compute the same bits.
SpreadFunction spread_function(bool has_avx2);

}  // namespace plrt
