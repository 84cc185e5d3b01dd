#include "gpu/shader/literals.hpp"

#include <algorithm>
#include <bit>

#include "gpu/texture/numbers.hpp"

namespace belfry::gpu::shader {
namespace {

using valhall::Selector;

bool bit(std::uint64_t word, unsigned index) { return index != 0 && (word >> index & 1) != 0; }
std::uint64_t bit_or_none(unsigned index) { return index == 0 ? 0 : std::uint64_t{1} << index; }

/// What the selector reads of `raw`; none if that depends on more than the selector.
std::optional<std::uint32_t> selected(const valhall::Row& row, Selector selector, std::uint32_t value,
                                      std::uint32_t raw) {
    switch (selector) {
        case Selector::none: return raw;
        case Selector::swizzle32:
            if (value == 0) return raw;
            return std::bit_cast<std::uint32_t>(
                texture::half_to_float(raw >> (value == 2 ? 16 : 0) & 0xffff));
        case Selector::swizzle16:
            return (raw >> 16 * (value & 1) & 0xffff) | (raw >> 16 * (value >> 1) & 0xffff) << 16;
        case Selector::byte_lane: return raw >> 8 * (value & 3) & 0xff;
        case Selector::widen32:   {
            if (value == 0) return raw;
            const bool half = value < 4;
            const std::uint32_t part =
                half ? raw >> 16 * (value & 1) & 0xffff : raw >> 8 * (value & 3) & 0xff;
            const bool negative = (part >> (half ? 15 : 7)) != 0;
            const bool zero_extends = row.name.ends_with(".u32") || row.name.ends_with(".i32");
            return !negative || zero_extends ? std::optional(part) : std::nullopt;
        }
        default: return std::nullopt;
    }
}

/// The selector's value for a register that is read as it is.
std::uint64_t as_it_is(Selector selector) {
    switch (selector) {
        case Selector::swizzle16: return 2;  // h01
        case Selector::byte_lane: return 4;  // b00
        default:                  return 0;
    }
}

}  // namespace

std::optional<Folded> fold_constant(const valhall::Row& row, std::uint64_t word, std::size_t index) {
    const valhall::Source& source = row.sources()[index];
    if (source.pair || row.element == 64) return std::nullopt;
    const std::uint32_t raw = valhall::kConstantTable[valhall::operand(source, word).index];
    // A last source of -0 is how a product is written: its handler does not add.
    const bool product = row.op == valhall::Op::fma_f32 || row.op == valhall::Op::fma_v2f16;
    if (product && index == 2 && raw == 0) return std::nullopt;

    const std::uint64_t selector_mask = (std::uint64_t{1} << valhall::form(source.selector).width) - 1;
    const std::uint64_t selector = word >> source.selector_bit & selector_mask;
    const std::uint64_t plain = (word & ~(selector_mask << source.selector_bit) & ~bit_or_none(source.neg) &
                                 ~bit_or_none(source.abs) & ~bit_or_none(source.invert)) |
                                as_it_is(source.selector) << source.selector_bit;
    if (plain == word) return std::nullopt;
    auto value = selected(row, source.selector, static_cast<std::uint32_t>(selector), raw);
    if (!value) return std::nullopt;
    const std::uint32_t signs = source.selector == Selector::swizzle16 ? 0x8000'8000 : 0x8000'0000;
    // Whether it is one float or two then says something else.
    if (source.selector == Selector::none && source.neg != 0 && row.element == 16) return std::nullopt;
    if (bit(word, source.abs)) *value &= ~signs;
    if (bit(word, source.neg)) *value ^= signs;
    if (bit(word, source.invert)) *value = ~*value;
    return Folded{.word = plain, .value = *value};
}

std::optional<OperandIndex> Literals::operand(std::uint32_t value) {
    const auto end = values_.begin() + used_;
    const auto found = std::find(values_.begin(), end, value);
    const auto index = static_cast<unsigned>(found - values_.begin());
    if (found == end) {
        if (used_ == kLiteralCount) return std::nullopt;
        values_[used_++] = value;
        rows_[index].word.fill(value);
    }
    return static_cast<OperandIndex>(kLiterals + index);
}

}  // namespace belfry::gpu::shader
