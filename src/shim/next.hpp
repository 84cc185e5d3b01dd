// The functions behind those that the preload library replaces: libc's, or another preload library's.
//
// Found at their first use, by name: a program's constructor, or another preload library, may call us before
// any initialiser of ours has run. So nothing here has one, and nothing here allocates.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdio>

#include <dirent.h>
#include <glob.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/types.h>

namespace belfry::shim {

/// The definition of `name` that comes after ours; it is kept in `found`. Never null: one that does not exist
/// answers ENOSYS.
void* find_next(const char* name, std::atomic<void*>& found);

/// A replaced function's original. Variadic ones too: what they read is passed the same way.
template <typename Signature>
class Next;

template <typename Result, typename... Arguments>
class Next<Result(Arguments...)> {
  public:
    constexpr explicit Next(const char* name) : name_(name) {}
    Result operator()(Arguments... arguments) {
        // relaxed: whoever finds it first, all find the same, and nothing else is published with it.
        void* function = function_.load(std::memory_order_relaxed);
        if (function == nullptr) function = find_next(name_, function_);
        return reinterpret_cast<Result (*)(Arguments...)>(function)(arguments...);
    }

  private:
    const char* name_;
    std::atomic<void*> function_ = nullptr;
};

namespace next {

using Stat = struct stat;
using StatFs = struct statfs;
using Statx = struct statx;
using Compare = int(const dirent**, const dirent**);

inline constinit Next<int(int, const char*, int, mode_t)> openat{"openat"};
inline constinit Next<FILE*(const char*, const char*)> fopen{"fopen"};
inline constinit Next<int(int)> close{"close"};
inline constinit Next<int(int, int)> dup2{"dup2"};
inline constinit Next<int(int, int, int)> dup3{"dup3"};
inline constinit Next<int(unsigned, unsigned, int)> close_range{"close_range"};
inline constinit Next<int(int, unsigned long, void*)> ioctl{"ioctl"};
inline constinit Next<void*(void*, std::size_t, int, int, int, off_t)> mmap{"mmap"};
inline constinit Next<off_t(int, off_t, int)> lseek{"lseek"};

inline constinit Next<int(int, const char*, Stat*, int)> fstatat{"fstatat"};
inline constinit Next<int(int, Stat*)> fstat{"fstat"};
inline constinit Next<int(int, const char*, int, unsigned, Statx*)> statx{"statx"};
inline constinit Next<int(const char*, StatFs*)> statfs{"statfs"};
inline constinit Next<int(int, StatFs*)> fstatfs{"fstatfs"};

inline constinit Next<int(int, const char*, int, int)> faccessat{"faccessat"};
inline constinit Next<int(const char*, int)> access{"access"};
inline constinit Next<int(const char*, int)> eaccess{"eaccess"};
inline constinit Next<ssize_t(int, const char*, char*, std::size_t)> readlinkat{"readlinkat"};
inline constinit Next<char*(const char*, char*)> realpath{"realpath"};
inline constinit Next<int(const char*)> chdir{"chdir"};
inline constinit Next<char*(char*, std::size_t)> getcwd{"getcwd"};
inline constinit Next<ssize_t(const char*, const char*, void*, std::size_t)> getxattr{"getxattr"};
inline constinit Next<ssize_t(const char*, const char*, void*, std::size_t)> lgetxattr{"lgetxattr"};
inline constinit Next<ssize_t(const char*, char*, std::size_t)> listxattr{"listxattr"};
inline constinit Next<ssize_t(const char*, char*, std::size_t)> llistxattr{"llistxattr"};
inline constinit Next<int(int, const char*, unsigned)> inotify_add_watch{"inotify_add_watch"};

inline constinit Next<DIR*(const char*)> opendir{"opendir"};
inline constinit Next<dirent*(DIR*)> readdir{"readdir"};
inline constinit Next<int(const char*, dirent***, int (*)(const dirent*), Compare*)> scandir{"scandir"};
inline constinit Next<int(const char*, int, int (*)(const char*, int), glob_t*)> glob{"glob"};

}  // namespace next

/// Keeps the thread from being cancelled: what is one call to a kernel is no cancellation point.
class NoCancel {
  public:
    NoCancel();
    NoCancel(const NoCancel&) = delete;
    NoCancel& operator=(const NoCancel&) = delete;
    ~NoCancel();

  private:
    int before_ = 0;
};

}  // namespace belfry::shim

/// Gives a function the name of the libc function that it replaces. By an assembler name: libc's own
/// declarations, with their attributes and redirections, are then left alone.
#define BELFRY_REPLACES(name) asm(name) __attribute__((visibility("default"), used))
/// A second name for a function that replaces `original` in the same file.
#define BELFRY_ALSO(original, name) asm(name) __attribute__((visibility("default"), used, alias(original)))
