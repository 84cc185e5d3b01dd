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
// On a kernel's node (docs/kernel.md), in a ring with IORING_SETUP_SQE128, the driver itself takes entries,
// and neither jobs nor waits for fences make requests:
//
//   io_uring_queue_init(64, &ring, IORING_SETUP_SQE128);
//   auto wait = gpu.prep_wait(io_uring_get_sqe(&ring), frame, 3);  // also if nobody has submitted it yet
//   ...                                            // IOSQE_IO_LINK: the job starts when it has signalled
//   auto job = gpu.prep_submit(io_uring_get_sqe(&ring), SubmitEntry::job(8, group, 0, address, bytes),
//                              std::array{SyncOp{.syncobj = done, .signal = true, .point = 1}});
//   ...                                            // and more, with one io_uring_submit() for all
//   const auto ended = job->finish(cqe->res);      // of the completion with the user_data 8: at its fence
//
// Links between these are exact.
//
// The end of a group completes the waits for objects that it owns (Group::own()), with ECANCELED. For others,
// give GroupOptions::group_state_eventfd, have one poll of it in the ring, and cancel the group's waits when
// it completes (examples/uring_server.cpp), which also leaves the last value to be seen.
//
// Nothing here is for two threads at once: it belongs to the thread that submits.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "belfry/device.hpp"
#include "belfry/error.hpp"
#include "belfry/eventfd_waits.hpp"
#include "belfry/group.hpp"
#include "belfry/submit_ring.hpp"
#include "belfry/sync_object.hpp"
#include "belfry/syncobj.hpp"
#include "belfry/uapi/panthor_drm.h"
#include "belfry/uapi/uring_cmd.h"
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
    FenceWait(FenceWait&& other) noexcept
        : eventfd_(std::exchange(other.eventfd_, -1)), name_(std::exchange(other.name_, 0)) {}
    FenceWait& operator=(FenceWait&& other) noexcept {
        std::swap(eventfd_, other.eventfd_);
        std::swap(name_, other.name_);
        return *this;
    }
    ~FenceWait() {
        if (eventfd_ >= 0) ::close(eventfd_);
    }

    /// As Wait::finish(). Fences that fail also signal. EINTR, on a kernel's node: the program was stopped,
    /// by a debugger say, before anybody had submitted the point; prepare it again.
    [[nodiscard]] Result<void> finish(int res) const {
        if (res >= 0) return {};
        return std::unexpected(
            Error{.code = -res, .message = std::string("a wait for a fence: ") + std::strerror(-res)});
    }

  private:
    friend class Port;
    FenceWait() = default;
    int eventfd_ = -1;        // that the entry polls
    std::uint64_t name_ = 0;  // else: what the driver knows the entry by
};

/// One entry that the driver of a kernel's node has taken: Port::prep_submit(). Move-only. With more points
/// than one to wait for and one to signal it must live until its completion: the kernel reads them when the
/// entry starts, which may be after io_uring_submit() has returned (a link, a drain, SQPOLL, a no-op whose
/// point is not there). Else it may be dropped at once.
class Submission {
  public:
    Submission(Submission&&) noexcept = default;
    Submission& operator=(Submission&&) noexcept = default;
    ~Submission() = default;

    /// What the entry's completion means. A job: its fence has signalled; or its fence's error, or the
    /// driver's, which has then done nothing (docs/submission.md, "The submit ring"; ENOENT: no such syncobj;
    /// E2BIG: it waits for more than 24 points).
    [[nodiscard]] Result<void> finish(int res) const {
        if (res >= 0) return {};
        return std::unexpected(Error{.code = -res,
                                     .message = "entry " + std::to_string(user_data_) + " with " +
                                                std::to_string(points_.size()) +
                                                " further points: " + std::strerror(-res)});
    }

  private:
    friend class Port;
    explicit Submission(std::uint64_t user_data) : user_data_(user_data) {}
    std::uint64_t user_data_;
    std::vector<uapi::belfry_submit_sync> points_;
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
        : device_(device),
          is_node_(is_node(device)),
          has_room_((ring.flags & IORING_SETUP_SQE128) != 0),
          eventfds_(device, vm),
          way_(way ? *way : probe(ring)) {}
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

