// The words that Valhall shader instructions are made of: operations, modifiers, and the values of each.
//
// valhall.hpp says where in an instruction they lie. Numbers are those of the encoding, on v9 and v10;
// sources and guesses are in docs/hardware/valhall-isa.md. A name that is empty marks a value that is not
// defined.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace belfry::valhall {

// clang-format off
/// Operations: one a row of kRows, in its order.
enum class Op : std::uint16_t {
    nop, branchz, discard_f32, branchzi, barrier, ld_gclk_u64, csel_f32, csel_v2f16, csel_u32,
    csel_v2u16, csel_s32, csel_v2s16, ld_var_special, ld_var_buf_imm_f32, ld_var_buf_imm_f16,
    ld_var_buf_f32, ld_var_buf_f16, ld_var, ld_var_imm, ld_var_flat, ld_var_flat_imm, ld_attr_imm,
    ld_attr, ld_tex_imm, ld_tex, lea_attr_imm, lea_attr, lea_tex_imm, lea_tex, ld_buffer_i8,
    ld_buffer_i16, ld_buffer_i24, ld_buffer_i32, ld_buffer_i48, ld_buffer_i64, ld_buffer_i96,
    ld_buffer_i128, lea_buf_imm, load_i8, load_i16, load_i24, load_i32, load_i48, load_i64, load_i96,
    load_i128, store_i8, store_i16, store_i24, store_i32, store_i48, store_i64, store_i96, store_i128,
    lea_buffer, st_cvt, ld_tile, st_tile, blend, atest, zs_emit, v2s16_to_v2f16, s32_to_f32,
    v2u16_to_v2f16, u32_to_f32, s16_to_s32, s16_to_f32, u16_to_u32, u16_to_f32, f32_to_s32, f32_to_u32,
    v2f16_to_v2s16, v2f16_to_v2u16, fround_f32, fround_v2f16, f16_to_s32, f16_to_u32, f16_to_f32,
    s8_to_s32, s8_to_f32, u8_to_u32, u8_to_f32, v2s8_to_v2s16, v2s8_to_v2f16, v2u8_to_v2u16,
    v2u8_to_v2f16, mov_i32, clz_u32, clz_v4u8, clz_v2u16, iabs_s32, iabs_v2s16, iabs_v4s8, popcount_i32,
    bitrev_i32, not_old_i32, not_old_i64, wmask, flush_f32, flush_v2f16, frexpm_f32, frexpm_v2f16,
    frexpe_f32, frexpe_v2f16, frcp_f32, frcp_f16, frsq_f32, frsq_f16, flogd_f32, fpclass_f32,
    fpclass_f16, flog_table_f32, frcp_approx_f32, frsq_approx_f32, fsin_table_u6, fcos_table_u6,
    fsincos_offset_u6, fexp_table_u4, fadd_f32, fadd_v2f16, fmin_f32, fmin_v2f16, fmax_f32, fmax_v2f16,
    v2f32_to_v2f16, ldexp_f32, ldexp_v2f16, fexp_f32, fadd_lscale_f32, fatan_assist_f32, iadd_u32,
    iadd_v2u16, iadd_v4u8, iadd_s32, iadd_v2s16, iadd_v4s8, iadd_u64, iadd_s64, mkvec_v2i16, isub_u32,
    isub_v2u16, isub_v4u8, isub_s32, isub_v2s16, isub_v4s8, isub_u64, isub_s64, seg_add_u64, shaddx_u64,
    shaddx_s64, imul_i32, imul_v2i16, imul_v4i8, imul_s32, imul_v2s16, imul_v4s8, imuld_u64, hadd_u32,
    hadd_v2u16, hadd_v4u8, hadd_s32, hadd_v2s16, hadd_v4s8, clper_i32, clper_v2u16, clper_v4u8,
    clper_s32, clper_v2s16, clper_v4s8, clper_u64, clper_s64, fma_f32, fma_v2f16, lshift_and_i32,
    lshift_and_v2i16, lshift_and_v4i8, lshift_and_i64, rshift_and_i32, rshift_and_v2i16,
    rshift_and_v4i8, rshift_and_i64, lshift_or_i32, lshift_or_v2i16, lshift_or_v4i8, lshift_or_i64,
    rshift_or_i32, rshift_or_v2i16, rshift_or_v4i8, rshift_or_i64, lshift_xor_i32, lshift_xor_v2i16,
    lshift_xor_v4i8, lshift_xor_i64, rshift_xor_i32, rshift_xor_v2i16, rshift_xor_v4i8, rshift_xor_i64,
    mux_i32, mux_v4i8, mux_v2i16, cube_ssel, cube_tsel, mkvec_v2i8, cubeface1, cubeface2_v9, idp_v4s8,
    idp_v4u8, icmp_or_u32, icmp_or_v2u16, icmp_or_v4u8, icmp_or_s32, icmp_or_v2s16, icmp_or_v4s8,
    icmp_and_u32, icmp_and_v2u16, icmp_and_v4u8, icmp_and_s32, icmp_and_v2s16, icmp_and_v4s8,
    fcmp_or_f32, fcmp_or_v2f16, fcmp_and_f32, fcmp_and_v2f16, icmp_multi_u32, icmp_multi_s32,
    iadd_imm_i32, iadd_imm_v2i16, iadd_imm_v4i8, fadd_imm_f32, fadd_imm_v2f16, atom1_return_i32,
    atom1_return_i64, atom_i32, atom_i64, atom_return_i32, atom_return_i64, tex_fetch, tex_single,
    tex_gather, tex_gradient, tex_dual, var_tex_buf_single, var_tex_single, var_tex_buf_gather,
    var_tex_gather, var_tex_buf_gradient, var_tex_gradient, var_tex_buf_dual, var_tex_dual,
    fma_rscale_f32, fma_rscale_n_f32, fma_rscale_left_f32, fma_rscale_scale16_f32,
};
inline constexpr std::size_t kOps = 253;

