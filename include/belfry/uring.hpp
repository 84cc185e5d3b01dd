// GPU waits and doorbells as entries of the caller's own io_uring, beside its sockets and files.
//
//   io_uring ring;                                 // the caller's
//   uring::Port gpu(ring, device, vm);             // looks what the kernel can do
//   auto wait = gpu.prep_wait(io_uring_get_sqe(&ring), done, 7);
//   ...                                            // flags, links, user_data: as for any entry
//   const auto outcome = wait->finish(cqe->res);   // reached, or to be prepared again, or why it failed
//
// Optional and header-only, on liburing (2.3, Debian 12's, is enough); the library itself does not need it.
//
// A wait for a sync object sleeps in one of two ways:
//   futex    Linux 6.7. The native wait (docs/architecture.md, "Waits") as an IORING_OP_FUTEX_WAIT: no
//   request, and
//            the update wakes the entry itself. Targets a multiple of 32 apart share a wake, so an entry may
//            complete too early; finish() says so.
//   eventfd  older kernels: IORING_OP_POLL_ADD of an EventfdWait. Exact, for a request a wait and more
//            (eventfd_waits.hpp).
// A value that has been reached already makes it an IORING_OP_NOP.
//
// Links. An entry before a wait, and a timeout behind it (io_uring_prep_link_timeout), need no care. Another
// entry that is linked behind it is started by the kernel, which knows nothing of values: behind the futex
// way it starts also if the wake was another's, and is cancelled if the value changed between prep_wait() and
// the submission (EAGAIN); so whoever links there looks at the value, or forces Way::eventfd, where the link
// is exact.
//
// The end of a group completes the waits for objects that it owns (Group::own()), with ECANCELED. For others,
// give GroupOptions::group_state_eventfd, have one poll of it in the ring, and cancel the group's waits when
// it completes (examples/uring_server.cpp), which also leaves the last value to be seen.
//
// Nothing here is for two threads at once: it belongs to the thread that submits.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "belfry/device.hpp"
#include "belfry/error.hpp"
#include "belfry/eventfd_waits.hpp"
#include "belfry/group.hpp"
#include "belfry/submit_ring.hpp"
#include "belfry/sync_object.hpp"
#include "belfry/syncobj.hpp"
#include "belfry/vm.hpp"

namespace belfry::uring {

enum class Way : std::uint8_t { futex, eventfd };

enum class Outcome : std::uint8_t {
    reached,
    again,  ///< woken for another's sake, or the value changed on the way: prepare the wait once more
};

class Port;

/// One wait for a value of a sync object; its entry is in the ring from prep() to finish(). Move-only, also
/// meanwhile. The object's buffer must outlive it. Dropping it early wakes and cancels nothing: cancel the
/// entry first, or the ring.
class Wait {
  public:
    Wait(Port& port, const SyncObject& object, std::uint64_t target)
        : port_(&port), object_(object), target_(target) {}
    Wait(Wait&& other) noexcept
        : port_(other.port_),
          object_(other.object_),
          target_(other.target_),
          counted_(std::exchange(other.counted_, false)),
          eventfd_(std::move(other.eventfd_)) {}
    Wait& operator=(Wait&& other) noexcept {
        std::swap(port_, other.port_);
        std::swap(object_, other.object_);
        std::swap(target_, other.target_);
        std::swap(counted_, other.counted_);
        std::swap(eventfd_, other.eventfd_);
        return *this;
    }
    ~Wait() { count_out(); }

    /// Fills `sqe`, all but its user_data. Flags are the caller's to set afterwards. Fails only in the
    /// eventfd way, if the driver refuses; the entry is a no-op then.
    Result<void> prep(io_uring_sqe* sqe);

    /// What the entry's completion means; once for each prep(), with the CQE's `res`. A value that has been
    /// reached is reached, whatever `res` says. ECANCELED: cancelled, by a linked timeout too, or because an
    /// entry before it in its chain failed; or the group that owned the object has ended.
    [[nodiscard]] Result<Outcome> finish(int res);

