#include "graph/graph.h"

#include <array>
#include <charconv>
#include <cmath>
#include <locale>
#include <sstream>

#include "core/errors.h"
#include "graph/shapes.h"

namespace plrt {
namespace {

struct OpRow {
    Op op;
    std::string_view name;
    size_t n_values;
    size_t n_weights;
    Sharing sharing;
    std::string_view attributes;
    bool internal;
};

constexpr OpRow kOps[] = {
#define PLRT_OP(name, n_values, n_weights, sharing, attributes) \
    {Op::name, #name, n_values, n_weights, Sharing::sharing, attributes, false},
#define PLRT_INTERNAL_OP(name, n_values, n_weights, sharing, attributes) \
    {Op::name, #name, n_values, n_weights, Sharing::sharing, attributes, true},
#include "graph/ops.def"
#undef PLRT_OP
#undef PLRT_INTERNAL_OP
};

constexpr int64_t kMaxWidth = int64_t{1} << 31;

template <typename Number>
bool parse_number(std::string_view text, Number& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc() && end == text.data() + text.size();
}

std::vector<std::string_view> split_words(std::string_view line) {
    std::vector<std::string_view> words;
    size_t begin = 0;
    while (begin < line.size()) {
        const size_t end = std::min(line.find(' ', begin), line.size());
        if (end > begin) words.push_back(line.substr(begin, end - begin));
        begin = end + 1;
    }
    return words;
}

class LineParser {
  public:
    LineParser(std::string_view line, int number, int n_values)
        : words_(split_words(line)), number_(number), n_values_(n_values) {}

    Node parse() {
        expect(words_.size() >= 6, "a node");
        expect(words_[0] == std::string("%").append(std::to_string(n_values_)),
               "the next value's number");
        expect(words_[1] == "=", "'='");
        const OpRow& row = find_op(words_[2]);
        Node node{row.op, {}, {}, {}, Rows::kStep, 0};
        const size_t tail = words_.size() - 3;
        for (size_t i = 3; i < tail; ++i) parse_argument(words_[i], node);
        expect(words_[tail] == "->", "'->'");
        expect(words_[tail + 1] == "n" || words_[tail + 1] == "m", "rows n or m");
        node.rows = words_[tail + 1] == "n" ? Rows::kStep : Rows::kOutput;
        expect(parse_number(words_[tail + 2], node.width), "a width");
        expect(node.width > 0 && node.width < kMaxWidth, "a width from 1 to 2^31");
        expect(node.inputs.size() == row.n_values, "as many values as ops.def says");
        expect(node.weights.size() == row.n_weights, "as many weights as ops.def says");
        complete_attributes(row, node);
        return node;
    }

  private:
    template <typename... Parts>
    void expect(bool ok, const Parts&... expected) const {
        require(ok, ErrorKind::kFormat, "graph line ", number_, ": expected ", expected...);
    }

    const OpRow& find_op(std::string_view name) const {
        for (const OpRow& row : kOps) {
            if (!row.internal && row.name == name) return row;
        }
        fail(ErrorKind::kFormat, "graph line ", number_, ": op '", name, "' is unknown");
    }

    /// Checks the attributes, and adds those that were left out.
    void complete_attributes(const OpRow& row, Node& node) const {
        const auto words = split_words(row.attributes);
        for (std::string_view word : words) {
            const size_t equals = word.find('=');
            const std::string_view key = word.substr(0, equals);
            if (node.attributes.contains(std::string(key))) continue;
            expect(equals != std::string_view::npos, "the attribute ", key);
            node.attributes.emplace(key, word.substr(equals + 1));
        }
        expect(node.attributes.size() == words.size(), "only attributes that ops.def names");
    }

    void parse_argument(std::string_view word, Node& node) const {
        if (word[0] == '%') {
            int index = -1;
            expect(parse_number(word.substr(1), index), "a value's number");
            expect(index >= 0 && index < n_values_, "an earlier value");
            node.inputs.push_back(index);
        } else if (word[0] == '@') {
            node.weights.emplace_back(word == "@-" ? "" : word.substr(1));
        } else {
            const size_t equals = word.find('=');
            expect(equals != std::string_view::npos, "key=value");
            const auto key = word.substr(0, equals);
            const bool is_new = node.attributes.emplace(key, word.substr(equals + 1)).second;
            expect(is_new, "attribute ", key, " once");
        }
    }

    std::vector<std::string_view> words_;
    int number_;
    int n_values_;
};

double parse_real(Op op, const std::string& key, const std::string& part) {
    // Not std::from_chars, which several standard libraries still lack for double.
    std::istringstream text(part);
    text.imbue(std::locale::classic());
    double value = 0;
    const bool read = static_cast<bool>(text >> value);
    require(read && text.peek() == std::istringstream::traits_type::eof() && std::isfinite(value),
            ErrorKind::kFormat, op_name(op), " ", key, ": expected a finite number, found ", part);
    return value;
}

}  // namespace

std::string_view op_name(Op op) {
    return kOps[static_cast<size_t>(op)].name;
}

Sharing op_sharing(Op op) {
    return kOps[static_cast<size_t>(op)].sharing;
}

int64_t Node::integer(const std::string& key) const {
    int64_t value = 0;
    require(parse_number(word(key), value), ErrorKind::kFormat, op_name(op), " ", key,
            ": expected a whole number, found ", word(key));
    return value;
}

double Node::real(const std::string& key) const {
    return parse_real(op, key, word(key));
}

std::vector<double> Node::reals(const std::string& key) const {
    std::vector<double> values;
    std::istringstream text(word(key));
    for (std::string part; std::getline(text, part, ',');) {
        values.push_back(parse_real(op, key, part));
    }
    return values;
}

const std::string& Node::word(const std::string& key) const {
    const auto found = attributes.find(key);
    require(found != attributes.end(), ErrorKind::kFormat, op_name(op), ": attribute ", key,
            " is missing");
    return found->second;
}

Graph parse_graph(std::string_view text) {
    Graph graph;
    int number = 0;
    while (!text.empty()) {
        const size_t end = std::min(text.find('\n'), text.size());
        const std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        ++number;
        if (number == 1) {
            require(line == "plrt-graph 1", ErrorKind::kFormat,
                    "graph line 1: expected 'plrt-graph 1'");
            continue;
        }
        if (line.empty()) continue;
        const int n_values = static_cast<int>(graph.nodes.size());
        graph.nodes.push_back(LineParser(line, number, n_values).parse());
    }
    require(!graph.nodes.empty(), ErrorKind::kFormat, "graph: expected at least one node");
    check_shapes(graph);
    return graph;
}

}  // namespace plrt
