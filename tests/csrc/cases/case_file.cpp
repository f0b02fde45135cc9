#include "cases/case_file.h"

#include <cstring>
#include <numeric>
#include <sstream>

#include "core/checked.h"
#include "core/tensor_type.h"
#include "runtime/kv_cache.h"

namespace plrt::testing {
namespace {

constexpr int64_t kMostBytes = int64_t{1} << 28;  // of one weight, a graph or a result

class CaseReader {
  public:
    explicit CaseReader(std::istream& file) : file_(file) {}

    /// The next line's words after `key`; nothing of it is read if the line starts otherwise.
    bool next(const std::string& key, std::istringstream& words) {
        if (!has_line_) has_line_ = static_cast<bool>(std::getline(file_, line_));
        if (!has_line_ || line_.compare(0, key.size() + 1, key + " ") != 0) return false;
        words = std::istringstream(line_.substr(key.size() + 1));
        has_line_ = false;
        return true;
    }
    std::istringstream expect(const std::string& key) {
        std::istringstream words;
        require(next(key, words), ErrorKind::kFormat, "case file: expected a line '", key,
                " …', found '", has_line_ ? line_ : "the end", "'");
        return words;
    }
    template <typename T>
    T value(std::istringstream& words) {
        T out{};
        require(static_cast<bool>(words >> out), ErrorKind::kFormat,
                "case file: expected another word in '", line_, "'");
        return out;
    }
    int64_t size(std::istringstream& words) {
        const auto n = value<int64_t>(words);
        require(n > 0 && n <= kMostBytes, ErrorKind::kFormat, "case file: the size ", n, " in '",
                line_, "' is out of range");
        return n;
    }
    std::string bytes(int64_t n) {
        require(n <= kMostBytes, ErrorKind::kFormat, "case file: ", n, " bytes in one piece");
        std::string out(static_cast<size_t>(n), '\0');
        file_.read(out.data(), n);
        require(file_.gcount() == n, ErrorKind::kFormat, "case file: expected ", n,
                " bytes after '", line_, "', found ", file_.gcount());
        return out;
    }
    bool at_end() { return !has_line_ && file_.peek() == std::istream::traits_type::eof(); }

  private:
    std::istream& file_;
    std::string line_;
    bool has_line_ = false;
};

void read_weight(CaseReader& reader, std::istringstream& words, MemoryWeights& weights) {
    const auto name = reader.value<std::string>(words);
    const TensorType type = info(reader.value<std::string>(words)).type;
    const int64_t rows = reader.size(words);
    const int64_t cols = reader.size(words);
    weights.add_bytes(name, type, rows, cols,
                      reader.bytes(checked_mul(rows, row_bytes(type, cols))));
}

Case read_case(CaseReader& reader) {
    Case c;
    std::istringstream words = reader.expect("case");
    std::getline(words, c.name);
    words = reader.expect("largest_nmse");
    c.largest_nmse = reader.value<double>(words);
    words = reader.expect("cache");
    const auto cache = reader.value<std::string>(words);
    require(cache == "f32" || cache == "f16", ErrorKind::kFormat,
            "case file: cache: expected f32 or f16, found ", cache);
    c.cache = cache == "f32" ? KvType::kF32 : KvType::kF16;
    words = reader.expect("graph");
    c.graph = reader.bytes(reader.size(words));
    while (reader.next("weight", words)) read_weight(reader, words, c.weights);
    words = reader.expect("expected");
    c.n_rows = reader.size(words);
    const int64_t n = checked_mul(c.n_rows, reader.size(words));
    const std::string raw = reader.bytes(checked_mul(n, sizeof(float)));
    c.expected.resize(static_cast<size_t>(n));
    std::memcpy(c.expected.data(), raw.data(), raw.size());
    return c;
}

}  // namespace

std::string Case::group() const {
    return name.substr(0, name.find(':'));
}

std::vector<Case> read_cases(std::istream& file) {
    CaseReader reader(file);
    std::istringstream words = reader.expect("plrt-cases");
    const auto version = reader.value<int64_t>(words);
    require(version == 1, ErrorKind::kFormat, "case file: expected version 1, found ", version);
    std::vector<Case> cases;
    while (!reader.at_end()) cases.push_back(read_case(reader));
    require(!cases.empty(), ErrorKind::kFormat, "case file: it holds no case");
    return cases;
}

std::vector<float> run_case(const Case& c, const std::string& isa) {
    const auto program = make_program(c.graph, c.weights, isa);
    KvCache cache(program->kv_layout(c.cache), c.n_rows);
    std::vector<int32_t> ids(static_cast<size_t>(c.n_rows));
    std::iota(ids.begin(), ids.end(), 0);
    const std::vector<int64_t> sequences(ids.size(), cache.create());
    return step(*program, cache, ids, sequences);
}

}  // namespace plrt::testing
