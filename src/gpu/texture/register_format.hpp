// Register formats: what a message instruction wants its 32-bit words to be, or says that they are.
#pragma once

#include <cstdint>

#include "gpu/texture/numbers.hpp"
#include "gpu/texture/pixel_format.hpp"

namespace belfry::gpu::texture {

/// As instruction words number them; but for automatic_16, which texture instructions have a bit of their own
/// for.
enum class RegisterFormat : std::uint8_t {
    automatic = 0,     ///< 32 bits, of the kind that the texels are of
    automatic_16 = 1,  ///< 16 bits, likewise
    f32 = 2,
    f16 = 3,
    s32 = 4,
    s16 = 5,
    u32 = 6,
    u16 = 7
};

constexpr bool is_16_bit(RegisterFormat format) {
    using enum RegisterFormat;
    return format == f16 || format == s16 || format == u16 || format == automatic_16;
}

/// Whether a component of `kind` is in a register of `format` what it is anyhow.
constexpr bool is_kept(Kind kind, RegisterFormat format) {
    using enum RegisterFormat;
    return format == automatic || (kind == Kind::floating ? format == f32 : format == s32 || format == u32);
}

/// A component of `kind` as a register of `format` gets it; 16-bit ones in the low half. Integers become
/// floats without being normalised, floats become integers by truncation, 16-bit integers keep the low bits.
inline std::uint32_t to_register(Kind kind, RegisterFormat format, std::uint32_t word) {
    const auto to_float = [kind, word] {
        switch (kind) {
            case Kind::sint: return static_cast<float>(static_cast<std::int32_t>(word));
            case Kind::uint: return static_cast<float>(word);
            default:         return as_float(word);
        }
    };
    const bool floating = kind == Kind::floating;
    switch (format) {
        case RegisterFormat::f32: return floating ? word : as_bits(to_float());
        case RegisterFormat::f16: return float_to_half(to_float());
        case RegisterFormat::s32:
            return floating ? static_cast<std::uint32_t>(float_to_int(as_float(word))) : word;
        case RegisterFormat::u32: return floating ? float_to_uint(as_float(word)) : word;
        case RegisterFormat::s16:
            return (floating ? static_cast<std::uint32_t>(float_to_int(as_float(word))) : word) & 0xffffU;
        case RegisterFormat::u16:          return (floating ? float_to_uint(as_float(word)) : word) & 0xffffU;
        case RegisterFormat::automatic_16: return floating ? float_to_half(as_float(word)) : word & 0xffffU;
        case RegisterFormat::automatic:    break;
    }
    return word;
}

/// The way back: what a register of `format` holds, as a component of `kind`.
inline std::uint32_t from_register(Kind kind, RegisterFormat format, std::uint32_t word) {
    using enum RegisterFormat;
    switch (format) {
        case f16: word = as_bits(half_to_float(word & 0xffffU)); break;
        case s16: word = static_cast<std::uint32_t>(sign_extend(word, 16)); break;
        case u16: word &= 0xffffU; break;
        default:  break;
    }
    const bool held_signed = format == s32 || format == s16;
    const bool held_integer = held_signed || format == u32 || format == u16;
    if (format == automatic || held_integer == (kind != Kind::floating)) return word;
    if (held_integer)
        return as_bits(held_signed ? static_cast<float>(static_cast<std::int32_t>(word))
                                   : static_cast<float>(word));
    return kind == Kind::sint ? static_cast<std::uint32_t>(float_to_int(as_float(word)))
                              : float_to_uint(as_float(word));
}

}  // namespace belfry::gpu::texture
