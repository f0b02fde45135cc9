#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "core/errors.h"

namespace plrt {

void Sampler::accept(int32_t id) {
    recent_.push_back(id);
    while (static_cast<int64_t>(recent_.size()) > config_.repeat_last_n) recent_.pop_front();
}

int32_t Sampler::sample(std::span<const float> logits, std::span<const uint32_t> allowed) {
    collect(logits, allowed);
    penalise();
    if (config_.temperature == 0.0) return greedy();
    sort_top_k();
    cut_by_probability();
    return draw();
}

void Sampler::collect(std::span<const float> logits, std::span<const uint32_t> allowed) {
    require(allowed.empty() || allowed.size() * 32 >= logits.size(), ErrorKind::kShape,
            "allowed tokens: expected a bit for each of ", logits.size(), " tokens, found ",
            allowed.size() * 32);
    candidates_.clear();
    bool any_allowed = false;
    for (size_t i = 0; i < logits.size(); ++i) {
        if (!allowed.empty() && ((allowed[i / 32] >> (i % 32)) & 1u) == 0) continue;
        any_allowed = true;
        // Minus infinity is how a logits processor forbids a token.
        if (logits[i] == -INFINITY) continue;
        require(std::isfinite(logits[i]), ErrorKind::kNumerics, "logits: token ", i,
                " has a NaN or an infinity");
        candidates_.push_back({logits[i], static_cast<int32_t>(i)});
    }
    require(any_allowed, ErrorKind::kConfig, "sampler: no token is allowed");
    require(!candidates_.empty(), ErrorKind::kNumerics, "logits: no token has a finite logit");
}

void Sampler::penalise() {
    const bool idle = config_.repeat_penalty == 1.0 && config_.frequency_penalty == 0.0 &&
                      config_.presence_penalty == 0.0;
    if (idle || recent_.empty()) return;
    std::unordered_map<int32_t, int> counts;
    for (const int32_t id : recent_) ++counts[id];
    for (Candidate& c : candidates_) {
        const auto seen = counts.find(c.id);
        if (seen == counts.end()) continue;
        double logit = c.logit;
        logit = logit > 0 ? logit / config_.repeat_penalty : logit * config_.repeat_penalty;
        logit -= seen->second * config_.frequency_penalty + config_.presence_penalty;
        c.logit = static_cast<float>(logit);
    }
}

int32_t Sampler::greedy() const {
    const Candidate* best = &candidates_[0];
    for (const Candidate& c : candidates_) {
        if (c.logit > best->logit) best = &c;
    }
    return best->id;
}

/// Best first, equal logits by id, so that a draw does not depend on the sorting.
void Sampler::sort_top_k() {
    const auto before = [](const Candidate& a, const Candidate& b) {
        return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
    };
    const size_t n = candidates_.size();
    const size_t kept =
        config_.top_k == 0 ? n : std::min(n, static_cast<size_t>(config_.top_k));
    const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(kept);
    if (kept < n) std::nth_element(candidates_.begin(), end - 1, candidates_.end(), before);
    std::sort(candidates_.begin(), end, before);
    candidates_.resize(kept);
}

void Sampler::cut_by_probability() {
    const double best = candidates_[0].logit;
    weights_.clear();
    double total = 0.0;
    for (const Candidate& c : candidates_) {
        weights_.push_back(std::exp(c.logit - best));
        total += weights_.back();
    }
    size_t kept = 0;
    double sum = 0.0;
    // top-p keeps the fewest tokens whose probabilities reach it; the best always stays.
    while (kept < weights_.size()) {
        if (kept > 0 && weights_[kept] < config_.min_p) break;
        sum += weights_[kept++];
        if (config_.top_p < 1.0 && sum >= config_.top_p * total) break;
    }
    candidates_.resize(kept);
}

int32_t Sampler::draw() {
    const double best = candidates_[0].logit;
    weights_.clear();
    double total = 0.0;
    for (const Candidate& c : candidates_) {
        weights_.push_back(std::exp((c.logit - best) / config_.temperature));
        total += weights_.back();
    }
    double rest = random_.uniform() * total;
    for (size_t i = 0; i + 1 < candidates_.size(); ++i) {
        rest -= weights_[i];
        if (rest < 0.0) return candidates_[i].id;
    }
    return candidates_.back().id;
}

}  // namespace plrt
