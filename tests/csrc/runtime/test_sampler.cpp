/// The sampler: every cut and penalty, seeds, masks, and logits that are no numbers.

#include <cmath>
#include <limits>
#include <set>

#include "runtime/sampler.h"
#include "testing.h"
#include "tiny_model.h"

namespace plrt::testing {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// Everything off: plain draws from the softmax.
SamplingConfig plain(uint64_t seed = 1) {
    return {.temperature = 1.0,
            .top_k = 0,
            .top_p = 1.0,
            .min_p = 0.0,
            .repeat_penalty = 1.0,
            .frequency_penalty = 0.0,
            .presence_penalty = 0.0,
            .repeat_last_n = 64,
            .seed = seed};
}

SamplingConfig greedy() {
    SamplingConfig config = plain();
    config.temperature = 0.0;
    return config;
}

/// Tokens that 300 draws give.
std::set<int32_t> drawn(Sampler& sampler, const std::vector<float>& logits) {
    std::set<int32_t> out;
    for (int i = 0; i < 300; ++i) out.insert(sampler.sample(logits, {}));
    return out;
}

const Test takes_the_best(
    "sampler: temperature 0 and top_k 1 take the best, the first of equals", [] {
        SamplingConfig one = plain();
        one.top_k = 1;
        for (const SamplingConfig& config : {greedy(), one}) {
            Sampler sampler(config);
            check(sampler.sample(std::vector<float>{1, 5, 3}, {}) == 1, "best");
            check(sampler.sample(std::vector<float>{2, 7, 7, 7}, {}) == 1, "first of equals");
            check(sampler.sample(std::vector<float>{-kInfinity, -3e38f}, {}) == 1, "forbidden");
            check(sampler.sample(std::vector<float>{-1}, {}) == 0, "only one");
        }
    });

const Test seeds("sampler: a seed repeats, another differs", [] {
    const std::vector<float> logits = normal(50, 1);
    const auto draws = [&](uint64_t seed) {
        Sampler sampler(plain(seed));
        std::vector<int32_t> out;
        for (int i = 0; i < 40; ++i) out.push_back(sampler.sample(logits, {}));
        return out;
    };
    check(draws(5) == draws(5), "repeats");
    check(draws(5) != draws(6), "differs");
    check(draws(0) != draws(std::numeric_limits<uint64_t>::max()), "at the ends");
});

const Test shares("sampler: draws follow the probabilities", [] {
    Sampler sampler(plain());
    const std::vector<float> logits = {std::log(1.0f), std::log(2.0f), std::log(7.0f)};
    int counts[3] = {};
    for (int i = 0; i < 20000; ++i) ++counts[sampler.sample(logits, {})];
    check(std::abs(counts[0] - 2000) < 200 && std::abs(counts[1] - 4000) < 250, "shares");
});

const Test cuts("sampler: top_k, top_p and min_p", [] {
    const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f),
                                       std::log(0.05f)};
    const auto kept = [&](auto change) {
        SamplingConfig config = plain();
        change(config);
        Sampler sampler(config);
        return drawn(sampler, logits).size();
    };
    check(kept([](SamplingConfig&) {}) == 4, "all");
    check(kept([](SamplingConfig& c) { c.top_k = 2; }) == 2, "top_k");
    check(kept([](SamplingConfig& c) { c.top_k = 2147483647; }) == 4,
          "top_k beyond the vocabulary");
    check(kept([](SamplingConfig& c) { c.top_p = 0.0; }) == 1, "top_p keeps the best");
    check(kept([](SamplingConfig& c) { c.top_p = 0.6; }) == 2, "top_p");
    check(kept([](SamplingConfig& c) { c.top_p = 0.94; }) == 3, "top_p");
    check(kept([](SamplingConfig& c) { c.min_p = 1.0; }) == 1, "min_p keeps the best");
    check(kept([](SamplingConfig& c) { c.min_p = 0.2; }) == 3, "min_p");
    check(kept([](SamplingConfig& c) { c.temperature = 1e-300; }) == 1, "cold");
});

