// A warp to run single arithmetic instructions on, and numbers worth trying.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "belfry/uapi/valhall.hpp"
#include "gpu/shader/alu.hpp"
#include "uapi/shader_assembler.hpp"

namespace belfry::gpu::shader {

using Random = std::independent_bits_engine<std::mt19937, 32, std::uint32_t>;

inline constexpr FloatMode kPlain{0};
inline constexpr FloatMode kFlushF32{1U << 17};
inline constexpr FloatMode kFlushAll{2U << 17};
inline constexpr FloatMode kSuppressNan{1U << 16};
inline constexpr FloatMode kSuppressInfinity{1U << 19};

/// Registers of a warp; only r0 to r63 are used.
using Registers = std::array<Lanes, kWarpBankLanes>;

/// One instruction, decoded for each implementation that this CPU can run.
class Instruction {
  public:
    Instruction(std::uint64_t word, FloatMode mode) : word_(word), row_(valhall::decode(word)) {
        if (row_ == nullptr) return;
        for (const AluImplementation& implementation : alu_implementations()) {
            Op op{};
            op.alu = implementation.handler(row_->op, word, mode);
            if (op.alu == nullptr) return;
            for (std::size_t i = 0; i < row_->sources().size(); ++i) {
                const valhall::Operand from = valhall::operand(row_->sources()[i], word);
                const bool is_constant = from.kind == valhall::SourceKind::constant;
                op.source[i] = is_constant ? static_cast<OperandIndex>(kSharedBank | from.index) : from.index;
            }
            op.word = word;
            op.destination = static_cast<std::uint8_t>(valhall::destination(word));
            op.write_mask = static_cast<std::uint8_t>(valhall::write_mask(word));
            op.float_mode = mode.bits();
            ops_.push_back(op);
        }
    }
    /// All sources must be registers or in the table of constants.
    explicit Instruction(std::string_view text, FloatMode mode = kPlain)
        : Instruction(assembled(text), mode) {}

    [[nodiscard]] bool runs() const { return !ops_.empty(); }
    [[nodiscard]] std::uint64_t word() const { return word_; }
    [[nodiscard]] const valhall::Row& row() const { return *row_; }

    /// Runs it; all implementations must do the same.
    void run(Registers& registers, LaneMask active = kAllLanes) const {
        ASSERT_TRUE(runs());
        const Registers before = registers;
        std::array<Lanes, valhall::kConstantTable.size()> constants;
        for (std::size_t i = 0; i < constants.size(); ++i) constants[i].word.fill(valhall::kConstantTable[i]);
        for (std::size_t i = 0; i < ops_.size(); ++i) {
            Registers after = before;
            const Operands operands{{after.data(), constants.data()}};
            ops_[i].alu(ops_[i], operands, active);
            if (i == 0) {
                registers = after;
                continue;
            }
            if (std::memcmp(&registers, &after, sizeof after) == 0) continue;
            for (std::size_t r = 0; r < kRegisters; ++r)
                ASSERT_EQ(registers[r].word, after[r].word)
                    << alu_implementations()[i].name << " differs, r" << r << ", word " << std::hex << word_;
        }
    }

  private:
    static std::uint64_t assembled(std::string_view text) {
        const auto words = valhall::assemble(std::string(text) + "\n");
        if (!words.has_value()) ADD_FAILURE() << words.error();
        return words.has_value() ? words->front() : ~std::uint64_t{0};
    }

