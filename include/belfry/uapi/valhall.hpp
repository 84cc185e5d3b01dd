// Valhall v9/v10 shader instructions: taking a word apart and putting one together.
//
// Everything here follows from kRows (valhall_table.hpp) and from what all instructions share: bits 48 to 56
// opcode, 57 and 58 page, 59 to 62 flow, 63 zero. Sources and guesses are in docs/hardware/valhall-isa.md.
//
//   const Row* row = decode(word);            // null: the encoding fault
//   get(*row, Mod::cmp, word)
//   get<Op::load_i32, Mod::offset>(word)      // a shift and a mask
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "belfry/uapi/valhall_table.hpp"
#include "belfry/uapi/valhall_values.hpp"

namespace belfry::valhall {

inline constexpr unsigned kRegisters = 64;  // 32 bits each, of each lane
inline constexpr unsigned kInstructionBytes = 8;
inline constexpr unsigned kOpcodes = 512;
inline constexpr unsigned kUniformWords = 256;

constexpr unsigned opcode(std::uint64_t word) { return static_cast<unsigned>(word >> 48 & 0x1ff); }
constexpr unsigned page(std::uint64_t word) { return static_cast<unsigned>(word >> 57 & 3); }
constexpr Flow flow(std::uint64_t word) { return static_cast<Flow>(word >> 59 & 15); }

constexpr const Row& row(Op op) { return kRows[std::to_underlying(op)]; }

namespace lookup {
/// Where an opcode's rows are in one list of all opcodes, each with all values of its secondary opcode.
struct Place {
    std::uint16_t first;
    std::uint16_t mask;
    std::uint8_t low;
};
inline constexpr auto kPlaces = [] {
    std::array<Place, kOpcodes> places{};
    for (const Row& row : kRows) {
        places[row.opcode].mask = row.secondary_mask;
        places[row.opcode].low = row.secondary_low;
    }
    std::uint16_t next = 0;
    for (Place& place : places) {
        place.first = next;
        next = static_cast<std::uint16_t>(next + place.mask + 1);
    }
    return places;
}();
inline constexpr auto kRowPlusOne = [] {
    static_assert(kOps < 256);
    std::array<std::uint8_t, kPlaces.back().first + kPlaces.back().mask + 1> rows{};
    for (const Row& row : kRows)
        rows[kPlaces[row.opcode].first + row.secondary] =
            static_cast<std::uint8_t>(std::to_underlying(row.op) + 1);
    return rows;
}();
}  // namespace lookup

/// The row of a word by its opcodes; null if v10 does not assign them. O(1).
constexpr const Row* find(std::uint64_t word) {
    const lookup::Place& place = lookup::kPlaces[opcode(word)];
    const std::size_t row_plus_one = lookup::kRowPlusOne[place.first + (word >> place.low & place.mask)];
    return row_plus_one == 0 ? nullptr : &kRows[row_plus_one - 1];
}

// Fields.

/// The field's value in `word`; a signed one as the 64-bit pattern of its sign-extended value.
constexpr std::uint64_t extract(const Field& field, std::uint64_t word) {
    const std::uint64_t at_top = word << (64 - field.low - field.width);
    const unsigned unused = 64U - field.width;
    if (field.kind == Kind::signed_number)
        return static_cast<std::uint64_t>(static_cast<std::int64_t>(at_top) >> unused);
    return at_top >> unused;
}

/// `word` with the field's bits those of `value`; what does not fit is cut off.
constexpr std::uint64_t insert(const Field& field, std::uint64_t word, std::uint64_t value) {
    return (word & ~field.bits()) | (value << field.low & field.bits());
}

/// 0 if the row has no such modifier.
constexpr std::uint64_t get(const Row& row, Mod mod, std::uint64_t word) {
    const Field* const field = row.find(mod);
    return field == nullptr ? 0 : extract(*field, word);
}

/// The modifier of a word that is known to be an `op`.
template <Op op, Mod mod>
constexpr std::uint64_t get(std::uint64_t word) {
    constexpr const Field* kField = row(op).find(mod);
    static_assert(kField != nullptr, "the instruction has no such modifier");
    return extract(*kField, word);
}

// Sources.

enum class SourceKind : std::uint8_t { reg, uniform, constant, special };

/// What a source byte names.
struct Operand {
    SourceKind kind{};
    std::uint8_t index =
        0;  // register, uniform word with its page, entry of kConstantTable, or index of the special
    std::uint8_t word = 0;  // of a special value
    bool last_use = false;  // of a register: nobody reads it after this
    Special special{};

