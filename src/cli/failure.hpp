// How a command gives up: with a sentence on standard error and exit code 1.
#pragma once

#include <string>
#include <type_traits>
#include <utility>

#include "belfry/error.hpp"

namespace belfry::cli {

/// Thrown inside a command, caught in main.
struct Failure {
    std::string message;
};

/// The value, or a Failure with the error's message.
template <typename T>
T must(Result<T> result) {
    if (!result) throw Failure{std::move(result.error().message)};
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace belfry::cli
