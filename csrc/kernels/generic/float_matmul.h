/// Products of float weights: 16 sums over k, added up by reduce_add's tree.
///
/// Prompts: a chunk of a few weight rows is made ready in the first cache and meets a block of
/// activation rows, a tile at a time in registers; sums wait in scratch for the next chunk. A few
/// tiles of rows share a chunk of the activations, which stays in the second cache.
/// Generation: rows are read as they lie.

namespace plrt::PLRT_ISA {
namespace {

/// Elements of a row that the first cache keeps, columns that meet them, and tiles of rows that
/// follow one another on one chunk.
constexpr int64_t kFloatChunk = 512;
constexpr int64_t kFloatBlock = 96;
constexpr int64_t kFloatGroup = 3;
/// For fewer columns than this, rows are read as they lie, so many side by side.
constexpr int64_t kFloatMinBlock = 8;
constexpr int kFloatStreams = kFloatRows < 4 ? kFloatRows : 4;
constexpr int64_t kPartLanes = 16 / kFloatParts;

/// A weight type: a step of kStep elements of weights and of activations (Input) adds to each of
/// the 16 sums; made ready, weights are as many elements of Ready. kColumns fit a tile. load and
/// ready are about one part of a step.
struct F32 {
    using Element = float;
    using Input = float;
    using Ready = float;
    static constexpr int64_t kStep = 16;
    static constexpr int kColumns = kFloatColumns;
    static FloatPart load(const float* p) { return part_load(p); }
    static void ready(const Element* p, Ready* out) { part_store(out, part_load(p)); }
    static FloatPart dot(FloatPart acc, FloatPart w, FloatPart x) { return part_fma(w, x, acc); }
};
struct F16 : F32 {
    using Element = uint16_t;
    using F32::load;
    static FloatPart load(const Element* p) { return part_load_f16(p); }
    static void ready(const Element* p, Ready* out) { part_store(out, part_load_f16(p)); }
};
struct BF16 {
    using Element = uint16_t;
    using Input = uint16_t;
    using Ready = Bf16Ready;
    static constexpr int64_t kStep = 32;
    static constexpr int kColumns = kBf16Columns;
    template <typename T>
    static Bf16Part load(const T* p) {
        return part_load_bf16(p);
    }
    static void ready(const Element* p, Ready* out) { part_ready_bf16(p, out); }
    static FloatPart dot(FloatPart acc, Bf16Part w, Bf16Part x) { return part_dot_bf16(acc, w, x); }
};

/// R rows of weights (Element or Ready) by C columns.
template <typename Type, typename Weight, int R, int C>
struct FloatTile {
    const Weight* w;
    int64_t w_stride;
    const typename Type::Input* x[C];

    /// Adds n steps to sums [R][C][16], or to zeros. kFetch: `ahead` elements further on lie the
    /// rows that are read next.
    template <bool kFetch = false>
    void add(float* sums, bool is_first, int64_t n_steps, int64_t ahead = 0) const {
        for (int part = 0; part < kFloatParts; ++part) {
            add_part<kFetch>(sums + part * kPartLanes, is_first, part, n_steps, ahead);
        }
    }

