// Group: queues that are scheduled together on one VM, and the state machine of their life.
//
// Owns   its memory (rings, user I/O pages, doorbell page, suspend buffer) and its queues.
//        Owned by its file's handle table until it is destroyed, and by the Scheduler while it waits for a
//        slot, sits on one or is being taken off.
// Runs   in the driver actor.
// Called by File (requests), Scheduler (slots) and Device (events of its slot).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/memory.hpp"
#include "belfry/uapi/panthor_drm.h"
#include "belfry/uapi/user_queue.h"
#include "drivers/panthor/firmware.hpp"
#include "drivers/panthor/mcu_memory.hpp"
#include "drivers/panthor/queue.hpp"
#include "drivers/panthor/sync_waits.hpp"
#include "drivers/panthor/vm.hpp"
#include "drm/timers.hpp"
#include "drm/work.hpp"

namespace belfry::panthor {

class Device;

/// docs/architecture.md prints this as a table.
enum class GroupState : std::uint8_t {
    idle,         ///< off slot, no work is known
    blocked,      ///< off slot, all work waits for sync objects
    runnable,     ///< off slot, has work, waits for a slot
    starting,     ///< the firmware was asked to start or resume it
    resident,     ///< on a slot
    suspending,   ///< the firmware was asked to take it off its slot
    terminating,  ///< the firmware was asked to end it
    dead,         ///< off slot for ever
};
enum class GroupEvent : std::uint8_t {
    work_seen,          ///< a kick or a job; a sync object that all work waited for was updated
    slot_granted,       ///< by the scheduler; START or RESUME was asked
    start_acked,        ///< or RESUME
    suspend_asked,      ///< by the scheduler
    suspended_idle,     ///< SUSPEND was acknowledged, and then nothing was to be done
    suspended_blocked,  ///< ... all that was to be done waited
    suspended_busy,     ///< ... there was work
    terminate_asked,    ///< it can run no more, and is on a slot
    terminate_acked,
    gave_up,   ///< it can run no more, and is off slot
    gpu_gone,  ///< the device goes, and the GPU has been stopped
};
struct GroupStep {
    GroupState from;
    GroupEvent event;
    GroupState to;
};
inline constexpr GroupStep kGroupSteps[] = {
    {GroupState::idle, GroupEvent::work_seen, GroupState::runnable},
    {GroupState::idle, GroupEvent::gave_up, GroupState::dead},
    {GroupState::blocked, GroupEvent::work_seen, GroupState::runnable},
    {GroupState::blocked, GroupEvent::gave_up, GroupState::dead},
    {GroupState::runnable, GroupEvent::slot_granted, GroupState::starting},
    {GroupState::runnable, GroupEvent::gave_up, GroupState::dead},
    {GroupState::starting, GroupEvent::start_acked, GroupState::resident},
    {GroupState::resident, GroupEvent::suspend_asked, GroupState::suspending},
    {GroupState::resident, GroupEvent::terminate_asked, GroupState::terminating},
    {GroupState::suspending, GroupEvent::suspended_idle, GroupState::idle},
    {GroupState::suspending, GroupEvent::suspended_blocked, GroupState::blocked},
    {GroupState::suspending, GroupEvent::suspended_busy, GroupState::runnable},
    {GroupState::suspending, GroupEvent::gave_up, GroupState::dead},
    {GroupState::suspending, GroupEvent::terminate_asked, GroupState::terminating},
    {GroupState::terminating, GroupEvent::terminate_acked, GroupState::dead},
    {GroupState::starting, GroupEvent::gpu_gone, GroupState::dead},
    {GroupState::resident, GroupEvent::gpu_gone, GroupState::dead},
    {GroupState::suspending, GroupEvent::gpu_gone, GroupState::dead},
    {GroupState::terminating, GroupEvent::gpu_gone, GroupState::dead},
};
constexpr std::optional<GroupState> next(GroupState from, GroupEvent event) {
    for (const GroupStep& step : kGroupSteps)
        if (step.from == from && step.event == event) return step.to;
    return std::nullopt;
}
static_assert(next(GroupState::resident, GroupEvent::terminate_asked) == GroupState::terminating);
static_assert(!next(GroupState::dead, GroupEvent::work_seen), "nothing brings a dead group back");

/// Whether a group of this state occupies a group slot of the firmware.
constexpr bool on_slot(GroupState state) {
    return state == GroupState::starting || state == GroupState::resident ||
           state == GroupState::suspending || state == GroupState::terminating;
}

/// Why a group can run no more. Once one is set it stays.
struct GroupDoom {
    std::uint32_t fatal_queues = 0;
    bool timed_out = false;
    bool destroyed = false;

