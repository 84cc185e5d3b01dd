// The SPIR-V of shaders/*.comp, which the build makes and puts into the program.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace belfry::cli {

/// By its file's name without the ending; there must be such a file.
std::span<const std::uint32_t> shader(std::string_view name);

}  // namespace belfry::cli
