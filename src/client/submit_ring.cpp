#include "belfry/submit_ring.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <sys/mman.h>

#include "base/atomic.hpp"
#include "base/clock.hpp"
#include "base/futex.hpp"
#include "base/memory.hpp"
#include "belfry/device.hpp"
#include "belfry/group.hpp"
#include "belfry/syncobj.hpp"
#include "belfry/uapi/panthor_drm.h"
#include "belfry/xgs_queue.hpp"
#include "client/connection.hpp"
#include "client/native_wait.hpp"

namespace belfry {
namespace {

template <typename Payload>
SubmitEntry entry_with(int opcode, std::uint64_t user_data, const Payload& payload) {
    SubmitEntry entry;
    entry.raw.opcode = static_cast<std::uint8_t>(opcode);
    entry.raw.user_data = user_data;
    static_assert(sizeof payload == sizeof entry.raw.payload);
    std::memcpy(entry.raw.payload, &payload, sizeof payload);
    return entry;
}

std::uint64_t count_of(std::chrono::nanoseconds time) {
    return time.count() > 0 ? static_cast<std::uint64_t>(time.count()) : 0;
}

}  // namespace

SubmitEntry SubmitEntry::nop(std::uint64_t user_data) {
    SubmitEntry entry;
    entry.raw.user_data = user_data;
    return entry;
}
SubmitEntry SubmitEntry::job(std::uint64_t user_data, const Group& group, std::uint32_t queue,
                             std::uint64_t address, std::uint32_t bytes) {
    return entry_with(uapi::BELFRY_PANTHOR_SUBMIT_JOB, user_data,
                      uapi::belfry_panthor_submit_job{.group_handle = group.handle(),
                                                      .queue_index = queue,
                                                      .stream_addr = address,
                                                      .stream_size = bytes,
                                                      .latest_flush = 0});
}
SubmitEntry SubmitEntry::xgs(std::uint64_t user_data, const XgsQueue& queue, std::uint32_t offset,
                             std::uint32_t op_count) {
    return entry_with(
        uapi::BELFRY_PANTHOR_SUBMIT_XGS, user_data,
        uapi::belfry_panthor_submit_xgs{
            .handle = queue.handle(), .flags = 0, .op_count = op_count, .ops_offset = offset, .pad = 0});
}
SubmitEntry SubmitEntry::timeout(std::uint64_t user_data, std::chrono::nanoseconds time) {
    return entry_with(uapi::BELFRY_SUBMIT_TIMEOUT, user_data,
                      uapi::belfry_submit_timeout{.ns = count_of(time), .flags = 0, .pad = 0, .pad1 = 0});
}
SubmitEntry SubmitEntry::time_limit(std::uint64_t user_data, std::chrono::nanoseconds time) {
    return entry_with(
        uapi::BELFRY_SUBMIT_TIMEOUT, user_data,
        uapi::belfry_submit_timeout{
            .ns = count_of(time), .flags = uapi::BELFRY_SUBMIT_TIMEOUT_LINKED, .pad = 0, .pad1 = 0});
}
SubmitEntry SubmitEntry::cancel(std::uint64_t user_data, std::uint64_t whom) {
    return entry_with(uapi::BELFRY_SUBMIT_CANCEL, user_data,
                      uapi::belfry_submit_cancel{.user_data = whom, .pad = {}});
}
SubmitEntry& SubmitEntry::wait(const Syncobj& syncobj, std::uint64_t point) {
    raw.wait_handle = syncobj.handle();
    raw.wait_point = point;
    return *this;
}
SubmitEntry& SubmitEntry::signal(const Syncobj& syncobj, std::uint64_t point) {
    raw.signal_handle = syncobj.handle();
    raw.signal_point = point;
    return *this;
}

struct SubmitRing::Impl {
    std::shared_ptr<client::Connection> connection;
    uapi::belfry_submit_ring_create made{};
    base::Mapping memory;
    std::uint32_t tail = 0;  // pushed; the memory's sq_tail is what was published
    std::uint32_t head = 0;  // reaped
    std::uint64_t wake_ups = 0;

    explicit Impl(std::shared_ptr<client::Connection> with) : connection(std::move(with)) {}
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;
    ~Impl() {
        if (made.handle == 0) return;
        uapi::belfry_submit_ring_destroy destroy{.handle = made.handle, .pad = 0};
        client::request_quietly(*connection, DRM_IOCTL_BELFRY_SUBMIT_RING_DESTROY, &destroy);
    }

