// Session: one client connection, which is one open DRM file.
//
// Owns    the drm::File, the primary socket, the channels that came over it, and the call that is outstanding
// on
//         each of them.
// Runs    in the driver actor, on the thread of its io_context. No locks.
// Called  by the Listener, which makes it; calls drm::File.
//
// The primary carries ends of channel sockets and nothing else; each channel carries one request at a time.
// So a reply needs no name to find its request, and a blocked wait blocks nobody. The session ends when the
// last copy of the client's end of the primary is closed: calls are cancelled first, then the File is
// destroyed.
//
// The client is hostile. What it can do to itself (lose its channel, lose its session) is its own affair; it
// cannot make the server wait: no operation here blocks, and each turn of the loop handles one message of one
// socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_set>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>

#include "base/fd.hpp"
#include "drm/node.hpp"
#include "server/warm_channels.hpp"
#include "uapi/wire.hpp"

namespace belfry::server {

struct SessionLimits {
    std::size_t channels_max = 1024;
    /// Private copies of outstanding requests; ENOMEM beyond. Else 1024 blocked waits of 16 MiB would be 16
    /// GiB.
    std::size_t argument_bytes_max = 64U << 20;
};

class Session : public std::enable_shared_from_this<Session> {
  public:
    struct Hooks {
        std::function<void()> before_each;      ///< before each event is handled: tell the driver the time
        std::function<void()> after_each;       ///< after each event that was handled
        std::function<void()> request_arrived;  ///< counts
        std::function<void(Session&)>
            on_ended;  ///< once, after the File is gone; may drop the last reference
    };

    /// `warm`, which outlives it, is looked at by whoever runs the event loop; without it that does
    /// everything.
    Session(asio::io_context& io, base::Fd primary, std::unique_ptr<drm::File> file, Hooks hooks,
            SessionLimits limits = {}, WarmChannels* warm = nullptr);
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    /// Ends it, without calling on_ended.
    ~Session();

    /// Starts to listen; apart from the constructor because it needs a shared_ptr to this.
    void start();
    /// Closes the channels, cancels their calls, then destroys the File. Not from within a call of the File.
    void end();

    [[nodiscard]] std::uint64_t requests() const { return requests_; }
    [[nodiscard]] std::size_t channels() const { return channels_.size(); }

  private:
    class Channel;
    class ServerCall;

    void await_channel();
    void channel_arrived();
    void release();  // all but telling the owner

    asio::io_context& io_;
    asio::posix::stream_descriptor primary_;
    std::unique_ptr<drm::File> file_;
    Hooks hooks_;
    SessionLimits limits_;
    WarmChannels* warm_;
    std::unordered_set<std::shared_ptr<Channel>> channels_;
    uapi::MessageBuffer incoming_;    // one message at a time is looked at
    std::size_t argument_bytes_ = 0;  // of outstanding calls
    std::uint64_t requests_ = 0;
    bool ended_ = false;
};

}  // namespace belfry::server
