// SyncOps: the waits and signals that come with the jobs of one call (GROUP_SUBMIT, or VM_BIND in the
// background). Dependencies: what one job waits for.
//
// Owns    SyncOps lives as long as the call; Dependencies is a member of a job.
// Runs    in the driver actor. Called by File, whose handlers take these steps, so that nothing is visible
//         before everything has succeeded (facts/uapi.md 1.3):
//           all jobs      collect_signals()
//           job by job    resolve_waits(), then the job's fence is made, then armed()
//           all jobs      are pushed; from here on nothing fails
//           publish()
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "belfry/uapi/panthor_drm.h"
#include "drm/fence.hpp"
#include "drm/syncobj.hpp"
#include "drm/syncobj_ioctls.hpp"

namespace belfry::panthor {

using base::Errno;
using base::Result;

/// Fences that must all have signalled.
class Dependencies {
  public:
    /// `signalled` is called when ready() has something new to find; what it may be: see FenceCallback.
    template <typename F>
    explicit Dependencies(F signalled) : signalled_(signalled) {}

    void add(drm::FencePtr fence) { fences_.push_back(std::move(fence)); }
    /// Drops those that have signalled; true if none is left. Else has the next one call.
    [[nodiscard]] bool ready();

  private:
    std::vector<drm::FencePtr> fences_;
    drm::FenceCallback signalled_;
};

class SyncOps {
  public:
    using Ops = std::span<const uapi::drm_panthor_sync_op>;

    explicit SyncOps(drm::SyncobjTable& syncobjs) : syncobjs_(syncobjs) {}

    /// Looks at a job's SIGNAL ops. EINVAL.
    Result<void> collect_signals(Ops ops);
    /// Looks at a job's WAIT ops: each finds what an earlier job of this call signals, or else what the
    /// syncobj holds; a later job is never waited for. EINVAL, ENOENT.
    Result<void> resolve_waits(Ops ops, Dependencies& dependencies);
    /// The job's fence is `finished`.
    void armed(Ops ops, const drm::FencePtr& finished);
    /// Puts the fences into the syncobjs.
    void publish();

  private:
    /// One (syncobj, point) that jobs of this call signal, and the fence that it has so far.
    struct Signal {
        drm::SyncobjPtr syncobj;
        std::uint64_t point;
        drm::ChainNodePtr node;  // made before the point of no return
        drm::FencePtr fence;     // null: nothing is there yet
    };

    [[nodiscard]] Signal* find(const uapi::drm_panthor_sync_op& op);

    drm::SyncobjTable& syncobjs_;
    // In the order of their first mention. How many there are is the client's choice, so finding one must not
    // mean to look at all.
    std::vector<Signal> signals_;
    std::map<std::pair<std::uint32_t, std::uint64_t>, std::size_t> index_;  // by (handle, point)
};

/// The sync ops of a queue_submit or a vm_bind_op.
template <typename Op>
[[nodiscard]] SyncOps::Ops syncs_of(const Op& op) {
    return {reinterpret_cast<const uapi::drm_panthor_sync_op*>(op.syncs.array), op.syncs.count};
}

}  // namespace belfry::panthor
