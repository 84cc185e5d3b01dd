// Rig for compute programs on a Vulkan device: one device a process, and words to run a shader on buffers.
//
// Knows nothing of Belfry: main.cpp sees to it that the device is Belfry's, or lavapipe, on which the tests
// themselves are tried.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "cli/vulkan_device.hpp"
#include "vulkan/shaders.hpp"

namespace belfry::vulkan_test {

using cli::VulkanArgument;
using cli::VulkanBuffer;
using cli::VulkanCommands;
using cli::VulkanDevice;
using cli::VulkanError;
using cli::VulkanHandle;
using cli::VulkanImage;
using cli::VulkanImageOptions;
using cli::VulkanKernel;
using cli::VulkanKernelOptions;

/// The process's device; made at the first call.
VulkanDevice& device();
/// Whether it is a CPU's, and so not Belfry's.
bool on_cpu();

/// The rest of the test is of what this device does not offer.
#define BELFRY_NEEDS(condition) \
    if (!(condition)) GTEST_SKIP() << "the device does not offer " #condition

struct Groups {
    std::uint32_t x = 1;
    std::uint32_t y = 1;
    std::uint32_t z = 1;
};

template <typename T>
VulkanBuffer buffer_of(const std::vector<T>& values) {
    VulkanBuffer buffer = device().make_buffer(values.size() * sizeof(T));
    std::memcpy(buffer.bytes.data(), values.data(), values.size() * sizeof(T));
    return buffer;
}

/// Of `count` values, all zero.
template <typename T>
VulkanBuffer zeros(std::size_t count) {
    return buffer_of(std::vector<T>(count));
}

template <typename T>
std::vector<T> values_of(const VulkanBuffer& buffer) {
    const auto values = buffer.as<T>();
    return {values.begin(), values.end()};
}

/// Words that look random, and are the same in each run.
class Random {
  public:
    explicit Random(std::uint32_t seed) : state_(seed) {}
    std::uint32_t word() {
        state_ = state_ * 6'364'136'223'846'793'005U + 1'442'695'040'888'963'407U;
        return static_cast<std::uint32_t>(state_ >> 32);
    }
    std::vector<std::uint32_t> words(std::size_t count) {
        std::vector<std::uint32_t> all(count);
        for (auto& each : all) each = word();
        return all;
    }

  private:
    std::uint64_t state_;
};

/// One dispatch of a shader by name, to its end.
inline void run(std::string_view name, Groups groups, std::span<const VulkanArgument> arguments,
                std::span<const std::uint32_t> push = {}, const std::vector<std::uint32_t>& constants = {}) {
    const VulkanKernel kernel = device().make_kernel(
        shader(name), arguments,
        {.push_bytes = static_cast<std::uint32_t>(push.size_bytes()), .constants = constants});
    VulkanCommands commands(device());
    commands.bind(kernel);
    if (!push.empty()) commands.push(kernel, std::as_bytes(push));
    commands.dispatch(groups.x, groups.y, groups.z).barrier();
    device().run(commands);
}

inline void run(std::string_view name, Groups groups, std::initializer_list<VulkanArgument> arguments,
                std::initializer_list<std::uint32_t> push = {},
                const std::vector<std::uint32_t>& constants = {}) {
    run(name, groups, std::span(arguments.begin(), arguments.size()), std::span(push.begin(), push.size()),
        constants);
}

/// Compares all, but tells only of the first few that differ.
template <typename T>
void expect_equal(const std::vector<T>& got, const std::vector<T>& expected) {
    ASSERT_EQ(got.size(), expected.size());
    unsigned told = 0;
    for (std::size_t i = 0; i < got.size() && told < 5; ++i)
        if (!(got[i] == expected[i])) {
            ADD_FAILURE() << "at " << i << " of " << got.size() << ": got " << got[i] << ", expected "
                          << expected[i];
            ++told;
        }
}

}  // namespace belfry::vulkan_test
