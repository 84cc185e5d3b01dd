// The races of facts/firmware-and-scheduling.md, section 7, as far as the GPU meets them, each forced in the
// order in which it bites; the letter is the sheet's. One thread: what "happens meanwhile" happens in a hook.
// Elsewhere: G4 (gpu_firmware_test.cpp), B14 (gpu_group_slot_test.cpp), B8, B10 and G3
// (gpu_suspend_test.cpp), F2, F3, F5 and F6 (gpu_sync_test.cpp).
#include <cstdint>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "unit/gpu_rig.hpp"

namespace belfry::gpu {
namespace {

using csf::Condition;

class Races : public testing::Test {
  protected:
    Rig rig{{.group_slots = 2, .streams_per_group = 2}};
    Group& group = rig.group({.queues = 2});
    Queue& queue = group.queue(0);
    Memory memory = rig.memory();
    Memory scratch = rig.memory();

    /// The instruction in the middle of which host.on_timestamp runs.
    void look_here(W& w) { w.move48(d(90), scratch.va).store_state(csf::State::timestamp, d(90)); }
    static void add_one(W& w) { w.add_immediate32(r(0), r(0), 1); }
};

// --- A: program against firmware, group on a slot ---

TEST_F(Races, WordsBehindInsertAreNotRun) {  // A1
    queue.write(add_one);
    queue.publish();
    queue.write(add_one);
    queue.ring();
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 1u);
    EXPECT_EQ(queue.output().extract, 8u);
}

TEST_F(Races, ADoorbellThatOvertakesInsertIsARingForNothing) {  // A2
    queue.write(add_one);
    queue.ring();
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 0u);
    EXPECT_EQ(group.doorbell().doorbell, 0u);  // consumed
    queue.publish();
    queue.ring();
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Races, WorkRungWhileAnotherQueueRunsIsFound) {  // A3
    rig.host.on_timestamp = [&] {
        group.queue(1).submit(add_one);
        group.queue(1).ring();
    };
    queue.run([&](W& w) { look_here(w); });
    EXPECT_EQ(group.queue(1).reg(0), 1u);
}

TEST_F(Races, WorkRungAtTheLastLookIsFound) {  // A3: INSERT was read, the latch is set after that
    queue.submit(add_one);
    queue.ring();
    rig.step_until([&] { return queue.drained(); });
    rig.take_job_interrupts();
    group.acknowledge(kGroupEvents);
    // The idle event is what follows the last look at INSERT.
    queue.submit(add_one);
    queue.ring();
    bool again = true;
    rig.host.on_interrupt = [&] {
        if (!again || !group.event(kGroupIdle)) return;
        again = false;
        queue.submit(add_one);
        queue.ring();
    };
    rig.run_until_idle();
    EXPECT_FALSE(again);
    EXPECT_EQ(queue.reg(0), 3u);
}

TEST_F(Races, WorkThatIsPublishedWhileTheRingDrainsIsFoundWithoutARing) {  // A8, A11: EXTRACT, then INSERT
    queue.input().ring_waiters = 1;
    bool again = true;
    rig.host.on_wake = [&] {  // EXTRACT has just been published
        if (again) queue.submit(add_one);
        again = false;
    };
    group.acknowledge(kGroupEvents);
    queue.run(add_one);
    EXPECT_EQ(queue.reg(0), 2u);
}

TEST_F(Races, WorkAfterTheIdleEventMakesTheGroupBusyAndIdleAgain) {  // A11, D2
    rig.take_job_interrupts();
    group.acknowledge(kGroupEvents);
    queue.run(add_one);
    ASSERT_TRUE(group.event(kGroupIdle));
    // Not acknowledged yet: the event is stale while the group runs again ...
    queue.submit([](W& w) { w.branch(Condition::always, r(0), -1); });
    queue.ring();
    rig.step();
    group.acknowledge(kGroupEvents);
    group.update_status();
    EXPECT_EQ(group.out().status_state, 0u);
    EXPECT_FALSE(group.event(kGroupIdle));
    // ... and comes again when that is over.
    queue.in().req &= ~kStreamStateMask;
    queue.driver_ring();
    rig.run_until_idle();
    EXPECT_TRUE(group.event(kGroupIdle));
}

