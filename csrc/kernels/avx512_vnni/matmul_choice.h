#pragma once
/// Which product to run: panels for prompts, rows for generation.

#include "kernels/avx512_vnni/rows_small.h"
#include "kernels/avx512_vnni/rows_super.h"
#include "kernels/generic/panel_matmul.h"

namespace plrt::PLRT_ISA {
namespace {

template <typename Type>
void matmul(const MatmulArgs& a) {
    constexpr bool kWideCodes = Type::kSigned && !kIsSmall<Type>;  // IQ4_XS: sums exceed int16
    if constexpr (kIsSmall<Type>) {
        a.n_cols < kPanelMinCols ? few_columns_small<Type>(a) : panel_matmul<SmallPanels<Type>>(a);
    } else if constexpr (kWideCodes) {
        a.n_cols < kPanelMinCols ? matmul_rows<Type>(a) : panel_matmul<SuperPanels<Type>>(a);
    } else {
        a.n_cols < kPanelMinCols ? few_columns_super<Type>(a) : panel_matmul<SuperPanels<Type>>(a);
    }
}

}  // namespace
}  // namespace plrt::PLRT_ISA
