// Exponents and what transcendental functions are put together from: what each instruction does to one lane.
//
// Hardware's pieces are estimates that a sequence of instructions corrects. Ours are exact or rounded once,
// which serves the same sequences. Series instead of libm's functions: they are vector code, and the same
// bits on every machine.
#pragma once

#include "gpu/shader/alu_float.hpp"

namespace belfry::gpu::shader::BELFRY_SIMD {

struct Frcp32 : Signature<Type::f32, Type::f32> {
    u32 operator()(u32 a) const { return canonical(1.0F / f32(a)); }
};
struct Frsq32 : Signature<Type::f32, Type::f32> {
    u32 operator()(u32 a) const {
        // The root of a negative number is a NaN, that of -0 is -0.
        return canonical(static_cast<float>(1.0 / __builtin_sqrt(static_cast<double>(f32(a)))));
    }
};
/// The low half's result in both halves.
struct Frcp16 : Signature<Type::f16, Type::f16> {
    u32 operator()(u32 a) const { return narrow_half(1.0F / widen_half(a & 0xffff), kNearest) * 0x10001; }
};
struct Frsq16 : Signature<Type::f16, Type::f16> {
    u32 operator()(u32 a) const {
        const double root = __builtin_sqrt(static_cast<double>(widen_half(a & 0xffff)));
        return narrow_half(static_cast<float>(1.0 / root), kNearest) * 0x10001;
    }
};

/// A float as mantissa and power of a base, 2 or 4. Zeros, infinities and NaNs are their own mantissa.
struct Split {
    u32 mantissa;
    i32 exponent;
};
/// Where a mantissa lies: plain 1/2 ... 1, root 1/4 ... 1 with powers of 4, logarithm 3/4 ... 3/2.
struct SplitMode {
    u32 root;  // masks
    u32 logarithm;

    [[nodiscard]] Split split(u32 word) const {
        const bool subnormal = (word & kInfinity32) == 0;
        const u32 scaled = where(subnormal, bits(f32(word) * 0x1p24F), word);
        const i32 exponent = static_cast<i32>((scaled >> 23 & 0xff) - 127 - (mask_of(subnormal) & 24));
        const i32 low = static_cast<i32>(mask_of((scaled & 0x400000) == 0) & logarithm);  // -1: below 3/2
        const i32 k = static_cast<i32>(
            choose(root, static_cast<u32>((exponent >> 1) + 1), static_cast<u32>(exponent + 1 + low)));
        const i32 rest = exponent - k - static_cast<i32>(static_cast<u32>(k) & root);
        const u32 mantissa = (word & 0x80000000) | (scaled & 0x7fffff) | static_cast<u32>(rest + 127) << 23;
        const u32 number = mask_of(((word & 0x7fffffff) != 0) & ((word & kInfinity32) != kInfinity32));
        return {choose(number, mantissa, word), static_cast<i32>(static_cast<u32>(k) & number)};
    }
};
template <class Base>
struct SplitWord : Base {
    SplitMode mode;

