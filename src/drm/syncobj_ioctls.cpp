#include "drm/syncobj_ioctls.hpp"

#include <algorithm>
#include <deque>
#include <iterator>
#include <new>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/check.hpp"
#include "belfry/uapi/drm.h"
#include "drm/fence_merge.hpp"

namespace belfry::drm {

namespace {

constexpr std::uint32_t kNoneSignaled = 0xffff'ffff;
/// How long TRANSFER waits for its source to be submitted.
constexpr std::uint64_t kTransferTimeoutNs = 5'000'000'000;

/// The array of `count` (not 0) that a pointer of the arguments leads to: the call's private copy. EFAULT if
/// null.
template <typename T>
Result<std::span<T>> array_at(std::uint64_t pointer, std::uint32_t count) {
    if (pointer == 0) return std::unexpected(Errno::fault);
    return std::span<T>(reinterpret_cast<T*>(pointer), count);
}

/// All or nothing: no handle is acted on before all are known to exist.
Result<std::vector<SyncobjPtr>> find_all(const SyncobjTable& table, std::uint64_t handles,
                                         std::uint32_t count) {
    const auto numbers = array_at<const std::uint32_t>(handles, count);
    if (!numbers) return std::unexpected(numbers.error());
    std::vector<SyncobjPtr> syncobjs;
    syncobjs.reserve(count);
    for (const std::uint32_t number : *numbers) {
        syncobjs.push_back(table.find(number));
        if (!syncobjs.back()) return std::unexpected(Errno::no_entry);
    }
    return syncobjs;
}

/// Runs a handler that answers at once. An allocation that fails is an answer too, not an end of the driver.
template <typename Handler>
void answer(const std::shared_ptr<Call>& call, Handler handler) {
    Result<void> result;
    try {
        result = handler();
    } catch (const std::bad_alloc&) {
        result = std::unexpected(Errno::no_memory);
    }
    call->complete(result);
}

}  // namespace

/// One WAIT or TIMELINE_WAIT. Lives in its table only if it could not be answered at once.
class SyncobjWait {
  public:
    struct Options {
        std::uint32_t flags;
        std::int64_t timeout_ns;  // absolute
    };

    SyncobjWait(SyncobjTable& table, Timers& timers, std::shared_ptr<Call> call,
                std::uint32_t& first_signaled, Options options)
        : table_(table),
          call_(std::move(call)),
          first_signaled_(first_signaled),
          all_((options.flags & DRM_SYNCOBJ_WAIT_FLAGS_WAIT_ALL) != 0),
          available_((options.flags & DRM_SYNCOBJ_WAIT_FLAGS_WAIT_AVAILABLE) != 0),
          for_submit_((options.flags & DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT) != 0),
          timeout_ns_(options.timeout_ns),
          timer_(timers, [this] { finish(std::unexpected(Errno::timer_expired)); }) {}
    SyncobjWait(const SyncobjWait&) = delete;
    SyncobjWait& operator=(const SyncobjWait&) = delete;
    ~SyncobjWait() {
        if (call_) call_->when_cancelled(nullptr);
    }

    void add(SyncobjPtr syncobj, std::uint64_t point) {
        entries_.emplace_back(*this, std::move(syncobj), point);
    }

    /// The first pass: what it finds is a snapshot that later changes of the syncobjs do not touch. The
    /// answer, if it is known by that.
    [[nodiscard]] std::optional<Result<void>> look(std::uint64_t now_ns);
    /// Hands the wait to its table.
    static SyncobjWait& keep(std::unique_ptr<SyncobjWait> wait);
    /// Waits for what look() left open. May be answered and gone when this returns.
    void start();

    void check_invariants() const;

  private:
    struct Entry {
        Entry(SyncobjWait& in, SyncobjPtr of, std::uint64_t at)
            : wait(in),
              syncobj(std::move(of)),
              callback([this] { wait.satisfied(*this); }),
              waiter(at, [this](FencePtr found) { wait.found(*this, std::move(found)); }) {}

