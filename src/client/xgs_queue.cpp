#include "belfry/xgs_queue.hpp"

#include <utility>

#include <fmt/format.h>

#include "belfry/uapi/panthor_drm.h"
#include "belfry/vm.hpp"
#include "client/connection.hpp"
#include "client/sync_ops.hpp"
#include "client/vm_impl.hpp"

namespace belfry {
namespace {

uapi::drm_panthor_xgs_op wire_op(const XgsOps::Op& op) {
    // The kinds and formats are in the uAPI's order.
    return {.addr = op.address,
            .value = op.value,
            .op = static_cast<std::uint8_t>(op.kind),
            .format = static_cast<std::uint8_t>(op.format),
            .flags = op.inherit_error ? std::uint16_t{uapi::DRM_PANTHOR_XGS_OP_INHERIT_ERROR_WAIT}
                                      : std::uint16_t{0}};
}
static_assert(static_cast<int>(XgsOps::Op::Kind::wait_gt) == uapi::DRM_PANTHOR_XGS_OP_WAIT_GT &&
              static_cast<int>(XgsOps::Op::Kind::add) == uapi::DRM_PANTHOR_XGS_OP_SIGNAL_ADD &&
              static_cast<int>(XgsFormat::u64) == uapi::DRM_PANTHOR_XGS_OP_FORMAT_U64);

std::uint32_t wire_flags(const XgsSubmitOptions& options) {
    std::uint32_t flags = 0;
    if (options.error_barrier_before) flags |= uapi::DRM_PANTHOR_XGS_QUEUE_SUBMIT_ERROR_BARRIER_PRE;
    if (options.error_barrier_after) flags |= uapi::DRM_PANTHOR_XGS_QUEUE_SUBMIT_ERROR_BARRIER_POST;
    if (options.bounded) flags |= uapi::DRM_PANTHOR_XGS_QUEUE_SUBMIT_BOUNDED;
    return flags;
}

}  // namespace

XgsQueue::XgsQueue(std::shared_ptr<client::Connection> connection, std::uint32_t handle)
    : connection_(std::move(connection)), handle_(handle) {}
XgsQueue::XgsQueue(XgsQueue&& other) noexcept
    : connection_(std::move(other.connection_)), handle_(std::exchange(other.handle_, 0)) {}
XgsQueue& XgsQueue::operator=(XgsQueue&& other) noexcept {
    std::swap(connection_, other.connection_);
    std::swap(handle_, other.handle_);
    return *this;
}
XgsQueue::~XgsQueue() {
    if (connection_ == nullptr || handle_ == 0) return;
    uapi::drm_panthor_xgs_queue_destroy destroy{.handle = handle_};
    client::request_quietly(*connection_, DRM_IOCTL_PANTHOR_XGS_QUEUE_DESTROY, &destroy);
}

Result<void> XgsQueue::submit(const XgsOps& ops, std::span<const SyncOp> syncs,
                              const XgsSubmitOptions& options) {
    std::vector<uapi::drm_panthor_xgs_op> wire_ops;
    wire_ops.reserve(ops.ops().size());
    for (const XgsOps::Op& op : ops.ops()) wire_ops.push_back(wire_op(op));
    const std::vector wire_syncs = client::wire_syncs(syncs);
    uapi::drm_panthor_xgs_queue_submit submit{
        .handle = handle_,
        .flags = wire_flags(options),
        .ops = {.stride = sizeof(uapi::drm_panthor_xgs_op),
                .count = static_cast<std::uint32_t>(wire_ops.size()),
                .array = reinterpret_cast<std::uint64_t>(wire_ops.data())},
        .syncs = {.stride = sizeof(uapi::drm_panthor_sync_op),
                  .count = static_cast<std::uint32_t>(wire_syncs.size()),
                  .array = reinterpret_cast<std::uint64_t>(wire_syncs.data())}};
    return client::request(*connection_, DRM_IOCTL_PANTHOR_XGS_QUEUE_SUBMIT, &submit,
                           fmt::format("submitting {} operations and {} syncs to XGS queue {}",
                                       wire_ops.size(), wire_syncs.size(), handle_));
}

Result<XgsQueue> Vm::create_xgs_queue(const XgsQueueOptions& options) {
    uapi::drm_panthor_xgs_queue_create create{.vm_id = impl_->id,
                                              .eventfd_sync_update = options.sync_update_eventfd};
    if (const auto done = client::request(
            *impl_->connection, DRM_IOCTL_PANTHOR_XGS_QUEUE_CREATE, &create,
            fmt::format("creating an XGS queue with eventfd {}", options.sync_update_eventfd));
        !done)
        return std::unexpected(done.error());
    return XgsQueue(impl_->connection, create.handle);
}

}  // namespace belfry
