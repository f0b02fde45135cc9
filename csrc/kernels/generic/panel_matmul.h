/// Products of block-quantised weights with activation rows, for one row (generation) and many
/// (prompts) alike: 16 weight rows at a time go from their blocks into a panel, a super-block's
/// length at a time, and the panel meets the activation rows a tile of columns at a time.
///
/// Canonical order of an element: blocks ascending; in a block one exact integer sum, one
/// conversion to float, one fma with d * d_x; then, where the type has mins, one fma more.

namespace plrt::PLRT_ISA {
namespace {

/// Panels that share a pass over the activations in a prompt.
constexpr int64_t kPanelGroup = kMatmulRows / kPanelRows;

/// The blocks [first, first + n) of 16 rows from `row` on; the rows that come next are `group` rows
/// on. Rows past the end are zeros, which are blocks of the value 0; `spare` gives the room.
template <typename Product>
Rows panel_rows(const MatmulArgs& a, int64_t row, int64_t group, int64_t first, int64_t n,
                uint8_t* spare) {
    const uint8_t* base = a.weights + row * a.weight_row_bytes + first * Product::kBlockBytes;
    const int64_t next = row + group < a.row_end ? group : 0;
    const uint8_t* ahead =
        a.weights + (row + next) * a.weight_row_bytes + kPanelRows * first * Product::kBlockBytes;
    if (row + kPanelRows <= a.row_end) return {base, a.weight_row_bytes, ahead};
    const int64_t bytes = n * Product::kBlockBytes;
    for (int64_t r = 0; r < kPanelRows; ++r) {
        uint8_t* to = spare + r * bytes;
        if (row + r < a.row_end) {
            __builtin_memcpy(to, base + r * a.weight_row_bytes, static_cast<size_t>(bytes));
        } else {
            __builtin_memset(to, 0, static_cast<size_t>(bytes));
        }
    }
    return {spare, bytes, spare};
}

/// Scratch of a product: panels of up to kMatmulRows rows and what they have summed so far. Sums
/// lie tile by tile in the order in which tiles are computed, whatever the stride of the output.
template <typename Product>
struct PanelScratch {
    typename Product::Panel panels[kPanelGroup];
    uint8_t spare[kPanelRows * 256 / Product::kBlockElements * Product::kBlockBytes];
    alignas(64) float sums[kMatmulColumns * kMatmulRows];
};

/// The part of the output that meets the blocks [first, first + n): columns [begin, end).
struct PanelStep {
    int64_t row;      // of the first panel
    int64_t row_end;  // of the last panel
    int64_t begin;
    int64_t end;
    int64_t first;
    int64_t n;
    bool is_last;
};

/// Room for the sums of R panels by C columns, from `row` and `col` on, within the tile of C.
template <typename Product, int C>
float* sums_at(PanelScratch<Product>& scratch, const PanelStep& step, int64_t row, int64_t col) {
    return scratch.sums + (col - step.begin) * kMatmulRows + (row - step.row) * C;
}

/// Asks for the lines of the output that a tile of C columns is going to be written to.
template <int C>
void fetch_results(const MatmulArgs& a, const PanelStep& step, int64_t col) {
    for (int c = 0; c < C; ++c) {
        float* out = a.out + (col + c) * a.out_stride;
        for (int64_t row = step.row; row < step.row_end; row += kPanelRows) {
            prefetch_write(out + row);
        }
    }
}

/// The sum of a panel's rows, from `row` on, by one column to the output.
inline void store_result(const MatmulArgs& a, const PanelStep& step, int64_t row, int64_t col,
                         F32x16 sum) {
    const int64_t left = step.row_end - row;
    const int64_t n = left < kPanelRows ? left : kPanelRows;
    if (a.bias != nullptr) sum = add(sum, load_part(a.bias + row, n));
    store_part(a.out + col * a.out_stride + row, sum, n);
}

/// The sums of a step's rows by C columns, from `col` on, to the output.
template <typename Product, int C>
void store_results(const MatmulArgs& a, PanelScratch<Product>& scratch, const PanelStep& step,
                   int64_t col) {
    for (int64_t row = step.row; row < step.row_end; row += kPanelRows) {
        const float* sums = sums_at<Product, C>(scratch, step, row, col);
        for (int c = 0; c < C; ++c) {
            store_result(a, step, row, col + c, load(sums + kPanelRows * c));
        }
    }
}

/// R panels by C columns, from `row` and `col` on. Stays a function of its own, so that all
/// registers are left to its sums.
template <typename Product, int R, int C>
PLRT_NOINLINE void panel_columns(const MatmulArgs& a, PanelScratch<Product>& scratch,
                                 const PanelStep& step, int64_t row, int64_t col,
                                 const ColumnStarts* starts) {
    typename Product::Acts x[C];
    F32x16 sums[R * C];
    float* kept = sums_at<Product, C>(scratch, step, row, col);
    PLRT_UNROLL
    for (int c = 0; c < C; ++c) x[c] = Product::activations(a, col + c);
    PLRT_UNROLL
    for (int i = 0; i < R * C; ++i) {
        sums[i] = step.first == 0 ? zero() : load(kept + kPanelRows * i);
    }
    const auto* panels = scratch.panels + (row - step.row) / kPanelRows;
    Product::template multiply<R, C>(panels, step.first, step.n, x, starts, sums);
    PLRT_UNROLL
    for (int i = 0; i < R * C; ++i) store(kept + kPanelRows * i, sums[i]);
}

/// The panels of a step by C columns, R of them at a time where there are as many.
template <typename Product, int R, int C>
void column_tile(const MatmulArgs& a, PanelScratch<Product>& scratch, const PanelStep& step,
                 int64_t col) {
    if (step.is_last) fetch_results<C>(a, step, col);
    ColumnStarts starts[C];
    for (int c = 0; c < C; ++c) {
        Product::start(Product::activations(a, col + c), step.first, step.n, starts[c].of_run);
    }
    int64_t row = step.row;
    for (; row + R * kPanelRows <= step.row_end; row += R * kPanelRows) {
        panel_columns<Product, R, C>(a, scratch, step, row, col, starts);
    }
    for (; row < step.row_end; row += kPanelRows) {
        panel_columns<Product, 1, C>(a, scratch, step, row, col, starts);
    }
    if (step.is_last) store_results<Product, C>(a, scratch, step, col);
}

/// The panels of a step by its columns.
template <typename Product>
void multiply_columns(const MatmulArgs& a, PanelScratch<Product>& scratch, const PanelStep& step) {
    int64_t col = step.begin;
    for (; col + kColumnTile <= step.end; col += kColumnTile) {
        column_tile<Product, kPanelTile, kColumnTile>(a, scratch, step, col);
    }
    for (; col + 2 <= step.end; col += 2) column_tile<Product, 1, 2>(a, scratch, step, col);
    if (col < step.end) column_tile<Product, 1, 1>(a, scratch, step, col);
}

/// Makes the panels of a step and multiplies them with its columns: each Scratch has its own
/// multiply_columns.
template <typename Product, typename Scratch>
void panel_step(const MatmulArgs& a, Scratch& scratch, const PanelStep& step, int64_t group) {
    for (int64_t row = step.row; row < step.row_end; row += kPanelRows) {
        const Rows rows = panel_rows<Product>(a, row, group, step.first, step.n, scratch.spare);
        Product::fill(rows, step.n, scratch.panels[(row - step.row) / kPanelRows]);
    }
    multiply_columns(a, scratch, step);
}

/// The rows [row, row + group) by the columns [begin, end).
template <typename Product, typename Scratch>
void panel_group(const MatmulArgs& a, Scratch& scratch, int64_t row, int64_t group, int64_t begin,
                 int64_t end) {
    const int64_t n_blocks = a.k / Product::kBlockElements;
    const int64_t per_step = 256 / Product::kBlockElements;
    const int64_t row_end = row + group < a.row_end ? row + group : a.row_end;
    for (int64_t first = 0; first < n_blocks; first += per_step) {
        const bool is_last = n_blocks - first <= per_step;
        const int64_t n = is_last ? n_blocks - first : per_step;
        panel_step<Product>(a, scratch, PanelStep{row, row_end, begin, end, first, n, is_last},
                            group);
    }
}

template <typename Product, typename Scratch = PanelScratch<Product>>
void panel_matmul(const MatmulArgs& a) {
    auto& scratch = *reinterpret_cast<Scratch*>(a.scratch);
    static_assert(sizeof(scratch) <= kMatmulScratchBytes);
    // Few columns: one panel at a time, which stays in the first cache as it is made.
    const int64_t group = a.n_cols < kColumnTile ? kPanelRows : kMatmulRows;
    for (int64_t row = a.row_begin; row < a.row_end; row += group) {
        for (int64_t begin = 0; begin < a.n_cols; begin += kMatmulColumns) {
            const int64_t left = a.n_cols - begin;
            const int64_t end = begin + (left < kMatmulColumns ? left : kMatmulColumns);
            panel_group<Product>(a, scratch, row, group, begin, end);
        }
    }
}

template <typename Type>
void small_matmul(const MatmulArgs& a) {
    panel_matmul<SmallProduct<Type>>(a);
}

template <typename Type>
void super_matmul_by_vectors(const MatmulArgs& a) {
    constexpr int64_t kManyColumns = 16;
    constexpr ScaleWay kMany = scale_way<Type>(true);
    constexpr ScaleWay kFew = scale_way<Type>(false);
    if constexpr (kMany != kFew) {
        if (a.n_cols >= kManyColumns) return panel_matmul<SuperProduct<Type, kMany>>(a);
    }
    panel_matmul<SuperProduct<Type, kFew>>(a);
}

}  // namespace
}  // namespace plrt::PLRT_ISA
