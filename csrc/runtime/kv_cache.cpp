#include "runtime/kv_cache.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/checked.h"

namespace plrt {
namespace {

int64_t pages_for(int64_t cells) {
    return cells / kPageCells + (cells % kPageCells != 0 ? 1 : 0);
}

}  // namespace

KvCache::KvCache(const KvLayout& layout, int64_t max_cells)
    : layout_(layout), max_pages_(pages_for(max_cells)) {
    require(max_cells > 0, ErrorKind::kConfig, "cache: expected at least 1 cell, found ",
            max_cells);
    checked_mul(checked_mul(max_pages_, kPageCells), layout.page_bytes);
}

int64_t KvCache::allocated_bytes() const {
    const auto guard = lock();
    return n_pages_ * layout_.page_bytes;
}

const KvCache::Sequence& KvCache::find(int64_t number) const {
    const auto found = sequences_.find(number);
    require(found != sequences_.end(), ErrorKind::kState, "cache: there is no sequence ", number);
    return found->second;
}

KvCache::Sequence& KvCache::find(int64_t number) {
    return const_cast<Sequence&>(static_cast<const KvCache*>(this)->find(number));
}

int64_t KvCache::create(double rope_alpha) {
    require(std::isfinite(rope_alpha) && rope_alpha >= 1.0, ErrorKind::kConfig,
            "cache: expected a rope_alpha of at least 1, found ", rope_alpha);
    const auto guard = lock();
    Sequence sequence;
    sequence.rope_alpha = rope_alpha;
    sequences_[next_] = std::move(sequence);
    return next_++;
}

void KvCache::release(int64_t sequence) {
    const auto guard = lock();
    drop_pages(find(sequence), 0);
    sequences_.erase(sequence);
}

int64_t KvCache::length(int64_t sequence) const {
    const auto guard = lock();
    return find(sequence).length;
}

int64_t KvCache::length_locked(int64_t sequence) const {
    return find(sequence).length;
}

double KvCache::rope_alpha_locked(int64_t sequence) const {
    return find(sequence).rope_alpha;
}

void KvCache::truncate(int64_t sequence, int64_t n) {
    const auto guard = lock();
    Sequence& s = find(sequence);
    require(n >= 0 && n <= s.length, ErrorKind::kConfig, "cache: expected a length from 0 to ",
            s.length, ", found ", n);
    drop_pages(s, static_cast<size_t>(pages_for(n)));
    s.length = n;
}

int64_t KvCache::fork(int64_t sequence, int64_t n) {
    const auto guard = lock();
    const Sequence& source = find(sequence);
    require(n >= 0 && n <= source.length, ErrorKind::kConfig, "cache: expected a length from 0 to ",
            source.length, ", found ", n);
    const auto n_pages = static_cast<std::ptrdiff_t>(pages_for(n));
    Sequence copy;
    copy.length = n;
    copy.rope_alpha = source.rope_alpha;
    copy.pages.assign(source.pages.begin(), source.pages.begin() + n_pages);
    copy.addresses.assign(source.addresses.begin(), source.addresses.begin() + n_pages);
    sequences_[next_] = std::move(copy);
    return next_++;
}

uint8_t* const* KvCache::reserve(int64_t sequence, int64_t n) {
    Sequence& s = find(sequence);
    const size_t wanted = static_cast<size_t>(pages_for(checked_add(s.length, n)));
    const size_t partial = static_cast<size_t>(s.length / kPageCells);
    if (n > 0 && s.length % kPageCells != 0 && s.pages[partial].use_count() > 1) {
        Page own = take_page();
        std::memcpy(own->data(), s.pages[partial]->data(), static_cast<size_t>(layout_.page_bytes));
        s.addresses[partial] = own->data();
        s.pages[partial] = std::move(own);
    }
    s.pages.reserve(wanted);
    s.addresses.reserve(wanted);  // no failure between the two push_backs
    while (s.pages.size() < wanted) {
        s.pages.push_back(take_page());
        s.addresses.push_back(s.pages.back()->data());
    }
    return s.addresses.data();
}

void KvCache::commit(int64_t sequence, int64_t n) {
    find(sequence).length += n;
}

void KvCache::drop_reserved(int64_t sequence) {
    Sequence& s = find(sequence);
    drop_pages(s, static_cast<size_t>(pages_for(s.length)));
}

KvCache::Page KvCache::take_page() {
    if (!unused_.empty()) {
        Page page = std::move(unused_.back());
        unused_.pop_back();
        return page;
    }
    require(n_pages_ < max_pages_, ErrorKind::kContext, "cache: all ", max_pages_ * kPageCells,
            " cells are in use; ask for a larger n_ctx or shorten the text");
    // Pages of a graph without attention hold nothing, but still have an address.
    auto page = std::make_shared<AlignedBuffer>(std::max<int64_t>(layout_.page_bytes, 1));
    // Zeros, because the padding of the values is read as numbers.
    std::memset(page->data(), 0, static_cast<size_t>(layout_.page_bytes));
    unused_.reserve(static_cast<size_t>(n_pages_) + 1);  // so that giving a page back cannot fail
    ++n_pages_;
    return page;
}

void KvCache::drop_pages(Sequence& sequence, size_t n_kept) {
    while (sequence.pages.size() > n_kept) {
        if (sequence.pages.back().use_count() == 1) {
            unused_.push_back(std::move(sequence.pages.back()));
        }
        sequence.pages.pop_back();
        sequence.addresses.pop_back();
    }
}

}  // namespace plrt
