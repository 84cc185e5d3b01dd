// Integer instructions: what each does to one lane.
#pragma once

#include "gpu/shader/alu_handler.hpp"

namespace belfry::gpu::shader::BELFRY_SIMD {

template <class E>
inline constexpr Type kTypeOf = E::kIsSigned ? Type::sint : Type::word;

/// As `value` if E has it, else the nearest that E has.
template <class E>
inline typename E::Value saturated(i64 value) {
    const i64 not_less = value < E::kLeast ? E::kLeast : value;
    return static_cast<typename E::Value>(not_less > E::kMost ? E::kMost : not_less);
}

// 32-bit sums without a wider type: two numbers overflow if their sum has another sign than both.
inline u32 add_saturated(u32 a, u32 b) { return a + b < a ? ~0U : a + b; }
inline i32 add_saturated(i32 a, i32 b) {
    const u32 sum = static_cast<u32>(a) + static_cast<u32>(b);
    const bool overflows = static_cast<i32>((static_cast<u32>(a) ^ sum) & (static_cast<u32>(b) ^ sum)) < 0;
    return overflows ? (a >> 31) ^ 0x7fffffff : static_cast<i32>(sum);
}
inline u32 subtract_saturated(u32 a, u32 b) { return a < b ? 0 : a - b; }
inline i32 subtract_saturated(i32 a, i32 b) {
    const u32 difference = static_cast<u32>(a) - static_cast<u32>(b);
    const bool overflows = static_cast<i32>((static_cast<u32>(a) ^ static_cast<u32>(b)) &
                                            (static_cast<u32>(a) ^ difference)) < 0;
    return overflows ? (a >> 31) ^ 0x7fffffff : static_cast<i32>(difference);
}

struct Mov : Signature<Type::word, Type::word> {
    u32 operator()(u32 a) const { return a; }
};
struct Not : Signature<Type::word, Type::word> {
    u32 operator()(u32 a) const { return ~a; }
};

/// kSaturates: to what E can be.
template <class E, bool kSaturates>
struct Iadd : Signature<Type::word, kTypeOf<E>, kTypeOf<E>> {
    u32 operator()(u32 a, u32 b) const {
        return E::each(
            [](auto x, auto y) {
                if constexpr (!kSaturates)
                    return static_cast<u32>(x) + static_cast<u32>(y);
                else if constexpr (E::kWidth == 32)
                    return add_saturated(x, y);
                else
                    return clamp_to(static_cast<i32>(x) + static_cast<i32>(y));
            },
            a, b);
    }
    static i32 clamp_to(i32 value) {
        return clamped(value, static_cast<i32>(E::kLeast), static_cast<i32>(E::kMost));
    }
};
template <class E, bool kSaturates>
struct Isub : Signature<Type::word, kTypeOf<E>, kTypeOf<E>> {
    u32 operator()(u32 a, u32 b) const {
        return E::each(
            [](auto x, auto y) {
                if constexpr (!kSaturates)
                    return static_cast<u32>(x) - static_cast<u32>(y);
                else if constexpr (E::kWidth == 32)
                    return subtract_saturated(x, y);
                else
                    return Iadd<E, true>::clamp_to(static_cast<i32>(x) - static_cast<i32>(y));
            },
            a, b);
    }
};
template <class E, bool kSaturates>
struct Imul : Signature<Type::word, kTypeOf<E>, kTypeOf<E>> {
    u32 operator()(u32 a, u32 b) const {
        return E::each(
            [](auto x, auto y) {
                if constexpr (!kSaturates)
                    return static_cast<u32>(x) * static_cast<u32>(y);
                else if constexpr (E::kWidth == 32 && !E::kIsSigned)
                    return u64{x} * y > 0xffffffff ? ~0U : x * y;
                else
                    return saturated<E>(i64{x} * i64{y});
            },
            a, b);
    }
};
/// (a + b) / 2, down, without overflow; kUp: up.
template <class E, bool kUp>
struct Hadd : Signature<Type::word, kTypeOf<E>, kTypeOf<E>> {
    u32 operator()(u32 a, u32 b) const {
        return E::each(
            [](auto x, auto y) {
                const auto half = static_cast<u32>((x ^ y) >> 1);
                return kUp ? static_cast<u32>(x | y) - half : static_cast<u32>(x & y) + half;
            },
            a, b);
    }
};
template <class E>
struct IaddImm : Signature<Type::word, Type::word> {
    u32 constant;

