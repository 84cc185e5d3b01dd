// SubmitRing: entries from a client through shared memory, completions back (belfry/uapi/submit_ring.h).
//
// Owns    the ring's memory, and the entries in flight, whose number and room are fixed when it is made.
//         Owned by its file's SubmitRings.
// Runs    in the driver actor. Called by SubmitRings only.
// Why so  an entry is taken only if there is room for its completion beside those of all in flight: none is
//         ever lost, and a client that never reaps costs what it had at first. Whatever completes, in
//         whatever callback, is put on a list and told in the ring's next turn, so that nothing nests.
//
// Knows no driver: what an opcode of the driver's means is said by the SubmitDriver that each turn is given.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <boost/intrusive/list.hpp>

#include "base/atomic.hpp"
#include "base/fd.hpp"
#include "base/memory.hpp"
#include "base/result.hpp"
#include "belfry/uapi/submit_ring.h"
#include "drm/fence.hpp"
#include "drm/sync_ops.hpp"
#include "drm/syncobj.hpp"
#include "drm/timers.hpp"
#include "drm/work.hpp"

namespace belfry::drm {

/// What one entry reads of its ring's arena.
class SubmitArena {
  public:
    /// `left`: elements that all entries in flight together may still name.
    SubmitArena(std::span<const std::byte> bytes, std::uint32_t left) : bytes_(bytes), left_(left) {}

    /// A copy of `count` elements, `offset` bytes from the arena's start. EINVAL: not in the arena, not
    /// aligned to 8, or too many for one entry; EBUSY: too many in flight.
    template <typename T>
    [[nodiscard]] Result<std::vector<T>> read(std::uint32_t offset, std::uint32_t count) {
        if (count > BELFRY_SUBMIT_ELEMENTS_PER_ENTRY_MAX - taken_) return std::unexpected(Errno::invalid);
        if (count == 0) return std::vector<T>();
        if (offset % sizeof(std::uint64_t) != 0 || offset > bytes_.size() ||
            count > (bytes_.size() - offset) / sizeof(T))
            return std::unexpected(Errno::invalid);
        if (count > left_ - std::min(left_, taken_)) return std::unexpected(Errno::busy);
        taken_ += count;
        std::vector<T> elements;
        elements.reserve(count);
        for (std::uint32_t i = 0; i < count; ++i)
            elements.push_back(base::copy_once<T>(bytes_.data() + offset + i * sizeof(T)));
        return elements;
    }
    [[nodiscard]] std::uint32_t taken() const { return taken_; }

  private:
    std::span<const std::byte> bytes_;
    std::uint32_t left_;
    std::uint32_t taken_ = 0;
};

/// An entry of the driver's, with its points found sound.
struct SubmitRequest {
    const uapi::belfry_submit_entry& entry;
    SubmitArena& arena;
    std::vector<FencePtr> waits;  ///< which the work waits for
    SyncOps signals;              ///< which get the work's fence by all_armed() and publish()

    void move_waits_to(Dependencies& dependencies) {
        for (FencePtr& fence : waits) dependencies.add(std::move(fence));
    }
};

/// Work of a driver's that can be given up.
class SubmitJob {
  public:
    /// False: too late. True: its fence signals with ECANCELED, when its turn comes.
    virtual bool cancel() = 0;

  protected:
    ~SubmitJob() = default;
};

struct SubmitAccepted {
    FencePtr finished;         ///< signals when the work is done, or has failed
    SubmitJob* job = nullptr;  ///< null: cannot be cancelled. Lives until `finished` has signalled
};

/// What a driver does with entries of its opcodes. Handed in with each turn.
class SubmitDriver {
  public:
    /// All or nothing: on failure nothing is visible.
    virtual Result<SubmitAccepted> submit(SubmitRequest& request) = 0;

