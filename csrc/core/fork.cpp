#include "core/fork.h"

#include <atomic>

#include "core/errors.h"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace plrt {
namespace {

std::atomic<int> generation{0};

#if defined(__unix__) || defined(__APPLE__)
// Registered when the library is loaded, before any thread of ours can exist.
[[maybe_unused]] const int registered =
    pthread_atfork(nullptr, nullptr, [] { generation.fetch_add(1); });
#endif

}  // namespace

int fork_generation() {
    return generation.load();
}

void check_not_forked(int made_in, const char* who) {
    require(made_in == generation.load(), ErrorKind::kState, who,
            ": this process was forked after it was made; load the model after the fork, or start "
            "worker processes with the 'spawn' method");
}

}  // namespace plrt
