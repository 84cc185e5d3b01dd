#include "cli/vulkan_peer.hpp"

#include <cstdint>

#include "cli/vulkan_device.hpp"

namespace belfry::cli {

std::expected<PeerFigures, std::string> vulkan_peer() try {
    constexpr std::uint32_t kRounds = 5'000;
    constexpr std::uint32_t kWarmUpRounds = 100;
    VulkanDevice peer({.prefer_cpu = true});
    Samples samples;
    samples.reserve(kRounds);
    Stopwatch watch;
    for (std::uint32_t round = 1; round <= kWarmUpRounds + kRounds; ++round) {
        watch.restart();
        const VkResult result = peer.submit_and_wait(nullptr);
        const double sample_ns = watch.elapsed_ns();
        if (result != VK_SUCCESS)
            return std::unexpected("an empty submit failed with VkResult " + std::to_string(result));
        if (round > kWarmUpRounds) samples.add(sample_ns);
    }
    return PeerFigures{.device = peer.properties().deviceName, .submit_to_woken = samples.figure()};
} catch (const VulkanError& error) {
    return std::unexpected(error.what());
}

}  // namespace belfry::cli