  protected:
    ~SubmitDriver() = default;
};

/// An entry that is told and forgotten is in no state.
enum class SubmitState : std::uint8_t {
    held,      ///< linked behind one that is not complete
    waiting,   ///< for points or for time
    accepted,  ///< the driver has it
    complete,  ///< has a result that is not told yet
};
enum class SubmitEvent : std::uint8_t {
    parked,       ///< its turn came, and it has something to wait for
    handed_over,  ///< its turn came, and the driver took it
    settled,      ///< it has a result
};
struct SubmitStep {
    SubmitState from;
    SubmitEvent event;
    SubmitState to;
};
/// An entry starts as held, if only for an instant.
inline constexpr SubmitStep kSubmitSteps[] = {
    {SubmitState::held, SubmitEvent::parked, SubmitState::waiting},
    {SubmitState::held, SubmitEvent::handed_over, SubmitState::accepted},
    {SubmitState::held, SubmitEvent::settled, SubmitState::complete},
    {SubmitState::waiting, SubmitEvent::settled, SubmitState::complete},
    {SubmitState::accepted, SubmitEvent::settled, SubmitState::complete},
};
constexpr std::optional<SubmitState> next(SubmitState from, SubmitEvent event) {
    for (const SubmitStep& step : kSubmitSteps)
        if (step.from == from && step.event == event) return step.to;
    return std::nullopt;
}

struct SubmitRingOptions {
    std::uint32_t sq_entries;  ///< powers of two
    std::uint32_t cq_entries;
    std::uint32_t arena_bytes;  ///< whole pages
};

/// Linked where it is polled.
class SubmitRing
    : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  public:
    /// What a ring is part of. All outlive it.
    struct Surroundings {
        SyncobjTable& syncobjs;
        Timers& timers;
        /// Is woken when the ring must have its turn soon, though nobody polls it.
        Work& work;
        WorkQueue& queue;
    };

    /// `completions` may be empty. ENOMEM, EMFILE.
    static Result<std::unique_ptr<SubmitRing>> make(const Surroundings& surroundings,
                                                    const SubmitRingOptions& options, base::Fd completions);
    SubmitRing(const Surroundings& surroundings, const SubmitRingOptions& options, base::Fd completions,
               base::SharedMemory client, base::SharedMemory consumer);
    /// What the driver has accepted goes on, and is told to nobody.
    ~SubmitRing();
    SubmitRing(const SubmitRing&) = delete;
    SubmitRing& operator=(const SubmitRing&) = delete;

    /// One turn: what has completed, what that sets free, and at most `budget` new entries; then all is told
    /// at once. The entries taken.
    std::uint32_t turn(SubmitDriver& driver, std::uint32_t budget);
    /// There are entries, and nothing stands in their way.
    [[nodiscard]] bool may_take();
    /// "Nobody looks any more": announced, then looked at once more. False: there is work after all.
    [[nodiscard]] bool rest();
    /// Somebody looks again.
    void wake();

    /// EINVAL: a counter was out of range; ECANCELED: see the destructor.
    [[nodiscard]] std::optional<Errno> error() const { return error_; }
    /// Something has completed, or come, that the ring has not looked at.
    [[nodiscard]] bool has_news() const { return !news_.empty(); }
    [[nodiscard]] const base::SharedMemory& client_memory() const { return client_memory_; }
    [[nodiscard]] const base::SharedMemory& consumer_memory() const { return consumer_memory_; }
    /// Where the arena begins in the client's memory.
    [[nodiscard]] static std::uint64_t arena_offset(const SubmitRingOptions& options);

    void check_invariants() const;

    /// When entries were last found, for whoever polls.
    std::uint64_t last_found_ns = 0;

  private:
    struct Point {
        SyncobjPtr syncobj;
        std::uint64_t point;
    };
    using AgeHook = boost::intrusive::list_base_hook<boost::intrusive::tag<struct ByAge>>;
    using NewsHook = boost::intrusive::list_base_hook<boost::intrusive::tag<struct ByNews>>;
    /// One in flight.
    struct Entry : AgeHook, NewsHook {
        explicit Entry(SubmitRing& of);
        void step(SubmitEvent event);
        void fence_signalled();
        void clear();

