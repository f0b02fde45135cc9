#pragma once
/// Memory for vectors: aligned to cache lines, grown but never shrunk, not initialised.

#include <cstdint>
#include <new>
#include <utility>

namespace plrt {

class AlignedBuffer {
  public:
    AlignedBuffer() = default;
    explicit AlignedBuffer(int64_t n_bytes) { grow(n_bytes); }
    AlignedBuffer(AlignedBuffer&& other) noexcept { swap(other); }
    AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
        swap(other);
        return *this;
    }
    AlignedBuffer(const AlignedBuffer&) = delete;
    AlignedBuffer& operator=(const AlignedBuffer&) = delete;
    ~AlignedBuffer() { release(); }

    /// Makes room for n_bytes; what was in it is lost if it has to grow. Throws std::bad_alloc.
    void grow(int64_t n_bytes) {
        if (n_bytes <= size_) return;
        release();
        data_ = static_cast<uint8_t*>(
            ::operator new(static_cast<size_t>(n_bytes), std::align_val_t{kAlignment}));
        size_ = n_bytes;
    }

    uint8_t* data() const { return data_; }
    int64_t size() const { return size_; }

  private:
    static constexpr size_t kAlignment = 64;

    void swap(AlignedBuffer& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
    }
    void release() {
        ::operator delete(data_, std::align_val_t{kAlignment});
        data_ = nullptr;
        size_ = 0;
    }

    uint8_t* data_ = nullptr;
    int64_t size_ = 0;
};

}  // namespace plrt
