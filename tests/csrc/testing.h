#pragma once
/// The test harness: a test is a global `Test`, a failed `check` ends it.

#include <functional>
#include <source_location>
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

/// Every test, in no particular order.
std::vector<const Test*>& all_tests();

/// Ends the test with the place and the message unless `ok`.
void check(bool ok, const char* message,
           std::source_location where = std::source_location::current());

/// Ends the test unless `work` throws an Error of the kind.
void check_throws(ErrorKind kind, const std::function<void()>& work,
                  std::source_location where = std::source_location::current());

}  // namespace plrt::testing
