/// Products of block-quantised weights with many activation rows: panels as in panel_matmul.h meet
/// 16 columns at a time in tile registers. The integer sums are exact, so that every element gets
/// the bits that panel_matmul.h gives it.

namespace plrt::PLRT_ISA {
namespace {

/// Integer sums of a panel by up to 16 columns, [column][row].
struct alignas(64) TileSums {
    int32_t of[kTileColumns * kPanelRows];
};

/// Scratch of a product: panels of up to kMatmulRows rows, and what they have summed so far,
/// [column][row].
template <typename Product>
struct TileScratch {
    typename Product::Panel panels[kPanelGroup];
    uint8_t spare[kPanelRows * 256 / Product::kBlockElements * Product::kBlockBytes];
    alignas(64) float sums[kMatmulColumns * kMatmulRows];
};

/// Up to 16 columns by a few panels, over one super-block.
template <typename Product>
struct TileUnit {
    const typename Product::Panel* panels;
    typename Product::Acts x;  // of the first column
    int64_t stride;            // from one column's activations to the next's
    int64_t block;             // the super-block's number
    int n_cols = 0;
    float* sums;  // [column][kMatmulRows]
    typename Product::Sums found;

    /// What an array of the first column is in column c.
    template <typename T>
    const T* in_column(const T* of_first, int c) const {
        return reinterpret_cast<const T*>(reinterpret_cast<const uint8_t*>(of_first) + c * stride);
    }
};

/// Asks for the super-block of the columns [begin, end) in the unit after this one, if there is
/// one.
template <typename Product>
inline void fetch_next(const TileUnit<Product>& unit, int begin, int end) {
    const int8_t* q = unit.x.q + Product::kBlockElements * unit.block;
    for (int c = begin; c < end; ++c) {
        const auto column = reinterpret_cast<uintptr_t>(q) +
                            static_cast<uintptr_t>((kTileColumns + c) * unit.stride);
        PLRT_UNROLL
        for (int at = 0; at < Product::kBlockElements; at += 64) {
            _mm_prefetch(reinterpret_cast<const char*>(column + static_cast<uintptr_t>(at)),
                         _MM_HINT_T0);
        }
    }
}

/// R panels of a step by its columns. The tiles of 16 columns are multiplied while the vector units
/// finish those of the 16 before them.
template <typename Product, int R>
PLRT_NOINLINE void multiply_panels(const MatmulArgs& a, TileScratch<Product>& scratch,
                                   const PanelStep& step, int64_t panel) {
    TileUnit<Product> units[2];
    TileUnit<Product>* now = &units[0];
    TileUnit<Product>* before = &units[1];
    shape_tiles(kTileColumns);
    for (int64_t col = step.begin; col < step.end; col += kTileColumns) {
        TileUnit<Product>& unit = *now;
        const int64_t left = step.end - col;
        unit.panels = scratch.panels + panel;
        unit.x = Product::activations(a, col);
        unit.stride = a.activation_row_bytes;
        unit.block = step.first;
        unit.n_cols = static_cast<int>(left < kTileColumns ? left : kTileColumns);
        unit.sums = scratch.sums + (col - step.begin) * kMatmulRows + panel * kPanelRows;
        if (unit.n_cols < kTileColumns) shape_tiles(unit.n_cols);
        // Only the last unit may have fewer columns, and nothing comes after it.
        if (before->n_cols == 0) {
            Product::template multiply<R>(unit, [](int, int) {});
        } else {
            Product::template multiply<R>(unit, [&](int begin, int end) {
                fetch_next(unit, begin, end);
                Product::template finish<R>(*before, begin, end);
            });
        }
        std::swap(now, before);
    }
    Product::template finish<R>(*before, 0, before->n_cols);
}

/// The sums of a step's rows to the output.
template <typename Product>
void store_columns(const MatmulArgs& a, const TileScratch<Product>& scratch,
                   const PanelStep& step) {
    for (int64_t col = step.begin; col < step.end; ++col) {
        const float* sums = scratch.sums + (col - step.begin) * kMatmulRows;
        for (int64_t row = step.row; row < step.row_end; row += kPanelRows) {
            store_result(a, step, row, col, load(sums + (row - step.row)));
        }
    }
}

/// The panels of a step by its columns.
template <typename Product>
void multiply_columns(const MatmulArgs& a, TileScratch<Product>& scratch, const PanelStep& step) {
    constexpr int kPanels = Product::kPanels;
    const int64_t n_panels = (step.row_end - step.row + kPanelRows - 1) / kPanelRows;
    int64_t panel = 0;
    for (; panel + kPanels <= n_panels; panel += kPanels) {
        multiply_panels<Product, kPanels>(a, scratch, step, panel);
    }
    for (; panel < n_panels; ++panel) multiply_panels<Product, 1>(a, scratch, step, panel);
    if (step.is_last) store_columns(a, scratch, step);
}

template <typename Product>
void tile_matmul(const MatmulArgs& a) {
    panel_matmul<Product, TileScratch<Product>>(a);
    release_tiles();
}

}  // namespace
}  // namespace plrt::PLRT_ISA