        SyncobjWait& wait;
        SyncobjPtr syncobj;
        FencePtr fence;  // picked once, then kept
        FenceCallback callback;
        SyncobjWaiter waiter;
        bool satisfied = false;
    };

    /// Whether the fence of `entry` needs no more waiting.
    [[nodiscard]] bool is_enough(const Entry& entry) const {
        return available_ || entry.fence->is_signalled();
    }
    [[nodiscard]] bool enough() const { return satisfied_ == entries_.size() || (!all_ && satisfied_ > 0); }
    void found(Entry& entry, FencePtr fence);
    void satisfied(Entry& entry);
    void finish(Result<void> result);

    SyncobjTable& table_;
    std::shared_ptr<Call> call_;
    std::uint32_t& first_signaled_;  // in the call's arguments
    bool all_;
    bool available_;
    bool for_submit_;
    std::int64_t timeout_ns_;
    Timer timer_;
    std::deque<Entry> entries_;  // entries are linked where they wait: they never move
    std::size_t satisfied_ = 0;
    std::uint32_t first_ = kNoneSignaled;  // the lowest index that the first pass found satisfied
    bool starting_ = true;
    std::list<std::unique_ptr<SyncobjWait>>::iterator self_;
};

std::optional<Result<void>> SyncobjWait::look(std::uint64_t now_ns) {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        Entry& entry = entries_[i];
        auto fence = entry.syncobj->find_point(entry.waiter.point());
        if (!fence) {
            // Whatever the others are, and also if one would be enough.
            if (!for_submit_ && !available_) return std::unexpected(Errno::invalid);
            continue;
        }
        entry.fence = std::move(*fence);
        if (!is_enough(entry)) continue;
        entry.satisfied = true;
        if (satisfied_++ == 0) first_ = static_cast<std::uint32_t>(i);
    }
    if (enough()) {
        first_signaled_ = first_;
        return Result<void>();
    }
    // 0 and what has passed mean: look, do not wait.
    if (timeout_ns_ <= 0 || static_cast<std::uint64_t>(timeout_ns_) <= now_ns)
        return std::unexpected(Errno::timer_expired);
    return std::nullopt;
}

SyncobjWait& SyncobjWait::keep(std::unique_ptr<SyncobjWait> owned) {
    SyncobjWait& wait = *owned;
    wait.table_.waits_.push_back(std::move(owned));
    wait.self_ = std::prev(wait.table_.waits_.end());
    return wait;
}

void SyncobjWait::start() {
    call_->when_cancelled([this] { table_.waits_.erase(self_); });
    timer_.arm(static_cast<std::uint64_t>(timeout_ns_));
    // Registering may call back at once (a first waiter makes a fence look), so nothing is finished until all
    // is registered.
    for (Entry& entry : entries_) {
        if (entry.satisfied) continue;
        if (!entry.fence) {
            // Looking at the others may have called back somebody who has submitted this one meanwhile.
            auto fence = entry.syncobj->find_point(entry.waiter.point());
            if (fence) {
                found(entry, std::move(*fence));
            } else {
                entry.syncobj->add_waiter(entry.waiter);
            }
        } else if (!entry.fence->add_callback(entry.callback)) {
            satisfied(entry);
        }
    }
    starting_ = false;
    if (enough()) finish({});
}

void SyncobjWait::found(Entry& entry, FencePtr fence) {
    entry.fence = std::move(fence);
    if (is_enough(entry) || !entry.fence->add_callback(entry.callback)) satisfied(entry);
}

void SyncobjWait::satisfied(Entry& entry) {
    BELFRY_CHECK(!entry.satisfied);
    entry.satisfied = true;
    ++satisfied_;
    if (!starting_ && enough()) finish({});
}

