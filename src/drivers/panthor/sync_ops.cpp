#include "drivers/panthor/sync_ops.hpp"

#include <utility>

namespace belfry::panthor {
namespace {

using namespace belfry::uapi;

constexpr auto kInvalid = std::unexpected(Errno::invalid);
constexpr auto kSignal = static_cast<std::uint32_t>(DRM_PANTHOR_SYNC_OP_SIGNAL);
constexpr std::uint32_t kHandleTypeMask = DRM_PANTHOR_SYNC_OP_HANDLE_TYPE_MASK;

bool is_signal(const drm_panthor_sync_op& op) { return (op.flags & kSignal) != 0; }

Result<void> check_flags(const drm_panthor_sync_op& op) {
    const std::uint32_t type = op.flags & kHandleTypeMask;
    if ((op.flags & ~(kHandleTypeMask | kSignal)) != 0) return kInvalid;
    if (type > DRM_PANTHOR_SYNC_OP_HANDLE_TYPE_TIMELINE_SYNCOBJ) return kInvalid;
    if (type == DRM_PANTHOR_SYNC_OP_HANDLE_TYPE_SYNCOBJ && op.timeline_value != 0) return kInvalid;
    return {};
}

}  // namespace

Result<void> collect_signals(drm::SyncOps& sync, SyncSpan ops) {
    for (const drm_panthor_sync_op& op : ops) {
        if (!is_signal(op)) continue;
        if (const auto sound = check_flags(op); !sound) return sound;
        if (const auto sound = sync.collect_signal(op.handle, op.timeline_value); !sound) return sound;
    }
    return {};
}

Result<void> resolve_waits(const drm::SyncOps& sync, SyncSpan ops, drm::Dependencies& dependencies) {
    for (const drm_panthor_sync_op& op : ops) {
        if (is_signal(op)) continue;
        if (const auto sound = check_flags(op); !sound) return sound;
        auto fence = sync.resolve_wait(op.handle, op.timeline_value);
        if (!fence) return std::unexpected(fence.error());
        dependencies.add(std::move(*fence));
    }
    return {};
}

void armed(drm::SyncOps& sync, SyncSpan ops, const drm::FencePtr& finished) {
    for (const drm_panthor_sync_op& op : ops)
        if (is_signal(op)) sync.armed(op.handle, op.timeline_value, finished);
}

}  // namespace belfry::panthor