    template <valhall::Op kName>
    explicit SplitWord(Word<kName> word)
        : mode{.root = mask_of(modifier<valhall::Mod::sqrt>(word) != 0),
               .logarithm = mask_of(modifier<valhall::Mod::log>(word) != 0)} {}
};
struct Frexpm32 : SplitWord<Signature<Type::f32, Type::f32>> {
    using SplitWord::SplitWord;
    u32 operator()(u32 a) const { return mode.split(a).mantissa; }
};
struct Frexpe32 : SplitWord<Signature<Type::word, Type::f32>> {
    using SplitWord::SplitWord;
    u32 operator()(u32 a) const { return static_cast<u32>(mode.split(a).exponent); }
};
struct Frexpm16 : SplitWord<Signature<Type::f16, Type::f16>> {
    using SplitWord::SplitWord;
    u32 operator()(u32 a) const {
        return each_half(kNearest, [this](float x) { return f32(mode.split(bits(x)).mantissa); }, a);
    }
};
struct Frexpe16 : SplitWord<Signature<Type::word, Type::f16>> {
    using SplitWord::SplitWord;
    u32 operator()(u32 a) const {
        return U16::each([this](u32 half) { return mode.split(bits(widen_half(half))).exponent; }, a);
    }
};

struct Ldexp32 : Signature<Type::f32, Type::f32, Type::word>, Rounded {
    using Rounded::Rounded;
    u32 operator()(u32 a, u32 b) const {
        return canonical(narrow(scaled(static_cast<double>(f32(a)), static_cast<i32>(b)), rounding));
    }
};
struct Ldexp16 : Signature<Type::f16, Type::f16, Type::word>, Rounded {
    using Rounded::Rounded;
    u32 operator()(u32 a, u32 b) const {
        return half(a & 0xffff, S16::get<0>(b)) | half(a >> 16, S16::get<1>(b)) << 16;
    }
    [[nodiscard]] u32 half(u32 value, i32 exponent) const {
        const u32 power = static_cast<u32>(clamped(exponent, -60, 60) + 127) << 23;
        return narrow_half(widen_half(value) * f32(power), rounding);
    }
};

enum class Rscale : u8 { plain, zero_times_all_is_zero, zero_times_all_is_left, scale16 };
/// (a * b + c) * 2^d, rounded once.
template <Rscale kKind>
struct FmaRscale : Signature<Type::f32, Type::f32, Type::f32, Type::f32, Type::word> {
    u32 operator()(u32 a, u32 b, u32 c, u32 d) const {
        const float left = f32(a);
        const float right = f32(b);
        const bool zero = (left == 0) | (right == 0);
        double product = static_cast<double>(left) * static_cast<double>(right);
        if constexpr (kKind == Rscale::zero_times_all_is_zero) product = where(zero, 0.0, product);
        if constexpr (kKind == Rscale::zero_times_all_is_left)
            product = where(zero, static_cast<double>(left), product);
        const double sum = add_to_odd(product, static_cast<double>(f32(c)));
        const i32 exponent = kKind == Rscale::scale16 ? S16::get<0>(d) : static_cast<i32>(d);
        return canonical(static_cast<float>(scaled(sum, exponent)));
    }
};

/// Of a series, that of the lowest power first; the loop is written out, as loops in a lane keep it from
/// being vector code.
template <std::size_t kTerms>
struct Series {
    double term[kTerms];

    [[nodiscard]] double operator()(double x) const { return sum(x, std::make_index_sequence<kTerms - 1>()); }

