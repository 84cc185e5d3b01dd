#include "base/memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace belfry::base {

Mapping::~Mapping() {
    if (data_ != nullptr) ::munmap(data_, bytes_);
}

Result<Mapping> map_shared(int fd, std::uint64_t offset, std::size_t bytes, Access access) {
    const int protection = access == Access::read ? PROT_READ : PROT_READ | PROT_WRITE;
    void* const data =
        ::mmap(nullptr, bytes, protection, MAP_SHARED | MAP_NORESERVE, fd, static_cast<off_t>(offset));
    if (data == MAP_FAILED) return last_error();
    return Mapping(static_cast<std::byte*>(data), bytes);
}

Result<SharedMemory> make_shared_memory(const char* name, std::size_t bytes, Sharing sharing) {
    Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd) return last_error();
    if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) return std::unexpected(Errno::no_memory);
    auto mapping = map_shared(fd.get(), 0, bytes, Access::read_write);
    if (!mapping) return std::unexpected(mapping.error());
    // FUTURE_WRITE comes after our own mapping: that one keeps its rights.
    int seals = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
    if (sharing == Sharing::read_only) seals |= F_SEAL_FUTURE_WRITE;
    if (::fcntl(fd.get(), F_ADD_SEALS, seals) != 0) return last_error();
    return SharedMemory{std::move(fd), std::move(*mapping)};
}

}  // namespace belfry::base
