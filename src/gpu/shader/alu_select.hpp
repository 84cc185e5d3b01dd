// Selection: from an instruction's name to its handler.
#pragma once

#include "gpu/shader/alu_float.hpp"
#include "gpu/shader/alu_integer.hpp"
#include "gpu/shader/alu_special.hpp"
#include "gpu/shader/alu_warp.hpp"

namespace belfry::gpu::shader::BELFRY_SIMD {

/// `If` where the word says kMod.
template <valhall::Op kName, class If, class Else, valhall::Mod kMod>
inline AluHandler pick_if(u64 word, FloatMode mode) {
    return modifier<kMod>(Word<kName>{word}) != 0 ? pick<kName, If>(word, mode)
                                                  : pick<kName, Else>(word, mode);
}
/// Sums and products, in the rounding mode of the word.
template <valhall::Op kName, class Nearest, class Directed>
inline AluHandler pick_rounded(u64 word, FloatMode mode) {
    return pick_if<kName, Directed, Nearest, valhall::Mod::round>(word, mode);
}
/// FMA with -0 as its last source, which is how a product is written: adding that changes nothing, and the
/// product is rounded once.
static_assert(valhall::kConstantTable[0] == 0 && valhall::kConstantTable[0xd5 - 0xc0] == 0);
template <valhall::Op kName, class Product, class Nearest, class Directed>
inline AluHandler pick_product(u64 word, FloatMode mode) {
    constexpr valhall::Source kLast = kRow<kName>.sources_[2];
    const u32 last = static_cast<u32>(word >> kLast.bit) & 0xff;
    const bool zero = last == 0xc0 || last == 0xd5;  // in the table of constants
    if (zero && bit(word, kLast.neg) != 0 && modifier<valhall::Mod::round>(Word<kName>{word}) == 0)
        return pick<kName, Product>(word, mode);
    return pick_rounded<kName, Nearest, Directed>(word, mode);
}
/// Conversions, which have a handler of their own for the mode kUsual.
template <valhall::Op kName, valhall::Round kUsual, template <class> class T>
inline AluHandler pick_conversion(u64 word, FloatMode mode) {
    using Fixed = T<RoundedBy<static_cast<u32>(kUsual)>>;
    const bool usual = modifier<valhall::Mod::round>(Word<kName>{word}) == static_cast<u32>(kUsual);
    return usual ? pick<kName, Fixed, T<Rounded>>(word, mode) : pick<kName, T<Rounded>>(word, mode);
}
template <class E>
struct ConversionOf {
    template <class R>
    using ToF32 = IntegerToF32<E, R>;
    template <class R>
    using FromF32 = F32ToInteger<E::kIsSigned, R>;
};
template <valhall::Op kName, template <class, bool> class T, class E>
inline AluHandler pick_saturating(u64 word, FloatMode mode) {
    return pick_if<kName, T<E, true>, T<E, false>, valhall::Mod::saturate>(word, mode);
}
template <valhall::Op kName, class If, class Else>
inline AluHandler pick_pair_if(bool condition) {
    return condition ? pick_pair<kName, If>() : pick_pair<kName, Else>();
}

/// T<comparison>; with modifiers, T<AnyCmp>.
template <valhall::Op kName, template <class> class T>
inline AluHandler pick_comparison(u64 word, FloatMode mode) {
    using enum valhall::Cmp;
    using Any = T<AnyCmp>;
    switch (cmp_of(Word<kName>{word})) {
        case eq:    return pick<kName, T<FixedCmp<eq>>, Any>(word, mode);
        case gt:    return pick<kName, T<FixedCmp<gt>>, Any>(word, mode);
        case ge:    return pick<kName, T<FixedCmp<ge>>, Any>(word, mode);
        case ne:    return pick<kName, T<FixedCmp<ne>>, Any>(word, mode);
        case lt:    return pick<kName, T<FixedCmp<lt>>, Any>(word, mode);
        case le:    return pick<kName, T<FixedCmp<le>>, Any>(word, mode);
        case gtlt:
        case total: break;
    }
    // Integers do not have these.
    if constexpr (Any::kFloats) return pick<kName, Any>(word, mode);
    return nullptr;
}
template <class E>
struct Integers {
    template <class C>
    using IcmpBy = Icmp<E, C>;
    template <class C>
    using CselBy = Csel<E, C>;
};
template <bool kHalves>
struct Floats {
    template <class C>
    using FcmpBy = Fcmp<kHalves, C>;
    template <class C>
    using CselBy = FloatCsel<kHalves, C>;
};

template <valhall::Op kName, class E>
inline AluHandler pick_mux(u64 word, FloatMode mode) {
    using enum valhall::Mux;
    switch (static_cast<valhall::Mux>(modifier<valhall::Mod::mux>(Word<kName>{word}))) {
        case neg:      return pick<kName, Mux<E, neg>>(word, mode);
        case int_zero: return pick<kName, Mux<E, int_zero>>(word, mode);
        case fp_zero:  return pick<kName, Mux<E, fp_zero>>(word, mode);
        case bit:      return pick<kName, Mux<E, bit>>(word, mode);
    }
    return nullptr;
}
template <valhall::Op kName, class E, Logic kLogic>
inline AluHandler pick_right_shift(u64 word, FloatMode mode) {
    return pick_if<kName, ShiftLogic<E, Shift::right_signed, kLogic>, ShiftLogic<E, Shift::right, kLogic>,
                   valhall::Mod::is_signed>(word, mode);
}
template <valhall::Op kName, Logic kLogic>
inline AluHandler pick_right_shift64(u64 word) {
    return pick_pair_if<kName, ShiftLogic64<Shift::right_signed, kLogic>, ShiftLogic64<Shift::right, kLogic>>(
        modifier<valhall::Mod::is_signed>(Word<kName>{word}) != 0);
}
template <valhall::Op kName>
inline AluHandler pick_clper(u64 word) {
    // What the others do is not known.
    const auto lane_op = static_cast<valhall::LaneOp>(modifier<valhall::Mod::lane_op>(Word<kName>{word}));
    const bool known = lane_op == valhall::LaneOp::none || lane_op == valhall::LaneOp::exclusive_or;
    return known ? run_clper<kName> : nullptr;
}

AluHandler handler(valhall::Op name, u64 word, FloatMode mode) {
    using enum valhall::Op;
    using enum Logic;
    using enum valhall::Round;
    using I = valhall::Op;
    switch (name) {
        case mov_i32:      return pick<I::mov_i32, Mov>(word, mode);
        case not_old_i32:  return pick<I::not_old_i32, Not>(word, mode);
        case clz_u32:      return pick<I::clz_u32, Clz<U32>>(word, mode);
        case clz_v2u16:    return pick<I::clz_v2u16, Clz<U16>>(word, mode);
        case clz_v4u8:     return pick<I::clz_v4u8, Clz<U8>>(word, mode);
        case iabs_s32:     return pick<I::iabs_s32, Iabs<S32>>(word, mode);
        case iabs_v2s16:   return pick<I::iabs_v2s16, Iabs<S16>>(word, mode);
        case iabs_v4s8:    return pick<I::iabs_v4s8, Iabs<S8>>(word, mode);
        case popcount_i32: return pick<I::popcount_i32, Popcount>(word, mode);
        case bitrev_i32:   return pick<I::bitrev_i32, Bitrev>(word, mode);
        case iadd_u32:     return pick_saturating<I::iadd_u32, Iadd, U32>(word, mode);
        case iadd_v2u16:   return pick_saturating<I::iadd_v2u16, Iadd, U16>(word, mode);
        case iadd_v4u8:    return pick_saturating<I::iadd_v4u8, Iadd, U8>(word, mode);
        case iadd_s32:     return pick_saturating<I::iadd_s32, Iadd, S32>(word, mode);
        case iadd_v2s16:   return pick_saturating<I::iadd_v2s16, Iadd, S16>(word, mode);
        case iadd_v4s8:    return pick_saturating<I::iadd_v4s8, Iadd, S8>(word, mode);
        case isub_u32:     return pick_saturating<I::isub_u32, Isub, U32>(word, mode);
        case isub_v2u16:   return pick_saturating<I::isub_v2u16, Isub, U16>(word, mode);
        case isub_v4u8:    return pick_saturating<I::isub_v4u8, Isub, U8>(word, mode);
        case isub_s32:     return pick_saturating<I::isub_s32, Isub, S32>(word, mode);
        case isub_v2s16:   return pick_saturating<I::isub_v2s16, Isub, S16>(word, mode);
        case isub_v4s8:    return pick_saturating<I::isub_v4s8, Isub, S8>(word, mode);
        case imul_i32:     return pick_saturating<I::imul_i32, Imul, U32>(word, mode);
        case imul_v2i16:   return pick_saturating<I::imul_v2i16, Imul, U16>(word, mode);
        case imul_v4i8:    return pick_saturating<I::imul_v4i8, Imul, U8>(word, mode);
        case imul_s32:     return pick_saturating<I::imul_s32, Imul, S32>(word, mode);
        case imul_v2s16:   return pick_saturating<I::imul_v2s16, Imul, S16>(word, mode);
        case imul_v4s8:    return pick_saturating<I::imul_v4s8, Imul, S8>(word, mode);
        case hadd_u32:
            return pick_if<I::hadd_u32, Hadd<U32, true>, Hadd<U32, false>, valhall::Mod::rhadd>(word, mode);
        case hadd_v2u16:
            return pick_if<I::hadd_v2u16, Hadd<U16, true>, Hadd<U16, false>, valhall::Mod::rhadd>(word, mode);
        case hadd_v4u8:
            return pick_if<I::hadd_v4u8, Hadd<U8, true>, Hadd<U8, false>, valhall::Mod::rhadd>(word, mode);
        case hadd_s32:
            return pick_if<I::hadd_s32, Hadd<S32, true>, Hadd<S32, false>, valhall::Mod::rhadd>(word, mode);
        case hadd_v2s16:
            return pick_if<I::hadd_v2s16, Hadd<S16, true>, Hadd<S16, false>, valhall::Mod::rhadd>(word, mode);
        case hadd_v4s8:
            return pick_if<I::hadd_v4s8, Hadd<S8, true>, Hadd<S8, false>, valhall::Mod::rhadd>(word, mode);
        case iadd_imm_i32:   return pick<I::iadd_imm_i32, IaddImm<U32>>(word, mode);
        case iadd_imm_v2i16: return pick<I::iadd_imm_v2i16, IaddImm<U16>>(word, mode);
        case iadd_imm_v4i8:  return pick<I::iadd_imm_v4i8, IaddImm<U8>>(word, mode);
        case lshift_and_i32:
            return pick<I::lshift_and_i32, ShiftLogic<U32, Shift::left, conjunction>>(word, mode);
        case rshift_and_i32: return pick_right_shift<I::rshift_and_i32, U32, conjunction>(word, mode);
        case lshift_and_v2i16:
            return pick<I::lshift_and_v2i16, ShiftLogic<U16, Shift::left, conjunction>>(word, mode);
        case rshift_and_v2i16: return pick_right_shift<I::rshift_and_v2i16, U16, conjunction>(word, mode);
        case lshift_and_v4i8:
            return pick<I::lshift_and_v4i8, ShiftLogic<U8, Shift::left, conjunction>>(word, mode);
        case rshift_and_v4i8: return pick_right_shift<I::rshift_and_v4i8, U8, conjunction>(word, mode);
        case lshift_and_i64:  return pick_pair<I::lshift_and_i64, ShiftLogic64<Shift::left, conjunction>>();
        case rshift_and_i64:  return pick_right_shift64<I::rshift_and_i64, conjunction>(word);
        case lshift_or_i32:
            return pick<I::lshift_or_i32, ShiftLogic<U32, Shift::left, disjunction>>(word, mode);
        case rshift_or_i32: return pick_right_shift<I::rshift_or_i32, U32, disjunction>(word, mode);
        case lshift_or_v2i16:
            return pick<I::lshift_or_v2i16, ShiftLogic<U16, Shift::left, disjunction>>(word, mode);
        case rshift_or_v2i16: return pick_right_shift<I::rshift_or_v2i16, U16, disjunction>(word, mode);
        case lshift_or_v4i8:
            return pick<I::lshift_or_v4i8, ShiftLogic<U8, Shift::left, disjunction>>(word, mode);
        case rshift_or_v4i8: return pick_right_shift<I::rshift_or_v4i8, U8, disjunction>(word, mode);
        case lshift_or_i64:  return pick_pair<I::lshift_or_i64, ShiftLogic64<Shift::left, disjunction>>();
        case rshift_or_i64:  return pick_right_shift64<I::rshift_or_i64, disjunction>(word);
        case lshift_xor_i32:
            return pick<I::lshift_xor_i32, ShiftLogic<U32, Shift::left, exclusion>>(word, mode);
        case rshift_xor_i32: return pick_right_shift<I::rshift_xor_i32, U32, exclusion>(word, mode);
        case lshift_xor_v2i16:
            return pick<I::lshift_xor_v2i16, ShiftLogic<U16, Shift::left, exclusion>>(word, mode);
        case rshift_xor_v2i16: return pick_right_shift<I::rshift_xor_v2i16, U16, exclusion>(word, mode);
        case lshift_xor_v4i8:
            return pick<I::lshift_xor_v4i8, ShiftLogic<U8, Shift::left, exclusion>>(word, mode);
        case rshift_xor_v4i8: return pick_right_shift<I::rshift_xor_v4i8, U8, exclusion>(word, mode);
        case lshift_xor_i64:  return pick_pair<I::lshift_xor_i64, ShiftLogic64<Shift::left, exclusion>>();
        case rshift_xor_i64:  return pick_right_shift64<I::rshift_xor_i64, exclusion>(word);
        case mkvec_v2i16:     return pick<I::mkvec_v2i16, MkvecHalves>(word, mode);
        case mkvec_v2i8:      return pick<I::mkvec_v2i8, MkvecBytes>(word, mode);
        case mux_i32:         return pick_mux<I::mux_i32, U32>(word, mode);
        case mux_v2i16:       return pick_mux<I::mux_v2i16, U16>(word, mode);
        case mux_v4i8:        return pick_mux<I::mux_v4i8, U8>(word, mode);
        case idp_v4s8:
            return pick_if<I::idp_v4s8, Idp<S8, S32, true>, Idp<S8, S32, false>, valhall::Mod::saturate>(
                word, mode);
        case idp_v4u8:
            return pick_if<I::idp_v4u8, Idp<U8, U32, true>, Idp<U8, U32, false>, valhall::Mod::saturate>(
                word, mode);
        case icmp_or_u32: return pick_comparison<I::icmp_or_u32, Integers<U32>::template IcmpBy>(word, mode);
        case icmp_or_v2u16:
            return pick_comparison<I::icmp_or_v2u16, Integers<U16>::template IcmpBy>(word, mode);
        case icmp_or_v4u8: return pick_comparison<I::icmp_or_v4u8, Integers<U8>::template IcmpBy>(word, mode);
        case icmp_or_s32:  return pick_comparison<I::icmp_or_s32, Integers<S32>::template IcmpBy>(word, mode);
        case icmp_or_v2s16:
            return pick_comparison<I::icmp_or_v2s16, Integers<S16>::template IcmpBy>(word, mode);
        case icmp_or_v4s8: return pick_comparison<I::icmp_or_v4s8, Integers<S8>::template IcmpBy>(word, mode);
        case icmp_and_u32: return pick_comparison<I::icmp_or_u32, Integers<U32>::template IcmpBy>(word, mode);
        case icmp_and_v2u16:
            return pick_comparison<I::icmp_or_v2u16, Integers<U16>::template IcmpBy>(word, mode);
        case icmp_and_v4u8:
            return pick_comparison<I::icmp_or_v4u8, Integers<U8>::template IcmpBy>(word, mode);
        case icmp_and_s32: return pick_comparison<I::icmp_or_s32, Integers<S32>::template IcmpBy>(word, mode);
        case icmp_and_v2s16:
            return pick_comparison<I::icmp_or_v2s16, Integers<S16>::template IcmpBy>(word, mode);
        case icmp_and_v4s8:
            return pick_comparison<I::icmp_or_v4s8, Integers<S8>::template IcmpBy>(word, mode);
        case icmp_multi_u32: return pick<I::icmp_multi_u32, IcmpMulti<U32>>(word, mode);
        case icmp_multi_s32: return pick<I::icmp_multi_s32, IcmpMulti<S32>>(word, mode);
        case csel_u32:       return pick_comparison<I::csel_u32, Integers<U32>::template CselBy>(word, mode);
        case csel_v2u16:     return pick_comparison<I::csel_v2u16, Integers<U16>::template CselBy>(word, mode);
        case csel_s32:       return pick_comparison<I::csel_s32, Integers<S32>::template CselBy>(word, mode);
        case csel_v2s16:     return pick_comparison<I::csel_v2s16, Integers<S16>::template CselBy>(word, mode);
        case csel_f32:       return pick_comparison<I::csel_f32, Floats<false>::template CselBy>(word, mode);
        case csel_v2f16:     return pick_comparison<I::csel_v2f16, Floats<true>::template CselBy>(word, mode);
        case fcmp_or_f32:    return pick_comparison<I::fcmp_or_f32, Floats<false>::template FcmpBy>(word, mode);
        case fcmp_or_v2f16:
            return pick_comparison<I::fcmp_or_v2f16, Floats<true>::template FcmpBy>(word, mode);
        case fcmp_and_f32: return pick_comparison<I::fcmp_or_f32, Floats<false>::template FcmpBy>(word, mode);
        case fcmp_and_v2f16:
            return pick_comparison<I::fcmp_or_v2f16, Floats<true>::template FcmpBy>(word, mode);
        case iadd_u64:
            return pick_pair_if<I::iadd_u64, Iadd64<false, true>, Iadd64<false, false>>(
                modifier<valhall::Mod::saturate>(Word<I::iadd_u64>{word}) != 0);
        case iadd_s64:
            return pick_pair_if<I::iadd_s64, Iadd64<true, true>, Iadd64<true, false>>(
                modifier<valhall::Mod::saturate>(Word<I::iadd_s64>{word}) != 0);
        case isub_u64:
            return pick_pair_if<I::isub_u64, Isub64<false, true>, Isub64<false, false>>(
                modifier<valhall::Mod::saturate>(Word<I::isub_u64>{word}) != 0);
        case isub_s64:
            return pick_pair_if<I::isub_s64, Isub64<true, true>, Isub64<true, false>>(
                modifier<valhall::Mod::saturate>(Word<I::isub_s64>{word}) != 0);
        case shaddx_u64:     return pick_pair<I::shaddx_u64, Shaddx<false>>();
        case shaddx_s64:     return pick_pair<I::shaddx_s64, Shaddx<true>>();
        case imuld_u64:      return pick_pair<I::imuld_u64, Imuld>();
        case not_old_i64:    return pick_pair<I::not_old_i64, Not64>();
        case fadd_f32:       return pick_rounded<I::fadd_f32, Fadd32, Fadd32Directed>(word, mode);
        case fma_f32:        return pick_product<I::fma_f32, Fmul32, Fma32, Fma32Directed>(word, mode);
        case fadd_imm_f32:   return pick<I::fadd_imm_f32, FaddImm32>(word, mode);
        case fmin_f32:       return pick<I::fmin_f32, Fminmax32<false>>(word, mode);
        case fmax_f32:       return pick<I::fmax_f32, Fminmax32<true>>(word, mode);
        case fround_f32:     return pick<I::fround_f32, Fround32>(word, mode);
        case flush_f32:      return pick<I::flush_f32, Flush32>(word, mode);
        case frexpm_f32:     return pick<I::frexpm_f32, Frexpm32>(word, mode);
        case frexpe_f32:     return pick<I::frexpe_f32, Frexpe32>(word, mode);
        case ldexp_f32:      return pick<I::ldexp_f32, Ldexp32>(word, mode);
        case fadd_v2f16:     return pick_rounded<I::fadd_v2f16, Fadd16, Fadd16Directed>(word, mode);
        case fma_v2f16:      return pick_product<I::fma_v2f16, Fmul16, Fma16, Fma16Directed>(word, mode);
        case fadd_imm_v2f16: return pick<I::fadd_imm_v2f16, FaddImm16>(word, mode);
        case fmin_v2f16:     return pick<I::fmin_v2f16, Fminmax16<false>>(word, mode);
        case fmax_v2f16:     return pick<I::fmax_v2f16, Fminmax16<true>>(word, mode);
        case fround_v2f16:   return pick<I::fround_v2f16, Fround16>(word, mode);
        case flush_v2f16:    return pick<I::flush_v2f16, Flush16>(word, mode);
        case frexpm_v2f16:   return pick<I::frexpm_v2f16, Frexpm16>(word, mode);
        case frexpe_v2f16:   return pick<I::frexpe_v2f16, Frexpe16>(word, mode);
        case ldexp_v2f16:    return pick<I::ldexp_v2f16, Ldexp16>(word, mode);
        case frcp_f32:       return pick<I::frcp_f32, Frcp32>(word, mode);
        case frsq_f32:       return pick<I::frsq_f32, Frsq32>(word, mode);
        case frcp_f16:       return pick<I::frcp_f16, Frcp16>(word, mode);
        case frsq_f16:       return pick<I::frsq_f16, Frsq16>(word, mode);
        case v2s16_to_v2f16: return pick<I::v2s16_to_v2f16, IntegersToHalves<S16>>(word, mode);
        case v2u16_to_v2f16: return pick<I::v2u16_to_v2f16, IntegersToHalves<U16>>(word, mode);
        case s32_to_f32:
            return pick_conversion<I::s32_to_f32, rte, ConversionOf<S32>::template ToF32>(word, mode);
        case u32_to_f32:
            return pick_conversion<I::u32_to_f32, rte, ConversionOf<U32>::template ToF32>(word, mode);
        case s16_to_s32: return pick<I::s16_to_s32, Extend32<S16>>(word, mode);
        case u16_to_u32: return pick<I::u16_to_u32, Extend32<U16>>(word, mode);
        case s8_to_s32:  return pick<I::s8_to_s32, Extend32<S8>>(word, mode);
        case u8_to_u32:  return pick<I::u8_to_u32, Extend32<U8>>(word, mode);
        case s16_to_f32: return pick<I::s16_to_f32, SmallToF32<S16>>(word, mode);
        case u16_to_f32: return pick<I::u16_to_f32, SmallToF32<U16>>(word, mode);
        case s8_to_f32:  return pick<I::s8_to_f32, SmallToF32<S8>>(word, mode);
        case u8_to_f32:  return pick<I::u8_to_f32, SmallToF32<U8>>(word, mode);
        case f32_to_s32:
            return pick_conversion<I::f32_to_s32, rtz, ConversionOf<S32>::template FromF32>(word, mode);
        case f32_to_u32:
            return pick_conversion<I::f32_to_u32, rtz, ConversionOf<U32>::template FromF32>(word, mode);
        case f16_to_s32:      return pick<I::f16_to_s32, F16ToInteger<true>>(word, mode);
        case f16_to_u32:      return pick<I::f16_to_u32, F16ToInteger<false>>(word, mode);
        case v2f16_to_v2s16:  return pick<I::v2f16_to_v2s16, HalvesToIntegers<true>>(word, mode);
        case v2f16_to_v2u16:  return pick<I::v2f16_to_v2u16, HalvesToIntegers<false>>(word, mode);
        case f16_to_f32:      return pick<I::f16_to_f32, F16ToF32>(word, mode);
        case v2f32_to_v2f16:  return pick_conversion<I::v2f32_to_v2f16, rte, F32sToHalves>(word, mode);
        case v2s8_to_v2s16:   return pick<I::v2s8_to_v2s16, BytesToShorts<S8>>(word, mode);
        case v2u8_to_v2u16:   return pick<I::v2u8_to_v2u16, BytesToShorts<U8>>(word, mode);
        case v2s8_to_v2f16:   return pick<I::v2s8_to_v2f16, BytesToHalves<S8>>(word, mode);
        case v2u8_to_v2f16:   return pick<I::v2u8_to_v2f16, BytesToHalves<U8>>(word, mode);
        case flogd_f32:       return pick<I::flogd_f32, Flogd>(word, mode);
        case fadd_lscale_f32: return pick<I::fadd_lscale_f32, FaddLscale>(word, mode);
        case fexp_f32:        return pick<I::fexp_f32, Fexp>(word, mode);
        case fsin_table_u6:   return pick<I::fsin_table_u6, FsinTable<0>>(word, mode);
        case fcos_table_u6:   return pick<I::fcos_table_u6, FsinTable<16>>(word, mode);
        case fma_rscale_f32:  return pick<I::fma_rscale_f32, FmaRscale<Rscale::plain>>(word, mode);
        case fma_rscale_n_f32:
            return pick<I::fma_rscale_n_f32, FmaRscale<Rscale::zero_times_all_is_zero>>(word, mode);
        case fma_rscale_left_f32:
            return pick<I::fma_rscale_left_f32, FmaRscale<Rscale::zero_times_all_is_left>>(word, mode);
        case fma_rscale_scale16_f32:
            return pick<I::fma_rscale_scale16_f32, FmaRscale<Rscale::scale16>>(word, mode);
        case cubeface1:    return pick<I::cubeface1, Cubeface1>(word, mode);
        case cubeface2_v9: return pick<I::cubeface2_v9, Cubeface2>(word, mode);
        case cube_ssel:    return pick<I::cube_ssel, CubeSsel>(word, mode);
        case cube_tsel:    return pick<I::cube_tsel, CubeTsel>(word, mode);
        case clper_i32:    return pick_clper<I::clper_i32>(word);
        case clper_v2u16:  return pick_clper<I::clper_v2u16>(word);
        case clper_v4u8:   return pick_clper<I::clper_v4u8>(word);
        case clper_s32:    return pick_clper<I::clper_s32>(word);
        case clper_v2s16:  return pick_clper<I::clper_v2s16>(word);
        case clper_v4s8:   return pick_clper<I::clper_v4s8>(word);
        case clper_u64:    return pick_clper<I::clper_u64>(word);
        case clper_s64:    return pick_clper<I::clper_s64>(word);
        case wmask:        return run_wmask<I::wmask>;
        default:           return nullptr;
    }
}

}  // namespace belfry::gpu::shader::BELFRY_SIMD
