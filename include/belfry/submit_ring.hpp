// SubmitRing: kernel-mode work in batches through shared memory, with completions back, for programs that
// have much to submit and want fences for it.
//
// Entries are pushed, published together by submit(), and each completes once: the driver looks at the ring
// by itself while there is work, so a program that is busy makes neither requests nor system calls. What is
// promised, and which error comes when: docs/submission.md.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "belfry/error.hpp"
#include "belfry/export.hpp"
#include "belfry/sync_object.hpp"
#include "belfry/uapi/submit_ring.h"

namespace belfry {

class Device;
class Group;
class Syncobj;
class XgsQueue;

/// An entry of a submit ring. `user_data` comes back with its completion.
struct BELFRY_EXPORT SubmitEntry {
    uapi::belfry_submit_entry raw{};  ///< for what is not below: VM_BIND, further points

    /// Completes once its wait point has signalled, also if that is not there yet; then signals its signal
    /// point.
    static SubmitEntry nop(std::uint64_t user_data);
    /// The stream of `bytes` at GPU address `address`, on queue `queue` of a kernel-mode group.
    static SubmitEntry job(std::uint64_t user_data, const Group& group, std::uint32_t queue,
                           std::uint64_t address, std::uint32_t bytes);
    /// `op_count` operations (uapi::drm_panthor_xgs_op) that lie in the ring's arena, `offset` from its
    /// start.
    static SubmitEntry xgs(std::uint64_t user_data, const XgsQueue& queue, std::uint32_t offset,
                           std::uint32_t op_count);
    /// Completes with ETIME when the time has passed.
    static SubmitEntry timeout(std::uint64_t user_data, std::chrono::nanoseconds time);
    /// Cancels the entry before it, which must have link(), if that is not complete when the time has passed.
    static SubmitEntry time_limit(std::uint64_t user_data, std::chrono::nanoseconds time);
    /// Cancels the oldest entry with the user_data `whom`: ENOENT, EALREADY.
    static SubmitEntry cancel(std::uint64_t user_data, std::uint64_t whom);

    /// Waits for this point (0: a binary syncobj). One an entry; more lie in the arena.
    SubmitEntry& wait(const Syncobj& syncobj, std::uint64_t point = 0);
    /// This point gets the entry's fence.
    SubmitEntry& signal(const Syncobj& syncobj, std::uint64_t point = 0);
    /// The next entry starts when this one has completed, and is cancelled if it fails.
    SubmitEntry& link() { return flag(uapi::BELFRY_SUBMIT_LINK); }
    /// Starts when all before it have completed; all behind it wait for it.
    SubmitEntry& drain() { return flag(uapi::BELFRY_SUBMIT_DRAIN); }
    /// Completes only if it fails.
    SubmitEntry& quiet() { return flag(uapi::BELFRY_SUBMIT_NO_SUCCESS_COMPLETION); }
    /// Completes when the driver has accepted it.
    SubmitEntry& at_acceptance() { return flag(uapi::BELFRY_SUBMIT_COMPLETE_AT_ACCEPTANCE); }

  private:
    SubmitEntry& flag(unsigned bit) {
        raw.flags = static_cast<std::uint8_t>(raw.flags | bit);
        return *this;
    }
};

struct Completion {
    std::uint64_t user_data = 0;
    int error = 0;  ///< 0, or a positive errno
};

struct SubmitRingOptions {
    std::uint32_t entries = 256;    ///< of the submission queue, 1 ... 4096; rounded up to a power of two
    std::uint32_t completions = 0;  ///< of the completion queue, up to 8192; 0: twice as many
    std::uint32_t arena_bytes = 0;  ///< for what entries refer to by offset; up to 16 MiB
    int completions_eventfd = -1;   ///< rung after each batch of completions. May be closed afterwards
};

/// Move-only. Destroying it cancels nothing that the driver has accepted; what it has not dies untold. One
/// thread at a time may push and submit, one at a time may reap; they may be two. Any may wait.
class BELFRY_EXPORT SubmitRing {
  public:
    SubmitRing(SubmitRing&&) noexcept;
    SubmitRing& operator=(SubmitRing&&) noexcept;
    ~SubmitRing();

    /// Writes an entry, which is published by submit(). False: the queue is full; submit, reap, try again, or
    /// sleep in wait_for_room().
    [[nodiscard]] bool push(const SubmitEntry& entry);
    /// Publishes what was pushed. Makes one request if nobody looks at the ring. EINVAL: the ring has ended.
    [[nodiscard]] Result<void> submit();

    /// Takes completions, in the order in which they came, into `into`: how many there were. Never blocks;
    /// makes a request only if entries had stopped for lack of room for their completions and nobody looks.
    [[nodiscard]] std::size_t reap(std::span<Completion> into);
    /// How many there are to be taken.
    [[nodiscard]] std::uint32_t completed() const;
    /// Until `count` completions (at most the completion queue's length) are there to be taken: spins, then
    /// sleeps, and is woken once, by the one that makes the count up. ETIMEDOUT; ECANCELED or EINVAL: the
    /// ring has ended.
    [[nodiscard]] Result<void> wait(std::uint32_t count = 1, const WaitOptions& options = {}) const;
    /// Until push() has room. Errors as of wait().
    [[nodiscard]] Result<void> wait_for_room(const WaitOptions& options = {}) const;

    /// The two halves of a wait() that sleeps by other means, as SyncObject::begin_wait() and end_wait():
    /// nothing if `count` completions are there, or the ring has ended.
    [[nodiscard]] std::optional<FutexWait> begin_wait(std::uint32_t count = 1) const;
    void end_wait() const;
    /// 0, or why the ring has ended: ECANCELED, EINVAL.
    [[nodiscard]] int error() const;

    /// Shared with the driver, which copies what an entry refers to when it takes it: from then on (sq_head
    /// has passed it, or it has completed) it may be written again.
    [[nodiscard]] std::span<std::byte> arena() const;
    [[nodiscard]] std::uint32_t handle() const;
    /// The two pages of shared counters, for those who wait by other means (io_uring).
    [[nodiscard]] uapi::belfry_submit_client& client_page() const;
    [[nodiscard]] const uapi::belfry_submit_consumer& consumer_page() const;
    /// The counter that wait() would count from: completions taken so far, modulo 2^32.
    [[nodiscard]] std::uint32_t reaped() const;
    /// How often submit() and reap() made a request.
    [[nodiscard]] std::uint64_t wake_ups() const;

  private:
    friend class Device;
    struct Impl;
    explicit SubmitRing(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace belfry
