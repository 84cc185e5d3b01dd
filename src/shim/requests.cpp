#include "shim/requests.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <span>

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "belfry/uapi/drm.h"
#include "client/channels.hpp"
#include "shim/next.hpp"
#include "shim/trace.hpp"

namespace belfry::shim {

using base::Errno;
using base::Result;

namespace {

// ---- The program's memory

/// Copies with the kernel's help, which says where there is no memory instead of ending the program.
bool copy_checked(decltype(::process_vm_readv)& copy, void* mine, void* users, std::size_t bytes) {
    const iovec local{.iov_base = mine, .iov_len = bytes};
    const iovec remote{.iov_base = users, .iov_len = bytes};
    const int before = errno;
    const ssize_t copied = copy(::getpid(), &local, 1, &remote, 1, 0);
    const bool forbidden = copied < 0 && (errno == EPERM || errno == ENOSYS);
    errno = before;
    if (!forbidden) return copied == static_cast<ssize_t>(bytes);
    // A sandbox without that call: then as if the library were linked.
    const bool reads = &copy == &::process_vm_readv;
    std::memcpy(reads ? mine : users, reads ? users : mine, bytes);
    return true;
}

constexpr uapi::UserMemory kCheckedMemory{
    .read =
        [](void* to, const void* user, std::size_t bytes) {
            return copy_checked(::process_vm_readv, to, const_cast<void*>(user), bytes);
        },
    .write =
        [](void* user, const void* from, std::size_t bytes) {
            return copy_checked(::process_vm_writev, const_cast<void*>(from), user, bytes);
        },
};

// ---- Channels of the program's files

/// The channels of one file, known by the inode of its connection. An entry is used by several threads, and
/// given up by one while others use it: the last one out closes the channels.
class Entry {
  public:
    /// Null: the entry is another file's.
    client::Channels* enter(std::uint64_t file) {
        if (file_.load(std::memory_order_relaxed) != file) return nullptr;
        // seq_cst here and in give_up(): one counts itself in, then looks at the file; the other changes the
        // file, then looks at the count. So not both go on.
        users_.fetch_add(1, std::memory_order_seq_cst);
        if (file_.load(std::memory_order_seq_cst) == file) return channels_;
        leave();
        return nullptr;
    }
    /// Null: the entry is taken.
    client::Channels* take(std::uint64_t file) {
        std::uint64_t expected = kFree;
        if (!file_.compare_exchange_strong(expected, kChanging, std::memory_order_seq_cst)) return nullptr;
        channels_ = new (std::nothrow) client::Channels(kCheckedMemory);
        users_.fetch_add(1, std::memory_order_seq_cst);
        // release (and more): whoever enters sees the channels.
        file_.store(channels_ != nullptr ? file : kFree, std::memory_order_seq_cst);
        if (channels_ == nullptr) leave();
        return channels_;
    }
    void leave() {
        if (users_.fetch_sub(1, std::memory_order_seq_cst) == 1) close();
    }
    void give_up(std::uint64_t file) {
        std::uint64_t expected = file;
        if (file_.compare_exchange_strong(expected, kClosing, std::memory_order_seq_cst) &&
            users_.load(std::memory_order_seq_cst) == 0)
            close();
    }
    [[nodiscard]] std::uint64_t file() const { return file_.load(std::memory_order_relaxed); }

  private:
    // No inode of a socket has these numbers.
    static constexpr std::uint64_t kFree = 0;
    static constexpr std::uint64_t kClosing = ~std::uint64_t{0};
    static constexpr std::uint64_t kChanging = kClosing - 1;

    void close() {
        std::uint64_t expected = kClosing;
        if (!file_.compare_exchange_strong(expected, kChanging, std::memory_order_seq_cst)) return;
        delete channels_;
        channels_ = nullptr;
        file_.store(kFree, std::memory_order_seq_cst);
    }

