/// plrt_cases FILE [ISA …]: runs every case of the file on the named instruction sets, or on all
/// that this CPU has. Prints the largest error of each group of cases, and for each set a digest of
/// the bits of all results, which sets with a fused multiply-add share (docs/architecture.md, C3).
/// Fails if a case does, or if this CPU lacks a set that was named.

#include <algorithm>
#include <bit>
#include <cstdio>
#include <exception>
#include <fstream>
#include <map>

#include "cases/case_file.h"
#include "core/errors.h"
#include "kernels/registry.h"

namespace plrt::testing {
namespace {

/// What one instruction set gave.
struct Column {
    std::string isa;
    std::map<std::string, double> largest_error;  // by group
    uint64_t digest = 0xcbf29ce484222325u;        // FNV-1a over the results' 32-bit words
    int n_failed = 0;

    void add(const Case& c, const std::vector<float>& result) {
        const double error = nmse(result, c.expected);
        double& largest = largest_error[c.group()];
        largest = std::max(largest, error);
        for (const float x : result) {
            digest = (digest ^ std::bit_cast<uint32_t>(x)) * 0x100000001b3u;
        }
        if (error <= c.largest_nmse) return;
        ++n_failed;
        std::printf("FAILED %s on %s: NMSE %.2e, expected at most %.0e\n", c.name.c_str(),
                    isa.c_str(), error, c.largest_nmse);
    }
};

Column run_all(const std::vector<Case>& cases, const std::string& isa) {
    Column column;
    column.isa = isa;
    for (const Case& c : cases) {
        try {
            column.add(c, run_case(c, isa));
        } catch (const std::exception& error) {
            ++column.n_failed;
            std::printf("FAILED %s on %s: %s\n", c.name.c_str(), isa.c_str(), error.what());
        }
    }
    return column;
}

void print(const std::vector<Case>& cases, std::vector<Column>& columns) {
    std::vector<std::string> groups;
    std::map<std::string, int> n_cases;
    for (const Case& c : cases) {
        if (n_cases[c.group()]++ == 0) groups.push_back(c.group());
    }
    std::printf("%-24s %5s", "largest NMSE", "cases");
    for (const Column& column : columns) std::printf(" %13s", column.isa.c_str());
    for (const std::string& group : groups) {
        std::printf("\n%-24s %5d", group.c_str(), n_cases[group]);
        for (Column& column : columns) std::printf(" %13.1e", column.largest_error[group]);
    }
    std::printf("\n");
    for (const Column& column : columns) {
        std::printf("digest %016llx %s\n", static_cast<unsigned long long>(column.digest),
                    column.isa.c_str());
    }
}

int run(const char* path, std::vector<std::string> isas) {
    for (const std::string& isa : isas) select_kernels(isa);
    if (isas.empty()) isas = supported_isas();
    std::ifstream file(path, std::ios::binary);
    require(file.good(), ErrorKind::kConfig, path, ": cannot be opened");
    const std::vector<Case> cases = read_cases(file);
    std::vector<Column> columns;
    int n_failed = 0;
    for (const std::string& isa : isas) {
        columns.push_back(run_all(cases, isa));
        n_failed += columns.back().n_failed;
    }
    print(cases, columns);
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
