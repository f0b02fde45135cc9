#pragma once
/// The test harness: a test is a global `Test`, a failed `check` ends it.

#include <functional>
#include <string>
#include <vector>

#include "core/errors.h"

namespace plrt::testing {

struct Test {
    /// Adds the test to those that main() runs.
    Test(std::string name, std::function<void()> run);

    std::string name;
    std::function<void()> run;
};

/// A place in the source. std::source_location does the same but is missing in Clang 14.
struct Place {
    const char* file;
    int line;

    static Place here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
        return {file, line};
    }
};

/// Every test, in no particular order.
std::vector<const Test*>& all_tests();

/// Ends the test with the place and the message unless `ok`.
void check(bool ok, const char* message, Place where = Place::here());

/// Ends the test unless `work` throws an Error of the kind.
void check_throws(ErrorKind kind, const std::function<void()>& work, Place where = Place::here());

}  // namespace plrt::testing
