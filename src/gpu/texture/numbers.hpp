// Numbers as pixel formats store them: small floats, fixed point, sRGB, shared exponents.
//
// Pure functions. None of them relies on subnormals of float being kept by the processor, so they may be
// called while a shader's flush mode is on.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace belfry::gpu::texture {

inline float as_float(std::uint32_t bits) { return std::bit_cast<float>(bits); }
inline std::uint32_t as_bits(float value) { return std::bit_cast<std::uint32_t>(value); }

/// IEEE half to float, exact. NaNs keep their payload.
inline float half_to_float(std::uint32_t half) {
    constexpr std::uint32_t kExponent = 0x7c00U << 13U;
    std::uint32_t bits = (half & 0x7fffU) << 13U;
    const std::uint32_t exponent = bits & kExponent;
    bits += (127U - 15U) << 23U;
    if (exponent == kExponent) {
        bits += (128U - 16U) << 23U;
    } else if (exponent == 0) {
        // A subnormal's fraction behind a leading one that is then taken away: both are normal floats.
        bits = as_bits(as_float(bits + (1U << 23U)) - as_float(113U << 23U));
    }
    return as_float(bits | ((half & 0x8000U) << 16U));
}

/// To the nearest half, ties to even; too large ones become infinity.
inline std::uint32_t float_to_half(float value) {
    const std::uint32_t sign = (as_bits(value) >> 16U) & 0x8000U;
    const std::uint32_t bits = as_bits(value) & 0x7fffffffU;
    if (bits > 0x7f800000U) return sign | 0x7e00U;
    if (bits >= 0x47800000U) return sign | 0x7c00U;  // 65536 and more
    if (bits < 0x38800000U) {
        // Subnormal: adding 0.5 moves the half's last bit to the float's last one, and the addition rounds.
        return sign | (as_bits(as_float(bits) + 0.5F) - as_bits(0.5F));
    }
    return sign | ((bits - ((127U - 15U) << 23U) + 0xfffU + ((bits >> 13U) & 1U)) >> 13U);
}

/// Unsigned float with 5 bits of exponent and `fraction_bits` (5 or 6) of fraction.
inline float small_float_to_float(std::uint32_t small, unsigned fraction_bits) {
    return half_to_float(small << (10U - fraction_bits));
}

/// To the nearest one, ties to even; finite numbers stay finite, negative ones become zero, and any NaN the
/// one NaN.
inline std::uint32_t float_to_small_float(float value, unsigned fraction_bits) {
    const std::uint32_t infinity = 0x1fU << fraction_bits;
    if (std::isnan(value)) return infinity | 1U << (fraction_bits - 1);
    if (!(value > 0)) return 0;
    if (std::isinf(value)) return infinity;
    std::uint32_t bits = as_bits(value);
    const unsigned dropped = 23 - fraction_bits;
    if (bits < 0x38800000U) {  // below 2^-14: steps of 2^-14 / 2^fraction_bits
        const float scale = std::ldexp(1.0F, static_cast<int>(14 + fraction_bits));
        return static_cast<std::uint32_t>(std::nearbyint(value * scale));
    }
    bits = bits - ((127U - 15U) << 23U) + ((1U << (dropped - 1)) - 1) + ((bits >> dropped) & 1U);
    return std::min(bits >> dropped, infinity - 1);
}

/// Three 9-bit fractions under one 5-bit exponent.
inline std::array<float, 3> shared_exponent_to_floats(const std::array<std::uint32_t, 3>& fraction,
                                                      std::uint32_t exponent) {
    const float scale = std::ldexp(1.0F, static_cast<int>(exponent) - 15 - 9);
    return {static_cast<float>(fraction[0]) * scale, static_cast<float>(fraction[1]) * scale,
            static_cast<float>(fraction[2]) * scale};
}

