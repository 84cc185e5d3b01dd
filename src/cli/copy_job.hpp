// The demo's work: a command stream that copies memory with load and store multiple.
#pragma once

#include <cstdint>

#include "belfry/command_writer.hpp"

namespace belfry::cli {

// Registers: d0 source, d2 destination, r4 steps left, d6 sync object, d8 what is added to it; r16 ... r31
// data.
inline constexpr Pair kSource = d(0);
inline constexpr Pair kDestination = d(2);
inline constexpr Reg kSteps = r(4);
inline constexpr Pair kSync = d(6);
inline constexpr Pair kOne = d(8);
inline constexpr Reg kData = r(16);

inline constexpr std::uint32_t kStepBytes = 64;  // 16 registers of 4 bytes
inline constexpr std::size_t kCopyWords = 16;    // enough for write_copy() and a sync operation

/// Copies `steps` times kStepBytes, and leaves both pointers behind what it copied.
inline void write_copy(CommandWriter& writer, std::uint32_t steps) {
    constexpr std::uint16_t kAll = 0xffff;
    const Slots loads = slots(0);
    writer.move32(kSteps, steps);
    const std::size_t loop = writer.size();
    writer.load_multiple(kData, kAll, kSource)
        .add_immediate64(kSource, kSource, kStepBytes)
        .add_immediate32(kSteps, kSteps, -1)
        .wait(loads)  // the data is in the registers only now
        .store_multiple(kData, kAll, kDestination)
        .add_immediate64(kDestination, kDestination, kStepBytes);
    // Counted from the instruction after the branch.
    const auto back = static_cast<std::int16_t>(writer.size() + 1 - loop);
    writer.branch(csf::Condition::gt, kSteps, static_cast<std::int16_t>(-back));
    writer.wait(loads);  // the stores are in memory before anybody is told
}

}  // namespace belfry::cli
