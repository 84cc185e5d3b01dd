#include "drivers/panthor/group.hpp"

#include <algorithm>
#include <utility>

#include "base/atomic.hpp"
#include "base/check.hpp"
#include "base/futex.hpp"
#include "base/sync_object.hpp"
#include "belfry/uapi/csf_exceptions.hpp"
#include "drivers/panthor/device.hpp"

namespace belfry::panthor {

Result<std::shared_ptr<Group>> Group::make(Device& device, GroupOptions options) {
    auto group = std::make_shared<Group>(device, std::move(options), device.next_serial());
    if (const auto allocated = group->allocate(); !allocated) return std::unexpected(allocated.error());
    return group;
}

Group::Group(Device& device, GroupOptions options, std::uint64_t serial)
    : answer_timer(device.timers(), [this] { answer_overdue(); }),
      device_(device),
      options_(std::move(options)),
      serial_(serial),
      waits_(options_.queues.size()) {
    ++device_.groups;
}

Group::~Group() {
    BELFRY_CHECK(!on_slot(state_));
    --device_.groups;
    if (line_added_) device_.wake_lines().remove(options_.doorbell_eventfd.get());
    for (const auto& queue : queues_) queue->unmap();
    options_.vm->flush([] {});
    McuMemory& mcu = device_.mcu_memory();
    if (inputs_va_ != 0) mcu.unmap(inputs_va_, inputs_.mapping.size());
    if (outputs_va_ != 0) mcu.unmap(outputs_va_, outputs_.mapping.size());
    if (suspend_va_ != 0) mcu.unmap(suspend_va_, suspend_.mapping.size());
    // The pages live until the GPU has forgotten where they were.
    struct Pages {
        base::SharedMemory inputs, outputs, suspend;
    };
    const auto pages = std::make_shared<Pages>(std::move(inputs_), std::move(outputs_), std::move(suspend_));
    mcu.flush([pages] {});
}

Result<void> Group::allocate() {
    const std::size_t pages = options_.queues.size() * base::kPageBytes;
    auto inputs = base::make_shared_memory("belfry-user-input", pages, base::Sharing::writable);
    if (!inputs) return std::unexpected(inputs.error());
    inputs_ = std::move(*inputs);
    // Clients can read EXTRACT and ACTIVE and forge neither (facts/firmware-and-scheduling.md 7, H2).
    auto outputs = base::make_shared_memory("belfry-user-output", pages, base::Sharing::read_only);
    if (!outputs) return std::unexpected(outputs.error());
    outputs_ = std::move(*outputs);
    auto suspend =
        base::make_shared_memory("belfry-suspend", base::round_up_to_page(device_.firmware().suspend_bytes()),
                                 base::Sharing::read_only);
    if (!suspend) return std::unexpected(suspend.error());
    suspend_ = std::move(*suspend);
    if (options_.user_submit) {
        auto doorbell =
            base::make_shared_memory("belfry-doorbell", base::kPageBytes, base::Sharing::writable);
        if (!doorbell) return std::unexpected(doorbell.error());
        doorbell_ = std::move(*doorbell);
    }

    for (std::size_t i = 0; i < options_.queues.size(); ++i) {
        queues_.push_back(std::make_unique<Queue>(device_, *this, i, options_.queues[i]));
        const std::size_t page = i * base::kPageBytes;
        const auto allocated = queues_.back()->allocate(
            *reinterpret_cast<uapi::belfry_user_input*>(inputs_.mapping.data() + page),
            *reinterpret_cast<uapi::belfry_user_output*>(outputs_.mapping.data() + page));
        if (!allocated) return allocated;
    }
    McuMemory& mcu = device_.mcu_memory();
    const std::pair<base::SharedMemory&, std::uint64_t&> mapped[] = {
        {inputs_, inputs_va_}, {outputs_, outputs_va_}, {suspend_, suspend_va_}};
    for (const auto& [memory, va] : mapped) {
        const auto at = mcu.map(memory.mapping.data(), memory.mapping.size());
        if (!at) return std::unexpected(at.error());
        va = *at;
    }
    if (options_.doorbell_eventfd) {
        device_.wake_lines().add(options_.doorbell_eventfd.get());
        line_added_ = true;
    }
    return {};
}

std::pair<std::uint64_t, std::uint64_t> Group::io_addresses(std::size_t queue) const {
    const std::size_t page = queue * base::kPageBytes;
    return {inputs_va_ + page, outputs_va_ + page};
}

uapi::belfry_user_doorbell* Group::doorbell_page() {
    return reinterpret_cast<uapi::belfry_user_doorbell*>(doorbell_.mapping.data());
}

void Group::step(GroupEvent event) {
    const auto to = next(state_, event);
    BELFRY_CHECK(to.has_value());
    if (state_ == GroupState::blocked) stop_waiting();
    if (state_ == GroupState::runnable) RunnableHook::unlink();
    state_ = *to;
    if (state_ == GroupState::blocked)
        for (auto& wait : waits_)
            if (wait) device_.sync_waits().add(*wait);
    for (const auto& queue : queues_) queue->update_clock();
    if (state_ == GroupState::dead) finish();
}

bool Group::has_work() const {
    return std::ranges::any_of(queues_, [](const auto& queue) { return queue->has_work(); });
}

void Group::stop_waiting() {
    for (auto& wait : waits_) wait.reset();
}

void Group::work_seen() {
    switch (state_) {
        case GroupState::idle:
            // A kick is only a hint: whichever queue it names, INSERT says whether there is work (C6).
            if (!has_work()) return;
            break;
        case GroupState::blocked: {
            // Work for a queue that does not wait, or a program that wrote what one waits for (C7).
            const auto goes_on = [this](const std::unique_ptr<Queue>& queue) {
                const auto& wait = waits_[queue->index()];
                return wait ? wait->look() != SyncWait::State::waiting : queue->has_work();
            };
            if (std::ranges::none_of(queues_, goes_on)) return;
            break;
        }
        default: break;
    }
    device_.scheduler().work_seen(*this);
}

void Group::advance() {
    if (state_ == GroupState::blocked) device_.scheduler().work_seen(*this);
}

GroupEvent Group::judge_suspended(const SlotBlocks& blocks) {
    // The acknowledgement said ACTIVE = 0: whoever publishes work that is not seen here reads that, and kicks
    // (facts/firmware-and-scheduling.md 7, B1 to B3).
    base::full_fence();
    // Some stream was in the middle of something. All below is about streams of which each waits or is done.
    if ((base::load(blocks.output->status_state, base::kRelaxed) & gpu::kGroupStatusIdle) == 0)
        return GroupEvent::suspended_busy;
    bool work = std::exchange(kicked, false);
    bool blocked = false;
    for (const auto& queue : queues_) {
        const gpu::StreamOutput& stream = *blocks.streams[queue->index()].output;
        const std::uint32_t wait = base::load(stream.status_wait, base::kRelaxed);
        if ((wait & gpu::kWaitSync) == 0) {
            work |= queue->has_work();
            continue;
        }
        waits_[queue->index()].emplace(
            *this,
            SyncCondition{
                .vm = options_.vm,
                .address = base::load(stream.status_wait_sync_ptr, base::kRelaxed),
                .value = base::load(stream.status_wait_sync_value, base::kRelaxed) |
                         std::uint64_t{base::load(stream.status_wait_sync_value_hi, base::kRelaxed)} << 32,
                .until = gpu::wait_condition(wait),
                .wide = (wait & gpu::kWaitSync64) != 0});
        blocked = true;
    }
    if (!work && blocked) return GroupEvent::suspended_blocked;
    stop_waiting();
    return work ? GroupEvent::suspended_busy : GroupEvent::suspended_idle;
}

void Group::record_fault(const uapi::belfry_group_get_fault& fault) {
    if ((fault_.flags & uapi::BELFRY_FAULT_VALID) == 0) fault_ = fault;
}

void Group::end(const GroupDoom& why) {
    doom(why);
    device_.scheduler().end(*this);
}

void Group::doom(const GroupDoom& why) {
    const bool failed = state_flags() != 0;
    doom_.fatal_queues |= why.fatal_queues;
    doom_.timed_out |= why.timed_out;
    doom_.destroyed |= why.destroyed;
    if (!failed && state_flags() != 0) device_.group_failed(*this);
    publish_state();
}

void Group::memory_lost() {
    record_fault({.flags = uapi::BELFRY_FAULT_VALID,
                  .exception = static_cast<std::uint32_t>(csf::Exception::cs_res_term)});
    end({.fatal_queues = (1U << queue_count()) - 1});
}

std::uint32_t Group::state_flags() const {
    std::uint32_t flags = 0;
    if (doom_.timed_out) flags |= uapi::DRM_PANTHOR_GROUP_STATE_TIMEDOUT;
    if (doom_.fatal_queues != 0) flags |= uapi::DRM_PANTHOR_GROUP_STATE_FATAL_FAULT;
    return flags;
}

/// Tells whoever looks at the output pages, those who sleep on EXTRACT for room that will not come, and those
/// who sleep on the state itself.
void Group::publish_state() {
    const std::uint32_t flags = state_flags() | (doom_.destroyed ? BELFRY_GROUP_STATE_DESTROYED : 0);
    const bool changed = base::load(queues_.front()->output().group_state, base::kRelaxed) != flags;
    for (const auto& queue : queues_) {
        base::store(queue->output().group_state, flags, base::kRelease);
        base::futex_wake(base::low_word(queue->output().extract), ~0U);
        base::futex_wake(queue->output().group_state, ~0U);
    }
    if (changed && options_.group_state_eventfd)
        base::ring_foreign_eventfd(options_.group_state_eventfd.get());
}

void Group::answer_overdue() {
    // The answer may be there, and its interrupt on its way (E5).
    const auto alive = shared_from_this();
    const GroupState asked = state_;
    device_.slot_events(*slot);
    if (state_ != asked) return;
    // Its memory stays until the firmware has let go of it; fences must not wait for that (rule 1).
    doom({.timed_out = true});
    for (const auto& queue : queues_) queue->fail_all(Errno::timed_out);
    end_owned_sync_objects();
    if (asked == GroupState::suspending) device_.scheduler().suspend_overdue(*this);
}

/// Off slot for ever: everything that was promised is answered.
void Group::finish() {
    for (const auto& queue : queues_) {
        const bool fatal = (doom_.fatal_queues >> queue->index() & 1U) != 0;
        queue->fail_all(fatal ? Errno::invalid : doom_.timed_out ? Errno::timed_out : Errno::cancelled);
    }
    end_owned_sync_objects();
}

/// Whoever waits for one goes on and sees why: programs, streams, XGS queues. The largest value reaches every
/// target, and since the word that sleepers compare changes with it, none falls asleep behind the wake. All
/// of it lies in memory of the program's own; what is not mapped there, or not for writing, is nobody's any
/// more.
void Group::end_owned_sync_objects() {
    if (!user_submit()) return;
    bool any = false;
    for (const std::uint64_t& owned : doorbell_page()->owned) {
        const std::uint64_t address = base::load(owned, base::kRelaxed);  // the client's: read once
        if (address == 0) continue;
        const auto* const mapping = find_sync_mapping(*options_.vm, address, true, SyncAccess::write);
        if (mapping == nullptr || !mapping->buffer->residence.resident()) continue;
        std::byte* const object = find_sync_object(*options_.vm, address, true, SyncAccess::write);
        any = true;
        base::update_sync_object(
            *reinterpret_cast<uapi::belfry_sync_object64*>(object), false, ~0ULL, BELFRY_SYNC_OBJECT_ENDED,
            [](std::uint32_t& word, std::uint32_t bits) { base::futex_wake(word, bits); });
        device_.sync_waits().updated(object);
    }
    if (any) device_.wake_waiting_streams();
}

void Group::check_invariants() const {
    BELFRY_CHECK(on_slot(state_) == slot.has_value());
    const bool waits = std::ranges::any_of(waits_, [](const auto& wait) { return wait.has_value(); });
    BELFRY_CHECK((state_ == GroupState::blocked) == waits);
    BELFRY_CHECK((state_ == GroupState::runnable) == RunnableHook::is_linked());
    BELFRY_CHECK(state_ != GroupState::dead || doom_.any());
}

}  // namespace belfry::panthor
