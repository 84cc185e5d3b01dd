// Numbers rounded the slow way, to compare arithmetic with.
#pragma once

#include <cfenv>
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "gpu_shader_alu_rig.hpp"

namespace belfry::gpu::shader {

/// valhall::Round as <cfenv> has it.
inline constexpr int kHostRounds[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
inline constexpr const char* kRoundNames[] = {"", ".rtp", ".rtn", ".rtz"};

/// f() under a rounding mode of the host.
template <class F>
auto rounded(int host_round, F f) {
    std::fesetround(host_round);
    const auto result = f();
    std::fesetround(FE_TONEAREST);
    return result;
}

__extension__ using Wide = __int128;

/// The value of a half that is finite, in units of 2^-24.
inline std::int64_t half_units(std::uint32_t half) {
    const std::int64_t exponent = half >> 10 & 31;
    const std::int64_t fraction = half & 0x3ff;
    const std::int64_t magnitude = exponent == 0 ? fraction : (1024 + fraction) << (exponent - 1);
    return (half & 0x8000) != 0 ? -magnitude : magnitude;
}
inline bool is_half_nan(std::uint32_t half) { return (half & 0x7fff) > 0x7c00; }
inline bool is_half_infinity(std::uint32_t half) { return (half & 0x7fff) == 0x7c00; }
inline float half_value(std::uint32_t half) {
    if (is_half_nan(half)) return NAN;
    const float sign = (half & 0x8000) != 0 ? -1.0F : 1.0F;
    if (is_half_infinity(half)) return sign * INFINITY;
    return std::copysign(std::ldexp(static_cast<float>(half_units(half)), -24), sign);
}

/// units * 2^-48 as half. `round` is a valhall::Round; `negative`: the sign, of zeros too.
inline std::uint32_t round_to_half(Wide units, unsigned round, bool negative) {
    const Wide magnitude = units < 0 ? -units : units;
    // The greatest half that is not above: halves are ordered as their patterns are.
    std::uint32_t low = 0;
    std::uint32_t high = 0x7c00;  // as if it were 2^16
    const auto value = [](std::uint32_t half) {
        return half == 0x7c00 ? Wide{1} << 64 : static_cast<Wide>(half_units(half)) << 24;
    };
    if (magnitude >= value(high)) low = 0x7c00;
    while (low + 1 < high) {
        const std::uint32_t middle = (low + high) / 2;
        (value(middle) <= magnitude ? low : high) = middle;
    }
    std::uint32_t result = low;
    if (low == 0x7c00) {
        const bool away = round == 0 || (round == 1 && !negative) || (round == 2 && negative);
        result = away ? 0x7c00 : 0x7bff;
    } else if (value(low) != magnitude) {
        const Wide below = magnitude - value(low);
        const Wide above = value(low + 1) - magnitude;
        const bool nearest_up = above < below || (above == below && (low & 1) != 0);
        const bool up = round == 0 ? nearest_up : (round == 1 && !negative) || (round == 2 && negative);
        result = low + (up ? 1 : 0);
    }
    return result | (negative ? 0x8000U : 0);
}

/// a * b + c of halves, rounded once.
inline std::uint32_t half_fma(std::uint32_t a, std::uint32_t b, std::uint32_t c, unsigned round) {
    // What is not finite needs no rounding.
    if (is_half_nan(a) || is_half_nan(b) || is_half_nan(c)) return 0x7e00;
    const bool product_negative = ((a ^ b) & 0x8000) != 0;
    const bool c_negative = (c & 0x8000) != 0;
    if (is_half_infinity(a) || is_half_infinity(b)) {
        if ((a & 0x7fff) == 0 || (b & 0x7fff) == 0) return 0x7e00;
        if (is_half_infinity(c) && c_negative != product_negative) return 0x7e00;
        return product_negative ? 0xfc00 : 0x7c00;
    }
    if (is_half_infinity(c)) return c;
    const Wide sum =
        static_cast<Wide>(half_units(a)) * half_units(b) + (static_cast<Wide>(half_units(c)) << 24);
    const bool zero_negative = product_negative == c_negative ? c_negative : round == 2;
    return round_to_half(sum, round, sum == 0 ? zero_negative : sum < 0);
}

/// A float as half.
inline std::uint32_t float_to_half(float value, unsigned round) {
    if (std::isnan(value)) return 0x7e00;
    if (std::isinf(value)) return value < 0 ? 0xfc00 : 0x7c00;
    const bool negative = std::signbit(value);
    const double units = std::ldexp(static_cast<double>(std::fabs(value)), 48);
    // More than anything a half can be, and less than anything, with its rest.
    if (units >= 0x1p66) return round_to_half(Wide{1} << 66, round, negative);
    Wide whole = static_cast<Wide>(units);
    if (static_cast<double>(whole) != units) whole |= 1;  // below all digits that matter
    return round_to_half(whole, round, negative);
}

/// f(low halves) | f(high halves) << 16.
inline Formula both_halves(
    const std::function<std::uint32_t(std::uint32_t, std::uint32_t, std::uint32_t)>& f) {
    return [f](const Values& in) {
        return f(in[0] & 0xffff, in[1] & 0xffff, in[2] & 0xffff) | f(in[0] >> 16, in[1] >> 16, in[2] >> 16)
                                                                       << 16;
    };
}

/// min(max(value, least), most) where NaN is less than anything and -0 less than +0.
inline float clamped_as(unsigned clamp, float value) {
    if (clamp == 0) return value;
    const float least = clamp == 2 ? -1.0F : 0.0F;
    const float most = clamp == 1 ? INFINITY : 1.0F;
    if (std::isnan(value) || value < least || (value == 0 && least == 0)) return least;
    return value > most ? most : value;
}
inline constexpr const char* kClampNames[] = {"", ".clamp_0_inf", ".clamp_m1_1", ".clamp_0_1"};

}  // namespace belfry::gpu::shader
