#pragma once
/// Memory for vectors: aligned to cache lines, grown but never shrunk, not initialised.

#include <cstdint>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

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
        use_huge_pages();
    }

    uint8_t* data() const { return data_; }
    int64_t size() const { return size_; }

  private:
    static constexpr size_t kAlignment = 64;

    void swap(AlignedBuffer& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
    }
    /// A product writes many rows of its result in turn; with small pages each is a walk through
    /// the page table. The system may decline. Pages then become resident two megabytes at a time.
    void use_huge_pages() {
#if defined(__linux__)
        constexpr uintptr_t kHugePage = uintptr_t{2} << 20;
        const auto begin = reinterpret_cast<uintptr_t>(data_);
        const uintptr_t first = (begin + kHugePage - 1) / kHugePage * kHugePage;
        const uintptr_t end = (begin + static_cast<uintptr_t>(size_)) / kHugePage * kHugePage;
        if (first < end) ::madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#endif
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
