// Floating-point instructions and conversions: what each does to one lane.
#pragma once

#include "gpu/shader/alu_handler.hpp"
#include "gpu/shader/alu_integer.hpp"

namespace belfry::gpu::shader::BELFRY_SIMD {

template <valhall::Op kName>
inline Rounding rounding_of(Word<kName> word) {
    return Rounding(modifier<valhall::Mod::round>(word));
}

// Sums and products, to nearest; and in the mode that the word says.

struct Fadd32 : Signature<Type::f32, Type::f32, Type::f32> {
    static constexpr bool kFrequent = true;
    u32 operator()(u32 a, u32 b) const { return canonical(f32(a) + f32(b)); }
};
struct Fmul32 : Signature<Type::f32, Type::f32, Type::f32> {
    static constexpr bool kFrequent = true;
    u32 operator()(u32 a, u32 b) const { return canonical(f32(a) * f32(b)); }
};
struct Fma32 : Signature<Type::f32, Type::f32, Type::f32, Type::f32> {
    static constexpr bool kFrequent = true;
    u32 operator()(u32 a, u32 b, u32 c) const { return canonical(multiply_add(f32(a), f32(b), f32(c))); }
};
struct Fma32Directed : Fma32 {
    static constexpr bool kFrequent = false;
    Rounding rounding;

    template <valhall::Op kName>
    explicit Fma32Directed(Word<kName> word) : rounding(rounding_of(word)) {}
    u32 operator()(u32 a, u32 b, u32 c) const {
        const double product = static_cast<double>(f32(a)) * static_cast<double>(f32(b));
        const double other = static_cast<double>(f32(c));
        const double sum = with_zero_sign(add_to_odd(product, other), product, other, rounding);
        return canonical(narrow(sum, rounding));
    }
};
struct Fadd32Directed : Fadd32 {
    static constexpr bool kFrequent = false;
    Fma32Directed product;

    template <valhall::Op kName>
    explicit Fadd32Directed(Word<kName> word) : product(word) {}
    u32 operator()(u32 a, u32 b) const { return product(a, bits(1.0F), b); }
};
struct FaddImm32 : Signature<Type::f32, Type::f32> {
    u32 constant;

    template <valhall::Op kName>
    explicit FaddImm32(Word<kName> word) : constant(modifier<valhall::Mod::constant>(word)) {}
    u32 operator()(u32 a) const { return Fadd32()(a, constant); }
};

// A float has more than twice the digits of a half and two more: a sum that is rounded to float, then to
// half, is rounded as if once. A product and a sum are not.
struct Fadd16 : Signature<Type::f16, Type::f16, Type::f16> {
    u32 operator()(u32 a, u32 b) const {
        return each_half(kNearest, [](float x, float y) { return x + y; }, a, b);
    }
};
struct Fmul16 : Signature<Type::f16, Type::f16, Type::f16> {
    u32 operator()(u32 a, u32 b) const {
        return each_half(kNearest, [](float x, float y) { return x * y; }, a, b);
    }
};
struct Fma16 : Signature<Type::f16, Type::f16, Type::f16, Type::f16> {
    u32 operator()(u32 a, u32 b, u32 c) const {
        return each_half(kNearest, multiply_add_halves_to_odd, a, b, c);
    }
};
struct Fma16Directed : Fma16 {
    Rounding rounding;

    template <valhall::Op kName>
    explicit Fma16Directed(Word<kName> word) : rounding(rounding_of(word)) {}
    u32 operator()(u32 a, u32 b, u32 c) const {
        return each_half(
            rounding,
            [this](float x, float y, float z) {
                return with_zero_sign(multiply_add_halves_to_odd(x, y, z), x * y, z, rounding);
            },
            a, b, c);
    }
};
struct Fadd16Directed : Fadd16 {
    Fma16Directed product;

    template <valhall::Op kName>
    explicit Fadd16Directed(Word<kName> word) : product(word) {}
    u32 operator()(u32 a, u32 b) const { return product(a, 0x3c003c00, b); }
};
struct FaddImm16 : Signature<Type::f16, Type::f16> {
    u32 constant;