/// Modifiers and immediates by their meaning.
enum class Mod : std::uint8_t {
    // Of arithmetic.
    absolute, clamp, cmp, conservative, constant, eq, flush_inf, ftz, inactive_result, is_signed, lane_op,
    log, mux, nan_mode, neg, not_result, offset, preserve_null, result_type, rhadd, round, saturate,
    second, shift, sqrt, subgroup,
    // Of messages. A count is that of the staging registers; wcnt one less than that of those written.
    atom, atom1, cnt, compare, index, is_unsigned, ldlane, mem, regfmt, sample, slot, source,
    source_format, stencil, table, target, update, vec, wcnt, z, z_stencil,
    // Of textures.
    array_enable, derivative_enable, dimension, dual_register_width, fetch_component, force_delta,
    integer_coordinates, lod_bias_disable, lod_clamp_disable, lod_mode, register_type, register_width,
    sample_update, shadow, skip, texel_offset, varying_width, wide_indices, write_mask,
};
inline constexpr std::size_t kMods = 66;

// Selectors of sources: which part of the register is read. The first digit selects for the lowest element.
enum class Swizzle32 : std::uint8_t { none, h0, h1 };
enum class Swizzle16 : std::uint8_t { h00, h10, h01, h11 };
enum class Widen8 : std::uint8_t {
    b0123, b3210, b0101, b2323, b0000, b1111, b2222, b3333, b2301, b1032, b0011, b2233,
};
enum class Widen16 : std::uint8_t { h00, h10, h01, h11, b00, b20, b02, b22, b11, b31, b13, b33, b01, b23 };
enum class Widen32 : std::uint8_t { none = 0, h0 = 2, h1, b0, b1, b2, b3 };
enum class Widen64 : std::uint8_t { none = 0, h0 = 2, h1, b0, b1, b2, b3, w0 };
enum class ByteLane : std::uint8_t { b00 = 4, b11, b22, b33 };
enum class Combine : std::uint8_t { none, h0, h1, both, low_bits };

