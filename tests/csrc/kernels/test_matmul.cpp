/// Matmul kernels of every weight type against sums in double, at odd sizes, and against scalar.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>

#include "core/aligned_buffer.h"
#include "core/blocks.h"
#include "core/cpu_features.h"
#include "core/float_types.h"
#include "kernels/registry.h"
#include "quant/codec.h"
#include "testing.h"
#include "tiny_model.h"

namespace plrt::testing {
namespace {

/// Operands of y = x · Wᵀ + bias, each buffer of exactly the size that the contract names.
struct Matmul {
    TensorType type;
    int64_t rows;
    int64_t k;
    int64_t cols;
    std::unique_ptr<uint8_t[]> weights;
    std::vector<float> x;
    std::vector<float> bias;
    AlignedBuffer activations;
    int64_t activation_row_bytes = 0;

    Matmul(TensorType weight_type, int64_t n_rows, int64_t width, int64_t n_cols)
        : type(weight_type), rows(n_rows), k(width), cols(n_cols) {
        const int64_t bytes = row_bytes(type, k);
        weights = std::make_unique<uint8_t[]>(static_cast<size_t>(rows * bytes));
        const auto values = normal(rows * k, 1);
        for (int64_t r = 0; r < rows; ++r) {
            quantize_rows(type, values.data() + r * k, weights.get() + r * bytes, 1, k);
        }
        x = normal(cols * k, 2);
        bias = normal(rows, 3);
    }

    bool is_bf16() const { return type == TensorType::kBF16; }
    bool is_small() const { return info(type).block_size == 32; }

    /// Lays the activations out as the type's kernel reads them.
    void quantize(const KernelTable& kernels) {
        const int64_t floats = k * static_cast<int64_t>(sizeof(float));
        const int64_t small =
            activation_part(k) + 2 * activation_part(k / 32 * 4) + activation_part(k / 32 * 2);
        const int64_t super = activation_part(k) + activation_part(k / 256 * 4) +
                              activation_part(k / 16 * 2) + activation_part(k / 32 * 2);
        const bool plain = !info(type).is_quantized;
        activation_row_bytes = is_bf16() ? 2 * k : plain ? floats : is_small() ? small : super;
        activations = AlignedBuffer(cols * activation_row_bytes);
        for (int64_t c = 0; c < cols; ++c) {
            uint8_t* row = activations.data() + c * activation_row_bytes;
            const float* source = x.data() + c * k;
            if (is_bf16()) {
                kernels.round_rows_bf16(source, k, reinterpret_cast<uint16_t*>(row));
            } else if (plain) {
                std::memcpy(row, source, static_cast<size_t>(floats));
            } else if (is_small()) {
                kernels.quantize_rows_32(source, k, activations_32(row, k));
            } else {
                kernels.quantize_rows_256(source, k, activations_256(row, k));
            }
        }
    }

    /// Computes rows begin … end of columns first … last of out (cols, rows).
    void run(const KernelTable& kernels, std::vector<float>& out, int64_t begin, int64_t end,
             int64_t first = 0, int64_t last = -1) {
        constexpr int64_t kGuard = 4096;  // sanitizers do not see what tiles read and write
        AlignedBuffer scratch(kMatmulScratchBytes + kGuard);
        uint8_t* guard = scratch.data() + kMatmulScratchBytes;
        std::memset(guard, 0xa5, kGuard);
        MatmulArgs args{};
        args.weights = weights.get();
        args.weight_row_bytes = row_bytes(type, k);
        args.k = k;
        args.activations = activations.data() + first * activation_row_bytes;
        args.activation_row_bytes = activation_row_bytes;
        args.n_cols = (last < 0 ? cols : last) - first;
        args.out = out.data() + first * rows;
        args.out_stride = rows;
        args.bias = bias.empty() ? nullptr : bias.data();
        args.row_begin = begin;
        args.row_end = end;
        args.scratch = scratch.data();
        matmul_for(kernels, type)(args);
        const auto is_kept = [](uint8_t byte) { return byte == 0xa5; };
        check(std::all_of(guard, guard + kGuard, is_kept), "nothing beyond the scratch");
    }

    std::vector<float> all(const KernelTable& kernels) {
        quantize(kernels);
        std::vector<float> out(static_cast<size_t>(rows * cols));
        run(kernels, out, 0, rows);
        return out;
    }

    /// The activations that the kernel sees, as numbers.
    std::vector<float> seen() const {
        std::vector<float> out(x);
        if (is_bf16()) return seen_bf16();
        if (!info(type).is_quantized) return out;
        for (int64_t c = 0; c < cols; ++c) {
            uint8_t* row = activations.data() + c * activation_row_bytes;
            for (int64_t i = 0; i < k; ++i) {
                const float d = is_small() ? activations_32(row, k).d[i / 32]
                                           : activations_256(row, k).d[i / 256];
                out[static_cast<size_t>(c * k + i)] =
                    d * static_cast<float>(reinterpret_cast<int8_t*>(row)[i]);
            }
        }
        return out;
    }