    std::uint64_t word_;
    const valhall::Row* row_;
    std::vector<Op> ops_;
};

/// Values of the sources of one lane.
using Values = std::array<std::uint32_t, 4>;
using Formula = std::function<std::uint32_t(const Values&)>;

/// Expects `text`, whose sources are r0, r1, ... and whose result is r8, to be what the formula says, for all
/// of `values`.
inline void expect_values(std::string_view text, const Formula& formula, const std::vector<Values>& values,
                          FloatMode mode = kPlain) {
    const Instruction instruction(text, mode);
    ASSERT_TRUE(instruction.runs()) << text;
    Registers registers{};
    for (std::size_t first = 0; first < values.size(); first += kLanes) {
        for (unsigned lane = 0; lane < kLanes; ++lane)
            for (std::size_t source = 0; source < 4; ++source)
                registers[source][lane] = values[std::min(first + lane, values.size() - 1)][source];
        ASSERT_NO_FATAL_FAILURE(instruction.run(registers));
        for (unsigned lane = 0; lane < kLanes; ++lane) {
            const Values& now = values[std::min(first + lane, values.size() - 1)];
            const std::uint32_t expected = formula(now);
            ASSERT_EQ(registers[8][lane], expected)
                << text << std::hex << ": got 0x" << registers[8][lane] << " in place of 0x" << expected
                << " of 0x" << now[0] << ", 0x" << now[1] << ", 0x" << now[2] << ", 0x" << now[3];
        }
    }
}

/// All of `edges` against each other as the first two sources, then random ones, most of them near edges.
inline std::vector<Values> mixed(const std::vector<std::uint32_t>& edges, std::size_t count,
                                 std::uint32_t seed = 1) {
    Random random(seed);
    const auto any = [&] {
        const std::uint32_t choice = random();
        if (choice % 4 == 0) return random();
        const std::uint32_t edge = edges[choice / 16 % edges.size()];
        return choice % 4 == 1 ? edge
                               : edge ^ (1U << (choice >> 27)) ^ (random() & random() & random() & random());
    };
    std::vector<Values> values;
    for (const std::uint32_t a : edges)
        for (const std::uint32_t b : edges) values.push_back({a, b, any(), any()});
    while (values.size() < count) values.push_back({any(), any(), any(), any()});
    return values;
}

/// All values of 16 bits, two in a word.
inline std::vector<Values> all_halves() {
    std::vector<Values> values;
    for (std::uint32_t half = 0; half < 0x10000; half += 2)
        values.push_back({half | (half + 1) << 16, 0, 0, 0});
    return values;
}

inline const std::vector<std::uint32_t> kIntegers = {
    0,          1,          2,          3,          0x7f,       0x80,       0xff,
    0x100,      0x7fff,     0x8000,     0xffff,     0x10000,    0x7fffffff, 0x80000000,
    0x80000001, 0xfffffffe, 0xffffffff, 0x00ff00ff, 0xff00ff00, 0x80008000, 0x7fff7fff,
    0x80808080, 0x7f7f7f7f, 0x12345678, 31,         32,         0x0102fffe,
};
inline const std::vector<std::uint32_t> kFloats = {
    0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007fffff, 0x807fffff, 0x00800000, 0x80800000,
    0x3f800000, 0xbf800000, 0x3f800001, 0x3f7fffff, 0x40490fdb, 0x3effffff, 0x3f000000, 0x3fc00000,
    0x40200000, 0x4b000000, 0x4b800001, 0x4effffff, 0x4f000000, 0xcf000000, 0xcf000001, 0x4f7fffff,
    0x4f800000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc12345, 0x7f800001,
    0x477fe000, 0x477fefff, 0x477ff000, 0x38800000, 0x387fffff, 0x33800000, 0x33000000, 0x33000001,
    0x5f000000, 0x1f800000, 0x20000000,
};
/// Two in a word, the same one or not.
inline const std::vector<std::uint32_t> kHalves = [] {
    const std::uint32_t halves[] = {0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x0400, 0x8400, 0x3c00, 0xbc00,
                                    0x3c01, 0x3bff, 0x3800, 0x37ff, 0x4248, 0x6400, 0x6800, 0x77ff, 0x7bff,
                                    0xfbff, 0x7c00, 0xfc00, 0x7e00, 0xfe01, 0x7c01, 0x1400, 0x2401};
    std::vector<std::uint32_t> words;
    for (std::size_t i = 0; i < std::size(halves); ++i)
        words.push_back(halves[i] | halves[(7 * i + 3) % std::size(halves)] << 16);
    return words;
}();

inline float as_float(std::uint32_t word) { return std::bit_cast<float>(word); }
/// NaNs are one.
inline std::uint32_t as_word(float value) {
    return value != value ? 0x7fc00000 : std::bit_cast<std::uint32_t>(value);
}

}  // namespace belfry::gpu::shader