// Modifiers.
enum class Flow : std::uint8_t {
    none = 0, wait0 = 1, wait1 = 2, wait01 = 3, wait2 = 4, wait02 = 5, wait12 = 6, wait012 = 7,
    wait0126 = 8, wait = 9, reconverge = 10, discard = 13, end = 15,
};
enum class Round : std::uint8_t { rte, rtp, rtn, rtz };
enum class ResultType : std::uint8_t { i1, f1, m1, u1 };
enum class Clamp : std::uint8_t { none, clamp_0_inf, clamp_m1_1, clamp_0_1 };
enum class Cmp : std::uint8_t { eq, gt, ge, ne, lt, le, gtlt, total };
enum class Mux : std::uint8_t { neg, int_zero, fp_zero, bit };
enum class NanMode : std::uint8_t { none, flush_nan, quiet_nan };
enum class LaneOp : std::uint8_t { none, exclusive_or, accumulate, shift };
enum class Subgroup : std::uint8_t { subgroup2, subgroup4, subgroup8, subgroup16 };
enum class InactiveResult : std::uint8_t {
    zero, umax, i1, v2i1, smin, smax, v2smin, v2smax, v4smin, v4smax, f1, v2f1, infn, inf, v2infn, v2inf,
};
/// What CLPER reads from a lane that is not active.
inline constexpr std::array<std::uint32_t, 16> kInactiveResults = {
    0x00000000, 0xffffffff, 0x00000001, 0x00010001, 0x80000000, 0x7fffffff, 0x80008000, 0x7fff7fff,
    0x80808080, 0x7f7f7f7f, 0x3f800000, 0x3c003c00, 0xff800000, 0x7f800000, 0xfc00fc00, 0x7c007c00,
};
enum class Slot : std::uint8_t { slot0 = 0, slot1 = 1, slot2 = 2, slot7 = 7 };
enum class Vec : std::uint8_t { v1, v2, v3, v4 };
enum class Regfmt : std::uint8_t { automatic = 0, f32 = 2, f16, s32, s16, u32, u16 };
enum class Mem : std::uint8_t { none, istream, estream, force };
enum class Atom : std::uint8_t {
    aadd = 2, asmin = 8, asmax = 9, aumin = 10, aumax = 11, aand = 12, aor = 13, axor = 14, axchg = 15,
};
enum class Atom1 : std::uint8_t { ainc, adec, aumax1, asmax1, aor1 };
enum class LoadLane8 : std::uint8_t { b0, b1, b2, b3, h0, h1, w0, d0 };
enum class LoadLane16 : std::uint8_t { h0, h1, w0, d0 };
enum class LoadLane32 : std::uint8_t { w0, d0 };
enum class ClockSource : std::uint8_t { system_timestamp = 6, cycle_counter = 7 };
enum class Sample : std::uint8_t { center, centroid, sample, explicit_offset };
enum class Update : std::uint8_t { store = 0, retrieve = 1, clobber = 3 };
enum class SourceFormat : std::uint8_t { src_flat32, src_flat16, src_f32, src_f16 };
enum class SampleUpdate : std::uint8_t {
    center_store = 0, centroid_store = 1, sample_store = 2, explicit_store = 3, center_clobber = 4,
    sample_clobber = 6, retrieve = 7,
};
enum class Dimension : std::uint8_t { d1, d2, d3, cube };
enum class LodMode : std::uint8_t { zero = 0, computed = 1, explicit_lod = 4, computed_bias = 5, grdesc = 6 };
enum class FetchComponent : std::uint8_t { gather4_r, gather4_g, gather4_b, gather4_a };
/// Mesa 25.0.7 always leaves it automatic: as the texels are.
enum class RegisterType : std::uint8_t { automatic, f, u, s };
enum class RegisterWidth : std::uint8_t { w16, w32 };
enum class VaryingWidth : std::uint8_t { w16, w32, w16_32, w32_32 };
// clang-format on

/// The names of a field's or selector's values, by value.
struct Choices {
    std::span<const std::string_view> names;
    std::int8_t implied = -1;  // the value that no text stands for; -1 if each has its text

    [[nodiscard]] constexpr bool has(std::uint64_t value) const {
        return value < names.size() && !names[value].empty();
    }
};

