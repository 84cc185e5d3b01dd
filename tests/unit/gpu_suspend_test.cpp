// SUSPEND and RESUME: what a group takes with it, and what is looked at again when it comes back.
#include <cstdint>
#include <functional>
#include <vector>

#include <gtest/gtest.h>

#include "unit/gpu_rig.hpp"

namespace belfry::gpu {
namespace {

using csf::Condition;
using csf::State;

class Suspend : public testing::Test {
  protected:
    Rig rig{{.group_slots = 2, .streams_per_group = 2}};
    Group& group = rig.group({.queues = 2});
    Queue& queue = group.queue(0);
    Memory memory = rig.memory();

    /// Leaves the slot, lets another group run on it, and comes back on `slot`.
    void move_to(unsigned slot) {
        const unsigned left = group.slot();
        group.suspend();
        Group& tenant = rig.group({.queues = 2, .start = false});
        tenant.start_on(left);
        for (unsigned i = 0; i < 2; ++i)
            tenant.queue(i).submit([](W& w) {
                for (std::uint8_t j = 0; j < 96; ++j) w.move32(r(j), 0xbad);
                w.set_sb_entry(5, 5);
            });
        tenant.queue(0).ring();
        rig.run_until_idle();
        tenant.terminate();
        group.resume_on(slot);
        rig.run_until_idle();
    }
};

TEST_F(Suspend, KeepsRegisters) {
    queue.run([](W& w) {
        for (std::uint8_t i = 0; i < 96; ++i) w.move32(r(i), 1000U + i);
    });
    group.queue(1).run([](W& w) { w.move32(r(5), 7); });
    move_to(1);
    for (unsigned i = 0; i < 96; ++i) EXPECT_EQ(queue.reg(i), 1000 + i);
    EXPECT_EQ(group.queue(1).reg(5), 7u);
    queue.run([](W& w) { w.add_immediate32(r(0), r(95), 0); });
    EXPECT_EQ(queue.reg(0), 1095u);
}

TEST_F(Suspend, KeepsTheSlotSelection) {
    memory.u32() = 9;
    queue.run([](W& w) { w.set_sb_entry(0, 4); });
    move_to(0);
    queue.run([&](W& w) {
        w.move48(d(66), memory.va)
            .load_multiple(r(0), 1, d(66))
            .wait(slots(0, 5))
            .add_immediate32(r(1), r(0), 0);
        w.wait(slots(4)).add_immediate32(r(2), r(0), 0);
    });
    EXPECT_EQ(queue.reg(1), 0u);
    EXPECT_EQ(queue.reg(2), 9u);
}

TEST_F(Suspend, KeepsTheErrorStateProgressAndResources) {
    memory.sync64() = {.value = 1, .error = 1};
    queue.run([&](W& w) {
        w.move48(d(66), memory.va).sync_wait64(d(66), Condition::gt, d(68));
        w.move32(r(70), 5).progress_store(r(70)).req_resource({.tiler = true});
    });
    move_to(1);
    queue.run([&](W& w) {
        w.move48(d(66), memory.va + 32).store_state(State::error_status, d(66)).progress_load(r(71));
    });
    EXPECT_EQ(memory.u64(32), 1u);
    EXPECT_EQ(queue.reg(71), 5u);
    group.update_status();
    EXPECT_EQ(queue.out().status_req_resource, 0b100u);
}

TEST_F(Suspend, KeepsTheCallStack) {
    const Memory inner =
        rig.buffer([](W& w) { w.add_immediate32(r(0), r(0), 1).branch(Condition::eq, r(1), -2); });
    const Memory outer = rig.buffer([&](W& w) {
        w.move48(d(90), inner.va).move32(r(89), 16).call(d(90), r(89)).add_immediate32(r(2), r(2), 1);
    });
    queue.submit([&](W& w) {
        w.move48(d(90), outer.va).move32(r(89), static_cast<std::uint32_t>(outer.bytes)).call(d(90), r(89));
        w.add_immediate32(r(3), r(3), 1);
    });
    // r1 == 0 keeps the innermost loop going; the other queue can not change that, so the loop's end is
    // written into its code.
    queue.ring();
    rig.step();
    rig.step();
    ASSERT_GT(queue.reg(0), 100u);
    group.suspend();
    inner.u64(8) = 0;
    group.resume_on(1);
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(2), 1u);
    EXPECT_EQ(queue.reg(3), 1u);
    EXPECT_TRUE(queue.drained());
}

TEST_F(Suspend, KeepsOperationsThatAreInFlight) {
    queue.run([&](W& w) {
        w.move48(d(66), memory.va)
            .move48(d(68), 1)
            .sync_add64(d(66), d(68), {.after = slots(1), .signal = 1});
        w.wait(slots(1));  // for ever
    });
    ASSERT_EQ(queue.blocked_by(), BlockedReason::scoreboard);
    move_to(1);
    EXPECT_EQ(queue.blocked_by(), BlockedReason::scoreboard);
    group.update_status();
    EXPECT_EQ(queue.out().status_scoreboards, 0b10u);
    EXPECT_EQ(memory.sync64().value, 0u);
}

TEST_F(Suspend, FinishesWhatCanBeFinishedBeforeItIsAcknowledged) {  // G3
    queue.submit([&](W& w) {
        w.move48(d(66), memory.va).move48(d(68), 1).flush_cache2(r(0), {.signal = 0});
        w.sync_add64(d(66), d(68), {.after = slots(0), .signal = 1}).branch(Condition::always, r(0), -1);
    });
    queue.ring();
    rig.step();
    std::uint64_t value_at_acknowledgement = 0;
    rig.take_job_interrupts();
    rig.host.on_interrupt = [&] {
        if (group.acknowledged()) value_at_acknowledgement = memory.sync64().value;
    };
    group.suspend();
    EXPECT_EQ(value_at_acknowledgement, 1u);
}

TEST_F(Suspend, KeepsTheTraceOffset) {
    Rig own{{.group_slots = 1, .streams_per_group = 1}};
    Group& traced = own.group({.trace_bytes = 64});
    const auto trace = [](W& w) { w.add_immediate32(r(0), r(0), 1).trace_point(r(0), 1); };
    traced.queue(0).run(trace);
    traced.suspend();
    traced.resume_on(0);
    traced.queue(0).run(trace);
    EXPECT_EQ(traced.queue(0).trace.u32(0), 1u);
    EXPECT_EQ(traced.queue(0).trace.u32(4), 2u);
}

TEST_F(Suspend, KeepsAFatalStreamFatal) {
    queue.run({0x0A00000000000000});
    move_to(1);
    EXPECT_EQ(queue.status(), StreamStatus::fatal);
    queue.run([](W& w) { w.move32(r(0), 1); });
    EXPECT_EQ(queue.reg(0), 0u);
}

TEST_F(Suspend, LeavesExtractWhereItStood) {
    queue.run([](W& w) { w.nop().nop(); });
    queue.submit([](W& w) { w.nop().branch(Condition::always, r(0), -1); });
    queue.ring();
    rig.step();
    group.suspend();
    EXPECT_EQ(queue.output().extract, 16u);  // the second submission has not run to its end
    group.resume_on(0);
    rig.step();
    EXPECT_EQ(queue.output().extract, 16u);
}

TEST_F(Suspend, BranchesStillReachTheStartOfTheSubmissionAfterwards) {
    queue.submit([](W& w) {
        w.add_immediate32(r(1), r(1), 1).move32(r(0), 1500);
        w.add_immediate32(r(0), r(0), -1).branch(Condition::gt, r(0), -2);
        w.add_immediate32(r(2), r(1), -3).branch(Condition::lt, r(2), -6);
    });
    queue.ring();
    rig.step();
    group.suspend();
    group.resume_on(1);
    rig.run_until_idle();
    EXPECT_EQ(queue.fatal().type, Exception::ok);
    EXPECT_EQ(queue.reg(1), 3u);
}

TEST_F(Suspend, AStreamThatIsToldToStopDoesNotResume) {
    queue.run([](W& w) { w.move32(r(0), 1); });
    group.suspend();
    group.program(0);
    queue.in().req &= ~kStreamStateMask;
    group.ask(GroupRequest::resume);
    rig.step();
    EXPECT_EQ(queue.output().active, 0u);
    EXPECT_EQ(queue.out().ack & 7, 0u);
    EXPECT_EQ(group.queue(1).output().active, 1u);
    group.queue(1).run([](W& w) { w.move32(r(0), 2); });
    EXPECT_EQ(group.queue(1).reg(0), 2u);
}

TEST_F(Suspend, AStreamThatWasStoppedBeforeStartsAfreshAtResume) {
    queue.run([](W& w) { w.move32(r(0), 1); });
    queue.in().req &= ~kStreamStateMask;
    queue.driver_ring();
    rig.step();
    group.suspend();
    queue.input().extract_init = queue.written;
    queue.submit([](W& w) { w.move32(r(1), 1); });
    group.resume_on(0);  // asks all of its streams to start
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 0u);
    EXPECT_EQ(queue.reg(1), 1u);
}

