#include "gpu/shader/program.hpp"

#include <algorithm>
#include <span>

#include "base/atomic.hpp"
#include "belfry/uapi/valhall.hpp"
#include "gpu/shader/alu.hpp"
#include "gpu/shader/messages.hpp"

namespace belfry::gpu::shader {
namespace {

using valhall::Flow;
using valhall::Mod;
using Name = valhall::Op;

/// Bits 16 ... 19: suppress NaN, flush mode, suppress infinity.
constexpr std::uint32_t kFloatModeMask = 0xf0000;

OperandIndex special(valhall::Special special) {
    using enum valhall::Special;
    switch (special) {
        case warp_id:                 return kWarpId;
        case thread_local_pointer:    return kThreadLocalPointer;
        case workgroup_local_pointer: return kWorkgroupLocalPointer;
        case resource_table_pointer:  return kResourceTablePointer;
        case lane_id:                 return kLaneId;
        case core_id:                 return kCoreId;
        case program_counter:         return kProgramCounter;
        default:                      return kZero;
    }
}

OperandIndex index_of(const valhall::Operand& operand) {
    switch (operand.kind) {
        case valhall::SourceKind::reg:      return operand.index;
        case valhall::SourceKind::uniform:  return static_cast<OperandIndex>(kUniforms + operand.index);
        case valhall::SourceKind::constant: return static_cast<OperandIndex>(kConstants + 2 * operand.index);
        case valhall::SourceKind::special:
            return static_cast<OperandIndex>(special(operand.special) + operand.word);
    }
    __builtin_unreachable();
}

bool acts(Flow flow) { return flow == Flow::reconverge || flow == Flow::end; }

/// Of an operation that has its handler, if it needs one.
OpKind kind_of(Name name, Flow flow) {
    switch (name) {
        case Name::nop:      return acts(flow) ? OpKind::nop_then_flow : OpKind::nop;
        case Name::branchz:  return OpKind::branch;
        case Name::branchzi: return OpKind::branch_indirect;
        case Name::barrier:  return OpKind::barrier;
        default:             break;
    }
    if (valhall::row(name).is_alu()) return acts(flow) ? OpKind::alu_then_flow : OpKind::alu;
    return acts(flow) ? OpKind::message_then_flow : OpKind::message;
}

bool bind_message(Op& op) {
    using enum valhall::Op;
    switch (static_cast<Name>(op.name)) {
        case load_i8:
        case load_i16:
        case load_i24:
        case load_i32:
        case load_i48:
        case load_i64:
        case load_i96:
        case load_i128:
        case store_i8:
        case store_i16:
        case store_i24:
        case store_i32:
        case store_i48:
        case store_i64:
        case store_i96:
        case store_i128:       return bind_load_store(op);
        case ld_buffer_i8:
        case ld_buffer_i16:
        case ld_buffer_i24:
        case ld_buffer_i32:
        case ld_buffer_i48:
        case ld_buffer_i64:
        case ld_buffer_i96:
        case ld_buffer_i128:
        case lea_buffer:
        case lea_buf_imm:      return bind_buffer(op);
        case atom_i32:
        case atom_i64:
        case atom_return_i32:
        case atom_return_i64:
        case atom1_return_i32:
        case atom1_return_i64: return bind_atomic(op);
        case ld_gclk_u64:      return bind_clock(op);
        case ld_attr:
        case ld_attr_imm:
        case lea_attr:
        case lea_attr_imm:     return bind_attribute(op);
        case ld_tex:
        case ld_tex_imm:
        case lea_tex:
        case lea_tex_imm:
        case st_cvt:           return bind_image(op);
        case tex_fetch:
        case tex_single:
        case tex_gather:
        case tex_gradient:     return bind_texture(op);
        default:               return false;  // varyings and what fragments have
    }
}

/// Chooses the handler. False: what the instruction says is not defined here.
bool bind(Op& op, const valhall::Row& row, std::uint32_t program_word) {
    switch (row.op) {
        case Name::nop:
        case Name::barrier:  return true;
        case Name::branchz:
        case Name::branchzi: {
            const auto combine = static_cast<valhall::Combine>(valhall::selector(row.sources()[0], op.word));
            if (combine == valhall::Combine::both || combine == valhall::Combine::low_bits) return false;
            // Which halves are tested.
            op.write_mask = combine == valhall::Combine::h0 ? 1 : combine == valhall::Combine::h1 ? 2 : 3;
            return row.op == Name::branchz || valhall::get<Name::branchzi, Mod::absolute>(op.word) != 0;
        }
        case Name::discard_f32: return false;  // of fragments
        default:                break;
    }
    if (!row.is_alu()) return bind_message(op);
    const FloatMode mode(program_word);
    op.float_mode = mode.bits();
    op.alu = alu_handler(row.op, op.word, mode);
    return op.alu != nullptr;
}

/// One bit each.
std::uint64_t registers_written(const valhall::Row& row, std::uint64_t word) {
    if (row.destination == valhall::Destination::normal)
        return (row.writes_pair() ? 3ULL : 1ULL) << valhall::destination(word);
    const valhall::Registers list = valhall::staging(row, word).written;
    return ((1ULL << list.count) - 1) << list.base;
}

bool reads_pc(const Op& op, std::size_t sources) {
    return std::ranges::any_of(std::span(op.source).first(sources),
                               [](OperandIndex index) { return (index & ~1U) == kProgramCounter; });
}

}  // namespace

Programs::Programs(std::span<Lanes> literals)
    : pages_(std::make_unique_for_overwrite<CodePage[]>(kPages)), literals_(literals) {}

void Programs::begin(std::uint32_t program_word) {
    program_word_ = program_word & kFloatModeMask;
    written_ = 0;
    ++epoch_;
    if (!literals_.crowded()) return;
    // What has been decoded names them.
    tags_.fill({});
    literals_.clear();
}

/// Gives constants that have modifiers rows of their own.
void Programs::fold_constants(Op& op, const valhall::Row& row) {
    const auto sources = row.sources();
    for (std::size_t i = 0; i < sources.size(); ++i) {
        if (valhall::operand(sources[i], op.word).kind != valhall::SourceKind::constant) continue;
        const auto folded = fold_constant(row, op.word, i);
        const auto literal = folded ? literals_.operand(folded->value) : std::nullopt;
        if (!literal) continue;
        op.word = folded->word;
        op.source[i] = *literal;
    }
}

CodePage* Programs::enter(std::uint64_t page) {
    if (page >> (kAddressBits - kPageShift) != 0) return nullptr;
    const Page memory = translation_->page(page << kPageShift);
    if (memory.host == nullptr || (memory.rights & kExecute) == 0) return nullptr;
    Tag& tag = tags_[slot(page)];
    CodePage& code = pages_[slot(page)];
    const auto* const words = reinterpret_cast<const std::uint64_t*>(memory.host);
    bool kept = tag.page == page && tag.program_word == program_word_;
    for (std::size_t i = 0; i < kOpsPerPage; ++i) {
        // The copy is what is judged and decoded, whatever becomes of the memory.
        const std::uint64_t word = base::load(words[i], base::kRelaxed);
        kept = kept && word == code.words[i];
        code.words[i] = word;
    }
    if (!kept) {
        for (Op& op : code.ops) op.kind = static_cast<std::uint8_t>(OpKind::undecoded);
        code.ops.back().kind = static_cast<std::uint8_t>(OpKind::page_end);
        code.written = 0;
    }
    written_ |= code.written;
    tag = {.page = page, .epoch = epoch_, .program_word = program_word_};
    return &code;
}

void Programs::decode(CodePage& page, std::size_t index) {
    const std::uint64_t word = page.words[index];
    Op op{};
    op.word = word;
    op.kind = static_cast<std::uint8_t>(OpKind::invalid);
    if (const valhall::Row* const row = valhall::decode(word); row != nullptr) {
        const auto sources = row->sources();
        for (std::size_t i = 0; i < sources.size(); ++i)
            op.source[i] = index_of(valhall::operand(sources[i], word));
        const Flow flow = valhall::flow(word);
        op.name = static_cast<std::uint16_t>(row->op);
        op.flow = static_cast<std::uint8_t>(flow);
        op.destination = static_cast<std::uint8_t>(valhall::destination(word));
        op.write_mask = static_cast<std::uint8_t>(valhall::write_mask(word));
        op.result = valhall::staging(*row, word).written.base;
        page.written |= registers_written(*row, word);
        written_ |= page.written;
        if (row->is_alu() && FloatMode(program_word_).plain()) fold_constants(op, *row);
        if (bind(op, *row, program_word_))
            op.kind = static_cast<std::uint8_t>(reads_pc(op, sources.size()) ? OpKind::reads_pc
                                                                             : kind_of(row->op, flow));
    }
    page.ops[index] = op;
}

OpKind Programs::kind_without_pc(const Op& op) {
    return kind_of(static_cast<Name>(op.name), static_cast<Flow>(op.flow));
}

}  // namespace belfry::gpu::shader
