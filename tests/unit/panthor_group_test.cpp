// Groups from creation to their end: slots, kicks, faults, silence of the firmware. Letters with a number are
// races of facts/firmware-and-scheduling.md, section 7, each forced in the order in which it bites.
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "unit/panthor_rig.hpp"

namespace belfry::panthor {
namespace {

using enum GroupState;
using enum GroupEvent;

// --- the table

constexpr GroupState kStates[] = {idle, blocked, runnable, starting, resident, suspending, terminating, dead};
constexpr GroupEvent kEvents[] = {work_seen,       slot_granted,      start_acked,    suspend_asked,
                                  suspended_idle,  suspended_blocked, suspended_busy, terminate_asked,
                                  terminate_acked, gave_up,           gpu_gone};

TEST(GroupTable, AllowsTheseStepsAndNoOthers) {
    struct Row {
        GroupState from;
        std::map<GroupEvent, GroupState> to;
    };
    // clang-format off
    const Row rows[] = {
        {idle,        {{work_seen, runnable}, {gave_up, dead}}},
        {blocked,     {{work_seen, runnable}, {gave_up, dead}}},
        {runnable,    {{slot_granted, starting}, {gave_up, dead}}},
        {starting,    {{start_acked, resident}, {gpu_gone, dead}}},
        {resident,    {{suspend_asked, suspending}, {terminate_asked, terminating}, {gpu_gone, dead}}},
        {suspending,  {{suspended_idle, idle}, {suspended_blocked, blocked}, {suspended_busy, runnable},
                       {gave_up, dead}, {terminate_asked, terminating}, {gpu_gone, dead}}},
        {terminating, {{terminate_acked, dead}, {gpu_gone, dead}}},
        {dead,        {}},
    };
    // clang-format on
    EXPECT_EQ(std::size(rows), std::size(kStates));
    for (const auto& [from, to] : rows)
        for (const GroupEvent event : kEvents)
            EXPECT_EQ(next(from, event), to.contains(event) ? std::optional(to.at(event)) : std::nullopt)
                << static_cast<int>(from) << " " << static_cast<int>(event);
}

TEST(GroupTable, TakesASlotByAGrantAndGivesItBackByAnAnswerOnly) {
    for (const GroupState from : kStates)
        for (const GroupEvent event : kEvents) {
            const auto to = next(from, event);
            if (!to || on_slot(from) == on_slot(*to)) continue;
            if (on_slot(*to))
                EXPECT_EQ(event, slot_granted);
            else
                EXPECT_TRUE(event == suspended_idle || event == suspended_blocked ||
                            event == suspended_busy || (from == suspending && event == gave_up) ||
                            event == terminate_acked || event == gpu_gone);
        }
}

// --- the rig of most tests

class Groups : public testing::Test {
  protected:
    /// A user group in a VM of its own that runs without end, on a slot.
    UserGroup& looping(Client& owner, std::uint8_t priority = PANTHOR_GROUP_PRIORITY_MEDIUM) {
        UserGroup& group = owner.user_group({.priority = priority, .vm = owner.create_vm()});
        group.queue(0).submit(loop_for_ever);
        EXPECT_EQ(group.kick(), 0);
        return group;
    }
    /// In the client's first VM, on a slot, with nothing to do.
    UserGroup& resident_group(const GroupSetup& setup = {}) {
        UserGroup& group = client.user_group(setup);
        group.queue(0).run([](W& w) { w.nop(); });
        EXPECT_TRUE(group.active());
        return group;
    }
    void submit_one(UserQueue& queue) {
        queue.submit([&](W& w) { add_one(w, done.va); });
    }

    Rig rig;
    Client& client = rig.open();
    Memory done = client.memory();
};

// --- kicks

TEST_F(Groups, AUserGroupHasNoSlotBeforeItsFirstKick) {
    UserGroup& group = client.user_group();
    submit_one(group.queue(0));
    rig.run_until_idle();
    EXPECT_EQ(rig.info().groups_on_slot, 0u);
    EXPECT_FALSE(group.active());
    EXPECT_EQ(done.u64(), 0u);

    EXPECT_EQ(group.kick(), 0);
    EXPECT_EQ(rig.info().groups_on_slot, 1u);
    EXPECT_FALSE(group.active());
    rig.run_until_idle();
    EXPECT_TRUE(group.active());
    EXPECT_EQ(done.u64(), 1u);
    EXPECT_TRUE(group.queue(0).drained());
}

TEST_F(Groups, OnASlotTheDoorbellSuffices) {
    UserGroup& group = resident_group();
    for (int i = 0; i < 3; ++i) {
        submit_one(group.queue(0));
        group.queue(0).ring();
        rig.run_gpu_until_idle();
    }
    EXPECT_EQ(done.u64(), 3u);
    EXPECT_FALSE(rig.host.line) << "nobody has to be told";
}

TEST_F(Groups, OneDoorbellServesAllQueues) {  // A10
    UserGroup& group = resident_group({.queues = 3});
    for (std::size_t i = 0; i < 3; ++i) submit_one(group.queue(i));
    group.queue(0).ring();
    rig.run_gpu_until_idle();
    EXPECT_EQ(done.u64(), 3u);
}

TEST_F(Groups, AKickOnASlotIsADoorbell) {  // A13
    UserGroup& group = resident_group();
    submit_one(group.queue(0));
    EXPECT_EQ(group.kick(), 0);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 1u);
}

TEST_F(Groups, ASpuriousKickOfAnEmptyGroupTakesNoSlot) {
    UserGroup& group = client.user_group();
    EXPECT_EQ(group.kick(), 0);
    EXPECT_EQ(group.kick(~0U), 0);
    rig.run_until_idle();
    EXPECT_EQ(rig.info().groups_on_slot, 0u);
    EXPECT_EQ(rig.info().groups_waiting, 0u);
}

TEST_F(Groups, AKickFindsTheWorkWhateverItsMask) {  // C6
    for (const std::uint32_t mask : {0U, 1U, 1U << 7, 1U << 31}) {
        UserGroup& group = client.user_group({.queues = 2});
        submit_one(group.queue(1));
        EXPECT_EQ(group.kick(mask), 0);
        rig.run_until_idle();
        EXPECT_TRUE(group.queue(1).drained()) << mask;
        EXPECT_EQ(group.destroy(), 0);
        rig.run_until_idle();
    }
    EXPECT_EQ(done.u64(), 4u);
}

TEST_F(Groups, WorkKickedWhileTheGroupStartsIsSeenByTheStart) {
    UserGroup& group = client.user_group();
    submit_one(group.queue(0));
    EXPECT_EQ(group.kick(), 0);
    submit_one(group.queue(0));
    EXPECT_EQ(group.kick(), 0);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 2u);
}