TEST_F(Suspend, OfAFreeSlotIsAcknowledged) {
    group.terminate();
    group.suspend();
    EXPECT_EQ(group.out().ack & 7, 2u);
}

// --- what is looked at again ---

TEST_F(Suspend, ResumeRunsWhatWasSubmittedMeanwhile) {
    group.suspend();
    queue.submit([](W& w) { w.move32(r(0), 1); });
    group.resume_on(1);
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Suspend, ResumeTriesASyncWaitAgain) {  // B8, B10
    queue.run(
        [&](W& w) { w.move48(d(66), memory.va).sync_wait64(d(66), Condition::gt, d(68)).move32(r(0), 1); });
    group.suspend();
    memory.sync64().value = 1;  // nobody is told
    group.resume_on(0);
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Suspend, ResumeBlocksAgainIfTheValueHasNotCome) {
    queue.run(
        [&](W& w) { w.move48(d(66), memory.va).sync_wait64(d(66), Condition::gt, d(68)).move32(r(0), 1); });
    group.suspend();
    group.resume_on(1);
    rig.run_until_idle();
    EXPECT_EQ(queue.blocked_by(), BlockedReason::sync);
    group.queue(1).run([&](W& w) { w.move48(d(66), memory.va).move48(d(68), 1).sync_add64(d(66), d(68)); });
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Suspend, ResumeTriesAProgressWaitAgain) {
    queue.run([](W& w) { w.move32(r(66), 2).progress_wait(1, r(66)).move32(r(0), 1); });
    move_to(0);
    EXPECT_EQ(queue.blocked_by(), BlockedReason::progress);
    group.queue(1).run([](W& w) { w.move32(r(1), 2).progress_store(r(1)); });
    EXPECT_EQ(queue.reg(0), 1u);
}

