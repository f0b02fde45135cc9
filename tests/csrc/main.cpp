/// Runs all tests, or those whose names contain an argument.

#include <cstdio>
#include <exception>

#include "testing.h"

namespace plrt::testing {
namespace {

bool is_wanted(const Test& test, int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        if (test.name.find(argv[i]) != std::string::npos) return true;
    }
    return argc < 2;
}

int run_all(int argc, char** argv) {
    int n_run = 0;
    int n_failed = 0;
    for (const Test* test : all_tests()) {
        if (!is_wanted(*test, argc, argv)) continue;
        ++n_run;
        try {
            test->run();
        } catch (const std::exception& error) {
            ++n_failed;
            std::printf("FAILED %s\n  %s\n", test->name.c_str(), error.what());
        }
    }
    std::printf("%d tests, %d failed\n", n_run, n_failed);
    return n_run > 0 && n_failed == 0 ? 0 : 1;
}

}  // namespace

}  // namespace plrt::testing

int main(int argc, char** argv) {
    return plrt::testing::run_all(argc, argv);
}
