// The instruction table, and what is made from it: encode(), get(), disassemble() and CommandWriter.
#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>
#include <limits>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "belfry/command_writer.hpp"
#include "belfry/disassembler.hpp"
#include "belfry/uapi/csf.hpp"
#include "belfry/uapi/csf_exceptions.hpp"

namespace belfry {
namespace {

using csf::Arg;
using csf::Condition;
using csf::encode;
using csf::Field;
using csf::get;
using csf::Instruction;
using csf::Kind;
using csf::kInstructions;
using csf::Op;
using csf::Operand;

// Known words: facts/csf-isa.md, section 9, in its order, and a few more. None was computed by this code.

struct Known {
    std::uint64_t word;
    const char* text;
    void (*write)(CommandWriter&);
};
void PrintTo(const Known& known, std::ostream* out) { *out << known.text; }

using W = CommandWriter;
using enum Arg;
constexpr csf::FlushMode kClean = csf::FlushMode::clean;
constexpr csf::FlushMode kNone = csf::FlushMode::none;

// clang-format off
const Known kKnown[] = {
    {0x0000000000000000, "NOP", [](W& w) { w.nop(); }},
    {0x0144000001001000, "MOVE48 d68, #0x1001000", [](W& w) { w.move48(d(68), 0x1001000); }},
    {0x015CFFFFFFFFFFFF, "MOVE48 d92, #0xffffffffffff", [](W& w) { w.move48(d(92), 0xffff'ffff'ffff); }},
    {0x015E000000000001, "MOVE48 d94, #0x1", [](W& w) { w.move48(d(94), 1); }},
    {0x02460000DEADBEEF, "MOVE32 r70, #0xdeadbeef", [](W& w) { w.move32(r(70), 0xdeadbeef); }},
    {0x022A0000DEADBEEF, "MOVE32 r42, #0xdeadbeef", [](W& w) { w.move32(r(42), 0xdeadbeef); }},
    {0x025E000000001000, "MOVE32 r94, #0x1000", [](W& w) { w.move32(r(94), 0x1000); }},
    {0x0300000000010000, "WAIT slots {0}", [](W& w) { w.wait(slots(0)); }},
    {0x0300000000FF0000, "WAIT slots {0-7}", [](W& w) { w.wait(kAllSlots); }},
    {0x0300000100010000, "WAIT slots {0}, progress",
     [](W& w) { w.word(encode<Op::wait>(Operand<wait>{1}, Operand<progress>{true})); }},
    {0x1546440000010000, "STORE_MULTIPLE {r70}, [d68]", [](W& w) { w.store_multiple(r(70), 1, d(68)); }},
    {0x154644000003FFF8, "STORE_MULTIPLE {r70, r71}, [d68 - 8]",
     [](W& w) { w.store_multiple(r(70), 0b11, d(68), -8); }},
    {0x15000A00FFFF0040, "STORE_MULTIPLE {r0-r15}, [d10 + 64]",
     [](W& w) { w.store_multiple(r(0), 0xffff, d(10), 64); }},
    {0x14000A0000010000, "LOAD_MULTIPLE {r0}, [d10]", [](W& w) { w.load_multiple(r(0), 1, d(10)); }},
    {0x1403000000010000, "LOAD_MULTIPLE {r3}, [d0]", [](W& w) { w.load_multiple(r(3), 1, d(0)); }},
    {0x14214200001B0000, "LOAD_MULTIPLE {r33, r34, r36, r37}, [d66]",
     [](W& w) { w.load_multiple(r(33), 0b11011, d(66)); }},
    {0x10000000000000AB, "ADD_IMMEDIATE32 r0, r0, #171", [](W& w) { w.add_immediate32(r(0), r(0), 0xab); }},
    {0x1004030000000000, "ADD_IMMEDIATE32 r4, r3, #0", [](W& w) { w.add_immediate32(r(4), r(3), 0); }},
    {0x11424200FFFFFFF8, "ADD_IMMEDIATE64 d66, d66, #-8", [](W& w) { w.add_immediate64(d(66), d(66), -8); }},
    {0x1202030400000000, "UMIN32 r2, r3, r4", [](W& w) { w.umin32(r(2), r(3), r(4)); }},
    {0x16002A0000000002, "BRANCH le r42, +2", [](W& w) { w.branch(Condition::le, r(42), 2); }},
    {0x1600010050000003, "BRANCH ge r1, +3", [](W& w) { w.branch(Condition::ge, r(1), 3); }},
    {0x160000004000FFFA, "BRANCH lt r0, -6", [](W& w) { w.branch(Condition::lt, r(0), -6); }},
    {0x160000006000FFFD, "BRANCH always r0, -3", [](W& w) { w.branch(Condition::always, r(0), -3); }},
    {0x1700000000000003, "SET_SB_ENTRY endpoint 3, other 0", [](W& w) { w.set_sb_entry(3, 0); }},
    {0x1900424400000002, "SET_EXCEPTION_HANDLER tiler_oom, d66, r68",
     [](W& w) { w.set_exception_handler(d(66), r(68)); }},
    {0x20005C5E00000000, "CALL d92, r94", [](W& w) { w.call(d(92), r(94)); }},
    {0x21005E5D00000000, "JUMP d94, r93", [](W& w) { w.jump(d(94), r(93)); }},
    {0x2200000000000001, "REQ_RESOURCE compute", [](W& w) { w.req_resource({.compute = true}); }},
    {0x220000000000000F, "REQ_RESOURCE compute, fragment, tiler, idvs",
     [](W& w) { w.req_resource({.compute = true, .fragment = true, .tiler = true, .idvs = true}); }},
    {0x2200000000000000, "REQ_RESOURCE", [](W& w) { w.req_resource({}); }},
    {0x2401460000000233, "FLUSH_CACHE2 l2 clean_invalidate, lsc clean_invalidate, other invalidate, id r70, signal 1",
     [](W& w) { w.flush_cache2(r(70), {.signal = 1}); }},
    {0x24005E0000000233, "FLUSH_CACHE2 l2 clean_invalidate, lsc clean_invalidate, other invalidate, id r94, signal 0",
     [](W& w) { w.flush_cache2(r(94)); }},
    {0x2402420000080011, "FLUSH_CACHE2 l2 clean, lsc clean, other none, id r66, after {3}, signal 2",
     [](W& w) {
         w.flush_cache2(r(66), {.l2 = kClean, .lsc = kClean, .other = kNone, .after = slots(3), .signal = 2});
     }},
    {0x33005C5E00000001, "SYNC_ADD64 [d92], d94, propagate, system", [](W& w) { w.sync_add64(d(92), d(94)); }},
    {0x3301424600080005, "SYNC_ADD64 [d66], d70, propagate, csg, after {3}, signal 1",
     [](W& w) {
         w.sync_add64(d(66), d(70), {.scope = csf::Scope::csg, .after = slots(3), .signal = 1});
     }},
    {0x3400464800000001, "SYNC_SET64 [d70], d72, propagate, system", [](W& w) { w.sync_set64(d(70), d(72)); }},
    {0x2600424400000004, "SYNC_SET32 [d66], r68, clear, csg",
     [](W& w) { w.sync_set32(d(66), r(68), {.scope = csf::Scope::csg, .propagate = false}); }},
    {0x3500424410000000, "SYNC_WAIT64 [d66] gt d68, inherit",
     [](W& w) { w.sync_wait64(d(66), Condition::gt, d(68)); }},
    {0x2700424400000001, "SYNC_WAIT32 [d66] le r68, reject",
     [](W& w) { w.sync_wait32(d(66), Condition::le, r(68), true); }},
    {0x28005C0100000000, "STORE_STATE cycle_count, [d92]",
     [](W& w) { w.store_state(csf::State::cycle_count, d(92)); }},
    {0x28005E0000000000, "STORE_STATE timestamp, [d94]",
     [](W& w) { w.store_state(csf::State::timestamp, d(94)); }},
    {0x2800420000F80010, "STORE_STATE timestamp, [d66 + 16], after {3-7}, signal 0",
     [](W& w) { w.store_state(csf::State::timestamp, d(66), 16, {.after = slots(3, 4, 5, 6, 7)}); }},
    {0x28005A0300000000, "STORE_STATE error_status, [d90]",
     [](W& w) { w.store_state(csf::State::error_status, d(90)); }},
    {0x0400000000000001, "RUN_COMPUTE axis x, increment 1, srt 0, spd 0, tsd 0, fau 0",
     [](W& w) { w.word(encode<Op::run_compute>(Operand<task_axis>{csf::TaskAxis::x}, Operand<task_increment>{1})); }},
    {0x0400550000004004, "RUN_COMPUTE axis y, increment 4, srt 1, spd 1, tsd 1, fau 1",
     [](W& w) {
         w.word(encode<Op::run_compute>(Operand<task_axis>{csf::TaskAxis::y}, Operand<task_increment>{4},
                                        Operand<srt_select>{1}, Operand<spd_select>{1}, Operand<tsd_select>{1},
                                        Operand<fau_select>{1}));
     }},
    {0x2C00000000000010, "RUN_COMPUTE_INDIRECT workgroups 16, srt 0, spd 0, tsd 0, fau 0",
     [](W& w) { w.word(encode<Op::run_compute_indirect>(Operand<workgroups_per_task>{16})); }},
    {0x0700000000000000, "RUN_FRAGMENT order z", [](W& w) { w.word(encode<Op::run_fragment>()); }},
    {0x0900000000000000, "FINISH_TILING", [](W& w) { w.word(encode<Op::finish_tiling>()); }},
    {0x0B00565800000001, "FINISH_FRAGMENT first d86, last d88, frag_completed",
     [](W& w) {
         w.word(encode<Op::finish_fragment>(Operand<first_chunk>{86}, Operand<last_chunk>{88},
                                            Operand<frag_completed>{true}));
     }},
    {0x3000420000000000, "HEAP_SET d66", [](W& w) { w.word(encode<Op::heap_set>(Operand<address>{66})); }},
    {0x3100000000000000, "HEAP_OPERATION vt_started",
     [](W& w) { w.word(encode<Op::heap_operation>(Operand<operation>{csf::HeapOperation::vt_started})); }},
    {0x3100000100000000, "HEAP_OPERATION vt_completed",
     [](W& w) { w.word(encode<Op::heap_operation>(Operand<operation>{csf::HeapOperation::vt_completed})); }},
    {0x3100000300000000, "HEAP_OPERATION frag_completed",
     [](W& w) { w.word(encode<Op::heap_operation>(Operand<operation>{csf::HeapOperation::frag_completed})); }},
    {0x2900000000000010, "PROT_REGION #16", [](W& w) { w.word(encode<Op::prot_region>(Operand<size>{16})); }},
    {0x1800420000000003, "PROGRESS_WAIT queue 3, r66", [](W& w) { w.progress_wait(3, r(66)); }},
    {0x2A00420000000000, "PROGRESS_STORE r66", [](W& w) { w.progress_store(r(66)); }},
    {0x2B42000000000000, "PROGRESS_LOAD r66", [](W& w) { w.progress_load(r(66)); }},
    {0x3200040000000000, "TRACE_POINT r0, count 4", [](W& w) { w.trace_point(r(0), 4); }},
    {0x2F00000000000000, "ERROR_BARRIER", [](W& w) { w.error_barrier(); }},

    // Not in section 9: put together by hand from 2.2, so that each operand is seen apart from its neighbours.
    {0x2403010000800201, "FLUSH_CACHE2 l2 clean, lsc none, other invalidate, id r1, after {7}, signal 3",
     [](W& w) { w.flush_cache2(r(1), {.l2 = kClean, .lsc = kNone, .after = slots(7), .signal = 3}); }},
    {0x2400010000000030, "FLUSH_CACHE2 l2 none, lsc clean_invalidate, other none, id r1, signal 0",
     [](W& w) { w.flush_cache2(r(1), {.l2 = kNone, .other = kNone}); }},
    {0x2500424500000001, "SYNC_ADD32 [d66], r69, propagate, system", [](W& w) { w.sync_add32(d(66), r(69)); }},
    {0x3204020800020000, "TRACE_POINT r8, count 2, after {1}, signal 4",
     [](W& w) { w.trace_point(r(8), 2, {.after = slots(1), .signal = 4}); }},
    {0x1700000000000014, "SET_SB_ENTRY endpoint 4, other 1", [](W& w) { w.set_sb_entry(4, 1); }},
    {0x2200000000000002, "REQ_RESOURCE fragment", [](W& w) { w.req_resource({.fragment = true}); }},
    {0x2200000000000004, "REQ_RESOURCE tiler", [](W& w) { w.req_resource({.tiler = true}); }},
    {0x2200000000000008, "REQ_RESOURCE idvs", [](W& w) { w.req_resource({.idvs = true}); }},
    {0x0500390000000001, "RUN_TILING flags #0x1, srt 1, spd 2, tsd 3, fau 0",
     [](W& w) {
         w.word(encode<Op::run_tiling>(Operand<flags_override>{1}, Operand<srt_select>{1}, Operand<spd_select>{2},
                                       Operand<tsd_select>{3}));
     }},
    {0x0600469612345678,
     "RUN_IDVS flags #0x12345678, malloc, draw_id_enable, draw_id r70, varying_fau, fragment_tsd",
     [](W& w) {
         w.word(encode<Op::run_idvs>(Operand<flags_override>{0x12345678}, Operand<malloc_enable>{true},
                                     Operand<draw_id_enable>{true}, Operand<draw_id>{70},
                                     Operand<varying_fau_select>{true}, Operand<fragment_tsd_select>{true}));
     }},
    {0x0600006900000000, "RUN_IDVS flags #0x0, draw_id r0, varying_srt, varying_tsd, fragment_srt, progress",
     [](W& w) {
         w.word(encode<Op::run_idvs>(Operand<varying_srt_select>{true}, Operand<varying_tsd_select>{true},
                                     Operand<fragment_srt_select>{true}, Operand<progress>{true}));
     }},
    {0x0700000000000051, "RUN_FRAGMENT order reverse_horizontal, tile_enable_map",
     [](W& w) { w.word(encode<Op::run_fragment>(Operand<tile_order>{5}, Operand<tile_enable_map>{true})); }},
    {0x08004600000000FF, "RUN_FULLSCREEN [d70], flags #0xff",
     [](W& w) {
         w.word(encode<Op::run_fullscreen>(Operand<draw_descriptor>{70}, Operand<flags_override>{0xff}));
     }},
};
// clang-format on

class CsfKnownWord : public testing::TestWithParam<Known> {};
INSTANTIATE_TEST_SUITE_P(Table, CsfKnownWord, testing::ValuesIn(kKnown));

TEST_P(CsfKnownWord, IsWhatTheWriterWrites) {
    std::array<std::uint64_t, 1> words{~std::uint64_t{0}};
    CommandWriter writer(words);
    GetParam().write(writer);
    EXPECT_EQ(writer.size(), 1u);
    EXPECT_EQ(words[0], GetParam().word) << std::hex << words[0];
}

TEST_P(CsfKnownWord, ReadsAsItsText) { EXPECT_EQ(disassemble(GetParam().word), GetParam().text); }

// The table.

// Fields of one instruction never overlap, stay below the opcode, and each meaning occurs once.
constexpr bool fields_are_disjoint(const Instruction& row) {
    std::uint64_t covered = 0;
    for (const Field& field : row.fields()) {
        if (field.width == 0 || field.low + field.width > 56) return false;
        if ((covered & field.bits()) != 0 || row.find(field.arg) != &field) return false;
        covered |= field.bits();
    }
    return true;
}
static_assert(std::ranges::all_of(kInstructions, fields_are_disjoint));

// Deferral is chosen by the wait mask and counted on the signal slot, so both exist where the class says so.
constexpr bool class_fits_fields(const Instruction& row) {
    const bool has_signal = row.find(Arg::signal) != nullptr;
    const bool may_wait = row.find(Arg::wait) != nullptr && row.op != Op::wait;
    const bool own_slot = row.cls == csf::Class::deferrable || row.cls == csf::Class::signalled;
    return has_signal == own_slot && may_wait == own_slot;
}
static_assert(std::ranges::all_of(kInstructions, class_fits_fields));

static_assert(csf::names::kCondition[std::to_underlying(Condition::ge)] == "ge");
static_assert(csf::names::kCondition[std::to_underlying(Condition::always)] == "always");
static_assert(csf::names::kScope[std::to_underlying(csf::Scope::csg)] == "csg");
static_assert(csf::names::kState[std::to_underlying(csf::State::error_status)] == "error_status");
static_assert(csf::names::kFlushMode[std::to_underlying(csf::FlushMode::clean_invalidate)] ==
              "clean_invalidate");
static_assert(csf::names::kHeapOperation[std::to_underlying(csf::HeapOperation::frag_completed)] ==
              "frag_completed");
static_assert(csf::names::kExceptionType[std::to_underlying(csf::ExceptionType::tiler_oom)] == "tiler_oom");

// Reserved bits, as the gaps of the rows in facts/csf-isa.md 2.2.
static_assert(csf::reserved_bits(*csf::find(0x00)) == 0);
static_assert(csf::reserved_bits(*csf::find(0x01)) == 0);
static_assert(csf::reserved_bits(*csf::find(0x02)) == 0x0000'ffff'0000'0000);
static_assert(csf::reserved_bits(*csf::find(0x03)) == 0x00ff'fffe'ff00'ffff);
static_assert(csf::reserved_bits(*csf::find(0x16)) == 0x00ff'00ff'8fff'0000);
static_assert(csf::reserved_bits(*csf::find(0x2f)) == 0x00ff'ffff'ffff'ffff);
static_assert(csf::reserved_bits(*csf::find(0x33)) == 0x00f0'0000'0000'fff8);

static_assert(std::same_as<decltype(get<Op::branch, offset>(0)), std::int64_t>);
static_assert(std::same_as<decltype(get<Op::branch, value>(0)), std::uint64_t>);
static_assert(get<Op::branch, offset>(0x160000004000FFFA) == -6);
static_assert(get<Op::add_immediate32, immediate>(0x1000000080000000) ==
              std::numeric_limits<std::int32_t>::min());
static_assert(get<Op::wait, wait>(0x0300000000FF0000) == 0xff);

// What does not fit does not compile.
template <Op op, Arg arg, auto number>
concept Encodes =
    requires { typename std::integral_constant<std::uint64_t, encode<op>(Operand<arg>{number})>; };
static_assert(Encodes<Op::heap_set, address, 68> && !Encodes<Op::heap_set, address, 69>);
static_assert(Encodes<Op::move48, dst, 68> && !Encodes<Op::move48, dst, 69>);
static_assert(Encodes<Op::wait, wait, 0xff> && !Encodes<Op::wait, wait, 0x100>);
static_assert(Encodes<Op::prot_region, size, 0xffff> && !Encodes<Op::prot_region, size, -1>);
static_assert(Encodes<Op::branch, offset, -32768> && !Encodes<Op::branch, offset, -32769>);
static_assert(Encodes<Op::branch, offset, 32767> && !Encodes<Op::branch, offset, 32768>);
static_assert(Encodes<Op::move48, immediate, 0xffff'ffff'ffffU> && !Encodes<Op::move48, immediate, -1>);

TEST(CsfTable, EveryInstructionHasAKnownWord) {
    for (const Instruction& row : kInstructions)
        EXPECT_TRUE(std::ranges::any_of(kKnown, [&](const Known& known) {
            return csf::find(csf::opcode(known.word)) == &row;
        })) << row.mnemonic;
}

TEST(CsfTable, EveryOpcodeHasARowOrIsUnassigned) {
    std::size_t assigned = 0;
    for (unsigned number = 0; number < 256; ++number) {
        const Instruction* row = csf::find(static_cast<std::uint8_t>(number));
        const std::string text = disassemble(std::uint64_t{number} << 56);
        if (row == nullptr) {
            EXPECT_NE(text.find("unassigned opcode"), std::string::npos) << number;
            continue;
        }
        ++assigned;
        EXPECT_EQ(std::to_underlying(row->op), number);
        EXPECT_TRUE(text.starts_with(row->mnemonic)) << text;
    }
    EXPECT_EQ(assigned, 39u);
}

// A field read and placed bit by bit, against which extract() and deposit() are held.
std::uint64_t naive_read(const Field& field, std::uint64_t word) {
    std::uint64_t number = 0;
    for (unsigned bit = 0; bit < 64; ++bit) {
        const bool sign_extends = field.kind == Kind::simm && bit >= field.width;
        if (bit >= field.width && !sign_extends) break;
        const unsigned from = field.low + (sign_extends ? field.width - 1U : bit);
        number |= (word >> from & 1) << bit;
    }
    return number;
}

std::uint64_t random_value(const Field& field, std::mt19937_64& random) {
    std::uint64_t number = naive_read(field, random());
    if (field.kind == Kind::pair || field.kind == Kind::address) number &= ~std::uint64_t{1};
    return number;
}

constexpr unsigned kRounds = 200;

TEST(CsfTable, WhatIsPlacedInAFieldIsReadBackAndTouchesNoOther) {
    std::mt19937_64 random(1);
    for (const Instruction& row : kInstructions) {
        for (unsigned round = 0; round < kRounds; ++round) {
            std::array<std::uint64_t, 10> numbers{};
            std::uint64_t word = std::uint64_t{std::to_underlying(row.op)} << 56;
            for (std::size_t i = 0; i < row.fields().size(); ++i) {
                numbers[i] = random_value(row.fields()[i], random);
                word |= csf::deposit(row.fields()[i], numbers[i]);
            }
            EXPECT_EQ(csf::find(csf::opcode(word)), &row);
            EXPECT_EQ(word & csf::reserved_bits(row), 0u) << row.mnemonic;
            for (std::size_t i = 0; i < row.fields().size(); ++i) {
                const Field& field = row.fields()[i];
                EXPECT_EQ(naive_read(field, word), numbers[i]) << row.mnemonic << ' ' << field.label;
                EXPECT_EQ(csf::extract(field, word), numbers[i]) << row.mnemonic << ' ' << field.label;
            }
        }
    }
}

// encode() and get() of one row, with all its fields.
template <std::size_t row_index, std::size_t... field_indices>
void expect_round_trip(std::mt19937_64& random, std::index_sequence<field_indices...>) {
    static constexpr const Instruction& kRow = kInstructions[row_index];
    const std::vector<std::uint64_t> given{random_value(kRow.fields()[field_indices], random)...};
    const std::uint64_t word =
        encode<kRow.op>(Operand<kRow.fields()[field_indices].arg>{given[field_indices]}...);
    const std::vector<std::uint64_t> got{
        static_cast<std::uint64_t>(get<kRow.op, kRow.fields()[field_indices].arg>(word))...};
    EXPECT_EQ(csf::opcode(word), std::to_underlying(kRow.op));
    EXPECT_EQ(got, given) << kRow.mnemonic;
}

TEST(CsfTable, GetReturnsWhatEncodeWasGiven) {
    std::mt19937_64 random(2);
    [&]<std::size_t... rows>(std::index_sequence<rows...>) {
        for (unsigned round = 0; round < kRounds; ++round)
            (expect_round_trip<rows>(random, std::make_index_sequence<kInstructions[rows].fields().size()>()),
             ...);
    }(std::make_index_sequence<kInstructions.size()>());
}

TEST(CsfTable, AnOddPairFitsNoPairField) {
    const Field& pair = *csf::find(0x11)->find(dst);
    EXPECT_TRUE(csf::fits(pair, 254));
    EXPECT_FALSE(csf::fits(pair, 1));
    EXPECT_FALSE(csf::fits(pair, 256));
}

TEST(CsfException, HasTheDriversName) {
    EXPECT_EQ(name(csf::Exception::cs_inherit_fault), "CS_INHERIT_FAULT");
    EXPECT_EQ(name(csf::Exception{0xc3}), "TRANSLATION_FAULT_3");
    EXPECT_EQ(name(csf::Exception{0xe7}), "ADDR_SIZE_FAULT_OUT3");
    EXPECT_EQ(name(csf::Exception{0xff}), "UNKNOWN");
}

// The disassembler, where no known word shows it.

TEST(Disassembler, SaysThatAnOpcodeIsUnassigned) {
    EXPECT_EQ(disassemble(0x0a00000000000001), ".word 0x0a00000000000001  ; unassigned opcode 0x0a");
    EXPECT_EQ(disassemble(~std::uint64_t{0}), ".word 0xffffffffffffffff  ; unassigned opcode 0xff");
}

TEST(Disassembler, ShowsReservedBitsThatAreSet) {
    EXPECT_EQ(disassemble(0x0300000000010001), "WAIT slots {0}  ; reserved bits 0x1");
    EXPECT_EQ(disassemble(0x2f80000000000000), "ERROR_BARRIER  ; reserved bits 0x80000000000000");
}

TEST(Disassembler, IgnoresWhatANopCarries) { EXPECT_EQ(disassemble(0x00ffffffffffffff), "NOP"); }

TEST(Disassembler, ShowsUnnamedChoicesAsNumbers) {
    EXPECT_EQ(disassemble(0x1600000070000000), "BRANCH #7 r0, +0");
    EXPECT_EQ(disassemble(0x3300000000000002), "SYNC_ADD64 [d0], d0, clear, #1");
    EXPECT_EQ(disassemble(0x3500000090000000), "SYNC_WAIT64 [d0] #9 d0, inherit");
    EXPECT_EQ(disassemble(0x2400000000000400), "FLUSH_CACHE2 l2 none, lsc none, other #4, id r0, signal 0");
}

TEST(Disassembler, ShowsAnOddPairAsItIs) { EXPECT_EQ(disassemble(0x3000430000000000), "HEAP_SET d67"); }

TEST(Disassembler, ShowsASignalSlotThatNobodyUses) {
    EXPECT_EQ(disassemble(0x33055C5E00000001), "SYNC_ADD64 [d92], d94, propagate, system, signal 5");
}

TEST(Disassembler, ShowsEmptyAndRaggedSets) {
    EXPECT_EQ(disassemble(0x0300000000000000), "WAIT slots {}");
    EXPECT_EQ(disassemble(0x0300000000E50000), "WAIT slots {0, 2, 5-7}");
    EXPECT_EQ(disassemble(0x15FF000080010000), "STORE_MULTIPLE {r255, r270}, [d0]");
}

TEST(Disassembler, GivesOneLineForAnyWord) {
    std::mt19937_64 random(3);
    for (unsigned round = 0; round < 100'000; ++round) {
        // Assigned opcodes are few: every other word gets one.
        const std::uint64_t noise = random();
        const std::uint64_t op = std::to_underlying(kInstructions[round / 2 % kInstructions.size()].op);
        const std::uint64_t word = round % 2 == 0 ? noise : (noise >> 8) | op << 56;
        const std::string text = disassemble(word);
        ASSERT_FALSE(text.empty()) << std::hex << word;
        ASSERT_EQ(text.find('\n'), std::string::npos) << std::hex << word;
    }
}

// The writer.

TEST(CommandWriter, WritesTheTestStreamOfIgt) {
    // A constant to VA 0x1001000, then a flush.
    constexpr std::array<std::uint64_t, 7> kExpected{
        0x0144000001001000, 0x02460000DEADBEEF, 0x1546440000010000, 0x0300000000FF0000,
        0x0246000000000000, 0x2401460000000233, 0x0300000000FF0000,
    };
    std::array<std::uint64_t, 7> words{};
    CommandWriter stream(words);
    stream.move48(d(68), 0x1001000)
        .move32(r(70), 0xdeadbeef)
        .store_multiple(r(70), 1, d(68))
        .wait(kAllSlots)
        .move32(r(70), 0)
        .flush_cache2(r(70), {.signal = 1})
        .wait(kAllSlots);
    EXPECT_EQ(words, kExpected);
    EXPECT_EQ(stream.size_bytes(), 56u);
    EXPECT_TRUE(stream.full());
    EXPECT_FALSE(stream.overflowed());
}

TEST(CommandWriter, Move64TakesOneWordForAnAddressAndTwoForMore) {
    std::array<std::uint64_t, 3> words{};
    CommandWriter writer(words);
    writer.move64(d(66), 0xffff'ffff'ffff);
    EXPECT_EQ(writer.size(), 1u);
    writer.move64(d(66), 0x1'0000'0000'0002);
    ASSERT_EQ(writer.size(), 3u);
    EXPECT_EQ(disassemble(words[0]), "MOVE48 d66, #0xffffffffffff");
    EXPECT_EQ(disassemble(words[1]), "MOVE32 r66, #0x2");
    EXPECT_EQ(disassemble(words[2]), "MOVE32 r67, #0x10000");
}

TEST(CommandWriter, DropsWhatDoesNotFitAndRemembersIt) {
    std::array<std::uint64_t, 3> memory{0, 0, 42};
    CommandWriter writer{std::span(memory).first(2)};
    writer.error_barrier().error_barrier();
    EXPECT_TRUE(writer.full());
    EXPECT_FALSE(writer.overflowed());
    writer.error_barrier();
    EXPECT_TRUE(writer.overflowed());
    EXPECT_EQ(writer.words().size(), 2u);
    EXPECT_EQ(memory[2], 42u);
}

TEST(CommandWriter, WritesNothingWithoutMemory) {
    CommandWriter writer({});
    writer.nop();
    EXPECT_TRUE(writer.full());
    EXPECT_TRUE(writer.overflowed());
    EXPECT_TRUE(writer.words().empty());
}

}  // namespace
}  // namespace belfry