    [[nodiscard]] const SyncObject& object() const { return object_; }
    [[nodiscard]] std::uint64_t target() const { return target_; }

  private:
    void count_out() {
        if (std::exchange(counted_, false)) object_.end_wait();
    }

    Port* port_;
    SyncObject object_;
    std::uint64_t target_;
    bool counted_ = false;  // among the object's waiters: from prep() to finish(), in the futex way
    std::optional<EventfdWait> eventfd_;
};

/// One wait for a fence, as Wait is one for a value. Exact: it completes when the fence has signalled.
class FenceWait {
  public:
    FenceWait(FenceWait&& other) noexcept : eventfd_(std::exchange(other.eventfd_, -1)) {}
    FenceWait& operator=(FenceWait&& other) noexcept {
        std::swap(eventfd_, other.eventfd_);
        return *this;
    }
    ~FenceWait() {
        if (eventfd_ >= 0) ::close(eventfd_);
    }

    /// As Wait::finish(). Fences that fail also signal.
    [[nodiscard]] Result<void> finish(int res) const {
        if (res > 0) return {};
        return std::unexpected(
            Error{.code = -res, .message = std::string("a wait for a fence: ") + std::strerror(-res)});
    }

  private:
    friend class Port;
    explicit FenceWait(int eventfd) : eventfd_(eventfd) {}
    int eventfd_;
};

/// One wait for completions of a submit ring, as Wait is one for a value. The submit ring must outlive it.
/// `count` completions, as for SubmitRing::wait(): reap between finish() and the next prep(), not meanwhile.
class RingWait {
  public:
    RingWait(Port& port, const SubmitRing& submit_ring, std::uint32_t count, int completions_eventfd)
        : port_(&port), submit_ring_(&submit_ring), count_(count), eventfd_(completions_eventfd) {}
    RingWait(RingWait&& other) noexcept
        : port_(other.port_),
          submit_ring_(other.submit_ring_),
          count_(other.count_),
          eventfd_(other.eventfd_),
          counted_(std::exchange(other.counted_, false)) {}
    RingWait& operator=(RingWait&& other) noexcept {
        std::swap(port_, other.port_);
        std::swap(submit_ring_, other.submit_ring_);
        std::swap(count_, other.count_);
        std::swap(eventfd_, other.eventfd_);
        std::swap(counted_, other.counted_);
        return *this;
    }
    ~RingWait() { count_out(); }

    /// As Wait::prep().
    Result<void> prep(io_uring_sqe* sqe);
    /// As Wait::finish(); and the submit ring's error if that has ended.
    [[nodiscard]] Result<Outcome> finish(int res);

  private:
    void count_out() {
        if (std::exchange(counted_, false)) submit_ring_->end_wait();
    }

    Port* port_;
    const SubmitRing* submit_ring_;
    std::uint32_t count_;
    int eventfd_;
    bool counted_ = false;
};

/// Where entries of one of the caller's rings come from. Outlives its waits.
class Port {
  public:
    /// Looks what `ring` can do, and submits nothing. `way`: this one, whatever it finds. `device` and `vm`
    /// must outlive it; the eventfd way looks for objects in `vm`.
    Port(io_uring& ring, const Device& device, Vm& vm, std::optional<Way> way = std::nullopt)
        : eventfds_(device, vm), way_(way ? *way : probe(ring)) {}
    Port(const Port&) = delete;
    Port& operator=(const Port&) = delete;
    ~Port() {
        if (ones_ >= 0) ::close(ones_);
    }

    /// A ring that refuses the futex way, because it was restricted say, changes this at its first answer.
    [[nodiscard]] Way way() const { return way_; }

