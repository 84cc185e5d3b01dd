#include "server/listener.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace belfry::server {

namespace {

std::unexpected<std::string> because(const std::string& what) {
    return std::unexpected(what + ": " + std::strerror(errno));
}

std::string directory_of(const std::string& path) {
    const auto slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

base::Fd new_socket() {
    return base::Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

/// Whether somebody accepts connections there. In doubt yes: only a refusal proves that a socket is stale.
bool answers(const sockaddr_un& address) {
    const base::Fd probe = new_socket();
    if (!probe) return true;
    if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return true;
    return errno != ECONNREFUSED && errno != ENOENT;
}

/// Whether the process is in our user namespace, where its capabilities mean what they say: anybody has all
/// of them in a namespace of his own.
bool shares_our_user_namespace(const std::string& process) {
    struct stat its{};
    struct stat ours{};
    return ::stat((process + "/ns/user").c_str(), &its) == 0 && ::stat("/proc/self/ns/user", &ours) == 0 &&
           its.st_dev == ours.st_dev && its.st_ino == ours.st_ino;
}

/// What /proc says of a process, as far as it says anything.
struct ProcessStatus {
    std::string name{};
    std::optional<std::uint64_t> capabilities{};  ///< as a mask
};
ProcessStatus status_of(const std::string& process) {
    ProcessStatus found;
    std::ifstream status(process + "/status");
    for (std::string line; std::getline(status, line);) {
        constexpr std::string_view kName = "Name:\t";
        constexpr std::string_view kCapabilities = "CapEff:\t";
        if (line.starts_with(kName)) {
            found.name = line.substr(kName.size());
            // It is the process's own choice, and goes to a terminal.
            std::ranges::replace_if(found.name, [](char c) { return c < ' ' || c > '~'; }, '?');
        } else if (line.starts_with(kCapabilities)) {
            std::uint64_t mask = 0;
            const char* const end = line.data() + line.size();
            if (std::from_chars(line.data() + kCapabilities.size(), end, mask, 16).ec == std::errc())
                found.capabilities = mask;
            break;  // the name comes first
        }
    }
    return found;
}

/// Who connected, at the time of connecting.
drm::Opener opener_at(int socket) {
    ucred peer{};
    socklen_t length = sizeof peer;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return {};
    const std::string process = "/proc/" + std::to_string(peer.pid);
    ProcessStatus status = status_of(process);
    if (!shares_our_user_namespace(process)) status.capabilities.reset();
    // All for root and none for others, if they cannot be read.
    const std::uint64_t capabilities = status.capabilities.value_or(peer.uid == 0 ? ~std::uint64_t{0} : 0);
    const auto has = [capabilities](unsigned capability) { return (capabilities >> capability & 1) != 0; };
    return {.pid = peer.pid,
            .uid = peer.uid,
            .process = std::move(status.name),
            .may_nice = has(CAP_SYS_NICE),
            .may_admin = has(CAP_SYS_ADMIN)};
}

}  // namespace

// ---- ListeningSocket

std::expected<ListeningSocket, std::string> ListeningSocket::bind(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path)
        return std::unexpected("socket path '" + path + "' is empty or too long (at most " +
                               std::to_string(sizeof address.sun_path - 1) + " bytes)");
    std::memcpy(address.sun_path, path.data(), path.size());

    const std::string directory = directory_of(path);
    if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
        return because("cannot make directory '" + directory + "'");
    // Two daemons that start at once must not take each other's fresh socket for a stale one: from the look
    // to listen() the directory is locked. The lock goes with the descriptor, so a crash leaves none.
    const base::Fd lock(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!lock || ::flock(lock.get(), LOCK_EX) != 0)
        return because("cannot lock directory '" + directory + "'");

    struct stat status{};
    if (::lstat(path.c_str(), &status) == 0) {
        if (!S_ISSOCK(status.st_mode))
            return std::unexpected("'" + path + "' exists and is not a socket: refusing to replace it");
        if (answers(address)) return std::unexpected("another server already answers at '" + path + "'");
        if (::unlink(path.c_str()) != 0 && errno != ENOENT)
            return because("cannot remove the stale socket '" + path + "'");
    }

    base::Fd fd = new_socket();
    if (!fd) return because("cannot make a socket");
    // Before bind(), where it decides the mode of the name: there is no moment at which others may connect.
    if (::fchmod(fd.get(), 0600) != 0) return because("cannot restrict the socket");
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return because("cannot bind to '" + path + "'");
    ListeningSocket socket(std::move(fd), path);
    if (!socket.remember_name()) return because("cannot look at '" + path + "'");
    if (::listen(socket.fd(), SOMAXCONN) != 0) return because("cannot listen on '" + path + "'");
    return socket;
}

std::expected<ListeningSocket, std::string> ListeningSocket::adopt(base::Fd fd, Name name) {
    int listens = 0;
    int type = 0;
    socklen_t length = sizeof listens;
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) != 0 || listens == 0 ||
        ::getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &type, &length) != 0 || type != SOCK_SEQPACKET)
        return std::unexpected("descriptor " + std::to_string(fd.get()) +
                               " is not a listening SEQPACKET socket");
    sockaddr_un address{};
    length = sizeof address;
    if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0 ||
        address.sun_family != AF_UNIX)
        return because("cannot learn the name of the inherited socket");
    if (::fcntl(fd.get(), F_SETFD, FD_CLOEXEC) != 0 || ::fcntl(fd.get(), F_SETFL, O_NONBLOCK) != 0)
        return because("cannot keep the inherited socket");
    // Once more, so that whoever connects from now on is told our process as its peer, not the one that made
    // the socket.
    if (::listen(fd.get(), SOMAXCONN) != 0) return because("cannot listen on the inherited socket");

    const std::string path(address.sun_path, ::strnlen(address.sun_path, sizeof address.sun_path));
    ListeningSocket socket(std::move(fd), path);
    if (name == Name::remove_with_directory) socket.directory_too_ = socket.remember_name();
    return socket;
}

