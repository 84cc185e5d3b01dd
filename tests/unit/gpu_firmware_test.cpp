// The firmware as a whole, through shared memory and registers only: boot and halt, global requests,
// interrupts, whose turn it is. What happens on a group slot: gpu_group_slot_test.cpp.
#include <algorithm>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "unit/gpu_rig.hpp"

namespace belfry::gpu {
namespace {

using csf::Condition;

void spin(W& w) { w.branch(Condition::always, r(0), -1); }

// --- boot ---

/// Offsets are written out, as facts/firmware-and-scheduling.md 1.1 to 1.4 has them.
TEST(Boot, FillsTheControlBlocksWithinTheSharedSection) {
    Rig rig{{.group_slots = 3, .streams_per_group = 8}};
    const std::uint32_t end = 0x0400'0000 + static_cast<std::uint32_t>(rig.gpu.shared().size());
    std::vector<std::uint32_t> starts;
    const auto expect_block = [&](std::uint32_t address, std::uint32_t bytes) {
        EXPECT_GE(address, 0x0400'0000u);
        EXPECT_LE(address + bytes, end);
        EXPECT_EQ(address % 8, 0u);
        starts.push_back(address);
    };
    EXPECT_EQ(rig.shared32(0x0), 0x0101'0000u);  // version 1.1.0
    expect_block(rig.shared32(0x8), 0x84);
    expect_block(rig.shared32(0xc), 0x14);
    EXPECT_EQ(rig.shared32(0x10), 3u);  // groups
    const std::uint32_t stride = rig.shared32(0x14);
    EXPECT_GE(stride, 0x40u + 8 * 0xc);
    for (std::uint32_t i = 0; i < 3; ++i) {
        const std::uint32_t group = 0x1000 + i * stride;
        expect_block(rig.shared32(group + 0x4), 0x58);
        expect_block(rig.shared32(group + 0x8), 0x20);
        EXPECT_GT(rig.shared32(group + 0xc), 0u);   // suspend size
        EXPECT_EQ(rig.shared32(group + 0x10), 0u);  // no protected mode
        EXPECT_EQ(rig.shared32(group + 0x14), 8u);  // streams
        EXPECT_EQ(rig.shared32(group + 0x18), 0xcu);
        for (std::uint32_t j = 0; j < 8; ++j) {
            const std::uint32_t stream = group + 0x40 + j * 0xc;
            EXPECT_EQ(rig.shared32(stream), 0x85fu);  // 96 registers, 8 scoreboards, no endpoints
            expect_block(rig.shared32(stream + 0x4), 0x58);
            expect_block(rig.shared32(stream + 0x8), 0xd8);
        }
    }
    std::sort(starts.begin(), starts.end());
    for (std::size_t i = 1; i < starts.size(); ++i) EXPECT_GE(starts[i] - starts[i - 1], 0xd8u);
    EXPECT_GE(starts.front(), 0x0400'1000 + 3 * stride);
}

TEST(Boot, RaisesTheGlobalInterruptOnceItIsDone) {
    FakeHost host;
    Gpu gpu({.group_slots = 1, .streams_per_group = 1}, host);
    gpu.write(Reg::job_int_mask, ~0U);
    EXPECT_EQ(gpu.read(Reg::mcu_status), kMcuStatusDisabled);
    std::uint32_t status_at_interrupt = ~0U;
    host.on_interrupt = [&] { status_at_interrupt = gpu.read(Reg::mcu_status); };
    gpu.write(Reg::mcu_control, kMcuControlAuto);
    gpu.step();
    EXPECT_EQ(gpu.read(Reg::job_int_stat), 1U << 31);
    EXPECT_EQ(host.interrupts, 1u);
    EXPECT_EQ(status_at_interrupt, kMcuStatusEnabled);
}

TEST(Boot, TheSmallestAndTheLargestGpuWork) {
    for (const FirmwareConfig config : {FirmwareConfig{.group_slots = 1, .streams_per_group = 1},
                                        FirmwareConfig{.group_slots = 31, .streams_per_group = 32}}) {
        Rig rig{config};
        EXPECT_EQ(rig.shared32(0x10), config.group_slots);
        EXPECT_EQ(rig.shared32(0x1000 + 0x14), config.streams_per_group);
        const Memory memory = rig.memory();
        std::vector<Group*> groups;
        for (unsigned i = 0; i < config.group_slots; ++i)
            groups.push_back(&rig.group({.queues = config.streams_per_group}));
        for (Group* group : groups)
            for (unsigned j = 0; j < config.streams_per_group; ++j)
                group->queue(j).submit(
                    [&](W& w) { w.move48(d(66), memory.va).move48(d(68), 1).sync_add64(d(66), d(68)); });
        for (Group* group : groups) group->queue(0).ring();  // one doorbell is all queues'
        rig.run_until_idle();
        EXPECT_EQ(memory.sync64().value, config.group_slots * config.streams_per_group);
        for (Group* group : groups) group->suspend();
        for (Group* group : groups) group->resume_on(group->slot());
        rig.run_until_idle();
        EXPECT_EQ(groups.back()->queue(config.streams_per_group - 1).pair(68), 1u);
    }
}

TEST(Boot, TurningTheMcuOffForgetsEveryGroup) {
    Rig rig{{.group_slots = 1, .streams_per_group = 1}};
    Queue& queue = rig.group().queue(0);
    queue.submit(spin);
    queue.ring();
    rig.step();
    ASSERT_EQ(queue.output().active, 1u);

    rig.gpu.write(Reg::mcu_control, kMcuControlDisable);
    rig.run_until_idle(4);
    EXPECT_EQ(rig.gpu.read(Reg::mcu_status), kMcuStatusDisabled);
    EXPECT_EQ(queue.output().active, 0u);

    rig.take_job_interrupts();
    rig.gpu.write(Reg::mcu_control, kMcuControlAuto);
    rig.run_until_idle(4);
    EXPECT_EQ(rig.gpu.read(Reg::mcu_status), kMcuStatusEnabled);
    EXPECT_EQ(rig.take_job_interrupts(), 1U << 31);
    rig.global_in().ack_irq_mask = ~0U;
    Group& fresh = rig.group({.start = false});
    fresh.start_on(0);
    fresh.queue(0).run([](W& w) { w.move32(r(0), 1); });
    EXPECT_EQ(fresh.queue(0).reg(0), 1u);
}

TEST(Boot, NothingHappensWhileTheMcuIsOff) {
    FakeHost host;
    Gpu gpu({.group_slots = 1, .streams_per_group = 1}, host);
    gpu.write(doorbell_reg(0), 1);
    gpu.write(doorbell_reg(1), 1);
    EXPECT_FALSE(gpu.step());
    EXPECT_EQ(host.interrupts, 0u);
}

TEST(Halt, StopsTheStreamsAndTheStepping) {
    Rig rig{{.group_slots = 1, .streams_per_group = 1}};
    Queue& queue = rig.group().queue(0);
    queue.submit([](W& w) { w.add_immediate32(r(0), r(0), 1).branch(Condition::always, r(0), -2); });
    queue.ring();
    rig.step();
    rig.global_in().req |= kGlbHalt;
    rig.ring_firmware();
    rig.run_until_idle(4);
    EXPECT_EQ(rig.gpu.read(Reg::mcu_status), kMcuStatusHalt);
    const std::uint32_t count = queue.reg(0);
    rig.ask_global(kGlbPing);
    queue.ring();
    rig.run_until_idle(4);
    EXPECT_EQ(queue.reg(0), count);
    EXPECT_EQ(rig.global_out().ack & kGlbPing, 0u);  // it answers no more
    // The way back is off and on.
    rig.gpu.write(Reg::mcu_control, kMcuControlDisable);
    rig.step();
    rig.gpu.write(Reg::mcu_control, kMcuControlAuto);
    rig.step();
    EXPECT_EQ(rig.gpu.read(Reg::mcu_status), kMcuStatusEnabled);
    rig.ask_global(kGlbPing);
    rig.step();
    EXPECT_EQ(rig.global_out().ack & kGlbPing, kGlbPing);
}

TEST(Registers, SayWhatTheGpuIs) {
    Rig rig{{.group_slots = 1, .streams_per_group = 1}};
    EXPECT_EQ(rig.gpu.read(Reg::gpu_id), 0xa867'0005u);
    EXPECT_EQ(rig.gpu.read(Reg::as_present), 0xffffu);
    EXPECT_EQ(rig.gpu.read64(Reg::shader_present_lo), 1u);
    EXPECT_EQ(rig.gpu.read(Reg::latest_flush_id), 1u);
    rig.host.now = 0x1'2345'6789;
    EXPECT_EQ(rig.gpu.read64(Reg::timestamp_lo), 0x1'2345'6789u);
}

// --- global requests ---

class GlobalRequests : public testing::Test {
  protected:
    Rig rig{{.group_slots = 1, .streams_per_group = 1}};
};

TEST_F(GlobalRequests, TogglesAreCompletedAndRaiseTheGlobalInterrupt) {
    for (const std::uint32_t bit : {1U << 1, 1U << 2, 1U << 3, 1U << 8, 1U << 9}) {
        for (int twice = 0; twice < 2; ++twice) {  // there and back
            rig.ask_global(bit);
            EXPECT_NE((rig.global_in().req ^ rig.global_out().ack) & bit, 0u);
            rig.step();
            EXPECT_EQ((rig.global_in().req ^ rig.global_out().ack) & bit, 0u);
            EXPECT_EQ(rig.take_job_interrupts(), 1U << 31);
        }
    }
}

TEST_F(GlobalRequests, NothingIsSeenBeforeTheDoorbell) {
    rig.global_in().req ^= kGlbPing;
    rig.run_until_idle();
    EXPECT_NE((rig.global_in().req ^ rig.global_out().ack) & kGlbPing, 0u);
    rig.ring_firmware();
    rig.step();
    EXPECT_EQ((rig.global_in().req ^ rig.global_out().ack) & kGlbPing, 0u);
}

TEST_F(GlobalRequests, AToggleThatIsAskedTwiceIsAnsweredOnce) {
    rig.ask_global(kGlbPing);
    rig.ask_global(kGlbPing);
    rig.step();
    EXPECT_EQ(rig.take_job_interrupts(), 1U << 31);
    EXPECT_EQ((rig.global_in().req ^ rig.global_out().ack) & kGlbPing, 0u);
    rig.ring_firmware();
    rig.step();
    EXPECT_EQ(rig.take_job_interrupts(), 0u);
}

TEST_F(GlobalRequests, AreCompletedSilentlyIfMasked) {
    rig.global_in().ack_irq_mask = ~kGlbPing;
    rig.ask_global(kGlbPing);
    rig.step();
    EXPECT_EQ((rig.global_in().req ^ rig.global_out().ack) & kGlbPing, 0u);
    EXPECT_EQ(rig.take_job_interrupts(), 0u);
}

TEST_F(GlobalRequests, DoorbellsOfSlotsThatDoNotExistAreAcknowledgedOnly) {
    rig.global_in().doorbell_req = ~0U;
    rig.ring_firmware();
    rig.run_until_idle();
    EXPECT_EQ(rig.global_out().doorbell_ack, ~0U);
}

TEST(JobInterrupt, RisesOnceUntilAllOfItIsCleared) {
    Rig rig{{.group_slots = 1, .streams_per_group = 1}};
    rig.host.interrupts = 0;
    rig.ask_global(kGlbPing);
    rig.step();
    rig.ask_global(kGlbFwcfgUpdate);
    rig.step();
    EXPECT_EQ(rig.host.interrupts, 1u);
    rig.take_job_interrupts();
    rig.ask_global(kGlbPing);
    rig.step();
    EXPECT_EQ(rig.host.interrupts, 2u);
}

TEST(JobInterrupt, ThatWasMaskedRisesWhenItIsUnmasked) {
    Rig rig{{.group_slots = 1, .streams_per_group = 1}};
    rig.gpu.write(Reg::job_int_mask, 0);
    rig.host.interrupts = 0;
    rig.ask_global(kGlbPing);
    rig.step();
    EXPECT_EQ(rig.host.interrupts, 0u);
    EXPECT_EQ(rig.gpu.read(Reg::job_int_stat), 0u);
    EXPECT_EQ(rig.gpu.read(Reg::job_int_rawstat), 1U << 31);
    rig.gpu.write(Reg::job_int_mask, ~0U);
    EXPECT_EQ(rig.host.interrupts, 1u);
    EXPECT_EQ(rig.gpu.read(Reg::job_int_stat), 1U << 31);
}

// --- turns ---

TEST(Turns, AnEndlessStreamKeepsNobodyFromFinishing) {
    Rig rig{{.group_slots = 3, .streams_per_group = 4}};
    Group& hog = rig.group({.queues = 4});
    Group& one = rig.group({.queues = 4});
    Group& two = rig.group({.queues = 1});
    for (unsigned i = 0; i < 4; ++i) hog.queue(i).submit(spin);
    hog.queue(0).ring();
    rig.step();
    // Each needs 10 slices of 1024 instructions.
    const auto work = [](W& w) {
        w.move32(r(0), 5000).add_immediate32(r(0), r(0), -1).branch(Condition::gt, r(0), -2);
    };
    for (unsigned i = 0; i < 4; ++i) one.queue(i).submit(work);
    two.queue(0).submit(work);
    one.queue(0).ring();
    two.queue(0).ring();
    // Three groups take turns, and so do the four streams of one: 10 x 4 turns of that group, x 3 groups.
    for (int i = 0; i < 10 * 4 * 3 + 8; ++i) rig.step();
    for (unsigned i = 0; i < 4; ++i) EXPECT_TRUE(one.queue(i).drained()) << i;
    EXPECT_TRUE(two.queue(0).drained());
    EXPECT_EQ(hog.queue(3).status(), StreamStatus::running);
}

TEST(Turns, AnEndlessStreamKeepsNobodyOfItsOwnGroupFromFinishing) {
    Rig rig{{.group_slots = 1, .streams_per_group = 4}};
    Group& group = rig.group({.queues = 4});
    for (unsigned i : {0U, 3U}) group.queue(i).submit(spin);
    for (unsigned i : {1U, 2U}) group.queue(i).submit([](W& w) { w.move32(r(0), 1); });
    group.queue(0).ring();
    for (int i = 0; i < 4; ++i) rig.step();
    EXPECT_TRUE(group.queue(1).drained());
    EXPECT_TRUE(group.queue(2).drained());
}

TEST(Turns, AStepIsBounded) {
    Rig rig{{.group_slots = 1, .streams_per_group = 1}};
    Queue& queue = rig.group().queue(0);
    queue.submit([](W& w) { w.add_immediate32(r(0), r(0), 1).branch(Condition::always, r(0), -2); });
    queue.ring();
    rig.step();
    EXPECT_EQ(rig.gpu.read64(Reg::cycle_count_lo), 1024u);
    EXPECT_EQ(queue.reg(0), 512u);
    rig.step();
    EXPECT_EQ(queue.reg(0), 1024u);
}

TEST(Turns, BuffersThatOnlyCallNothingAreBoundedToo) {
    Rig rig{{.group_slots = 1, .streams_per_group = 1}};
    Queue& queue = rig.group().queue(0);
    Memory loop = rig.memory();
    W writer(std::span(&loop.u64(), kPage / 8));
    writer.move48(d(66), loop.va).move32(r(68), 24).jump(d(66), r(68));  // jumps to itself
    queue.submit([&](W& w) { w.move48(d(66), loop.va).move32(r(68), 24).call(d(66), r(68)); });
    queue.ring();
    rig.step();
    EXPECT_EQ(rig.gpu.read64(Reg::cycle_count_lo), 1024u);
}

}  // namespace
}  // namespace belfry::gpu
