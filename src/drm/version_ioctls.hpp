// VERSION and GET_CAP: what a driver says of itself.
//
// Runs    in the driver actor.
// Called  by a driver's dispatch; what to answer is an argument, so nothing is kept here.
#pragma once

#include <cstdint>
#include <string_view>

#include "drm/call.hpp"

namespace belfry::drm {

struct VersionInfo {
    std::int32_t major;
    std::int32_t minor;
    std::int32_t patchlevel;
    std::string_view name;
    std::string_view date;
    std::string_view desc;
};

void version(const VersionInfo& info, Call& call);

/// Answers for a driver without modesetting that has PRIME, syncobjs and timelines.
[[nodiscard]] Result<void> get_cap(Call& call);

}  // namespace belfry::drm