namespace choices {
// clang-format off
inline constexpr std::string_view kFlowNames[] = {
    "none", "wait0", "wait1", "wait01", "wait2", "wait02", "wait12", "wait012", "wait0126", "wait",
    "reconverge", "", "", "discard", "", "end"};
inline constexpr Choices kFlow{kFlowNames, 0};
inline constexpr std::string_view kRoundNames[] = {"rte", "rtp", "rtn", "rtz"};
inline constexpr Choices kRound{kRoundNames, 0};
inline constexpr std::string_view kResultTypeNames[] = {"i1", "f1", "m1", "u1"};
inline constexpr Choices kResultType{kResultTypeNames};
inline constexpr std::string_view kClampNames[] = {"none", "clamp_0_inf", "clamp_m1_1", "clamp_0_1"};
inline constexpr Choices kClamp{kClampNames, 0};
inline constexpr std::string_view kCmpNames[] = {"eq", "gt", "ge", "ne", "lt", "le", "gtlt", "total"};
inline constexpr Choices kCmp{kCmpNames};
inline constexpr std::string_view kMuxNames[] = {"neg", "int_zero", "fp_zero", "bit"};
inline constexpr Choices kMux{kMuxNames, 1};
inline constexpr std::string_view kNanModeNames[] = {"none", "flush_nan", "quiet_nan"};
inline constexpr Choices kNanMode{kNanModeNames};
inline constexpr std::string_view kLaneOpNames[] = {"none", "xor", "accumulate", "shift"};
inline constexpr Choices kLaneOp{kLaneOpNames, 0};
inline constexpr std::string_view kSubgroupNames[] = {"subgroup2", "subgroup4", "subgroup8", "subgroup16"};
inline constexpr Choices kSubgroup{kSubgroupNames, 3};
inline constexpr std::string_view kInactiveResultNames[] = {
    "zero", "umax", "i1", "v2i1", "smin", "smax", "v2smin", "v2smax", "v4smin", "v4smax", "f1", "v2f1",
    "infn", "inf", "v2infn", "v2inf"};
inline constexpr Choices kInactiveResult{kInactiveResultNames, 0};
inline constexpr std::string_view kSlotNames[] = {"slot0", "slot1", "slot2", "", "", "", "", "slot7"};
inline constexpr Choices kSlot{kSlotNames};
inline constexpr std::string_view kVecNames[] = {"none", "v2", "v3", "v4"};
inline constexpr Choices kVec{kVecNames, 0};
inline constexpr std::string_view kRegfmtNames[] = {"auto", "", "f32", "f16", "s32", "s16", "u32", "u16"};
inline constexpr Choices kRegfmt{kRegfmtNames};
inline constexpr std::string_view kMemNames[] = {"none", "istream", "estream", "force"};
inline constexpr Choices kMem{kMemNames, 0};
inline constexpr std::string_view kAtomNames[] = {
    "", "", "aadd", "", "", "", "", "", "asmin", "asmax", "aumin", "aumax", "aand", "aor", "axor", "axchg"};
inline constexpr Choices kAtom{kAtomNames};
inline constexpr std::string_view kAtom1Names[] = {"ainc", "adec", "aumax1", "asmax1", "aor1"};
inline constexpr Choices kAtom1{kAtom1Names};
inline constexpr std::string_view kLane8Names[] = {"b0", "b1", "b2", "b3", "h0", "h1", "w0", "d0"};
inline constexpr Choices kLane8{kLane8Names, 0};
inline constexpr std::string_view kLane16Names[] = {"h0", "h1", "w0", "d0"};
inline constexpr Choices kLane16{kLane16Names, 0};
inline constexpr std::string_view kLane24Names[] = {"identity"};
inline constexpr Choices kLane24{kLane24Names, 0};
inline constexpr std::string_view kLane32Names[] = {"w0", "d0"};
inline constexpr Choices kLane32{kLane32Names, 0};
inline constexpr std::string_view kLane48Names[] = {"", "", "", "", "identity"};
inline constexpr Choices kLane48{kLane48Names, 4};
inline constexpr std::string_view kLane64Names[] = {"", "", "", "", "", "", "", "identity"};
inline constexpr Choices kLane64{kLane64Names, 7};
inline constexpr std::string_view kLane96Names[] = {"", "", "", "", "", "", "identity"};
inline constexpr Choices kLane96{kLane96Names, 6};
inline constexpr std::string_view kSourceNames[] = {
    "", "", "", "", "", "", "system_timestamp", "cycle_counter"};
inline constexpr Choices kSource{kSourceNames};
inline constexpr std::string_view kSampleNames[] = {"center", "centroid", "sample", "explicit"};
inline constexpr Choices kSample{kSampleNames};
inline constexpr std::string_view kUpdateNames[] = {"store", "retrieve", "", "clobber"};
inline constexpr Choices kUpdate{kUpdateNames};
inline constexpr std::string_view kSourceFormatNames[] = {"src_flat32", "src_flat16", "src_f32", "src_f16"};
inline constexpr Choices kSourceFormat{kSourceFormatNames};
inline constexpr std::string_view kSampleUpdateNames[] = {
    "center_store", "centroid_store", "sample_store", "explicit_store", "center_clobber", "",
    "sample_clobber", "retrieve"};
inline constexpr Choices kSampleUpdate{kSampleUpdateNames};
inline constexpr std::string_view kDimensionNames[] = {"1d", "2d", "3d", "cube"};
inline constexpr Choices kDimension{kDimensionNames};
inline constexpr std::string_view kLodModeNames[] = {
    "zero", "computed", "", "", "explicit", "computed_bias", "grdesc"};
inline constexpr Choices kLodMode{kLodModeNames};
inline constexpr std::string_view kFetchComponentNames[] = {
    "gather4_r", "gather4_g", "gather4_b", "gather4_a"};
inline constexpr Choices kFetchComponent{kFetchComponentNames};
inline constexpr std::string_view kRegisterTypeNames[] = {"auto", "f", "u", "s"};
inline constexpr Choices kRegisterType{kRegisterTypeNames};
inline constexpr std::string_view kRegisterWidthNames[] = {"16", "32"};
inline constexpr Choices kRegisterWidth{kRegisterWidthNames};
inline constexpr std::string_view kVaryingWidthNames[] = {"16", "32", "16.32", "32.32"};
inline constexpr Choices kVaryingWidth{kVaryingWidthNames};
inline constexpr std::string_view kWriteMaskNames[] = {
    "", "r", "g", "rg", "b", "rb", "gb", "rgb", "a", "ra", "ga", "rga", "ba", "rba", "gba", "rgba"};
inline constexpr Choices kWriteMask{kWriteMaskNames, 15};
// Of selectors.
inline constexpr std::string_view kSwizzle32Names[] = {"none", "h0", "h1"};
inline constexpr Choices kSwizzle32{kSwizzle32Names, 0};
inline constexpr std::string_view kSwizzle16Names[] = {"h00", "h10", "h01", "h11"};
inline constexpr Choices kSwizzle16{kSwizzle16Names, 2};
inline constexpr std::string_view kWiden8Names[] = {
    "b0123", "b3210", "b0101", "b2323", "b0000", "b1111", "b2222", "b3333", "b2301", "b1032", "b0011",
    "b2233"};
inline constexpr Choices kWiden8{kWiden8Names, 0};
inline constexpr std::string_view kWiden16Names[] = {
    "h00", "h10", "h01", "h11", "b00", "b20", "b02", "b22", "b11", "b31", "b13", "b33", "b01", "b23"};
inline constexpr Choices kWiden16{kWiden16Names, 2};
inline constexpr std::string_view kWiden32Names[] = {"none", "", "h0", "h1", "b0", "b1", "b2", "b3"};
inline constexpr Choices kWiden32{kWiden32Names, 0};
inline constexpr std::string_view kWiden64Names[] = {"none", "", "h0", "h1", "b0", "b1", "b2", "b3", "w0"};
inline constexpr Choices kWiden64{kWiden64Names, 0};
inline constexpr std::string_view kByteLaneNames[] = {"", "", "", "", "b00", "b11", "b22", "b33"};
inline constexpr Choices kByteLane{kByteLaneNames};
inline constexpr std::string_view kBytePairNames[] = {
    "b00", "b10", "b20", "b30", "b01", "b11", "b21", "b31", "b02", "b12", "b22", "b32", "b03", "b13", "b23",
    "b33"};
inline constexpr Choices kBytePair{kBytePairNames};
inline constexpr std::string_view kByteNames[] = {"b0", "b1", "b2", "b3"};
inline constexpr Choices kByte{kByteNames};
inline constexpr std::string_view kHalfNames[] = {"h0", "h1"};
inline constexpr Choices kHalf{kHalfNames};
inline constexpr std::string_view kCombineNames[] = {"none", "h0", "h1", "and", "lowbits"};
inline constexpr Choices kCombine{kCombineNames, 0};
// clang-format on
}  // namespace choices

