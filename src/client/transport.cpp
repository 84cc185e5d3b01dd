#include "client/transport.hpp"

#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace belfry::client {

/// A channel, and the memory that its requests and replies use again and again.
struct SocketTransport::Channel {
    Channel(base::Fd fd, pid_t pid) : socket(std::move(fd)), owner(pid) {}
    base::Fd socket;
    pid_t owner;  // the process that made it; a forked child holds a copy that it must never use
    uapi::Outgoing outgoing;
    uapi::MessageBuffer reply;
};

SocketTransport::SocketTransport(base::Fd primary, const uapi::UserMemory& memory)
    : primary_(std::move(primary)), memory_(memory) {}

SocketTransport::~SocketTransport() {
    for (auto& slot : idle_) delete slot.exchange(nullptr, std::memory_order_acquire);
}

Result<std::unique_ptr<SocketTransport>> SocketTransport::connect(const std::string& path,
                                                                  const uapi::UserMemory& memory) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty()) return std::unexpected(Errno::no_entry);
    if (path.size() >= sizeof address.sun_path) return std::unexpected(static_cast<Errno>(ENAMETOOLONG));
    std::memcpy(address.sun_path, path.data(), path.size());
    base::Fd primary(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (!primary) return base::last_error();
    while (::connect(primary.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        if (errno != EINTR) return base::last_error();
    return adopt(std::move(primary), memory);
}

std::unique_ptr<SocketTransport> SocketTransport::adopt(base::Fd primary, const uapi::UserMemory& memory) {
    return std::unique_ptr<SocketTransport>(new SocketTransport(std::move(primary), memory));
}

Result<void> SocketTransport::ioctl(std::uint32_t request, void* args) {
    count_request();
    auto channel = take_channel();
    if (!channel) return std::unexpected(channel.error());
    uapi::Outgoing& out = (*channel)->outgoing;
    if (const auto flat = uapi::marshal(request, args, out, memory_); !flat) {
        keep_channel(std::move(*channel));
        return flat;
    }
    uapi::MessageHeader header;
    header.kind = uapi::MessageKind::ioctl;
    header.request = request;
    if (const auto done = exchange(**channel, header, out.payload, out.fds); !done) return done;

    uapi::MessageBuffer& reply = (*channel)->reply;
    const auto result =
        uapi::unmarshal_reply(out, reply.header.result, reply.payload, reply.fds, args, memory_);
    keep_channel(std::move(*channel));
    return result;
}

Result<MapPlan> SocketTransport::plan_mmap(std::uint64_t offset, std::size_t bytes, int protection) {
    count_request();
    if (bytes == 0 || offset % base::kPageBytes != 0) return std::unexpected(Errno::invalid);
    auto channel = take_channel();
    if (!channel) return std::unexpected(channel.error());
    const uapi::MmapRequest request{.offset = offset, .bytes = bytes, .protection = protection, .pad = 0};
    uapi::MessageHeader header;
    header.kind = uapi::MessageKind::mmap;
    if (const auto done = exchange(**channel, header, std::as_bytes(std::span(&request, 1)), {}); !done)
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
    keep_channel(std::move(*channel));
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

Result<base::Mapping> SocketTransport::mmap(std::uint64_t offset, std::size_t bytes, int protection) {
    const auto plan = plan_mmap(offset, bytes, protection);
    if (!plan) return std::unexpected(plan.error());
    void* const range =
        ::mmap(nullptr, plan->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) return base::last_error();
    base::Mapping mapping(static_cast<std::byte*>(range), plan->bytes);
    if (const auto placed = place(*plan, range, protection); !placed) return std::unexpected(placed.error());
    return mapping;
}

Result<void> SocketTransport::mmap_at(std::byte* address, std::uint64_t offset, std::size_t bytes,
                                      int protection) {
    const auto plan = plan_mmap(offset, bytes, protection);
    if (!plan) return std::unexpected(plan.error());
    return place(*plan, address, protection);
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

// ---- Channels

Result<std::unique_ptr<SocketTransport::Channel>> SocketTransport::take_channel() {
    const pid_t self = ::getpid();
    for (auto& slot : idle_) {
        if (slot.load(std::memory_order_relaxed) == nullptr) continue;
        // acquire: pairs with the release of keep_channel(), so that the channel's memory is seen as it was
        // left.
        std::unique_ptr<Channel> channel(slot.exchange(nullptr, std::memory_order_acquire));
        if (channel == nullptr) continue;  // another thread was faster
        // In a forked child: the parent still uses the other copy, and replies to it must not be read here.
        // Closing ours does not disturb it.
        if (channel->owner == self) return channel;
    }

    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return base::last_error();
    base::Fd mine(ends[0]);
    const base::Fd theirs(ends[1]);
    for (;;) {
        const auto sent = uapi::send_channel(primary_.get(), theirs.get());
        if (sent) break;
        // Whoever else holds the DRM fd may have made it non-blocking; that is a property of all copies.
        if (sent.error() != Errno::again) return std::unexpected(Errno::no_device);
        pollfd room{.fd = primary_.get(), .events = POLLOUT, .revents = 0};
        ::poll(&room, 1, -1);
    }
    return std::make_unique<Channel>(std::move(mine), self);
}

void SocketTransport::keep_channel(std::unique_ptr<Channel> channel) {
    // What a request was long with is not kept for those that are short.
    if (channel->outgoing.payload.capacity() > uapi::kInlinePayloadMax) channel->outgoing.payload = {};
    channel->reply.fds.clear();
    for (auto& slot : idle_) {
        Channel* expected = nullptr;
        // release: pairs with the acquire of take_channel().
        if (slot.compare_exchange_strong(expected, channel.get(), std::memory_order_release,
                                         std::memory_order_relaxed)) {
            [[maybe_unused]] const Channel* const kept = channel.release();
            return;
        }
    }
    // More threads at once than slots: this channel closes.
}

Result<void> SocketTransport::exchange(Channel& channel, const uapi::MessageHeader& header,
                                       std::span<const std::byte> payload, std::span<const int> fds) {
    if (const auto sent = uapi::send_message(channel.socket.get(), header, payload, fds, 0); !sent) {
        switch (sent.error()) {
            // Of this process and this request, not of the channel; it will be closed all the same.
            case Errno::no_memory:
            case Errno::too_many_files:
            case Errno::bad_fd:         return sent;
            default:                    return std::unexpected(channel_lost());
        }
    }
    const auto received = uapi::receive_message(channel.socket.get(), channel.reply, 0);
    if (!received && received.error() == Errno::protocol) return std::unexpected(Errno::protocol);
    if (!received || !*received) return std::unexpected(channel_lost());
    return {};
}

/// A channel broke. With the primary: the driver is gone. Without: it had no descriptor left for this
/// channel, or this file has too many of them.
Errno SocketTransport::channel_lost() const {
    pollfd primary{.fd = primary_.get(), .events = POLLIN | POLLRDHUP, .revents = 0};
    const bool gone = ::poll(&primary, 1, 0) != 0;  // nothing ever comes back over it, but its end
    return gone ? Errno::no_device : Errno::too_many_files;
}

}  // namespace belfry::client
