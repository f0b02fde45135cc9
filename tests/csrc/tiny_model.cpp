#include "tiny_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <sstream>

#include "kernels/registry.h"
#include "quant/codec.h"
#include "testing.h"

namespace plrt::testing {
namespace {

/// Emits nodes as pyllama_rt/graph/builder.py does.
class Text {
  public:
    Text() { out_ << "plrt-graph 1\n"; }

    int node(const std::string& middle, const std::string& rows, int64_t width) {
        out_ << "%" << next_ << " = " << middle << " -> " << rows << " " << width << "\n";
        return next_++;
    }
    int linear(int x, const std::string& weight, const std::string& rows, int64_t width) {
        return node("linear " + value(x) + " @" + weight + " @-", rows, width);
    }
    static std::string value(int x) { return "%" + std::to_string(x); }
    std::string str() const { return out_.str(); }

  private:
    std::ostringstream out_;
    int next_ = 0;
};

std::string heads(const char* key, int64_t n) {
    return std::string(" ") + key + "=" + std::to_string(n);
}

std::string frequencies(int64_t dims) {
    std::ostringstream out;
    out << " frequencies=1.0";
    for (int64_t i = 1; i < dims / 2; ++i) {
        out << ","
            << 1.0 / std::pow(10000.0, static_cast<double>(2 * i) / static_cast<double>(dims));
    }
    return out.str();
}

int attention_block(Text& t, const TinyModel& m, int x, int table, const std::string& b) {
    const int64_t kv = m.n_kv_heads * m.head_dim;
    const std::string sizes = heads("head_dim", m.head_dim);
    const std::string rope = sizes + heads("dims", m.head_dim / 4 * 2) + " pairing=interleaved";
    const std::string with_table = " " + Text::value(table);
    int q = t.linear(x, b + "q", "n", m.dim());
    int k = t.linear(x, b + "k", "n", kv);
    const int v = t.node("linear " + Text::value(x) + " @" + b + "v @" + b + "v_bias", "n", kv);
    q = t.node("rope " + Text::value(q) + with_table + heads("n_heads", m.n_heads) + rope, "n",
               m.dim());
    k = t.node("rope " + Text::value(k) + with_table + heads("n_heads", m.n_kv_heads) + rope, "n",
               kv);
    const std::string inputs = " " + Text::value(q) + " " + Text::value(k) + " " + Text::value(v);
    const int mixed = t.node("attention" + inputs + heads("n_heads", m.n_heads) +
                                 heads("n_kv_heads", m.n_kv_heads) + sizes + " scale=0.3",
                             "n", m.dim());
    return t.linear(mixed, b + "o", "n", m.dim());
}

int mlp_block(Text& t, const TinyModel& m, int x, const std::string& b) {
    const int gate = t.linear(x, b + "gate", "n", m.hidden_dim);
    const int up = t.linear(x, b + "up", "n", m.hidden_dim);
    const int mixed =
        t.node("silu_mul " + Text::value(gate) + " " + Text::value(up), "n", m.hidden_dim);
    return t.linear(mixed, b + "down", "n", m.dim());
}

int add(Text& t, int a, int b, int64_t width) {
    return t.node("add " + Text::value(a) + " " + Text::value(b), "n", width);
}

int norm(Text& t, int x, const std::string& weight, const char* rows, int64_t width) {
    return t.node("rms_norm " + Text::value(x) + " @" + weight + " eps=1e-05", rows, width);
}

}  // namespace

uint8_t* MemoryWeights::allocate(const std::string& name, TensorType type, int64_t rows,
                                 int64_t cols) {
    const int64_t n_bytes = rows * row_bytes(type, cols);
    auto data = std::make_unique<uint8_t[]>(static_cast<size_t>(n_bytes));
    uint8_t* raw = data.get();
    weights_[name] = {type, rows, cols, std::move(data)};
    return raw;
}

void MemoryWeights::add(const std::string& name, TensorType type, int64_t rows, int64_t cols,
                        const std::vector<float>& values) {
    uint8_t* data = allocate(name, type, rows, cols);
    for (int64_t r = 0; r < rows; ++r) {
        quantize_rows(type, values.data() + r * cols, data + r * row_bytes(type, cols), 1, cols);
    }
}

void MemoryWeights::add_noise(const std::string& name, TensorType type, int64_t rows, int64_t cols,
                              std::mt19937_64& random) {
    uint8_t* data = allocate(name, type, rows, cols);
    const int64_t n_bytes = rows * row_bytes(type, cols);
    for (int64_t i = 0; i < n_bytes; ++i) data[i] = static_cast<uint8_t>(random());
}

void MemoryWeights::add_bytes(const std::string& name, TensorType type, int64_t rows, int64_t cols,
                              const std::string& bytes) {
    check(bytes.size() == static_cast<size_t>(rows * row_bytes(type, cols)), "add_bytes: size");
    std::copy(bytes.begin(), bytes.end(), allocate(name, type, rows, cols));
}

Weight MemoryWeights::get(const std::string& name, int64_t rows, int64_t cols) const {
    const auto found = weights_.find(name);
    require(found != weights_.end(), ErrorKind::kFormat, "tensor '", name, "' is missing");
    const Stored& w = found->second;
    require((rows == 0 || w.rows == rows) && w.cols == cols, ErrorKind::kFormat, "tensor '", name,
            "' has another shape");
    return {w.type, w.rows, w.cols, w.data.get()};
}

TensorType MemoryWeights::type_of(const std::string& name) const {
    const auto found = weights_.find(name);
    require(found != weights_.end(), ErrorKind::kFormat, "tensor '", name, "' is missing");
    return found->second.type;
}

std::string TinyModel::text() const {
    Text t;
    const int64_t rope_dims = head_dim / 4 * 2;  // half of each head turns, the rest is copied
    const int table = t.node(
        "rope_table @- dims=" + std::to_string(rope_dims) + frequencies(rope_dims), "n", rope_dims);
    int x = t.node("embed @embed", "n", dim());
    for (int64_t layer = 0; layer < n_layers; ++layer) {
        const std::string b = "blk." + std::to_string(layer) + ".";
        const int mixed = attention_block(t, *this, norm(t, x, b + "norm1", "n", dim()), table, b);
        x = add(t, x, mixed, dim());
        x = add(t, x, mlp_block(t, *this, norm(t, x, b + "norm2", "n", dim()), b), dim());
    }
    x = t.node("output_rows " + Text::value(x), "m", dim());
    t.linear(norm(t, x, "norm", "m", dim()), "head", "m", vocab_size);
    return t.str();
}

MemoryWeights TinyModel::weights(uint64_t seed) const {
    MemoryWeights out;
    std::mt19937_64 random(seed);
    const auto put = [&](const std::string& name, TensorType kind, int64_t rows, int64_t cols) {
        const auto scale = 1.0f / std::sqrt(static_cast<float>(rows == 1 ? 1 : cols));
        if (noise) return out.add_noise(name, kind, rows, cols, random);
        out.add(name, kind, rows, cols, normal(rows * cols, random(), scale));
    };
    const int64_t kv = n_kv_heads * head_dim;
    put("embed", type, vocab_size, dim());
    put("head", type, vocab_size, dim());
    put("norm", TensorType::kF32, 1, dim());
    for (int64_t layer = 0; layer < n_layers; ++layer) {
        const std::string b = "blk." + std::to_string(layer) + ".";
        put(b + "norm1", TensorType::kF32, 1, dim());
        put(b + "norm2", TensorType::kF16, 1, dim());
        put(b + "q", type, dim(), dim());
        put(b + "k", type, kv, dim());
        put(b + "v", type, kv, dim());
        put(b + "v_bias", TensorType::kBF16, 1, kv);
        put(b + "o", type, dim(), dim());
        put(b + "gate", type, hidden_dim, dim());
        put(b + "up", type, hidden_dim, dim());
        put(b + "down", type, dim(), hidden_dim);
    }
    return out;
}

namespace {

/// Keeps the weights alive for as long as the backend that reads them.
class OwningBackend : public Backend {
  public:
    OwningBackend(std::unique_ptr<Backend> inner, MemoryWeights weights)
        : inner_(std::move(inner)), weights_(std::move(weights)) {}

