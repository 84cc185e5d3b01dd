#include "uapi/wire.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <linux/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/check.hpp"
#include "belfry/uapi/drm.h"
#include "belfry/uapi/panthor_drm.h"

namespace belfry::uapi {
namespace {

std::unexpected<Errno> fail(Errno error) { return std::unexpected(error); }

template <typename T>
T read_at(std::span<const std::byte> bytes, std::size_t offset) {
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

template <typename T>
void write_at(std::span<std::byte> bytes, std::size_t offset, std::type_identity_t<T> value) {
    std::memcpy(bytes.data() + offset, &value, sizeof value);
}

// ---- Messages

// One more than a message may have, for its payload.
constexpr std::size_t kAncillaryFdsMax = kMessageFdsMax + 1;

// Not in the headers of older systems. A client can switch it on for our end of a channel before it sends it.
constexpr int kScmPidfd = 0x04;

/// A memfd that holds `bytes` and never changes again.
Result<base::Fd> make_payload_memfd(std::span<const std::byte> bytes) {
    base::Fd fd(::memfd_create("belfry-payload", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd) return base::last_error();
    while (!bytes.empty()) {
        const auto written = ::write(fd.get(), bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return fail(Errno::no_memory);
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        return base::last_error();
    return fd;
}

/// Reads a payload out of a descriptor that a peer says is such a memfd.
Result<void> read_payload_memfd(int fd, std::size_t bytes, std::vector<std::byte>& to) {
    // The seals come first: only files in memory have any, so the calls after this one cannot be made to wait
    // by whoever serves the file (FUSE). The seals themselves do not matter, as nothing is mapped and a file
    // that shrinks meanwhile is a short read.
    if (::fcntl(fd, F_GET_SEALS) < 0) return fail(Errno::protocol);
    struct stat status{};
    if (::fstat(fd, &status) != 0 || status.st_size != static_cast<off_t>(bytes))
        return fail(Errno::protocol);
    to.resize(bytes);
    std::size_t done = 0;
    while (done < bytes) {
        const auto got = ::pread(fd, to.data() + done, bytes - done, static_cast<off_t>(done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return fail(Errno::protocol);
        done += static_cast<std::size_t>(got);
    }
    return {};
}

Result<void> send_packet(int socket, std::span<iovec> parts, std::span<const int> fds, int flags) {
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(kAncillaryFdsMax * sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    if (!fds.empty()) {
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(fds.size_bytes());
        cmsghdr* const header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(fds.size_bytes());
        std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
    }
    for (;;) {
        if (::sendmsg(socket, &message, flags | MSG_NOSIGNAL) >= 0) return {};
        if (errno != EINTR) return base::last_error();
    }
}

struct Packet {
    std::size_t bytes = 0;
    std::vector<base::Fd> fds;
    bool whole = true;  // nothing was cut off, and nothing came that we did not ask for
};

Result<Packet> receive_packet(int socket, std::span<iovec> parts, int flags) {
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(kAncillaryFdsMax * sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ssize_t got = -1;
    do {
        got = ::recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0) return base::last_error();

    Packet packet;
    packet.bytes = static_cast<std::size_t>(got);
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) packet.whole = false;
    // Each descriptor is owned before anything is judged: the kernel has installed them all.
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET ||
            (header->cmsg_type != SCM_RIGHTS && header->cmsg_type != kScmPidfd))
            continue;
        if (header->cmsg_type == kScmPidfd) packet.whole = false;
        const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
            packet.fds.emplace_back(fd);
        }
    }
    return packet;
}

}  // namespace

// The inline part is not zeroed: most messages touch the first few hundred bytes only.
MessageBuffer::MessageBuffer() : inline_(std::make_unique_for_overwrite<std::byte[]>(kInlinePayloadMax)) {}

Result<void> send_message(int socket, MessageHeader header, std::span<const std::byte> payload,
                          std::span<const int> fds, int flags) {
    if (fds.size() > kMessageFdsMax || payload.size() > kPayloadBytesMax) return fail(Errno::too_big);
    std::array<int, kAncillaryFdsMax> all{};
    std::ranges::copy(fds, all.begin());
    std::size_t fd_count = fds.size();

    base::Fd memfd;
    header.payload_bytes = static_cast<std::uint32_t>(payload.size());
    header.fd_count = static_cast<std::uint16_t>(fds.size());
    header.flags = 0;
    std::array<iovec, 2> parts{iovec{&header, sizeof header},
                               iovec{const_cast<std::byte*>(payload.data()), payload.size()}};
    if (payload.size() > kInlinePayloadMax) {
        auto made = make_payload_memfd(payload);
        if (!made) return std::unexpected(made.error());
        memfd = std::move(*made);
        header.flags |= MessageHeader::kPayloadInMemfd;
        all[fd_count++] = memfd.get();
        parts[1].iov_len = 0;
    }
    return send_packet(socket, parts, std::span(all).first(fd_count), flags);
}

Result<bool> receive_message(int socket, MessageBuffer& buffer, int flags) {
    buffer.header = {};
    buffer.payload = {};
    buffer.fds.clear();
    buffer.large_ = {};
    MessageHeader header;
    std::array<iovec, 2> parts{iovec{&header, sizeof header}, iovec{buffer.inline_.get(), kInlinePayloadMax}};
    auto packet = receive_packet(socket, parts, flags);
    if (!packet) return std::unexpected(packet.error());
    if (packet->bytes == 0) return false;
    if (!packet->whole || packet->bytes < sizeof header || header.magic != MessageHeader::kMagic ||
        header.version != MessageHeader::kVersion)
        return fail(Errno::protocol);

    const std::size_t inline_bytes = packet->bytes - sizeof header;
    if ((header.flags & MessageHeader::kPayloadInMemfd) != 0) {
        if (inline_bytes != 0 || packet->fds.empty()) return fail(Errno::protocol);
        if (header.payload_bytes > kPayloadBytesMax) return fail(Errno::no_memory);
        const base::Fd memfd = std::move(packet->fds.back());
        packet->fds.pop_back();
        if (const auto read = read_payload_memfd(memfd.get(), header.payload_bytes, buffer.large_); !read)
            return std::unexpected(read.error());
        buffer.payload = buffer.large_;
    } else {
        if (inline_bytes != header.payload_bytes) return fail(Errno::protocol);
        buffer.payload = std::span(buffer.inline_.get(), inline_bytes);
    }
    if (packet->fds.size() != header.fd_count || packet->fds.size() > kMessageFdsMax)
        return fail(Errno::protocol);
    buffer.header = header;
    buffer.fds = std::move(packet->fds);
    return true;
}

Result<void> send_channel(int primary, int channel) {
    std::byte nothing{};
    iovec part{&nothing, 1};
    return send_packet(primary, std::span(&part, 1), std::span(&channel, 1), 0);
}

Result<base::Fd> receive_channel(int primary) {
    std::byte nothing{};
    iovec part{&nothing, 1};
    auto packet = receive_packet(primary, std::span(&part, 1), MSG_DONTWAIT);
    if (!packet) return std::unexpected(packet.error());
    if (packet->bytes == 0) return base::Fd();
    if (!packet->whole || packet->fds.size() != 1) return fail(Errno::protocol);
    // Only what can be a channel: nothing else is ever read from.
    int domain = 0;
    int type = 0;
    socklen_t length = sizeof domain;
    const int fd = packet->fds.front().get();
    if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0 || domain != AF_UNIX)
        return fail(Errno::protocol);
    if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) != 0 || type != SOCK_SEQPACKET)
        return fail(Errno::protocol);
    return std::move(packet->fds.front());
}

// ---- The program's side

const UserMemory kPlainMemory{
    .read =
        [](void* to, const void* user, std::size_t bytes) {
            std::memcpy(to, user, bytes);
            return true;
        },
    .write =
        [](void* user, const void* from, std::size_t bytes) {
            std::memcpy(user, from, bytes);
            return true;
        },
};

namespace {

/// An element or struct as we know it, whatever length the program's has.
class Normalised {
  public:
    Normalised(const StructLayout& layout, std::span<const std::byte> bytes) : bytes_(layout.bytes) {
        BELFRY_CHECK(bytes_ <= copy_.size());
        std::ranges::copy(bytes.first(std::min(bytes_, bytes.size())), copy_.begin());
    }
    [[nodiscard]] std::span<const std::byte> get() const { return std::span(copy_).first(bytes_); }
    [[nodiscard]] std::span<std::byte> get() { return std::span(copy_).first(bytes_); }

