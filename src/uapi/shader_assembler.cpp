// The assembler: a line is a row's name, then what kRows says the row has.
#include "uapi/shader_assembler.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "belfry/uapi/valhall.hpp"

namespace belfry::valhall {
namespace {

using Words = std::vector<std::uint64_t>;
template <typename T>
using Parsed = std::expected<T, std::string>;  // or what is wrong

constexpr std::string_view kBlanks = " \t\r";

std::unexpected<std::string> wrong(std::string_view what, std::string_view text = {}) {
    return std::unexpected(std::string(what).append(text));
}

std::string_view trim(std::string_view text) {
    const std::size_t first = text.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

/// The text before `separator`, which is taken off `rest`; all of it if there is none.
std::string_view take_until(std::string_view& rest, char separator) {
    const std::size_t end = rest.find(separator);
    const std::string_view taken = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    return taken;
}

/// Decimal or 0x; negative numbers as their 64-bit pattern.
std::optional<std::uint64_t> number(std::string_view text) {
    const bool is_negative = text.starts_with('-');
    if (is_negative) text.remove_prefix(1);
    const bool is_hex = text.starts_with("0x");
    if (is_hex) text.remove_prefix(2);
    std::uint64_t value = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), value, is_hex ? 16 : 10);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return is_negative ? -value : value;
}

/// The number of `r12` and `u12`.
std::optional<unsigned> numbered(std::string_view text, char prefix, unsigned limit) {
    if (!text.starts_with(prefix) || text.starts_with(std::string{prefix} + "0x")) return std::nullopt;
    const std::optional<std::uint64_t> value = number(text.substr(1));
    if (!value || *value >= limit) return std::nullopt;
    return static_cast<unsigned>(*value);
}

/// The value whose name is the longest that `text` starts with, up to a dot or the end; and its length.
std::optional<std::pair<std::uint64_t, std::size_t>> match(const Choices& choices, std::string_view text) {
    std::optional<std::pair<std::uint64_t, std::size_t>> best;
    for (std::size_t value = 0; value < choices.names.size(); ++value) {
        const std::string_view name = choices.names[value];
        const bool fits = !name.empty() && text.starts_with(name) &&
                          (text.size() == name.size() || text[name.size()] == '.');
        if (fits && (!best || name.size() > best->second)) best.emplace(value, name.size());
    }
    return best;
}

/// One instruction, put together while its line is read.
class Instruction {
  public:
    using Labels = std::map<std::string_view, std::size_t>;

    Parsed<std::uint64_t> read(std::string_view line, const Labels& labels, std::size_t position) {
        const std::size_t head_end = std::min(line.find_first_of(kBlanks), line.size());
        std::string_view operands = trim(line.substr(head_end));
        if (auto read = read_head(line.substr(0, head_end)); !read) return std::unexpected(read.error());
        for (std::size_t place = 0; !operands.empty(); ++place)
            if (auto read = read_operand(trim(take_until(operands, ',')), place, labels, position); !read)
                return std::unexpected(read.error());
        if (places_read_ < lists() + row_->sources().size()) return wrong("operands are missing");
        if (const Verdict verdict = judge(word_); verdict != Verdict::valid)
            return wrong(kVerdictNames[std::to_underlying(verdict)]);
        return word_;
    }

  private:
    /// Name, modifiers and flow.
    Parsed<void> read_head(std::string_view head) {
        for (const Row& row : kRows) {
            const bool is_named = head.starts_with(row.name) &&
                                  (head.size() == row.name.size() || head[row.name.size()] == '.');
            if (is_named && (row_ == nullptr || row.name.size() > row_->name.size())) row_ = &row;
        }
        if (row_ == nullptr) return wrong("unknown instruction ", head);
        word_ = encode(*row_);
        std::string_view rest = head.substr(row_->name.size());
        std::uint64_t given = 0;  // fields, by place
        while (!rest.empty()) {
            rest.remove_prefix(1);
            const std::size_t length = read_modifier(rest, given);
            if (length == 0) return wrong("unknown modifier .", rest);
            rest.remove_prefix(length);
        }
        for (std::size_t place = 0; place < row_->fields().size(); ++place) {
            const Field& field = row_->fields()[place];
            const bool is_missing = field.kind == Kind::choice && field.choices->implied < 0;
            if (is_missing && (given >> place & 1) == 0)
                return wrong("a modifier is missing: ", kModNames[std::to_underlying(field.mod)]);
        }
        return {};
    }

