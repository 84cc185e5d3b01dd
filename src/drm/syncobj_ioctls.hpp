// The syncobj ioctls, and the handles and pending waits that they work on.
//
// Owns    a SyncobjTable belongs to an open file: its handles, the waits and transfers that have not been
//         answered, and the eventfds that have not been rung.
// Runs    in the driver actor.
// Called  by a driver's dispatch: each handler is one row of its table. A handler answers its call, now or
//         (waits, transfers) later; it reads the time from `timers`.
// Why so  which check comes first decides which errno a program sees; the order is the kernel's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>

#include "drm/call.hpp"
#include "drm/exports.hpp"
#include "drm/fence.hpp"
#include "drm/handles.hpp"
#include "drm/syncobj.hpp"
#include "drm/timers.hpp"

namespace belfry::drm {

class ForeignSyncobjs;
class SyncobjEventfd;
class SyncobjTransfer;
class SyncobjWait;

class SyncobjTable {
  public:
    /// All outlive the table. With `foreign` the file's handles are those, and this table stays empty.
    SyncobjTable(FenceContexts& contexts, Exports& exports, ForeignSyncobjs* foreign = nullptr);
    SyncobjTable(const SyncobjTable&) = delete;
    SyncobjTable& operator=(const SyncobjTable&) = delete;
    /// Pending waits die unanswered: with the file there is nobody to answer. So do eventfds, unrung.
    ~SyncobjTable();

    [[nodiscard]] Result<std::uint32_t> insert(SyncobjPtr syncobj) {
        return handles_.insert(std::move(syncobj));
    }
    /// Null if there is no such handle.
    [[nodiscard]] SyncobjPtr find(std::uint32_t handle) const;
    /// False if there is no such handle.
    [[nodiscard]] bool remove(std::uint32_t handle) { return handles_.remove(handle).has_value(); }

    [[nodiscard]] ForeignSyncobjs* foreign() const { return foreign_; }

    [[nodiscard]] FenceContexts& contexts() const { return contexts_; }
    [[nodiscard]] Exports& exports() const { return exports_; }
    [[nodiscard]] std::size_t size() const { return handles_.size(); }
    [[nodiscard]] std::size_t pending_waits() const { return waits_.size(); }
    [[nodiscard]] std::size_t pending_transfers() const { return transfers_.size(); }
    [[nodiscard]] std::size_t pending_eventfds() const { return eventfds_.size(); }
    /// Each holds a descriptor of the driver's process until it is rung. ENOMEM beyond.
    static constexpr std::size_t kEventfdsMax = 1024;

    void check_invariants() const;

  private:
    friend class SyncobjEventfd;
    friend class SyncobjTransfer;
    friend class SyncobjWait;

    FenceContexts& contexts_;
    Exports& exports_;
    ForeignSyncobjs* foreign_;
    HandleTable<SyncobjPtr> handles_;
    std::list<std::unique_ptr<SyncobjWait>> waits_;
    std::list<SyncobjTransfer> transfers_;
    std::list<SyncobjEventfd> eventfds_;  // the first to go: a syncobj that ends calls those that watch it
};

void syncobj_create(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call);
void syncobj_destroy(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call);
void syncobj_wait(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call);
void syncobj_timeline_wait(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call);
void syncobj_reset(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call);
void syncobj_signal(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call);
void syncobj_query(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call);
void syncobj_timeline_signal(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call);
void syncobj_handle_to_fd(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call);
void syncobj_fd_to_handle(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call);
void syncobj_transfer(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call);
void syncobj_eventfd(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call);

}  // namespace belfry::drm
