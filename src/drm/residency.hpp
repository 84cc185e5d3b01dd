// Residency: which buffers are in memory, under a budget, and which of them go when others must come.
//
// Owns    the accounting, the order of eviction, and a reference of each buffer that is on its way. Buffers
// and
//         contexts belong to others; here they are only linked.
// Runs    in the driver actor. Does no I/O: a BackingStore is handed in, and says later what became of it.
// Called  by a driver: it says which buffers take part, which of its contexts map them and are on the
// hardware,
//         and which context is to go there next (claim). By whoever looks at a buffer's memory (Hold).
// Why so  docs/forward-progress.md, rule 5. A buffer is evicted only when none of its contexts is on the
//         hardware: eviction waits for suspension, never for work. A restore waits for the store alone: if
//         there is no room once all that can go has gone, the budget is exceeded rather than waited for.
//
// Never evicted are: what a client holds open (nobody can take pages from a program's mapping), what the
// driver looks at or may look at any time (Hold, wire), and what a context on the hardware maps. All else
// goes least recently scheduled first: buffers that no context maps, then those of the context that has been
// off the hardware longest.
//
// A fresh buffer has no memory yet: it counts as evicted, with nothing to restore. Without a budget no buffer
// takes part, and all are resident.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>

#include "drm/buffer.hpp"
#include "drm/residence.hpp"
#include "drm/timers.hpp"

namespace belfry::drm {

/// Where buffers are that are not in memory. While it works on one, that lives, and nobody else looks at its
/// memory.
class BackingStore {
  public:
    virtual ~BackingStore() = default;
    /// Copies the buffer away, then gives its pages back. If that fails, its memory must be as it was.
    virtual void evict(Transfer& transfer) = 0;
    /// Copies it back, and keeps nothing. If that fails, what is kept stays.
    virtual void restore(Transfer& transfer) = 0;
    /// What is kept of it will not be wanted: it goes.
    virtual void forget(const Buffer& buffer) = 0;
};

struct MemoryOptions {
    std::uint64_t budget_bytes = 0;  ///< 0: none, and no store is needed
    BackingStore* store = nullptr;   ///< outlives the device; must have come to rest before that goes
};

/// A context whose work may run for ever, and is only ever suspended: a VM with its groups, for example.
class LongRunningContext : public boost::intrusive::list_base_hook<> {
  public:
    explicit LongRunningContext(Residency& residency);
    /// Off the hardware.
    ~LongRunningContext();
    LongRunningContext(const LongRunningContext&) = delete;
    LongRunningContext& operator=(const LongRunningContext&) = delete;

    /// What attach() of the buffer may need. Null if that is nothing. May throw std::bad_alloc.
    [[nodiscard]] std::unique_ptr<BufferUse> reserve(Buffer& buffer);
    /// So many bytes of the buffer more are mapped. On the hardware only if it is resident. Takes `reserve`
    /// if it needs it.
    void attach(Buffer& buffer, std::uint64_t bytes, std::unique_ptr<BufferUse>& reserve);
    /// ... or less: the hardware can no longer touch them.
    void detach(Buffer& buffer, std::uint64_t bytes);

    /// All that it maps is resident.
    [[nodiscard]] bool complete() const { return absent_.empty(); }

    /// The preempt fence: signalled while the context is off the hardware. It is all that eviction waits for.
    /// Armed before the hardware is asked to start or resume a part of the context, signalled when the last
    /// part is known to have left.
    void arm_preempt_fence();
    void signal_preempt_fence();
    [[nodiscard]] bool preempt_fence_pending() const { return parts_on_hardware_ != 0; }

  private:
    friend class Residency;

    using Uses = boost::intrusive::list<
        BufferUse,
        boost::intrusive::base_hook<boost::intrusive::list_base_hook<boost::intrusive::tag<UseOfContext>>>,
        boost::intrusive::constant_time_size<false>>;

    Residency& residency_;
    struct BufferOf {
        using type = const Buffer*;
        type operator()(const BufferUse& use) const { return &use.buffer_; }
    };
    boost::intrusive::set<
        BufferUse,
        boost::intrusive::base_hook<boost::intrusive::set_base_hook<boost::intrusive::tag<UseByBuffer>>>,
        boost::intrusive::key_of_value<BufferOf>, boost::intrusive::constant_time_size<false>>
        uses_;  // owned
    Uses resident_;
    Uses absent_;
    unsigned parts_on_hardware_ = 0;
    std::uint64_t last_scheduled_ = 0;
    bool failed_ = false;  // a buffer could not be restored
};

/// Keeps a buffer in memory while somebody looks at it, and has it brought there.
class Hold : public HoldHook {
  public:
    /// `ready` is called when a buffer that was not there is, or cannot be had: a lambda of at most two
    /// words.
    template <typename F>
        requires(std::is_invocable_v<F&> && std::is_trivially_copyable_v<F> && sizeof(F) <= 2 * sizeof(void*))
    explicit Hold(F ready) : ready_(ready) {}
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    ~Hold() { release(); }

