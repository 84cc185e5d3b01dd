// One group slot of the firmware, through shared memory and registers only: group and stream states, status
// words, events. What SUSPEND saves: gpu_suspend_test.cpp.
#include <cstdint>

#include <gtest/gtest.h>

#include "unit/gpu_rig.hpp"

namespace belfry::gpu {
namespace {

using csf::Condition;
using csf::Scope;

void spin(W& w) { w.branch(Condition::always, r(0), -1); }

// --- group states ---

class GroupStates : public testing::Test {
  protected:
    Rig rig{{.group_slots = 2, .streams_per_group = 4}};
};

TEST_F(GroupStates, StartIsAcknowledgedWithTheGroupsInterrupt) {
    Group& group = rig.group({.start = false});
    group.program(1);
    group.ask(GroupRequest::start);
    EXPECT_EQ(group.queue(0).output().active, 0u);
    rig.step();
    EXPECT_TRUE(group.acknowledged());
    EXPECT_EQ(group.out().ack & 7, 1u);
    EXPECT_EQ(group.queue(0).out().ack & 7, 1u);
    EXPECT_EQ(group.queue(0).output().active, 1u);
    EXPECT_EQ(rig.take_job_interrupts(), 1U << 1);
}

TEST_F(GroupStates, StartLeavesStreamsThatAreToldToStopAlone) {
    // B14: what an earlier group of the slot left in the blocks is void.
    Group& first = rig.group({.queues = 4, .start = false});
    first.start_on(0);
    first.terminate();
    for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(first.queue(i).output().active, 0u);
    Group& second = rig.group({.queues = 2, .start = false});
    second.start_on(0);  // tells streams 2 and 3 to stop, with the first one's rings still in their blocks
    first.queue(2).submit([](W& w) { w.move32(r(0), 1); });
    second.queue(0).ring();
    rig.run_until_idle();
    EXPECT_EQ(first.queue(2).output().active, 0u);
    EXPECT_EQ(first.queue(2).output().extract, 0u);
    EXPECT_EQ(rig.stream_out(0, 1).ack & 7, 1u);
    EXPECT_EQ(rig.stream_out(0, 2).ack & 7, 0u);
    EXPECT_EQ(rig.stream_out(0, 3).ack & 7, 0u);
}

TEST_F(GroupStates, EndpointConfigIsAcknowledged) {
    Group& group = rig.group();
    group.in().endpoint_req = 0xf000'0000;
    group.in().req ^= kGroupEndpointConfig;
    rig.ring_group(0);
    rig.step();
    EXPECT_EQ((group.in().req ^ group.out().ack) & kGroupEndpointConfig, 0u);
}

TEST_F(GroupStates, AnswersThatAreMaskedRaiseNoInterrupt) {
    Group& group = rig.group();
    rig.run_until_idle();
    rig.take_job_interrupts();
    group.in().ack_irq_mask = ~(kGroupEndpointConfig | kGroupStatusUpdate);
    group.in().req ^= kGroupEndpointConfig | kGroupStatusUpdate;
    rig.ring_group(0);
    rig.step();
    EXPECT_EQ((group.in().req ^ group.out().ack) & (kGroupEndpointConfig | kGroupStatusUpdate), 0u);
    EXPECT_EQ(rig.take_job_interrupts(), 0u);
}

TEST_F(GroupStates, TerminateStopsAGroupThatWouldRunForEver) {
    Group& group = rig.group({.queues = 2});
    group.queue(0).submit(spin);
    group.queue(0).ring();
    rig.step();
    rig.take_job_interrupts();
    group.terminate();
    EXPECT_EQ(rig.take_job_interrupts(), 1u);
    EXPECT_EQ(group.out().ack & 7, 0u);
    EXPECT_EQ(group.queue(0).output().active, 0u);
    EXPECT_EQ(group.queue(1).output().active, 0u);
    rig.run_until_idle(2);
}

TEST_F(GroupStates, AnUnsoundStreamIsFatalAndOthersOfTheGroupStart) {
    struct {
        const char* what;
        void (*spoil)(StreamInput&);
    } const cases[] = {
        {"ring not a power of two", [](StreamInput& in) { in.ringbuf_size = 3 * 4096; }},
        {"ring of no bytes", [](StreamInput& in) { in.ringbuf_size = 0; }},
        {"ring of less than a page", [](StreamInput& in) { in.ringbuf_size = 2048; }},
        {"ring not page aligned", [](StreamInput& in) { in.ringbuf_base += 64; }},
        {"no input page", [](StreamInput& in) { in.ringbuf_input = 0x7fff'0000; }},
        {"no output page", [](StreamInput& in) { in.ringbuf_output = 0x7fff'0000; }},
        {"trace buffer not a power of two", [](StreamInput& in) { in.instrbuf_size = 24; }},
        {"trace buffer of two bytes", [](StreamInput& in) { in.instrbuf_size = 2; }},
        {"trace buffer not aligned",
         [](StreamInput& in) {
             in.instrbuf_size = 64;
             in.instrbuf_base += 2;
         }},
    };
    for (const auto& c : cases) {
        Rig own{{.group_slots = 1, .streams_per_group = 2}};
        Group& group = own.group({.queues = 2, .start = false});
        group.program(0);
        c.spoil(group.queue(0).in());
        group.ask(GroupRequest::start);
        own.step();
        EXPECT_TRUE(group.acknowledged()) << c.what;
        EXPECT_EQ(group.queue(0).fatal().type, Exception::cs_config_fault) << c.what;
        EXPECT_EQ(group.queue(0).output().active, 0u);
        group.queue(1).run([](W& w) { w.move32(r(0), 1); });
        EXPECT_EQ(group.queue(1).reg(0), 1u);
        group.update_status();
        group.terminate();
    }
}

TEST_F(GroupStates, StoppingAnUnsoundStreamDoesNotTouchTheGroupThatHadTheSlotBefore) {
    Group& before = rig.group({.queues = 1, .start = false});
    before.start_on(0);
    before.terminate();
    before.start_on(1);
    ASSERT_EQ(before.queue(0).output().active, 1u);
    Group& unsound = rig.group({.queues = 1, .start = false});
    unsound.program(0);
    unsound.queue(0).in().ringbuf_size = 24;
    unsound.ask(GroupRequest::start);
    rig.step();
    ASSERT_EQ(unsound.queue(0).fatal().type, Exception::cs_config_fault);
    unsound.terminate();
    EXPECT_EQ(before.queue(0).output().active, 1u);
}

TEST_F(GroupStates, AnUnsoundStreamShowsNothingOfTheOneThatHadTheSlotBefore) {
    Group& before = rig.group();
    before.queue(0).run([](W& w) {  // stuck, with registers that nobody else should see
        w.move32(r(0), 0x5ec2e7).req_resource({.compute = true});
        w.flush_cache2(r(0), {.after = slots(1), .signal = 1}).wait(slots(1));
    });
    before.terminate();
    Group& unsound = rig.group({.start = false});
    unsound.program(0);
    unsound.queue(0).in().ringbuf_size = 24;
    unsound.ask(GroupRequest::start);
    rig.step();
    unsound.suspend();
    EXPECT_EQ(unsound.queue(0).out().status_scoreboards, 0u);
    EXPECT_EQ(unsound.queue(0).out().status_blocked_reason, 0u);
    EXPECT_EQ(unsound.queue(0).out().status_req_resource, 0u);
    unsound.resume_on(0);
    EXPECT_EQ(unsound.queue(0).reg(0), 0u);
    EXPECT_EQ(unsound.queue(0).status(), StreamStatus::fatal);
}

TEST_F(GroupStates, ResumeFromMemoryThatIsNotMappedIsFatal) {
    Group& group = rig.group();
    group.suspend();
    group.program(0);
    group.in().suspend_buf = 0x7fff'0000;
    group.ask(GroupRequest::resume);
    rig.step();
    EXPECT_TRUE(group.acknowledged());
    EXPECT_EQ(group.queue(0).fatal().type, Exception::cs_config_fault);
}

// --- single streams ---

TEST_F(GroupStates, OneStreamIsStoppedByItsDoorbellAndStartedAgain) {
    Group& group = rig.group({.queues = 2});
    group.queue(0).submit(spin);
    group.queue(1).submit(spin);
    group.queue(0).ring();
    rig.step();
    rig.take_job_interrupts();

    group.queue(0).in().req &= ~kStreamStateMask;
    group.queue(0).driver_ring();
    rig.step();
    EXPECT_EQ(group.queue(0).out().ack & 7, 0u);
    EXPECT_EQ(group.queue(0).output().active, 0u);
    EXPECT_EQ(group.queue(0).status(), StreamStatus::stopped);
    EXPECT_EQ(rig.take_job_interrupts(), 1u);
    EXPECT_EQ(group.queue(1).status(), StreamStatus::running);
    EXPECT_EQ(group.queue(1).output().active, 1u);

    // The driver's page says where it starts again.
    group.queue(0).input().extract_init = group.queue(0).written;
    group.queue(0).in().req |= kStreamStart;
    group.queue(0).driver_ring();
    rig.step();
    EXPECT_EQ(group.queue(0).out().ack & 7, 1u);
    EXPECT_EQ(group.queue(0).output().active, 1u);
    EXPECT_EQ(rig.take_job_interrupts(), 1u);
    group.queue(0).submit([](W& w) { w.move32(r(0), 1); });
    group.queue(0).ring();
    rig.step_until([&] { return group.queue(0).reg(0) == 1; }, 8);
}

TEST_F(GroupStates, StoppingAStreamIsSilentIfMasked) {
    Group& group = rig.group();
    group.queue(0).in().ack_irq_mask = 0;
    group.in().ack_irq_mask = 0;  // the group's idle event is another matter
    rig.take_job_interrupts();
    group.queue(0).in().req &= ~kStreamStateMask;
    group.queue(0).driver_ring();
    rig.step();
    EXPECT_EQ(group.queue(0).out().ack & 7, 0u);
    EXPECT_EQ(rig.take_job_interrupts(), 0u);
}

TEST_F(GroupStates, AStreamDoorbellMakesTheFirmwareReadInsert) {
    Group& group = rig.group({.queues = 2});
    group.queue(1).submit([](W& w) { w.move32(r(0), 1); });
    rig.run_until_idle();
    EXPECT_EQ(group.queue(1).reg(0), 0u);
    group.queue(1).driver_ring();
    rig.run_until_idle();
    EXPECT_EQ(group.queue(1).reg(0), 1u);
    EXPECT_EQ(group.out().doorbell_ack, group.in().doorbell_req);
}

TEST_F(GroupStates, TheDoorbellRegisterOfASlotRingsItsQueues) {  // a kick of a resident group
    Group& group = rig.group({.queues = 2});
    group.queue(1).submit([](W& w) { w.move32(r(0), 1); });
    rig.gpu.write(doorbell_reg(group.slot() + 1), 1);
    rig.run_until_idle();
    EXPECT_EQ(group.queue(1).reg(0), 1u);
}

// --- status words ---

class StatusWords : public testing::Test {
  protected:
    Rig rig{{.group_slots = 1, .streams_per_group = 2}};
    Group& group = rig.group();
    Queue& queue = group.queue(0);
    Memory memory = rig.memory();

    /// By offset, as the fact sheet has them.
    std::uint32_t word(std::uint32_t offset) {
        const std::uint32_t block = rig.shared32(rig.stream_control(0, 0) + 8) - 0x0400'0000;
        return rig.shared32(block + offset);
    }
    void wait_for_more_than(std::uint64_t reference, std::uint64_t offset) {
        queue.run([&](W& w) {
            w.move48(d(66), memory.va + offset).move64(d(68), reference);
            w.sync_wait64(d(66), Condition::gt, d(68)).move32(r(0), 1);
        });
    }
    void expect_sync_wait() {
        EXPECT_EQ(word(0x40), static_cast<std::uint32_t>(queue.ring_memory.va + 3 * 8));  // cmd_ptr
        EXPECT_EQ(word(0x44), 0u);
        EXPECT_EQ(word(0x48), 1U << 31 | 1U << 30 | 1U << 24);  // wait: sync, 64 bit, greater
        EXPECT_EQ(word(0x50), static_cast<std::uint32_t>(memory.va + 32));
        EXPECT_EQ(word(0x54), static_cast<std::uint32_t>((memory.va + 32) >> 32));
        EXPECT_EQ(word(0x58), 0x9abc'def0u);
        EXPECT_EQ(word(0x64), 0x1234'5678u);
        EXPECT_EQ(word(0x5c), 0u);  // scoreboards
        EXPECT_EQ(word(0x60), 3u);  // blocked on sync
    }
};

TEST_F(StatusWords, SayAfterStatusUpdateWhatAStreamWaitsFor) {
    wait_for_more_than(0x1234'5678'9abc'def0, 32);
    EXPECT_EQ(word(0x48), 0u);  // not before
    rig.take_job_interrupts();
    group.update_status();
    EXPECT_EQ(rig.take_job_interrupts(), 1u);
    expect_sync_wait();
}

TEST_F(StatusWords, SayAfterSuspendWhatAStreamWaitsFor) {
    wait_for_more_than(0x1234'5678'9abc'def0, 32);
    group.suspend();
    expect_sync_wait();
}

TEST_F(StatusWords, AreThereWhenSuspendIsAcknowledged) {
    wait_for_more_than(0x1234'5678'9abc'def0, 32);
    rig.take_job_interrupts();
    bool looked = false;
    rig.host.on_interrupt = [&] {
        if (!group.acknowledged()) return;
        looked = true;
        expect_sync_wait();
        EXPECT_EQ(group.out().status_state, 1u);
        EXPECT_EQ(queue.output().active, 0u);
    };
    group.suspend();
    EXPECT_TRUE(looked);
}

TEST_F(StatusWords, SayWhichCondition) {
    queue.run(
        [&](W& w) { w.move48(d(66), memory.va).move32(r(68), 7).sync_wait32(d(66), Condition::ge, r(68)); });
    group.update_status();
    EXPECT_EQ(word(0x48), 1U << 31 | 5U << 24);
    EXPECT_EQ(word(0x58), 7u);
    EXPECT_EQ(word(0x64), 0u);
}

TEST_F(StatusWords, AreClearedOnceTheStreamGoesOn) {
    wait_for_more_than(0, 0);
    group.update_status();
    ASSERT_EQ(word(0x60), 3u);
    memory.sync64().value = 1;
    queue.ring();
    rig.run_until_idle();
    EXPECT_EQ(word(0x60), 3u);  // a snapshot
    group.update_status();
    EXPECT_EQ(word(0x60), 0u);
    EXPECT_EQ(word(0x48), 0u);
    EXPECT_EQ(word(0x50), 0u);
    EXPECT_EQ(word(0x58), 0u);
    EXPECT_EQ(word(0x40), static_cast<std::uint32_t>(queue.ring_memory.va + queue.written));
}

TEST_F(StatusWords, SayWhetherTheGroupIsIdle) {
    group.update_status();
    EXPECT_EQ(group.out().status_state, 1u);
    queue.submit(spin);
    queue.ring();
    rig.step();
    group.update_status();
    EXPECT_EQ(group.out().status_state, 0u);
}

TEST_F(StatusWords, PointIntoTheCalledBuffer) {
    const Memory callee = rig.buffer([](W& w) { w.nop().branch(Condition::always, r(0), -1); });
    queue.submit([&](W& w) { w.move48(d(92), callee.va).move32(r(94), 16).call(d(92), r(94)); });
    queue.ring();
    rig.step();
    group.update_status();
    EXPECT_EQ(queue.out().status_cmd_ptr, callee.va + 8);
}

TEST_F(StatusWords, OfAFreeSlotAreAcknowledgedAndLeftAlone) {
    group.terminate();
    queue.out().status_cmd_ptr = 0x1234;
    group.out().status_state = 0x5678;
    group.update_status();
    EXPECT_EQ(queue.out().status_cmd_ptr, 0x1234u);
    EXPECT_EQ(group.out().status_state, 0x5678u);
}

// --- events ---

class Events : public testing::Test {
  protected:
    Rig rig{{.group_slots = 2, .streams_per_group = 2}};
    Memory memory = rig.memory();

    void settle(Group& group) {
        rig.run_until_idle();
        group.acknowledge(kGroupEvents);
        rig.take_job_interrupts();
    }
    void update(W& w, Scope scope) {
        w.move48(d(66), memory.va).move48(d(68), 1).sync_add64(d(66), d(68), {.scope = scope});
    }
};

TEST_F(Events, IdleIsRaisedWhenTheLastStreamRunsDry) {
    Group& group = rig.group({.queues = 2});
    settle(group);
    group.queue(0).submit([](W& w) { w.nop(); });
    group.queue(1).submit(spin);
    group.queue(0).ring();
    rig.step_until([&] { return group.queue(0).drained(); });
    rig.step();
    EXPECT_FALSE(group.event(kGroupIdle));
    group.queue(1).in().req &= ~kStreamStateMask;
    group.queue(1).driver_ring();
    rig.step();
    EXPECT_TRUE(group.event(kGroupIdle));
    EXPECT_EQ(rig.take_job_interrupts(), 1u);
}

TEST_F(Events, IdleIsRaisedForAGroupThatStartsWithNothingToDo) {
    Group& group = rig.group({.start = false});
    group.start_on(0);
    EXPECT_TRUE(group.event(kGroupIdle));
}

TEST_F(Events, IdleCountsAnEmptyStreamOnlyIfEnabled) {
    Group& group = rig.group({.start = false});
    group.queue(0).idle_conditions = kStreamIdleSyncWait;
    group.start_on(0);
    group.queue(0).run([](W& w) { w.nop(); });
    EXPECT_FALSE(group.event(kGroupIdle));
}

TEST_F(Events, IdleCountsASyncWaitOnlyIfEnabled) {
    for (const bool enabled : {false, true}) {
        Group& group = rig.group({.start = false});
        group.queue(0).idle_conditions = kStreamIdleEmpty | (enabled ? kStreamIdleSyncWait : 0);
        group.start_on(enabled ? 1 : 0);
        settle(group);
        group.queue(0).run(
            [&](W& w) { w.move48(d(66), memory.va).sync_wait64(d(66), Condition::gt, d(68)); });
        EXPECT_EQ(group.event(kGroupIdle), enabled);
    }
}

TEST_F(Events, IdleDoesNotCountAProgressWait) {
    Group& group = rig.group({.queues = 2});
    settle(group);
    group.queue(0).run([](W& w) { w.move32(r(0), 1).progress_wait(1, r(0)); });
    EXPECT_FALSE(group.event(kGroupIdle));
}

TEST_F(Events, IdleIsRaisedAgainAfterMoreWork) {
    Group& group = rig.group();
    for (int i = 0; i < 3; ++i) {
        settle(group);
        EXPECT_FALSE(group.event(kGroupIdle));
        group.queue(0).run([](W& w) { w.nop(); });
        EXPECT_TRUE(group.event(kGroupIdle));
        EXPECT_EQ(rig.take_job_interrupts(), 1u);
    }
}

TEST_F(Events, IdleIsRaisedAgainAfterAResumeWithNothingToDo) {
    Group& group = rig.group({.queues = 2});
    for (const bool waits : {false, true}) {
        if (waits)
            group.queue(0).run(
                [&](W& w) { w.move48(d(66), memory.va).sync_wait64(d(66), Condition::gt, d(68)); });
        settle(group);
        group.suspend();
        settle(group);
        EXPECT_FALSE(group.event(kGroupIdle));
        group.resume_on(1 - group.slot());
        rig.run_until_idle();
        EXPECT_TRUE(group.event(kGroupIdle)) << waits;
        EXPECT_NE(rig.take_job_interrupts(), 0u);
    }
}

TEST_F(Events, IdleIsRaisedAgainForEachWaitThatBlocksAgain) {
    Group& group = rig.group();
    group.queue(0).run([&](W& w) { w.move48(d(66), memory.va).sync_wait64(d(66), Condition::gt, d(68)); });
    settle(group);
    EXPECT_FALSE(group.event(kGroupIdle));
    group.queue(0).ring();  // tried again in vain
    rig.run_until_idle();
    EXPECT_TRUE(group.event(kGroupIdle));
    EXPECT_EQ(rig.take_job_interrupts(), 1u);
}

TEST_F(Events, IdleThatNobodyHeardStandsForWhoeverBeginsToListen) {  // D2
    Group& group = rig.group();
    settle(group);
    group.in().ack_irq_mask &= ~kGroupIdle;
    for (int i = 0; i < 2; ++i) {  // an odd and an even number of times alike
        group.queue(0).run([](W& w) { w.nop(); });
        EXPECT_TRUE(group.event(kGroupIdle)) << i;
    }
    EXPECT_EQ(rig.take_job_interrupts(), 0u);
    group.in().ack_irq_mask |= kGroupIdle;
    group.acknowledge(kGroupEvents);
    group.queue(0).run([](W& w) { w.nop(); });
    EXPECT_TRUE(group.event(kGroupIdle));
    EXPECT_EQ(rig.take_job_interrupts(), 1u);
}

TEST_F(Events, IdleCountsAFatalStream) {
    Group& group = rig.group({.queues = 2});
    settle(group);
    group.queue(0).run({0x0A00000000000000});
    EXPECT_TRUE(group.event(kGroupIdle));
}

TEST_F(Events, SyncUpdateIsRaisedBySystemScope) {
    Group& group = rig.group();
    settle(group);
    group.queue(0).run([&](W& w) { update(w, Scope::system); });
    EXPECT_TRUE(group.event(kGroupSyncUpdate));
    EXPECT_EQ(rig.take_job_interrupts(), 1u);
}

TEST_F(Events, SyncUpdateIsNotRaisedByCsgScope) {
    Group& group = rig.group();
    settle(group);
    group.queue(0).run([&](W& w) { update(w, Scope::csg); });
    EXPECT_FALSE(group.event(kGroupSyncUpdate));
}

TEST_F(Events, SyncUpdateIsRaisedFor32BitObjectsAndForSets) {
    Group& group = rig.group();
    for (int kind = 0; kind < 3; ++kind) {
        settle(group);
        group.queue(0).run([&](W& w) {
            w.move48(d(66), memory.va);
            if (kind == 0) w.sync_add32(d(66), r(68));
            if (kind == 1) w.sync_set32(d(66), r(68));
            if (kind == 2) w.sync_set64(d(66), d(68));
        });
        EXPECT_TRUE(group.event(kGroupSyncUpdate)) << kind;
    }
}

TEST_F(Events, ManySyncUpdatesMergeUntilTheEventIsAcknowledged) {
    Group& group = rig.group();
    settle(group);
    for (int i = 0; i < 3; ++i) group.queue(0).run([&](W& w) { update(w, Scope::system); });
    EXPECT_TRUE(group.event(kGroupSyncUpdate));  // an odd and an even number of updates alike
    group.queue(0).run([&](W& w) { update(w, Scope::system); });
    EXPECT_TRUE(group.event(kGroupSyncUpdate));
    group.acknowledge(kGroupEvents);
    EXPECT_FALSE(group.event(kGroupSyncUpdate));
    group.queue(0).run([&](W& w) { update(w, Scope::system); });
    EXPECT_TRUE(group.event(kGroupSyncUpdate));
}

TEST_F(Events, ThatAreMaskedRaiseNoInterrupt) {
    Group& group = rig.group();
    settle(group);
    group.in().ack_irq_mask = 0;
    group.queue(0).run([&](W& w) { update(w, Scope::system); });
    EXPECT_TRUE(group.event(kGroupSyncUpdate));
    EXPECT_TRUE(group.event(kGroupIdle));
    EXPECT_EQ(rig.take_job_interrupts(), 0u);
    // A masked event that is pending does not keep a later one from being heard, once acknowledged.
    group.in().ack_irq_mask = kGroupSyncUpdate;
    group.acknowledge(kGroupEvents);
    group.queue(0).run([&](W& w) { update(w, Scope::system); });
    EXPECT_EQ(rig.take_job_interrupts(), 1u);
}

TEST_F(Events, OfAStreamThatAreMaskedRaiseNoInterruptButANotice) {
    Group& group = rig.group();
    settle(group);
    group.queue(0).in().ack_irq_mask = 0;
    group.in().ack_irq_mask = 0;
    group.queue(0).run({0x0A00000000000000});
    EXPECT_EQ(group.queue(0).fatal().type, Exception::cs_instr_invalid);
    EXPECT_EQ(group.notices(), 1u);
    EXPECT_EQ(rig.take_job_interrupts(), 0u);
}

TEST_F(Events, NoticesMergeUntilTheDriverCopiesThem) {
    Group& group = rig.group({.queues = 2});
    group.queue(0).run({0x2900000000000001});  // PROT_REGION
    EXPECT_EQ(group.notices(), 0b01u);
    group.queue(1).run({0x0A00000000000000});
    EXPECT_EQ(group.notices(), 0b11u);
    memory.sync64() = {.value = 1, .error = 1};
    group.in().cs_irq_ack = group.out().cs_irq_req;
    EXPECT_EQ(group.notices(), 0u);
    group.suspend();
    group.resume_on(0);
    rig.run_until_idle();
    EXPECT_EQ(group.notices(), 0b01u);  // still wants protected mode, and says so again
}

TEST_F(Events, GlobalIdleIsRaisedWhenAllGroupsAreIdleIfEnabled) {
    Group& one = rig.group();
    Group& two = rig.group();
    rig.global_in().req |= kGlbIdleEn;
    rig.ring_firmware();
    rig.step();
    settle(one);
    settle(two);
    two.queue(0).submit(spin);
    two.queue(0).ring();
    one.queue(0).submit([](W& w) { w.nop(); });
    one.queue(0).ring();
    rig.step_until([&] { return one.event(kGroupIdle); });
    EXPECT_EQ((rig.global_in().req ^ rig.global_out().ack) & kGlbIdle, 0u);
    two.queue(0).in().req &= ~kStreamStateMask;
    two.queue(0).driver_ring();
    rig.step();
    EXPECT_EQ((rig.global_in().req ^ rig.global_out().ack) & kGlbIdle, kGlbIdle);
    EXPECT_NE(rig.take_job_interrupts() & kJobIntGlobal, 0u);
}

TEST_F(Events, GlobalIdleIsNotRaisedUnlessEnabled) {
    Group& one = rig.group();
    settle(one);
    one.queue(0).run([](W& w) { w.nop(); });
    EXPECT_EQ((rig.global_in().req ^ rig.global_out().ack) & kGlbIdle, 0u);
}

}  // namespace
}  // namespace belfry::gpu
