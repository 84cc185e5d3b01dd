// LOAD, STORE: what the lanes of a warp move between their registers and memory.
//
// Most accesses of a warp are 16 consecutive words: these are recognised and moved as one. The rest goes lane
// by lane, in order, so that the last lane wins where several store to one place.
#include <cstdint>
#include <cstring>

#include "gpu/shader/access.hpp"
#include "gpu/shader/execution.hpp"
#include "gpu/shader/messages.hpp"
#include "gpu/shader/vectors.hpp"

namespace belfry::gpu::shader {
namespace {

using valhall::Mod;
using Name = valhall::Op;

std::uint64_t offset_of(const Op& op) {
    static_assert(valhall::row(Name::load_i32).find(Mod::offset)->bits() ==
                  valhall::row(Name::store_i32).find(Mod::offset)->bits());
    return valhall::get<Name::load_i32, Mod::offset>(op.word);
}

/// The address of lane 0 if all 16 lanes access consecutive values that lie in one page; else kSink, which is
/// no such address.
template <unsigned kBytes>
[[gnu::always_inline]] inline std::uint64_t consecutive(const Execution& execution, const Op& op) {
    constexpr std::uint32_t kAll = kLanes * kBytes;
    if (execution.active != kAllLanes) return kSink;
    const Lanes& low = execution.operands(op.source[0]);
    const Lanes& high = execution.operands(static_cast<OperandIndex>(op.source[0] + 1));
    if (!ascend_by<kBytes>(low) || !all_equal(high)) return kSink;
    const std::uint64_t address = (low[0] | std::uint64_t{high[0]} << 32) + offset_of(op);
    return low[0] <= ~0U - kAll && within_page(address, kAll) ? address : kSink;
}

/// Out of the way of what is common, which so needs few registers of the CPU's.
template <unsigned kBytes>
[[gnu::noinline]] bool load_lane_by_lane(Execution& execution, const Op& op) {
    const Operands& operands = execution.operands;
    const std::uint64_t offset = offset_of(op);
    if (execution.active == kAllLanes && all_equal(operands(op.source[0])) &&
        all_equal(operands(static_cast<OperandIndex>(op.source[0] + 1)))) {
        Words<kBytes> value;
        if (!read_words<kBytes>(execution.memory, pair_of(operands, op.source[0], 0) + offset, value))
            return execution.raise_refusal(0, AccessKind::read);
        for (unsigned i = 0; i < value.size(); ++i) fill(operands.reg(op.destination + i), value[i]);
        return true;
    }
    for (LaneMask rest = execution.active; rest != 0; rest &= rest - 1) {
        const unsigned lane = first_of(rest);
        Words<kBytes> value;
        if (!read_words<kBytes>(execution.memory, pair_of(operands, op.source[0], lane) + offset, value))
            return execution.raise_refusal(lane, AccessKind::read);
        for (unsigned i = 0; i < value.size(); ++i) operands.reg(op.destination + i)[lane] = value[i];
    }
    return true;
}

template <unsigned kBytes>
bool load(Execution& execution, const Op& op) {
    if constexpr (kBytes % 4 == 0) {
        if (const std::uint64_t address = consecutive<kBytes>(execution, op); address != kSink) [[likely]] {
            const std::byte* const host = execution.memory.readable(address);
            if (host == nullptr) return execution.raise_refusal(0, AccessKind::read);
            load_lanes<kBytes / 4>(host, &execution.operands.reg(op.destination));
            return true;
        }
    }
    return load_lane_by_lane<kBytes>(execution, op);
}

/// Loads of less than a register, or with an extension.
template <unsigned kBytes>
bool load_part(Execution& execution, const Op& op) {
    const Operands& operands = execution.operands;
    const std::uint64_t offset = offset_of(op);
    const Placement place = placement_of(op);
    for (LaneMask rest = execution.active; rest != 0; rest &= rest - 1) {
        const unsigned lane = first_of(rest);
        Words<kBytes> value;
        if (!read_words<kBytes>(execution.memory, pair_of(operands, op.source[0], lane) + offset, value))
            return execution.raise_refusal(lane, AccessKind::read);
        place.put(operands, op.destination, lane, value[0]);
    }
    return true;
}

template <unsigned kBytes>
[[gnu::noinline]] bool store_lane_by_lane(Execution& execution, const Op& op) {
    const Operands& operands = execution.operands;
    const std::uint64_t offset = offset_of(op);
    for (LaneMask rest = execution.active; rest != 0; rest &= rest - 1) {
        const unsigned lane = first_of(rest);
        Words<kBytes> value;
        for (unsigned i = 0; i < value.size(); ++i) value[i] = operands.reg(op.destination + i)[lane];
        if (!write_words<kBytes>(execution.memory, pair_of(operands, op.source[0], lane) + offset, value))
            return execution.raise_refusal(lane, AccessKind::write);
    }
    return true;
}

template <unsigned kBytes>
bool store(Execution& execution, const Op& op) {
    if constexpr (kBytes % 4 == 0) {
        if (const std::uint64_t address = consecutive<kBytes>(execution, op); address != kSink) [[likely]] {
            std::byte* const host = execution.memory.writable(address);
            if (host == nullptr) return execution.raise_refusal(0, AccessKind::write);
            store_lanes<kBytes / 4>(host, &execution.operands.reg(op.destination));
            return true;
        }
    }
    return store_lane_by_lane<kBytes>(execution, op);
}

struct Choice {
    Name name;
    MessageHandler handler;
    std::uint8_t cost;
};
constexpr Choice kChoices[] = {
    {Name::load_i8, load_part<1>, 8},  {Name::load_i16, load_part<2>, 8}, {Name::load_i24, load<3>, 8},
    {Name::load_i32, load<4>, 4},      {Name::load_i48, load<6>, 8},      {Name::load_i64, load<8>, 8},
    {Name::load_i96, load<12>, 10},    {Name::load_i128, load<16>, 12},   {Name::store_i8, store<1>, 8},
    {Name::store_i16, store<2>, 8},    {Name::store_i24, store<3>, 8},    {Name::store_i32, store<4>, 4},
    {Name::store_i48, store<6>, 8},    {Name::store_i64, store<8>, 8},    {Name::store_i96, store<12>, 10},
    {Name::store_i128, store<16>, 12},
};

}  // namespace

bool bind_load_store(Op& op) {
    const auto name = static_cast<Name>(op.name);
    for (const Choice& choice : kChoices) {
        if (choice.name != name) continue;
        op.message = choice.handler;
        op.cost = choice.cost;
        if (name == Name::load_i32 && !placement_of(op).plain()) op.message = load_part<4>;
        return true;
    }
    return false;
}

}  // namespace belfry::gpu::shader
