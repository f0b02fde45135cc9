#pragma once
/// A small LLaMA-like network as graph text, with seeded weights in memory of any type.

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/cpu_backend.h"
#include "runtime/executor.h"

namespace plrt::testing {

/// Weights by name, each in a heap block of exactly its size, so that a sanitizer sees any read
/// past its end.
class MemoryWeights : public WeightSource {
  public:
    /// Adds `values` (rows, cols), stored as `type`.
    void add(const std::string& name, TensorType type, int64_t rows, int64_t cols,
             const std::vector<float>& values);
    /// Adds random bytes: any code, any scale, NaN and infinities included.
    void add_noise(const std::string& name, TensorType type, int64_t rows, int64_t cols,
                   std::mt19937_64& random);
    /// Adds rows as they are stored.
    void add_bytes(const std::string& name, TensorType type, int64_t rows, int64_t cols,
                   const std::string& bytes);

    Weight get(const std::string& name, int64_t rows, int64_t cols) const override;
    TensorType type_of(const std::string& name) const;

  private:
    uint8_t* allocate(const std::string& name, TensorType type, int64_t rows, int64_t cols);

    struct Stored {
        TensorType type;
        int64_t rows;
        int64_t cols;
        std::unique_ptr<uint8_t[]> data;
    };
    std::map<std::string, Stored> weights_;
};

/// Sizes and type of a network. Widths must be multiples of the type's block size.
struct TinyModel {
    TensorType type = TensorType::kF32;
    int64_t n_layers = 2;
    int64_t n_heads = 4;
    int64_t n_kv_heads = 2;
    int64_t head_dim = 8;
    int64_t hidden_dim = 48;
    int64_t vocab_size = 23;
    bool noise = false;  // random bytes for weights

    int64_t dim() const { return n_heads * head_dim; }
    std::string text() const;
    MemoryWeights weights(uint64_t seed = 1) const;
    std::unique_ptr<Program> program(const std::string& isa = "",
                                     Observe observe = Observe::kNothing) const;
};

/// The model whose widths fit every weight type.
TinyModel wide_model(TensorType type);

/// Normal numbers.
std::vector<float> normal(int64_t n, uint64_t seed, float scale = 1.0f);

/// A program from text and weights on an instruction set ("": the best).
std::unique_ptr<Program> make_program(const std::string& text, const MemoryWeights& weights,
                                      const std::string& isa = "");

/// The instruction sets that this CPU runs.
std::vector<std::string> supported_isas();

/// One float per logit, row after row.
using Logits = std::vector<float>;

/// One step of rows given as columns of ids and sequences; all rows wanted unless `wanted` says.
Logits step(Program& program, KvCache& cache, const std::vector<int32_t>& ids,
            const std::vector<int64_t>& sequences, int n_threads = 1,
            const std::vector<uint8_t>& wanted = {});

/// Whether two results are the same bits.
bool same_bits(const Logits& a, const Logits& b);

/// Mean squared difference over mean square of `wanted`.
double nmse(const std::vector<float>& got, const std::vector<float>& wanted);

}  // namespace plrt::testing
