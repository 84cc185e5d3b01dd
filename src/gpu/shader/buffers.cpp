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
    std::uint32_t handle = 0;
    const Buffer* buffer = nullptr;
    for (LaneMask rest = execution.active; rest != 0; rest &= rest - 1) {
        const unsigned lane = first_of(rest);
        if (buffer == nullptr || handles[lane] != handle) {
            handle = handles[lane];
            buffer = execution.descriptors.buffer(handle, execution.memory);
            if (buffer == nullptr) return execution.raise_refusal(lane, AccessKind::read);
        }
        if (!step(lane, *buffer)) return false;
    }
    return true;
}

/// Out of the way of what is common, which so needs few registers of the CPU's.
template <unsigned kBytes>
[[gnu::noinline]] bool load_lane_by_lane(Execution& execution, const Op& op) {
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
bool load_buffer(Execution& execution, const Op& op) {
    const Operands& operands = execution.operands;
    const Lanes& offsets = operands(op.source[0]);
    const Lanes& handles = operands(op.source[1]);
    if (execution.active != kAllLanes || !all_equal(handles)) return load_lane_by_lane<kBytes>(execution, op);
    const Buffer* const buffer = execution.descriptors.buffer(handles[0], execution.memory);
    if (buffer == nullptr) return execution.raise_refusal(0, AccessKind::read);

    if (all_equal(offsets)) {
        Words<kBytes> value;
        if (!read_inside<kBytes>(execution.memory, *buffer, offsets[0], value))
            return execution.raise_refusal(0, AccessKind::read);
        for (unsigned i = 0; i < value.size(); ++i) fill(operands.reg(op.destination + i), value[i]);
        return true;
    }
    constexpr std::size_t kAll = kLanes * kBytes;
    const std::uint64_t address = buffer->address + offsets[0];
    if (kBytes % 4 == 0 && ascend_by<kBytes>(offsets) && std::uint64_t{offsets[0]} + kAll <= buffer->size &&
        within_page(address, kAll)) {
        const std::byte* const host = execution.memory.readable(address);
        if (host == nullptr) return execution.raise_refusal(0, AccessKind::read);
        load_lanes<kBytes / 4>(host, &operands.reg(op.destination));
        return true;
    }
    return load_lane_by_lane<kBytes>(execution, op);
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
    const Lanes& offsets = operands(op.source[0]);
    Lanes low;
    Lanes high;
    const auto point = [&](unsigned lane, const Buffer& buffer) {
        const std::uint64_t address = offsets[lane] < buffer.size ? buffer.address + offsets[lane] : kSink;
        low[lane] = static_cast<std::uint32_t>(address);
        high[lane] = static_cast<std::uint32_t>(address >> 32);
    };
    const Lanes& handles = operands(op.source[1]);
    if (all_equal(handles)) {
        const Buffer* const buffer = execution.descriptors.buffer(handles[0], execution.memory);
        if (buffer == nullptr) return execution.raise_refusal(first_of(execution.active), AccessKind::read);
        const Buffer copy = *buffer;
        for (unsigned lane = 0; lane < kLanes; ++lane) point(lane, copy);
    } else if (!for_lanes(execution, op, [&](unsigned lane, const Buffer& buffer) {
                   point(lane, buffer);
                   return true;
               })) {
        return false;
    }
    assign(operands.reg(op.destination), low, execution.active);
    assign(operands.reg(op.destination + 1), high, execution.active);
    return true;
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
