#include "kernels/registry.h"

#include "core/cpu_features.h"
#include "core/errors.h"

namespace plrt {

#define PLRT_ISA_ROW(isa)            \
    namespace isa {                  \
    extern const KernelTable kTable; \
    }
#include "isa_list.inc"
#undef PLRT_ISA_ROW

namespace {

const std::vector<const KernelTable*>& tables() {
    static const std::vector<const KernelTable*> all = {
#define PLRT_ISA_ROW(isa) &isa::kTable,
#include "isa_list.inc"
#undef PLRT_ISA_ROW
    };
    return all;
}

std::string joined_names() {
    std::string text;
    for (const std::string& name : isa_names()) text += (text.empty() ? "" : ", ") + name;
    return text;
}

}  // namespace

std::vector<std::string> isa_names() {
    std::vector<std::string> names;
    for (const KernelTable* table : tables()) names.emplace_back(table->name);
    return names;
}

bool isa_supported(const std::string& name) {
    return cpu_supports(name);
}

const KernelTable& select_kernels(const std::string& forced) {
    for (const KernelTable* table : tables()) {
        if (forced.empty()) {
            if (cpu_prefers(table->name) && cpu_enable(table->name)) return *table;
        } else if (forced == table->name) {
            require(cpu_supports(forced), ErrorKind::kConfig, "PYLLAMA_RT_ISA: this CPU lacks ",
                    forced);
            require(cpu_enable(forced), ErrorKind::kConfig,
                    "PYLLAMA_RT_ISA: the operating system refuses ", forced);
            return *table;
        }
    }
    fail(ErrorKind::kConfig, "PYLLAMA_RT_ISA: expected one of ", joined_names(), ", found '",
         forced, "'");
}

MatmulFunction matmul_for(const KernelTable& kernels, TensorType type) {
    switch (type) {
        case TensorType::kF32: return kernels.matmul_f32;
        case TensorType::kF16: return kernels.matmul_f16;
        case TensorType::kBF16: return kernels.matmul_bf16;
        case TensorType::kQ4_0: return kernels.matmul_q4_0;
        case TensorType::kQ4_1: return kernels.matmul_q4_1;
        case TensorType::kQ5_0: return kernels.matmul_q5_0;
        case TensorType::kQ5_1: return kernels.matmul_q5_1;
        case TensorType::kQ8_0: return kernels.matmul_q8_0;
        case TensorType::kQ2_K: return kernels.matmul_q2_k;
        case TensorType::kQ3_K: return kernels.matmul_q3_k;
        case TensorType::kQ4_K: return kernels.matmul_q4_k;
        case TensorType::kQ5_K: return kernels.matmul_q5_k;
        case TensorType::kQ6_K: return kernels.matmul_q6_k;
        case TensorType::kIQ4_NL: return kernels.matmul_iq4_nl;
        case TensorType::kIQ4_XS: return kernels.matmul_iq4_xs;
    }
    fail(ErrorKind::kUnsupported, "tensor type id ", static_cast<int32_t>(type),
         " has no matmul kernel");
}

}  // namespace plrt
