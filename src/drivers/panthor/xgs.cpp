// The ioctls of XGS queues, and SYNC_UPDATE (facts/uapi.md 3.1, 3.2).

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "drivers/panthor/file.hpp"
#include "drivers/panthor/sync_ops.hpp"
#include "drivers/panthor/xgs_queue.hpp"

namespace belfry::panthor {
namespace {

using namespace belfry::uapi;

constexpr auto kInvalid = std::unexpected(Errno::invalid);
constexpr std::uint32_t kSubmitFlags = DRM_PANTHOR_XGS_QUEUE_SUBMIT_ERROR_BARRIER_PRE |
                                       DRM_PANTHOR_XGS_QUEUE_SUBMIT_ERROR_BARRIER_POST |
                                       DRM_PANTHOR_XGS_QUEUE_SUBMIT_BOUNDED;

Result<void> check_op(const drm_panthor_xgs_op& op) {
    const bool waits = op.op == DRM_PANTHOR_XGS_OP_WAIT_LE || op.op == DRM_PANTHOR_XGS_OP_WAIT_GT;
    const std::uint32_t flags = waits ? std::uint32_t{DRM_PANTHOR_XGS_OP_INHERIT_ERROR_WAIT} : 0;
    if (op.op > DRM_PANTHOR_XGS_OP_SIGNAL_ADD || op.format > DRM_PANTHOR_XGS_OP_FORMAT_U64) return kInvalid;
    if ((op.flags & ~flags) != 0 || op.pad != 0) return kInvalid;
    if (op.format == DRM_PANTHOR_XGS_OP_FORMAT_U32 && op.value > UINT32_MAX) return kInvalid;
    return {};
}

}  // namespace

Result<void> File::xgs_queue_create(drm::Call& call) {
    auto& args = call.args<drm_panthor_xgs_queue_create>();
    if (args.pad != 0) return kInvalid;
    auto updates = call.take_eventfd(args.eventfd_sync_update);
    if (!updates) return std::unexpected(updates.error());
    const auto* const vm = vms_.find(args.vm_id);
    if (vm == nullptr) return kInvalid;
    const auto handle = xgs_queues_.insert(std::make_unique<XgsQueue>(device_, *vm, std::move(*updates)));
    if (!handle) return std::unexpected(handle.error());
    args.handle = *handle;
    return {};
}

Result<void> File::xgs_queue_destroy(drm::Call& call) {
    const auto& args = call.args<drm_panthor_xgs_queue_destroy>();
    if (args.pad != 0) return kInvalid;
    if (!xgs_queues_.remove(args.handle)) return kInvalid;
    return {};
}

Result<XgsQueue*> File::find_xgs_queue(std::uint32_t handle, std::uint32_t flags,
                                       std::span<const drm_panthor_xgs_op> ops, std::size_t load) {
    if ((flags & ~kSubmitFlags) != 0) return kInvalid;
    for (const auto& op : ops)
        if (const auto sound = check_op(op); !sound) return std::unexpected(sound.error());
    const auto* const found = xgs_queues_.find(handle);
    if (found == nullptr) return kInvalid;
    if (const auto room = (*found)->check_room(load); !room) return std::unexpected(room.error());
    return found->get();
}

Result<void> File::xgs_queue_submit(drm::Call& call) {
    const auto& args = call.args<drm_panthor_xgs_queue_submit>();
    const std::span ops(reinterpret_cast<const drm_panthor_xgs_op*>(args.ops.array), args.ops.count);
    const auto syncs = syncs_of(args);
    const std::size_t load = ops.size() + syncs.size() + 1;
    const auto queue = find_xgs_queue(args.handle, args.flags, ops, load);
    if (!queue) return std::unexpected(queue.error());

    drm::SyncOps sync(syncobjs_);
    if (const auto sound = collect_signals(sync, syncs); !sound) return sound;
    auto job =
        std::make_unique<XgsJob>(**queue, args.flags, std::vector(ops.begin(), ops.end()), std::move(sync));
    if (const auto sound = resolve_waits(job->sync(), syncs, job->dependencies()); !sound) return sound;
    armed(job->sync(), syncs, job->finished());
    // The point of no return: from here on nothing fails, and the fence is signalled by the queue.
    (*queue)->push(std::move(job), load);
    return {};
}

Result<void> File::sync_update(drm::Call& call) {
    if (call.args<drm_panthor_sync_update>().pad != 0) return kInvalid;
    device_.wake_waiting_streams();
    device_.sync_waits().recheck();
    return {};
}

}  // namespace belfry::panthor
