// Instructions of command streams and of shaders as text.
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

/// The same for a word of a shader (Valhall, v9 and v10), in the form of Mesa's disassembler.
///
///   LOAD.i32.unsigned.slot0.wait0 @r0, ^r0, offset:0
///   FMA.f32 r1, ^r1, u8, 0x0.neg
///   BRANCHZ.eq.reconverge r0.h0, offset:5
///   .word 0x01FF000000000000  ; unassigned opcode 0x1FF
///
/// Bits that the instruction does not have end the line: `  ; unused bits 0x...`; so does why a shader core
/// does not execute the word: `  ; invalid: reserved selector`.
BELFRY_EXPORT std::string disassemble_shader(std::uint64_t word);

}  // namespace belfry
