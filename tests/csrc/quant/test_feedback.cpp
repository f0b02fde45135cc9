/// The factors behind rounding with feedback.

#include <cmath>
#include <random>
#include <vector>

#include "quant/codec.h"
#include "quant/feedback.h"
#include "testing.h"

namespace plrt::testing {
namespace {

constexpr int kN = Feedback::kWindow;

struct Inputs {
    std::vector<float> squares;
    std::vector<float> cosines;  // (n, 256)
};

/// Inputs of n columns behind which there are a few causes.
Inputs make_inputs(int n, int n_causes) {
    std::mt19937 random(7);
    std::normal_distribution<double> normal;
    std::vector<double> causes(static_cast<size_t>(n * n_causes));
    for (double& value : causes) value = normal(random);
    const auto product = [&](int i, int j) {
        double sum = i == j ? 0.5 : 0.0;
        for (int c = 0; c < n_causes; ++c) {
            sum += causes[static_cast<size_t>(i * n_causes + c)] *
                   causes[static_cast<size_t>(j * n_causes + c)];
        }
        return sum;
    };
    Inputs made;
    made.cosines.resize(static_cast<size_t>(n * kN));
    for (int i = 0; i < n; ++i) {
        made.squares.push_back(static_cast<float>(product(i, i)));
        const int first = i / kN * kN;
        for (int j = first; j < std::min(first + kN, n); ++j) {
            made.cosines[static_cast<size_t>(i * kN + j - first)] =
                static_cast<float>(product(i, j) / std::sqrt(product(i, i) * product(j, j)));
        }
    }
    return made;
}

const Test factors("feedback: U D U' is what the inputs say, with 5 % of its mean added", [] {
    const int n = kN + 96;
    const Inputs inputs = make_inputs(n, 5);
    const Feedback feedback(inputs.squares.data(), inputs.cosines.data(), n, 2);
    check(feedback.columns() == n, "columns");
    for (int w = 0; w < 2; ++w) {
        const int first = w * kN;
        const int width = std::min(kN, n - first);
        double mean = 0.0;
        for (int i = 0; i < width; ++i) mean += inputs.squares[static_cast<size_t>(first + i)];
        mean /= width;
        const Feedback::Window window = feedback.window(w);
        for (int i = 0; i < width; ++i) {
            for (int j = i; j < width; ++j) {
                double found = 0.0;  // sum over k of U_ik D_k U_jk, U unit upper triangular
                for (int k = j; k < kN; ++k) {
                    const double u_i = k == i ? 1.0 : window.upper[i * kN + k];
                    const double u_j = k == j ? 1.0 : window.upper[j * kN + k];
                    found += u_i * window.diagonal[k] * u_j;
                }
                const auto at = static_cast<size_t>((first + i) * kN + j);
                const double size_i = inputs.squares[static_cast<size_t>(first + i)] / mean;
                const double size_j = inputs.squares[static_cast<size_t>(first + j)] / mean;
                const double expected =
                    i == j ? size_i + 0.05 : inputs.cosines[at] * std::sqrt(size_i * size_j);
                check(std::fabs(found - expected) < 1e-4, "the product of the factors");
            }
        }
    }
});

const Test odd_inputs("feedback: no inputs at all, and cosines that contradict each other", [] {
    std::vector<float> squares(kN, 0.0f);
    std::vector<float> cosines(static_cast<size_t>(kN) * kN, 1.0f);
    for (int i = 0; i < kN; ++i) {  // no three inputs can all be opposite to one another
        for (int j = 0; j < kN; ++j)
            cosines[static_cast<size_t>(i * kN + j)] = i == j ? 1.0f : -1.0f;
    }
    std::vector<float> x(kN);
    for (int i = 0; i < kN; ++i) x[static_cast<size_t>(i)] = std::sin(static_cast<float>(i));
    for (const float size : {0.0f, 1e-30f, 1.0f, 1e30f}) {
        squares.assign(kN, size);
        const Feedback feedback(squares.data(), cosines.data(), kN, 1);
        std::vector<uint8_t> blocks(static_cast<size_t>(row_bytes(TensorType::kQ4_K, kN)));
        quantize_rows(TensorType::kQ4_K, x.data(), blocks.data(), 1, kN,
                      {squares.data(), &feedback});
        std::vector<float> y(kN);
        dequantize_row(TensorType::kQ4_K, blocks.data(), y.data(), kN);
        for (const float value : y) check(std::fabs(value) < 2.0f, "decoded numbers stay small");
    }
});

}  // namespace
}  // namespace plrt::testing
