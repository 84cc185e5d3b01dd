// What `belfry bench shaders` has a device do: a table of small programs, each of one shader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "cli/vulkan_device.hpp"

namespace belfry::cli {

/// A program that is ready on one device.
struct PreparedWork {
    std::vector<VulkanBuffer> buffers;  ///< the first one is the result
    std::optional<VulkanImage> image;
    VulkanHandle<VkSampler> sampler;
    VulkanKernel kernel;
    std::optional<VulkanCommands> commands;
};

struct ShaderWork {
    const char* name;
    const char* label;
    const char* unit;
    double units_per_run;  ///< units × seconds
    /// The result is floats, which may be so far apart; 0: any words, which must be equal.
    float tolerance;
    PreparedWork (*prepare)(VulkanDevice& device);
};

std::span<const ShaderWork> shader_works();

/// What is wrong with a result in the light of another device's. Null if nothing is.
const char* difference(const ShaderWork& work, std::span<const std::byte> result,
                       std::span<const std::byte> other);

}  // namespace belfry::cli
