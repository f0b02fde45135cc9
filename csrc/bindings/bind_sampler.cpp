/// The sampler chain for Python.

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <optional>

#include "bindings/bindings.h"
#include "runtime/sampler.h"

namespace py = pybind11;

namespace plrt {
namespace {

using Logits = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Mask = py::array_t<uint32_t, py::array::c_style | py::array::forcecast>;

int32_t sample(Sampler& self, const Logits& logits, const std::optional<Mask>& allowed) {
    std::span<const uint32_t> bits;
    if (allowed) bits = {allowed->data(), static_cast<size_t>(allowed->size())};
    const std::span<const float> row{logits.data(), static_cast<size_t>(logits.size())};
    return self.sample(row, bits);
}

}  // namespace

void bind_sampler(py::module_& m) {
    py::class_<Sampler>(m, "Sampler", "The sampler chain of one request.")
        .def(py::init([](double temperature, int64_t top_k, double top_p, double min_p,
                         double repeat_penalty, double frequency_penalty, double presence_penalty,
                         int64_t repeat_last_n, uint64_t seed) {
                 return std::make_unique<Sampler>(
                     SamplingConfig{temperature, top_k, top_p, min_p, repeat_penalty,
                                    frequency_penalty, presence_penalty, repeat_last_n, seed});
             }),
             py::kw_only(), py::arg("temperature"), py::arg("top_k"), py::arg("top_p"),
             py::arg("min_p"), py::arg("repeat_penalty"), py::arg("frequency_penalty"),
             py::arg("presence_penalty"), py::arg("repeat_last_n"), py::arg("seed"))
        .def("accept", &Sampler::accept, py::arg("id"), "Counts a token as seen.")
        .def("sample", &sample, py::arg("logits"), py::arg("allowed") = py::none(),
             "Chooses a token from one row of logits; allowed: one bit a token, or None.");
}

}  // namespace plrt
