/// The choice of matmul for instruction sets without panels.

namespace plrt::PLRT_ISA {
namespace {

template <typename Type>
void matmul(const MatmulArgs& a) {
    matmul_rows<Type>(a);
}

}  // namespace
}  // namespace plrt::PLRT_ISA
