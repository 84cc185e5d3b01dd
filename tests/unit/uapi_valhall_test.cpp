// The table of shader instructions, and what is made from it: find(), judge(), encode(), the text both ways.
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <expected>
#include <ostream>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "belfry/disassembler.hpp"
#include "belfry/uapi/valhall.hpp"
#include "uapi/shader_assembler.hpp"

namespace belfry {
namespace {

using namespace valhall;

/// The word of one line of text; 0 with a failure if it is none.
std::uint64_t assembled(const std::string& text) {
    const auto words = assemble(text);
    if (!words || words->size() != 1) {
        ADD_FAILURE() << text << ": " << (words ? "not one word" : words.error());
        return 0;
    }
    return words->front();
}

// Known words. None was computed by this code.

struct Known {
    std::uint64_t word;
    Op op;
    const char* text;
};
void PrintTo(const Known& known, std::ostream* out) { *out << known.text; }

const Known kKnown[] = {
    {0x00a4c03200000201, Op::fadd_f32, "FADD.f32.clamp_m1_1 r0, r1, r2.neg.abs"},
    {0x01a3c00020273c82, Op::shaddx_u64, "SHADDX.u64 r0, u2, r60.w0, shift:0x2"},
    {0x0860808218000040, Op::load_i32, "LOAD.i32.unsigned.slot0.wait0 @r0, ^r0, offset:0"},
    {0x5061400218000042, Op::store_i32, "STORE.i32.slot0.reconverge @r0, ^r2, offset:0"},
    {0x501fc03000000500, Op::branchz, "BRANCHZ.eq.reconverge r0.h0, offset:5"},
    {0x00b2c10400c08841, Op::fma_f32, "FMA.f32 r1, ^r1, u8, 0x0.neg"},
    {0x08b4cb01104cc04b, Op::lshift_and_i32, "LSHIFT_AND.i32.wait0 r11, ^r11, 0x0.b00, ^r12"},
    {0x10f0c00380c0c040, Op::icmp_or_u32, "ICMP_OR.u32.ne.m1.wait1 r0, ^r0, 0x0, 0x0"},
    {0x0920c4041fc20046, Op::atom_return_i32,
     "ATOM_RETURN.i32.slot0.compare.axchg.wait0 @r2, @r4:r5, ^r6, offset:0x0"},
    {0x0928443417c02082, Op::tex_single, "TEX_SINGLE.slot0.f.32.2d.computed.wait0 @r0:r1:r2:r3, @r4:r5, u2"},
};
class ValhallKnownWord : public testing::TestWithParam<Known> {};
INSTANTIATE_TEST_SUITE_P(Valhall, ValhallKnownWord, testing::ValuesIn(kKnown));

TEST_P(ValhallKnownWord, IsFoundPrintedAndAssembled) {
    EXPECT_EQ(decode(GetParam().word), &row(GetParam().op));
    EXPECT_EQ(disassemble_shader(GetParam().word), GetParam().text);
    EXPECT_EQ(assembled(GetParam().text), GetParam().word);
    EXPECT_EQ(GetParam().word & unused_bits(row(GetParam().op), GetParam().word), 0u);
}

TEST(Valhall, OperandsOfKnownWordsAreTakenApart) {
    constexpr std::uint64_t kBranch = 0x501fc03000000500;
    EXPECT_EQ((get<Op::branchz, Mod::offset>(kBranch)), 5u);
    EXPECT_EQ(flow(kBranch), Flow::reconverge);
    EXPECT_EQ(selector(row(Op::branchz).sources()[0], kBranch), std::to_underlying(Combine::h0));

    constexpr std::uint64_t kFma = 0x00b2c10400c08841;
    const auto sources = row(Op::fma_f32).sources();
    EXPECT_EQ(operand(sources[0], kFma), (Operand{.kind = SourceKind::reg, .index = 1, .last_use = true}));
    EXPECT_EQ(operand(sources[1], kFma), (Operand{.kind = SourceKind::uniform, .index = 8}));
    EXPECT_EQ(operand(sources[2], kFma), (Operand{.kind = SourceKind::constant, .index = 0}));
    EXPECT_TRUE(is_negated(sources[2], kFma));
    EXPECT_FALSE(is_negated(sources[1], kFma));
    EXPECT_EQ(destination(kFma), 1u);
    EXPECT_EQ(write_mask(kFma), 3u);

    constexpr std::uint64_t kAtom = 0x0920c4041fc20046;
    const Staging lists = staging(row(Op::atom_return_i32), kAtom);
    EXPECT_EQ(lists.read.base, 4u);
    EXPECT_EQ(lists.read.count, 2u);
    EXPECT_EQ(lists.written.base, 2u);
    EXPECT_EQ(lists.written.count, 1u);
}

TEST(Valhall, NegativeOffsetsAreSignExtended) {
    const std::uint64_t word = assembled("LOAD.i32.unsigned.slot0 @r0, r2, offset:-4");
    EXPECT_EQ((get<Op::load_i32, Mod::offset>(word)), static_cast<std::uint64_t>(-4));
}

// The table.

TEST(Valhall, NoTwoRowsClaimTheSameWord) {
    std::set<std::pair<unsigned, unsigned>> opcodes;
    for (const Row& row : kRows) {
        EXPECT_TRUE(opcodes.emplace(row.opcode, row.secondary).second) << row.name;
        EXPECT_EQ(row.secondary & ~row.secondary_mask, 0) << row.name;
        for (const Row& other : kRows) {
            if (row.opcode != other.opcode) continue;
            EXPECT_EQ(row.secondary_mask, other.secondary_mask) << row.name << " and " << other.name;
            EXPECT_EQ(row.secondary_low, other.secondary_low) << row.name << " and " << other.name;
        }
    }
}

TEST(Valhall, FindsARowForItsOpcodesAndForNoOthers) {
    for (unsigned opcode = 0; opcode < kOpcodes; ++opcode) {
        const std::uint64_t base = std::uint64_t{opcode} << 48;
        const auto of_opcode = [&](const Row& row) { return row.opcode == opcode; };
        const auto first = std::ranges::find_if(kRows, of_opcode);
        if (first == kRows.end()) {
            EXPECT_EQ(find(base), nullptr);
            continue;
        }
        for (unsigned secondary = 0; secondary <= first->secondary_mask; ++secondary) {
            if ((secondary & ~unsigned{first->secondary_mask}) != 0) continue;
            const auto expected = std::ranges::find_if(
                kRows, [&](const Row& row) { return of_opcode(row) && row.secondary == secondary; });
            EXPECT_EQ(find(base | std::uint64_t{secondary} << first->secondary_low),
                      expected == kRows.end() ? nullptr : &*expected);
        }
    }
}

TEST(Valhall, PartsOfAnInstructionDoNotOverlap) {
    for (const Row& row : kRows) {
        std::uint64_t taken = 0xffffULL << 48 | std::uint64_t{row.secondary_mask} << row.secondary_low;
        const auto take = [&](std::uint64_t bits, std::string_view part) {
            EXPECT_EQ(taken & bits, 0u) << row.name << ' ' << part;
            taken |= bits;
        };
        // The register, without the two bits above it: textures and BRANCHZI have modifiers there.
        if (row.destination != Destination::none) take(0x3fULL << 40, "destination");
        if (row.destination == Destination::w16_r40) take(0x3fULL << 16, "registers written");
        for (const Field& field : row.fields()) take(field.bits(), kModNames[std::to_underlying(field.mod)]);
        for (const Source& source : row.sources()) {
            take(0xffULL << source.bit, "source");
            take(((1ULL << form(source.selector).width) - 1) << source.selector_bit, "selector");
            for (const std::uint8_t bit : {source.neg, source.abs, source.invert})
                if (bit != 0) take(1ULL << bit, "source modifier");
        }
    }
}

TEST(Valhall, EveryRowHasAWordThatIsItsOwn) {
    for (const Row& row : kRows) EXPECT_EQ(find(encode(row)), &row) << row.name;
}

// Random words of a row.

class RandomWords {
  public:
    explicit RandomWords(std::uint64_t seed) : engine_(seed) {}