  private:
    std::array<std::byte, 256> copy_{};
    std::size_t bytes_;
};

bool read_user(const UserMemory& memory, void* to, std::uint64_t user, std::size_t bytes) {
    return bytes == 0 || (user != 0 && memory.read(to, reinterpret_cast<const void*>(user), bytes));
}

bool write_user(const UserMemory& memory, std::uint64_t user, const void* from, std::size_t bytes) {
    return bytes == 0 || (user != 0 && memory.write(reinterpret_cast<void*>(user), from, bytes));
}

class Flattener {
  public:
    Flattener(Outgoing& out, const UserMemory& memory) : out_(out), memory_(memory) {}

    // By value: the payload, where it came from, grows and moves.
    Result<void> attachments_of(const StructLayout& layout, const Normalised object) {  // NOLINT
        for (const Attachment& attachment : layout.attachments) {
            const auto extent = extent_of(attachment, object.get());
            if (!extent) return std::unexpected(extent.error());
            if (!extent->present) continue;
            if (goes_out(attachment.direction)) {
                out_.copy_back.push_back({&attachment, *extent});
                out_.reply_bytes += extent->our_bytes;
                if (out_.reply_bytes > kPayloadBytesMax) return fail(Errno::no_memory);
            }
            if (goes_in(attachment.direction)) {
                const auto copied = attachment.kind == AttachmentKind::c_string
                                        ? c_string(*extent)
                                        : elements(attachment, *extent);
                if (!copied) return copied;
            }
        }
        return {};
    }