class Sleep : public Races {
  protected:
    Sleep() { rig.run_until_idle(); }
    /// What a client does after its doorbell: true if it has to write its eventfd.
    bool must_wake() { return group.doorbell().need_wakeup != 0; }
};

TEST_F(Sleep, IsRefusedIfSomebodyRangBefore) {  // A4
    queue.submit(add_one);
    queue.ring();
    EXPECT_FALSE(must_wake());
    EXPECT_FALSE(rig.gpu.prepare_sleep());
    rig.gpu.woke();
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Sleep, IsAnnouncedToWhoeverRingsAfterwards) {  // A4
    ASSERT_TRUE(rig.gpu.prepare_sleep());
    queue.submit(add_one);
    queue.ring();
    EXPECT_TRUE(must_wake());  // and its eventfd wakes the runner
    rig.gpu.woke();
    EXPECT_FALSE(must_wake());
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Sleep, IsRefusedAgainToARunnerThatMissedTheEventfd) {  // A4
    ASSERT_TRUE(rig.gpu.prepare_sleep());
    queue.submit(add_one);
    queue.ring();
    EXPECT_FALSE(rig.gpu.prepare_sleep());
    rig.gpu.woke();
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Sleep, AClientThatKnowsNoNeedWakeupIsSeenByTheNextStep) {  // A4
    ASSERT_TRUE(rig.gpu.prepare_sleep());
    EXPECT_TRUE(rig.gpu.has_user_doorbells());  // so the runner sleeps for a bounded time
    queue.submit(add_one);
    queue.ring();
    rig.gpu.woke();
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Sleep, IsRefusedWhileAStreamRuns) {
    queue.submit([](W& w) { w.branch(Condition::always, r(0), -1); });
    queue.ring();
    rig.step();
    EXPECT_FALSE(rig.gpu.prepare_sleep());
    rig.gpu.woke();
}

TEST_F(Sleep, IsRefusedIfTheDriverWroteBefore) {
    rig.ask_global(kGlbPing);
    EXPECT_EQ(rig.host.attentions, 0u);
    EXPECT_FALSE(rig.gpu.prepare_sleep());
    rig.gpu.woke();
    EXPECT_EQ((rig.global_in().req ^ rig.global_out().ack) & kGlbPing, 0u);
}

TEST_F(Sleep, TheDriversWritesCallForAttentionOnlyDuringIt) {
    ASSERT_TRUE(rig.gpu.prepare_sleep());
    rig.ask_global(kGlbPing);
    EXPECT_EQ(rig.host.attentions, 1u);
    rig.gpu.write(as_reg(1, AsReg::command), kAsCommandFlushMem);
    EXPECT_EQ(rig.host.attentions, 2u);
    rig.gpu.woke();
    rig.step();
    rig.ask_global(kGlbPing);
    EXPECT_EQ(rig.host.attentions, 2u);
    rig.step();
}

TEST_F(Sleep, ADoorbellPageThatIsBoundDuringItNeedsWakeupToo) {
    Group& late = rig.group({.start = false});
    ASSERT_TRUE(rig.gpu.prepare_sleep());
    late.program(1);
    EXPECT_FALSE(rig.gpu.prepare_sleep());  // takes it
    EXPECT_EQ(late.doorbell().need_wakeup, 1u);
    rig.gpu.woke();
    EXPECT_EQ(late.doorbell().need_wakeup, 0u);
}

TEST_F(Sleep, ADoorbellPageOffItsSlotIsLeftAlone) {
    group.suspend();
    EXPECT_FALSE(rig.gpu.has_user_doorbells());
    ASSERT_TRUE(rig.gpu.prepare_sleep());
    EXPECT_EQ(group.doorbell().need_wakeup, 0u);
    group.doorbell().doorbell = 1;
    EXPECT_TRUE(rig.gpu.prepare_sleep());
    rig.gpu.woke();
    rig.step();
    EXPECT_EQ(group.doorbell().doorbell, 1u);
}

