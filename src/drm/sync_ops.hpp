// SyncOps: the points of syncobjs that the jobs of one call (or one entry of a submit ring) wait for and
// signal. Dependencies: what one job waits for.
//
// Owns    SyncOps lives as long as the call; Dependencies is a member of a job.
// Runs    in the driver actor. Called in these steps, so that nothing is visible before everything has
//         succeeded (facts/uapi.md 1.3):
//           all jobs      collect_signal()
//           job by job    resolve_wait(), then the job's fence is made, then armed()
//           all jobs      are pushed; from here on nothing fails
//           publish()
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "drm/fence.hpp"
#include "drm/foreign_syncobjs.hpp"
#include "drm/syncobj.hpp"
#include "drm/syncobj_ioctls.hpp"

namespace belfry::drm {

/// Fences that must all have signalled.
class Dependencies {
  public:
    /// `signalled` is called when ready() has something new to find; what it may be: see FenceCallback.
    template <typename F>
    explicit Dependencies(F signalled) : signalled_(signalled) {}

    void add(FencePtr fence) { fences_.push_back(std::move(fence)); }
    /// Drops those that have signalled; true if none is left. Else has the next one call.
    [[nodiscard]] bool ready();
    /// Nothing is waited for any more.
    void clear() {
        signalled_.cancel();
        fences_.clear();
    }

  private:
    std::vector<FencePtr> fences_;
    FenceCallback signalled_;
};

class SyncOps {
  public:
    explicit SyncOps(SyncobjTable& syncobjs) : syncobjs_(&syncobjs) {}

    /// A job signals this point (0: the syncobj is binary). EINVAL.
    Result<void> collect_signal(std::uint32_t handle, std::uint64_t point);
    /// What a job that waits for this point waits for: what an earlier job of this call signals, or else what
    /// the syncobj holds; a later job is never waited for. EINVAL, ENOENT.
    [[nodiscard]] Result<FencePtr> resolve_wait(std::uint32_t handle, std::uint64_t point) const;
    /// The fence of the job that signals this point is `finished`.
    void armed(std::uint32_t handle, std::uint64_t point, const FencePtr& finished);
    /// The same for all points, if one job signals them all.
    void all_armed(const FencePtr& finished);
    /// Puts the fences into the syncobjs.
    void publish();

  private:
    /// One (syncobj, point) that jobs of this call signal, and the fence that it has so far.
    struct Signal {
        SyncobjPtr syncobj{};  // null: it is foreign
        std::uint64_t point{};
        ChainNodePtr node{};  // made before the point of no return
        FencePtr fence{};     // null: nothing is there yet
        std::unique_ptr<ForeignPoint> foreign{};
    };

    [[nodiscard]] const Signal* find(std::uint32_t handle, std::uint64_t point) const;
    [[nodiscard]] Result<Signal> make_signal(std::uint32_t handle, std::uint64_t point);

    SyncobjTable* syncobjs_;
    // In the order of their first mention. How many there are is the client's choice, so finding one must not
    // mean to look at all.
    std::vector<Signal> signals_;
    std::map<std::pair<std::uint32_t, std::uint64_t>, std::size_t> index_;  // by (handle, point)
};

}  // namespace belfry::drm
