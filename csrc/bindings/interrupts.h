#pragma once
/// Ending long work early.

#include <pybind11/pybind11.h>

#include <chrono>

#include "bindings/gil.h"

namespace plrt {

/// Says when long work should end early: on Ctrl-C, looked for in the main thread alone (elsewhere
/// Python has no signals) and at most every 20 ms because that takes the GIL, and at shutdown.
class Interrupts {
  public:
    bool operator()() {
        if (is_shutting_down()) return true;
        const auto now = std::chrono::steady_clock::now();
        if (!in_main_thread_ || now < next_) return false;
        next_ = now + kInterval;
        const pybind11::gil_scoped_acquire gil;
        raised_ = PyErr_CheckSignals() != 0;
        return raised_;
    }
    /// Whether a signal handler has raised; its Python error is then set.
    bool raised() const { return raised_; }

  private:
    static constexpr auto kInterval = std::chrono::milliseconds(20);

    const bool in_main_thread_ = is_main_thread();
    std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + kInterval;
    bool raised_ = false;
};

}  // namespace plrt
