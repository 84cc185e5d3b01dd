// ForeignSyncobjs: the syncobjs of a file whose handles are not the driver's own.
//
// Implemented by a transport whose programs' syncobjs are the kernel's (server/kernel_node.hpp). Called,
// through SyncOps, by whatever waits for or signals points. Runs    in the driver actor.
#pragma once

#include <cstdint>
#include <memory>

#include "drm/fence.hpp"

namespace belfry::drm {

/// A point that is to get a fence. Destroyed before it is published, it is as if it had never been.
class ForeignPoint {
  public:
    virtual ~ForeignPoint() = default;
    /// Cannot fail. The point is its own owner from here on, and passes the fence's signal on.
    virtual void publish(FencePtr fence) = 0;
};

class ForeignSyncobjs {
  public:
    virtual ~ForeignSyncobjs() = default;
    /// A fence that signals with the point's. ENOENT: no such syncobj; EINVAL: not submitted.
    virtual Result<FencePtr> find_point(std::uint32_t handle, std::uint64_t point) = 0;
    /// ENOENT.
    virtual Result<std::unique_ptr<ForeignPoint>> prepare(std::uint32_t handle, std::uint64_t point) = 0;
};

}  // namespace belfry::drm
