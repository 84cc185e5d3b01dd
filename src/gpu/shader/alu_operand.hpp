// Operands: what an instruction word does to a register before it is computed with, and to the result.
//
// The table of instructions says which bits mean what. A handler makes each of these once from its word, then
// applies it lane by lane.
#pragma once

#include "belfry/uapi/valhall.hpp"
#include "gpu/shader/alu.hpp"
#include "gpu/shader/alu_arithmetic.hpp"

namespace belfry::gpu::shader::BELFRY_SIMD {

/// What a source or a result is, where that matters beyond its bits: to sign extension, and to flushing.
enum class Type : u8 { word, sint, f32, f16 };

/// An instruction word of which the row is known when we are compiled.
template <valhall::Op kName>
struct Word {
    u64 bits;
};
template <valhall::Op kName>
inline constexpr const valhall::Row& kRow = valhall::kRows[static_cast<std::size_t>(kName)];

template <valhall::Op kName, valhall::Mod kMod>
inline constexpr const valhall::Field* kField = kRow<kName>.find(kMod);

constexpr u64 field_bits(const valhall::Field* field) { return field == nullptr ? 0 : field->bits(); }

/// The value of a modifier; 0 if there is none.
template <valhall::Mod kMod, valhall::Op kName>
inline u32 modifier(Word<kName> word) {
    if constexpr (kField<kName, kMod> == nullptr)
        return 0;
    else
        return static_cast<u32>(word.bits >> kField<kName, kMod>->low) &
               static_cast<u32>((u64{1} << kField<kName, kMod>->width) - 1);
}

constexpr u64 bit_or_none(unsigned bit) { return bit == 0 ? 0 : u64{1} << bit; }
constexpr u64 sign_bits(const valhall::Source& source) {
    return bit_or_none(source.neg) | bit_or_none(source.abs);
}
/// Bits that say what is read, but for signs.
constexpr u64 selector_bits(const valhall::Source& source) {
    return ((u64{1} << valhall::form(source.selector).width) - 1) << source.selector_bit |
           bit_or_none(source.invert);
}
/// These bits where the register is read as it is. Where a part is read, it is the lowest one: who reads it
/// looks at no more than that.
constexpr u64 selector_default(const valhall::Source& source) {
    using enum valhall::Selector;
    switch (source.selector) {
        case swizzle16:
        case widen16:   return u64{2} << source.selector_bit;  // h01
        case byte_pair:                                        // b01
        case byte_lane: return u64{4} << source.selector_bit;  // b00
        default:        return 0;
    }
}
inline u32 bit(u64 word, unsigned bit) { return bit == 0 ? 0 : static_cast<u32>(word >> bit) & 1; }

/// A source or result that is taken as it is.
struct AsIs {
    explicit AsIs(const Op& /*op*/) {}
    u32 operator()(u32 word) const { return word; }
};

/// abs, then neg; also `invert`, which integers have.
template <valhall::Source kSource, Type kType>
struct Signs {
    static constexpr u32 kSignBits = kType == Type::f16 ? 0x8000'8000U : 0x8000'0000U;
    u32 keep;
    u32 flip;

    explicit Signs(const Op& op)
        : keep(~(bit(op.word, kSource.abs) * kSignBits)),
          flip(bit(op.word, kSource.neg) * kSignBits | (0 - bit(op.word, kSource.invert))) {}
    u32 operator()(u32 word) const { return (word & keep) ^ flip; }
};

/// Cuts one part of a register out and extends it.
template <bool kSigned>
struct Part {
    u32 left;
    u32 right;

    static Part half(u32 index) { return {16 - 16 * (index & 1), 16}; }
    static Part byte(u32 index) { return {24 - 8 * (index & 3), 24}; }
    static Part whole() { return {0, 0}; }
    u32 operator()(u32 word) const {
        if constexpr (kSigned)
            return static_cast<u32>(static_cast<i32>(word << left) >> right);
        else
            return word << left >> right;
    }
};

/// Parts that the values 0 to 13 of widen16 read, low element first, as digits; from 4 on they are bytes.
inline constexpr u8 kWiden16[16][2] = {{0, 0}, {1, 0}, {0, 1}, {1, 1}, {0, 0}, {2, 0}, {0, 2}, {2, 2},
                                       {1, 1}, {3, 1}, {1, 3}, {3, 3}, {0, 1}, {2, 3}, {0, 1}, {0, 1}};
/// The same of widen8.
inline constexpr u8 kWiden8[16][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {0, 1, 0, 1}, {2, 3, 2, 3},
                                      {0, 0, 0, 0}, {1, 1, 1, 1}, {2, 2, 2, 2}, {3, 3, 3, 3},
                                      {2, 3, 0, 1}, {1, 0, 3, 2}, {0, 0, 1, 1}, {2, 2, 3, 3},
                                      {0, 1, 2, 3}, {0, 1, 2, 3}, {0, 1, 2, 3}, {0, 1, 2, 3}};

/// Widen32, and what widen64 reads of one register.
template <bool kSigned>
inline Part<kSigned> widened_part(u32 value) {
    using P = Part<kSigned>;
    if (value == 2 || value == 3) return P::half(value - 2);
    if (value >= 4 && value <= 7) return P::byte(value - 4);
    return P::whole();
}

/// Which part of the register.
template <valhall::Selector kSelector, bool kSigned>
struct Select;

template <bool kSigned>
struct Select<valhall::Selector::none, kSigned> {
    explicit Select(u32 /*value*/) {}
    u32 operator()(u32 word) const { return word; }
};
template <bool kSigned>
struct Select<valhall::Selector::widen32, kSigned> {
    Part<kSigned> part;

