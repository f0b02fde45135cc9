/// Attention over cache pages against sums in double, at odd head widths and page boundaries.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

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
        for (int64_t page = 0; page * kPageCells < n_positions; ++page) {
            buffers_.emplace_back(v_offset() + v_page_bytes(type, head_dim));
            addresses_.push_back(buffers_.back().data());
            poison(page);
        }
        for (int64_t at = 0; at < n_positions; ++at) {
            write(at, k.data() + at * head_dim, 0, kPageCells, 1, head_dim);
            write(at, v.data() + at * head_dim, v_offset(), 1, padded_, padded_);
        }
    }

    const uint8_t* const* addresses() const { return addresses_.data(); }
    int64_t v_offset() const { return k_page_bytes(type_, head_dim_); }

    /// Makes the values of a position NaN.
    void spoil(int64_t at) {
        std::vector<float> row(static_cast<size_t>(head_dim_),
                               std::numeric_limits<float>::quiet_NaN());
        write(at, row.data(), v_offset(), 1, padded_, padded_);
    }

    std::vector<float> k;  // as rounded to the cache's type, (position, head_dim)
    std::vector<float> v;

  private:
    /// Old keys and values may be anything; only the padding is promised to be zero.
    void poison(int64_t page) {
        uint8_t* data = addresses_[static_cast<size_t>(page)];
        const int64_t n_bytes = buffers_[static_cast<size_t>(page)].size();
        std::fill_n(data, n_bytes, uint8_t{0xff});  // NaN as a float, a half and a scale
        const int64_t element = kv_element_bytes(type_);
        for (int64_t cell = 0; cell < kPageCells; ++cell) {
            std::fill_n(data + v_offset() + (cell * padded_ + head_dim_) * element,
                        (padded_ - head_dim_) * element, uint8_t{0});
        }
    }

    /// Writes one key or value into a matrix of `n_rows` x 64 elements, and rounds it in `x`.
    void write(int64_t at, float* x, int64_t offset, int64_t row_stride, int64_t cell_stride,
               int64_t n_rows) {
        uint8_t* to = addresses_[static_cast<size_t>(at / kPageCells)] + offset;
        const int64_t cell = at % kPageCells;
        for (int64_t d = 0; d < head_dim_; ++d) {
            const int64_t i = d * row_stride + cell * cell_stride;
            if (type_ == KvType::kF32) std::memcpy(to + 4 * i, x + d, 4);
            if (type_ == KvType::kF16) {
                const uint16_t half = f32_to_f16(x[d]);
                std::memcpy(to + 2 * i, &half, 2);
                x[d] = f16_to_f32(half);
            }
            if (type_ == KvType::kQ8_0) {
                const auto [scale, inverse] = scale_of(x, d);
                const int64_t scale_at = n_rows * kPageCells + 2 * (d / 32 * kPageCells + cell);
                std::memcpy(to + scale_at, &scale, 2);
                const float code = std::nearbyint(originals_[static_cast<size_t>(d)] * inverse);
                to[i] = static_cast<uint8_t>(static_cast<int8_t>(code));
                x[d] = code * f16_to_f32(scale);
            }
        }
    }

    /// Scale of element d's block and what its elements are multiplied by. Keeps a copy of the
    /// elements, because they are rounded in place.
    std::pair<uint16_t, float> scale_of(const float* x, int64_t d) {
        if (d == 0) originals_.assign(x, x + head_dim_);
        float largest = 0;
        for (int64_t i = d / 32 * 32; i < std::min(d / 32 * 32 + 32, head_dim_); ++i) {
            largest = std::max(largest, std::fabs(originals_[static_cast<size_t>(i)]));
        }
        return {f32_to_f16(largest / 127.0f), 127.0f / largest};
    }

    KvType type_;
    int64_t head_dim_;
    int64_t padded_;
    std::vector<float> originals_;
    std::vector<AlignedBuffer> buffers_;
    std::vector<uint8_t*> addresses_;
};

constexpr KvType kEveryKvType[] = {KvType::kF32, KvType::kF16, KvType::kQ8_0};

/// Rows of queries at the end of the pages.
struct Case {
    KvType type;
    int64_t head_dim;
    int64_t group;
    int64_t first;
    int64_t n_rows;
    int64_t window = 0;
    float softcap = 0.0f;
    bool is_causal = true;

    std::vector<float> queries() const { return normal((first + n_rows) * width(), 3); }
    int64_t width() const { return group * head_dim; }

    /// Output rows begin … end of this case, on exactly as much memory as the contract names.
    std::vector<float> run(const KernelTable& kernels, const Pages& pages,
                           const std::vector<float>& q, int64_t begin, int64_t end) const {
        std::vector<float> out(static_cast<size_t>((end - begin) * width()));
        AlignedBuffer scratch;
        kernels.attention(arguments(pages, q, begin, end, out, scratch));
        return out;
    }

    /// The same, tile by tile from the last, then merged in two runs of queries.
    std::vector<float> run_split(const KernelTable& kernels, const Pages& pages,
                                 const std::vector<float>& q, int64_t begin, int64_t end) const {
        std::vector<float> out(static_cast<size_t>((end - begin) * width()));
        AlignedBuffer scratch;
        const AttentionArgs args = arguments(pages, q, begin, end, out, scratch);
        const int64_t n_queries = (end - begin) * group;
        const TileRange tiles = attention_tiles(args);
        const int64_t stride = attention_partial_floats(n_queries, head_dim);
        AlignedBuffer partials((tiles.end - tiles.begin) * stride *
                               static_cast<int64_t>(sizeof(float)));
        auto* floats = reinterpret_cast<float*>(partials.data());
        for (int64_t t = tiles.end; t-- > tiles.begin;) {
            kernels.attention_partials(args, t, t + 1, floats);
        }
        kernels.attention_merge(args, n_queries / 3, n_queries, floats);
        kernels.attention_merge(args, 0, n_queries / 3, floats);
        return out;
    }

