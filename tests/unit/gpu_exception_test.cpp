// What the interpreter refuses: which exception, with which information, and what is left alone.
#include <cstdint>
#include <functional>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "unit/gpu_rig.hpp"

namespace belfry::gpu {
namespace {

struct Outcome {
    Record fatal;
    std::uint64_t ring_va;
    std::uint32_t r0;
};

/// The words, with d66 = a sync object with value 0 and d68 = 0, then MOVE32 r0, #1.
Outcome outcome_of(std::initializer_list<std::uint64_t> words) {
    Rig rig{{.group_slots = 1, .streams_per_group = 1}};
    Queue& queue = rig.group().queue(0);
    const Memory memory = rig.memory();
    queue.write([&](W& w) { w.move48(d(66), memory.va); });
    queue.write(std::span(words.begin(), words.size()));
    queue.run([](W& w) { w.move32(r(0), 1); });
    return {queue.fatal(), queue.ring_memory.va, queue.reg(0)};
}

struct WordCase {
    std::uint64_t word;
    const char* why;
};
void PrintTo(const WordCase& c, std::ostream* out) { *out << c.why; }

class InvalidWords : public testing::TestWithParam<WordCase> {};

// clang-format off
constexpr WordCase kInvalid[] = {
    // registers past r95
    {0x0160000000000001, "MOVE48 d96"},
    {0x01FE000000000001, "MOVE48 d254"},
    {0x0260000000000001, "MOVE32 r96"},
    {0x02FF000000000001, "MOVE32 r255"},
    {0x1060000000000001, "ADD_IMMEDIATE32 r96, r0"},
    {0x1000600000000001, "ADD_IMMEDIATE32 r0, r96"},
    {0x1160000000000001, "ADD_IMMEDIATE64 d96, d0"},
    {0x1100600000000001, "ADD_IMMEDIATE64 d0, d96"},
    {0x1260000000000000, "UMIN32 r96, r0, r0"},
    {0x1200600000000000, "UMIN32 r0, r96, r0"},
    {0x1200006000000000, "UMIN32 r0, r0, r96"},
    {0x145F420000030000, "LOAD_MULTIPLE {r95, r96}, [d66]"},
    {0x1451420080000000, "LOAD_MULTIPLE {r96} by mask, [d66]"},
    {0x1400600000010000, "LOAD_MULTIPLE {r0}, [d96]"},
    {0x155F420000030000, "STORE_MULTIPLE {r95, r96}, [d66]"},
    {0x1500600000010000, "STORE_MULTIPLE {r0}, [d96]"},
    {0x1600600010000000, "BRANCH gt r96"},
    {0x1800600000000000, "PROGRESS_WAIT queue 0, r96"},
    {0x1900600000000002, "SET_EXCEPTION_HANDLER d96, r0"},
    {0x1900006000000002, "SET_EXCEPTION_HANDLER d0, r96"},
    {0x2000600000000000, "CALL d96, r0"},
    {0x2000426000000000, "CALL d66, r96"},
    {0x2400600000000233, "FLUSH_CACHE2 id r96"},
    {0x2500600000000000, "SYNC_ADD32 [d96], r0"},
    {0x2500426000000000, "SYNC_ADD32 [d66], r96"},
    {0x2600426000000000, "SYNC_SET32 [d66], r96"},
    {0x3300426000000000, "SYNC_ADD64 [d66], d96"},
    {0x3400426000000000, "SYNC_SET64 [d66], d96"},
    {0x2700600000000000, "SYNC_WAIT32 [d96] le r0"},
    {0x2700426000000000, "SYNC_WAIT32 [d66] le r96"},
    {0x3500426000000000, "SYNC_WAIT64 [d66] le d96"},
    {0x2800600000000000, "STORE_STATE [d96]"},
    {0x2A00600000000000, "PROGRESS_STORE r96"},
    {0x2B60000000000000, "PROGRESS_LOAD r96"},
    {0x3200025F00000000, "TRACE_POINT r95, count 2"},
    {0x3200016000000000, "TRACE_POINT r96, count 1"},
    {0x3200110000000000, "TRACE_POINT r0, count 17"},
    // odd pairs
    {0x0143000000000001, "MOVE48 d67"},
    {0x1143420000000000, "ADD_IMMEDIATE64 d67, d66"},
    {0x1142430000000000, "ADD_IMMEDIATE64 d66, d67"},
    {0x1400430000010000, "LOAD_MULTIPLE {r0}, [d67]"},
    {0x1500430000010000, "STORE_MULTIPLE {r0}, [d67]"},
    {0x1900430000000002, "SET_EXCEPTION_HANDLER d67"},
    {0x2000430000000000, "CALL d67, r0"},
    {0x2500430000000000, "SYNC_ADD32 [d67], r0"},
    {0x3300424500000000, "SYNC_ADD64 [d66], d69"},
    {0x3400424500000000, "SYNC_SET64 [d66], d69"},
    {0x3500424500000000, "SYNC_WAIT64 [d66] le d69"},
    {0x2800430000000000, "STORE_STATE [d67]"},
    // values that the enumerations do not have
    {0x1600000070000000, "BRANCH condition 7"},
    {0x1900424400000000, "SET_EXCEPTION_HANDLER type 0"},
    {0x3000430000000000, "HEAP_SET d67"},
    {0x1900424400000001, "SET_EXCEPTION_HANDLER type 1"},
    {0x1900424400000003, "SET_EXCEPTION_HANDLER type 3"},
    {0x3300424400000002, "SYNC_ADD64 scope 1"},
    {0x3300424400000006, "SYNC_ADD64 scope 3"},
    {0x2600424400000002, "SYNC_SET32 scope 1"},
    {0x3500424420000000, "SYNC_WAIT64 eq"},
    {0x3500424430000000, "SYNC_WAIT64 ne"},
    {0x3500424440000000, "SYNC_WAIT64 lt"},
    {0x3500424460000000, "SYNC_WAIT64 always"},
    {0x3500424470000000, "SYNC_WAIT64 condition 7"},
    {0x27004244F0000000, "SYNC_WAIT32 condition 15"},
    {0x2400460000000234, "FLUSH_CACHE2 l2 mode 4"},
    {0x2400460000000243, "FLUSH_CACHE2 lsc mode 4"},
    {0x2400460000000433, "FLUSH_CACHE2 other mode 4"},
    // slots that v10 does not have
    {0x1700000000000008, "SET_SB_ENTRY endpoint 8"},
    {0x1700000000000080, "SET_SB_ENTRY other 8"},
    {0x2408460000000233, "FLUSH_CACHE2 signal 8"},
    {0x2400460001000233, "FLUSH_CACHE2 after 8"},
    {0x3308424401000004, "SYNC_ADD64 after 8, signal 8"},
    {0x3308424400010004, "SYNC_ADD64 signal 8"},
    {0x3300424480000004, "SYNC_ADD64 after 15"},
    {0x2600424401000004, "SYNC_SET32 after 8"},
    {0x2808420000010000, "STORE_STATE signal 8"},
    {0x2800420001000000, "STORE_STATE after 8"},
    {0x3208040000010000, "TRACE_POINT signal 8"},
    // the rest
    {0x1400420000010002, "LOAD_MULTIPLE offset 2"},
    {0x1500420000010001, "STORE_MULTIPLE offset 1"},
    {0x2100426800000000, "JUMP from the ring"},
};
// clang-format on

TEST_P(InvalidWords, EndTheStreamWithTheWordInTheReport) {
    const Outcome outcome = outcome_of({GetParam().word});
    EXPECT_EQ(outcome.fatal.type, Exception::cs_instr_invalid);
    EXPECT_EQ(outcome.fatal.info, GetParam().word);
    EXPECT_EQ(outcome.fatal.instruction, GetParam().word);
    EXPECT_EQ(outcome.fatal.cmd_ptr, outcome.ring_va + 8);
    EXPECT_EQ(outcome.r0, 0u);
}
INSTANTIATE_TEST_SUITE_P(Table, InvalidWords, testing::ValuesIn(kInvalid));

class ValidWords : public testing::TestWithParam<WordCase> {};

// The neighbours of what is refused.
// clang-format off
constexpr WordCase kValid[] = {
    {0x1450420080010000, "LOAD_MULTIPLE {r80, r95}, [d66]"},
    {0x145F420000010000, "LOAD_MULTIPLE {r95}, [d66]"},
    {0x1441420000090000, "LOAD_MULTIPLE {r65, r68}, [d66]: round its address"},
    {0x1542420000030000, "STORE_MULTIPLE {r66, r67}, [d66]: stores may"},
    {0x3200025E00000000, "TRACE_POINT r94, count 2"},
    {0x3200100000000000, "TRACE_POINT r0, count 16"},
    {0x1600FF0060000000, "BRANCH always reads no register"},
    {0x1700000000000077, "SET_SB_ENTRY endpoint 7, other 7"},
    {0x2407460000000233, "FLUSH_CACHE2 signal 7"},
    {0x2407460000000211, "FLUSH_CACHE2 clean"},
    {0x3307424400010004, "SYNC_ADD64 after 0, signal 7"},
    {0x3508424450000000, "SYNC_WAIT64 ge"},
    {0x2800420300000000, "STORE_STATE error status"},
};
// clang-format on

TEST_P(ValidWords, AreCarriedOut) {
    const Outcome outcome = outcome_of({GetParam().word});
    EXPECT_EQ(outcome.fatal.type, Exception::ok);
    EXPECT_EQ(outcome.r0, 1u);
}
INSTANTIATE_TEST_SUITE_P(Table, ValidWords, testing::ValuesIn(kValid));

TEST(UnassignedOpcodes, EndTheStream) {
    // facts/csf-isa.md, 2.2: 10, 12-15, 19, 26-31, 35, 45, 46, 54-255.
    const auto unassigned = [](unsigned op) {
        return op == 10 || (op >= 12 && op <= 15) || op == 19 || (op >= 26 && op <= 31) || op == 35 ||
               op == 45 || op == 46 || op >= 54;
    };
    unsigned count = 0;
    for (unsigned op = 0; op < 256; ++op) {
        if (!unassigned(op)) continue;
        ++count;
        const std::uint64_t word = std::uint64_t{op} << 56 | 0x1234;
        const Outcome outcome = outcome_of({word});
        EXPECT_EQ(outcome.fatal.type, Exception::cs_instr_invalid) << op;
        EXPECT_EQ(outcome.fatal.info, word);
    }
    EXPECT_EQ(count, 256U - 39);
}

class JobWords : public testing::TestWithParam<WordCase> {};

// clang-format off
constexpr WordCase kJobs[] = {
    {0x0500000000000000, "RUN_TILING"},
    {0x0600000000000000, "RUN_IDVS"},
    {0x0700000000000000, "RUN_FRAGMENT"},
    {0x0800420000000000, "RUN_FULLSCREEN [d66]"},
    {0x0900000000000000, "FINISH_TILING"},
    {0x0B00565800000001, "FINISH_FRAGMENT"},
    {0x3100000000000000, "HEAP_OPERATION vt_started"},
    {0x3100000100000000, "HEAP_OPERATION vt_completed"},
    {0x3100000300000000, "HEAP_OPERATION frag_completed"},
};
// clang-format on

TEST_P(JobWords, EndTheStreamBecauseThereIsNoTiler) {
    const Outcome outcome = outcome_of({GetParam().word});
    EXPECT_EQ(outcome.fatal.type, Exception::cs_endpoint_fault);
    EXPECT_EQ(outcome.fatal.info, GetParam().word);
    EXPECT_EQ(outcome.fatal.instruction, GetParam().word);
    EXPECT_EQ(outcome.fatal.cmd_ptr, outcome.ring_va + 8);
    EXPECT_EQ(outcome.r0, 0u);
}
INSTANTIATE_TEST_SUITE_P(Table, JobWords, testing::ValuesIn(kJobs));

class Exceptions : public testing::Test {
  protected:
    Rig rig{{.group_slots = 2, .streams_per_group = 2}};
    Group& group = rig.group({.queues = 2});
    Queue& queue = group.queue(0);
    Queue& other = group.queue(1);
    Memory memory = rig.memory();

