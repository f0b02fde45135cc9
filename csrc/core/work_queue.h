#pragma once
/// Work that threads share out among themselves as they go: one that is slower, or that the system
/// interrupts, ends up with less of it.

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "core/thread_pool.h"

namespace plrt {

/// Gives out runs of 0 … n - 1, each to one thread.
class alignas(64) WorkQueue {
  public:
    /// From the beginning again. No thread may be taking.
    void restart() { next_.store(0, std::memory_order_relaxed); }

    /// The next item, or n when none is left: for items that cost much, or not alike.
    int64_t take(int64_t n) { return std::min(next_.fetch_add(1, std::memory_order_relaxed), n); }

    /// The next run, which starts at a multiple of `grain`; an empty one when none is left. For
    /// items that cost little and alike: long runs come first, so that threads rarely ask, and ever
    /// shorter ones, so that all end together. n, n_threads and grain stay the same until the queue
    /// is restarted.
    /// Source: guided self-scheduling, C. Polychronopoulos and D. Kuck, IEEE Trans. Computers,
    /// 1987.
    Range take_run(int64_t n, int n_threads, int64_t grain) {
        int64_t begin = next_.load(std::memory_order_relaxed);
        while (begin < n) {
            const int64_t end = begin + std::min(length(n - begin, n_threads, grain), n - begin);
            if (next_.compare_exchange_weak(begin, end, std::memory_order_relaxed)) {
                return {begin, end};
            }
        }
        return {n, n};
    }

  private:
    /// Half a thread's even share of what is left.
    static int64_t length(int64_t n_left, int n_threads, int64_t grain) {
        if (n_threads == 1) return n_left;
        return std::max(n_left / (2 * n_threads) / grain * grain, grain);
    }

    std::atomic<int64_t> next_{0};
};

}  // namespace plrt
