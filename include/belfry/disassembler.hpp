// Command-stream instructions as text.
#pragma once

#include <cstdint>
#include <string>

#include "belfry/export.hpp"

namespace belfry {

/// One instruction word as one line of text, without a line break. Every word gives a line.
///
///   MOVE48 d68, #0x1001000
///   STORE_MULTIPLE {r70, r71}, [d68 - 8]
///   BRANCH ge r1, +3
///   SYNC_ADD64 [d66], d70, propagate, csg, after {3}, signal 1
///   .word 0x0a00000000000000  ; unassigned opcode 0x0a
///
/// Operands are printed as they are encoded, without judging them. Zeros that mean "not used" are left out:
/// an offset of 0, a flag that is not set, a wait mask without slots and its signal slot. A choice without a
/// name is a number (`#7`). Bits that the instruction does not have end the line: `  ; reserved bits 0x...`.
BELFRY_EXPORT std::string disassemble(std::uint64_t word);

}  // namespace belfry
