#include "client/transport.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace belfry::client {

SocketTransport::SocketTransport(base::Fd primary, const uapi::UserMemory& memory)
    : primary_(std::move(primary)), channels_(memory) {}

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
    return channels_.ioctl(primary_.get(), request, args);
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

Result<MapPlan> SocketTransport::plan_mmap(std::uint64_t offset, std::size_t bytes, int protection) {
    count_request();
    return channels_.plan_mmap(primary_.get(), offset, bytes, protection);
}

Result<void> NodeTransport::ioctl(std::uint32_t request, void* args) {
    count_request();
    while (::ioctl(node_.get(), request, args) != 0)
        if (errno != EINTR) return base::last_error();
    return {};
}

Result<base::Mapping> NodeTransport::mmap(std::uint64_t offset, std::size_t bytes, int protection) {
    count_request();
    bytes = base::round_up_to_page(bytes);
    void* const memory =
        ::mmap(nullptr, bytes, protection, MAP_SHARED, node_.get(), static_cast<off_t>(offset));
    if (memory == MAP_FAILED) return base::last_error();
    return base::Mapping(static_cast<std::byte*>(memory), bytes);
}

Result<void> NodeTransport::mmap_at(std::byte* address, std::uint64_t offset, std::size_t bytes,
                                    int protection) {
    count_request();
    void* const memory =
        ::mmap(address, bytes, protection, MAP_SHARED | MAP_FIXED, node_.get(), static_cast<off_t>(offset));
    if (memory == MAP_FAILED) return base::last_error();
    return {};
}

std::unique_ptr<Transport> make_transport(base::Fd file) {
    struct stat status{};
    if (::fstat(file.get(), &status) == 0 && S_ISCHR(status.st_mode))
        return std::make_unique<NodeTransport>(std::move(file));
    return SocketTransport::adopt(std::move(file));
}

}  // namespace belfry::client
