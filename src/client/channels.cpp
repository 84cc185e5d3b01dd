#include "client/channels.hpp"

#include <cstring>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/clock.hpp"
#include "base/memory.hpp"

namespace belfry::client {

namespace {

/// Which open file a descriptor stands for.
struct FileIdentity {
    dev_t device = 0;
    ino_t inode = 0;
    bool operator==(const FileIdentity&) const = default;

    static FileIdentity of(int fd) {
        struct stat status{};
        return ::fstat(fd, &status) == 0 ? FileIdentity{status.st_dev, status.st_ino} : FileIdentity{};
    }
};

/// A reply is looked for so long before the thread sleeps: most are there sooner than a wake-up takes, and
/// waking us would be the greater part of what a request costs the driver.
constexpr std::uint64_t kSpinNs = 30'000;
/// Between two looks, which hold up whoever sends.
constexpr std::uint64_t kSpinPauseNs = 2000;

bool has_several_cpus() {
    // Constant-initialised: no lock, which a fork could leave behind taken. relaxed: all find the same
    // number.
    static std::atomic<long> cpus = 0;
    long known = cpus.load(std::memory_order_relaxed);
    if (known == 0) {
        known = ::sysconf(_SC_NPROCESSORS_ONLN);
        cpus.store(known, std::memory_order_relaxed);
    }
    return known > 1;
}

/// The same open file under a number that no program expects; the old one if the limits allow none.
base::Fd moved_up(base::Fd fd) {
    // The usual limit is 1024; some have far less.
    for (const int lowest : {1000, 500, 200, 50}) {
        base::Fd moved(::fcntl(fd.get(), F_DUPFD_CLOEXEC, lowest));
        if (moved) return moved;
    }
    return fd;
}

}  // namespace

/// A channel, and the memory that its requests and replies use again and again.
struct Channels::Channel {
    Channel(base::Fd fd, pid_t pid)
        : socket(std::move(fd)), identity(FileIdentity::of(socket.get())), owner(pid) {}
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;
    ~Channel() {
        if (!is_intact()) [[maybe_unused]]
            const int somebody_elses = socket.release();
    }
    /// False: the program closed our descriptor, and its number may mean something else by now.
    [[nodiscard]] bool is_intact() const { return FileIdentity::of(socket.get()) == identity; }

    /// Sends, and waits for the reply, which is then in `reply`.
    Result<void> exchange(int primary, const uapi::MessageHeader& header, std::span<const std::byte> payload,
                          std::span<const int> fds);

