// Scoreboard slots and deferred operations: who counts where, when an operation runs, what it has sampled.
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "unit/gpu_rig.hpp"

namespace belfry::gpu {
namespace {

class Scoreboard : public testing::Test {
  protected:
    Rig rig{{.group_slots = 1, .streams_per_group = 1}};
    Group& group = rig.group();
    Queue& queue = group.queue(0);
    Memory memory = rig.memory();
    Memory scratch = rig.memory();

    /// The instruction at which the test looks around: calls host.on_timestamp at once.
    void look_here(W& w) { w.move48(d(90), scratch.va).store_state(csf::State::timestamp, d(90)); }
};

TEST_F(Scoreboard, ADeferredOperationRunsAfterTheSlotsThatItWaitsFor) {
    memory.sync64(64).waiters = 1;
    std::uint32_t stored_when_woken = 0;
    rig.host.on_wake = [&] { stored_when_woken = memory.u32(); };
    queue.run([&](W& w) {
        w.move48(d(66), memory.va).move48(d(68), memory.va + 64).move48(d(70), 1).move32(r(0), 77);
        w.store_multiple(r(0), 1, d(66));
        w.sync_add64(d(68), d(70), {.after = slots(0), .signal = 1}).wait(slots(1));
    });
    EXPECT_EQ(memory.sync64(64).value, 1u);
    EXPECT_EQ(stored_when_woken, 77u);
}

TEST_F(Scoreboard, ChainedOperationsRunInTheOrderOfTheChain) {
    for (const std::uint64_t offset : {0U, 16U, 32U}) memory.sync64(offset).waiters = 1;
    queue.run([&](W& w) {
        w.move48(d(66), memory.va)
            .move48(d(68), memory.va + 16)
            .move48(d(70), memory.va + 32)
            .move48(d(72), 1);
        w.flush_cache2(r(0), {.signal = 0});
        w.sync_add64(d(66), d(72), {.after = slots(0), .signal = 3});
        w.sync_add64(d(68), d(72), {.after = slots(3), .signal = 2});
        w.sync_add64(d(70), d(72), {.after = slots(2), .signal = 1});
        w.wait(slots(1));
    });
    const std::vector<FakeHost::Wake> expected = {
        {&memory.u32(0), 1U << 1}, {&memory.u32(16), 1U << 1}, {&memory.u32(32), 1U << 1}};
    EXPECT_EQ(rig.host.wakes, expected);
}

TEST_F(Scoreboard, WaitForTheEndOfAChainFinishesAllOfIt) {
    queue.run([&](W& w) {
        w.move48(d(66), memory.va).move48(d(72), 1).flush_cache2(r(0), {.signal = 0});
        w.sync_add64(d(66), d(72), {.after = slots(0), .signal = 3})
            .flush_cache2(r(0), {.after = slots(3), .signal = 2});
        w.wait(slots(2)).load_multiple(r(0), 1, d(66)).wait(slots(0));
    });
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Scoreboard, WaitLeavesTheOperationsOfOtherSlotsAlone) {
    std::uint64_t value_after_wait = ~0ULL;
    rig.host.on_timestamp = [&] { value_after_wait = memory.sync64().value; };
    queue.run([&](W& w) {
        w.move48(d(66), memory.va).move48(d(72), 1).flush_cache2(r(0), {.signal = 0});
        w.sync_add64(d(66), d(72), {.after = slots(0), .signal = 3});
        w.wait(slots(0, 1, 2, 4, 5, 6, 7));
        look_here(w);
    });
    EXPECT_EQ(value_after_wait, 0u);
    EXPECT_EQ(memory.sync64().value, 1u);  // at the end of the slice at the latest
}

TEST_F(Scoreboard, AnOperationWithoutWaitMaskIsDoneBeforeTheNextInstruction) {
    std::uint64_t value = 0;
    rig.host.on_timestamp = [&] { value = memory.sync64().value; };
    queue.run([&](W& w) {
        w.move48(d(66), memory.va).move48(d(72), 5).sync_set64(d(66), d(72), {.signal = 3});
        look_here(w);
    });
    EXPECT_EQ(value, 5u);
}

TEST_F(Scoreboard, FlushIsAsynchronousAlsoWithoutWaitMask) {
    const std::uint32_t before = rig.gpu.read(Reg::latest_flush_id);
    std::vector<std::uint32_t> seen;
    rig.host.on_timestamp = [&] { seen.push_back(rig.gpu.read(Reg::latest_flush_id)); };
    queue.run([&](W& w) {
        w.word(0x2401460000000233);  // FLUSH_CACHE2 3/3/2, id r70, signal 1
        look_here(w);
        w.wait(slots(0));
        look_here(w);
        w.wait(slots(1));
        look_here(w);
    });
    EXPECT_EQ(seen, (std::vector<std::uint32_t>{before, before, before + 1}));
}

TEST_F(Scoreboard, DeferredOperationsSampleTheirRegistersWhenIssued) {
    rig.host.now = 99;
    queue.run([&](W& w) {
        w.flush_cache2(r(0), {.signal = 7});
        w.move48(d(66), memory.va).move48(d(68), memory.va + 16).move48(d(72), 5);
        w.sync_set64(d(66), d(72), {.after = slots(7), .signal = 3});
        w.store_state(csf::State::timestamp, d(68), 0, {.after = slots(7), .signal = 4});
        w.move48(d(66), 0).move48(d(68), 0).move48(d(72), 6).wait(kAllSlots);
    });
    EXPECT_EQ(memory.sync64().value, 5u);
    EXPECT_EQ(memory.u64(16), 99u);
}

TEST_F(Scoreboard, ATracePointSamplesItsRegistersWhenIssued) {
    Rig own{{.group_slots = 1, .streams_per_group = 1}};
    Queue& traced = own.group({.trace_bytes = 64}).queue(0);
    traced.run([&](W& w) {
        w.flush_cache2(r(0), {.signal = 7}).move32(r(4), 1);
        w.trace_point(r(4), 1, {.after = slots(7), .signal = 3}).move32(r(4), 2).wait(slots(3));
    });
    EXPECT_EQ(traced.trace.u32(), 1u);
}

TEST_F(Scoreboard, AnOperationThatWaitsForItselfBlocksItsWait) {
    queue.run([&](W& w) {
        w.move48(d(66), memory.va)
            .move48(d(72), 1)
            .sync_add64(d(66), d(72), {.after = slots(1), .signal = 1});
        w.wait(slots(0, 1)).move32(r(0), 1);
    });
    EXPECT_EQ(queue.blocked_by(), BlockedReason::scoreboard);
    EXPECT_EQ(queue.reg(0), 0u);
    EXPECT_EQ(memory.sync64().value, 0u);
    group.update_status();
    EXPECT_EQ(queue.out().status_blocked_reason, 1u);
    EXPECT_EQ(queue.out().status_wait, 0x0008'0003u);  // source WAIT, slots 0 and 1
    EXPECT_EQ(queue.out().status_scoreboards, 0b10u);
    EXPECT_EQ(queue.out().status_cmd_ptr, queue.ring_memory.va + 3 * 8);
}

TEST_F(Scoreboard, OperationsThatWaitForEachOtherBlockTheirWait) {
    queue.run([&](W& w) {
        w.move48(d(66), memory.va).move48(d(72), 1).flush_cache2(r(0), {.signal = 1});
        w.sync_add64(d(66), d(72), {.after = slots(1, 3), .signal = 2});
        w.sync_add64(d(66), d(72), {.after = slots(2), .signal = 3});
        w.sync_add64(d(66), d(72), {.after = slots(3), .signal = 2});
        w.wait(slots(3)).move32(r(0), 1);
    });
    EXPECT_EQ(queue.blocked_by(), BlockedReason::scoreboard);
    EXPECT_EQ(queue.reg(0), 0u);
}

TEST_F(Scoreboard, AQueueWithAnOperationThatNeverEndsIsEmptyButNotIdle) {
    queue.run([&](W& w) {
        w.move48(d(66), memory.va)
            .move48(d(72), 1)
            .sync_add64(d(66), d(72), {.after = slots(1), .signal = 1});
    });
    EXPECT_EQ(queue.status(), StreamStatus::empty);
    EXPECT_TRUE(queue.drained());
    group.acknowledge(kGroupEvents);
    group.update_status();
    EXPECT_EQ(group.out().status_state, 0u);
    EXPECT_EQ(queue.out().status_scoreboards, 0b10u);
    EXPECT_EQ(queue.out().status_blocked_reason, 0u);
}

TEST_F(Scoreboard, ThirtyTwoOperationsMayBeInFlightAndTheNextOnePushesThemOut) {
    std::vector<std::uint32_t> seen;
    rig.host.on_timestamp = [&] { seen.push_back(memory.u32(0)); };
    queue.run([&](W& w) {
        w.move48(d(66), memory.va).move32(r(0), 7);
        for (unsigned i = 0; i < 32; ++i) w.store_multiple(r(0), 1, d(66), static_cast<std::int16_t>(4 * i));
        look_here(w);
        w.store_multiple(r(0), 1, d(66), 128);
        look_here(w);
    });
    EXPECT_EQ(seen, (std::vector<std::uint32_t>{0, 7}));
    for (unsigned i = 0; i < 33; ++i) EXPECT_EQ(memory.u32(4 * i), 7u) << i;
}

TEST_F(Scoreboard, AFullQueueOfStuckOperationsBlocksTheNextOneAsDeferred) {
    queue.run([&](W& w) {
        w.move48(d(66), memory.va).move48(d(72), 1);
        for (unsigned i = 0; i < 33; ++i) w.sync_add64(d(66), d(72), {.after = slots(1), .signal = 1});
        w.move32(r(0), 1);
    });
    EXPECT_EQ(queue.blocked_by(), BlockedReason::deferred);
    EXPECT_EQ(queue.reg(0), 0u);
    group.update_status();
    EXPECT_EQ(queue.out().status_blocked_reason, 4u);
    EXPECT_EQ(queue.out().status_cmd_ptr, queue.ring_memory.va + (2 + 32) * 8);
}

TEST_F(Scoreboard, CallAndReturnNeitherWaitNorSaveSlots) {
    memory.u32() = 9;
    const Memory callee = rig.buffer(
        [&](W& w) { w.move48(d(66), memory.va).set_sb_entry(0, 4).load_multiple(r(0), 1, d(66)); });
    queue.run([&](W& w) {
        w.move48(d(92), callee.va).move32(r(94), static_cast<std::uint32_t>(callee.bytes)).call(d(92), r(94));
        w.add_immediate32(r(1), r(0), 0).wait(slots(4)).add_immediate32(r(2), r(0), 0);
    });
    EXPECT_EQ(queue.reg(1), 0u);
    EXPECT_EQ(queue.reg(2), 9u);
}

TEST_F(Scoreboard, WaitWithTheProgressBitBumpsAfterItsSlots) {
    queue.run([&](W& w) {
        w.move48(d(66), memory.va)
            .move48(d(72), 1)
            .sync_add64(d(66), d(72), {.after = slots(1), .signal = 1});
        w.word(0x0300000100020000);  // WAIT slots {1}, progress: never
    });
    EXPECT_EQ(queue.stream().progress(), 0u);
}

TEST_F(Scoreboard, ProtectedRegionsStallAndTellTheDriver) {
    group.acknowledge(kGroupEvents);
    rig.take_job_interrupts();
    queue.run({0x2900000000000010 /* PROT_REGION 16 */, 0x0200000000000001 /* MOVE32 r0, #1 */});
    EXPECT_EQ(queue.blocked_by(), BlockedReason::resource);
    EXPECT_EQ(queue.reg(0), 0u);
    EXPECT_EQ((queue.in().req ^ queue.out().ack) & kStreamEvents, 1U << 27);
    EXPECT_EQ(group.notices(), 1u);
    EXPECT_EQ(rig.take_job_interrupts(), 1u);
    group.update_status();
    EXPECT_EQ(queue.out().status_wait, 1U << 29);
    EXPECT_EQ(queue.out().status_blocked_reason, 5u);
    queue.driver_ring();  // nothing that the driver can do ends it
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 0u);
}

}  // namespace
}  // namespace belfry::gpu
