#include "belfry/syncobj.hpp"

#include <utility>

#include <fmt/format.h>

#include "base/clock.hpp"
#include "belfry/uapi/drm.h"
#include "client/connection.hpp"

namespace belfry {

Syncobj::Syncobj(std::shared_ptr<client::Connection> connection, std::uint32_t handle)
    : connection_(std::move(connection)), handle_(handle) {}
Syncobj::Syncobj(Syncobj&& other) noexcept
    : connection_(std::move(other.connection_)), handle_(std::exchange(other.handle_, 0)) {}
Syncobj& Syncobj::operator=(Syncobj&& other) noexcept {
    std::swap(connection_, other.connection_);
    std::swap(handle_, other.handle_);
    return *this;
}
Syncobj::~Syncobj() {
    if (connection_ == nullptr || handle_ == 0) return;
    uapi::drm_syncobj_destroy destroy{.handle = handle_};
    client::request_quietly(*connection_, DRM_IOCTL_SYNCOBJ_DESTROY, &destroy);
}

Result<void> Syncobj::wait(std::uint64_t point, std::optional<std::chrono::nanoseconds> timeout) const {
    return wait(point, timeout, 0);
}

Result<void> Syncobj::wait_for_submit(std::uint64_t point,
                                      std::optional<std::chrono::nanoseconds> timeout) const {
    return wait(point, timeout, DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT);
}

Result<void> Syncobj::wait(std::uint64_t point, std::optional<std::chrono::nanoseconds> timeout,
                           std::uint32_t flags) const {
    std::int64_t deadline = INT64_MAX;
    if (timeout) deadline = static_cast<std::int64_t>(base::monotonic_ns()) + timeout->count();
    const auto handles = reinterpret_cast<std::uint64_t>(&handle_);
    const std::string what = fmt::format("waiting for point {} of syncobj {}", point, handle_);
    if (point == 0) {
        uapi::drm_syncobj_wait wait{
            .handles = handles, .timeout_nsec = deadline, .count_handles = 1, .flags = flags};
        return client::request(*connection_, DRM_IOCTL_SYNCOBJ_WAIT, &wait, what);
    }
    uapi::drm_syncobj_timeline_wait wait{.handles = handles,
                                         .points = reinterpret_cast<std::uint64_t>(&point),
                                         .timeout_nsec = deadline,
                                         .count_handles = 1,
                                         .flags = flags};
    return client::request(*connection_, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &wait, what);
}

Result<void> Syncobj::ring_eventfd(int eventfd, std::uint64_t point) const {
    uapi::drm_syncobj_eventfd args{.handle = handle_, .point = point, .fd = eventfd};
    return client::request(
        *connection_, DRM_IOCTL_SYNCOBJ_EVENTFD, &args,
        fmt::format("having eventfd {} rung by point {} of syncobj {}", eventfd, point, handle_));
}

Result<void> Syncobj::signal(std::uint64_t point) const {
    const auto handles = reinterpret_cast<std::uint64_t>(&handle_);
    const std::string what = fmt::format("signalling point {} of syncobj {}", point, handle_);
    if (point == 0) {
        uapi::drm_syncobj_array signal{.handles = handles, .count_handles = 1};
        return client::request(*connection_, DRM_IOCTL_SYNCOBJ_SIGNAL, &signal, what);
    }
    uapi::drm_syncobj_timeline_array signal{
        .handles = handles, .points = reinterpret_cast<std::uint64_t>(&point), .count_handles = 1};
    return client::request(*connection_, DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL, &signal, what);
}

Result<void> Syncobj::reset() const {
    uapi::drm_syncobj_array reset{.handles = reinterpret_cast<std::uint64_t>(&handle_), .count_handles = 1};
    return client::request(*connection_, DRM_IOCTL_SYNCOBJ_RESET, &reset,
                           fmt::format("resetting syncobj {}", handle_));
}

Result<std::uint64_t> Syncobj::query() const {
    std::uint64_t point = 0;
    uapi::drm_syncobj_timeline_array query{.handles = reinterpret_cast<std::uint64_t>(&handle_),
                                           .points = reinterpret_cast<std::uint64_t>(&point),
                                           .count_handles = 1};
    if (const auto done = client::request(*connection_, DRM_IOCTL_SYNCOBJ_QUERY, &query,
                                          fmt::format("querying syncobj {}", handle_));
        !done)
        return std::unexpected(done.error());
    return point;
}

}  // namespace belfry
