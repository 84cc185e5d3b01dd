#include "drm/submit_ring.hpp"

#include <cstring>
#include <new>
#include <utility>

#include "base/check.hpp"
#include "base/futex.hpp"
#include "base/sync_object.hpp"

namespace belfry::drm {
namespace {

using namespace belfry::uapi;

constexpr auto kInvalid = std::unexpected(Errno::invalid);
constexpr std::uint8_t kEntryFlags = BELFRY_SUBMIT_LINK | BELFRY_SUBMIT_DRAIN |
                                     BELFRY_SUBMIT_NO_SUCCESS_COMPLETION |
                                     BELFRY_SUBMIT_COMPLETE_AT_ACCEPTANCE;
constexpr std::uint32_t kTimeoutFlags = BELFRY_SUBMIT_TIMEOUT_ABSOLUTE | BELFRY_SUBMIT_TIMEOUT_LINKED;
constexpr auto kSignal = static_cast<std::uint32_t>(BELFRY_SUBMIT_SYNC_SIGNAL);
/// What an entry costs of a turn's budget beyond one: so many elements, or entries that CANCEL looks at, are
/// one more.
constexpr std::uint32_t kLooksPerEntry = 16;

constexpr std::int32_t result_of(Errno error) { return -static_cast<std::int32_t>(error); }
constexpr std::int32_t kTimeCame = result_of(Errno::timer_expired);
constexpr std::int32_t kCancelled = result_of(Errno::cancelled);

/// What breaks a link, and is told in any case.
constexpr bool failed(std::int32_t result) { return result != 0 && result != kTimeCame; }

template <typename T>
T payload_of(const belfry_submit_entry& entry) {
    static_assert(sizeof(T) == sizeof entry.payload);
    T payload{};
    std::memcpy(&payload, entry.payload, sizeof payload);
    return payload;
}

bool has_points(const belfry_submit_entry& entry) {
    return entry.wait_handle != 0 || entry.signal_handle != 0 || entry.more_syncs != 0;
}

/// What can be said of an entry without looking anything up.
Result<void> check(const belfry_submit_entry& entry) {
    if ((entry.flags & ~kEntryFlags) != 0) return kInvalid;
    if (entry.wait_handle == 0 && entry.wait_point != 0) return kInvalid;
    if (entry.signal_handle == 0 && entry.signal_point != 0) return kInvalid;
    if (entry.opcode >= BELFRY_SUBMIT_DRIVER) return {};
    if (entry.opcode > BELFRY_SUBMIT_CANCEL) return kInvalid;
    if ((entry.flags & BELFRY_SUBMIT_COMPLETE_AT_ACCEPTANCE) != 0) return kInvalid;
    if (entry.opcode == BELFRY_SUBMIT_NOP)
        return (entry.payload[0] | entry.payload[1] | entry.payload[2]) == 0 ? Result<void>() : kInvalid;
    if (has_points(entry)) return kInvalid;
    if (entry.opcode == BELFRY_SUBMIT_CANCEL) {
        const auto args = payload_of<belfry_submit_cancel>(entry);
        return (args.pad[0] | args.pad[1]) == 0 ? Result<void>() : kInvalid;
    }
    const auto args = payload_of<belfry_submit_timeout>(entry);
    if ((args.flags & ~kTimeoutFlags) != 0 || args.pad != 0 || args.pad1 != 0) return kInvalid;
    return {};
}

bool bounds_another(const belfry_submit_entry& entry) {
    return entry.opcode == BELFRY_SUBMIT_TIMEOUT &&
           (payload_of<belfry_submit_timeout>(entry).flags & BELFRY_SUBMIT_TIMEOUT_LINKED) != 0;
}

/// Each point of the entry, the inline ones first.
template <typename Wait, typename Signal>
Result<void> for_each_point(const belfry_submit_entry& entry, SubmitArena& arena, Wait wait, Signal signal) {
    const auto more = arena.read<belfry_submit_sync>(entry.more_syncs_offset, entry.more_syncs);
    if (!more) return std::unexpected(more.error());
    for (const belfry_submit_sync& sync : *more)
        if ((sync.flags & ~kSignal) != 0) return kInvalid;
    // Signals first: a wait for a point that the entry itself signals finds what was there before.
    if (entry.signal_handle != 0)
        if (const auto done = signal(entry.signal_handle, entry.signal_point); !done) return done;
    for (const belfry_submit_sync& sync : *more)
        if ((sync.flags & kSignal) != 0)
            if (const auto done = signal(sync.handle, sync.point); !done) return done;
    if (entry.wait_handle != 0)
        if (const auto done = wait(entry.wait_handle, entry.wait_point); !done) return done;
    for (const belfry_submit_sync& sync : *more)
        if ((sync.flags & kSignal) == 0)
            if (const auto done = wait(sync.handle, sync.point); !done) return done;
    return {};
}

}  // namespace

SubmitRing::Entry::Entry(SubmitRing& of)
    : ring(of),
      signalled([this] { fence_signalled(); }),
      time_over(of.around_.timers, [this] { ring.poke(*this); }) {}

void SubmitRing::Entry::step(SubmitEvent event) {
    const auto to = next(state, event);
    BELFRY_CHECK(to.has_value());
    state = *to;
}

void SubmitRing::Entry::fence_signalled() {
    if (state == SubmitState::accepted)
        ring.settle(*this, finished->error() ? result_of(*finished->error()) : 0);
    else
        ring.poke(*this);
}

void SubmitRing::Entry::clear() {
    waits.clear();
    signals.reset();
    finished.reset();
    linked = before = timeout = bounded = nullptr;
    elements = 0;
}

Result<std::unique_ptr<SubmitRing>> SubmitRing::make(const Surroundings& surroundings,
                                                     const SubmitRingOptions& options, base::Fd completions) {
    auto client = base::make_shared_memory("belfry-submit", arena_offset(options) + options.arena_bytes,
                                           base::Sharing::writable);
    if (!client) return std::unexpected(client.error());
    auto consumer = base::make_shared_memory(
        "belfry-complete",
        base::round_up_to_page(sizeof(belfry_submit_consumer) +
                               std::uint64_t{options.cq_entries} * sizeof(belfry_submit_completion)),
        base::Sharing::read_only);
    if (!consumer) return std::unexpected(consumer.error());
    try {
        return std::make_unique<SubmitRing>(surroundings, options, std::move(completions), std::move(*client),
                                            std::move(*consumer));
    } catch (const std::bad_alloc&) {
        return std::unexpected(Errno::no_memory);
    }
}

std::uint64_t SubmitRing::arena_offset(const SubmitRingOptions& options) {
    return sizeof(belfry_submit_client) +
           base::round_up_to_page(std::uint64_t{options.sq_entries} * sizeof(belfry_submit_entry));
}

SubmitRing::SubmitRing(const Surroundings& surroundings, const SubmitRingOptions& options,
                       base::Fd completions, base::SharedMemory client, base::SharedMemory consumer)
    : around_(surroundings),
      options_(options),
      completions_eventfd_(std::move(completions)),
      client_memory_(std::move(client)),
      consumer_memory_(std::move(consumer)),
      client_(*reinterpret_cast<belfry_submit_client*>(client_memory_.mapping.data())),
      consumer_(*reinterpret_cast<belfry_submit_consumer*>(consumer_memory_.mapping.data())),
      arena_(client_memory_.mapping.bytes().subspan(arena_offset(options), options.arena_bytes)) {
    for (std::uint32_t i = 0; i < options.cq_entries; ++i) free_.push_back(entries_.emplace_back(*this));
    set_flags(BELFRY_SUBMIT_NEED_WAKEUP);
}

SubmitRing::~SubmitRing() {
    end(Errno::cancelled);
    news_.clear();
    alive_.clear();
    free_.clear();
}

// ---- What the client has published. Each of its counters is read once a look, then judged.

/// Entries that are published and not taken.
std::uint32_t SubmitRing::unread() {
    if (error_) return 0;
    // Acquire: the entries before it. Pairs with the client's release.
    const std::uint32_t entries = base::load(client_.sq_tail, base::kAcquire) - sq_head_;
    if (entries <= options_.sq_entries) return entries;
    end(Errno::invalid);
    return 0;
}

/// Whether the completion queue has room beside what is in flight.
bool SubmitRing::has_room() {
    const auto room = [this] { return cq_tail_ - cq_head_ + in_flight_ < options_.cq_entries; };
    if (room()) return true;
    // Acquire: the client has read what it gives back.
    const std::uint32_t head = base::load(client_.cq_head, base::kAcquire);
    if (head - cq_head_ > told_tail_ - cq_head_) {
        end(Errno::invalid);
        return false;
    }
    cq_head_ = head;
    return room();
}

uapi::belfry_submit_entry SubmitRing::peek() const {
    const std::uint64_t index = sq_head_ & (options_.sq_entries - 1);
    return base::copy_once<belfry_submit_entry>(client_memory_.mapping.data() + sizeof client_ +
                                                index * sizeof(belfry_submit_entry));
}

bool SubmitRing::drained_for(const belfry_submit_entry& entry) const {
    return drain_ == nullptr && ((entry.flags & BELFRY_SUBMIT_DRAIN) == 0 || in_flight_ == 0);
}

bool SubmitRing::may_take() { return unread() != 0 && has_room() && drained_for(peek()); }

// ---- Turns

std::uint32_t SubmitRing::turn(SubmitDriver& driver, std::uint32_t budget) {
    work_off(driver);
    const std::uint32_t entries = unread();
    std::uint32_t taken = 0;
    cost_ = 0;
    while (taken < entries && cost_ < budget && !error_) {
        if (!has_room()) {
            if (error_ || (flags_ & BELFRY_SUBMIT_CQ_FULL) != 0) break;
            // Announced before the last look. Pairs with the client's fence between cq_head and flags.
            set_flags(flags_ | BELFRY_SUBMIT_CQ_FULL);
            base::full_fence();
            if (!has_room()) break;
        }
        const belfry_submit_entry entry = peek();
        if (!drained_for(entry)) break;
        ++sq_head_;
        ++taken;
        ++cost_;
        take(driver, entry);
        work_off(driver);
    }
    if ((flags_ & BELFRY_SUBMIT_CQ_FULL) != 0 && has_room())
        set_flags(flags_ & ~std::uint32_t{BELFRY_SUBMIT_CQ_FULL});
    publish();
    return taken;
}

bool SubmitRing::rest() {
    set_flags(flags_ | BELFRY_SUBMIT_NEED_WAKEUP);
    // Announced before the last look: pairs with the client's fence between sq_tail (cq_head) and flags.
    base::full_fence();
    if (!may_take()) return true;
    wake();
    return false;
}

void SubmitRing::wake() { set_flags(flags_ & ~std::uint32_t{BELFRY_SUBMIT_NEED_WAKEUP}); }

void SubmitRing::set_flags(std::uint32_t flags) {
    flags_ = flags;
    base::store(consumer_.flags, flags, base::kSeqCst);
}

/// Starts the entry, holds it behind what it is linked to, or refuses it.
void SubmitRing::take(SubmitDriver& driver, const belfry_submit_entry& copy) {
    const bool linked = std::exchange(chain_.open, (copy.flags & BELFRY_SUBMIT_LINK) != 0);
    if (!linked) {
        chain_.failed = false;
        chain_.last = nullptr;
    }
    const bool bounds = bounds_another(copy);
    Result<void> sound = check(copy);
    if (linked && chain_.failed) sound = std::unexpected(Errno::cancelled);
    if (sound && bounds && !linked) sound = kInvalid;
    // What is complete on the spot needs no place.
    const bool starts = sound && !bounds && chain_.last == nullptr;
    if (starts && copy.opcode == BELFRY_SUBMIT_NOP && !has_points(copy)) return post(copy, 0);
    if (starts && copy.opcode == BELFRY_SUBMIT_CANCEL) sound = cancel_oldest(copy);
    if (!sound || (starts && copy.opcode == BELFRY_SUBMIT_CANCEL)) {
        chain_.failed = !sound;
        return post(copy, sound ? 0 : result_of(sound.error()));
    }
    Entry& entry = hold(copy);
    if ((copy.flags & BELFRY_SUBMIT_DRAIN) != 0) drain_ = &entry;
    if (bounds) {
        if (const auto done = bound(entry); !done) settle(entry, result_of(done.error()));
        return;
    }
    entry.before = std::exchange(chain_.last, &entry);
    if (entry.before != nullptr)
        entry.before->linked = &entry;
    else
        start(driver, entry);
}

SubmitRing::Entry& SubmitRing::hold(const belfry_submit_entry& copy) {
    BELFRY_CHECK(!free_.empty());
    Entry& entry = free_.front();
    free_.pop_front();
    alive_.push_back(entry);
    ++in_flight_;
    entry.copy = copy;
    entry.state = SubmitState::held;
    return entry;
}

void SubmitRing::start(SubmitDriver& driver, Entry& entry) {
    Result<void> done;
    try {
        switch (entry.copy.opcode) {
            case BELFRY_SUBMIT_NOP:     done = start_nop(entry); break;
            case BELFRY_SUBMIT_TIMEOUT: start_timeout(entry); break;
            case BELFRY_SUBMIT_CANCEL:
                done = cancel_oldest(entry.copy);
                if (done) settle(entry, 0);
                break;
            default: done = start_driver(driver, entry); break;
        }
    } catch (const std::bad_alloc&) {
        done = std::unexpected(Errno::no_memory);
    }
    if (!done) settle(entry, result_of(done.error()));
    if (entry.state != SubmitState::complete && entry.timeout != nullptr) start_timeout(*entry.timeout);
}

Result<void> SubmitRing::start_nop(Entry& entry) {
    SubmitArena arena(arena_, BELFRY_SUBMIT_ELEMENTS_IN_FLIGHT_MAX - elements_);
    entry.signals.emplace(around_.syncobjs);
    const auto points = for_each_point(
        entry.copy, arena,
        [&](std::uint32_t handle, std::uint64_t point) -> Result<void> {
            SyncobjPtr syncobj = around_.syncobjs.find(handle);
            if (syncobj == nullptr) return std::unexpected(Errno::no_entry);
            entry.waits.push_back({.syncobj = std::move(syncobj), .point = point});
            return {};
        },
        [&](std::uint32_t handle, std::uint64_t point) {
            return entry.signals->collect_signal(handle, point);
        });
    cost_ += arena.taken() / kLooksPerEntry;
    if (!points) return points;
    entry.elements = arena.taken();
    elements_ += entry.elements;
    entry.step(SubmitEvent::parked);
    go_on(entry);
    return {};
}

/// Waits for the next point, or is done.
void SubmitRing::go_on(Entry& entry) {
    while (!entry.waits.empty()) {
        const Point next = entry.waits.back();
        const auto fence = next.syncobj->find_point(next.point);
        if (!fence) {
            entry.submitted.emplace(next.point, [at = &entry](const FencePtr&) { at->ring.poke(*at); });
            next.syncobj->add_waiter(*entry.submitted);
            return;
        }
        if ((*fence)->add_callback(entry.signalled)) return;
        entry.waits.pop_back();
    }
    // Published late: nobody has been promised anything before.
    entry.signals->all_armed(signalled_stub(around_.timers.now()));
    entry.signals->publish();
    settle(entry, 0);
}

void SubmitRing::start_timeout(Entry& entry) {
    const auto timeout = payload_of<belfry_submit_timeout>(entry.copy);
    const std::uint64_t now = around_.timers.now();
    const bool absolute = (timeout.flags & BELFRY_SUBMIT_TIMEOUT_ABSOLUTE) != 0;
    entry.step(SubmitEvent::parked);
    entry.time_over.arm(absolute ? timeout.ns : now + std::min(timeout.ns, UINT64_MAX - now));
}

/// `timeout` bounds the entry that the chain has come to.
Result<void> SubmitRing::bound(Entry& timeout) {
    Entry* const target = chain_.last;
    if (target == nullptr || target->state == SubmitState::complete) return std::unexpected(Errno::cancelled);
    if (target->timeout != nullptr) return kInvalid;
    timeout.bounded = target;
    target->timeout = &timeout;
    if (target->state != SubmitState::held) start_timeout(timeout);
    return {};
}

Result<void> SubmitRing::start_driver(SubmitDriver& driver, Entry& entry) {
    SubmitArena arena(arena_, BELFRY_SUBMIT_ELEMENTS_IN_FLIGHT_MAX - elements_);
    SubmitRequest request{
        .entry = entry.copy, .arena = arena, .waits = {}, .signals = SyncOps(around_.syncobjs)};
    const auto points = for_each_point(
        entry.copy, arena,
        [&](std::uint32_t handle, std::uint64_t point) -> Result<void> {
            auto fence = request.signals.resolve_wait(handle, point);
            if (!fence) return std::unexpected(fence.error());
            request.waits.push_back(std::move(*fence));
            return {};
        },
        [&](std::uint32_t handle, std::uint64_t point) {
            return request.signals.collect_signal(handle, point);
        });
    cost_ += arena.taken() / kLooksPerEntry;
    if (!points) return points;
    auto accepted = driver.submit(request);
    if (!accepted) return std::unexpected(accepted.error());
    entry.elements = arena.taken();
    elements_ += entry.elements;
    entry.step(SubmitEvent::handed_over);
    entry.finished = std::move(accepted->finished);
    entry.job = accepted->job;
    if ((entry.copy.flags & BELFRY_SUBMIT_COMPLETE_AT_ACCEPTANCE) != 0)
        settle(entry, 0);
    else if (!entry.finished->add_callback(entry.signalled))
        entry.fence_signalled();
    return {};
}

// ---- Cancelling

Result<void> SubmitRing::cancel_oldest(const belfry_submit_entry& entry) {
    const std::uint64_t user_data = payload_of<belfry_submit_cancel>(entry).user_data;
    std::uint32_t looked_at = 0;
    const auto found = std::ranges::find_if(alive_, [&](const Entry& candidate) {
        ++looked_at;
        return candidate.copy.user_data == user_data && candidate.state != SubmitState::complete &&
               candidate.copy.opcode != BELFRY_SUBMIT_CANCEL;
    });
    cost_ += looked_at / kLooksPerEntry;
    if (found == alive_.end()) return std::unexpected(Errno::no_entry);
    if (!cancel(*found)) return std::unexpected(Errno::already);
    return {};
}

/// False: it is too late.
bool SubmitRing::cancel(Entry& entry) {
    if (entry.state == SubmitState::complete) return false;
    if (entry.state == SubmitState::accepted) return entry.job != nullptr && entry.job->cancel();
    settle(entry, kCancelled);
    return true;
}

// ---- Completing

/// Something that a waiting entry waits for has come: it is looked at in the ring's next turn.
void SubmitRing::poke(Entry& entry) {
    if (static_cast<NewsHook&>(entry).is_linked()) return;
    news_.push_back(entry);
    around_.queue.wake(around_.work);
}

/// The entry has a result: told in the ring's turn.
void SubmitRing::settle(Entry& entry, std::int32_t result) {
    entry.step(SubmitEvent::settled);
    entry.result = result;
    entry.job = nullptr;
    entry.signalled.cancel();
    entry.time_over.cancel();
    entry.submitted.reset();
    poke(entry);
}

void SubmitRing::work_off(SubmitDriver& driver) {
    while (!news_.empty()) {
        Entry& entry = news_.front();
        news_.pop_front();
        if (entry.state == SubmitState::complete) {
            tell(entry, driver);
        } else if (entry.state == SubmitState::waiting) {
            if (entry.copy.opcode == BELFRY_SUBMIT_NOP)
                go_on(entry);
            else if (entry.bounded != nullptr && entry.bounded->state == SubmitState::complete)
                settle(entry, kCancelled);
            else if (entry.bounded == nullptr || cancel(*entry.bounded))
                settle(entry, kTimeCame);
            else
                settle(entry, result_of(Errno::already));
        }
    }
}

/// Posts the completion, and lets go on what waited for it.
void SubmitRing::tell(Entry& entry, SubmitDriver& driver) {
    const bool broken = failed(entry.result);
    Entry* const linked = entry.linked;
    if (entry.timeout != nullptr) {
        Entry& timeout = *entry.timeout;
        timeout.bounded = nullptr;
        if (timeout.state != SubmitState::complete) settle(timeout, kCancelled);
    }
    if (entry.bounded != nullptr) entry.bounded->timeout = nullptr;
    // Cancelled while it was held: its place is another entry's before the one in front of it is complete.
    if (entry.before != nullptr) entry.before->linked = nullptr;
    if (linked != nullptr) linked->before = nullptr;
    if (drain_ == &entry) drain_ = nullptr;
    if (chain_.last == &entry) {
        chain_.last = nullptr;
        chain_.failed |= broken;
    }
    post(entry.copy, entry.result);
    elements_ -= entry.elements;
    --in_flight_;
    entry.clear();
    alive_.erase(alive_.iterator_to(entry));
    free_.push_front(entry);
    if (linked == nullptr || linked->state != SubmitState::held) return;
    if (broken)
        settle(*linked, kCancelled);
    else
        start(driver, *linked);
}

void SubmitRing::post(const belfry_submit_entry& entry, std::int32_t result) {
    if (!failed(result) && (entry.flags & BELFRY_SUBMIT_NO_SUCCESS_COMPLETION) != 0) return;
    BELFRY_CHECK(cq_tail_ - cq_head_ < options_.cq_entries);
    const std::uint64_t index = cq_tail_++ & (options_.cq_entries - 1);
    auto& completion = reinterpret_cast<belfry_submit_completion*>(consumer_memory_.mapping.data() +
                                                                   sizeof consumer_)[index];
    base::store(completion.user_data, entry.user_data, base::kRelaxed);
    base::store(completion.result, result, base::kRelaxed);
}

/// Tells the client how far the ring has come, once for all that a turn has done.
void SubmitRing::publish() {
    const bool took = sq_head_ != told_head_;
    const bool completed = cq_tail_ != told_tail_;
    if (!took && !completed) return;
    const std::uint32_t before = std::exchange(told_tail_, cq_tail_);
    told_head_ = sq_head_;
    // Release: the copies of the entries are made, the completions are written.
    base::store(consumer_.sq_head, sq_head_, base::kRelease);
    base::store(consumer_.cq_tail, cq_tail_, base::kRelease);
    if (took) base::store(consumer_.sq_event, consumer_.sq_event + 1, base::kRelease);
    if (completed) base::store(consumer_.cq_event, consumer_.cq_event + 1, base::kRelease);
    // Pairs with the fence of a waiter, which counts itself before and reads event and counter after it.
    base::full_fence();
    if (took && base::load(client_.sq_waiters, base::kRelaxed) != 0)
        base::futex_wake(consumer_.sq_event, ~0U);
    if (!completed) return;
    // Counters wrap at 2^32, a multiple of 32: so do the bits.
    if (base::load(client_.cq_waiters, base::kRelaxed) != 0)
        base::futex_wake(consumer_.cq_event,
                         base::wake_bits(before, std::uint64_t{before} + (cq_tail_ - before)));
    if (completions_eventfd_) base::ring_foreign_eventfd(completions_eventfd_.get());
}

/// No more entries are taken. Whoever sleeps sees why.
void SubmitRing::end(Errno error) {
    if (error_) return;
    error_ = error;
    base::store(consumer_.error, static_cast<std::uint32_t>(error), base::kRelease);
    base::store(consumer_.sq_event, consumer_.sq_event + 1, base::kRelease);
    base::store(consumer_.cq_event, consumer_.cq_event + 1, base::kRelease);
    base::full_fence();  // as in publish()
    base::futex_wake(consumer_.sq_event, ~0U);
    base::futex_wake(consumer_.cq_event, ~0U);
    if (completions_eventfd_) base::ring_foreign_eventfd(completions_eventfd_.get());
}

void SubmitRing::check_invariants() const {
    std::uint32_t alive = 0;
    std::uint32_t elements = 0;
    for (const Entry& entry : alive_) {
        ++alive;
        elements += entry.elements;
        BELFRY_CHECK(entry.timeout == nullptr || entry.timeout->bounded == &entry);
        BELFRY_CHECK(entry.bounded == nullptr || entry.bounded->timeout == &entry);
        BELFRY_CHECK(entry.linked == nullptr || entry.linked->before == &entry);
        BELFRY_CHECK(entry.before == nullptr || entry.before->linked == &entry);
    }
    BELFRY_CHECK(alive == in_flight_ && elements == elements_);
    BELFRY_CHECK(in_flight_ + (cq_tail_ - cq_head_) <= options_.cq_entries);
    BELFRY_CHECK(elements_ <= BELFRY_SUBMIT_ELEMENTS_IN_FLIGHT_MAX);
    BELFRY_CHECK(told_head_ == sq_head_ && told_tail_ == cq_tail_);
    BELFRY_CHECK(drain_ == nullptr || in_flight_ != 0);
}

}  // namespace belfry::drm