  private:
    Result<void> elements(const Attachment& attachment, const Extent& extent) {
        const std::size_t at = out_.payload.size();
        if (at + extent.bytes > kPayloadBytesMax) return fail(Errno::no_memory);
        out_.payload.resize(at + extent.bytes);
        if (!read_user(memory_, out_.payload.data() + at, extent.pointer, extent.bytes))
            return fail(Errno::fault);
        if (attachment.element == nullptr || attachment.element->attachments.empty()) return {};
        for (std::uint64_t i = 0; i < extent.count; ++i) {
            const auto element = std::span(out_.payload).subspan(at + i * extent.stride, extent.stride);
            const auto copied = attachments_of(*attachment.element, Normalised(*attachment.element, element));
            if (!copied) return copied;
        }
        return {};
    }

    /// With its NUL, which ends it on the wire; without if it is longer than the handler will take.
    Result<void> c_string(const Extent& extent) {
        for (std::uint64_t i = 0; i < extent.count; ++i) {
            std::byte character{};  // one by one: nobody says what lies behind the NUL
            if (!read_user(memory_, &character, extent.pointer + i, 1)) return fail(Errno::fault);
            out_.payload.push_back(character);
            if (character == std::byte{}) break;
        }
        return {};
    }

    Outgoing& out_;
    const UserMemory& memory_;
};

}  // namespace

int UserMemory::own_descriptor(int number) {
    return number >= 0 && ::fcntl(number, F_GETFD) >= 0 ? number : -1;
}

Result<void> marshal(std::uint32_t request, const void* args, Outgoing& out, const UserMemory& memory,
                     int target) {
    const auto ioctl = find_ioctl(request);
    if (!ioctl) return std::unexpected(ioctl.error());
    const StructLayout& layout = *(*ioctl)->layout;
    out.ioctl = *ioctl;
    out.request = request;
    out.payload.assign(layout.bytes, std::byte{});
    out.fds.clear();
    out.numbers.clear();
    out.copy_back.clear();
    out.reply_bytes = layout.bytes;

    if ((*ioctl)->target) {
        const int fd = memory.descriptor(target);
        if (fd < 0) return fail(Errno::bad_fd);
        out.fds.push_back(fd);
    }
    if ((*ioctl)->by_value) {
        write_at<std::uint64_t>(out.payload, 0, reinterpret_cast<std::uint64_t>(args));
    } else {
        const std::size_t bytes = std::min(bytes_in(request, **ioctl), layout.bytes);
        if (!read_user(memory, out.payload.data(), reinterpret_cast<std::uint64_t>(args), bytes))
            return fail(Errno::fault);
    }
    if (!layout.attachments.empty()) {
        const auto flat = Flattener(out, memory).attachments_of(layout, Normalised(layout, out.payload));
        if (!flat) return flat;
    }

    for (const DescriptorField& field : (*ioctl)->descriptors) {
        const auto number = read_at<std::int32_t>(out.payload, field.offset);
        out.numbers.push_back(number);
        if (!descriptor_meant(field, out.payload) || number < 0) continue;
        if (const int fd = memory.descriptor(number); fd >= 0)
            out.fds.push_back(fd);
        else
            write_at<std::int32_t>(out.payload, field.offset, kClosedDescriptor);
    }
    return {};
}

namespace {

/// What a successful reply gives the program: takes them out of `fds` and puts their numbers into `object`.
/// EPROTO if the reply names one that did not come.
Result<std::vector<base::Fd>> take_given(const Outgoing& out, std::span<std::byte> object,
                                         std::span<base::Fd> fds) {
    std::vector<base::Fd> given;
    for (const DescriptorField& field : out.ioctl->descriptors) {
        if (field.direction != Direction::out) continue;
        const auto index = read_at<std::int32_t>(object, field.offset);
        if (index < 0 || static_cast<std::size_t>(index) >= fds.size()) return fail(Errno::protocol);
        base::Fd fd = std::move(fds[static_cast<std::size_t>(index)]);
        if (!fd) return fail(Errno::protocol);  // named twice
        const bool inherited =
            field.flag != 0 && (read_at<std::uint32_t>(object, field.flags_offset) & field.flag) == 0;
        if (inherited && ::fcntl(fd.get(), F_SETFD, 0) != 0) return base::last_error();
        write_at<std::int32_t>(object, field.offset, fd.get());
        given.push_back(std::move(fd));
    }
    return given;
}

}  // namespace

Result<void> unmarshal_reply(const Outgoing& out, std::int32_t result, std::span<const std::byte> payload,
                             std::span<base::Fd> fds, void* args, const UserMemory& memory) {
    const StructLayout& layout = *out.ioctl->layout;
    if (result < 0 || result > 4095) return fail(Errno::protocol);
    const std::uint64_t expected = result == 0 ? out.reply_bytes : layout.bytes;
    // A request that was refused before the driver saw it changed nothing, so nothing comes back.
    if (payload.size() != expected && (result == 0 || !payload.empty())) return fail(Errno::protocol);

    bool copied = true;
    std::vector<base::Fd> given;
    // Only DRM copies the struct of a request that failed.
    if (!payload.empty() && (result == 0 || _IOC_TYPE(out.request) == BELFRY_DRM_IOCTL_BASE)) {
        Normalised object(layout, payload);
        for (std::size_t i = 0; i < out.numbers.size(); ++i) {
            const DescriptorField& field = out.ioctl->descriptors[i];
            if (field.direction == Direction::in || result != 0)
                write_at<std::int32_t>(object.get(), field.offset, out.numbers[i]);
        }
        if (result == 0 && !out.numbers.empty()) {
            auto taken = take_given(out, object.get(), fds);
            if (!taken) return std::unexpected(taken.error());
            given = std::move(*taken);
        }
        const std::size_t bytes =
            out.ioctl->by_value ? 0 : std::min(bytes_out(out.request, *out.ioctl), layout.bytes);
        copied = write_user(memory, reinterpret_cast<std::uint64_t>(args), object.get().data(), bytes);
    }
    if (result == 0) {
        std::size_t at = layout.bytes;
        for (const auto& [attachment, extent] : out.copy_back) {
            const std::byte* const from = payload.data() + at;
            at += extent.our_bytes;
            if (attachment->kind == AttachmentKind::string) {
                // What lies behind the string's end in the program's memory stays as it was.
                const auto length = read_at<std::uint64_t>(payload, attachment->count_offset);
                copied &= write_user(memory, extent.pointer, from, std::min(extent.our_bytes, length));
            } else if (extent.stride == attachment->element_bytes) {
                std::uint64_t filled = extent.our_bytes;
                if (attachment->kind == AttachmentKind::array) {
                    // The driver may say that it filled fewer than there was room for.
                    const auto count = read_at<std::uint32_t>(payload, attachment->count_offset);
                    filled = std::min(filled, std::uint64_t{count} * attachment->element_bytes);
                }
                copied &= write_user(memory, extent.pointer, from, filled);
                constexpr std::array<std::byte, 4096> kZeros{};
                for (std::uint64_t done = 0; copied && done < extent.tail; done += kZeros.size())
                    copied &= write_user(memory, extent.pointer + extent.our_bytes + done, kZeros.data(),
                                         std::min<std::uint64_t>(kZeros.size(), extent.tail - done));
            } else {
                const std::size_t bytes = std::min(extent.stride, attachment->element_bytes);
                for (std::uint64_t i = 0; copied && i < extent.count; ++i) {
                    copied &= write_user(memory, extent.pointer + i * extent.stride,
                                         from + i * attachment->element_bytes, bytes);
                }
            }
        }
    }
    if (!copied) return fail(Errno::fault);
    if (result != 0) return fail(static_cast<Errno>(result));
    for (base::Fd& fd : given) [[maybe_unused]]
        const int programs = fd.release();  // its number is in the program's struct
    return {};
}

// ---- The driver's side

class IncomingCall::Parser {
  public:
    Parser(IncomingCall& call, std::span<const std::byte> payload) : call_(call), rest_(payload) {}