    template <valhall::Op kName>
    explicit FaddImm16(Word<kName> word) : constant(modifier<valhall::Mod::constant>(word)) {}
    u32 operator()(u32 a) const { return Fadd16()(a, constant); }
};

/// The lesser or greater one; a number rather than a NaN; -0 is less than +0.
template <bool kGreater>
struct Fminmax32 : Signature<Type::f32, Type::f32, Type::f32> {
    static i32 order(u32 word) {
        return static_cast<i32>(word ^ (static_cast<u32>(static_cast<i32>(word) >> 31) >> 1));
    }
    u32 operator()(u32 a, u32 b) const {
        const bool first = kGreater ? order(a) > order(b) : order(a) < order(b);
        const bool a_is_nan = is_nan(f32(a));
        const bool b_is_nan = is_nan(f32(b));
        const bool take_first = (first & !a_is_nan) | b_is_nan;
        return canonical(f32(where(take_first, a, b)));
    }
};
template <bool kGreater>
struct Fminmax16 : Signature<Type::f16, Type::f16, Type::f16> {
    static i32 order(u32 half) { return static_cast<i32>(half ^ (mask_of(half >= 0x8000) & ~0x8000U)); }
    u32 operator()(u32 a, u32 b) const {
        return U16::each(
            [](u32 x, u32 y) {
                const i32 x_order =
                    (x & 0x8000) != 0 ? -1 - static_cast<i32>(x & 0x7fff) : static_cast<i32>(x);
                const i32 y_order =
                    (y & 0x8000) != 0 ? -1 - static_cast<i32>(y & 0x7fff) : static_cast<i32>(y);
                const bool first = kGreater ? x_order > y_order : x_order < y_order;
                const bool x_nan = (x & 0x7fff) > kInfinity16;
                const bool y_nan = (y & 0x7fff) > kInfinity16;
                return where(x_nan & y_nan, kNan16, where((first & !x_nan) | y_nan, x, y));
            },
            a, b);
    }
};

// Comparisons.

/// All ones where the comparison of the elements holds.
template <bool kHalves, class C>
inline u32 compare_floats(const C& compare, u32 a, u32 b) {
    if constexpr (kHalves)
        return U16::each([&compare](u32 x, u32 y) { return compare(widen_half(x), widen_half(y)); }, a, b);
    else
        return compare(f32(a), f32(b));
}
template <bool kHalves>
inline constexpr Type kFloatType = kHalves ? Type::f16 : Type::f32;

/// FCMP_OR and FCMP_AND.
template <bool kHalves, class C>
struct Fcmp : Signature<Type::word, kFloatType<kHalves>, kFloatType<kHalves>, Type::word> {
    C compare;
    Truth truth;

    template <valhall::Op kName>
    explicit Fcmp(Word<kName> word)
        : compare(cmp_of(word)), truth(Truth::of<Element<kHalves ? 16 : 32, false>>(word)) {}
    u32 operator()(u32 a, u32 b, u32 c) const {
        return truth.result(compare_floats<kHalves>(compare, a, b), c);
    }
};
template <bool kHalves, class C>
struct FloatCsel : Signature<Type::word, kFloatType<kHalves>, kFloatType<kHalves>, Type::word, Type::word> {
    C compare;

    template <valhall::Op kName>
    explicit FloatCsel(Word<kName> word) : compare(cmp_of(word)) {}
    u32 operator()(u32 a, u32 b, u32 c, u32 d) const {
        return choose(compare_floats<kHalves>(compare, a, b), c, d);
    }
};

// Conversions. Their rounding mode is Rounded, by the word, or the one that nearly all words have.

template <u32 kMode>
struct RoundedBy {
    static constexpr Rounding rounding{kMode};
};
struct Rounded {
    Rounding rounding;