// clang-format off
/// The text of a flag that is set, and of an immediate before its value; by Mod.
inline constexpr std::array<std::string_view, kMods> kModNames = {
    "absolute", "clamp", "cmp", "conservative", "constant", "eq", "flush_inf", "ftz", "inactive_result",
    "signed", "lane_op", "log", "mux", "nan_mode", "neg", "not_result", "offset", "preserve_null", "rtype",
    "rhadd", "round", "saturate", "second", "shift", "sqrt", "subgroup", "atom", "atom1", "cnt", "compare",
    "index", "unsigned", "ldlane", "mem", "regfmt", "sample", "slot", "source", "source_format", "stencil",
    "table", "target", "update", "vec", "wcnt", "z", "z_stencil", "array_enable", "derivative_enable",
    "dimension", "dual_register_width", "fetch_component", "force_delta", "integer_coordinates",
    "lod_bias_disable", "lod_clamp_disable", "lod_mode", "register_type", "register_width", "sample_update",
    "shadow", "skip", "texel_offset", "varying_width", "wide_indices", "write_mask",
};
// clang-format on

/// Constant-table entries: what a source byte of 0xc0 + n reads.
inline constexpr std::array<std::uint32_t, 32> kConstantTable = {
    0x00000000, 0xffffffff, 0x7fffffff, 0xfafcfdfe, 0x01000000, 0x80002000,
    0x70605030, 0xc0b0a090,  // bytes
    0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c, 0x13121110, 0x17161514,
    0x1b1a1918, 0x1f1e1d1c, 0x3f800000, 0x3dcccccd, 0x3ea2f983, 0x3f317218,
    0x40490fdb, 0x00000000, 0x477fff00, 0x5c005bf8,  // floats
    0x2e660000, 0x34000000, 0x38000000, 0x3c000000, 0x40000000, 0x44000000,
    0x48000000, 0x42480000,  // high halves
};

