/// Attention over cache pages against sums in double, at odd head widths and page boundaries.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/aligned_buffer.h"
#include "core/float_types.h"
#include "kernels/registry.h"
#include "testing.h"
#include "tiny_model.h"

namespace plrt::testing {
namespace {

/// One KV head's pages, filled up to `n_positions`; what lies behind is poison.
class Pages {
  public:
    Pages(KvType type, int64_t head_dim, int64_t n_positions)
        : type_(type), head_dim_(head_dim), padded_(padded_head_dim(head_dim)) {
        k = normal(n_positions * head_dim, 1);
        v = normal(n_positions * head_dim, 2);
        const int64_t n_pages = (n_positions + kPageCells - 1) / kPageCells;
        const int64_t n = (head_dim + padded_) * kPageCells;
        for (int64_t p = 0; p < n_pages; ++p) {
            buffers_.emplace_back(n * kv_element_bytes(type));
            addresses_.push_back(buffers_.back().data());
            // Old keys and values may be anything; only the padding is promised to be zero.
            for (int64_t i = 0; i < n; ++i) put(p, i, std::numeric_limits<float>::quiet_NaN());
            for (int64_t i = head_dim * kPageCells; i < n; ++i) {
                if ((i - head_dim * kPageCells) % padded_ >= head_dim) put(p, i, 0.0f);
            }
        }
        for (int64_t at = 0; at < n_positions; ++at) {
            for (int64_t d = 0; d < head_dim; ++d) {
                const auto i = static_cast<size_t>(at * head_dim + d);
                const int64_t cell = at % kPageCells;
                k[i] = put(at / kPageCells, d * kPageCells + cell, k[i]);
                v[i] = put(at / kPageCells, head_dim * kPageCells + cell * padded_ + d, v[i]);
            }
        }
    }

    const uint8_t* const* addresses() const { return addresses_.data(); }
    int64_t v_offset() const { return head_dim_ * kPageCells * kv_element_bytes(type_); }

    std::vector<float> k;  // as rounded to the cache's type, (position, head_dim)
    std::vector<float> v;

  private:
    float put(int64_t page, int64_t i, float value) {
        uint8_t* to = buffers_[static_cast<size_t>(page)].data() + i * kv_element_bytes(type_);
        if (type_ == KvType::kF32) {
            std::memcpy(to, &value, sizeof(value));
            return value;
        }
        const uint16_t half = f32_to_f16(value);
        std::memcpy(to, &half, sizeof(half));
        return f16_to_f32(half);
    }

    KvType type_;
    int64_t head_dim_;
    int64_t padded_;
    std::vector<AlignedBuffer> buffers_;
    std::vector<uint8_t*> addresses_;
};

/// Rows of queries at the end of the pages.
struct Case {
    KvType type;
    int64_t head_dim;
    int64_t group;
    int64_t first;
    int64_t n_rows;

    std::vector<float> queries() const { return normal((first + n_rows) * width(), 3); }
    int64_t width() const { return group * head_dim; }

    /// Output rows begin … end of this case, on exactly as much memory as the contract names.
    std::vector<float> run(const KernelTable& kernels, const Pages& pages,
                           const std::vector<float>& q, int64_t begin, int64_t end) const {
        const int64_t n = end - begin;
        const int64_t floats = attention_scratch_floats(n * group, head_dim);
        AlignedBuffer scratch(floats * static_cast<int64_t>(sizeof(float)));
        std::vector<float> out(static_cast<size_t>(n * width()));
        AttentionArgs args{};
        args.q = q.data() + (first + begin) * width();
        args.q_stride = args.out_stride = width();
        args.out = out.data();
        args.n_rows = n;
        args.first_position = first + begin;
        args.group = group;
        args.head_dim = head_dim;
        args.pages = pages.addresses();
        args.k_offset = 0;
        args.v_offset = pages.v_offset();
        args.kv_type = type;
        args.scale = 0.5f;
        args.scratch = reinterpret_cast<float*>(scratch.data());
        kernels.attention(args);
        return out;
    }

