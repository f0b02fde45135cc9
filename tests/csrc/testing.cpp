#include "testing.h"

#include <stdexcept>
#include <utility>

namespace plrt::testing {
namespace {

[[noreturn]] void fail_at(const Place& where, const std::string& message) {
    throw std::runtime_error(std::string(where.file) + ":" + std::to_string(where.line) + ": " +
                             message);
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
