#include "belfry/eventfd_waits.hpp"

#include <optional>
#include <utility>
#include <vector>

#include <unistd.h>

#include "base/fd.hpp"
#include "belfry/syncobj.hpp"
#include "belfry/xgs_queue.hpp"
#include "client/connection.hpp"

namespace belfry {
namespace {

/// What one wait at a time needs. A queue for each, because a queue does its jobs in order: a value that
/// comes early would have to wait for one before it.
struct Line {
    base::Fd eventfd;
    XgsQueue queue;
    Syncobj fence;
    std::uint64_t point = 0;
};

}  // namespace

struct EventfdWaits::Impl {
    const Device& device;
    Vm& vm;
    std::vector<Line> idle;

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
    auto eventfd = base::make_eventfd();
    if (!eventfd) return std::unexpected(client::error_of(eventfd.error(), "making an eventfd for a wait"));
    auto queue = vm.create_xgs_queue({});
    if (!queue) return std::unexpected(queue.error());
    auto fence = device.create_syncobj();
    if (!fence) return std::unexpected(fence.error());
    return Line{.eventfd = std::move(*eventfd), .queue = std::move(*queue), .fence = std::move(*fence)};
}

Result<EventfdWait> EventfdWaits::start(const SyncObject& object, std::uint64_t target) {
    auto line = impl_->take_line();
    if (!line) return std::unexpected(line.error());
    const SyncOp signal{.syncobj = line->fence, .signal = true, .point = ++line->point};
    if (const auto asked = line->fence.ring_eventfd(line->eventfd.get(), signal.point); !asked)
        return std::unexpected(asked.error());
    XgsOps ops;
    if (target != 0) ops.wait_gt(object.address(), target - 1);
    if (const auto queued = line->queue.submit(ops, {&signal, 1}); !queued)
        return std::unexpected(queued.error());
    return EventfdWait(std::make_unique<EventfdWait::Impl>(impl_, std::move(*line)));
}

}  // namespace belfry