    explicit Select(u32 value) : part(widened_part<kSigned>(value)) {}
    u32 operator()(u32 word) const { return part(word); }
};
template <bool kSigned>
struct Select<valhall::Selector::widen16, kSigned> {
    Part<kSigned> low;
    Part<kSigned> high;

    explicit Select(u32 value)
        : low(value < 4 ? Part<kSigned>::half(kWiden16[value][0]) : Part<kSigned>::byte(kWiden16[value][0])),
          high(value < 4 ? Part<kSigned>::half(kWiden16[value][1])
                         : Part<kSigned>::byte(kWiden16[value][1])) {}
    u32 operator()(u32 word) const { return (low(word) & 0xffff) | high(word) << 16; }
};
template <bool kSigned>
struct Select<valhall::Selector::swizzle16, kSigned> {
    u32 low;
    u32 high;

    explicit Select(u32 value) : low(16 * (value & 1)), high(16 * (value >> 1)) {}
    u32 operator()(u32 word) const { return (word >> low & 0xffff) | word >> high << 16; }
};
template <bool kSigned>
struct Select<valhall::Selector::widen8, kSigned> {
    u32 shift[4];

    explicit Select(u32 value)
        : shift{8U * kWiden8[value][0], 8U * kWiden8[value][1], 8U * kWiden8[value][2],
                8U * kWiden8[value][3]} {}
    u32 operator()(u32 word) const {
        return (word >> shift[0] & 0xff) | (word >> shift[1] & 0xff) << 8 | (word >> shift[2] & 0xff) << 16 |
               word >> shift[3] << 24;
    }
};
template <bool kSigned>
struct Select<valhall::Selector::byte_lane, kSigned> {
    u32 shift;

    explicit Select(u32 value) : shift(8 * (value & 3)) {}
    u32 operator()(u32 word) const { return word >> shift; }
};
template <bool kSigned>
struct Select<valhall::Selector::byte, kSigned> : Select<valhall::Selector::byte_lane, kSigned> {
    using Select<valhall::Selector::byte_lane, kSigned>::Select;
};
template <bool kSigned>
struct Select<valhall::Selector::half, kSigned> {
    u32 shift;

    explicit Select(u32 value) : shift(16 * (value & 1)) {}
    u32 operator()(u32 word) const { return word >> shift; }
};
template <bool kSigned>
struct Select<valhall::Selector::byte_pair, kSigned> {
    u32 low;
    u32 high;

    explicit Select(u32 value) : low(8 * (value & 3)), high(8 * (value >> 2)) {}
    u32 operator()(u32 word) const { return (word >> low & 0xff) | (word >> high & 0xff) << 8; }
};

inline u32 flush32(u32 word) { return where((word & kInfinity32) == 0, word & 0x80000000, word); }
inline u32 flush_half(u32 half) { return where((half & kInfinity16) == 0, half & 0x8000, half); }
inline u32 flush16(u32 word) { return U16::each(flush_half, word); }

/// Which subnormals become zeros. kModed: the program's FloatMode is not plain.
template <bool kModed>
struct Flush {
    u32 all_f32;  // masks
    u32 all_f16;

    explicit Flush(FloatMode mode)
        : all_f32(mask_of(mode.flushes_f32())), all_f16(mask_of(mode.flushes_f16())) {}

    template <Type kType>
    [[nodiscard]] u32 apply(u32 word) const {
        if constexpr (kModed && kType == Type::f32) return choose(all_f32, flush32(word), word);
        if constexpr (kModed && kType == Type::f16) return choose(all_f16, flush16(word), word);
        return word;
    }
};

/// A source with all its modifiers.
template <valhall::Source kSource, Type kType, bool kModed>
struct Load {
    Select<kSource.selector, kType == Type::sint> select;
    Flush<kModed> flush;
    Signs<kSource, kType> signs;

