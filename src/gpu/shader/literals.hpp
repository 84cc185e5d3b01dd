// Literals: constants with their modifiers applied, as finished operands.
//
// Owns   which rows of the shared bank hold which value; the rows are the core's.
// Runs   on whatever thread runs the Core.
// Called by Programs when it decodes.
//
// Most float constants that a compiler writes are halves of the constant table, and every amount of a shift
// is a byte of it. What they are is known once the word is: an operand without modifiers has the faster
// handler.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "belfry/uapi/valhall.hpp"
#include "gpu/shader/warp.hpp"

namespace belfry::gpu::shader {

/// A word of which one source has lost its modifiers, and what that source is instead.
struct Folded {
    std::uint64_t word;
    std::uint32_t value;
};
/// Applies the modifiers of source `index`, an entry of the constant table, of an arithmetic instruction
/// whose float mode is plain. None: it has none, or they are better left to the handler.
std::optional<Folded> fold_constant(const valhall::Row& row, std::uint64_t word, std::size_t index);

class Literals {
  public:
    /// `rows`: kLiteralCount of them, filled here.
    explicit Literals(std::span<Lanes> rows) : rows_(rows) {}

    /// The operand that holds `value` in all lanes. None: there are as many as there can be.
    std::optional<OperandIndex> operand(std::uint32_t value);
    /// Whether so many are taken that programs should be decoded anew, after clear().
    [[nodiscard]] bool crowded() const { return used_ > kLiteralCount * 3 / 4; }
    void clear() { used_ = 0; }

  private:
    std::span<Lanes> rows_;
    std::array<std::uint32_t, kLiteralCount> values_{};
    unsigned used_ = 0;
};

}  // namespace belfry::gpu::shader
