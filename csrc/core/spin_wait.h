#pragma once
/// Waiting that costs nanoseconds when the answer is near and no processor time when it is not.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace plrt {

/// Tells the processor that this is a spin loop.
inline void spin_pause() {
#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64)
    _mm_pause();
#elif defined(__aarch64__) && !defined(_MSC_VER)
    asm volatile("yield");
#else
    std::this_thread::yield();
#endif
}

/// A counter that only grows (modulo 2^32) and that threads wait on: they spin, offer their
/// processor to others, then sleep. The spin is short because on a busy machine the thread that is
/// waited for may need this very processor.
/// A condition variable instead of std::atomic::wait, which older macOS targets lack.
class alignas(64) WaitCounter {
  public:
    uint32_t value() const { return value_.load(std::memory_order_acquire); }

    /// Adds one and wakes whoever waits.
    void advance() {
        // Sequentially consistent on both sides: either this thread sees the sleeper, or the
        // sleeper sees the new value before it sleeps.
        value_.fetch_add(1);
        if (n_sleepers_.load() > 0) {
            const std::lock_guard<std::mutex> lock(mutex_);
            changed_.notify_all();
        }
    }

    /// Returns as soon as the value differs from `old`.
    void wait_while(uint32_t old) {
        for (int i = 0; i < kPauses; ++i) {
            if (value() != old) return;
            spin_pause();
        }
        for (int i = 0; i < kYields; ++i) {
            if (value() != old) return;
            std::this_thread::yield();
        }
        std::unique_lock<std::mutex> lock(mutex_);
        n_sleepers_.fetch_add(1);
        changed_.wait(lock, [&] { return value_.load() != old; });
        n_sleepers_.fetch_sub(1);
    }

  private:
    static constexpr int kPauses = 200;
    static constexpr int kYields = 50;

    std::atomic<uint32_t> value_{0};
    std::atomic<int> n_sleepers_{0};
    std::mutex mutex_;
    std::condition_variable changed_;
};

}  // namespace plrt
