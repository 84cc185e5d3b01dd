// Arithmetic: numbers in lanes. Elements of a register, floats of 16 and 32 bits and how they are rounded.
//
// Everything here is without branches and calls, so that loops over lanes become vector code;
// alu_baseline.cpp says how it is compiled. Nothing depends on the state of the FPU but on its default: to
// nearest, subnormals kept. Directed roundings are computed, not set.
#pragma once

#include <cstdint>
#include <type_traits>

namespace belfry::gpu::shader::BELFRY_SIMD {

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using i32 = std::int32_t;
using u64 = std::uint64_t;
using i64 = std::int64_t;

inline u32 bits(float value) { return __builtin_bit_cast(u32, value); }
inline u64 bits(double value) { return __builtin_bit_cast(u64, value); }
inline float f32(u32 value) { return __builtin_bit_cast(float, value); }
inline double f64(u64 value) { return __builtin_bit_cast(double, value); }

inline constexpr u32 kNan32 = 0x7fc00000;
inline constexpr u32 kInfinity32 = 0x7f800000;
inline constexpr u32 kNan16 = 0x7e00;
inline constexpr u32 kInfinity16 = 0x7c00;
inline constexpr u32 kMost16 = 0x7bff;  // 65504

inline bool is_nan(float value) { return value != value; }
/// There is one NaN: CPUs do not agree on what becomes of payloads.
inline u32 canonical(float value) { return is_nan(value) ? kNan32 : bits(value); }

// Choices are made by masks, all ones or none, and conditions joined by & and |: what would be a branch keeps
// a loop from becoming vector code, or cuts it in two.
inline constexpr u32 mask_of(bool condition) { return 0 - static_cast<u32>(condition); }
inline u32 choose(u32 mask, u32 if_ones, u32 if_none) { return (if_ones & mask) | (if_none & ~mask); }
inline float choose(u32 mask, float if_ones, float if_none) {
    return f32(choose(mask, bits(if_ones), bits(if_none)));
}
inline u32 where(bool condition, u32 if_true, u32 if_false) {
    return choose(mask_of(condition), if_true, if_false);
}
inline float where(bool condition, float if_true, float if_false) {
    return choose(mask_of(condition), if_true, if_false);
}
inline double where(bool condition, double if_true, double if_false) {
    const u64 mask = u64{0} - static_cast<u64>(condition);
    return f64((bits(if_true) & mask) | (bits(if_false) & ~mask));
}

/// A register as one element of 32 bits, two of 16 or four of 8.
template <unsigned kBits, bool kSigned>
struct Element {
    static constexpr unsigned kWidth = kBits;
    static constexpr bool kIsSigned = kSigned;
    static constexpr u32 kMask = kBits == 32 ? 0xffffffff : (1U << (kBits % 32)) - 1;
    static constexpr i64 kLeast = kSigned ? -(i64{1} << (kBits - 1)) : 0;
    static constexpr i64 kMost = kSigned ? (i64{1} << (kBits - 1)) - 1 : (i64{1} << kBits) - 1;
    using Value = std::conditional_t<kSigned, i32, u32>;
    using Unsigned = Element<kBits, false>;

    template <unsigned kIndex>
    static Value get(u32 word) {
        if constexpr (kBits == 32)
            return static_cast<Value>(word);
        else if constexpr (kSigned)
            return static_cast<i32>(word << (32 - kBits * (kIndex + 1))) >> (32 - kBits);
        else
            return word >> (kBits * kIndex) & kMask;
    }
    /// A register of f(elements of `words`), element by element.
    template <class F, class... Words>
    static u32 each(F f, Words... words) {
        if constexpr (kBits == 32)
            return static_cast<u32>(f(get<0>(words)...));
        else if constexpr (kBits == 16)
            return (static_cast<u32>(f(get<0>(words)...)) & kMask) | static_cast<u32>(f(get<1>(words)...))
                                                                         << 16;
        else
            return (static_cast<u32>(f(get<0>(words)...)) & kMask) |
                   (static_cast<u32>(f(get<1>(words)...)) & kMask) << 8 |
                   (static_cast<u32>(f(get<2>(words)...)) & kMask) << 16 |
                   static_cast<u32>(f(get<3>(words)...)) << 24;
    }
};
using U32 = Element<32, false>;
using S32 = Element<32, true>;
using U16 = Element<16, false>;
using S16 = Element<16, true>;
using U8 = Element<8, false>;
using S8 = Element<8, true>;

/// A rounding mode as what a number that lies between two others does: go to the nearest, or away from zero
/// by its sign, or towards it. Masks.
struct Rounding {
    u32 nearest;
    u32 away_positive;
    u32 away_negative;

