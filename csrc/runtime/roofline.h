#pragma once
/// What this machine can do at most: arithmetic in registers, and bytes from memory. Speeds of a
/// model are compared with these two (docs/benchmarks.md).

#include <cstdint>
#include <functional>

namespace plrt {

/// Bytes that read_bandwidth goes over: more than a cache holds.
inline constexpr int64_t kBandwidthBytes = int64_t{1} << 30;

/// How long to measure, on how many threads, and when to stop early.
struct Measurement {
    int n_threads;
    double seconds;              // above 0 up to 60; a little longer is taken
    std::function<bool()> poll;  // true cancels; called by the calling thread every millisecond
};

/// Multiply-accumulates a second of all threads together, the mean over the whole time.
/// Args: kernel: KernelTable::int8_peak.
/// Throws: Error(kConfig) on impossible numbers, Error(kCancelled).
double int8_peak(int64_t (*kernel)(int64_t n_rounds, int32_t* sum), const Measurement& how);

/// Bytes read a second, the mean over the whole time: each thread goes over and over its part of a
/// buffer of kBandwidthBytes in pages of the usual size, as a mapped file has them.
/// Args: kernel: KernelTable::read_bytes.
/// Throws: Error(kConfig) on impossible numbers, Error(kCancelled), std::bad_alloc.
double read_bandwidth(uint64_t (*kernel)(const uint8_t* data, int64_t n), const Measurement& how);

}  // namespace plrt
