#pragma once
/// Rows to blocks of one format, a window of 256 columns at a time: scales for every block, a code
/// for every element, then the scales once more.
///
/// A format names its Block, the number of its elements, and its Fit: the scales of one block, with
///
///     static Fit search(const Normalised<kElements>& in, const float* w);
///     static constexpr int kRun;           // elements that share a scale
///     auto run(int r) const;               // their SymmetricRun or AffineRun (code_runs.h)
///     void stretch(float factor);          // multiplies the scales that are stored as f16
///     void pack(const uint8_t* codes, Block& block) const;
///
/// all in units of `in`.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/cpu_features.h"
#include "quant/guidance.h"
#include "quant/normalised.h"
#include "quant/spread.h"

namespace plrt {

/// Blocks of a window with their scales, and what rounding them has come to.
template <class Format>
class WindowEncoder {
  public:
    static constexpr int kElements = Format::kElements;
    static constexpr int kBlocks = Feedback::kWindow / kElements;

    /// Args: x: (n), n <= 256 in whole blocks. importance: (n) or null.
    WindowEncoder(const float* x, const float* importance, int n) : x_(x), n_(n) {
        for (int b = 0; b < n / kElements; ++b) {
            const Normalised<kElements> in(x + b * kElements);
            units_[b] = in.unit;
            if (in.is_zero) continue;
            float* w = weights_ + b * kElements;
            const int first = b * kElements;
            weigh<kElements>(in.x, importance == nullptr ? nullptr : importance + first, w);
            fits_[b] = Fit::search(in, w);
        }
    }

    /// Every element to its nearest code.
    void round() {
        for (int b = 0; b < n_ / kElements; ++b) {
            const Lanes inverse = Lanes::all(1.0f / units_[b]);
            Lanes wanted{};
            Lanes found{};
            for (int i = 0; i < kElements; i += kLanes) {
                const int at = b * kElements + i;
                const Lanes x = Lanes::of(x_ + at) * inverse;
                const Lanes wx = Lanes::of(weights_ + at) * x;
                wanted = wanted + wx * x;
                found = found + wx * fits_[b].run(i / kRun).round(x, codes_ + at);
            }
            fits_[b].stretch(stretch_factor(wanted.total(), found.total()));
        }
    }

    /// The same, where each element takes over what the ones before it left.
    void round(const Feedback::Window& feedback) {
        static const SpreadFunction spread = spread_function(cpu_supports("avx2"));
        constexpr int kStep = 16;  // whole vectors
        const Normalised<Feedback::kWindow> in = whole_window();
        alignas(64) float left[Feedback::kWindow] = {};    // of what came before, at each element
        alignas(64) float output[Feedback::kWindow] = {};  // of the row itself
        double wanted = 0.0;
        double found = 0.0;
        for (int first = 0; first < n_; first += kRun) {
            const int b = first / kElements;
            const float unit = in.unit / units_[b];
            const float inverse = 1.0f / unit;  // exact: units are powers of two
            const auto run = fits_[b].run(first % kElements / kRun);
            for (int i = first; i < first + kRun; ++i) {
                const float target = in.x[i] + left[i];
                codes_[i] = static_cast<uint8_t>(run.code(target * unit));
                const float value = run.value(target * unit) * inverse;
                const float error = in.x[i] - value;
                const float* upper = feedback.upper + i * Feedback::kWindow;
                spread({upper, i / kStep * kStep, error, in.x[i]}, left, output);
                const double is = output[i] + in.x[i];
                const double becomes = is - (target - value);
                wanted += feedback.diagonal[i] * is * is;
                found += feedback.diagonal[i] * is * becomes;
            }
        }
        const float factor = stretch_factor(wanted, found);
        for (int b = 0; b < n_ / kElements; ++b) fits_[b].stretch(factor);
    }

    void pack(uint8_t* target) const {
        for (int b = 0; b < n_ / kElements; ++b) {
            typename Format::Block block{};
            fits_[b].pack(codes_ + b * kElements, block);
            std::memcpy(target + b * sizeof(block), &block, sizeof(block));
        }
    }

  private:
    using Fit = typename Format::Fit;
    static constexpr int kRun = Fit::kRun;

    /// What scales are multiplied with. The best scale for given codes is too small by the share of
    /// the error, in every row alike, which adds up over layers: wanted / found would keep the
    /// row's length. Taking all of it gives the least divergence, none of it the least perplexity
    /// at 2 bits, below that of the float model; kKept lies between the two
    /// (docs/quantize.md says how it was chosen).
    static float stretch_factor(double wanted, double found) {
        constexpr double kMost = 1.25;
        constexpr double kKept = 0.4;
        if (!(found > 0.0)) return 1.0f;
        const double whole = std::clamp(wanted / found, 1.0 / kMost, kMost);
        return static_cast<float>(1.0 + kKept * (whole - 1.0));
    }

    Normalised<Feedback::kWindow> whole_window() const {
        float x[Feedback::kWindow] = {};
        std::copy_n(x_, n_, x);
        return Normalised<Feedback::kWindow>(x);
    }

    const float* x_;
    int n_;
    Fit fits_[kBlocks] = {};
    float units_[kBlocks] = {};
    float weights_[Feedback::kWindow] = {};
    uint8_t codes_[Feedback::kWindow] = {};
};

/// All rows of a window after one another, so that what guides it stays in the cache.
template <class Format>
void encode_rows(const float* x, void* blocks, int64_t n_rows, int64_t n,
                 const Guidance& guidance) {
    constexpr int64_t kBytes = sizeof(typename Format::Block);
    for (int64_t first = 0; first < n; first += Feedback::kWindow) {
        const int width = static_cast<int>(std::min<int64_t>(Feedback::kWindow, n - first));
        for (int64_t row = 0; row < n_rows; ++row) {
            const int64_t at = row * n + first;
            WindowEncoder<Format> window(x + at, guidance.importance_at(first), width);
            if (guidance.feedback == nullptr) {
                window.round();
            } else {
                window.round(guidance.feedback->window(first / Feedback::kWindow));
            }
            window.pack(static_cast<uint8_t*>(blocks) + at / Format::kElements * kBytes);
        }
    }
}

}  // namespace plrt