TEST_F(Groups, AKickBetweenStartAndItsAnswerIsRungAfterTheAnswer) {  // C3
    UserGroup& group = client.user_group();
    submit_one(group.queue(0));
    EXPECT_EQ(group.kick(), 0);
    rig.run_gpu_until_idle();  // has started, run and looked for more; the driver has not heard of it
    EXPECT_EQ(done.u64(), 1u);
    submit_one(group.queue(0));
    EXPECT_EQ(group.kick(), 0);
    rig.run_gpu_until_idle();
    EXPECT_EQ(done.u64(), 1u);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 2u);
}

TEST_F(Groups, AKickOfADeadGroupIsHarmless) {  // C4
    UserGroup& group = client.user_group();
    group.queue(0).run([](W& w) { w.word(kBadWord); });
    EXPECT_EQ(group.state().state, DRM_PANTHOR_GROUP_STATE_FATAL_FAULT);
    submit_one(group.queue(0));
    EXPECT_EQ(group.kick(), 0);
    rig.run_until_idle();
    EXPECT_EQ(rig.info().groups_on_slot, 0u);
    EXPECT_EQ(done.u64(), 0u);
    EXPECT_EQ(group.destroy(), 0);
    EXPECT_EQ(group.kick(), 0);
    EXPECT_EQ(rig.info().groups, 0u);
}

TEST_F(Groups, AKickOfAnEndingGroupIsHarmless) {
    UserGroup& group = looping(client);
    rig.run(2);
    Client& other = rig.open();
    EXPECT_EQ(other.kick(group.handle()), 0) << "another file's handles";
    Group* const ending = rig.on_slot(0);
    ending->end({.timed_out = true});
    EXPECT_EQ(ending->state(), terminating);
    EXPECT_EQ(group.kick(), 0);
    rig.run_until_idle();
    EXPECT_EQ(rig.info().groups_on_slot, 0u);
}

TEST_F(Groups, AKickOfAKernelModeGroupWithoutJobsDoesNothing) {
    EXPECT_EQ(client.kick(client.kernel_group().handle()), 0);
    EXPECT_EQ(rig.info().groups_on_slot, 0u);
}

TEST_F(Groups, AKickStormIsOneStart) {  // C12
    UserGroup& group = client.user_group();
    submit_one(group.queue(0));
    for (int i = 0; i < 1000; ++i) EXPECT_EQ(group.kick(), 0);
    EXPECT_EQ(rig.info().groups_on_slot, 1u);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 1u);
}

// --- slots

TEST_F(Groups, AGroupThatFindsNoSlotGetsTheNextThatIsFree) {
    for (int i = 0; i < 4; ++i) {
        looping(client);
        UserGroup& sharing = client.user_group({.vm = client.vm()});
        sharing.queue(0).submit(loop_for_ever);
        EXPECT_EQ(sharing.kick(), 0);
    }
    rig.run(10);
    EXPECT_EQ(rig.info().groups_on_slot, 8u);
    UserGroup& ninth = client.user_group();
    submit_one(ninth.queue(0));
    EXPECT_EQ(ninth.kick(), 0);
    rig.run(50);
    EXPECT_EQ(rig.info().groups_waiting, 1u);
    EXPECT_FALSE(ninth.active());
    EXPECT_EQ(done.u64(), 0u);

    EXPECT_EQ(client.group_destroy(3), 0);
    EXPECT_EQ(rig.info().groups_waiting, 1u) << "the GPU has not let go of the slot";
    rig.run(50);
    EXPECT_EQ(rig.info().groups_waiting, 0u);
    EXPECT_TRUE(ninth.active());
    EXPECT_EQ(done.u64(), 1u);
}

/// One slot, which somebody sits on.
class OneSlot : public testing::Test {
  protected:
    OneSlot() {
        holder.queue(0).submit(loop_for_ever);
        EXPECT_EQ(holder.kick(), 0);
        rig.run(3);
    }
    UserGroup& waiting(std::uint8_t priority) {
        UserGroup& group = client.user_group({.priority = priority});
        group.queue(0).submit(loop_for_ever);
        EXPECT_EQ(group.kick(), 0);
        return group;
    }

    Rig rig{{.group_slots = 1, .streams_per_group = 4}};
    Client& client = rig.open();
    UserGroup& holder = client.user_group({.queues = 4});
};

TEST_F(OneSlot, GoesToHigherPriorityFirstThenByArrival) {
    UserGroup& low = waiting(PANTHOR_GROUP_PRIORITY_LOW);
    UserGroup& first = waiting(PANTHOR_GROUP_PRIORITY_MEDIUM);
    UserGroup& second = waiting(PANTHOR_GROUP_PRIORITY_MEDIUM);
    EXPECT_EQ(rig.info().groups_waiting, 3u);
    UserGroup* last = &holder;
    for (UserGroup* const next : {&first, &second, &low}) {
        EXPECT_EQ(last->destroy(), 0);
        rig.run(5);
        EXPECT_TRUE(next->active());
        last = next;
    }
}