        SubmitRing& ring;
        uapi::belfry_submit_entry copy{};
        SubmitState state = SubmitState::held;
        std::int32_t result = 0;
        std::uint32_t elements = 0;
        Entry* linked = nullptr;   // held behind this one
        Entry* before = nullptr;   // what this one is held behind
        Entry* timeout = nullptr;  // bounds this one
        Entry* bounded = nullptr;  // by this one

        FencePtr finished;         // accepted
        SubmitJob* job = nullptr;  // accepted, and the fence has not signalled
        FenceCallback signalled;   // of `finished`, or of the point that is waited for
        Timer time_over;
        std::optional<SyncobjWaiter> submitted;  // waiting for a point that is not there yet
        std::vector<Point> waits;                // waiting: what is left, the next one last
        std::optional<SyncOps> signals;          // waiting: a NOP's
    };

    [[nodiscard]] std::uint32_t unread();
    [[nodiscard]] bool has_room();
    [[nodiscard]] bool drained_for(const uapi::belfry_submit_entry& entry) const;
    [[nodiscard]] uapi::belfry_submit_entry peek() const;

    void take(SubmitDriver& driver, const uapi::belfry_submit_entry& entry);
    Entry& hold(const uapi::belfry_submit_entry& entry);
    void start(SubmitDriver& driver, Entry& entry);
    Result<void> start_nop(Entry& entry);
    void start_timeout(Entry& entry);
    Result<void> start_driver(SubmitDriver& driver, Entry& entry);
    Result<void> bound(Entry& timeout);
    Result<void> cancel_oldest(const uapi::belfry_submit_entry& entry);
    void go_on(Entry& nop);
    bool cancel(Entry& entry);
    void poke(Entry& entry);
    void settle(Entry& entry, std::int32_t result);
    void work_off(SubmitDriver& driver);
    void tell(Entry& entry, SubmitDriver& driver);
    void post(const uapi::belfry_submit_entry& entry, std::int32_t result);
    void publish();
    void set_flags(std::uint32_t flags);
    void end(Errno error);

    Surroundings around_;
    SubmitRingOptions options_;
    base::Fd completions_eventfd_;
    base::SharedMemory client_memory_;
    base::SharedMemory consumer_memory_;
    uapi::belfry_submit_client& client_;
    uapi::belfry_submit_consumer& consumer_;
    std::span<const std::byte> arena_;

    // Ours; what lies in memory of these is for the client only.
    std::uint32_t sq_head_ = 0;
    std::uint32_t cq_head_ = 0;  // the client's, as last believed
    std::uint32_t cq_tail_ = 0;
    std::uint32_t told_head_ = 0;  // as published
    std::uint32_t told_tail_ = 0;
    std::uint32_t flags_ = 0;
    std::optional<Errno> error_;

    // One for each completion that there is room for.
    std::deque<Entry> entries_;
    std::uint32_t in_flight_ = 0;
    std::uint32_t elements_ = 0;  // of arrays, in flight
    std::uint32_t cost_ = 0;      // of this turn, in entries
    template <typename Hook>
    using Entries = boost::intrusive::list<Entry, boost::intrusive::base_hook<Hook>,
                                           boost::intrusive::constant_time_size<false>>;
    Entries<AgeHook> free_;
    Entries<AgeHook> alive_;  // oldest first
    Entries<NewsHook> news_;  // complete, or to be looked at
    Entry* drain_ = nullptr;  // nothing is taken until it has completed
    /// The link that the last entry taken has left open.
    struct {
        bool open = false;
        bool failed = false;
        Entry* last = nullptr;  // null: complete, and told
    } chain_;
};

}  // namespace belfry::drm
