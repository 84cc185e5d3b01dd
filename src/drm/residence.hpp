// Residence: a buffer's part in Residency: its state, who keeps it in memory, and its way out and back.
//
// Owned   by its Buffer. A buffer that no Residency manages is resident always.
// Runs    in the driver actor.
// Called  by Residency, which alone changes the state, and by Exports, which tells what clients hold open.
#pragma once

#include <cstdint>
#include <optional>

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/set.hpp>
#include <boost/smart_ptr/intrusive_ptr.hpp>

#include "base/result.hpp"

namespace belfry::drm {

class Buffer;
class Hold;
class LongRunningContext;
class Residence;
class Residency;
using BufferPtr = boost::intrusive_ptr<Buffer>;

enum class ResidencyState : std::uint8_t {
    resident,
    evicting,   ///< the store copies it and gives its pages back
    evicted,    ///< in the store; or fresh, and nowhere
    restoring,  ///< the store copies it back
};
enum class ResidencyEvent : std::uint8_t {
    evict_asked,
    evict_done,
    evict_failed,
    restore_asked,
    restore_done,
    restore_failed,
};
struct ResidencyStep {
    ResidencyState from;
    ResidencyEvent event;
    ResidencyState to;
};
inline constexpr ResidencyStep kResidencySteps[] = {
    {ResidencyState::resident, ResidencyEvent::evict_asked, ResidencyState::evicting},
    {ResidencyState::evicting, ResidencyEvent::evict_done, ResidencyState::evicted},
    {ResidencyState::evicting, ResidencyEvent::evict_failed, ResidencyState::resident},
    {ResidencyState::evicted, ResidencyEvent::restore_asked, ResidencyState::restoring},
    {ResidencyState::restoring, ResidencyEvent::restore_done, ResidencyState::resident},
    {ResidencyState::restoring, ResidencyEvent::restore_failed, ResidencyState::evicted},
};
constexpr std::optional<ResidencyState> next(ResidencyState from, ResidencyEvent event) {
    for (const ResidencyStep& step : kResidencySteps)
        if (step.from == from && step.event == event) return step.to;
    return std::nullopt;
}
static_assert(!next(ResidencyState::evicting, ResidencyEvent::restore_asked),
              "a buffer on its way out comes back when it is out");

/// A buffer's way out or back, for a BackingStore to queue: nothing is allocated for it.
class Transfer : public boost::intrusive::list_base_hook<> {
  public:
    explicit Transfer(Residence& of) : of_(of) {}
    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;

    [[nodiscard]] Buffer& buffer() const;
    /// In the driver actor, once for each evict() or restore(), and never from within it. May destroy the
    /// buffer, and this with it.
    void done(base::Result<void> result);

  private:
    Residence& of_;
};

/// That a context maps a buffer, however often.
struct UseByBuffer;
struct UseOfContext;
struct UseOfBuffer;
class BufferUse : public boost::intrusive::set_base_hook<boost::intrusive::tag<UseByBuffer>>,
                  public boost::intrusive::list_base_hook<boost::intrusive::tag<UseOfContext>>,
                  public boost::intrusive::list_base_hook<boost::intrusive::tag<UseOfBuffer>> {
  public:
    BufferUse(LongRunningContext& context, Buffer& buffer) : context_(context), buffer_(buffer) {}
    BufferUse(const BufferUse&) = delete;
    BufferUse& operator=(const BufferUse&) = delete;

  private:
    friend class LongRunningContext;
    friend class Residency;

    LongRunningContext& context_;
    Buffer& buffer_;           // kept alive by what maps it
    std::uint64_t bytes_ = 0;  // mapped
};

/// Links the Holds (residency.hpp) that wait for a buffer.
struct HoldHook
    : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {};

/// Links the buffers that no context maps, and those that somebody wants who is no context.
struct Unattached;
struct Wanted;
class Residence
    : public boost::intrusive::list_base_hook<boost::intrusive::tag<Unattached>>,
      public boost::intrusive::list_base_hook<boost::intrusive::tag<Wanted>,
                                              boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  public:
    explicit Residence(Buffer& buffer);
    Residence(const Residence&) = delete;
    Residence& operator=(const Residence&) = delete;
    ~Residence();

    /// Whether it can ever be anything but resident.
    [[nodiscard]] bool managed() const { return residency_ != nullptr; }
    [[nodiscard]] ResidencyState state() const { return state_; }
    /// Only then its memory may be looked at.
    [[nodiscard]] bool resident() const { return state_ == ResidencyState::resident; }

    /// Whether clients may get a file of its memory: it would be pinned for as long as they like. ENOMEM:
    /// more would be pinned than the budget.
    [[nodiscard]] base::Result<void> check_open() const;
    /// Clients have files of its memory, or have none any more.
    void set_open(bool open);

  private:
    friend class Hold;
    friend class LongRunningContext;
    friend class Residency;
    friend class Transfer;

    using WantedHook =
        boost::intrusive::list_base_hook<boost::intrusive::tag<Wanted>,
                                         boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

    [[nodiscard]] bool pinned() const { return open_ || wired_; }
    [[nodiscard]] bool wanted() const { return WantedHook::is_linked(); }

    Buffer& buffer_;
    Residency* residency_ = nullptr;
    ResidencyState state_ = ResidencyState::resident;
    bool stored_ = false;  // the store keeps it
    bool open_ = false;
    bool wired_ = false;  // the driver looks at it at any time
    unsigned holds_ = 0;
    Transfer transfer_;
    BufferPtr moving_;  // itself, while the store works on it
    std::uint64_t asked_ns_ = 0;
    boost::intrusive::list<
        BufferUse,
        boost::intrusive::base_hook<boost::intrusive::list_base_hook<boost::intrusive::tag<UseOfBuffer>>>,
        boost::intrusive::constant_time_size<false>>
        uses_;
    boost::intrusive::list<HoldHook, boost::intrusive::constant_time_size<false>> waiting_;
};

}  // namespace belfry::drm
