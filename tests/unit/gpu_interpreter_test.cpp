// Registers, memory, branches and calls of the command-stream interpreter, against results worked out by
// hand. Instruction words are those of facts/csf-isa.md, section 9, where that has them. What is asynchronous
// between queues and slots: gpu_scoreboard_test.cpp; sync objects: gpu_sync_test.cpp; what is refused:
// gpu_exception_test.cpp.
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "unit/gpu_rig.hpp"

namespace belfry::gpu {
namespace {

using csf::Condition;
using csf::encode;
using csf::Op;
using csf::Operand;
using enum csf::Arg;

class Interpreter : public testing::Test {
  protected:
    Rig rig{{.group_slots = 1, .streams_per_group = 2}};
    Group& group = rig.group({.queues = 2});
    Queue& queue = group.queue(0);
    Memory memory = rig.memory(2);
};

// --- registers ---

struct RegisterCase {
    const char* what;
    std::vector<std::uint64_t> words;
    std::vector<std::pair<unsigned, std::uint32_t>> after;
};
void PrintTo(const RegisterCase& c, std::ostream* out) { *out << c.what; }

// clang-format off
const RegisterCase kRegisterCases[] = {
    {"a queue starts with all registers zero", {}, {{0, 0}, {1, 0}, {94, 0}, {95, 0}}},
    {"NOP ignores its 56 other bits", {0x00FFFFFFFFFFFFFF, 0x0200000000000001 /* MOVE32 r0, #1 */}, {{0, 1}}},
    {"MOVE48 d68, #0x1001000", {0x0144000001001000}, {{68, 0x1001000}, {69, 0}}},
    {"MOVE48 d92, #0xffffffffffff", {0x015CFFFFFFFFFFFF}, {{92, 0xFFFFFFFF}, {93, 0x0000FFFF}}},
    {"MOVE48 clears what was above", {0x025DFFFFFFFFFFFF /* MOVE32 r93 */, 0x015C000000000000}, {{92, 0}, {93, 0}}},
    {"MOVE32 r70, #0xdeadbeef", {0x02460000DEADBEEF}, {{69, 0}, {70, 0xDEADBEEF}, {71, 0}}},
    {"MOVE32 r95: the last register", {0x025F000000000007}, {{95, 7}}},
    {"ADD_IMMEDIATE32 r0, r0, #0xab", {0x0200000000000005, 0x10000000000000AB}, {{0, 0xB0}}},
    {"ADD_IMMEDIATE32 r4, r3, #0: a copy", {0x0203000012345678, 0x1004030000000000}, {{3, 0x12345678}, {4, 0x12345678}}},
    {"ADD_IMMEDIATE32 r4, r3, #-1", {0x0203000000000005, 0x10040300FFFFFFFF}, {{4, 4}}},
    {"ADD_IMMEDIATE32 wraps and does not carry", {0x02030000FFFFFFFF, 0x1004030000000002}, {{4, 1}, {5, 0}}},
    {"ADD_IMMEDIATE64 d66, d66, #-8", {0x0142000000000020, 0x11424200FFFFFFF8}, {{66, 0x18}, {67, 0}}},
    {"ADD_IMMEDIATE64 borrows", {0x0142000000000004, 0x11424200FFFFFFF8}, {{66, 0xFFFFFFFC}, {67, 0xFFFFFFFF}}},
    {"ADD_IMMEDIATE64 d2, d4, #1 carries", {0x010400FFFFFFFFFF /* d4 = 0xff'ffffffff */, 0x1102040000000001}, {{2, 0}, {3, 0x100}, {4, 0xFFFFFFFF}}},
    {"UMIN32 r2, r3, r4: unsigned", {0x02030000FFFFFFFF, 0x0204000000000001, 0x1202030400000000}, {{2, 1}}},
    {"UMIN32 r2, r3, r4: the first is smaller", {0x0203000000000003, 0x0204000080000000, 0x1202030400000000}, {{2, 3}}},
    {"UMIN32 into its own source", {0x0203000000000009, 0x0204000000000004, 0x1203030400000000}, {{3, 4}, {4, 4}}},
    {"PROGRESS_STORE r66, PROGRESS_LOAD r67", {0x0242000000000011, 0x2A00420000000000, 0x2B43000000000000}, {{67, 0x11}}},
    {"WAIT slots {}: goes on at once", {0x0300000000000000, 0x0200000000000001}, {{0, 1}}},
    {"WAIT slots {0}, progress bumps the queue's counter", {0x0300000100010000, 0x0300000100010000, 0x2B42000000000000}, {{66, 2}}},
    {"SET_EXCEPTION_HANDLER tiler_oom, d66, r68", {0x1900424400000002, 0x0200000000000001}, {{0, 1}}},
    {"TRACE_POINT r0 ... r3 without a buffer", {0x3200040000000000, 0x0200000000000001}, {{0, 1}}},
};
// clang-format on

class RegisterResults : public Interpreter, public testing::WithParamInterface<RegisterCase> {};

TEST_P(RegisterResults, AreThoseOfTheTable) {
    queue.write(GetParam().words);
    queue.publish();
    queue.ring();
    rig.run_until_idle();
    EXPECT_EQ(queue.fatal().type, Exception::ok);
    EXPECT_TRUE(queue.drained());
    for (const auto& [index, value] : GetParam().after) EXPECT_EQ(queue.reg(index), value) << "r" << index;
}
INSTANTIATE_TEST_SUITE_P(Table, RegisterResults, testing::ValuesIn(kRegisterCases));

TEST_F(Interpreter, RegistersStayFromOneSubmissionToTheNext) {
    queue.run([](W& w) { w.move32(r(7), 3); });
    queue.run([](W& w) { w.add_immediate32(r(8), r(7), 1); });
    EXPECT_EQ(queue.reg(8), 4u);
}

TEST_F(Interpreter, EachQueueHasRegistersOfItsOwn) {
    queue.run([](W& w) { w.move32(r(7), 3); });
    group.queue(1).run([](W& w) { w.add_immediate32(r(8), r(7), 1); });
    EXPECT_EQ(group.queue(1).reg(8), 1u);
}

TEST_F(Interpreter, ReqResourceIsGrantedAndShownInTheStatus) {
    queue.run({0x2200000000000009 /* REQ_RESOURCE compute, idvs */, 0x0200000000000001});
    group.update_status();
    EXPECT_EQ(queue.reg(0), 1u);
    EXPECT_EQ(queue.out().status_req_resource, 0b1001u);
    queue.run({0x2200000000000000});
    group.update_status();
    EXPECT_EQ(queue.out().status_req_resource, 0u);
}

TEST_F(Interpreter, HeapSetOfAQueuesSetUpIsLetThrough) {
    queue.run({0x3000420000000000 /* HEAP_SET d66 */, 0x0200000000000001});
    EXPECT_EQ(queue.reg(0), 1u);
}

// --- memory ---

TEST_F(Interpreter, IgtsTestStreamStoresDeadbeef) {
    const Memory at_fixed{.va = 0x1001000, .host = rig.vm.pages_of(1, 0).host, .bytes = kPage};
    rig.vm.map(at_fixed.va, at_fixed.host, 1);
    rig.flush(rig.vm);
    queue.run({
        0x0144000001001000,  // MOVE48 d68, #0x1001000
        0x02460000DEADBEEF,  // MOVE32 r70, #0xdeadbeef
        0x1546440000010000,  // STORE_MULTIPLE {r70}, [d68]
        0x0300000000FF0000,  // WAIT slots {0-7}
        0x0246000000000000,  // MOVE32 r70, #0
        0x2401460000000233,  // FLUSH_CACHE2 l2 3, lsc 3, other 2, id r70, signal 1
        0x0300000000FF0000,  // WAIT slots {0-7}
    });
    EXPECT_EQ(at_fixed.u32(), 0xdeadbeefu);
    EXPECT_EQ(at_fixed.u32(4), 0u);
    EXPECT_EQ(queue.output().extract, 56u);
}

TEST_F(Interpreter, LoadMultipleReadsPackedMemoryIntoRegistersWithGaps) {
    for (std::uint32_t i = 0; i < 5; ++i) memory.u32(4 * i) = 100 + i;
    queue.run([&](W& w) {
        w.move48(d(66), memory.va).move32(r(35), 7);
        w.word(0x14214200001B0000).wait(slots(0));  // LOAD_MULTIPLE {r33, r34, r36, r37}, [d66]
    });
    EXPECT_EQ(queue.reg(33), 100u);
    EXPECT_EQ(queue.reg(34), 101u);
    EXPECT_EQ(queue.reg(35), 7u);
    EXPECT_EQ(queue.reg(36), 102u);
    EXPECT_EQ(queue.reg(37), 103u);
    EXPECT_EQ(queue.reg(38), 0u);
}

TEST_F(Interpreter, StoreMultipleWritesRegistersWithGapsPacked) {
    memory.u32(12) = 0xaaaa;
    queue.run([&](W& w) {
        w.move48(d(66), memory.va);
        for (std::uint8_t i = 0; i < 5; ++i) w.move32(r(static_cast<std::uint8_t>(10 + i)), 50U + i);
        w.store_multiple(r(10), 0b10101, d(66));
    });
    EXPECT_EQ(memory.u32(0), 50u);
    EXPECT_EQ(memory.u32(4), 52u);
    EXPECT_EQ(memory.u32(8), 54u);
    EXPECT_EQ(memory.u32(12), 0xaaaau);
}

TEST_F(Interpreter, SixteenRegistersGoThereAndBack) {
    queue.run([&](W& w) {
        w.move48(d(66), memory.va - 64);
        for (std::uint8_t i = 0; i < 16; ++i) w.move32(r(i), 0x1000U + i);
        w.word(0x15004200FFFF0040).wait(slots(0));  // STORE_MULTIPLE {r0-r15}, [d66 + 64]
        w.load_multiple(r(80), 0xffff, d(66), 64).wait(slots(0));
    });
    for (unsigned i = 0; i < 16; ++i) {
        EXPECT_EQ(memory.u32(4 * i), 0x1000U + i);
        EXPECT_EQ(queue.reg(80 + i), 0x1000U + i);
    }
}

TEST_F(Interpreter, LoadMultipleMayLoadOverItsOwnAddress) {
    memory.u64(8) = 0x1122'3344'5566'7788;
    queue.run([&](W& w) { w.move48(d(66), memory.va).load_multiple(r(66), 0b11, d(66), 8).wait(slots(0)); });
    EXPECT_EQ(queue.pair(66), 0x1122'3344'5566'7788u);
}

TEST_F(Interpreter, NegativeOffsetsCountDown) {
    queue.run([&](W& w) {
        w.move48(d(68), memory.va + 16).move32(r(70), 1).move32(r(71), 2);
        w.word(0x154644000003FFF8).wait(slots(0));  // STORE_MULTIPLE {r70, r71}, [d68 - 8]
        w.load_multiple(r(72), 1, d(68), -4).wait(slots(0));
    });
    EXPECT_EQ(memory.u32(8), 1u);
    EXPECT_EQ(memory.u32(12), 2u);
    EXPECT_EQ(queue.reg(72), 2u);
}

TEST_F(Interpreter, OffsetsReachTheWholeRangeOf16Bits) {
    const Memory wide = rig.memory(17);
    queue.run([&](W& w) {
        w.move48(d(68), wide.va + 0x8000).move32(r(70), 1).move32(r(71), 2);
        w.store_multiple(r(70), 1, d(68), -0x8000).store_multiple(r(71), 1, d(68), 0x7ffc);
    });
    EXPECT_EQ(wide.u32(0), 1u);
    EXPECT_EQ(wide.u32(0xfffc), 2u);
}

TEST_F(Interpreter, ATransferMayCrossAPage) {
    // Two pages that are neighbours for the GPU only.
    const Memory first = rig.vm.pages_of(1, 0x2000'0000);
    const Memory gap = rig.vm.pages_of(1, 0);
    const Memory second = rig.vm.pages_of(1, 0x2000'1000);
    rig.vm.map(first.va, first.host, 1);
    rig.vm.map(second.va, second.host, 1);
    rig.flush(rig.vm);
    queue.run([&](W& w) {
        w.move48(d(66), second.va - 8);
        for (std::uint8_t i = 0; i < 4; ++i) w.move32(r(i), 11U + i);
        w.store_multiple(r(0), 0xf, d(66)).wait(slots(0)).load_multiple(r(20), 0xf, d(66));
    });
    EXPECT_EQ(first.u32(kPage - 8), 11u);
    EXPECT_EQ(first.u32(kPage - 4), 12u);
    EXPECT_EQ(second.u32(0), 13u);
    EXPECT_EQ(second.u32(4), 14u);
    EXPECT_EQ(gap.u32(0), 0u);
    for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(queue.reg(20 + i), 11U + i);
}

TEST_F(Interpreter, LowBitsOfAnUnalignedBaseAreDropped) {
    memory.u32(0) = 5;
    memory.u32(4) = 6;
    queue.run([&](W& w) { w.move48(d(66), memory.va + 3).load_multiple(r(0), 1, d(66), 4).wait(slots(0)); });
    EXPECT_EQ(queue.reg(0), 6u);
}

TEST_F(Interpreter, AnEmptyRegisterMaskTouchesNothing) {
    queue.run([&](W& w) {
        w.move48(d(66), 0xdead'0000'0000).load_multiple(r(0), 0, d(66)).store_multiple(r(0), 0, d(66));
        w.wait(kAllSlots).move32(r(1), 1);
    });
    EXPECT_EQ(queue.fatal().type, Exception::ok);
    EXPECT_EQ(queue.reg(1), 1u);
}

TEST_F(Interpreter, ALoadIsNotThereBeforeItsWait) {
    memory.u32() = 9;
    queue.run([&](W& w) {
        w.move48(d(66), memory.va).move32(r(0), 1).load_multiple(r(0), 1, d(66));
        w.add_immediate32(r(1), r(0), 0);  // too early
        w.wait(slots(0)).add_immediate32(r(2), r(0), 0);
    });
    EXPECT_EQ(queue.reg(1), 1u);
    EXPECT_EQ(queue.reg(2), 9u);
}

TEST_F(Interpreter, AStoreTakesItsDataAndAddressWhenItIsIssued) {
    queue.run([&](W& w) {
        w.move48(d(66), memory.va).move32(r(0), 1).store_multiple(r(0), 1, d(66));
        w.move32(r(0), 2).move48(d(66), memory.va + 64).wait(slots(0));
    });
    EXPECT_EQ(memory.u32(0), 1u);
    EXPECT_EQ(memory.u32(64), 0u);
}

TEST_F(Interpreter, SetSbEntryChoosesTheSlotOfLoadsAndStores) {
    memory.u32() = 9;
    queue.run([&](W& w) {
        w.move48(d(66), memory.va).set_sb_entry(0, 5).load_multiple(r(0), 1, d(66));
        w.set_sb_entry(0, 6);  // what is in flight keeps its slot
        w.wait(slots(0, 1, 2, 3, 4, 6, 7)).add_immediate32(r(1), r(0), 0);
        w.wait(slots(5)).add_immediate32(r(2), r(0), 0);
    });
    EXPECT_EQ(queue.reg(1), 0u);
    EXPECT_EQ(queue.reg(2), 9u);
}

// --- branches ---

struct BranchCase {
    Condition condition;
    std::int32_t value;
    bool taken;
};
constexpr BranchCase kBranchCases[] = {
    {Condition::le, -1, true},        {Condition::le, 0, true},     {Condition::le, 1, false},
    {Condition::gt, -1, false},       {Condition::gt, 0, false},    {Condition::gt, 1, true},
    {Condition::eq, -1, false},       {Condition::eq, 0, true},     {Condition::eq, 1, false},
    {Condition::ne, -1, true},        {Condition::ne, 0, false},    {Condition::ne, 1, true},
    {Condition::lt, -1, true},        {Condition::lt, 0, false},    {Condition::lt, 1, false},
    {Condition::ge, -1, false},       {Condition::ge, 0, true},     {Condition::ge, 1, true},
    {Condition::always, -1, true},    {Condition::always, 0, true}, {Condition::lt, INT32_MIN, true},
    {Condition::gt, INT32_MAX, true},
};

TEST_F(Interpreter, BranchComparesSignedWithZero) {
    for (const BranchCase& c : kBranchCases) {
        queue.run([&](W& w) {
            w.move32(r(0), static_cast<std::uint32_t>(c.value)).move32(r(1), 1);
            w.branch(c.condition, r(0), 1);
            w.move32(r(1), 0);  // jumped over
        });
        EXPECT_EQ(queue.reg(1), c.taken ? 1u : 0u)
            << csf::names::kCondition[static_cast<unsigned>(c.condition)] << " " << c.value;
    }
}

TEST_F(Interpreter, BranchWordsOfTheTableGoWhereTheySay) {
    queue.run({
        0x0201000000000002,           // MOVE32 r1, #2
        0x1600010050000001,           // BRANCH ge r1, +1
        0x0200000000000BAD,           // jumped over
        0x1002020000000001,           // ADD_IMMEDIATE32 r2, r2, #1
        0x10010100FFFFFFFF,           // ADD_IMMEDIATE32 r1, r1, #-1
        0x1600010050000000 | 0xFFFD,  // BRANCH ge r1, -3
    });
    EXPECT_EQ(queue.fatal().type, Exception::ok);
    EXPECT_EQ(queue.reg(0), 0u);
    EXPECT_EQ(queue.reg(2), 3u);
}

TEST_F(Interpreter, BranchByZeroIsANop) {
    queue.run([](W& w) { w.branch(Condition::always, r(0), 0).move32(r(0), 1); });
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Interpreter, BranchToTheExactEndLeavesTheBuffer) {
    const Memory callee =
        rig.buffer([](W& w) { w.move32(r(0), 1).branch(Condition::always, r(0), 1).move32(r(0), 2); });
    queue.run([&](W& w) {
        w.move48(d(66), callee.va).move32(r(68), static_cast<std::uint32_t>(callee.bytes)).call(d(66), r(68));
        w.move32(r(1), 1).branch(Condition::always, r(0), 1).move32(r(1), 2);
    });
    EXPECT_EQ(queue.fatal().type, Exception::ok);
    EXPECT_EQ(queue.reg(0), 1u);
    EXPECT_EQ(queue.reg(1), 1u);
    EXPECT_TRUE(queue.drained());
}

TEST_F(Interpreter, BranchOutOfTheBufferIsInvalid) {
    const auto outside = [](std::int16_t offset) {
        Rig own{{.group_slots = 1, .streams_per_group = 1}};
        Queue& only = own.group().queue(0);
        only.run([](W& w) { w.nop().nop(); });  // before the window that the next INSERT opens
        only.run([offset](W& w) { w.nop().branch(Condition::always, r(0), offset).nop(); });
        return only.fatal();
    };
    EXPECT_EQ(outside(1).type, Exception::ok);                 // exactly the end
    EXPECT_EQ(outside(2).type, Exception::cs_instr_invalid);   // one beyond
    EXPECT_EQ(outside(-3).type, Exception::cs_instr_invalid);  // one before the start
    EXPECT_EQ(outside(32767).type, Exception::cs_instr_invalid);
    EXPECT_EQ(outside(-32768).type, Exception::cs_instr_invalid);
    EXPECT_EQ(outside(2).info, 0x1600000060000002u);
    EXPECT_EQ(outside(2).instruction, 0x1600000060000002u);
}

TEST_F(Interpreter, BranchesReachAcrossTheWrapOfTheRing) {
    queue.run([](W& w) {
        while (w.size() < 510) w.nop();
    });
    ASSERT_EQ(queue.output().extract, 510u * 8);
    queue.run([](W& w) {
        w.move32(r(0), 3);                     // word 510
        w.add_immediate32(r(1), r(1), 1);      // word 511
        w.add_immediate32(r(0), r(0), -1);     // word 0
        w.branch(Condition::gt, r(0), -3);     // word 1: back over the wrap
        w.branch(Condition::always, r(0), 1);  // word 2
        w.move32(r(1), 99);
    });
    EXPECT_EQ(queue.fatal().type, Exception::ok);
    EXPECT_EQ(queue.reg(1), 3u);
}

TEST_F(Interpreter, ALoopLongerThanASliceGoesOnWhereItStood) {
    queue.run([](W& w) {
        w.move32(r(0), 5000).add_immediate32(r(1), r(1), 1);
        w.add_immediate32(r(0), r(0), -1).branch(Condition::gt, r(0), -3);
    });
    EXPECT_EQ(queue.reg(1), 5000u);
}

TEST_F(Interpreter, ARingOfSeveralPagesMayLieScattered) {
    Rig own{{.group_slots = 1, .streams_per_group = 1}};
    Group& only = own.group({.ring_bytes = 4 * kPage, .start = false});
    Queue& ring = only.queue(0);
    for (std::uint64_t i = 0; i < 4; ++i)  // last page first
        own.vm.map(ring.ring_memory.va + i * kPage, ring.ring_memory.host + (3 - i) * kPage, 1);
    own.flush(own.vm);
    for (std::uint64_t i = 0; i < 4; ++i)
        ring.ring_memory.u64((3 - i) * kPage) = 0x1000000000000000 + (1U << i);  // ADD_IMMEDIATE32 r0, r0
    ring.input().insert = 4 * kPage;
    only.start_on(0);
    own.run_until_idle();
    EXPECT_EQ(ring.reg(0), 0b1111u);
    EXPECT_EQ(ring.output().extract, 4 * kPage);
}

// --- calls ---

/// Calls `callee`, with scratch registers d90 and r89.
void call(W& w, const Memory& callee) {
    w.move48(d(90), callee.va).move32(r(89), static_cast<std::uint32_t>(callee.bytes)).call(d(90), r(89));
}
void jump(W& w, const Memory& target) {
    w.move48(d(90), target.va).move32(r(89), static_cast<std::uint32_t>(target.bytes)).jump(d(90), r(89));
}

TEST_F(Interpreter, CallRunsTheBufferAndComesBack) {
    const Memory callee = rig.buffer([](W& w) { w.move32(r(0), 1).move32(r(1), 1); });
    queue.run([&](W& w) {
        w.move48(d(92), callee.va).move32(r(94), 16);
        w.word(0x20005C5E00000000);  // CALL d92, r94
        w.move32(r(1), 2);
    });
    EXPECT_EQ(queue.reg(0), 1u);
    EXPECT_EQ(queue.reg(1), 2u);
}

TEST_F(Interpreter, CallRunsAsManyBytesAsItsLengthSays) {
    const Memory callee = rig.buffer([](W& w) { w.move32(r(0), 1).move32(r(0), 2).move32(r(0), 3); });
    queue.run([&](W& w) { w.move48(d(92), callee.va).move32(r(94), 16).call(d(92), r(94)); });
    EXPECT_EQ(queue.reg(0), 2u);
}

TEST_F(Interpreter, JumpReplacesTheBufferAndReturnsToItsCaller) {
    const Memory last = rig.buffer([](W& w) { w.add_immediate32(r(0), r(0), 1); });
    const Memory middle = rig.buffer([&](W& w) {
        w.move48(d(94), last.va).move32(r(93), 8);
        w.word(0x21005E5D00000000);  // JUMP d94, r93
        w.move32(r(2), 1);           // never
    });
    queue.run([&](W& w) {
        call(w, middle);
        w.move32(r(1), 1);
    });
    EXPECT_EQ(queue.reg(0), 1u);
    EXPECT_EQ(queue.reg(1), 1u);
    EXPECT_EQ(queue.reg(2), 0u);
}

TEST_F(Interpreter, ALongChainOfJumpsTakesNoFrames) {
    Memory next = rig.buffer([](W& w) { w.add_immediate32(r(0), r(0), 1); });
    for (unsigned i = 0; i < 20; ++i)
        next = rig.buffer([&](W& w) {
            w.add_immediate32(r(0), r(0), 1);
            jump(w, next);
        });
    queue.run([&](W& w) { call(w, next); });
    EXPECT_EQ(queue.fatal().type, Exception::ok);
    EXPECT_EQ(queue.reg(0), 21u);
}

/// Buffers that call each other; running the last one from the ring takes 1 + `calls` frames.
Memory nested_calls(Rig& rig, unsigned calls) {
    Memory callee = rig.buffer([](W& w) { w.add_immediate32(r(0), r(0), 1); });
    for (unsigned i = 1; i < calls; ++i)
        callee = rig.buffer([&](W& w) {
            w.add_immediate32(r(0), r(0), 1);
            call(w, callee);
            w.add_immediate32(r(1), r(1), 1);
        });
    return callee;
}

TEST_F(Interpreter, SevenNestedCallsFitAboveTheRing) {
    const Memory outer = nested_calls(rig, 7);
    queue.run([&](W& w) { call(w, outer); });
    EXPECT_EQ(queue.fatal().type, Exception::ok);
    EXPECT_EQ(queue.reg(0), 7u);
    EXPECT_EQ(queue.reg(1), 6u);
}

TEST_F(Interpreter, TheEighthNestedCallOverflowsTheStack) {
    const Memory outer = nested_calls(rig, 8);
    queue.run([&](W& w) { call(w, outer); });
    EXPECT_EQ(queue.fatal().type, Exception::cs_call_stack_overflow);
    EXPECT_EQ(queue.fatal().instruction, 0x20005A5900000000u);  // CALL d90, r89
    EXPECT_EQ(queue.reg(0), 7u);
    EXPECT_EQ(queue.reg(1), 0u);
}

TEST_F(Interpreter, ACallAsLastInstructionTakesAFrameToo) {
    const Memory leaf = rig.buffer([](W& w) { w.add_immediate32(r(0), r(0), 1); });
    Memory callee = leaf;
    for (unsigned i = 0; i < 6; ++i) callee = rig.buffer([&](W& w) { call(w, callee); });
    queue.run([&](W& w) { call(w, callee); });  // 7 deep
    EXPECT_EQ(queue.reg(0), 1u);
    EXPECT_EQ(queue.fatal().type, Exception::ok);
    const Memory one_more = rig.buffer([&](W& w) { call(w, callee); });
    queue.run([&](W& w) { call(w, one_more); });
    EXPECT_EQ(queue.fatal().type, Exception::cs_call_stack_overflow);
}

TEST_F(Interpreter, CallsAndJumpsOfLengthZeroReturnAtOnce) {
    const Memory jumper =
        rig.buffer([](W& w) { w.move48(d(90), 0).move32(r(89), 0).jump(d(90), r(89)).move32(r(0), 99); });
    queue.run([&](W& w) {
        w.move48(d(66), 0xdead'0000'0000).move32(r(68), 0).call(d(66), r(68));  // nothing is fetched there
        call(w, jumper);
        w.add_immediate32(r(0), r(0), 1);
    });
    EXPECT_EQ(queue.fatal().type, Exception::ok);
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Interpreter, JumpFromTheRingIsInvalid) {
    const Memory target = rig.buffer([](W& w) { w.nop(); });
    queue.run([&](W& w) { jump(w, target); });
    EXPECT_EQ(queue.fatal().type, Exception::cs_instr_invalid);
    EXPECT_EQ(queue.fatal().cmd_ptr, queue.ring_memory.va + 16);
}

TEST_F(Interpreter, CallOfALengthThatIsNoMultipleOf8IsInvalid) {
    const Memory callee = rig.buffer([](W& w) { w.move32(r(0), 1).nop(); });
    queue.run([&](W& w) { w.move48(d(66), callee.va).move32(r(68), 12).call(d(66), r(68)); });
    EXPECT_EQ(queue.fatal().type, Exception::cs_instr_invalid);
    EXPECT_EQ(queue.reg(0), 0u);
}

TEST_F(Interpreter, CallOfAnAddressThatIsNoMultipleOf8IsInvalid) {
    const Memory callee = rig.buffer([](W& w) { w.nop().nop(); });
    queue.run([&](W& w) { w.move48(d(66), callee.va + 4).move32(r(68), 8).call(d(66), r(68)); });
    EXPECT_EQ(queue.fatal().type, Exception::cs_instr_invalid);
}

TEST_F(Interpreter, BuffersMayLieInPagesThatAreNotExecutable) {
    const Memory callee = rig.memory(1, {.read_only = true, .no_exec = true});
    callee.u64() = 0x0200000000000001;  // MOVE32 r0, #1
    queue.run([&](W& w) { w.move48(d(66), callee.va).move32(r(68), 8).call(d(66), r(68)); });
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Interpreter, ABufferMayCrossPages) {
    const Memory callee = rig.memory(3);
    for (std::uint64_t i = 0; i < 3 * kPage / 8; ++i) callee.u64(8 * i) = 0x1000000000000001;  // r0 += 1
    queue.run([&](W& w) {
        w.move48(d(66), callee.va + 8)
            .move32(r(68), static_cast<std::uint32_t>(3 * kPage - 16))
            .call(d(66), r(68));
    });
    EXPECT_EQ(queue.reg(0), 3 * kPage / 8 - 2);
}

// --- queues of a group wait for each other's progress ---

TEST_F(Interpreter, ProgressWaitStallsUntilTheOtherQueueHasCome) {
    Queue& other = group.queue(1);
    queue.run([](W& w) { w.move32(r(66), 2).progress_wait(1, r(66)).move32(r(0), 1); });
    EXPECT_EQ(queue.blocked_by(), BlockedReason::progress);
    other.run([](W& w) { w.move32(r(1), 1).progress_store(r(1)); });
    EXPECT_EQ(queue.blocked_by(), BlockedReason::progress);
    EXPECT_EQ(queue.reg(0), 0u);
    other.run({0x0300000100000000});  // WAIT slots {}, progress
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Interpreter, ProgressThatIsThereAlreadyDoesNotStall) {
    queue.run([](W& w) {
        w.move32(r(66), 5).progress_store(r(66)).move32(r(66), 3);
        w.progress_wait(0, r(66)).move32(r(0), 1);
    });
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Interpreter, AProgressWaitShowsInTheStatus) {
    queue.run([](W& w) { w.move32(r(66), 2).word(0x1800420000000001); });  // PROGRESS_WAIT queue 1, r66
    group.update_status();
    EXPECT_EQ(queue.out().status_blocked_reason, 2u);
    EXPECT_EQ(queue.out().status_wait, 1U << 28);
    EXPECT_EQ(queue.out().status_cmd_ptr, queue.ring_memory.va + 8);
}

// --- trace points ---

TEST(TraceBuffer, ReceivesRegistersAndWraps) {
    Rig rig{{.group_slots = 1, .streams_per_group = 1}};
    Queue& queue = rig.group({.trace_bytes = 16}).queue(0);
    queue.run([](W& w) {
        w.move32(r(4), 1).move32(r(5), 2).move32(r(6), 3);
        w.trace_point(r(4), 3);
    });
    EXPECT_EQ(queue.trace.u32(0), 1u);
    EXPECT_EQ(queue.trace.u32(4), 2u);
    EXPECT_EQ(queue.trace.u32(8), 3u);
    EXPECT_EQ(queue.trace.u32(12), 0u);
    queue.run([](W& w) { w.trace_point(r(5), 2); });
    EXPECT_EQ(queue.trace.u32(12), 2u);
    EXPECT_EQ(queue.trace.u32(0), 3u);
}

// --- counters ---

TEST_F(Interpreter, StoreStateWritesTheTimestamp) {
    rig.host.now = 0x1234'5678'9abc;
    memory.u64() = ~0ULL;
    queue.run([&](W& w) { w.move48(d(94), memory.va).word(0x28005E0000000000); });  // timestamp -> [d94]
    EXPECT_EQ(memory.u64(), 0x1234'5678'9abcu);
}

TEST_F(Interpreter, StoreStateCountsInstructionsAsCycles) {
    queue.run([&](W& w) {
        w.move48(d(92), memory.va).word(0x28005C0100000000);  // cycle count -> [d92]
        w.nop().nop().move32(r(0), 20).add_immediate32(r(0), r(0), -1).branch(Condition::gt, r(0), -2);
        w.store_state(csf::State::cycle_count, d(92), 8);
    });
    EXPECT_EQ(memory.u64(8) - memory.u64(0), 1U + 2 + 1 + 20 * 2);
    EXPECT_EQ(rig.gpu.read64(Reg::cycle_count_lo), memory.u64(8) + 1);
}

TEST_F(Interpreter, StoreStateAddsItsOffset) {
    rig.host.now = 7;
    queue.run([&](W& w) {
        w.move48(d(66), memory.va + 32).store_state(csf::State::timestamp, d(66), -16);
        w.store_state(csf::State::timestamp, d(66), 16);
    });
    EXPECT_EQ(memory.u64(16), 7u);
    EXPECT_EQ(memory.u64(48), 7u);
    EXPECT_EQ(memory.u64(32), 0u);
}

TEST_F(Interpreter, TheDisjointCountStaysZero) {
    memory.u64() = ~0ULL;
    queue.run([&](W& w) { w.move48(d(66), memory.va).store_state(csf::State::disjoint_count, d(66)); });
    EXPECT_EQ(memory.u64(), 0u);
}

TEST_F(Interpreter, FlushCache2AdvancesLatestFlushId) {
    const std::uint32_t before = rig.gpu.read(Reg::latest_flush_id);
    queue.run([](W& w) { w.flush_cache2(r(0)).wait(kAllSlots).flush_cache2(r(0)); });
    EXPECT_EQ(rig.gpu.read(Reg::latest_flush_id), before + 2);
}

TEST_F(Interpreter, LatestFlushIdWrapsBeforeTheBitsThatTheUapiRefuses) {
    // 16 Mi flushes: 2^11 rounds of 2^13, which is 2^8 times 32.
    const Memory flushes = rig.buffer([](W& w) {
        w.move32(r(1), 1U << 8);
        for (unsigned i = 0; i < 32; ++i) w.flush_cache2(r(0));
        w.wait(slots(0)).add_immediate32(r(1), r(1), -1).branch(Condition::gt, r(1), -35);
    });
    queue.submit([&](W& w) {
        w.move32(r(2), 1U << 11)
            .move48(d(90), flushes.va)
            .move32(r(89), static_cast<std::uint32_t>(flushes.bytes));
        w.call(d(90), r(89)).add_immediate32(r(2), r(2), -1).branch(Condition::gt, r(2), -3);
    });
    queue.ring();
    rig.run_until_idle(20'000);
    EXPECT_TRUE(queue.drained());
    EXPECT_EQ(rig.gpu.read(Reg::latest_flush_id), 1u);  // the whole way round
}

}  // namespace
}  // namespace belfry::gpu
