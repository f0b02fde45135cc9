#pragma once
/// Letting other Python threads run during long work, safely until the very end of the process.

#include <pybind11/pybind11.h>

namespace plrt {

/// Releases the GIL for its lifetime. While one lives, the interpreter does not finalise: a thread
/// that asked for the GIL after that would be ended inside a C++ frame.
class ReleasedGil {
  public:
    /// Throws Error(kState) once the interpreter has begun to shut down.
    ReleasedGil();
    ~ReleasedGil();
    ReleasedGil(const ReleasedGil&) = delete;
    ReleasedGil& operator=(const ReleasedGil&) = delete;

  private:
    PyThreadState* state_;
};

/// Whether the interpreter has begun to shut down; long work should end.
bool is_shutting_down();

/// Whether this is the thread in which Python runs signal handlers.
bool is_main_thread();

/// At exit: waits until no ReleasedGil is left, for some seconds at most.
void bind_shutdown(pybind11::module_& m);

}  // namespace plrt
