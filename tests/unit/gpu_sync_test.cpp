// Sync objects: updates, waits, error words, and which CPU waiters an update wakes.
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "unit/gpu_rig.hpp"

namespace belfry::gpu {
namespace {

using csf::Condition;
using csf::Scope;
using csf::State;

constexpr std::uint64_t kMax32 = 0xffff'ffff;

class Sync : public testing::Test {
  protected:
    Rig rig{{.group_slots = 2, .streams_per_group = 2}};
    Group& group = rig.group({.queues = 2});
    Queue& queue = group.queue(0);
    Queue& other = group.queue(1);
    Memory memory = rig.memory();

    /// d66 = the object, d68 = value.
    void load(W& w, std::uint64_t value, std::uint64_t offset = 0) {
        w.move48(d(66), memory.va + offset).move64(d(68), value);
    }
    void fault_first() {  // puts `queue` into error state
        memory.sync64(256) = {.value = 1, .error = 3};
        queue.run([&](W& w) {
            load(w, 0, 256);
            w.sync_wait64(d(66), Condition::gt, d(68));
        });
        ASSERT_EQ(queue.fault().type, Exception::cs_inherit_fault);
    }
};

// --- updates ---

TEST_F(Sync, Add64AddsModulo2To64) {
    memory.sync64().value = kMax32;
    queue.run([&](W& w) {
        load(w, 1);
        w.sync_add64(d(66), d(68));
    });
    EXPECT_EQ(memory.sync64().value, 0x1'0000'0000u);
    memory.sync64().value = ~0ULL;
    queue.run([&](W& w) {
        load(w, 3);
        w.sync_add64(d(66), d(68));
    });
    EXPECT_EQ(memory.sync64().value, 2u);
    EXPECT_EQ(memory.sync64().waiters, 0u);
}

TEST_F(Sync, Set64SetsTheWholeValue) {
    memory.sync64() = {.value = ~0ULL, .waiters = 0};
    queue.run([&](W& w) {
        w.move48(d(70), memory.va).move48(d(72), 0x1234'5678'9abc);
        w.word(0x3400464800000001);  // SYNC_SET64 [d70] = d72, propagate, system
    });
    EXPECT_EQ(memory.sync64().value, 0x1234'5678'9abcu);
}

TEST_F(Sync, Add32AddsModulo2To32AndLeavesItsNeighbours) {
    memory.sync32(0) = {.value = 0xffff'ffff, .error = 0};
    memory.u32(8) = 0xaaaa;
    queue.run([&](W& w) {
        load(w, 2);
        w.sync_add32(d(66), r(68));
    });
    EXPECT_EQ(memory.sync32().value, 1u);
    EXPECT_EQ(memory.sync32().error, 0u);
    EXPECT_EQ(memory.u32(8), 0xaaaau);
}

TEST_F(Sync, Set32SetsTheValueAndClearsTheError) {
    memory.sync32(8) = {.value = 9, .error = 9};
    queue.run([&](W& w) {
        load(w, 2, 8);
        w.word(0x2600424400000004);  // SYNC_SET32 [d66] = r68, clear error, CSG
    });
    EXPECT_EQ(memory.sync32(8).value, 2u);
    EXPECT_EQ(memory.sync32(8).error, 0u);
}

// --- waits ---

struct WaitCase {
    Condition condition;
    std::uint64_t value;
    std::uint64_t reference;
    bool passes;
};
constexpr WaitCase kWaitCases[] = {
    {Condition::le, 4, 5, true},      {Condition::le, 5, 5, true},       {Condition::le, 6, 5, false},
    {Condition::gt, 4, 5, false},     {Condition::gt, 5, 5, false},      {Condition::gt, 6, 5, true},
    {Condition::ge, 4, 5, false},     {Condition::ge, 5, 5, true},       {Condition::ge, 6, 5, true},
    {Condition::gt, kMax32, 1, true}, {Condition::le, kMax32, 1, false},  // unsigned
};

TEST_F(Sync, Wait32ComparesUnsigned) {
    for (const WaitCase& c : kWaitCases) {
        Rig own{{.group_slots = 1, .streams_per_group = 1}};
        Queue& only = own.group().queue(0);
        const Memory object = own.memory();
        object.sync32() = {.value = static_cast<std::uint32_t>(c.value), .error = 0};
        only.run([&](W& w) {
            w.move48(d(66), object.va).move32(r(69), 0xffff'ffff);  // not part of the reference
            w.move32(r(68), static_cast<std::uint32_t>(c.reference)).sync_wait32(d(66), c.condition, r(68));
            w.move32(r(0), 1);
        });
        EXPECT_EQ(only.reg(0), c.passes ? 1u : 0u) << c.value << " " << c.reference;
        EXPECT_EQ(only.blocked_by(), c.passes ? BlockedReason::none : BlockedReason::sync);
    }
}

TEST_F(Sync, Wait64ComparesAll64BitsUnsigned) {
    constexpr std::uint64_t kHigh = 1ULL << 32;
    constexpr WaitCase kWide[] = {
        {Condition::gt, kHigh, 1, true},       {Condition::gt, 1, kHigh, false},
        {Condition::le, kHigh, 1, false},      {Condition::le, 1, kHigh, true},
        {Condition::ge, kHigh, 2, true},       {Condition::gt, 1ULL << 63, 1, true},
        {Condition::le, 1ULL << 63, 1, false},
    };
    for (const auto& cases : {std::span<const WaitCase>(kWaitCases), std::span<const WaitCase>(kWide)})
        for (const WaitCase& c : cases) {
            Rig own{{.group_slots = 1, .streams_per_group = 1}};
            Queue& only = own.group().queue(0);
            const Memory object = own.memory();
            object.sync64().value = c.value;
            only.run([&](W& w) {
                w.move48(d(66), object.va).move64(d(68), c.reference).sync_wait64(d(66), c.condition, d(68));
                w.move32(r(0), 1);
            });
            EXPECT_EQ(only.reg(0), c.passes ? 1u : 0u) << c.value << " " << c.reference;
        }
}

TEST_F(Sync, WaitGoesOnWhenAnotherQueueUpdates) {
    queue.run([&](W& w) {
        load(w, 4);
        w.word(0x3500424410000000);  // SYNC_WAIT64 [d66] > d68, inherit
        w.move32(r(0), 1);
    });
    ASSERT_EQ(queue.blocked_by(), BlockedReason::sync);
    other.run([&](W& w) {
        load(w, 4);
        w.sync_add64(d(66), d(68));  // 4: not more than 4
    });
    EXPECT_EQ(queue.blocked_by(), BlockedReason::sync);
    EXPECT_EQ(queue.reg(0), 0u);
    other.run([&](W& w) {
        load(w, 1);
        w.sync_add64(d(66), d(68));
    });
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Sync, WaitOf32BitsGoesOnWhenAnotherQueueUpdates) {
    queue.run([&](W& w) {
        load(w, 0);
        w.sync_wait32(d(66), Condition::gt, r(68)).move32(r(0), 1);
    });
    ASSERT_EQ(queue.blocked_by(), BlockedReason::sync);
    other.run([&](W& w) {
        load(w, 1);
        w.sync_set32(d(66), r(68), {.scope = Scope::csg});
    });
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Sync, AQueueThatWaitsForItsOwnDeferredUpdateGoesOn) {
    queue.run([&](W& w) {
        load(w, 1);
        w.move48(d(70), 0).flush_cache2(r(0), {.signal = 0});
        w.sync_add64(d(66), d(68), {.after = slots(0), .signal = 1});
        w.sync_wait64(d(66), Condition::gt, d(70)).move32(r(0), 1);
    });
    EXPECT_EQ(queue.blocked_by(), BlockedReason::none);
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Sync, DeferredOperationsGoOnWhileTheQueueWaits) {
    queue.run([&](W& w) {
        load(w, 1);
        w.move48(d(70), memory.va + 64).flush_cache2(r(0), {.signal = 0});
        w.sync_add64(d(70), d(68), {.after = slots(0), .signal = 1});
        w.sync_wait64(d(66), Condition::gt, d(68));
    });
    EXPECT_EQ(queue.blocked_by(), BlockedReason::sync);
    EXPECT_EQ(memory.sync64(64).value, 1u);
    group.update_status();
    EXPECT_EQ(queue.out().status_scoreboards, 0u);
}

TEST_F(Sync, SystemScopeReachesTheQueuesOfOtherGroups) {
    Group& stranger = rig.group();
    queue.run([&](W& w) {
        load(w, 0);
        w.sync_wait64(d(66), Condition::gt, d(68)).move32(r(0), 1);
    });
    stranger.queue(0).run([&](W& w) {
        load(w, 1);
        w.sync_add64(d(66), d(68), {.scope = Scope::system});
    });
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Sync, CsgScopeDoesNotReachTheQueuesOfOtherGroups) {
    Group& stranger = rig.group();
    queue.run([&](W& w) {
        load(w, 0);
        w.sync_wait64(d(66), Condition::gt, d(68)).move32(r(0), 1);
    });
    stranger.queue(0).run([&](W& w) {
        load(w, 1);
        w.sync_add64(d(66), d(68), {.scope = Scope::csg});
    });
    EXPECT_EQ(queue.blocked_by(), BlockedReason::sync);
}

TEST_F(Sync, OneObjectAtTwoAddressesWakesItsWaiter) {
    Vm& second = rig.new_vm();
    second.map(0x7000'0000, memory.host, 1);
    Group& stranger = rig.group({.vm = &second});
    queue.run([&](W& w) {
        load(w, 0);
        w.sync_wait64(d(66), Condition::gt, d(68)).move32(r(0), 1);
    });
    stranger.queue(0).run(
        [&](W& w) { w.move48(d(66), 0x7000'0000).move48(d(68), 1).sync_add64(d(66), d(68)); });
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Sync, TheSameAddressOfAnotherSpaceDoesNotWakeTheWaiter) {
    Vm& second = rig.new_vm();
    const Memory unrelated = rig.vm.pages_of(1, 0);
    second.map(memory.va, unrelated.host, 1);
    Group& stranger = rig.group({.vm = &second});
    queue.run([&](W& w) {
        load(w, 0);
        w.sync_wait64(d(66), Condition::gt, d(68)).move32(r(0), 1);
    });
    stranger.queue(0).run(
        [&](W& w) { w.move48(d(66), memory.va).move48(d(68), 1).sync_add64(d(66), d(68)); });
    EXPECT_EQ(unrelated.sync64().value, 1u);
    EXPECT_EQ(queue.blocked_by(), BlockedReason::sync);
}

TEST_F(Sync, AnUpdateOfAnotherObjectDoesNotStirAWaiter) {
    const Memory scratch = rig.memory();
    queue.run([&](W& w) {
        load(w, 0);
        w.sync_wait64(d(66), Condition::gt, d(68));
    });
    StreamStatus status{};
    rig.host.on_timestamp = [&] { status = queue.status(); };
    rig.group().queue(0).run([&](W& w) {  // another group: a doorbell does stir all queues of its own
        load(w, 1, 16);
        w.sync_add64(d(66), d(68)).move48(d(70), scratch.va).store_state(State::timestamp, d(70));
    });
    EXPECT_EQ(status, StreamStatus::blocked);
}

TEST_F(Sync, AValueThatAProgramWroteIsSeenWhenItRingsItsDoorbell) {
    queue.run([&](W& w) {
        load(w, 0);
        w.sync_wait64(d(66), Condition::gt, d(68)).move32(r(0), 1);
    });
    memory.sync64().value = 1;
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 0u);  // never polled
    queue.ring();
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Sync, AValueThatAProgramWroteIsSeenAtDoorbell0) {
    queue.run([&](W& w) {
        load(w, 0);
        w.sync_wait64(d(66), Condition::gt, d(68)).move32(r(0), 1);
    });
    memory.sync64().value = 1;
    rig.ring_firmware();
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 1u);
}

// --- errors ---

TEST_F(Sync, PropagateWritesZeroWhileThereIsNoError) {
    memory.sync64().error = 5;
    queue.run([&](W& w) {
        load(w, 1);
        w.sync_add64(d(66), d(68), {.propagate = true});
    });
    EXPECT_EQ(memory.sync64().error, 0u);
}

TEST_F(Sync, PropagateWritesOneInErrorState) {
    fault_first();
    queue.run([&](W& w) {
        load(w, 1);
        w.sync_add64(d(66), d(68), {.propagate = true});
        w.move48(d(66), memory.va + 16).sync_set64(d(66), d(68), {.propagate = true});
        w.move48(d(66), memory.va + 32).sync_add32(d(66), r(68), {.propagate = true});
        w.move48(d(66), memory.va + 40).sync_set32(d(66), r(68), {.propagate = true});
    });
    EXPECT_EQ(memory.sync64(0).error, 1u);
    EXPECT_EQ(memory.sync64(16).error, 1u);
    EXPECT_EQ(memory.sync32(32).error, 1u);
    EXPECT_EQ(memory.sync32(40).error, 1u);
    EXPECT_EQ(memory.sync64(0).value, 1u);
}

TEST_F(Sync, ClearWritesZeroAlsoInErrorState) {
    fault_first();
    memory.sync64().error = 7;
    queue.run([&](W& w) {
        load(w, 1);
        w.sync_add64(d(66), d(68), {.propagate = false});
    });
    EXPECT_EQ(memory.sync64().error, 0u);
    EXPECT_EQ(memory.sync64().value, 1u);
}

TEST_F(Sync, InheritingAnErrorReportsAFaultOnceAndGoesOn) {
    rig.take_job_interrupts();
    memory.sync64() = {.value = 1, .error = 0xffff'ffff};
    queue.run([&](W& w) {
        load(w, 0);
        w.sync_wait64(d(66), Condition::gt, d(68));
        w.move32(r(0), 1).move48(d(70), memory.va + 32).store_state(State::error_status, d(70));
    });
    EXPECT_EQ(queue.fault().type, Exception::cs_inherit_fault);
    EXPECT_EQ(queue.out().fault & 0xff, 0x4bu);
    EXPECT_EQ(queue.fault().info, memory.va);
    EXPECT_EQ(queue.fault().instruction, 0x3500424410000000u);
    EXPECT_EQ(queue.fault().cmd_ptr, queue.ring_memory.va + 2 * 8);
    EXPECT_EQ(queue.fatal().type, Exception::ok);
    EXPECT_EQ(queue.reg(0), 1u);
    EXPECT_EQ(memory.u64(32), 1u);
    EXPECT_TRUE(queue.drained());
    EXPECT_EQ(group.notices(), 1u);
    EXPECT_EQ(rig.take_job_interrupts(), 1u);
}

TEST_F(Sync, RejectingAnErrorIgnoresIt) {
    memory.sync32() = {.value = 1, .error = 5};
    queue.run([&](W& w) {
        load(w, 1);
        w.word(0x2700424400000001);  // SYNC_WAIT32 [d66] <= r68, reject
        w.move32(r(0), 1).move48(d(70), memory.va + 32).store_state(State::error_status, d(70));
    });
    EXPECT_EQ(queue.fault().type, Exception::ok);
    EXPECT_EQ(queue.reg(0), 1u);
    EXPECT_EQ(memory.u64(32), 0u);
}

TEST_F(Sync, AnErrorIsInheritedWhenTheWaitEndsNotBefore) {
    memory.sync32() = {.value = 0, .error = 5};
    queue.run([&](W& w) {
        load(w, 0);
        w.sync_wait32(d(66), Condition::gt, r(68)).move32(r(0), 1);
    });
    EXPECT_EQ(queue.fault().type, Exception::ok);
    memory.sync32() = {.value = 1, .error = 5};
    queue.ring();
    rig.run_until_idle();
    EXPECT_EQ(queue.fault().type, Exception::cs_inherit_fault);
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Sync, ErrorBarrierClearsTheErrorState) {
    fault_first();
    queue.run([&](W& w) {
        w.word(0x2F00000000000000);  // ERROR_BARRIER
        load(w, 1);
        w.sync_add64(d(66), d(68), {.propagate = true});
        w.move48(d(90), memory.va + 32).word(0x28005A0300000000);  // error status -> [d90]
    });
    EXPECT_EQ(memory.sync64().error, 0u);
    EXPECT_EQ(memory.u64(32), 0u);
}

TEST_F(Sync, ErrorBarrierComesAfterWhatIsInFlight) {
    fault_first();
    queue.run([&](W& w) {
        load(w, 1);
        w.flush_cache2(r(0), {.signal = 0});
        w.sync_add64(d(66), d(68), {.propagate = true, .after = slots(0), .signal = 1}).error_barrier();
    });
    EXPECT_EQ(memory.sync64().error, 1u);
}

TEST_F(Sync, ErrorBarrierWaitsForWhatNeverEnds) {
    queue.run([&](W& w) {
        load(w, 1);
        w.sync_add64(d(66), d(68), {.after = slots(1), .signal = 1}).error_barrier().move32(r(0), 1);
    });
    EXPECT_EQ(queue.blocked_by(), BlockedReason::scoreboard);
    EXPECT_EQ(queue.reg(0), 0u);
}

TEST_F(Sync, TheErrorStateIsTheQueuesOwn) {
    fault_first();
    other.run([&](W& w) {
        load(w, 1);
        w.sync_add64(d(66), d(68), {.propagate = true});
    });
    EXPECT_EQ(memory.sync64().error, 0u);
}

// --- CPU waiters ---

class Wakes : public Sync {
  protected:
    /// The wakes of one update of `object`.
    std::vector<FakeHost::Wake> of(uapi::belfry_sync_object64 object, std::uint64_t data, bool add) {
        memory.sync64() = object;
        rig.host.wakes.clear();
        queue.run([&](W& w) {
            load(w, data);
            add ? w.sync_add64(d(66), d(68)) : w.sync_set64(d(66), d(68));
        });
        return rig.host.wakes;
    }
    std::vector<FakeHost::Wake> bits(std::uint32_t bitset) { return {{&memory.u32(), bitset}}; }
};

TEST_F(Wakes, NobodyIfNobodyIsCounted) {  // F2, F3
    EXPECT_EQ(of({.value = 4, .waiters = 0}, 1, true), std::vector<FakeHost::Wake>{});
    EXPECT_EQ(of({.value = 4, .waiters = 0}, 0, false), std::vector<FakeHost::Wake>{});
}

TEST_F(Wakes, TheTargetsFromOldPlusOneToNew) {  // F3
    EXPECT_EQ(of({.value = 4, .waiters = 1}, 1, true), bits(1U << 5));
    EXPECT_EQ(of({.value = 0, .waiters = 9}, 3, true), bits(0b1110));
    EXPECT_EQ(of({.value = 4, .waiters = 1}, 6, false), bits(0b110'0000));
    EXPECT_EQ(of({.value = 31, .waiters = 1}, 1, true), bits(1));
    EXPECT_EQ(of({.value = 30, .waiters = 1}, 3, true), bits(0x8000'0003));
    EXPECT_EQ(of({.value = kMax32, .waiters = 1}, 1, true), bits(1));
    EXPECT_EQ(of({.value = 1, .waiters = 1}, 31, true), bits(~(1U << 1)));
}

TEST_F(Wakes, EverybodyAfter32StepsOrMore) {  // F3
    EXPECT_EQ(of({.value = 4, .waiters = 1}, 32, true), bits(~0U));
    EXPECT_EQ(of({.value = 4, .waiters = 1}, 33, true), bits(~0U));
    EXPECT_EQ(of({.value = 4, .waiters = 1}, 1ULL << 40, true), bits(~0U));
}

TEST_F(Wakes, EverybodyWhenTheValueGoesDownOrWraps) {  // F5
    EXPECT_EQ(of({.value = 4, .waiters = 1}, 3, false), bits(~0U));
    EXPECT_EQ(of({.value = ~0ULL, .waiters = 1}, 1, true), bits(~0U));
}

TEST_F(Wakes, NobodyIfTheValueDoesNotChange) {
    EXPECT_EQ(of({.value = 4, .waiters = 1}, 4, false), std::vector<FakeHost::Wake>{});
    EXPECT_EQ(of({.value = 4, .waiters = 1}, 0, true), std::vector<FakeHost::Wake>{});
}

TEST_F(Wakes, WhoIsWokenSeesTheValueAndTheErrorBehindIt) {  // F6
    fault_first();
    memory.sync64() = {.value = 4, .error = 0, .waiters = 1};
    uapi::belfry_sync_object64 seen{};
    rig.host.on_wake = [&] { seen = memory.sync64(); };
    queue.run([&](W& w) {
        load(w, 1);
        w.sync_add64(d(66), d(68), {.propagate = true});
    });
    EXPECT_EQ(seen.value, 5u);
    EXPECT_EQ(seen.error, 1u);
    EXPECT_EQ(seen.waiters, 1u);
}

TEST_F(Wakes, OneOfTheRingWhenExtractMoves) {
    queue.run([](W& w) { w.nop(); });
    EXPECT_TRUE(rig.host.wakes.empty());
    queue.input().ring_waiters = 1;
    std::uint64_t extract = 0;
    rig.host.on_wake = [&] { extract = queue.output().extract; };
    queue.run([](W& w) { w.nop(); });
    const std::vector<FakeHost::Wake> expected = {{&queue.output().extract, ~0U}};
    EXPECT_EQ(rig.host.wakes, expected);
    EXPECT_EQ(extract, 16u);
}

}  // namespace
}  // namespace belfry::gpu