TEST_F(Races, CountersGoBeyond32Bits) {  // A5: INSERT is one 64-bit load
    Group& late = rig.group({.start = false});
    Queue& old = late.queue(0);
    constexpr std::uint64_t kStart = 0xffff'fff8;
    old.input().extract_init = kStart;
    old.input().insert = old.written = kStart;
    late.start_on(1);
    EXPECT_EQ(old.output().extract, kStart);
    old.run([](W& w) { w.move32(r(0), 1).move32(r(1), 2); });
    EXPECT_EQ(old.fatal().type, Exception::ok);
    EXPECT_EQ(old.reg(1), 2u);
    EXPECT_EQ(old.output().extract, 0x1'0000'0008u);
}

TEST_F(Races, AnInsertOfTwoStoresHarmsOnlyItsQueue) {  // A5: the low half comes first
    Group& late = rig.group({.queues = 2, .start = false});
    Queue& old = late.queue(0);
    old.input().extract_init = old.input().insert = 0xffff'fff8;
    late.start_on(1);
    old.input().insert = 0;  // half of 0x1'0000'0000
    old.ring();
    rig.run_until_idle();
    EXPECT_EQ(old.fatal().type, Exception::cs_config_fault);
    late.queue(1).run(add_one);
    EXPECT_EQ(late.queue(1).reg(0), 1u);
}

TEST_F(Races, AnInsaneInsertEndsItsQueueOnly) {  // A6
    struct {
        const char* what;
        std::uint64_t insert;
    } const cases[] = {
        {"backwards", 8},           {"far backwards", 0},   {"beyond the ring", 16 + kPage + 8},
        {"far beyond", 1ULL << 63}, {"the largest", ~7ULL}, {"not a multiple of 8", 16 + 4},
        {"odd", 16 + 65},
    };
    for (const auto& c : cases) {
        Rig own{{.group_slots = 2, .streams_per_group = 2}};
        Group& victim = own.group({.queues = 2});
        Group& stranger = own.group();
        victim.queue(0).run([](W& w) { w.nop().nop(); });
        victim.queue(0).input().insert = c.insert;
        victim.queue(1).submit(add_one);
        stranger.queue(0).submit(add_one);
        victim.queue(0).ring();
        stranger.queue(0).ring();
        own.run_until_idle();
        EXPECT_EQ(victim.queue(0).fatal().type, Exception::cs_config_fault) << c.what;
        EXPECT_EQ(victim.queue(0).fatal().info, c.insert) << c.what;
        EXPECT_EQ(victim.queue(0).output().extract, 16u) << c.what;
        EXPECT_EQ(victim.queue(1).reg(0), 1u) << c.what;
        EXPECT_EQ(stranger.queue(0).reg(0), 1u) << c.what;
    }
}

TEST_F(Races, AFullRingIsSane) {  // A6
    queue.write([](W& w) { w.nop().nop(); });
    queue.run({});
    queue.run([](W& w) {
        while (w.size() < kPage / 8) add_one(w);
    });
    EXPECT_EQ(queue.fatal().type, Exception::ok);
    EXPECT_EQ(queue.reg(0), kPage / 8);
    EXPECT_EQ(queue.output().extract, 16 + kPage);
}

TEST_F(Races, InsertThatChangesWhileItsWindowRunsCountsAfterwards) {  // A6: read once, used once
    rig.host.on_timestamp = [&] { queue.input().insert = 3; };
    queue.run([&](W& w) {
        look_here(w);
        add_one(w);
    });
    EXPECT_EQ(queue.reg(0), 1u);  // what was published is run to its end
    EXPECT_EQ(queue.output().extract, 24u);
    EXPECT_EQ(queue.fatal().type, Exception::cs_config_fault);
}

TEST_F(Races, ExtractMovesOnlyWhenTheWholeWindowHasRun) {  // A8
    std::vector<std::uint64_t> seen;
    rig.host.on_timestamp = [&] { seen.push_back(queue.output().extract); };
    queue.submit([&](W& w) { look_here(w); });
    queue.submit([&](W& w) { look_here(w); });
    queue.ring();
    rig.run_until_idle();
    EXPECT_EQ(seen, (std::vector<std::uint64_t>{0, 0}));
    EXPECT_EQ(queue.output().extract, 32u);
    queue.run([&](W& w) { look_here(w); });
    EXPECT_EQ(seen.back(), 32u);
}

