#include "belfry/group.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <sys/mman.h>

#include "base/atomic.hpp"
#include "base/clock.hpp"
#include "base/fd.hpp"
#include "base/futex.hpp"
#include "base/memory.hpp"
#include "belfry/uapi/panthor_drm.h"
#include "belfry/uapi/user_queue.h"
#include "client/connection.hpp"
#include "client/native_wait.hpp"
#include "client/sync_ops.hpp"
#include "client/vm_impl.hpp"
#include "uapi/fault_text.hpp"

namespace belfry {
namespace {

using base::kAcquire;
using base::kRelaxed;
using base::kRelease;
using base::kSeqCst;

/// Submissions are padded to this many instructions: a cache line, in which the kernel moves INSERT too.
constexpr std::size_t kStepWords = 8;
constexpr std::uint64_t kWordBytes = 8;
/// How long to look for room before going to sleep.
constexpr unsigned kRoomLooks = 256;
/// A wait with a kernel-mode group looks at the group this often: nothing wakes it when that ends.
constexpr std::uint64_t kGroupLookNs = 50'000'000;

}  // namespace

/// What queues and waits need of their group; lives as long as any of them.
struct GroupShared {
    std::shared_ptr<client::Connection> connection;
    std::uint32_t handle = 0;
    base::Fd doorbell_eventfd;
    base::Mapping doorbell;  // user submission

    GroupShared(std::shared_ptr<client::Connection> connection_, std::uint32_t handle_)
        : connection(std::move(connection_)), handle(handle_) {}
    GroupShared(const GroupShared&) = delete;
    GroupShared& operator=(const GroupShared&) = delete;
    ~GroupShared() {
        uapi::drm_panthor_group_destroy destroy{.group_handle = handle};
        client::request_quietly(*connection, DRM_IOCTL_PANTHOR_GROUP_DESTROY, &destroy);
    }

    [[nodiscard]] uapi::belfry_user_doorbell& page() const {
        return *reinterpret_cast<uapi::belfry_user_doorbell*>(doorbell.data());
    }
    [[nodiscard]] bool owns(const SyncObject& object) const {
        return std::ranges::any_of(page().owned, [&object](const std::uint64_t& owned) {
            return base::load(owned, kRelaxed) == object.address();
        });
    }
    [[nodiscard]] Result<GroupStatus> status() const;
    [[nodiscard]] Error ended() const;
};

Result<GroupStatus> GroupShared::status() const {
    uapi::drm_panthor_group_get_state state{.group_handle = handle};
    if (const auto done = client::request(*connection, DRM_IOCTL_PANTHOR_GROUP_GET_STATE, &state,
                                          fmt::format("asking for the state of group {}", handle));
        !done)
        return std::unexpected(done.error());
    uapi::belfry_group_get_fault fault{.group_handle = handle};
    if (const auto done = client::request(*connection, DRM_IOCTL_BELFRY_GROUP_GET_FAULT, &fault,
                                          fmt::format("asking for the fault of group {}", handle));
        !done)
        return std::unexpected(done.error());
    return GroupStatus{.alive = state.state == 0,
                       .timed_out = (state.state & uapi::DRM_PANTHOR_GROUP_STATE_TIMEDOUT) != 0,
                       .fatal_fault = (state.state & uapi::DRM_PANTHOR_GROUP_STATE_FATAL_FAULT) != 0,
                       .fatal_queues = state.fatal_queues,
                       .message = uapi::fault_text(fault, state.state)};
}

Error GroupShared::ended() const {
    const auto now = status();
    return {
        .code = ECANCELED,
        .message = fmt::format("group {} has ended: {}", handle, now ? now->message : now.error().message)};
}

// ---- Queue

struct Queue::Impl {
    std::shared_ptr<GroupShared> group;
    std::uint32_t index = 0;
    std::uint32_t ring_bytes = 0;
    base::Mapping ring;  // twice, one after the other: every reservation is contiguous
    base::Mapping io;
    std::uint64_t insert = 0;         // published
    std::uint64_t extract_known = 0;  // at least so much is done
    std::uint64_t kicks = 0;
    std::uint64_t gpu_wake_ups = 0;

    [[nodiscard]] uapi::belfry_user_input& input() const {
        return *reinterpret_cast<uapi::belfry_user_input*>(io.data());
    }
    [[nodiscard]] const uapi::belfry_user_output& output() const {
        return *reinterpret_cast<const uapi::belfry_user_output*>(io.data() + base::kPageBytes);
    }
    [[nodiscard]] bool ended() const { return base::load(output().group_state, kAcquire) != 0; }

