#include "bindings/gil.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "core/errors.h"

namespace py = pybind11;

namespace plrt {
namespace {

constexpr auto kLongestWait = std::chrono::seconds(10);

std::atomic<bool> shutting_down{false};
std::atomic<int> n_released{0};
std::atomic<unsigned long> main_thread{0};

void finish_work() {
    shutting_down = true;
    const auto deadline = std::chrono::steady_clock::now() + kLongestWait;
    const py::gil_scoped_release free;
    while (n_released.load() > 0 && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

unsigned long main_thread_ident() {
    return py::module_::import("threading")
        .attr("main_thread")()
        .attr("ident")
        .cast<unsigned long>();
}

}  // namespace

ReleasedGil::ReleasedGil() {
    require(!shutting_down.load(), ErrorKind::kState, "step: Python is shutting down");
    n_released.fetch_add(1);
    state_ = PyEval_SaveThread();
}

ReleasedGil::~ReleasedGil() {
    PyEval_RestoreThread(state_);
    n_released.fetch_sub(1);
}

bool is_shutting_down() {
    return shutting_down.load();
}

bool is_main_thread() {
    return PyThread_get_thread_ident() == main_thread.load();
}

void bind_shutdown(py::module_&) {
    main_thread = main_thread_ident();
    py::module_::import("atexit").attr("register")(py::cpp_function(&finish_work));
}

}  // namespace plrt