void SyncobjWait::finish(Result<void> result) {
    if (result) {
        // ALL tells what was so at the beginning, ANY what made it an answer: the kernel's way.
        if (!all_) {
            const auto lowest = std::ranges::find(entries_, true, &Entry::satisfied);
            first_ = static_cast<std::uint32_t>(lowest - entries_.begin());
        }
        first_signaled_ = first_;
    }
    const auto call = std::move(call_);
    table_.waits_.erase(self_);  // destroys this; last of all the call answers, which may start anything
    call->complete(result);
}

void SyncobjWait::check_invariants() const {
    BELFRY_CHECK(call_ && !call_->completed());
    BELFRY_CHECK(timer_.armed());
    BELFRY_CHECK(!enough());
    std::size_t satisfied = 0;
    for (const Entry& entry : entries_) {
        if (entry.satisfied) ++satisfied;
        BELFRY_CHECK(entry.waiter.pending() == !entry.fence);
        BELFRY_CHECK(entry.callback.pending() == (entry.fence && !entry.satisfied));
    }
    BELFRY_CHECK(satisfied == satisfied_);
}

namespace {

/// The end of a TRANSFER. A timeline's point gets a plain fence, made of what the source has pending; else
/// the source's fence is shared as it is. ENOMEM.
Result<void> transfer_to(FenceContexts& contexts, Syncobj& target, std::uint64_t point, FencePtr fence) {
    if (point == 0) {
        target.replace(std::move(fence));
        return {};
    }
    try {
        target.add_point(merge_fences(contexts, std::span(&fence, 1)), point);
    } catch (const std::bad_alloc&) {
        return std::unexpected(Errno::no_memory);
    }
    return {};
}

}  // namespace

/// One TRANSFER whose source was not submitted when it came.
class SyncobjTransfer {
  public:
    struct Target {
        SyncobjPtr syncobj;
        std::uint64_t point;
    };

    SyncobjTransfer(SyncobjTable& table, Timers& timers, std::shared_ptr<Call> call, Target target,
                    std::uint64_t source_point)
        : table_(table),
          timers_(timers),
          call_(std::move(call)),
          target_(std::move(target)),
          waiter_(source_point, [this](FencePtr found) { submitted(std::move(found)); }),
          timer_(timers, [this] { finish(); }) {}
    SyncobjTransfer(const SyncobjTransfer&) = delete;
    SyncobjTransfer& operator=(const SyncobjTransfer&) = delete;
    ~SyncobjTransfer() {
        if (call_) call_->when_cancelled(nullptr);
    }

    static void start(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call, Target target,
                      Syncobj& source, std::uint64_t source_point) {
        SyncobjTransfer& transfer =
            table.transfers_.emplace_back(table, timers, call, std::move(target), source_point);
        transfer.self_ = std::prev(table.transfers_.end());
        call->when_cancelled([&transfer] { transfer.table_.transfers_.erase(transfer.self_); });
        source.add_waiter(transfer.waiter_);
        transfer.timer_.arm(timers.now() + kTransferTimeoutNs);
    }

    void check_invariants() const {
        BELFRY_CHECK(call_ && !call_->completed());
        BELFRY_CHECK(timer_.armed());
        BELFRY_CHECK(waiter_.pending() == !fence_);
    }

  private:
    // Not at once: the target's new fence may be what another transfer waits for, and so on, as deep as
    // clients like. The timers call one after the other.
    void submitted(FencePtr found) {
        fence_ = std::move(found);
        timer_.arm(timers_.now());
    }
    void finish() {
        FenceContexts& contexts = table_.contexts_;
        const Target target = std::move(target_);
        FencePtr fence = std::move(fence_);
        const auto call = call_;
        table_.transfers_.erase(self_);  // destroys this; what follows calls others, who may start anything
        call->complete(fence ? transfer_to(contexts, *target.syncobj, target.point, std::move(fence))
                             : std::unexpected(Errno::timer_expired));
    }

