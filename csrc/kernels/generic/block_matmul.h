/// Which product a block type takes, in sets whose only products are those of vectors.

namespace plrt::PLRT_ISA {
namespace {

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
