/// Teams of 1 to 16 threads: barriers, errors, nesting, several callers.

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/thread_pool.h"
#include "core/work_queue.h"
#include "testing.h"

namespace plrt::testing {
namespace {

const Test split_range_covers("split_range: every item once, in order", [] {
    for (const int64_t n : {0, 1, 7, 64, 1000}) {
        for (const int64_t grain : {1, 3, 64}) {
            for (int n_parts = 1; n_parts <= 17; ++n_parts) {
                int64_t next = 0;
                for (int i = 0; i < n_parts; ++i) {
                    const Range range = split_range(n, i, n_parts, grain);
                    check(range.begin == next && range.end >= range.begin, "no gap, no overlap");
                    check(range.begin == n || range.begin % grain == 0, "starts on the grain");
                    next = range.end;
                }
                check(next == n, "ends at n");
            }
        }
    }
});

const Test split_range_large("split_range: no overflow near the end of int64", [] {
    const int64_t n = int64_t{1} << 62;
    check(split_range(n, 15, 16, 1).end == n, "end");
    check(split_range(n, 7, 16, 1).end == n / 2, "middle");
});

const Test queue_gives_all("WorkQueue: runs hold every item once, in order, on the grain", [] {
    for (const int64_t n : {0, 1, 7, 64, 1000}) {
        for (const int64_t grain : {1, 3, 64}) {
            for (int n_threads = 1; n_threads <= 17; ++n_threads) {
                WorkQueue queue;
                int64_t next = 0;
                int64_t longest = n;
                for (int round = 0; round < 2; ++round) {
                    for (;;) {
                        const Range run = queue.take_run(n, n_threads, grain);
                        if (run.begin == run.end) break;
                        check(run.begin == next && run.begin % grain == 0, "no gap, on the grain");
                        check(n_threads == 1 || run.end - run.begin <= std::max(longest, grain),
                              "no run is longer than one before it");
                        longest = run.end - run.begin;
                        next = run.end;
                    }
                    check(next == n, "ends at n");
                    queue.restart();
                    next = 0;
                    longest = n;
                }
            }
        }
    }
});

const Test queue_shares("WorkQueue: threads never get the same item", [] {
    constexpr int64_t kItems = 20000;
    WorkQueue queue;
    std::vector<std::atomic<int>> n_taken(kItems);
    run_parallel(8, [&](Team& team, int) {
        for (;;) {
            const Range run = queue.take_run(kItems, team.size(), 1);
            if (run.begin == run.end) return;
            for (int64_t i = run.begin; i < run.end; ++i) ++n_taken[static_cast<size_t>(i)];
        }
    });
    queue.restart();
    run_parallel(8, [&](Team&, int) {
        for (int64_t i = queue.take(kItems); i < kItems; i = queue.take(kItems)) {
            ++n_taken[static_cast<size_t>(i)];
        }
    });
    for (const auto& n : n_taken) check(n == 2, "once by runs, once by items");
});

const Test barriers_hold("run_parallel: nobody passes a barrier early", [] {
    for (int n_threads = 1; n_threads <= 16; ++n_threads) {
        std::atomic<int> n_arrived{0};
        std::atomic<int> n_early{0};
        run_parallel(n_threads, [&](Team& team, int) {
            for (int phase = 1; phase <= 40; ++phase) {
                n_arrived.fetch_add(1);
                team.barrier();
                if (n_arrived.load() < phase * team.size()) n_early.fetch_add(1);
            }
        });
        check(n_early == 0, "early");
        check(n_arrived == 40 * n_threads, "every thread took part");
    }
});

const Test plain_data_is_published("run_parallel: writes before a barrier are seen after it", [] {
    constexpr int kThreads = 4;
    std::vector<int> slots(kThreads, 0);  // plain on purpose: the barrier must order them
    std::atomic<int> n_wrong{0};
    run_parallel(kThreads, [&](Team& team, int index) {
        for (int phase = 1; phase <= 100; ++phase) {
            slots[static_cast<size_t>(index)] = phase;
            team.barrier();
            for (const int slot : slots) n_wrong.fetch_add(slot != phase);
            team.barrier();
        }
    });
    check(n_wrong == 0, "stale");
});

const Test errors_come_back("run_parallel: the error of any thread reaches the caller", [] {
    for (int thrower = 0; thrower < 5; ++thrower) {
        std::atomic<int> n_after{0};
        bool caught = false;
        try {
            run_parallel(5, [&](Team& team, int index) {
                team.barrier();
                if (index == thrower) throw std::runtime_error("planned");
                team.barrier();  // the others must not wait for the thread that left
                n_after.fetch_add(1);
            });
        } catch (const std::runtime_error& error) {
            caught = std::string(error.what()) == "planned";
        }
        check(caught, "rethrown");
        check(n_after == 4, "the others went on");
    }
    check_throws(ErrorKind::kNumerics, [] {
        run_parallel(8, [](Team&, int) { fail(ErrorKind::kNumerics, "all of them"); });
    });
    std::atomic<int> n_run{0};
    run_parallel(8, [&](Team&, int) { n_run.fetch_add(1); });
    check(n_run == 8, "the pool still works");
});

const Test nesting_is_refused("run_parallel: a team inside a team is refused", [] {
    std::atomic<int> n_alone{0};
    run_parallel(3, [&](Team&, int) {
        check_throws(ErrorKind::kState, [] { run_parallel(2, [](Team&, int) {}); });
        run_parallel(1, [&](Team& team, int) { n_alone.fetch_add(team.size()); });
    });
    check(n_alone == 3, "a team of one is no team");
    run_parallel(1, [](Team&, int) {
        std::atomic<int> n_run{0};
        run_parallel(2, [&](Team&, int) { n_run.fetch_add(1); });
        check(n_run == 2, "nor is it when it is the outer one");
    });
});

const Test thread_counts_are_checked("run_parallel: impossible thread counts", [] {
    for (const int n_threads : {0, -1, 100000}) {
        check_throws(ErrorKind::kConfig, [&] { run_parallel(n_threads, [](Team&, int) {}); });
    }
    check(default_threads() >= 1, "default");
});

const Test callers_take_turns("run_parallel: several callers", [] {
    std::atomic<int> n_run{0};
    std::vector<std::thread> callers;
    for (int i = 0; i < 4; ++i) {
        callers.emplace_back([&] {
            for (int j = 0; j < 50; ++j) {
                run_parallel(3, [&](Team& team, int) {
                    team.barrier();
                    n_run.fetch_add(1);
                });
            }
        });
    }
    for (std::thread& caller : callers) caller.join();
    check(n_run == 4 * 50 * 3, "all ran");
});

const Test parallel_for_covers("parallel_for: every item once", [] {
    for (const int n_threads : {1, 2, 5, 16}) {
        std::vector<int> hits(1000, 0);
        parallel_for(n_threads, 1000, 7, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i) ++hits[static_cast<size_t>(i)];
        });
        for (const int n_hits : hits) check(n_hits == 1, "hits");
    }
    parallel_for(4, 0, 1, [](int64_t, int64_t) { check(false, "no items, no calls"); });
});

}  // namespace
}  // namespace plrt::testing