// --- at every boundary ---

/// What a program has left behind.
struct Result {
    std::vector<std::uint32_t> registers;
    std::vector<std::uint64_t> memory;
    std::uint64_t extract;
    bool operator==(const Result&) const = default;
};

/// A program with every kind of state, slowed down so that a slice ends between any two of its steps;
/// suspended after `suspend_after` steps (0: never).
Result run_interrupted(unsigned suspend_after, bool& finished) {
    Rig rig{{.group_slots = 2, .streams_per_group = 2}};
    Group& group = rig.group({.queues = 2});
    const Memory memory = rig.memory();
    memory.sync64(256) = {.value = 1, .error = 1};
    // 1025 instructions: longer than a slice, so each delay has a boundary in it.
    const Memory delay = rig.buffer([](W& w) {
        w.move32(r(80), 512).add_immediate32(r(80), r(80), -1).branch(Condition::gt, r(80), -2);
    });
    const auto pause = [&](W& w) { w.move48(d(92), delay.va).move32(r(94), 24).call(d(92), r(94)); };
    const Memory inner = rig.buffer([&](W& w) {
        w.add_immediate32(r(10), r(10), 1);
        pause(w);
        w.add_immediate32(r(11), r(10), 5);
    });
    group.queue(0).submit([&](W& w) {
        w.move48(d(66), memory.va).move48(d(68), 1).set_sb_entry(0, 2);
        pause(w);
        w.move32(r(0), 3);
        w.store_multiple(r(0), 0b1, d(66), 64);  // loop
        pause(w);
        w.sync_add64(d(66), d(68), {.after = slots(2), .signal = 1});
        pause(w);
        w.wait(slots(1, 2)).load_multiple(r(20), 0b101, d(66), 60);
        pause(w);
        w.wait(slots(2)).add_immediate32(r(0), r(0), -1).branch(Condition::gt, r(0), -14);
        w.move48(d(90), inner.va).move32(r(89), static_cast<std::uint32_t>(inner.bytes)).call(d(90), r(89));
        pause(w);
        w.move48(d(72), memory.va + 256).sync_wait64(d(72), Condition::gt, d(74));  // inherits an error
        pause(w);
        w.store_state(State::error_status, d(66), 32).progress_store(r(10));
        pause(w);
        w.move48(d(76), memory.va + 128)
            .move48(d(78), 2)
            .sync_wait64(d(76), Condition::gt, d(78))
            .move32(r(12), 4);
    });
    group.queue(1).submit([&](W& w) {
        w.move32(r(1), 1).progress_wait(0, r(1));
        pause(w);
        w.move48(d(66), memory.va + 128).move48(d(68), 1).sync_add64(d(66), d(68));
        pause(w);
        w.sync_add64(d(66), d(68));
        pause(w);
        w.sync_add64(d(66), d(68));
    });
    group.queue(0).ring();
    finished = true;
    for (unsigned i = 1; rig.step(); ++i) {
        if (i != suspend_after) continue;
        finished = false;
        group.suspend();
        group.resume_on(1);
    }
    Result result{.extract = group.queue(0).output().extract};
    for (unsigned q = 0; q < 2; ++q)
        for (unsigned i = 0; i < 96; ++i) result.registers.push_back(group.queue(q).reg(i));
    for (std::uint64_t i = 0; i < memory.bytes; i += 8) result.memory.push_back(memory.u64(i));
    return result;
}

TEST(SuspendAtEveryBoundary, GivesTheResultOfTheUninterruptedRun) {
    bool finished = false;
    const Result expected = run_interrupted(0, finished);
    ASSERT_EQ(expected.memory[0], 3u);      // counted three times
    ASSERT_EQ(expected.memory[4], 1u);      // error state
    ASSERT_EQ(expected.registers[12], 4u);  // came to the end
    unsigned boundaries = 0;
    for (unsigned after = 1;; ++after) {
        const Result result = run_interrupted(after, finished);
        EXPECT_EQ(result, expected) << "suspended after step " << after;
        if (finished) break;
        ++boundaries;
    }
    EXPECT_GT(boundaries, 15u);
}

}  // namespace
}  // namespace belfry::gpu
