/// Measuring the machine, for Python.

#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "bindings/interrupts.h"
#include "core/errors.h"
#include "kernels/registry.h"
#include "runtime/roofline.h"

namespace py = pybind11;

namespace plrt {
namespace {

/// Runs `measure` without the GIL; Ctrl-C ends it with what the signal handler raised.
template <typename Measure>
double interruptible(int n_threads, double seconds, const Measure& measure) {
    Interrupts interrupts;
    try {
        const ReleasedGil free;
        return measure(Measurement{n_threads, seconds, std::ref(interrupts)});
    } catch (const Error&) {
        if (interrupts.raised()) throw py::error_already_set();
        throw;
    }
}

double measure_int8_peak(const std::string& isa, int n_threads, double seconds) {
    const auto kernel = select_kernels(isa).int8_peak;
    return interruptible(n_threads, seconds,
                         [&](const Measurement& how) { return int8_peak(kernel, how); });
}

double measure_read_bandwidth(int n_threads, double seconds) {
    const auto kernel = select_kernels("").read_bytes;
    return interruptible(n_threads, seconds,
                         [&](const Measurement& how) { return read_bandwidth(kernel, how); });
}

}  // namespace

void bind_roofline(py::module_& m) {
    m.def("measure_int8_peak", &measure_int8_peak, py::arg("isa"), py::arg("n_threads"),
          py::arg("seconds"),
          "Multiply-accumulates of int8 a second in registers; isa: \"\" for the best one.");
    m.def("measure_read_bandwidth", &measure_read_bandwidth, py::arg("n_threads"),
          py::arg("seconds"), "Bytes read from memory a second.");
    m.attr("BANDWIDTH_BYTES") = kBandwidthBytes;
}

}  // namespace plrt