    /// `mode` as valhall::Round.
    explicit constexpr Rounding(u32 mode)
        : nearest(mask_of(mode == 0)), away_positive(mask_of(mode == 1)), away_negative(mask_of(mode == 2)) {}

    /// For a number whose sign is the top bit of `word`.
    [[nodiscard]] u32 away(u32 word) const {
        const u32 negative = static_cast<u32>(static_cast<i32>(word) >> 31);
        return choose(negative, away_negative, away_positive);
    }
};
inline constexpr Rounding kNearest(0);

// Halves are the low 16 bits of a word.

inline float widen_half(u32 half) {
    const u32 magnitude = (half & 0x7fff) << 13;
    const float subnormal = static_cast<float>(static_cast<i32>(half & 0x3ff)) * 0x1p-24F;
    // 112 is the distance of the two exponents' biases.
    const u32 normal = magnitude + (112U << 23) + (mask_of(magnitude >= kInfinity16 << 13) & 112U << 23);
    return f32((half & 0x8000) << 16 | where((half & kInfinity16) == 0, bits(subnormal), normal));
}

inline u32 narrow_half(float value, const Rounding& rounding) {
    const u32 word = bits(value);
    const u32 magnitude = word & 0x7fffffff;
    const u32 away = rounding.away(word);

    const u32 bias = choose(rounding.nearest, 0xfff + (magnitude >> 13 & 1), away & 0x1fff);
    const u32 rounded = (magnitude + bias - (112U << 23)) >> 13;
    const u32 most = choose(rounding.nearest | away, kInfinity16, kMost16);
    const u32 normal = where(rounded > most, most, rounded);

    // Below 2^-14 a half is a multiple of 2^-24.
    const u32 small = mask_of(magnitude < 113U << 23);
    const float steps = f32(magnitude & small) * 0x1p24F;
    const i32 whole = static_cast<i32>(steps);
    const float rest = steps - static_cast<float>(whole);
    const u32 nearest_up = mask_of(rest > 0.5F) | (mask_of(rest == 0.5F) & static_cast<u32>(whole));
    const u32 away_up = mask_of(rest > 0) & away;
    const u32 subnormal = static_cast<u32>(whole) + (choose(rounding.nearest, nearest_up, away_up) & 1);

    const u32 finite = choose(small, subnormal, normal);
    const u32 number = where(magnitude == kInfinity32, kInfinity16, finite);
    return where(magnitude > kInfinity32, kNan16, (word >> 16 & 0x8000) | number);
}

/// f(halves of `words`, as floats), rounded to halves.
template <class F, class... Words>
inline u32 each_half(const Rounding& rounding, F f, Words... words) {
    return narrow_half(f(widen_half(words & 0xffff)...), rounding) |
           narrow_half(f(widen_half(words >> 16)...), rounding) << 16;
}

inline float narrow(double value, const Rounding& rounding) {
    const float nearest = static_cast<float>(value);
    const u32 word = bits(nearest);
    const double off =
        __builtin_fabs(static_cast<double>(nearest)) - __builtin_fabs(value);  // inf - inf: NaN
    const u32 away = rounding.away(word);
    const u32 outwards = mask_of(off < 0) & away & ~rounding.nearest & 1;
    const u32 inwards = mask_of(off > 0) & ~away & ~rounding.nearest & 1;
    return f32(word + outwards - inwards);
}

/// a + b rounded to odd: if it is not exact, the neighbour whose last bit is set. Rounding that to a format
/// that is two bits shorter, or more, is rounding the exact sum once.
template <class Float>
inline Float add_to_odd(Float a, Float b) {
    using Word = std::conditional_t<sizeof(Float) == 8, u64, u32>;
    const Float sum = a + b;
    const Float b_part = sum - a;
    const Float error = (a - (sum - b_part)) + (b - b_part);  // exact; NaN if the sum is not finite
    const Word word = __builtin_bit_cast(Word, sum);
    const Word inexact = Word{0} - static_cast<Word>((error > 0) | (error < 0));
    const Word even = (word & 1) - 1;
    // The error's sign tells whether the magnitude of the sum is too small or too great.
    const Word opposite = __builtin_bit_cast(Word, error) ^ word;
    const Word towards = 1 - (opposite >> (8 * sizeof(Float) - 1)) * 2;
    return __builtin_bit_cast(Float, word + (towards & even & inexact));
}

/// a * b + c, rounded to odd. Products of floats are exact in double.
inline double multiply_add_to_odd(float a, float b, float c) {
    return add_to_odd(static_cast<double>(a) * static_cast<double>(b), static_cast<double>(c));
}
/// The same for values of halves, in float.
inline float multiply_add_halves_to_odd(float a, float b, float c) { return add_to_odd(a * b, c); }

/// `sum`, if the exact sum of `a` and `b` is a zero that downwards rounding makes negative.
template <class Float>
inline Float with_zero_sign(Float sum, Float a, Float b, const Rounding& rounding) {
    using Word = std::conditional_t<sizeof(Float) == 8, u64, u32>;
    const Word sign = Word{rounding.away_negative & 1} << (8 * sizeof(Float) - 1);
    const Word zero = Word{0} - static_cast<Word>(sum == 0);
    const Word signs = __builtin_bit_cast(Word, a) | __builtin_bit_cast(Word, b);
    return __builtin_bit_cast(Float, __builtin_bit_cast(Word, sum) | (signs & sign & zero));
}

inline float multiply_add(float a, float b, float c) {
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_fmaf(a, b, c);
#else
    return static_cast<float>(multiply_add_to_odd(a, b, c));
#endif
}

/// 2^exponent, which the format must have as a normal number.
inline double power_of_two(i32 exponent) {
    return f64(static_cast<u64>(static_cast<i64>(exponent) + 1023) << 52);
}

inline i32 clamped(i32 value, i32 least, i32 most) {
    const i32 not_less = value < least ? least : value;
    return not_less > most ? most : not_less;
}

/// value * 2^exponent, exactly. `value` is 0 or lies within what floats, their products and sums can be, so
/// that what is beyond a thousand binary digits is infinite or nothing for every float anyway.
inline double scaled(double value, i32 exponent) {
    return value * power_of_two(clamped(exponent, -700, 700));
}

/// A whole number, of any size; keeps the sign of zero.
inline float round_to_whole(float value, const Rounding& rounding) {
    const float magnitude = __builtin_fabsf(value);
    const float nearest = (magnitude + 0x1p23F) - 0x1p23F;
    const u32 away = rounding.away(bits(value));
    const float up = where(nearest < magnitude, nearest + 1, nearest);
    const float down = where(nearest > magnitude, nearest - 1, nearest);
    const float rounded = choose(rounding.nearest, nearest, choose(away, up, down));
    return __builtin_copysignf(where(magnitude < 0x1p23F, rounded, magnitude), value);
}

/// A whole number as integer; saturates, NaN is 0.
inline u32 to_signed(float whole) {
    const float not_less = where(whole > -0x1p31F, whole, -0x1p31F);  // NaN too
    const float inside = where(not_less < 0x1p31F, not_less, 0.0F);
    const u32 number = static_cast<u32>(static_cast<i32>(inside));
    const u32 saturated = where(whole >= 0x1p31F, 0x7fffffff, number);
    return saturated & ~mask_of(is_nan(whole));
}
inline u32 to_unsigned(float whole) {
    const float positive = where(whole > 0, whole, 0.0F);  // NaN too
    const u32 high = mask_of(positive >= 0x1p31F);
    const float low = choose(high, positive - 0x1p31F, positive);
    const float inside = where(low < 0x1p31F, low, 0.0F);
    const u32 number = static_cast<u32>(static_cast<i32>(inside)) + (high & 0x80000000);
    return number | mask_of(positive >= 0x1p32F);
}

}  // namespace belfry::gpu::shader::BELFRY_SIMD
