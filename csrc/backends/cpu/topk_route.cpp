#include <algorithm>

#include "backends/cpu/row_operation.h"

namespace plrt::cpu {
namespace {

/// The numbers of the `n_used` largest of n scores, largest first, of equal ones the lower number.
/// Always different numbers in range, whatever the scores are.
void choose_largest(const float* scores, int64_t n, int64_t n_used, float* chosen) {
    for (int64_t i = 0; i < n_used; ++i) {
        int64_t best = -1;
        for (int64_t e = 0; e < n; ++e) {
            const bool is_taken =
                std::find(chosen, chosen + i, static_cast<float>(e)) != chosen + i;
            if (!is_taken && (best < 0 || scores[e] > scores[best])) best = e;
        }
        chosen[i] = static_cast<float>(best);
    }
}

}  // namespace

/// The result is the numbers of the chosen experts, then their shares: the softmax over all, with
/// norm=1 divided by its sum over the chosen.
std::unique_ptr<Operation> bind_topk_route(const BindContext& c) {
    const int64_t n_used = c.node().integer("n_used");
    const int64_t n = c.input(0).width;
    const bool is_normed = c.node().integer("norm") != 0;
    return row_operation(c, [&kernels = c.kernels, n, n_used, is_normed](InputRows in, float* out) {
        const float* logits = in[0];
        choose_largest(logits, n, n_used, out);
        float* shares = out + n_used;
        const float largest = logits[static_cast<int64_t>(out[0])];
        float total = 0.0f;
        for (int64_t e = 0; !is_normed && e < n; ++e) {
            float share = logits[e] - largest;
            kernels.exp(&share, 1, &share);
            total += share;
        }
        for (int64_t i = 0; i < n_used; ++i) {
            shares[i] = logits[static_cast<int64_t>(out[i])] - largest;
        }
        kernels.exp(shares, n_used, shares);
        for (int64_t i = 0; is_normed && i < n_used; ++i) total += shares[i];
        for (int64_t i = 0; i < n_used; ++i) shares[i] /= total;
    });
}

}  // namespace plrt::cpu