    Result<void> run() {
        const StructLayout& layout = *call_.ioctl_->layout;
        const auto object = take(layout.bytes);
        if (!object) return std::unexpected(object.error());
        call_.buffer_.assign(object->begin(), object->end());
        if (const auto taken = attachments_of(layout, 0); !taken) return taken;
        if (!rest_.empty()) return fail(Errno::protocol);
        if (const auto taken = descriptors(); !taken) return taken;
        // The buffer has its final address only now.
        for (const Pointer& pointer : pointers_) {
            const std::byte* const target =
                pointer.target == kNull ? nullptr : call_.buffer_.data() + pointer.target;
            write_at<std::uint64_t>(call_.buffer_, pointer.at, reinterpret_cast<std::uint64_t>(target));
        }
        return {};
    }

  private:
    static constexpr std::size_t kNull = SIZE_MAX;
    struct Pointer {  // both count from the start of the buffer
        std::size_t at;
        std::size_t target;
    };

    Result<std::span<const std::byte>> take(std::uint64_t bytes) {
        if (bytes > rest_.size()) return fail(Errno::protocol);
        const auto taken = rest_.first(bytes);
        rest_ = rest_.subspan(bytes);
        return taken;
    }

    /// Zeroed room at the end of the buffer, aligned for any element.
    Result<std::size_t> append(std::uint64_t bytes) {
        const std::size_t at = (call_.buffer_.size() + 7) & ~std::size_t{7};
        if (bytes > kPayloadBytesMax || at + bytes > kPayloadBytesMax) return fail(Errno::no_memory);
        call_.buffer_.resize(at + bytes);
        return at;
    }

