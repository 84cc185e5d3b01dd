// What goes wrong in a shader: which exception, where, and that nothing worse comes of it.
#include <bit>

#include "gpu/shader/program.hpp"
#include "unit/shader_rig.hpp"

namespace belfry::csf {
inline void PrintTo(Exception exception, std::ostream* out) { *out << name(exception); }
}  // namespace belfry::csf

namespace belfry::gpu::shader {
namespace {

using csf::Exception;

/// Runs the program and gives the fault that it must end with.
Fault fault_of(ShaderRig& rig) {
    EXPECT_EQ(rig.run(), Outcome::faulted);
    return rig.fault.value_or(Fault{});
}

TEST(ShaderFault, AnInvalidInstructionIsAFaultOnlyWhenItIsReached) {
    ShaderRig rig(R"(
        BRANCHZ.eq.reconverge 0x0, offset:over
        .word 0x01FF000000000000
    over:
        NOP
        BRANCHZ.eq.reconverge u2, offset:out
        .word 0x8000000000000000
    out:
        NOP.end
    )");
    EXPECT_EQ(rig.run(), Outcome::finished);
    rig.uniform(2, 1);
    rig.grid = {1, 2, 3};
    const Fault fault = fault_of(rig);
    EXPECT_EQ(fault.exception, Exception::instr_invalid_enc);
    EXPECT_EQ(fault.pc, kCode + 4 * 8);
    EXPECT_EQ(fault.instruction, 0x8000'0000'0000'0000U);
    EXPECT_EQ(fault.workgroup, (std::array<std::uint32_t, 3>{0, 0, 0}));
}

TEST(ShaderFault, AFaultNamesWorkgroupThreadAndAddress) {
    // Thread 19 of workgroup (1, 2, 0) loads from nowhere.
    ShaderRig rig(R"(
        IADD_IMM.i32 r4, r60, #0xFFFFFFCD
        IADD_IMM.i32 r5, r58, #0xFFFFFFFE
        LSHIFT_OR.i32 r4, r4, 0x0.b00, r5
        MOV.i32 r2, u0
        MOV.i32 r3, u1
        BRANCHZ.reconverge r4, offset:load
        IADD_IMM.i32 r3, 0x0, #0x123
        IADD_IMM.i32.reconverge r2, 0x0, #0x45678900
    load:
        LOAD.i32.unsigned.slot0.wait0 @r8, r2, offset:16
        NOP.end
    )");
    rig.threads = {32, 1, 1};
    rig.grid = {2, 3, 1};
    const Fault fault = fault_of(rig);
    EXPECT_EQ(fault.exception, Exception::translation_fault_3);
    EXPECT_EQ(fault.address, 0x123'4567'8910U);
    EXPECT_EQ(fault.pc, kCode + 8 * 8);
    EXPECT_EQ(valhall::opcode(fault.instruction), 0x60U);
    EXPECT_EQ(fault.workgroup, (std::array<std::uint32_t, 3>{1, 2, 0}));
    EXPECT_EQ(fault.lane, 19U);
    EXPECT_FALSE(fault.write);
    EXPECT_FALSE(fault.atomic);
}

TEST(ShaderFault, MemoryThatMayOnlyBeReadIsNotWritten) {
    ShaderRig rig("STORE.i32.slot0 @r60, u2, offset:0\nNOP.end\n");
    rig.uniform(2, kDescriptors);
    const Fault fault = fault_of(rig);
    EXPECT_EQ(fault.exception, Exception::perm_fault_3);
    EXPECT_EQ(fault.address, kDescriptors);
    EXPECT_TRUE(fault.write);

    rig.program("ATOM.i32.slot0.aadd @r60, u2, offset:0\nNOP.end\n");
    EXPECT_TRUE(fault_of(rig).atomic);
    rig.program("LOAD.i32.unsigned.slot0.wait0 @r2, u2, offset:0\nNOP.end\n");
    EXPECT_EQ(rig.run(), Outcome::finished);
}

TEST(ShaderFault, AnAddressOfMoreThan48BitsIsNone) {
    ShaderRig rig("LOAD.i32.unsigned.slot0.wait0 @r2, u2, offset:0\nNOP.end\n");
    for (const std::uint32_t high : {0x1'0000U, 0x8000'0000U, 0xffff'ffffU}) {
        rig.uniform(3, high);
        EXPECT_EQ(fault_of(rig).exception, Exception::addr_size_fault_in) << high;
        EXPECT_EQ(rig.fault->address, std::uint64_t{high} << 32);
    }
}

TEST(ShaderFault, AnAtomicThatIsNotAlignedIsAFault) {
    ShaderRig rig("ATOM.i32.slot0.aadd @r60, u0, offset:0x2\nNOP.end\n");
    EXPECT_EQ(fault_of(rig).exception, Exception::addr_range_fault);
    EXPECT_EQ(rig.fault->address, kOut + 2);
    rig.program("ATOM.i64.slot0.aadd @r2:r3, u0, offset:0x4\nNOP.end\n");
    EXPECT_EQ(fault_of(rig).exception, Exception::addr_range_fault);
    EXPECT_TRUE(rig.fault->atomic);
}

TEST(ShaderFault, CodeMustBeMappedAndExecutable) {
    // Runs off the end of its memory.
    ShaderRig rig("NOP");
    EXPECT_EQ(fault_of(rig).exception, Exception::instr_invalid_pc);
    EXPECT_EQ(rig.fault->pc, kCode + 4 * kPageBytes);
    // Jumps to data; to nowhere; between two instructions.
    constexpr std::uint64_t kData = kCode + 0x100'0000;
    rig.memory.map(kData, kPageBytes, kRead | kWrite);
    rig.program("BRANCHZI.eq.absolute 0x0, u2\nNOP.end\n");
    for (const std::uint64_t target : {kData, kCode + 0x1000'0000, kCode + 12}) {
        rig.uniform(2, static_cast<std::uint32_t>(target));
        EXPECT_EQ(fault_of(rig).exception, Exception::instr_invalid_pc) << target;
        EXPECT_EQ(rig.fault->pc, target);
    }
}

TEST(ShaderFault, TheStartOfAProgramIsJudgedWhenItRuns) {
    ShaderRig rig;
    for (const std::uint64_t pc : {kCode + 4, std::uint64_t{1} << 48, kOut}) {
        rig.memory.put(kProgram + 8, pc);
        EXPECT_EQ(fault_of(rig).exception, Exception::instr_invalid_pc);
        EXPECT_EQ(rig.fault->pc, pc);
    }
}

TEST(ShaderFault, InstructionsOfFragmentsAreInvalid) {
    for (const std::string_view text :
         {"DISCARD.f32.eq r0, r1", "LEA_BUF_IMM.slot0 @r2:r3, r59, table:0xD, index:0x0",
          "BRANCHZI.eq 0x0, r2"}) {
        ShaderRig rig(std::string(text) + "\nNOP.end\n");
        EXPECT_EQ(fault_of(rig).exception, Exception::instr_invalid_enc) << text;
    }
}

TEST(ShaderFault, CodeThatChangesBetweenJobsIsSeen) {
    ShaderRig rig("STORE.i32.slot0 @r60, u0, offset:0\nNOP.end\n");
    ASSERT_EQ(rig.run(), Outcome::finished);
    EXPECT_EQ(rig.out(0), 15U);
    rig.program("STORE.i32.slot0 @r57, u0, offset:0\nNOP.end\n");
    ASSERT_EQ(rig.run(), Outcome::finished);
    EXPECT_EQ(rig.out(0), 0U);
}

TEST(ShaderFault, CodeThatChangesInTheMiddleOfAJobIsSeenByTheNext) {
    ShaderRig rig(R"(
    loop:
        LOAD.i32.unsigned.slot0.wait0 @r2, u0, offset:4
        BRANCHZ.eq.reconverge r2, offset:loop
        STORE.i32.slot0 @r55, u0, offset:0
        NOP.end
    )");
    ASSERT_TRUE(rig.start());
    ASSERT_EQ(rig.step(0, 0, 50), Outcome::paused);
    rig.program("STORE.i32.slot0 @r58, u0, offset:0\nNOP.end\n", kCode + 16);
    rig.set_out(1, 1);
    ASSERT_EQ(rig.step(0, 0, 50), Outcome::finished);
    EXPECT_EQ(rig.out(0), 15U);
    ASSERT_EQ(rig.run(), Outcome::finished);
    EXPECT_EQ(rig.out(0), 0U);
}

/// Wherever a shader looks, there is memory, mostly; a few pages of it.
class EverywhereMemory final : public Translation {
  public:
    explicit EverywhereMemory(const FakeMemory& sane) : sane_(sane) {}
    [[nodiscard]] Page page(std::uint64_t address) const override {
        const Page page = sane_.page(address);
        const std::uint64_t number = address >> kPageShift;
        if (page.host != nullptr || number % 32 == 31) return page;
        return {.host = pages_[number % pages_.size()].data(), .rights = kRead | kWrite};
    }

  private:
    const FakeMemory& sane_;
    mutable std::array<std::array<std::byte, kPageBytes>, 4> pages_{};
};

/// A word that is an instruction, mostly: all but its registers and what it does not use is as encode() has
/// it.
std::uint64_t random_word(std::mt19937_64& random) {
    if (random() % 16 == 0) return random();
    const valhall::Row& row = valhall::kRows[random() % valhall::kRows.size()];
    std::uint64_t word = valhall::encode(row);
    word |= random() & 0x0000'3f00'0000'0000U;
    for (const valhall::Source& source : row.sources()) word |= (random() & 0xff) << source.bit;
    for (const valhall::Field& field : row.fields())
        if (random() % 2 == 0) word = valhall::insert(field, word, random());
    return random() % 8 == 0 ? valhall::with(word, static_cast<valhall::Flow>(random() % 16)) : word;
}

TEST(ShaderFault, RandomWordsAsProgramsEndOrAreLeft) {
    constexpr unsigned kRounds = 4000;
    constexpr std::array<std::uint64_t, 4> kTypes = {1, 2, 5, 9};  // sampler, texture, attribute, buffer
    std::mt19937_64 random(20);
    std::array<unsigned, 3> outcomes{};
    ShaderRig rig;
    rig.threads = {24, 2, 1};
    const EverywhereMemory memory(rig.memory);
    std::vector<Lanes> literals(kLiteralCount);
    Programs programs(literals);
    const auto page = std::make_unique<CodePage>();
    for (unsigned round = 0; round < kRounds; ++round) {
        std::vector<std::uint64_t> words;
        while (words.size() < 24) {
            page->words[0] = random_word(random);
            programs.decode(*page, 0);
            // Few of the words that are drawn are run; one that is not ends the program.
            if (static_cast<OpKind>(page->ops[0].kind) != OpKind::invalid || random() % 400 == 0)
                words.push_back(page->words[0]);
        }
        words.push_back(valhall::with(0, valhall::Flow::end));
        rig.words(words);
        for (unsigned i = 2; i < 32; ++i) rig.uniform(i, static_cast<std::uint32_t>(random()));
        for (unsigned i = 0; i < 64; ++i)
            rig.memory.put(kTable0 + 8 * i, (random() & ~0xfULL) | kTypes[random() % kTypes.size()]);
        ASSERT_TRUE(rig.start());
        Outcome outcome = Outcome::paused;
        for (unsigned turn = 0; turn < 4 && outcome == Outcome::paused; ++turn)
            outcome = rig.cores[turn % 2]->run(rig.tasks[0].task, memory, round, 300, rig.leave);
        ++outcomes[static_cast<std::size_t>(outcome)];
    }
    // Each has been had.
    for (const unsigned count : outcomes) EXPECT_GT(count, kRounds / 100);
}

}  // namespace
}  // namespace belfry::gpu::shader