    base::Fd socket;
    FileIdentity identity;
    pid_t owner;  // the process that made it; a forked child holds a copy that it must never use
    uapi::Outgoing outgoing;
    uapi::MessageBuffer reply;
};

Result<void> Channels::ioctl(int primary, std::uint32_t request, void* args, int target) {
    auto channel = take(primary);
    if (!channel) return std::unexpected(channel.error());
    uapi::Outgoing& out = (*channel)->outgoing;
    if (const auto flat = uapi::marshal(request, args, out, memory_, target); !flat) {
        keep(std::move(*channel));
        return flat;
    }
    uapi::MessageHeader header;
    header.kind = uapi::MessageKind::ioctl;
    header.request = request;
    if (const auto done = (*channel)->exchange(primary, header, out.payload, out.fds); !done) return done;

    uapi::MessageBuffer& reply = (*channel)->reply;
    const auto result =
        uapi::unmarshal_reply(out, reply.header.result, reply.payload, reply.fds, args, memory_);
    keep(std::move(*channel));
    return result;
}

Result<MapPlan> Channels::plan_mmap(int primary, std::uint64_t offset, std::size_t bytes, int protection) {
    if (bytes == 0 || offset % base::kPageBytes != 0) return std::unexpected(Errno::invalid);
    auto channel = take(primary);
    if (!channel) return std::unexpected(channel.error());
    const uapi::MmapRequest request{.offset = offset, .bytes = bytes, .protection = protection, .pad = 0};
    uapi::MessageHeader header;
    header.kind = uapi::MessageKind::mmap;
    if (const auto done = (*channel)->exchange(primary, header, std::as_bytes(std::span(&request, 1)), {});
        !done)
        return std::unexpected(done.error());

    uapi::MessageBuffer& reply = (*channel)->reply;
    MapPlan plan{.fds = std::move(reply.fds), .segments = {}, .bytes = 0};
    const std::int32_t result = reply.header.result;
    const std::size_t count = reply.payload.size() / sizeof(uapi::MmapSegment);
    bool sound = reply.payload.size() % sizeof(uapi::MmapSegment) == 0;
    if (result == 0 && sound) {
        plan.segments.resize(count);
        std::memcpy(plan.segments.data(), reply.payload.data(), reply.payload.size());
    }
    keep(std::move(*channel));
    if (result != 0) return std::unexpected(static_cast<Errno>(result));

    // Each piece must lie within what is reserved for all of them: MAP_FIXED replaces whatever is there.
    const std::uint64_t wanted = base::round_up_to_page(bytes);
    if (wanted < bytes) return std::unexpected(Errno::no_memory);
    for (const uapi::MmapSegment& segment : plan.segments) {
        sound = sound && segment.fd_index < plan.fds.size() && segment.bytes != 0 &&
                segment.bytes % base::kPageBytes == 0 && segment.fd_offset % base::kPageBytes == 0 &&
                segment.bytes <= wanted - plan.bytes;
        if (!sound) break;
        plan.bytes += segment.bytes;
    }
    if (!sound || plan.bytes != wanted) return std::unexpected(Errno::protocol);
    return plan;
}

void Channels::drop_idle() {
    for (auto& slot : idle_) delete slot.exchange(nullptr, std::memory_order_acquire);
}

Result<std::unique_ptr<Channels::Channel>> Channels::take(int primary) {
    const pid_t self = ::getpid();
    for (auto& slot : idle_) {
        if (slot.load(std::memory_order_relaxed) == nullptr) continue;
        // acquire: pairs with the release of keep(), so that the channel's memory is seen as it was left.
        std::unique_ptr<Channel> channel(slot.exchange(nullptr, std::memory_order_acquire));
        if (channel == nullptr) continue;  // another thread was faster
        // In a forked child: the parent still uses the other copy, and replies to it must not be read here.
        // Closing ours does not disturb it.
        if (channel->owner == self && channel->is_intact()) return channel;
    }

    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return base::last_error();
    const base::Fd theirs(ends[1]);
    base::Fd mine = moved_up(base::Fd(ends[0]));
    for (;;) {
        const auto sent = uapi::send_channel(primary, theirs.get());
        if (sent) break;
        // Whoever else holds the DRM fd may have made it non-blocking; that is a property of all copies.
        if (sent.error() != Errno::again) return std::unexpected(Errno::no_device);
        pollfd room{.fd = primary, .events = POLLOUT, .revents = 0};
        ::poll(&room, 1, -1);
    }
    return std::make_unique<Channel>(std::move(mine), self);
}

void Channels::keep(std::unique_ptr<Channel> channel) {
    // What a request was long with is not kept for those that are short.
    if (channel->outgoing.payload.capacity() > uapi::kInlinePayloadMax) channel->outgoing.payload = {};
    channel->reply.fds.clear();
    for (auto& slot : idle_) {
        Channel* expected = nullptr;
        // release: pairs with the acquire of take().
        if (slot.compare_exchange_strong(expected, channel.get(), std::memory_order_release,
                                         std::memory_order_relaxed)) {
            [[maybe_unused]] const Channel* const kept = channel.release();
            return;
        }
    }
    // More threads at once than slots: this channel closes.
}

namespace {

/// A channel broke. With the primary: the driver is gone. Without: it had no descriptor left for this
/// channel, or this file has too many of them.
Errno channel_lost(int primary) {
    // A driver that is killed has its sockets closed in any order: the primary's end may be yet to come.
    constexpr int kLongestDeathMs = 100;
    pollfd file{.fd = primary, .events = POLLIN | POLLRDHUP, .revents = 0};
    const bool gone = ::poll(&file, 1, kLongestDeathMs) != 0;  // nothing ever comes back over it, but its end
    return gone ? Errno::no_device : Errno::too_many_files;
}

}  // namespace

Result<void> Channels::Channel::exchange(int primary, const uapi::MessageHeader& header,
                                         std::span<const std::byte> payload, std::span<const int> fds) {
    if (const auto sent = uapi::send_message(socket.get(), header, payload, fds, 0); !sent) {
        switch (sent.error()) {
            // Of this process and this request, not of the channel; it will be closed all the same.
            case Errno::no_memory:
            case Errno::too_many_files:
            case Errno::bad_fd:         return sent;
            default:                    return std::unexpected(channel_lost(primary));
        }
    }
    const std::uint64_t until = has_several_cpus() ? base::monotonic_ns() + kSpinNs : 0;
    auto received = uapi::receive_message(socket.get(), reply, MSG_DONTWAIT);
    while (!received && received.error() == Errno::again) {
        const bool spins = base::relax_for(kSpinPauseNs) < until;
        received = uapi::receive_message(socket.get(), reply, spins ? MSG_DONTWAIT : 0);
    }
    if (!received && received.error() == Errno::protocol) return std::unexpected(Errno::protocol);
    if (!received || !*received) return std::unexpected(channel_lost(primary));
    return {};
}

Result<void> place(const MapPlan& plan, void* address, int protection) {
    auto* at = static_cast<std::byte*>(address);
    for (const uapi::MmapSegment& segment : plan.segments) {
        // The user I/O object of a queue is one mapping of 8 KiB in the ABI: the input page, which the
        // program writes, then the output page, which only the GPU writes. A program maps both with one call
        // that asks for PROT_WRITE, so that the second must come out read-only instead of making the call
        // fail.
        int allowed = protection;
        if (segment.access == uapi::MmapSegment::kReadOnly) allowed &= ~PROT_WRITE;
        if (::mmap(at, segment.bytes, allowed, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
                   plan.fds[segment.fd_index].get(), static_cast<off_t>(segment.fd_offset)) == MAP_FAILED)
            return base::last_error();
        at += segment.bytes;
    }
    return {};
}

}  // namespace belfry::client
