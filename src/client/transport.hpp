// Transport: how the client library reaches the driver. SocketTransport: through belfryd's socket.
// NodeTransport: through a DRM node of the kernel.
//
// Owns    its copy of the "DRM fd" (the primary socket, or the open node), and its channels.
// Runs    on any thread of the program, several at once. Internal to the client library and the preload
// library.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "base/fd.hpp"
#include "base/memory.hpp"
#include "base/result.hpp"
#include "client/channels.hpp"
#include "uapi/wire.hpp"

namespace belfry::client {

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

class SocketTransport final : public Transport {
  public:
    /// Opens the DRM file, so to speak. ENOENT, ECONNREFUSED (nobody answers at `path`), ENAMETOOLONG, ...
    static Result<std::unique_ptr<SocketTransport>> connect(
        const std::string& path, const uapi::UserMemory& memory = uapi::kPlainMemory);
    /// From a connected primary socket, e.g. one that was inherited or received.
    static std::unique_ptr<SocketTransport> adopt(base::Fd primary,
                                                  const uapi::UserMemory& memory = uapi::kPlainMemory);

    Result<void> ioctl(std::uint32_t request, void* args) override;
    Result<base::Mapping> mmap(std::uint64_t offset, std::size_t bytes, int protection) override;
    Result<void> mmap_at(std::byte* address, std::uint64_t offset, std::size_t bytes,
                         int protection) override;
    [[nodiscard]] int fd() const override { return primary_.get(); }

    /// The first half of mmap(): asks the driver.
    Result<MapPlan> plan_mmap(std::uint64_t offset, std::size_t bytes, int protection);

  private:
    SocketTransport(base::Fd primary, const uapi::UserMemory& memory);

    base::Fd primary_;
    Channels channels_;
};

class NodeTransport final : public Transport {
  public:
    explicit NodeTransport(base::Fd node) : node_(std::move(node)) {}

    Result<void> ioctl(std::uint32_t request, void* args) override;
    Result<base::Mapping> mmap(std::uint64_t offset, std::size_t bytes, int protection) override;
    Result<void> mmap_at(std::byte* address, std::uint64_t offset, std::size_t bytes,
                         int protection) override;
    [[nodiscard]] int fd() const override { return node_.get(); }

  private:
    base::Fd node_;
};

/// The transport for an open DRM file: a connected primary socket, or a node.
std::unique_ptr<Transport> make_transport(base::Fd file);

}  // namespace belfry::client
