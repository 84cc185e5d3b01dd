// Transport: how the client library reaches the driver. SocketTransport: through belfryd's socket.
//
// Owns    its copy of the primary socket (the "DRM fd") and idle channels.
// Runs    on any thread of the program, several at once. Internal to the client library and the preload
// library.
//
// One request uses one channel from its sending to its reply, so threads never mix replies. Idle channels are
// kept in slots that are taken and filled by atomic exchange. Not a list under a mutex: a fork at the moment
// another thread holds it would leave the child with a mutex that nobody ever unlocks.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/fd.hpp"
#include "base/memory.hpp"
#include "base/result.hpp"
#include "uapi/wire.hpp"

namespace belfry::client {

using base::Errno;
using base::Result;

class Transport {
  public:
    Transport() = default;
    Transport(const Transport&) = delete;
    Transport& operator=(const Transport&) = delete;
    virtual ~Transport() = default;

    /// As ioctl(2) on the DRM file; blocks as long as the driver takes. ENODEV: the driver is gone. Restarted
    /// after a signal, so EINTR is never seen.
    virtual Result<void> ioctl(std::uint32_t request, void* args) = 0;
    /// As mmap(2), shared, on the DRM file. `protection`: PROT_*.
    virtual Result<base::Mapping> mmap(std::uint64_t offset, std::size_t bytes, int protection) = 0;
    /// As mmap(), over `bytes` from `address` on, which the caller has reserved and keeps. On failure parts
    /// of the range may be mapped.
    virtual Result<void> mmap_at(std::byte* address, std::uint64_t offset, std::size_t bytes,
                                 int protection) = 0;
    /// The DRM file as a descriptor; lives as long as the transport.
    [[nodiscard]] virtual int fd() const = 0;

    /// How often the driver was asked for something, by this object.
    [[nodiscard]] std::uint64_t requests() const { return requests_.load(std::memory_order_relaxed); }

  protected:
    void count_request() { requests_.fetch_add(1, std::memory_order_relaxed); }

  private:
    std::atomic<std::uint64_t> requests_ = 0;  // statistics only: relaxed
};

/// What the driver answered to mmap: pieces to be mapped one after the other.
struct MapPlan {
    std::vector<base::Fd> fds;
    std::vector<uapi::MmapSegment> segments;  ///< page aligned; fd_index is valid
    std::size_t bytes = 0;                    ///< of all segments: the length asked for, in whole pages
};

class SocketTransport final : public Transport {
  public:
    /// Opens the DRM file, so to speak. ENOENT, ECONNREFUSED (nobody answers at `path`), ENAMETOOLONG, ...
    static Result<std::unique_ptr<SocketTransport>> connect(
        const std::string& path, const uapi::UserMemory& memory = uapi::kPlainMemory);
    /// From a connected primary socket, e.g. one that was inherited or received.
    static std::unique_ptr<SocketTransport> adopt(base::Fd primary,
                                                  const uapi::UserMemory& memory = uapi::kPlainMemory);
    ~SocketTransport() override;

    Result<void> ioctl(std::uint32_t request, void* args) override;
    Result<base::Mapping> mmap(std::uint64_t offset, std::size_t bytes, int protection) override;
    Result<void> mmap_at(std::byte* address, std::uint64_t offset, std::size_t bytes,
                         int protection) override;
    [[nodiscard]] int fd() const override { return primary_.get(); }

    /// The first half of mmap(): asks the driver.
    Result<MapPlan> plan_mmap(std::uint64_t offset, std::size_t bytes, int protection);

  private:
    struct Channel;
    SocketTransport(base::Fd primary, const uapi::UserMemory& memory);

    Result<std::unique_ptr<Channel>> take_channel();
    void keep_channel(std::unique_ptr<Channel> channel);
    /// Sends, and waits for the reply, which is then in the channel's buffer.
    Result<void> exchange(Channel& channel, const uapi::MessageHeader& header,
                          std::span<const std::byte> payload, std::span<const int> fds);
    [[nodiscard]] Errno channel_lost() const;

    base::Fd primary_;
    uapi::UserMemory memory_;
    std::array<std::atomic<Channel*>, 32> idle_{};
};

/// The second half of mmap(): maps the pieces over [address, address + plan.bytes), which the caller
/// reserved. A read-only piece is mapped without PROT_WRITE even if that was asked for. On failure parts of
/// the range may be mapped; the caller gives the range back.
Result<void> place(const MapPlan& plan, void* address, int protection);

}  // namespace belfry::client
