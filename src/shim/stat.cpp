// Replaces the stat family: a node, and a descriptor of it, is a character device.
//
// Runs on any thread of the program. libc is asked first; only an answer that says "socket" is looked at
// again.
#include <cerrno>
#include <cstdint>
#include <string>

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "shim/next.hpp"
#include "shim/view.hpp"

namespace belfry::shim {

namespace {

// On 64-bit systems the two are one.
static_assert(sizeof(struct stat) == sizeof(struct stat64));
static_assert(sizeof(struct statfs) == sizeof(struct statfs64));

void disguise(const Node& node, struct stat& status) {
    status.st_mode = node.mode;
    status.st_nlink = 1;
    status.st_rdev = makedev(node.major, node.minor);
    status.st_size = 0;
    status.st_blocks = 0;
}

void disguise(const Node& node, struct statx& status) {
    status.stx_mode = static_cast<std::uint16_t>(node.mode);
    status.stx_nlink = 1;
    status.stx_rdev_major = node.major;
    status.stx_rdev_minor = node.minor;
    status.stx_size = 0;
    status.stx_blocks = 0;
}

bool is_socket(const struct stat& status) { return S_ISSOCK(status.st_mode); }
bool is_socket(const struct statx& status) { return S_ISSOCK(status.stx_mode); }

ino_t inode_of(const struct stat& status) { return status.st_ino; }
ino_t inode_of(const struct statx& status) { return status.stx_ino; }

const Node* node_in(const View& view, const struct stat& status) {
    return view.node(status.st_dev, status.st_ino);
}
const Node* node_in(const View& view, const struct statx& status) {
    return view.node(makedev(status.stx_dev_major, status.stx_dev_minor), status.stx_ino);
}

/// What a descriptor of a node shows is what its path shows: who, when, which inode.
template <typename Status, typename Look>
void correct_open(const OpenNode& opened, Status& status, const Look& look_at) {
    const int before = errno;
    Status of_path{};
    if (look_at(opened.socket.c_str(), of_path) == 0) status = of_path;
    disguise(*opened.node, status);
    errno = before;
}

/// `fd`: what was looked at, or -1 if that is `path`.
template <typename Status, typename Look>
void correct(int fd, const char* path, Status& status, const Look& look_at) {
    if (!is_socket(status)) return;
    const int before = errno;
    const auto opened = fd >= 0 ? open_node(fd, inode_of(status)) : open_node_of_link(path);
    if (opened && opened->inode == inode_of(status)) {  // else the link is another process'
        correct_open(*opened, status, look_at);
    } else if (const View* const view = View::known(); view != nullptr) {
        // Also of a descriptor: one that was opened with O_PATH.
        if (const Node* const node = node_in(*view, status); node != nullptr) disguise(*node, status);
    }
    errno = before;
}

int stat_at(int directory, const char* path, struct stat* status, int flags) {
    const bool of_fd = (flags & AT_EMPTY_PATH) != 0 && path != nullptr && path[0] == '\0';
    const SeenPath seen(path, directory);
    const int result = next::fstatat(directory, seen.get(), status, flags);
    if (result == 0)
        correct(of_fd ? directory : -1, seen.get(), *status, [](const char* socket, struct stat& to) {
            return next::fstatat(AT_FDCWD, socket, &to, AT_SYMLINK_NOFOLLOW);
        });
    return result;
}

}  // namespace

extern "C" int shim_stat(const char* path, struct stat* status) BELFRY_REPLACES("stat");
extern "C" int shim_stat(const char* path, struct stat* status) { return stat_at(AT_FDCWD, path, status, 0); }
extern "C" int shim_stat64(const char* path, struct stat* status) BELFRY_ALSO("stat", "stat64");

extern "C" int shim_lstat(const char* path, struct stat* status) BELFRY_REPLACES("lstat");
extern "C" int shim_lstat(const char* path, struct stat* status) {
    return stat_at(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}
extern "C" int shim_lstat64(const char* path, struct stat* status) BELFRY_ALSO("lstat", "lstat64");

extern "C" int shim_fstatat(int directory, const char* path, struct stat* status, int flags)
    BELFRY_REPLACES("fstatat");
extern "C" int shim_fstatat(int directory, const char* path, struct stat* status, int flags) {
    return stat_at(directory, path, status, flags);
}
extern "C" int shim_fstatat64(int directory, const char* path, struct stat* status, int flags)
    BELFRY_ALSO("fstatat", "fstatat64");

extern "C" int shim_fstat(int fd, struct stat* status) BELFRY_REPLACES("fstat");
extern "C" int shim_fstat(int fd, struct stat* status) {
    const int result = next::fstat(fd, status);
    if (result == 0)
        correct(fd, "", *status, [](const char* socket, struct stat& to) {
            return next::fstatat(AT_FDCWD, socket, &to, AT_SYMLINK_NOFOLLOW);
        });
    return result;
}
extern "C" int shim_fstat64(int fd, struct stat* status) BELFRY_ALSO("fstat", "fstat64");

// What programs call that were linked with a glibc before 2.33. The version is that of the one struct there
// is.
extern "C" int shim_xstat(int version, const char* path, struct stat* status) BELFRY_REPLACES("__xstat");
extern "C" int shim_xstat(int /*version*/, const char* path, struct stat* status) {
    return stat_at(AT_FDCWD, path, status, 0);
}
extern "C" int shim_xstat64(int version, const char* path, struct stat* status)
    BELFRY_ALSO("__xstat", "__xstat64");

extern "C" int shim_lxstat(int version, const char* path, struct stat* status) BELFRY_REPLACES("__lxstat");
extern "C" int shim_lxstat(int /*version*/, const char* path, struct stat* status) {
    return stat_at(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}
extern "C" int shim_lxstat64(int version, const char* path, struct stat* status)
    BELFRY_ALSO("__lxstat", "__lxstat64");

extern "C" int shim_fxstat(int version, int fd, struct stat* status) BELFRY_REPLACES("__fxstat");
extern "C" int shim_fxstat(int /*version*/, int fd, struct stat* status) { return shim_fstat(fd, status); }
extern "C" int shim_fxstat64(int version, int fd, struct stat* status) BELFRY_ALSO("__fxstat", "__fxstat64");

extern "C" int shim_fxstatat(int version, int directory, const char* path, struct stat* status, int flags)
    BELFRY_REPLACES("__fxstatat");
extern "C" int shim_fxstatat(int /*version*/, int directory, const char* path, struct stat* status,
                             int flags) {
    return stat_at(directory, path, status, flags);
}
extern "C" int shim_fxstatat64(int version, int directory, const char* path, struct stat* status, int flags)
    BELFRY_ALSO("__fxstatat", "__fxstatat64");

extern "C" int shim_statx(int directory, const char* path, int flags, unsigned mask, struct statx* status)
    BELFRY_REPLACES("statx");
extern "C" int shim_statx(int directory, const char* path, int flags, unsigned mask, struct statx* status) {
    const bool of_fd = (flags & AT_EMPTY_PATH) != 0 && (path == nullptr || path[0] == '\0');
    const SeenPath seen(path, directory);
    const int result = next::statx(directory, seen.get(), flags, mask, status);
    if (result == 0)
        correct(of_fd ? directory : -1, of_fd ? "" : seen.get(), *status,
                [mask](const char* socket, struct statx& to) {
                    return next::statx(AT_FDCWD, socket, AT_SYMLINK_NOFOLLOW, mask, &to);
                });
    return result;
}

// ---- File systems: libudev believes only what lies in a sysfs

extern "C" int shim_statfs(const char* path, struct statfs* status) BELFRY_REPLACES("statfs");
extern "C" int shim_statfs(const char* path, struct statfs* status) {
    const SeenPath seen(path);
    const int result = next::statfs(seen.get(), status);
    if (const View* const view = View::known(); result == 0 && view != nullptr && view->is_in_sys(seen.get()))
        status->f_type = SYSFS_MAGIC;
    return result;
}
extern "C" int shim_statfs64(const char* path, struct statfs* status) BELFRY_ALSO("statfs", "statfs64");

extern "C" int shim_fstatfs(int fd, struct statfs* status) BELFRY_REPLACES("fstatfs");
extern "C" int shim_fstatfs(int fd, struct statfs* status) {
    const int result = next::fstatfs(fd, status);
    if (const View* const view = View::known();
        result == 0 && view != nullptr && view->is_in_sys(path_of(fd)))
        status->f_type = SYSFS_MAGIC;
    return result;
}
extern "C" int shim_fstatfs64(int fd, struct statfs* status) BELFRY_ALSO("fstatfs", "fstatfs64");

}  // namespace belfry::shim