TEST_F(Races, ExtractMovesAfterTheStoresOfItsWindow) {  // A8: whoever waits for EXTRACT may use the results
    queue.input().ring_waiters = 1;
    std::uint32_t stored = 0;
    rig.host.on_wake = [&] { stored = memory.u32(); };
    queue.run([&](W& w) { w.move48(d(66), memory.va).move32(r(0), 7).store_multiple(r(0), 1, d(66)); });
    EXPECT_EQ(stored, 7u);
}

TEST_F(Races, AnInstructionIsReadOnce) {                                             // A9
    rig.host.on_timestamp = [&] { queue.ring_memory.u64(8) = 0x0A00000000000000; };  // the word that runs now
    queue.run([&](W& w) {
        look_here(w);
        add_one(w);
    });
    EXPECT_EQ(queue.fatal().type, Exception::ok);
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Races, AFaultReportsTheWordThatRanNotWhatStandsThereNow) {  // A9
    rig.host.on_timestamp = [&] { queue.ring_memory.u64(8) = 0; };
    queue.run([&](W& w) {
        w.move48(d(66), 0x6000'0000'0000).store_multiple(r(0), 1, d(66));
        look_here(w);
        w.wait(slots(0));
    });
    rig.disable(rig.vm);
    EXPECT_EQ(queue.fatal().instruction, 0x1500420000010000u);
    EXPECT_EQ(queue.ring_memory.u64(8), 0u);
}

TEST_F(Races, OneDoorbellIsAllQueuesOfTheGroup) {  // A10
    queue.submit(add_one);
    group.queue(1).submit(add_one);
    queue.ring();
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 1u);
    EXPECT_EQ(group.queue(1).reg(0), 1u);
}

TEST_F(Races, ADoorbellIsNobodyElses) {  // A10, B4
    Group& stranger = rig.group();
    stranger.queue(0).submit(add_one);
    queue.ring();
    rig.run_until_idle();
    EXPECT_EQ(stranger.queue(0).reg(0), 0u);
}

TEST_F(Races, AStormOfRingsStarvesNobody) {  // A12
    Group& stranger = rig.group();
    stranger.queue(0).submit(
        [](W& w) { w.move32(r(0), 5000).add_immediate32(r(0), r(0), -1).branch(Condition::gt, r(0), -2); });
    stranger.queue(0).ring();
    unsigned steps = 0;
    for (; !stranger.queue(0).drained() && steps < 100; ++steps) {
        queue.ring();  // nothing to do
        rig.gpu.write(doorbell_reg(1), 1);
        rig.ring_firmware();
        rig.step();
    }
    EXPECT_EQ(steps, 10u);  // 10001 instructions, 1024 a slice: as without the storm
}

TEST_F(Races, AStormOfRingsForAWaitThatIsNotMetStarvesNobody) {  // A12
    queue.run([&](W& w) { w.move48(d(66), memory.va).sync_wait64(d(66), Condition::gt, d(68)); });
    Group& stranger = rig.group();
    stranger.queue(0).submit(
        [](W& w) { w.move32(r(0), 5000).add_immediate32(r(0), r(0), -1).branch(Condition::gt, r(0), -2); });
    stranger.queue(0).ring();
    unsigned steps = 0;
    for (; !stranger.queue(0).drained() && steps < 100; ++steps) {
        queue.ring();
        rig.step();
    }
    EXPECT_LE(steps, 2 * 10u + 1);  // a turn for the wait, a turn for the work
}

TEST_F(Races, ARingCarriesNoAuthority) {  // A12: a late ring after the slot has changed hands
    group.suspend();
    Group& next = rig.group({.start = false});
    next.start_on(0);
    queue.submit(add_one);
    queue.ring();                       // its own page, bound to nothing
    rig.gpu.write(doorbell_reg(1), 1);  // a late kick
    rig.run_until_idle();
    EXPECT_EQ(next.queue(0).reg(0), 0u);
    EXPECT_EQ(queue.output().extract, 0u);
    EXPECT_EQ(group.doorbell().doorbell, 1u);
}

TEST_F(Races, WorkSubmittedBeforeTheStartRunsWithoutARing) {  // A13
    Group& late = rig.group({.start = false});
    late.queue(0).submit(add_one);
    EXPECT_EQ(late.queue(0).output().active, 0u);  // the client kicks
    late.start_on(1);
    rig.run_until_idle();
    EXPECT_EQ(late.queue(0).reg(0), 1u);
}

