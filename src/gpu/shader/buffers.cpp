// LD_BUFFER, LEA_BUFFER, LEA_BUF_IMM: memory by the handle of a Buffer descriptor and a byte offset.
//
// What lies outside of the buffer reads as 0, by 32-bit component; its address is the sink. Handles may
// differ between lanes, but hardly ever do.
#include <cstdint>

#include "gpu/shader/access.hpp"
#include "gpu/shader/execution.hpp"
#include "gpu/shader/messages.hpp"
#include "gpu/shader/vectors.hpp"

namespace belfry::gpu::shader {
namespace {

using valhall::Mod;
using Name = valhall::Op;

/// Reads what lies inside of `buffer`; false: memory.refusal().
template <unsigned kBytes>
bool read_inside(Memory& memory, const Buffer& buffer, std::uint32_t offset, Words<kBytes>& value) {
    value = {};
    if (std::uint64_t{offset} + kBytes <= buffer.size) [[likely]]
        return read_words<kBytes>(memory, buffer.address + offset, value);
    if constexpr (kBytes > 4) {
        for (unsigned i = 0; i < value.size(); ++i) {
            const std::uint64_t at = std::uint64_t{offset} + 4 * i;
            const unsigned bytes = kBytes - 4 * i < 4 ? kBytes - 4 * i : 4;
            if (at + bytes > buffer.size) break;
            if (!memory.read(buffer.address + at, &value[i], bytes)) return false;
        }
    }
    return true;
}

/// Calls `step(lane, buffer)` for the active lanes; false as soon as that is, or a descriptor can't be read.
template <typename Step>
bool for_lanes(Execution& execution, const Op& op, Step step) {
    const Lanes& handles = execution.operands(op.source[1]);
    for (LaneMask rest = execution.active; rest != 0; rest &= rest - 1) {
        const unsigned lane = first_of(rest);
        const Buffer* const buffer = execution.descriptors.buffer(handles[lane], execution.memory);
        if (buffer == nullptr) return execution.raise_refusal(lane, AccessKind::read);
        if (!step(lane, *buffer)) return false;
    }
    return true;
}

template <unsigned kBytes>
bool load_buffer(Execution& execution, const Op& op) {
    const Operands& operands = execution.operands;
    return for_lanes(execution, op, [&](unsigned lane, const Buffer& buffer) {
        Words<kBytes> value;
        const std::uint32_t offset = operands(op.source[0])[lane];
        if (!read_inside<kBytes>(execution.memory, buffer, offset, value))
            return execution.raise_refusal(lane, AccessKind::read);
        for (unsigned i = 0; i < value.size(); ++i) operands.reg(op.destination + i)[lane] = value[i];
        return true;
    });
}

template <unsigned kBytes>
bool load_buffer_part(Execution& execution, const Op& op) {
    const Operands& operands = execution.operands;
    const Placement place = placement_of(op);
    return for_lanes(execution, op, [&](unsigned lane, const Buffer& buffer) {
        Words<kBytes> value;
        const std::uint32_t offset = operands(op.source[0])[lane];
        if (!read_inside<kBytes>(execution.memory, buffer, offset, value))
            return execution.raise_refusal(lane, AccessKind::read);
        place.put(operands, op.destination, lane, value[0]);
        return true;
    });
}

bool lea_buffer(Execution& execution, const Op& op) {
    const Operands& operands = execution.operands;
    return for_lanes(execution, op, [&](unsigned lane, const Buffer& buffer) {
        const std::uint32_t offset = operands(op.source[0])[lane];
        const std::uint64_t address = offset < buffer.size ? buffer.address + offset : kSink;
        operands.reg(op.destination)[lane] = static_cast<std::uint32_t>(address);
        operands.reg(op.destination + 1)[lane] = static_cast<std::uint32_t>(address >> 32);
        return true;
    });
}

struct Choice {
    Name name;
    MessageHandler handler;
    std::uint8_t cost;
};
constexpr Choice kChoices[] = {
    {Name::ld_buffer_i8, load_buffer_part<1>, 8},
    {Name::ld_buffer_i16, load_buffer_part<2>, 8},
    {Name::ld_buffer_i24, load_buffer<3>, 8},
    {Name::ld_buffer_i32, load_buffer<4>, 5},
    {Name::ld_buffer_i48, load_buffer<6>, 8},
    {Name::ld_buffer_i64, load_buffer<8>, 8},
    {Name::ld_buffer_i96, load_buffer<12>, 10},
    {Name::ld_buffer_i128, load_buffer<16>, 12},
    {Name::lea_buffer, lea_buffer, 8},
};

}  // namespace

bool bind_buffer(Op& op) {
    // LEA_BUF_IMM: no compute shader has the packet buffer that it is for.
    for (const Choice& choice : kChoices) {
        if (choice.name != static_cast<Name>(op.name)) continue;
        op.message = choice.handler;
        op.cost = choice.cost;
        if (choice.name == Name::ld_buffer_i32 && !placement_of(op).plain()) op.message = load_buffer_part<4>;
        return true;
    }
    return false;
}

}  // namespace belfry::gpu::shader
