// What a command stream asks of the shader cores, and what comes back.
#pragma once

#include <cstdint>

#include "gpu/shader/task.hpp"

namespace belfry::gpu {

/// An instruction of a stream and where it stands, for faults.
struct Place {
    std::uint64_t cmd_ptr;      // GPU address
    std::uint64_t instruction;  // its word, 0 if it could not be fetched
};

/// A RUN_COMPUTE or RUN_COMPUTE_INDIRECT, with all operands sampled at issue.
struct ComputeJob {
    shader::ComputeRegisters registers;
    std::uint64_t workgroups_per_task;  // what the instruction asks for; 0 counts as 1
    Place place;
    std::uint8_t entry;     // scoreboard entry that it counts on
    std::uint8_t progress;  // bumps the stream's progress counter when it is done
};

/// How a job of a stream ended.
struct ComputeResult {
    std::uint32_t stream;
    std::uint8_t entry;
    std::uint8_t progress;
    std::uint8_t faulted;
    shader::Fault fault;  // if `faulted`
    Place place;
};

}  // namespace belfry::gpu