TEST_F(Races, WorkRungInTheStepThatStartsTheGroupRuns) {  // A13, C3
    Group& late = rig.group({.start = false});
    late.program(1);
    late.ask(GroupRequest::start);
    late.queue(0).submit(add_one);
    late.queue(0).ring();
    rig.run_until_idle();
    EXPECT_EQ(late.queue(0).reg(0), 1u);
}

// --- B: program against eviction ---

TEST_F(Races, WorkRungWhileLeavingTheSlotIsVisibleAfterTheAcknowledgementAndRunsLater) {  // B1
    group.ask(GroupRequest::suspend);
    queue.submit(add_one);  // INSERT; ACTIVE is still 1, so the client rings
    ASSERT_EQ(queue.output().active, 1u);
    queue.ring();
    rig.step_until([&] { return group.acknowledged(); });
    group.unbind();
    rig.run_until_idle();
    EXPECT_EQ(queue.output().active, 0u);
    EXPECT_NE(queue.input().insert, queue.output().extract);  // what the driver decides by
    EXPECT_EQ(queue.out().ack & kStreamEvents, queue.in().req & kStreamEvents);
    group.resume_on(1);
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Races, ActiveIsClearedBeforeTheAcknowledgement) {  // B1, B3
    rig.take_job_interrupts();
    std::vector<std::uint32_t> active;
    rig.host.on_interrupt = [&] {
        if (group.acknowledged()) active = {queue.output().active, group.queue(1).output().active};
    };
    group.suspend();
    EXPECT_EQ(active, (std::vector<std::uint32_t>{0, 0}));
    group.resume_on(0);
    active.clear();
    rig.take_job_interrupts();
    group.terminate();
    EXPECT_EQ(active, (std::vector<std::uint32_t>{0, 0}));
}

TEST_F(Races, ActiveIsSetBeforeInsertIsRead) {  // A13, B6: seen at the first instruction of the first slice
    std::uint32_t active = 0;
    rig.host.on_timestamp = [&] { active = queue.output().active; };
    group.suspend();
    queue.submit([&](W& w) { look_here(w); });
    group.resume_on(0);
    rig.run_until_idle();
    EXPECT_EQ(active, 1u);
}

TEST_F(Races, ASyncUpdateWhileSuspendedIsAnEventOfTheUpdaterAndFoundAtResume) {  // B8
    queue.run(
        [&](W& w) { w.move48(d(66), memory.va).sync_wait64(d(66), Condition::gt, d(68)).move32(r(0), 1); });
    group.suspend();
    Group& updater = rig.group();
    rig.run_until_idle();
    updater.acknowledge(kGroupEvents);
    updater.queue(0).run([&](W& w) { w.move48(d(66), memory.va).move48(d(68), 1).sync_add64(d(66), d(68)); });
    EXPECT_TRUE(updater.event(kGroupSyncUpdate));
    group.resume_on(0);
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Races, ASlotRaisesNoEventAfterItsAcknowledgement) {  // B11
    queue.run([&](W& w) { w.move48(d(66), memory.va).sync_wait64(d(66), Condition::gt, d(68)); });
    for (const GroupRequest request : {GroupRequest::suspend, GroupRequest::terminate}) {
        group.ask(request);
        rig.step_until([&] { return group.acknowledged(); });
        const std::uint32_t ack = group.out().ack;
        const std::uint32_t notices = group.out().cs_irq_req;
        const std::uint32_t stream_ack = queue.out().ack;
        rig.take_job_interrupts();
        // All that might stir it: values, its own page, kicks, looks at its streams, its address space.
        memory.sync64().value = 5;
        queue.input().insert = 3;
        queue.ring();
        rig.gpu.write(doorbell_reg(1), 1);
        queue.driver_ring();
        rig.disable(rig.vm);
        rig.enable(rig.vm);
        rig.run_until_idle();
        EXPECT_EQ(group.out().ack, ack);
        EXPECT_EQ(group.out().cs_irq_req, notices);
        EXPECT_EQ(queue.out().ack, stream_ack);
        EXPECT_EQ(rig.take_job_interrupts(), 0u);
        EXPECT_EQ(queue.output().active, 0u);
        if (request == GroupRequest::suspend) {  // for the second round
            queue.input().insert = queue.written;
            memory.sync64().value = 0;
            group.resume_on(0);
            rig.run_until_idle();
        }
    }
}

