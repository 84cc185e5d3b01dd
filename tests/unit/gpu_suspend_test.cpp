// SUSPEND and RESUME: what a group takes with it, and what is looked at again when it comes back.
#include <cstdint>
#include <functional>
#include <string>
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

TEST_F(Suspend, OfAStreamThatWasWokenInVainSaysThatItWaits) {
    queue.run(
        [&](W& w) { w.move48(d(66), memory.va).sync_wait64(d(66), Condition::gt, d(68)).move32(r(0), 1); });
    queue.ring();
    EXPECT_FALSE(rig.gpu.prepare_sleep());  // takes the ring and goes no further
    rig.gpu.woke();
    ASSERT_EQ(queue.status(), StreamStatus::running);
    group.suspend();
    EXPECT_EQ(group.out().status_state, kGroupStatusIdle);
    EXPECT_EQ(queue.out().status_blocked_reason, static_cast<std::uint32_t>(BlockedReason::sync));
    EXPECT_EQ(queue.out().status_wait_sync_ptr, memory.va);
    group.resume_on(1);
    rig.run_until_idle();
    EXPECT_EQ(queue.blocked_by(), BlockedReason::sync);
    memory.sync64().value = 1;
    queue.ring();
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 1u);
    group.suspend();
    EXPECT_EQ(queue.out().status_blocked_reason, 0u);
    EXPECT_EQ(queue.out().status_wait, 0u);
}

TEST_F(Suspend, ResumeTriesAProgressWaitAgain) {
    queue.run([](W& w) { w.move32(r(66), 2).progress_wait(1, r(66)).move32(r(0), 1); });
    move_to(0);
    EXPECT_EQ(queue.blocked_by(), BlockedReason::progress);
    group.queue(1).run([](W& w) { w.move32(r(1), 2).progress_store(r(1)); });
    EXPECT_EQ(queue.reg(0), 1u);
}

// --- at every instruction ---

/// What a group has left behind, and where it stands.
struct Image {
    struct Position {
        StreamStatus status;
        std::uint32_t depth;
        std::uint64_t next, end;
        std::uint64_t extract, progress, trace_offset;
        std::uint64_t handler_address;
        std::uint32_t handler_bytes, busy_scoreboards, error, resources, endpoint_entry, other_entry;
        BlockedReason reason;
        std::uint64_t waits_for, reference;
        bool operator==(const Position&) const = default;
    };
    std::vector<std::uint32_t> registers;
    std::vector<std::uint64_t> memory;
    std::vector<Position> positions;
    std::uint32_t flushes;
};

void expect_equal(const Image& image, const Image& expected, const std::string& what) {
    ASSERT_EQ(image.registers, expected.registers) << what;
    ASSERT_EQ(image.memory, expected.memory) << what;
    ASSERT_EQ(image.positions, expected.positions) << what;
    ASSERT_EQ(image.flushes, expected.flushes) << what;
}

/// What happens while the group is off its slot.
enum class Meanwhile { nothing, another_group_runs, what_it_waits_for_comes };

/// Streams with every kind of state, a slice an instruction. The group stands until the world writes a value
/// and publishes more work, which it does once the group is idle, if not before.
class SteppedGroup {
  public:
    static constexpr unsigned kStreams = 5;

