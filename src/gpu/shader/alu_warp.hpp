// Instructions that look across the lanes of a warp.
#pragma once

#include "gpu/shader/alu_handler.hpp"

namespace belfry::gpu::shader::BELFRY_SIMD {

/// Lanes of a cluster, which is a power of two.
template <valhall::Op kName>
inline u32 cluster_lanes(Word<kName> word) {
    const u32 subgroup = modifier<valhall::Mod::subgroup>(word);
    return subgroup > 3 ? kLanes : 2U << subgroup;
}

/// Writes `result` to the lanes of `active`.
inline void write(const Op& op, unsigned index, const Operands& operands, LaneMask active,
                  const Lanes& result) {
    const u32 mask = kWriteMasks[op.write_mask & 3];
    Lanes& destination = operands.reg(index);
    for (unsigned lane = 0; lane < kLanes; ++lane) {
        const u32 written = (active & kLaneBits.bit[lane]) != 0 ? mask : 0;
        destination.word[lane] = (result.word[lane] & written) | (destination.word[lane] & ~written);
    }
}

/// Reads the first source of the lane that the second one names.
template <valhall::Op kName>
[[gnu::flatten]] void run_clper(const Op& op, const Operands& operands, LaneMask active) {
    const Word<kName> word{op.word};
    const u32 in_cluster = cluster_lanes(word) - 1;
    const u32 flip =
        static_cast<valhall::LaneOp>(modifier<valhall::Mod::lane_op>(word)) == valhall::LaneOp::exclusive_or
            ? ~0U
            : 0;
    const u32 inactive = valhall::kInactiveResults[modifier<valhall::Mod::inactive_result>(word) & 15];
    const Load<kRow<kName>.sources_[1], Type::word, false> lane_of(op);
    const Lanes& named = operands(op.source[1]);
    constexpr unsigned kWords = kRow<kName>.element == 64 ? 2 : 1;
    Lanes result[kWords];
    for (unsigned i = 0; i < kWords; ++i) {
        const Lanes& source = operands(static_cast<OperandIndex>(op.source[0] | i));
        for (unsigned lane = 0; lane < kLanes; ++lane) {
            const u32 index = lane_of(named.word[lane]) ^ (flip & lane);
            const u32 from = ((lane & ~in_cluster) | (index & in_cluster)) & (kLanes - 1);
            result[i].word[lane] = choose(0 - (active >> from & 1), source.word[from], inactive);
        }
    }
    for (unsigned i = 0; i < kWords; ++i) write(op, op.destination | i, operands, active, result[i]);
}

/// Which lanes of the cluster have something other than 0; bit 0 is the cluster's first lane.
template <valhall::Op kName>
[[gnu::flatten]] void run_wmask(const Op& op, const Operands& operands, LaneMask active) {
    const u32 lanes = cluster_lanes(Word<kName>{op.word});
    const Lanes& source = operands(op.source[0]);
    u32 set = 0;
    for (unsigned lane = 0; lane < kLanes; ++lane) set |= source.word[lane] != 0 ? kLaneBits.bit[lane] : 0;
    set &= active;
    Lanes result;
    for (unsigned lane = 0; lane < kLanes; ++lane)
        result.word[lane] = set >> (lane & ~(lanes - 1)) & ((1U << lanes) - 1);
    write(op, op.destination, operands, active, result);
}

}  // namespace belfry::gpu::shader::BELFRY_SIMD