    Record of_sync(std::uint64_t offset, const std::function<void(W&)>& instruction) {
        queue.run([&](W& w) {
            w.move48(d(66), memory.va + offset);
            instruction(w);
        });
        return queue.fatal();
    }
};

TEST_F(Exceptions, SyncObjectsMustLieAsTheirSizeSays) {
    struct {
        std::uint64_t offset;
        void (*instruction)(W&);
    } const cases[] = {
        {8, [](W& w) { w.sync_add64(d(66), d(68)); }},
        {4, [](W& w) { w.sync_set64(d(66), d(68)); }},
        {4, [](W& w) { w.sync_add32(d(66), r(68)); }},
        {2, [](W& w) { w.sync_set32(d(66), r(68)); }},
        {8, [](W& w) { w.sync_wait64(d(66), csf::Condition::gt, d(68)); }},
        {1, [](W& w) { w.sync_wait32(d(66), csf::Condition::gt, r(68)); }},
        {4, [](W& w) { w.store_state(csf::State::timestamp, d(66)); }},
        {0, [](W& w) { w.store_state(csf::State::timestamp, d(66), 4); }},
    };
    for (const auto& c : cases) {
        Rig own{{.group_slots = 1, .streams_per_group = 1}};
        Queue& only = own.group().queue(0);
        const Memory object = own.memory();
        only.run([&](W& w) {
            w.move48(d(66), object.va + c.offset);
            c.instruction(w);
            w.move32(r(0), 1);
        });
        EXPECT_EQ(only.fatal().type, Exception::cs_bus_fault);
        EXPECT_EQ(only.fatal().info & 7, (c.offset + (c.offset == 0 ? 4 : 0)) & 7);
        EXPECT_EQ(only.fatal().cmd_ptr, only.ring_memory.va + 8);
        EXPECT_EQ(only.reg(0), 0u);
        for (std::uint64_t i = 0; i < 32; i += 8) EXPECT_EQ(object.u64(i), 0u);
    }
}

TEST_F(Exceptions, AMisalignedObjectOfADeferredUpdateNamesTheInstructionThatIssuedIt) {
    queue.run([&](W& w) {
        w.move48(d(66), memory.va + 8).flush_cache2(r(0), {.signal = 0});
        w.word(0x3301424600010005);  // SYNC_ADD64 [d66], d70, propagate, csg, after {0}, signal 1
        w.nop().nop().wait(kAllSlots).move32(r(0), 1);
    });
    EXPECT_EQ(queue.fatal().type, Exception::cs_bus_fault);
    EXPECT_EQ(queue.fatal().info, memory.va + 8);
    EXPECT_EQ(queue.fatal().instruction, 0x3301424600010005u);
    EXPECT_EQ(queue.fatal().cmd_ptr, queue.ring_memory.va + 2 * 8);
    EXPECT_EQ(queue.reg(0), 0u);
}

TEST_F(Exceptions, AFatalStreamStopsForGoodAndOthersGoOn) {
    queue.run({0x0A00000000000000});
    ASSERT_EQ(queue.fatal().type, Exception::cs_instr_invalid);
    queue.acknowledge_events();
    queue.run([](W& w) { w.move32(r(0), 1); });
    queue.driver_ring();
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 0u);
    EXPECT_EQ(queue.status(), StreamStatus::fatal);
    EXPECT_EQ(queue.fatal().type, Exception::ok);  // not reported again

