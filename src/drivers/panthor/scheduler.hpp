// Scheduler: decides which groups sit on the firmware's group slots.
//
// Owns   the slot table and the run queues; keeps a group alive while it is in one of them.
// Runs   in the driver actor. No locks, no clock: deadlines are Timers.
// Called by Group (work seen, ended) and Device (acknowledgements, address spaces that became free).
//
// For now a group keeps its slot until it ends: with more groups than slots, the others wait for a free one,
// high priority first, in order of arrival. Taking a slot away from an idle or unlucky group belongs in
// pick().
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "drivers/panthor/firmware.hpp"
#include "drivers/panthor/group.hpp"
#include "drivers/panthor/mmu.hpp"

namespace belfry::panthor {

class Scheduler {
  public:
    static constexpr unsigned kPriorities = 4;
    /// How long the firmware may take to answer. Hardware has 100 ms; this GPU is a thread that may have to
    /// wait for a CPU.
    static constexpr std::uint64_t kAnswerTimeoutNs = 5'000'000'000;

    Scheduler(FirmwareInterface& firmware, Mmu& mmu, gpu::Mmio& mmio, drm::Timers& timers)
        : firmware_(firmware), mmu_(mmu), mmio_(mmio), timers_(timers) {}

    /// The firmware is up: there are slots now.
    void start();

    /// The group has work: it gets a slot now or later, or has its doorbell rung if it is on one.
    void work_seen(Group& group);
    /// The group can run no more: takes it off its slot, or out of its queue.
    void end(Group& group);
    /// Looks at what the firmware has acknowledged for slot `index`.
    void acknowledged(unsigned index);
    /// The GPU runs no more, and no firmware will answer: takes every group off its slot.
    void gpu_gone();
    /// Whether groups on slots report their updates of sync objects; those of kernel-mode groups always do.
    void listen_for_sync_updates(bool on);
    /// Grants free slots to runnable groups.
    void schedule();

    [[nodiscard]] Group* on_slot(unsigned index) const { return slots_[index].get(); }
    [[nodiscard]] unsigned slot_count() const { return static_cast<unsigned>(slots_.size()); }
    [[nodiscard]] unsigned occupied() const;
    [[nodiscard]] unsigned waiting() const;

    void check_invariants() const;

  private:
    using GroupPtr = std::shared_ptr<Group>;

    [[nodiscard]] GroupPtr pick(unsigned index);
    bool bind(Group& group, unsigned index);
    void program(Group& group, unsigned index, unsigned address_space);
    void ask(unsigned index, gpu::GroupRequest request);
    void set_interrupts(const Group& group, unsigned index);
    void terminate(Group& group);
    void unbind(Group& group);

    FirmwareInterface& firmware_;
    Mmu& mmu_;
    gpu::Mmio& mmio_;
    drm::Timers& timers_;
    std::vector<GroupPtr> slots_;
    bool listening_ = false;  // for sync updates of all groups
    std::array<std::list<GroupPtr>, kPriorities> runnable_;
};

}  // namespace belfry::panthor
