// The sync operations of a submission as they travel.
//
// Runs on any thread. Internal to the client library.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "belfry/group.hpp"
#include "belfry/uapi/panthor_drm.h"

namespace belfry::client {

inline std::vector<uapi::drm_panthor_sync_op> wire_syncs(std::span<const SyncOp> syncs) {
    std::vector<uapi::drm_panthor_sync_op> ops;
    ops.reserve(syncs.size());
    for (const SyncOp& sync : syncs) {
        const auto type = sync.point != 0 ? uapi::DRM_PANTHOR_SYNC_OP_HANDLE_TYPE_TIMELINE_SYNCOBJ
                                          : uapi::DRM_PANTHOR_SYNC_OP_HANDLE_TYPE_SYNCOBJ;
        const auto direction =
            sync.signal ? uapi::DRM_PANTHOR_SYNC_OP_SIGNAL : uapi::DRM_PANTHOR_SYNC_OP_WAIT;
        ops.push_back({.flags = static_cast<std::uint32_t>(type) | static_cast<std::uint32_t>(direction),
                       .handle = sync.syncobj.handle(),
                       .timeline_value = sync.point});
    }
    return ops;
}

}  // namespace belfry::client