const Test penalties("sampler: seen tokens are penalised, and only the last of them", [] {
    const std::vector<float> logits = {2.0f, 1.9f, -1.0f};
    const auto choice = [&](auto change, const std::vector<int32_t>& seen) {
        SamplingConfig config = greedy();
        change(config);
        Sampler sampler(config);
        for (const int32_t id : seen) sampler.accept(id);
        return sampler.sample(logits, {});
    };
    const auto repeat = [](SamplingConfig& c) { c.repeat_penalty = 1.1; };
    check(choice(repeat, {}) == 0 && choice(repeat, {0}) == 1, "repeat");
    check(choice(repeat, {0, 1}) == 0, "both");
    check(choice([](SamplingConfig& c) { c.presence_penalty = 0.2; }, {0}) == 1, "presence");
    const auto frequency = [](SamplingConfig& c) { c.frequency_penalty = 0.04; };
    check(choice(frequency, {0, 0}) == 0 && choice(frequency, {0, 0, 0}) == 1, "frequency");
    const auto last = [&](int64_t n) {
        return choice(
            [&](SamplingConfig& c) {
                c.repeat_penalty = 1.1;
                c.repeat_last_n = n;
            },
            {0, 2, 2});
    };
    check(last(0) == 0 && last(2) == 0 && last(3) == 1, "window");
    check(choice(repeat, {-1, 99, std::numeric_limits<int32_t>::min()}) == 0, "ids beyond");
    const auto lift = [](SamplingConfig& c) { c.repeat_penalty = 1e-3; };
    check(choice(lift, {2}) == 0 && choice(lift, {1}) == 1, "below 1 it attracts");
});

const Test overflow("sampler: penalties that overflow still choose a token", [] {
    for (const double penalty : {100.0, 1e-300}) {
        for (const double temperature : {0.0, 1e-300, 100.0}) {
            SamplingConfig config = plain();
            config.temperature = temperature;
            config.repeat_penalty = penalty;
            Sampler sampler(config);
            for (const int32_t id : {0, 1, 2}) sampler.accept(id);
            const int32_t id = sampler.sample(std::vector<float>{3e38f, -3e38f, -3e38f}, {});
            check(id >= 0 && id < 3, "an id");
        }
    }
});

const Test masks("sampler: a mask of allowed tokens", [] {
    std::vector<float> logits = normal(70, 2);
    logits[3] = 50.0f;
    std::vector<uint32_t> allowed = {0, 1u << 8, 1u << 5};  // tokens 40 and 69
    for (const SamplingConfig& config : {greedy(), plain()}) {
        Sampler sampler(config);
        for (int i = 0; i < 50; ++i) {
            const int32_t id = sampler.sample(logits, allowed);
            check(id == 40 || id == 69, "allowed");
        }
        const std::vector<uint32_t> none = {0, 0, 1u << 6};  // token 70 does not exist
        check_throws(ErrorKind::kConfig, [&] { sampler.sample(logits, none); });
        const std::vector<uint32_t> narrow = {1, 1};
        check_throws(ErrorKind::kShape, [&] { sampler.sample(logits, narrow); });
        logits[40] = logits[69] = -kInfinity;
        check_throws(ErrorKind::kNumerics, [&] { sampler.sample(logits, allowed); });
        logits[40] = logits[69] = 1.0f;
        logits[5] = kNan;  // forbidden anyway
        check(sampler.sample(logits, allowed) >= 40, "a forbidden NaN does no harm");
    }
});

const Test no_numbers("sampler: NaN, infinities and nothing at all", [] {
    for (const SamplingConfig& config : {greedy(), plain()}) {
        Sampler sampler(config);
        for (const float bad : {kNan, -kNan, kInfinity}) {
            for (const size_t at : {size_t{0}, size_t{2}}) {
                std::vector<float> logits = {1, 2, 3};
                logits[at] = bad;
                check_throws(ErrorKind::kNumerics, [&] { sampler.sample(logits, {}); });
            }
        }
        const std::vector<float> forbidden(3, -kInfinity);
        check_throws(ErrorKind::kNumerics, [&] { sampler.sample(forbidden, {}); });
        check_throws(ErrorKind::kConfig, [&] { sampler.sample({}, {}); });
        check(sampler.sample(std::vector<float>{0, 1}, {}) >= 0, "and goes on after them");
    }
});

}  // namespace
}  // namespace plrt::testing