  private:
    template <bool kFetch>
    void add_part(float* sums, bool is_first, int part, int64_t n_steps,
                  [[maybe_unused]] int64_t ahead) const {
        FloatPart acc[R][C];
        PLRT_UNROLL
        for (int r = 0; r < R; ++r) {
            PLRT_UNROLL
            for (int c = 0; c < C; ++c) {
                acc[r][c] = is_first ? part_zero() : part_load(sums + 16 * (r * C + c));
            }
        }
        const int64_t begin = part * Type::kStep / kFloatParts;
        for (int64_t i = begin; i < begin + n_steps * Type::kStep; i += Type::kStep) {
            decltype(Type::load(x[0])) inputs[C];
            PLRT_UNROLL
            for (int c = 0; c < C; ++c) inputs[c] = Type::load(x[c] + i);
            PLRT_UNROLL
            for (int r = 0; r < R; ++r) {
                const Weight* row = w + r * w_stride + i;
                auto weight = Type::load(row);
                hold(weight);
                if constexpr (kFetch) prefetch(row + ahead);
                PLRT_UNROLL
                for (int c = 0; c < C; ++c) acc[r][c] = Type::dot(acc[r][c], weight, inputs[c]);
            }
        }
        PLRT_UNROLL
        for (int r = 0; r < R; ++r) {
            PLRT_UNROLL
            for (int c = 0; c < C; ++c) part_store(sums + 16 * (r * C + c), acc[r][c]);
        }
    }
};

/// Calls f(tile, col) for tiles of kMost columns and fewer, so that none is of one column where two
/// of two will do.
template <int kMost, typename F>
void for_column_tiles(int64_t begin, int64_t end, F f) {
    int64_t col = begin;
    for (; end - col >= kMost && (kMost != 3 || end - col != 4); col += kMost) {
        f(std::integral_constant<int, kMost>(), col);
    }
    if constexpr (kMost > 2) {
        for (; end - col >= 2; col += 2) f(std::integral_constant<int, 2>(), col);
    }
    for (; col < end; ++col) f(std::integral_constant<int, 1>(), col);
}

template <typename Type>
const typename Type::Element* weight_row(const MatmulArgs& a, int64_t row) {
    return reinterpret_cast<const typename Type::Element*>(a.weights + row * a.weight_row_bytes);
}
template <typename Type>
const typename Type::Input* input_row(const MatmulArgs& a, int64_t col) {
    return reinterpret_cast<const typename Type::Input*>(a.activations +
                                                         col * a.activation_row_bytes);
}

/// Makes the elements [begin, end) of a row ready and fetches what lies `ahead` elements further
/// on. Zeros follow where the last step is not whole.
template <typename Type>
void make_ready(const typename Type::Element* row, int64_t begin, int64_t end, int64_t ahead,
                typename Type::Ready* ready) {
    const auto step = [&](const typename Type::Element* from) {
        for (int part = 0; part < kFloatParts; ++part) {
            Type::ready(from + part * Type::kStep / kFloatParts,
                        ready + part * Type::kStep / kFloatParts);
        }
        ready += Type::kStep;
    };
    int64_t i = begin;
    for (; i + Type::kStep <= end; i += Type::kStep) {
        prefetch(row + i + ahead);
        step(row + i);
    }
    if (i < end) {
        typename Type::Element rest[Type::kStep] = {};
        for (int64_t j = i; j < end; ++j) rest[j - i] = row[j];
        step(rest);
    }
}

/// The last step, which is not whole, of R rows made ready by C columns: the elements from `begin`
/// on. A function of its own: its copies would stand in every tile.
template <typename Type, int R, int C>
PLRT_NOINLINE void add_rest(const MatmulArgs& a, const typename Type::Ready* w, int64_t w_stride,
                            int64_t col, int64_t begin, float* sums) {
    typename Type::Input rest[C][Type::kStep] = {};
    FloatTile<Type, typename Type::Ready, R, C> tile{w, w_stride, {}};
    for (int c = 0; c < C; ++c) {
        const auto* x = input_row<Type>(a, col + c);
        for (int64_t i = begin; i < a.k; ++i) rest[c][i - begin] = x[i];
        tile.x[c] = rest[c];
    }
    tile.add(sums, begin == 0, 1);
}

template <int R, int C>
void write_sums(const MatmulArgs& a, int64_t row, int64_t col, const float* sums) {
    for (int c = 0; c < C; ++c) {
        float* out = a.out + (col + c) * a.out_stride + row;
        for (int r = 0; r < R; ++r) {
            const float sum = reduce_add(load(sums + 16 * (r * C + c)));
            out[r] = a.bias != nullptr ? sum + a.bias[row + r] : sum;
        }
    }
}

/// R rows from `row` on by C columns from `col` on, as they lie.
template <typename Type, int R, int C>
void float_streams(const MatmulArgs& a, int64_t row, int64_t col) {
    using Element = typename Type::Element;
    const int64_t stride = a.weight_row_bytes / static_cast<int64_t>(sizeof(Element));
    const int64_t whole = a.k / Type::kStep * Type::kStep;
    alignas(64) float sums[R * C * 16];
    for (int64_t begin = 0; begin < whole; begin += kFloatChunk) {
        const int64_t left = whole - begin;
        const int64_t n_steps = (left < kFloatChunk ? left : kFloatChunk) / Type::kStep;
        FloatTile<Type, Element, R, C> tile{weight_row<Type>(a, row) + begin, stride, {}};
        for (int c = 0; c < C; ++c) tile.x[c] = input_row<Type>(a, col + c) + begin;
        // Few columns wait for memory: the first ones fetch the next rows meanwhile.
        if (col == 0) {
            tile.template add<true>(sums, begin == 0, n_steps, R * stride);
        } else {
            tile.add(sums, begin == 0, n_steps);
        }
    }
    if (whole < a.k) {
        typename Type::Ready rest[R * Type::kStep];
        for (int r = 0; r < R; ++r) {
            make_ready<Type>(weight_row<Type>(a, row + r), whole, a.k, 0, rest + r * Type::kStep);
        }
        add_rest<Type, R, C>(a, rest, Type::kStep, col, whole, sums);
    }
    write_sums<R, C>(a, row, col, sums);
}

/// R rows from `row` on by all columns, as they lie.
template <typename Type, int R>
void float_rows(const MatmulArgs& a, int64_t row) {
    for_column_tiles<Type::kColumns>(0, a.n_cols, [&](auto tile, int64_t col) {
        float_streams<Type, R, decltype(tile)::value>(a, row, col);
    });
}

/// What a thread keeps of a product: a chunk of weights made ready, with room between rows so that
/// they do not meet in the cache, and the sums of a block of columns, for each tile of rows.
template <typename Type, int R>
struct FloatScratch {
    static constexpr int64_t kStride = (kFloatChunk / Type::kStep + 1) * Type::kStep;
    alignas(64) typename Type::Ready weights[R * kStride];
    alignas(64) float sums[kFloatGroup][R * kFloatBlock * 16];
};

/// The elements [begin, end) of the rows from `row` on.
struct FloatChunk {
    int64_t row;
    int64_t begin;
    int64_t end;
};

/// A chunk of R rows by C columns from `col` on.
template <typename Type, int R, int C>
void float_tile(const MatmulArgs& a, FloatScratch<Type, R>& scratch, const FloatChunk& chunk,
                int64_t col, float* sums) {
    constexpr int64_t kStride = FloatScratch<Type, R>::kStride;
    const int64_t n_steps = (chunk.end - chunk.begin) / Type::kStep;
    FloatTile<Type, typename Type::Ready, R, C> tile{scratch.weights, kStride, {}};
    for (int c = 0; c < C; ++c) tile.x[c] = input_row<Type>(a, col + c) + chunk.begin;
    tile.add(sums, chunk.begin == 0, n_steps);
    const int64_t whole = chunk.begin + n_steps * Type::kStep;
    if (whole < chunk.end) {
        add_rest<Type, R, C>(a, scratch.weights + n_steps * Type::kStep, kStride, col, whole, sums);
    }
    if (chunk.end == a.k) write_sums<R, C>(a, chunk.row, col, sums);
}

/// A chunk of R rows by the columns [begin, end), at most kFloatBlock.
template <typename Type, int R>
void float_chunk(const MatmulArgs& a, FloatScratch<Type, R>& scratch, const FloatChunk& chunk,
                 int64_t begin, int64_t end, float* sums) {
    const int64_t stride =
        a.weight_row_bytes / static_cast<int64_t>(sizeof(typename Type::Element));
    for (int r = 0; r < R; ++r) {
        make_ready<Type>(weight_row<Type>(a, chunk.row + r), chunk.begin, chunk.end, R * stride,
                         scratch.weights + r * FloatScratch<Type, R>::kStride);
    }
    for_column_tiles<Type::kColumns>(begin, end, [&](auto tile, int64_t col) {
        constexpr int kColumns = decltype(tile)::value;
        float_tile<Type, R, kColumns>(a, scratch, chunk, col, sums);
        sums += R * kColumns * 16;
    });
}

/// n tiles of R rows from `row` on, at most kFloatGroup, by the columns [begin, end).
template <typename Type, int R>
void float_group(const MatmulArgs& a, int64_t row, int64_t n, int64_t begin, int64_t end) {
    using Scratch = FloatScratch<Type, R>;
    static_assert(sizeof(Scratch) <= kMatmulScratchBytes);
    auto& scratch = *reinterpret_cast<Scratch*>(a.scratch);
    for (int64_t at = 0; at < a.k; at += kFloatChunk) {
        const int64_t chunk_end = at + kFloatChunk < a.k ? at + kFloatChunk : a.k;
        for (int64_t i = 0; i < n; ++i) {
            float_chunk<Type, R>(a, scratch, {row + R * i, at, chunk_end}, begin, end,
                                 scratch.sums[i]);
        }
    }
}

/// The rows from `row` on by the columns [begin, end), R at a time; returns the first row left
/// over.
template <typename Type, int R>
int64_t float_groups(const MatmulArgs& a, int64_t row, int64_t begin, int64_t end) {
    while (row + R <= a.row_end) {
        const int64_t left = (a.row_end - row) / R;
        const int64_t n = left < kFloatGroup ? left : kFloatGroup;
        float_group<Type, R>(a, row, n, begin, end);
        row += n * R;
    }
    return row;
}

template <typename Type>
void float_matmul(const MatmulArgs& a) {
    if (a.n_cols < kFloatMinBlock) {
        int64_t row = a.row_begin;
        for (; row + kFloatStreams <= a.row_end; row += kFloatStreams) {
            float_rows<Type, kFloatStreams>(a, row);
        }
        for (; row < a.row_end; ++row) float_rows<Type, 1>(a, row);
        return;
    }
    for (int64_t begin = 0; begin < a.n_cols; begin += kFloatBlock) {
        const int64_t end = begin + kFloatBlock < a.n_cols ? begin + kFloatBlock : a.n_cols;
        const int64_t row = float_groups<Type, kFloatRows>(a, a.row_begin, begin, end);
        if (row < a.row_end) float_groups<Type, 1>(a, row, begin, end);
    }
}

}  // namespace
}  // namespace plrt::PLRT_ISA
