#include "bindings/bindings.h"
#include "bindings/gil.h"

PYBIND11_MODULE(_core, m) {
    m.doc() =
        "The compiled half of pyllama_rt: block codecs, programs, caches, samplers, measurements.";
    plrt::bind_errors(m);
    plrt::bind_shutdown(m);
    plrt::bind_program(m);
    plrt::bind_quant(m);
    plrt::bind_roofline(m);
    plrt::bind_sampler(m);
}
