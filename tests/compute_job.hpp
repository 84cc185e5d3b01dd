// A compute job in a few words: what lies in memory, and the stream that runs it. For tests of all layers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "belfry/command_writer.hpp"
#include "belfry/uapi/csf.hpp"

namespace belfry {

/// The descriptors of a job, 64 bytes aligned wherever they lie.
struct ComputeDescriptors {
    std::uint32_t program[8];
    std::uint32_t unused[8];
    std::uint32_t local_storage[16];
    std::uint32_t uniforms[32];
};

/// Of a compute shader whose code lies at `code_va`, without local memory.
inline ComputeDescriptors describe_compute(std::uint64_t code_va,
                                           std::initializer_list<std::uint32_t> uniforms = {}) {
    ComputeDescriptors made{.program = {8 | 1U << 4, 0xffff, static_cast<std::uint32_t>(code_va),
                                        static_cast<std::uint32_t>(code_va >> 32)},
                            .unused = {},
                            .local_storage = {0, 31},
                            .uniforms = {}};
    std::ranges::copy(uniforms, made.uniforms);
    return made;
}

/// Runs a row of `groups` workgroups of `threads` threads. `va`: of the ComputeDescriptors.
inline void run_compute(CommandWriter& w, std::uint64_t va, std::uint32_t groups, std::uint32_t threads = 16,
                        std::uint64_t resource_table = 0) {
    constexpr std::uint64_t kUniformSlots = sizeof(ComputeDescriptors::uniforms) / 8;
    const std::uint64_t uniforms = va + offsetof(ComputeDescriptors, uniforms);
    w.move48(d(0), resource_table)
        .move32(r(8), static_cast<std::uint32_t>(uniforms))
        .move32(r(9), static_cast<std::uint32_t>(uniforms >> 32 | kUniformSlots << 24))
        .move48(d(16), va)
        .move48(d(24), va + offsetof(ComputeDescriptors, local_storage))
        .move32(r(32), 0)
        .move32(r(33), threads - 1);
    for (std::uint8_t i = 34; i < 37; ++i) w.move32(r(i), 0);
    w.move32(r(37), groups).move32(r(38), 1).move32(r(39), 1);
    w.word(csf::encode<csf::Op::run_compute>(csf::Operand<csf::Arg::task_increment>{1}));
}

}  // namespace belfry
