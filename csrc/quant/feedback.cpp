#include "quant/feedback.h"

#include <algorithm>
#include <cmath>

#include "core/thread_pool.h"

namespace plrt {
namespace {

constexpr int kN = Feedback::kWindow;

/// Added to the diagonal, as a share of its mean: a text shows only so much of how inputs go
/// together.
constexpr double kDamping = 0.05;

/// H of one window, (256, 256); columns past the last are the unit matrix.
std::vector<double> second_moments(const float* importance, const float* correlations, int n) {
    double mean = 0.0;
    for (int i = 0; i < n; ++i) mean += importance[i];
    mean /= n;
    const auto size = [&](int i) { return mean > 0.0 ? std::max(0.0, importance[i] / mean) : 1.0; };
    std::vector<double> h(static_cast<size_t>(kN * kN));
    for (int i = 0; i < kN; ++i) {
        double* row = h.data() + i * kN;
        for (int j = 0; i < n && j < n; ++j) {
            row[j] = i == j ? size(i) : correlations[i * kN + j] * std::sqrt(size(i) * size(j));
        }
        row[i] += i < n ? kDamping : 1.0;
    }
    return h;
}

/// H = U D U' in place of its upper triangle, from the last column on; the order of the sums is
/// fixed, so that files do not depend on the machine.
void factor(std::vector<double>& h) {
    for (int j = kN - 1; j >= 0; --j) {
        double* column = h.data() + j * kN;  // row j of the symmetric matrix
        const double d = std::max(column[j], kDamping / 2);
        column[j] = d;
        // What column j explains of the rest goes off the rest.
        for (int i = 0; i < j; ++i) {
            const double u = column[i] / d;
            double* row = h.data() + i * kN;
            for (int k = 0; k <= i; ++k) row[k] -= u * column[k];
        }
        for (int i = 0; i < j; ++i) column[i] /= d;
    }
}

/// Args: out: U of a window, then D.
void factor_window(const float* importance, const float* correlations, int n, float* out) {
    std::vector<double> h = second_moments(importance, correlations, n);
    factor(h);
    for (int j = 0; j < kN; ++j) {
        const double* column = h.data() + j * kN;
        for (int i = 0; i < j; ++i) out[i * kN + j] = static_cast<float>(column[i]);
        out[kN * kN + j] = static_cast<float>(column[j]);
    }
}

}  // namespace

Feedback::Feedback(const float* importance, const float* correlations, int64_t n, int n_threads)
    : columns_(n) {
    const int64_t n_windows = (n + kN - 1) / kN;
    windows_.resize(static_cast<size_t>(n_windows * kWindowFloats));
    parallel_for(n_threads, n_windows, 1, [&](int64_t begin, int64_t end) {
        for (int64_t w = begin; w < end; ++w) {
            const int64_t first = w * kN;
            const int width = static_cast<int>(std::min<int64_t>(kN, n - first));
            factor_window(importance + first, correlations + first * kN, width,
                          windows_.data() + w * kWindowFloats);
        }
    });
}

Feedback::Window Feedback::window(int64_t index) const {
    const float* upper = windows_.data() + index * kWindowFloats;
    return {upper, upper + kN * kN};
}

}  // namespace plrt