    std::atomic<std::uint64_t> file_ = kFree;
    std::atomic<std::uint32_t> users_ = 0;
    client::Channels* channels_ = nullptr;
};

constinit std::array<Entry, 32> entries;
constinit std::atomic<unsigned> next_victim = 0;

/// Channels need descriptors too, when a program has used up all that it may have. While this lives, more are
/// allowed; those that were made then stay.
class Headroom {
  public:
    Headroom() {
        if (::getrlimit(RLIMIT_NOFILE, &before_) != 0 || before_.rlim_cur >= before_.rlim_max) return;
        constexpr rlim_t kDescriptors = 64;
        raised_ = before_;
        raised_.rlim_cur = std::min(before_.rlim_max, before_.rlim_cur + kDescriptors);
        done_ = ::setrlimit(RLIMIT_NOFILE, &raised_) == 0;
    }
    Headroom(const Headroom&) = delete;
    Headroom& operator=(const Headroom&) = delete;
    ~Headroom() {
        rlimit now{};
        // Not if another thread has set one of its own meanwhile.
        if (done_ && ::getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur == raised_.rlim_cur)
            ::setrlimit(RLIMIT_NOFILE, &before_);
    }

  private:
    rlimit before_{};
    rlimit raised_{};
    bool done_ = false;
};

/// The channels of a file, for one request.
class FileChannels {
  public:
    explicit FileChannels(std::uint64_t file) {
        const auto find = [&](client::Channels* (Entry::*how)(std::uint64_t)) {
            for (Entry& entry : entries) {
                channels_ = (entry.*how)(file);
                if (channels_ == nullptr) continue;
                entry_ = &entry;
                return true;
            }
            return false;
        };
        if (find(&Entry::enter)) return;
        headroom_.emplace();  // the file's first request
        if (find(&Entry::take)) return;
        // More files than entries, or files that were closed unseen: one makes room.
        Entry& victim = entries[next_victim.fetch_add(1, std::memory_order_relaxed) % entries.size()];
        victim.give_up(victim.file());
        if (find(&Entry::take)) return;
        only_now_.emplace(kCheckedMemory);
        channels_ = &*only_now_;
    }
    FileChannels(const FileChannels&) = delete;
    FileChannels& operator=(const FileChannels&) = delete;
    ~FileChannels() {
        if (entry_ != nullptr) entry_->leave();
    }
    client::Channels* operator->() { return channels_; }

