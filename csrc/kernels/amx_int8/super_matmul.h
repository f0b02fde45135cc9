/// How super-blocks are multiplied: in tiles where enough columns meet a panel. Small blocks, whose
/// scales end a sum after 32 elements, stay with the vectors: tiles were hardly faster in trials.

namespace plrt::PLRT_ISA {
namespace {

template <typename Type>
void super_matmul(const MatmulArgs& a) {
    constexpr int64_t kTilesMinCols = 48;
    if (a.n_cols >= kTilesMinCols) return tile_matmul<TileSuper<Type>>(a);
    super_matmul_by_vectors<Type>(a);
}

}  // namespace
}  // namespace plrt::PLRT_ISA
