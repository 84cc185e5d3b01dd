// Listener: the doors where clients connect, and the list of sessions that came of it.
//
// Owns    ListeningSocket: the socket and its name in the file system. Listener: its doors, each a socket
//         that leads to a node of the driver, and the sessions of all of them.
// Runs    in the driver actor, on the thread of its io_context, which must outlive the Listener. No locks.
// Called  by Server, which starts it last: then everything below it works.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include <sys/types.h>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>

#include "base/fd.hpp"
#include "drm/node.hpp"
#include "server/session.hpp"

namespace belfry::server {

/// A listening SOCK_SEQPACKET socket. Its end removes the name, if that is still the same socket.
class ListeningSocket {
  public:
    /// Binds and listens on `path`: mode 0600; the directory is made (0700) if it is missing. Replaces a
    /// stale socket, refuses to replace one that answers, or anything else. The error is a sentence.
    static std::expected<ListeningSocket, std::string> bind(const std::string& path);

    /// What becomes of the name of an adopted socket in the end.
    enum class Name {
        keep,                   ///< it belongs to whoever passed the socket
        remove_with_directory,  ///< it was made for us, in a directory of its own
    };
    /// Takes over a socket that listens already, inherited as `fd`.
    static std::expected<ListeningSocket, std::string> adopt(base::Fd fd, Name name);

    ListeningSocket(ListeningSocket&&) = default;
    ListeningSocket& operator=(ListeningSocket&&) = delete;
    ~ListeningSocket() { remove_name(); }

    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] const std::string& path() const { return path_; }
    /// Nobody new finds us; whoever is connected stays.
    void remove_name();

  private:
    ListeningSocket(base::Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
    /// Notes which inode is ours.
    bool remember_name();

    base::Fd fd_;
    std::string path_;
    bool ours_ = false;
    bool directory_too_ = false;
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

class Listener {
  public:
    struct Hooks {
        /// Before each event is handled: the owner tells its driver the time here.
        std::function<void()> before_each{};
        /// After each event that was handled: the owner rearms its driver timer here.
        std::function<void()> after_each{};
        /// A client is about to open its node.
        std::function<void(const drm::Opener&)> on_client{};
        /// Nobody is connected any more, nor waits to be accepted at any door; each time. May call
        /// close_all().
        std::function<void()> on_last_closed{};
    };

    struct Limits {
        std::size_t sessions_max = 1024;
        SessionLimits session;
    };
    /// Before start(). See Session.
    void set_warm_channels(WarmChannels& warm) { warm_ = &warm; }

    Listener(asio::io_context& io, ListeningSocket socket, drm::Node& node, Hooks hooks);
    Listener(asio::io_context& io, ListeningSocket socket, drm::Node& node, Hooks hooks, Limits limits);
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    ~Listener();

    /// Before start().
    void add_door(ListeningSocket socket, drm::Node& node);
    /// Clients that connected before are taken now.
    void start();
    /// For a clean shutdown: takes nobody any more, removes the sockets, ends all sessions (their Files die).
    /// on_last_closed is not called. Idempotent.
    void close_all();

    [[nodiscard]] std::size_t sessions() const { return sessions_.size(); }
    /// Requests of all sessions since the start.
    [[nodiscard]] std::uint64_t requests() const { return requests_; }
    /// Clients since the start, those that were refused included.
    [[nodiscard]] std::uint64_t accepted() const { return accepted_; }

  private:
    struct Door {
        Door(asio::io_context& io, ListeningSocket listening, drm::Node& leads_to)
            : socket(std::move(listening)), acceptor(io, socket.fd()), node(leads_to) {}
        ListeningSocket socket;
        asio::posix::stream_descriptor acceptor;  // borrows the descriptor of socket
        drm::Node& node;
        bool paused = false;
    };

    void await_client(Door& door);
    void client_waits(Door& door);
    void pause_accepting(Door& door);
    void resume_accepting();
    void session_ended(Session& session);
    void report_if_last_closed();

    asio::io_context& io_;
    std::list<Door> doors_;
    asio::steady_timer pause_;
    Hooks hooks_;
    Limits limits_;
    WarmChannels* warm_ = nullptr;
    std::unordered_map<Session*, std::shared_ptr<Session>> sessions_;
    std::uint64_t requests_ = 0;
    std::uint64_t accepted_ = 0;
    bool closed_ = false;
};

}  // namespace belfry::server
