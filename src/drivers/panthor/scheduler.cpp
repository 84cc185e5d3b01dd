#include "drivers/panthor/scheduler.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/atomic.hpp"
#include "base/check.hpp"
#include "base/signalling.hpp"

namespace belfry::panthor {
namespace {

using base::kRelaxed;
using gpu::GroupRequest;

/// Doorbell 0 is the driver's; the queues of a group share the one of its slot.
constexpr std::uint32_t doorbell_of(unsigned slot) { return slot + 1; }
constexpr std::uint32_t kSlotPriorityMax = 15;

}  // namespace

void Scheduler::start() { slots_.resize(firmware_.group_slots()); }

unsigned Scheduler::occupied() const {
    return static_cast<unsigned>(
        std::ranges::count_if(slots_, [](const Slot& slot) { return slot.group != nullptr; }));
}

unsigned Scheduler::waiting() const {
    std::size_t count = 0;
    for (const auto& groups : runnable_) count += groups.size();
    return static_cast<unsigned>(count);
}

void Scheduler::work_seen(Group& group) {
    if (!group.can_run()) return;
    switch (group.state()) {
        case GroupState::idle:
        case GroupState::blocked:
            group.step(GroupEvent::work_seen);
            make_runnable(group, timers_.now());
            schedule();
            break;
        case GroupState::starting:
            // The firmware reads INSERT after it sets ACTIVE, but this may be later still (C3).
        case GroupState::suspending:
            // It may be past its last look (C2).
            group.kicked = true;
            break;
        case GroupState::resident:
            // A kick for nothing is no sign of work: its group stays idle, and will not say so again.
            if (group.has_work()) slots_[*group.slot].idle = false;
            // Its ring may have come before the firmware set ACTIVE (A13).
            mmio_.write(gpu::doorbell_reg(doorbell_of(*group.slot)), 1);
            break;
        case GroupState::runnable:
        case GroupState::terminating:
        case GroupState::dead:        break;
    }
}

void Scheduler::make_runnable(Group& group, std::uint64_t since) {
    group.runnable_since = since;
    RunnableGroups& groups = runnable_[group.priority()];
    const auto later =
        std::ranges::find_if(groups, [since](const Group& other) { return other.runnable_since > since; });
    groups.insert(later, group);
}

void Scheduler::end(Group& group) {
    const auto alive = group.shared_from_this();
    switch (group.state()) {
        case GroupState::idle:
        case GroupState::blocked:
        case GroupState::runnable:    group.step(GroupEvent::gave_up); break;
        case GroupState::starting:
        case GroupState::suspending:  break;  // one request at a time: when that is acknowledged (G6)
        case GroupState::resident:    terminate(group); break;
        case GroupState::terminating:
        case GroupState::dead:        break;
    }
}

void Scheduler::schedule() {
    const base::SignallingPath path;
    rescue();
    std::size_t free = slots_.size() - occupied();
    // Slots that will be free without doing anything more: the first who wait will have them.
    auto leaving = std::ranges::count_if(slots_, [](const Slot& slot) {
        return slot.group != nullptr &&
               (slot.group->state() == GroupState::suspending ||
                slot.group->state() == GroupState::terminating) &&
               slot.group->answer_timer.armed();  // the firmware may still answer for it
    });
    bool first = true;  // of those who wait, hence the one that memory is made room for
    for (unsigned rank = kRanks; rank-- > 0;)
        for (auto next = runnable_[rank].begin(); next != runnable_[rank].end();) {
            Group& group = *next++;
            if (std::exchange(first, false)) {
                const Memory memory = claim_memory(group, rank);
                if (memory == Memory::no_room) return arm_tick();
                if (memory == Memory::lost) first = true;
                if (memory != Memory::ready) continue;
            } else if (!group.vm().memory().complete()) {
                continue;
            }
            if (free != 0) {
                // Without an address space (its VM has faulted, or the last command is under way) it is tried
                // again when one becomes free.
                if (bind(group, rank)) {
                    --free;
                    first = true;
                }
                continue;
            }
            if (leaving != 0) {
                --leaving;
                continue;
            }
            // The hints are as old as the last event that somebody heard.
            contend(true);
            Slot* const found = victim(rank, Wanted::slot);
            // Whoever follows has no better claim.
            if (found == nullptr) return arm_tick();
            suspend(*found->group);
        }
    if (first) residency_.claim(nullptr, drm::Residency::Beyond::wait);
    arm_tick();
}

/// Sees to it that the first in line gets the memory of its VM.
Scheduler::Memory Scheduler::claim_memory(Group& group, unsigned rank) {
    using drm::Residency;
    drm::LongRunningContext& wanted = group.vm().memory();
    auto claim = residency_.claim(&wanted, Residency::Beyond::wait);
    if (claim == Residency::Claim::no_room) {
        const auto yields = [this](const Slot& slot) {
            return slot.group != nullptr && residency_.would_yield(slot.group->vm().memory());
        };
        // Those that leave yield without doing anything more.
        const bool leaving = std::ranges::any_of(slots_, [&](const Slot& slot) {
            return yields(slot) && slot.group->state() != GroupState::resident &&
                   slot.group->answer_timer.armed();
        });
        if (leaving) return Memory::no_room;
        contend(true);
        if (Slot* const found = victim(rank, Wanted::memory)) {
            suspend(*found->group);
            return Memory::no_room;
        }
        const bool later = std::ranges::any_of(slots_, [&](const Slot& slot) {
            return yields(slot) && slot.group->state() == GroupState::resident;
        });
        if (later) return Memory::no_room;  // time gives it a better claim
        claim = residency_.claim(&wanted, Residency::Beyond::exceed);
    }
    switch (claim) {
        case Residency::Claim::ready:     return Memory::ready;
        case Residency::Claim::restoring:
        case Residency::Claim::no_room:   return Memory::coming;
        case Residency::Claim::failed:    break;
    }
    group.memory_lost();
    return Memory::lost;
}

/// Has the group that waited longest go first, if it has waited too long.
void Scheduler::rescue() {
    RunnableGroups* oldest = nullptr;
    for (unsigned priority = 0; priority < kPriorities; ++priority) {
        RunnableGroups& groups = runnable_[priority];
        if (groups.empty()) continue;
        if (oldest == nullptr || groups.front().runnable_since < oldest->front().runnable_since)
            oldest = &groups;
    }
    if (oldest == nullptr || !runnable_[kRescued].empty()) return;
    if (timers_.now() < std::max(oldest->front().runnable_since, last_rescue_) + kRescueNs) return;
    last_rescue_ = timers_.now();
    runnable_[kRescued].splice(runnable_[kRescued].begin(), *oldest, oldest->begin());
}

/// Which slot a group of `rank` may have, or whose memory: idle ones first, then the one with the least
/// claim, then the one that has had it longest. Null: none for now.
Scheduler::Slot* Scheduler::victim(unsigned rank, Wanted wanted) {
    const auto claim = [this](const Slot& slot) {
        const bool in_slice = timers_.now() < slot.slice_end;
        // Twice the rank, and half a rank less once the slice is over: equals may have it then.
        return slot.idle ? 0U : in_slice ? 2 * slot.rank + 2 : 2 * slot.group->priority() + 1;
    };
    Slot* found = nullptr;
    for (Slot& slot : slots_) {
        if (slot.group == nullptr || slot.group->state() != GroupState::resident) continue;
        if (claim(slot) >= 2 * rank + 2) continue;
        if (wanted == Wanted::memory && !residency_.would_yield(slot.group->vm().memory())) continue;
        if (found == nullptr ||
            std::pair(claim(slot), slot.slice_end) < std::pair(claim(*found), found->slice_end))
            found = &slot;
    }
    return found;
}

/// Wakes schedule() when time alone gives somebody who waits a better claim.
void Scheduler::arm_tick() {
    const std::uint64_t now = timers_.now();
    std::uint64_t first = ~0ULL;
    for (unsigned priority = 0; priority < kPriorities; ++priority)
        if (const auto& groups = runnable_[priority]; !groups.empty() && runnable_[kRescued].empty())
            first = std::min(first, std::max(groups.front().runnable_since, last_rescue_) + kRescueNs);
    contend(first != ~0ULL || !runnable_[kRescued].empty());
    if (!contended_) {
        tick_.cancel();
        return;
    }
    for (const Slot& slot : slots_)
        if (slot.group != nullptr && slot.group->state() == GroupState::resident && slot.slice_end > now)
            first = std::min(first, slot.slice_end);
    if (first == ~0ULL)
        tick_.cancel();
    else
        tick_.arm(first);
}

/// While somebody waits for a slot, groups tell when they become idle.
void Scheduler::contend(bool on) {
    if (contended_ == on) return;
    contended_ = on;
    for (unsigned i = 0; i < slots_.size(); ++i) {
        if (slots_[i].group == nullptr) continue;
        set_interrupts(i);
        if (!on) continue;
        // One that became idle before: nobody heard it, but the event stands.
        const SlotBlocks& blocks = firmware_.slot(i);
        if (FirmwareInterface::take_events(blocks.input->req, blocks.output->ack, gpu::kGroupIdle) != 0)
            slots_[i].idle = true;
    }
}

bool Scheduler::bind(Group& group, unsigned rank) {
    const auto address_space = mmu_.activate(group.vm());
    if (!address_space) return false;
    group.vm().memory().arm_preempt_fence();
    const auto free = std::ranges::find(slots_, nullptr, &Slot::group);
    const auto index = static_cast<unsigned>(free - slots_.begin());
    *free = {.group = group.shared_from_this(), .rank = rank};
    group.slot = index;
    group.kicked = false;
    group.step(GroupEvent::slot_granted);
    program(group, index, *address_space);
    ask(index, group.has_saved_state ? GroupRequest::resume : GroupRequest::start);
    group.answer_timer.arm(timers_.now() + kAnswerTimeoutNs);
    return true;
}

void Scheduler::program(Group& group, unsigned index, unsigned address_space) {
    const SlotBlocks& slot = firmware_.slot(index);
    if (auto* const page = group.doorbell_page(); page != nullptr)
        mmio_.write64(gpu::doorbell_page_lo(doorbell_of(index)), reinterpret_cast<std::uint64_t>(page));

    std::uint32_t streams = 0;
    for (unsigned i = 0; i < slot.streams.size(); ++i) {
        gpu::StreamInput& input = *slot.streams[i].input;
        FirmwareInterface::take_events(input.req, slot.streams[i].output->ack, gpu::kStreamEvents);
        if (i >= group.queue_count()) {
            // What the slot's last group left here must not start with this one (B14).
            FirmwareInterface::set_field(input.req, gpu::kStreamStateMask, gpu::kStreamStop);
            base::store(input.ringbuf_base, 0, kRelaxed);
            continue;
        }
        const Queue& queue = group.queue(i);
        const auto [user_input, user_output] = group.io_addresses(i);
        base::store(input.config, gpu::stream_config(queue.options().priority, doorbell_of(index)), kRelaxed);
        base::store(input.ack_irq_mask, ~0U, kRelaxed);
        base::store(input.ringbuf_base, queue.ring_va(), kRelaxed);
        base::store(input.ringbuf_size, queue.options().ring_bytes, kRelaxed);
        base::store(input.ringbuf_input, user_input, kRelaxed);
        base::store(input.ringbuf_output, user_output, kRelaxed);
        base::store(input.instrbuf_size, 0, kRelaxed);
        FirmwareInterface::set_field(input.req,
                                     gpu::kStreamStateMask | gpu::kStreamIdleSyncWait | gpu::kStreamIdleEmpty,
                                     gpu::kStreamStart | gpu::kStreamIdleSyncWait | gpu::kStreamIdleEmpty);
        streams |= 1U << i;
    }

    const GroupOptions& options = group.options();
    gpu::GroupInput& input = *slot.input;
    FirmwareInterface::take_events(input.req, slot.output->ack, gpu::kGroupEvents);
    firmware_.discard_reports(index);
    base::store(input.allow_compute, options.compute_core_mask, kRelaxed);
    base::store(input.allow_fragment, options.fragment_core_mask, kRelaxed);
    base::store(input.allow_other, static_cast<std::uint32_t>(options.tiler_core_mask), kRelaxed);
    base::store(input.endpoint_req,
                options.max_compute_cores | std::uint32_t{options.max_fragment_cores} << 8 |
                    std::uint32_t{options.max_tiler_cores} << 16 | (kSlotPriorityMax - index) << 28,
                kRelaxed);
    base::store(input.suspend_buf, group.suspend_buffer(), kRelaxed);
    base::store(input.config, address_space, kRelaxed);
    set_interrupts(index);
    FirmwareInterface::toggle(input.doorbell_req, slot.output->doorbell_ack, streams);
    FirmwareInterface::toggle(input.req, slot.output->ack, gpu::kGroupEndpointConfig);
}

void Scheduler::set_interrupts(unsigned index) {
    // A job of a kernel-mode group is done with a sync update. Those of a user-mode group are nobody's
    // concern here unless somebody waits or has an eventfd for them, and else it must not pay for them.
    const bool sync_updates = slots_[index].group->reports_sync_updates() || listening_;
    base::store(firmware_.slot(index).input->ack_irq_mask,
                gpu::kGroupStateMask | (sync_updates ? gpu::kGroupSyncUpdate : 0) |
                    (contended_ ? gpu::kGroupIdle : 0),
                kRelaxed);
    // Dekker with the firmware, which stores an event, fences and reads the mask: it interrupts, or whoever
    // looks after this sees the event.
    base::full_fence();
}

void Scheduler::listen_for_sync_updates(bool on) {
    listening_ = on;
    for (unsigned i = 0; i < slots_.size(); ++i) {
        if (slots_[i].group == nullptr) continue;
        if (on) firmware_.discard_reports(i);
        if (slots_[i].group->reports_sync_updates()) continue;
        set_interrupts(i);
        // An update that nobody heard still stands, and would keep the next one from being reported.
        const SlotBlocks& blocks = firmware_.slot(i);
        if (on) FirmwareInterface::take_events(blocks.input->req, blocks.output->ack, gpu::kGroupSyncUpdate);
    }
}

void Scheduler::became_idle(unsigned index) {
    slots_[index].idle = true;
    if (contended_) schedule();
}

void Scheduler::ask(unsigned index, GroupRequest request) {
    FirmwareInterface::set_field(firmware_.slot(index).input->req, gpu::kGroupStateMask,
                                 static_cast<std::uint32_t>(request));
    firmware_.ring(index);
}

/// Asks for a group to leave its slot, for good or for now.
void Scheduler::suspend(Group& group) {
    group.kicked = false;
    slots_[*group.slot].suspend_asked = timers_.now();
    leave(group, GroupEvent::suspend_asked, GroupRequest::suspend);
}

void Scheduler::terminate(Group& group) {
    leave(group, GroupEvent::terminate_asked, GroupRequest::terminate);
}

void Scheduler::leave(Group& group, GroupEvent event, GroupRequest request) {
    group.step(event);
    // The page is out of the GPU's hands when the request is acknowledged.
    mmio_.write64(gpu::doorbell_page_lo(doorbell_of(*group.slot)), 0);
    ask(*group.slot, request);
    group.answer_timer.arm(timers_.now() + kAnswerTimeoutNs);
}

void Scheduler::suspend_overdue(Group& group) { terminate(group); }

void Scheduler::acknowledged(unsigned index, GroupRequest acked) {
    const GroupPtr group = slots_[index].group;
    if (group == nullptr) return;
    const base::SignallingPath path;  // ends before the group does
    // Compared with what was asked last: a late answer to something else is none (E5).
    switch (group->state()) {
        case GroupState::starting:
            if (acked == (group->has_saved_state ? GroupRequest::resume : GroupRequest::start))
                started(index);
            break;
        case GroupState::suspending:
            if (acked == GroupRequest::suspend) suspended(index);
            break;
        case GroupState::terminating:
            if (acked != GroupRequest::terminate) break;
            vacate(index);
            group->step(GroupEvent::terminate_acked);
            schedule();
            break;
        default: break;
    }
}

void Scheduler::started(unsigned index) {
    Slot& slot = slots_[index];
    Group& group = *slot.group;
    group.answer_timer.cancel();
    group.step(GroupEvent::start_acked);
    slot.slice_end = timers_.now() + kSliceNs;
    if (!group.can_run()) return terminate(group);
    if (std::exchange(group.kicked, false)) work_seen(group);
    if (contended_) schedule();
}

void Scheduler::suspended(unsigned index) {
    ++suspends_;
    const std::uint64_t asked = slots_[index].suspend_asked;
    suspend_ns_ += timers_.now() - asked;
    // Who has not had all of its slice has waited since before that, or turns that are cut short each time
    // would keep it from ever being rescued.
    const bool cut_short = asked < slots_[index].slice_end;
    const GroupPtr group = vacate(index);
    group->has_saved_state = true;
    if (group->can_run()) {
        const GroupEvent event = group->judge_suspended(firmware_.slot(index));
        group->step(event);
        if (group->state() == GroupState::runnable)
            make_runnable(*group, cut_short ? group->runnable_since : timers_.now());
    } else {
        group->step(GroupEvent::gave_up);
    }
    schedule();
}

Scheduler::GroupPtr Scheduler::vacate(unsigned index) {
    GroupPtr group = std::exchange(slots_[index], {}).group;
    group->answer_timer.cancel();
    mmu_.deactivate(group->vm());
    group->vm().memory().signal_preempt_fence();
    group->slot.reset();
    return group;
}

void Scheduler::gpu_gone() {
    for (unsigned i = 0; i < slots_.size(); ++i)
        if (slots_[i].group != nullptr) vacate(i)->step(GroupEvent::gpu_gone);
}

void Scheduler::check_invariants() const {
    for (unsigned i = 0; i < slots_.size(); ++i) {
        if (slots_[i].group == nullptr) continue;
        BELFRY_CHECK(panthor::on_slot(slots_[i].group->state()));
        BELFRY_CHECK(slots_[i].group->slot == i);
    }
    BELFRY_CHECK(runnable_[kRescued].empty() ||
                 std::next(runnable_[kRescued].begin()) == runnable_[kRescued].end());
    for (unsigned rank = 0; rank < kRanks; ++rank)
        for (const Group& group : runnable_[rank]) {
            BELFRY_CHECK(group.state() == GroupState::runnable && !group.slot);
            BELFRY_CHECK(rank == kRescued || group.priority() == rank);
        }
}

}  // namespace belfry::panthor
