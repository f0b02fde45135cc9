#include "core/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "core/errors.h"
#include "core/fork.h"
#include "core/spin_wait.h"
#include "core/work_queue.h"

namespace plrt {
namespace {

thread_local bool inside_team = false;

/// The barrier of one run. A thread that has ended its work no longer counts, so that an error in
/// one thread cannot leave the others waiting.
class PoolTeam final : public Team {
  public:
    explicit PoolTeam(int n_threads)
        : state_(static_cast<uint64_t>(n_threads)), n_threads_(n_threads) {}

    int size() const override { return n_threads_; }

    void barrier() override {
        const uint32_t generation = generation_.value();
        const uint64_t state = state_.fetch_add(kOneArrived) + kOneArrived;
        if (!release_if_complete(state)) generation_.wait_while(generation);
    }

    /// Called once by each thread when its work has ended.
    void leave() { release_if_complete(state_.fetch_sub(1) - 1); }

  private:
    static constexpr uint64_t kOneArrived = uint64_t{1} << 32;

    /// At most one thread can see the complete state: all the others are waiting or gone.
    bool release_if_complete(uint64_t state) {
        const uint64_t n_arrived = state >> 32;
        const uint64_t n_expected = state & 0xffffffffu;
        if (n_arrived == 0 || n_arrived != n_expected) return false;
        state_.store(n_expected);
        generation_.advance();
        return true;
    }

    std::atomic<uint64_t> state_;  // threads arrived << 32 | threads still in the team
    WaitCounter generation_;
    int n_threads_;
};

/// One run_parallel call.
struct Job {
    Job(int n_threads, const std::function<void(Team&, int)>& work)
        : work(work), team(n_threads), n_pending(n_threads - 1) {}

    /// Runs one thread's share and keeps the first error.
    void run(int thread_index) {
        inside_team = true;
        try {
            work(team, thread_index);
        } catch (...) {
            if (!has_error.exchange(true)) error = std::current_exception();
        }
        inside_team = false;
        team.leave();
    }

    const std::function<void(Team&, int)>& work;
    PoolTeam team;
    std::atomic<int> n_pending;
    std::atomic<bool> has_error{false};
    std::exception_ptr error;  // written by one thread, read by the caller when all have ended
};

struct Worker {
    WaitCounter call;  // advanced once for each job this worker takes part in
    Job* job = nullptr;
};

class Pool {
  public:
    int fork_generation() const { return fork_generation_; }

    void run(int n_threads, const std::function<void(Team&, int)>& work) {
        const std::lock_guard<std::mutex> turn(callers_);
        start_workers(n_threads - 1);
        Job job(n_threads, work);
        const uint32_t done = done_.value();
        for (int i = 1; i < n_threads; ++i) {
            Worker& worker = *workers_[static_cast<size_t>(i) - 1];
            worker.job = &job;
            worker.call.advance();
        }
        job.run(0);
        done_.wait_while(done);
        if (job.error) std::rethrow_exception(job.error);
    }

  private:
    void start_workers(int n_workers) {
        while (workers_.size() < static_cast<size_t>(n_workers)) {
            auto worker = std::make_unique<Worker>();
            const int index = static_cast<int>(workers_.size()) + 1;
            Worker* self = worker.get();
            workers_.push_back(std::move(worker));
            try {
                std::thread([this, self, index] { serve(*self, index); }).detach();
            } catch (const std::system_error& error) {
                workers_.pop_back();
                fail(ErrorKind::kResource, "threads: thread ", index + 1, " of ", n_workers + 1,
                     " could not be started (", error.what(), "); ask for fewer threads");
            }
        }
    }

    void serve(Worker& self, int index) {
        for (uint32_t seen = 0;; ++seen) {
            self.call.wait_while(seen);
            Job& job = *self.job;
            job.run(index);
            // The job lives on the caller's stack: after the last decrement it may be gone.
            if (job.n_pending.fetch_sub(1) == 1) done_.advance();
        }
    }

    std::mutex callers_;
    std::vector<std::unique_ptr<Worker>> workers_;
    WaitCounter done_;
    const int fork_generation_ = plrt::fork_generation();
};

/// Never destroyed: its threads sleep until the process ends. A forked child gets a pool of its
/// own.
Pool& pool() {
    static std::atomic<Pool*> shared{nullptr};
    Pool* current = shared.load();
    if (current != nullptr && current->fork_generation() == fork_generation()) return *current;
    auto fresh = std::make_unique<Pool>();
    if (shared.compare_exchange_strong(current, fresh.get())) return *fresh.release();
    return *current;  // another thread was first
}

class SingleTeam final : public Team {
  public:
    int size() const override { return 1; }
    void barrier() override {}
};

}  // namespace

Range split_range(int64_t n, int index, int n_parts, int64_t grain) {
    const int64_t n_units = n / grain + (n % grain != 0);
    const int64_t each = n_units / n_parts;
    const int64_t n_longer = n_units % n_parts;  // the first parts take one unit more
    const int64_t begin = each * index + std::min<int64_t>(index, n_longer);
    const int64_t end = begin + each + (index < n_longer);
    return {std::min(n, begin * grain), std::min(n, end * grain)};
}

void run_parallel(int n_threads, const std::function<void(Team&, int)>& work) {
    require(n_threads >= 1 && n_threads <= kMaxThreads, ErrorKind::kConfig,
            "threads: expected 1 to ", kMaxThreads, ", found ", n_threads);
    if (n_threads == 1) {
        SingleTeam team;
        work(team, 0);
        return;
    }
    require(!inside_team, ErrorKind::kState,
            "threads: a team cannot start another team; finish the outer call first");
    pool().run(n_threads, work);
}

void parallel_for(int n_threads, int64_t n, int64_t grain,
                  const std::function<void(int64_t, int64_t)>& work) {
    if (n <= 0) return;
    const int64_t n_units = n / grain + (n % grain != 0);
    const int n_used = static_cast<int>(std::min<int64_t>(n_threads, n_units));
    WorkQueue queue;
    run_parallel(n_used, [&](Team& team, int) {
        for (Range range = queue.take_run(n, team.size(), grain); range.begin < range.end;
             range = queue.take_run(n, team.size(), grain)) {
            work(range.begin, range.end);
        }
    });
}

}  // namespace plrt
