/// Maps plrt::Error onto the classes of pyllama_rt/errors.py.

#include <new>

#include "bindings/bindings.h"
#include "core/errors.h"

namespace py = pybind11;

namespace plrt {
namespace {

const char* class_name(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::kFormat: return "FormatError";
        case ErrorKind::kUnsupported: return "UnsupportedError";
        case ErrorKind::kConfig: return "ConfigError";
        case ErrorKind::kShape: return "ShapeError";
        case ErrorKind::kContext: return "ContextError";
        case ErrorKind::kResource: return "ResourceError";
        case ErrorKind::kNumerics: return "NumericsError";
        case ErrorKind::kState: return "StateError";
        case ErrorKind::kCancelled: return "CancelledError";
    }
    return "PyllamaRtError";
}

void set_python_error(const char* name, const char* text) {
    py::object type = py::module_::import("pyllama_rt.errors").attr(name);
    PyErr_SetString(type.ptr(), text);
}

}  // namespace

void bind_errors(py::module_&) {
    py::register_local_exception_translator([](std::exception_ptr pending) {
        try {
            if (pending) std::rethrow_exception(pending);
        } catch (const Error& error) {
            set_python_error(class_name(error.kind()), error.what());
        } catch (const std::bad_alloc&) {
            set_python_error("ResourceError",
                             "memory: an allocation failed; close other programs "
                             "or ask for a smaller context");
        }
    });
}

}  // namespace plrt
