/// Steps: the same bits however the work is cut, errors that leave nothing behind, any weights.

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/executor.h"
#include "testing.h"
#include "tiny_model.h"

namespace plrt::testing {
namespace {

std::vector<int32_t> prompt(int64_t n, uint64_t seed = 1) {
    std::mt19937_64 random(seed);
    std::vector<int32_t> ids(static_cast<size_t>(n));
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % 23);
    return ids;
}

KvCache make_cache(const Program& program, KvType type = KvType::kF16, int64_t cells = 2048) {
    return KvCache(program.kv_layout(type), cells);
}

/// Logits of all rows of one sequence, read `chunk` rows a step.
Logits read(Program& program, KvCache& cache, int64_t sequence, const std::vector<int32_t>& ids,
            size_t chunk, int n_threads) {
    Logits out;
    for (size_t begin = 0; begin < ids.size(); begin += chunk) {
        const auto first = ids.begin() + static_cast<std::ptrdiff_t>(begin);
        const size_t n = std::min(chunk, ids.size() - begin);
        const std::vector<int32_t> part(first, first + static_cast<std::ptrdiff_t>(n));
        const std::vector<int64_t> sequences(n, sequence);
        const Logits rows = step(program, cache, part, sequences, n_threads);
        out.insert(out.end(), rows.begin(), rows.end());
    }
    return out;
}

Logits read_fresh(Program& program, const std::vector<int32_t>& ids, size_t chunk = 1000,
                  int n_threads = 1, KvType type = KvType::kF16) {
    KvCache cache = make_cache(program, type);
    return read(program, cache, cache.create(), ids, chunk, n_threads);
}

Logits row_of(const Logits& rows, size_t i, size_t width = 23) {
    const auto begin = rows.begin() + static_cast<std::ptrdiff_t>(i * width);
    return Logits(begin, begin + static_cast<std::ptrdiff_t>(width));
}

const Test chunks_and_threads("executor: chunks and threads change no bit, over three pages", [] {
    TinyModel model;
    model.n_layers = 1;
    const auto ids = prompt(130);
    for (const int64_t head_dim : {8, 24}) {
        model.head_dim = head_dim;
        const KvType type = head_dim == 8 ? KvType::kF16 : KvType::kF32;
        for (const std::string& isa : supported_isas()) {
            const auto program = model.program(isa);
            const Logits wanted = read_fresh(*program, ids, 1000, 1, type);
            check(!same_bits(row_of(wanted, 0), row_of(wanted, 129)), "logits differ");
            for (const size_t chunk : {1, 7, 64}) {
                check(same_bits(read_fresh(*program, ids, chunk, 2, type), wanted), "chunk");
            }
            for (const int n_threads : {2, 5, 16}) {
                check(same_bits(read_fresh(*program, ids, 1000, n_threads, type), wanted),
                      "threads");
            }
        }
    }
});

const Test tallies(
    "executor: what enters the matrices is counted, the same bits for all threads", [] {
        for (const TensorType type : {TensorType::kF32, TensorType::kBF16, TensorType::kQ4_K}) {
            const TinyModel model = wide_model(type);
            const auto ids = prompt(130);
            const Logits wanted_logits = read_fresh(*model.program(), ids);
            std::vector<Tally> wanted;
            std::vector<std::vector<float>> products;
            for (int n_threads = 1; n_threads <= 5; ++n_threads) {
                const auto program = model.program("", Observe::kMoments);
                check(program->tallies().at(0).counts == std::vector<int64_t>{0}, "none yet");
                const size_t chunk = n_threads == 2 ? 128 : 1000;
                check(same_bits(read_fresh(*program, ids, chunk, n_threads), wanted_logits),
                      "the results are the ordinary ones");
                const std::vector<Tally> found = program->tallies();
                if (n_threads == 1) wanted = found;
                check(found.size() == program->tally_plans().size() && found.size() == 5,
                      "tallies");
                for (size_t i = 0; i < found.size(); ++i) {
                    check(found[i].counts == std::vector<int64_t>{130}, "rows");
                    check(found[i].sums == wanted[i].sums, "sums");
                    check(*std::min_element(found[i].sums.begin(), found[i].sums.end()) > 0,
                          "columns");
                    const auto cols = static_cast<size_t>(program->tally_plans()[i].cols);
                    std::vector<float> moments(256 * cols);
                    program->moments(i, moments.data());
                    if (n_threads == 1) products.push_back(moments);
                    check(same_bits(moments, products[i]), "products of columns");
                    for (size_t j = 0; j < cols; ++j) {
                        const double square = moments[256 * j + j % 256];
                        check(std::abs(square / found[i].sums[j] - 1) < 1e-5, "with themselves");
                    }
                }
            }
            check(model.program()->tallies().empty(), "an ordinary program counts nothing");
        }
    });

const Test shared_tiles(
    "executor: few heads and many threads share out tiles, with the same bits", [] {
        TinyModel model;
        model.n_layers = 1;
        model.n_kv_heads = 1;
        const auto program = model.program();
        const auto ids = prompt(700);  // eleven tiles
        check(program->scratch_bytes(1, 1, 5, 700) > program->scratch_bytes(1, 1, 5, 64),
              "memory for the tiles' results is counted");
        for (const KvType type : {KvType::kF16, KvType::kQ8_0}) {
            const auto last_rows = [&](int n_threads, size_t chunk) {
                KvCache cache = make_cache(*program, type);
                const int64_t sequence = cache.create();
                read(*program, cache, sequence, {ids.begin(), ids.begin() + 690}, 1000, 1);
                return read(*program, cache, sequence, {ids.begin() + 690, ids.end()}, chunk,
                            n_threads);
            };
            const Logits wanted = last_rows(1, 10);
            for (const int n_threads : {2, 5, 16}) {
                for (const size_t chunk : {1, 3, 10}) {
                    check(same_bits(last_rows(n_threads, chunk), wanted), "bits");
                }
            }
        }
    });

const Test every_weight_type(
    "executor: every weight type, alone or in company, gives one result", [] {
        const auto ids = prompt(9);
        for (const TensorTypeInfo& type : tensor_types()) {
            std::vector<Logits> by_isa;
            const TinyModel model = wide_model(type.type);
            const MemoryWeights weights = model.weights();
            for (const std::string& isa : supported_isas()) {
                const auto program = make_program(model.text(), weights, isa);
                const Logits wanted = read_fresh(*program, ids);
                for (const float x : wanted) check(std::isfinite(x), "finite");
                for (const int n_threads : {1, 2, 5, 16}) {
                    check(same_bits(read_fresh(*program, ids, 4, n_threads), wanted), "cuts");
                }
                by_isa.push_back(wanted);
            }
            check(nmse(by_isa.front(), by_isa.back()) <= 1e-5, "instruction sets agree");
        }
    });

const Test companions("executor: other sequences in the batch change nothing", [] {
    const auto program = TinyModel{}.program();
    const auto ids = prompt(70);
    const Logits wanted = read_fresh(*program, ids);
    KvCache cache = make_cache(*program);
    std::mt19937_64 random(2);
    std::vector<int64_t> sequences;
    std::vector<size_t> done;
    for (int i = 0; i < 5; ++i) {
        sequences.push_back(cache.create());
        done.push_back(0);
    }
    for (int round = 0; round < 60; ++round) {
        std::vector<int32_t> batch;
        std::vector<int64_t> owners;
        std::vector<uint8_t> flags;
        std::vector<size_t> rows;  // of `wanted`, in the order of the outputs
        for (size_t s = 0; s < sequences.size(); ++s) {
            const size_t n = std::min(ids.size() - done[s], static_cast<size_t>(random() % 4));
            for (size_t i = 0; i < n; ++i) {
                batch.push_back(ids[done[s] + i]);
                owners.push_back(sequences[s]);
                flags.push_back(random() % 2 ? static_cast<uint8_t>(1 + random() % 255) : 0);
                if (flags.back() != 0) rows.push_back(done[s] + i);
            }
            done[s] += n;
        }
        if (batch.empty()) continue;
        const int n_threads = 1 + static_cast<int>(random() % 5);
        const Logits got = step(*program, cache, batch, owners, n_threads, flags);
        check(got.size() == rows.size() * 23, "only wanted rows");
        for (size_t i = 0; i < rows.size(); ++i) {
            check(same_bits(row_of(got, i), row_of(wanted, rows[i])), "bits");
        }
        const size_t cut = random() % sequences.size();
        if (round % 5 == 4) {  // go back, so that pages are cut, shared and written again
            done[cut] = random() % (done[cut] + 1);
            const int64_t fork = cache.fork(sequences[cut], static_cast<int64_t>(done[cut]));
            cache.release(sequences[cut]);
            sequences[cut] = fork;
        }
    }
});

const Test forks("executor: forks go on as if they had read everything themselves", [] {
    const auto program = TinyModel{}.program();
    const auto ids = prompt(100);
    KvCache cache = make_cache(*program);
    const int64_t parent = cache.create();
    read(*program, cache, parent, ids, 1000, 2);
    for (const size_t at : {1, 63, 64, 65, 99}) {
        const int64_t child = cache.fork(parent, static_cast<int64_t>(at));
        auto other = std::vector<int32_t>(ids.begin(), ids.begin() + static_cast<int>(at));
        for (const int32_t id : prompt(70, at)) other.push_back(id);
        const auto tail = std::vector<int32_t>(other.begin() + static_cast<int>(at), other.end());
        const Logits got = read(*program, cache, child, tail, 1000, 2);
        const Logits wanted = read_fresh(*program, other);
        check(same_bits(row_of(got, 69), row_of(wanted, at + 69)), "the child");
    }
    const Logits again = read(*program, cache, parent, {1, 2}, 1, 1);
    auto longer = ids;
    longer.insert(longer.end(), {1, 2});
    check(same_bits(row_of(again, 1), row_of(read_fresh(*program, longer), 101)), "the parent");
});

const Test bad_batches("executor: bad batches are refused and change nothing", [] {
    const auto program = TinyModel{}.program();
    KvCache cache = make_cache(*program, KvType::kF16, 128);
    const int64_t a = cache.create();
    const int64_t b = cache.create();
    step(*program, cache, {1, 2}, {a, b});
    const auto refused = [&](ErrorKind kind, const std::vector<int32_t>& ids,
                             const std::vector<int64_t>& sequences, int n_threads = 1,
                             const std::vector<uint8_t>& wanted = {}) {
        check_throws(kind, [&] { step(*program, cache, ids, sequences, n_threads, wanted); });
        check(cache.length(a) == 1 && cache.length(b) == 1, "lengths");
    };
    constexpr int32_t kLowest = std::numeric_limits<int32_t>::min();
    for (const int32_t id : {-1, 23, kLowest, std::numeric_limits<int32_t>::max()}) {
        refused(ErrorKind::kConfig, {0, id}, {a, a});
    }
    refused(ErrorKind::kConfig, {1, 1, 1}, {a, b, a});
    refused(ErrorKind::kConfig, {1, 1, 1, 1, 1}, {b, a, a, b, b});
    refused(ErrorKind::kState, {1, 1}, {a, 99});
    refused(ErrorKind::kState, {1, 1}, {a, -1});
    refused(ErrorKind::kShape, {}, {});
    refused(ErrorKind::kShape, {1, 1}, {a});
    refused(ErrorKind::kShape, {1}, {a, a});
    refused(ErrorKind::kShape, {1, 1}, {a, a}, 1, {1});
    for (const int n_threads : {0, -1, std::numeric_limits<int>::max()}) {
        refused(ErrorKind::kConfig, {1}, {a}, n_threads);
    }
    TinyModel other;
    other.n_layers = 1;
    KvCache foreign = make_cache(*other.program());
    const int64_t c = foreign.create();
    check_throws(ErrorKind::kConfig, [&] { step(*program, foreign, {1}, {c}); });
    step(*program, cache, {1, 2}, {a, b});
});

const Test full_cache("executor: a step that does not fit gives all its pages back", [] {
    const auto program = TinyModel{}.program();
    KvCache cache = make_cache(*program, KvType::kF16, 192);  // three pages
    const int64_t a = cache.create();
    const int64_t b = cache.create();
    const auto ids = prompt(128);
    std::vector<int64_t> owners(64, a);
    owners.insert(owners.end(), 64, b);
    step(*program, cache, ids, owners);
    check_throws(ErrorKind::kContext, [&] { step(*program, cache, {1, 1}, {a, b}); });
    check(cache.length(a) == 64 && cache.length(b) == 64, "lengths");
    // The failed step had reserved the last page for a.
    check(step(*program, cache, {1}, {b}).size() == 23, "b gets it");
    check_throws(ErrorKind::kContext, [&] { step(*program, cache, {1}, {a}); });
});

const Test cancelled("executor: a cancelled step leaves nothing, and the next one is right", [] {
    const auto program = TinyModel{}.program();
    const auto ids = prompt(66);
    const Logits wanted = read_fresh(*program, ids);
    for (const int n_threads : {1, 4}) {
        KvCache cache = make_cache(*program);
        const int64_t sequence = cache.create();
        read(*program, cache, sequence, prompt(60), 1000, 1);
        const int64_t fork = cache.fork(sequence, 60);
        const std::vector<int32_t> rest(ids.begin() + 60, ids.end());
        const std::vector<int64_t> owners(rest.size(), fork);
        const std::vector<uint8_t> all(rest.size(), 1);
        int n_cancelled = 0;
        for (int stop_at = 1;; ++stop_at) {
            int n_polls = 0;
            const auto poll = [&] { return ++n_polls == stop_at; };
            try {
                program->step({rest, owners, all}, cache, n_threads, poll,
                              [&](const float* rows, int64_t n, int64_t) {
                                  check(n == 6 && std::isfinite(rows[0]), "outputs");
                              });
                break;
            } catch (const Error& error) {
                check(error.kind() == ErrorKind::kCancelled, error.what());
                check(cache.length(fork) == 60 && cache.length(sequence) == 60, "lengths");
                ++n_cancelled;
            }
        }
        check(n_cancelled > 15, "a poll a stage");
        for (const int64_t which : {fork, sequence}) {
            cache.truncate(which, 60);
            const Logits got = read(*program, cache, which, rest, 1000, n_threads);
            check(same_bits(row_of(got, 5), row_of(wanted, 65)), "the same bits as without");
        }
    }
});

const Test damaged_numbers(
    "executor: NaN and infinities in weights are an error, not a result", [] {
        for (const char* name : {"embed", "norm", "head", "blk.0.norm1", "blk.1.down", "blk.0.v"}) {
            for (const float bad : {std::numeric_limits<float>::quiet_NaN(),
                                    std::numeric_limits<float>::infinity()}) {
                TinyModel model;
                MemoryWeights weights = model.weights();
                const Weight old =
                    weights.get(name, 0, std::string(name) == "blk.1.down" ? 48 : 32);
                const auto n = static_cast<size_t>(old.rows * old.cols);
                weights.add(name, TensorType::kF32, old.rows, old.cols, std::vector<float>(n, bad));
                const auto program = make_program(model.text(), weights);
                KvCache cache = make_cache(*program);
                const int64_t sequence = cache.create();
                check_throws(ErrorKind::kNumerics,
                             [&] { step(*program, cache, {1}, {sequence}, 2); });
                check(cache.length(sequence) == 0, "nothing was added");
            }
        }
    });

/// Logits, or nothing where they were not finite.
Logits finite_or_none(Program& program, int n_threads, KvType type) {
    try {
        const Logits rows = read_fresh(program, prompt(5), 3, n_threads, type);
        for (const float x : rows) check(std::isfinite(x), "finite");
        return rows;
    } catch (const Error& error) {
        check(error.kind() == ErrorKind::kNumerics, error.what());
        return {};
    }
}

const Test noise("executor: random bytes for weights give finite logits or an error", [] {
    for (const TensorTypeInfo& type : tensor_types()) {
        TinyModel model = wide_model(type.type);
        model.noise = true;
        for (const std::string& isa : supported_isas()) {
            const auto program = model.program(isa);
            for (const KvType kv : {KvType::kF16, KvType::kF32, KvType::kQ8_0}) {
                const Logits wanted = finite_or_none(*program, 1, kv);
                check(same_bits(finite_or_none(*program, 5, kv), wanted), "threads");
            }
        }
    }
});

const Test noisy_codes("executor: any codes and sub-scales with sane block scales are finite", [] {
    // The first or last two bytes of these blocks are the scale; a small half makes it sane.
    for (const auto& [type, at] : {std::pair{TensorType::kQ4_0, 0},
                                   {TensorType::kQ5_0, 0},
                                   {TensorType::kQ8_0, 0},
                                   {TensorType::kQ3_K, 108},
                                   {TensorType::kQ6_K, 208},
                                   {TensorType::kIQ4_NL, 0},
                                   {TensorType::kIQ4_XS, 0}}) {
        std::mt19937_64 random(4);
        MemoryWeights weights;
        weights.add("embed", TensorType::kF32, 23, 256, normal(23 * 256, 1));
        weights.add_noise("w", type, 23, 256, random);
        auto* data = const_cast<uint8_t*>(weights.get("w", 23, 256).data);
        const TensorTypeInfo& row = info(type);
        const int64_t n_blocks = 23 * 256 / row.block_size;
        for (int64_t b = 0; b < n_blocks; ++b) {
            data[b * row.block_bytes + at] = 0x66;
            data[b * row.block_bytes + at + 1] = 0x20;
        }
        const std::string text =
            "plrt-graph 1\n%0 = embed @embed -> n 256\n%1 = output_rows %0 -> m 256\n"
            "%2 = linear %1 @w @- -> m 23\n";
        std::vector<Logits> results;
        for (const std::string& isa : supported_isas()) {
            const auto program = make_program(text, weights, isa);
            results.push_back(read_fresh(*program, prompt(7)));
            check(same_bits(results.back(), results.front()), "instruction sets agree exactly");
        }
        check(finite_or_none(*make_program(text, weights), 1, KvType::kF16).size() == 5 * 23,
              "finite");
    }
});

}  // namespace
}  // namespace plrt::testing