    /// A wait until `object` is at least `target`, in `sqe`: Wait::prep().
    [[nodiscard]] Result<Wait> prep_wait(io_uring_sqe* sqe, const SyncObject& object, std::uint64_t target) {
        Wait wait(*this, object, target);
        if (const auto prepared = wait.prep(sqe); !prepared) return std::unexpected(prepared.error());
        return wait;
    }

    /// A wait until the fence of `point` has signalled, also if there is no such fence yet. Costs a request,
    /// and an eventfd while it lasts. The driver's refusal leaves a no-op in `sqe`.
    [[nodiscard]] Result<FenceWait> prep_wait(io_uring_sqe* sqe, const Syncobj& syncobj,
                                              std::uint64_t point) {
        io_uring_prep_nop(sqe);
        FenceWait wait(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        if (const auto asked = syncobj.ring_eventfd(wait.eventfd_, point); !asked)
            return std::unexpected(asked.error());
        io_uring_prep_poll_add(sqe, wait.eventfd_, POLLIN);
        return wait;
    }

    /// A wait for `count` completions of `submit_ring` that are to be reaped, in `sqe`: RingWait::prep(). The
    /// eventfd way polls `completions_eventfd`, which is the one of SubmitRingOptions, non-blocking, and for
    /// one such wait at a time; EINVAL if there is none.
    [[nodiscard]] Result<RingWait> prep_ring_wait(io_uring_sqe* sqe, const SubmitRing& submit_ring,
                                                  std::uint32_t count = 1, int completions_eventfd = -1) {
        RingWait wait(*this, submit_ring, count, completions_eventfd);
        if (const auto prepared = wait.prep(sqe); !prepared) return std::unexpected(prepared.error());
        return wait;
    }

    /// Rings the doorbell of `queue`, from inside the ring: behind entries that are linked before it, without
    /// the program's help, and without a system call of its own. Two entries that are prepared as a chain:
    /// `store` reads a 1 out of an eventfd straight into the doorbell page, `wake` writes the eventfd that
    /// wakes a sleeping GPU, whether it sleeps or not. `wake` completes for both, unless `store` fails; then
    /// both complete. The group's streams look at what was published (Queue::publish()) and at the sync
    /// objects that they wait for.
    ///
    /// A group that is off its slot has no use for a doorbell. So, when `wake` has completed:
    ///   queue.ring_off_slot()
    [[nodiscard]] Result<void> prep_doorbell(io_uring_sqe* store, io_uring_sqe* wake, const Queue& queue);

  private:
    friend class Wait;
    friend class RingWait;

    /// Fills `sqe` with a sleep on a futex.
    static void prep_futex_wait(io_uring_sqe* sqe, const FutexWait& sleep) {
        io_uring_prep_rw(kOpFutexWait, sqe, kFutexWord32, sleep.word, 0, sleep.expected);
        sqe->addr3 = sleep.bitset;
    }
    /// What became of a sleep that did not end with what it was for.
    Result<Outcome> judge(int res, bool by_futex, const std::string& what) {
        if (res >= 0 || res == -EAGAIN || res == -EINTR) return Outcome::again;
        if (by_futex && (res == -EINVAL || res == -EACCES || res == -EOPNOTSUPP)) {
            way_ = Way::eventfd;
            return Outcome::again;
        }
        return std::unexpected(Error{.code = -res, .message = what + ": " + std::strerror(-res)});
    }

    // Of Linux 6.7, newer than the headers of Debian 12.
    static constexpr std::uint8_t kOpFutexWait = 51;  // IORING_OP_FUTEX_WAIT
    static constexpr int kFutexWord32 = 0x02;         // FUTEX2_SIZE_U32; not private: the GPU is elsewhere

    static Way probe(io_uring& ring) {
        const std::unique_ptr<io_uring_probe, decltype(&io_uring_free_probe)> found(
            io_uring_get_probe_ring(&ring), io_uring_free_probe);
        return found != nullptr && io_uring_opcode_supported(found.get(), kOpFutexWait) != 0 ? Way::futex
                                                                                             : Way::eventfd;
    }

    EventfdWaits eventfds_;
    Way way_;
    int ones_ = -1;  // an eventfd that never runs out of ones
};

inline Result<void> Wait::prep(io_uring_sqe* sqe) {
    io_uring_prep_nop(sqe);
    if (object_.value() >= target_) return {};
    if (port_->way_ == Way::eventfd) {
        auto started = port_->eventfds_.start(object_, target_);
        if (!started) return std::unexpected(started.error());
        eventfd_ = std::move(*started);
        io_uring_prep_poll_add(sqe, eventfd_->fd(), POLLIN);
        return {};
    }
    // Counted in now, so an update that comes before the submission wakes for nothing, and the kernel finds
    // another value than this one: EAGAIN. An update that comes after it finds the sleeper.
    const auto sleep = object_.begin_wait(target_);
    if (!sleep) return {};
    counted_ = true;
    Port::prep_futex_wait(sqe, *sleep);
    return {};
}

inline Result<Outcome> Wait::finish(int res) {
    const bool by_futex = counted_;
    count_out();
    eventfd_.reset();
    // The last look: a cancellation, or the end of a group, may have come after the value.
    if (object_.ended())
        return std::unexpected(
            Error{.code = ECANCELED, .message = "the group that owned this sync object has ended"});
    if (object_.value() >= target_) return Outcome::reached;
    return port_->judge(res, by_futex,
                        "a wait for a sync object to reach " + std::to_string(target_) + ", which is at " +
                            std::to_string(object_.value()));
}

inline Result<void> RingWait::prep(io_uring_sqe* sqe) {
    io_uring_prep_nop(sqe);
    if (port_->way_ == Way::futex) {
        const auto sleep = submit_ring_->begin_wait(count_);
        counted_ = sleep.has_value();
        if (sleep) Port::prep_futex_wait(sqe, *sleep);
        return {};
    }
    if (eventfd_ < 0)
        return std::unexpected(
            Error{.code = EINVAL, .message = "this kernel's io_uring needs the submit ring's eventfd"});
    // Emptied first, looked at second: a completion that this look misses rings again.
    eventfd_t rings = 0;
    ::eventfd_read(eventfd_, &rings);
    if (submit_ring_->completed() < count_ && submit_ring_->error() == 0)
        io_uring_prep_poll_add(sqe, eventfd_, POLLIN);
    return {};
}

inline Result<Outcome> RingWait::finish(int res) {
    const bool by_futex = counted_;
    count_out();
    if (submit_ring_->completed() >= count_) return Outcome::reached;
    if (const int error = submit_ring_->error(); error != 0) res = -error;
    return port_->judge(res, by_futex && submit_ring_->error() == 0,
                        "a wait for " + std::to_string(count_) + " completions of a submit ring");
}

inline Result<void> Port::prep_doorbell(io_uring_sqe* store, io_uring_sqe* wake, const Queue& queue) {
    static constexpr std::uint64_t kOne = 1;
    constexpr std::uint64_t kForAllTime = UINT64_MAX - 1;
    io_uring_prep_nop(store);
    io_uring_prep_nop(wake);
    if (ones_ < 0) {
        // Read as a semaphore it gives 1 each time: 64 bits, of which the doorbell is the low half. The other
        // falls on padding.
        ones_ = ::eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
        if (ones_ < 0 || ::eventfd_write(ones_, kForAllTime) != 0)
            return std::unexpected(
                Error{.code = errno,
                      .message = std::string("making an eventfd for doorbells: ") + std::strerror(errno)});
    }
    const Queue::Doorbell doorbell = queue.doorbell();
    io_uring_prep_read(store, ones_, doorbell.word, sizeof kOne, 0);
    store->flags |= IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
    io_uring_prep_write(wake, doorbell.wake_up, &kOne, sizeof kOne, 0);
    return {};
}

}  // namespace belfry::uring