// --- E: requests ---

TEST_F(Races, ADoorbellRequestThatIsRaisedTwiceIsNotLost) {  // E8
    queue.submit(add_one);
    queue.driver_ring();
    group.queue(1).submit(add_one);
    group.queue(1).driver_ring();  // the group's global bit is pending already
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 1u);
    EXPECT_EQ(group.queue(1).reg(0), 1u);
    queue.submit(add_one);
    queue.driver_ring();
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 2u);
}

TEST_F(Races, StateAndConfigurationAskedTogetherAreBothAcknowledged) {  // E6
    group.in().req = (group.in().req & ~kGroupStateMask) | static_cast<std::uint32_t>(GroupRequest::suspend);
    group.in().req ^= kGroupEndpointConfig | kGroupStatusUpdate;
    rig.ring_group(0);
    rig.step();
    EXPECT_EQ(
        (group.in().req ^ group.out().ack) & (kGroupStateMask | kGroupEndpointConfig | kGroupStatusUpdate),
        0u);
}

// --- H: trust in shared pages ---

TEST_F(Races, ExtractInitCountsAtTheStartOnly) {  // H1
    queue.run(add_one);
    queue.input().extract_init = 1ULL << 40;
    queue.run(add_one);
    EXPECT_EQ(queue.reg(0), 2u);
    EXPECT_EQ(queue.output().extract, 16u);
    group.suspend();
    queue.input().extract_init = 0;
    group.resume_on(1);
    queue.run(add_one);
    EXPECT_EQ(queue.reg(0), 3u);  // nothing is run twice
    EXPECT_EQ(queue.output().extract, 24u);
}

TEST_F(Races, ExtractInitThatIsScribbledBeforeTheStartHarmsItsQueueOnly) {  // H1
    for (const std::uint64_t init : std::initializer_list<std::uint64_t>{~0ULL, 1ULL << 40, 3, 4091, 64}) {
        Rig own{{.group_slots = 2, .streams_per_group = 2}};
        Group& stranger = own.group();
        Group& victim = own.group({.queues = 2, .start = false});
        victim.queue(0).input().extract_init = init;
        victim.queue(0).submit([](W& w) { w.nop().nop(); });
        victim.queue(1).submit(add_one);
        victim.start_on(1);
        victim.queue(0).ring();
        stranger.queue(0).submit(add_one);
        stranger.queue(0).ring();
        own.run_until_idle(100);
        EXPECT_EQ(victim.queue(0).fatal().type, Exception::cs_config_fault) << init;
        EXPECT_EQ(victim.queue(1).reg(0), 1u) << init;
        EXPECT_EQ(stranger.queue(0).reg(0), 1u) << init;
    }
}

TEST_F(Races, AMisalignedExtractInitIsRefusedEvenIfInsertFits) {  // H1
    Group& late = rig.group({.start = false});
    late.queue(0).input().extract_init = 4091;
    late.queue(0).input().insert = 4096 + 8;
    late.start_on(1);
    rig.run_until_idle(100);
    EXPECT_EQ(late.queue(0).fatal().type, Exception::cs_config_fault);
    EXPECT_EQ(late.queue(0).fatal().info, 4091u);
}

TEST_F(Races, ScribblingOnTheOutputPageChangesNothing) {  // H2
    queue.run(add_one);
    queue.output().extract = 0;
    queue.output().active = 0;
    queue.run(add_one);
    EXPECT_EQ(queue.reg(0), 2u);
    EXPECT_EQ(queue.output().extract, 16u);
}

