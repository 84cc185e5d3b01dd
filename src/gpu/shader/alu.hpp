// The arithmetic of shader cores: what runs an instruction of the units FMA, CVT and SFU for 16 lanes.
//
// Owns   nothing: handlers are functions of an instruction, its operands and the lanes that run.
// Runs   on whatever thread runs a Core.
// Called by the program decoder, once an instruction; by tests.
//
// What is exact and what is guessed is in docs/hardware/shader-arithmetic.md.
#pragma once

#include <cstdint>
#include <span>

#include "belfry/uapi/valhall_values.hpp"
#include "gpu/shader/warp.hpp"

namespace belfry::gpu::shader {

/// How a program's floating-point instructions treat subnormals, NaNs and infinities: bits 19:16 of word 0 of
/// its Shader Program descriptor.
class FloatMode {
  public:
    constexpr explicit FloatMode(std::uint32_t program_word)
        : bits_(static_cast<std::uint8_t>(program_word >> 16 & 0xfU)) {}

    /// As IEEE 754 has it: subnormals, NaNs and infinities stay.
    [[nodiscard]] constexpr bool plain() const { return bits_ == 0; }
    [[nodiscard]] constexpr bool suppresses_nan() const { return (bits_ & 1) != 0; }
    [[nodiscard]] constexpr bool flushes_f32() const { return (bits_ & 6) != 0; }
    [[nodiscard]] constexpr bool flushes_f16() const { return (bits_ & 4) != 0; }
    [[nodiscard]] constexpr bool suppresses_infinity() const { return (bits_ & 8) != 0; }
    [[nodiscard]] constexpr std::uint8_t bits() const { return bits_; }
    [[nodiscard]] static constexpr FloatMode of_bits(std::uint8_t bits) {
        return FloatMode(std::uint32_t{bits} << 16);
    }

  private:
    std::uint8_t bits_;
};

/// The handler of the instruction `word`, whose row of the table is that of `name`; the best that this CPU
/// can run. It wants the bits of `mode` in Op::float_mode. Null: no instruction of these units, control flow,
/// or one that is not known well enough to be run: an encoding fault.
AluHandler alu_handler(valhall::Op name, std::uint64_t word, FloatMode mode);

/// Implementations that this CPU can run, the plainest first. All give the same bits.
struct AluImplementation {
    const char* name;
    decltype(&alu_handler) handler;
};
std::span<const AluImplementation> alu_implementations();

}  // namespace belfry::gpu::shader
