/// Reading memory as fast as this instruction set can, for measuring how fast that is.

namespace plrt::PLRT_ISA {
namespace {

/// Left to the compiler to vectorise; four words wide at least in each of four chains.
inline uint64_t read_bytes(const uint8_t* data, int64_t n) {
    const uint64_t* words = reinterpret_cast<const uint64_t*>(data);
    uint64_t a = 0, b = 0, c = 0, d = 0;
    const int64_t quarter = n / 32;
    for (int64_t i = 0; i < quarter; ++i) {
        a ^= words[i];
        b ^= words[quarter + i];
        c ^= words[2 * quarter + i];
        d ^= words[3 * quarter + i];
    }
    return a ^ b ^ c ^ d;
}

}  // namespace
}  // namespace plrt::PLRT_ISA