    explicit SteppedGroup(std::uint32_t slice_instructions = 1)
        : rig({.group_slots = 2, .streams_per_group = kStreams, .slice_instructions = slice_instructions}) {
        data.sync64(kError) = {.value = 1, .error = 1};
        const auto call = [](W& w, const Memory& callee) {
            w.move48(d(90), callee.va).move32(r(89), static_cast<std::uint32_t>(callee.bytes));
            w.call(d(90), r(89));
        };
        const Memory tail = rig.buffer([](W& w) { w.add_immediate32(r(11), r(10), 5).progress_load(r(13)); });
        const Memory inner = rig.buffer([&](W& w) {
            w.move32(r(14), 2).add_immediate32(r(10), r(10), 1).add_immediate32(r(14), r(14), -1);
            w.branch(Condition::ne, r(14), -3).move48(d(90), tail.va);
            w.move32(r(89), static_cast<std::uint32_t>(tail.bytes)).jump(d(90), r(89)).move32(r(10), 0xbad);
        });
        const Memory outer = rig.buffer([&](W& w) {
            w.move32(r(12), 2);
            call(w, inner);
            w.add_immediate32(r(12), r(12), -1).branch(Condition::gt, r(12), -5);
        });

        // Loops, calls, loads and stores, deferred operations, error state.
        group.queue(0).submit([&](W& w) {
            w.move48(d(66), data.va).move48(d(68), 1).set_sb_entry(1, 2).move32(r(0), 3);
            w.store_multiple(r(0), 0b1, d(66), 64);
            w.sync_add64(d(66), d(68), {.after = slots(2), .signal = 1});
            w.flush_cache2(r(1), {.after = slots(1), .signal = 3}).wait(slots(1, 2, 3));
            w.load_multiple(r(20), 0b101, d(66), 60).wait(slots(2)).add_immediate32(r(21), r(22), 5);
            w.trace_point(r(20), 3, {.after = slots(3), .signal = 4});
            w.add_immediate32(r(0), r(0), -1).branch(Condition::gt, r(0), -10);
            call(w, outer);
            w.req_resource({.compute = true, .tiler = true}).set_exception_handler(d(90), r(89));
            w.move48(d(72), data.va + kError).sync_wait64(d(72), Condition::gt, d(74));  // inherits the error
            w.store_state(State::error_status, d(66), 96).move48(d(76), data.va + kTainted);
            w.sync_add64(d(76), d(68), {.after = slots(4), .signal = 5}).error_barrier();
            w.store_state(State::error_status, d(66), 104).add_immediate64(d(76), d(76), 16);
            w.sync_set64(d(76), d(66)).progress_store(r(10)).move32(r(2), 9).progress_wait(1, r(2));
            w.move48(d(78), data.va + kMeeting).move48(d(80), 2).sync_wait64(d(78), Condition::gt, d(80));
            w.move32(r(3), 4);
        });
        // Waits for the first one, which waits for it.
        group.queue(1).submit([&](W& w) {
            w.move48(d(66), data.va + kMeeting).move48(d(68), 1).move32(r(1), 4).progress_wait(0, r(1));
            w.sync_add64(d(66), d(68)).move32(r(2), 9).progress_store(r(2)).sync_add64(d(66), d(68));
            w.store_multiple(r(1), 0b11, d(66), 32).sync_add64(d(66), d(68)).wait(slots(0));
        });
        // Waits for the world.
        group.queue(2).submit([&](W& w) {
            w.move48(d(66), data.va + kWorld).move32(r(68), 4).sync_wait32(d(66), Condition::gt, r(68));
            w.move32(r(0), 5).add_immediate64(d(66), d(66), 16).sync_set32(d(66), r(0));
        });
        // Arithmetic in all registers.
        group.queue(3).submit([&](W& w) {
            for (std::uint8_t i = 0; i < 96; ++i) w.move32(r(i), 0x0101'0101U * i);
            for (std::uint8_t i = 0; i < 90; i += 6) {
                w.add_immediate64(d(i), d(static_cast<std::uint8_t>(i + 4)), -7);
                w.umin32(r(static_cast<std::uint8_t>(i + 2)), r(i), r(static_cast<std::uint8_t>(i + 5)));
            }
        });
        // Waits for ever.
        group.queue(4).submit([&](W& w) {
            w.move48(d(66), data.va + kNever).move48(d(68), 7).sync_wait64(d(66), Condition::gt, d(68));
            w.move32(r(0), 0xbad);
        });
        group.queue(3).write([&](W& w) {  // published by the world
            w.move48(d(94), data.va + 2048);
            for (std::uint8_t i = 0; i < 96; i += 16)
                w.store_multiple(r(i), 0xffff, d(94), static_cast<std::int16_t>(i * 4));
            w.wait(slots(0));
        });
        for (unsigned i = 0; i < kStreams; ++i)
            tenant.queue(i).submit([](W& w) {
                for (std::uint8_t j = 0; j < 96; ++j) w.move32(r(j), 0xbad);
                w.set_sb_entry(5, 5).progress_store(r(0)).trace_point(r(0), 16);
            });
        group.queue(0).ring();
    }

    /// Runs to the end, and interrupts before each step, that is, each instruction, that `at` names. Returns
    /// the number of steps.
    unsigned run(const std::function<bool(unsigned)>& at, Meanwhile meanwhile) {
        for (unsigned step = 0;; ++step) {
            if (at(step)) interrupt(meanwhile);
            if (rig.step()) continue;
            if (world_has_come_) return step + 1;
            world_comes();
            group.queue(2).ring();
        }
    }

    [[nodiscard]] Image image() {
        Image image{.flushes = rig.gpu.read(Reg::latest_flush_id)};
        const auto keep = [&image](const Memory& memory) {
            for (std::uint64_t i = 0; i < memory.bytes; i += 8) image.memory.push_back(memory.u64(i));
        };
        keep(data);
        for (unsigned i = 0; i < kStreams; ++i) {
            const Queue& queue = group.queue(i);
            keep(queue.trace);
            image.memory.push_back(queue.output().extract);
            const StreamState& state = queue.stream().state();
            image.registers.insert(image.registers.end(), state.registers.begin(), state.registers.end());
            const Frame& frame = state.frames[state.depth];
            const bool blocked = state.status == StreamStatus::blocked;
            image.positions.push_back({.status = state.status,
                                       .depth = state.depth,
                                       .next = frame.next,
                                       .end = frame.end,
                                       .extract = state.extract,
                                       .progress = state.progress,
                                       .trace_offset = state.trace_offset,
                                       .handler_address = state.handler_address,
                                       .handler_bytes = state.handler_bytes,
                                       .busy_scoreboards = queue.stream().busy_scoreboards(),
                                       .error = state.error,
                                       .resources = state.resources,
                                       .endpoint_entry = state.endpoint_entry,
                                       .other_entry = state.other_entry,
                                       .reason = queue.blocked_by(),
                                       .waits_for = blocked ? state.blocked.sync_address : 0,
                                       .reference = blocked ? state.blocked.reference : 0});
        }
        return image;
    }

    static constexpr std::uint64_t kMeeting = 128, kError = 256, kTainted = 272, kWorld = 384, kNever = 448;
    Rig rig;
    Group& group = rig.group({.queues = kStreams, .trace_bytes = 64});
    Group& tenant = rig.group({.queues = kStreams, .trace_bytes = 64, .start = false});
    Memory data = rig.memory();
    unsigned left_alone = 0;  // interruptions after which there was nothing to do

  private:
    void world_comes() {
        world_has_come_ = true;
        data.sync32(kWorld).value = 5;
        group.queue(3).publish();
    }

    void interrupt(Meanwhile meanwhile) {
        const Image before = image();
        const unsigned slot = group.slot();
        group.suspend();
        const bool nothing_to_do = judged_idle();
        for (unsigned i = 0; i < kStreams; ++i) {
            EXPECT_EQ(group.queue(i).output().active, 0u);
            EXPECT_EQ(group.queue(i).output().extract, before.positions[i].extract);
            group.queue(i).input().extract_init = 8;  // H1: counts for nothing any more
        }
        switch (meanwhile) {
            case Meanwhile::nothing: break;
            case Meanwhile::another_group_runs:
                tenant.start_on(slot);
                rig.run_until_idle();
                tenant.terminate();
                break;
            case Meanwhile::what_it_waits_for_comes:
                if (!world_has_come_) world_comes();  // nobody is told
                break;
        }
        group.resume_on(meanwhile == Meanwhile::nothing ? slot : 1 - slot);
        // A driver would not even have resumed it now.
        if (!nothing_to_do || meanwhile == Meanwhile::what_it_waits_for_comes) return;
        rig.run_until_idle();
        expect_equal(image(), before, "nothing to do");
        ++left_alone;
    }

    /// What a driver says after SUSPEND, by the status words and then by memory.
    bool judged_idle() {
        if (group.out().status_state != kGroupStatusIdle) return false;
        for (unsigned i = 0; i < kStreams; ++i) {
            const StreamOutput& out = group.queue(i).out();
            if ((out.status_wait & kWaitSync) == 0) {
                if (!group.queue(i).drained()) return false;
                continue;
            }
            EXPECT_EQ(out.status_blocked_reason, static_cast<std::uint32_t>(BlockedReason::sync));
            const std::uint64_t offset = out.status_wait_sync_ptr - data.va;
            const std::uint64_t value =
                (out.status_wait & kWaitSync64) != 0 ? data.u64(offset) : data.u32(offset);
            if (value > out.status_wait_sync_value) return false;  // no wait here is for another condition
        }
        return true;
    }

    bool world_has_come_ = false;
};

class SuspendAtEveryInstruction : public testing::Test {
  protected:
    SuspendAtEveryInstruction() {
        SteppedGroup undisturbed;
        steps_ = undisturbed.run([](unsigned) { return false; }, Meanwhile::nothing);
        expected_ = undisturbed.image();
    }

