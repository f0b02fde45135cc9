/// The codecs under sanitizers: any bytes decode, any finite numbers encode, at any address.

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "quant/codec.h"
#include "testing.h"

namespace plrt::testing {
namespace {

constexpr int64_t kRow = 1024;

/// `n_bytes` of heap memory at an odd address, so that sanitizers see misaligned access and every
/// byte read or written beyond the end.
class OddBytes {
  public:
    explicit OddBytes(int64_t n_bytes) : bytes_(static_cast<size_t>(n_bytes) + 1) {}
    uint8_t* data() { return bytes_.data() + 1; }
    size_t size() const { return bytes_.size() - 1; }

  private:
    std::vector<uint8_t> bytes_;
};

std::vector<float> round_trip(TensorType type, const std::vector<float>& x) {
    const auto n = static_cast<int64_t>(x.size());
    OddBytes blocks(row_bytes(type, n));
    quantize_rows(type, x.data(), blocks.data(), 1, n);
    std::vector<float> y(x.size());
    dequantize_row(type, blocks.data(), y.data(), n);
    return y;
}

/// Relative root mean square error.
double relative_error(const std::vector<float>& x, const std::vector<float>& y) {
    double error = 0.0;
    double norm = 0.0;
    for (size_t i = 0; i < x.size(); ++i) {
        error += std::pow(static_cast<double>(x[i]) - y[i], 2);
        norm += std::pow(static_cast<double>(x[i]), 2);
    }
    return std::sqrt(error / norm);
}

const Test random_bytes_decode("codec: random bytes decode", [] {
    std::mt19937 random(1);
    for (const TensorTypeInfo& type : tensor_types()) {
        for (int repeat = 0; repeat < 50; ++repeat) {
            OddBytes blocks(row_bytes(type.type, kRow));
            for (size_t i = 0; i < blocks.size(); ++i) {
                blocks.data()[i] = static_cast<uint8_t>(random());
            }
            std::vector<float> out(kRow);
            dequantize_row(type.type, blocks.data(), out.data(), kRow);
        }
    }
});

const Test normal_numbers_survive("codec: normal numbers survive a round trip", [] {
    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    std::vector<float> x(8 * kRow);
    for (float& value : x) value = normal(random);
    for (const TensorTypeInfo& type : tensor_types()) {
        // Each bit halves the error; a code wasted or a bit misplaced costs far more than 20 %.
        const double bits = 8.0 * type.block_bytes / type.block_size;
        const double limit = type.is_quantized ? 1.2 * std::pow(2.0, 1.0 - bits) : 0.002;
        check(relative_error(x, round_trip(type.type, x)) < limit, "error");
    }
});

const Test every_exponent_encodes("codec: numbers of every magnitude stay finite", [] {
    std::mt19937 random(3);
    for (const TensorTypeInfo& type : tensor_types()) {
        for (int exponent = -149; exponent <= 127; exponent += 3) {
            std::vector<float> x(kRow);
            for (float& value : x) {
                value = std::ldexp(static_cast<float>(random() % 2001) / 1000.0f - 1.0f, exponent);
            }
            if (first_unstorable(type.type, x.data(), kRow) >= 0) continue;
            for (const float value : round_trip(type.type, x)) {
                check(std::isfinite(value), "finite");
                check(exponent > -26 || !type.is_quantized || value == 0.0f, "too small: zero");
            }
        }
    }
});

const Test mixed_magnitudes_encode("codec: mixed magnitudes, zeros and outliers stay finite", [] {
    std::mt19937 random(4);
    for (const TensorTypeInfo& type : tensor_types()) {
        for (int repeat = 0; repeat < 50; ++repeat) {
            std::vector<float> x(kRow);
            for (float& value : x) {
                const int exponent = static_cast<int>(random() % 120) - 60;
                value =
                    random() % 3 == 0 ? 0.0f : std::ldexp(random() % 2 ? 1.0f : -1.3f, exponent);
            }
            if (first_unstorable(type.type, x.data(), kRow) >= 0) continue;
            for (const float value : round_trip(type.type, x)) {
                check(std::isfinite(value), "finite");
            }
        }
    }
});

const Test zeros_stay_zeros("codec: zeros of either sign decode to zeros", [] {
    std::vector<float> x(kRow, 0.0f);
    for (size_t i = 0; i < x.size(); i += 3) x[i] = -0.0f;
    for (const TensorTypeInfo& type : tensor_types()) {
        for (const float value : round_trip(type.type, x)) check(value == 0.0f, "zero");
    }
});

const Test unstorable_numbers("codec: the first unstorable number is found", [] {
    std::vector<float> x(kRow, 1.0f);
    for (const TensorTypeInfo& type : tensor_types()) {
        check(first_unstorable(type.type, x.data(), kRow) == -1, "none");
    }
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
          -std::numeric_limits<float>::infinity()}) {
        for (const size_t at : {size_t{0}, size_t{255}, size_t{256}, size_t{1023}}) {
            std::vector<float> spoilt = x;
            spoilt[at] = bad;
            spoilt.back() = bad;
            const int64_t found = first_unstorable(TensorType::kQ4_K, spoilt.data(), kRow);
            check(found == static_cast<int64_t>(at), "place");
        }
    }
    x[5] = -65520.0f;
    check(first_unstorable(TensorType::kF16, x.data(), kRow) == 5, "f16 overflow");
    check(first_unstorable(TensorType::kBF16, x.data(), kRow) == -1, "bf16 holds it");
    check(first_unstorable(TensorType::kF32, x.data(), 0) == -1, "empty");
});

const Test broken_rows_are_refused("codec: rows of broken blocks are refused", [] {
    std::vector<float> x(48);
    std::vector<uint8_t> blocks(400);
    check_throws(ErrorKind::kShape,
                 [&] { quantize_rows(TensorType::kQ4_0, x.data(), blocks.data(), 1, 48); });
    check_throws(ErrorKind::kShape,
                 [&] { dequantize_row(TensorType::kQ4_K, blocks.data(), x.data(), 32); });
    check_throws(ErrorKind::kUnsupported,
                 [&] { dequantize_row(static_cast<TensorType>(4), blocks.data(), x.data(), 32); });
});

}  // namespace
}  // namespace plrt::testing