    /// `at`: where the struct with that layout lies in the buffer.
    Result<void> attachments_of(const StructLayout& layout, std::size_t at) {
        for (const Attachment& attachment : layout.attachments) {
            const auto extent = extent_of(attachment, std::span(call_.buffer_).subspan(at, layout.bytes));
            if (!extent) return std::unexpected(extent.error());
            const auto elements = extent->present ? copy(attachment, *extent) : Result<std::size_t>(kNull);
            if (!elements) return std::unexpected(elements.error());
            point(attachment, at, *extent, *elements);

            if (!extent->present || attachment.element == nullptr) continue;
            const StructLayout& element = *attachment.element;
            if (element.attachments.empty()) continue;
            for (std::uint64_t i = 0; i < extent->count; ++i) {
                if (const auto nested = attachments_of(element, *elements + i * element.bytes); !nested)
                    return nested;
            }
        }
        return {};
    }

    /// Copies the elements into the buffer, each at our length.
    Result<std::size_t> copy(const Attachment& attachment, const Extent& extent) {
        if (attachment.kind == AttachmentKind::c_string) return c_string(extent);
        const auto source = take(goes_in(attachment.direction) ? extent.bytes : 0);
        if (!source) return std::unexpected(source.error());
        const auto at = append(extent.our_bytes);
        if (!at) return at;
        if (goes_out(attachment.direction))
            call_.outs_.push_back({*at, static_cast<std::size_t>(extent.our_bytes)});
        if (!goes_in(attachment.direction) || extent.bytes == 0) return at;

        const std::size_t ours = attachment.element_bytes;
        if (extent.stride == ours) {
            std::memcpy(call_.buffer_.data() + *at, source->data(), source->size());
            return at;
        }
        const std::size_t common = std::min<std::size_t>(extent.stride, ours);
        for (std::uint64_t i = 0; i < extent.count; ++i) {
            const auto element = source->subspan(i * extent.stride, extent.stride);
            // What we do not know must be zero: else the program means something that we would not do.
            if (std::ranges::any_of(element.subspan(common), [](std::byte b) { return b != std::byte{}; }))
                return fail(Errno::too_big);
            std::memcpy(call_.buffer_.data() + *at + i * ours, element.data(), common);
        }
        return at;
    }