    AttentionArgs arguments(const Pages& pages, const std::vector<float>& q, int64_t begin,
                            int64_t end, std::vector<float>& out, AlignedBuffer& scratch) const {
        const int64_t n = end - begin;
        scratch.grow(attention_scratch_floats(n * group, head_dim) *
                     static_cast<int64_t>(sizeof(float)));
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
        args.window = window;
        args.softcap = softcap;
        args.n_seen = is_causal ? 0 : first + n_rows;
        args.scratch = reinterpret_cast<float*>(scratch.data());
        return args;
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
        const int64_t begin = window > 0 ? std::max(at + 1 - window, int64_t{0}) : 0;
        const int64_t end = is_causal ? at + 1 : first + n_rows;
        for (int64_t j = begin; j < end; ++j) {
            double score = 0;
            for (int64_t d = 0; d < head_dim; ++d) {
                score += static_cast<double>(q[d]) *
                         static_cast<double>(pages.k[static_cast<size_t>(j * head_dim + d)]);
            }
            score *= 0.5;
            const double cap = static_cast<double>(softcap);
            weights.push_back(cap > 0 ? cap * std::tanh(score / cap) : score);
            largest = std::max(largest, weights.back());
        }
        double total = 0;
        for (double& w : weights) total += w = std::exp(w - largest);
        for (int64_t d = 0; d < head_dim; ++d) {
            double sum = 0;
            for (size_t j = 0; j < weights.size(); ++j) {
                const size_t at_j = static_cast<size_t>(begin) + j;
                const size_t i = at_j * static_cast<size_t>(head_dim) + static_cast<size_t>(d);
                sum += weights[j] / total * static_cast<double>(pages.v[i]);
            }
            out.push_back(static_cast<float>(sum));
        }
    }
};

const Test odd_heads("attention: odd head widths and page boundaries against double", [] {
    for (const KvType type : kEveryKvType) {
        for (const int64_t head_dim : {1, 2, 8, 16, 24, 80, 128}) {
            for (const int64_t first : {0, 60, 63, 64, 129}) {
                const int64_t group = head_dim % 3 == 2 ? 7 : 1 + head_dim % 3;
                const Case c{type, head_dim, group, first, first % 2 == 0 ? 7 : 1};
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

const Test row_by_row("attention: rows together or alone, tiles in any order, give the same bits",
                      [] {
                          for (const std::string& isa : supported_isas()) {
                              const KernelTable& kernels = select_kernels(isa);
                              for (const KvType type : kEveryKvType) {
                                  for (const int64_t group : {1, 2, 7}) {
                                      const Case c{type, 24, group, 55, 90};
                                      const Pages pages(type, 24, 145);
                                      const auto q = c.queries();
                                      const auto whole = c.run(kernels, pages, q, 0, 90);
                                      check(same_bits(c.run_split(kernels, pages, q, 0, 90), whole),
                                            "tiles");
                                      std::vector<float> parts;
                                      for (int64_t row = 0; row < 90; ++row) {
                                          const auto one = c.run(kernels, pages, q, row, row + 1);
                                          parts.insert(parts.end(), one.begin(), one.end());
                                      }
                                      check(same_bits(parts, whole), "rows");
                                  }
                              }
                          }
                      });

const Test windows_and_caps(
    "attention: windows, caps and both directions, whole, split and by row", [] {
        const Case cases[] = {
            {KvType::kF32, 24, 3, 0, 200, 1},
            {KvType::kF16, 24, 3, 55, 150, 10},
            {KvType::kQ8_0, 40, 1, 63, 150, 64, 3.0f},
            {KvType::kF32, 16, 7, 300, 40, 129},
            {KvType::kF32, 16, 2, 300, 1, 70, 2.0f},
            {KvType::kF16, 24, 2, 0, 150, 0, 1.5f},
            {KvType::kF32, 24, 2, 0, 150, 0, 0.0f, false},
            {KvType::kF32, 24, 2, 0, 3, 0, 0.0f, false},
        };
        for (const Case& c : cases) {
            const Pages pages(c.type, c.head_dim, c.first + c.n_rows);
            const auto q = c.queries();
            const auto wanted = c.in_double(pages, q);
            for (const std::string& isa : supported_isas()) {
                const KernelTable& kernels = select_kernels(isa);
                const auto whole = c.run(kernels, pages, q, 0, c.n_rows);
                check(nmse(whole, wanted) < 1e-10, "against double");
                check(same_bits(c.run_split(kernels, pages, q, 0, c.n_rows), whole), "tiles");
                std::vector<float> parts;
                for (int64_t row = 0; row < c.n_rows; ++row) {
                    const auto one = c.run(kernels, pages, q, row, row + 1);
                    parts.insert(parts.end(), one.begin(), one.end());
                }
                check(same_bits(parts, whole), "rows");
            }
        }
    });

const Test later_rows("attention: what an earlier row does not see cannot spoil it", [] {
    for (const std::string& isa : supported_isas()) {
        const Case c{KvType::kF32, 16, 1, 60, 12};
        Pages pages(KvType::kF32, 16, 72);
        const auto q = c.queries();
        const auto clean = c.run(select_kernels(isa), pages, q, 0, 12);
        pages.spoil(66);
        const auto got = c.run(select_kernels(isa), pages, q, 0, 12);
        const auto seen = clean.begin() + 6 * 16;
        check(same_bits({got.begin(), got.begin() + 6 * 16}, {clean.begin(), seen}), "before");
        for (auto x = got.begin() + 6 * 16; x != got.end(); ++x) check(std::isnan(*x), "after");
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
