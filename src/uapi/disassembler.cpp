// Text of an instruction: the rows of csf::kInstructions say what there is, Kind says how it looks.
#include "belfry/disassembler.hpp"

#include <array>
#include <bit>
#include <charconv>
#include <cstddef>
#include <string_view>
#include <utility>

#include "belfry/uapi/csf.hpp"

namespace belfry {
namespace {

using csf::Arg;
using csf::Field;
using csf::Instruction;
using csf::Kind;

std::string decimal(std::uint64_t value) { return std::to_string(value); }

std::string signed_decimal(std::uint64_t value) { return std::to_string(static_cast<std::int64_t>(value)); }

std::string hexadecimal(std::uint64_t value, std::size_t digits_min = 1) {
    std::array<char, 16> buffer{};
    const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, 16);
    const auto digits = static_cast<std::size_t>(end - buffer.data());
    std::string text = "0x";
    text.append(digits < digits_min ? digits_min - digits : 0, '0');
    return text.append(buffer.data(), digits);
}

/// The set bits as {2, 5-7}; bit 0 is called `prefix` and `first`. Three in a row are a range.
std::string set(std::uint64_t mask, std::string_view prefix, std::uint64_t first) {
    std::string text = "{";
    const auto element = [&](std::string_view separator, unsigned bit) {
        text.append(separator).append(prefix).append(decimal(first + bit));
    };
    for (unsigned low = 0; low < 64;) {
        if ((mask >> low & 1) == 0) {
            ++low;
            continue;
        }
        const auto length = static_cast<unsigned>(std::countr_one(mask >> low));
        element(text.size() > 1 ? ", " : "", low);
        if (length > 1) element(length > 2 ? "-" : ", ", low + length - 1);
        low += length;
    }
    return text += '}';
}

/// Prints one word. Some fields appear inside another's text: a base in the register list, a byte offset in
/// the brackets of its address.
class Line {
  public:
    Line(const Instruction& row, std::uint64_t word) : row_(row), word_(word), text_(row.mnemonic) {
        for (const Field& field : row.fields())
            if (is_printed(field)) print(field);
        if (const std::uint64_t reserved = word & csf::reserved_bits(row); reserved != 0)
            text_ += "  ; reserved bits " + hexadecimal(reserved);
    }

    [[nodiscard]] std::string take() { return std::move(text_); }

  private:
    [[nodiscard]] bool has(Arg arg) const { return row_.find(arg) != nullptr; }
    [[nodiscard]] std::uint64_t value(Arg arg) const {
        const Field* field = row_.find(arg);
        return field == nullptr ? 0 : csf::extract(*field, word_);
    }

    [[nodiscard]] bool is_printed(const Field& field) const {
        const bool is_zero = csf::extract(field, word_) == 0;
        if (field.arg == Arg::base) return !has(Arg::mask);
        if (field.arg == Arg::offset) return !has(Arg::address);
        if (field.kind == Kind::flag) return !is_zero;
        // A class D instruction without a wait mask runs at once and ignores its signal slot.
        const bool is_deferrable = row_.cls == csf::Class::deferrable;
        if (field.kind == Kind::slots) return !is_zero || !has(Arg::signal);
        if (field.kind == Kind::slot) return !is_zero || !is_deferrable || value(Arg::wait) != 0;
        return true;
    }

    void print(const Field& field) {
        const bool follows_condition = after_condition_;
        after_condition_ = field.kind == Kind::condition;
        const bool is_first = text_.size() == row_.mnemonic.size();
        text_ += is_first || follows_condition || after_condition_ ? " " : ", ";
        text_ += field.label;
        if (field.kind == Kind::flag) return;
        if (!field.label.empty()) text_ += ' ';
        text_ += operand(field);
    }

    [[nodiscard]] std::string operand(const Field& field) const {
        const std::uint64_t number = csf::extract(field, word_);
        const std::string sign = field.label.empty() ? "#" : "";
        switch (field.kind) {
            case Kind::reg:       return "r" + decimal(number);
            case Kind::pair:      return "d" + decimal(number);
            case Kind::address:   return "[d" + decimal(number) + displacement() + "]";
            case Kind::reg_mask:  return set(number, "r", value(Arg::base));
            case Kind::slots:     return set(number, "", 0);
            case Kind::slot:
            case Kind::imm:       return sign + decimal(number);
            case Kind::bits:      return "#" + hexadecimal(number);
            case Kind::simm:      return field.arg == Arg::offset ? jump(number) : "#" + signed_decimal(number);
            case Kind::flag:      break;
            case Kind::choice:
            case Kind::condition: return choice(field, number);
        }
        return {};
    }

    [[nodiscard]] std::string displacement() const {
        const std::uint64_t offset = value(Arg::offset);
        if (offset == 0) return {};
        const bool is_negative = static_cast<std::int64_t>(offset) < 0;
        return is_negative ? " - " + decimal(-offset) : " + " + decimal(offset);
    }

    static std::string jump(std::uint64_t instructions) {
        const bool is_negative = static_cast<std::int64_t>(instructions) < 0;
        return is_negative ? signed_decimal(instructions) : "+" + decimal(instructions);
    }

    static std::string choice(const Field& field, std::uint64_t number) {
        const bool is_named = number < field.choices.size() && !field.choices[number].empty();
        return is_named ? std::string(field.choices[number]) : "#" + decimal(number);
    }

    const Instruction& row_;
    std::uint64_t word_;
    std::string text_;
    bool after_condition_ = false;
};

}  // namespace

std::string disassemble(std::uint64_t word) {
    const std::uint8_t opcode = csf::opcode(word);
    const Instruction* row = csf::find(opcode);
    if (row == nullptr)
        return ".word " + hexadecimal(word, 16) + "  ; unassigned opcode " + hexadecimal(opcode, 2);
    return Line(*row, word).take();
}

}  // namespace belfry
