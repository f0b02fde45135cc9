/// Eight lanes against one number at a time.

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "quant/lanes.h"
#include "quant/search.h"
#include "testing.h"

namespace plrt::testing {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

const Test total_has_one_order("Lanes: a total is added in one order", [] {
    const float x[kLanes] = {1e8f, 1.0f, -1e8f, 3.0f, 7.0f, 0.25f, 1e7f, 1e-3f};
    const float wanted = ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
    check(Lanes::of(x).total() == wanted, "total");
});

const Test larger_and_smaller("Lanes: of a number and NaN, the second is taken", [] {
    const float a[kLanes] = {1, 2, -3, kNan, 5, -0.5f, kNan, 8};
    const float b[kLanes] = {2, 1, -4, 4, kNan, 0.5f, 6, 8};
    float most[kLanes];
    float least[kLanes];
    larger(Lanes::of(a), Lanes::of(b)).store(most);
    smaller(Lanes::of(a), Lanes::of(b)).store(least);
    for (int i = 0; i < kLanes; ++i) {
        const float larger_one = a[i] > b[i] ? a[i] : b[i];
        const float smaller_one = a[i] < b[i] ? a[i] : b[i];
        check(most[i] == larger_one || (std::isnan(most[i]) && std::isnan(larger_one)), "larger");
        check(least[i] == smaller_one || (std::isnan(least[i]) && std::isnan(smaller_one)),
              "smaller");
    }
});

const Test extremes("bounds, signed_max: wherever the extremes stand", [] {
    constexpr int kN = 32;
    std::mt19937 random(3);
    std::uniform_real_distribution<float> some(-0.5f, 0.5f);
    for (int at = 0; at < kN; ++at) {
        std::vector<float> x(kN);
        for (float& value : x) value = some(random);
        const size_t high = static_cast<size_t>(at);
        const size_t low = static_cast<size_t>((at + 5) % kN);
        x[high] = 0.75f;
        x[low] = -1.0f;
        const Bounds found = bounds<kN>(x.data());
        check(found.high == 0.75f && found.low == -1.0f, "bounds");
        check(signed_max<kN>(x.data()) == -1.0f, "the larger magnitude");
        x[high] = 1.0f;
        check(signed_max<kN>(x.data()) == 1.0f, "the positive of two");
    }
});

const Test integers("nearest_integer: lanes and single numbers agree", [] {
    const float x[kLanes] = {-9.0f, -0.5f, 0.5f, 1.5f, 2.5f, 6.6f, 1e30f, kNan};
    float found[kLanes];
    nearest_integer(Lanes::of(x), -8, 7).store(found);
    for (int i = 0; i < kLanes; ++i) check(found[i] == nearest_integer(x[i], -8, 7), "equal");
    check(found[7] == -8 && found[4] == 2 && found[3] == 2, "NaN is the least, ties go to even");
});

}  // namespace
}  // namespace plrt::testing
