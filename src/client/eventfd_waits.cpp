#include "belfry/eventfd_waits.hpp"

#include <optional>
#include <utility>
#include <vector>

#include <unistd.h>

#include "base/fd.hpp"
#include "belfry/buffer.hpp"
#include "belfry/uapi/user_queue.h"
#include "belfry/xgs_queue.hpp"
#include "client/connection.hpp"

namespace belfry {
namespace {

/// What one wait at a time needs. A queue for each, because a queue does its jobs in order: a value that
/// comes early would have to wait for one before it.
struct Line {
    base::Fd eventfd;  // which the driver rings when the queue has changed a sync object
    XgsQueue queue;
};

/// The sync object that all queues change when they have waited. Nobody looks at it.
struct Told {
    Buffer buffer;
    std::uint64_t address;
};

}  // namespace

struct EventfdWaits::Impl {
    const Device& device;
    Vm& vm;
    std::vector<Line> idle;
    std::optional<Told> told;

    Result<Line> take_line();
};

struct EventfdWait::Impl {
    std::shared_ptr<EventfdWaits::Impl> waits;
    Line line;

    ~Impl() {
        // One that has been rung has no job left, and serves the next wait. The job of another would ring
        // later: it is cancelled with its queue.
        std::uint64_t rings = 0;
        if (::read(line.eventfd.get(), &rings, sizeof rings) == sizeof rings)
            waits->idle.push_back(std::move(line));
    }
};

EventfdWait::EventfdWait(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
EventfdWait::EventfdWait(EventfdWait&&) noexcept = default;
EventfdWait& EventfdWait::operator=(EventfdWait&&) noexcept = default;
EventfdWait::~EventfdWait() = default;

int EventfdWait::fd() const { return impl_->line.eventfd.get(); }

EventfdWaits::EventfdWaits(const Device& device, Vm& vm) : impl_(std::make_shared<Impl>(device, vm)) {}
EventfdWaits::EventfdWaits(EventfdWaits&&) noexcept = default;
EventfdWaits& EventfdWaits::operator=(EventfdWaits&&) noexcept = default;
EventfdWaits::~EventfdWaits() = default;

Result<Line> EventfdWaits::Impl::take_line() {
    if (!idle.empty()) {
        Line line = std::move(idle.back());
        idle.pop_back();
        return line;
    }
    if (!told) {
        auto buffer = device.create_buffer(sizeof(uapi::belfry_sync_object64));
        if (!buffer) return std::unexpected(buffer.error());
        const auto address = vm.map(*buffer);
        if (!address) return std::unexpected(address.error());
        told.emplace(std::move(*buffer), *address);
    }
    auto eventfd = base::make_eventfd();
    if (!eventfd) return std::unexpected(client::error_of(eventfd.error(), "making an eventfd for a wait"));
    auto queue = vm.create_xgs_queue({.sync_update_eventfd = eventfd->get()});
    if (!queue) return std::unexpected(queue.error());
    return Line{.eventfd = std::move(*eventfd), .queue = std::move(*queue)};
}

Result<EventfdWait> EventfdWaits::start(const SyncObject& object, std::uint64_t target) {
    auto line = impl_->take_line();
    if (!line) return std::unexpected(line.error());
    // A wait that fails does not keep the queue from telling.
    XgsOps ops;
    if (target != 0) ops.wait_gt(object.address(), target - 1);
    ops.add(impl_->told->address, 1);
    if (const auto queued = line->queue.submit(ops); !queued) return std::unexpected(queued.error());
    return EventfdWait(std::make_unique<EventfdWait::Impl>(impl_, std::move(*line)));
}

}  // namespace belfry