TEST_F(OneSlot, IsNotGivenToAGroupThatWasDestroyedWhileItWaited) {
    UserGroup& gone = waiting(PANTHOR_GROUP_PRIORITY_MEDIUM);
    UserGroup& next = waiting(PANTHOR_GROUP_PRIORITY_MEDIUM);
    EXPECT_EQ(gone.destroy(), 0);
    EXPECT_EQ(rig.info().groups_waiting, 1u);
    EXPECT_EQ(rig.info().groups, 2u);
    EXPECT_EQ(holder.destroy(), 0);
    rig.run(5);
    EXPECT_FALSE(gone.active());
    EXPECT_TRUE(next.active());
}

TEST_F(OneSlot, LeavesNoStreamsOfTheLastGroupToTheNext) {  // B14
    for (std::size_t i = 0; i < 4; ++i) holder.queue(i).submit(loop_for_ever);
    holder.queue(0).ring();
    rig.run(5);
    for (unsigned i = 0; i < 4; ++i) EXPECT_TRUE(rig.stream(0, i).started());
    UserGroup& next = client.user_group({.queues = 2});
    next.queue(1).submit(loop_for_ever);
    EXPECT_EQ(next.kick(), 0);
    EXPECT_EQ(holder.destroy(), 0);
    rig.run(5);
    EXPECT_TRUE(rig.stream(0, 0).started());
    EXPECT_TRUE(rig.stream(0, 1).started());
    EXPECT_FALSE(rig.stream(0, 2).started());
    EXPECT_FALSE(rig.stream(0, 3).started());
    EXPECT_EQ(next.state().state, 0u);
}

TEST_F(OneSlot, GivesTheDoorbellToTheGroupThatSitsOnIt) {
    UserGroup& next = client.user_group();
    next.queue(0).submit([](W& w) { w.nop(); });
    EXPECT_EQ(next.kick(), 0);
    EXPECT_EQ(holder.destroy(), 0);
    rig.run_until_idle();
    holder.queue(0).ring();
    rig.run_until_idle();
    EXPECT_EQ(holder.queue(0).doorbell().doorbell, 1u) << "nobody reads it any more";
    next.queue(0).ring();
    rig.run_until_idle();
    EXPECT_EQ(next.queue(0).doorbell().doorbell, 0u);
}

TEST_F(OneSlot, IsFreeOfEventsOfTheLastGroup) {  // B11
    // The last group's fault, its end and the next one's start lie in one interrupt, in each order of the
    // driver's looks and the GPU's writes that a register access parts.
    for (const gpu::Reg at : {gpu::Reg::mmu_int_stat, gpu::Reg::job_int_stat}) {
        UserGroup& bad = client.user_group({.vm = client.create_vm()});
        bad.queue(0).submit([](W& w) { w.word(kBadWord); });
        UserGroup& next = client.user_group({.vm = client.create_vm()});
        next.queue(0).submit(loop_for_ever);
        EXPECT_EQ(bad.kick(), 0);
        EXPECT_EQ(next.kick(), 0);
        EXPECT_EQ(client.group_destroy(holder.handle()), 0);
        rig.step_gpu();
        rig.wires.on_read = [&](gpu::Reg reg) {
            if (reg == at) rig.step_gpu();
        };
        for (int i = 0; i < 20; ++i) {
            rig.host.line = true;
            rig.deliver_interrupt();
        }
        rig.wires.on_read = nullptr;
        EXPECT_TRUE(next.active());
        EXPECT_EQ(bad.fault().exception, static_cast<unsigned>(csf::Exception::cs_instr_invalid));
        EXPECT_EQ(next.state().state, 0u);
        EXPECT_EQ(next.fault().flags, 0u);
        EXPECT_EQ(next.destroy(), 0);
        rig.run_until_idle();
        UserGroup& again = client.user_group();
        again.queue(0).submit(loop_for_ever);
        EXPECT_EQ(again.kick(), 0);
        rig.run(3);
        EXPECT_EQ(again.handle(), holder.handle());
    }
}

TEST_F(OneSlot, IsFreeOfPageFaultsOfTheLastGroup) {  // B11, F10
    EXPECT_EQ(holder.destroy(), 0);
    rig.run_until_idle();
    UserGroup& bad = client.user_group({.ring_bytes = 16384, .vm = client.create_vm()});
    bad.queue(0).submit([](W& w) {
        for (unsigned i = 0; i < gpu::kSliceInstructions + 100; ++i) w.nop();
        load(w, 0x10);
    });
    EXPECT_EQ(bad.kick(), 0);
    rig.run(1);  // started, and one slice of the way to its fault
    UserGroup& next = client.user_group({.vm = client.create_vm()});
    next.queue(0).submit(loop_for_ever);
    EXPECT_EQ(next.kick(), 0);
    rig.wires.firmware_deaf = true;  // TERMINATE comes a little late
    EXPECT_EQ(bad.destroy(), 0);

    // Between the driver's looks at the two interrupts the stream faults, and then TERMINATE is answered: the
    // next VM has the address space when the fault is read.
    bool raced = false;
    rig.wires.on_read = [&](gpu::Reg reg) {
        if (reg != gpu::Reg::job_int_stat || std::exchange(raced, true)) return;
        rig.step_gpu();
        rig.wires.firmware_deaf = false;
        rig.gpu.write(gpu::doorbell_reg(0), 1);
        rig.step_gpu();
    };
    rig.host.line = true;
    rig.deliver_interrupt();
    EXPECT_TRUE(raced);
    rig.wires.on_read = nullptr;
    rig.run(10);
    EXPECT_TRUE(next.active());
    EXPECT_EQ(next.state().state, 0u);
    EXPECT_EQ(next.fault().flags, 0u);
}

