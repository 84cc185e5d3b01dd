// Shader programs from text, for tests and tools: what disassemble_shader() prints, and labels.
//
//   loop:                                       ; a comment
//     IADD_IMM.i32 r0, r0, #0xFFFFFFFF
//     BRANCHZ.reconverge r0, offset:loop
//     .word 0x123                               ; any word, also one that is no instruction
//
// Modifiers may come in any order. Each that the text form always shows (a slot, a condition, ...) must be
// there; an immediate that is left out is 0. Words that a shader core refuses are refused, except as .word.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace belfry::valhall {

/// The words of the program, or one sentence that names the line and what is wrong with it.
std::expected<std::vector<std::uint64_t>, std::string> assemble(std::string_view text);

}  // namespace belfry::valhall
