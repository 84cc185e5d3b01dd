// Slots that are taken away and given back: turns, priorities, groups that are idle or wait, what may happen
// while a group leaves, and the time of kernel-mode jobs. Letters with a number are races of
// facts/firmware-and-scheduling.md, section 7, each forced in the order in which it bites.
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gpu/firmware_interface.hpp"
#include "unit/panthor_rig.hpp"

namespace belfry::panthor {
namespace {

constexpr std::chrono::nanoseconds kSlice{Scheduler::kSliceNs};
constexpr std::chrono::nanoseconds kRescue{Scheduler::kRescueNs};
constexpr std::uint8_t kLow = PANTHOR_GROUP_PRIORITY_LOW;
constexpr std::uint8_t kMedium = PANTHOR_GROUP_PRIORITY_MEDIUM;
constexpr std::uint8_t kHigh = PANTHOR_GROUP_PRIORITY_HIGH;
/// Rounds of GPU and driver in which a group leaves its slot and another one starts there.
constexpr unsigned kSwitch = 8;

template <unsigned slots>
class WithSlots : public testing::Test {
  protected:
    UserGroup& kicked(const Program& program, const GroupSetup& setup = {}) {
        UserGroup& group = client.user_group(setup);
        group.queue(0).submit(program);
        EXPECT_EQ(group.kick(), 0);
        return group;
    }
    UserGroup& endless(std::uint8_t priority = kMedium, std::uint32_t vm = 0) {
        return kicked(loop_for_ever, {.priority = priority, .vm = vm});
    }
    /// On a slot, with nothing to do, and nobody has heard that it became idle.
    UserGroup& idle(const GroupSetup& setup = {}) {
        UserGroup& group = kicked([](W& w) { w.nop(); }, setup);
        rig.run(kSwitch);
        EXPECT_TRUE(group.active());
        return group;
    }
    /// On a slot, and waits until the sync object `gate` is 1; then it counts in `done`.
    UserGroup& blocked(const GroupSetup& setup = {}) {
        UserGroup& group = kicked([this](W& w) { wait_and_count(w); }, setup);
        rig.run(kSwitch);
        EXPECT_TRUE(group.active());
        return group;
    }
    void wait_and_count(W& w) {
        wait_for(w, gate.va, 1);
        add_one(w, done.va);
    }
    void count(UserQueue& queue) {
        queue.submit([this](W& w) { add_one(w, done.va); });
    }
    Stream counting() {
        return client.stream([this](W& w) { add_one(w, done.va); });
    }
    /// Lets time pass while GPU and driver work.
    void pass(std::chrono::nanoseconds time, std::chrono::nanoseconds step = 1ms) {
        for (; time > 0ns; time -= step) {
            rig.advance(std::min(time, step));
            rig.run(kSwitch);
        }
    }

