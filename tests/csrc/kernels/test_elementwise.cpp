/// Row kernels at every tail length, at the edges of float, and against scalar.

#include <bit>
#include <cmath>
#include <limits>

#include "core/float_types.h"
#include "kernels/registry.h"
#include "testing.h"
#include "tiny_model.h"

namespace plrt::testing {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> row(int64_t n) {
    return std::vector<float>(static_cast<size_t>(n));
}

/// Runs `work(kernels, n)` for every instruction set and length.
template <typename Work>
void for_lengths(const Work& work) {
    for (const std::string& isa : supported_isas()) {
        for (int64_t n = 1; n <= 50; ++n) work(select_kernels(isa), n);
        work(select_kernels(isa), 1000);
    }
}

const Test rms_norm("rms_norm: every length against double and scalar", [] {
    for_lengths([](const KernelTable& kernels, int64_t n) {
        const auto x = normal(n, 1, 3.0f);
        const auto weight = normal(n, 2);
        double squares = 0;
        for (const float v : x) squares += static_cast<double>(v) * static_cast<double>(v);
        const double scale = 1.0 / std::sqrt(squares / static_cast<double>(n) + 1e-5);
        auto wanted = row(n);
        for (size_t i = 0; i < wanted.size(); ++i) {
            wanted[i] = static_cast<float>(static_cast<double>(x[i]) * scale *
                                           static_cast<double>(weight[i]));
        }
        auto got = row(n);
        auto plain = row(n);
        kernels.rms_norm(x.data(), weight.data(), 1e-5f, n, got.data());
        select_kernels("scalar").rms_norm(x.data(), weight.data(), 1e-5f, n, plain.data());
        check(nmse(got, wanted) < 1e-12 && nmse(got, plain) < 1e-12, "values");
    });
});

const Test silu_mul_and_add("silu_mul and add: every length, and numbers that are none", [] {
    for_lengths([](const KernelTable& kernels, int64_t n) {
        const auto gate = normal(n, 1, 10.0f);
        const auto up = normal(n, 2);
        auto wanted = row(n);
        for (size_t i = 0; i < wanted.size(); ++i) {
            const double g = static_cast<double>(gate[i]);
            wanted[i] = static_cast<float>(g / (1.0 + std::exp(-g)) * static_cast<double>(up[i]));
        }
        auto got = row(n);
        kernels.silu_mul(gate.data(), up.data(), n, got.data());
        check(nmse(got, wanted) < 1e-12, "silu_mul");
        kernels.add(gate.data(), up.data(), n, got.data());
        for (size_t i = 0; i < got.size(); ++i) check(got[i] == gate[i] + up[i], "add");
    });
    for (const std::string& isa : supported_isas()) {
        const std::vector<float> gate = {kNan, kInfinity, -1e30f, 1e30f, -100.0f, 0.0f, -0.0f};
        const std::vector<float> up(gate.size(), 1.0f);
        auto got = row(static_cast<int64_t>(gate.size()));
        select_kernels(isa).silu_mul(gate.data(), up.data(), 7, got.data());
        check(std::isnan(got[0]) && got[1] == kInfinity && got[3] == 1e30f, "large");
        check(std::abs(got[2]) == 0.0f && std::abs(got[4]) < 1e-30f, "towards zero");
        check(got[5] == 0.0f && got[6] == 0.0f, "zero");
    }
});

const Test exponential("exp: within two units in the last place, and its edges", [] {
    for (const std::string& isa : supported_isas()) {
        const KernelTable& kernels = select_kernels(isa);
        std::vector<float> x;
        for (float v = -86.4f; v < 88.7f; v += 0.01337f) x.push_back(v);
        auto got = row(static_cast<int64_t>(x.size()));
        kernels.exp(x.data(), static_cast<int64_t>(x.size()), got.data());
        for (size_t i = 0; i < x.size(); ++i) {
            const auto wanted = static_cast<float>(std::exp(static_cast<double>(x[i])));
            const int32_t units = std::bit_cast<int32_t>(got[i]) - std::bit_cast<int32_t>(wanted);
            check(std::abs(units) <= 2, "units in the last place");
        }
        const std::vector<float> edges = {0.0f,       -0.0f, -88.0f,    -1e30f,
                                          -kInfinity, 89.0f, kInfinity, kNan};
        kernels.exp(edges.data(), 8, got.data());
        check(got[0] == 1.0f && got[1] == 1.0f, "zero");
        check(got[2] == 0.0f && got[3] == 0.0f && got[4] == 0.0f, "small");
        check(got[5] == kInfinity && got[6] == kInfinity && std::isnan(got[7]), "large and NaN");
    }
});

const Test add_products("add_products: any number of rows against double, added to what is there",
                        [] {
                            for_lengths([](const KernelTable& kernels, int64_t n) {
                                const auto a = normal(16 * n, 1);
                                const auto b = normal(16 * n, 2);
                                std::vector<float> wanted(256);
                                for (size_t i = 0; i < wanted.size(); ++i) {
                                    double sum = 3;
                                    for (size_t row = 0; row < a.size(); row += 16) {
                                        sum += static_cast<double>(a[row + i / 16]) *
                                               static_cast<double>(b[row + i % 16]);
                                    }
                                    wanted[i] = static_cast<float>(sum);
                                }
                                std::vector<float> got(256, 3.0f);
                                kernels.add_products(a.data(), b.data(), n, got.data());
                                check(nmse(got, wanted) < 1e-12, "values");
                            });
                        });

const Test halves("to_f16: as the converter, every length", [] {
    const std::vector<float> special = {0.0f,     -0.0f,   1.0f,       65504.0f, 65519.9f,
                                        65520.0f, 1e30f,   -kInfinity, 6e-8f,    2.9e-8f,
                                        3e-8f,    -1e-45f, 6.1e-5f};
    for_lengths([&](const KernelTable& kernels, int64_t n) {
        auto x = normal(n, 1, 100.0f);
        for (size_t i = 0; i < x.size(); i += 2) x[i] = special[i / 2 % special.size()];
        std::vector<uint16_t> got(x.size());
        kernels.to_f16(x.data(), n, got.data());
        for (size_t i = 0; i < x.size(); ++i) check(got[i] == f32_to_f16(x[i]), "bits");
        x.back() = kNan;
        kernels.to_f16(x.data(), n, got.data());
        check(std::isnan(f16_to_f32(got.back())), "NaN is kept");
    });
});

/// Codes and scales of one row in blocks of `block`.
struct Quantized {
    std::vector<int8_t> q;
    std::vector<float> d;
    std::vector<float> s;
    std::vector<int16_t> sums;
    std::vector<int16_t> sums32;

