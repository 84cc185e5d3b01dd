// Call: one request of a client, from its arrival to its answer.
//
// Owned  jointly by the transport that received it and by the handler that deferred it.
// Runs   in the driver actor. Made by a transport (server, or a test rig); handed to Node::File::ioctl().
//
// The arguments are a private copy: the struct, and every array that it points to, were copied before the
// handler runs, and the struct's user pointers were replaced by the addresses of those copies. So a handler
// reads them like any C struct, and nothing in them changes under it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/check.hpp"
#include "base/fd.hpp"
#include "base/result.hpp"
#include "base/signalling.hpp"

namespace belfry::drm {

using base::Errno;
using base::Result;

class Call : public std::enable_shared_from_this<Call> {
  public:
    Call(std::uint32_t request, std::span<std::byte> args, std::vector<base::Fd> fds)
        : request_(request), args_(args), fds_(std::move(fds)) {}
    Call(const Call&) = delete;
    virtual ~Call() = default;

    /// The ioctl's request number as in the table of the uAPI (its size bits are the table's).
    [[nodiscard]] std::uint32_t request() const { return request_; }

    /// The argument struct; in and out. `T` is the struct that the table names for this request.
    template <typename T>
    [[nodiscard]] T& args() const {
        BELFRY_CHECK(args_.size() >= sizeof(T));
        return *reinterpret_cast<T*>(args_.data());
    }

    /// Takes the descriptor that came for the struct's fd field, whose value is its index here. Empty for
    /// what names none: kNoDescriptor or kClosedDescriptor.
    [[nodiscard]] base::Fd take_fd(std::int32_t index) {
        const auto i = static_cast<std::size_t>(index);
        return i < fds_.size() ? std::move(fds_[i]) : base::Fd();
    }
    /// The same for an eventfd, which may be none (empty). EBADF: it is not open; EINVAL: it is something
    /// else.
    [[nodiscard]] Result<base::Fd> take_eventfd(std::int32_t index) {
        if (index == kClosedDescriptor) return std::unexpected(Errno::bad_fd);
        if (index == kNoDescriptor) return base::Fd();
        base::Fd eventfd = take_fd(index);
        if (const auto sound = base::check_eventfd(eventfd.get()); !sound)
            return std::unexpected(sound.error());
        return eventfd;
    }
    /// An fd field's value if the program gave a negative number, and if it gave one that is not open.
    static constexpr std::int32_t kNoDescriptor = -1;
    static constexpr std::int32_t kClosedDescriptor = -2;

    /// What a request to a sync file or a dma-buf was made on; empty for requests to a DRM file.
    [[nodiscard]] const base::Fd& target() const { return target_; }
    void set_target(base::Fd target) { target_ = std::move(target); }

    /// Gives the client a descriptor, if the call succeeds. Put the result into the struct's fd field: the
    /// program finds its own number there.
    [[nodiscard]] std::int32_t give_fd(base::Fd fd) {
        given_.push_back(std::move(fd));
        return static_cast<std::int32_t>(given_.size() - 1);
    }
    /// In the order of their numbers.
    [[nodiscard]] std::span<const base::Fd> given_fds() const { return given_; }

    /// Answers the call; at most once. After a cancellation nobody hears it, which is no error.
    void complete(Result<void> result) {
        BELFRY_CHECK(!completed_);
        completed_ = true;
        when_cancelled_ = nullptr;
        const base::OffSignallingPath answering;  // may be asked for by a fence's callback
        if (!cancelled_) deliver(result);
    }

    /// A handler that answers later says here how to give up if the client vanishes first.
    void when_cancelled(std::function<void()> give_up) { when_cancelled_ = std::move(give_up); }

    /// The transport lost the client (or the file closes): nobody waits for an answer any more.
    void cancel() {
        if (completed_ || cancelled_) return;
        cancelled_ = true;
        if (const auto give_up = std::exchange(when_cancelled_, nullptr)) give_up();
    }

    [[nodiscard]] bool completed() const { return completed_; }

  protected:
    /// Sends the answer; the argument struct and its arrays hold what goes back.
    virtual void deliver(Result<void> result) = 0;

  private:
    std::uint32_t request_;
    std::span<std::byte> args_;
    std::vector<base::Fd> fds_;
    base::Fd target_;
    std::vector<base::Fd> given_;
    std::function<void()> when_cancelled_;
    bool completed_ = false;
    bool cancelled_ = false;
};

}  // namespace belfry::drm
