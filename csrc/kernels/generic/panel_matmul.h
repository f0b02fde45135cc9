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

/// Reads ahead through the rows that come next, so that memory is read in one direction whatever
/// the order of the work.
class ReadAhead {
  public:
    ReadAhead(const uint8_t* begin, const uint8_t* end) : at_(begin), end_(end) {}
    void advance(int64_t bytes) {
        for (const uint8_t* stop = at_ + bytes; at_ < stop && at_ < end_; at_ += 64) prefetch(at_);
    }

  private:
    const uint8_t* at_;
    const uint8_t* end_;
};

/// The blocks [first, first + n) of 16 rows from `row` on. Rows past the end are zeros, which are
/// blocks of the value 0; `spare` gives the room.
template <typename Product>
Rows panel_rows(const MatmulArgs& a, int64_t row, int64_t first, int64_t n, uint8_t* spare) {
    const uint8_t* base = a.weights + row * a.weight_row_bytes + first * Product::kBlockBytes;
    if (row + kPanelRows <= a.row_end) return {base, a.weight_row_bytes};
    const int64_t bytes = n * Product::kBlockBytes;
    for (int64_t r = 0; r < kPanelRows; ++r) {
        uint8_t* to = spare + r * bytes;
        if (row + r < a.row_end) {
            __builtin_memcpy(to, base + r * a.weight_row_bytes, static_cast<size_t>(bytes));
        } else {
            __builtin_memset(to, 0, static_cast<size_t>(bytes));
        }
    }
    return {spare, bytes};
}

/// One panel by C columns; the running sums stand in a.out between two blocks.
template <typename Product, int C>
void panel_columns(const MatmulArgs& a, const typename Product::Panel& panel, int64_t row,
                   int64_t col, int64_t first, int64_t n) {
    typename Product::Acts x[C];
    F32x16 sums[C];
    const int64_t n_rows = a.row_end - row < kPanelRows ? a.row_end - row : kPanelRows;
    float* out = a.out + col * a.out_stride + row;
    PLRT_UNROLL
    for (int c = 0; c < C; ++c) {
        x[c] = Product::activations(a, col + c);
        sums[c] = first == 0 ? zero() : load_part(out + c * a.out_stride, n_rows);
    }
    Product::template multiply<C>(panel, first, n, x, sums);
    if (a.bias != nullptr && (first + n) * Product::kBlockElements == a.k) {
        PLRT_UNROLL
        for (int c = 0; c < C; ++c) sums[c] = add(sums[c], load_part(a.bias + row, n_rows));
    }
    PLRT_UNROLL
    for (int c = 0; c < C; ++c) store_part(out + c * a.out_stride, sums[c], n_rows);
}

/// Scratch of a product.
template <typename Product>
struct PanelScratch {
    typename Product::Panel panels[kPanelGroup];
    uint8_t spare[kPanelRows * 256 / Product::kBlockElements * Product::kBlockBytes];
};

/// The panels of the rows [row, row_end) by all columns, blocks [first, first + n).
template <typename Product>
void panel_step(const MatmulArgs& a, PanelScratch<Product>& scratch, int64_t row, int64_t row_end,
                int64_t first, int64_t n) {
    for (int64_t r = row; r < row_end; r += kPanelRows) {
        const Rows rows = panel_rows<Product>(a, r, first, n, scratch.spare);
        Product::fill(rows, n, scratch.panels[(r - row) / kPanelRows]);
    }
    const auto columns = [&]<int C>(int64_t col) {
        for (int64_t r = row; r < row_end; r += kPanelRows) {
            const auto& panel = scratch.panels[(r - row) / kPanelRows];
            panel_columns<Product, C>(a, panel, r, col, first, n);
        }
    };
    int64_t col = 0;
    for (; col + kColumnTile <= a.n_cols; col += kColumnTile) {
        columns.template operator()<kColumnTile>(col);
    }
    for (; col + 2 <= a.n_cols; col += 2) columns.template operator()<2>(col);
    if (col < a.n_cols) columns.template operator()<1>(col);
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
        const int64_t row_end = row + group < a.row_end ? row + group : a.row_end;
        ReadAhead ahead(a.weights + row_end * a.weight_row_bytes,
                        a.weights + a.row_end * a.weight_row_bytes);
        for (int64_t first = 0; first < n_blocks; first += step) {
            const int64_t n = n_blocks - first < step ? n_blocks - first : step;
            ahead.advance(group * n * Product::kBlockBytes);
            panel_step<Product>(a, scratch, row, row_end, first, n);
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
