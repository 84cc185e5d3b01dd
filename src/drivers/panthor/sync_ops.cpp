#include "drivers/panthor/sync_ops.hpp"

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

bool Dependencies::ready() {
    while (!fences_.empty()) {
        if (signalled_.pending()) return false;
        if (fences_.back()->add_callback(signalled_)) return false;
        fences_.pop_back();
    }
    return true;
}

SyncOps::Signal* SyncOps::find(const drm_panthor_sync_op& op) {
    const auto found = index_.find({op.handle, op.timeline_value});
    return found != index_.end() ? &signals_[found->second] : nullptr;
}

Result<void> SyncOps::collect_signals(Ops ops) {
    for (const drm_panthor_sync_op& op : ops) {
        if (!is_signal(op)) continue;
        if (const auto sound = check_flags(op); !sound) return sound;
        if (find(op) != nullptr) continue;
        drm::SyncobjPtr syncobj = syncobjs_.find(op.handle);
        if (syncobj == nullptr) return kInvalid;
        auto present = syncobj->find_point(op.timeline_value);
        index_.emplace(std::pair{op.handle, op.timeline_value}, signals_.size());
        signals_.push_back({.syncobj = std::move(syncobj),
                            .point = op.timeline_value,
                            .node = drm::ChainNode::make(),
                            .fence = present ? std::move(*present) : nullptr});
    }
    return {};
}

Result<void> SyncOps::resolve_waits(Ops ops, Dependencies& dependencies) {
    for (const drm_panthor_sync_op& op : ops) {
        if (is_signal(op)) continue;
        if (const auto sound = check_flags(op); !sound) return sound;
        if (const Signal* const signal = find(op)) {
            if (signal->fence == nullptr) return kInvalid;
            dependencies.add(signal->fence);
            continue;
        }
        const drm::SyncobjPtr syncobj = syncobjs_.find(op.handle);
        if (syncobj == nullptr) return std::unexpected(Errno::no_entry);
        auto fence = syncobj->find_point(op.timeline_value);
        if (!fence) return kInvalid;
        dependencies.add(std::move(*fence));
    }
    return {};
}

void SyncOps::armed(Ops ops, const drm::FencePtr& finished) {
    for (const drm_panthor_sync_op& op : ops)
        if (is_signal(op)) find(op)->fence = finished;
}

void SyncOps::publish() {
    for (Signal& signal : signals_) {
        if (signal.point != 0)
            signal.syncobj->add_point(std::move(signal.node), std::move(signal.fence), signal.point);
        else
            signal.syncobj->replace(std::move(signal.fence));
    }
}

}  // namespace belfry::panthor
