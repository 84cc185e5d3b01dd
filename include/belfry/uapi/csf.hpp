// The instructions of a Mali CSF v10 command stream: one table.
//
// Encoder, decoder, disassembler and interpreter all read kInstructions; nothing else knows where a field
// lies. Numbers and meanings are those of facts/csf-isa.md, sections 2.2 and 2.3. An instruction is one
// 64-bit word, little-endian in memory: opcode in bits 63:56, fields below.
//
//   word = encode<Op::move48>(Operand<Arg::dst>{68}, Operand<Arg::immediate>{0x1001000});
//   get<Op::move48, Arg::dst>(word) == 68
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace belfry::csf {

inline constexpr unsigned kRegisters = 96;  // r0 ... r95; d(n) is the pair r(n), r(n + 1), n even
inline constexpr unsigned kSlots = 8;       // scoreboard entries
inline constexpr unsigned kInstructionBytes = 8;
inline constexpr unsigned kCallFrames = 8;  // the ring is the first of them

/// Opcodes, bits 63:56. The gaps are not assigned on v10.
enum class Op : std::uint8_t {
    nop = 0x00,
    move48 = 0x01,
    move32 = 0x02,
    wait = 0x03,
    run_compute = 0x04,
    run_tiling = 0x05,
    run_idvs = 0x06,
    run_fragment = 0x07,
    run_fullscreen = 0x08,
    finish_tiling = 0x09,
    finish_fragment = 0x0b,
    add_immediate32 = 0x10,
    add_immediate64 = 0x11,
    umin32 = 0x12,
    load_multiple = 0x14,
    store_multiple = 0x15,
    branch = 0x16,
    set_sb_entry = 0x17,
    progress_wait = 0x18,
    set_exception_handler = 0x19,
    call = 0x20,
    jump = 0x21,
    req_resource = 0x22,
    flush_cache2 = 0x24,
    sync_add32 = 0x25,
    sync_set32 = 0x26,
    sync_wait32 = 0x27,
    store_state = 0x28,
    prot_region = 0x29,
    progress_store = 0x2a,
    progress_load = 0x2b,
    run_compute_indirect = 0x2c,
    error_barrier = 0x2f,
    heap_set = 0x30,
    heap_operation = 0x31,
    trace_point = 0x32,
    sync_add64 = 0x33,
    sync_set64 = 0x34,
    sync_wait64 = 0x35,
};

/// Operands by their meaning. A register operand holds the register's number.
enum class Arg : std::uint8_t {
    // Registers and numbers.
    dst,
    src,
    src0,
    src1,
    value,      // BRANCH: register compared with zero
    immediate,  // unsigned for MOVE, signed for ADD_IMMEDIATE
    // Memory.
    address,  // pair
    offset,   // signed: bytes, for BRANCH instructions
    base,     // first register of a transfer
    mask,     // which of the 16 registers from base on
    length,   // register: bytes of a called stream
    count,    // TRACE_POINT: registers
    // Scoreboard.
    wait,    // mask of slots
    signal,  // slot
    endpoint_entry,
    other_entry,
    // Sync objects and state.
    data,       // register or pair
    reference,  // register or pair
    condition,
    scope,
    error_propagate,
    error_reject,
    state,
    // Queue.
    progress,  // bump the queue's progress counter
    queue,
    exception_type,
    size,  // PROT_REGION: instructions
    compute,
    fragment,
    tiler,
    idvs,
    l2_mode,
    lsc_mode,
    other_mode,
    flush_id,
    operation,  // HEAP_OPERATION
    // Jobs.
    task_increment,
    task_axis,
    workgroups_per_task,
    srt_select,
    spd_select,
    tsd_select,
    fau_select,
    flags_override,
    malloc_enable,
    draw_id_enable,
    draw_id,
    varying_srt_select,
    varying_fau_select,
    varying_tsd_select,
    fragment_srt_select,
    fragment_tsd_select,
    tile_enable_map,
    tile_order,
    draw_descriptor,
    frag_completed,
    first_chunk,
    last_chunk,
};

/// What a field holds, which is also how the disassembler writes it.
enum class Kind : std::uint8_t {
    reg,        // r70
    pair,       // d68
    address,    // a pair that memory is reached through: [d68 - 8], with the row's offset
    reg_mask,   // {r70, r71}, with the row's base
    slots,      // {0, 3-7}
    slot,       // scoreboard slot to signal
    imm,        // unsigned, decimal
    bits,       // unsigned, hexadecimal
    simm,       // two's complement, decimal
    flag,       // one bit, its label stands for "set"
    choice,     // one of the field's names
    condition,  // a choice that stands between its operands
};

/// When an instruction is done, and which scoreboard slot counts it until then (facts/csf-isa.md 2.1).
enum class Class : std::uint8_t {
    synchronous,  // S: before the next instruction; no slot
    endpoint,     // E: later; the endpoint entry of SET_SB_ENTRY
    other,        // O: later; the other entry of SET_SB_ENTRY
    signalled,    // A: later; its own signal slot
    deferrable,   // D: as S if its wait mask is 0, else once those slots are zero; its own signal slot
};

// Choices. Values without a name are not defined on v10.
enum class Condition : std::uint8_t { le, gt, eq, ne, lt, ge, always };
/// What SYNC_WAIT asks: unsigned. v10 has LE and GT, later firmware GE; the others are none.
constexpr bool sync_satisfied(Condition condition, std::uint64_t value, std::uint64_t reference) {
    switch (condition) {
        case Condition::le: return value <= reference;
        case Condition::gt: return value > reference;
        default:            return value >= reference;
    }
}
enum class Scope : std::uint8_t { system = 0, csg = 2 };
enum class State : std::uint8_t { timestamp, cycle_count, disjoint_count, error_status };
enum class FlushMode : std::uint8_t { none, clean, invalidate, clean_invalidate };
enum class TaskAxis : std::uint8_t { x, y, z };
enum class HeapOperation : std::uint8_t { vt_started = 0, vt_completed = 1, frag_completed = 3 };
enum class ExceptionType : std::uint8_t { tiler_oom = 2 };

namespace names {
// By value; an empty name marks a gap.
inline constexpr std::string_view kCondition[] = {"le", "gt", "eq", "ne", "lt", "ge", "always"};
inline constexpr std::string_view kScope[] = {"system", "", "csg"};
inline constexpr std::string_view kState[] = {"timestamp", "cycle_count", "disjoint_count", "error_status"};
inline constexpr std::string_view kFlushMode[] = {"none", "clean", "invalidate", "clean_invalidate"};
inline constexpr std::string_view kTaskAxis[] = {"x", "y", "z"};
inline constexpr std::string_view kHeapOperation[] = {"vt_started", "vt_completed", "", "frag_completed"};
inline constexpr std::string_view kExceptionType[] = {"", "", "tiler_oom"};
inline constexpr std::string_view kErrorPropagate[] = {"clear", "propagate"};
inline constexpr std::string_view kErrorReject[] = {"inherit", "reject"};
inline constexpr std::string_view kTileOrder[] = {"z", "horizontal",         "vertical",        "",
                                                  "",  "reverse_horizontal", "reverse_vertical"};
}  // namespace names

/// A range of bits of an instruction and what it means.
struct Field {
    Arg arg{};
    Kind kind{};
    std::uint8_t low = 0;
    std::uint8_t width = 0;
    std::string_view label{};                     // text before the value; for a flag, instead of it
    std::span<const std::string_view> choices{};  // names by value

    /// The field's bits of the word.
    [[nodiscard]] constexpr std::uint64_t bits() const { return ((std::uint64_t{1} << width) - 1) << low; }
};

/// A row of the table.
struct Instruction {
    Op op{};
    std::string_view mnemonic;
    Class cls{};

    constexpr Instruction(Op op_, std::string_view mnemonic_, Class cls_, std::initializer_list<Field> fields)
        : op(op_), mnemonic(mnemonic_), cls(cls_), field_count_(fields.size()) {
        std::ranges::copy(fields, fields_.begin());
    }

    /// In the order in which the text names them.
    [[nodiscard]] constexpr std::span<const Field> fields() const {
        return std::span(fields_).first(field_count_);
    }
    [[nodiscard]] constexpr const Field* find(Arg arg) const {
        for (const Field& field : fields())
            if (field.arg == arg) return &field;
        return nullptr;
    }

  private:
    std::array<Field, 10> fields_{};
    std::size_t field_count_ = 0;
};

namespace rows {
// Fields that several instructions share.
inline constexpr Field kAddress{Arg::address, Kind::address, 40, 8};
inline constexpr Field kTarget{Arg::address, Kind::pair, 40, 8};
inline constexpr Field kLength{Arg::length, Kind::reg, 32, 8};
inline constexpr Field kOffset{Arg::offset, Kind::simm, 0, 16};
inline constexpr Field kRegisterMask{Arg::mask, Kind::reg_mask, 16, 16};
inline constexpr Field kBase{Arg::base, Kind::reg, 48, 8};
inline constexpr Field kDst{Arg::dst, Kind::reg, 48, 8};
inline constexpr Field kDstPair{Arg::dst, Kind::pair, 48, 8};
inline constexpr Field kSrc{Arg::src, Kind::reg, 40, 8};
inline constexpr Field kWait{Arg::wait, Kind::slots, 16, 16, "after"};
inline constexpr Field kSignal{Arg::signal, Kind::slot, 48, 4, "signal"};
inline constexpr Field kProgress{Arg::progress, Kind::flag, 32, 1, "progress"};
inline constexpr Field kSrtSelect{Arg::srt_select, Kind::imm, 40, 2, "srt"};
inline constexpr Field kSpdSelect{Arg::spd_select, Kind::imm, 42, 2, "spd"};
inline constexpr Field kTsdSelect{Arg::tsd_select, Kind::imm, 44, 2, "tsd"};
inline constexpr Field kFauSelect{Arg::fau_select, Kind::imm, 46, 2, "fau"};
inline constexpr Field kFlagsOverride{Arg::flags_override, Kind::bits, 0, 32, "flags"};
inline constexpr Field kErrorPropagate{Arg::error_propagate, Kind::choice, 0, 1, "", names::kErrorPropagate};
inline constexpr Field kErrorReject{Arg::error_reject, Kind::choice, 0, 1, "", names::kErrorReject};
inline constexpr Field kScope{Arg::scope, Kind::choice, 1, 2, "", names::kScope};
inline constexpr Field kWaitCondition{Arg::condition, Kind::condition, 28, 4, "", names::kCondition};
}  // namespace rows

// clang-format off
/// Every v10 instruction, by opcode.
inline constexpr auto kInstructions = [] {
    using enum Kind;
    using enum Class;
    using namespace rows;
    return std::to_array<Instruction>({
        // All 56 bits are ignored: tools keep metadata there.
        {Op::nop, "NOP", synchronous, {}},
        {Op::move48, "MOVE48", synchronous, {kDstPair, {Arg::immediate, bits, 0, 48}}},
        {Op::move32, "MOVE32", synchronous, {kDst, {Arg::immediate, bits, 0, 32}}},
        // v10 has 8 slots. The other instructions' masks keep the 16 bits of their encoding.
        {Op::wait, "WAIT", synchronous, {{Arg::wait, slots, 16, 8, "slots"}, kProgress}},
        {Op::run_compute, "RUN_COMPUTE", endpoint, {
            {Arg::task_axis, choice, 14, 2, "axis", names::kTaskAxis},
            {Arg::task_increment, imm, 0, 14, "increment"},
            kSrtSelect, kSpdSelect, kTsdSelect, kFauSelect, kProgress}},
        {Op::run_tiling, "RUN_TILING", endpoint, {
            kFlagsOverride, kSrtSelect, kSpdSelect, kTsdSelect, kFauSelect, kProgress}},
        {Op::run_idvs, "RUN_IDVS", endpoint, {
            kFlagsOverride,
            {Arg::malloc_enable, flag, 33, 1, "malloc"},
            {Arg::draw_id_enable, flag, 34, 1, "draw_id_enable"},
            {Arg::draw_id, reg, 40, 8, "draw_id"},
            {Arg::varying_srt_select, flag, 35, 1, "varying_srt"},
            {Arg::varying_fau_select, flag, 36, 1, "varying_fau"},
            {Arg::varying_tsd_select, flag, 37, 1, "varying_tsd"},
            {Arg::fragment_srt_select, flag, 38, 1, "fragment_srt"},
            {Arg::fragment_tsd_select, flag, 39, 1, "fragment_tsd"},
            kProgress}},
        {Op::run_fragment, "RUN_FRAGMENT", endpoint, {
            {Arg::tile_order, choice, 4, 4, "order", names::kTileOrder},
            {Arg::tile_enable_map, flag, 0, 1, "tile_enable_map"},
            kProgress}},
        {Op::run_fullscreen, "RUN_FULLSCREEN", endpoint, {
            {Arg::draw_descriptor, address, 40, 8}, kFlagsOverride, kProgress}},
        {Op::finish_tiling, "FINISH_TILING", endpoint, {kProgress}},
        {Op::finish_fragment, "FINISH_FRAGMENT", deferrable, {
            {Arg::first_chunk, pair, 40, 8, "first"},
            {Arg::last_chunk, pair, 32, 8, "last"},
            {Arg::frag_completed, flag, 0, 1, "frag_completed"},
            kWait, kSignal}},
        {Op::add_immediate32, "ADD_IMMEDIATE32", synchronous, {kDst, kSrc, {Arg::immediate, simm, 0, 32}}},
        {Op::add_immediate64, "ADD_IMMEDIATE64", synchronous, {
            kDstPair, {Arg::src, pair, 40, 8}, {Arg::immediate, simm, 0, 32}}},
        {Op::umin32, "UMIN32", synchronous, {kDst, {Arg::src0, reg, 40, 8}, {Arg::src1, reg, 32, 8}}},
        {Op::load_multiple, "LOAD_MULTIPLE", other, {kRegisterMask, kBase, kAddress, kOffset}},
        {Op::store_multiple, "STORE_MULTIPLE", other, {kRegisterMask, kBase, kAddress, kOffset}},
        {Op::branch, "BRANCH", synchronous, {
            {Arg::condition, condition, 28, 3, "", names::kCondition}, {Arg::value, reg, 40, 8}, kOffset}},
        {Op::set_sb_entry, "SET_SB_ENTRY", synchronous, {
            {Arg::endpoint_entry, imm, 0, 4, "endpoint"}, {Arg::other_entry, imm, 4, 4, "other"}}},
        {Op::progress_wait, "PROGRESS_WAIT", synchronous, {{Arg::queue, imm, 0, 5, "queue"}, kSrc}},
        {Op::set_exception_handler, "SET_EXCEPTION_HANDLER", synchronous, {
            {Arg::exception_type, choice, 0, 8, "", names::kExceptionType}, kTarget, kLength}},
        {Op::call, "CALL", synchronous, {kTarget, kLength}},
        {Op::jump, "JUMP", synchronous, {kTarget, kLength}},
        {Op::req_resource, "REQ_RESOURCE", synchronous, {
            {Arg::compute, flag, 0, 1, "compute"}, {Arg::fragment, flag, 1, 1, "fragment"},
            {Arg::tiler, flag, 2, 1, "tiler"}, {Arg::idvs, flag, 3, 1, "idvs"}}},
        {Op::flush_cache2, "FLUSH_CACHE2", signalled, {
            {Arg::l2_mode, choice, 0, 4, "l2", names::kFlushMode},
            {Arg::lsc_mode, choice, 4, 4, "lsc", names::kFlushMode},
            {Arg::other_mode, choice, 8, 4, "other", names::kFlushMode},
            {Arg::flush_id, reg, 40, 8, "id"},
            kWait, kSignal}},
        {Op::sync_add32, "SYNC_ADD32", deferrable, {
            kAddress, {Arg::data, reg, 32, 8}, kErrorPropagate, kScope, kWait, kSignal}},
        {Op::sync_set32, "SYNC_SET32", deferrable, {
            kAddress, {Arg::data, reg, 32, 8}, kErrorPropagate, kScope, kWait, kSignal}},
        {Op::sync_wait32, "SYNC_WAIT32", synchronous, {
            kAddress, kWaitCondition, {Arg::reference, reg, 32, 8}, kErrorReject}},
        {Op::store_state, "STORE_STATE", deferrable, {
            {Arg::state, choice, 32, 2, "", names::kState}, kAddress, kOffset, kWait, kSignal}},
        {Op::prot_region, "PROT_REGION", synchronous, {{Arg::size, imm, 0, 16}}},
        {Op::progress_store, "PROGRESS_STORE", synchronous, {kSrc}},
        {Op::progress_load, "PROGRESS_LOAD", synchronous, {kDst}},
        {Op::run_compute_indirect, "RUN_COMPUTE_INDIRECT", endpoint, {
            {Arg::workgroups_per_task, imm, 0, 16, "workgroups"},
            kSrtSelect, kSpdSelect, kTsdSelect, kFauSelect, kProgress}},
        {Op::error_barrier, "ERROR_BARRIER", synchronous, {}},
        {Op::heap_set, "HEAP_SET", synchronous, {kTarget}},
        {Op::heap_operation, "HEAP_OPERATION", deferrable, {
            {Arg::operation, choice, 32, 2, "", names::kHeapOperation}, kWait, kSignal}},
        {Op::trace_point, "TRACE_POINT", deferrable, {
            {Arg::base, reg, 32, 8}, {Arg::count, imm, 40, 8, "count"}, kWait, kSignal}},
        {Op::sync_add64, "SYNC_ADD64", deferrable, {
            kAddress, {Arg::data, pair, 32, 8}, kErrorPropagate, kScope, kWait, kSignal}},
        {Op::sync_set64, "SYNC_SET64", deferrable, {
            kAddress, {Arg::data, pair, 32, 8}, kErrorPropagate, kScope, kWait, kSignal}},
        {Op::sync_wait64, "SYNC_WAIT64", synchronous, {
            kAddress, kWaitCondition, {Arg::reference, pair, 32, 8}, kErrorReject}},
    });
}();
// clang-format on
static_assert(kInstructions.size() == 39);
static_assert(std::ranges::adjacent_find(kInstructions, std::ranges::greater_equal{}, &Instruction::op) ==
                  kInstructions.end(),
              "ascending, each opcode once");

constexpr std::uint8_t opcode(std::uint64_t word) { return static_cast<std::uint8_t>(word >> 56); }

/// The row of an opcode; null if v10 does not assign it. O(1).
constexpr const Instruction* find(std::uint8_t number) {
    constexpr auto kRowPlusOne = [] {
        std::array<std::uint8_t, 256> index{};
        for (std::size_t row = 0; row < kInstructions.size(); ++row)
            index[std::to_underlying(kInstructions[row].op)] = static_cast<std::uint8_t>(row + 1);
        return index;
    }();
    const std::size_t row_plus_one = kRowPlusOne[number];
    return row_plus_one == 0 ? nullptr : &kInstructions[row_plus_one - 1];
}

/// Bits 55:0 that no field of the instruction covers; encoders write them as zero. None for NOP, whose bits
/// are all ignored.
constexpr std::uint64_t reserved_bits(const Instruction& instruction) {
    if (instruction.op == Op::nop) return 0;
    std::uint64_t covered = 0;
    for (const Field& field : instruction.fields()) covered |= field.bits();
    return ~covered & ((std::uint64_t{1} << 56) - 1);
}

/// The field's value in `word`; a simm as the 64-bit pattern of its sign-extended value.
constexpr std::uint64_t extract(const Field& field, std::uint64_t word) {
    const std::uint64_t at_top = word << (64 - field.low - field.width);
    const unsigned unused = 64U - field.width;
    if (field.kind == Kind::simm)
        return static_cast<std::uint64_t>(static_cast<std::int64_t>(at_top) >> unused);
    return at_top >> unused;
}

/// Whether the field can hold `value` (a negative one as its 64-bit pattern). A pair must be even.
constexpr bool fits(const Field& field, std::uint64_t value) {
    const bool is_pair = field.kind == Kind::pair || field.kind == Kind::address;
    return extract(field, value << field.low) == value && !(is_pair && value % 2 != 0);
}

/// Not constexpr, so that a constant expression that gets here does not compile and the compiler says this
/// name.
inline void operand_does_not_fit_its_field() { assert(false && "operand does not fit its field"); }

/// The bits of a word in which the field holds `value`, which must fit. In a build without assertions a value
/// that does not is cut off, so that it never spills into its neighbours.
constexpr std::uint64_t deposit(const Field& field, std::uint64_t value) {
    if (!fits(field, value)) operand_does_not_fit_its_field();
    return (value << field.low) & field.bits();
}

/// The field of an instruction, found while compiling.
template <Op op, Arg arg>
consteval Field field() {
    constexpr const Field* kField = find(std::to_underlying(op))->find(arg);
    static_assert(kField != nullptr, "the instruction has no such operand");
    return *kField;
}

/// The operand of a word that is known to be an `op`: a shift and a mask. std::int64_t if it is signed, else
/// std::uint64_t.
template <Op op, Arg arg>
constexpr auto get(std::uint64_t word) {
    constexpr Field kField = field<op, arg>();
    if constexpr (kField.kind == Kind::simm)
        return static_cast<std::int64_t>(extract(kField, word));
    else
        return extract(kField, word);
}

/// A named argument of encode().
template <Arg arg>
struct Operand {
    template <typename T>
        requires std::integral<T> || std::is_enum_v<T>
    explicit constexpr Operand(T from) : value(static_cast<std::uint64_t>(from)) {}
    std::uint64_t value;
};

/// The instruction word; operands that are not given are zero. A value that does not fit its field, or an odd
/// pair, does not compile in a constant expression and fails an assertion elsewhere.
template <Op op, Arg... args>
constexpr std::uint64_t encode(Operand<args>... operands) {
    static_assert((0 + ... + field<op, args>().width) ==
                      std::popcount((std::uint64_t{0} | ... | field<op, args>().bits())),
                  "an operand is given twice");
    return ((std::uint64_t{std::to_underlying(op)} << 56) | ... | deposit(field<op, args>(), operands.value));
}

}  // namespace belfry::csf
