/// Fills the kernel table of the ISA whose vec.h was included before.

namespace plrt::PLRT_ISA {

extern const KernelTable kTable;
const KernelTable kTable = {
    .name = PLRT_ISA_NAME,
    .quantize_rows_32 = quantize_rows_32,
    .quantize_rows_256 = quantize_rows_256,
    .round_rows_bf16 = round_rows_bf16,
    .matmul_f32 = float_matmul<F32>,
    .matmul_f16 = float_matmul<F16>,
    .matmul_bf16 = float_matmul<BF16>,
    .matmul_q4_0 = small_matmul<Q4_0>,
    .matmul_q4_1 = small_matmul<Q4_1>,
    .matmul_q5_0 = small_matmul<Q5_0>,
    .matmul_q5_1 = small_matmul<Q5_1>,
    .matmul_q8_0 = small_matmul<Q8_0>,
    .matmul_q2_k = super_matmul<Q2_K>,
    .matmul_q3_k = super_matmul<Q3_K>,
    .matmul_q4_k = super_matmul<Q4_K>,
    .matmul_q5_k = super_matmul<Q5_K>,
    .matmul_q6_k = super_matmul<Q6_K>,
    .matmul_iq4_nl = small_matmul<IQ4_NL>,
    .matmul_iq4_xs = super_matmul<IQ4_XS>,
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .silu_mul = silu_mul,
    .gelu = gelu,
    .gelu_mul = gelu_mul,
    .softcap = softcap,
    .add = add_rows,
    .scale = scale_row,
    .add_scaled = add_scaled,
    .rope = rope,
    .to_f16 = to_f16,
    .exp = exp_row,
    .attention = attention,
    .attention_partials = attention_partials,
    .attention_merge = attention_merge,
    .add_products = add_products,
    .int8_peak = int8_peak,
    .read_bytes = read_bytes,
};

}  // namespace plrt::PLRT_ISA