    template <typename T>
    [[nodiscard]] T* at(std::uint64_t offset) const {
        return reinterpret_cast<T*>(memory.data() + offset);
    }
    [[nodiscard]] uapi::belfry_submit_client& ours() const { return *at<uapi::belfry_submit_client>(0); }
    [[nodiscard]] const uapi::belfry_submit_consumer& theirs() const {
        return *at<uapi::belfry_submit_consumer>(made.consumer_offset);
    }
    [[nodiscard]] Result<void> enter() {
        base::fetch_add(wake_ups, 1, base::kRelaxed);  // by those who submit and those who reap
        uapi::belfry_submit_ring_enter enter{.handle = made.handle, .pad = 0};
        return client::request(*connection, DRM_IOCTL_BELFRY_SUBMIT_RING_ENTER, &enter,
                               fmt::format("waking the consumer of submit ring {}", made.handle));
    }
    [[nodiscard]] bool has_room() const {
        // Acquire: the consumer has copied what its head has passed.
        return tail - base::load(theirs().sq_head, base::kAcquire) < made.sq_entries;
    }
    [[nodiscard]] std::uint32_t completed() const {
        return base::load(theirs().cq_tail, base::kAcquire) - head;
    }
    template <typename Reached>
    Result<void> wait(std::uint32_t& waiters, const std::uint32_t& event, std::uint32_t bits, Reached reached,
                      const WaitOptions& options) const;
};

SubmitRing::SubmitRing(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SubmitRing::SubmitRing(SubmitRing&&) noexcept = default;
SubmitRing& SubmitRing::operator=(SubmitRing&&) noexcept = default;
SubmitRing::~SubmitRing() = default;

bool SubmitRing::push(const SubmitEntry& entry) {
    Impl& ring = *impl_;
    if (!ring.has_room()) return false;
    ring.at<uapi::belfry_submit_entry>(ring.made.entries_offset)[ring.tail & (ring.made.sq_entries - 1)] =
        entry.raw;
    ++ring.tail;
    return true;
}

Result<void> SubmitRing::submit() {
    Impl& ring = *impl_;
    // Release: the entries come before the tail that publishes them.
    base::store(ring.ours().sq_tail, ring.tail, base::kRelease);
    // Either the consumer that goes to sleep sees the tail, or we see that it sleeps.
    base::full_fence();
    if ((base::load(ring.theirs().flags, base::kRelaxed) & uapi::BELFRY_SUBMIT_NEED_WAKEUP) == 0) return {};
    return ring.enter();
}

std::size_t SubmitRing::reap(std::span<Completion> into) {
    Impl& ring = *impl_;
    const std::size_t count = std::min<std::size_t>(ring.completed(), into.size());
    if (count == 0) return 0;
    const auto* const completions =
        ring.at<const uapi::belfry_submit_completion>(ring.made.completions_offset);
    for (Completion& completion : into.first(count)) {
        const auto& told = completions[ring.head++ & (ring.made.cq_entries - 1)];
        completion = {.user_data = told.user_data, .error = -told.result};
    }
    // Release: they have been read.
    base::store(ring.ours().cq_head, ring.head, base::kRelease);
    constexpr std::uint32_t kStopped = uapi::BELFRY_SUBMIT_NEED_WAKEUP | uapi::BELFRY_SUBMIT_CQ_FULL;
    // Either the consumer that stops sees the head, or we see that it has stopped.
    base::full_fence();
    if ((base::load(ring.theirs().flags, base::kRelaxed) & kStopped) == kStopped) [[maybe_unused]]
        const auto told_by_the_next_submit = ring.enter();
    return count;
}

std::uint32_t SubmitRing::completed() const { return impl_->completed(); }

/// The handshake of belfry/uapi/submit_ring.h.
template <typename Reached>
Result<void> SubmitRing::Impl::wait(std::uint32_t& waiters, const std::uint32_t& event, std::uint32_t bits,
                                    Reached reached, const WaitOptions& options) const {
    const std::uint64_t deadline = client::deadline_of(options);
    const std::uint64_t spin_until = base::monotonic_ns() + count_of(options.spin);
    constexpr unsigned kLooksPerClock = 64;
    do {
        for (unsigned i = 0; i < kLooksPerClock; ++i) {
            if (reached()) return {};
            base::relax();
        }
    } while (base::monotonic_ns() < spin_until);
    // Counted in first, looked at second: a move that this look misses sees the count.
    base::fetch_add(waiters, 1, base::kSeqCst);
    base::full_fence();
    Result<void> result;
    for (;;) {
        const std::uint32_t seen = base::load(event, base::kSeqCst);
        if (reached()) break;
        if (const auto error = static_cast<int>(base::load(theirs().error, base::kAcquire)); error != 0) {
            result = std::unexpected(
                client::error_of(static_cast<base::Errno>(error), "the submit ring has ended"));
            break;
        }
        ++client::wait_stats().sleeps;
        const auto slept = base::futex_wait(event, seen, bits, deadline);
        if (slept) ++client::wait_stats().wake_ups;
        if (!slept && slept.error() == base::Errno::timed_out) {
            if (!reached())
                result = std::unexpected(client::error_of(slept.error(), "waiting for a submit ring"));
            break;
        }
    }
    base::fetch_add(waiters, ~0U, base::kSeqCst);
    return result;
}

Result<void> SubmitRing::wait(std::uint32_t count, const WaitOptions& options) const {
    const Impl& ring = *impl_;
    if (count > ring.made.cq_entries)
        return std::unexpected(Error{.code = EINVAL,
                                     .message = fmt::format("waiting for {} completions in a queue of {}",
                                                            count, ring.made.cq_entries)});
    const std::uint32_t target = ring.head + count;
    return ring.wait(
        ring.ours().cq_waiters, ring.theirs().cq_event, 1U << (target % 32),
        [&] { return ring.completed() >= count; }, options);
}

Result<void> SubmitRing::wait_for_room(const WaitOptions& options) const {
    const Impl& ring = *impl_;
    return ring.wait(
        ring.ours().sq_waiters, ring.theirs().sq_event, ~0U, [&] { return ring.has_room(); }, options);
}

std::optional<FutexWait> SubmitRing::begin_wait(std::uint32_t count) const {
    // As in Impl::wait().
    base::fetch_add(impl_->ours().cq_waiters, 1, base::kSeqCst);
    base::full_fence();
    const std::uint32_t seen = base::load(impl_->theirs().cq_event, base::kSeqCst);
    if (completed() < count && error() == 0)
        return FutexWait{.word = &impl_->theirs().cq_event,
                         .expected = seen,
                         .bitset = 1U << ((impl_->head + count) % 32)};
    end_wait();
    return std::nullopt;
}

void SubmitRing::end_wait() const { base::fetch_add(impl_->ours().cq_waiters, ~0U, base::kSeqCst); }

int SubmitRing::error() const { return static_cast<int>(base::load(impl_->theirs().error, base::kAcquire)); }

std::span<std::byte> SubmitRing::arena() const {
    return impl_->memory.bytes().subspan(impl_->made.arena_offset, impl_->made.arena_bytes);
}
std::uint32_t SubmitRing::handle() const { return impl_->made.handle; }
uapi::belfry_submit_client& SubmitRing::client_page() const { return impl_->ours(); }
const uapi::belfry_submit_consumer& SubmitRing::consumer_page() const { return impl_->theirs(); }
std::uint32_t SubmitRing::reaped() const { return impl_->head; }
std::uint64_t SubmitRing::wake_ups() const { return base::load(impl_->wake_ups, base::kRelaxed); }

Result<SubmitRing> Device::create_submit_ring(const SubmitRingOptions& options) const {
    const std::string what = fmt::format("creating a submit ring of {} entries, {} completions and {} bytes",
                                         options.entries, options.completions, options.arena_bytes);
    auto impl = std::make_unique<SubmitRing::Impl>(connection_);
    uapi::belfry_submit_ring_create create{.sq_entries = options.entries,
                                           .cq_entries = options.completions,
                                           .arena_bytes = options.arena_bytes,
                                           .eventfd_completions = options.completions_eventfd};
    if (const auto done = request(*connection_, DRM_IOCTL_BELFRY_SUBMIT_RING_CREATE, &create, what); !done)
        return std::unexpected(done.error());
    impl->made = create;
    auto memory = connection_->transport->mmap(create.mmap_offset, create.mmap_bytes, PROT_READ | PROT_WRITE);
    if (!memory) return std::unexpected(client::error_of(memory.error(), what));
    impl->memory = std::move(*memory);
    return SubmitRing(std::move(impl));
}

}  // namespace belfry
