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

/// R panels by C columns; the running sums stand in a.out between two blocks.
template <typename Product, int R, int C>
void panel_columns(const MatmulArgs& a, const typename Product::Panel* panels, int64_t row,
                   int64_t col, int64_t first, int64_t n) {
    typename Product::Acts x[C];
    F32x16 sums[R * C];
    float* out = a.out + col * a.out_stride + row;
    const auto rows_of = [&](int r) {
        const int64_t left = a.row_end - row - kPanelRows * r;
        return left < kPanelRows ? left : kPanelRows;
    };
    const auto sums_at = [&](int i) { return out + i % C * a.out_stride + i / C * kPanelRows; };
    PLRT_UNROLL
    for (int c = 0; c < C; ++c) x[c] = Product::activations(a, col + c);
    PLRT_UNROLL
    for (int i = 0; i < R * C; ++i) {
        sums[i] = first == 0 ? zero() : load_part(sums_at(i), rows_of(i / C));
    }
    Product::template multiply<R, C>(panels, first, n, x, sums);
    const bool is_last = (first + n) * Product::kBlockElements == a.k;
    PLRT_UNROLL
    for (int i = 0; i < R * C; ++i) {
        const int64_t n_rows = rows_of(i / C);
        if (a.bias != nullptr && is_last) {
            sums[i] = add(sums[i], load_part(a.bias + row + i / C * kPanelRows, n_rows));
        }
        store_part(sums_at(i), sums[i], n_rows);
    }
}

/// Scratch of a product.
template <typename Product>
struct PanelScratch {
    typename Product::Panel panels[kPanelGroup];
    uint8_t spare[kPanelRows * 256 / Product::kBlockElements * Product::kBlockBytes];
};

/// The panels of the rows [begin, row_end), one at a time, by C columns.
template <typename Product, int C>
void panels_by(const MatmulArgs& a, const PanelScratch<Product>& scratch, int64_t row,
               int64_t begin, int64_t row_end, int64_t col, int64_t first, int64_t n) {
    for (int64_t r = begin; r < row_end; r += kPanelRows) {
        const auto* panel = scratch.panels + (r - row) / kPanelRows;
        panel_columns<Product, 1, C>(a, panel, r, col, first, n);
    }
}

/// The panels of `group` rows from `row` on by all columns, blocks [first, first + n).
template <typename Product>
void panel_step(const MatmulArgs& a, PanelScratch<Product>& scratch, int64_t row, int64_t group,
                int64_t first, int64_t n) {
    const int64_t row_end = row + group < a.row_end ? row + group : a.row_end;
    for (int64_t r = row; r < row_end; r += kPanelRows) {
        const Rows rows = panel_rows<Product>(a, r, group, first, n, scratch.spare);
        Product::fill(rows, n, scratch.panels[(r - row) / kPanelRows]);
    }
    int64_t col = 0;
    for (; col + kColumnTile <= a.n_cols; col += kColumnTile) {
        int64_t r = row;
        for (; r + kPanelTile * kPanelRows <= row_end; r += kPanelTile * kPanelRows) {
            panel_columns<Product, kPanelTile, kColumnTile>(
                a, scratch.panels + (r - row) / kPanelRows, r, col, first, n);
        }
        panels_by<Product, kColumnTile>(a, scratch, row, r, row_end, col, first, n);
    }
    for (; col + 2 <= a.n_cols; col += 2) {
        panels_by<Product, 2>(a, scratch, row, row, row_end, col, first, n);
    }
    if (col < a.n_cols) panels_by<Product, 1>(a, scratch, row, row, row_end, col, first, n);
}

template <typename Product>
void panel_matmul(const MatmulArgs& a) {
    auto& scratch = *reinterpret_cast<PanelScratch<Product>*>(a.scratch);
    static_assert(sizeof(scratch) <= kMatmulScratchBytes);
    const int64_t n_blocks = a.k / Product::kBlockElements;
    const int64_t step = 256 / Product::kBlockElements;
    // Few columns: one panel at a time, which stays in the first cache as it is made.
    const int64_t group = a.n_cols < kColumnTile ? kPanelRows : kMatmulRows;
    for (int64_t row = a.row_begin; row < a.row_end; row += group) {
        for (int64_t first = 0; first < n_blocks; first += step) {
            const int64_t n = n_blocks - first < step ? n_blocks - first : step;
            panel_step<Product>(a, scratch, row, group, first, n);
        }
    }
}

template <typename Type>
void small_matmul(const MatmulArgs& a) {
    panel_matmul<SmallProduct<Type>>(a);
}

template <typename Type>
void super_matmul(const MatmulArgs& a) {
    constexpr int64_t kFoldMinCols = 16;
    if constexpr (Type::kFolded != 0) {
        if (a.n_cols >= kFoldMinCols) return panel_matmul<SuperProduct<Type, true>>(a);
    }
    panel_matmul<SuperProduct<Type, false>>(a);
}

}  // namespace
}  // namespace plrt::PLRT_ISA