// --- address spaces

TEST_F(Groups, OnAllSlotsMayEachHaveAnAddressSpace) {
    Rig wide{{.group_slots = 15, .streams_per_group = 2}};
    Client& owner = wide.open();
    for (int i = 0; i < 15; ++i) looping(owner);
    wide.run(20);
    EXPECT_EQ(wide.info().groups_on_slot, 15u) << "address space 0 is the firmware's";
}

TEST_F(Groups, AnAddressSpaceThatIsStillBusyWhenItsVmLeavesIsGivenAwayAfterwards) {
    Rig wide{{.group_slots = 15, .streams_per_group = 2}};
    Client& owner = wide.open();
    std::vector<UserGroup*> groups;
    for (int i = 0; i < 15; ++i) groups.push_back(&looping(owner));
    wide.run(20);
    constexpr std::uint32_t kFirstVm = 1;
    const Memory first = owner.memory(kFirstVm);
    const Memory second = owner.memory(kFirstVm);
    UserGroup& waiting = looping(owner);
    wide.run(20);
    EXPECT_EQ(wide.info().groups_waiting, 1u);
    owner.unmap(first, kFirstVm);
    owner.unmap(second, kFirstVm);  // its flush begins when the first one's end is known, as is the group's
    EXPECT_EQ(groups[0]->destroy(), 0);
    wide.step_gpu();
    wide.deliver_interrupt();
    EXPECT_EQ(wide.info().groups_on_slot, 14u);
    EXPECT_EQ(wide.info().groups_waiting, 1u);
    wide.run(20);
    EXPECT_TRUE(waiting.active());
}

TEST_F(Groups, GroupsOfOneVmShareItsAddressSpace) {
    for (int i = 0; i < 8; ++i) {
        UserGroup& group = client.user_group();
        submit_one(group.queue(0));
        EXPECT_EQ(group.kick(), 0);
    }
    rig.run_until_idle();
    EXPECT_EQ(rig.info().groups_on_slot, 8u);
    EXPECT_EQ(done.u64(), 8u);
}

TEST_F(Groups, AVmThatComesBackToAnAddressSpaceSeesItsMemoryAsItIsNow) {
    const Memory before = client.memory();
    const Memory after = client.memory();
    UserGroup& first = client.user_group();
    first.queue(0).run([&](W& w) { store(w, before.va, 1); });
    EXPECT_EQ(first.destroy(), 0);
    rig.run_until_idle();
    // Off the GPU: no flush, and answered at once.
    EXPECT_EQ(client.bind(client.vm(), {Client::map_op(after.handle, before.va, kPage)})->answer(), 0);
    client.user_group().queue(0).run([&](W& w) { store(w, before.va, 2); });
    EXPECT_EQ(before.as<std::uint32_t>(), 1u);
    EXPECT_EQ(after.as<std::uint32_t>(), 2u);
}

// --- the end

TEST_F(Groups, AGroupEndedWhileItStartsIsTerminatedAfterTheAnswer) {  // G6
    UserGroup& group = client.user_group();
    group.queue(0).submit(loop_for_ever);
    EXPECT_EQ(group.kick(), 0);
    EXPECT_EQ(group.destroy(), 0);
    ASSERT_NE(rig.on_slot(0), nullptr);
    EXPECT_EQ(rig.on_slot(0)->state(), starting);
    rig.step_gpu();
    EXPECT_TRUE(group.active());
    rig.deliver_interrupt();
    EXPECT_EQ(rig.on_slot(0)->state(), terminating);
    rig.step_gpu();
    EXPECT_FALSE(group.active());
    rig.deliver_interrupt();
    EXPECT_EQ(rig.on_slot(0), nullptr);
    EXPECT_EQ(rig.info().groups, 0u);
    rig.run_until_idle();
}

/// How many memfds of this name are open in this process.
std::size_t open_memory(const std::string& name) {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code gone;
        const auto target = std::filesystem::read_symlink(entry.path(), gone);
        if (!gone && target.string().starts_with("/memfd:" + name + " ")) ++count;
    }
    return count;
}

TEST_F(Groups, ADestroyedGroupsPagesStayUntilTheGpuHasLetGo) {  // G2
    UserGroup& group = looping(client);
    rig.run(3);
    const auto before = rig.info();
    EXPECT_EQ(group.destroy(), 0);
    const char* const names[] = {"belfry-user-input", "belfry-user-output", "belfry-suspend"};
    const auto expect_all = [&](std::size_t count, const char* when) {
        for (const char* const name : names) EXPECT_EQ(open_memory(name), count) << name << " " << when;
    };
    EXPECT_EQ(rig.info().groups, 1u);
    EXPECT_EQ(rig.info().buffers, before.buffers);
    expect_all(1, "when asked to end");
    rig.step_gpu();
    EXPECT_EQ(rig.info().buffers, before.buffers);
    expect_all(1, "before the driver knows the answer");
    rig.deliver_interrupt();
    EXPECT_EQ(rig.info().groups, 0u);
    EXPECT_EQ(rig.info().buffers, before.buffers - 1);  // the ring
    expect_all(1, "before the firmware's address space is flushed");
    rig.run_until_idle();
    expect_all(0, "at last");
}

