#include "runtime/roofline.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/errors.h"
#include "core/thread_pool.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace plrt {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kMaxSeconds = 60;
constexpr int64_t kSlice = int64_t{1} << 20;  // bytes read between two looks at the clock
constexpr int64_t kRounds = 10000;            // rounds of arithmetic, likewise
constexpr int64_t kPage = 4096;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Lets all threads repeat `slice(thread)` for the time asked for.
/// Returns: the sum of what the slices returned, a second.
double measure_rate(const Measurement& how, const std::function<int64_t(int)>& slice) {
    std::atomic<bool> stop{false};
    std::atomic<int64_t> total{0};
    bool cancelled = false;
    double seconds = 0;
    run_parallel(how.n_threads, [&](Team& team, int index) {
        slice(index);  // wakes the thread and its core
        team.barrier();
        const auto start = Clock::now();
        int64_t done = 0;
        while (!stop.load(std::memory_order_relaxed)) {
            done += slice(index);
            if (index != 0) continue;
            cancelled = how.poll();
            if (cancelled || seconds_since(start) >= how.seconds) stop = true;
        }
        total += done;
        team.barrier();
        if (index == 0) seconds = seconds_since(start);
    });
    require(!cancelled, ErrorKind::kCancelled, "measuring: cancelled");
    return static_cast<double>(total.load()) / seconds;
}

void check(const Measurement& how) {
    require(how.seconds > 0 && how.seconds <= kMaxSeconds, ErrorKind::kConfig,
            "seconds: expected a number above 0 up to ", kMaxSeconds, ", found ", how.seconds);
    require(how.n_threads >= 1 && how.n_threads <= kMaxThreads, ErrorKind::kConfig,
            "threads: expected 1 to ", kMaxThreads, ", found ", how.n_threads);
}

/// Asks for pages of the usual size, as a mapped file has them.
void use_small_pages([[maybe_unused]] const AlignedBuffer& buffer) {
#if defined(__linux__)
    const auto begin = reinterpret_cast<uintptr_t>(buffer.data());
    const uintptr_t first = (begin + kPage - 1) / kPage * kPage;
    const size_t size = static_cast<size_t>(buffer.size()) - (first - begin);
    madvise(reinterpret_cast<void*>(first), size, MADV_NOHUGEPAGE);  // a refusal does no harm
#endif
}

/// Written and read by one thread alone, in its own cache line.
struct alignas(64) ThreadState {
    int64_t next = 0;
    uint64_t sink = 0;
};

}  // namespace

double int8_peak(int64_t (*kernel)(int64_t n_rounds, int32_t* sum), const Measurement& how) {
    check(how);
    std::vector<ThreadState> states(static_cast<size_t>(how.n_threads));
    return measure_rate(how, [&](int index) {
        int32_t sum = 0;
        const int64_t n = kernel(kRounds, &sum);
        states[static_cast<size_t>(index)].sink += static_cast<uint32_t>(sum);
        return n;
    });
}

double read_bandwidth(uint64_t (*kernel)(const uint8_t* data, int64_t n), const Measurement& how) {
    check(how);
    const AlignedBuffer buffer(kBandwidthBytes);
    use_small_pages(buffer);
    const auto part = [&](int index) {
        return split_range(kBandwidthBytes, index, how.n_threads, kSlice);
    };
    // Every page is written once by the thread that reads it: untouched ones are all the same.
    run_parallel(how.n_threads, [&](Team&, int index) {
        const Range own = part(index);
        std::memset(buffer.data() + own.begin, index + 1, static_cast<size_t>(own.end - own.begin));
    });
    std::vector<ThreadState> states(static_cast<size_t>(how.n_threads));
    return measure_rate(how, [&](int index) {
        ThreadState& state = states[static_cast<size_t>(index)];
        const Range own = part(index);
        if (own.begin == own.end) return int64_t{0};
        state.sink ^= kernel(buffer.data() + own.begin + state.next, kSlice);
        state.next = (state.next + kSlice) % (own.end - own.begin);
        return kSlice;
    });
}

}  // namespace plrt
