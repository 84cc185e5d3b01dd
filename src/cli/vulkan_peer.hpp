// A peer to measure against: how long Vulkan on the CPU takes from submitting nothing to being awake again.
//
// Mesa's lavapipe does what Belfry does, on the same machine: a software GPU behind a queue, with timeline
// semaphores. The library is loaded at run time, so Belfry neither links nor needs Vulkan.
#pragma once

#include <expected>
#include <string>

#include "cli/measure.hpp"

namespace belfry::cli {

struct PeerFigures {
    std::string device;      ///< the name that the driver gives its device
    Figure submit_to_woken;  ///< vkQueueSubmit of an empty submit until vkWaitSemaphores returns
};

/// Measures the peer; a CPU device (lavapipe) is preferred. Says what is missing where it cannot: the loader,
/// or a device with timeline semaphores.
std::expected<PeerFigures, std::string> vulkan_peer();

}  // namespace belfry::cli