    Quantized(const KernelTable& kernels, const std::vector<float>& x, size_t block)
        : q(x.size()),
          d(x.size() / block),
          s(x.size() / block),
          sums(x.size() / (block == 32 ? 32 : 16)),
          sums32(x.size() / 32) {
        const auto n = static_cast<int64_t>(x.size());
        if (block == 32) {
            kernels.quantize_rows_32(x.data(), n, {q.data(), d.data(), s.data(), sums.data()});
        } else {
            kernels.quantize_rows_256(x.data(), n,
                                      {q.data(), d.data(), sums.data(), sums32.data()});
        }
    }
};

const Test quantize_rows("quantize_rows: codes, scales and sums, the same on all sets", [] {
    for (const size_t block : {size_t{32}, size_t{256}}) {
        auto x = normal(1024, 5, 2.0f);
        for (size_t i = 256; i < 512; ++i) x[i] *= 1e30f;
        for (size_t i = 512; i < 768; ++i) x[i] *= 1e-35f;  // counts as zero
        const Quantized scalar(select_kernels("scalar"), x, block);
        for (const std::string& isa : supported_isas()) {
            const Quantized got(select_kernels(isa), x, block);
            check(got.q == scalar.q && got.d == scalar.d && got.s == scalar.s, "as scalar");
            check(got.sums == scalar.sums && got.sums32 == scalar.sums32, "sums");
        }
        for (size_t i = 0; i < x.size(); ++i) {
            const float d = scalar.d[i / block];
            const float error = std::abs(x[i] - d * static_cast<float>(scalar.q[i]));
            check(scalar.q[i] >= -127 && error <= 0.5001f * d + 1e-30f, "rounding");
        }
        for (size_t b = 0; b < x.size() / block; ++b) {
            int32_t sum = 0;
            for (size_t i = 0; i < block; ++i) sum += scalar.q[b * block + i];
            if (block == 32) {
                check(scalar.s[b] == scalar.d[b] * static_cast<float>(sum), "s");
                check(scalar.sums[b] == sum, "sum of a small block");
            }
        }
        for (size_t run = 0; block == 256 && run < x.size() / 16; ++run) {
            int32_t sum = 0;
            for (size_t i = 0; i < 16; ++i) sum += scalar.q[run * 16 + i];
            check(scalar.sums[run] == sum, "sum of 16");
            if (run % 2 == 1) {
                check(scalar.sums32[run / 2] == sum + scalar.sums[run - 1], "sum of 32");
            }
        }
    }
});

const Test spoilt_rows("quantize_rows: a NaN or an infinity spoils its block and no other", [] {
    for (const std::string& isa : supported_isas()) {
        for (const size_t block : {size_t{32}, size_t{256}}) {
            for (const float bad : {kNan, kInfinity, -kInfinity}) {
                for (const size_t at : {block, block + 17, 2 * block - 1}) {
                    auto x = normal(1024, 6);
                    x[at] = bad;
                    const Quantized got(select_kernels(isa), x, block);
                    for (size_t b = 0; b < got.d.size(); ++b) {
                        check(std::isnan(got.d[b]) == (b == 1), "which block");
                    }
                    for (size_t i = block; i < 2 * block; ++i) check(got.q[i] == 0, "codes");
                }
            }
            const Quantized zero(select_kernels(isa), row(512), block);
            for (const float d : zero.d) check(d == 0.0f, "zeros");
        }
    }
});

}  // namespace
}  // namespace plrt::testing