    bool has_room(std::uint64_t bytes) {
        if (ring_bytes - (insert - extract_known) >= bytes) return true;
        // Acquire: the GPU has read the bytes before EXTRACT; they are ours to write again (A8).
        extract_known = base::load(output().extract, kAcquire);
        return ring_bytes - (insert - extract_known) >= bytes;
    }
    bool wait_for_room(std::uint64_t bytes, std::uint64_t deadline_ns);
    [[nodiscard]] bool on_slot() const;
    Result<void> kick();
    Result<void> ring_doorbell();
};

/// False: the time is over, or the group has ended.
bool Queue::Impl::wait_for_room(std::uint64_t bytes, std::uint64_t deadline_ns) {
    for (unsigned i = 0; i < kRoomLooks; ++i) {
        if (has_room(bytes)) return true;
        base::relax();
    }
    // Counted in, fenced, looked again: the GPU moves EXTRACT, fences, and looks for waiters. The driver
    // wakes us the same way when the group ends.
    auto& waiters = input().ring_waiters;
    base::fetch_add(waiters, 1, kSeqCst);
    base::full_fence();
    bool in_time = true;
    while (!has_room(bytes) && !ended() && in_time) {
        const auto slept = base::futex_wait(base::low_word(const_cast<std::uint64_t&>(output().extract)),
                                            static_cast<std::uint32_t>(extract_known), ~0U, deadline_ns);
        in_time = slept || slept.error() != base::Errno::timed_out;
    }
    base::fetch_add(waiters, ~0U, kSeqCst);
    return has_room(bytes);
}

bool Queue::Impl::on_slot() const {
    // Dekker with whoever takes the group off its slot: INSERT is stored, fence, ACTIVE is read; there ACTIVE
    // is cleared, fence, INSERT is read. One of the two sees the other
    // (facts/firmware-and-scheduling.md 7.1).
    __builtin_prefetch(&output());  // the GPU has written EXTRACT there: fetched while the fence waits
    base::full_fence();
    return base::load(output().active, kRelaxed) != 0;
}

Result<void> Queue::Impl::kick() {
    ++kicks;
    uapi::drm_panthor_group_kick kick{.handle = group->handle, .queue_mask = 1U << index};
    return client::request(*group->connection, DRM_IOCTL_PANTHOR_GROUP_KICK, &kick,
                           fmt::format("kicking group {}", group->handle));
}

Result<void> Queue::Impl::ring_doorbell() {
    if (!on_slot()) return kick();
    auto& page = group->page();
    base::store(page.doorbell, 1, kRelease);
    // And with a GPU that goes to sleep: it sets need_wakeup, fences, and takes the doorbell once more.
    base::full_fence();
    if (base::load(page.need_wakeup, kRelaxed) != 0) {
        ++gpu_wake_ups;
        base::ring_eventfd(group->doorbell_eventfd.get());
    }
    return {};
}

Queue::Queue(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Queue::Queue(Queue&&) noexcept = default;
Queue& Queue::operator=(Queue&&) noexcept = default;
Queue::~Queue() = default;

std::optional<CommandWriter> Queue::try_begin(std::size_t words) {
    const std::uint64_t bytes = (words + kStepWords - 1) / kStepWords * kStepWords * kWordBytes;
    if (!impl_->has_room(bytes)) return std::nullopt;
    auto* const start =
        reinterpret_cast<std::uint64_t*>(impl_->ring.data() + (impl_->insert & (impl_->ring_bytes - 1)));
    return CommandWriter({start, words});
}

Result<CommandWriter> Queue::begin(std::size_t words, std::optional<std::chrono::nanoseconds> timeout) {
    if (auto writer = try_begin(words)) return *writer;
    const std::uint64_t bytes = (words + kStepWords - 1) / kStepWords * kStepWords * kWordBytes;
    if (bytes > impl_->ring_bytes)
        return std::unexpected(
            Error{.code = EINVAL,
                  .message = fmt::format("{} instructions do not fit into a ring of {} bytes, which "
                                         "holds {}",
                                         words, impl_->ring_bytes, impl_->ring_bytes / kWordBytes)});
    const std::uint64_t deadline = client::deadline_of({.timeout = timeout});
    if (impl_->wait_for_room(bytes, deadline)) return *try_begin(words);
    if (impl_->ended()) return std::unexpected(impl_->group->ended());
    return std::unexpected(
        Error{.code = ETIMEDOUT,
              .message = fmt::format("timed out waiting for {} bytes of room in a ring of {} bytes", bytes,
                                     impl_->ring_bytes)});
}

Result<void> Queue::publish(const CommandWriter& writer) {
    if (writer.overflowed())
        return std::unexpected(Error{
            .code = EOVERFLOW,
            .message =
                fmt::format("more than the {} instructions that begin() made room for", writer.size())});
    if (impl_->ended()) return std::unexpected(impl_->group->ended());
    const std::uint64_t used = writer.size_bytes();
    const std::uint64_t padded = (used + kStepWords * kWordBytes - 1) & ~(kStepWords * kWordBytes - 1);
    std::byte* const start = impl_->ring.data() + (impl_->insert & (impl_->ring_bytes - 1));
    std::memset(start + used, 0, padded - used);  // NOPs
    impl_->insert += padded;
    // Release: the instructions before the counter that publishes them (A1).
    base::store(impl_->input().insert, impl_->insert, kRelease);
    return {};
}

Result<void> Queue::submit(const CommandWriter& writer) {
    if (const auto published = publish(writer); !published) return published;
    return impl_->ring_doorbell();
}

Result<void> Queue::ring() { return impl_->ring_doorbell(); }

Queue::Doorbell Queue::doorbell() const {
    return {.word = &impl_->group->page().doorbell, .wake_up = impl_->group->doorbell_eventfd.get()};
}

Result<void> Queue::ring_off_slot() {
    if (impl_->on_slot()) return {};
    return impl_->kick();
}

std::uint32_t Queue::ring_bytes() const { return impl_->ring_bytes; }
std::uint64_t Queue::inserted() const { return impl_->insert; }
std::uint64_t Queue::extracted() const { return base::load(impl_->output().extract, kAcquire); }
std::uint64_t Queue::kicks() const { return impl_->kicks; }
std::uint64_t Queue::gpu_wake_ups() const { return impl_->gpu_wake_ups; }

// ---- Group

struct Group::Impl {
    std::shared_ptr<GroupShared> shared;
    std::vector<Queue> queues;  // user submission
};

Group::Group(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Group::Group(Group&&) noexcept = default;
Group& Group::operator=(Group&&) noexcept = default;
Group::~Group() = default;

Queue& Group::queue(std::size_t index) { return impl_->queues.at(index); }
Result<GroupStatus> Group::status() const { return impl_->shared->status(); }
std::uint32_t Group::handle() const { return impl_->shared->handle; }

Result<void> Group::submit(std::size_t queue, std::uint64_t address, std::uint32_t bytes,
                           std::span<const SyncOp> syncs) {
    const std::vector ops = client::wire_syncs(syncs);
    uapi::drm_panthor_queue_submit job{.queue_index = static_cast<std::uint32_t>(queue),
                                       .stream_size = bytes,
                                       .stream_addr = address,
                                       .syncs = {.stride = sizeof(uapi::drm_panthor_sync_op),
                                                 .count = static_cast<std::uint32_t>(ops.size()),
                                                 .array = reinterpret_cast<std::uint64_t>(ops.data())}};
    uapi::drm_panthor_group_submit submit{
        .group_handle = impl_->shared->handle,
        .queue_submits = {.stride = sizeof job, .count = 1, .array = reinterpret_cast<std::uint64_t>(&job)}};
    const client::Connection& connection = *impl_->shared->connection;
    if (const auto done = connection.transport->ioctl(DRM_IOCTL_PANTHOR_GROUP_SUBMIT, &submit); !done)
        return std::unexpected(client::error_of(
            done.error(), fmt::format("submitting {} bytes at {:#x} to queue {}", bytes, address, queue)));
    return {};
}

Result<void> Group::own(const SyncObject& object) {
    const GroupShared& shared = *impl_->shared;
    if (!shared.doorbell)
        return std::unexpected(
            Error{.code = EINVAL, .message = "a group of kernel-mode submission owns no sync objects"});
    if (shared.owns(object)) return {};
    for (std::uint64_t& owned : shared.page().owned) {
        std::uint64_t none = 0;
        // The driver reads it when the group has ended, and nothing else with it: no order is needed.
        if (std::atomic_ref(owned).compare_exchange_strong(none, object.address(), kRelaxed)) return {};
    }
    return std::unexpected(
        Error{.code = ENOSPC,
              .message = fmt::format("the group owns {} sync objects, and there can be no more",
                                     BELFRY_OWNED_SYNC_OBJECTS)});
}

Result<std::uint64_t> Group::wait(const SyncObject& object, std::uint64_t target,
                                  const WaitOptions& options) const {
    const GroupShared& shared = *impl_->shared;
    auto& memory = *static_cast<uapi::belfry_sync_object64*>(object.object_);
    const std::uint64_t deadline = client::deadline_of(options);
    auto value = client::spin_for(memory, target, static_cast<std::uint64_t>(options.spin.count()));
    bool ended = false;
    if (!value && shared.doorbell) {
        const std::uint32_t& state = impl_->queues.front().impl_->output().group_state;
        value = client::sleep_for(memory, target, deadline, shared.owns(object) ? nullptr : &state);
        ended = base::load(state, kAcquire) != 0;
    } else {
        while (!value && !ended) {
            const std::uint64_t now = base::monotonic_ns();
            if (deadline != 0 && now >= deadline) break;
            const std::uint64_t look = now + kGroupLookNs;
            value = client::sleep_for(memory, target, deadline != 0 ? std::min(look, deadline) : look);
            const auto status = shared.status();
            ended = !status || !status->alive;
        }
    }
    if (!value && ended) value = client::look(memory, target);  // what it did before its end is seen
    if (value && !client::says_ended(memory, *value)) return *value;
    if (value || ended) return std::unexpected(shared.ended());
    return std::unexpected(client::wait_timed_out(memory, target));
}

namespace {

/// A mapping of the ring with itself behind it.
Result<base::Mapping> map_ring(const client::Connection& connection, std::uint64_t offset,
                               std::size_t bytes) {
    const auto failed = [](base::Errno code) {
        return std::unexpected(client::error_of(code, "mapping a ring buffer"));
    };
    void* const room =
        ::mmap(nullptr, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) return failed(static_cast<base::Errno>(errno));
    base::Mapping mapping(static_cast<std::byte*>(room), 2 * bytes);
    for (std::byte* const half : {mapping.data(), mapping.data() + bytes})
        if (const auto placed = connection.transport->mmap_at(half, offset, bytes, PROT_READ | PROT_WRITE);
            !placed)
            return failed(placed.error());
    return mapping;
}

}  // namespace

Result<Group> Vm::create_group(const GroupOptions& options) {
    const client::Connection& connection = *impl_->connection;
    const std::string what = fmt::format("creating a group of {} queues", options.queues.size());
    base::Fd doorbell_eventfd;
    if (options.user_submit) {
        auto made = base::make_eventfd();
        if (!made) return std::unexpected(client::error_of(made.error(), what));
        doorbell_eventfd = std::move(*made);
    }
    std::vector<uapi::drm_panthor_queue_create> queues;
    queues.reserve(options.queues.size());
    for (const QueueOptions& queue : options.queues)
        queues.push_back({.priority = queue.priority, .ringbuf_size = queue.ring_bytes});
    uapi::drm_panthor_group_create create{
        .queues = {.stride = sizeof queues[0],
                   .count = static_cast<std::uint32_t>(queues.size()),
                   .array = reinterpret_cast<std::uint64_t>(queues.data())},
        .priority = static_cast<std::uint8_t>(options.priority),
        .flags = options.user_submit ? std::uint32_t{uapi::DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT |
                                                     uapi::DRM_PANTHOR_GROUP_CREATE_DOORBELL_EVENTFD}
                                     : 0,
        .vm_id = impl_->id,
        .eventfd_sync_update = options.sync_update_eventfd,
        .eventfd_group_state = options.group_state_eventfd,
        .eventfd_doorbell = doorbell_eventfd.get(),
    };
    if (const auto done = client::request(connection, DRM_IOCTL_PANTHOR_GROUP_CREATE, &create, what); !done)
        return std::unexpected(done.error());

    auto group = std::make_unique<Group::Impl>();
    group->shared = std::make_shared<GroupShared>(impl_->connection, create.group_handle);
    group->shared->doorbell_eventfd = std::move(doorbell_eventfd);
    if (!options.user_submit) return Group(std::move(group));

    constexpr int kReadWrite = PROT_READ | PROT_WRITE;
    auto doorbell = connection.transport->mmap(queues[0].doorbell_offset, base::kPageBytes, kReadWrite);
    if (!doorbell) return std::unexpected(client::error_of(doorbell.error(), "mapping a doorbell"));
    group->shared->doorbell = std::move(*doorbell);
    for (std::uint32_t i = 0; i < queues.size(); ++i) {
        auto queue = std::make_unique<Queue::Impl>();
        queue->group = group->shared;
        queue->index = i;
        queue->ring_bytes = queues[i].ringbuf_size;
        auto ring = map_ring(connection, queues[i].ringbuf_offset, queues[i].ringbuf_size);
        if (!ring) return std::unexpected(ring.error());
        queue->ring = std::move(*ring);
        // The output page comes read-only whatever is asked for.
        auto io = connection.transport->mmap(queues[i].user_io_offset, 2 * base::kPageBytes, kReadWrite);
        if (!io) return std::unexpected(client::error_of(io.error(), "mapping user I/O pages"));
        queue->io = std::move(*io);
        group->queues.push_back(Queue(std::move(queue)));
    }
    return Group(std::move(group));
}

}  // namespace belfry
