#pragma once
/// A row to blocks of one format, a window of 256 columns at a time: scales for every block, a code
/// for every element, then the scales once more.
///
/// A format names its Block, the number of its elements, and its Fit: the scales of one block, with
///
///     static Fit search(const Normalised<kElements>& in, const float* w);
///     int code(int i, float x) const;      // nearest code of element i
///     float value(int i, int code) const;  // what it stands for
///     void stretch(float factor);          // multiplies the scales that are stored as f16
///     void pack(const uint8_t* codes, Block& block) const;
///
/// all in units of `in`.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "quant/guidance.h"
#include "quant/normalised.h"

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
            fits_[b] = Format::Fit::search(in, w);
        }
    }

    /// Every element to its nearest code.
    void round() {
        for (int b = 0; b < n_ / kElements; ++b) {
            double wanted = 0.0;
            double found = 0.0;
            const float inverse = 1.0f / units_[b];
            for (int i = 0; i < kElements; ++i) {
                const int at = b * kElements + i;
                const float x = x_[at] * inverse;
                const int code = fits_[b].code(i, x);
                codes_[at] = static_cast<uint8_t>(code);
                const double wx = static_cast<double>(weights_[at]) * x;
                wanted += wx * x;
                found += wx * fits_[b].value(i, code);
            }
            fits_[b].stretch(stretch_factor(wanted, found));
        }
    }

    /// The same, where each element takes over what the ones before it left.
    void round(const Feedback::Window& feedback) {
        constexpr int kStep = 16;  // whole vectors; U is 0 up to the diagonal
        const Normalised<Feedback::kWindow> in = whole_window();
        float left[Feedback::kWindow] = {};    // of what came before, at each element
        float output[Feedback::kWindow] = {};  // of the row itself
        double wanted = 0.0;
        double found = 0.0;
        for (int i = 0; i < n_; ++i) {
            const int b = i / kElements;
            const float unit = in.unit / units_[b];
            const float target = in.x[i] + left[i];
            const int code = fits_[b].code(i % kElements, target * unit);
            codes_[i] = static_cast<uint8_t>(code);
            const float value = fits_[b].value(i % kElements, code) / unit;
            const float error = in.x[i] - value;
            const float* upper = feedback.upper + i * Feedback::kWindow;
            for (int k = i / kStep * kStep; k < Feedback::kWindow; ++k) {
                left[k] += error * upper[k];
                output[k] += in.x[i] * upper[k];
            }
            const double is = output[i] + in.x[i];
            const double becomes = is - (target - value);
            wanted += feedback.diagonal[i] * is * is;
            found += feedback.diagonal[i] * is * becomes;
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
    /// What scales are multiplied with so that the row keeps its length: the best scale for given
    /// codes is too small by the share of the error, in every row alike, which adds up over layers.
    static float stretch_factor(double wanted, double found) {
        constexpr double kMost = 1.25;
        if (!(found > 0.0)) return 1.0f;
        return static_cast<float>(std::clamp(wanted / found, 1.0 / kMost, kMost));
    }

    Normalised<Feedback::kWindow> whole_window() const {
        float x[Feedback::kWindow] = {};
        std::copy_n(x_, n_, x);
        return Normalised<Feedback::kWindow>(x);
    }

    const float* x_;
    int n_;
    typename Format::Fit fits_[kBlocks] = {};
    float units_[kBlocks] = {};
    float weights_[Feedback::kWindow] = {};
    uint8_t codes_[Feedback::kWindow] = {};
};

template <class Format>
void encode_row(const float* x, void* blocks, int64_t n, const Guidance& guidance) {
    auto* target = static_cast<uint8_t*>(blocks);
    for (int64_t first = 0; first < n; first += Feedback::kWindow) {
        const int width = static_cast<int>(std::min<int64_t>(Feedback::kWindow, n - first));
        WindowEncoder<Format> window(x + first, guidance.importance_at(first), width);
        if (guidance.feedback == nullptr) {
            window.round();
        } else {
            window.round(guidance.feedback->window(first / Feedback::kWindow));
        }
        window.pack(target);
        target += width / Format::kElements * static_cast<int>(sizeof(typename Format::Block));
    }
}

}  // namespace plrt
