// Replaces ioctl and mmap. The kernel is asked first: what it does not refuse is not ours, so descriptors of
// other things cost nothing.
#include <cerrno>
#include <cstdarg>

#include <sys/mman.h>

#include "shim/next.hpp"
#include "shim/requests.hpp"
#include "shim/view.hpp"

namespace belfry::shim {

// NOLINTBEGIN(cppcoreguidelines-pro-type-vararg,cppcoreguidelines-init-variables): as libc declares it
extern "C" int shim_ioctl(int fd, unsigned long request, ...) BELFRY_REPLACES("ioctl");
extern "C" int shim_ioctl(int fd, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void* const args = va_arg(arguments, void*);
    va_end(arguments);
    const int before = errno;
    const int result = next::ioctl(fd, request, args);
    if (result != -1 || (errno != ENOTTY && errno != EINVAL && errno != ENODEV) || !is_ours(request))
        return result;
    const int answer = ioctl(fd, request, args, errno);
    if (answer == 0) errno = before;
    return answer;
}
// NOLINTEND(cppcoreguidelines-pro-type-vararg,cppcoreguidelines-init-variables)

extern "C" void* shim_mmap(void* address, std::size_t bytes, int protection, int flags, int fd, off_t offset)
    BELFRY_REPLACES("mmap");
extern "C" void* shim_mmap(void* address, std::size_t bytes, int protection, int flags, int fd,
                           off_t offset) {
    const int before = errno;
    // The kernel would first unmap what is there, then see that it cannot map a socket.
    const bool replaces = (flags & MAP_FIXED) != 0 && (flags & MAP_ANONYMOUS) == 0;
    if (!replaces) {
        void* const mapped = next::mmap(address, bytes, protection, flags, fd, offset);
        if (mapped != MAP_FAILED || errno != ENODEV) return mapped;
    }
    const auto node = open_node(fd);
    if (!node) {
        if (!replaces) {
            errno = ENODEV;
            return MAP_FAILED;
        }
        errno = before;
        return next::mmap(address, bytes, protection, flags, fd, offset);
    }
    void* const mapped = map(*node, address, bytes, protection, flags, fd, offset);
    if (mapped != MAP_FAILED) errno = before;
    return mapped;
}
extern "C" void* shim_mmap64(void* address, std::size_t bytes, int protection, int flags, int fd,
                             off_t offset) BELFRY_ALSO("mmap", "mmap64");

}  // namespace belfry::shim