    void expect_the_undisturbed_result(Meanwhile meanwhile) {
        ASSERT_GT(steps_, 250u);
        unsigned left_alone = 0;
        for (unsigned after = 0; after < steps_; ++after) {
            SteppedGroup once;
            once.run([after](unsigned step) { return step == after; }, meanwhile);
            ASSERT_NO_FATAL_FAILURE(
                expect_equal(once.image(), expected_, "suspended after step " + std::to_string(after)));
            ASSERT_TRUE(once.group.event(kGroupIdle)) << after;
            left_alone += once.left_alone;
        }
        EXPECT_EQ(left_alone, meanwhile == Meanwhile::what_it_waits_for_comes ? 0u : 2u);
        // More often than there are streams, and each would only ever try its wait again.
        constexpr unsigned kPeriod = SteppedGroup::kStreams + 2;
        for (unsigned phase = 0; phase < kPeriod; ++phase) {
            SteppedGroup often;
            often.run([phase](unsigned step) { return step % kPeriod == phase; }, meanwhile);
            ASSERT_NO_FATAL_FAILURE(
                expect_equal(often.image(), expected_, "again and again from step " + std::to_string(phase)));
        }
    }

    unsigned steps_ = 0;
    Image expected_;
};

TEST_F(SuspendAtEveryInstruction, GivesTheResultOfTheUndisturbedRun) {
    expect_the_undisturbed_result(Meanwhile::nothing);
}

TEST_F(SuspendAtEveryInstruction, GivesTheSameResultIfAnotherGroupRunsMeanwhile) {
    expect_the_undisturbed_result(Meanwhile::another_group_runs);
}

TEST_F(SuspendAtEveryInstruction, GivesTheSameResultIfWhatItWaitsForComesMeanwhile) {
    expect_the_undisturbed_result(Meanwhile::what_it_waits_for_comes);
}

TEST_F(SuspendAtEveryInstruction, IsNoDifferentFromRunningInWholeSlices) {
    SteppedGroup whole(kSliceInstructions);
    whole.run([](unsigned) { return false; }, Meanwhile::nothing);
    expect_equal(whole.image(), expected_, "whole slices");
}

TEST_F(SuspendAtEveryInstruction, TheUndisturbedRunIsRight) {
    SteppedGroup stepped;
    stepped.run([](unsigned) { return false; }, Meanwhile::nothing);
    const Memory& data = stepped.data;
    const auto reg = [&](unsigned queue, unsigned index) { return stepped.group.queue(queue).reg(index); };
    EXPECT_EQ(data.sync64().value, 3u);  // the loop's
    EXPECT_EQ(data.u32(64), 1u);
    EXPECT_EQ(reg(0, 21), 6u);
    EXPECT_EQ(reg(0, 10), 4u);  // called twice, two rounds each
    EXPECT_EQ(reg(0, 11), 9u);
    EXPECT_EQ(data.u64(96), 1u);  // error state, before and after the barrier
    EXPECT_EQ(data.u64(104), 0u);
    EXPECT_EQ(data.sync64(SteppedGroup::kTainted).error, 1u);
    EXPECT_EQ(data.sync64(SteppedGroup::kTainted + 16).error, 0u);
    EXPECT_EQ(data.sync64(SteppedGroup::kTainted + 16).value, data.va);
    EXPECT_EQ(data.sync64(SteppedGroup::kMeeting).value, 3u);
    EXPECT_EQ(reg(0, 3), 4u);
    EXPECT_EQ(reg(2, 0), 5u);
    EXPECT_EQ(data.sync32(SteppedGroup::kWorld + 16).value, 5u);
    EXPECT_EQ(data.u32(2048 + 95 * 4), data.va >> 32);  // all registers, d94 the address
    EXPECT_EQ(data.u32(2048 + 91 * 4), 0x5b5b'5b5bu);
    EXPECT_EQ(stepped.group.queue(0).trace.u32(20), 2u);  // of the second round
    EXPECT_EQ(reg(4, 0), 0u);
    EXPECT_EQ(stepped.group.queue(4).blocked_by(), BlockedReason::sync);
    for (unsigned i = 0; i < 4; ++i) {
        EXPECT_TRUE(stepped.group.queue(i).drained()) << i;
        EXPECT_EQ(stepped.group.queue(i).fatal().type, Exception::ok) << i;
    }
}

}  // namespace
}  // namespace belfry::gpu
