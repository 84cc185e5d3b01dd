#include "shim/view.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/atomic.hpp"
#include "base/fd.hpp"
#include "belfry/uapi/drm.h"
#include "client/daemon.hpp"
#include "client/transport.hpp"
#include "shim/next.hpp"

namespace belfry::shim {

namespace {

// facts/uapi.md 6.2. A misc device is what /dev/sw_sync was where it was one.
constexpr std::array kNodes = {
    Node{.path = "/dev/dri/card0", .mode = S_IFCHR | 0660, .major = 226, .minor = 0},
    Node{.path = "/dev/dri/renderD128", .mode = S_IFCHR | 0666, .major = 226, .minor = 128},
    Node{.path = "/dev/sw_sync", .mode = S_IFCHR | 0666, .major = 10, .minor = 60},
};
constexpr std::string_view kViewSuffix = ".view";

/// What is shown of belfryd instead of the machine: a path, or all paths below it. `prefix`: names that start
/// like this.
struct Place {
    std::string_view seen;
    std::string_view in_view;
    bool prefix = false;
};
constexpr std::array kPlaces = {
    Place{"/dev/dri", "/dev/dri"},
    Place{"/dev/sw_sync", "/dev/sw_sync"},
    Place{"/sys/kernel/debug/sync/sw_sync", "/dev/sw_sync"},
    Place{"/sys/dev/char/226:", "/sys/dev/char/226:", true},
    Place{"/sys/class/drm", "/sys/class/drm"},
    Place{"/sys/devices/platform/fb000000.gpu", "/sys/devices/platform/fb000000.gpu"},
};
// Nothing lies there.
constexpr const char* kNowhere = "/proc/self/belfryd-is-not-running";

std::atomic<const View*> the_view = nullptr;
std::atomic<bool> unreachable_said = false;
// $BELFRY_SOCKET as the program was started with it: it may tidy up its environment.
std::array<char, sizeof(sockaddr_un::sun_path)> started_with{};

__attribute__((constructor)) void remember_environment() {
    const char* const socket = ::secure_getenv("BELFRY_SOCKET");
    if (socket != nullptr) std::strncpy(started_with.data(), socket, started_with.size() - 1);
}

/// Once a process: a program may look for its GPU in a loop.
void say_unreachable(const std::string& why) {
    if (unreachable_said.exchange(true, std::memory_order_relaxed)) return;
    const std::string line = "belfry: there is no GPU for this program: " + why + "\n";
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

// ---- Paths

std::string_view next_component(std::string_view& rest) {
    const auto start = std::min(rest.find_first_not_of('/'), rest.size());
    rest.remove_prefix(start);
    const auto end = std::min(rest.find('/'), rest.size());
    const std::string_view component = rest.substr(0, end);
    rest.remove_prefix(end);
    return component;
}

/// The place at or below which an absolute path lies, and what of the path is left behind it.
struct Placed {
    const Place* place;
    std::string_view rest;
};

std::optional<Placed> place_of(std::string_view path) {
    // Most paths are told by their first component.
    std::string_view rest = path;
    const std::string_view top = next_component(rest);
    if (top != "dev" && top != "sys") return std::nullopt;

    constexpr std::size_t kLongest = 64;  // of what can still become one of the places
    std::array<char, kLongest> normal{};
    std::size_t length = 0;
    rest = path;
    for (std::string_view name = next_component(rest); !name.empty(); name = next_component(rest)) {
        if (name == ".") continue;
        if (name == "..") {
            while (length != 0) {
                --length;
                if (normal[length] == '/') break;
            }
            continue;
        }
        if (length + 1 + name.size() > normal.size()) return std::nullopt;
        normal[length++] = '/';
        std::ranges::copy(name, normal.begin() + static_cast<std::ptrdiff_t>(length));
        length += name.size();
        const std::string_view so_far(normal.data(), length);
        for (const Place& place : kPlaces) {
            if (so_far == place.seen) return Placed{&place, rest};
            if (place.prefix && so_far.starts_with(place.seen))
                return Placed{&place,
                              path.substr(path.size() - rest.size() - (so_far.size() - place.seen.size()))};
        }
    }
    return std::nullopt;
}

/// Whether a relative path may lead to a place, from a directory above it.
bool may_lead_to_place(std::string_view path) {
    for (std::string_view name = next_component(path); !name.empty(); name = next_component(path))
        if (name == "dri" || name == "drm" || name == "sw_sync" || name == "fb000000.gpu" ||
            name.starts_with("226:"))
            return true;
    return false;
}

int connect_to(const std::string& path, int open_flags) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    // A long path that was found by another, shorter name.
    base::Fd target;
    std::string reached = path;
    if (path.size() >= sizeof address.sun_path) {
        target = base::Fd(next::openat(AT_FDCWD, path.c_str(), O_PATH | O_CLOEXEC, 0));
        if (!target) return -1;
        reached = "/proc/self/fd/" + std::to_string(target.get());
    }
    std::memcpy(address.sun_path, reached.data(), reached.size());
    base::Fd socket(
        ::socket(AF_UNIX, SOCK_SEQPACKET | ((open_flags & O_CLOEXEC) != 0 ? SOCK_CLOEXEC : 0), 0));
    if (!socket) return -1;
    while (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        if (errno != EINTR) return -1;
    // Only now: it is reading that must not block, not opening.
    if ((open_flags & O_NONBLOCK) != 0) ::fcntl(socket.get(), F_SETFL, O_NONBLOCK);  // NOLINT: is variadic
    return socket.release();
}

std::optional<ino_t> inode_of_socket(int fd) {
    struct stat status{};
    if (next::fstat(fd, &status) != 0 || !S_ISSOCK(status.st_mode)) return std::nullopt;
    return status.st_ino;
}

/// Number and inode of a socket (which has 32 bits) in one word, so that both change together. 0 if it is
/// none.
std::uint64_t word_of(int fd) {
    const auto inode = inode_of_socket(fd);
    return inode ? *inode << 32 | static_cast<std::uint32_t>(fd) : 0;
}

int fd_of(std::uint64_t word) { return static_cast<int>(word & 0xffffffff); }

void close_own(int fd) {
    own_fds.remove(fd);
    next::close(fd);
}

}  // namespace

const char* Node::name() const { return std::strrchr(path, '/') + 1; }

bool Node::is_timeline() const { return this == &kNodes.back(); }

// ---- View

const View* View::known() {
    // acquire: pairs with the release of find(), for what the view holds.
    return the_view.load(std::memory_order_acquire);
}

const View* View::find(Start start) {
    if (const View* const found = known(); found != nullptr) return found;
    const NoCancel no_cancel;
    auto connection =
        client::connect_or_start({.socket_path = started_with.data(), .may_start = start == Start::yes});
    if (!connection) {
        if (start == Start::yes) say_unreachable(connection.error().message);
        return nullptr;
    }
    const int hidden = hide_fd(connection->primary.get());
    // Of a daemon that is starting the view is there once it answers.
    const auto file = client::SocketTransport::adopt(std::move(connection->primary));
    uapi::drm_version version{};
    std::array<char, PATH_MAX> root{};
    struct stat status{};
    if (hidden < 0 || !file->ioctl(DRM_IOCTL_VERSION, &version) ||
        next::realpath((connection->path + std::string(kViewSuffix)).c_str(), root.data()) == nullptr ||
        next::fstatat(AT_FDCWD, root.data(), &status, 0) != 0) {
        close_own(hidden);
        say_unreachable("belfryd at '" + connection->path + "' does not serve it");
        return nullptr;
    }
    const auto* const made =
        new View(root.data(), status.st_dev, word_of(hidden));  // for the life of the process
    const View* expected = nullptr;
    // acq_rel: publishes what the view holds, and sees what another thread's does.
    if (the_view.compare_exchange_strong(expected, made, std::memory_order_acq_rel)) return made;
    close_own(hidden);
    delete made;
    return expected;
}

int View::hidden_file() const {
    std::uint64_t word = hidden_file_.load(std::memory_order_relaxed);
    if (word != 0 && word_of(fd_of(word)) == word) return fd_of(word);
    // The program closed it behind our back; its number is the program's now.
    own_fds.remove(fd_of(word));
    const NoCancel no_cancel;
    const base::Fd made(connect_to(at(kNodes[1].path), O_CLOEXEC));
    const int hidden = made ? hide_fd(made.get()) : -1;
    if (hidden < 0) return -1;
    if (hidden_file_.compare_exchange_strong(word, word_of(hidden), std::memory_order_relaxed)) return hidden;
    close_own(hidden);
    return fd_of(word);  // another thread was faster
}

std::string_view View::seen(std::string_view path) const {
    if (!path.starts_with(root_)) return {};
    path.remove_prefix(root_.size());
    return path.starts_with("/") ? path : std::string_view();
}

bool View::is_in_sys(std::string_view path) const { return seen(path).starts_with("/sys"); }

const Node* View::node(dev_t device, ino_t inode) const {
    if (device != device_) return nullptr;  // most sockets: connections are on none
    for (const Node& node : kNodes) {
        struct stat status{};
        if (next::fstatat(AT_FDCWD, at(node.path).c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            status.st_dev == device && status.st_ino == inode)
            return &node;
    }
    return nullptr;
}

bool View::has_node(std::string_view name, ino_t inode) const {
    return std::ranges::any_of(kNodes, [&](const Node& node) {
        struct stat status{};
        return name == node.name() &&
               next::fstatat(AT_FDCWD, at(node.path).c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
               status.st_ino == inode;
    });
}

// ---- SeenPath

SeenPath::SeenPath(const char* path, int directory) : path_(path) {
    if (path == nullptr || path[0] == '\0') return;
    std::string absolute;
    std::optional<Placed> placed;
    if (path[0] == '/') {
        placed = place_of(path);
    } else if (may_lead_to_place(path)) {
        const int error = errno;
        absolute = path_of(directory);
        errno = error;
        if (!absolute.starts_with('/')) return;
        absolute.append("/").append(path);
        placed = place_of(absolute);
    }
    if (!placed) return;

    const int error = errno;
    if (const View* const view = View::find(); view != nullptr) {
        real_ = view->at(placed->place->in_view).append(placed->rest);
    } else {
        real_ = kNowhere;
        missing_device_ = placed->place->in_view.starts_with("/dev");
    }
    errno = error;
}

// ---- Descriptors

std::string path_of(int fd) {
    std::array<char, PATH_MAX> path{};
    if (fd == AT_FDCWD)
        return next::getcwd(path.data(), path.size()) != nullptr ? path.data() : std::string();
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    const auto length = next::readlinkat(AT_FDCWD, link.c_str(), path.data(), path.size());
    return length > 0 ? std::string(path.data(), static_cast<std::size_t>(length)) : std::string();
}

const Node* node_of_socket(const std::string& socket) {
    for (const Node& node : kNodes)
        if (socket.ends_with(std::string(kViewSuffix) + node.path)) return &node;
    return nullptr;
}

std::optional<OpenNode> open_node(int fd) {
    const auto inode = inode_of_socket(fd);
    return inode ? open_node(fd, *inode) : std::nullopt;
}

std::optional<OpenNode> open_node(int fd, ino_t inode) {
    sockaddr_un peer{};
    socklen_t length = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0 || peer.sun_family != AF_UNIX ||
        length <= offsetof(sockaddr_un, sun_path) || peer.sun_path[0] == '\0')
        return std::nullopt;
    std::string socket(peer.sun_path, ::strnlen(peer.sun_path, length - offsetof(sockaddr_un, sun_path)));
    const Node* const node = node_of_socket(socket);
    if (node == nullptr) return std::nullopt;
    // A daemon that was started with a relative path: it is known only by where we found it.
    if (socket[0] != '/') {
        if (const View* const view = View::find(View::Start::no); view != nullptr)
            socket = view->at(node->path);
    }
    return OpenNode{.node = node, .inode = inode, .socket = std::move(socket)};
}

std::optional<OpenNode> open_node_of_link(const char* path) {
    const std::string_view whole(path);
    const auto name = whole.substr(whole.rfind('/') + 1);
    if (!whole.starts_with("/proc/") && !whole.starts_with("/dev/fd/")) return std::nullopt;
    int fd = -1;
    const auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), fd);
    if (failed != std::errc() || end != name.data() + name.size() || fd < 0) return std::nullopt;
    return open_node(fd);
}

int connect_to_node(const std::string& path, int open_flags) {
    if ((open_flags & O_EXCL) != 0) {
        errno = EBUSY;
        return -1;
    }
    const NoCancel no_cancel;
    const int fd = connect_to(path, open_flags);
    if (fd < 0 && (errno == ECONNREFUSED || errno == ENOENT)) {
        say_unreachable("no belfryd answers at '" + path + "'");
        errno = ENODEV;
    }
    return fd;
}

// ---- FdSet

// relaxed throughout: a number that one thread closes while another opens or uses it is theirs to order.
void FdSet::add(int fd) {
    const auto number = static_cast<unsigned>(fd);
    if (number >= kMax) return;
    base::fetch_or(words_[number / 64], std::uint64_t{1} << number % 64, base::kRelaxed);
}

void FdSet::remove(int fd) {
    const auto number = static_cast<unsigned>(fd);
    if (number >= kMax) return;
    base::fetch_and(words_[number / 64], ~(std::uint64_t{1} << number % 64), base::kRelaxed);
}

bool FdSet::has(int fd) const {
    const auto number = static_cast<unsigned>(fd);
    return number < kMax && (base::load(words_[number / 64], base::kRelaxed) >> number % 64 & 1) != 0;
}

int FdSet::next(unsigned fd) const {
    for (; fd < kMax; fd = (fd / 64 + 1) * 64) {
        const std::uint64_t left = base::load(words_[fd / 64], base::kRelaxed) >> fd % 64;
        if (left != 0) return static_cast<int>(fd) + std::countr_zero(left);
    }
    return -1;
}

constinit FdSet own_fds;

int hide_fd(int fd) {
    // High, yet not so high that the kernel's table of descriptors grows much for it, which each fork copies.
    constexpr rlim_t kFrom = 900;
    constexpr rlim_t kRoom = 64;
    rlimit limit{};
    rlim_t from = kFrom;
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < kFrom + kRoom)
        from = limit.rlim_cur > 2 * kRoom ? limit.rlim_cur - kRoom : limit.rlim_cur / 2;
    const int hidden = ::fcntl(fd, F_DUPFD_CLOEXEC, static_cast<int>(from));  // NOLINT: is variadic
    if (hidden >= 0) own_fds.add(hidden);
    return hidden;
}

}  // namespace belfry::shim