    template <valhall::Op kName>
    explicit IaddImm(Word<kName> word) : constant(modifier<valhall::Mod::constant>(word)) {}
    u32 operator()(u32 a) const {
        return E::each([](u32 x, u32 y) { return x + y; }, a, constant);
    }
};
template <class E>
struct Iabs : Signature<Type::word, kTypeOf<E>> {
    u32 operator()(u32 a) const {
        return E::each([](i32 x) { return x < 0 ? 0 - static_cast<u32>(x) : static_cast<u32>(x); }, a);
    }
};

inline u32 popcount(u32 a) {
    const u32 pairs = a - (a >> 1 & 0x55555555);
    const u32 nibbles = (pairs & 0x33333333) + (pairs >> 2 & 0x33333333);
    const u32 bytes = (nibbles + (nibbles >> 4)) & 0x0f0f0f0f;
    // Not by a product: a compiler would know it again and call for an instruction that vectors do not have.
    const u32 halves = bytes + (bytes >> 8);
    return (halves + (halves >> 16)) & 0x3f;
}
struct Popcount : Signature<Type::word, Type::word> {
    u32 operator()(u32 a) const { return popcount(a); }
};
template <class E>
struct Clz : Signature<Type::word, Type::word> {
    u32 operator()(u32 a) const {
        return E::each(
            [](u32 x) {
                x |= x >> 1;
                x |= x >> 2;
                x |= x >> 4;
                x |= x >> 8;
                x |= x >> 16;
                return E::kWidth - popcount(x);
            },
            a);
    }
};
struct Bitrev : Signature<Type::word, Type::word> {
    u32 operator()(u32 a) const {
        a = (a >> 1 & 0x55555555) | (a & 0x55555555) << 1;
        a = (a >> 2 & 0x33333333) | (a & 0x33333333) << 2;
        a = (a >> 4 & 0x0f0f0f0f) | (a & 0x0f0f0f0f) << 4;
        return __builtin_bswap32(a);
    }
};

enum class Logic : u8 { conjunction, disjunction, exclusion };
enum class Shift : u8 { left, right, right_signed };

template <Logic kLogic>
inline u32 logic(u32 a, u32 b) {
    return kLogic == Logic::conjunction ? a & b : kLogic == Logic::disjunction ? a | b : a ^ b;
}

/// (a shifted by b) op c, perhaps inverted. One amount for all elements, modulo their width.
template <class E, Shift kShift, Logic kLogic>
struct ShiftLogic : Signature<Type::word, Type::word, Type::word, Type::word> {
    u32 flip;

    template <valhall::Op kName>
    explicit ShiftLogic(Word<kName> word) : flip(0 - modifier<valhall::Mod::not_result>(word)) {}
    u32 operator()(u32 a, u32 b, u32 c) const {
        const u32 amount = b & (E::kWidth - 1);
        using Kind = Element<E::kWidth, kShift == Shift::right_signed>;
        const u32 shifted = Kind::each(
            [amount](auto x) {
                if constexpr (kShift == Shift::left)
                    return x << amount;
                else
                    return x >> amount;
            },
            a);
        return logic<kLogic>(shifted, c) ^ flip;
    }
};

struct MkvecHalves : Signature<Type::word, Type::word, Type::word> {
    u32 operator()(u32 a, u32 b) const { return (a & 0xffff) | b << 16; }
};
struct MkvecBytes : Signature<Type::word, Type::word, Type::word, Type::word> {
    u32 operator()(u32 a, u32 b, u32 c) const { return (a & 0xff) | (b & 0xff) << 8 | c << 16; }
};

/// a or b, as c says.
template <class E, valhall::Mux kMode>
struct Mux : Signature<Type::word, Type::word, Type::word, Type::word> {
    u32 operator()(u32 a, u32 b, u32 c) const {
        if constexpr (kMode == valhall::Mux::bit) return (a & c) | (b & ~c);
        return E::each(
            [](u32 x, u32 y, u32 by) {
                constexpr u32 kTop = 1U << (E::kWidth - 1);
                const u32 looked_at = kMode == valhall::Mux::neg       ? ~by & kTop
                                      : kMode == valhall::Mux::fp_zero ? by & (kTop - 1)
                                                                       : by;
                return where(looked_at == 0, x, y);
            },
            a, b, c);
    }
};

/// c + the sum of four products.
template <class Bytes, class Sum, bool kSaturates>
struct Idp : Signature<Type::word, Type::word, Type::word, Type::word> {
    u32 operator()(u32 a, u32 b, u32 c) const {
        using Value = typename Sum::Value;
        const Value products = Bytes::template get<0>(a) * Bytes::template get<0>(b) +
                               Bytes::template get<1>(a) * Bytes::template get<1>(b) +
                               Bytes::template get<2>(a) * Bytes::template get<2>(b) +
                               Bytes::template get<3>(a) * Bytes::template get<3>(b);
        if constexpr (kSaturates) return static_cast<u32>(add_saturated(static_cast<Value>(c), products));
        return c + static_cast<u32>(products);
    }
};

// Comparisons.

template <valhall::Cmp kCmp, class T>
inline bool compare(T a, T b) {
    using enum valhall::Cmp;
    switch (kCmp) {
        case eq: return a == b;
        case gt: return a > b;
        case ge: return a >= b;
        case ne: return a != b;
        case lt: return a < b;
        default: return a <= b;
    }
    return false;
}

/// A comparison that the word says: what it gives, as masks, for each way two numbers can lie.
struct AnyCmp {
    u32 less;
    u32 equal;
    u32 greater;
    u32 unordered;

