/// Runs all tests, or those whose names contain an argument.

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <utility>

#include "testing.h"

namespace plrt::testing {
namespace {

[[noreturn]] void fail_at(const Place& where, const std::string& message) {
    throw std::runtime_error(std::string(where.file) + ":" + std::to_string(where.line) + ": " +
                             message);
}

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

std::vector<const Test*>& all_tests() {
    static std::vector<const Test*> tests;
    return tests;
}

Test::Test(std::string test_name, std::function<void()> body)
    : name(std::move(test_name)), run(std::move(body)) {
    all_tests().push_back(this);
}

void check(bool ok, const char* message, Place where) {
    if (!ok) fail_at(where, message);
}

void check_throws(ErrorKind kind, const std::function<void()>& work, Place where) {
    try {
        work();
    } catch (const Error& error) {
        if (error.kind() == kind) return;
        fail_at(where, std::string("another kind of error: ") + error.what());
    }
    fail_at(where, "no error was thrown");
}

}  // namespace plrt::testing

int main(int argc, char** argv) {
    return plrt::testing::run_all(argc, argv);
}
