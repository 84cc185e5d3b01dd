// The wire between a program and belfryd: messages, and how an ioctl is flattened into one and back.
//
// Called by the client's transport (marshal, unmarshal_reply), by the server's sessions (IncomingCall), and
// by both to move a message over a socket.
//
// A message is one SOCK_SEQPACKET packet: MessageHeader, then the payload. Payload of an ioctl:
//   request  the struct, zero-filled to our size; then each attachment that goes in, in the order of the
//   table and
//            depth first: all elements of an array, at the program's stride, then what these elements point
//            to
//   reply    the struct; on success then each attachment that goes out, elements at our stride
// Pointers and descriptor numbers in a request are the program's own, and mean nothing to the receiver but
// "there" or "not there"; a descriptor that is not open is kClosedDescriptor. Descriptors travel as ancillary
// data: the target, if the request has one, then those of the struct in the order of the table. A reply names
// what it gives by index. A payload that is too long for a packet lies in a sealed memfd, which is then the
// last descriptor.
//
// The two ends are always of one version of Belfry (version in the header), yet neither trusts the other: the
// server takes nothing for granted at all, and the client bounds what it copies by what it asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "uapi/ioctl_table.hpp"

namespace belfry::uapi {

using base::Errno;
using base::Result;

// ---- Messages

enum class MessageKind : std::uint16_t { ioctl = 1, mmap = 2 };

struct MessageHeader {
    std::uint32_t magic = kMagic;
    std::uint16_t version = kVersion;
    MessageKind kind = MessageKind::ioctl;
    std::uint32_t request = 0;  ///< ioctl: as the program passed it
    std::int32_t result = 0;    ///< reply: 0 or an errno
    std::uint32_t payload_bytes = 0;
    std::uint16_t fd_count = 0;  ///< without the one that holds the payload
    std::uint16_t flags = 0;     ///< kPayloadInMemfd

    static constexpr std::uint32_t kMagic = 0x52464c42;  // "BLFR"
    static constexpr std::uint16_t kVersion = 1;
    static constexpr std::uint16_t kPayloadInMemfd = 1U << 0;
};
static_assert(sizeof(MessageHeader) == 24);

/// Payload of an mmap request; of its reply: one MmapSegment a piece, in order.
struct MmapRequest {
    std::uint64_t offset;
    std::uint64_t bytes;
    std::int32_t protection;  ///< PROT_*
    std::uint32_t pad;
};
static_assert(sizeof(MmapRequest) == 24);

struct MmapSegment {
    std::uint64_t fd_offset;
    std::uint64_t bytes;
    std::uint32_t access;    ///< kReadOnly or kReadWrite: the most that may be done with it
    std::uint32_t fd_index;  ///< among the descriptors of the reply
    static constexpr std::uint32_t kReadOnly = 0;
    static constexpr std::uint32_t kReadWrite = 1;
};
static_assert(sizeof(MmapSegment) == 24);

inline constexpr std::size_t kInlinePayloadMax = 64U << 10;
/// Descriptors a message, without the one that holds the payload.
inline constexpr std::size_t kMessageFdsMax = 16;

/// Descriptor fields of requests: none was given (on the wire any other negative number), and one that is not
/// open. drm::Call has the same.
inline constexpr std::int32_t kNoDescriptor = -1;
inline constexpr std::int32_t kClosedDescriptor = -2;

/// Room for one received message at a time; keeps its memory for the next.
class MessageBuffer {
  public:
    MessageBuffer();
    MessageHeader header;
    std::span<const std::byte> payload;  ///< valid until the next receive_message()
    std::vector<base::Fd> fds;           ///< header.fd_count of them; take them, or they are closed

  private:
    friend Result<bool> receive_message(int socket, MessageBuffer& buffer, int flags);
    std::unique_ptr<std::byte[]> inline_;
    std::vector<std::byte> large_;
};

/// Sends one message; fills in `payload_bytes`, `fd_count` and kPayloadInMemfd of the header. `flags` as for
/// sendmsg (MSG_NOSIGNAL is added). May block if the socket and `flags` do. EINTR is retried.
Result<void> send_message(int socket, MessageHeader header, std::span<const std::byte> payload,
                          std::span<const int> fds, int flags);

/// Receives one message. False: the peer hung up. EPROTO: not a message of ours; whatever came with it is
/// closed. ENOMEM: a message of ours, but its payload is beyond kPayloadBytesMax and was not read. EAGAIN,
/// ECONNRESET as recvmsg. EINTR is retried.
Result<bool> receive_message(int socket, MessageBuffer& buffer, int flags);

/// Sends the end of a fresh channel over a primary socket; may block until there is room.
Result<void> send_channel(int primary, int channel);
/// Receives such an end. An empty Fd: the peer hung up. EPROTO: something else came. EAGAIN.
Result<base::Fd> receive_channel(int primary);

// ---- The program's side

/// How the program's memory is accessed; false: there is none. A program that links the client library gets
/// plain copies (a bad pointer ends it, as with any library); the preload library must answer EFAULT instead.
struct UserMemory {
    bool (*read)(void* to, const void* user, std::size_t bytes) = nullptr;
    bool (*write)(void* user, const void* from, std::size_t bytes) = nullptr;
    /// The descriptor of ours that is the program's `number`; negative if that is not open. Lent.
    int (*descriptor)(int number) = &own_descriptor;

