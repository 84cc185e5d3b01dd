// Replaces what takes, reads or returns names: a path of belfryd's view is never shown, and none but the
// paths that a machine with the GPU has leads into it.
//
// Runs on any thread of the program.
#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/next.hpp"
#include "shim/view.hpp"

namespace belfry::shim {

namespace {

/// Takes what leads to the view off the front of a path.
void show(char* path) {
    const View* const view = View::known();
    if (view == nullptr || path == nullptr) return;
    const std::string_view seen = view->seen(path);
    if (!seen.empty()) std::memmove(path, seen.data(), seen.size() + 1);
}

char* copy_out(std::string_view path, char* to) {
    if (to == nullptr) return ::strndup(path.data(), path.size());
    std::memcpy(to, path.data(), path.size());
    to[path.size()] = '\0';
    return to;
}

// ---- Where links lead

ssize_t read_link(int directory, const char* path, char* to, std::size_t room) {
    const SeenPath seen(path, directory);
    const int before = errno;
    const ssize_t length = next::readlinkat(directory, seen.get(), to, room);
    if (length <= 0) return length;
    const View* const view = View::known();
    const bool of_descriptor = to[0] == 's';
    if (!of_descriptor && (to[0] != '/' || view == nullptr)) return length;

    // In full, however little room there is for what is shown of it.
    std::string target(PATH_MAX, '\0');
    const ssize_t whole = next::readlinkat(directory, seen.get(), target.data(), target.size());
    if (whole <= 0) return length;
    target.resize(static_cast<std::size_t>(whole));
    std::string shown;
    if (!of_descriptor) {
        shown = view->seen(target);
    } else if (target.starts_with("socket:[")) {
        // Descriptors of other processes have such links too: the inode says whether it is the one that we
        // have.
        const std::string_view name(seen.get());
        const std::string link = "/proc/self/fd/" + std::string(name.substr(name.rfind('/') + 1));
        const auto opened = open_node_of_link(link.c_str());
        if (opened && target == "socket:[" + std::to_string(opened->inode) + "]") shown = opened->node->path;
    }
    errno = before;
    if (shown.empty()) return length;
    return static_cast<ssize_t>(shown.copy(to, room));
}

char* real_path(const char* path, char* to) {
    const SeenPath seen(path);
    const int before = errno;
    char* const real = next::realpath(seen.get(), to);
    if (real != nullptr) {
        show(real);
        return real;
    }
    if (errno != ENOENT || path == nullptr) return nullptr;
    // The link of a descriptor leads to no path, for the kernel.
    const auto opened = open_node_of_link(path);
    if (!opened) return nullptr;
    errno = before;
    return copy_out(opened->node->path, to);
}

[[noreturn]] void buffer_overflow() {
    ::abort();  // what the checked variants of libc do as well
}

}  // namespace

extern "C" ssize_t shim_readlink(const char* path, char* to, std::size_t room) BELFRY_REPLACES("readlink");
extern "C" ssize_t shim_readlink(const char* path, char* to, std::size_t room) {
    return read_link(AT_FDCWD, path, to, room);
}
extern "C" ssize_t shim_readlink_chk(const char* path, char* to, std::size_t room, std::size_t known)
    BELFRY_REPLACES("__readlink_chk");
extern "C" ssize_t shim_readlink_chk(const char* path, char* to, std::size_t room, std::size_t known) {
    if (room > known) buffer_overflow();
    return read_link(AT_FDCWD, path, to, room);
}
extern "C" ssize_t shim_readlinkat(int directory, const char* path, char* to, std::size_t room)
    BELFRY_REPLACES("readlinkat");
extern "C" ssize_t shim_readlinkat(int directory, const char* path, char* to, std::size_t room) {
    return read_link(directory, path, to, room);
}
extern "C" ssize_t shim_readlinkat_chk(int directory, const char* path, char* to, std::size_t room,
                                       std::size_t known) BELFRY_REPLACES("__readlinkat_chk");
extern "C" ssize_t shim_readlinkat_chk(int directory, const char* path, char* to, std::size_t room,
                                       std::size_t known) {
    if (room > known) buffer_overflow();
    return read_link(directory, path, to, room);
}

extern "C" char* shim_realpath(const char* path, char* to) BELFRY_REPLACES("realpath");
extern "C" char* shim_realpath(const char* path, char* to) { return real_path(path, to); }
extern "C" char* shim_realpath_chk(const char* path, char* to, std::size_t known)
    BELFRY_REPLACES("__realpath_chk");
extern "C" char* shim_realpath_chk(const char* path, char* to, std::size_t known) {
    if (known < PATH_MAX) buffer_overflow();
    return real_path(path, to);
}
extern "C" char* shim_canonicalize(const char* path) BELFRY_REPLACES("canonicalize_file_name");
extern "C" char* shim_canonicalize(const char* path) { return real_path(path, nullptr); }

// ---- Where the program is

extern "C" int shim_chdir(const char* path) BELFRY_REPLACES("chdir");
extern "C" int shim_chdir(const char* path) { return next::chdir(SeenPath(path).get()); }

extern "C" char* shim_getcwd(char* to, std::size_t room) BELFRY_REPLACES("getcwd");
extern "C" char* shim_getcwd(char* to, std::size_t room) {
    char* const path = next::getcwd(to, room);
    show(path);
    return path;
}
extern "C" char* shim_getcwd_chk(char* to, std::size_t room, std::size_t known)
    BELFRY_REPLACES("__getcwd_chk");
extern "C" char* shim_getcwd_chk(char* to, std::size_t room, std::size_t known) {
    if (room > known) buffer_overflow();
    return shim_getcwd(to, room);
}

// ---- What only takes a path

extern "C" int shim_access(const char* path, int mode) BELFRY_REPLACES("access");
extern "C" int shim_access(const char* path, int mode) { return next::access(SeenPath(path).get(), mode); }

extern "C" int shim_faccessat(int directory, const char* path, int mode, int flags)
    BELFRY_REPLACES("faccessat");
extern "C" int shim_faccessat(int directory, const char* path, int mode, int flags) {
    return next::faccessat(directory, SeenPath(path, directory).get(), mode, flags);
}

extern "C" int shim_eaccess(const char* path, int mode) BELFRY_REPLACES("eaccess");
extern "C" int shim_eaccess(const char* path, int mode) { return next::eaccess(SeenPath(path).get(), mode); }
extern "C" int shim_euidaccess(const char* path, int mode) BELFRY_ALSO("eaccess", "euidaccess");

extern "C" ssize_t shim_getxattr(const char* path, const char* name, void* to, std::size_t room)
    BELFRY_REPLACES("getxattr");
extern "C" ssize_t shim_getxattr(const char* path, const char* name, void* to, std::size_t room) {
    return next::getxattr(SeenPath(path).get(), name, to, room);
}
extern "C" ssize_t shim_lgetxattr(const char* path, const char* name, void* to, std::size_t room)
    BELFRY_REPLACES("lgetxattr");
extern "C" ssize_t shim_lgetxattr(const char* path, const char* name, void* to, std::size_t room) {
    return next::lgetxattr(SeenPath(path).get(), name, to, room);
}
extern "C" ssize_t shim_listxattr(const char* path, char* to, std::size_t room) BELFRY_REPLACES("listxattr");
extern "C" ssize_t shim_listxattr(const char* path, char* to, std::size_t room) {
    return next::listxattr(SeenPath(path).get(), to, room);
}
extern "C" ssize_t shim_llistxattr(const char* path, char* to, std::size_t room)
    BELFRY_REPLACES("llistxattr");
extern "C" ssize_t shim_llistxattr(const char* path, char* to, std::size_t room) {
    return next::llistxattr(SeenPath(path).get(), to, room);
}

extern "C" int shim_inotify_add_watch(int fd, const char* path, std::uint32_t mask)
    BELFRY_REPLACES("inotify_add_watch");
extern "C" int shim_inotify_add_watch(int fd, const char* path, std::uint32_t mask) {
    return next::inotify_add_watch(fd, SeenPath(path).get(), mask);
}

// ---- Directories

namespace {

void show(dirent* entry) {
    if (entry == nullptr || entry->d_type != DT_SOCK) return;
    const View* const view = View::known();
    if (view != nullptr && view->has_node(entry->d_name, entry->d_ino)) entry->d_type = DT_CHR;
}

}  // namespace

extern "C" DIR* shim_opendir(const char* path) BELFRY_REPLACES("opendir");
extern "C" DIR* shim_opendir(const char* path) { return next::opendir(SeenPath(path).get()); }

extern "C" dirent* shim_readdir(DIR* directory) BELFRY_REPLACES("readdir");
extern "C" dirent* shim_readdir(DIR* directory) {
    dirent* const entry = next::readdir(directory);
    show(entry);
    return entry;
}
extern "C" dirent* shim_readdir64(DIR* directory) BELFRY_ALSO("readdir", "readdir64");

using Filter = int(const dirent*);

extern "C" int shim_scandir(const char* path, dirent*** names, Filter* filter, next::Compare* compare)
    BELFRY_REPLACES("scandir");
extern "C" int shim_scandir(const char* path, dirent*** names, Filter* filter, next::Compare* compare) {
    const int count = next::scandir(SeenPath(path).get(), names, filter, compare);
    for (int i = 0; i < count; ++i) show((*names)[i]);
    return count;
}
extern "C" int shim_scandir64(const char* path, dirent*** names, Filter* filter, next::Compare* compare)
    BELFRY_ALSO("scandir", "scandir64");

extern "C" int shim_glob(const char* pattern, int flags, int (*failed)(const char*, int), glob_t* found)
    BELFRY_REPLACES("glob");
extern "C" int shim_glob(const char* pattern, int flags, int (*failed)(const char*, int), glob_t* found) {
    const int result = next::glob(SeenPath(pattern).get(), flags, failed, found);
    if (result == 0)
        for (std::size_t i = 0; i < found->gl_pathc; ++i) show(found->gl_pathv[found->gl_offs + i]);
    return result;
}
extern "C" int shim_glob64(const char* pattern, int flags, int (*failed)(const char*, int), glob_t* found)
    BELFRY_ALSO("glob", "glob64");

}  // namespace belfry::shim
