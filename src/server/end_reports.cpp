#include "server/end_reports.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <fstream>
#include <iterator>
#include <string_view>
#include <utility>

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

namespace belfry::server {

namespace {

/// 0: there is no such process any more, or it has none.
pid_t parent_of(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    const std::string stat{std::istreambuf_iterator<char>(file), {}};
    // The name, which may be anything, is in brackets; then come state and parent.
    constexpr std::string_view kState = ") S ";
    const auto end_of_name = stat.rfind(')');
    pid_t parent = 0;
    if (end_of_name != std::string::npos && end_of_name + kState.size() < stat.size())
        std::from_chars(stat.data() + end_of_name + kState.size(), stat.data() + stat.size(), parent);
    return parent;
}

std::string name_of(const std::string& process, pid_t pid) {
    return process.empty() ? fmt::format("process {}", pid) : fmt::format("{} ({})", process, pid);
}

/// A line that is shorter than a pipe's page never waits then.
bool log_has_room() {
    pollfd out{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
    return ::poll(&out, 1, 0) == 1 && (out.revents & POLLOUT) != 0;
}

}  // namespace

// ---- Watchers

void EndReports::open_door(ListeningSocket socket) {
    door_.emplace(io_, std::move(socket));
    await_watcher();
}

void EndReports::close() {
    window_.cancel();
    watchers_.clear();
    if (!door_) return;
    [[maybe_unused]] const int still_owned_by_socket = door_->acceptor.release();
    door_.reset();
}

void EndReports::await_watcher() {
    door_->acceptor.async_wait(asio::posix::stream_descriptor::wait_read,
                               [this](const asio::error_code& failed) {
                                   if (failed) return;
                                   let_watchers_in();
                                   await_watcher();
                               });
}

void EndReports::let_watchers_in() {
    if (!door_) return;
    for (;;) {
        base::Fd fd(::accept4(door_->socket.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!fd) return;  // nobody is there; or, without descriptors, whoever is has to wait
        ucred peer{};
        socklen_t length = sizeof peer;
        if (watchers_.size() == kWatchersMax ||
            ::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
            continue;
        const auto watcher = watchers_.emplace(watchers_.end(), io_, peer.pid);
        asio::error_code refused;
        watcher->connection.assign(fd.get(), refused);
        if (refused) {
            watchers_.erase(watcher);
            continue;
        }
        [[maybe_unused]] const int owned = fd.release();
        await_end(watcher);
    }
}

void EndReports::await_end(std::list<Watcher>::iterator watcher) {
    watcher->connection.async_wait(asio::posix::stream_descriptor::wait_read,
                                   [this, watcher](const asio::error_code& failed) {
                                       if (failed) return;  // it is gone already
                                       for (auto& [pid, recent] : recent_)
                                           if (watcher->programs.contains(pid))
                                               say_what_was_kept_back(pid, recent);
                                       watchers_.erase(watcher);
                                   });
}

void EndReports::client_came(pid_t pid) {
    // Whoever watches it has connected before it was started, but to another door.
    let_watchers_in();
    if (watchers_.empty()) return;
    for (Watcher& watcher : watchers_)
        watcher.programs.erase(pid);  // the number may be another process's now
    constexpr int kGenerationsMax = 64;
    pid_t ancestor = pid;
    for (int i = 0; i < kGenerationsMax && ancestor > 0; ++i, ancestor = parent_of(ancestor))
        for (Watcher& watcher : watchers_)
            if (watcher.pid == ancestor) watcher.programs.insert(pid);
}

// ---- What is said

void EndReports::ended(const panthor::GroupOwner& owner, const std::string& why) {
    if (recent_.empty()) await_end_of_window();
    if (recent_.size() == kProcesses && !recent_.contains(owner.pid)) {
        ++others_kept_back_;
        return;
    }
    Recent& recent = recent_[owner.pid];
    recent.process = owner.process;
    if (recent.said == kLinesOfProcess || said_ == kLines) {
        ++recent.kept_back;
        return;
    }
    ++recent.said;
    ++said_;
    say(owner.pid,
        fmt::format("group {} of {} has ended: {}", owner.handle, name_of(owner.process, owner.pid), why));
}

void EndReports::await_end_of_window() {
    window_.expires_after(std::chrono::seconds(1));
    window_.async_wait([this](const asio::error_code& failed) {
        if (failed) return;
        for (auto& [pid, recent] : recent_) say_what_was_kept_back(pid, recent);
        if (others_kept_back_ != 0)
            say(0, fmt::format("{} more groups of other processes have ended", others_kept_back_));
        recent_.clear();
        said_ = 0;
        others_kept_back_ = 0;
    });
}

void EndReports::say_what_was_kept_back(pid_t pid, Recent& recent) {
    const std::uint64_t groups = std::exchange(recent.kept_back, 0);
    if (groups == 0) return;
    say(pid, fmt::format("{} more group{} of {} {} ended", groups, groups == 1 ? "" : "s",
                         name_of(recent.process, pid), groups == 1 ? "has" : "have"));
}

void EndReports::say(pid_t pid, const std::string& line) {
    bool watched = false;
    for (Watcher& watcher : watchers_)
        if (watcher.programs.contains(pid))
            watched |= ::send(watcher.connection.native_handle(), line.data(), line.size(),
                              MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(line.size());
    if (watched && watched_ == WatchedLines::not_logged) return;
    if (log_has_room()) spdlog::warn("{}", line);
}

}  // namespace belfry::server