/// Special values: what a source byte of 0xe0 + 2 * index + word reads, by the instruction's page.
enum class Special : std::uint8_t {
    reserved,
    warp_id,
    framebuffer_size,
    atest_datum,
    sample,
    blend_descriptor_0,
    blend_descriptor_1,
    blend_descriptor_2,
    blend_descriptor_3,
    blend_descriptor_4,
    blend_descriptor_5,
    blend_descriptor_6,
    blend_descriptor_7,
    thread_local_pointer,
    workgroup_local_pointer,
    resource_table_pointer,
    lane_id,
    core_id,
    program_counter,
};
inline constexpr std::string_view kSpecialNames[] = {
    "reserved",
    "warp_id",
    "framebuffer_size",
    "atest_datum",
    "sample",
    "blend_descriptor_0",
    "blend_descriptor_1",
    "blend_descriptor_2",
    "blend_descriptor_3",
    "blend_descriptor_4",
    "blend_descriptor_5",
    "blend_descriptor_6",
    "blend_descriptor_7",
    "thread_local_pointer",
    "workgroup_local_pointer",
    "resource_table_pointer",
    "lane_id",
    "core_id",
    "program_counter",
};
inline constexpr unsigned kPages = 4;
/// By page and index.
inline constexpr auto kSpecials = [] {
    using enum Special;
    std::array<std::array<Special, 16>, kPages> table{};
    table[0] = {reserved,
                reserved,
                warp_id,
                reserved,
                framebuffer_size,
                atest_datum,
                sample,
                reserved,
                blend_descriptor_0,
                blend_descriptor_1,
                blend_descriptor_2,
                blend_descriptor_3,
                blend_descriptor_4,
                blend_descriptor_5,
                blend_descriptor_6,
                blend_descriptor_7};
    table[1][1] = thread_local_pointer;
    table[1][3] = workgroup_local_pointer;
    table[1][7] = resource_table_pointer;
    table[3][1] = lane_id;
    table[3][3] = core_id;
    table[3][15] = program_counter;
    return table;
}();

}  // namespace belfry::valhall
