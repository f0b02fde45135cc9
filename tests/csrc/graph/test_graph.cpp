/// Graph text: every kind of wrong line is a format error, and damage never goes unnoticed.

#include "graph/graph.h"
#include "graph/kv_layout.h"
#include "testing.h"
#include "tiny_model.h"

namespace plrt::testing {
namespace {

const std::string kHead = "plrt-graph 1\n";
const std::string kEmbed = "%0 = embed @w -> n 8\n";

void refused(const std::string& text, Place where = Place::here()) {
    check_throws(ErrorKind::kFormat, [&] { parse_graph(text); }, where);
}

const Test valid_text("graph: a valid text", [] {
    const Graph graph = parse_graph(TinyModel{}.text());
    check(graph.nodes.size() == 2 + 2 * 15 + 3, "number of nodes");
    check(graph.nodes[0].op == Op::rope_table && graph.nodes[0].weights[0].empty(), "first");
    check(graph.nodes[0].reals("frequencies") == std::vector{1.0, 0.01}, "numbers");
    check(graph.nodes[0].integer("dims") == 4 && graph.nodes[0].real("magnitude") == 1.0, "values");
    check(graph.nodes.back().rows == Rows::kOutput && graph.nodes.back().width == 23, "last");
});

const Test spacing("graph: blank lines, extra spaces and a missing last newline are harmless", [] {
    const Graph graph =
        parse_graph(kHead + "\n  %0  =  embed   @w -> n 8\n\n%1 = output_rows %0 -> m 8");
    check(graph.nodes.size() == 2, "two nodes");
});

const Test header("graph: the first line names the version", [] {
    refused("");
    refused("\n");
    refused("plrt-graph 1");
    refused(kHead);
    refused(kEmbed);
    refused("plrt-graph 2\n" + kEmbed);
    refused("plrt-graph 1 \n" + kEmbed);
    refused(std::string("plrt-graph 1\0\n", 14) + kEmbed);
});

const Test node_lines("graph: wrong node lines", [] {
    for (const std::string line : {
             "%1 = embed @w -> n 8",                // number out of turn
             "0 = embed @w -> n 8",                 // no %
             "%0 : embed @w -> n 8",                // no =
             "%0 = embde @w -> n 8",                // unknown op
             "%0 = quantize_rows block=32 -> n 8",  // internal op
             "%0 = embed @w n 8",                   // no arrow
             "%0 = embed @w -> k 8",                // rows
             "%0 = embed @w -> n",                  // width missing
             "%0 = embed @w -> n 8 8",              // a word too many
             "%0 = embed @w -> n 0",                // widths
             "%0 = embed @w -> n -8",
             "%0 = embed @w -> n 8x",
             "%0 = embed @w -> n 0x8",
             "%0 = embed @w -> n 8.0",
             "%0 = embed @w -> n 2147483648",
             "%0 = embed @w -> n 99999999999999999999",
             "%0 = embed @w -> m 8",  // embeddings are a row a token
             "%0 = embed -> n 8",     // operands
             "%0 = embed @w @v -> n 8",
             "%0 = embed @w %0 -> n 8",  // a value that is not there yet
             "%0 = embed @w %-1 -> n 8",
             "%0 = embed @w % -> n 8",
             "%0 = embed @w %4294967296 -> n 8",
             "%0 = embed @w eps -> n 8",  // attributes
             "%0 = embed @w eps=1 -> n 8",
             "%0 = embed @w = -> n 8",
             "%0 =",
             "%",
         }) {
        refused(kHead + line + "\n");
    }
});

const Test attributes("graph: attributes must be those of ops.def, once each", [] {
    const std::string table = "%0 = rope_table @- ";
    parse_graph(kHead + table + "dims=8 frequencies=1.0 magnitude=1.0 -> n 8");
    parse_graph(kHead + table + "dims=8 frequencies=1.0 -> n 8");
    for (const std::string words : {
             "frequencies=1.0",
             "dims=8",
             "dims=8 dims=8 frequencies=1.0",
             "dims=8 frequencies=1.0 eps=1",
             "dims=8 frequencies=1.0 magnitudes=1.0",
             "dims=eight frequencies=1.0",
             "dims=9 frequencies=1.0",
             "dims= frequencies=1.0",
             "dims=99999999999999999999 frequencies=1.0",
         }) {
        refused(kHead + table + words + " -> n 8");
    }
    refused(kHead + table + "dims=65538 frequencies=1.0 -> n 65538");
    const std::string odd = "dims=8 frequencies=1,,2 magnitude=1e999 -> n 8";
    const Node node = parse_graph(kHead + table + odd).nodes[0];
    check_throws(ErrorKind::kFormat, [&] { node.reals("frequencies"); });
    check_throws(ErrorKind::kFormat, [&] { node.real("magnitude"); });
    check_throws(ErrorKind::kFormat, [&] { node.real("absent"); });
    check_throws(ErrorKind::kFormat, [&] { node.integer("magnitude"); });
});

const Test shapes("graph: values that do not fit one another", [] {
    const std::string two = kHead + kEmbed + "%1 = embed @w -> n 16\n";
    for (const std::string line : {
             "%2 = add %0 %1 -> n 8",
             "%2 = add %0 %1 -> n 16",
             "%2 = add %0 %0 -> m 8",
             "%2 = silu_mul %1 %0 -> n 16",
             "%2 = rms_norm %0 @w eps=1.0 -> n 16",
             "%2 = rms_norm %0 @w eps=1.0 -> m 8",
             "%2 = linear %0 @w @- -> m 8",
             "%2 = output_rows %0 -> m 16",
             "%2 = output_rows %0 -> n 8",
             "%2 = rope %0 %1 n_heads=1 head_dim=8 dims=8 pairing=half -> n 8",
             "%2 = rope %0 %0 n_heads=1 head_dim=8 dims=8 pairing=half -> n 16",
             "%2 = attention %0 %0 %1 n_heads=1 n_kv_heads=1 head_dim=8 scale=1.0 -> n 8",
             "%2 = attention %0 %1 %1 n_heads=1 n_kv_heads=1 head_dim=8 scale=1.0 -> n 16",
             "%2 = attention %0 %1 %1 n_heads=1 n_kv_heads=1 head_dim=8 scale=1.0 -> m 8",
         }) {
        refused(two + line);
    }
    const std::string gathered = two + "%2 = output_rows %0 -> m 8\n";
    for (const std::string line : {
             "%3 = output_rows %2 -> m 8",
             "%3 = add %2 %0 -> m 8",
             "%3 = add %0 %2 -> n 8",
             "%3 = rope %0 %2 n_heads=1 head_dim=8 dims=8 pairing=half -> n 8",
             "%3 = attention %0 %2 %0 n_heads=1 n_kv_heads=1 head_dim=8 scale=1.0 -> n 8",
         }) {
        refused(gathered + line);
    }
});

const Test bindings("graph: heads, weights and outputs that fit no program", [] {
    MemoryWeights weights;
    weights.add("w", TensorType::kF32, 8, 8, normal(64, 1));
    weights.add("v", TensorType::kF32, 1, 8, normal(8, 1));
    weights.add("q", TensorType::kQ8_0, 1, 32, normal(32, 1));
    const std::string start = kHead + kEmbed + "%1 = embed @w -> n 8\n";
    const std::string attention = "%2 = attention %0 %1 %1 ";
    const auto unbound = [&](const std::string& lines) {
        check_throws(ErrorKind::kFormat, [&] { make_program(lines, weights); });
    };
    const std::string end = "%3 = output_rows %2 -> m 8\n";
    const std::string fitting = "n_heads=2 n_kv_heads=2 head_dim=4 scale=1.0 -> n 8\n";
    check(make_program(start + attention + fitting + end, weights)->vocab_size() == 8, "fits");
    for (const std::string sizes : {
             "n_heads=0 n_kv_heads=1 head_dim=8",
             "n_heads=1 n_kv_heads=0 head_dim=8",
             "n_heads=-1 n_kv_heads=-1 head_dim=-8",
             "n_heads=3 n_kv_heads=1 head_dim=8",
             "n_heads=1 n_kv_heads=1 head_dim=0",
             "n_heads=2 n_kv_heads=4 head_dim=4",
             "n_heads=9223372036854775807 n_kv_heads=1 head_dim=2",
         }) {
        unbound(start + attention + sizes + " scale=1.0 -> n 8\n" + end);
    }
    for (const std::string rest : {
             "n_heads=1 head_dim=8 dims=8 pairing=both",
             "n_heads=3 head_dim=8 dims=8 pairing=half",
             "n_heads=0 head_dim=8 dims=8 pairing=half",
             "n_heads=1 head_dim=0 dims=8 pairing=half",
             "n_heads=4 head_dim=2 dims=8 pairing=half",
         }) {
        unbound(start + "%2 = rope %0 %1 " + rest + " -> n 8\n" + end);
    }
    unbound(start + "%2 = linear %0 @absent @- -> n 8\n" + end);
    unbound(start + "%2 = linear %0 @- @- -> n 8\n" + end);
    unbound(start + "%2 = linear %0 @w @w -> n 8\n" + end);
    unbound(start + "%2 = rms_norm %0 @w eps=1.0 -> n 8\n" + end);
    unbound(start + "%2 = rms_norm %0 @v eps=inf -> n 8\n" + end);
    unbound(start + "%2 = linear %0 @w @- -> n 8\n");  // ends in rows n
    unbound(kHead + "%0 = rope_table @- dims=7 frequencies=1,1,1 -> n 7\n");
    unbound(kHead + "%0 = rope_table @- dims=8 frequencies=1,1,1 -> n 8\n");
    unbound(kHead + "%0 = rope_table @q dims=4 frequencies=1,1 -> n 4\n");
});

const Test smallest_embedding("graph: with several embeddings an id has to be in all", [] {
    MemoryWeights weights;
    weights.add("small", TensorType::kF32, 2, 8, normal(16, 1));
    weights.add("large", TensorType::kF32, 9, 8, normal(72, 2));
    for (const std::string order : {"%0 = embed @small -> n 8\n%1 = embed @large -> n 8\n",
                                    "%0 = embed @large -> n 8\n%1 = embed @small -> n 8\n"}) {
        const auto program = make_program(
            kHead + order + "%2 = add %0 %1 -> n 8\n%3 = output_rows %2 -> m 8\n", weights);
        check(program->vocab_size() == 2, "the smaller one counts");
    }
});

/// A word of the same kind as `word`, so that many damaged texts get past the parser.
std::string another(const std::string& word, std::mt19937_64& random) {
    const std::string weights[] = {"@-",           "@embed",        "@head",
                                   "@norm",        "@blk.0.k",      "@blk.0.down",
                                   "@blk.0.norm1", "@blk.0.v_bias", "@absent"};
    const std::string numbers[] = {"0", "1", "2",   "4",    "8",    "16",         "32",  "48",
                                   "n", "m", "0.5", "-1.0", "1e38", "2147483646", "half"};
    const std::string number = numbers[random() % std::size(numbers)];
    if (word.starts_with("%")) return "%" + std::to_string(random() % 20);
    if (word.starts_with("@")) return weights[random() % std::size(weights)];
    const size_t equals = word.find('=');
    return equals == std::string::npos ? number : word.substr(0, equals + 1) + number;
}

/// Damages a text: words, and now and then bytes.
std::string damaged(std::string text, std::mt19937_64& random) {
    const std::string bytes = " %@=->nm0123456789.\n\xff";
    for (size_t left = 1 + random() % 3; left > 0 && !text.empty(); --left) {
        const size_t at = random() % text.size();
        const char byte = bytes[random() % bytes.size()];
        switch (random() % 16) {
            case 0: text[at] = byte; break;
            case 1: text.insert(at, 1, byte); break;
            case 2: text.erase(at, 1 + random() % 4); break;
            default: {
                const size_t end = std::min(text.find_first_of(" \n", at), text.size());
                size_t begin = end;
                while (begin > 0 && text[begin - 1] != ' ' && text[begin - 1] != '\n') --begin;
                text.replace(begin, end - begin, another(text.substr(begin, end - begin), random));
            }
        }
    }
    return text;
}

/// A damaged text that still binds must also run: one of its rules was not needed.
bool binds_and_runs(const std::string& text, const MemoryWeights& weights) {
    std::unique_ptr<Program> program;
    try {
        program = make_program(text, weights);
    } catch (const Error& error) {
        check(error.kind() == ErrorKind::kFormat, error.what());
        check(std::string(error.what()).find('\n') == std::string::npos, "one line");
        return false;
    }
    try {
        KvCache cache(program->kv_layout(KvType::kF16), 128);
        const int64_t sequence = cache.create();
        step(*program, cache, {1, 2, 0}, {sequence, sequence, sequence}, 1, {0, 1, 1});
        step(*program, cache, {1}, {sequence}, 3);
    } catch (const Error& error) {
        const bool expected = error.kind() == ErrorKind::kNumerics ||
                              error.kind() == ErrorKind::kConfig;  // no embedding: no ids
        check(expected, error.what());
    }
    return true;
}

const Test mutations("graph: 6000 damaged texts are refused or run", [] {
    TinyModel model;
    model.n_layers = 1;
    const MemoryWeights weights = model.weights();
    const std::string text = model.text();
    check(binds_and_runs(text, weights), "the whole text runs");
    std::mt19937_64 random(7);
    int n_ran = 0;
    constexpr int kRounds = 6000;
    for (int i = 0; i < kRounds; ++i) n_ran += binds_and_runs(damaged(text, random), weights);
    check(n_ran > kRounds / 50 && n_ran < kRounds / 2, "both outcomes happen");
});

}  // namespace
}  // namespace plrt::testing
