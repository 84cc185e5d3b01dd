// Channels: how requests travel over a DRM file's socket. SocketTransport has some for its own file, the
// preload library for each file of the program.
//
// Owns    idle channels. Never the primary socket (the "DRM fd"): that is lent for each call, so that the
// file
//         ends with the program's last copy of it.
// Runs    on any thread of the program, several at once. Internal to the client library and the preload
//         library.
//
// One request uses one channel from its sending to its reply, so threads never mix replies. Idle channels are
// kept in slots that are taken and filled by atomic exchange. Not a list under a mutex: a fork at the moment
// another thread holds it would leave the child with a mutex that nobody ever unlocks.
//
// The program knows nothing of our descriptors. So they have high numbers, and leave it the low ones that it
// expects; and a channel is looked at before it is used or closed: a program that closes all descriptors that
// it does not know has closed ours too, and may have opened something of its own in its place.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "uapi/wire.hpp"

namespace belfry::client {

using base::Errno;
using base::Result;

/// What the driver answered to mmap: pieces to be mapped one after the other.
struct MapPlan {
    std::vector<base::Fd> fds;
    std::vector<uapi::MmapSegment> segments;  ///< page aligned; fd_index is valid
    std::size_t bytes = 0;                    ///< of all segments: the length asked for, in whole pages
};

class Channels {
  public:
    explicit Channels(const uapi::UserMemory& memory = uapi::kPlainMemory) : memory_(memory) {}
    Channels(const Channels&) = delete;
    Channels& operator=(const Channels&) = delete;
    ~Channels() { drop_idle(); }

    /// As ioctl(2) on the file behind `primary`; always of the same file. Requests to a sync file or a
    /// dma-buf are made on `target`. Blocks as long as the driver takes. ENODEV: the driver is gone.
    /// Restarted after a signal, so EINTR is never seen.
    Result<void> ioctl(int primary, std::uint32_t request, void* args, int target = -1);
    /// Asks the driver what mmap(2) of the file would map; place() does it.
    Result<MapPlan> plan_mmap(int primary, std::uint64_t offset, std::size_t bytes, int protection);

    /// Closes what is idle; what is in use is kept when it is done.
    void drop_idle();

  private:
    struct Channel;

    Result<std::unique_ptr<Channel>> take(int primary);
    void keep(std::unique_ptr<Channel> channel);

    uapi::UserMemory memory_;
    std::array<std::atomic<Channel*>, 32> idle_{};
};

/// The second half of an mmap: maps the pieces over [address, address + plan.bytes), which the caller
/// reserved. A read-only piece is mapped without PROT_WRITE even if that was asked for. On failure parts of
/// the range may be mapped; the caller gives the range back.
Result<void> place(const MapPlan& plan, void* address, int protection);

}  // namespace belfry::client
