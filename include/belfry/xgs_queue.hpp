// XgsQueue: a queue that the driver runs on the CPU, between syncobjs and sync objects in GPU memory
// (cross-group synchronisation).
//
// Each job waits for the fences of syncobjs, then does its operations on sync objects in order, then signals
// syncobjs. So work that was submitted without the driver meets work that knows fences only. What is
// promised, and which error comes when: docs/submission.md.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "belfry/error.hpp"
#include "belfry/export.hpp"
#include "belfry/group.hpp"

namespace belfry {

class Vm;
namespace client {
struct Connection;
}

enum class XgsFormat : std::uint8_t { u32, u64 };

/// The operations of a job. Addresses are GPU addresses of the queue's VM; what lies there is looked up when
/// an operation is done.
class XgsOps {
  public:
    struct Op {
        enum class Kind : std::uint8_t { wait_le, wait_gt, set, add };
        Kind kind;
        XgsFormat format;
        bool inherit_error;
        std::uint64_t address;
        std::uint64_t value;
    };
    struct Wait {
        XgsFormat format = XgsFormat::u64;
        /// The object's error word becomes the queue's error state.
        bool inherit_error = false;
    };

    /// Until the value is at most `value`.
    XgsOps& wait_le(std::uint64_t address, std::uint64_t value, Wait wait = {XgsFormat::u64, false}) {
        return add_op({Op::Kind::wait_le, wait.format, wait.inherit_error, address, value});
    }
    /// Until the value is more than `value`.
    XgsOps& wait_gt(std::uint64_t address, std::uint64_t value, Wait wait = {XgsFormat::u64, false}) {
        return add_op({Op::Kind::wait_gt, wait.format, wait.inherit_error, address, value});
    }
    XgsOps& set(std::uint64_t address, std::uint64_t value, XgsFormat format = XgsFormat::u64) {
        return add_op({Op::Kind::set, format, false, address, value});
    }
    XgsOps& add(std::uint64_t address, std::uint64_t value, XgsFormat format = XgsFormat::u64) {
        return add_op({Op::Kind::add, format, false, address, value});
    }

    [[nodiscard]] std::span<const Op> ops() const { return ops_; }

  private:
    XgsOps& add_op(const Op& op) {
        ops_.push_back(op);
        return *this;
    }
    std::vector<Op> ops_;
};

struct XgsQueueOptions {
    /// Rung when operations of the queue have changed sync objects; -1 = none. May be closed afterwards.
    int sync_update_eventfd = -1;
};

struct XgsSubmitOptions {
    /// The signals get their fence at once, and it fails with ETIMEDOUT if the job takes longer than 5 s.
    /// Else they get it when the job is done: until then it is as if the job had not been submitted.
    bool bounded = false;
    bool error_barrier_before = false;  ///< ends the queue's error state before the operations
    bool error_barrier_after = false;   ///< the same after them
};

/// Move-only. Destroying it cancels what has not been done (ECANCELED).
class BELFRY_EXPORT XgsQueue {
  public:
    XgsQueue(XgsQueue&&) noexcept;
    XgsQueue& operator=(XgsQueue&&) noexcept;
    ~XgsQueue();

    /// Queues a job behind those before it. EBUSY: the queue is full.
    [[nodiscard]] Result<void> submit(const XgsOps& ops, std::span<const SyncOp> syncs = {},
                                      const XgsSubmitOptions& options = {});

    [[nodiscard]] std::uint32_t handle() const { return handle_; }

  private:
    friend class Vm;
    XgsQueue(std::shared_ptr<client::Connection> connection, std::uint32_t handle);
    std::shared_ptr<client::Connection> connection_;
    std::uint32_t handle_ = 0;
};

}  // namespace belfry