TEST_F(Races, AStartThatComesWhileTheGpuTakesCommandsFindsItsAddressSpaceEnabled) {
    Vm& low = rig.new_vm();
    Vm& high = rig.new_vm();
    rig.disable(low);
    rig.run_until_idle();
    Group& late = rig.group({.vm = &low, .start = false});
    late.queue(0).submit(add_one);
    late.program(1);
    rig.gpu.write(Reg::mmu_int_clear, ~0U);
    // The driver acts in the middle of the GPU's look at its registers: behind the commands of `low`.
    bool acted = false;
    rig.host.on_interrupt = [&] {
        if (std::exchange(acted, true)) return;
        rig.gpu.write64(as_reg(low.number(), AsReg::transcfg_lo), kTranscfgAarch64_4k);
        rig.gpu.write(as_reg(low.number(), AsReg::command), kAsCommandUpdate);
        late.ask(GroupRequest::start);
    };
    rig.gpu.write64(as_reg(low.number(), AsReg::transtab_lo), low.root());
    rig.gpu.write(as_reg(high.number(), AsReg::command), kAsCommandFlushMem);
    rig.step();
    EXPECT_TRUE(acted);
    rig.run_until_idle();
    rig.host.on_interrupt = nullptr;
    EXPECT_EQ(late.queue(0).reg(0), 1u);
}

TEST_F(Races, AStartThatIsSeenWithAnEarlierRequestsDoorbellFindsItsAddressSpaceEnabled) {
    Vm& low = rig.new_vm();
    Vm& high = rig.new_vm();
    rig.disable(low);
    rig.run_until_idle();
    Group& late = rig.group({.vm = &low, .start = false});
    late.queue(0).submit(add_one);
    late.program(1);
    rig.gpu.write(Reg::mmu_int_clear, ~0U);
    // The GPU has taken the doorbell and is past the commands of `low` when the driver enables that and
    // starts the group: the request is seen, its own doorbell and the command are still to come.
    bool acted = false;
    rig.host.on_interrupt = [&] {
        if (std::exchange(acted, true)) return;
        rig.gpu.write64(as_reg(low.number(), AsReg::transtab_lo), low.root());
        rig.gpu.write64(as_reg(low.number(), AsReg::transcfg_lo), kTranscfgAarch64_4k);
        rig.gpu.write(as_reg(low.number(), AsReg::command), kAsCommandUpdate);
        late.ask(GroupRequest::start);
    };
    rig.ask_global(kGlbPing);
    rig.gpu.write(as_reg(high.number(), AsReg::command), kAsCommandFlushMem);
    rig.step();
    EXPECT_TRUE(acted);
    EXPECT_TRUE(late.acknowledged());  // in the same look at the registers
    rig.run_until_idle();
    EXPECT_EQ(rig.gpu.read(as_reg(low.number(), AsReg::faultstatus)), 0u);
    EXPECT_EQ(late.queue(0).reg(0), 1u);
}

TEST_F(Races, ADoorbellPageIsLeftAloneFromTheAcknowledgementOn) {  // its memory may be gone then
    for (const GroupRequest request : {GroupRequest::suspend, GroupRequest::terminate}) {
        Rig own{{.group_slots = 1, .streams_per_group = 1}};
        Group& leaving = own.group();
        own.run_until_idle();
        own.take_job_interrupts();
        // The GPU is past the doorbell pages, and answers the ping, when the driver takes the page and asks.
        bool asked = false;
        own.host.on_interrupt = [&] {
            own.take_job_interrupts();
            if (std::exchange(asked, true)) {
                if (leaving.acknowledged()) leaving.doorbell().doorbell = 1;
                return;
            }
            leaving.unbind();
            leaving.ask(request);
        };
        own.ask_global(kGlbPing);
        own.step();
        EXPECT_TRUE(leaving.acknowledged());  // in the same look at the registers
        own.run_until_idle();
        EXPECT_EQ(leaving.doorbell().doorbell, 1u);
    }
}

TEST_F(Races, AnyDoorbellValueButZeroIsARing) {  // H5
    for (const std::uint32_t value : {1U, 2U, 0x8000'0000U, ~0U}) {
        const std::uint32_t before = queue.reg(0);
        queue.submit(add_one);
        group.doorbell().doorbell = value;
        rig.run_until_idle();
        EXPECT_EQ(queue.reg(0), before + 1) << value;
        EXPECT_EQ(group.doorbell().doorbell, 0u);
    }
    const std::uint32_t before = queue.reg(0);
    queue.submit(add_one);
    group.doorbell().need_wakeup = 17;
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), before);
}

}  // namespace
}  // namespace belfry::gpu