    [[nodiscard]] bool any() const { return fatal_queues != 0 || timed_out || destroyed; }
};

/// Whose group it is, for those who are told of its end.
struct GroupOwner {
    std::int32_t pid = 0;  ///< of who opened the file
    std::string process{};
    std::uint32_t handle = 0;
};

/// What GROUP_CREATE asks for, checked as far as that needs no other object.
struct GroupOptions {
    std::shared_ptr<Vm> vm;
    bool user_submit = false;
    std::uint8_t priority = 0;
    std::vector<QueueOptions> queues;
    std::uint64_t compute_core_mask = 0;
    std::uint64_t fragment_core_mask = 0;
    std::uint64_t tiler_core_mask = 0;
    std::uint8_t max_compute_cores = 0;
    std::uint8_t max_fragment_cores = 0;
    std::uint8_t max_tiler_cores = 0;
    // User submission only; may be empty.
    base::Fd doorbell_eventfd;
    base::Fd sync_update_eventfd;  ///< rung when the group's streams have updated sync objects
    base::Fd group_state_eventfd;  ///< rung when state_flags() change
};

/// Links the groups that wait for a slot. A group that leaves that state leaves the list.
struct RunnableTag;
using RunnableHook =
    boost::intrusive::list_base_hook<boost::intrusive::tag<RunnableTag>,
                                     boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

/// Links the groups of whose end nobody has been told yet.
struct EndedTag;
using EndedHook =
    boost::intrusive::list_base_hook<boost::intrusive::tag<EndedTag>,
                                     boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

class Group final : public drm::Work,
                    public RunnableHook,
                    public EndedHook,
                    public std::enable_shared_from_this<Group> {
  public:
    static Result<std::shared_ptr<Group>> make(Device& device, GroupOptions options);
    explicit Group(Device& device, GroupOptions options, std::uint64_t serial);
    ~Group() override;
    Group(const Group&) = delete;
    Group& operator=(const Group&) = delete;

    /// Unique in the device and never used again; mmap offsets are made of it.
    [[nodiscard]] std::uint64_t serial() const { return serial_; }
    [[nodiscard]] GroupState state() const { return state_; }
    [[nodiscard]] bool user_submit() const { return options_.user_submit; }
    /// Whether somebody is to hear of each update of a sync object, always.
    [[nodiscard]] bool reports_sync_updates() const {
        return !options_.user_submit || options_.sync_update_eventfd;
    }
    [[nodiscard]] std::uint8_t priority() const { return options_.priority; }
    [[nodiscard]] Vm& vm() { return *options_.vm; }
    [[nodiscard]] const GroupOptions& options() const { return options_; }
    [[nodiscard]] const GroupDoom& doom() const { return doom_; }
    [[nodiscard]] bool can_run() const { return state_ != GroupState::dead && !doom_.any(); }
    [[nodiscard]] std::size_t queue_count() const { return queues_.size(); }
    [[nodiscard]] Queue& queue(std::size_t index) { return *queues_[index]; }
    [[nodiscard]] const uapi::belfry_group_get_fault& fault() const { return fault_; }
    /// As GROUP_GET_STATE reports it.
    [[nodiscard]] std::uint32_t state_flags() const;

    /// INSERT of some queue is beyond EXTRACT.
    [[nodiscard]] bool has_work() const;
    /// Something may have work: a kick, or a job in a ring. Looks at every queue.
    void work_seen();
    /// Something that a blocked group waits for has come, or can come no more.
    void advance() override;
    /// The group can run no more. The first reason's fault record is kept. Work ends with errors as soon as
    /// the group is off its slot.
    void end(const GroupDoom& why);
    void record_fault(const uapi::belfry_group_get_fault& fault);
    /// Memory of its VM was evicted and could not be brought back: all its queues fail with CS_RES_TERM.
    void memory_lost();

    /// Scheduler only: the state's one way to change.
    void step(GroupEvent event);
    /// Scheduler only: what the firmware says about the group's streams when it has acknowledged SUSPEND, and
    /// what memory says after that: a suspended_ event.
    [[nodiscard]] GroupEvent judge_suspended(const SlotBlocks& blocks);
    GroupOwner owner;                  // its file's
    std::optional<unsigned> slot;      // Scheduler's
    std::uint64_t runnable_since = 0;  // Scheduler's
    bool has_saved_state = false;      // Scheduler's: RESUME, not START
    bool kicked = false;               // while the firmware's answer was awaited

    [[nodiscard]] std::uint64_t suspend_buffer() const { return suspend_va_; }
    /// MCU addresses of a queue's input and output page.
    [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> io_addresses(std::size_t queue) const;
    /// Null for kernel-mode groups.
    [[nodiscard]] uapi::belfry_user_doorbell* doorbell_page();

    /// What mmap gives for the three offsets of a user queue.
    [[nodiscard]] int doorbell_fd() const { return doorbell_.fd.get(); }
    [[nodiscard]] int inputs_fd() const { return inputs_.fd.get(); }
    [[nodiscard]] int outputs_fd() const { return outputs_.fd.get(); }

    /// The firmware did not answer in time, whatever it was asked: fences do not wait for it any longer.
    void answer_overdue();
    drm::Timer answer_timer;

    void check_invariants() const;

  private:
    Result<void> allocate();
    void stop_waiting();
    void finish();
    void doom(const GroupDoom& why);
    void publish_state();
    void end_owned_sync_objects();

    Device& device_;
    GroupOptions options_;
    std::uint64_t serial_;
    GroupState state_ = GroupState::idle;
    GroupDoom doom_;
    uapi::belfry_group_get_fault fault_{};
    base::SharedMemory inputs_;    // a belfry_user_input a queue
    base::SharedMemory outputs_;   // a belfry_user_output a queue; clients cannot write it
    base::SharedMemory doorbell_;  // user submission only
    base::SharedMemory suspend_;
    std::uint64_t inputs_va_ = 0;  // MCU addresses
    std::uint64_t outputs_va_ = 0;
    std::uint64_t suspend_va_ = 0;
    std::vector<std::unique_ptr<Queue>> queues_;
    /// While blocked: what each queue waits for that has something to do.
    std::vector<std::optional<SyncWait>> waits_;
    bool line_added_ = false;
};

using EndedGroups = boost::intrusive::list<Group, boost::intrusive::base_hook<EndedHook>,
                                           boost::intrusive::constant_time_size<false>>;
using RunnableGroups = boost::intrusive::list<Group, boost::intrusive::base_hook<RunnableHook>,
                                              boost::intrusive::constant_time_size<false>>;

}  // namespace belfry::panthor
