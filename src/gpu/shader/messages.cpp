#include "gpu/shader/messages.hpp"

#include "gpu/shader/execution.hpp"

namespace belfry::gpu::shader {
namespace {

using valhall::Mod;
using Name = valhall::Op;

/// LD_GCLK: the timestamp counter, whichever clock is asked for: there is one.
bool load_clock(Execution& execution, const Op& op) {
    const std::uint64_t now = execution.translation->timestamp();
    for (LaneMask rest = execution.active; rest != 0; rest &= rest - 1) {
        const unsigned lane = first_of(rest);
        execution.operands.reg(op.destination)[lane] = static_cast<std::uint32_t>(now);
        execution.operands.reg(op.destination + 1)[lane] = static_cast<std::uint32_t>(now >> 32);
    }
    return true;
}

}  // namespace

bool bind_clock(Op& op) {
    op.message = load_clock;
    op.cost = 10;
    return true;
}

Placement placement_of(const Op& op) {
    const valhall::Row& row = valhall::row(static_cast<Name>(op.name));
    return placement(row.element, static_cast<unsigned>(valhall::get(row, Mod::ldlane, op.word)),
                     valhall::get(row, Mod::is_unsigned, op.word) != 0);
}

}  // namespace belfry::gpu::shader
