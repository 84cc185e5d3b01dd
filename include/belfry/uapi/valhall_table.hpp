// Where everything lies in a Valhall v9/v10 shader instruction: one table.
//
// Decoder, encoder, printer, assembler, checks and handlers all read kRows; nothing else knows a bit's
// number, except of what all instructions share (valhall.hpp). An instruction is one 64-bit word,
// little-endian in memory. Sources and guesses are in docs/hardware/valhall-isa.md.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <utility>

#include "belfry/uapi/valhall_values.hpp"

namespace belfry::valhall {

/// Who executes it.
enum class Unit : std::uint8_t { fma, cvt, sfu, varying, load_store, texture, varying_texture, message };

/// What an instruction writes, and its staging registers. A number is the lowest bit of the register's.
enum class Destination : std::uint8_t {
    none,     // bits 40 to 47 are 0xc0
    normal,   // register at 40, write mask of its halves at 46
    w40,      // staging registers written
    r40,      // staging registers read
    w16_r40,  // both: written at 16, read at 40
};

/// Which part of a register a source reads, as the instruction says it.
enum class Selector : std::uint8_t {
    none,
    swizzle32,  // Swizzle32
    swizzle16,  // Swizzle16
    widen8,     // Widen8
    widen16,    // Widen16
    widen32,    // Widen32
    widen64,    // Widen64
    byte_lane,  // ByteLane: one byte for all elements
    byte_pair,  // value & 3 is the byte for the low half, value >> 2 the one for the high half
    byte,       // a byte's number
    half,       // a half's number
    combine,    // Combine
};

/// A source byte of an instruction and what modifies it. A modifier's bit is 0 if the source does not have
/// it: no modifier lies so low.
struct Source {
    std::uint8_t bit = 0;  // lowest bit of the byte
    bool pair = false;     // 64 bits; with widen64, only if that selects none
    Selector selector = Selector::none;
    std::uint8_t selector_bit = 0;
    std::uint8_t neg = 0;
    std::uint8_t abs = 0;
    std::uint8_t invert = 0;
};

/// What a field holds, which is also how its text looks.
enum class Kind : std::uint8_t {
    choice,         // .name of the value
    flag,           // .name of the modifier if set
    number,         // name:0x1
    signed_number,  // name:-1
    constant,       // #0x1
    count,          // of staging registers: seen in their list
};

/// A range of bits of an instruction that is no source.
struct Field {
    Mod mod{};
    Kind kind{};
    std::uint8_t low = 0;
    std::uint8_t width = 0;
    const Choices* choices = nullptr;  // of a choice

    [[nodiscard]] constexpr std::uint64_t bits() const { return ((std::uint64_t{1} << width) - 1) << low; }
};

/// A row of the table.
struct Row {
    Op op{};
    std::string_view name;
    std::uint16_t opcode = 0;  // bits 48 to 56
    std::uint16_t secondary =
        0;  // value of (word >> secondary_low) & secondary_mask; the mask may have a gap
    std::uint16_t secondary_mask = 0;  // 0: the opcode alone decides
    std::uint8_t secondary_low = 0;
    std::uint8_t element = 32;  // bits of the type that the name ends with
    Unit unit{};
    Destination destination{};

    [[nodiscard]] constexpr std::span<const Source> sources() const {
        return std::span(sources_).first(source_count_);
    }
    /// In the order of the text.
    [[nodiscard]] constexpr std::span<const Field> fields() const {
        return std::span(fields_).first(field_count_);
    }
    /// Null if the instruction has no such modifier.
    [[nodiscard]] constexpr const Field* find(Mod mod) const {
        for (const Field& field : fields())
            if (field.mod == mod) return &field;
        return nullptr;
    }
    [[nodiscard]] constexpr bool is_alu() const {
        return unit == Unit::fma || unit == Unit::cvt || unit == Unit::sfu;
    }
    /// Whether the normal destination is a pair of registers.
    [[nodiscard]] constexpr bool writes_pair() const {
        return destination == Destination::normal && element == 64;
    }

