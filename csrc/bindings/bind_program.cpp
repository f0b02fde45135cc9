/// Programs, caches and instruction sets for Python.

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstring>
#include <deque>
#include <map>
#include <optional>

#include "backends/cpu/cpu_backend.h"
#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "bindings/interrupts.h"
#include "core/checked.h"
#include "core/moment_tiles.h"
#include "kernels/registry.h"
#include "runtime/executor.h"

namespace py = pybind11;

namespace plrt {
namespace {

using Ids = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;
using Sequences = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;
using Flags = py::array_t<uint8_t, py::array::c_style | py::array::forcecast>;

template <typename T, int flags>
std::span<const T> as_span(const py::array_t<T, flags>& array) {
    return {array.data(), static_cast<size_t>(array.size())};
}

/// Contiguous bytes of a Python object, which cannot be closed or resized meanwhile.
class ExportedBytes {
  public:
    explicit ExportedBytes(const py::buffer& owner) {
        if (PyObject_GetBuffer(owner.ptr(), &view_, PyBUF_SIMPLE) != 0) {
            throw py::error_already_set();
        }
    }
    ~ExportedBytes() { PyBuffer_Release(&view_); }
    ExportedBytes(const ExportedBytes&) = delete;
    ExportedBytes& operator=(const ExportedBytes&) = delete;

    const uint8_t* data() const { return static_cast<const uint8_t*>(view_.buf); }
    int64_t size() const { return view_.len; }

  private:
    Py_buffer view_;
};

/// Weights in memory that Python owns; the buffers stay exported while the program lives.
class BufferWeights : public WeightSource {
  public:
    void add(const std::string& name, const std::string& type, int64_t rows, int64_t cols,
             const py::buffer& buffer, int64_t offset) {
        const TensorTypeInfo& row = info(std::string_view(type));
        const int64_t n_bytes = checked_mul(row_bytes(row.type, cols), rows);
        views_.emplace_back(buffer);
        const int64_t size = views_.back().size();
        require(offset >= 0 && offset <= size && n_bytes <= size - offset, ErrorKind::kFormat,
                "tensor '", name, "' at byte ", offset, ": expected ", n_bytes,
                " bytes inside a mapping of ", size);
        const uint8_t* data = views_.back().data() + offset;
        weights_[name] = {row.type, rows, cols, aligned(data, n_bytes, row)};
    }

    Weight get(const std::string& name, int64_t rows, int64_t cols) const override {
        const auto found = weights_.find(name);
        require(found != weights_.end(), ErrorKind::kFormat, "tensor '", name, "' is missing");
        const Weight& weight = found->second;
        require((rows == 0 || weight.rows == rows) && weight.cols == cols, ErrorKind::kFormat,
                "tensor '", name, "': expected shape (", rows, ", ", cols, "), found (",
                weight.rows, ", ", weight.cols, ")");
        return weight;
    }

  private:
    /// The data where it lies, or a copy if it does not stand at a multiple of its element size.
    const uint8_t* aligned(const uint8_t* data, int64_t n_bytes, const TensorTypeInfo& row) {
        const uintptr_t step = row.type == TensorType::kF32 ? 4 : 2;
        if (reinterpret_cast<uintptr_t>(data) % step == 0) return data;
        copies_.emplace_back(n_bytes);
        std::memcpy(copies_.back().data(), data, static_cast<size_t>(n_bytes));
        return copies_.back().data();
    }

