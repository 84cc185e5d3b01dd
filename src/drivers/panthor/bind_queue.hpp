// BindQueue: what VM_BIND was asked to do in the background, in order, each once its dependencies have
// signalled.
//
// Owns    its jobs. A part of its Vm; while there are jobs the device keeps that alive.
// Runs    in the driver actor.
// Called  by VM_BIND (push), and by Device when fences that a job waits for have signalled (advance).
//
// A job's fence signals when the GPU can no longer touch what it unmapped. The next job need not wait for
// that: tables are changed as fast as dependencies allow, so that many unmaps share the GPU's flushes; the
// fences still signal in order.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

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

class BindJob {
  public:
    BindJob(BindQueue& queue, BindOp op);

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

    BindOp op_;
    drm::Dependencies dependencies_;
    drm::FencePtr finished_;
    std::optional<Errno> error_;
    bool follows_ = false;
    bool flushed_ = false;
};

class BindQueue final : public drm::Work {
  public:
    BindQueue(Device& device, Vm& vm);
    ~BindQueue() override;
    BindQueue(const BindQueue&) = delete;
    BindQueue& operator=(const BindQueue&) = delete;

    /// A fence for the next job.
    [[nodiscard]] drm::FencePtr make_fence();
    void push(std::unique_ptr<BindJob> job);
    void advance() override;
    void wake();
    /// The device goes: ends all jobs.
    void cancel();

  private:
    [[nodiscard]] bool memory_is_there(const BindJob& job);
    void run(BindJob& job);
    void flushed(BindJob& job);

    Device& device_;
    Vm& vm_;
    std::uint64_t fence_context_;
    std::uint64_t last_fence_ = 0;
    std::optional<Errno> last_error_;  // of the job that was run last
    std::deque<std::unique_ptr<BindJob>> waiting_;
    std::deque<std::unique_ptr<BindJob>> flushing_;  // the tables are changed
    drm::Hold memory_;                               // of what the first job maps, if groups run on the VM
    drm::Timer next_slice_;
};

}  // namespace belfry::panthor