    /// Instead of what it held. True: it is there. Asking for the same one again asks nothing twice.
    [[nodiscard]] bool take(const BufferPtr& buffer);
    void release();
    [[nodiscard]] bool waits() const { return is_linked(); }
    /// The buffer could not be restored.
    [[nodiscard]] bool failed() const { return failed_; }

  private:
    friend class Residency;

    std::function<void()> ready_;
    BufferPtr buffer_;
    bool failed_ = false;
};

class Residency {
  public:
    struct Hooks {
        /// Before buffers are evicted: the last time for a while that their memory can be looked at.
        std::function<void()> about_to_evict;
        /// What claim() answers may have changed, and trim() may have something to do. Called from anywhere
        /// here: it takes a note.
        std::function<void()> changed;
    };
    enum class Claim : std::uint8_t {
        ready,      ///< all is resident
        restoring,  ///< there is room, or will be when what is on its way out is out; `changed` tells
        no_room,    ///< contexts on the hardware have what is missing
        failed,     ///< something could not be restored. Told once
    };
    enum class Beyond : std::uint8_t { wait, exceed };  ///< what to do if there is no room
    enum class Use : std::uint8_t { evictable, wired };

    Residency(const Timers& timers, const MemoryOptions& options, Hooks hooks);
    /// The store has come to rest.
    ~Residency();
    Residency(const Residency&) = delete;
    Residency& operator=(const Residency&) = delete;

    [[nodiscard]] bool bounded() const { return budget_ != 0; }

    /// A fresh buffer takes part from now on; a wired one is resident for good. ENOMEM: with what is pinned
    /// it is more than the budget.
    [[nodiscard]] base::Result<void> manage(Buffer& buffer, Use use);
    /// Gives a fresh buffer its memory at once, whatever the budget. One that is there stays as it is.
    void commit(Buffer& buffer);
    /// Has the buffer brought into memory: now, or by trim() when what is on its way out has made room, or
    /// can make none.
    void restore(Buffer& buffer);

    /// `context` is the next to go to the hardware; null: none. Makes room, restores, and evicts nothing of
    /// it until another one claims.
    Claim claim(LongRunningContext* context, Beyond beyond);
    /// Whether it would make room if `context` left the hardware.
    [[nodiscard]] bool would_yield(const LongRunningContext& context) const;
    /// Evicts what is beyond the budget, and for what was asked for; then restores that.
    void trim();

    /// Memory is beyond the budget, though some of it could go. Never true once trim() has been called after
    /// the last change.
    [[nodiscard]] bool exceeds_in_vain() const;

    [[nodiscard]] std::uint64_t budget() const { return budget_; }
    /// Bytes that count against the budget; those on their way included.
    [[nodiscard]] std::uint64_t resident_bytes() const;
    /// Bytes in the store, of buffers that are nowhere else.
    [[nodiscard]] std::uint64_t stored_bytes() const { return stored_bytes_; }
    [[nodiscard]] std::uint64_t evictions() const { return evictions_; }
    [[nodiscard]] std::uint64_t evict_ns() const { return evict_ns_; }
    [[nodiscard]] std::uint64_t restores() const { return restores_; }
    [[nodiscard]] std::uint64_t restore_ns() const { return restore_ns_; }

    void check_invariants() const;

  private:
    friend class Hold;
    friend class LongRunningContext;
    friend class Residence;
    friend class Transfer;

    using UnattachedBuffers = boost::intrusive::list<
        Residence,
        boost::intrusive::base_hook<boost::intrusive::list_base_hook<boost::intrusive::tag<Unattached>>>,
        boost::intrusive::constant_time_size<false>>;

    static constexpr std::size_t index(ResidencyState state) { return static_cast<std::size_t>(state); }
    void step(Residence& residence, ResidencyEvent event);
    void evict(Residence& residence);
    void start_restore(Residence& residence);
    void settle(Residence& residence, bool failed);
    void transferred(Residence& residence, const base::Result<void>& result);
    void forget(Residence& residence);
    [[nodiscard]] bool evictable(const Residence& residence) const;
    [[nodiscard]] bool make_room(std::uint64_t bytes);
    void changed() { hooks_.changed(); }

    const Timers& timers_;
    std::uint64_t budget_;
    BackingStore* store_;
    Hooks hooks_;
    UnattachedBuffers unattached_;  // the longest first
    boost::intrusive::list<Residence, boost::intrusive::base_hook<Residence::WantedHook>,
                           boost::intrusive::constant_time_size<false>>
        wanted_;
    boost::intrusive::list<LongRunningContext, boost::intrusive::constant_time_size<false>>
        contexts_;  // the least recently scheduled first
    LongRunningContext* claimant_ = nullptr;
    std::uint64_t schedulings_ = 0;
    std::array<std::uint64_t, 4> bytes_{};  // by state
    std::uint64_t pinned_bytes_ = 0;
    std::uint64_t stored_bytes_ = 0;
    bool store_full_ = false;  // nothing more is evicted until it has given something back
    std::uint64_t evictions_ = 0;
    std::uint64_t evict_ns_ = 0;
    std::uint64_t restores_ = 0;
    std::uint64_t restore_ns_ = 0;
};

}  // namespace belfry::drm