TEST_F(Groups, ADestroyedGroupRunsUntilTheGpuHearsOfIt) {
    UserGroup& group = client.user_group();
    group.queue(0).submit([&](W& w) { store_for_ever(w, done.va); });
    EXPECT_EQ(group.kick(), 0);
    rig.wires.firmware_deaf = false;
    rig.run(2);
    done.u64() = 0;
    rig.wires.firmware_deaf = true;
    EXPECT_EQ(group.destroy(), 0);
    rig.run(5);
    EXPECT_EQ(done.u64(), 1u);
    rig.gpu.write(gpu::doorbell_reg(0), 1);  // it was only late
    rig.wires.firmware_deaf = false;
    rig.run_until_idle();
    done.u64() = 0;
    rig.run(5);
    EXPECT_EQ(done.u64(), 0u);
    EXPECT_EQ(rig.info().groups, 0u);
}

TEST_F(Groups, TheOutputPageTellsHowAGroupEnded) {
    UserGroup& destroyed = client.user_group();
    UserGroup& faulty = client.user_group();
    UserGroup& late = looping(client);
    rig.run(3);
    EXPECT_EQ(destroyed.queue(0).output().group_state, 0u);
    EXPECT_EQ(destroyed.destroy(), 0);
    EXPECT_EQ(destroyed.queue(0).output().group_state, BELFRY_GROUP_STATE_DESTROYED);
    faulty.queue(0).submit([](W& w) { w.word(kBadWord); });
    EXPECT_EQ(faulty.kick(), 0);
    rig.run(5);
    EXPECT_EQ(faulty.queue(0).output().group_state, std::uint32_t{DRM_PANTHOR_GROUP_STATE_FATAL_FAULT});
    EXPECT_EQ(late.queue(0).output().group_state, 0u);
    EXPECT_EQ(faulty.destroy(), 0);
    EXPECT_EQ(faulty.queue(0).output().group_state,
              DRM_PANTHOR_GROUP_STATE_FATAL_FAULT | BELFRY_GROUP_STATE_DESTROYED);
}

/// Shared futexes, as clients use them.
long futex(const std::uint32_t* word, int operation, std::uint32_t value,
           const void* timeout_or_count = nullptr, const void* to = nullptr) {
    return ::syscall(SYS_futex, word, operation, value, timeout_or_count, to, 0);
}

TEST_F(Groups, AProgramThatSleepsOnExtractWakesWhenItsGroupEnds) {
    UserGroup& group = looping(client);
    rig.run(3);
    const auto* const extract = reinterpret_cast<const std::uint32_t*>(&group.queue(0).output().extract);
    const std::uint32_t seen = base::load(*extract, base::kAcquire);
    long slept = -1;
    std::thread program([&] {
        const timespec limit{.tv_sec = 20, .tv_nsec = 0};  // only if it fails
        slept = futex(extract, FUTEX_WAIT, seen, &limit);
    });
    // Moves a sleeper from EXTRACT to EXTRACT, and so tells when there is one: its sleep comes before the
    // group's end without anybody waiting for time to pass.
    while (futex(extract, FUTEX_REQUEUE, 0, reinterpret_cast<const void*>(1L), extract) == 0)
        std::this_thread::yield();
    EXPECT_EQ(group.destroy(), 0);
    program.join();
    EXPECT_EQ(slept, 0);
}

// --- faults

TEST_F(Groups, AReadOfNothingEndsTheGroupAndIsNamed) {
    UserGroup& group = client.user_group({.queues = 2});
    group.queue(1).submit([](W& w) {
        w.nop();
        load(w, 0xabc000);
    });
    EXPECT_EQ(group.kick(), 0);
    rig.run_until_idle();
    const auto fault = group.fault();
    EXPECT_EQ(fault.flags, BELFRY_FAULT_VALID | BELFRY_FAULT_QUEUE | BELFRY_FAULT_MMU);
    EXPECT_EQ(fault.queue, 1u);
    EXPECT_EQ(fault.address, 0xabc000u);
    EXPECT_EQ(fault.access, static_cast<unsigned>(gpu::Access::read));
    EXPECT_EQ(csf::name(static_cast<csf::Exception>(fault.exception)).substr(0, 18), "TRANSLATION_FAULT_");
    std::uint64_t words[4];
    W expected(words);
    load(expected, 0xabc000);
    EXPECT_EQ(fault.instruction, words[1]);
    EXPECT_EQ(fault.cmd_ptr % kPage, 16u);
    EXPECT_EQ(group.state().state, DRM_PANTHOR_GROUP_STATE_FATAL_FAULT);
    EXPECT_EQ(group.state().fatal_queues, 3u);
    EXPECT_EQ(rig.info().groups_on_slot, 0u);
    EXPECT_FALSE(group.active());
}

TEST_F(Groups, ThatEndsByAPageFaultSaysSoWhenTheCauseIsKnown) {
    UserGroup& group = client.user_group({.queues = 2});
    // The driver hears of each stream's end before the next one ends.
    rig.host.on_interrupt = [&] {
        rig.deliver_interrupt();
        if (group.queue(0).output().group_state != 0) {
            EXPECT_NE(group.fault().flags & BELFRY_FAULT_QUEUE, 0U);
        }
    };
    group.queue(1).submit([](W& w) { load(w, 0xabc000); });
    EXPECT_EQ(group.kick(), 0);
    rig.run_until_idle();
    rig.host.on_interrupt = nullptr;
    EXPECT_EQ(group.fault().queue, 1U);
}

TEST_F(Groups, AWriteToReadOnlyMemoryIsNamedAsAWrite) {
    const std::uint32_t bo = client.bo();
    auto map = Client::map_op(bo, 0x5000, kPage);
    map.flags |= DRM_PANTHOR_VM_BIND_OP_MAP_READONLY;
    EXPECT_EQ(client.bind(client.vm(), {map})->answer(), 0);
    UserGroup& group = client.user_group();
    group.queue(0).run([](W& w) { load(w, 0x5000), store(w, 0x5008, 1); });
    EXPECT_EQ(group.fault().access, static_cast<unsigned>(gpu::Access::write));
    EXPECT_EQ(group.fault().address, 0x5008u);
    EXPECT_EQ(group.fault().exception, static_cast<unsigned>(csf::Exception::perm_fault_3));
}

