/// Activations in the forms that products read: int8 codes in blocks of 32 or 256, bfloat16.

namespace plrt::PLRT_ISA {
namespace {

/// Writes `n` codes (a multiple of 16) of one block and returns its scale.
inline float quantize_block(const float* x, int64_t n, int8_t* q) {
    constexpr float kTiny = 1e-30f;  // below, 127 / max would overflow: the block counts as zero
    F32x16 largest = zero();
    F32x16 poison = zero();  // stays 0 unless some x is NaN or infinite
    for (int64_t i = 0; i < n; i += 16) {
        const F32x16 v = load(x + i);
        largest = max(abs(v), largest);
        poison = fma(v, zero(), poison);
    }
    const float max_abs = reduce_max(largest);
    const float spoilt = reduce_add(poison);
    if (!(spoilt == 0.0f) || max_abs < kTiny) {
        for (int64_t i = 0; i < n; ++i) q[i] = 0;
        return spoilt == 0.0f ? 0.0f : kNan;
    }
    const F32x16 inverse = set1(127.0f / max_abs);
    for (int64_t i = 0; i < n; i += 16) store_i8(q + i, mul(load(x + i), inverse));
    return max_abs / 127.0f;
}

void quantize_rows_32(const float* x, int64_t n, Activations32 out) {
    for (int64_t b = 0; b < n / 32; ++b) {
        const float d = quantize_block(x + 32 * b, 32, out.q + 32 * b);
        out.d[b] = d;
        const int32_t sum = sum_i8_32(out.q + 32 * b);
        out.s[b] = d * static_cast<float>(sum);
        out.sums[b] = static_cast<int16_t>(sum);
    }
}

void quantize_rows_256(const float* x, int64_t n, Activations256 out) {
    for (int64_t b = 0; b < n / 256; ++b) {
        out.d[b] = quantize_block(x + 256 * b, 256, out.q + 256 * b);
        sums_i8_16(out.q + 256 * b, out.sums + 16 * b);
        for (int64_t i = 8 * b; i < 8 * (b + 1); ++i) {
            out.sums32[i] = static_cast<int16_t>(out.sums[2 * i] + out.sums[2 * i + 1]);
        }
    }
}

/// Rounded to nearest even.
inline void store_bf16(uint16_t* out, F32x16 x) {
    const I32x16 bits = float_bits(x);
    const I32x16 is_odd = and_ints(shift_right<16>(bits), 1);
    store_low_halves(out, shift_right<16>(iadd(bits, iadd(is_odd, iset1(0x7fff)))));
}

void round_rows_bf16(const float* x, int64_t n, uint16_t* out) {
    F32x16 poison = zero();  // stays 0 unless some x is NaN or infinite
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const F32x16 v = load(x + i);
        poison = fma(v, zero(), poison);
        store_bf16(out + i, v);
    }
    if (i < n) {
        const F32x16 v = load_part(x + i, n - i);
        poison = fma(v, zero(), poison);
        uint16_t last[16];
        store_bf16(last, v);
        for (int64_t j = i; j < n; ++j) out[j] = last[j - i];
    }
    if (!(reduce_add(poison) == 0.0f)) {
        for (i = 0; i < n; ++i) out[i] = 0x7fc0;  // NaN, so that the results show it
    }
}

}  // namespace
}  // namespace plrt::PLRT_ISA
