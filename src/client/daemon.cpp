#include "client/daemon.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "belfry/uapi/drm.h"
#include "belfry/uapi/panthor_drm.h"
#include "uapi/wire.hpp"

namespace belfry::client {

namespace {

using base::Fd;

std::unexpected<ConnectError> because(const std::string& what, int error = errno) {
    const char* const why = ::strerrordesc_np(error);  // unlike strerror() for any thread
    return std::unexpected(
        ConnectError{.error = error, .message = what + ": " + (why != nullptr ? why : "unknown error")});
}

std::optional<sockaddr_un> address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path) return std::nullopt;
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

Fd new_socket() { return Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)); }

/// A socket is connected to, a device node opened. Empty on failure, with errno.
Fd connect_to(const std::string& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) == 0 && S_ISCHR(status.st_mode))
        return Fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    const auto address = address_of(path);
    if (!address) {
        errno = ENAMETOOLONG;
        return {};
    }
    Fd primary = new_socket();
    if (!primary) return {};
    while (::connect(primary.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
        if (errno == EINTR) continue;
        const int error = errno;
        primary = Fd();
        errno = error;
        return {};
    }
    return primary;
}

/// A DRM node of the kernel that a belfryd serves: its driver is panthor, as on a board, but it also knows
/// what only ours does. Empty if there is none.
DaemonConnection find_node() {
    constexpr int kFirst = 128;
    constexpr int kEnd = 192;
    for (int minor = kFirst; minor < kEnd; ++minor) {
        DaemonConnection node{.primary = {}, .path = "/dev/dri/renderD" + std::to_string(minor)};
        node.primary = Fd(::open(node.path.c_str(), O_RDWR | O_CLOEXEC));
        std::array<char, 8> name{};
        uapi::drm_version version{.name_len = name.size(),
                                  .name = reinterpret_cast<std::uint64_t>(name.data())};
        uapi::belfry_device_info info{};
        if (node.primary && ::ioctl(node.primary.get(), DRM_IOCTL_VERSION, &version) == 0 &&
            std::string_view(name.data(), ::strnlen(name.data(), name.size())) == "panthor" &&
            ::ioctl(node.primary.get(), DRM_IOCTL_BELFRY_DEVICE_INFO, &info) == 0)
            return node;
    }
    return {};
}

// ---- Starting a daemon

/// A listening socket in a directory of its own. Both names are removed again unless somebody takes over.
class PrivateSocket {
  public:
    PrivateSocket(Fd fd, std::string directory) : fd_(std::move(fd)), directory_(std::move(directory)) {}
    PrivateSocket(PrivateSocket&& other) noexcept
        : fd_(std::move(other.fd_)), directory_(std::exchange(other.directory_, {})) {}
    PrivateSocket& operator=(PrivateSocket&&) = delete;
    ~PrivateSocket() {
        if (directory_.empty()) return;
        ::unlink(path().c_str());
        ::rmdir(directory_.c_str());
    }
    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] std::string path() const { return directory_ + "/belfry.sock"; }
    /// The names are the daemon's to remove from now on.
    void hand_over() { directory_.clear(); }

  private:
    Fd fd_;
    std::string directory_;
};