  private:
    template <std::size_t... kIndices>
    [[nodiscard]] double sum(double x, std::index_sequence<kIndices...> /*terms*/) const {
        double value = term[kTerms - 1];
        ((value = value * x + term[kTerms - 2 - kIndices]), ...);
        return value;
    }
};
/// 2^x = the sum of (x * ln 2)^k / k!.
inline constexpr Series<14> kExp2 = {{
    0x1p+0,
    0x1.62e42fefa39efp-1,
    0x1.ebfbdff82c58fp-3,
    0x1.c6b08d704a0cp-5,
    0x1.3b2ab6fba4e77p-7,
    0x1.5d87fe78a6731p-10,
    0x1.430912f86c787p-13,
    0x1.ffcbfc588b0c7p-17,
    0x1.62c0223a5c824p-20,
    0x1.b5253d395e7c4p-24,
    0x1.e4cf5158b8ecap-28,
    0x1.e8cac7351bb25p-32,
    0x1.c3bd650fc2986p-36,
    0x1.816193166d0f9p-40,
}};
/// artanh(x) / x = the sum of x^(2k) / (2k + 1); of the square of x.
inline constexpr Series<13> kArtanh = {{1.0, 1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11, 1.0 / 13, 1.0 / 15,
                                        1.0 / 17, 1.0 / 19, 1.0 / 21, 1.0 / 23, 1.0 / 25}};

/// 2^(b / 2^24). `a` is the same argument as an integer: it says less where it has saturated, and is not
/// looked at.
struct Fexp : Signature<Type::f32, Type::word, Type::f32> {
    u32 operator()(u32 /*a*/, u32 b) const {
        const double x = static_cast<double>(f32(b)) * 0x1p-24;
        const double not_less = where(x < -200, -200.0, x);
        const double bounded = where(not_less > 200, 200.0, not_less);  // NaN stays
        constexpr double kWhole = 0x1.8p52;                             // adding it rounds to a whole number
        const double shifted = bounded + kWhole;
        const double fraction = bounded - (shifted - kWhole);
        const u64 power = (bits(shifted) + 1023) << 52;
        return where(is_nan(f32(b)), kNan32, bits(static_cast<float>(kExp2(fraction) * f64(power))));
    }
};

inline constexpr SplitMode kLogarithm{.root = 0, .logarithm = ~0U};

/// log2(m) / (m - 1) for the mantissa m of `a`: log2(m) = 2 / ln 2 * artanh((m - 1) / (m + 1)).
struct Flogd : Signature<Type::f32, Type::f32> {
    u32 operator()(u32 a) const {
        const double m = static_cast<double>(f32(kLogarithm.split(a).mantissa));
        const double t = (m - 1) / (m + 1);
        constexpr double kTwoByLn2 = 0x1.71547652b82fep+1;
        const u32 number = bits(static_cast<float>(kTwoByLn2 * kArtanh(t * t) / (m + 1)));
        const bool infinite = ((a & 0x7fffffff) == 0) | (a == kInfinity32);
        const u32 positive = where(infinite, kInfinity32, number);
        return where(f32(a) >= 0, positive, kNan32);  // NaN is not either
    }
};
struct FaddLscale : Signature<Type::f32, Type::f32, Type::f32> {
    u32 operator()(u32 a, u32 b) const { return Fadd32()(a, kLogarithm.split(b).mantissa); }
};

// sin(k * pi / 32) of the first quarter, rounded to float.
inline constexpr float kSines[17] = {
    0x0p+0F,        0x1.917a6cp-4F, 0x1.8f8b84p-3F, 0x1.294062p-2F, 0x1.87de2ap-2F, 0x1.e2b5d4p-2F,
    0x1.1c73b4p-1F, 0x1.44cf32p-1F, 0x1.6a09e6p-1F, 0x1.8bc806p-1F, 0x1.a9b662p-1F, 0x1.c38b3p-1F,
    0x1.d906bcp-1F, 0x1.e9f416p-1F, 0x1.f6297cp-1F, 0x1.fd88dap-1F, 0x1p+0F,
};
/// Of a * pi / 32; kQuarter: how far the argument is moved, in table steps.
template <u32 kQuarter>
struct FsinTable : Signature<Type::word, Type::word> {
    u32 operator()(u32 a) const {
        const u32 step = (a + kQuarter) & 63;
        const u32 in_half = step & 31;
        const u32 sine = bits(kSines[in_half > 16 ? 32 - in_half : in_half]);
        return sine | (mask_of((step >= 32) & (sine != 0)) & 0x80000000);
    }
};

// Cube maps.

inline u32 magnitude(u32 a) { return a & 0x7fffffff; }
struct Cubeface1 : Signature<Type::f32, Type::f32, Type::f32, Type::f32> {
    u32 operator()(u32 a, u32 b, u32 c) const {
        const Fminmax32<true> greater;
        return greater(greater(magnitude(a), magnitude(b)), magnitude(c));
    }
};
/// The face, +x -x +y -y +z -z, in the top bits.
struct Cubeface2 : Signature<Type::word, Type::f32, Type::f32, Type::f32> {
    u32 operator()(u32 a, u32 b, u32 c) const {
        const float x = f32(magnitude(a));
        const float y = f32(magnitude(b));
        const float z = f32(magnitude(c));
        const u32 x_or_y = where(y >= x, 2 + (b >> 31), a >> 31);
        const u32 face = where((z >= x) & (z >= y), 4 + (c >> 31), x_or_y);
        return face << 29;
    }
};
/// a = z, b = x.
struct CubeSsel : Signature<Type::f32, Type::f32, Type::f32, Type::word> {
    u32 operator()(u32 a, u32 b, u32 c) const {
        const u32 face = c >> 29;
        const u32 sign = mask_of((face == 0) | (face == 5)) & 0x80000000;
        return canonical(f32(where(face < 2, a, b) ^ sign));
    }
};
/// a = y, b = z.
struct CubeTsel : Signature<Type::f32, Type::f32, Type::f32, Type::word> {
    u32 operator()(u32 a, u32 b, u32 c) const {
        const u32 face = c >> 29;
        const u32 sign = mask_of(face != 2) & 0x80000000;
        return canonical(f32(where((face == 2) | (face == 3), b, a) ^ sign));
    }
};

}  // namespace belfry::gpu::shader::BELFRY_SIMD