    /// The length of the modifier that `text` starts with; 0 if the row has none such.
    std::size_t read_modifier(std::string_view text, std::uint64_t& given) {
        for (std::size_t place = 0; place < row_->fields().size(); ++place) {
            if ((given >> place & 1) != 0) continue;
            const Field& field = row_->fields()[place];
            const std::string_view flag[] = {"", kModNames[std::to_underlying(field.mod)]};
            const Choices flag_choices{flag};
            const Choices* const choices = field.kind == Kind::flag ? &flag_choices : field.choices;
            if (choices == nullptr) continue;
            if (const auto found = match(*choices, text)) {
                given |= std::uint64_t{1} << place;
                word_ = insert(field, word_, found->first);
                return found->second;
            }
        }
        const auto found = match(choices::kFlow, text);
        if (!found) return 0;
        word_ = with(word_, static_cast<Flow>(found->first));
        return found->second;
    }

    /// Operands before the sources: registers written, and those lists of staging registers that are read.
    [[nodiscard]] std::size_t lists() const {
        switch (row_->destination) {
            case Destination::none:    return 0;
            case Destination::w16_r40: return 2;
            default:                   return 1;
        }
    }

    Parsed<void> read_operand(std::string_view text, std::size_t place, const Labels& labels,
                              std::size_t position) {
        if (place < lists()) {
            ++places_read_;
            if (row_->destination == Destination::normal) return read_destination(text);
            const bool is_at_16 = row_->destination == Destination::w16_r40 && place == 0;
            return read_list(text, is_at_16 ? 16 : 40);
        }
        if (place - lists() < row_->sources().size()) {
            ++places_read_;
            return read_source(text, row_->sources()[place - lists()]);
        }
        return read_immediate(text, labels, position);
    }

    Parsed<void> read_destination(std::string_view text) {
        std::string_view half = text;
        const auto base = numbered(take_until(half, '.'), 'r', kRegisters);
        const bool is_half = half == "h0" || half == "h1";
        if (!base || !(half.empty() || half == "none" || is_half)) return wrong("not a register: ", text);
        const std::uint64_t mask = half.empty() ? 3 : half == "h0" ? 1 : half == "h1" ? 2 : 0;
        word_ = (word_ & ~(0xffULL << 40)) | (mask << 6 | *base) << 40;
        return {};
    }

    Parsed<void> read_list(std::string_view text, unsigned bit) {
        if (!text.starts_with('@')) return wrong("not a list of staging registers: ", text);
        std::string_view rest = text.substr(1);
        std::uint64_t first = 0;
        std::uint64_t count = 0;
        for (; !rest.empty(); ++count) {
            const auto next = numbered(take_until(rest, ':'), 'r', kRegisters);
            if (!next || (count != 0 && *next != first + count))
                return wrong("registers not in a row: ", text);
            if (count == 0) first = *next;
        }
        const bool is_write_count =
            row_->find(Mod::wcnt) != nullptr && (bit == 16 || row_->destination == Destination::w40);
        const Field& field = *row_->find(is_write_count ? Mod::wcnt : Mod::cnt);
        const std::uint64_t value = is_write_count ? count - 1 : count;
        if (value > 7) return wrong("a list of a wrong length: ", text);
        word_ = insert(field, word_, value) | first << bit;
        return {};
    }

    Parsed<void> read_source(std::string_view text, const Source& source) {
        std::string_view suffixes = text;
        const std::string_view base = take_until(suffixes, '.');
        const auto byte = read_base(base, suffixes);
        if (!byte) return std::unexpected(byte.error());
        word_ |= *byte << source.bit;
        const Choices* const selections = form(source.selector).choices;
        bool is_selected = selections == nullptr || selections->implied >= 0;
        while (!suffixes.empty()) {
            const std::string_view suffix = take_until(suffixes, '.');
            const auto set = [&](std::uint8_t bit) { word_ |= std::uint64_t{1} << bit; };
            const auto value = selections == nullptr ? std::nullopt : match(*selections, suffix);
            if (suffix == "neg" && source.neg != 0)
                set(source.neg);
            else if (suffix == "abs" && source.abs != 0)
                set(source.abs);
            else if (suffix == "not" && source.invert != 0)
                set(source.invert);
            else if (value) {
                const std::uint64_t mask = (1ULL << form(source.selector).width) - 1;
                word_ = (word_ & ~(mask << source.selector_bit)) | value->first << source.selector_bit;
                is_selected = true;
            } else
                return wrong("unknown suffix in ", text);
        }
        if (!is_selected) return wrong("a selector is missing: ", text);
        return {};
    }