    friend constexpr bool operator==(const Operand&, const Operand&) = default;
};

constexpr Operand operand(std::uint8_t byte, unsigned page) {
    const auto low = static_cast<std::uint8_t>(byte & 0x3f);
    switch (byte >> 6) {
        case 0:
        case 1:  return {.kind = SourceKind::reg, .index = low, .last_use = byte >> 6 == 1};
        case 2:  return {.kind = SourceKind::uniform, .index = static_cast<std::uint8_t>(low + 64 * page)};
        default: break;
    }
    if (low < kConstantTable.size()) return {.kind = SourceKind::constant, .index = low};
    const auto index = static_cast<std::uint8_t>((low - kConstantTable.size()) / 2);
    return {.kind = SourceKind::special,
            .index = index,
            .word = static_cast<std::uint8_t>(low & 1),
            .special = kSpecials[page][index]};
}

constexpr Operand operand(const Source& source, std::uint64_t word) {
    return operand(static_cast<std::uint8_t>(word >> source.bit), page(word));
}

/// Bits of a selector and the names of their values.
struct SelectorForm {
    std::uint8_t width = 0;
    const Choices* choices = nullptr;
};

constexpr SelectorForm form(Selector selector) {
    switch (selector) {
        case Selector::none:      break;
        case Selector::swizzle32: return {2, &choices::kSwizzle32};
        case Selector::swizzle16: return {2, &choices::kSwizzle16};
        case Selector::widen8:    return {4, &choices::kWiden8};
        case Selector::widen16:   return {4, &choices::kWiden16};
        case Selector::widen32:   return {4, &choices::kWiden32};
        case Selector::widen64:   return {4, &choices::kWiden64};
        case Selector::byte_lane: return {4, &choices::kByteLane};
        case Selector::byte_pair: return {4, &choices::kBytePair};
        case Selector::byte:      return {2, &choices::kByte};
        case Selector::half:      return {1, &choices::kHalf};
        case Selector::combine:   return {3, &choices::kCombine};
    }
    return {};
}

/// The value of the source's selector, one of the enumeration that Selector names; 0 if it has none.
constexpr unsigned selector(const Source& source, std::uint64_t word) {
    const unsigned width = form(source.selector).width;
    return static_cast<unsigned>(word >> source.selector_bit & ((1U << width) - 1));
}

/// Whether the source has the modifier and the word sets it.
constexpr bool is_negated(const Source& source, std::uint64_t word) {
    return source.neg != 0 && (word >> source.neg & 1) != 0;
}
constexpr bool is_absolute(const Source& source, std::uint64_t word) {
    return source.abs != 0 && (word >> source.abs & 1) != 0;
}
constexpr bool is_inverted(const Source& source, std::uint64_t word) {
    return source.invert != 0 && (word >> source.invert & 1) != 0;
}

/// Whether the source reads 64 bits.
constexpr bool reads_pair(const Source& source, std::uint64_t word) {
    if (!source.pair) return false;
    return source.selector != Selector::widen64 ||
           selector(source, word) == std::to_underlying(Widen64::none);
}

// Destinations.

/// The register that a row with a normal destination writes, and which of its halves: bit 0 low, bit 1 high.
constexpr unsigned destination(std::uint64_t word) { return static_cast<unsigned>(word >> 40 & 0x3f); }
constexpr unsigned write_mask(std::uint64_t word) { return static_cast<unsigned>(word >> 46 & 3); }

/// Consecutive registers.
struct Registers {
    std::uint8_t base = 0;
    std::uint8_t count = 0;
};

/// The staging registers that are read and written; those of a list that the row does not have are none.
struct Staging {
    Registers read;
    Registers written;
};

constexpr Staging staging(const Row& row, std::uint64_t word) {
    const auto at40 = static_cast<std::uint8_t>(word >> 40 & 0x3f);
    const auto at16 = static_cast<std::uint8_t>(word >> 16 & 0x3f);
    const auto count = static_cast<std::uint8_t>(get(row, Mod::cnt, word));
    const auto write_count = static_cast<std::uint8_t>(get(row, Mod::wcnt, word) + 1);
    switch (row.destination) {
        case Destination::none:
        case Destination::normal: break;
        case Destination::w40:
            return {.read = {}, .written = {at40, row.find(Mod::wcnt) != nullptr ? write_count : count}};
        case Destination::r40:     return {.read = {at40, count}, .written = {}};
        case Destination::w16_r40: return {.read = {at40, count}, .written = {at16, write_count}};
    }
    return {};
}

/// The staging registers that the instruction's other fields ask for, with base 0. 0 where they say nothing,
/// which is so for those that only fragment shaders have. A word must name at least as many.
constexpr Staging staging_needed(const Row& row, std::uint64_t word) {
    const auto read = [](std::uint64_t count) {
        return Staging{.read = {0, static_cast<std::uint8_t>(count)}, .written = {}};
    };
    const auto written = [](std::uint64_t count) {
        return Staging{.read = {}, .written = {0, static_cast<std::uint8_t>(count)}};
    };
    // Sizes of memory accesses, by bits 27 to 29.
    constexpr std::array<std::uint8_t, 8> kSizeRegisters = {1, 1, 1, 1, 2, 2, 3, 4};
    const unsigned size = kSizeRegisters[word >> 27 & 7];
    const auto is_in = [&](Op first, Op last) { return first <= row.op && row.op <= last; };

    if (is_in(Op::ld_buffer_i8, Op::ld_buffer_i128) || is_in(Op::load_i8, Op::load_i128)) {
        const Field* const lane = row.find(Mod::ldlane);
        const bool to_64 =
            lane->choices->has(extract(*lane, word)) && lane->choices->names[extract(*lane, word)] == "d0";
        return written(to_64 ? 2 : size);
    }
    if (is_in(Op::store_i8, Op::store_i128)) return read(size);
    if (row.op == Op::ld_gclk_u64 || row.op == Op::lea_buffer || row.op == Op::lea_buf_imm) return written(2);
    if (is_in(Op::lea_attr_imm, Op::lea_tex)) return written(3);
    if (row.op == Op::atom_i32 || row.op == Op::atom_i64) return read(size);
    if (row.op == Op::atom1_return_i32 || row.op == Op::atom1_return_i64)
        return written(get(row, Mod::cnt, word) == 0 ? 0 : size);
    if (row.op == Op::atom_return_i32 || row.op == Op::atom_return_i64) {
        const bool compares = get<Op::atom_return_i32, Mod::compare>(word) != 0;
        return {.read = {0, static_cast<std::uint8_t>(compares ? 2 * size : size)},
                .written = {0, static_cast<std::uint8_t>(size)}};
    }
    if (const Field* const regfmt = row.find(Mod::regfmt)) {
        const auto format = static_cast<Regfmt>(extract(*regfmt, word));
        const bool is_16 = format == Regfmt::f16 || format == Regfmt::s16 || format == Regfmt::u16;
        const std::uint64_t components = get(row, Mod::vec, word) + 1;
        const std::uint64_t count = is_16 ? (components + 1) / 2 : components;
        return row.destination == Destination::w40 ? written(count) : read(count);
    }
    if (is_in(Op::tex_fetch, Op::tex_gradient)) {
        constexpr std::array<std::uint8_t, 4> kCoordinates = {1, 2, 3, 2};
        const std::uint64_t coordinates = kCoordinates[get(row, Mod::dimension, word)];
        const auto lod = static_cast<LodMode>(get(row, Mod::lod_mode, word));
        std::uint64_t count = get(row, Mod::derivative_enable, word) != 0 ? 2 * coordinates : coordinates;
        count += get(row, Mod::array_enable, word) + get(row, Mod::shadow, word) +
                 get(row, Mod::texel_offset, word);
        if (lod == LodMode::explicit_lod || lod == LodMode::computed_bias) count += 1;
        if (lod == LodMode::grdesc) count += 2;
        const auto components = static_cast<unsigned>(std::popcount(get(row, Mod::write_mask, word)));
        const bool is_32 = get(row, Mod::register_width, word) != 0;
        return {.read = {0, static_cast<std::uint8_t>(count)},
                .written = {0, static_cast<std::uint8_t>(is_32 ? components : (components + 1) / 2)}};
    }
    return {};
}

// Judging.

enum class Verdict : std::uint8_t {
    valid,
    unassigned,
    top_bit,
    flow,
    modifier,
    selector,
    special,
    odd_pair,
    half_of_pair,
    odd_staging,
    staging_beyond,
    staging_short,
};
inline constexpr std::string_view kVerdictNames[] = {
    "valid",
    "unassigned opcode",
    "bit 63 is set",
    "reserved flow control",
    "reserved value of a modifier",
    "reserved selector",
    "reserved special value",
    "64-bit operand at an odd place",
    "half of a 64-bit result",
    "staging registers from an odd one on",
    "staging registers beyond r63",
    "too few staging registers",
};

/// Whether a shader core executes `word`, else the first reason why it raises the encoding fault. Bits that
/// the instruction does not have are ignored.
constexpr Verdict judge(std::uint64_t word) {
    if (word >> 63 != 0) return Verdict::top_bit;
    const Row* const row = find(word);
    if (row == nullptr) return Verdict::unassigned;
    if (!choices::kFlow.has(std::to_underlying(flow(word)))) return Verdict::flow;
    for (const Field& field : row->fields())
        if (field.kind == Kind::choice && !field.choices->has(extract(field, word))) return Verdict::modifier;
    for (const Source& source : row->sources()) {
        const Choices* const names = form(source.selector).choices;
        if (names != nullptr && !names->has(selector(source, word))) return Verdict::selector;
        const Operand from = operand(source, word);
        if (from.kind == SourceKind::special && from.special == Special::reserved) return Verdict::special;
        if (!reads_pair(source, word)) continue;
        const bool is_counted = from.kind == SourceKind::reg || from.kind == SourceKind::uniform;
        if ((is_counted && from.index % 2 != 0) || from.word != 0) return Verdict::odd_pair;
    }
    if (row->writes_pair()) {
        if (destination(word) % 2 != 0) return Verdict::odd_pair;
        if (write_mask(word) != 3) return Verdict::half_of_pair;
    }
    const auto judge_list = [](Registers list, Registers needed) {
        if (list.count > 1 && list.base % 2 != 0) return Verdict::odd_staging;
        if (list.base + list.count > kRegisters) return Verdict::staging_beyond;
        return list.count < needed.count ? Verdict::staging_short : Verdict::valid;
    };
    const Staging lists = staging(*row, word);
    const Staging needed = staging_needed(*row, word);
    const Verdict read = judge_list(lists.read, needed.read);
    return read != Verdict::valid ? read : judge_list(lists.written, needed.written);
}

/// The row of a word that a shader core executes; null for one that raises the encoding fault.
constexpr const Row* decode(std::uint64_t word) {
    return judge(word) == Verdict::valid ? find(word) : nullptr;
}

// Encoding.

/// The row's word with every source r0 and every modifier at the value that its text leaves out, else the
/// lowest.
constexpr std::uint64_t encode(const Row& row) {
    std::uint64_t word = std::uint64_t{row.opcode} << 48 | std::uint64_t{row.secondary} << row.secondary_low;
    switch (row.destination) {
        case Destination::none:
        case Destination::normal: word |= 0xc0ULL << 40; break;
        case Destination::w40:    word |= 0x80ULL << 40; break;
        case Destination::r40:    word |= 0x40ULL << 40; break;
        case Destination::w16_r40:
            // Textures have the width of the result there.
            if (row.unit != Unit::texture) word |= 0xc0ULL << 40;
            break;
    }
    const auto first = [](const Choices& choices) {
        if (choices.implied >= 0) return static_cast<std::uint64_t>(choices.implied);
        std::uint64_t value = 0;
        while (!choices.has(value)) ++value;
        return value;
    };
    for (const Field& field : row.fields())
        word = insert(field, word, field.kind == Kind::choice ? first(*field.choices) : 0);
    for (const Source& source : row.sources())
        if (const Choices* const names = form(source.selector).choices; names != nullptr)
            word |= first(*names) << source.selector_bit;
    return word;
}
constexpr std::uint64_t encode(Op op) { return encode(row(op)); }

/// `word` with another value of a modifier that the row must have.
constexpr std::uint64_t with(std::uint64_t word, const Row& row, Mod mod, std::uint64_t value) {
    return insert(*row.find(mod), word, value);
}
constexpr std::uint64_t with(std::uint64_t word, Flow flow) {
    return (word & ~(15ULL << 59)) | static_cast<std::uint64_t>(flow) << 59;
}

/// Bits that mean nothing in `word`: no field, source, register or opcode of its row lies there. The page
/// counts only if a source reads it.
constexpr std::uint64_t unused_bits(const Row& row, std::uint64_t word) {
    std::uint64_t used = (0x1ffULL | 15ULL << 11) << 48 | std::uint64_t{row.secondary_mask}
                                                              << row.secondary_low;
    for (const Field& field : row.fields()) used |= field.bits();
    for (const Source& source : row.sources()) {
        const SelectorForm selection = form(source.selector);
        used |= 0xffULL << source.bit | ((1ULL << selection.width) - 1) << source.selector_bit;
        for (const std::uint8_t bit : {source.neg, source.abs, source.invert})
            if (bit != 0) used |= 1ULL << bit;
        const SourceKind kind = operand(source, word).kind;
        if (kind == SourceKind::uniform || kind == SourceKind::special) used |= 3ULL << 57;
    }
    used |= 0xffULL << 40;
    if (row.destination == Destination::w16_r40) used |= 0x3fULL << 16;
    return ~used;
}

}  // namespace belfry::valhall
