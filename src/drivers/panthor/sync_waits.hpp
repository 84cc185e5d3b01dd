// SyncWaits: what the driver waits for in GPU memory: XGS waits, and streams that were waiting when their
// group left its slot.
//
// Owns   nothing but the index: a wait belongs to whoever waits, and leaves the index with it.
// Runs   in the driver actor.
// Called by XgsQueue and Group (add); by whoever in the driver updates an object or ends it (updated); by
//        Device, when the GPU has reported an update (reported) or a program may have made any (recheck); by
//        Vm when addresses are bound anew.
//
// While there are waits, the GPU reports each update and names its object, so that only those are looked at
// who wait for that. A report that is lost, or an update that nobody told of, is found by a look at all waits
// once a second, which is counted: it should find none.
//
// A value in client-writable memory is a hint (docs/architecture.md, "Fences"): whoever waits for one bears
// that it is forged, withdrawn, or never comes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include <boost/intrusive/list.hpp>

#include "base/result.hpp"
#include "belfry/uapi/csf.hpp"
#include "drm/timers.hpp"
#include "drm/va_space.hpp"
#include "drm/value_waits.hpp"
#include "drm/work.hpp"

namespace belfry::panthor {

using base::Errno;
using base::Result;

class SyncWaits;
class Vm;

/// What a SYNC_WAIT or an XGS wait waits for.
struct SyncCondition {
    std::shared_ptr<Vm> vm;
    std::uint64_t address = 0;
    std::uint64_t value = 0;
    csf::Condition until = csf::Condition::gt;  ///< le, gt or ge
    bool wide = true;                           ///< a 64-bit sync object
};

enum class SyncAccess : std::uint8_t { read, write };

/// The mapping that a sync object lies in whole; null: not mapped, not for such an access, not aligned, or it
/// would straddle two mappings. Good until the next change of the VM's mappings.
[[nodiscard]] const drm::VaMapping* find_sync_mapping(const Vm& vm, std::uint64_t address, bool wide,
                                                      SyncAccess access = SyncAccess::read);
/// The 8 or 16 bytes of a sync object as the driver sees them, if its buffer is in memory; null as above: not
/// mapped, not for such an access, not aligned, or it would straddle two mappings. Good until the next change
/// of the VM's mappings.
[[nodiscard]] std::byte* find_sync_object(const Vm& vm, std::uint64_t address, bool wide,
                                          SyncAccess access = SyncAccess::read);

/// Links the waits of one VM.
struct SyncWaitHook
    : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {};

class SyncWait : public drm::ValueWait, public SyncWaitHook {
  public:
    enum class State : std::uint8_t { waiting, satisfied, unmapped };

    /// `waiter` is woken (Device::wake) each time that the wait ends.
    explicit SyncWait(drm::Work& waiter, SyncCondition condition)
        : waiter_(waiter), condition_(std::move(condition)) {}
    ~SyncWait();

    [[nodiscard]] const SyncCondition& condition() const { return condition_; }
    /// What memory says now. What is not in memory says what it said when it went, which was seen then
    /// (look_now): nobody has changed it since, for who does so has it brought back first.
    [[nodiscard]] State look() const;

  private:
    friend class SyncWaits;

    drm::Work& waiter_;
    SyncCondition condition_;
};

/// The waits of one VM: their addresses may mean other memory when its mappings have changed.
class VmSyncWaits final : private drm::Work {
  public:
    explicit VmSyncWaits(SyncWaits& all) : all_(all) {}

    [[nodiscard]] bool empty() const { return waits_.empty(); }
    /// They are looked up anew before the driver's current entry ends, however often it is told so
    /// (facts/firmware-and-scheduling.md 7, F8).
    void mappings_changed();

  private:
    friend class SyncWait;
    friend class SyncWaits;

    void advance() override;

    SyncWaits& all_;
    boost::intrusive::list<SyncWait, boost::intrusive::base_hook<SyncWaitHook>,
                           boost::intrusive::constant_time_size<false>>
        waits_;
};

class SyncWaits final : private drm::Work {
  public:
    struct Hooks {
        /// The GPU is to report updates of sync objects, or need not any more.
        std::function<void(bool)> listen;
        /// Takes what the GPU has told of already, though its interrupt may still be on its way.
        std::function<void()> catch_up;
        std::function<void(drm::Work&)> wake;
    };
    SyncWaits(drm::Timers& timers, Hooks hooks);

    /// Wakes the waiter once memory satisfies the wait or is no longer mapped, which may be at once. Dropping
    /// the wait ends it.
    void add(SyncWait& wait);
    /// The sync object at this host address was updated.
    void updated(const std::byte* object);
    /// The GPU reports that it has updated the sync object at `address`.
    void reported(const Vm& vm, std::uint64_t address);
    /// Nobody knows what has changed: looks at all waits before the driver's current entry ends, however
    /// often it is told so.
    void recheck() { hooks_.wake(*this); }
    /// The same at once: memory is about to be evicted.
    void look_now() { advance(); }

    [[nodiscard]] bool empty() const { return waits_.empty(); }
    /// Waits that nobody had told of when they were found to have ended, by the look that is taken now and
    /// then: a report was lost, or a program has not told of its update.
    [[nodiscard]] std::uint64_t missed() const { return missed_; }
    /// How many objects were read so far.
    [[nodiscard]] std::uint64_t reads() const { return waits_.reads(); }

  private:
    friend class SyncWait;
    friend class VmSyncWaits;

    void advance() override;
    /// Finds out where the wait's object is. False, and the wait has ended: nowhere.
    bool locate(SyncWait& wait);
    void remove(SyncWait& wait);
    void end(SyncWait& wait);

    drm::Timers& timers_;
    Hooks hooks_;
    drm::ValueWaits waits_;
    bool listening_ = false;
    /// The last wait has left. By Work, since the next one often comes at once.
    struct Disarm final : drm::Work {
        explicit Disarm(SyncWaits& in) : waits(in) {}
        void advance() override;
        SyncWaits& waits;
    } disarm_{*this};
    drm::Timer missed_timer_;
    /// By Work: behind the look at all that catching up may have asked for.
    struct FindMissed final : drm::Work {
        explicit FindMissed(SyncWaits& in) : waits(in) {}
        void advance() override;
        SyncWaits& waits;
    } find_missed_{*this};
    std::uint64_t missed_ = 0;
};

}  // namespace belfry::panthor
