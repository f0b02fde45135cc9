/// Case files: what a file says is what runs, and a wrong result or a broken file is seen.

#include <limits>
#include <sstream>

#include "cases/case_file.h"
#include "testing.h"

namespace plrt::testing {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

template <typename T>
std::string raw(const std::vector<T>& values) {
    return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

const std::string kGraph =
    "plrt-graph 1\n%0 = embed @x -> n 2\n%1 = add %0 %0 -> n 2\n%2 = output_rows %1 -> m 2\n";

/// A file with one case: twice the rows 1 2 and 3 4.
std::string file_with(const std::vector<float>& expected, const std::string& nmse = "0") {
    return "plrt-cases 1\ncase add: twice\nlargest_nmse " + nmse + "\ncache f16\ngraph " +
           std::to_string(kGraph.size()) + "\n" + kGraph + "weight x f32 2 2\n" +
           raw<float>({1, 2, 3, 4}) + "expected 2 2\n" + raw(expected);
}

std::vector<Case> read(const std::string& text) {
    std::istringstream file(text);
    return read_cases(file);
}

Case only(const std::string& text) {
    auto cases = read(text);
    return std::move(cases.front());
}

bool is_refused(const std::string& text) {
    try {
        read(text);
    } catch (const Error&) {
        return true;
    }
    return false;
}

bool is_close(const Case& c) {
    return nmse(run_case(c, "scalar"), c.expected) <= c.largest_nmse;
}

const Test passes("cases: a right result passes, one that is off by a bit does not", [] {
    const Case right = only(file_with({2, 4, 6, 8}));
    check(right.group() == "add" && right.n_rows == 2 && right.cache == KvType::kF16, "as written");
    check(is_close(right), "equal");
    check(!is_close(only(file_with({2, 4, 6, 8.000001f}))), "exact cases allow no difference");
    check(is_close(only(file_with({2, 4, 6, 8.000001f}, "1e-11"))), "others as much as they say");
    check(!is_close(only(file_with({2, 4, 6, kNan}, "1e-11"))), "NaN is no small error");
});

const Test two_cases("cases: a file holds as many as it likes, but not none", [] {
    const std::string one = file_with({2, 4, 6, 8});
    const size_t header = one.find('\n') + 1;
    check(read(one + one.substr(header)).size() == 2, "two");
    check(is_refused(one.substr(0, header)), "none");
});

const Test broken("cases: a file that ends early or says nonsense is refused", [] {
    const std::string good = file_with({2, 4, 6, 8});
    for (size_t n = 0; n < good.size(); ++n) {
        check(is_refused(good.substr(0, n)), "the end is missing");
    }
    for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
             {"plrt-cases 1", "plrt-cases 2"},
             {"cache f16", "cache q8"},
             {"weight x f32 2 2", "weight x f33 2 2"},
             {"weight x f32 2 2", "weight x f32 -2 2"},
             {"weight x f32 2 2", "weight x f32 268435456 268435456"},
             {"expected 2 2", "expected 2"}}) {
        std::string bad = good;
        bad.replace(bad.find(from), from.size(), to);
        check(is_refused(bad), to.c_str());
    }
});

}  // namespace
}  // namespace plrt::testing
