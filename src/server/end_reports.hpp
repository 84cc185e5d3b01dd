// EndReports: says of each group that a fault or a timeout has ended so, once: in the log, and to who watches
// its program.
//
// Owns    the watchers' door and connections, and the count of what was said lately.
// Runs    in the driver actor, on the thread of its io_context. No locks.
// Called  by Listener's hook when a client comes; by Server with each group, at the end of an entry into the
//         driver.
//
// A watcher is a process that runs programs, such as `belfry run`. It connects to the door, and is sent a
// line, a message each, about groups of processes that descend from it. When it shuts its side down it is
// sent what is left to say, and hung up on: so nothing of what its programs can have seen comes later.
//
// Nobody is waited for: what a watcher or standard error has no room for is lost. And nobody floods: beyond
// some lines in a second groups are counted, and the count is said when the second is over.
#pragma once

#include <cstdint>
#include <expected>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <unordered_set>

#include <sys/types.h>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>

#include "base/fd.hpp"
#include "drivers/panthor/group.hpp"
#include "server/listener.hpp"

namespace belfry::server {

class EndReports {
  public:
    /// Of one process in a second; of all.
    static constexpr unsigned kLinesOfProcess = 4;
    static constexpr unsigned kLines = 32;
    static constexpr std::size_t kProcesses = 32;  ///< that are told apart in a second
    static constexpr std::size_t kWatchersMax = 64;

    /// Whether a line that a watcher was sent stays out of the log: it would be read twice, if both say it on
    /// one standard error.
    enum class WatchedLines { logged, not_logged };
    EndReports(asio::io_context& io, WatchedLines watched) : io_(io), window_(io), watched_(watched) {}
    EndReports(const EndReports&) = delete;
    EndReports& operator=(const EndReports&) = delete;
    ~EndReports() { close(); }

    /// Before clients are taken.
    void open_door(ListeningSocket socket);
    /// Hangs up on all watchers; nobody new is let in.
    void close();

    /// A process opens a node: watchers that it descends from are told of its groups from now on.
    void client_came(pid_t pid);
    /// `why`: a sentence.
    void ended(const panthor::GroupOwner& owner, const std::string& why);

  private:
    struct Watcher {
        Watcher(asio::io_context& io, pid_t process) : connection(io), pid(process) {}
        asio::posix::stream_descriptor connection;
        pid_t pid;
        std::unordered_set<pid_t> programs;  // processes that descend from it, as far as they came
    };
    struct Recent {
        std::string process;
        unsigned said = 0;
        std::uint64_t kept_back = 0;
    };
    struct Door {
        Door(asio::io_context& io, ListeningSocket listening)
            : socket(std::move(listening)), acceptor(io, socket.fd()) {}
        ListeningSocket socket;
        asio::posix::stream_descriptor acceptor;  // borrows the descriptor of socket
    };

    void await_watcher();
    void let_watchers_in();
    void await_end(std::list<Watcher>::iterator watcher);
    void await_end_of_window();
    void say_what_was_kept_back(pid_t pid, Recent& recent);
    void say(pid_t pid, const std::string& line);

    asio::io_context& io_;
    asio::steady_timer window_;
    WatchedLines watched_;
    std::optional<Door> door_;
    std::list<Watcher> watchers_;
    std::map<pid_t, Recent> recent_;      // since the second began; empty: none has
    unsigned said_ = 0;                   // in it
    std::uint64_t others_kept_back_ = 0;  // of processes beyond kProcesses
};

}  // namespace belfry::server
