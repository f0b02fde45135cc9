#include "backends/cpu/cpu_backend.h"

#include "core/errors.h"
#include "kernels/registry.h"
#include "quant/codec.h"

namespace plrt {
namespace cpu {

RowView output_view(const BindContext& c) {
    const Value& v = c.value(c.index);
    return {c.index, v.rows, v.width, v.bytes_per_row};
}

RowView input_view(const BindContext& c, size_t i) {
    const Value& v = c.input(i);
    return {c.node().inputs[i], v.rows, v.width, v.bytes_per_row};
}

std::vector<float> vector_weight(const BindContext& c, const std::string& name, int64_t width) {
    const Weight weight = c.weights.get(name, 1, width);
    require(!info(weight.type).is_quantized, ErrorKind::kFormat, "tensor '", name,
            "': expected f32, f16 or bf16, found ", info(weight.type).name);
    std::vector<float> out(static_cast<size_t>(width));
    dequantize_row(weight.type, weight.data, out.data(), width);
    return out;
}

namespace {

class CpuBackend : public Backend {
  public:
    explicit CpuBackend(const KernelTable& kernels) : kernels_(kernels) {}

    std::string name() const override { return std::string("cpu-") + kernels_.name; }

    bool supports(const Node& /*node*/) const override { return true; }

    std::unique_ptr<Operation> bind(const Plan& plan, int index,
                                    const WeightSource& weights) const override {
        const BindContext c{plan, index, weights, kernels_};
        switch (c.node().op) {
#define PLRT_OP(name, n_values, n_weights, sharing, attributes) \
    case Op::name: return bind_##name(c);
#define PLRT_INTERNAL_OP(name, n_values, n_weights, sharing, attributes) \
    case Op::name: return bind_##name(c);
#include "graph/ops.def"
#undef PLRT_OP
#undef PLRT_INTERNAL_OP
        }
        fail(ErrorKind::kUnsupported, "op without a CPU implementation");
    }

  private:
    const KernelTable& kernels_;
};

}  // namespace
}  // namespace cpu

std::unique_ptr<Backend> make_cpu_backend(const std::string& isa) {
    return std::make_unique<cpu::CpuBackend>(select_kernels(isa));
}

}  // namespace plrt
