// Scheduler: decides which groups sit on the firmware's group slots.
//
// Owns   the slot table, whose groups it keeps alive, and the order of those that wait.
// Runs   in the driver actor. No locks, no clock: deadlines are Timers.
// Called by Group (work seen, ended) and Device (acknowledgements, address spaces that became free).
//
// A group keeps its slot for as long as nobody else wants one. Once more groups are runnable than there are
// slots, those that wait take the slots, in this order, of groups that are idle or wait themselves; of groups
// of lower priority, at once; of groups of their own priority whose time slice is over. Among equals it is
// first come, first served. And once every kRescueNs the group that has waited longest of all goes first,
// whatever the priorities: so a group waits for at most kRescueNs for each group that has waited longer, and
// nobody starves. The kernel-mode fences of a group are bounded by that (DESIGN, "Fences", rule 6).
//
// Memory is handed out as slots are, to one group at a time: the first in line has what its VM lacks
// restored. If there is no room, groups on slots are suspended for it by the same claims, and until then
// nobody behind it starts, so that two VMs which do not fit together take turns. If all that can be evicted
// is not enough, it goes beyond the budget, alone.
//
// Taking a slot is always safe, and so needs no exact knowledge: which groups are idle is a hint, and what is
// to become of a group is judged when it has left (Group::judge_suspended).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "drivers/panthor/firmware.hpp"
#include "drivers/panthor/group.hpp"
#include "drivers/panthor/mmu.hpp"
#include "drm/residency.hpp"

namespace belfry::panthor {

class Scheduler {
  public:
    static constexpr unsigned kPriorities = 4;
    /// How long the firmware may take to answer. Hardware has 100 ms; this GPU is a thread that may have to
    /// wait for a CPU.
    static constexpr std::uint64_t kAnswerTimeoutNs = 5'000'000'000;
    /// How long a group keeps its slot, if others of its priority want it.
    static constexpr std::uint64_t kSliceNs = 10'000'000;
    static constexpr std::uint64_t kRescueNs = 100'000'000;

    Scheduler(FirmwareInterface& firmware, Mmu& mmu, gpu::Mmio& mmio, drm::Timers& timers,
              drm::Residency& residency)
        : firmware_(firmware),
          mmu_(mmu),
          mmio_(mmio),
          timers_(timers),
          residency_(residency),
          tick_(timers, [this] { schedule(); }) {}

    /// The firmware is up: there are slots now.
    void start();

    /// The group has work: it gets a slot now or later, or has its doorbell rung if it is on one.
    void work_seen(Group& group);
    /// The group can run no more: takes it off its slot, or out of its queue.
    void end(Group& group);
    /// The group on slot `index` has become idle, or waits.
    void became_idle(unsigned index);
    /// The firmware has acknowledged `request` for slot `index`; may be told so again. All events of the
    /// group that came before have been handled.
    void acknowledged(unsigned index, gpu::GroupRequest request);
    /// The firmware has not acknowledged SUSPEND in time: the group is ended instead.
    void suspend_overdue(Group& group);
    /// The GPU runs no more, and no firmware will answer: takes every group off its slot.
    void gpu_gone();
    /// Whether groups on slots report their updates of sync objects; those of kernel-mode groups always do.
    void listen_for_sync_updates(bool on);
    /// Grants free slots to runnable groups, and has slots freed for those that are left.
    void schedule();

    [[nodiscard]] Group* on_slot(unsigned index) const { return slots_[index].group.get(); }
    [[nodiscard]] unsigned slot_count() const { return static_cast<unsigned>(slots_.size()); }
    [[nodiscard]] unsigned occupied() const;
    [[nodiscard]] unsigned waiting() const;

    /// How often a group was suspended, and how long its slot was not free for that.
    [[nodiscard]] std::uint64_t suspends() const { return suspends_; }
    [[nodiscard]] std::uint64_t suspend_ns() const { return suspend_ns_; }

    void check_invariants() const;

  private:
    using GroupPtr = std::shared_ptr<Group>;

    /// Who goes first: the group that has waited too long, then by priority.
    static constexpr unsigned kRanks = kPriorities + 1;
    static constexpr unsigned kRescued = kPriorities;

    struct Slot {
        GroupPtr group;
        unsigned rank = 0;            // that it came with: good for one slice
        std::uint64_t slice_end = 0;  // counted from when it was resident
        bool idle = false;            // a hint
        std::uint64_t suspend_asked = 0;
    };

    /// `since`: when it began to wait for a slice of its own.
    void make_runnable(Group& group, std::uint64_t since);
    void rescue();
    enum class Memory : std::uint8_t {
        ready,
        coming,   ///< there is room for it
        no_room,  ///< somebody will make room, in bounded time
        lost,     ///< it could not be brought back, and the group was ended
    };
    [[nodiscard]] Memory claim_memory(Group& group, unsigned rank);
    bool bind(Group& group, unsigned rank);
    void program(Group& group, unsigned index, unsigned address_space);
    void ask(unsigned index, gpu::GroupRequest request);
    void set_interrupts(unsigned index);
    enum class Wanted : std::uint8_t { slot, memory };
    [[nodiscard]] Slot* victim(unsigned rank, Wanted wanted);
    void suspend(Group& group);
    void terminate(Group& group);
    void leave(Group& group, GroupEvent event, gpu::GroupRequest request);
    void started(unsigned index);
    void suspended(unsigned index);
    GroupPtr vacate(unsigned index);
    void contend(bool on);
    void arm_tick();

    FirmwareInterface& firmware_;
    Mmu& mmu_;
    gpu::Mmio& mmio_;
    drm::Timers& timers_;
    drm::Residency& residency_;
    std::vector<Slot> slots_;
    std::array<RunnableGroups, kRanks> runnable_;
    std::uint64_t last_rescue_ = 0;
    std::uint64_t suspends_ = 0;
    std::uint64_t suspend_ns_ = 0;
    bool listening_ = false;  // for sync updates of all groups
    bool contended_ = false;  // somebody waits for a slot
    drm::Timer tick_;
};

}  // namespace belfry::panthor