    template <valhall::Op kName>
    explicit Rounded(Word<kName> word) : rounding(rounding_of(word)) {}
};

struct Fround32 : Signature<Type::f32, Type::f32>, Rounded {
    using Rounded::Rounded;
    u32 operator()(u32 a) const { return canonical(round_to_whole(f32(a), rounding)); }
};
struct Fround16 : Signature<Type::f16, Type::f16>, Rounded {
    using Rounded::Rounded;
    u32 operator()(u32 a) const {
        return each_half(kNearest, [this](float x) { return round_to_whole(x, rounding); }, a);
    }
};
template <bool kSigned>
inline u32 to_integer(float value, const Rounding& rounding) {
    const float whole = round_to_whole(value, rounding);
    return kSigned ? to_signed(whole) : to_unsigned(whole);
}
template <bool kSigned, class R>
struct F32ToInteger : Signature<Type::word, Type::f32>, R {
    using R::R;
    u32 operator()(u32 a) const { return to_integer<kSigned>(f32(a), this->rounding); }
};
template <bool kSigned>
struct F16ToInteger : Signature<Type::word, Type::f16>, Rounded {
    using Rounded::Rounded;
    u32 operator()(u32 a) const { return to_integer<kSigned>(widen_half(a & 0xffff), rounding); }
};
template <bool kSigned>
struct HalvesToIntegers : Signature<Type::word, Type::f16>, Rounded {
    using Rounded::Rounded;
    u32 operator()(u32 a) const {
        return U16::each(
            [this](u32 half) {
                const float whole = round_to_whole(widen_half(half), rounding);
                const i32 number = static_cast<i32>(to_signed(whole));
                return kSigned ? clamped(number, -0x8000, 0x7fff) : clamped(number, 0, 0xffff);
            },
            a);
    }
};
template <class E, class R>
struct IntegerToF32 : Signature<Type::f32, kTypeOf<E>>, R {
    using R::R;
    u32 operator()(u32 a) const {
        return bits(narrow(static_cast<double>(static_cast<typename E::Value>(a)), this->rounding));
    }
};
/// What is small enough to be exact; the element that the word has lowest.
template <class E>
struct SmallToF32 : Signature<Type::f32, Type::word> {
    u32 operator()(u32 a) const { return bits(static_cast<float>(static_cast<i32>(E::template get<0>(a)))); }
};
template <class E>
struct Extend32 : Signature<Type::word, Type::word> {
    u32 operator()(u32 a) const { return static_cast<u32>(E::template get<0>(a)); }
};
template <class E>
struct IntegersToHalves : Signature<Type::f16, kTypeOf<E>>, Rounded {
    using Rounded::Rounded;
    u32 operator()(u32 a) const {
        return E::each(
            [this](auto x) { return narrow_half(static_cast<float>(static_cast<i32>(x)), rounding); }, a);
    }
};
template <class E>
struct BytesToHalves : Signature<Type::f16, Type::word> {
    u32 operator()(u32 a) const { return half(E::template get<0>(a)) | half(E::template get<1>(a)) << 16; }
    static u32 half(typename E::Value value) {
        return narrow_half(static_cast<float>(static_cast<i32>(value)), kNearest);
    }
};
template <class E>
struct BytesToShorts : Signature<Type::word, Type::word> {
    u32 operator()(u32 a) const {
        return (static_cast<u32>(E::template get<0>(a)) & 0xffff) | static_cast<u32>(E::template get<1>(a))
                                                                        << 16;
    }
};
struct F16ToF32 : Signature<Type::f32, Type::f16> {
    u32 operator()(u32 a) const { return canonical(widen_half(a & 0xffff)); }
};
template <class R>
struct F32sToHalves : Signature<Type::f16, Type::f32, Type::f32>, R {
    using R::R;
    u32 operator()(u32 a, u32 b) const {
        return narrow_half(f32(a), this->rounding) | narrow_half(f32(b), this->rounding) << 16;
    }
};

/// nan_mode, ftz, flush_inf.
struct FlushModes {
    u32 drop_nan;  // masks
    u32 quiet_nan;
    u32 subnormals;
    u32 infinities;

    template <valhall::Op kName>
    explicit FlushModes(Word<kName> word)
        : drop_nan(mask_of(nan_mode(word) == valhall::NanMode::flush_nan)),
          quiet_nan(mask_of(nan_mode(word) == valhall::NanMode::quiet_nan)),
          subnormals(mask_of(modifier<valhall::Mod::ftz>(word) != 0)),
          infinities(mask_of(modifier<valhall::Mod::flush_inf>(word) != 0)) {}
    template <valhall::Op kName>
    static valhall::NanMode nan_mode(Word<kName> word) {
        return static_cast<valhall::NanMode>(modifier<valhall::Mod::nan_mode>(word));
    }

    /// `infinity` and `quiet` as the format has them; `flushed`: the number without subnormals.
    [[nodiscard]] u32 apply(u32 word, u32 magnitude, u32 flushed, u32 infinity, u32 quiet) const {
        const u32 finite =
            choose(subnormals, flushed, word) - (mask_of(magnitude == infinity) & infinities & 1);
        return where(magnitude > infinity, (word | (quiet & quiet_nan)) & ~drop_nan, finite);
    }
};
struct Flush32 : Signature<Type::f32, Type::f32>, FlushModes {
    using FlushModes::FlushModes;
    u32 operator()(u32 a) const { return apply(a, a & 0x7fffffff, flush32(a), kInfinity32, 0x400000); }
};
struct Flush16 : Signature<Type::f16, Type::f16>, FlushModes {
    using FlushModes::FlushModes;
    u32 operator()(u32 a) const {
        return U16::each([this](u32 x) { return apply(x, x & 0x7fff, flush_half(x), kInfinity16, 0x200); },
                         a);
    }
};

}  // namespace belfry::gpu::shader::BELFRY_SIMD
