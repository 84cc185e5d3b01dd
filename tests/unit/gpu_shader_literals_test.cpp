// Constants whose modifiers are applied when a program is decoded: the result is what the handler would have
// made.
#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "belfry/disassembler.hpp"
#include "belfry/uapi/valhall.hpp"
#include "gpu/shader/alu.hpp"
#include "gpu/shader/program.hpp"

namespace belfry::gpu::shader {
namespace {

constexpr unsigned kConstantSource = 0xc0;

struct Banks {
    std::vector<Lanes> warp = std::vector<Lanes>(kWarpBankLanes);
    std::vector<Lanes> shared = std::vector<Lanes>(kSharedBankLanes);
    [[nodiscard]] Operands operands() { return {.bank = {warp.data(), shared.data()}}; }
};

TEST(ShaderLiterals, AreWhatTheHandlerMakesOfTheConstant) {
    std::mt19937_64 random(15);
    Banks banks;
    for (unsigned i = 0; i < valhall::kConstantTable.size(); ++i)
        banks.shared[(kConstants & ~kSharedBank) + 2 * i].word.fill(valhall::kConstantTable[i]);
    const auto page = std::make_unique<CodePage>();
    unsigned folded = 0;
    for (const valhall::Row& row : valhall::kRows) {
        if (!row.is_alu()) continue;
        Programs programs(std::span(banks.shared).last(kLiteralCount));
        for (unsigned round = 0; round < 400; ++round) {
            // Random but for the opcode, the destination, and sources, of which the most are constants.
            std::uint64_t word = random() & 0x0000'00ff'ffff'ffff;
            word |= std::uint64_t{row.opcode} << 48 | 0xc0ULL << 40;
            word &= ~(std::uint64_t{row.secondary_mask} << row.secondary_low);
            word |= std::uint64_t{row.secondary} << row.secondary_low;
            for (const valhall::Source& source : row.sources()) {
                const std::uint64_t byte =
                    random() % 4 == 0 ? random() % 16 * 2 : kConstantSource + random() % 32;
                word = (word & ~(0xffULL << source.bit)) | byte << source.bit;
            }
            if (valhall::find(word) != &row || valhall::decode(word) == nullptr) continue;
            page->words[0] = word;
            programs.decode(*page, 0);
            const Op with = page->ops[0];
            if (with.word == word || static_cast<OpKind>(with.kind) == OpKind::invalid) continue;
            Op without = with;
            without.word = word;
            without.alu = alu_handler(row.op, word, FloatMode(0));
            for (std::size_t i = 0; i < row.sources().size(); ++i) {
                const valhall::Operand operand = valhall::operand(row.sources()[i], word);
                if (operand.kind == valhall::SourceKind::constant)
                    without.source[i] = static_cast<OperandIndex>(kConstants + 2 * operand.index);
            }
            ASSERT_NE(without.alu, nullptr);
            for (unsigned i = 0; i < 64; ++i)
                for (std::uint32_t& lane : banks.warp[i].word) lane = static_cast<std::uint32_t>(random());
            const std::vector<Lanes> before = banks.warp;
            without.alu(without, banks.operands(), kAllLanes);
            const std::vector<Lanes> expected = std::exchange(banks.warp, before);
            with.alu(with, banks.operands(), kAllLanes);
            for (unsigned i = 0; i < 2; ++i)
                for (unsigned lane = 0; lane < kLanes; ++lane)
                    ASSERT_EQ(banks.warp[i][lane], expected[i][lane])
                        << disassemble_shader(word) << ", lane " << lane;
            ++folded;
        }
    }
    EXPECT_GT(folded, 5'000U);
}

TEST(ShaderLiterals, AreMadeAnewWhenThereAreTooMany) {
    std::vector<Lanes> rows(kLiteralCount);
    Literals literals(rows);
    for (unsigned i = 0; i < kLiteralCount; ++i) {
        const auto operand = literals.operand(i * 3);
        ASSERT_TRUE(operand);
        EXPECT_EQ(literals.operand(i * 3), operand);
        EXPECT_EQ(rows[*operand - kLiterals][5], i * 3);
    }
    EXPECT_FALSE(literals.operand(1));
    EXPECT_TRUE(literals.crowded());
    literals.clear();
    EXPECT_TRUE(literals.operand(1));
}

}  // namespace
}  // namespace belfry::gpu::shader
