// Errors of the client library: values, never exceptions.
#pragma once

#include <expected>
#include <string>

namespace belfry {

/// Why something failed. `message` is a sentence that names the value that was wrong, for a person to read.
struct Error {
    int code = 0;  ///< errno
    std::string message;
};

template <typename T>
using Result = std::expected<T, Error>;

}  // namespace belfry
