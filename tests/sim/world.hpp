// World: what all programs of a run share.
#pragma once

#include <cstdint>

#include "sim/draw.hpp"
#include "unit/panthor_rig.hpp"

namespace belfry::panthor::sim {

struct World {
    Rig& rig;
    Draw& draw;
    const Features& features;
    bool silenced = false;  // the firmware was silent for longer than it may be: any group may have timed out
};

inline constexpr std::uint64_t kTimeoutNs = 5'000'000'000;
inline constexpr std::uint64_t kReleased = 1ULL << 40;  // beyond all that anybody waits for

}  // namespace belfry::panthor::sim
