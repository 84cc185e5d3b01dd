#include "server/session.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace belfry::server {

using base::Errno;
using base::Result;

namespace {

/// A client's end of a primary has a peer with a name: that of our socket. If it were kept as a channel, we
/// would hold the client's file open ourselves, and it would outlive the client. Ends of socket pairs have
/// nameless peers.
bool is_end_of_pair(int socket) {
    sockaddr_un peer{};
    socklen_t bytes = sizeof peer;
    return ::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &bytes) == 0 &&
           bytes == sizeof peer.sun_family;
}

}  // namespace

// ---- Channel: one socket, at most one request at a time

class Session::Channel final : public WarmChannels::Channel, public std::enable_shared_from_this<Channel> {
  public:
    Channel(Session& session, asio::io_context& io) : session_(session), socket_(io) {}

    /// False: the socket cannot be waited for.
    bool start(base::Fd fd) {
        asio::error_code failed;
        socket_.assign(fd.get(), failed);
        if (failed) return false;
        [[maybe_unused]] const int owned = fd.release();  // socket_ closes it now
        await_message();
        return true;
    }

    /// Answers the request that is outstanding. Never waits: the client has one reply to read, so a socket
    /// without room for it is one that nobody means to read.
    void answer(const uapi::MessageHeader& header, std::span<const std::byte> payload,
                std::span<const int> fds) {
        outstanding_.reset();
        mapping_ = false;
        if (closed_) return;
        if (const auto sent = uapi::send_message(socket_.native_handle(), header, payload, fds, MSG_DONTWAIT);
            !sent)
            close();
    }

    /// Cancels what is outstanding. The session forgets the channel; `session_` is not touched after that.
    void close() {
        if (std::exchange(closed_, true)) return;
        const auto self = shared_from_this();
        asio::error_code ignored;
        socket_.close(ignored);
        session_.channels_.erase(self);
        cancel_outstanding();
    }

    bool look() override {
        if (closed_) return false;
        uapi::MessageBuffer& message = session_.incoming_;
        const auto received = uapi::receive_message(socket_.native_handle(), message, MSG_DONTWAIT);
        if (!received && received.error() == Errno::again) return false;
        // The hook outlives this event even if the session ends in it.
        const auto session = session_.shared_from_this();
        session->hooks_.before_each();
        message_arrived(received, message);
        session->hooks_.after_each();
        return true;
    }
    void cool() override {
        if (!closed_) await_message();
    }

  private:
    void await_message() {
        socket_.async_wait(asio::posix::stream_descriptor::wait_read,
                           [self = shared_from_this()](const asio::error_code& failed) {
                               if (failed) return;
                               self->look();
                               if (self->closed_) return;
                               if (self->session_.warm_ != nullptr)
                                   self->session_.warm_->add(self);
                               else
                                   self->await_message();
                           });
    }

    void message_arrived(const Result<bool>& received, uapi::MessageBuffer& message) {
        if (received && !*received) return close();  // hung up
        if (outstanding_ != nullptr || mapping_) {
            spdlog::debug("channel closed: a second request before the first was answered");
            return close();
        }
        if (!received) {
            refuse(received.error());
            // Too long is an answer to a program; all else is nothing that a client of ours does.
            if (received.error() != Errno::no_memory) close();
            return;
        }
        ++session_.requests_;
        session_.hooks_.request_arrived();
        switch (message.header.kind) {
            case uapi::MessageKind::ioctl: return ioctl(message);
            case uapi::MessageKind::mmap:  return mmap(message);
        }
        refuse(Errno::protocol);
    }

    /// Answers what no handler has seen. Whoever does not speak our protocol gets one answer and no second
    /// chance.
    void refuse(Errno error) {
        uapi::MessageHeader header;
        header.result = static_cast<std::int32_t>(error);
        answer(header, {}, {});
        if (error == Errno::protocol) close();
    }

    void ioctl(uapi::MessageBuffer& message);
    void mmap(uapi::MessageBuffer& message);
    void answer_mmap(const uapi::MessageHeader& header, std::span<const drm::MapSegment> segments);
    void cancel_outstanding();

    Session& session_;  // valid until closed_
    asio::posix::stream_descriptor socket_;
    std::shared_ptr<ServerCall> outstanding_;
    bool mapping_ = false;  // what is outstanding is an mmap
    bool closed_ = false;
};

// ---- ServerCall: a request that the driver answers, now or later

static_assert(drm::Call::kNoDescriptor == uapi::kNoDescriptor &&
              drm::Call::kClosedDescriptor == uapi::kClosedDescriptor);

class Session::ServerCall final : public drm::Call {
  public:
    ServerCall(uapi::IncomingCall call, const uapi::MessageHeader& header, Session& session, Channel& channel)
        // The span that goes to the base stays good when the call moves on: it points into the call's buffer.
        : drm::Call(call.ioctl().request, call.args(), call.take_fds()),
          call_(std::move(call)),
          header_(header),
          session_(session.weak_from_this()),
          channel_(channel.weak_from_this()) {
        set_target(call_.take_target());
        session.argument_bytes_ += call_.bytes();
    }
    // A driver may hold on to a call that was cancelled: it counts for as long as its copy exists.
    ~ServerCall() override {
        if (const auto session = session_.lock()) session->argument_bytes_ -= call_.bytes();
    }