    other.run([](W& w) { w.move32(r(0), 1); });
    EXPECT_EQ(other.reg(0), 1u);
    Group& stranger = rig.group();
    stranger.queue(0).run([](W& w) { w.move32(r(0), 1); });
    EXPECT_EQ(stranger.queue(0).reg(0), 1u);
}

TEST_F(Exceptions, AFatalStreamTellsTheDriverWithNoticeAndInterrupt) {
    rig.take_job_interrupts();
    other.run({0x0A00000000000000});
    EXPECT_EQ(group.notices(), 0b10u);
    EXPECT_EQ(rig.take_job_interrupts(), 1u);
    EXPECT_EQ((other.in().req ^ other.out().ack) & kStreamEvents, 1U << 30);
    EXPECT_EQ(other.out().fatal & 0xff, 0x49u);
}

TEST_F(Exceptions, ExtractOfAFatalStreamStandsAtTheCulprit) {
    queue.run({0, 0, 0x0A00000000000000, 0});
    EXPECT_EQ(queue.output().extract, 16u);
    EXPECT_EQ(queue.output().active, 1u);  // resident until the driver takes the group away
}

TEST_F(Exceptions, NothingOfAFatalStreamReachesMemoryAfterItHasEnded) {
    const Memory gone = rig.memory();
    queue.run([&](W& w) {
        w.move48(d(66), memory.va).move48(d(68), gone.va).move32(r(0), 1);
        w.store_multiple(r(0), 1, d(68)).word(0x0A00000000000000);  // in flight when the stream ends
    });
    ASSERT_EQ(queue.fatal().type, Exception::cs_instr_invalid);
    rig.vm.unmap(gone.va);
    rig.flush(rig.vm);
    gone.u32() = 0;
    rig.take_mmu_interrupts();
    group.suspend();
    EXPECT_EQ(gone.u32(), 0u);
    EXPECT_EQ(rig.take_mmu_interrupts(), 0u);
    EXPECT_EQ(queue.out().status_scoreboards, 0u);
}

TEST_F(Exceptions, TheFirstFaultIsKeptUntilItIsAcknowledged) {
    memory.sync64(0) = {.value = 1, .error = 1};
    memory.sync64(16) = {.value = 1, .error = 1};
    const auto inherit_from = [&](std::uint64_t offset) {
        queue.run([&](W& w) {
            w.move48(d(66), memory.va + offset).sync_wait64(d(66), csf::Condition::gt, d(68)).move32(r(0), 1);
        });
    };
    inherit_from(0);
    inherit_from(16);
    EXPECT_EQ(queue.fault().info, memory.va);
    EXPECT_EQ(group.notices(), 1u);  // merged, not cancelled
    queue.acknowledge_events();
    EXPECT_EQ(queue.fault().type, Exception::ok);
    inherit_from(16);
    EXPECT_EQ(queue.fault().info, memory.va + 16);
}

TEST_F(Exceptions, ExtractStandsInTheSubmissionThatFaulted) {
    memory.sync64() = {.value = 1, .error = 1};
    // Three submissions that one look of the GPU takes together; the second inherits.
    queue.write([](W& w) { w.nop().nop(); });
    const std::uint64_t from = queue.written;
    queue.write(
        [&](W& w) { w.move48(d(66), memory.va).sync_wait64(d(66), csf::Condition::gt, d(68)).nop(); });
    const std::uint64_t to = queue.written;
    queue.submit([](W& w) { w.nop().nop(); });
    std::uint64_t extract = 0;
    rig.host.on_interrupt = [&] {
        if (extract == 0 && queue.fault().type != Exception::ok) extract = queue.output().extract;
    };
    rig.take_job_interrupts();
    queue.ring();
    rig.run_until_idle();
    EXPECT_GE(extract, from);
    EXPECT_LT(extract, to);
    EXPECT_TRUE(queue.drained());
}

TEST_F(Exceptions, BranchesDoNotReachBehindAnExtractThatAFaultHasMoved) {
    // What lies before EXTRACT may be overwritten already: better no instruction than an unknown one.
    memory.sync64() = {.value = 1, .error = 1};
    queue.run([&](W& w) {
        w.move48(d(66), memory.va)
            .add_immediate32(r(0), r(0), 1)
            .sync_wait64(d(66), csf::Condition::gt, d(68));
        w.branch(csf::Condition::always, r(0), -3);
    });
    EXPECT_EQ(queue.fault().type, Exception::cs_inherit_fault);
    EXPECT_EQ(queue.fatal().type, Exception::cs_instr_invalid);
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(Exceptions, AFaultInACalledBufferIsPlacedThereAndExtractInTheRing) {
    const Memory callee = rig.buffer([](W& w) { w.nop().word(0x0A00000000000000); });
    queue.run([&](W& w) { w.move48(d(92), callee.va).move32(r(94), 16).call(d(92), r(94)).nop(); });
    EXPECT_EQ(queue.fatal().cmd_ptr, callee.va + 8);
    EXPECT_EQ(queue.fatal().instruction, 0x0A00000000000000u);
    EXPECT_GE(queue.output().extract, 2u * 8);
    EXPECT_LT(queue.output().extract, 4u * 8);
}

// --- whatever a client writes ---

TEST(RandomWords, NeitherHangNorLeaveTheirMemory) {
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        std::mt19937_64 random(seed);
        Rig rig{{.group_slots = 1, .streams_per_group = 2}};
        Group& group = rig.group({.queues = 2, .trace_bytes = 64});
        const Memory memory = rig.memory(2);
        const Memory untouched = rig.vm.pages_of(2, 0);
        for (unsigned q = 0; q < 2; ++q) {
            group.queue(q).write([&](W& w) {
                for (std::uint8_t i = 0; i < 96; i = static_cast<std::uint8_t>(i + 2))
                    w.move48(d(i), memory.va + random() % (2 * kPage + 64));
            });
            std::vector<std::uint64_t> words(400);
            for (std::uint64_t& word : words) {
                // Mostly assigned opcodes with registers that exist, so that programs live for a while.
                const auto& row = csf::kInstructions[random() % csf::kInstructions.size()];
                word = std::uint64_t{static_cast<std::uint8_t>(row.op)} << 56;
                for (const csf::Field& field : row.fields()) {
                    std::uint64_t value = random() >> (64 - field.width);
                    if (field.kind == csf::Kind::pair || field.kind == csf::Kind::address)
                        value = value % 96 & ~1ULL;
                    if (field.kind == csf::Kind::reg) value %= 96;
                    if (field.kind == csf::Kind::slots) value &= 0xff;
                    if (field.kind == csf::Kind::slot) value &= 7;
                    if (field.arg == csf::Arg::offset) value &= 0x3c;
                    if (field.arg == csf::Arg::scope) value &= 2;
                    word |= (value << field.low) & field.bits();
                }
                const std::uint8_t op = csf::opcode(word);
                if ((op >= 4 && op <= 11) || op >= 0x2c) word = random() % 4 == 0 ? word : 0;
                if (random() % 200 == 0) word = random();
            }
            group.queue(q).write(words);
            group.queue(q).publish();
            group.queue(q).ring();
        }
        for (int i = 0; i < 40; ++i) rig.step();
        rig.disable(rig.vm);
        rig.run_until_idle(4);  // all of it has ended
        group.terminate();
        for (std::uint64_t i = 0; i < untouched.bytes; i += 8)
            ASSERT_EQ(untouched.u64(i), 0u) << "seed " << seed;
        ASSERT_EQ(group.queue(0).output().active, 0u);
    }
}

}  // namespace
}  // namespace belfry::gpu
