#pragma once
/// Elements that share a scale, as rounding sees them: which code is nearest, and its value.

#include "quant/search.h"

namespace plrt {

/// scale * value of a code. Codes: as IntegerCodes.
template <class Codes>
class SymmetricRun {
  public:
    explicit SymmetricRun(float scale) : scale_(scale), inverse_(inverse_of(scale)) {}

    /// The nearest codes of eight elements, and what they stand for.
    Lanes round(Lanes x, uint8_t* codes) const {
        return Lanes::all(scale_) * Codes::nearest(x * Lanes::all(inverse_), codes);
    }
    /// The nearest code of one, and what it stands for.
    int code(float x) const { return Codes::code(x * inverse_); }
    float value(float x) const { return scale_ * Codes::nearest(x * inverse_); }

  private:
    float scale_;
    float inverse_;
};

/// scale * code - min, codes 0 … MaxCode.
template <int MaxCode>
class AffineRun {
  public:
    explicit AffineRun(const Affine& fit) : fit_(fit), inverse_(inverse_of(fit.scale)) {}

    /// The nearest codes of eight elements, and what they stand for.
    Lanes round(Lanes x, uint8_t* codes) const {
        const Lanes min = Lanes::all(fit_.min);
        const Lanes q = Codes::nearest((x + min) * Lanes::all(inverse_), codes);
        return Lanes::all(fit_.scale) * q - min;
    }
    /// The nearest code of one, and what it stands for.
    int code(float x) const { return Codes::code((x + fit_.min) * inverse_); }
    float value(float x) const {
        return fit_.scale * Codes::nearest((x + fit_.min) * inverse_) - fit_.min;
    }

  private:
    using Codes = IntegerCodes<0, MaxCode>;

    Affine fit_;
    float inverse_;
};

}  // namespace plrt