    explicit Load(const Op& op)
        : select(static_cast<u32>(op.word >> kSource.selector_bit) &
                 ((1U << valhall::form(kSource.selector).width) - 1)),
          flush(FloatMode::of_bits(op.float_mode)),
          signs(op) {}
    u32 operator()(u32 word) const { return signs(flush.template apply<kType>(select(word))); }
};

/// A float that can be half of a register.
template <valhall::Source kSource, Type kType, bool kModed>
    requires(kSource.selector == valhall::Selector::swizzle32)
struct Load<kSource, kType, kModed> {
    u32 whole;
    u32 shift;
    Flush<kModed> flush;
    Signs<kSource, kType> signs;

    explicit Load(const Op& op)
        : whole(mask_of((op.word >> kSource.selector_bit & 3) == 0)),
          shift((op.word >> kSource.selector_bit & 3) == 2 ? 16 : 0),
          flush(FloatMode::of_bits(op.float_mode)),
          signs(op) {}
    u32 operator()(u32 word) const {
        const u32 half = flush.template apply<Type::f16>(word >> shift & 0xffff);
        return signs(choose(whole, flush.template apply<Type::f32>(word), bits(widen_half(half))));
    }
};

// Results: clamp, after what the mode does to what was rounded.

/// clamp(x, lo, hi) = min(max(x, lo), hi) where NaN is less than anything and -0 less than +0.
struct Clamp32 {
    u32 on;
    float least;
    float most;

    explicit Clamp32(u32 clamp)
        : on(mask_of(clamp != 0)),
          least(clamp == 2 ? -1.0F : 0.0F),
          most(clamp == 1 ? f32(kInfinity32) : 1.0F) {}
    u32 operator()(u32 word) const {
        const float not_less = where(f32(word) > least, f32(word), least);
        const float not_more = where(not_less < most, not_less, most);
        return choose(on, bits(not_more), word);
    }
};
struct Clamp16 {
    u32 on;
    u32 least;
    u32 most;

    explicit Clamp16(u32 clamp)
        : on(mask_of(clamp != 0)), least(clamp == 2 ? 0xbc00 : 0), most(clamp == 1 ? kInfinity16 : 0x3c00) {}
    [[nodiscard]] u32 half(u32 value) const {
        const u32 bound = where(value >= 0x8000, least, most);
        const u32 number = where(value < bound, value, bound);  // of magnitudes
        return where((value & 0x7fff) > kInfinity16, least, number);
    }
    u32 operator()(u32 word) const {
        const u32 clamped = U16::each([this](u32 value) { return half(value); }, word);
        return choose(on, clamped, word);
    }
};

/// What FloatMode makes of a result. Masks.
struct Modes {
    Flush<true> flush;
    u32 no_nan;
    u32 no_infinity;

    explicit Modes(FloatMode mode)
        : flush(mode),
          no_nan(mask_of(mode.suppresses_nan())),
          no_infinity(mask_of(mode.suppresses_infinity())) {}

    [[nodiscard]] u32 f32(u32 word) const {
        const u32 magnitude = word & 0x7fffffff;
        const u32 finite =
            flush.apply<Type::f32>(word) - (mask_of(magnitude == kInfinity32) & no_infinity & 1);
        return finite & ~(mask_of(magnitude > kInfinity32) & no_nan);
    }
    [[nodiscard]] u32 half(u32 value) const {
        const u32 magnitude = value & 0x7fff;
        const u32 number = choose(flush.all_f16, flush_half(value), value);
        const u32 finite = number - (mask_of(magnitude == kInfinity16) & no_infinity & 1);
        return finite & ~(mask_of(magnitude > kInfinity16) & no_nan);
    }
};

template <valhall::Op kName, Type kType, bool kModed>
struct Result {
    static constexpr bool kHalves = kType == Type::f16;
    Modes modes;
    std::conditional_t<kHalves, Clamp16, Clamp32> clamp;

    explicit Result(const Op& op)
        : modes(FloatMode::of_bits(op.float_mode)),
          clamp(modifier<valhall::Mod::clamp>(Word<kName>{op.word})) {}
    u32 operator()(u32 word) const {
        if constexpr (kModed && kHalves)
            word = U16::each([this](u32 value) { return modes.half(value); }, word);
        if constexpr (kModed && !kHalves) word = modes.f32(word);
        return clamp(word);
    }
};

}  // namespace belfry::gpu::shader::BELFRY_SIMD
