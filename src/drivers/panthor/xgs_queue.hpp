// XgsQueue: a queue that the driver runs on the CPU, between DRM syncobjs and sync objects in GPU memory:
// each job waits for fences, then does its operations on sync objects in order, then signals its fence.
//
// Owns    its jobs, and keeps its VM alive. Owned by its File.
// Runs    in the driver actor.
// Called  by XGS_QUEUE_SUBMIT (push), and by Device when fences have signalled or when memory says something
//         new about the operation that the first job is at (advance).
//
// Whatever is in memory is a hint: a job can be made to wait for ever, or not at all, by whoever writes
// there. So a job's fence is shown only when the job is done, already signalled (late publication); or, if
// asked, at once, and then the job fails when its time is over (bounded publication). docs/submission.md says
// all of what programs can rely on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/fd.hpp"
#include "belfry/uapi/panthor_drm.h"
#include "drivers/panthor/sync_ops.hpp"
#include "drivers/panthor/sync_waits.hpp"
#include "drivers/panthor/vm.hpp"
#include "drm/fence.hpp"
#include "drm/residency.hpp"
#include "drm/submit_ring.hpp"
#include "drm/timers.hpp"
#include "drm/work.hpp"

namespace belfry::panthor {

class Device;
class XgsQueue;

/// A job that is done is in no state: it is gone.
enum class XgsJobState : std::uint8_t {
    queued,   ///< waits for its turn and its fences
    running,  ///< its operations are being done
    parked,   ///< at a wait that memory does not satisfy
    doomed,   ///< has failed before its turn: its fence has been told, what it signals still comes in order
    failing,  ///< has failed: what is left of its waits is skipped, what it signals carries the error
};
enum class XgsJobEvent : std::uint8_t {
    turn,        ///< it is the queue's first, and its fences have signalled or do not matter any more
    wait_unmet,  ///< memory does not satisfy the wait that it is at
    look_again,  ///< memory may satisfy it now
    failed,      ///< an address is bad, or time is over
};
struct XgsJobStep {
    XgsJobState from;
    XgsJobEvent event;
    XgsJobState to;
};
inline constexpr XgsJobStep kXgsJobSteps[] = {
    {XgsJobState::queued, XgsJobEvent::turn, XgsJobState::running},
    {XgsJobState::queued, XgsJobEvent::failed, XgsJobState::doomed},
    {XgsJobState::doomed, XgsJobEvent::turn, XgsJobState::failing},
    {XgsJobState::running, XgsJobEvent::wait_unmet, XgsJobState::parked},
    {XgsJobState::running, XgsJobEvent::failed, XgsJobState::failing},
    {XgsJobState::parked, XgsJobEvent::look_again, XgsJobState::running},
    {XgsJobState::parked, XgsJobEvent::failed, XgsJobState::failing},
};
constexpr std::optional<XgsJobState> next(XgsJobState from, XgsJobEvent event) {
    for (const XgsJobStep& step : kXgsJobSteps)
        if (step.from == from && step.event == event) return step.to;
    return std::nullopt;
}

class XgsJob final : public drm::SubmitJob {
  public:
    /// The ops and flags of XGS_QUEUE_SUBMIT, which were found sound. `sync` has the signals collected.
    XgsJob(XgsQueue& queue, std::uint32_t flags, std::vector<uapi::drm_panthor_xgs_op> ops,
           drm::SyncOps sync);

    /// It fails at whatever it is at; what it signals still comes, with the error.
    bool cancel() override;
    /// The job does nothing before these have signalled.
    [[nodiscard]] drm::Dependencies& dependencies() { return dependencies_; }
    [[nodiscard]] drm::SyncOps& sync() { return sync_; }
    [[nodiscard]] const drm::FencePtr& finished() const { return finished_; }

  private:
    friend class XgsQueue;

    [[nodiscard]] bool bounded() const { return (flags_ & uapi::DRM_PANTHOR_XGS_QUEUE_SUBMIT_BOUNDED) != 0; }
    void step(XgsJobEvent event);

    XgsQueue& queue_;
    XgsJobState state_ = XgsJobState::queued;
    std::uint32_t flags_;
    std::vector<uapi::drm_panthor_xgs_op> ops_;
    std::size_t next_ = 0;  // what is before it has been done, and is never done again
    drm::SyncOps sync_;
    drm::Dependencies dependencies_;
    drm::FencePtr finished_;
    std::optional<Errno> error_;
    drm::Timer deadline_;
};

class XgsQueue final : public drm::Work {
  public:
    /// What may be queued: operations, syncs and one more for each job.
    static constexpr std::size_t kLoadMax = 16384;
    /// How long a bounded job may take.
    static constexpr std::uint64_t kBoundNs = 5'000'000'000;

    /// `updates` may be empty: the eventfd that is rung when operations have signalled.
    XgsQueue(Device& device, std::shared_ptr<Vm> vm, base::Fd updates);
    /// Ends what is queued with ECANCELED.
    ~XgsQueue() override;
    XgsQueue(const XgsQueue&) = delete;
    XgsQueue& operator=(const XgsQueue&) = delete;

    /// Whether `load` more fits. EINVAL: not even into an empty queue; EBUSY: not now.
    [[nodiscard]] Result<void> check_room(std::size_t load) const;
    /// A fence for the next job, which must be pushed.
    [[nodiscard]] drm::FencePtr make_fence();
    /// From here on the job's fence is signalled by the queue; shows it if the job is bounded.
    void push(std::unique_ptr<XgsJob> job, std::size_t load);
    void advance() override;
    void wake();

    void check_invariants() const;

  private:
    friend class XgsJob;

    enum class Progress : std::uint8_t { done, waits, slice_over };

    Progress run(XgsJob& job);
    [[nodiscard]] bool memory_is_there(const uapi::drm_panthor_xgs_op& op);
    bool do_wait(XgsJob& job, const uapi::drm_panthor_xgs_op& op);
    void do_signal(XgsJob& job, const uapi::drm_panthor_xgs_op& op);
    void begin(XgsJob& job);
    void fail(XgsJob& job, Errno error);
    void finish();
    void overdue(XgsJob& job);

    Device& device_;
    std::shared_ptr<Vm> vm_;
    base::Fd updates_;
    std::uint64_t fence_context_;
    std::uint64_t last_fence_ = 0;
    struct Queued {
        std::unique_ptr<XgsJob> job;
        std::size_t load;
    };
    std::deque<Queued> jobs_;
    std::size_t load_ = 0;
    std::uint32_t error_ = 0;       // the queue's error state: what signals put into error words
    std::optional<SyncWait> wait_;  // of the first job, while it is parked
    drm::Hold memory_;              // of what the next operation is about
    std::size_t slice_left_ = 0;
    bool signalled_ = false;  // since the last announcement
    drm::Timer next_slice_;
};

}  // namespace belfry::panthor