    SyncobjTable& table_;
    Timers& timers_;
    std::shared_ptr<Call> call_;
    Target target_;
    FencePtr fence_;  // of the source, once it is there
    SyncobjWaiter waiter_;
    Timer timer_;
    std::list<SyncobjTransfer>::iterator self_;
};

/// One EVENTFD that is not rung yet. Waits for its point, then for that point's fence; does not keep the
/// syncobj alive, and from when it has a fence does not care for it.
class SyncobjEventfd {
  public:
    SyncobjEventfd(SyncobjTable& table, base::Fd eventfd, std::uint64_t point, bool available)
        : table_(table),
          eventfd_(std::move(eventfd)),
          available_(available),
          waiter_(point, [this](const FencePtr& fence) { submitted(fence); }),
          signalled_([this] { ring(); }) {}
    SyncobjEventfd(const SyncobjEventfd&) = delete;
    SyncobjEventfd& operator=(const SyncobjEventfd&) = delete;
    ~SyncobjEventfd() = default;

    /// Rings at once if it is time. ENOMEM.
    static Result<void> start(SyncobjTable& table, Syncobj& syncobj, std::uint64_t point, bool available,
                              base::Fd eventfd) {
        if (table.eventfds_.size() == SyncobjTable::kEventfdsMax) return std::unexpected(Errno::no_memory);
        auto fence = syncobj.find_point(point);
        SyncobjEventfd& entry = table.eventfds_.emplace_back(table, std::move(eventfd), point, available);
        entry.self_ = std::prev(table.eventfds_.end());
        if (fence)
            entry.submitted(*fence);
        else
            syncobj.add_observer(entry.waiter_);
        return {};
    }

    void check_invariants() const { BELFRY_CHECK(waiter_.pending() != signalled_.pending()); }

  private:
    /// Null: there is no syncobj any more.
    void submitted(const FencePtr& fence) {
        if (!fence)
            table_.eventfds_.erase(self_);
        else if (available_ || !fence->add_callback(signalled_))
            ring();
    }
    void ring() {
        base::ring_foreign_eventfd(eventfd_.get());
        table_.eventfds_.erase(self_);
    }

    SyncobjTable& table_;
    base::Fd eventfd_;
    bool available_;
    SyncobjWaiter waiter_;
    FenceCallback signalled_;
    std::list<SyncobjEventfd>::iterator self_;
};

