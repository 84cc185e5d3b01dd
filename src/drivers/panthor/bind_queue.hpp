// BindQueue: what VM_BIND was asked to do in the background, in order, each once its dependencies have
// signalled.
//
// Owns    its jobs. A part of its Vm, which its jobs keep alive.
// Runs    in the driver actor.
// Called  by VM_BIND (push), and by Device when fences that a job waits for have signalled (advance).
//
// A job brings along all that it needs (docs/forward-progress.md, rule 3): it runs, and its fence signals,
// without an allocation.
//
// A job's fence signals when the GPU can no longer touch what it unmapped. The next job need not wait for
// that: tables are changed as fast as dependencies allow, so that many unmaps share the GPU's flushes; the
// fences still signal in order.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include <boost/intrusive/list.hpp>

#include "base/owning_list.hpp"
#include "drivers/panthor/sync_ops.hpp"
#include "drm/buffer.hpp"
#include "drm/fence.hpp"
#include "drm/residency.hpp"
#include "drm/timers.hpp"
#include "drm/work.hpp"

namespace belfry::panthor {

class BindQueue;
class Device;
class Vm;

/// An operation of VM_BIND that was found sound. Only whether its addresses are the VM's is found when it
/// runs.
struct BindOp {
    enum class Kind : std::uint8_t { map, unmap, sync_only };
    Kind kind = Kind::sync_only;
    std::uint64_t va = 0;
    std::uint64_t bytes = 0;
    drm::BufferPtr buffer;  ///< map only, like the next two
    std::uint64_t buffer_offset = 0;
    std::uint32_t flags = 0;
};

class BindJob : public boost::intrusive::list_base_hook<> {
  public:
    /// With all that it needs to run. ENOMEM.
    [[nodiscard]] static Result<std::unique_ptr<BindJob>> make(Vm& vm, BindOp op);
    ~BindJob();

    /// The job will not run before these have signalled.
    [[nodiscard]] drm::Dependencies& dependencies() { return dependencies_; }
    /// It is not done if the job before it has failed, and fails like that.
    void follow() { follows_ = true; }
    /// Made by arm().
    [[nodiscard]] const drm::FencePtr& finished() const { return finished_; }
    /// Numbers the job: from here on it must be pushed.
    void arm(drm::FencePtr finished) { finished_ = std::move(finished); }

  private:
    friend class BindQueue;
    struct Needs;

    BindJob(Vm& vm, BindOp op);

    std::shared_ptr<Vm> vm_;
    BindOp op_;
    std::unique_ptr<Needs> needs_;  // until it runs
    drm::Dependencies dependencies_;
    drm::FencePtr finished_;
    std::optional<Errno> error_;
    bool follows_ = false;
    bool flushed_ = false;
};

/// Links the queues that have jobs.
struct BindQueueHook
    : boost::intrusive::list_base_hook<boost::intrusive::tag<BindQueueHook>,
                                       boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {};

class BindQueue final : public drm::Work, public BindQueueHook {
  public:
    BindQueue(Device& device, Vm& vm);
    ~BindQueue() override;
    BindQueue(const BindQueue&) = delete;
    BindQueue& operator=(const BindQueue&) = delete;

    /// A fence for the next job.
    [[nodiscard]] drm::FencePtr make_fence();
    /// Allocates nothing.
    void push(std::unique_ptr<BindJob> job);
    void advance() override;
    void wake();
    /// The device goes: ends all jobs.
    void cancel();

  private:
    friend class BindJob;

    [[nodiscard]] bool memory_is_there(const BindJob& job);
    void run(BindJob& job);
    void flushed(BindJob& job);
    void end(std::unique_ptr<BindJob> job);

    Device& device_;
    Vm& vm_;
    std::uint64_t fence_context_;
    std::uint64_t last_fence_ = 0;
    std::optional<Errno> last_error_;  // of the job that was run last
    base::OwningList<BindJob> waiting_;
    base::OwningList<BindJob> flushing_;  // the tables are changed
    drm::Hold memory_;                    // of what the first job maps, if groups run on the VM
    drm::Timer next_slice_;
};

}  // namespace belfry::panthor