    explicit AnyCmp(valhall::Cmp cmp) {
        using enum valhall::Cmp;
        less = mask_of(cmp == lt || cmp == le || cmp == ne || cmp == gtlt || cmp == total);
        equal = mask_of(cmp == eq || cmp == ge || cmp == le || cmp == total);
        greater = mask_of(cmp == gt || cmp == ge || cmp == ne || cmp == gtlt || cmp == total);
        unordered = mask_of(cmp == ne);
    }
    template <class T>
    u32 operator()(T a, T b) const {
        const u32 rest = where(a == b, equal, unordered);
        return where(a > b, greater, where(a < b, less, rest));
    }
};
/// The same of one that is known when we are compiled.
template <valhall::Cmp kCmp>
struct FixedCmp {
    explicit FixedCmp(valhall::Cmp /*cmp*/) {}
    template <class T>
    u32 operator()(T a, T b) const {
        return mask_of(compare<kCmp>(a, b));
    }
};
template <valhall::Op kName>
inline valhall::Cmp cmp_of(Word<kName> word) {
    return static_cast<valhall::Cmp>(modifier<valhall::Mod::cmp>(word));
}

/// What a comparison puts in place of "true", and how its result meets the third source.
struct Truth {
    u32 one;
    u32 conjunction;  // mask: and; else or

    template <class E, valhall::Op kName>
    static Truth of(Word<kName> word) {
        constexpr u32 kFloatOne = E::kWidth == 32 ? 0x3f800000 : E::kWidth == 16 ? 0x3c003c00 : 0x01010101;
        constexpr u32 kIntOne = E::kWidth == 32 ? 1 : E::kWidth == 16 ? 0x00010001 : 0x01010101;
        const auto type = static_cast<valhall::ResultType>(modifier<valhall::Mod::result_type>(word));
        const u32 one = type == valhall::ResultType::m1   ? ~0U
                        : type == valhall::ResultType::f1 ? kFloatOne
                                                          : kIntOne;
        return {one, mask_of((word.bits >> kRow<kName>.secondary_low & 1) != 0)};
    }
    [[nodiscard]] u32 result(u32 is_true, u32 other) const {
        const u32 value = is_true & one;
        return (value & other) | ((value ^ other) & ~conjunction);
    }
};
static_assert(kRow<valhall::Op::icmp_or_u32>.secondary == 0 &&
              kRow<valhall::Op::icmp_and_u32>.secondary == 1);

/// ICMP_OR and ICMP_AND.
template <class E, class C>
struct Icmp : Signature<Type::word, kTypeOf<E>, kTypeOf<E>, Type::word> {
    C compare;
    Truth truth;

    template <valhall::Op kName>
    explicit Icmp(Word<kName> word) : compare(cmp_of(word)), truth(Truth::of<E>(word)) {}
    u32 operator()(u32 a, u32 b, u32 c) const {
        return truth.result(E::each([this](auto x, auto y) { return compare(x, y); }, a, b), c);
    }
};

/// A comparison of many words: with the result type u1 that of the lowest words, else that of higher ones,
/// where c is what the lower words gave.
template <class E>
struct IcmpMulti : Signature<Type::word, kTypeOf<E>, kTypeOf<E>, Type::word> {
    AnyCmp compare;
    u32 if_equal;  // masks: what equal words mean, and what they mean if c is true
    u32 if_equal_so_far;
    u32 one;