    std::vector<float> in_double(const Pages& pages, const std::vector<float>& q) const {
        std::vector<float> out;
        for (int64_t at = first; at < first + n_rows; ++at) {
            for (int64_t g = 0; g < group; ++g) {
                one_query(pages, q.data() + at * width() + g * head_dim, at, out);
            }
        }
        return out;
    }

    void one_query(const Pages& pages, const float* q, int64_t at, std::vector<float>& out) const {
        std::vector<double> weights;
        double largest = -1e300;
        for (int64_t j = 0; j <= at; ++j) {
            double score = 0;
            for (int64_t d = 0; d < head_dim; ++d) {
                score += static_cast<double>(q[d]) *
                         static_cast<double>(pages.k[static_cast<size_t>(j * head_dim + d)]);
            }
            weights.push_back(0.5 * score);
            largest = std::max(largest, weights.back());
        }
        double total = 0;
        for (double& w : weights) total += w = std::exp(w - largest);
        for (int64_t d = 0; d < head_dim; ++d) {
            double sum = 0;
            for (size_t j = 0; j < weights.size(); ++j) {
                const size_t i = j * static_cast<size_t>(head_dim) + static_cast<size_t>(d);
                sum += weights[j] / total * static_cast<double>(pages.v[i]);
            }
            out.push_back(static_cast<float>(sum));
        }
    }
};

const Test odd_heads("attention: odd head widths and page boundaries against double", [] {
    for (const KvType type : {KvType::kF32, KvType::kF16}) {
        for (const int64_t head_dim : {1, 2, 8, 16, 24, 80, 128}) {
            for (const int64_t first : {0, 60, 63, 64, 129}) {
                const Case c{type, head_dim, 1 + head_dim % 3, first, first % 2 == 0 ? 7 : 1};
                const Pages pages(type, head_dim, c.first + c.n_rows);
                const auto q = c.queries();
                const auto wanted = c.in_double(pages, q);
                const auto plain = c.run(select_kernels("scalar"), pages, q, 0, c.n_rows);
                for (const std::string& isa : supported_isas()) {
                    const auto got = c.run(select_kernels(isa), pages, q, 0, c.n_rows);
                    check(nmse(got, wanted) < 1e-10, "against double");
                    check(nmse(got, plain) < 1e-7, "against scalar");
                }
            }
        }
    }
});

const Test row_by_row("attention: rows together or alone give the same bits", [] {
    for (const std::string& isa : supported_isas()) {
        const KernelTable& kernels = select_kernels(isa);
        for (const KvType type : {KvType::kF32, KvType::kF16}) {
            const Case c{type, 24, 2, 55, 20};
            const Pages pages(type, 24, 75);
            const auto q = c.queries();
            const auto whole = c.run(kernels, pages, q, 0, 20);
            std::vector<float> parts;
            for (int64_t row = 0; row < 20; ++row) {
                const auto one = c.run(kernels, pages, q, row, row + 1);
                parts.insert(parts.end(), one.begin(), one.end());
            }
            check(same_bits(parts, whole), "bits");
        }
    }
});

const Test large_scores("attention: scores far apart neither overflow nor vanish", [] {
    for (const std::string& isa : supported_isas()) {
        const Case c{KvType::kF32, 8, 1, 100, 1};
        const Pages pages(KvType::kF32, 8, 101);
        auto q = c.queries();
        for (float& x : q) x *= 1e4f;
        const auto got = c.run(select_kernels(isa), pages, q, 0, 1);
        check(nmse(got, c.in_double(pages, q)) < 1e-8, "the best position wins");
        q.assign(q.size(), std::numeric_limits<float>::quiet_NaN());
        for (const float x : c.run(select_kernels(isa), pages, q, 0, 1)) {
            check(std::isnan(x), "NaN is not hidden");
        }
    }
});

}  // namespace
}  // namespace plrt::testing