  private:
    void deliver(Result<void> result) override {
        const auto channel = channel_.lock();
        if (channel == nullptr) return;
        uapi::MessageHeader reply = header_;
        reply.result = result ? 0 : static_cast<std::int32_t>(result.error());
        // The channel's reference may be the last one; complete() is still running.
        const auto self = shared_from_this();
        std::vector<int> given;
        if (result) {
            given.reserve(given_fds().size());
            std::ranges::transform(given_fds(), std::back_inserter(given), &base::Fd::get);
        }
        channel->answer(reply, call_.reply(result.has_value()), given);
    }

    uapi::IncomingCall call_;
    uapi::MessageHeader header_;
    std::weak_ptr<Session> session_;
    std::weak_ptr<Channel> channel_;
};

void Session::Channel::ioctl(uapi::MessageBuffer& message) {
    const uapi::MessageHeader header = message.header;
    auto call = uapi::IncomingCall::parse(header.request, message.payload, std::move(message.fds));
    if (!call) return refuse(call.error());
    if (call->bytes() > session_.limits_.argument_bytes_max - session_.argument_bytes_)
        return refuse(Errno::no_memory);
    outstanding_ = std::make_shared<ServerCall>(std::move(*call), header, session_, *this);
    // By value: an answer within the handler gives the channel's reference back.
    const std::shared_ptr<drm::Call> handed_out = outstanding_;
    session_.file_->ioctl(handed_out);
}

void Session::Channel::cancel_outstanding() {
    if (const auto call = std::exchange(outstanding_, nullptr)) call->cancel();
}

void Session::Channel::mmap(uapi::MessageBuffer& message) {
    uapi::MmapRequest request{};
    if (message.payload.size() != sizeof request || !message.fds.empty()) return refuse(Errno::protocol);
    std::memcpy(&request, message.payload.data(), sizeof request);
    mapping_ = true;
    session_.file_->mmap({.offset = request.offset, .bytes = request.bytes, .protection = request.protection},
                         [weak = weak_from_this(),
                          header = message.header](const Result<std::vector<drm::MapSegment>>& segments) {
                             const auto channel = weak.lock();
                             if (channel == nullptr) return;
                             if (segments)
                                 channel->answer_mmap(header, *segments);
                             else
                                 channel->refuse(segments.error());
                         });
}

void Session::Channel::answer_mmap(const uapi::MessageHeader& header,
                                   std::span<const drm::MapSegment> segments) {
    std::vector<uapi::MmapSegment> reply;
    std::vector<int> fds;
    for (const drm::MapSegment& segment : segments) {
        const auto known = std::ranges::find(fds, segment.fd);
        const auto index = static_cast<std::uint32_t>(known - fds.begin());
        if (known == fds.end()) fds.push_back(segment.fd);
        reply.push_back({.fd_offset = segment.fd_offset,
                         .bytes = segment.bytes,
                         .access = segment.access == base::Access::read ? uapi::MmapSegment::kReadOnly
                                                                        : uapi::MmapSegment::kReadWrite,
                         .fd_index = index});
    }
    if (fds.size() > uapi::kMessageFdsMax) return refuse(Errno::too_big);
    answer(header, std::as_bytes(std::span(reply)), fds);
}

// ---- Session

Session::Session(asio::io_context& io, base::Fd primary, std::unique_ptr<drm::File> file, Hooks hooks,
                 SessionLimits limits, WarmChannels* warm)
    : io_(io), primary_(io), file_(std::move(file)), hooks_(std::move(hooks)), limits_(limits), warm_(warm) {
    asio::error_code failed;
    primary_.assign(primary.get(), failed);
    if (!failed) [[maybe_unused]]
        const int owned = primary.release();  // primary_ closes it now
}

Session::~Session() { release(); }

void Session::start() {
    // The event loop has no room for one more socket: the client sees a hang-up.
    if (!primary_.is_open()) return end();
    await_channel();
}

void Session::end() {
    if (ended_) return;
    const auto self = shared_from_this();
    release();
    hooks_.on_ended(*this);
}

void Session::release() {
    if (std::exchange(ended_, true)) return;
    // The primary goes first: a client whose channel breaks looks at it to learn whether the driver is gone.
    asio::error_code ignored;
    primary_.close(ignored);
    // Cancelling calls the driver, which needs the File; so that dies last.
    while (!channels_.empty()) (*channels_.begin())->close();
    file_.reset();
}

void Session::await_channel() {
    primary_.async_wait(asio::posix::stream_descriptor::wait_read,
                        [weak = weak_from_this()](const asio::error_code& failed) {
                            const auto self = weak.lock();
                            if (failed || self == nullptr || self->ended_) return;
                            self->hooks_.before_each();
                            self->channel_arrived();
                            if (!self->ended_) self->await_channel();
                            self->hooks_.after_each();
                        });
}

void Session::channel_arrived() {
    auto end_of_channel = uapi::receive_channel(primary_.native_handle());
    if (!end_of_channel) {
        if (end_of_channel.error() == Errno::again) return;
        // Not only a hostile client: without a free descriptor the kernel drops the end that was sent. The
        // sender then sees its channel hang up while the primary stands.
        if (end_of_channel.error() == Errno::protocol) return;
        return end();
    }
    if (!*end_of_channel) return end();                    // the last copy of the client's end was closed
    if (channels_.size() >= limits_.channels_max) return;  // closes the end that came
    if (!is_end_of_pair(end_of_channel->get())) return;
    const auto channel = std::make_shared<Channel>(*this, io_);
    if (channel->start(std::move(*end_of_channel))) channels_.insert(channel);
}

}  // namespace belfry::server