    std::array<Source, 4> sources_{};
    std::array<Field, 14> fields_{};
    std::uint8_t source_count_ = 0;
    std::uint8_t field_count_ = 0;
};

namespace rows {

/// Where the secondary opcode is.
struct Secondary {
    std::uint8_t low = 0;
    std::uint16_t mask = 0;
};
/// What rows have in common.
struct Shape {
    Unit unit;
    Destination destination;
    Secondary secondary;
    std::initializer_list<Source> sources;
    std::initializer_list<Field> fields;
};
struct Name {
    Op op;
    std::string_view name;
    std::uint16_t opcode;
    std::uint16_t secondary = 0;
};

// Sources. `place` is the byte. swizzle() and widen() stand for all element sizes: sized() makes them
// definite.
constexpr Source plain(unsigned place) { return {.bit = static_cast<std::uint8_t>(8 * place)}; }
constexpr Source pair(unsigned place) {
    Source source = plain(place);
    source.pair = true;
    return source;
}
constexpr Source selected(unsigned place, Selector selector, unsigned bit) {
    Source source = plain(place);
    source.selector = selector;
    source.selector_bit = static_cast<std::uint8_t>(bit);
    return source;
}
constexpr Source swizzle(unsigned place) { return selected(place, Selector::swizzle32, 28 - 2 * place); }
constexpr Source halves(unsigned place) { return selected(place, Selector::swizzle16, 28 - 2 * place); }
constexpr Source widen(unsigned place) { return selected(place, Selector::widen32, place == 0 ? 36 : 26); }
constexpr Source byte(unsigned place, unsigned bit) { return selected(place, Selector::byte, bit); }
constexpr Source signs(Source source) {
    source.neg = static_cast<std::uint8_t>(38 - source.bit / 4);
    source.abs = static_cast<std::uint8_t>(39 - source.bit / 4);
    return source;
}
constexpr Source signs(unsigned place) { return signs(plain(place)); }
inline constexpr Source kCombined0 = selected(0, Selector::combine, 37);
inline constexpr Source kHalf0 = selected(0, Selector::half, 28);
inline constexpr Source kBytePair0 = selected(0, Selector::byte_pair, 36);
inline constexpr Source kByteLane1 = selected(1, Selector::byte_lane, 26);
inline constexpr Source kInverted2 = [] {
    Source source = plain(2);
    source.invert = 35;
    return source;
}();

// Fields.
constexpr Field choice(Mod mod, std::uint8_t low, std::uint8_t width, const Choices& values) {
    return {mod, Kind::choice, low, width, &values};
}
constexpr Field flag(Mod mod, std::uint8_t bit) { return {mod, Kind::flag, bit, 1}; }
constexpr Field immediate(Mod mod, std::uint8_t low, std::uint8_t width) {
    return {mod, Kind::number, low, width};
}
constexpr Field signed_immediate(Mod mod, std::uint8_t low, std::uint8_t width) {
    return {mod, Kind::signed_number, low, width};
}
// clang-format off
inline constexpr Field kSlot = choice(Mod::slot, 30, 3, choices::kSlot);
inline constexpr Field kCount{Mod::cnt, Kind::count, 33, 3};
inline constexpr Field kWriteCount{Mod::wcnt, Kind::count, 36, 3};
inline constexpr Field kVec = choice(Mod::vec, 28, 2, choices::kVec);
inline constexpr Field kRegfmt = choice(Mod::regfmt, 24, 3, choices::kRegfmt);
inline constexpr Field kSample = choice(Mod::sample, 38, 2, choices::kSample);
inline constexpr Field kUpdate = choice(Mod::update, 36, 2, choices::kUpdate);
inline constexpr Field kSourceFormat = choice(Mod::source_format, 24, 4, choices::kSourceFormat);
inline constexpr Field kCmp = choice(Mod::cmp, 32, 3, choices::kCmp);
inline constexpr Field kRound = choice(Mod::round, 30, 2, choices::kRound);
inline constexpr Field kClamp = choice(Mod::clamp, 32, 2, choices::kClamp);
inline constexpr Field kResultType = choice(Mod::result_type, 30, 2, choices::kResultType);
inline constexpr Field kSubgroup = choice(Mod::subgroup, 36, 4, choices::kSubgroup);
inline constexpr Field kLaneOp = choice(Mod::lane_op, 32, 2, choices::kLaneOp);
inline constexpr Field kMux = choice(Mod::mux, 32, 2, choices::kMux);
inline constexpr Field kMem = choice(Mod::mem, 24, 2, choices::kMem);
inline constexpr Field kLane8 = choice(Mod::ldlane, 36, 3, choices::kLane8);
inline constexpr Field kLane16 = choice(Mod::ldlane, 36, 3, choices::kLane16);
inline constexpr Field kLane24 = choice(Mod::ldlane, 36, 3, choices::kLane24);
inline constexpr Field kLane32 = choice(Mod::ldlane, 36, 3, choices::kLane32);
inline constexpr Field kLane48 = choice(Mod::ldlane, 36, 3, choices::kLane48);
inline constexpr Field kLane64 = choice(Mod::ldlane, 36, 3, choices::kLane64);
inline constexpr Field kLane96 = choice(Mod::ldlane, 36, 3, choices::kLane96);
inline constexpr Field kLane128 = choice(Mod::ldlane, 36, 3, choices::kLane64);
inline constexpr Field kRegisterType = choice(Mod::register_type, 26, 2, choices::kRegisterType);
inline constexpr Field kRegisterWidth = choice(Mod::register_width, 46, 1, choices::kRegisterWidth);
inline constexpr Field kVaryingWidth = choice(Mod::varying_width, 24, 2, choices::kVaryingWidth);
inline constexpr Field kWriteMask = choice(Mod::write_mask, 22, 4, choices::kWriteMask);
inline constexpr Field kDimension = choice(Mod::dimension, 28, 2, choices::kDimension);
inline constexpr Field kLodMode = choice(Mod::lod_mode, 13, 3, choices::kLodMode);
inline constexpr Field kFetchComponent = choice(Mod::fetch_component, 14, 2, choices::kFetchComponent);
inline constexpr Field kSampleUpdate = choice(Mod::sample_update, 33, 3, choices::kSampleUpdate);
inline constexpr Field kConservative = flag(Mod::conservative, 35);
inline constexpr Field kEq = flag(Mod::eq, 36);
inline constexpr Field kUnsigned = flag(Mod::is_unsigned, 39);
inline constexpr Field kSigned = flag(Mod::is_signed, 34);
inline constexpr Field kSaturate = flag(Mod::saturate, 30);
inline constexpr Field kNotResult = flag(Mod::not_result, 30);
inline constexpr Field kSkip = flag(Mod::skip, 39);
inline constexpr Field kWideIndices = flag(Mod::wide_indices, 8);
inline constexpr Field kArrayEnable = flag(Mod::array_enable, 10);
inline constexpr Field kTexelOffset = flag(Mod::texel_offset, 11);
inline constexpr Field kShadow = flag(Mod::shadow, 12);
inline constexpr Field kIntegerCoordinates = flag(Mod::integer_coordinates, 13);
inline constexpr Field kLodBiasDisable = flag(Mod::lod_bias_disable, 13);
inline constexpr Field kLodClampDisable = flag(Mod::lod_clamp_disable, 14);
inline constexpr Field kTable16 = immediate(Mod::table, 16, 4);
inline constexpr Field kIndex20 = immediate(Mod::index, 20, 4);
inline constexpr Field kTable8 = immediate(Mod::table, 8, 4);
inline constexpr Field kIndex12 = immediate(Mod::index, 12, 8);
inline constexpr Field kOffset8 = immediate(Mod::offset, 8, 8);
inline constexpr Field kOffset16 = signed_immediate(Mod::offset, 8, 16);
inline constexpr Field kConstant{Mod::constant, Kind::constant, 8, 32};
// clang-format on

constexpr Selector sized(Selector selector, unsigned element) {
    using enum Selector;
    if (selector == swizzle32) return element == 16 ? swizzle16 : swizzle32;
    if (selector == widen32)
        return element == 8 ? widen8 : element == 16 ? widen16 : element == 64 ? widen64 : widen32;
    return selector;
}

/// Bits of the type that a name ends with: 16 for FADD.v2f16 and V2F32_TO_V2F16. Names without one are of 32.
constexpr std::uint8_t element(std::string_view name) {
    const std::size_t last = name.find_last_not_of("0123456789");
    const std::string_view digits = name.substr(last + 1);
    for (const auto& [text, bits] :
         {std::pair<std::string_view, std::uint8_t>{"8", 8}, {"16", 16}, {"64", 64}})
        if (digits == text) return bits;
    return 32;
}

constexpr Row row(const Shape& shape, const Name& name) {
    Row made;
    made.op = name.op;
    made.name = name.name;
    made.opcode = name.opcode;
    made.secondary = name.secondary;
    made.secondary_low = shape.secondary.low;
    made.secondary_mask = shape.secondary.mask;
    made.element = element(name.name);
    made.unit = shape.unit;
    made.destination = shape.destination;
    made.source_count_ = static_cast<std::uint8_t>(shape.sources.size());
    made.field_count_ = static_cast<std::uint8_t>(shape.fields.size());
    std::ranges::copy(shape.sources, made.sources_.begin());
    std::ranges::copy(shape.fields, made.fields_.begin());
    for (Source& source : made.sources_) {
        source.selector = sized(source.selector, made.element);
        if (made.is_alu() && made.element == 64 && source.selector != Selector::byte_lane) source.pair = true;
    }
    return made;
}

}  // namespace rows

// clang-format off
/// Every instruction of v10, and of those that newer Mesa names.
inline constexpr auto kRows = [] {
    using enum Op;
    using enum Unit;
    using enum Destination;
    using namespace rows;
    struct Group {
        Shape shape;
        std::initializer_list<Name> names;
    };
    std::array<Row, kOps> table{};
    std::size_t count = 0;
    // Unit, destination, where the secondary opcode is, sources, fields; then operations with their opcodes.
    for (const Group& group : std::initializer_list<Group>{
        {{cvt, none, {}, {}, {}}, {{nop, "NOP", 0x0}}},
        {{cvt, none, {}, {kCombined0}, {kConservative, kEq, signed_immediate(Mod::offset, 8, 27)}},
          {{branchz, "BRANCHZ", 0x1f}}},
        {{cvt, none, {}, {signs(swizzle(0)), signs(swizzle(1))}, {kCmp}},
          {{discard_f32, "DISCARD.f32", 0x20}}},
        {{cvt, none, {}, {kCombined0, plain(1)}, {kConservative, kEq, flag(Mod::absolute, 40)}},
          {{branchzi, "BRANCHZI", 0x2f}}},
        {{message, none, {}, {}, {kSlot}}, {{barrier, "BARRIER", 0x45}}},
        {{message, w40, {}, {}, {kCount, choice(Mod::source, 0, 3, choices::kSource), kSlot}},
          {{ld_gclk_u64, "LD_GCLK.u64", 0x44}}},
        {{cvt, normal, {}, {plain(0), plain(1), plain(2), plain(3)}, {kCmp}},
          {{csel_f32, "CSEL.f32", 0x154}, {csel_v2f16, "CSEL.v2f16", 0x155}, {csel_u32, "CSEL.u32", 0x150},
           {csel_v2u16, "CSEL.v2u16", 0x151}, {csel_s32, "CSEL.s32", 0x158},
           {csel_v2s16, "CSEL.v2s16", 0x159}}},
        {{varying, w40, {}, {plain(0)}, {kCount, kVec, kRegfmt, kSample, kUpdate, kSlot, immediate(Mod::index,
          12, 4)}},
          {{ld_var_special, "LD_VAR_SPECIAL", 0x56}}},
        {{varying, w40, {}, {plain(0)}, {kSlot, kVec, kSourceFormat, kSample, kUpdate, kCount,
          immediate(Mod::index, 16, 8)}},
          {{ld_var_buf_imm_f32, "LD_VAR_BUF_IMM.f32", 0x5c},
           {ld_var_buf_imm_f16, "LD_VAR_BUF_IMM.f16", 0x5d}}},
        {{varying, w40, {}, {plain(0), plain(1)}, {kSlot, kVec, kSourceFormat, kSample, kUpdate, kCount}},
          {{ld_var_buf_f32, "LD_VAR_BUF.f32", 0x6c}, {ld_var_buf_f16, "LD_VAR_BUF.f16", 0x6d}}},
        {{varying, w40, {}, {plain(0), plain(1)}, {kSlot, kVec, kRegfmt, kSample, kUpdate, kCount}},
          {{ld_var, "LD_VAR", 0x64}}},
        {{varying, w40, {}, {plain(0)}, {kSlot, kVec, kRegfmt, kSample, kUpdate, kCount, kTable8, kIndex12}},
          {{ld_var_imm, "LD_VAR_IMM", 0x54}}},
        {{varying, w40, {}, {plain(0)}, {kSlot, kVec, kRegfmt, kCount}},
          {{ld_var_flat, "LD_VAR_FLAT", 0x55}}},
        {{varying, w40, {}, {}, {kSlot, kVec, kRegfmt, kCount, kTable8, kIndex12}},
          {{ld_var_flat_imm, "LD_VAR_FLAT_IMM", 0x41}}},
        {{load_store, w40, {37, 0x3}, {plain(0), plain(1)}, {kCount, kVec, kRegfmt, kSlot, kIndex20,
          kTable16}},
          {{ld_attr_imm, "LD_ATTR_IMM", 0x66, 0x0}}},
        {{load_store, w40, {37, 0x3}, {plain(0), plain(1), plain(2)}, {kCount, kVec, kRegfmt, kSlot}},
          {{ld_attr, "LD_ATTR", 0x76, 0x0}}},
        {{load_store, w40, {37, 0x3}, {plain(0), plain(1)}, {kCount, kVec, kRegfmt, kSlot, kIndex20,
          kTable16}},
          {{ld_tex_imm, "LD_TEX_IMM", 0x66, 0x1}}},
        {{load_store, w40, {37, 0x3}, {plain(0), plain(1), plain(2)}, {kCount, kVec, kRegfmt, kSlot}},
          {{ld_tex, "LD_TEX", 0x76, 0x1}}},
        {{load_store, w40, {37, 0x3}, {plain(0), plain(1)}, {kSlot, kCount, kTable16, kIndex20}},
          {{lea_attr_imm, "LEA_ATTR_IMM", 0x67, 0x0}}},
        {{load_store, w40, {37, 0x3}, {plain(0), plain(1), plain(2)}, {kVec, kSlot, kCount}},
          {{lea_attr, "LEA_ATTR", 0x77, 0x0}}},
        {{load_store, w40, {37, 0x3}, {plain(0), plain(1)}, {kSlot, kCount, kTable16, kIndex20}},
          {{lea_tex_imm, "LEA_TEX_IMM", 0x67, 0x1}}},
        {{load_store, w40, {37, 0x3}, {plain(0), plain(1), plain(2)}, {kVec, kSlot, kCount}},
          {{lea_tex, "LEA_TEX", 0x77, 0x1}}},
        {{load_store, w40, {27, 0x7}, {plain(0), plain(1)}, {kCount, kLane8, kUnsigned, kSlot}},
          {{ld_buffer_i8, "LD_BUFFER.i8", 0x6a, 0x0}}},
        {{load_store, w40, {27, 0x7}, {plain(0), plain(1)}, {kCount, kLane16, kUnsigned, kSlot}},
          {{ld_buffer_i16, "LD_BUFFER.i16", 0x6a, 0x1}}},
        {{load_store, w40, {27, 0x7}, {plain(0), plain(1)}, {kCount, kLane24, kUnsigned, kSlot}},
          {{ld_buffer_i24, "LD_BUFFER.i24", 0x6a, 0x2}}},
        {{load_store, w40, {27, 0x7}, {plain(0), plain(1)}, {kCount, kLane32, kUnsigned, kSlot}},
          {{ld_buffer_i32, "LD_BUFFER.i32", 0x6a, 0x3}}},
        {{load_store, w40, {27, 0x7}, {plain(0), plain(1)}, {kCount, kLane48, kUnsigned, kSlot}},
          {{ld_buffer_i48, "LD_BUFFER.i48", 0x6a, 0x4}}},
        {{load_store, w40, {27, 0x7}, {plain(0), plain(1)}, {kCount, kLane64, kUnsigned, kSlot}},
          {{ld_buffer_i64, "LD_BUFFER.i64", 0x6a, 0x5}}},
        {{load_store, w40, {27, 0x7}, {plain(0), plain(1)}, {kCount, kLane96, kUnsigned, kSlot}},
          {{ld_buffer_i96, "LD_BUFFER.i96", 0x6a, 0x6}}},
        {{load_store, w40, {27, 0x7}, {plain(0), plain(1)}, {kCount, kLane128, kUnsigned, kSlot}},
          {{ld_buffer_i128, "LD_BUFFER.i128", 0x6a, 0x7}}},
        {{load_store, w40, {}, {plain(0)}, {kCount, kSlot, kTable8, kIndex12}},
          {{lea_buf_imm, "LEA_BUF_IMM", 0x5e}}},
        {{load_store, w40, {27, 0x7}, {pair(0)}, {kMem, kCount, kLane8, kUnsigned, kSlot, kOffset16}},
          {{load_i8, "LOAD.i8", 0x60, 0x0}}},
        {{load_store, w40, {27, 0x7}, {pair(0)}, {kMem, kCount, kLane16, kUnsigned, kSlot, kOffset16}},
          {{load_i16, "LOAD.i16", 0x60, 0x1}}},
        {{load_store, w40, {27, 0x7}, {pair(0)}, {kMem, kCount, kLane24, kUnsigned, kSlot, kOffset16}},
          {{load_i24, "LOAD.i24", 0x60, 0x2}}},
        {{load_store, w40, {27, 0x7}, {pair(0)}, {kMem, kCount, kLane32, kUnsigned, kSlot, kOffset16}},
          {{load_i32, "LOAD.i32", 0x60, 0x3}}},
        {{load_store, w40, {27, 0x7}, {pair(0)}, {kMem, kCount, kLane48, kUnsigned, kSlot, kOffset16}},
          {{load_i48, "LOAD.i48", 0x60, 0x4}}},
        {{load_store, w40, {27, 0x7}, {pair(0)}, {kMem, kCount, kLane64, kUnsigned, kSlot, kOffset16}},
          {{load_i64, "LOAD.i64", 0x60, 0x5}}},
        {{load_store, w40, {27, 0x7}, {pair(0)}, {kMem, kCount, kLane96, kUnsigned, kSlot, kOffset16}},
          {{load_i96, "LOAD.i96", 0x60, 0x6}}},
        {{load_store, w40, {27, 0x7}, {pair(0)}, {kMem, kCount, kLane128, kUnsigned, kSlot, kOffset16}},
          {{load_i128, "LOAD.i128", 0x60, 0x7}}},
        {{load_store, r40, {27, 0x7}, {pair(0)}, {kCount, kMem, kSlot, kOffset16}},
          {{store_i8, "STORE.i8", 0x61, 0x0}, {store_i16, "STORE.i16", 0x61, 0x1},
           {store_i24, "STORE.i24", 0x61, 0x2}, {store_i32, "STORE.i32", 0x61, 0x3},
           {store_i48, "STORE.i48", 0x61, 0x4}, {store_i64, "STORE.i64", 0x61, 0x5},
           {store_i96, "STORE.i96", 0x61, 0x6}, {store_i128, "STORE.i128", 0x61, 0x7}}},
        {{load_store, w40, {}, {plain(0), plain(1)}, {kCount, kSlot}}, {{lea_buffer, "LEA_BUFFER", 0x6b}}},
        {{load_store, r40, {}, {pair(0), plain(2)}, {kSlot, choice(Mod::mem, 37, 3, choices::kMem), kVec,
          kRegfmt, kCount, kOffset8}},
          {{st_cvt, "ST_CVT", 0x71}}},
        {{message, w40, {}, {plain(0), plain(1), plain(2)}, {flag(Mod::z_stencil, 36), kCount, kVec, kRegfmt,
          kSlot}},
          {{ld_tile, "LD_TILE", 0x78}}},
        {{message, r40, {}, {plain(0), plain(1), plain(2)}, {kCount, kVec, kRegfmt, kSlot}},
          {{st_tile, "ST_TILE", 0x79}}},
        {{message, r40, {}, {pair(0), plain(2)}, {kSlot, kCount, kVec, kRegfmt, immediate(Mod::target, 8,
          8)}},
          {{blend, "BLEND", 0x7f}}},
        {{message, w40, {}, {plain(0), swizzle(1), plain(2)}, {kCount}}, {{atest, "ATEST", 0x7d}}},
        {{message, w40, {}, {plain(0), plain(1), plain(2)}, {flag(Mod::z, 25), flag(Mod::stencil, 24), kCount,
          kSlot}},
          {{zs_emit, "ZS_EMIT", 0x7e}}},
        {{cvt, normal, {16, 0x1f}, {widen(0)}, {kRound}},
          {{v2s16_to_v2f16, "V2S16_TO_V2F16", 0x90, 0x7}, {s32_to_f32, "S32_TO_F32", 0x90, 0x9},
           {v2u16_to_v2f16, "V2U16_TO_V2F16", 0x90, 0x17}, {u32_to_f32, "U32_TO_F32", 0x90, 0x19}}},
        {{cvt, normal, {16, 0x1f}, {halves(0)}, {}},
          {{s16_to_s32, "S16_TO_S32", 0x90, 0x4}, {s16_to_f32, "S16_TO_F32", 0x90, 0x5},
           {u16_to_u32, "U16_TO_U32", 0x90, 0x14}, {u16_to_f32, "U16_TO_F32", 0x90, 0x15}}},
        {{cvt, normal, {16, 0x1f}, {signs(0)}, {kRound}},
          {{f32_to_s32, "F32_TO_S32", 0x90, 0xc}, {f32_to_u32, "F32_TO_U32", 0x90, 0x1c}}},
        {{cvt, normal, {16, 0x1f}, {signs(swizzle(0))}, {kRound}},
          {{v2f16_to_v2s16, "V2F16_TO_V2S16", 0x90, 0xe}, {v2f16_to_v2u16, "V2F16_TO_V2U16", 0x90, 0x1e},
           {fround_f32, "FROUND.f32", 0x90, 0xd}, {fround_v2f16, "FROUND.v2f16", 0x90, 0xf}}},
        {{cvt, normal, {16, 0x1f}, {signs(halves(0))}, {kRound}},
          {{f16_to_s32, "F16_TO_S32", 0x90, 0xa}, {f16_to_u32, "F16_TO_U32", 0x90, 0x1a}}},
        {{cvt, normal, {16, 0x1f}, {signs(kHalf0)}, {kRound}}, {{f16_to_f32, "F16_TO_F32", 0x90, 0xb}}},
        {{cvt, normal, {16, 0x1f}, {byte(0, 28)}, {}},
          {{s8_to_s32, "S8_TO_S32", 0x90, 0x0}, {s8_to_f32, "S8_TO_F32", 0x90, 0x1},
           {u8_to_u32, "U8_TO_U32", 0x90, 0x10}, {u8_to_f32, "U8_TO_F32", 0x90, 0x11}}},
        {{cvt, normal, {16, 0x1f}, {kBytePair0}, {}},
          {{v2s8_to_v2s16, "V2S8_TO_V2S16", 0x90, 0x2}, {v2s8_to_v2f16, "V2S8_TO_V2F16", 0x90, 0x3},
           {v2u8_to_v2u16, "V2U8_TO_V2U16", 0x90, 0x12}, {v2u8_to_v2f16, "V2U8_TO_V2F16", 0x90, 0x13}}},
        {{cvt, normal, {16, 0xf}, {plain(0)}, {}}, {{mov_i32, "MOV.i32", 0x91, 0x0}}},
        {{cvt, normal, {16, 0xf}, {plain(0)}, {}},
          {{clz_u32, "CLZ.u32", 0x91, 0x4}, {clz_v4u8, "CLZ.v4u8", 0x91, 0x6}}},
        {{cvt, normal, {16, 0xf}, {swizzle(0)}, {}}, {{clz_v2u16, "CLZ.v2u16", 0x91, 0x5}}},
        {{cvt, normal, {16, 0xf}, {widen(0)}, {}},
          {{iabs_s32, "IABS.s32", 0x91, 0x8}, {iabs_v2s16, "IABS.v2s16", 0x91, 0x9}}},
        {{cvt, normal, {16, 0xf}, {plain(0)}, {}}, {{iabs_v4s8, "IABS.v4s8", 0x91, 0xa}}},
        {{sfu, normal, {16, 0xf}, {plain(0)}, {}}, {{popcount_i32, "POPCOUNT.i32", 0x91, 0xc}}},
        {{sfu, normal, {16, 0xf}, {plain(0)}, {}}, {{bitrev_i32, "BITREV.i32", 0x91, 0xd}}},
        {{sfu, normal, {16, 0xf}, {plain(0)}, {}}, {{not_old_i32, "NOT_OLD.i32", 0x91, 0xe}}},
        {{sfu, normal, {}, {plain(0)}, {}}, {{not_old_i64, "NOT_OLD.i64", 0x191}}},
        {{cvt, normal, {}, {plain(0)}, {kSubgroup}}, {{wmask, "WMASK", 0x95}}},
        {{cvt, normal, {16, 0xf}, {signs(swizzle(0))}, {choice(Mod::nan_mode, 8, 2, choices::kNanMode),
          flag(Mod::ftz, 10), flag(Mod::flush_inf, 11)}},
          {{flush_f32, "FLUSH.f32", 0x98, 0x0}, {flush_v2f16, "FLUSH.v2f16", 0x98, 0x1}}},
        {{cvt, normal, {16, 0xf}, {swizzle(0)}, {flag(Mod::sqrt, 24), flag(Mod::log, 25)}},
          {{frexpm_f32, "FREXPM.f32", 0x99, 0x0}, {frexpm_v2f16, "FREXPM.v2f16", 0x99, 0x1},
           {frexpe_f32, "FREXPE.f32", 0x99, 0x2}, {frexpe_v2f16, "FREXPE.v2f16", 0x99, 0x3}}},
        {{sfu, normal, {16, 0xf}, {signs(swizzle(0))}, {}},
          {{frcp_f32, "FRCP.f32", 0x9c, 0x0}, {frcp_f16, "FRCP.f16", 0x9c, 0x1},
           {frsq_f32, "FRSQ.f32", 0x9c, 0x2}, {frsq_f16, "FRSQ.f16", 0x9c, 0x3},
           {flogd_f32, "FLOGD.f32", 0x9c, 0x8}, {fpclass_f32, "FPCLASS.f32", 0x9c, 0xa},
           {fpclass_f16, "FPCLASS.f16", 0x9c, 0xb}, {flog_table_f32, "FLOG_TABLE.f32", 0x9c, 0xc},
           {frcp_approx_f32, "FRCP_APPROX.f32", 0x9c, 0xe}, {frsq_approx_f32, "FRSQ_APPROX.f32", 0x9c, 0xf}}},
        {{sfu, normal, {16, 0xf}, {plain(0)}, {}},
          {{fsin_table_u6, "FSIN_TABLE.u6", 0x9c, 0x4}, {fcos_table_u6, "FCOS_TABLE.u6", 0x9c, 0x5},
           {fsincos_offset_u6, "FSINCOS_OFFSET.u6", 0x9c, 0x6}, {fexp_table_u4, "FEXP_TABLE.u4", 0x9c, 0xd}}},
        {{fma, normal, {16, 0xf}, {signs(swizzle(0)), signs(swizzle(1))}, {kClamp, kRound}},
          {{fadd_f32, "FADD.f32", 0xa4, 0x0}, {fadd_v2f16, "FADD.v2f16", 0xa5, 0x0}}},
        {{cvt, normal, {16, 0xf}, {signs(swizzle(0)), signs(swizzle(1))}, {kClamp}},
          {{fmin_f32, "FMIN.f32", 0xa4, 0x2}, {fmin_v2f16, "FMIN.v2f16", 0xa5, 0x2}}},
        {{cvt, normal, {16, 0xf}, {signs(swizzle(0)), signs(swizzle(1))}, {kClamp}},
          {{fmax_f32, "FMAX.f32", 0xa4, 0x3}, {fmax_v2f16, "FMAX.v2f16", 0xa5, 0x3}}},
        {{cvt, normal, {16, 0xf}, {signs(0), signs(1)}, {kClamp, kRound}},
          {{v2f32_to_v2f16, "V2F32_TO_V2F16", 0xa5, 0x4}}},
        {{fma, normal, {16, 0xf}, {signs(0), plain(1)}, {kRound}},
          {{ldexp_f32, "LDEXP.f32", 0xa4, 0x6}, {ldexp_v2f16, "LDEXP.v2f16", 0xa5, 0x6}}},
        {{sfu, normal, {16, 0xf}, {plain(0), signs(1)}, {kClamp}}, {{fexp_f32, "FEXP.f32", 0xa4, 0x8}}},
        {{fma, normal, {16, 0xf}, {signs(0), signs(1)}, {kClamp}},
          {{fadd_lscale_f32, "FADD_LSCALE.f32", 0xa4, 0x9}}},
        {{sfu, normal, {16, 0xf}, {plain(0), plain(1)}, {flag(Mod::second, 24)}},
          {{fatan_assist_f32, "FATAN_ASSIST.f32", 0xa4, 0xe}}},
        {{cvt, normal, {16, 0xf}, {widen(0), widen(1)}, {kSaturate}},
          {{iadd_u32, "IADD.u32", 0xa0, 0x0}, {iadd_v2u16, "IADD.v2u16", 0xa1, 0x0},
           {iadd_v4u8, "IADD.v4u8", 0xa2, 0x0}, {iadd_s32, "IADD.s32", 0xa8, 0x0},
           {iadd_v2s16, "IADD.v2s16", 0xa9, 0x0}, {iadd_v4s8, "IADD.v4s8", 0xaa, 0x0},
           {iadd_u64, "IADD.u64", 0x1a3, 0x0}, {iadd_s64, "IADD.s64", 0x1ab, 0x0}}},
        {{cvt, normal, {16, 0xf}, {swizzle(0), swizzle(1)}, {}}, {{mkvec_v2i16, "MKVEC.v2i16", 0xa1, 0x5}}},
        {{cvt, normal, {16, 0xf}, {widen(0), widen(1)}, {kSaturate}},
          {{isub_u32, "ISUB.u32", 0xa0, 0x1}, {isub_v2u16, "ISUB.v2u16", 0xa1, 0x1},
           {isub_v4u8, "ISUB.v4u8", 0xa2, 0x1}, {isub_s32, "ISUB.s32", 0xa8, 0x1},
           {isub_v2s16, "ISUB.v2s16", 0xa9, 0x1}, {isub_v4s8, "ISUB.v4s8", 0xaa, 0x1},
           {isub_u64, "ISUB.u64", 0x1a3, 0x1}, {isub_s64, "ISUB.s64", 0x1ab, 0x1}}},
        {{cvt, normal, {16, 0xf}, {plain(0), widen(1)}, {flag(Mod::neg, 38), flag(Mod::preserve_null, 39)}},
          {{seg_add_u64, "SEG_ADD.u64", 0x1a3, 0x6}}},
        {{cvt, normal, {16, 0xf}, {plain(0), widen(1)}, {immediate(Mod::shift, 20, 3)}},
          {{shaddx_u64, "SHADDX.u64", 0x1a3, 0x7}, {shaddx_s64, "SHADDX.s64", 0x1ab, 0x7}}},
        {{sfu, normal, {16, 0xf}, {widen(0), widen(1)}, {kSaturate}},
          {{imul_i32, "IMUL.i32", 0xa0, 0xa}, {imul_v2i16, "IMUL.v2i16", 0xa1, 0xa},
           {imul_v4i8, "IMUL.v4i8", 0xa2, 0xa}, {imul_s32, "IMUL.s32", 0xa8, 0xa},
           {imul_v2s16, "IMUL.v2s16", 0xa9, 0xa}, {imul_v4s8, "IMUL.v4s8", 0xaa, 0xa}}},
        {{sfu, normal, {16, 0xf}, {widen(0), widen(1)}, {kSaturate}}, {{imuld_u64, "IMULD.u64", 0x1a3, 0xa}}},
        {{cvt, normal, {16, 0xf}, {widen(0), widen(1)}, {flag(Mod::rhadd, 30)}},
          {{hadd_u32, "HADD.u32", 0xa0, 0xb}, {hadd_v2u16, "HADD.v2u16", 0xa1, 0xb},
           {hadd_v4u8, "HADD.v4u8", 0xa2, 0xb}, {hadd_s32, "HADD.s32", 0xa8, 0xb},
           {hadd_v2s16, "HADD.v2s16", 0xa9, 0xb}, {hadd_v4s8, "HADD.v4s8", 0xaa, 0xb}}},
        {{sfu, normal, {16, 0xf}, {plain(0), kByteLane1}, {kSubgroup, kLaneOp, choice(Mod::inactive_result,
          22, 4, choices::kInactiveResult)}},
          {{clper_i32, "CLPER.i32", 0xa0, 0xf}, {clper_v2u16, "CLPER.v2u16", 0xa1, 0xf},
           {clper_v4u8, "CLPER.v4u8", 0xa2, 0xf}, {clper_s32, "CLPER.s32", 0xa8, 0xf},
           {clper_v2s16, "CLPER.v2s16", 0xa9, 0xf}, {clper_v4s8, "CLPER.v4s8", 0xaa, 0xf},
           {clper_u64, "CLPER.u64", 0x1a3, 0xf}, {clper_s64, "CLPER.s64", 0x1ab, 0xf}}},
        {{fma, normal, {}, {signs(swizzle(0)), signs(swizzle(1)), signs(swizzle(2))}, {kClamp, kRound}},
          {{fma_f32, "FMA.f32", 0xb2}, {fma_v2f16, "FMA.v2f16", 0xb3}}},
        {{sfu, normal, {24, 0x103}, {widen(0), kByteLane1, kInverted2}, {kNotResult}},
          {{lshift_and_i32, "LSHIFT_AND.i32", 0xb4, 0x100},
           {lshift_and_v2i16, "LSHIFT_AND.v2i16", 0xb5, 0x100},
           {lshift_and_v4i8, "LSHIFT_AND.v4i8", 0xb6, 0x100},
           {lshift_and_i64, "LSHIFT_AND.i64", 0x1b7, 0x100}}},
        {{sfu, normal, {24, 0x103}, {widen(0), kByteLane1, kInverted2}, {kSigned, kNotResult}},
          {{rshift_and_i32, "RSHIFT_AND.i32", 0xb4, 0x0}, {rshift_and_v2i16, "RSHIFT_AND.v2i16", 0xb5, 0x0},
           {rshift_and_v4i8, "RSHIFT_AND.v4i8", 0xb6, 0x0}, {rshift_and_i64, "RSHIFT_AND.i64", 0x1b7, 0x0}}},
        {{sfu, normal, {24, 0x103}, {widen(0), kByteLane1, kInverted2}, {kNotResult}},
          {{lshift_or_i32, "LSHIFT_OR.i32", 0xb4, 0x101}, {lshift_or_v2i16, "LSHIFT_OR.v2i16", 0xb5, 0x101},
           {lshift_or_v4i8, "LSHIFT_OR.v4i8", 0xb6, 0x101}, {lshift_or_i64, "LSHIFT_OR.i64", 0x1b7, 0x101}}},
        {{sfu, normal, {24, 0x103}, {widen(0), kByteLane1, kInverted2}, {kSigned, kNotResult}},
          {{rshift_or_i32, "RSHIFT_OR.i32", 0xb4, 0x1}, {rshift_or_v2i16, "RSHIFT_OR.v2i16", 0xb5, 0x1},
           {rshift_or_v4i8, "RSHIFT_OR.v4i8", 0xb6, 0x1}, {rshift_or_i64, "RSHIFT_OR.i64", 0x1b7, 0x1}}},
        {{sfu, normal, {24, 0x103}, {widen(0), kByteLane1, kInverted2}, {kNotResult}},
          {{lshift_xor_i32, "LSHIFT_XOR.i32", 0xb4, 0x102},
           {lshift_xor_v2i16, "LSHIFT_XOR.v2i16", 0xb5, 0x102},
           {lshift_xor_v4i8, "LSHIFT_XOR.v4i8", 0xb6, 0x102},
           {lshift_xor_i64, "LSHIFT_XOR.i64", 0x1b7, 0x102}}},
        {{sfu, normal, {24, 0x103}, {widen(0), kByteLane1, kInverted2}, {kSigned, kNotResult}},
          {{rshift_xor_i32, "RSHIFT_XOR.i32", 0xb4, 0x2}, {rshift_xor_v2i16, "RSHIFT_XOR.v2i16", 0xb5, 0x2},
           {rshift_xor_v4i8, "RSHIFT_XOR.v4i8", 0xb6, 0x2}, {rshift_xor_i64, "RSHIFT_XOR.i64", 0x1b7, 0x2}}},
        {{sfu, normal, {}, {plain(0), plain(1), plain(2)}, {kMux}},
          {{mux_i32, "MUX.i32", 0xb8}, {mux_v4i8, "MUX.v4i8", 0xba}}},
        {{sfu, normal, {}, {swizzle(0), swizzle(1), swizzle(2)}, {kMux}}, {{mux_v2i16, "MUX.v2i16", 0xb9}}},
        {{sfu, normal, {24, 0xf}, {signs(0), signs(1), plain(2)}, {}}, {{cube_ssel, "CUBE_SSEL", 0xbc, 0x0}}},
        {{sfu, normal, {24, 0xf}, {signs(0), signs(1), plain(2)}, {}}, {{cube_tsel, "CUBE_TSEL", 0xbc, 0x1}}},
        {{cvt, normal, {}, {byte(0, 38), byte(1, 36), plain(2)}, {}}, {{mkvec_v2i8, "MKVEC.v2i8", 0xbd}}},
        {{sfu, normal, {}, {signs(0), signs(1), signs(2)}, {}}, {{cubeface1, "CUBEFACE1", 0xc0}}},
        {{sfu, normal, {}, {signs(0), signs(1), signs(2)}, {}}, {{cubeface2_v9, "CUBEFACE2_V9", 0xc1}}},
        {{fma, normal, {24, 0xf}, {plain(0), plain(1), plain(2)}, {kSaturate}},
          {{idp_v4s8, "IDP.v4s8", 0xc2, 0x0}, {idp_v4u8, "IDP.v4u8", 0xc2, 0x1}}},
        {{cvt, normal, {24, 0x3}, {widen(0), widen(1), plain(2)}, {kCmp, kResultType}},
          {{icmp_or_u32, "ICMP_OR.u32", 0xf0, 0x0}, {icmp_or_v2u16, "ICMP_OR.v2u16", 0xf1, 0x0},
           {icmp_or_v4u8, "ICMP_OR.v4u8", 0xf2, 0x0}, {icmp_or_s32, "ICMP_OR.s32", 0xf8, 0x0},
           {icmp_or_v2s16, "ICMP_OR.v2s16", 0xf9, 0x0}, {icmp_or_v4s8, "ICMP_OR.v4s8", 0xfa, 0x0}}},
        {{cvt, normal, {24, 0x3}, {widen(0), widen(1), plain(2)}, {kCmp, kResultType}},
          {{icmp_and_u32, "ICMP_AND.u32", 0xf0, 0x1}, {icmp_and_v2u16, "ICMP_AND.v2u16", 0xf1, 0x1},
           {icmp_and_v4u8, "ICMP_AND.v4u8", 0xf2, 0x1}, {icmp_and_s32, "ICMP_AND.s32", 0xf8, 0x1},
           {icmp_and_v2s16, "ICMP_AND.v2s16", 0xf9, 0x1}, {icmp_and_v4s8, "ICMP_AND.v4s8", 0xfa, 0x1}}},
        {{cvt, normal, {24, 0x3}, {signs(swizzle(0)), signs(swizzle(1)), plain(2)}, {kCmp, kResultType}},
          {{fcmp_or_f32, "FCMP_OR.f32", 0xf4, 0x0}, {fcmp_or_v2f16, "FCMP_OR.v2f16", 0xf5, 0x0}}},
        {{cvt, normal, {24, 0x3}, {signs(swizzle(0)), signs(swizzle(1)), plain(2)}, {kCmp, kResultType}},
          {{fcmp_and_f32, "FCMP_AND.f32", 0xf4, 0x1}, {fcmp_and_v2f16, "FCMP_AND.v2f16", 0xf5, 0x1}}},
        {{cvt, normal, {24, 0x3}, {widen(0), widen(1), plain(2)}, {kCmp, kResultType}},
          {{icmp_multi_u32, "ICMP_MULTI.u32", 0xf0, 0x2}, {icmp_multi_s32, "ICMP_MULTI.s32", 0xf8, 0x2}}},
        {{cvt, normal, {}, {plain(0)}, {kConstant}},
          {{iadd_imm_i32, "IADD_IMM.i32", 0x110}, {iadd_imm_v2i16, "IADD_IMM.v2i16", 0x111},
           {iadd_imm_v4i8, "IADD_IMM.v4i8", 0x112}}},
        {{fma, normal, {}, {plain(0)}, {kConstant}},
          {{fadd_imm_f32, "FADD_IMM.f32", 0x114}, {fadd_imm_v2f16, "FADD_IMM.v2f16", 0x115}}},
        {{load_store, w40, {27, 0x7}, {pair(0)}, {kSlot, kCount, choice(Mod::atom1, 22, 4, choices::kAtom1),
          kOffset8}},
          {{atom1_return_i32, "ATOM1_RETURN.i32", 0x69, 0x3},
           {atom1_return_i64, "ATOM1_RETURN.i64", 0x69, 0x5}}},
        {{load_store, r40, {27, 0x7}, {pair(0)}, {kSlot, kCount, choice(Mod::atom, 22, 4, choices::kAtom),
          kOffset8}},
          {{atom_i32, "ATOM.i32", 0x68, 0x3}, {atom_i64, "ATOM.i64", 0x68, 0x5}}},
        {{load_store, w16_r40, {27, 0x7}, {pair(0)}, {kSlot, kCount, kWriteCount, flag(Mod::compare, 26),
          choice(Mod::atom, 22, 4, choices::kAtom), kOffset8}},
          {{atom_return_i32, "ATOM_RETURN.i32", 0x120, 0x3},
           {atom_return_i64, "ATOM_RETURN.i64", 0x120, 0x5}}},
        {{texture, w16_r40, {}, {pair(0)}, {kSlot, kSkip, kRegisterType, kRegisterWidth, kWriteMask,
          kDimension, kWideIndices, kArrayEnable, kTexelOffset, kCount, kWriteCount}},
          {{tex_fetch, "TEX_FETCH", 0x125}}},
        {{texture, w16_r40, {}, {pair(0)}, {kSlot, kSkip, kRegisterType, kRegisterWidth, kWriteMask,
          kDimension, kWideIndices, kArrayEnable, kTexelOffset, kShadow, kLodMode, kCount, kWriteCount}},
          {{tex_single, "TEX_SINGLE", 0x128}}},
        {{texture, w16_r40, {}, {pair(0)}, {kSlot, kSkip, kRegisterType, kRegisterWidth, kWriteMask,
          kDimension, kWideIndices, kArrayEnable, kTexelOffset, kIntegerCoordinates, kFetchComponent, kShadow,
          kCount, kWriteCount}},
          {{tex_gather, "TEX_GATHER", 0x129}}},
        {{texture, w16_r40, {}, {pair(0)}, {kSlot, kSkip, kRegisterType, kRegisterWidth, kWriteMask,
          kDimension, kWideIndices, flag(Mod::force_delta, 12), kLodBiasDisable, kLodClampDisable,
          flag(Mod::derivative_enable, 15), kCount, kWriteCount}},
          {{tex_gradient, "TEX_GRADIENT", 0x12a}}},
        {{texture, w16_r40, {}, {pair(0)}, {kSlot, kSkip, kRegisterType, kRegisterWidth,
          choice(Mod::dual_register_width, 47, 1, choices::kRegisterWidth), kWriteMask, kDimension,
          kWideIndices, kArrayEnable, kTexelOffset, kShadow, kLodMode, kCount, kWriteCount}},
          {{tex_dual, "TEX_DUAL", 0x12f}}},
        {{varying_texture, w40, {}, {pair(0), plain(2)}, {kSlot, kSkip, kSampleUpdate, kRegisterType,
          kVaryingWidth, kDimension, kArrayEnable, kShadow, kLodMode, kWriteCount}},
          {{var_tex_buf_single, "VAR_TEX_BUF_SINGLE", 0x130}, {var_tex_single, "VAR_TEX_SINGLE", 0x138}}},
        {{varying_texture, w40, {}, {pair(0), plain(2)}, {kSlot, kSkip, kSampleUpdate, kRegisterType,
          kVaryingWidth, kDimension, kArrayEnable, kIntegerCoordinates, kFetchComponent, kShadow,
          kWriteCount}},
          {{var_tex_buf_gather, "VAR_TEX_BUF_GATHER", 0x131}, {var_tex_gather, "VAR_TEX_GATHER", 0x139}}},
        {{varying_texture, w40, {}, {pair(0), plain(2)}, {kSlot, kSkip, kSampleUpdate, kRegisterType,
          kVaryingWidth, kDimension, kArrayEnable, kShadow, kLodBiasDisable, kLodClampDisable, kWriteCount}},
          {{var_tex_buf_gradient, "VAR_TEX_BUF_GRADIENT", 0x132},
           {var_tex_gradient, "VAR_TEX_GRADIENT", 0x13a}}},
        {{varying_texture, w40, {}, {pair(0), plain(2)}, {kSlot, kSkip, kSampleUpdate, kRegisterType,
          kVaryingWidth, kDimension, kArrayEnable, kShadow, kLodMode, kWriteCount}},
          {{var_tex_buf_dual, "VAR_TEX_BUF_DUAL", 0x137}, {var_tex_dual, "VAR_TEX_DUAL", 0x13f}}},
        {{fma, normal, {}, {signs(0), signs(1), signs(2), plain(3)}, {kClamp}},
          {{fma_rscale_f32, "FMA_RSCALE.f32", 0x160}, {fma_rscale_n_f32, "FMA_RSCALE_N.f32", 0x161},
           {fma_rscale_left_f32, "FMA_RSCALE_LEFT.f32", 0x162},
           {fma_rscale_scale16_f32, "FMA_RSCALE_SCALE16.f32", 0x163}}},
    })
        for (const Name& name : group.names) table[count++] = row(group.shape, name);
    return table;
}();
// clang-format on
static_assert(
    [] {
        for (std::size_t number = 0; number < kOps; ++number)
            if (std::to_underlying(kRows[number].op) != number) return false;
        return true;
    }(),
    "in the order of Op");

}  // namespace belfry::valhall
