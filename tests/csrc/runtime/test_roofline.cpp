/// The measurements of the machine: what they count, and how they end.

#include <cmath>
#include <vector>

#include "core/thread_pool.h"
#include "kernels/registry.h"
#include "runtime/roofline.h"
#include "testing.h"
#include "tiny_model.h"

namespace plrt::testing {
namespace {

const auto never = [] { return false; };

const Test counts("int8_peak: every round counts, and its sum depends on them", [] {
    for (const std::string& isa : supported_isas()) {
        const KernelTable& kernels = select_kernels(isa);
        int32_t few = 0;
        int32_t many = 0;
        const int64_t each = kernels.int8_peak(1, &few);
        check(each > 0 && kernels.int8_peak(7, &many) == 7 * each, "count");
        check(few != many, "sum");
    }
});

const Test reads("read_bytes: every byte is read", [] {
    std::vector<uint64_t> words(static_cast<size_t>(3 * kReadGrain / 8));
    for (size_t i = 0; i < words.size(); ++i) words[i] = i * i * 0x9e3779b97f4a7c15u;
    const auto* bytes = reinterpret_cast<const uint8_t*>(words.data());
    for (const std::string& isa : supported_isas()) {
        for (int64_t n = 0; n <= 3 * kReadGrain; n += kReadGrain) {
            uint64_t wanted = 0;
            for (int64_t i = 0; i < n / 8; ++i) wanted ^= words[static_cast<size_t>(i)];
            check(select_kernels(isa).read_bytes(bytes, n) == wanted, "exclusive or");
        }
    }
});

const Test rates("roofline: the kernel's count over the time that passed", [] {
    const auto one = [](int64_t, int32_t*) -> int64_t { return 1; };
    const auto thousand = [](int64_t, int32_t*) -> int64_t { return 1000; };
    const Measurement how{1, 0.02, never};
    const double slow = int8_peak(one, how);
    const double fast = int8_peak(thousand, how);
    check(slow > 0 && fast > 50 * slow, "rate");
});

const Test ends("roofline: cancelled by its poll, and refused for impossible numbers", [] {
    const auto kernel = select_kernels("").int8_peak;
    for (const int n_threads : {1, 3}) {
        check_throws(ErrorKind::kCancelled,
                     [&] { int8_peak(kernel, {n_threads, 60.0, [] { return true; }}); });
    }
    for (const double seconds : {0.0, -1.0, 61.0, std::nan("")}) {
        check_throws(ErrorKind::kConfig, [&] { int8_peak(kernel, {1, seconds, never}); });
    }
    check_throws(ErrorKind::kConfig, [&] { int8_peak(kernel, {0, 1.0, never}); });
    check_throws(ErrorKind::kConfig, [&] {
        read_bandwidth(select_kernels("").read_bytes, {kMaxThreads + 1, 1.0, never});
    });
});

}  // namespace
}  // namespace plrt::testing
