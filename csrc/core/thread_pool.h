#pragma once
/// One pool of worker threads for the process. Work is cut evenly, by thread number; where that
/// would leave some waiting, threads take it from a queue instead (core/work_queue.h).

#include <cstdint>
#include <functional>

namespace plrt {

/// Threads of one team at most.
inline constexpr int kMaxThreads = 1024;

/// Half-open range of the items that one thread of a team works on.
struct Range {
    int64_t begin;
    int64_t end;
};

/// Cuts `n` items into `n_parts` runs of nearly equal length, each starting at a multiple of
/// `grain`; part `index` is returned.
Range split_range(int64_t n, int index, int n_parts, int64_t grain = 1);

/// The threads working on one `run_parallel` call.
class Team {
  public:
    virtual ~Team() = default;
    virtual int size() const = 0;
    /// Blocks until all threads of the team have arrived. Throws nothing.
    virtual void barrier() = 0;
};

/// Runs `work(team, thread_index)` on `n_threads` threads, the caller being thread 0, and returns
/// when all have ended. If any throws, all others still have to reach the same barriers; the first
/// error is rethrown here. Calls from several threads wait for one another.
/// Throws: Error(kResource) if threads cannot be started, Error(kState) inside another team.
void run_parallel(int n_threads, const std::function<void(Team&, int)>& work);

/// Runs `work(begin, end)` over `n` items in runs that start at multiples of `grain`; threads take
/// them as they go. For work without barriers.
void parallel_for(int n_threads, int64_t n, int64_t grain,
                  const std::function<void(int64_t, int64_t)>& work);

/// Physical cores inside the affinity mask and the cgroup quota; at least 1.
int default_threads();

}  // namespace plrt
