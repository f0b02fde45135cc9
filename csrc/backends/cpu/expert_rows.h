#pragma once
/// Activation rows as one expert's product takes them: side by side, one for each row of the step
/// that chose the expert.

#include <cstring>

#include "backends/cpu/cpu_backend.h"

namespace plrt::cpu {

/// Copies columns [first, first + k) of an activation row, which is a whole number of blocks, to a
/// row of k columns.
inline void copy_columns(ValueFormat format, uint8_t* from, int64_t width, int64_t first, int64_t k,
                         uint8_t* to) {
    const auto copy = [](auto* target, const auto* source, int64_t n) {
        std::memcpy(target, source, static_cast<size_t>(n) * sizeof(*source));
    };
    switch (format) {
        case ValueFormat::kF32:
            copy(reinterpret_cast<float*>(to), reinterpret_cast<const float*>(from) + first, k);
            break;
        case ValueFormat::kBF16:
            copy(reinterpret_cast<uint16_t*>(to), reinterpret_cast<const uint16_t*>(from) + first,
                 k);
            break;
        case ValueFormat::kAct32: {
            const Activations32 source = activations_32(from, width);
            const Activations32 target = activations_32(to, k);
            copy(target.q, source.q + first, k);
            copy(target.d, source.d + first / 32, k / 32);
            copy(target.s, source.s + first / 32, k / 32);
            copy(target.sums, source.sums + first / 32, k / 32);
            break;
        }
        case ValueFormat::kAct256: {
            const Activations256 source = activations_256(from, width);
            const Activations256 target = activations_256(to, k);
            copy(target.q, source.q + first, k);
            copy(target.d, source.d + first / 256, k / 256);
            copy(target.sums, source.sums + first / 16, k / 16);
            copy(target.sums32, source.sums32 + first / 32, k / 32);
            break;
        }
    }
}

}  // namespace plrt::cpu
