// Group and Queue: command streams that run on the GPU, submitted by the driver or by the program itself.
//
// A group is scheduled as one: it has a group slot of the GPU with all its queues, or none. With user
// submission the program writes commands into a queue's ring and rings its doorbell; no request is made and
// no system call, except when the group has no slot (a kick) or the GPU sleeps. With kernel-mode submission
// the driver does it, in a request, and its fences go into syncobjs.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "belfry/command_writer.hpp"
#include "belfry/error.hpp"
#include "belfry/export.hpp"
#include "belfry/sync_object.hpp"
#include "belfry/syncobj.hpp"

namespace belfry {

class Vm;
class Group;

struct QueueOptions {
    std::uint32_t ring_bytes = 65536;  ///< power of two, 4096 ... 65536
    std::uint8_t priority = 0;         ///< 0 ... 15, inside the group
};

enum class GroupPriority : std::uint8_t { low = 0, medium = 1, high = 2, realtime = 3 };

struct GroupOptions {
    bool user_submit = true;
    GroupPriority priority = GroupPriority::medium;
    std::vector<QueueOptions> queues = {QueueOptions{}};
    /// User submission only. Eventfds that the driver rings when the group's streams have updated sync
    /// objects, and when status() has changed; -1 = none. May be closed afterwards.
    int sync_update_eventfd = -1;
    int group_state_eventfd = -1;
};

/// How a group is. `message` names queue, instruction and address of the fault that ended it.
struct GroupStatus {
    bool alive = true;
    bool timed_out = false;
    bool fatal_fault = false;
    std::uint32_t fatal_queues = 0;  ///< bit mask
    std::string message;             ///< empty while it is alive
};

/// A queue of a user-submission group. One thread at a time may submit to it.
class BELFRY_EXPORT Queue {
  public:
    Queue(Queue&&) noexcept;
    Queue& operator=(Queue&&) noexcept;
    ~Queue();

    /// Room for `words` instructions in the ring, where they are written and later executed. Waits while the
    /// ring is full, as long as the GPU makes room: that is back-pressure, not an error. Fails if the group
    /// has ended (ECANCELED), if the time is over (ETIMEDOUT), or if `words` is more than the ring holds
    /// (EINVAL). Nothing is visible to the GPU before submit(); a writer that is not submitted is simply
    /// dropped by the next begin().
    [[nodiscard]] Result<CommandWriter> begin(std::size_t words,
                                              std::optional<std::chrono::nanoseconds> timeout = {});
    /// As begin(), but nothing if there is no room now.
    [[nodiscard]] std::optional<CommandWriter> try_begin(std::size_t words);

    /// Publishes what the writer holds and rings the doorbell. Padded with NOPs to 64 bytes, as hardware
    /// wants it. Makes a request only if the group has no slot, and a system call only then or if the GPU
    /// sleeps. EOVERFLOW: more was written than begin() was asked for; nothing is published.
    [[nodiscard]] Result<void> submit(const CommandWriter& writer);

    /// As submit(), without the doorbell: for one that somebody else rings, as an entry of an io_uring does
    /// (uring.hpp). The GPU may start before it.
    [[nodiscard]] Result<void> publish(const CommandWriter& writer);

    /// Rings the doorbell alone: streams of the group that wait for a sync object look at it again.
    [[nodiscard]] Result<void> ring();

    /// What rings the doorbell by other means than ring(): a store of 1 to `word`, then, because the GPU may
    /// sleep, a write of 8 bytes to `wake_up`. Reaches the group while it has a slot, so ring_off_slot()
    /// belongs behind it. Valid as long as the queue; not to be closed.
    struct Doorbell {
        std::uint32_t* word;
        int wake_up;
    };
    [[nodiscard]] Doorbell doorbell() const;
    /// After a store to the doorbell: makes the request that gets the group a slot, if it has none.
    [[nodiscard]] Result<void> ring_off_slot();

    [[nodiscard]] std::uint32_t ring_bytes() const;
    /// Bytes published and bytes done since the group exists. What is done may have work in flight still.
    [[nodiscard]] std::uint64_t inserted() const;
    [[nodiscard]] std::uint64_t extracted() const;
    /// How often submit() had to ask the driver for a slot, and had to wake the GPU.
    [[nodiscard]] std::uint64_t kicks() const;
    [[nodiscard]] std::uint64_t gpu_wake_ups() const;

  private:
    friend class Vm;
    friend class Group;
    struct Impl;
    explicit Queue(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

/// A sync operation of a kernel-mode job.
struct SyncOp {
    const Syncobj& syncobj;
    bool signal = false;      ///< else: wait
    std::uint64_t point = 0;  ///< 0 = binary
};

/// Move-only. Destroying it ends its work: what has not run never will.
class BELFRY_EXPORT Group {
  public:
    Group(Group&&) noexcept;
    Group& operator=(Group&&) noexcept;
    ~Group();

    /// User submission only.
    [[nodiscard]] Queue& queue(std::size_t index = 0);

    /// Kernel mode only: queues the stream of `bytes` at GPU address `address` (a multiple of 64) after the
    /// waits; the signals' fences signal when it is done, or has failed. `bytes` 0: only the syncs, in the
    /// queue's order. The last registers (DeviceInfo::unpreserved_registers) are the driver's.
    [[nodiscard]] Result<void> submit(std::size_t queue, std::uint64_t address, std::uint32_t bytes,
                                      std::span<const SyncOp> syncs = {});

    /// Asks the driver.
    [[nodiscard]] Result<GroupStatus> status() const;
    /// What requests and entries of submit rings name it by.
    [[nodiscard]] std::uint32_t handle() const;

    /// User submission only. From now on this group alone updates `object`, which lies in its VM. When the
    /// group ends, whatever ends it (its process too), the object gets the value UINT64_MAX and the error
    /// BELFRY_SYNC_OBJECT_ENDED: whoever waits for it, in whichever process, on the GPU or in an XGS queue,
    /// goes on and can tell. set() makes it usable again. No request is made. ENOSPC: 64 objects a group;
    /// EINVAL: kernel-mode submission, whose fences tell.
    [[nodiscard]] Result<void> own(const SyncObject& object);

    /// As SyncObject::wait(), but also ends, with ECANCELED and the fault's message, when this group has
    /// ended and the value has not been reached. Woken by each update if the group does not own() the object:
    /// Linux cannot wait for two words with a bitset. (Before Linux 5.16, and of kernel-mode groups, it looks
    /// at the group every 50 ms instead.)
    [[nodiscard]] Result<std::uint64_t> wait(const SyncObject& object, std::uint64_t target,
                                             const WaitOptions& options = {}) const;

  private:
    friend class Vm;
    struct Impl;
    explicit Group(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace belfry
