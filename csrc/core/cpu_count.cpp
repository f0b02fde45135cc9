/// default_threads(): how many threads can compute at the same time in this process.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "core/thread_pool.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace plrt {
namespace {

int hardware_threads() {
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

#if defined(__linux__)

std::string first_line(const std::string& path) {
    std::string line;
    std::ifstream file(path);
    std::getline(file, line);
    return line;
}

/// The number that `text` starts with, or -1.
double leading_number(const std::string& text) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    return end == text.c_str() ? -1.0 : value;
}

/// Processors this process may run on; empty if the kernel does not say.
std::vector<int> allowed_cpus() {
    for (int n_cpus = 1024; n_cpus <= 65536; n_cpus *= 2) {
        cpu_set_t* const set = CPU_ALLOC(static_cast<size_t>(n_cpus));
        if (set == nullptr) return {};
        const size_t n_bytes = CPU_ALLOC_SIZE(static_cast<size_t>(n_cpus));
        const bool known = sched_getaffinity(0, n_bytes, set) == 0;
        std::vector<int> cpus;
        for (int cpu = 0; known && cpu < n_cpus; ++cpu) {
            if (CPU_ISSET_S(static_cast<size_t>(cpu), n_bytes, set)) cpus.push_back(cpu);
        }
        CPU_FREE(set);
        if (known) return cpus;
    }
    return {};
}

/// Cores behind `cpus`: hyperthreads of one core share their sibling list.
int physical_cores(const std::vector<int>& cpus) {
    std::set<std::string> cores;
    for (const int cpu : cpus) {
        const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu);
        const std::string siblings = first_line(folder + "/topology/thread_siblings_list");
        cores.insert(siblings.empty() ? "cpu" + std::to_string(cpu) : siblings);
    }
    return static_cast<int>(cores.size());
}

/// Path of this process in the cgroup hierarchy of a controller; "" is the one of version 2.
std::string cgroup_path(const std::string& controller) {
    std::ifstream file("/proc/self/cgroup");  // lines "id:controller,controller:path"
    for (std::string line; std::getline(file, line);) {
        std::istringstream fields(line);
        std::string id, controllers, path;
        std::getline(fields, id, ':');
        std::getline(fields, controllers, ':');
        std::getline(fields, path);
        std::istringstream names(controllers);
        bool found = controllers == controller;
        for (std::string name; std::getline(names, name, ',');) found |= name == controller;
        if (found) return path;
    }
    return "/";
}

/// Processors that one cgroup folder grants, or -1 for no limit.
double quota_of(const std::string& folder) {
    const std::string v2 = first_line(folder + "/cpu.max");  // "max 100000" or "200000 100000"
    const size_t space = v2.find(' ');
    double quota = leading_number(v2);
    double period = space == std::string::npos ? -1.0 : leading_number(v2.substr(space + 1));
    if (v2.empty()) {
        quota = leading_number(first_line(folder + "/cpu.cfs_quota_us"));
        period = leading_number(first_line(folder + "/cpu.cfs_period_us"));
    }
    return quota > 0 && period > 0 ? quota / period : -1.0;
}

/// The tightest quota from this process's cgroup up to the root; -1 for none.
double cpu_quota(const std::string& root, std::string path) {
    double tightest = -1.0;
    for (;;) {
        const double quota = quota_of(root + (path == "/" ? "" : path));
        if (quota > 0 && (tightest < 0 || quota < tightest)) tightest = quota;
        const size_t slash = path.rfind('/');
        if (path == "/" || slash == std::string::npos) return tightest;
        path = slash == 0 ? "/" : path.substr(0, slash);
    }
}

int count_cores() {
    const std::vector<int> cpus = allowed_cpus();
    double n_cores = cpus.empty() ? hardware_threads() : physical_cores(cpus);
    for (const double quota : {cpu_quota("/sys/fs/cgroup", cgroup_path("")),
                               cpu_quota("/sys/fs/cgroup/cpu", cgroup_path("cpu"))}) {
        if (quota > 0) n_cores = std::min(n_cores, std::ceil(quota));
    }
    return std::max(1, static_cast<int>(n_cores));
}

#else

int count_cores() {
    return hardware_threads();
}

#endif

}  // namespace

int default_threads() {
    static const int n_cores = count_cores();
    return n_cores;
}

}  // namespace plrt