    /// The source byte of a register, uniform, constant or special value, whose `.w0` is taken off
    /// `suffixes`.
    Parsed<std::uint64_t> read_base(std::string_view text, std::string_view& suffixes) {
        if (const auto last = numbered(text.substr(text.starts_with('^')), 'r', kRegisters))
            return *last | (text.starts_with('^') ? 0x40U : 0U);
        if (const auto uniform = numbered(text, 'u', kUniformWords)) {
            if (auto turned = turn_to(*uniform / 64); !turned) return std::unexpected(turned.error());
            return 0x80 | *uniform % 64;
        }
        if (const auto value = number(text)) {
            const auto entry = std::ranges::find(kConstantTable, *value);
            if (entry == kConstantTable.end()) return wrong("not in the table of constants: ", text);
            return 0xc0 | static_cast<std::uint64_t>(entry - kConstantTable.begin());
        }
        const auto name = std::ranges::find(kSpecialNames, text);
        for (unsigned page = 0; page < kPages && name != std::end(kSpecialNames); ++page) {
            const auto special = static_cast<Special>(name - std::begin(kSpecialNames));
            const auto place = std::ranges::find(kSpecials[page], special);
            if (special == Special::reserved || place == kSpecials[page].end()) continue;
            const std::string_view half = take_until(suffixes, '.');
            if (half != "w0" && half != "w1") return wrong("a special value needs .w0 or .w1: ", text);
            if (auto turned = turn_to(page); !turned) return std::unexpected(turned.error());
            const auto index = static_cast<std::uint64_t>(place - kSpecials[page].begin());
            return 0xe0 | index << 1 | (half == "w1" ? 1U : 0U);
        }
        return wrong("not a source: ", text);
    }

    /// All uniforms and special values of an instruction lie on one page.
    Parsed<void> turn_to(unsigned page) {
        if (page_ && *page_ != page) return wrong("operands of two pages");
        page_ = page;
        word_ |= std::uint64_t{page} << 57;
        return {};
    }

    Parsed<void> read_immediate(std::string_view text, const Labels& labels, std::size_t position) {
        const bool is_constant = text.starts_with('#');
        std::string_view value_text = text.substr(is_constant ? 1 : 0);
        const std::string_view name = is_constant ? "constant" : take_until(value_text, ':');
        const auto field = std::ranges::find_if(row_->fields(), [&](const Field& candidate) {
            const bool is_immediate = candidate.kind == Kind::number ||
                                      candidate.kind == Kind::signed_number ||
                                      candidate.kind == Kind::constant;
            return is_immediate && kModNames[std::to_underlying(candidate.mod)] == name;
        });
        if (field == row_->fields().end()) return wrong("one operand too many: ", text);
        std::optional<std::uint64_t> value = number(value_text);
        if (const auto label = labels.find(value_text); label != labels.end())
            value = label->second - position - 1;
        if (!value) return wrong("neither a number nor a label: ", text);
        const std::uint64_t inserted = insert(*field, word_, *value);
        if (extract(*field, inserted) != *value) return wrong("does not fit: ", text);
        word_ = inserted;
        return {};
    }

    const Row* row_ = nullptr;
    std::uint64_t word_ = 0;
    std::size_t places_read_ = 0;
    std::optional<unsigned> page_;
};

struct Line {
    std::size_t number;
    std::string_view text;
};

}  // namespace

std::expected<std::vector<std::uint64_t>, std::string> assemble(std::string_view text) {
    std::vector<Line> lines;  // of instructions
    Instruction::Labels labels;
    for (std::size_t line_number = 1; !text.empty(); ++line_number) {
        std::string_view line = take_until(text, '\n');
        line = trim(line.substr(0, line.find(';')));
        const std::size_t colon = line.find(':');
        if (colon < line.find_first_of(kBlanks) && line.find('.') > colon) {
            labels.emplace(line.substr(0, colon), lines.size());
            line = trim(line.substr(colon + 1));
        }
        if (!line.empty()) lines.push_back({line_number, line});
    }
    Words words;
    for (const Line& line : lines) {
        constexpr std::string_view kWord = ".word ";
        Parsed<std::uint64_t> word;
        if (line.text.starts_with(kWord)) {
            const auto value = number(trim(line.text.substr(kWord.size())));
            word = value ? Parsed<std::uint64_t>(*value) : wrong("not a number");
        } else {
            word = Instruction().read(line.text, labels, words.size());
        }
        if (!word) return std::unexpected("line " + std::to_string(line.number) + ": " + word.error());
        words.push_back(*word);
    }
    return words;
}

}  // namespace belfry::valhall