TEST_F(Groups, ABadInstructionEndsTheGroupAndIsNamed) {
    UserGroup& group = client.user_group({.queues = 2});
    group.queue(1).submit([](W& w) { w.nop().nop().word(kBadWord); });
    EXPECT_EQ(group.kick(), 0);
    rig.run_until_idle();
    const auto fault = group.fault();
    EXPECT_EQ(fault.flags, BELFRY_FAULT_VALID | BELFRY_FAULT_QUEUE);
    EXPECT_EQ(fault.queue, 1u);
    EXPECT_EQ(fault.exception, static_cast<unsigned>(csf::Exception::cs_instr_invalid));
    EXPECT_EQ(fault.instruction, kBadWord);
    EXPECT_EQ(fault.info, kBadWord);
    EXPECT_EQ(fault.cmd_ptr % kPage, 16u);
    EXPECT_EQ(fault.address, 0u);
    EXPECT_EQ(group.state().fatal_queues, 2u);
}

TEST_F(Groups, AnInsaneInsertEndsTheGroup) {  // A6
    for (const std::uint64_t insert : {4ULL, 4096ULL + 8, ~0ULL - 7, 1ULL << 63}) {
        UserGroup& group = client.user_group();
        group.queue(0).input().insert = insert;
        EXPECT_EQ(group.kick(), 0);
        rig.run_until_idle();
        EXPECT_EQ(group.fault().exception, static_cast<unsigned>(csf::Exception::cs_config_fault)) << insert;
        EXPECT_EQ(group.fault().info, insert);
        EXPECT_EQ(group.state().state, DRM_PANTHOR_GROUP_STATE_FATAL_FAULT);
    }
}

TEST_F(Groups, AForgedExtractInitHarmsItsOwnGroupOnly) {  // H1
    UserGroup& group = client.user_group();
    UserGroup& other = resident_group();
    group.queue(0).input().extract_init = ~0ULL - 7;
    submit_one(group.queue(0));
    EXPECT_EQ(group.kick(), 0);
    rig.run_until_idle();
    EXPECT_TRUE(group.state().state != 0 || group.queue(0).output().extract == group.queue(0).input().insert);
    submit_one(other.queue(0));
    other.queue(0).tell();
    rig.run_until_idle();
    EXPECT_TRUE(other.queue(0).drained());
}

TEST_F(Groups, OfOtherVmsGoOnThroughAFault) {
    Client& victim = rig.open();
    const Memory counter = victim.memory();
    UserGroup& healthy = victim.user_group();
    healthy.queue(0).run([&](W& w) { add_one(w, counter.va); });
    client.user_group().queue(0).run([](W& w) { load(w, 0x10); });
    client.user_group({.vm = client.create_vm()}).queue(0).run([](W& w) { w.word(kBadWord); });
    healthy.queue(0).run([&](W& w) { add_one(w, counter.va); });
    EXPECT_EQ(counter.u64(), 2u);
    EXPECT_EQ(healthy.state().state, 0u);
    EXPECT_EQ(healthy.fault().flags, 0u);
}

TEST_F(Groups, ALaterFaultDoesNotOverwriteTheFirst) {
    UserGroup& group = resident_group({.queues = 2});
    group.queue(0).submit([](W& w) { w.word(kBadWord); });
    group.queue(0).ring();
    rig.run_gpu_until_idle();
    group.queue(1).submit([](W& w) { w.word(kBadWord | 1); });
    group.queue(1).ring();
    rig.deliver_interrupt();
    rig.run_until_idle();
    EXPECT_EQ(group.fault().queue, 0u);
    EXPECT_EQ(group.fault().instruction, kBadWord);
}

TEST_F(Groups, ALaterReadOfNothingDoesNotHideABadInstruction) {
    // Both before the driver hears of either; and while the address space is busy with its first command, so
    // that the group has left before that can be disabled.
    UserGroup& group = client.user_group({.queues = 2});
    group.queue(0).submit([](W& w) { w.word(kBadWord); });
    group.queue(1).submit([](W& w) { load(w, 0x10); });
    EXPECT_EQ(group.kick(), 0);
    rig.run_gpu_until_idle();
    rig.run_until_idle();
    EXPECT_EQ(group.fault().flags, BELFRY_FAULT_VALID | BELFRY_FAULT_QUEUE);
    EXPECT_EQ(group.fault().exception, static_cast<unsigned>(csf::Exception::cs_instr_invalid));
    EXPECT_EQ(group.fault().queue, 0u);
}

TEST_F(Groups, OfTwoReadsOfNothingTheFirstIsNamed) {
    UserGroup& group = client.user_group({.queues = 2});
    group.queue(0).submit([](W& w) { load(w, 0x1000); });
    group.queue(1).submit([](W& w) { load(w, 0x2000); });
    EXPECT_EQ(group.kick(), 0);
    rig.run_gpu_until_idle();
    rig.run_until_idle();
    const auto fault = group.fault();
    EXPECT_EQ(fault.flags, BELFRY_FAULT_VALID | BELFRY_FAULT_QUEUE | BELFRY_FAULT_MMU);
    EXPECT_EQ(fault.address, fault.queue == 0 ? 0x1000u : 0x2000u);
    EXPECT_EQ(fault.info, fault.address);
}