    template <valhall::Op kName>
    explicit IcmpMulti(Word<kName> word) : compare(cmp_of(word)), one(Truth::of<E>(word).one) {
        const auto type = static_cast<valhall::ResultType>(modifier<valhall::Mod::result_type>(word));
        const bool lowest = type == valhall::ResultType::u1;
        if_equal = lowest ? compare.equal : 0;
        if_equal_so_far = lowest ? compare.equal : ~0U;
    }
    u32 operator()(u32 a, u32 b, u32 c) const {
        const auto x = static_cast<typename E::Value>(a);
        const auto y = static_cast<typename E::Value>(b);
        const u32 equal = where(c != 0, if_equal_so_far, if_equal);
        return where(x == y, equal, compare(x, y)) & one;
    }
};

template <class E, class C>
struct Csel : Signature<Type::word, Type::word, Type::word, Type::word, Type::word> {
    C compare;

    template <valhall::Op kName>
    explicit Csel(Word<kName> word) : compare(cmp_of(word)) {}
    u32 operator()(u32 a, u32 b, u32 c, u32 d) const {
        return choose(E::each([this](auto x, auto y) { return compare(x, y); }, a, b), c, d);
    }
};

// 64 bits. Sums are made of two sums of 32 bits, which suits vectors of 32-bit lanes; the rest is rare.

inline Pair add(Pair a, Pair b) {
    const u32 low = a.low + b.low;
    return {low, a.high + b.high - mask_of(low < a.low)};
}
inline Pair subtract(Pair a, Pair b) { return {a.low - b.low, a.high - b.high + mask_of(a.low < b.low)}; }

/// `kept` unless the sum or difference of numbers of signs as `a` overflows.
inline u64 saturated_pair(bool overflows, u64 a, u64 kept) {
    return overflows ? static_cast<u64>(static_cast<i64>(a) >> 63) ^ (~u64{0} >> 1) : kept;
}
template <bool kSigned>
inline constexpr Type kTypeOfPair = kSigned ? Type::sint : Type::word;

template <bool kSigned, bool kSaturates>
struct Iadd64 : Signature<Type::word, kTypeOfPair<kSigned>, kTypeOfPair<kSigned>> {
    Pair operator()(Pair a, Pair b) const {
        const Pair sum = add(a, b);
        if constexpr (!kSaturates) return sum;
        const u64 x = a.joined();
        const u64 y = b.joined();
        const u64 z = sum.joined();
        if constexpr (!kSigned) return Pair::of(z < x ? ~u64{0} : z);
        return Pair::of(saturated_pair(static_cast<i64>((x ^ z) & (y ^ z)) < 0, x, z));
    }
};
template <bool kSigned, bool kSaturates>
struct Isub64 : Signature<Type::word, kTypeOfPair<kSigned>, kTypeOfPair<kSigned>> {
    Pair operator()(Pair a, Pair b) const {
        const Pair difference = subtract(a, b);
        if constexpr (!kSaturates) return difference;
        const u64 x = a.joined();
        const u64 y = b.joined();
        const u64 z = difference.joined();
        if constexpr (!kSigned) return Pair::of(x < y ? 0 : z);
        return Pair::of(saturated_pair(static_cast<i64>((x ^ y) & (x ^ z)) < 0, x, z));
    }
};
/// a + (b << shift).
template <bool kSigned>
struct Shaddx : Signature<Type::word, Type::word, kTypeOfPair<kSigned>> {
    u32 shift;

    template <valhall::Op kName>
    explicit Shaddx(Word<kName> word) : shift(modifier<valhall::Mod::shift>(word)) {}
    Pair operator()(Pair a, Pair b) const {
        const u32 carried = b.low >> 1 >> (31 - shift);
        return add(a, {b.low << shift, b.high << shift | carried});
    }
};
struct Imuld : Signature<Type::word, Type::word, Type::word> {
    Pair operator()(Pair a, Pair b) const { return Pair::of(u64{a.low} * b.low); }
};
struct Not64 : Signature<Type::word, Type::word> {
    Pair operator()(Pair a) const { return {~a.low, ~a.high}; }
};
template <Shift kShift, Logic kLogic>
struct ShiftLogic64 : Signature<Type::word, Type::word, Type::word, Type::word> {
    u32 flip;

    template <valhall::Op kName>
    explicit ShiftLogic64(Word<kName> word) : flip(0 - modifier<valhall::Mod::not_result>(word)) {}
    Pair operator()(Pair a, Pair b, Pair c) const {
        const u32 amount = b.low & 63;
        const u64 shifted = kShift == Shift::left ? a.joined() << amount
                            : kShift == Shift::right
                                ? a.joined() >> amount
                                : static_cast<u64>(static_cast<i64>(a.joined()) >> amount);
        const Pair t = Pair::of(shifted);
        return {logic<kLogic>(t.low, c.low) ^ flip, logic<kLogic>(t.high, c.high) ^ flip};
    }
};

}  // namespace belfry::gpu::shader::BELFRY_SIMD
