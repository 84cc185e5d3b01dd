// What all arithmetic instructions have in common: masks, aliases, selectors, and that there is one for each
// name.
#include "gpu_shader_alu_rig.hpp"

namespace belfry::gpu::shader {
namespace {

using valhall::kRows;
using valhall::Mod;
using valhall::Row;

/// Names that are not known well enough, and control flow.
bool is_refused(valhall::Op op) {
    using enum valhall::Op;
    constexpr std::array kRefused = {
        nop,           branchz,           discard_f32,      branchzi,        barrier,
        fpclass_f32,   fpclass_f16,       flog_table_f32,   frcp_approx_f32, frsq_approx_f32,
        fexp_table_u4, fsincos_offset_u6, fatan_assist_f32, seg_add_u64};
    return std::ranges::find(kRefused, op) != kRefused.end();
}

/// Registers of which those that random_word() uses have random bits; small numbers and floats among them.
Registers random_registers(Random& random) {
    Registers registers{};
    for (unsigned r = 0; r < 16; ++r)
        for (unsigned lane = 0; lane < kLanes; ++lane) {
            const std::uint32_t choice = random();
            registers[r][lane] = choice % 3 == 0   ? random()
                                 : choice % 3 == 1 ? kFloats[choice / 4 % kFloats.size()]
                                                   : kIntegers[choice / 4 % kIntegers.size()];
        }
    return registers;
}

/// A word of `row` that is executed, with random modifiers and registers r0 to r15.
std::uint64_t random_word(const Row& row, Random& random) {
    for (;;) {
        std::uint64_t word = valhall::encode(row);
        for (const valhall::Field& field : row.fields())
            if (random() % 2 == 0 && field.mod != Mod::constant)
                word = valhall::insert(field, word, random());
            else if (field.mod == Mod::constant)
                word = valhall::insert(field, word, random());
        for (const valhall::Source& source : row.sources()) {
            const std::uint64_t selector = (1ULL << valhall::form(source.selector).width) - 1;
            word |= std::uint64_t{random() & (source.pair ? 0xeU : 0xfU)} << source.bit;
            if (random() % 2 == 0)
                word = (word & ~(selector << source.selector_bit)) | (random() & selector)
                                                                         << source.selector_bit;
            for (const std::uint8_t bit : {source.neg, source.abs, source.invert})
                if (bit != 0 && random() % 3 == 0) word |= 1ULL << bit;
        }
        word = (word & ~(0x3fULL << 40)) | std::uint64_t{random() & 0xeU} << 40;
        if (valhall::decode(word) == &row) return word;
    }
}

TEST(ShaderAlu, EveryNameHasAHandlerOrIsRefused) {
    for (const Row& row : kRows) {
        const bool runs = Instruction(valhall::encode(row), kPlain).runs();
        EXPECT_EQ(runs, row.is_alu() && !is_refused(row.op)) << row.name;
    }
}

TEST(ShaderAlu, ImplementationsAgree) {
    Random random(1);
    for (const Row& row : kRows) {
        if (!row.is_alu() || is_refused(row.op)) continue;
        for (unsigned round = 0; round < 150; ++round) {
            const FloatMode mode = round % 4 == 0 ? FloatMode(random()) : kPlain;
            const Instruction instruction(random_word(row, random), mode);
            if (!instruction.runs()) continue;  // reserved combinations
            Registers registers = random_registers(random);
            ASSERT_NO_FATAL_FAILURE(
                instruction.run(registers, round % 3 == 0 ? random() & kAllLanes : kAllLanes))
                << row.name;
        }
    }
}

TEST(ShaderAlu, LanesThatDoNotRunAndHalvesThatAreNotWrittenStay) {
    Random random(2);
    for (const Row& row : kRows) {
        if (!row.is_alu() || is_refused(row.op)) continue;
        if (row.op == valhall::Op::wmask || row.name.starts_with("CLPER")) continue;  // look at who runs
        for (unsigned round = 0; round < 20; ++round) {
            const std::uint64_t word = random_word(row, random);
            const Registers before = random_registers(random);
            Registers whole = before;
            const Instruction instruction(word, kPlain);
            if (!instruction.runs()) continue;
            ASSERT_NO_FATAL_FAILURE(instruction.run(whole));
            for (unsigned write_mask = 0; write_mask < 4; ++write_mask) {
                if (row.writes_pair() && write_mask != 3) continue;
                const std::uint64_t masked = (word & ~(3ULL << 46)) | std::uint64_t{write_mask} << 46;
                const LaneMask active = random() & kAllLanes;
                Registers part = before;
                ASSERT_NO_FATAL_FAILURE(Instruction(masked, kPlain).run(part, active));
                const std::uint32_t bits =
                    (write_mask & 1 ? 0xffffU : 0) | (write_mask & 2 ? 0xffff0000U : 0);
                for (unsigned r = 0; r < kRegisters; ++r)
                    for (unsigned lane = 0; lane < kLanes; ++lane) {
                        const std::uint32_t written = (active >> lane & 1) != 0 ? bits : 0;
                        ASSERT_EQ(part[r][lane], (whole[r][lane] & written) | (before[r][lane] & ~written))
                            << row.name << " r" << r << " lane " << lane;
                    }
            }
        }
    }
}

TEST(ShaderAlu, AResultMayBeWhereSourcesWere) {
    Random random(3);
    for (const Row& row : kRows) {
        if (!row.is_alu() || is_refused(row.op)) continue;
        for (unsigned round = 0; round < 20; ++round) {
            const std::uint64_t word = random_word(row, random);
            const std::uint64_t elsewhere = (word & ~(0x3fULL << 40)) | 32ULL << 40;
            const unsigned destination = valhall::destination(word);
            Registers over = random_registers(random);
            Registers beside = over;
            if (!Instruction(word, kPlain).runs()) continue;
            ASSERT_NO_FATAL_FAILURE(Instruction(word, kPlain).run(over));
            ASSERT_NO_FATAL_FAILURE(Instruction(elsewhere, kPlain).run(beside));
            EXPECT_EQ(over[destination].word, beside[32].word) << row.name;
            if (row.writes_pair()) {
                EXPECT_EQ(over[destination + 1].word, beside[33].word) << row.name;
            }
        }
    }
}

}  // namespace
}  // namespace belfry::gpu::shader
