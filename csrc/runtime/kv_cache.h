#pragma once
/// Keys and values of many sequences, in shared pages that are allocated as they are used.

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/fork.h"
#include "graph/kv_layout.h"

namespace plrt {

class KvCache {
  public:
    /// A cache of at most max_cells positions, over all sequences, rounded up to whole pages.
    KvCache(const KvLayout& layout, int64_t max_cells);

    const KvLayout& layout() const { return layout_; }
    /// Bytes of the pages allocated so far.
    int64_t allocated_bytes() const;

    /// A new empty sequence's number. rope_alpha: what its rotary base is scaled by, as Run says.
    /// Throws Error(kConfig) unless it is a finite number of at least 1.
    int64_t create(double rope_alpha = 1.0);
    /// Forgets a sequence. Throws Error(kState) if there is none of that number, as all below.
    void release(int64_t sequence);
    int64_t length(int64_t sequence) const;
    /// Keeps the first n positions. Throws Error(kConfig) unless 0 <= n <= length.
    void truncate(int64_t sequence, int64_t n);
    /// A new sequence that shares the first n positions' pages; either copies a shared page before
    /// it writes to it.
    int64_t fork(int64_t sequence, int64_t n);

    /// Exclusive use for the time of a step; the functions below are called under it.
    /// Throws Error(kState) in a forked child, where the lock may never come free.
    std::unique_lock<std::mutex> lock() const {
        check_not_forked(fork_generation_, "cache");
        return std::unique_lock<std::mutex>(mutex_);
    }
    int64_t length_locked(int64_t sequence) const;
    double rope_alpha_locked(int64_t sequence) const;
    /// Room for n more positions; the length stays. Throws Error(kContext) if the cache is full,
    /// Error(kResource) if memory is.
    uint8_t* const* reserve(int64_t sequence, int64_t n);
    /// Makes n reserved positions part of the sequence.
    void commit(int64_t sequence, int64_t n);
    /// Gives back the pages that were reserved but hold no committed position.
    void drop_reserved(int64_t sequence);

  private:
    using Page = std::shared_ptr<AlignedBuffer>;
    struct Sequence {
        int64_t length = 0;
        double rope_alpha = 1.0;
        std::vector<Page> pages;
        std::vector<uint8_t*> addresses;  // of the pages
    };

    const Sequence& find(int64_t number) const;
    Sequence& find(int64_t number);
    Page take_page();
    void drop_pages(Sequence& sequence, size_t n_kept);

    KvLayout layout_;
    int64_t max_pages_;
    int64_t n_pages_ = 0;       // allocated
    std::vector<Page> unused_;  // allocated, in no sequence
    std::map<int64_t, Sequence> sequences_;
    int64_t next_ = 0;
    mutable std::mutex mutex_;
    const int fork_generation_ = fork_generation();
};

}  // namespace plrt
