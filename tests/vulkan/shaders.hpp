// The SPIR-V of shaders/*.comp and of the variants that tests/CMakeLists.txt names.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace belfry::vulkan_test {

std::span<const std::uint32_t> shader(std::string_view name);

}  // namespace belfry::vulkan_test
