// Shaders on the Rig: a program and its descriptors in the default address space, and programs that tests
// share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "compute_job.hpp"
#include "uapi/shader_assembler.hpp"
#include "unit/gpu_rig.hpp"

namespace belfry::gpu {

// The words of an address, for uniforms.
inline std::uint32_t low(std::uint64_t va) { return static_cast<std::uint32_t>(va); }
inline std::uint32_t high(std::uint64_t va) { return static_cast<std::uint32_t>(va >> 32); }

/// Counts the word at u0, u1 up by one in each of `u2` turns of each thread.
inline constexpr std::string_view kCount = R"(
    IADD_IMM.i32 r0, 0x0, #0x0
    loop:
    IADD.u32 r2, u0, 0x0
    IADD.u32 r3, u1, 0x0
    IADD_IMM.i32 r4, 0x0, #0x1
    ATOM.i32.slot0.aadd.wait0 @r4, r2, offset:0x0
    IADD_IMM.i32 r0, r0, #0x1
    ICMP_OR.u32.lt.m1 r1, r0, u2, 0x0
    BRANCHZ.reconverge r1, offset:loop
    NOP.end
)";
inline constexpr std::string_view kForEver = R"(
    loop:
    BRANCHZ.eq.reconverge 0x0, offset:loop
    NOP.end
)";

/// A shader and what RUN_COMPUTE wants to have of it.
struct Shader {
    Shader(Rig& rig, std::string_view text, std::initializer_list<std::uint32_t> uniforms = {})
        : code(rig.memory()), data(rig.memory()) {
        const auto words = valhall::assemble(text);
        if (!words) throw std::invalid_argument(words.error());
        load(*words);
        data.as<ComputeDescriptors>() = describe_compute(code.va, uniforms);
    }
    void load(const std::vector<std::uint64_t>& words) const { std::ranges::copy(words, &code.u64()); }

    /// Workgroups of 16 threads.
    void run(W& w, std::uint32_t groups, std::uint32_t threads = 16) const {
        run_compute(w, data.va, groups, threads);
    }

    Memory code;
    Memory data;  // ComputeDescriptors
};

}  // namespace belfry::gpu
