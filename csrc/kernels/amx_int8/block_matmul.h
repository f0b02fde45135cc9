/// Which product a block type takes. Tiles where enough columns meet a panel of super-blocks: a sum
/// of 256 products keeps them busy. Sums of 32, as in small blocks, leave them as fast as vectors.

namespace plrt::PLRT_ISA {
namespace {

template <typename Type>
void small_matmul(const MatmulArgs& a) {
    panel_matmul<SmallProduct<Type>>(a);
}

template <typename Type>
void super_matmul(const MatmulArgs& a) {
    constexpr int64_t kTilesMinCols = 48;
    if (a.n_cols >= kTilesMinCols) return tile_matmul<TileSuper<Type>>(a);
    panel_matmul<SuperProduct<Type, false>>(a);
}

}  // namespace
}  // namespace plrt::PLRT_ISA
