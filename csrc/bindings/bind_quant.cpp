/// quantize and dequantize on matrices; pyllama_rt/quant/codec.py prepares the arrays.

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "core/checked.h"
#include "core/errors.h"
#include "core/tensor_type.h"
#include "core/thread_pool.h"
#include "quant/codec.h"

namespace py = pybind11;

namespace plrt {
namespace {

constexpr int64_t kWorkGrain = 1 << 14;  // elements; less work than that is not worth a thread

int64_t rows_per_grain(int64_t n_cols) {
    return 1 + kWorkGrain / std::max<int64_t>(1, n_cols);
}

/// A matrix position, ordered as the matrix is read.
struct Position {
    int64_t row = std::numeric_limits<int64_t>::max();
    int64_t col = 0;
    bool exists() const { return row != std::numeric_limits<int64_t>::max(); }
};

/// Quantises all rows, or returns the position of the first number that the type cannot hold.
Position quantize_matrix(const TensorTypeInfo& type, const float* x, uint8_t* out, int64_t n_rows,
                         int64_t n_cols, const Guidance& guidance, int n_threads) {
    const int64_t stride = row_bytes(type.type, n_cols);
    std::mutex mutex;
    Position first_bad;
    const auto work = [&](int64_t begin, int64_t end) {
        const int64_t bad = first_unstorable(type.type, x + begin * n_cols, (end - begin) * n_cols);
        if (bad >= 0) {
            const Position position{begin + bad / n_cols, bad % n_cols};
            const std::lock_guard<std::mutex> lock(mutex);
            if (position.row < first_bad.row) first_bad = position;
            return;
        }
        quantize_rows(type.type, x + begin * n_cols, out + begin * stride, end - begin, n_cols,
                      guidance);
    };
    parallel_for(n_threads, n_rows, rows_per_grain(n_cols), work);
    return first_bad;
}

using Floats = py::array_t<float, py::array::c_style>;

std::unique_ptr<Feedback> make_feedback(const Floats& importance, const Floats& correlations,
                                        int n_threads) {
    const int64_t n = importance.size();
    require(importance.ndim() == 1 && correlations.ndim() == 2 && correlations.shape(0) == n &&
                correlations.shape(1) == Feedback::kWindow,
            ErrorKind::kShape, "Feedback: expected n numbers and n x ", Feedback::kWindow,
            " correlations, found ", n, " and another shape");
    const ReleasedGil free;
    return std::make_unique<Feedback>(importance.data(), correlations.data(), n, n_threads);
}

py::array_t<uint8_t> quantize(const std::string& type_name, const Floats& x, int n_threads,
                              const std::optional<Floats>& importance,
                              const std::optional<const Feedback*>& feedback) {
    require(x.ndim() == 2, ErrorKind::kShape, "quantize: expected a matrix, found ", x.ndim(),
            " dimensions");
    const TensorTypeInfo& type = info(type_name);
    const int64_t n_rows = x.shape(0);
    const int64_t n_cols = x.shape(1);
    py::array_t<uint8_t> out({n_rows, row_bytes(type.type, n_cols)});
    require(!importance || (importance->ndim() == 1 && importance->size() == n_cols),
            ErrorKind::kShape, "quantize: expected importance of ", n_cols, " columns");
    const Feedback* known = feedback.value_or(nullptr);
    require(known == nullptr || known->columns() == n_cols, ErrorKind::kShape,
            "quantize: expected feedback of ", n_cols, " columns");
    const Guidance guidance{importance ? importance->data() : nullptr, known};
    const float* source = x.data();
    uint8_t* target = out.mutable_data();
    Position bad;
    {
        const ReleasedGil free;
        bad = quantize_matrix(type, source, target, n_rows, n_cols, guidance, n_threads);
    }
    require(!bad.exists(), ErrorKind::kNumerics, "quantize: row ", bad.row, ", column ", bad.col,
            ": expected a finite number within the range of ", type.name, ", found ",
            bad.exists() ? source[bad.row * n_cols + bad.col] : 0.0f,
            "; check the source of the weights or choose a type of wider range");
    return out;
}

py::array_t<float> dequantize(const std::string& type_name,
                              const py::array_t<uint8_t, py::array::c_style>& blocks,
                              int64_t n_rows, int64_t n_cols, int n_threads) {
    const TensorTypeInfo& type = info(type_name);
    const int64_t stride = row_bytes(type.type, n_cols);
    const int64_t expected = checked_mul(n_rows, stride);
    require(blocks.size() == expected, ErrorKind::kShape, "dequantize: expected ", expected,
            " bytes for ", n_rows, " x ", n_cols, " of ", type.name, ", found ", blocks.size());
    py::array_t<float> out({n_rows, n_cols});
    const uint8_t* source = blocks.data();
    float* target = out.mutable_data();
    const ReleasedGil free;
    parallel_for(n_threads, n_rows, rows_per_grain(n_cols), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
            dequantize_row(type.type, source + row * stride, target + row * n_cols, n_cols);
        }
    });
    return out;
}

}  // namespace

void bind_quant(py::module_& m) {
    m.def("default_threads", &default_threads,
          "Physical cores inside the affinity mask and the cgroup quota; at least 1.");
    py::class_<Feedback>(m, "Feedback", "Rounding with feedback for the columns of a matrix.")
        .def(py::init(&make_feedback), py::arg("importance").noconvert(),
             py::arg("correlations").noconvert(), py::arg("n_threads"),
             "importance: (n,) f32 mean squares. correlations: (n, 256) f32, each column's with "
             "those of its window.");
    m.def("quantize", &quantize, py::arg("type"), py::arg("x").noconvert(), py::arg("n_threads"),
          py::arg("importance").noconvert() = py::none(), py::arg("feedback") = py::none(),
          "(n_rows, n_cols) f32 to (n_rows, row_bytes) u8. importance: (n_cols,) f32.");
    m.def("dequantize", &dequantize, py::arg("type"), py::arg("blocks").noconvert(),
          py::arg("n_rows"), py::arg("n_cols"), py::arg("n_threads"),
          "Bytes of n_rows rows to (n_rows, n_cols) f32.");
}

}  // namespace plrt
