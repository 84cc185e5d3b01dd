// Text of a shader instruction: the rows of valhall::kRows say what there is, Kind and Selector how it looks.
//
// The text is that of Mesa's disassembler, and what valhall::assemble() reads.
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "belfry/disassembler.hpp"
#include "belfry/uapi/valhall.hpp"

namespace belfry {
namespace {

using valhall::Destination;
using valhall::Field;
using valhall::Kind;
using valhall::Mod;
using valhall::Operand;
using valhall::Registers;
using valhall::Row;
using valhall::Source;
using valhall::SourceKind;

std::string decimal(std::uint64_t value) { return std::to_string(value); }

std::string hexadecimal(std::uint64_t value, std::size_t digits_min = 1) {
    std::array<char, 16> buffer{};
    const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, 16);
    std::string digits(buffer.data(), end);
    for (char& digit : digits)
        if (digit >= 'a') digit = static_cast<char>(digit - 'a' + 'A');
    return "0x" + std::string(digits.size() < digits_min ? digits_min - digits.size() : 0, '0') + digits;
}

/// `.name` of a value; nothing for the value that needs no text.
std::string choice(const valhall::Choices& choices, std::uint64_t value) {
    if (!choices.has(value)) return ".#" + decimal(value);
    if (std::cmp_equal(value, choices.implied)) return {};
    return "." + std::string(choices.names[value]);
}

std::string register_list(Registers registers) {
    std::string text = "@";
    for (unsigned number = 0; number < registers.count; ++number) {
        if (number != 0) text += ':';
        text += "r" + decimal(registers.base + number);
    }
    return text;
}

std::string source_base(const Operand& from) {
    switch (from.kind) {
        case SourceKind::reg:      return (from.last_use ? "^r" : "r") + decimal(from.index);
        case SourceKind::uniform:  return "u" + decimal(from.index);
        case SourceKind::constant: return hexadecimal(valhall::kConstantTable[from.index]);
        case SourceKind::special:  break;
    }
    return std::string(valhall::kSpecialNames[std::to_underlying(from.special)]) + ".w" + decimal(from.word);
}

/// Halves of a register that are written, by write mask.
constexpr std::array<std::string_view, 4> kHalves = {".none", ".h0", ".h1", ""};

class Line {
  public:
    Line(const Row& row, std::uint64_t word) : word_(word), text_(row.name) {
        for (const Field& field : row.fields()) print_modifier(field);
        text_ += choice(valhall::choices::kFlow, std::to_underlying(valhall::flow(word)));
        print_destination(row);
        for (const Source& source : row.sources()) print_source(source);
        for (const Field& field : row.fields()) print_immediate(field);
        if (const std::uint64_t unused = word & valhall::unused_bits(row, word); unused != 0)
            text_ += "  ; unused bits " + hexadecimal(unused);
        if (const valhall::Verdict verdict = valhall::judge(word); verdict != valhall::Verdict::valid)
            text_ += "  ; invalid: " + std::string(valhall::kVerdictNames[std::to_underlying(verdict)]);
    }

    [[nodiscard]] std::string take() { return std::move(text_); }

  private:
    void print_modifier(const Field& field) {
        const std::uint64_t value = valhall::extract(field, word_);
        if (field.kind == Kind::choice) text_ += choice(*field.choices, value);
        if (field.kind == Kind::flag && value != 0)
            text_.append(".").append(valhall::kModNames[std::to_underlying(field.mod)]);
    }

    void print_destination(const Row& row) {
        const valhall::Staging lists = valhall::staging(row, word_);
        switch (row.destination) {
            case Destination::none: return;
            case Destination::normal:
                return print_operand("r" + decimal(valhall::destination(word_)) +
                                     std::string(kHalves[valhall::write_mask(word_)]));
            case Destination::w40: return print_operand(register_list(lists.written));
            case Destination::r40: return print_operand(register_list(lists.read));
            case Destination::w16_r40:
                print_operand(register_list(lists.written));
                return print_operand(register_list(lists.read));
        }
    }

    void print_source(const Source& source) {
        std::string text = source_base(valhall::operand(source, word_));
        if (valhall::is_negated(source, word_)) text += ".neg";
        if (valhall::is_absolute(source, word_)) text += ".abs";
        if (const valhall::Choices* const names = valhall::form(source.selector).choices; names != nullptr)
            text += choice(*names, valhall::selector(source, word_));
        if (valhall::is_inverted(source, word_)) text += ".not";
        print_operand(text);
    }

    void print_immediate(const Field& field) {
        const std::uint64_t value = valhall::extract(field, word_);
        const std::string name(valhall::kModNames[std::to_underlying(field.mod)]);
        if (field.kind == Kind::number) print_operand(name + ":" + hexadecimal(value));
        if (field.kind == Kind::signed_number)
            print_operand(name + ":" + std::to_string(static_cast<std::int64_t>(value)));
        if (field.kind == Kind::constant) print_operand("#" + hexadecimal(value));
    }

    void print_operand(std::string_view operand) {
        text_ += has_operands_ ? ", " : " ";
        text_ += operand;
        has_operands_ = true;
    }

    std::uint64_t word_;
    std::string text_;
    bool has_operands_ = false;
};

}  // namespace

std::string disassemble_shader(std::uint64_t word) {
    if (const Row* const row = valhall::find(word); row != nullptr) return Line(*row, word).take();
    return ".word " + hexadecimal(word, 16) + "  ; unassigned opcode " +
           hexadecimal(valhall::opcode(word), 3);
}

}  // namespace belfry
