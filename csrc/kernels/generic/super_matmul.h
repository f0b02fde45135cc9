/// How super-blocks are multiplied in sets that have vectors and nothing else.

namespace plrt::PLRT_ISA {
namespace {

template <typename Type>
void super_matmul(const MatmulArgs& a) {
    super_matmul_by_vectors<Type>(a);
}

}  // namespace
}  // namespace plrt::PLRT_ISA
