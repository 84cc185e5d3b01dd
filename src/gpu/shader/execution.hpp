// Execution: what a core is at, as message instructions see it.
//
// Owns   the core's TLB, its descriptors, and the fault that ended a task.
// Runs   on whatever thread runs the Core.
// Called by core.cpp, which fills it in; by each message handler, which gets it as its world.
//
// A message instruction is done when its handler returns: the waits of the flow field have nothing to wait
// for.
#pragma once

#include <cstdint>

#include "gpu/shader/descriptors.hpp"
#include "gpu/shader/memory.hpp"
#include "gpu/shader/task.hpp"
#include "gpu/shader/vectors.hpp"
#include "gpu/shader/warp.hpp"

namespace belfry::gpu::shader {

/// What an access that failed would have done.
enum class AccessKind : std::uint8_t { read, write, atomic };

struct Execution {
    // Of the warp that runs:
    Operands operands;
    LaneMask active;           ///< lanes that run the instruction; never none
    std::uint32_t first_lane;  ///< index of lane 0 within the workgroup
    const Workgroup* workgroup;
    /// What the warp may still do before it is left. A handler takes what it costs beyond Op::cost.
    std::int64_t steps;

    // Of the task:
    const Job* job;
    std::uint32_t core;  ///< Task::core
    const Translation* translation;
    Memory memory;
    Descriptors descriptors;

    Fault fault;  ///< valid once a handler has returned false; its pc and instruction are filled in after

    /// Notes a fault of `lane` (0 ... 15); returns false, as the handler then must.
    bool raise(csf::Exception exception, unsigned lane, std::uint64_t address = 0,
               AccessKind kind = AccessKind::read);
    /// Notes that `lane` ran into memory.refusal().
    bool raise_refusal(unsigned lane, AccessKind kind);
};

}  // namespace belfry::gpu::shader
