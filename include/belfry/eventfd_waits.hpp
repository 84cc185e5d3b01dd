// EventfdWaits: waits for values of sync objects as eventfds, for event loops that cannot sleep on a futex:
// epoll, poll, and io_uring before Linux 6.7.
//
// Each wait is a job of an XGS queue, which the driver does when the value has come, and the queue rings its
// eventfd. So each eventfd is rung for its value alone, and nobody is woken for another's. It costs a request
// a wait (one more the first time that so many are in flight, and for each that is dropped before it is
// rung), and the GPU reports its updates to the driver while any is in flight. A wait that sleeps on a futex
// (SyncObject::wait(), uring.hpp) costs none of that.
#pragma once

#include <cstdint>
#include <memory>

#include "belfry/device.hpp"
#include "belfry/error.hpp"
#include "belfry/export.hpp"
#include "belfry/sync_object.hpp"
#include "belfry/vm.hpp"

namespace belfry {

/// One wait in flight. Move-only; dropping it ends it.
class BELFRY_EXPORT EventfdWait {
  public:
    EventfdWait(EventfdWait&&) noexcept;
    EventfdWait& operator=(EventfdWait&&) noexcept;
    ~EventfdWait();

    /// Readable once the value has come. Not to be read, written or closed.
    [[nodiscard]] int fd() const;

  private:
    friend class EventfdWaits;
    struct Impl;
    explicit EventfdWait(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

/// Where they come from; what a wait needs is kept here for the next one. For one thread at a time, its
/// waits included; both may go in either order.
class BELFRY_EXPORT EventfdWaits {
  public:
    /// Objects are looked for in `vm`, where a page for the driver is mapped. Both must outlive it.
    EventfdWaits(const Device& device, Vm& vm);
    EventfdWaits(EventfdWaits&&) noexcept;
    EventfdWaits& operator=(EventfdWaits&&) noexcept;
    ~EventfdWaits();

    /// A wait until `object` is at least `target`. Noticed are updates by command streams and XGS queues; one
    /// by a CPU only with Device::sync_update(). An object that is not mapped in the VM counts as reached:
    /// look at its value. EBUSY: 128 waits of this file are in flight, its XGS queues included.
    [[nodiscard]] Result<EventfdWait> start(const SyncObject& object, std::uint64_t target);

  private:
    friend class EventfdWait;
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace belfry
