#include "drivers/panthor/scheduler.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/atomic.hpp"
#include "base/check.hpp"

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
        std::ranges::count_if(slots_, [](const GroupPtr& group) { return group != nullptr; }));
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
            group.step(GroupEvent::work_seen);
            runnable_[group.priority()].push_back(group.shared_from_this());
            schedule();
            break;
        case GroupState::starting:
            // The firmware reads INSERT after it sets ACTIVE, but this may be later still (C3).
            group.kicked_while_starting = true;
            break;
        case GroupState::resident:
            // Its ring may have come before the firmware set ACTIVE (A13).
            mmio_.write(gpu::doorbell_reg(doorbell_of(*group.slot)), 1);
            break;
        case GroupState::runnable:
        case GroupState::terminating:
        case GroupState::dead:        break;
    }
}

void Scheduler::end(Group& group) {
    const auto alive = group.shared_from_this();
    switch (group.state()) {
        case GroupState::idle: group.step(GroupEvent::gave_up); break;
        case GroupState::runnable:
            runnable_[group.priority()].remove(alive);
            group.step(GroupEvent::gave_up);
            break;
        case GroupState::starting:    break;  // one request at a time: when START is acknowledged (G6)
        case GroupState::resident:    terminate(group); break;
        case GroupState::terminating:
        case GroupState::dead:        break;
    }
}

void Scheduler::schedule() {
    for (unsigned i = 0; i < slots_.size(); ++i) {
        if (slots_[i] != nullptr) continue;
        const GroupPtr group = pick(i);
        if (group == nullptr) return;
        slots_[i] = group;
        runnable_[group->priority()].remove(group);
    }
}

/// Binds the first runnable group that there is an address space for: high priority first, then by arrival.
/// The others are looked at again when an address space becomes free.
Scheduler::GroupPtr Scheduler::pick(unsigned index) {
    for (unsigned priority = kPriorities; priority-- > 0;)
        for (const GroupPtr& group : runnable_[priority])
            if (bind(*group, index)) return group;
    return nullptr;
}

bool Scheduler::bind(Group& group, unsigned index) {
    const auto address_space = mmu_.activate(group.vm());
    if (!address_space) return false;
    group.slot = index;
    group.kicked_while_starting = false;
    group.step(GroupEvent::slot_granted);
    program(group, index, *address_space);
    ask(index, GroupRequest::start);
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
    base::store(input.allow_compute, options.compute_core_mask, kRelaxed);
    base::store(input.allow_fragment, options.fragment_core_mask, kRelaxed);
    base::store(input.allow_other, static_cast<std::uint32_t>(options.tiler_core_mask), kRelaxed);
    base::store(input.endpoint_req,
                options.max_compute_cores | std::uint32_t{options.max_fragment_cores} << 8 |
                    std::uint32_t{options.max_tiler_cores} << 16 | (kSlotPriorityMax - index) << 28,
                kRelaxed);
    base::store(input.suspend_buf, group.suspend_buffer(), kRelaxed);
    base::store(input.config, address_space, kRelaxed);
    set_interrupts(group, index);
    FirmwareInterface::toggle(input.doorbell_req, slot.output->doorbell_ack, streams);
    FirmwareInterface::toggle(input.req, slot.output->ack, gpu::kGroupEndpointConfig);
}

void Scheduler::set_interrupts(const Group& group, unsigned index) {
    // A job of a kernel-mode group is done with a sync update. A user-mode group's concern nobody here unless
    // somebody waits, and then it must not pay for them.
    const bool sync_updates = !group.user_submit() || listening_;
    base::store(firmware_.slot(index).input->ack_irq_mask,
                gpu::kGroupStateMask | (sync_updates ? gpu::kGroupSyncUpdate : 0), kRelaxed);
}

void Scheduler::listen_for_sync_updates(bool on) {
    listening_ = on;
    for (unsigned i = 0; i < slots_.size(); ++i) {
        if (slots_[i] == nullptr || !slots_[i]->user_submit()) continue;
        set_interrupts(*slots_[i], i);
        // An update that nobody heard still stands, and would keep the next one from being reported.
        const SlotBlocks& slot = firmware_.slot(i);
        if (on) FirmwareInterface::take_events(slot.input->req, slot.output->ack, gpu::kGroupSyncUpdate);
    }
}

void Scheduler::ask(unsigned index, GroupRequest request) {
    FirmwareInterface::set_field(firmware_.slot(index).input->req, gpu::kGroupStateMask,
                                 static_cast<std::uint32_t>(request));
    firmware_.ring(index);
}

void Scheduler::terminate(Group& group) {
    group.step(GroupEvent::terminate_asked);
    // The page is out of the GPU's hands when the request is acknowledged.
    mmio_.write64(gpu::doorbell_page_lo(doorbell_of(*group.slot)), 0);
    ask(*group.slot, GroupRequest::terminate);
    group.answer_timer.arm(timers_.now() + kAnswerTimeoutNs);
}

void Scheduler::acknowledged(unsigned index) {
    const GroupPtr group = slots_[index];
    if (group == nullptr) return;
    const auto acked = static_cast<GroupRequest>(
        base::load(firmware_.slot(index).output->ack, base::kAcquire) & gpu::kGroupStateMask);
    // Compared with what was asked last: a late answer to something else is none (E5).
    if (group->state() == GroupState::starting && acked == GroupRequest::start) {
        group->answer_timer.cancel();
        group->step(GroupEvent::start_acked);
        for (std::size_t i = 0; i < group->queue_count(); ++i) group->queue(i).start_clock();
        if (!group->can_run())
            terminate(*group);
        else if (std::exchange(group->kicked_while_starting, false))
            work_seen(*group);
    } else if (group->state() == GroupState::terminating && acked == GroupRequest::terminate) {
        group->answer_timer.cancel();
        mmu_.deactivate(group->vm());
        slots_[index] = nullptr;
        group->slot.reset();
        group->step(GroupEvent::terminate_acked);
        schedule();
    }
}

void Scheduler::gpu_gone() {
    for (GroupPtr& slot : slots_) {
        const GroupPtr group = std::exchange(slot, nullptr);
        if (group == nullptr) continue;
        group->answer_timer.cancel();
        mmu_.deactivate(group->vm());
        group->slot.reset();
        group->step(GroupEvent::gpu_gone);
    }
}

void Scheduler::check_invariants() const {
    for (unsigned i = 0; i < slots_.size(); ++i) {
        if (slots_[i] == nullptr) continue;
        BELFRY_CHECK(panthor::on_slot(slots_[i]->state()));
        BELFRY_CHECK(slots_[i]->slot == i);
    }
    for (unsigned priority = 0; priority < kPriorities; ++priority)
        for (const GroupPtr& group : runnable_[priority]) {
            BELFRY_CHECK(group->state() == GroupState::runnable && !group->slot);
            BELFRY_CHECK(group->priority() == priority);
        }
}

}  // namespace belfry::panthor
