// Queue: one ring buffer of a group; for kernel-mode groups also the jobs that wait for it or are in it.
//
// Owns   the ring and the jobs. Owned by its Group.
// Runs   in the driver actor.
// Called by Group, by GROUP_SUBMIT (push), and by Device when fences that a job waits for have signalled
// (advance)
//        or when the GPU has updated sync objects (check_done).
//
// The driver never looks into the ring of a user queue. A kernel-mode job is done when the queue's sync
// object, which the job's last instructions add to, has reached its number; that value can be forged by the
// program's own command streams, to its own harm only, and the job timeout bounds every fence
// (docs/architecture.md, "Fences").
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <boost/intrusive/list.hpp>

#include "base/owning_list.hpp"
#include "base/recycled.hpp"
#include "base/result.hpp"
#include "belfry/uapi/panthor_drm.h"
#include "belfry/uapi/user_queue.h"
#include "drivers/panthor/sync_ops.hpp"
#include "drm/buffer.hpp"
#include "drm/fence.hpp"
#include "drm/submit_ring.hpp"
#include "drm/timers.hpp"
#include "drm/work.hpp"

namespace belfry::panthor {

using base::Errno;
using base::Result;

class Device;
class Group;
class Queue;

struct QueueOptions {
    std::uint8_t priority;
    std::uint32_t ring_bytes;
};

/// What a job runs; without a stream it is only a point in the queue's order.
struct JobStream {
    std::uint64_t address = 0;
    std::uint32_t bytes = 0;
    std::uint32_t latest_flush = 0;
};

/// A kernel-mode job, from GROUP_SUBMIT until its fence signals.
class Job final : public boost::intrusive::list_base_hook<>,
                  public drm::SubmitJob,
                  public base::Recycled<Job> {
  public:
    Job(Queue& queue, const JobStream& stream);

    /// Until it is in the ring: then only its group's end ends it. Its fence keeps its place among the
    /// queue's.
    bool cancel() override;

    /// The job will not run before these have signalled.
    [[nodiscard]] drm::Dependencies& dependencies() { return dependencies_; }
    /// Signals when the job is done, or has failed. Made by arm().
    [[nodiscard]] const drm::FencePtr& finished() const { return finished_; }
    /// Numbers the job: from here on it must be pushed.
    void arm(drm::FencePtr finished) { finished_ = std::move(finished); }

  private:
    friend class Queue;

    Queue& queue_;
    JobStream stream_;
    drm::Dependencies dependencies_;
    drm::FencePtr finished_;
    std::optional<Errno> error_;  // it was cancelled
    bool waiting_ = true;
    std::uint64_t seqno_ = 0;     // of the queue's sync object; 0 until it is in the ring
    std::uint64_t ring_end_ = 0;  // counter of the ring's bytes
};

/// Whether queue number `queue` of `group` can be given a job. EINVAL.
[[nodiscard]] Result<void> check_job(const Group* group, std::uint32_t queue, const JobStream& stream);

class Queue final : public drm::Work {
  public:
    Queue(Device& device, Group& group, std::size_t index, const QueueOptions& options);
    ~Queue() override;
    Queue(const Queue&) = delete;
    Queue& operator=(const Queue&) = delete;

    /// Makes the ring, and maps it into the VM. `input` and `output` are the group's.
    Result<void> allocate(uapi::belfry_user_input& input, uapi::belfry_user_output& output);

    [[nodiscard]] const QueueOptions& options() const { return options_; }
    [[nodiscard]] std::size_t index() const { return index_; }
    [[nodiscard]] const drm::BufferPtr& ring() const { return ring_; }
    [[nodiscard]] std::uint64_t ring_va() const { return ring_va_; }
    [[nodiscard]] uapi::belfry_user_output& output() const { return *output_; }
    /// Whether INSERT is beyond EXTRACT.
    [[nodiscard]] bool has_work() const;
    void unmap();

    // Kernel mode.
    void push(std::unique_ptr<Job> job);
    /// Moves jobs whose dependencies have signalled into the ring, in order, as far as there is room.
    void advance() override;
    /// The group's state or the jobs have changed. Jobs in the ring have so much time, and no more; it stands
    /// still while the group waits for a slot, which is bounded by the scheduler.
    void update_clock();
    /// Signals the fences of jobs that the GPU has completed.
    void check_done();
    /// Ends all jobs with `error` and releases whoever waits for the queue's sync object.
    void fail_all(Errno error);
    /// A fence for the next job.
    [[nodiscard]] drm::FencePtr make_fence();
    [[nodiscard]] bool has_jobs() const { return !waiting_.empty() || !in_flight_.empty(); }
    void wake();

  private:
    void write_job(Job& job);
    void complete(Job& job, std::optional<Errno> error);
    void job_overdue();
    [[nodiscard]] uapi::belfry_sync_object64& sync_object() const;
    /// Where in sync_ a job leaves the queue's error state.
    [[nodiscard]] static std::uint64_t status_offset(std::uint64_t seqno);

    Device& device_;
    Group& group_;
    std::size_t index_;
    QueueOptions options_;
    drm::BufferPtr ring_;
    std::uint64_t ring_va_ = 0;
    uapi::belfry_user_input* input_ = nullptr;
    uapi::belfry_user_output* output_ = nullptr;

    // Kernel mode.
    drm::BufferPtr sync_;
    std::uint64_t sync_va_ = 0;
    std::uint64_t fence_context_;
    std::uint64_t last_fence_ = 0;
    std::uint64_t last_seqno_ = 0;
    std::uint64_t insert_ = 0;
    std::uint64_t done_ = 0;           // bytes before this belong to jobs that are done
    base::OwningList<Job> waiting_;    // for dependencies or room
    base::OwningList<Job> in_flight_;  // in the ring, or a point after one that is
    drm::Timer job_timer_;
    std::uint64_t time_left_;  // while that is not armed
};

}  // namespace belfry::panthor