    Rig rig{{.group_slots = slots, .streams_per_group = 4}};
    Client& client = rig.open({.may_nice = true});
    Memory gate = client.memory();
    Memory done = client.memory();
};

using WithOneSlot = WithSlots<1>;
using WithTwoSlots = WithSlots<2>;

// --- turns

TEST_F(WithTwoSlots, TwoGroupsAreNotDisturbed) {
    endless();
    UserGroup& resident = idle();
    for (int i = 0; i < 100; ++i) client.user_group();
    unsigned writes = 0;
    rig.wires.on_write = [&](gpu::Reg, std::uint32_t) { ++writes; };
    for (int i = 0; i < 10; ++i) {
        count(resident.queue(0));
        resident.queue(0).ring();
        rig.step_gpu(kSwitch);
        EXPECT_FALSE(rig.host.line);
        EXPECT_FALSE(rig.device().next_deadline());
        rig.advance(1h);
    }
    EXPECT_EQ(done.u64(), 10u);
    EXPECT_EQ(writes, 0u);
    EXPECT_EQ(rig.info().groups_on_slot, 2u);
}

TEST_F(WithTwoSlots, NobodyIsDisturbedAnyMoreWhenNobodyWaitsAnyMore) {
    UserGroup& leaver = endless();
    endless();
    rig.run(kSwitch);
    endless();
    pass(3 * kSlice);
    EXPECT_TRUE(rig.device().next_deadline());
    EXPECT_EQ(leaver.destroy(), 0);
    pass(2 * kSlice);
    EXPECT_EQ(rig.info().groups_on_slot, 2u);
    EXPECT_FALSE(rig.device().next_deadline());
    rig.step_gpu(100);
    EXPECT_FALSE(rig.host.line);
}

TEST_F(WithTwoSlots, SevenEqualsGoRoundASliceEach) {
    constexpr unsigned kGroups = 7;
    std::vector<UserGroup*> groups;
    for (unsigned i = 0; i < kGroups; ++i)
        groups.push_back(&kicked([&](W& w) { store_for_ever(w, done.va + 8 * i); }));
    const auto have_run = [&] {
        unsigned count = 0;
        for (unsigned i = 0; i < kGroups; ++i) count += done.u64(8 * i) != 0 ? 1 : 0;
        return count;
    };
    rig.run(kSwitch);
    EXPECT_EQ(have_run(), 2u);
    rig.advance(kSlice - 1ns);
    rig.run(kSwitch);
    EXPECT_EQ(have_run(), 2u) << "the slice is not over";
    rig.advance(1ns);
    rig.run(kSwitch);
    EXPECT_EQ(have_run(), 4u);
    // And for ever: each of them once in as many slices as they are to a slot, in whichever round.
    for (int round = 0; round < 5; ++round) {
        for (unsigned i = 0; i < kGroups; ++i) done.u64(8 * i) = 0;
        for (unsigned slice = 0; slice < (kGroups + 1) / 2; ++slice) pass(kSlice, kSlice);
        EXPECT_EQ(have_run(), kGroups);
    }
    for (UserGroup* const group : groups) EXPECT_EQ(group->state().state, 0u);
}

TEST_F(WithTwoSlots, AHigherPriorityGetsOneAtOnce) {
    UserGroup& first = endless();
    UserGroup& second = endless();
    rig.run(kSwitch);
    UserGroup& high = endless(kHigh);
    rig.run(kSwitch);
    EXPECT_TRUE(high.active());
    EXPECT_NE(first.active(), second.active());
    pass(5 * kSlice);
    EXPECT_TRUE(high.active()) << "the others share what is left";
}

TEST_F(WithTwoSlots, ALowerPriorityWaits) {
    UserGroup& first = endless(kHigh);
    UserGroup& second = endless(kHigh);
    rig.run(kSwitch);
    UserGroup& low = endless();
    pass(kRescue - 1ms);
    EXPECT_FALSE(low.active());
    EXPECT_TRUE(first.active() && second.active());
}

TEST_F(WithTwoSlots, TheLowestPriorityGetsOneWithinTheRescueTimeForEachWhoWaitedLonger) {
    for (int i = 0; i < 4; ++i) endless(kHigh);
    rig.run(kSwitch);
    constexpr unsigned kWaiters = 3;
    for (unsigned i = 0; i < kWaiters; ++i)
        kicked([&](W& w) { store_for_ever(w, done.va + 8 * i); }, {.priority = kLow});
    for (unsigned i = 0; i < kWaiters; ++i) {
        EXPECT_EQ(done.u64(8 * i), 0u);
        pass(kRescue);
        EXPECT_EQ(done.u64(8 * i), 1u) << "the group that has waited longest, number " << i;
    }
}

TEST_F(WithOneSlot, ARescuedGroupKeepsItForASlice) {
    endless(kHigh);
    endless(kHigh);
    UserGroup& low = endless(kLow);
    pass(kRescue);
    EXPECT_TRUE(low.active());
    pass(kSlice - 1ms);
    EXPECT_TRUE(low.active());
    pass(1ms);
    EXPECT_FALSE(low.active());
}

TEST_F(WithOneSlot, TurnsThatAreCutShortDoNotKeepAGroupFromBeingRescued) {
    UserGroup& high = idle({.priority = kHigh});
    UserGroup& low = endless(kLow);
    bool kept = false;
    for (auto left = kRescue + 2 * kSlice; left > 0ms; left -= 1ms) {
        count(high.queue(0));
        high.queue(0).tell();
        pass(1ms);
        kept |= low.active() && !high.queue(0).drained();
    }
    EXPECT_TRUE(kept) << "a whole slice, against one that always has something to do";
}

// --- groups that do not need their slot

TEST_F(WithOneSlot, AnIdleGroupGivesItUpToWhoeverWaits) {
    UserGroup& idler = idle({.priority = kHigh});
    UserGroup& low = endless(kLow);
    rig.run(kSwitch);
    EXPECT_FALSE(idler.active());
    EXPECT_TRUE(low.active());
    count(idler.queue(0));
    idler.queue(0).tell();
    rig.run(kSwitch);
    EXPECT_EQ(done.u64(), 1u);
}

TEST_F(WithOneSlot, AGroupThatBecomesIdleGivesItUpToWhoeverWaits) {
    UserGroup& busy = client.user_group({.ring_bytes = 65536, .priority = kHigh});
    busy.queue(0).submit([](W& w) {
        for (unsigned i = 0; i < 4 * gpu::kSliceInstructions; ++i) w.nop();
    });
    EXPECT_EQ(busy.kick(), 0);
    rig.run(2);
    UserGroup& low = endless(kLow);
    rig.run(1);
    EXPECT_TRUE(busy.active());
    EXPECT_FALSE(low.active());
    rig.run(kSwitch);
    EXPECT_FALSE(busy.active());
    EXPECT_TRUE(low.active());
}

TEST_F(WithOneSlot, ABlockedGroupGivesItUpToWhoeverWaits) {
    UserGroup& waiter = blocked({.priority = kHigh});
    UserGroup& low = endless(kLow);
    rig.run(kSwitch);
    EXPECT_FALSE(waiter.active());
    EXPECT_TRUE(low.active());
    EXPECT_EQ(rig.info().groups_waiting, 0u) << "it wants no slot while its object stands";
    EXPECT_GT(rig.device().next_deadline(), rig.host.now + 100'000'000) << "no slices are counted";
}

TEST_F(WithTwoSlots, AnIdleGroupThatIsKickedForNothingGivesItsOwnUpAllTheSame) {
    idle({.priority = kHigh});
    UserGroup& kicker = idle({.priority = kHigh});
    UserGroup& first = endless(kLow);  // on its way to the other's slot
    EXPECT_EQ(kicker.kick(), 0);
    UserGroup& second = endless(kLow);
    rig.run(2 * kSwitch);
    EXPECT_TRUE(first.active());
    EXPECT_TRUE(second.active());
}

TEST_F(WithOneSlot, AStaleNoticeOfIdlenessCostsItsGroupTimeAndNothingElse) {  // D1, B2
    UserGroup& busy = idle();
    count(busy.queue(0));
    busy.queue(0).submit(loop_for_ever);
    busy.queue(0).ring();
    rig.step_gpu(3);  // at work again; that it was idle stands in its event
    UserGroup& other = endless();
    rig.run(kSwitch);
    EXPECT_TRUE(other.active());
    EXPECT_EQ(rig.info().groups_waiting, 1u);
    pass(kSlice);
    EXPECT_TRUE(busy.active());
}

// --- blocked groups come back

struct Release {
    const char* name;
    std::uint64_t before;  // of the sync object
    Program wait;          // d0 is its address
    std::function<void(W&)> update;
};
void PrintTo(const Release& release, std::ostream* out) { *out << release.name; }

class BlockedGroup : public WithOneSlot, public testing::WithParamInterface<Release> {
  protected:
    BlockedGroup() {
        gate.u64() = GetParam().before;
        waiter = &kicked([this](W& w) {
            w.move48(d(0), gate.va);
            GetParam().wait(w);
            add_one(w, done.va);
        });
        rig.run(kSwitch);
        other = &idle();
        EXPECT_FALSE(waiter->active());
    }
    void update(W& w) {
        w.move48(d(0), gate.va);
        GetParam().update(w);
    }
    UserGroup* waiter = nullptr;
    UserGroup* other = nullptr;  // that took its slot
};

TEST_P(BlockedGroup, ComesBackWhenAUserModeGroupUpdatesItsObject) {
    rig.step_gpu();
    EXPECT_FALSE(rig.host.line);
    other->queue(0).submit([this](W& w) { update(w); });
    other->queue(0).ring();
    rig.run(2 * kSwitch);
    EXPECT_EQ(done.u64(), 1u);
    EXPECT_TRUE(waiter->active());
    EXPECT_FALSE(other->active());
}

TEST_P(BlockedGroup, ComesBackWhenAnUpdaterThatDoesNotStopUpdatesItsObject) {
    kicked([this](W& w) {
        update(w);
        loop_for_ever(w);
    });
    rig.run(2 * kSwitch);
    EXPECT_EQ(done.u64(), 0u);
    EXPECT_EQ(rig.info().groups_waiting, 1u);
    pass(kSlice);
    EXPECT_EQ(done.u64(), 1u);
}

TEST_P(BlockedGroup, ComesBackWhenAKernelModeGroupUpdatesItsObject) {
    const std::uint32_t end = client.syncobj();
    ASSERT_EQ(client.kernel_group().submit(
                  {{.stream = client.stream([this](W& w) { update(w); }), .syncs = {signal_op(end)}}}),
              0);
    rig.run(2 * kSwitch);
    EXPECT_EQ(done.u64(), 1u);
    EXPECT_EQ(client.fence_status(end), 1);
}

TEST_P(BlockedGroup, ComesBackWhenItIsKickedAfterACpusUpdate) {  // B9, C7
    EXPECT_EQ(waiter->kick(), 0);
    rig.run(kSwitch);
    EXPECT_FALSE(waiter->active()) << "nothing has happened";
    UserGroup& elsewhere = kicked([this](W& w) { update(w); }, {.vm = client.create_vm()});
    rig.run(kSwitch);
    EXPECT_NE(elsewhere.state().state, 0u) << "the object is not in that VM";
    EXPECT_EQ(done.u64(), 0u);
    gate.u64() = GetParam().before == 0 ? 1 : 0;
    EXPECT_EQ(waiter->kick(), 0);
    rig.run(kSwitch);
    EXPECT_EQ(done.u64(), 1u);
}

INSTANTIATE_TEST_SUITE_P(
    Of, BlockedGroup,
    testing::Values(
        Release{"Add64", 0, [](W& w) { w.move48(d(2), 0).sync_wait64(d(0), csf::Condition::gt, d(2)); },
                [](W& w) { w.move48(d(2), 1).sync_add64(d(0), d(2)); }},
        Release{"Set64Down", 1ULL << 40,
                [](W& w) { w.move48(d(2), 7).sync_wait64(d(0), csf::Condition::le, d(2)); },
                [](W& w) { w.move48(d(2), 7).sync_set64(d(0), d(2)); }},
        Release{"Add32", 0, [](W& w) { w.move32(r(2), 0).sync_wait32(d(0), csf::Condition::gt, r(2)); },
                [](W& w) { w.move32(r(2), 1).sync_add32(d(0), r(2)); }},
        Release{"Set32Down", 9, [](W& w) { w.move32(r(2), 7).sync_wait32(d(0), csf::Condition::le, r(2)); },
                [](W& w) { w.move32(r(2), 7).sync_set32(d(0), r(2)); }}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST_F(WithTwoSlots, AnUpdateWhileTheWaiterLeavesIsSeen) {  // B8
    UserGroup& waiter = blocked();
    UserGroup& updater = idle();
    gate.u64() = 0;
    UserGroup& other = endless();  // has the waiter's SUSPEND asked
    updater.queue(0).submit([this](W& w) { add_one(w, gate.va); });
    updater.queue(0).ring();
    rig.step_gpu();  // the waiter is saved as blocked, then its object is updated: nobody listens
    EXPECT_FALSE(waiter.active());
    EXPECT_EQ(gate.u64(), 1u);
    rig.run(2 * kSwitch);
    EXPECT_EQ(done.u64(), 1u);
    EXPECT_TRUE(other.active());
}

TEST_F(WithTwoSlots, AnUpdateByTheCpuAndAKickWhileTheWaiterLeavesAreSeen) {  // B9, C2
    UserGroup& waiter = blocked();
    endless();
    endless();  // has the waiter's SUSPEND asked
    rig.step_gpu();
    EXPECT_FALSE(waiter.active());
    gate.u64() = 1;
    EXPECT_EQ(waiter.kick(), 0);
    rig.run(kSwitch);
    pass(kSlice);
    EXPECT_EQ(done.u64(), 1u);
}

TEST_F(WithOneSlot, ABlockedGroupWhoseObjectIsUnboundComesBackAndFaultsByItself) {
    const std::uint32_t vm = client.create_vm();
    const Memory object = client.memory(vm);
    UserGroup& waiter = kicked([&](W& w) { wait_for(w, object.va, 1); }, {.vm = vm});
    rig.run(kSwitch);
    UserGroup& other = idle({.vm = vm});
    UserGroup& stranger = blocked();
    client.unmap(object, vm);
    rig.run(2 * kSwitch);
    EXPECT_EQ(waiter.state().state, DRM_PANTHOR_GROUP_STATE_FATAL_FAULT);
    EXPECT_EQ(waiter.fault().address, object.va);
    for (UserGroup* const unharmed : {&other, &stranger}) EXPECT_EQ(unharmed->state().state, 0u);
}

TEST_F(WithOneSlot, ABlockedGroupAtWhoseAddressAnotherObjectIsBoundComesBack) {  // F8
    UserGroup& waiter = blocked();
    idle();
    EXPECT_FALSE(waiter.active());
    const Memory released = client.memory();
    released.u64() = 1;
    client.bind(client.vm(), {Client::map_op(released.handle, gate.va, kPage)});
    rig.run(kSwitch);
    EXPECT_EQ(done.u64(), 1u);
}

TEST_F(WithOneSlot, ABlockedGroupGoesOnWithWorkOfAnotherQueue) {  // C7, C6
    UserGroup& waiter = blocked({.queues = 2});
    idle();
    EXPECT_FALSE(waiter.active());
    count(waiter.queue(1));
    EXPECT_EQ(waiter.kick(1), 0) << "the mask is a hint";
    rig.run(kSwitch);
    EXPECT_EQ(done.u64(), 1u);
    gate.u64() = 1;
    waiter.queue(0).tell();
    rig.run(kSwitch);
    EXPECT_EQ(done.u64(), 2u);
}

TEST_F(WithOneSlot, TwoGroupsThatWaitForEachOtherTakeTurnsAsTheyWakeEachOther) {
    constexpr std::uint64_t kRounds = 50;
    constexpr std::uint64_t kThere = 16;
    for (std::uint64_t i = 0; i < 2; ++i)
        kicked(
            [&](W& w) {
                for (std::uint64_t round = 1; round <= kRounds; ++round) {
                    if (i == 1) wait_for(w, done.va, round);
                    add_one(w, done.va + (i == 0 ? 0 : kThere));
                    if (i == 0) wait_for(w, done.va + kThere, round);
                }
            },
            {.ring_bytes = 16384});
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), kRounds);
    EXPECT_EQ(done.u64(kThere), kRounds);
}

// --- leaving

TEST_F(WithOneSlot, WorkPublishedAfterTheLastLookIsNotLost) {  // B1
    UserGroup& leaver = idle();
    UserGroup& other = endless();  // SUSPEND is asked
    count(leaver.queue(0));
    EXPECT_TRUE(leaver.active());
    leaver.queue(0).ring();  // which nobody hears any more
    rig.run(kSwitch);
    EXPECT_TRUE(other.active());
    EXPECT_EQ(done.u64(), 0u);
    EXPECT_EQ(rig.info().groups_waiting, 1u);
    pass(kSlice);
    EXPECT_EQ(done.u64(), 1u);
}

TEST_F(WithOneSlot, WorkPublishedBeforeTheDriverHearsOfTheEndIsNotLost) {  // B3, B7
    UserGroup& leaver = idle();
    endless();
    bool published = false;
    rig.host.on_interrupt = [&] {
        if (std::exchange(published, true)) return;
        EXPECT_FALSE(leaver.active()) << "ACTIVE is cleared before the acknowledgement";
        count(leaver.queue(0));  // and its program is stopped before it kicks
    };
    rig.run(kSwitch);
    EXPECT_TRUE(published);
    pass(kSlice);
    EXPECT_EQ(done.u64(), 1u);
}

TEST_F(WithOneSlot, AKickOfALeavingGroupIsNotLost) {  // C2
    UserGroup& leaver = idle();
    endless();
    rig.step_gpu();  // SUSPEND is acknowledged, and the driver has not heard of it
    count(leaver.queue(0));
    leaver.queue(0).tell();
    rig.run(kSwitch);
    pass(kSlice);
    EXPECT_EQ(done.u64(), 1u);
}

TEST_F(WithOneSlot, AKickOfAReturningGroupIsNotLost) {  // C3, A13
    UserGroup& back = idle();
    idle();
    count(back.queue(0));
    EXPECT_EQ(back.kick(), 0);
    rig.step_gpu();  // the other one leaves
    rig.deliver_interrupt();
    EXPECT_NE(rig.on_slot(0), nullptr);
    count(back.queue(0));  // RESUME is asked
    EXPECT_EQ(back.kick(), 0);
    rig.step_gpu(4);  // and acknowledged
    EXPECT_EQ(done.u64(), 2u);
    count(back.queue(0));
    EXPECT_EQ(back.kick(), 0);  // the driver has not heard of it
    rig.run(kSwitch);
    EXPECT_EQ(done.u64(), 3u);
}

TEST_F(WithOneSlot, AJobThatEndsAsItsGroupLeavesHasEnded) {  // B11
    KernelGroup& kernel = client.kernel_group();
    const std::uint32_t end = client.syncobj();
    ASSERT_EQ(kernel.submit({{.stream = counting()}}), 0);
    rig.run(kSwitch);
    ASSERT_EQ(kernel.submit({{.stream = counting(), .syncs = {signal_op(end)}}}), 0);
    rig.step_gpu(2);
    EXPECT_EQ(done.u64(), 2u);
    EXPECT_EQ(client.fence_status(end), 0) << "the driver has not heard of it";
    UserGroup& high = endless(kHigh);
    rig.step_gpu();
    EXPECT_EQ(client.fence_status(end), 0);
    rig.deliver_interrupt();  // of both
    EXPECT_EQ(client.fence_status(end), 1);
    rig.run(kSwitch);
    EXPECT_TRUE(high.active());
    EXPECT_EQ(rig.info().groups_waiting, 0u);
}

TEST_F(WithOneSlot, AFatalFaultAsItsGroupLeavesIsThatGroups) {  // B11
    UserGroup& bad = kicked([](W& w) { w.word(kBadWord); });
    rig.step_gpu(2);  // START is answered, the stream has ended
    rig.host.line = false;
    rig.device().interrupt();
    UserGroup& worse = client.user_group({.queues = 4});
    worse.queue(0).submit([](W& w) { w.nop(); });
    EXPECT_EQ(worse.kick(), 0);
    rig.run(kSwitch);
    EXPECT_TRUE(worse.active());
    worse.queue(3).submit([](W& w) { w.word(kBadWord); });
    worse.queue(0).ring();
    rig.step_gpu(2);
    UserGroup& high = endless(kHigh);
    rig.step_gpu();
    rig.run(kSwitch);
    EXPECT_EQ(bad.fault().exception, static_cast<unsigned>(csf::Exception::cs_instr_invalid));
    EXPECT_EQ(worse.state().fatal_queues, 1u << 3);
    EXPECT_EQ(worse.fault().exception, static_cast<unsigned>(csf::Exception::cs_instr_invalid));
    EXPECT_TRUE(high.active());
    EXPECT_EQ(high.state().state, 0u);
    EXPECT_EQ(high.fault().flags, 0u);
}

TEST_F(WithOneSlot, AWideGroupLeavesNoStreamsToANarrowOneAndFindsItsOwnAgain) {  // B14
    UserGroup& wide = client.user_group({.queues = 4});
    for (std::size_t i = 0; i < 4; ++i) wide.queue(i).submit(loop_for_ever);
    EXPECT_EQ(wide.kick(), 0);
    rig.run(kSwitch);
    UserGroup& narrow = client.user_group({.queues = 2});
    narrow.queue(1).submit(loop_for_ever);
    EXPECT_EQ(narrow.kick(), 0);
    pass(kSlice);
    EXPECT_TRUE(narrow.active());
    for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(rig.stream(0, i).started(), i < 2);
    pass(kSlice);
    EXPECT_TRUE(wide.active());
    for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(rig.stream(0, i).status(), gpu::StreamStatus::running) << i;
}

// --- ends

TEST_F(WithOneSlot, AGroupThatIsDestroyedWhileItLeavesIsGoneWhenTheGpuSaysSo) {  // G6, G2
    UserGroup& leaver = endless();
    rig.run(kSwitch);
    UserGroup& high = endless(kHigh);
    EXPECT_EQ(leaver.destroy(), 0);
    EXPECT_EQ(rig.info().groups, 2u);
    EXPECT_EQ(rig.info().groups_on_slot, 1u);
    rig.run(kSwitch);
    EXPECT_EQ(rig.info().groups, 1u);
    EXPECT_TRUE(high.active());
}

TEST_F(WithOneSlot, AGroupThatIsDestroyedWhileItComesBackIsEndedAfterTheAnswer) {  // G6
    UserGroup& back = endless();
    rig.run(kSwitch);
    UserGroup& high = endless(kHigh);
    rig.run(kSwitch);
    EXPECT_EQ(high.destroy(), 0);
    rig.run(1);  // RESUME is asked
    EXPECT_EQ(rig.info().groups, 1u);
    EXPECT_EQ(back.destroy(), 0);
    EXPECT_EQ(rig.info().groups_on_slot, 1u) << "one request at a time";
    rig.run(kSwitch);
    EXPECT_EQ(rig.info().groups, 0u);
    EXPECT_EQ(rig.info().groups_on_slot, 0u);
}

TEST_F(WithOneSlot, AJobWhoseTimeIsUpWhileItsGroupLeavesEndsTheGroup) {
    KernelGroup& kernel = client.kernel_group();
    const std::uint32_t end = client.syncobj();
    ASSERT_EQ(kernel.submit({{.stream = client.stream(loop_for_ever), .syncs = {signal_op(end)}}}), 0);
    rig.run(kSwitch);
    rig.advance(4999ms);
    UserGroup& high = endless(kHigh);  // SUSPEND is asked
    rig.advance(1ms);
    EXPECT_EQ(kernel.state().state, DRM_PANTHOR_GROUP_STATE_TIMEDOUT);
    EXPECT_EQ(client.fence_status(end), 0) << "the GPU may still write";
    rig.run(kSwitch);
    EXPECT_EQ(client.fence_status(end), -ETIMEDOUT);
    EXPECT_TRUE(high.active());
}

TEST_F(WithOneSlot, ASuspendThatIsNotAnsweredTimesFencesOutAndTheNextGoOn) {
    KernelGroup& kernel = client.kernel_group();
    const std::uint32_t end = client.syncobj();
    ASSERT_EQ(kernel.submit({{.stream = client.stream(loop_for_ever), .syncs = {signal_op(end)}}}), 0);
    rig.run(kSwitch);
    rig.wires.firmware_deaf = true;
    UserGroup& high = endless(kHigh);
    rig.run(kSwitch);
    rig.advance(4999ms);
    EXPECT_EQ(client.fence_status(end), 0);
    rig.advance(1ms);
    EXPECT_EQ(client.fence_status(end), -ETIMEDOUT);
    EXPECT_EQ(kernel.state().state, DRM_PANTHOR_GROUP_STATE_TIMEDOUT);
    EXPECT_FALSE(high.active());
    EXPECT_EQ(rig.on_slot(0)->state(), GroupState::terminating) << "it is not waited for any longer";
    rig.wires.firmware_deaf = false;
    rig.gpu.write(gpu::doorbell_reg(0), 1);
    rig.run(kSwitch);
    EXPECT_TRUE(high.active());
    EXPECT_EQ(kernel.destroy(), 0);
    EXPECT_EQ(rig.info().groups, 1u);
}

TEST_F(WithTwoSlots, ASlotThatIsNeverAnsweredForDoesNotKeepOthersFromTheirTurns) {
    UserGroup& silent = endless();
    UserGroup& first = endless();
    rig.run(kSwitch);
    ASSERT_EQ(rig.on_slot(0)->serial() < rig.on_slot(1)->serial(), true);
    // The firmware does not hear what it is told of slot 0 any more.
    const auto shared = rig.gpu.shared();
    const auto& control = *reinterpret_cast<gpu::GlobalControl*>(shared.data());
    auto& input = *reinterpret_cast<gpu::GlobalInput*>(shared.data() + (control.input_va - gpu::kSharedBase));
    const auto& output =
        *reinterpret_cast<gpu::GlobalOutput*>(shared.data() + (control.output_va - gpu::kSharedBase));
    rig.wires.on_write = [&](gpu::Reg reg, std::uint32_t) {
        if (reg == gpu::doorbell_reg(0))
            input.doorbell_req = (input.doorbell_req & ~1U) | (output.doorbell_ack & 1U);
    };
    EXPECT_EQ(silent.destroy(), 0);
    pass(6s, 10ms);
    EXPECT_EQ(rig.info().groups_on_slot, 2u);
    UserGroup& second = endless();
    pass(kSlice);
    EXPECT_TRUE(second.active());
    EXPECT_FALSE(first.active());
    pass(kSlice);
    EXPECT_TRUE(first.active());
}

// --- page faults

TEST_F(WithOneSlot, APageFaultAsItsGroupLeavesEndsItWheneverTheDriverHearsOfIt) {
    for (const bool between : {false, true}) {
        const std::uint32_t vm = client.create_vm();
        UserGroup& culprit = idle({.vm = vm});
        // Nothing waits for the load: all has been executed when it faults.
        culprit.queue(0).submit([](W& w) { w.move48(d(60), 0x10).load_multiple(r(64), 1, d(60)); });
        const auto fault = [&] {
            culprit.queue(0).ring();
            rig.step_gpu();
        };
        bool raced = false;
        if (between) {
            // SUSPEND is asked. The fault and the answer come between the driver's two looks.
            rig.wires.on_write = [&](gpu::Reg reg, std::uint32_t) {
                if (reg == gpu::doorbell_page_lo(1)) std::exchange(raced, true) ? void() : fault();
            };
            rig.wires.on_read = [&](gpu::Reg reg) {
                if (reg == gpu::Reg::job_int_stat) rig.step_gpu();
            };
        } else {
            fault();
        }
        UserGroup& high = kicked([](W& w) { w.nop(); }, {.priority = kHigh});
        if (between) rig.host.line = true;
        rig.run(2 * kSwitch);
        rig.wires.on_write = nullptr;
        rig.wires.on_read = nullptr;
        rig.run(2 * kSwitch);
        EXPECT_EQ(culprit.state().state, DRM_PANTHOR_GROUP_STATE_FATAL_FAULT) << between;
        EXPECT_EQ(culprit.fault().address, 0x10u);
        EXPECT_EQ(culprit.fault().flags & BELFRY_FAULT_MMU, unsigned{BELFRY_FAULT_MMU});
        EXPECT_EQ(high.state().state, 0u);
    }
}

TEST_F(WithTwoSlots, GroupsOfAVmThatAreOffSlotWhenItFaultsGoOn) {
    UserGroup& waiter = blocked();
    UserGroup& runner = endless(kLow);
    rig.run(kSwitch);
    UserGroup& stranger = endless(kHigh, client.create_vm());
    rig.run(kSwitch);
    EXPECT_FALSE(waiter.active());
    UserGroup& culprit = kicked([](W& w) { load(w, 0x10); }, {.priority = kHigh});
    rig.step_gpu();
    EXPECT_FALSE(runner.active());
    rig.run(2 * kSwitch);
    EXPECT_EQ(culprit.state().state, DRM_PANTHOR_GROUP_STATE_FATAL_FAULT);
    EXPECT_TRUE(runner.active());
    gate.u64() = 1;
    EXPECT_EQ(waiter.kick(), 0);
    rig.run(kSwitch);
    EXPECT_EQ(done.u64(), 1u);
    for (UserGroup* const unharmed : {&waiter, &runner, &stranger}) EXPECT_EQ(unharmed->state().state, 0u);
}

TEST_F(WithTwoSlots, AGroupThatHasLeftWhenItsVmFaultsGoesOnAndOneThatIsLeavingEnds) {
    for (const bool heard_first : {false, true}) {
        const std::uint32_t vm = client.create_vm();
        UserGroup& leaver = endless(kLow, vm);
        rig.run(kSwitch);
        UserGroup& culprit = kicked([](W& w) { load(w, 0x10); }, {.priority = kHigh, .vm = vm});
        rig.step_gpu(3);
        UserGroup& high = endless(kHigh);  // has the SUSPEND asked of the one that is known to have started
        EXPECT_TRUE(leaver.active());
        if (heard_first) rig.deliver_interrupt();  // of the fault
        rig.run(2 * kSwitch);
        EXPECT_TRUE(high.active());
        EXPECT_EQ(high.state().state, 0u);
        EXPECT_EQ(culprit.state().state, DRM_PANTHOR_GROUP_STATE_FATAL_FAULT);
        EXPECT_EQ(culprit.fault().address, 0x10u);
        EXPECT_EQ(leaver.state().state != 0, heard_first);
        EXPECT_EQ(leaver.active(), !heard_first);
        EXPECT_EQ(leaver.fault().flags & BELFRY_FAULT_QUEUE, 0u);
        EXPECT_EQ(high.destroy(), 0);
        static_cast<void>(leaver.destroy());
        rig.run_until_idle();
    }
}

// --- the time of kernel-mode jobs

TEST_F(WithOneSlot, AnEndlessJobThatTakesTurnsIsEndedAfterFiveSecondsOfItsOwn) {
    KernelGroup& kernel = client.kernel_group();
    const std::uint32_t end = client.syncobj();
    ASSERT_EQ(kernel.submit({{.stream = client.stream(loop_for_ever), .syncs = {signal_op(end)}}}), 0);
    rig.run(kSwitch);
    UserGroup& other = endless();
    pass(9900ms, 5ms);
    EXPECT_EQ(kernel.state().state, 0u) << "half of that it waited for its slot";
    pass(200ms, 5ms);
    EXPECT_EQ(kernel.state().state, DRM_PANTHOR_GROUP_STATE_TIMEDOUT);
    EXPECT_EQ(client.fence_status(end), -ETIMEDOUT);
    EXPECT_TRUE(other.active());
    EXPECT_FALSE(rig.device().next_deadline());
}

TEST_F(WithOneSlot, AJobThatWaitsForASyncObjectForFiveSecondsIsEndedOffItsSlot) {
    KernelGroup& kernel = client.kernel_group();
    const std::uint32_t end = client.syncobj();
    ASSERT_EQ(kernel.submit({{.stream = client.stream([&](W& w) { wait_for(w, gate.va, 1); }),
                              .syncs = {signal_op(end)}}}),
              0);
    rig.run(kSwitch);
    UserGroup& other = endless();
    rig.run(kSwitch);
    EXPECT_TRUE(other.active());
    EXPECT_EQ(rig.info().groups_waiting, 0u);
    rig.advance(4999ms);
    EXPECT_EQ(client.fence_status(end), 0);
    rig.advance(1ms);
    EXPECT_EQ(client.fence_status(end), -ETIMEDOUT);
    EXPECT_EQ(kernel.state().state, DRM_PANTHOR_GROUP_STATE_TIMEDOUT);
}

TEST_F(WithOneSlot, AllKernelModeFencesSignalAmongEndlessPrograms) {
    constexpr unsigned kGroups = 20;
    constexpr unsigned kJobs = 5;
    endless();
    endless(kHigh);
    const std::uint32_t timeline = client.syncobj();
    const Stream stream = counting();
    // Each job waits for the one before it, which is another group's; priorities differ.
    std::vector<KernelGroup*> groups;
    for (unsigned i = 0; i < kGroups; ++i)
        groups.push_back(&client.kernel_group({.priority = static_cast<std::uint8_t>(i % 3)}));
    std::uint64_t point = 0;
    for (unsigned job = 0; job < kJobs; ++job)
        for (KernelGroup* const group : groups) {
            std::vector syncs{signal_op(timeline, point + 1)};
            if (point != 0) syncs.push_back(wait_op(timeline, point));
            ++point;
            ASSERT_EQ(group->submit({{.stream = stream, .syncs = syncs}}), 0);
        }
    for (std::uint64_t i = 0; i < point; ++i) pass(2 * kRescue + kSlice, kSlice);
    EXPECT_EQ(client.fence_status(timeline, point), 1);
    EXPECT_EQ(done.u64(), point);
}

}  // namespace
}  // namespace belfry::panthor
