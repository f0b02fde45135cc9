/// The bytes that the quantisers write: the same on every CPU, for any number of rows at a time.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "core/cpu_features.h"
#include "quant/codec.h"
#include "quant/spread.h"
#include "testing.h"

namespace plrt::testing {
namespace {

constexpr int64_t kRows = 5;

/// Numbers in -1 … 1, made of integers alone, so that they are the same everywhere.
class Numbers {
  public:
    float next() {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return static_cast<float>(static_cast<int32_t>(state_ >> 40)) * 0x1p-23f - 1.0f;
    }
    std::vector<float> many(int64_t n) {
        std::vector<float> made(static_cast<size_t>(n));
        for (float& x : made) x = next() * next();
        return made;
    }

  private:
    uint64_t state_ = 11;
};

struct Columns {
    std::vector<float> squares;
    std::vector<float> cosines;  // (n, 256)

    explicit Columns(int64_t n, Numbers& numbers) {
        const std::vector<float> cause = numbers.many(n);
        for (const float c : cause) squares.push_back(0.05f + c * c);
        cosines.resize(static_cast<size_t>(n * Feedback::kWindow));
        for (int64_t i = 0; i < n; ++i) {
            const int64_t first = i / Feedback::kWindow * Feedback::kWindow;
            for (int64_t j = first; j < std::min(n, first + Feedback::kWindow); ++j) {
                const float product = cause[static_cast<size_t>(i)] * cause[static_cast<size_t>(j)];
                const float sizes =
                    squares[static_cast<size_t>(i)] * squares[static_cast<size_t>(j)];
                cosines[static_cast<size_t>(i * Feedback::kWindow + j - first)] =
                    i == j ? 1.0f : product / std::sqrt(sizes);
            }
        }
    }
};

/// Rows of n columns in three ways: unguided, by importance, and with feedback too.
template <typename F>
void for_guidance(int64_t n, F f) {
    Numbers numbers;
    const std::vector<float> x = numbers.many(kRows * n);
    const Columns columns(n, numbers);
    const Feedback feedback(columns.squares.data(), columns.cosines.data(), n, 1);
    f(x, Guidance{});
    f(x, Guidance{columns.squares.data(), nullptr});
    f(x, Guidance{columns.squares.data(), &feedback});
}

std::vector<uint8_t> encode(TensorType type, const std::vector<float>& x, int64_t n,
                            const Guidance& guidance) {
    std::vector<uint8_t> blocks(static_cast<size_t>(kRows * row_bytes(type, n)));
    quantize_rows(type, x.data(), blocks.data(), kRows, n, guidance);
    return blocks;
}

struct Digest {
    std::string_view type;
    uint64_t value;
};

/// FNV-1a over all that a type writes in the cases below. A change here changes files.
constexpr Digest kDigests[] = {
    {"q4_0", 0x62588b24af34ad86u}, {"q4_1", 0x9f96e50f50b05c10u},   {"q5_0", 0xc39808ad5b3b48e8u},
    {"q5_1", 0xc8037102e6be55f7u}, {"q8_0", 0x57018ecbc49d1724u},   {"q2_k", 0xef4449277a6a08f8u},
    {"q3_k", 0x465bacc60bbf2083u}, {"q4_k", 0x2d9efcb02b2f5c44u},   {"q5_k", 0x17c0648609c238c5u},
    {"q6_k", 0xda957c447c45f3aau}, {"iq4_nl", 0x714d7ec79f34b623u}, {"iq4_xs", 0x5b6082aa5aa269feu},
};

const Test bytes_stay("quantize_rows: the same bytes everywhere", [] {
    for (const Digest& wanted : kDigests) {
        const TensorTypeInfo& type = info(wanted.type);
        uint64_t digest = 14695981039346656037u;
        for (const int64_t n : {int64_t{96}, int64_t{512}, int64_t{768}}) {
            if (n % type.block_size != 0) continue;
            for_guidance(n, [&](const std::vector<float>& x, const Guidance& guidance) {
                for (const uint8_t byte : encode(type.type, x, n, guidance)) {
                    digest = (digest ^ byte) * 1099511628211u;
                }
            });
        }
        const std::string found = std::string(wanted.type) + ": " + std::to_string(digest);
        check(digest == wanted.value, found.c_str());
    }
});

const Test rows_stand_alone("quantize_rows: a row does not depend on the others", [] {
    constexpr int64_t n = 512;
    for (const TensorTypeInfo& type : tensor_types()) {
        for_guidance(n, [&](const std::vector<float>& x, const Guidance& guidance) {
            const std::vector<uint8_t> together = encode(type.type, x, n, guidance);
            const int64_t bytes = row_bytes(type.type, n);
            std::vector<uint8_t> alone(static_cast<size_t>(bytes));
            for (int64_t r = 0; r < kRows; ++r) {
                quantize_rows(type.type, x.data() + r * n, alone.data(), 1, n, guidance);
                check(std::memcmp(alone.data(), together.data() + r * bytes, alone.size()) == 0,
                      std::string(type.name).c_str());
            }
        });
    }
});

const Test spread_is_one("spread: AVX2 and all other CPUs compute the same bits", [] {
    Numbers numbers;
    const std::vector<float> upper = numbers.many(Feedback::kWindow);
    const std::vector<float> before = numbers.many(2 * Feedback::kWindow);
    for (int from = 0; from < Feedback::kWindow; from += 16) {
        const Spread element{upper.data(), from, numbers.next(), numbers.next()};
        std::vector<float> found[2] = {before, before};
        for (const bool has_avx2 : {false, true}) {
            if (has_avx2 && !cpu_supports("avx2")) continue;
            float* left = found[has_avx2].data();
            spread_function(has_avx2)(element, left, left + Feedback::kWindow);
            check(left[Feedback::kWindow - 1] != before[Feedback::kWindow - 1], "it is spread");
        }
        if (cpu_supports("avx2")) check(found[0] == found[1], "equal");
    }
});

}  // namespace
}  // namespace plrt::testing