    /// A wait until the fence of `point` has signalled, also if there is no such fence yet. `syncobj` must
    /// outlive it. On a kernel's node, in a ring with 128-byte entries, nothing here can fail. Else it costs
    /// a request, and an eventfd while it lasts; the driver's refusal leaves a no-op in `sqe`. EOPNOTSUPP: a
    /// node before Linux 6.6, which has no such eventfds, and a ring with 64-byte entries.
    [[nodiscard]] Result<FenceWait> prep_wait(io_uring_sqe* sqe, const Syncobj& syncobj, std::uint64_t point);

    /// Cancels a wait for a fence, whose entry has the user_data `whom`: it completes with ECANCELED if it
    /// has not completed before. Two entries, in this order, because io_uring itself has a wait for a point
    /// that nobody has submitted yet, and the driver one for a fence. Both complete at once, and only the
    /// wait tells which of them found it.
    void prep_cancel(io_uring_sqe* by_io_uring, io_uring_sqe* by_driver, const FenceWait& wait,
                     std::uint64_t whom) {
        io_uring_prep_cancel64(by_io_uring, whom, 0);
        io_uring_prep_nop(by_driver);
        if (wait.name_ != 0) prep_command(by_driver, {.entry = SubmitEntry::cancel(0, wait.name_).raw});
    }

    /// What an entry of a submit ring asks for, in the caller's ring and on a kernel's node: a job of a
    /// kernel-mode group, which completes when its fence signals (or at_acceptance()); a no-op, which waits
    /// and signals; or a cancel() of such a no-op. `syncs` are its points besides those that it has. No
    /// request is made. The user_data is the entry's; link() and drain() become io_uring's flags, and others
    /// may be set. Behind a link or a drain some kernels (Linux 6.12) read `sqe` only when the entry begins,
    /// if it has no IOSQE_ASYNC. Syncobjs must live until it has started. EOPNOTSUPP: the device is no node,
    /// or the entry none of these; EINVAL: a ring with 64-byte entries, more than 1024 points, an arena's
    /// points. These leave a no-op.
    [[nodiscard]] Result<Submission> prep_submit(io_uring_sqe* sqe, const SubmitEntry& entry,
                                                 std::span<const SyncOp> syncs = {});

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

    /// Fills `sqe`, all but its user_data, with an entry for the driver.
    void prep_command(io_uring_sqe* sqe, const uapi::belfry_uring_command& command) const {
        io_uring_prep_rw(IORING_OP_URING_CMD, sqe, device_.fd(), nullptr, 0, 0);
        sqe->cmd_op = BELFRY_URING_CMD_SUBMIT;
        std::memcpy(sqe->cmd, &command, sizeof command);
    }
    /// What CANCEL finds a wait by: unlike all others of the file, also of other rings and of processes that
    /// share it.
    std::uint64_t next_name() {
        static std::atomic<std::uint32_t> last = 0;
        return kOurNames | names_ | last.fetch_add(1, std::memory_order_relaxed);
    }
    static bool is_node(const Device& device) {
        struct stat status{};
        return ::fstat(device.fd(), &status) == 0 && S_ISCHR(status.st_mode);
    }

    // Not what programs call theirs: numbers that are low, or addresses.
    static constexpr std::uint64_t kOurNames = 1ULL << 63;

    // Of Linux 6.7, newer than the headers of Debian 12.
    static constexpr std::uint8_t kOpFutexWait = 51;  // IORING_OP_FUTEX_WAIT
    static constexpr int kFutexWord32 = 0x02;         // FUTEX2_SIZE_U32; not private: the GPU is elsewhere

    static Way probe(io_uring& ring) {
        const std::unique_ptr<io_uring_probe, decltype(&io_uring_free_probe)> found(
            io_uring_get_probe_ring(&ring), io_uring_free_probe);
        return found != nullptr && io_uring_opcode_supported(found.get(), kOpFutexWait) != 0 ? Way::futex
                                                                                             : Way::eventfd;
    }