    std::uint64_t below(std::uint64_t limit) { return engine_() % limit; }

    /// A word that is valid and whose bits all have their text.
    std::uint64_t valid(const Row& row) {
        for (int tries = 0; tries < 100'000; ++tries)
            if (const std::uint64_t word = any(row); judge(word) == Verdict::valid) return word;
        ADD_FAILURE() << "no valid word of " << row.name;
        return 0;
    }

  private:
    std::uint64_t any(const Row& row) {
        std::uint64_t word = encode(row) | named(choices::kFlow) << 59;
        for (const Field& field : row.fields())
            word = insert(field, word, field.kind == Kind::choice ? named(*field.choices) : engine_());
        for (const Source& source : row.sources()) {
            word = replace(word, source.bit, 8, source_byte());
            if (const SelectorForm selection = form(source.selector); selection.choices != nullptr)
                word = replace(word, source.selector_bit, selection.width, named(*selection.choices));
            for (const std::uint8_t bit : {source.neg, source.abs, source.invert})
                if (bit != 0) word = replace(word, bit, 1, below(2));
        }
        if (row.destination != Destination::none) word = replace(word, 40, 6, below(kRegisters));
        if (row.destination == Destination::normal) word = replace(word, 46, 2, below(4));
        if (row.destination == Destination::w16_r40) word = replace(word, 16, 6, below(kRegisters));
        const std::uint64_t paged = word | below(kPages) << 57;
        if ((unused_bits(row, paged) >> 57 & 3) == 0) word = paged;
        // An empty list has no base in its text.
        const bool is_empty = row.find(Mod::cnt) != nullptr && get(row, Mod::cnt, word) == 0;
        return is_empty ? replace(word, 40, 6, 0) : word;
    }

    /// Not constant 21: it is 0, as constant 0 is, and has the same text.
    std::uint64_t source_byte() {
        const std::uint64_t byte = below(256);
        return byte == 0xc0 + 21 ? 0xc0 : byte;
    }

    std::uint64_t named(const Choices& choices) {
        for (;;)
            if (const std::uint64_t value = below(choices.names.size()); choices.has(value)) return value;
    }

    static std::uint64_t replace(std::uint64_t word, unsigned low, unsigned width, std::uint64_t value) {
        const std::uint64_t mask = ((1ULL << width) - 1) << low;
        return (word & ~mask) | (value << low & mask);
    }

    std::mt19937_64 engine_;
};

TEST(Valhall, EveryRowIsPrintedAndAssembledToTheSameWord) {
    RandomWords random(1);
    for (const Row& row : kRows) {
        for (int round = 0; round < 200; ++round) {
            const std::uint64_t word = random.valid(row);
            const std::string text = disassemble_shader(word);
            ASSERT_EQ(find(word), &row) << text;
            const auto words = assemble(text);
            ASSERT_TRUE(words) << text << ": " << words.error();
            ASSERT_EQ(*words, std::vector{word}) << text;
        }
    }
}

TEST(Valhall, EveryValueOfAModifierIsValidIfItIsNamed) {
    RandomWords random(2);
    for (const Row& row : kRows) {
        for (const Field& field : row.fields()) {
            if (field.kind != Kind::choice) continue;
            for (std::uint64_t value = 0; value < 1ULL << field.width; ++value) {
                const Verdict verdict = judge(insert(field, random.valid(row), value));
                // Another value may ask for more staging registers.
                const bool is_valid = verdict == Verdict::valid || verdict == Verdict::staging_short;
                EXPECT_EQ(is_valid, field.choices->has(value)) << row.name << ' ' << value;
                EXPECT_TRUE(is_valid || verdict == Verdict::modifier) << row.name << ' ' << value;
            }
        }
    }
}

TEST(Valhall, EveryValueOfASelectorIsValidIfItIsNamed) {
    RandomWords random(3);
    for (const Row& row : kRows) {
        for (const Source& source : row.sources()) {
            const SelectorForm selection = form(source.selector);
            for (std::uint64_t value = 0; selection.choices != nullptr && value < 1ULL << selection.width;
                 ++value) {
                const std::uint64_t mask = ((1ULL << selection.width) - 1) << source.selector_bit;
                const std::uint64_t word = (random.valid(row) & ~mask) | value << source.selector_bit;
                const Verdict verdict = judge(word);
                if (verdict == Verdict::odd_pair) continue;  // 64 bits only now, at an odd place
                EXPECT_EQ(verdict, selection.choices->has(value) ? Verdict::valid : Verdict::selector)
                    << disassemble_shader(word);
            }
        }
    }
}

TEST(Valhall, EveryFlowIsValidIfItIsNamed) {
    for (std::uint64_t value = 0; value < 16; ++value) {
        const bool is_reserved = value == 11 || value == 12 || value == 14;
        EXPECT_EQ(judge(encode(Op::nop) | value << 59), is_reserved ? Verdict::flow : Verdict::valid)
            << value;
    }
}

// Sources.

TEST(Valhall, SourceBytesNameRegistersAndUniformsOfThePage) {
    for (unsigned page = 0; page < kPages; ++page) {
        for (unsigned byte = 0; byte < 0xc0; ++byte) {
            const unsigned low = byte & 63;
            const std::string expected = byte < 0x40   ? "r" + std::to_string(low)
                                         : byte < 0x80 ? "^r" + std::to_string(low)
                                                       : "u" + std::to_string(low + 64 * page);
            const std::string text =
                disassemble_shader(encode(Op::mov_i32) | byte | std::uint64_t{page} << 57);
            EXPECT_EQ(text.substr(0, text.find("  ;")), "MOV.i32 r0, " + expected);
        }
    }
}

TEST(Valhall, ConstantsAreThoseOfTheTableOnEveryPage) {
    for (unsigned page = 0; page < kPages; ++page) {
        for (unsigned entry = 0; entry < kConstantTable.size(); ++entry) {
            const Operand from = operand(static_cast<std::uint8_t>(0xc0 + entry), page);
            EXPECT_EQ(from,
                      (Operand{.kind = SourceKind::constant, .index = static_cast<std::uint8_t>(entry)}));
        }
    }
    EXPECT_EQ(disassemble_shader(encode(Op::mov_i32) | (0xc0 + 16)), "MOV.i32 r0, 0x3F800000");
    EXPECT_EQ(std::bit_cast<float>(kConstantTable[20]), 3.14159274f);
}

TEST(Valhall, SpecialValuesAreThoseOfTheirPage) {
    struct Place {
        unsigned page;
        unsigned index;
        const char* name;
    };
    const Place places[] = {
        {0, 2, "warp_id"},
        {0, 4, "framebuffer_size"},
        {0, 5, "atest_datum"},
        {0, 6, "sample"},
        {0, 8, "blend_descriptor_0"},
        {0, 15, "blend_descriptor_7"},
        {1, 1, "thread_local_pointer"},
        {1, 3, "workgroup_local_pointer"},
        {1, 7, "resource_table_pointer"},
        {3, 1, "lane_id"},
        {3, 3, "core_id"},
        {3, 15, "program_counter"},
    };
    std::set<std::uint64_t> known;
    for (const Place& place : places) {
        for (unsigned half = 0; half < 2; ++half) {
            const std::uint64_t word =
                encode(Op::mov_i32) | std::uint64_t{place.page} << 57 | 0xe0 | place.index << 1 | half;
            const std::string text = "MOV.i32 r0, " + std::string(place.name) + (half == 0 ? ".w0" : ".w1");
            EXPECT_EQ(disassemble_shader(word), text);
            EXPECT_EQ(assembled(text), word);
            known.insert(word);
        }
    }
    for (unsigned page = 0; page < kPages; ++page) {
        for (unsigned byte = 0xe0; byte < 256; ++byte) {
            const std::uint64_t word = encode(Op::mov_i32) | std::uint64_t{page} << 57 | byte;
            const bool is_blend_descriptor = page == 0 && byte >= 0xf0;
            const bool is_known = known.contains(word) || is_blend_descriptor;
            EXPECT_EQ(judge(word), is_known ? Verdict::valid : Verdict::special) << page << ' ' << byte;
        }
    }
}

TEST(Valhall, WidenedSourcesReadPairsOnlyWhole) {
    const std::uint64_t word = assembled("IADD.u64 r0, r4, r5.w0");
    EXPECT_TRUE(reads_pair(row(Op::iadd_u64).sources()[0], word));
    EXPECT_FALSE(reads_pair(row(Op::iadd_u64).sources()[1], word));
}

// What raises the encoding fault.

TEST(ValhallJudge, NamesWhatIsWrongWithAWord) {
    const std::uint64_t load = assembled("LOAD.i128.unsigned.slot0 @r4:r5:r6:r7, r2, offset:0");
    const auto with_base = [](std::uint64_t word, unsigned base) {
        return (word & ~(0x3fULL << 40)) | std::uint64_t{base} << 40;
    };
    EXPECT_EQ(judge(load), Verdict::valid);
    EXPECT_EQ(judge(load | 1ULL << 63), Verdict::top_bit);
    EXPECT_EQ(judge(0x01ff000000000000), Verdict::unassigned);
    EXPECT_EQ(judge(encode(Op::mov_i32) | 1 << 16), Verdict::unassigned) << "secondary opcode";
    EXPECT_EQ(judge(load | 11ULL << 59), Verdict::flow);
    EXPECT_EQ(judge(load | 3ULL << 30), Verdict::modifier) << "slot 3";
    EXPECT_EQ(judge(encode(Op::iadd_u32) | 1ULL << 36), Verdict::selector);
    EXPECT_EQ(judge(load | 1), Verdict::odd_pair) << "address";
    EXPECT_EQ(judge(assembled("SHADDX.u64 r0, u2, r60.w0") | 1), Verdict::odd_pair) << "uniform";
    EXPECT_EQ(judge(encode(Op::shaddx_u64) | 1ULL << 57 | 0xe3), Verdict::odd_pair)
        << "high word of a pointer";
    EXPECT_EQ(judge(encode(Op::shaddx_u64) | 1ULL << 40), Verdict::odd_pair) << "result";
    EXPECT_EQ(judge(encode(Op::shaddx_u64) & ~(1ULL << 46)), Verdict::half_of_pair);
    EXPECT_EQ(judge(with_base(load, 5)), Verdict::odd_staging);
    EXPECT_EQ(judge(with_base(load, 62)), Verdict::staging_beyond);
    EXPECT_EQ(judge(with(load, row(Op::load_i128), Mod::cnt, 3)), Verdict::staging_short);
}

TEST(ValhallJudge, AcceptsBothWordsOfPadding) {
    EXPECT_EQ(decode(0), &row(Op::nop));
    EXPECT_EQ(decode(0x0000c00000000000), &row(Op::nop));
}

TEST(ValhallJudge, IgnoresBitsThatTheInstructionDoesNotHave) {
    EXPECT_EQ(decode(encode(Op::mov_i32) | 1ULL << 36), &row(Op::mov_i32));
}

TEST(ValhallJudge, WantsAsManyStagingRegistersAsTheFormAsksFor) {
    const auto needs = [](const std::string& text) {
        const std::uint64_t word = assembled(text);
        const Row& of = *find(word);
        for (const Mod count : {Mod::cnt, Mod::wcnt})
            if (const std::uint64_t given = get(of, count, word); given != 0) {
                EXPECT_EQ(judge(with(word, of, count, given - 1)), Verdict::staging_short) << text;
            }
    };
    needs("LOAD.i8.d0.slot0 @r0:r1, r2");
    needs("LOAD.i96.unsigned.slot0 @r0:r1:r2, r4");
    needs("STORE.i48.slot0 @r0:r1, r2");
    needs("LD_BUFFER.i64.unsigned.slot0 @r0:r1, r2, u0");
    needs("LEA_BUFFER.slot0 @r0:r1, r2, u0");
    needs("LEA_TEX.slot0 @r0:r1:r2, r4, r5, u0");
    needs("LD_TEX.v3.u32.slot0 @r0:r1:r2, r4, r5, u0");
    needs("LD_TEX.v3.f16.slot0 @r0:r1, r4, r5, u0");
    needs("ST_CVT.slot0.v4.auto @r0:r1:r2:r3, r4, r6");
    needs("ATOM.i64.slot0.aadd @r0:r1, r2");
    needs("ATOM_RETURN.i64.slot0.compare.axchg @r8:r9, @r0:r1:r2:r3, r4");
    needs("TEX_SINGLE.slot0.f.32.3d.array_enable.texel_offset.computed @r0:r1:r2:r3, @r8:r9:r10:r11:r12, u2");
    needs("TEX_SINGLE.slot0.f.16.2d.shadow.explicit @r0:r1, @r4:r5:r6:r7, u2");
    needs("TEX_GRADIENT.slot0.u.32.rg.2d.derivative_enable @r0:r1, @r4:r5:r6:r7, u2");
    needs("TEX_FETCH.slot0.s.32.r.1d @r0, @r4, u2");
}

TEST(ValhallJudge, LetsNoRandomWordOutOfTheRegisters) {
    std::mt19937_64 engine(4);
    int valid = 0;
    for (int round = 0; round < 400'000; ++round) {
        // Every second one a word of some row, but for its operands.
        std::uint64_t word = engine();
        if (round % 2 == 0)
            word = (word & 0x0000'ffff'ffff'ffff) | std::uint64_t{kRows[engine() % kOps].opcode} << 48;
        const Row* const row = decode(word);
        EXPECT_EQ(row != nullptr, judge(word) == Verdict::valid);
        EXPECT_FALSE(disassemble_shader(word).empty());
        if (row == nullptr) continue;
        ++valid;
        const Staging lists = staging(*row, word);
        EXPECT_LE(lists.read.base + lists.read.count, kRegisters);
        EXPECT_LE(lists.written.base + lists.written.count, kRegisters);
        for (const Source& source : row->sources())
            EXPECT_FALSE(reads_pair(source, word) && operand(source, word).index == 255);
    }
    EXPECT_GT(valid, 10'000);
}

// The text.

TEST(ShaderText, NamesUnassignedWordsAndWhatIsWrong) {
    EXPECT_EQ(disassemble_shader(0x01ff000000000000), ".word 0x01FF000000000000  ; unassigned opcode 0x1FF");
    EXPECT_EQ(disassemble_shader(encode(Op::mov_i32) | 1ULL << 36),
              "MOV.i32 r0, r0  ; unused bits 0x1000000000");
    EXPECT_EQ(disassemble_shader(encode(Op::iadd_u32) | 1ULL << 36),
              "IADD.u32 r0, r0.#1, r0  ; invalid: reserved selector");
    EXPECT_EQ(disassemble_shader(0), "NOP");
}

TEST(ShaderText, WhatNewerMesaEmitsIsThere) {
    EXPECT_EQ(assembled("FADD.f32.rtz r0, r1, r2") ^ assembled("FADD.f32 r0, r1, r2"), 3ULL << 30);
    EXPECT_EQ(assembled("FMA.v2f16.rtp r0, r1, r2, r3") ^ assembled("FMA.v2f16 r0, r1, r2, r3"), 1ULL << 30);
    EXPECT_EQ(decode(assembled("LD_GCLK.u64.cycle_counter.slot0.wait0 @r0:r1")), &row(Op::ld_gclk_u64));
    EXPECT_EQ(assembled("LD_TILE.z_stencil.f32.slot0 @r0, r1, r2, r3") ^
                  assembled("LD_TILE.f32.slot0 @r0, r1, r2, r3"),
              1ULL << 36);
    EXPECT_EQ(decode(assembled("ATOM.i64.slot0.aadd @r0:r1, r2")), &row(Op::atom_i64));
}

TEST(ShaderAssembler, KnowsLabelsCommentsAndWords) {
    const auto words = assemble(R"(
        ; counts r0 down
        loop:
          IADD_IMM.i32 r0, r0, #0xFFFFFFFF
          BRANCHZ.reconverge r0, offset:loop   ; not zero: again
          BRANCHZ.eq.reconverge 0x0, offset:out
          .word 0x123
        out: NOP.end
    )");
    ASSERT_TRUE(words) << words.error();
    ASSERT_EQ(words->size(), 5u);
    EXPECT_EQ(disassemble_shader((*words)[1]), "BRANCHZ.reconverge r0, offset:-2");
    EXPECT_EQ(disassemble_shader((*words)[2]), "BRANCHZ.eq.reconverge 0x0, offset:1");
    EXPECT_EQ((*words)[3], 0x123u);
    EXPECT_EQ(disassemble_shader((*words)[4]), "NOP.end");
}

TEST(ShaderAssembler, TakesModifiersInAnyOrder) {
    EXPECT_EQ(assembled("ICMP_OR.u32.wait1.m1.ne r0, ^r0, 0x0, 0x0"), 0x10f0c00380c0c040u);
}

TEST(ShaderAssembler, SaysWhatItCannotRead) {
    const std::pair<const char*, const char*> refusals[] = {
        {"FROB r0", "line 1: unknown instruction FROB"},
        {"\n\nNOP.often", "line 3: unknown modifier .often"},
        {"ICMP_OR.u32.eq r0, r1, r2, 0x0", "line 1: a modifier is missing: rtype"},
        {"MOV.i32 r0", "line 1: operands are missing"},
        {"MOV.i32 r0, r1, r2", "line 1: one operand too many: r2"},
        {"MOV.i32 r64, r1", "line 1: not a register: r64"},
        {"MOV.i32 r0, 0x12345678", "line 1: not in the table of constants: 0x12345678"},
        {"MOV.i32 r0, lane_id", "line 1: a special value needs .w0 or .w1: lane_id"},
        {"MOV.i32 r0, r1.neg", "line 1: unknown suffix in r1.neg"},
        {"FADD.f32 r0, u1, u64", "line 1: operands of two pages"},
        {"LSHIFT_AND.i32 r0, r1, r2, r3", "line 1: a selector is missing: r2"},
        {"LOAD.i32.slot0 r0, r2", "line 1: not a list of staging registers: r0"},
        {"LOAD.i64.slot0 @r0:r2, r2", "line 1: registers not in a row: @r0:r2"},
        {"LOAD.i64.slot0 @r0, r2", "line 1: too few staging registers"},
        {"LOAD.i32.slot0 @r0, r2, offset:40000", "line 1: does not fit: offset:40000"},
        {"BRANCHZ r0, offset:nowhere", "line 1: neither a number nor a label: offset:nowhere"},
        {".word x", "line 1: not a number"},
    };
    for (const auto& [text, sentence] : refusals) {
        const auto words = assemble(text);
        ASSERT_FALSE(words) << text;
        EXPECT_EQ(words.error(), sentence);
    }
}

TEST(ShaderAssembler, SurvivesAnyText) {
    std::mt19937_64 engine(5);
    constexpr std::string_view kAlphabet = "rNOPLDu0123456789.:,@^# \n;-xhAi_";
    for (int round = 0; round < 20'000; ++round) {
        std::string text = round % 2 == 0 ? "LOAD.i32.slot0 @" : "";
        for (std::uint64_t left = engine() % 40; left != 0; --left)
            text += kAlphabet[engine() % kAlphabet.size()];
        const auto words = assemble(text);
        EXPECT_TRUE(words || !words.error().empty());
    }
}

}  // namespace
}  // namespace belfry
