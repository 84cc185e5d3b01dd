// What GROUP_SUBMIT, VM_BIND and XGS_QUEUE_SUBMIT say about waits and signals, in the steps of drm::SyncOps.
//
// Runs in the driver actor. Called by File's handlers.
#pragma once

#include <span>

#include "belfry/uapi/panthor_drm.h"
#include "drm/sync_ops.hpp"

namespace belfry::panthor {

using base::Errno;
using base::Result;

using SyncSpan = std::span<const uapi::drm_panthor_sync_op>;

/// Looks at a job's SIGNAL ops. EINVAL.
Result<void> collect_signals(drm::SyncOps& sync, SyncSpan ops);
/// Looks at a job's WAIT ops. EINVAL, ENOENT.
Result<void> resolve_waits(const drm::SyncOps& sync, SyncSpan ops, drm::Dependencies& dependencies);
/// The job's fence is `finished`.
void armed(drm::SyncOps& sync, SyncSpan ops, const drm::FencePtr& finished);

/// The sync ops of a queue_submit or a vm_bind_op.
template <typename Op>
[[nodiscard]] SyncSpan syncs_of(const Op& op) {
    return {reinterpret_cast<const uapi::drm_panthor_sync_op*>(op.syncs.array), op.syncs.count};
}

}  // namespace belfry::panthor