    /// Up to its NUL, or as much as may come; with a NUL in any case.
    Result<std::size_t> c_string(const Extent& extent) {
        const auto longest = rest_.first(std::min<std::uint64_t>(rest_.size(), extent.count));
        const auto length =
            static_cast<std::size_t>(std::ranges::find(longest, std::byte{}) - longest.begin());
        if (length == longest.size() && length < extent.count) return fail(Errno::protocol);
        const auto at = append(length + 1);
        if (!at) return at;
        const auto source = take(std::min<std::uint64_t>(length + 1, extent.count));
        if (!source) return std::unexpected(source.error());
        std::memcpy(call_.buffer_.data() + *at, source->data(), length);
        return at;
    }

    /// Makes the struct at `at` point to the copy, and remembers what was there.
    void point(const Attachment& attachment, std::size_t at, const Extent& extent, std::size_t target) {
        std::size_t pointer = at + attachment.pointer_offset;
        if (attachment.kind == AttachmentKind::obj_array) {
            const std::size_t stride = pointer + offsetof(drm_panthor_obj_array, stride);
            pointer += offsetof(drm_panthor_obj_array, array);
            remember<std::uint32_t>(stride);
            write_at<std::uint32_t>(call_.buffer_, stride, attachment.element_bytes);
        }
        // The length that a handler sees is room that exists.
        if (attachment.kind == AttachmentKind::string && extent.present)
            write_at<std::uint64_t>(call_.buffer_, at + attachment.count_offset, extent.count);
        if (attachment.kind == AttachmentKind::array && attachment.direction == Direction::out)
            write_at<std::uint32_t>(call_.buffer_, at + attachment.count_offset,
                                    static_cast<std::uint32_t>(extent.count));
        if (attachment.kind == AttachmentKind::object && extent.tail != 0) {
            remember<std::uint32_t>(at + attachment.count_offset);
            write_at<std::uint32_t>(call_.buffer_, at + attachment.count_offset,
                                    static_cast<std::uint32_t>(extent.count));
        }
        remember<std::uint64_t>(pointer);
        pointers_.push_back({pointer, target});
    }