    /// For programs that are this process.
    static int own_descriptor(int number);
};
extern const UserMemory kPlainMemory;

/// One request on its way, and what its reply will be copied to.
struct Outgoing {
    struct CopyBack {
        const Attachment* attachment = nullptr;
        Extent extent;
    };
    const Ioctl* ioctl = nullptr;
    std::uint32_t request = 0;
    std::vector<std::byte> payload;
    std::vector<int> fds;               ///< the program's; borrowed. First the target, if the request has one
    std::vector<std::int32_t> numbers;  ///< what each descriptor field of the struct held
    std::vector<CopyBack> copy_back;
    std::uint64_t reply_bytes = 0;  ///< of a successful reply
};

/// Flattens one request; `out` is overwritten and may be used again. The errors are those that the kernel
/// gives before a driver sees the request: ENOTTY, EINVAL, EFAULT, ENOMEM, and EBADF for a target that is not
/// open. What a handler says to other descriptors that are not open is its own affair.
///
/// `target`: what the program made the request on, for requests to a sync file or a dma-buf (Ioctl::target);
/// not looked at for others.
Result<void> marshal(std::uint32_t request, const void* args, Outgoing& out,
                     const UserMemory& memory = kPlainMemory, int target = -1);

/// Copies a reply to where the program wants it. Returns what ioctl() is to return: the driver's error,
/// EFAULT if the copy failed, EPROTO if the reply does not fit the request. As in the kernel, the struct is
/// copied even if the request failed, arrays only if it did not.
///
/// `fds` came with the reply: those that the program gets are the program's from now on, and their numbers
/// are in its struct; on failure none is, and those that were taken are closed.
Result<void> unmarshal_reply(const Outgoing& out, std::int32_t result, std::span<const std::byte> payload,
                             std::span<base::Fd> fds, void* args, const UserMemory& memory = kPlainMemory);

// ---- The driver's side

/// One request as it arrived: a private copy of all that the client sent, in one buffer.
///
/// Made of bytes of a hostile client. Within the buffer: the struct; arrays with their elements at our
/// stride, and the obj_array's stride says so; user pointers replaced by addresses in the buffer (null where
/// there is nothing); descriptor fields that go in replaced by indices into take_fds(), kNoDescriptor or
/// kClosedDescriptor, those that go out by kNoDescriptor. Out arrays are there too, zeroed. C strings end
/// with a NUL even if they were cut off.
class IncomingCall {
  public:
    /// EPROTO: no client of ours sends that. Else an errno for the program: ENOTTY, EINVAL, E2BIG, ENOMEM.
    static Result<IncomingCall> parse(std::uint32_t request, std::span<const std::byte> payload,
                                      std::vector<base::Fd> fds);

    [[nodiscard]] const Ioctl& ioctl() const { return *ioctl_; }
    /// The argument struct. Stays where it is when the IncomingCall is moved.
    [[nodiscard]] std::span<std::byte> args() { return std::span(buffer_).first(ioctl_->layout->bytes); }
    [[nodiscard]] std::vector<base::Fd> take_fds() { return std::move(fds_); }
    /// What the request was made on (Ioctl::target), else empty.
    [[nodiscard]] base::Fd take_target() { return std::move(target_); }
    /// What it occupies.
    [[nodiscard]] std::size_t bytes() const { return buffer_.size(); }

    /// The reply's payload: the struct with the program's pointers again, and on success what goes out. Sizes
    /// are those of the request, whatever a handler wrote into counts.
    [[nodiscard]] std::vector<std::byte> reply(bool success) const;

  private:
    class Parser;
    struct Original {  // what a field of the struct held on arrival
        std::uint32_t offset;
        std::uint32_t width;
        std::uint64_t value;
    };
    struct Range {
        std::size_t offset;
        std::size_t bytes;
    };
    const Ioctl* ioctl_ = nullptr;
    std::vector<std::byte> buffer_;
    std::vector<base::Fd> fds_;
    base::Fd target_;
    std::vector<Original> originals_;
    std::vector<Range> outs_;
};

// ---- Where they meet

/// The socket path that both ends use if nobody says otherwise: $XDG_RUNTIME_DIR/belfry.sock, else
/// /run/user/UID/belfry.sock if that directory is ours, else /tmp/belfry-UID/belfry.sock, whose directory, if
/// it exists, must be ours alone. The error is a sentence.
std::expected<std::string, std::string> default_socket_path();

}  // namespace belfry::uapi
