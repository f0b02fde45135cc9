/// The cache: pages are shared until written, used again when free, and never more than allowed.

#include <cstring>
#include <limits>
#include <map>
#include <random>
#include <vector>

#include "runtime/kv_cache.h"
#include "testing.h"

namespace plrt::testing {
namespace {

constexpr int64_t kPageBytes = 1024;

KvLayout layout() {
    return {KvType::kF32, {{1, 1, 0}}, kPageBytes};
}

uint8_t* cell(uint8_t* const* pages, int64_t position) {
    return pages[position / kPageCells] + position % kPageCells * 16;
}

/// Appends the bytes of `text` to a sequence, one a position.
void append(KvCache& cache, int64_t sequence, const std::vector<uint8_t>& text) {
    const auto guard = cache.lock();
    const int64_t first = cache.length_locked(sequence);
    const auto n = static_cast<int64_t>(text.size());
    uint8_t* const* pages = cache.reserve(sequence, n);
    check(cache.length_locked(sequence) == first, "reserving does not change the length");
    for (int64_t i = 0; i < n; ++i) *cell(pages, first + i) = text[static_cast<size_t>(i)];
    cache.commit(sequence, n);
    cache.drop_reserved(sequence);
}

std::vector<uint8_t> contents(KvCache& cache, int64_t sequence) {
    const auto guard = cache.lock();
    const int64_t n = cache.length_locked(sequence);
    uint8_t* const* pages = cache.reserve(sequence, 0);
    std::vector<uint8_t> out;
    for (int64_t i = 0; i < n; ++i) out.push_back(*cell(pages, i));
    return out;
}

std::vector<uint8_t> letters(int64_t n, uint8_t first = 1) {
    std::vector<uint8_t> out(static_cast<size_t>(n));
    for (uint8_t& letter : out) letter = first++;
    return out;
}

const Test sizes("kv cache: impossible sizes", [] {
    for (const int64_t n : {int64_t{0}, int64_t{-1}, std::numeric_limits<int64_t>::min()}) {
        check_throws(ErrorKind::kConfig, [&] { KvCache(layout(), n); });
    }
    for (const int64_t below : {0, 1, 63, 64, 65, 1000}) {
        check_throws(ErrorKind::kShape,
                     [&] { KvCache(layout(), std::numeric_limits<int64_t>::max() - below); });
    }
    KvCache huge(layout(), int64_t{1} << 40);  // only a bound
    append(huge, huge.create(), letters(3));
    check(huge.allocated_bytes() == kPageBytes, "pages come as they are used");
});

const Test unknown_sequences("kv cache: unknown sequences", [] {
    KvCache cache(layout(), 64);
    const int64_t sequence = cache.create();
    cache.release(sequence);
    for (const int64_t unknown : {sequence, int64_t{7}, int64_t{-1}}) {
        check_throws(ErrorKind::kState, [&] { cache.length(unknown); });
        check_throws(ErrorKind::kState, [&] { cache.release(unknown); });
        check_throws(ErrorKind::kState, [&] { cache.truncate(unknown, 0); });
        check_throws(ErrorKind::kState, [&] { cache.fork(unknown, 0); });
        check_throws(ErrorKind::kState, [&] {
            const auto guard = cache.lock();
            cache.reserve(unknown, 1);
        });
    }
    check(cache.create() != sequence, "numbers are not used twice");
});

const Test lengths("kv cache: lengths to cut and fork at", [] {
    KvCache cache(layout(), 1000);
    const int64_t sequence = cache.create();
    append(cache, sequence, letters(100));
    for (const int64_t n : {int64_t{-1}, int64_t{101}, std::numeric_limits<int64_t>::max()}) {
        check_throws(ErrorKind::kConfig, [&] { cache.truncate(sequence, n); });
        check_throws(ErrorKind::kConfig, [&] { cache.fork(sequence, n); });
    }
    check(contents(cache, sequence) == letters(100), "nothing was lost");
    cache.truncate(sequence, 100);
    cache.truncate(sequence, 64);
    check(contents(cache, sequence) == letters(64), "cut at a page's end");
    cache.truncate(sequence, 0);
    check(cache.length(sequence) == 0, "empty");
});

const Test copy_on_write("kv cache: whoever writes first copies a shared page", [] {
    for (const int64_t at : {1, 63, 64, 65, 100}) {
        for (const bool child_first : {false, true}) {
            KvCache cache(layout(), 1000);
            const int64_t parent = cache.create();
            append(cache, parent, letters(100));
            const int64_t child = cache.fork(parent, at);
            check(cache.allocated_bytes() == 2 * kPageBytes, "a fork copies nothing");
            const int64_t order[2] = {child_first ? child : parent, child_first ? parent : child};
            for (const int64_t sequence : order) {
                append(cache, sequence, letters(70, sequence == child ? 200 : 150));
            }
            auto wanted = letters(100);
            const auto parents = letters(70, 150);
            wanted.insert(wanted.end(), parents.begin(), parents.end());
            check(contents(cache, parent) == wanted, "the parent");
            wanted.resize(static_cast<size_t>(at));
            const auto childs = letters(70, 200);
            wanted.insert(wanted.end(), childs.begin(), childs.end());
            check(contents(cache, child) == wanted, "the child");
        }
    }
});

const Test rewriting_a_cut_page("kv cache: a cut page that is shared is not written to", [] {
    KvCache cache(layout(), 1000);
    const int64_t parent = cache.create();
    append(cache, parent, letters(60));
    const int64_t child = cache.fork(parent, 60);
    cache.truncate(parent, 10);
    append(cache, parent, letters(20, 99));
    check(contents(cache, child) == letters(60), "the child keeps what was cut");
    cache.release(parent);
    append(cache, child, letters(1, 61));
    check(contents(cache, child) == letters(61), "and goes on");
});

const Test full("kv cache: a full cache is an error, and freed pages are used again", [] {
    KvCache cache(layout(), 100);  // two pages
    const int64_t a = cache.create();
    const int64_t b = cache.create();
    append(cache, a, letters(64));
    check_throws(ErrorKind::kContext, [&] { append(cache, b, letters(65)); });
    check(cache.length(b) == 0, "nothing was added");
    {
        const auto guard = cache.lock();
        cache.drop_reserved(b);
    }
    append(cache, a, letters(64, 65));
    check(contents(cache, a) == letters(128), "what b had reserved is free again");
    check_throws(ErrorKind::kContext, [&] { append(cache, b, letters(1)); });
    cache.truncate(a, 64);
    append(cache, b, letters(1));
    const int64_t c = cache.fork(a, 64);
    cache.release(a);
    check(contents(cache, c) == letters(64), "a page lives as long as one of its sequences");
    cache.release(b);
    cache.release(c);
    append(cache, cache.create(), letters(128));
    check(cache.allocated_bytes() == 2 * kPageBytes, "no new pages");
});

const Test fresh_pages_are_zero("kv cache: a new page is zero, because its padding is read", [] {
    KvCache cache(layout(), 64);
    const int64_t sequence = cache.create();
    const auto guard = cache.lock();
    const uint8_t* page = cache.reserve(sequence, 1)[0];
    for (int64_t i = 0; i < kPageBytes; ++i) check(page[i] == 0, "zero");
});

/// What the cache must hold, kept the simple way.
using Model = std::map<int64_t, std::vector<uint8_t>>;

void random_action(KvCache& cache, Model& model, std::mt19937_64& random) {
    const auto pick = [&] {
        return std::next(model.begin(), static_cast<std::ptrdiff_t>(random() % model.size()));
    };
    const auto kind = random() % 8;
    if (model.empty() || kind == 0) {
        model[cache.create()] = {};
        return;
    }
    auto& [sequence, text] = *pick();
    const auto cut = static_cast<int64_t>(random() % (text.size() + 1));
    if (kind == 1) {
        cache.release(sequence);
        model.erase(sequence);
    } else if (kind == 2) {
        cache.truncate(sequence, cut);
        text.resize(static_cast<size_t>(cut));
    } else if (kind == 3) {
        const std::vector<uint8_t> start(text.begin(), text.begin() + cut);
        model[cache.fork(sequence, cut)] = start;
    } else {
        const auto added =
            letters(static_cast<int64_t>(random() % 90), static_cast<uint8_t>(random()));
        try {
            append(cache, sequence, added);
            text.insert(text.end(), added.begin(), added.end());
        } catch (const Error& error) {
            check(error.kind() == ErrorKind::kContext, error.what());
            const auto guard = cache.lock();
            cache.drop_reserved(sequence);
        }
    }
}

const Test random_actions("kv cache: 4000 random actions against a simple model", [] {
    for (const uint64_t seed : {1, 2, 3, 4}) {
        std::mt19937_64 random(seed);
        KvCache cache(layout(), 20 * kPageCells);
        Model model;
        for (int i = 0; i < 1000; ++i) {
            random_action(cache, model, random);
            for (const auto& [sequence, text] : model) {
                check(contents(cache, sequence) == text, "contents");
            }
            check(cache.allocated_bytes() <= 20 * kPageBytes, "bound");
        }
        for (const auto& [sequence, text] : model) cache.release(sequence);
        append(cache, cache.create(), letters(20 * kPageCells));
    }
});

}  // namespace
}  // namespace plrt::testing