    std::vector<float> seen_bf16() const {
        std::vector<float> out(x.size());
        for (size_t i = 0; i < out.size(); ++i) {
            const auto c = static_cast<int64_t>(i) / k;
            const auto* row =
                reinterpret_cast<const uint16_t*>(activations.data() + c * activation_row_bytes);
            out[i] = bf16_to_f32(row[static_cast<int64_t>(i) % k]);
        }
        return out;
    }

    std::vector<float> in_double() const {
        const auto inputs = seen();
        std::vector<float> out;
        std::vector<float> weight(static_cast<size_t>(k));
        out.resize(static_cast<size_t>(rows * cols));
        for (int64_t r = 0; r < rows; ++r) {
            dequantize_row(type, weights.get() + r * row_bytes(type, k), weight.data(), k);
            for (int64_t c = 0; c < cols; ++c) {
                double sum = bias.empty() ? 0.0 : static_cast<double>(bias[static_cast<size_t>(r)]);
                for (int64_t i = 0; i < k; ++i) {
                    sum += static_cast<double>(weight[static_cast<size_t>(i)]) *
                           static_cast<double>(inputs[static_cast<size_t>(c * k + i)]);
                }
                out[static_cast<size_t>(c * rows + r)] = static_cast<float>(sum);
            }
        }
        return out;
    }
};

/// Widths that fit the type, tails included where it has none of its own.
std::vector<int64_t> widths(const TensorTypeInfo& type) {
    if (!type.is_quantized) return {1, 3, 15, 16, 17, 31, 33, 80, 100, 519, 1063};
    if (type.block_size == 32) return {32, 64, 96, 160, 352};
    return {256, 512, 768};
}

const Test odd_sizes("matmul: every type at odd sizes against sums in double", [] {
    for (const std::string& isa : supported_isas()) {
        const KernelTable& kernels = select_kernels(isa);
        for (const TensorTypeInfo& type : tensor_types()) {
            for (const int64_t k : widths(type)) {
                for (const int64_t rows : {1, 2, 3, 4, 5, 9}) {
                    Matmul m(type.type, rows, k, 1 + rows % 3);
                    const auto got = m.all(kernels);
                    check(nmse(got, m.in_double()) < 1e-10, "against double");
                }
            }
        }
    }
});

/// Runs the product piece by piece: `rows` weight rows by `cols` activation rows at a time.
std::vector<float> in_pieces(Matmul& m, const KernelTable& kernels, int64_t rows, int64_t cols) {
    std::vector<float> out(static_cast<size_t>(m.rows * m.cols), -1.0f);
    for (int64_t col = 0; col < m.cols; col += cols) {
        for (int64_t row = 0; row < m.rows; row += rows) {
            m.run(kernels, out, row, std::min(row + rows, m.rows), col,
                  std::min(col + cols, m.cols));
        }
    }
    return out;
}

const Test cuts("matmul: cutting rows or columns changes no bit", [] {
    for (const std::string& isa : supported_isas()) {
        const KernelTable& kernels = select_kernels(isa);
        for (const TensorTypeInfo& type : tensor_types()) {
            // More than a group of panels and more than a few columns, both with a remainder.
            Matmul m(type.type, 83, widths(type).back(), 23);
            const auto whole = m.all(kernels);
            check(same_bits(in_pieces(m, kernels, 4, 1), whole), "single columns");
            check(same_bits(in_pieces(m, kernels, 83, 7), whole), "few columns");
            check(same_bits(in_pieces(m, kernels, 48, 16), whole), "many columns");
            m.bias.clear();
            const auto plain = m.all(kernels);
            check(nmse(plain, m.in_double()) < 1e-10, "without a bias");
        }
    }
});

const Test prompts("matmul: a prompt's columns get the bits that a few columns get", [] {
    for (const std::string& isa : supported_isas()) {
        const KernelTable& kernels = select_kernels(isa);
        for (const TensorTypeInfo& type : tensor_types()) {
            // Panels in pairs, one alone and one with rows to spare; columns with a remainder.
            Matmul m(type.type, 2 * kMatmulRows - 9, widths(type).back(), 70);
            const auto whole = m.all(kernels);
            check(same_bits(in_pieces(m, kernels, m.rows, 7), whole), "few columns");
            check(same_bits(in_pieces(m, kernels, 35, 64), whole), "few rows");
            for (const int64_t cols : {47, 48, 49}) {
                check(same_bits(in_pieces(m, kernels, 16, cols), whole), "one panel");
            }
        }
    }
});

const Test many_columns("matmul: more columns than one pass takes change no bit", [] {
    for (const std::string& isa : supported_isas()) {
        const KernelTable& kernels = select_kernels(isa);
        for (const TensorType type : {TensorType::kQ8_0, TensorType::kQ3_K, TensorType::kQ4_K,
                                      TensorType::kF32, TensorType::kF16, TensorType::kBF16}) {
            Matmul m(type, 20, 512, kMatmulColumns + 53);
            const auto whole = m.all(kernels);
            check(same_bits(in_pieces(m, kernels, 20, 100), whole), "in pieces");
            check(same_bits(in_pieces(m, kernels, 20, 40), whole), "in small pieces");
        }
    }
});

const Test against_scalar("matmul: scalar and the others agree, exactly on quantised weights", [] {
    const KernelTable& scalar = select_kernels("scalar");
    for (const std::string& isa : supported_isas()) {
        const KernelTable& kernels = select_kernels(isa);
        for (const TensorTypeInfo& type : tensor_types()) {
            for (const int64_t k : widths(type)) {
                for (const int64_t cols : {3, 50}) {
                    Matmul m(type.type, 9, k, cols);
                    const auto wanted = m.all(scalar);
                    const auto got = m.all(kernels);
                    check(nmse(got, wanted) <= 1e-7, "close");
                    check(!type.is_quantized || same_bits(got, wanted), "exact");
                }
            }
        }
    }
});

/// Sets what blocks store as f16 to 1.
template <typename Block>
void scales_to_one(uint8_t* bytes, int64_t n_bytes) {
    constexpr uint16_t kOne = 0x3c00;
    auto* blocks = reinterpret_cast<Block*>(bytes);
    for (int64_t i = 0; i < n_bytes / static_cast<int64_t>(sizeof(Block)); ++i) {
        blocks[i].d = kOne;
        if constexpr (requires { blocks[i].dmin; }) blocks[i].dmin = kOne;
        if constexpr (requires { blocks[i].m; }) blocks[i].m = kOne;
    }
}
void scales_to_one(TensorType type, uint8_t* bytes, int64_t n) {
    switch (type) {
        case TensorType::kQ4_0: return scales_to_one<BlockQ4_0>(bytes, n);
        case TensorType::kQ4_1: return scales_to_one<BlockQ4_1>(bytes, n);
        case TensorType::kQ5_0: return scales_to_one<BlockQ5_0>(bytes, n);
        case TensorType::kQ5_1: return scales_to_one<BlockQ5_1>(bytes, n);
        case TensorType::kQ8_0: return scales_to_one<BlockQ8_0>(bytes, n);
        case TensorType::kQ2_K: return scales_to_one<BlockQ2_K>(bytes, n);
        case TensorType::kQ3_K: return scales_to_one<BlockQ3_K>(bytes, n);
        case TensorType::kQ4_K: return scales_to_one<BlockQ4_K>(bytes, n);
        case TensorType::kQ5_K: return scales_to_one<BlockQ5_K>(bytes, n);
        case TensorType::kQ6_K: return scales_to_one<BlockQ6_K>(bytes, n);
        case TensorType::kIQ4_NL: return scales_to_one<BlockIQ4_NL>(bytes, n);
        case TensorType::kIQ4_XS: return scales_to_one<BlockIQ4_XS>(bytes, n);
        default: return;
    }
}

const Test extreme_codes("matmul: extreme codes and sub-scales do not overflow", [] {
    const KernelTable& scalar = select_kernels("scalar");
    for (const TensorTypeInfo& type : tensor_types()) {
        if (!type.is_quantized) continue;
        // Few columns, many, and those of tiles: each may multiply in another way.
        for (const int64_t cols : {3, 20, 50}) {
            for (const uint8_t byte : {0x00, 0x7f, 0x80, 0xff, 0x0f, 0xf0, 0x3f}) {
                Matmul m(type.type, 37, widths(type).back(), cols);
                const int64_t n = m.rows * row_bytes(type.type, m.k);
                std::memset(m.weights.get(), byte, static_cast<size_t>(n));
                scales_to_one(type.type, m.weights.get(), n);
                for (size_t i = 0; i < m.x.size(); ++i) m.x[i] = i % 700 < 300 ? 3.0f : -3.0f;
                const auto wanted = m.all(scalar);
                for (const std::string& isa : supported_isas()) {
                    check(same_bits(m.all(select_kernels(isa)), wanted), "the same as scalar");
                }
            }
        }
    }
});

const Test unknown_names("kernels: a name that this build lacks is refused", [] {
    for (const char* name : {"avx3", "AVX2", " ", "scalar "}) {
        check_throws(ErrorKind::kConfig, [&] { select_kernels(name); });
    }
    check_throws(ErrorKind::kUnsupported,
                 [] { matmul_for(select_kernels("scalar"), static_cast<TensorType>(4)); });
    const auto isas = isa_names();
    const auto best = std::find_if(isas.begin(), isas.end(), cpu_prefers);
    check(best != isas.end() && select_kernels("").name == *best, "the best one");
});

}  // namespace
}  // namespace plrt::testing