    const MemoryWeights& weights() const { return weights_; }
    std::string name() const override { return inner_->name(); }
    bool supports(const Node& node) const override { return inner_->supports(node); }
    std::unique_ptr<Operation> bind(const Plan& plan, int index,
                                    const WeightSource& weights) const override {
        return inner_->bind(plan, index, weights);
    }

  private:
    std::unique_ptr<Backend> inner_;
    MemoryWeights weights_;
};

}  // namespace

std::unique_ptr<Program> TinyModel::program(const std::string& isa, Observe observe) const {
    auto backend = std::make_unique<OwningBackend>(make_cpu_backend(isa), weights());
    const MemoryWeights& stored = backend->weights();
    const auto type_of_weight = [&](const std::string& name) { return stored.type_of(name); };
    return std::make_unique<Program>(text(), stored, type_of_weight, std::move(backend), observe);
}

TinyModel wide_model(TensorType type) {
    TinyModel model;
    model.type = type;
    model.n_layers = 1;
    model.n_heads = 8;
    model.head_dim = 32;
    model.hidden_dim = 256;
    return model;
}

std::vector<float> normal(int64_t n, uint64_t seed, float scale) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> draw(0.0f, scale);
    std::vector<float> out(static_cast<size_t>(n));
    for (float& x : out) x = draw(random);
    return out;
}

std::unique_ptr<Program> make_program(const std::string& text, const MemoryWeights& weights,
                                      const std::string& isa) {
    const auto type_of = [&](const std::string& name) { return weights.type_of(name); };
    return std::make_unique<Program>(text, weights, type_of, make_cpu_backend(isa));
}

std::vector<std::string> supported_isas() {
    std::vector<std::string> out;
    for (const std::string& name : isa_names()) {
        if (isa_supported(name)) out.push_back(name);
    }
    return out;
}

Logits step(Program& program, KvCache& cache, const std::vector<int32_t>& ids,
            const std::vector<int64_t>& sequences, int n_threads,
            const std::vector<uint8_t>& wanted) {
    const std::vector<uint8_t> all(ids.size(), 1);
    Logits out;
    const auto width = program.output_width();
    program.step({ids, sequences, wanted.empty() ? all : wanted}, cache, n_threads, {},
                 [&](const float* rows, int64_t n, int64_t stride) {
                     for (int64_t i = 0; i < n; ++i) {
                         out.insert(out.end(), rows + i * stride, rows + i * stride + width);
                     }
                 });
    return out;
}

bool same_bits(const Logits& a, const Logits& b) {
    const auto same = [](float x, float y) {
        return std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(y);
    };
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), same);
}

double nmse(const std::vector<float>& got, const std::vector<float>& wanted) {
    check(got.size() == wanted.size() && !wanted.empty(), "nmse: equal lengths");
    double difference = 0;
    double total = 0;
    for (size_t i = 0; i < got.size(); ++i) {
        const double d = static_cast<double>(got[i]) - static_cast<double>(wanted[i]);
        difference += d * d;
        total += static_cast<double>(wanted[i]) * static_cast<double>(wanted[i]);
    }
    return difference / (total + 1e-30);
}

}  // namespace plrt::testing