  private:
    Entry* entry_ = nullptr;
    client::Channels* channels_ = nullptr;
    std::optional<client::Channels> only_now_;
    std::optional<Headroom> headroom_;
};

/// Numbers under which the program had one of our files at some time: only these are looked at when they are
/// closed.
constinit FdSet seen_fds;

// ---- Requests

enum RequestType : std::uint8_t { drm = 'd', sync_file = '>', dma_buf = 'b', sw_sync = 'W' };

/// What a request is made through, and on.
struct Route {
    std::string_view where;  // for the trace
    int primary;
    std::uint64_t file;
    int target = -1;
};

/// The library's own file of the daemon, for what no file of the program's is at hand for.
struct OwnFile {
    int fd;
    std::uint64_t inode;
};

std::optional<OwnFile> own_file() {
    const View* const view = View::find(View::Start::no);
    const int fd = view != nullptr ? view->hidden_file() : -1;
    struct stat status{};
    if (fd < 0 || next::fstat(fd, &status) != 0) return std::nullopt;
    return OwnFile{.fd = fd, .inode = status.st_ino};
}

/// Sync files are pipes and dma-bufs memfds, of which only belfryd knows whether they are its own.
std::optional<Route> route_of_export(int fd, std::uint8_t type) {
    struct stat status{};
    if (next::fstat(fd, &status) != 0) return std::nullopt;
    const bool possible =
        type == sync_file ? S_ISFIFO(status.st_mode) : S_ISREG(status.st_mode) && status.st_nlink == 0;
    if (!possible) return std::nullopt;
    const auto own = own_file();
    if (!own) return std::nullopt;
    return Route{.where = type == sync_file ? "sync_file" : "dma_buf",
                 .primary = own->fd,
                 .file = own->inode,
                 .target = fd};
}

std::optional<Route> route_of(int fd, std::uint8_t type) {
    if (type == sync_file || type == dma_buf) return route_of_export(fd, type);
    const auto node = open_node(fd);
    if (!node) return std::nullopt;
    seen_fds.add(fd);
    return Route{.where = node->node->name(), .primary = fd, .file = node->inode};
}

}  // namespace

bool is_ours(unsigned long request) {
    switch (_IOC_TYPE(request)) {
        case drm:
        case sync_file:
        case dma_buf:
        case sw_sync:   return true;
        default:        return false;
    }
}

int ioctl(int fd, unsigned long request, void* args, int refused) {
    const NoCancel no_cancel;
    const auto route = route_of(fd, static_cast<std::uint8_t>(_IOC_TYPE(request)));
    if (!route) {
        errno = refused;
        return -1;
    }
    const auto number = static_cast<std::uint32_t>(request);  // the kernel looks at no more either
    const Trace trace(route->where);
    std::optional<uapi::RequestText> words;
    if (trace.wanted()) words.emplace(number, args, kCheckedMemory);
    const auto done = FileChannels(route->file)->ioctl(route->primary, number, args, route->target);
    if (words) trace.request(*words, done);
    if (done) return 0;
    errno = static_cast<int>(done.error());
    return -1;
}

// ---- mmap

namespace {

Result<void*> map_checked(const OpenNode& node, void* address, std::size_t bytes, int protection, int flags,
                          int fd, off_t offset) {
    const auto plan =
        FileChannels(node.inode)->plan_mmap(fd, static_cast<std::uint64_t>(offset), bytes, protection);
    if (!plan) return std::unexpected(plan.error());
    // The memory is the driver's: a private copy of it is refused, after all else.
    const int sharing = flags & MAP_TYPE;
    if (sharing != MAP_SHARED && sharing != MAP_SHARED_VALIDATE) return std::unexpected(Errno::invalid);

    constexpr int kPlacing = MAP_FIXED | MAP_FIXED_NOREPLACE;
    void* const range = next::mmap(address, plan->bytes, PROT_NONE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (flags & kPlacing), -1, 0);
    if (range == MAP_FAILED) return base::last_error();
    if (const auto placed = client::place(*plan, range, protection); !placed) {
        ::munmap(range, plan->bytes);
        return std::unexpected(placed.error());
    }
    return range;
}

}  // namespace

void* map(const OpenNode& node, void* address, std::size_t bytes, int protection, int flags, int fd,
          off_t offset) {
    const NoCancel no_cancel;
    seen_fds.add(fd);
    const Trace trace(node.node->name());
    const auto mapped = map_checked(node, address, bytes, protection, flags, fd, offset);
    trace.map(bytes, protection, flags, offset, mapped);
    if (mapped) return *mapped;
    errno = static_cast<int>(mapped.error());
    return MAP_FAILED;
}

// ---- Closing

void remember_file(int fd) { seen_fds.add(fd); }

Closing::Closing(unsigned first, unsigned last) {
    for (int fd = seen_fds.next(first); fd >= 0 && static_cast<unsigned>(fd) <= last;
         fd = seen_fds.next(static_cast<unsigned>(fd) + 1))
        forget(fd);
}

void Closing::forget(int fd) {
    if (!seen_fds.has(fd)) return;
    seen_fds.remove(fd);
    const auto opened = open_node(fd);
    if (!opened) return;
    for (Entry& entry : entries)
        if (entry.file() == opened->inode) entry.give_up(opened->inode);
    // The fences of a timeline signal when it is closed, and can be polled without asking anybody. All else
    // that a close changes is seen by requests, which belfryd reads after it has read the hang-up.
    seen_at_once_ |= opened->node->is_timeline();
}

void Closing::settle() {
    const int before = errno;
    if (const auto own = own_file()) {
        const NoCancel no_cancel;
        uapi::drm_version version{};
        // Whatever is asked: the answer comes after the hang-up was heard of.
        [[maybe_unused]] const auto answered =
            FileChannels(own->inode)->ioctl(own->fd, DRM_IOCTL_VERSION, &version);
    }
    errno = before;
}

}  // namespace belfry::shim
