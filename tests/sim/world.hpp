// World: what all programs of a run share.
#pragma once

#include <cstdint>
#include <list>
#include <vector>

#include "base/fd.hpp"
#include "sim/draw.hpp"
#include "unit/panthor_rig.hpp"

namespace belfry::panthor::sim {

/// A syncobj whose points one program's jobs signal, as a descriptor that any program may import.
struct SharedTimeline {
    unsigned owner = 0;
    base::Fd fd;
    std::vector<std::uint64_t> points{};  // of jobs that were accepted in this schedule, rising
    bool slow = false;                    // only a timeout may end what is behind them
    bool orphaned = false;                // the owner has died

    /// The last copy of the descriptor goes.
    void close(Rig& rig) {
        if (!fd) return;
        const drm::Inode inode = *drm::inode_of(fd.get());
        fd = base::Fd();
        rig.exports.close(inode);
    }
};

struct World {
    Rig& rig;
    Draw& draw;
    const Features& features;
    bool silenced = false;  // the firmware was silent for longer than it may be: any group may have timed out
    unsigned programs = 0;  // that there ever were
    std::list<SharedTimeline> timelines{};
};

/// What a job may wait for.
struct SomeFence {
    std::uint32_t syncobj;
    std::uint64_t point = 0;
    bool slow = false;  // nothing but a timeout may end what it waits for
};

inline constexpr std::uint64_t kTimeoutNs = 5'000'000'000;
inline constexpr std::uint64_t kReleased = 1ULL << 40;  // beyond all that anybody waits for

}  // namespace belfry::panthor::sim