    const Device& device_;
    bool is_node_;
    bool has_room_;  // in the ring's entries, for a command
    std::uint64_t names_ = static_cast<std::uint64_t>(::getpid()) << 32;
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

inline Result<FenceWait> Port::prep_wait(io_uring_sqe* sqe, const Syncobj& syncobj, std::uint64_t point) {
    FenceWait wait;
    if (is_node_ && has_room_) {
        wait.name_ = next_name();
        prep_command(sqe, {.entry = SubmitEntry::nop(wait.name_).wait(syncobj, point).raw});
        return wait;
    }
    io_uring_prep_nop(sqe);
    wait.eventfd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    const auto asked = syncobj.ring_eventfd(wait.eventfd_, point);
    if (!asked && is_node_ && asked.error().code == EINVAL)
        return std::unexpected(Error{.code = EOPNOTSUPP,
                                     .message =
                                         "before Linux 6.6 no eventfd is rung for the fence of a kernel's "
                                         "node: make the io_uring with IORING_SETUP_SQE128"});
    if (!asked) return std::unexpected(asked.error());
    io_uring_prep_poll_add(sqe, wait.eventfd_, POLLIN);
    return wait;
}

inline Result<Submission> Port::prep_submit(io_uring_sqe* sqe, const SubmitEntry& entry,
                                            std::span<const SyncOp> syncs) {
    struct Flag {
        std::uint8_t entrys;
        std::uint8_t io_urings;
    };
    static constexpr Flag kFlags[] = {
        {uapi::BELFRY_SUBMIT_LINK, IOSQE_IO_LINK},
        {uapi::BELFRY_SUBMIT_DRAIN, IOSQE_IO_DRAIN},
        {uapi::BELFRY_SUBMIT_NO_SUCCESS_COMPLETION, IOSQE_CQE_SKIP_SUCCESS},
    };
    io_uring_prep_nop(sqe);
    const auto refused = [](int code, std::string why) {
        return std::unexpected(Error{.code = code, .message = "an entry in an io_uring: " + std::move(why)});
    };
    if (!is_node_)
        return refused(EOPNOTSUPP, device_.socket_path() +
                                       " is a socket, and only a kernel's node takes one (belfryd --node): "
                                       "use a SubmitRing, or Group::submit()");
    if (!has_room_)
        return refused(EINVAL, "it has no room in 64 bytes: make the io_uring with IORING_SETUP_SQE128");
    uapi::belfry_uring_command command{.entry = entry.raw};
    if (command.entry.opcode != uapi::BELFRY_SUBMIT_NOP &&
        command.entry.opcode != uapi::BELFRY_SUBMIT_CANCEL &&
        command.entry.opcode != uapi::BELFRY_PANTHOR_SUBMIT_JOB)
        return refused(EOPNOTSUPP,
                       "opcode " + std::to_string(command.entry.opcode) +
                           " is no job, no-op or cancel; a timeout is IORING_OP_TIMEOUT, for others "
                           "use a SubmitRing or a request");
    if (command.entry.more_syncs != 0)
        return refused(EINVAL, "its further points lie in the arena of a submit ring: pass them as `syncs`");

    Submission submission(command.entry.user_data);
    for (const SyncOp& sync : syncs) {
        auto& handle = sync.signal ? command.entry.signal_handle : command.entry.wait_handle;
        if (handle == 0) {
            handle = sync.syncobj.handle();
            (sync.signal ? command.entry.signal_point : command.entry.wait_point) = sync.point;
        } else {
            submission.points_.push_back(
                {.flags = sync.signal ? static_cast<std::uint32_t>(uapi::BELFRY_SUBMIT_SYNC_SIGNAL) : 0,
                 .handle = sync.syncobj.handle(),
                 .point = sync.point});
        }
    }
    if (submission.points_.size() > BELFRY_SUBMIT_ELEMENTS_PER_ENTRY_MAX)
        return refused(EINVAL, std::to_string(syncs.size()) + " points, of which it may have " +
                                   std::to_string(BELFRY_SUBMIT_ELEMENTS_PER_ENTRY_MAX));
    command.entry.more_syncs = static_cast<std::uint16_t>(submission.points_.size());
    command.arena = reinterpret_cast<std::uintptr_t>(submission.points_.data());
    command.arena_bytes = static_cast<std::uint32_t>(std::as_bytes(std::span(submission.points_)).size());
    unsigned flags = 0;
    for (const Flag& flag : kFlags) {
        if ((command.entry.flags & flag.entrys) != 0) flags |= flag.io_urings;
        command.entry.flags &= static_cast<std::uint8_t>(~flag.entrys);
    }
    prep_command(sqe, command);
    io_uring_sqe_set_flags(sqe, flags);
    io_uring_sqe_set_data64(sqe, command.entry.user_data);
    return submission;
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
