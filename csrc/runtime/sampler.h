#pragma once
/// The sampler chain of one request, over one row of logits: penalties, allowed tokens, top-k,
/// top-p, min-p, temperature, draw.

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "runtime/random.h"

namespace plrt {

/// Field meanings: pyllama_rt/config.py, SamplingConfig. Values were checked there.
struct SamplingConfig {
    double temperature;
    int64_t top_k;
    double top_p;
    double min_p;
    double repeat_penalty;
    double frequency_penalty;
    double presence_penalty;
    int64_t repeat_last_n;
    uint64_t seed;
};

class Sampler {
  public:
    explicit Sampler(const SamplingConfig& config) : config_(config), random_(config.seed) {}

    /// Counts a token of the prompt or of the answer as seen.
    void accept(int32_t id);

    /// Chooses a token. `allowed` is empty, or one bit a token (bit i % 32 of word i / 32).
    /// Throws Error(kShape) if `allowed` is too short, Error(kNumerics) if no token has a finite
    /// logit, Error(kConfig) if `allowed` leaves none.
    int32_t sample(std::span<const float> logits, std::span<const uint32_t> allowed);

  private:
    struct Candidate {
        float logit;
        int32_t id;
    };

    void collect(std::span<const float> logits, std::span<const uint32_t> allowed);
    void penalise();
    int32_t greedy() const;
    void sort_top_k();
    void cut_by_probability();
    int32_t draw();

    SamplingConfig config_;
    Random random_;
    std::deque<int32_t> recent_;
    std::vector<Candidate> candidates_;
    std::vector<double> weights_;
};

}  // namespace plrt
