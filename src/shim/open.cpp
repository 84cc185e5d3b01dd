// Replaces what opens and closes files, and what a descriptor of a node does differently from its socket.
//
// Runs on any thread of the program. A path that leads to a node is opened by libc first, which refuses: a
// socket cannot be opened. Only then is it looked at whose it is.
#include <cerrno>
#include <climits>
#include <cstdarg>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/next.hpp"
#include "shim/requests.hpp"
#include "shim/trace.hpp"
#include "shim/view.hpp"

namespace belfry::shim {

namespace {

/// Whether open() reads a third argument.
bool has_mode(int flags) { return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE; }

int open_socket(const char* path, int directory, int flags) {
    struct stat status{};
    if (next::fstatat(directory, path, &status, 0) != 0 || !S_ISSOCK(status.st_mode)) {
        errno = ENXIO;
        return -1;
    }
    const View* const view = View::known();
    const Node* const node = view != nullptr ? view->node(status.st_dev, status.st_ino) : nullptr;
    std::string socket;
    if (node != nullptr) {
        socket = view->at(node->path);
    } else if (const auto opened = open_node_of_link(path)) {
        socket = opened->socket;  // anew: another DRM file of the same node
    } else {
        errno = ENXIO;
        return -1;
    }
    const Trace trace(node_of_socket(socket)->name());
    const int fd = connect_to_node(socket, flags);
    trace.open(flags, fd);
    if (fd >= 0) remember_file(fd);
    return fd;
}

int open_at(int directory, const char* path, int flags, mode_t mode) {
    const SeenPath seen(path, directory);
    if (seen.is_missing_device()) {
        errno = ENODEV;
        return -1;
    }
    const int before = errno;
    const int fd = next::openat(directory, seen.get(), flags, mode);
    if (fd >= 0 || errno != ENXIO) return fd;
    const int opened = open_socket(seen.get(), directory, flags);
    if (opened >= 0) errno = before;
    return opened;
}

}  // namespace

// NOLINTBEGIN(cppcoreguidelines-pro-type-vararg,cppcoreguidelines-init-variables): as libc declares them

extern "C" int shim_open(const char* path, int flags, ...) BELFRY_REPLACES("open");
extern "C" int shim_open(const char* path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = has_mode(flags) ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return open_at(AT_FDCWD, path, flags, mode);
}
extern "C" int shim_open64(const char* path, int flags, ...) BELFRY_ALSO("open", "open64");

extern "C" int shim_openat(int directory, const char* path, int flags, ...) BELFRY_REPLACES("openat");
extern "C" int shim_openat(int directory, const char* path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = has_mode(flags) ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return open_at(directory, path, flags, mode);
}
extern "C" int shim_openat64(int directory, const char* path, int flags, ...)
    BELFRY_ALSO("openat", "openat64");

// NOLINTEND(cppcoreguidelines-pro-type-vararg,cppcoreguidelines-init-variables)

// What open() becomes with _FORTIFY_SOURCE, if the compiler saw that there is no mode.
extern "C" int shim_open_2(const char* path, int flags) BELFRY_REPLACES("__open_2");
extern "C" int shim_open_2(const char* path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
extern "C" int shim_open64_2(const char* path, int flags) BELFRY_ALSO("__open_2", "__open64_2");

extern "C" int shim_openat_2(int directory, const char* path, int flags) BELFRY_REPLACES("__openat_2");
extern "C" int shim_openat_2(int directory, const char* path, int flags) {
    return open_at(directory, path, flags, 0);
}
extern "C" int shim_openat64_2(int directory, const char* path, int flags)
    BELFRY_ALSO("__openat_2", "__openat64_2");

extern "C" FILE* shim_fopen(const char* path, const char* mode) BELFRY_REPLACES("fopen");
extern "C" FILE* shim_fopen(const char* path, const char* mode) {
    const SeenPath seen(path);
    return next::fopen(seen.get(), mode);
}
extern "C" FILE* shim_fopen64(const char* path, const char* mode) BELFRY_ALSO("fopen", "fopen64");

// ---- Closing

namespace {

/// Closes the range piece by piece around what the program must not close.
int close_around(unsigned first, unsigned last, int flags) {
    const int own = own_fds.next(first);
    if (own < 0 || static_cast<unsigned>(own) > last) return next::close_range(first, last, flags);
    const auto number = static_cast<unsigned>(own);
    if (number > first && next::close_range(first, number - 1, flags) != 0) return -1;
    return number == last ? 0 : close_around(number + 1, last, flags);
}

/// dup2() and dup3() of two numbers that differ.
int dup_over(int from, int to, int flags) {
    // If it was ours it is the program's from now on; we notice when we need it.
    if (own_fds.has(to)) own_fds.remove(to);
    const Closing closing(to);
    return next::dup3(from, to, flags);
}

}  // namespace

extern "C" int shim_close(int fd) BELFRY_REPLACES("close");
extern "C" int shim_close(int fd) {
    if (own_fds.has(fd)) {
        errno = EBADF;  // it was never given one of that number
        return -1;
    }
    const Closing closing(fd);
    return next::close(fd);
}

extern "C" int shim_close_range(unsigned first, unsigned last, int flags) BELFRY_REPLACES("close_range");
extern "C" int shim_close_range(unsigned first, unsigned last, int flags) {
    // Wrong order or unknown flags are libc's to refuse; ours are close-on-exec already.
    if (first > last || flags != 0) return next::close_range(first, last, flags);
    const Closing closing(first, last);
    return close_around(first, last, flags);
}

extern "C" void shim_closefrom(int first) BELFRY_REPLACES("closefrom");
extern "C" void shim_closefrom(int first) {
    const auto from = static_cast<unsigned>(first < 0 ? 0 : first);
    const Closing closing(from, UINT_MAX);
    close_around(from, UINT_MAX, 0);
}

extern "C" int shim_dup2(int from, int to) BELFRY_REPLACES("dup2");
extern "C" int shim_dup2(int from, int to) {
    return from == to ? next::dup2(from, to) : dup_over(from, to, 0);
}

extern "C" int shim_dup3(int from, int to, int flags) BELFRY_REPLACES("dup3");
extern "C" int shim_dup3(int from, int to, int flags) {
    return from == to ? next::dup3(from, to, flags) : dup_over(from, to, flags);
}

// ---- What a socket does differently

extern "C" off_t shim_lseek(int fd, off_t offset, int whence) BELFRY_REPLACES("lseek");
extern "C" off_t shim_lseek(int fd, off_t offset, int whence) {
    const int before = errno;
    const off_t at = next::lseek(fd, offset, whence);
    if (at >= 0 || errno != ESPIPE || !open_node(fd)) return at;
    errno = before;  // facts/uapi.md 1.20: has no effect, and the position stays 0
    return 0;
}
extern "C" off_t shim_lseek64(int fd, off_t offset, int whence) BELFRY_ALSO("lseek", "lseek64");

}  // namespace belfry::shim
