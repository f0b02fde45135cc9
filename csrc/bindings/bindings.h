#pragma once
/// One function per area; module.cpp calls them all.

#include <pybind11/pybind11.h>

namespace plrt {

void bind_errors(pybind11::module_& m);
void bind_program(pybind11::module_& m);
void bind_quant(pybind11::module_& m);
void bind_roofline(pybind11::module_& m);
void bind_sampler(pybind11::module_& m);

}  // namespace plrt
