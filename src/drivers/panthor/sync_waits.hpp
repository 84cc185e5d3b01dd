// SyncWaits: what the driver waits for in GPU memory: XGS waits, and streams that were waiting when their
// group left its slot.
//
// Owns   nothing but the list: a wait belongs to whoever waits, and leaves the list with it.
// Runs   in the driver actor.
// Called by XgsQueue and Scheduler (add), and by Device when memory may have changed: the GPU reported an
// update, a
//        program did (SYNC_UPDATE), or addresses were bound anew.
//
// A value in client-writable memory is a hint (docs/architecture.md, "Fences"): whoever waits for one bears
// that it is forged, withdrawn, or never comes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include <boost/intrusive/list.hpp>

#include "base/result.hpp"
#include "belfry/uapi/csf.hpp"
#include "drm/va_space.hpp"
#include "drm/work.hpp"

namespace belfry::panthor {

using base::Errno;
using base::Result;

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

class SyncWait
    : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  public:
    enum class State : std::uint8_t { waiting, satisfied, unmapped };

    /// `waiter` is woken (Device::wake) each time that the wait ends.
    explicit SyncWait(drm::Work& waiter, SyncCondition condition)
        : waiter_(waiter), condition_(std::move(condition)) {}

    [[nodiscard]] const SyncCondition& condition() const { return condition_; }
    /// What memory says now. What is not in memory says what it said when it went, which was seen then
    /// (look_now): nobody has changed it since, for who does so has it brought back first.
    [[nodiscard]] State look() const;
    /// In the list, hence not known to have ended.
    [[nodiscard]] bool waiting() const { return is_linked(); }

  private:
    friend class SyncWaits;

    drm::Work& waiter_;
    SyncCondition condition_;
};

class SyncWaits final : private drm::Work {
  public:
    struct Hooks {
        std::function<void(bool)>
            listen;  ///< the GPU is to report updates of sync objects, or need not any more
        std::function<void(drm::Work&)> wake;
    };
    explicit SyncWaits(Hooks hooks) : hooks_(std::move(hooks)) {}

    /// Wakes the waiter once memory satisfies the wait or is no longer mapped, which may be at once. Dropping
    /// the wait ends it.
    void add(SyncWait& wait);
    /// Memory may have changed: looks at all waits before the driver's current entry ends, however often it
    /// is told so.
    void recheck() { hooks_.wake(*this); }
    /// The same at once: memory is about to be evicted.
    void look_now() { advance(); }

    [[nodiscard]] bool empty() const { return waits_.empty(); }

  private:
    void advance() override;
    /// Ends the wait if memory says so.
    void settle(SyncWait& wait);

    Hooks hooks_;
    boost::intrusive::list<SyncWait, boost::intrusive::constant_time_size<false>> waits_;
    bool listening_ = false;
};

}  // namespace belfry::panthor