    std::map<std::string, Weight> weights_;
    std::deque<ExportedBytes> views_;
    std::vector<AlignedBuffer> copies_;
};

/// A program and the weights that it reads.
struct BoundProgram {
    std::unique_ptr<BufferWeights> weights;
    std::unique_ptr<Program> program;
};

Observe observe_of(const std::string& name) {
    if (name.empty()) return Observe::kNothing;
    if (name == "squares") return Observe::kSquares;
    if (name == "moments") return Observe::kMoments;
    fail(ErrorKind::kConfig, "observe: expected squares or moments, found ", name);
}

using WeightRow = std::tuple<std::string, std::string, int64_t, int64_t, py::buffer, int64_t>;

std::unique_ptr<BoundProgram> make_program(const std::string& graph,
                                           const std::vector<WeightRow>& rows,
                                           const std::string& isa, const std::string& observe) {
    auto bound = std::make_unique<BoundProgram>();
    bound->weights = std::make_unique<BufferWeights>();
    for (const auto& [name, type, n_rows, n_cols, buffer, offset] : rows) {
        bound->weights->add(name, type, n_rows, n_cols, buffer, offset);
    }
    std::map<std::string, TensorType> types;
    for (const auto& row : rows)
        types[std::get<0>(row)] = info(std::string_view(std::get<1>(row))).type;
    const auto type_of = [&](const std::string& name) {
        const auto found = types.find(name);
        require(found != types.end(), ErrorKind::kFormat, "tensor '", name, "' is missing");
        return found->second;
    };
    bound->program = std::make_unique<Program>(graph, *bound->weights, type_of,
                                               make_cpu_backend(isa), observe_of(observe));
    return bound;
}

py::array_t<float> step(BoundProgram& self, KvCache& cache, const Ids& ids,
                        const Sequences& sequences, const Flags& wanted, int n_threads) {
    const int64_t width = self.program->output_width();
    int64_t n_wanted = 0;
    for (const uint8_t flag : as_span(wanted)) n_wanted += flag != 0 ? 1 : 0;
    py::array_t<float> out({n_wanted, width});
    float* rows = out.mutable_data();
    const Batch batch{as_span(ids), as_span(sequences), as_span(wanted)};
    Interrupts interrupts;
    try {
        const ReleasedGil free;
        self.program->step(batch, cache, n_threads, std::ref(interrupts),
                           [&](const float* data, int64_t n, int64_t stride) {
                               for (int64_t i = 0; i < n; ++i) {
                                   std::memcpy(rows + i * width, data + i * stride,
                                               static_cast<size_t>(width) * sizeof(float));
                               }
                           });
    } catch (const Error&) {
        if (interrupts.raised()) throw py::error_already_set();
        throw;
    }
    return out;
}

using TallyRow = std::tuple<std::string, py::array_t<double>, py::array_t<int64_t>>;

std::vector<TallyRow> tallies(BoundProgram& self) {
    std::vector<Tally> found;
    {
        const ReleasedGil free;  // a step that is running needs it to end
        found = self.program->tallies();
    }
    std::vector<TallyRow> rows;
    for (size_t i = 0; i < found.size(); ++i) {
        const TallyPlan& plan = self.program->tally_plans()[i];
        const py::array_t<double> sums({plan.n_mats, plan.cols}, found[i].sums.data());
        const py::array_t<int64_t> counts(plan.n_mats, found[i].counts.data());
        for (const std::string& name : plan.weights) rows.emplace_back(name, sums, counts);
    }
    return rows;
}

std::vector<std::vector<std::string>> inputs(const BoundProgram& self) {
    std::vector<std::vector<std::string>> found;
    for (const TallyPlan& plan : self.program->tally_plans()) found.push_back(plan.weights);
    return found;
}

std::optional<py::array_t<float>> moments(BoundProgram& self, size_t input) {
    const auto& plans = self.program->tally_plans();
    require(input < plans.size(), ErrorKind::kConfig, "moments: expected an input below ",
            plans.size(), ", found ", input);
    if (!plans[input].has_moments) return std::nullopt;
    py::array_t<float> out({plans[input].cols, kMomentBlock});
    float* sums = out.mutable_data();
    std::memset(sums, 0, static_cast<size_t>(out.nbytes()));
    const ReleasedGil free;  // as above
    self.program->moments(input, sums);
    return out;
}

KvType kv_type(const std::string& name) {
    if (name == "f32") return KvType::kF32;
    if (name == "f16") return KvType::kF16;
    if (name == "q8_0") return KvType::kQ8_0;
    fail(ErrorKind::kConfig, "kv_type: expected f32, f16 or q8_0, found ", name);
}

/// Every call waits for a step that uses the cache, so none may hold the GIL meanwhile.
void bind_cache(py::class_<KvCache>& cache) {
    cache
        .def(py::init([](const BoundProgram& program, const std::string& type, int64_t max_cells) {
                 return std::make_unique<KvCache>(program.program->kv_layout(kv_type(type)),
                                                  max_cells);
             }),
             py::arg("program"), py::arg("kv_type"), py::arg("max_cells"))
        .def("create", &KvCache::create, py::call_guard<ReleasedGil>(), py::arg("rope_alpha") = 1.0,
             "A new empty sequence's number. rope_alpha: its rotary base is times "
             "alpha^(dims / (dims - 2)).")
        .def("release", &KvCache::release, py::call_guard<ReleasedGil>(), py::arg("sequence"),
             "Forgets a sequence.")
        .def("length", &KvCache::length, py::call_guard<ReleasedGil>(), py::arg("sequence"),
             "Positions of a sequence.")
        .def("truncate", &KvCache::truncate, py::call_guard<ReleasedGil>(), py::arg("sequence"),
             py::arg("n"), "Keeps the first n positions.")
        .def("fork", &KvCache::fork, py::call_guard<ReleasedGil>(), py::arg("sequence"),
             py::arg("n"), "A new sequence that shares the first n positions.")
        .def_property_readonly(
            "allocated_bytes",
            py::cpp_function(&KvCache::allocated_bytes, py::call_guard<ReleasedGil>()),
            "Bytes of the pages allocated so far.");
}

}  // namespace

void bind_program(py::module_& m) {
    // Both classes first: a signature can only name what is known by then.
    py::class_<BoundProgram> program(m, "Program", "A graph bound to its weights.");
    py::class_<KvCache> cache(m, "KvCache", "Keys and values of many sequences, in shared pages.");
    bind_cache(cache);
    program
        .def(py::init(&make_program), py::arg("graph"), py::arg("weights"), py::arg("isa") = "",
             py::arg("observe") = "",
             "weights: rows of (name, type, rows, columns, buffer, byte offset). observe: add up "
             "what enters the matrices, the \"squares\" for `tallies` or also the \"moments\".")
        .def("step", &step, py::arg("cache"), py::arg("ids"), py::arg("sequences"),
             py::arg("wanted"), py::arg("n_threads"),
             "Runs rows and commits them to the cache; the logits (n_wanted, vocab) f32.")
        .def("tallies", &tallies,
             "What entered the matrices of an observing program in all steps so far, in the order "
             "in which they are used: (name, sums of squares (n_mats, cols), rows (n_mats,)). A "
             "step that raised may be counted in part.")
        .def("inputs", &inputs,
             "The names of the matrices that read the same, for each input that is observed.")
        .def("moments", &moments, py::arg("input"),
             "Sums of the products of an input's columns (cols, 256): each with all of its block "
             "of 256 columns, 0 past the last. None of experts, or if they were not asked for.")
        .def(
            "scratch_bytes",
            [](const BoundProgram& self, int64_t n_rows, int64_t n_outputs, int n_threads,
               int64_t n_cells) {
                require(n_cells > 0, ErrorKind::kConfig, "scratch_bytes: expected n_cells > 0");
                return self.program->scratch_bytes(n_rows, n_outputs, n_threads, n_cells);
            },
            py::arg("n_rows"), py::arg("n_outputs"), py::arg("n_threads"), py::arg("n_cells"),
            "Bytes of scratch memory for steps of a sequence that grows to n_cells positions.")
        .def(
            "kv_bytes_per_cell",
            [](const BoundProgram& self, const std::string& type) {
                return self.program->kv_layout(kv_type(type)).page_bytes / kPageCells;
            },
            py::arg("kv_type"), "Bytes of cache that one position takes.")
        .def_property_readonly(
            "output_width", [](const BoundProgram& self) { return self.program->output_width(); },
            "Numbers of an output row.")
        .def_property_readonly(
            "backend", [](const BoundProgram& self) { return self.program->backend().name(); },
            "Name of the backend and its instruction set.");
    m.def("isa_names", &isa_names, "Instruction sets in this build, best first.");
    m.def("isa_supported", &isa_supported, py::arg("name"), "Whether this CPU runs it.");
    m.def(
        "selected_isa", [](const std::string& forced) { return select_kernels(forced).name; },
        py::arg("forced") = "", "The instruction set that a program would use.");
}

}  // namespace plrt
