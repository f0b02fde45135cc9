/// plrt_cases FILE [ISA …]: runs every case of the file on the named instruction sets, or on all
/// that this CPU has, and prints the largest error of each group of cases. Fails if a case does, or
/// if this CPU lacks a set that was named.

#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <map>

#include "cases/case_file.h"
#include "core/errors.h"
#include "kernels/registry.h"

namespace plrt::testing {
namespace {

/// The largest error of each group, in the order of the file.
struct Table {
    std::vector<std::string> groups;
    std::map<std::string, std::vector<double>> errors;  // group -> one an instruction set
    std::map<std::string, int> n_cases;

    void add(const std::string& group, size_t isa, size_t n_isas, double error) {
        auto& row = errors[group];
        if (row.empty()) groups.push_back(group);
        row.resize(n_isas);
        row[isa] = std::max(row[isa], error);
        if (isa == 0) ++n_cases[group];
    }
    void print(const std::vector<std::string>& isas) const {
        std::printf("%-24s %5s", "largest NMSE", "cases");
        for (const std::string& isa : isas) std::printf(" %13s", isa.c_str());
        for (const std::string& group : groups) {
            std::printf("\n%-24s %5d", group.c_str(), n_cases.at(group));
            for (const double error : errors.at(group)) std::printf(" %13.1e", error);
        }
        std::printf("\n");
    }
};

/// Runs one case; returns whether it passed, and prints why not.
bool passes(const Case& c, const std::string& isa, double& error) {
    try {
        error = run_case(c, isa);
    } catch (const std::exception& failure) {
        std::printf("FAILED %s on %s: %s\n", c.name.c_str(), isa.c_str(), failure.what());
        return false;
    }
    if (is_close(c, error)) return true;
    std::printf("FAILED %s on %s: NMSE %.2e, expected at most %.0e\n", c.name.c_str(), isa.c_str(),
                error, c.largest_nmse);
    return false;
}

int run(const char* path, std::vector<std::string> isas) {
    for (const std::string& isa : isas) select_kernels(isa);
    if (isas.empty()) isas = supported_isas();
    std::ifstream file(path, std::ios::binary);
    require(file.good(), ErrorKind::kConfig, path, ": cannot be opened");
    const std::vector<Case> cases = read_cases(file);
    int n_failed = 0;
    Table table;
    for (size_t i = 0; i < isas.size(); ++i) {
        for (const Case& c : cases) {
            double error = 0;
            if (!passes(c, isas[i], error)) ++n_failed;
            table.add(c.group(), i, isas.size(), error);
        }
    }
    table.print(isas);
    std::printf("cases: %zu, instruction sets: %zu, failed: %d\n", cases.size(), isas.size(),
                n_failed);
    return n_failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace plrt::testing

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: plrt_cases FILE [ISA ...]\n");
        return 2;
    }
    try {
        return plrt::testing::run(argv[1], {argv + 2, argv + argc});
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}
