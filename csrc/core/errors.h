#pragma once
/// Typed errors. Python sees each kind as the class of the same name in `pyllama_rt/errors.py`.

#include <sstream>
#include <stdexcept>
#include <string>

namespace plrt {

enum class ErrorKind {
    kFormat,
    kUnsupported,
    kConfig,
    kShape,
    kContext,
    kResource,
    kNumerics,
    kState,
    kCancelled,
};

class Error : public std::runtime_error {
  public:
    Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
    ErrorKind kind() const { return kind_; }

  private:
    ErrorKind kind_;
};

/// Throws Error(kind) with the parts written one after the other.
template <typename... Parts>
[[noreturn]] void fail(ErrorKind kind, const Parts&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    throw Error(kind, text.str());
}

/// Throws Error(kind) unless `ok`.
template <typename... Parts>
void require(bool ok, ErrorKind kind, const Parts&... parts) {
    if (!ok) fail(kind, parts...);
}

}  // namespace plrt