bool ListeningSocket::remember_name() {
    struct stat status{};
    if (path_.empty() || ::lstat(path_.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) return false;
    device_ = status.st_dev;
    inode_ = status.st_ino;
    ours_ = true;
    return true;
}

void ListeningSocket::remove_name() {
    // A moved-from one has no descriptor and no name to care for.
    if (!fd_ || !std::exchange(ours_, false)) return;
    struct stat status{};
    if (::lstat(path_.c_str(), &status) != 0 || status.st_dev != device_ || status.st_ino != inode_) return;
    ::unlink(path_.c_str());
    if (directory_too_) ::rmdir(directory_of(path_).c_str());  // refused if anything else is in it, rightly
}

// ---- Listener

Listener::Listener(asio::io_context& io, ListeningSocket socket, drm::Node& node, Hooks hooks)
    : Listener(io, std::move(socket), node, std::move(hooks), Limits{}) {}

Listener::Listener(asio::io_context& io, ListeningSocket socket, drm::Node& node, Hooks hooks, Limits limits)
    : io_(io), pause_(io), hooks_(std::move(hooks)), limits_(limits) {
    if (!hooks_.before_each) hooks_.before_each = [] {};
    if (!hooks_.after_each) hooks_.after_each = [] {};
    if (!hooks_.on_client) hooks_.on_client = [](const drm::Opener&) {};
    if (!hooks_.on_last_closed) hooks_.on_last_closed = [] {};
    add_door(std::move(socket), node);
}

Listener::~Listener() { close_all(); }

void Listener::add_door(ListeningSocket socket, drm::Node& node) {
    doors_.emplace_back(io_, std::move(socket), node);
}

void Listener::start() {
    for (Door& door : doors_) await_client(door);
}

void Listener::close_all() {
    if (std::exchange(closed_, true)) return;
    pause_.cancel();
    for (Door& door : doors_) {
        [[maybe_unused]] const int still_owned_by_socket = door.acceptor.release();
        door.socket.remove_name();
    }
    // A session that ends takes itself out of the list.
    while (!sessions_.empty()) {
        const auto session = sessions_.begin()->second;
        session->end();
    }
}

void Listener::await_client(Door& door) {
    door.acceptor.async_wait(asio::posix::stream_descriptor::wait_read,
                             [this, &door](const asio::error_code& failed) {
                                 if (failed || closed_) return;
                                 hooks_.before_each();
                                 client_waits(door);
                                 hooks_.after_each();
                             });
}

void Listener::client_waits(Door& door) {
    base::Fd primary(::accept4(door.socket.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!primary) {
        // Gone again (ECONNABORTED) or taken by nobody: look again. Everything else is a lack of descriptors
        // or memory, during which the socket stays readable.
        if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) {
            await_client(door);
            return report_if_last_closed();
        }
        spdlog::warn("cannot accept a client: {}", std::strerror(errno));
        return pause_accepting(door);
    }
    ++accepted_;
    await_client(door);
    if (sessions_.size() >= limits_.sessions_max) {
        spdlog::debug("a client was refused: {} sessions already", sessions_.size());
        return;
    }
    const drm::Opener opener = opener_at(primary.get());
    hooks_.on_client(opener);
    auto file = door.node.open(opener);
    if (!file) {
        spdlog::warn("a client was refused: {}", std::strerror(static_cast<int>(file.error())));
        return report_if_last_closed();
    }
    Session::Hooks hooks{.before_each = hooks_.before_each,
                         .after_each = hooks_.after_each,
                         .request_arrived = [this] { ++requests_; },
                         .on_ended = [this](Session& ended) { session_ended(ended); }};
    const auto session = std::make_shared<Session>(io_, std::move(primary), std::move(*file),
                                                   std::move(hooks), limits_.session, warm_);
    sessions_.emplace(session.get(), session);
    session->start();
}

void Listener::pause_accepting(Door& door) {
    door.paused = true;
    pause_.expires_after(std::chrono::milliseconds(100));
    pause_.async_wait([this](const asio::error_code& failed) {
        if (!failed) resume_accepting();  // cancelled: `this` may be gone
    });
}

void Listener::resume_accepting() {
    if (closed_) return;
    pause_.cancel();
    for (Door& door : doors_)
        if (std::exchange(door.paused, false)) await_client(door);
}

void Listener::session_ended(Session& session) {
    sessions_.erase(&session);
    if (closed_) return;
    resume_accepting();  // what was lacking may be free now
    report_if_last_closed();
}

void Listener::report_if_last_closed() {
    if (accepted_ == 0 || !sessions_.empty()) return;
    // Whoever connected already, say a child whose parent just ended, must not meet a daemon that leaves. Its
    // event comes next; should it be refused then, this is asked again.
    const auto somebody_waits = [](const Door& door) {
        pollfd backlog{.fd = door.socket.fd(), .events = POLLIN, .revents = 0};
        return ::poll(&backlog, 1, 0) > 0;
    };
    if (std::ranges::none_of(doors_, somebody_waits)) hooks_.on_last_closed();
}

}  // namespace belfry::server