    Result<void> descriptors() {
        if (call_.ioctl_->target) {
            if (call_.fds_.empty()) return fail(Errno::protocol);
            call_.target_ = std::move(call_.fds_.front());
            call_.fds_.erase(call_.fds_.begin());
        }
        std::size_t next = 0;
        for (const DescriptorField& field : call_.ioctl_->descriptors) {
            std::int32_t index = kNoDescriptor;
            if (descriptor_meant(field, call_.args())) {
                const auto number = read_at<std::int32_t>(call_.args(), field.offset);
                if (number == kClosedDescriptor) index = kClosedDescriptor;
                if (number >= 0) {
                    if (next == call_.fds_.size()) return fail(Errno::protocol);
                    index = static_cast<std::int32_t>(next++);
                }
            }
            write_at<std::int32_t>(call_.buffer_, field.offset, index);
        }
        if (next != call_.fds_.size()) return fail(Errno::protocol);
        return {};
    }

    /// Only the struct goes back with pointers in it.
    template <typename T>
    void remember(std::size_t offset) {
        if (offset >= call_.ioctl_->layout->bytes) return;
        call_.originals_.push_back(
            {static_cast<std::uint32_t>(offset), sizeof(T), read_at<T>(call_.buffer_, offset)});
    }

    IncomingCall& call_;
    std::span<const std::byte> rest_;
    std::vector<Pointer> pointers_;
};

Result<IncomingCall> IncomingCall::parse(std::uint32_t request, std::span<const std::byte> payload,
                                         std::vector<base::Fd> fds) {
    const auto ioctl = find_ioctl(request);
    if (!ioctl) return std::unexpected(ioctl.error());
    if (payload.size() > kPayloadBytesMax) return fail(Errno::no_memory);
    IncomingCall call;
    call.ioctl_ = *ioctl;
    call.fds_ = std::move(fds);
    if (const auto parsed = Parser(call, payload).run(); !parsed) return std::unexpected(parsed.error());
    return call;
}

std::vector<std::byte> IncomingCall::reply(bool success) const {
    std::vector<std::byte> payload(buffer_.begin(),
                                   buffer_.begin() + static_cast<std::ptrdiff_t>(ioctl_->layout->bytes));
    for (const Original& original : originals_)
        std::memcpy(payload.data() + original.offset, &original.value, original.width);
    if (!success) return payload;
    for (const Range& out : outs_) {
        const auto from = buffer_.begin() + static_cast<std::ptrdiff_t>(out.offset);
        payload.insert(payload.end(), from, from + static_cast<std::ptrdiff_t>(out.bytes));
    }
    return payload;
}

// ---- Where they meet

std::expected<std::string, std::string> default_socket_path() {
    constexpr const char* kName = "/belfry.sock";
    if (const char* const directory = ::secure_getenv("XDG_RUNTIME_DIR");
        directory != nullptr && directory[0] == '/')
        return std::string(directory) + kName;

    const std::string uid = std::to_string(::geteuid());
    const std::string run = "/run/user/" + uid;
    struct stat status{};
    if (::stat(run.c_str(), &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == ::geteuid())
        return run + kName;

    // Anybody can make a name in /tmp. So a directory that is not ours alone is somebody's trap, not our
    // socket's.
    const std::string fallback = "/tmp/belfry-" + uid;
    if (::lstat(fallback.c_str(), &status) == 0 &&
        (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid() || (status.st_mode & 077) != 0))
        return std::unexpected("'" + fallback +
                               "' is not a directory of yours with mode 0700: refusing to use it");
    return fallback + kName;
}

}  // namespace belfry::uapi
