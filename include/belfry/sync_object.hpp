// SyncObject: 16 bytes in a buffer by which CPU and GPU tell each other how far they are.
//
// Lies in memory that every holder of the buffer can write: a hint between those who trust each other, never
// a fence for others. Works between processes that share the buffer. No request to the driver is made by
// anything here.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "belfry/error.hpp"
#include "belfry/export.hpp"

namespace belfry {

class Buffer;

struct WaitOptions {
    /// None: no limit.
    std::optional<std::chrono::nanoseconds> timeout;
    /// How long to look before going to sleep.
    std::chrono::nanoseconds spin = std::chrono::microseconds(5);
};

/// What waiting cost this thread.
struct WaitStats {
    std::uint64_t sleeps = 0;    ///< times it went to sleep
    std::uint64_t wake_ups = 0;  ///< times it was woken
};

/// What whoever waits for a value sleeps on: a futex that processes share.
struct FutexWait {
    const std::uint32_t* word;  ///< the low half of the value
    std::uint32_t expected;     ///< to sleep only while the word holds this
    std::uint32_t bitset;       ///< the wakes that are meant
};

/// A view: copies refer to the same object. The buffer must outlive it.
class BELFRY_EXPORT SyncObject {
  public:
    /// The object at `offset` in `buffer`, a multiple of 16 (EINVAL). `address` is the GPU address of that
    /// place.
    [[nodiscard]] static Result<SyncObject> at(const Buffer& buffer, std::uint64_t offset,
                                               std::uint64_t address);

    [[nodiscard]] std::uint64_t address() const { return address_; }
    /// Acquire: what the GPU wrote before its update is seen.
    [[nodiscard]] std::uint64_t value() const;
    /// Not 0: a stream in error state updated it last, or (BELFRY_SYNC_OBJECT_ENDED, with the largest value)
    /// the group that owned it has ended. Valid for the value that was read before it.
    [[nodiscard]] std::uint32_t error() const;
    /// Whether the group that owned it (Group::own()) has ended: the value means nothing then.
    [[nodiscard]] bool ended() const;

    /// Stores `value` (release) and wakes the CPU waiters that it may satisfy. Streams that wait for it look
    /// again when their group's doorbell is rung (Queue::ring()).
    void set(std::uint64_t value);

    /// Waits until the value is at least `target`, and returns it. Spins, then sleeps; is woken by updates
    /// that reach or pass the target (exactly so while targets lie within 32 of each other). ETIMEDOUT. The
    /// value must only rise. ECANCELED: the group that owned the object (Group::own()) has ended. Of other
    /// groups this knows nothing: see Group::wait().
    [[nodiscard]] Result<std::uint64_t> wait(std::uint64_t target, const WaitOptions& options = {}) const;

    /// The two halves of a wait that sleeps by other means than wait(), as an entry of an io_uring does
    /// (uring.hpp). begin_wait() counts a waiter in, so that updates wake it, then looks: nothing if `target`
    /// has been reached, and then nobody is counted. A sleeper that wakes, or does not fall asleep because
    /// the word differs, looks at value(): targets a multiple of 32 apart share their wakes. end_wait() takes
    /// the count back, once for each begin_wait() that returned something, however the sleep has ended; one
    /// that is forgotten costs updates a system call each, and nothing else.
    [[nodiscard]] std::optional<FutexWait> begin_wait(std::uint64_t target) const;
    void end_wait() const;

    /// Of the calling thread, for all objects and submit rings.
    static WaitStats stats();

  private:
    friend class Group;
    SyncObject(void* object, std::uint64_t address) : object_(object), address_(address) {}
    void* object_;
    std::uint64_t address_;
};

}  // namespace belfry