std::expected<PrivateSocket, ConnectError> make_private_socket() {
    const char* const runtime = ::secure_getenv("XDG_RUNTIME_DIR");
    std::string directory =
        (runtime != nullptr && runtime[0] == '/' ? std::string(runtime) : "/tmp") + "/belfry-XXXXXX";
    if (::mkdtemp(directory.data()) == nullptr) {
        // $XDG_RUNTIME_DIR often names a directory that does not exist: in containers, after su.
        directory = "/tmp/belfry-XXXXXX";
        if (::mkdtemp(directory.data()) == nullptr)
            return because("cannot make a directory '" + directory + "'");
    }
    PrivateSocket socket(new_socket(), directory);
    const auto address = address_of(socket.path());
    if (!address) return because("socket path '" + socket.path() + "'", ENAMETOOLONG);
    // fchmod() before bind(): the name has its mode from its first moment.
    if (socket.fd() < 0 || ::fchmod(socket.fd(), 0600) != 0 ||
        ::bind(socket.fd(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0 ||
        ::listen(socket.fd(), SOMAXCONN) != 0)
        return because("cannot listen on '" + socket.path() + "'");
    return socket;
}

// Numbers in the daemon after close_range().
constexpr int kListenFd = 3;
constexpr int kStatusFd = 4;

/// What the daemon's process needs, made before fork(): after it, in a program with threads, nothing may
/// allocate.
struct Launch {
    const char* binary;
    char* const* argv;
    int listen_fd;
    int status_fd;  // tells errno if exec fails; closes if it does not
};

[[noreturn]] void report_and_exit(int status_fd) {
    const int error = errno;
    [[maybe_unused]] const auto written = ::write(status_fd, &error, sizeof error);
    ::_exit(127);
}

/// In the daemon's process, with all signals blocked. Async-signal-safe calls only.
[[noreturn]] void become_daemon(const Launch& launch) {
    ::setsid();  // Ctrl-C at the program's terminal must not take the driver away first
    // Out of the way of the numbers that they are to have.
    const int listen_fd = ::fcntl(launch.listen_fd, F_DUPFD, 16);
    const int status_fd = ::fcntl(launch.status_fd, F_DUPFD_CLOEXEC, 16);
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (listen_fd < 0 || status_fd < 0 || null < 0) report_and_exit(launch.status_fd);
    // Standard output too: a daemon that holds the program's would keep a pipe open behind its back. Errors
    // stay.
    if (::dup2(null, STDIN_FILENO) < 0 || ::dup2(null, STDOUT_FILENO) < 0 ||
        ::dup2(listen_fd, kListenFd) < 0 || ::dup3(status_fd, kStatusFd, O_CLOEXEC) < 0)
        report_and_exit(status_fd);
    ::close_range(kStatusFd + 1, UINT_MAX, 0);

    // exec keeps what is ignored and what is blocked: a daemon starts with neither.
    struct sigaction by_default{};
    by_default.sa_handler = SIG_DFL;
    for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &by_default, nullptr);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::execv(launch.binary, launch.argv);
    report_and_exit(kStatusFd);
}

/// 0, or the errno that kept the daemon from running. Returns once exec succeeded or failed.
int launch_daemon(const std::string& binary, const std::vector<std::string>& more, int listen_fd) {
    std::array<int, 2> status{};
    if (::pipe2(status.data(), O_CLOEXEC) != 0) return errno;
    const Fd status_read(status[0]);
    Fd status_write(status[1]);
    std::vector<std::string> words{binary, "--listen-fd", std::to_string(kListenFd), "--private"};
    words.insert(words.end(), more.begin(), more.end());
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const Launch launch{binary.c_str(), argv.data(), listen_fd, status_write.get()};

    // Handlers of the program must not run in its copies.
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    const pid_t child = ::fork();
    if (child == 0) {
        // Twice, so that the daemon is nobody's child: a program that waits for all its children must not
        // meet it.
        const pid_t daemon = ::fork();
        if (daemon == 0) become_daemon(launch);
        if (daemon < 0) report_and_exit(launch.status_fd);
        ::_exit(0);
    }
    const int fork_error = child < 0 ? errno : 0;
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (fork_error != 0) return fork_error;

    status_write = Fd();
    // ECHILD: the program reaps children on its own. The pipe tells what matters.
    while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
    int error = 0;
    for (;;) {
        const auto got = ::read(status_read.get(), &error, sizeof error);
        if (got < 0 && errno == EINTR) continue;
        return got == static_cast<ssize_t>(sizeof error) ? error : 0;
    }
}

// ---- Finding the program

bool is_program(const std::string& path) {
    struct stat status{};
    return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

std::string directory_of(std::string_view path) {
    const auto slash = path.rfind('/');
    return slash == std::string_view::npos ? "." : std::string(path.substr(0, slash));
}

std::string own_program() {
    std::array<char, PATH_MAX> path{};
    const auto length = ::readlink("/proc/self/exe", path.data(), path.size());
    return length > 0 ? std::string(path.data(), static_cast<std::size_t>(length)) : std::string();
}

/// The file that this code was loaded from: the client library, or the program if it is linked statically.
std::string own_library() {
    static const char anchor = 0;
    Dl_info info{};
    return ::dladdr(&anchor, &info) != 0 && info.dli_fname != nullptr ? info.dli_fname : "";
}

}  // namespace

std::string find_belfryd() {
    if (const char* const named = ::secure_getenv("BELFRYD"); named != nullptr && named[0] != '\0')
        return named;
    std::vector<std::string> directories;
    if (const std::string program = own_program(); !program.empty())
        directories.push_back(directory_of(program));
    if (const std::string library = own_library(); !library.empty())
        directories.push_back(directory_of(library) + "/../bin");
    if (const char* const search = ::secure_getenv("PATH"); search != nullptr) {
        std::string_view rest = search;
        while (!rest.empty()) {
            const auto colon = std::min(rest.find(':'), rest.size());
            if (colon != 0) directories.emplace_back(rest.substr(0, colon));
            rest.remove_prefix(std::min(colon + 1, rest.size()));
        }
    }
    for (const std::string& directory : directories)
        if (std::string program = directory + "/belfryd"; is_program(program)) return program;
    return {};
}

std::expected<DaemonConnection, ConnectError> start_private(const ConnectOptions& options) {
    const std::string binary = options.belfryd_binary.empty() ? find_belfryd() : options.belfryd_binary;
    if (binary.empty()) {
        return std::unexpected(ConnectError{
            .error = ENOENT,
            .message =
                "no belfryd is running, and its program was not found beside this one, beside the library or "
                "in $PATH; $BELFRYD may name it"});
    }
    auto socket = make_private_socket();
    if (!socket) return std::unexpected(socket.error());
    DaemonConnection connection{.primary = {}, .path = socket->path(), .started = true};
    // First our connection, then the daemon: it finds a client in its backlog, so that it also ends if this
    // program dies before it says anything.
    connection.primary = connect_to(connection.path);
    if (!connection.primary) return because("cannot connect to '" + connection.path + "'");
    if (const int error = launch_daemon(binary, options.belfryd_arguments, socket->fd()); error != 0)
        return because("cannot start '" + binary + "'", error);
    socket->hand_over();
    return connection;
}

std::expected<DaemonConnection, ConnectError> connect_or_start(const ConnectOptions& options) {
    std::string path = options.socket_path;
    if (path.empty()) {
        if (const char* const named = ::secure_getenv("BELFRY_SOCKET"); named != nullptr) path = named;
    }
    const bool explicitly = !path.empty();
    if (!explicitly) {
        auto usual = uapi::default_socket_path();
        if (!usual)
            return std::unexpected(ConnectError{.error = EACCES, .message = std::move(usual.error())});
        path = std::move(*usual);
    }

    Fd primary = connect_to(path);
    if (primary)
        return DaemonConnection{.primary = std::move(primary), .path = std::move(path), .started = false};
    const int error = errno;
    const bool nobody = error == ENOENT || error == ECONNREFUSED;
    if (nobody && !explicitly && options.may_be_node)
        if (DaemonConnection node = find_node(); node.primary) return node;
    if (nobody && !explicitly && options.may_start) return start_private(options);
    return because(
        nobody ? "no belfryd answers at '" + path + "'" : "cannot connect to belfryd at '" + path + "'",
        error);
}

}  // namespace belfry::client