TEST_F(Groups, ABadInstructionInAVmThatFaultsIsStillNamedAsItself) {
    UserGroup& reader = resident_group();
    UserGroup& bad = resident_group();
    reader.queue(0).submit([](W& w) { load(w, 0x1000); });
    reader.queue(0).ring();
    bad.queue(0).submit([](W& w) { w.word(kBadWord); });
    bad.queue(0).ring();
    rig.run_gpu_until_idle();  // both, before the driver hears of either
    rig.run_until_idle();
    EXPECT_EQ(reader.fault().address, 0x1000u);
    EXPECT_EQ(reader.fault().flags, BELFRY_FAULT_VALID | BELFRY_FAULT_QUEUE | BELFRY_FAULT_MMU);
    EXPECT_EQ(bad.fault().flags, BELFRY_FAULT_VALID | BELFRY_FAULT_QUEUE);
    EXPECT_EQ(bad.fault().instruction, kBadWord);
}

TEST_F(Groups, SharingAVmThatFaultsEndWithItAndNameNoQueue) {
    UserGroup& sharing = resident_group({.queues = 2});
    UserGroup& culprit = client.user_group();
    culprit.queue(0).run([](W& w) { load(w, 0x7000); });
    EXPECT_EQ(culprit.fault().flags, BELFRY_FAULT_VALID | BELFRY_FAULT_QUEUE | BELFRY_FAULT_MMU);
    const auto fault = sharing.fault();
    EXPECT_EQ(fault.flags, BELFRY_FAULT_VALID | BELFRY_FAULT_MMU);
    EXPECT_EQ(fault.address, 0x7000u);
    EXPECT_EQ(fault.cmd_ptr, 0u);
    EXPECT_EQ(sharing.state().fatal_queues, 3u);
    EXPECT_EQ(rig.info().groups_on_slot, 0u);
}

TEST_F(Groups, NewOnesWorkInAVmThatHasFaulted) {
    client.user_group().queue(0).run([](W& w) { load(w, 0x7000); });
    UserGroup& group = client.user_group();
    submit_one(group.queue(0));
    EXPECT_EQ(group.kick(), 0);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 1u);
    EXPECT_EQ(group.state().state, 0u);
}

TEST_F(Groups, NewOnesWaitUntilTheirVmsFaultIsOver) {
    // Kicked after each step between a fault and the end of the group that made it.
    for (unsigned steps = 0; steps < 6; ++steps) {
        UserGroup& culprit = client.user_group();
        culprit.queue(0).submit([](W& w) { load(w, 0x7000); });
        EXPECT_EQ(culprit.kick(), 0);
        rig.run_gpu_until_idle();
        rig.deliver_interrupt();
        for (unsigned i = 0; i < steps; ++i) {
            rig.step_gpu();
            rig.deliver_interrupt();
        }
        UserGroup& group = client.user_group();
        submit_one(group.queue(0));
        EXPECT_EQ(group.kick(), 0);
        rig.run_until_idle();
        EXPECT_EQ(group.state().state, 0u) << steps;
        EXPECT_TRUE(group.queue(0).drained()) << steps;
        EXPECT_EQ(culprit.fault().address, 0x7000u);
        EXPECT_EQ(culprit.destroy(), 0);
        EXPECT_EQ(group.destroy(), 0);
        rig.run_until_idle();
    }
    EXPECT_EQ(rig.info().groups, 0u);
}

TEST_F(Groups, AFaultOfADestroyedGroupIsNobodysAndItsVmGoesOn) {
    UserGroup& culprit = client.user_group();
    culprit.queue(0).submit([](W& w) { load(w, 0x7000); });
    EXPECT_EQ(culprit.kick(), 0);
    rig.run_gpu_until_idle();
    EXPECT_EQ(culprit.destroy(), 0);
    rig.run_until_idle();
    EXPECT_EQ(rig.info().groups, 0u);
    UserGroup& group = client.user_group();
    submit_one(group.queue(0));
    EXPECT_EQ(group.kick(), 0);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 1u);
    EXPECT_EQ(group.fault().flags, 0u);
}

TEST_F(Groups, AFaultWhileAFlushIsUnderWayEndsOnlyThoseThatWereThere) {
    // The culprit leaves while the driver still waits to disable its address space; the next group of that VM
    // gets another one, and must not be ended by what was meant for the first.
    UserGroup& culprit = resident_group();
    const Memory unmapped = client.memory();
    const auto unmapping = client.unmap(unmapped);  // the flush is under way
    EXPECT_FALSE(unmapping->answered());
    culprit.queue(0).submit([](W& w) { load(w, 0x7000); });
    culprit.queue(0).ring();
    rig.run_gpu_until_idle();
    rig.deliver_interrupt();
    EXPECT_TRUE(unmapping->answered());
    EXPECT_EQ(culprit.destroy(), 0);
    UserGroup& next = client.user_group();
    submit_one(next.queue(0));
    EXPECT_EQ(next.kick(), 0);
    rig.run_until_idle();
    EXPECT_EQ(next.state().state, 0u);
    EXPECT_EQ(done.u64(), 1u);
    EXPECT_EQ(rig.info().groups, 1u);
}

// --- a firmware that does not answer

class DeafFirmware : public Groups {
  protected:
    KernelGroup& group = client.kernel_group();
    std::uint32_t end = client.syncobj();
};

TEST_F(DeafFirmware, StartThatIsNotAnsweredTimesFencesOutAndFreesNothing) {
    const Stream stream = client.stream([](W& w) { w.nop(); });
    rig.wires.firmware_deaf = true;
    const auto before = rig.info();
    ASSERT_EQ(group.submit({{.stream = stream, .syncs = {signal_op(end)}}}), 0);
    rig.run(5);
    rig.advance(4999ms);
    EXPECT_EQ(client.fence_status(end), 0);
    rig.advance(1ms);
    EXPECT_EQ(client.fence_status(end), -ETIMEDOUT);
    EXPECT_EQ(group.state().state, DRM_PANTHOR_GROUP_STATE_TIMEDOUT);
    EXPECT_EQ(group.destroy(), 0);
    rig.run(5);
    rig.advance(1h);
    EXPECT_EQ(rig.info().groups, 1u);
    EXPECT_EQ(rig.info().groups_on_slot, 1u);
    EXPECT_EQ(rig.info().buffers, before.buffers);
}

