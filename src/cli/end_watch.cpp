#include "cli/end_watch.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace belfry::cli {

EndWatch::EndWatch(const std::string& socket_path) {
    const std::string door = socket_path + ".view/ended";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (door.size() >= sizeof address.sun_path) return;
    std::memcpy(address.sun_path, door.data(), door.size());
    base::Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (socket && ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
        connection_ = std::move(socket);
}

bool EndWatch::say_one(int flags) {
    std::array<char, 4096> line;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled by recv()
    const auto got = ::recv(connection_.get(), line.data(), line.size(), flags);
    if (got < 0 && errno == EINTR) return true;
    if (got <= 0) {
        if (got == 0) connection_ = base::Fd();  // belfryd has gone
        return false;
    }
    const std::string text =
        fmt::format("belfry: {}\n", std::string_view(line.data(), static_cast<std::size_t>(got)));
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
    return true;
}

void EndWatch::say_what_came() {
    while (connection_ && say_one(MSG_DONTWAIT)) {
    }
}

void EndWatch::finish() {
    if (!connection_) return;
    // It answers with what it has kept back, and hangs up.
    ::shutdown(connection_.get(), SHUT_WR);
    const timeval patience{.tv_sec = 5, .tv_usec = 0};  // with a belfryd that is stopped
    ::setsockopt(connection_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    while (say_one(0)) {
    }
}

}  // namespace belfry::cli