struct SharedExponent {
    std::array<std::uint32_t, 3> fraction;
    std::uint32_t exponent;
};
/// By the algorithm that the APIs write down; NaN becomes zero.
inline SharedExponent floats_to_shared_exponent(const std::array<float, 3>& values) {
    constexpr float kLargest = 65408;  // 511 / 512 * 2^16
    std::array<float, 3> clamped{};
    float largest = 0;
    for (unsigned i = 0; i < 3; ++i) {
        clamped[i] = values[i] > 0 ? std::min(values[i], kLargest) : 0;
        largest = std::max(largest, clamped[i]);
    }
    int exponent = largest > 0 ? std::max(-16, std::ilogb(largest)) + 1 + 15 : 0;
    double scale = std::ldexp(1.0, 15 + 9 - exponent);
    if (std::floor((largest * scale) + 0.5) == 512) {
        ++exponent;
        scale /= 2;
    }
    SharedExponent result{.fraction = {}, .exponent = static_cast<std::uint32_t>(exponent)};
    for (unsigned i = 0; i < 3; ++i)
        result.fraction[i] = static_cast<std::uint32_t>(std::floor((clamped[i] * scale) + 0.5));
    return result;
}

constexpr std::uint32_t low_bits(unsigned bits) { return bits >= 32 ? ~0U : (1U << bits) - 1; }

constexpr std::int32_t sign_extend(std::uint32_t value, unsigned bits) {
    return static_cast<std::int32_t>(value << (32 - bits)) >> (32 - bits);
}

inline float unorm_to_float(std::uint32_t value, unsigned bits) {
    if (bits <= 24)  // both exact: the division rounds once
        return static_cast<float>(value) / static_cast<float>(low_bits(bits));
    return static_cast<float>(value / static_cast<double>(low_bits(bits)));
}

inline float snorm_to_float(std::uint32_t value, unsigned bits) {
    const std::int32_t integer = sign_extend(value, bits);
    if (bits <= 24)
        return std::max(static_cast<float>(integer) / static_cast<float>(low_bits(bits - 1)), -1.0F);
    return static_cast<float>(std::max(integer / static_cast<double>(low_bits(bits - 1)), -1.0));
}

/// Clamped to 0 ... 1, scaled, rounded to nearest even; NaN becomes zero. In double: the product of a float
/// and a 29-bit scale is exact, so that it is rounded once.
inline std::uint32_t float_to_unorm(float value, unsigned bits) {
    const double clamped = value > 0 ? std::min(static_cast<double>(value), 1.0) : 0;
    const double scaled = clamped * low_bits(bits);
    return static_cast<std::uint32_t>(std::bit_cast<std::uint64_t>(scaled + 0x1p52));
}

inline std::uint32_t float_to_snorm(float value, unsigned bits) {
    if (std::isnan(value)) return 0;
    const double scaled = std::fmin(std::fmax(value, -1.0), 1.0) * low_bits(bits - 1);
    return static_cast<std::uint32_t>(std::bit_cast<std::uint64_t>(scaled + 0x1.8p52)) & low_bits(bits);
}

inline float fixed_to_float(std::uint32_t value) {
    return static_cast<float>(static_cast<std::int32_t>(value) / 65536.0);
}

inline std::int32_t float_to_int(float value) {
    if (std::isnan(value)) return 0;
    if (value >= 0x1p31F) return std::numeric_limits<std::int32_t>::max();
    if (value < -0x1p31F) return std::numeric_limits<std::int32_t>::min();
    return static_cast<std::int32_t>(value);
}

inline std::uint32_t float_to_uint(float value) {
    if (!(value > 0)) return 0;
    return value >= 0x1p32F ? ~0U : static_cast<std::uint32_t>(value);
}

inline std::uint32_t float_to_fixed(float value) {
    return static_cast<std::uint32_t>(float_to_int(std::nearbyint(value * 65536.0F)));
}

inline float srgb_to_linear(float value) {
    return value <= 0.04045F ? value / 12.92F : std::pow((value + 0.055F) / 1.055F, 2.4F);
}

inline float linear_to_srgb(float value) {
    if (!(value > 0.0031308F)) return value * 12.92F;
    return (1.055F * std::pow(value, 1 / 2.4F)) - 0.055F;
}

}  // namespace belfry::gpu::texture