TEST_F(DeafFirmware, TerminateThatIsNotAnsweredTimesFencesOutAndFreesNothing) {
    ASSERT_EQ(group.submit({{.stream = client.stream(loop_for_ever), .syncs = {signal_op(end)}}}), 0);
    rig.run(5);
    rig.wires.firmware_deaf = true;
    const auto before = rig.info();
    EXPECT_EQ(group.destroy(), 0);
    rig.run(5);
    rig.advance(4999ms);
    EXPECT_EQ(client.fence_status(end), 0);
    rig.advance(1ms);
    EXPECT_EQ(client.fence_status(end), -ETIMEDOUT);
    rig.run(5);
    EXPECT_EQ(rig.info().groups_on_slot, 1u);
    EXPECT_EQ(rig.info().buffers, before.buffers);
}

TEST_F(DeafFirmware, AnAnswerThatComesTooLateStillFreesTheGroup) {
    const Stream loop = client.stream(loop_for_ever);
    rig.wires.firmware_deaf = true;
    ASSERT_EQ(group.submit({{.stream = loop, .syncs = {signal_op(end)}}}), 0);
    rig.run(5);
    rig.advance(6s);
    EXPECT_EQ(client.fence_status(end), -ETIMEDOUT);
    rig.wires.firmware_deaf = false;
    rig.gpu.write(gpu::doorbell_reg(0), 1);
    rig.run_until_idle();  // START is answered, TERMINATE asked and answered
    EXPECT_EQ(rig.info().groups_on_slot, 0u);
    EXPECT_EQ(group.destroy(), 0);
    rig.run_until_idle();
    EXPECT_EQ(rig.info().groups, 0u);
}

TEST_F(Groups, AnAnswerThatComesAsItsTimeIsUpCounts) {  // E5
    KernelGroup& group = client.kernel_group();
    const std::uint32_t end = client.syncobj();
    ASSERT_EQ(group.submit({{.stream = client.stream(loop_for_ever), .syncs = {signal_op(end)}}}), 0);
    rig.step_gpu();  // START is answered, and its interrupt not delivered
    rig.advance(4s);
    UserGroup& user = client.user_group();
    submit_one(user.queue(0));
    EXPECT_EQ(user.kick(), 0);
    rig.step_gpu(2);
    rig.advance(5s);
    EXPECT_EQ(user.state().state, 0u);
    rig.run(5);
    EXPECT_TRUE(user.active());
    EXPECT_EQ(done.u64(), 1u);
}

TEST_F(Groups, TheEndThatIsAnsweredAsItsTimeIsUpCounts) {  // E5
    UserGroup& group = looping(client);
    rig.run(3);
    EXPECT_EQ(group.destroy(), 0);
    rig.step_gpu();
    rig.advance(5s);
    EXPECT_EQ(rig.info().groups, 0u);
    EXPECT_EQ(group.queue(0).output().group_state, BELFRY_GROUP_STATE_DESTROYED);
    rig.run_until_idle();
}

TEST_F(Groups, AJobThatEndedBeforeItsGroupHasEndedWellHoweverThatIsFoundOut) {
    KernelGroup& group = client.kernel_group({.queues = 2});
    const std::uint32_t well = client.syncobj();
    const std::uint32_t cut = client.syncobj();
    const Stream one = client.stream([&](W& w) { add_one(w, done.va); });
    ASSERT_EQ(group.submit({{.queue = 0, .stream = client.stream(loop_for_ever), .syncs = {signal_op(cut)}}}),
              0);
    rig.run(3);
    ASSERT_EQ(group.submit({{.queue = 1, .stream = one, .syncs = {signal_op(well)}}}), 0);
    rig.step_gpu(5);
    EXPECT_EQ(done.u64(), 1u);
    EXPECT_EQ(group.destroy(), 0);
    rig.step_gpu();
    rig.advance(5s);  // a timer finds the answer to TERMINATE
    EXPECT_EQ(client.fence_status(well), 1);
    EXPECT_EQ(client.fence_status(cut), -ETIMEDOUT);
    rig.run_until_idle();
}

// --- interrupts

TEST_F(Groups, InterruptsForNothingDoNothing) {
    UserGroup& group = looping(client);
    rig.run(3);
    for (int i = 0; i < 3; ++i) {
        rig.host.line = true;
        rig.deliver_interrupt();
    }
    EXPECT_FALSE(rig.host.line);
    EXPECT_TRUE(group.active());
    EXPECT_EQ(group.state().state, 0u);
}

TEST_F(Groups, AStreamThatRaisesEventsWithoutEndDoesNotHoldTheDriver) {
    KernelGroup& group = client.kernel_group();
    ASSERT_EQ(group.submit({{.stream = client.stream([&](W& w) {
        w.move48(d(60), done.va).move48(d(62), 1).sync_add64(d(60), d(62));
        w.branch(csf::Condition::always, r(0), -2);
    })}}),
              0);
    rig.run(3);
    // The GPU is as fast as the driver: whenever that looks for interrupts, there is one.
    unsigned looks = 0;
    rig.wires.on_read = [&](gpu::Reg reg) {
        if (reg == gpu::Reg::job_int_stat && ++looks < 1000) rig.step_gpu();
    };
    rig.host.line = true;
    rig.deliver_interrupt();
    EXPECT_LT(looks, 10u);
    EXPECT_TRUE(rig.host.line) << "what is left is not forgotten";
    rig.wires.on_read = nullptr;
    rig.advance(5s);
    rig.run_until_idle();
    EXPECT_EQ(rig.info().groups_on_slot, 0u);
}

}  // namespace
}  // namespace belfry::panthor