SyncobjTable::SyncobjTable(FenceContexts& contexts, Exports& exports, ForeignSyncobjs* foreign)
    : contexts_(contexts),
      exports_(exports),
      foreign_(foreign),
      handles_({.first = 1, .last = 0x7fff'ffff, .when_full = Errno::no_memory}) {}

SyncobjTable::~SyncobjTable() = default;

SyncobjPtr SyncobjTable::find(std::uint32_t handle) const {
    const SyncobjPtr* const syncobj = handles_.find(handle);
    return syncobj == nullptr ? SyncobjPtr() : *syncobj;
}

void SyncobjTable::check_invariants() const {
    handles_.check_invariants();
    handles_.for_each([](std::uint32_t, const SyncobjPtr& syncobj) { syncobj->check_invariants(); });
    for (const auto& wait : waits_) wait->check_invariants();
    for (const SyncobjTransfer& transfer : transfers_) transfer.check_invariants();
    for (const SyncobjEventfd& eventfd : eventfds_) eventfd.check_invariants();
}

void syncobj_create(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call) {
    answer(call, [&]() -> Result<void> {
        auto& args = call->args<uapi::drm_syncobj_create>();
        if ((args.flags & ~DRM_SYNCOBJ_CREATE_SIGNALED) != 0) return std::unexpected(Errno::invalid);
        auto syncobj = Syncobj::make(table.contexts());
        if ((args.flags & DRM_SYNCOBJ_CREATE_SIGNALED) != 0) syncobj->replace(signalled_stub(timers.now()));
        const auto handle = table.insert(std::move(syncobj));
        if (!handle) return std::unexpected(handle.error());
        args.handle = *handle;
        return {};
    });
}

void syncobj_destroy(SyncobjTable& table, Timers&, const std::shared_ptr<Call>& call) {
    answer(call, [&]() -> Result<void> {
        const auto& args = call->args<uapi::drm_syncobj_destroy>();
        if (args.pad != 0) return std::unexpected(Errno::invalid);
        if (!table.remove(args.handle)) return std::unexpected(Errno::invalid);
        return {};
    });
}

namespace {

/// `points` null means 0 for all.
template <typename Args>
void wait_for(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call, Args& args,
              const std::uint64_t* points) {
    std::optional<Result<void>> result;
    SyncobjWait* pending = nullptr;
    try {
        result = [&]() -> std::optional<Result<void>> {
            const auto syncobjs = find_all(table, args.handles, args.count_handles);
            if (!syncobjs) return std::unexpected(syncobjs.error());
            auto wait = std::make_unique<SyncobjWait>(
                table, timers, call, args.first_signaled,
                SyncobjWait::Options{.flags = args.flags, .timeout_ns = args.timeout_nsec});
            for (std::size_t i = 0; i < syncobjs->size(); ++i)
                wait->add((*syncobjs)[i], points == nullptr ? 0 : points[i]);
            const auto at_once = wait->look(timers.now());
            if (!at_once) pending = &SyncobjWait::keep(std::move(wait));
            return at_once;
        }();
    } catch (const std::bad_alloc&) {
        result = std::unexpected(Errno::no_memory);
    }
    if (result) return call->complete(*result);
    pending->start();
}

}  // namespace

void syncobj_wait(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call) {
    auto& args = call->args<uapi::drm_syncobj_wait>();
    // WAIT_AVAILABLE is none of these: a binary syncobj is there or is not.
    constexpr std::uint32_t flags = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_ALL | DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT |
                                    DRM_SYNCOBJ_WAIT_FLAGS_WAIT_DEADLINE;
    if ((args.flags & ~flags) != 0) return call->complete(std::unexpected(Errno::invalid));
    if (args.count_handles == 0) return call->complete({});
    wait_for(table, timers, call, args, nullptr);
}

void syncobj_timeline_wait(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call) {
    auto& args = call->args<uapi::drm_syncobj_timeline_wait>();
    constexpr std::uint32_t flags = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_ALL | DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT |
                                    DRM_SYNCOBJ_WAIT_FLAGS_WAIT_AVAILABLE |
                                    DRM_SYNCOBJ_WAIT_FLAGS_WAIT_DEADLINE;
    if ((args.flags & ~flags) != 0) return call->complete(std::unexpected(Errno::invalid));
    if (args.count_handles == 0) return call->complete({});
    wait_for(table, timers, call, args, reinterpret_cast<const std::uint64_t*>(args.points));
}

namespace {

/// The checks that RESET and SIGNAL share; `act` then works on each syncobj and cannot fail.
template <typename Act>
void for_all(SyncobjTable& table, const std::shared_ptr<Call>& call, Act act) {
    answer(call, [&]() -> Result<void> {
        const auto& args = call->args<uapi::drm_syncobj_array>();
        if (args.pad != 0) return std::unexpected(Errno::invalid);
        if (args.count_handles == 0) return std::unexpected(Errno::invalid);
        const auto syncobjs = find_all(table, args.handles, args.count_handles);
        if (!syncobjs) return std::unexpected(syncobjs.error());
        for (const SyncobjPtr& syncobj : *syncobjs) act(*syncobj);
        return {};
    });
}

}  // namespace

void syncobj_reset(SyncobjTable& table, Timers&, const std::shared_ptr<Call>& call) {
    for_all(table, call, [](Syncobj& syncobj) { syncobj.replace(nullptr); });
}

void syncobj_signal(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call) {
    FencePtr stub;
    try {
        stub = signalled_stub(timers.now());
    } catch (const std::bad_alloc&) {
        return call->complete(std::unexpected(Errno::no_memory));
    }
    for_all(table, call, [&](Syncobj& syncobj) { syncobj.replace(stub); });
}

void syncobj_query(SyncobjTable& table, Timers&, const std::shared_ptr<Call>& call) {
    answer(call, [&]() -> Result<void> {
        const auto& args = call->args<uapi::drm_syncobj_timeline_array>();
        if ((args.flags & ~DRM_SYNCOBJ_QUERY_FLAGS_LAST_SUBMITTED) != 0)
            return std::unexpected(Errno::invalid);
        if (args.count_handles == 0) return std::unexpected(Errno::invalid);
        const auto syncobjs = find_all(table, args.handles, args.count_handles);
        if (!syncobjs) return std::unexpected(syncobjs.error());
        const auto points = array_at<std::uint64_t>(args.points, args.count_handles);
        if (!points) return std::unexpected(points.error());
        const bool last_submitted = (args.flags & DRM_SYNCOBJ_QUERY_FLAGS_LAST_SUBMITTED) != 0;
        for (std::size_t i = 0; i < syncobjs->size(); ++i) {
            Syncobj& syncobj = *(*syncobjs)[i];
            (*points)[i] = last_submitted ? syncobj.query_last_submitted() : syncobj.query();
        }
        return {};
    });
}

void syncobj_timeline_signal(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call) {
    answer(call, [&]() -> Result<void> {
        const auto& args = call->args<uapi::drm_syncobj_timeline_array>();
        if (args.flags != 0) return std::unexpected(Errno::invalid);
        if (args.count_handles == 0) return std::unexpected(Errno::invalid);
        const auto syncobjs = find_all(table, args.handles, args.count_handles);
        if (!syncobjs) return std::unexpected(syncobjs.error());
        const auto* const points = reinterpret_cast<const std::uint64_t*>(args.points);
        // All that may fail comes before the first point is seen by anybody.
        const FencePtr stub = signalled_stub(timers.now());
        std::vector<ChainNodePtr> nodes(syncobjs->size());
        std::ranges::generate(nodes, ChainNode::make);
        for (std::size_t i = 0; i < syncobjs->size(); ++i)
            (*syncobjs)[i]->add_point(std::move(nodes[i]), stub, points == nullptr ? 0 : points[i]);
        return {};
    });
}

namespace {

/// HANDLE_TO_FD and FD_TO_HANDLE have the same two flags, with the same meanings.
constexpr std::uint32_t kSyncFile = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE;
constexpr std::uint32_t kTimeline = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_TIMELINE;
static_assert(kSyncFile == DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE &&
              kTimeline == DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_TIMELINE);

Result<void> check(const uapi::drm_syncobj_handle& args) {
    if (args.pad != 0 || (args.flags & ~(kSyncFile | kTimeline)) != 0) return std::unexpected(Errno::invalid);
    if ((args.flags & kSyncFile) == 0 && args.point != 0) return std::unexpected(Errno::invalid);
    return {};
}

/// The point of a sync file's fence: it counts only if it is asked for.
std::uint64_t point_of(const uapi::drm_syncobj_handle& args) {
    return (args.flags & kTimeline) != 0 ? args.point : 0;
}

}  // namespace

void syncobj_handle_to_fd(SyncobjTable& table, Timers&, const std::shared_ptr<Call>& call) {
    answer(call, [&]() -> Result<void> {
        auto& args = call->args<uapi::drm_syncobj_handle>();
        if (const auto sound = check(args); !sound) return sound;
        const bool as_sync_file = (args.flags & kSyncFile) != 0;
        const SyncobjPtr syncobj = table.find(args.handle);
        if (!syncobj) return std::unexpected(as_sync_file ? Errno::no_entry : Errno::invalid);
        Result<base::Fd> fd;
        if (as_sync_file) {
            auto fence = syncobj->find_point(point_of(args));
            if (!fence) return std::unexpected(fence.error());
            fd = table.exports().export_fence(std::move(*fence));
        } else {
            fd = table.exports().export_syncobj(syncobj);
        }
        if (!fd) return std::unexpected(fd.error());
        args.fd = call->give_fd(std::move(*fd));
        return {};
    });
}

void syncobj_fd_to_handle(SyncobjTable& table, Timers&, const std::shared_ptr<Call>& call) {
    answer(call, [&]() -> Result<void> {
        auto& args = call->args<uapi::drm_syncobj_handle>();
        if (const auto sound = check(args); !sound) return sound;
        const base::Fd fd = call->take_fd(args.fd);
        if ((args.flags & kSyncFile) == 0) {
            SyncobjPtr syncobj = table.exports().find_syncobj(fd);
            if (!syncobj) return std::unexpected(Errno::invalid);
            const auto handle = table.insert(std::move(syncobj));
            if (!handle) return std::unexpected(handle.error());
            args.handle = *handle;
            return {};
        }
        const SyncFile* const file = table.exports().find_sync_file(fd);
        if (file == nullptr) return std::unexpected(Errno::invalid);
        const SyncobjPtr syncobj = table.find(args.handle);
        if (!syncobj) return std::unexpected(Errno::no_entry);
        FencePtr fence = file->fence();
        const std::uint64_t point = point_of(args);
        if (point == 0) {
            syncobj->replace(std::move(fence));
            return {};
        }
        // A node does not go into another node.
        if (fence->chain_node() != nullptr) fence = merge_fences(table.contexts(), std::span(&fence, 1));
        syncobj->add_point(std::move(fence), point);
        return {};
    });
}

void syncobj_transfer(SyncobjTable& table, Timers& timers, const std::shared_ptr<Call>& call) {
    std::optional<Result<void>> result;  // nothing: answered later
    try {
        result = [&]() -> std::optional<Result<void>> {
            const auto& args = call->args<uapi::drm_syncobj_transfer>();
            constexpr std::uint32_t for_submit = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT;
            if (args.pad != 0) return std::unexpected(Errno::invalid);
            SyncobjPtr target = table.find(args.dst_handle);
            if (!target) return std::unexpected(Errno::no_entry);
            if ((args.flags & ~for_submit) != 0) return std::unexpected(Errno::invalid);
            const SyncobjPtr source = table.find(args.src_handle);
            if (!source) return std::unexpected(Errno::no_entry);
            auto fence = source->find_point(args.src_point);
            if (fence) return transfer_to(table.contexts(), *target, args.dst_point, std::move(*fence));
            if ((args.flags & for_submit) == 0) return std::unexpected(fence.error());
            SyncobjTransfer::start(table, timers, call, {std::move(target), args.dst_point}, *source,
                                   args.src_point);
            return std::nullopt;
        }();
    } catch (const std::bad_alloc&) {
        result = std::unexpected(Errno::no_memory);
    }
    if (result) call->complete(*result);
}

void syncobj_eventfd(SyncobjTable& table, Timers&, const std::shared_ptr<Call>& call) {
    answer(call, [&]() -> Result<void> {
        const auto& args = call->args<uapi::drm_syncobj_eventfd>();
        constexpr std::uint32_t available = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_AVAILABLE;
        if ((args.flags & ~available) != 0 || args.pad != 0) return std::unexpected(Errno::invalid);
        const SyncobjPtr syncobj = table.find(args.handle);
        if (!syncobj) return std::unexpected(Errno::no_entry);
        base::Fd eventfd = call->take_fd(args.fd);
        if (const auto sound = base::check_eventfd(eventfd.get()); !sound) return sound;
        return SyncobjEventfd::start(table, *syncobj, args.point, (args.flags & available) != 0,
                                     std::move(eventfd));
    });
}

}  // namespace belfry::drm
