// Job and Task: what shader cores are given to do, and what becomes of it.
//
// A job is what one RUN_COMPUTE asks for, as registers and descriptors said when it started. It is cut into
// tasks: consecutive workgroups, run one after the other. A task is taken by a core, run for a bounded number
// of steps, and given back or finished; `gpu/shader_cores.hpp` decides who runs which when.
#pragma once

#include <array>
#include <cstdint>
#include <expected>

#include "belfry/uapi/csf_exceptions.hpp"
#include "gpu/shader/translation.hpp"
#include "gpu/shader/warp.hpp"

namespace belfry::gpu::shader {

inline constexpr unsigned kWorkgroupThreadsMax = 1024;
inline constexpr unsigned kWorkgroupWarpsMax = kWorkgroupThreadsMax / kLanes;
inline constexpr unsigned kThreadsPerCore = 2048;  ///< as THREAD_MAX_THREADS says: spaces thread-local memory

/// What went wrong in a shader, and where.
struct Fault {
    csf::Exception exception{};
    std::uint64_t address = 0;  ///< of memory faults: what was accessed; else 0
    std::uint64_t pc = 0;  ///< address of the instruction; of faults before the first one, of the descriptor
    std::uint64_t instruction = 0;  ///< its word; 0 if there is none
    std::array<std::uint32_t, 3> workgroup{};
    std::uint32_t lane = 0;  ///< index of the thread within its workgroup
    bool write = false;      ///< of memory faults: the access would have written
    bool atomic = false;     ///< likewise: read and written
};

/// Registers of the command stream that RUN_COMPUTE reads, after its selects.
struct ComputeRegisters {
    std::uint64_t resource_table;  ///< address | entries
    std::uint64_t uniforms;        ///< address | 64-bit slots << 56
    std::uint64_t program;         ///< Shader Program descriptor
    std::uint64_t local_storage;   ///< Local Storage descriptor
    std::uint32_t attribute_offset;
    std::uint32_t workgroup_size;         ///< packed: x - 1 in 9:0, y - 1 in 19:10, z - 1 in 29:20
    std::array<std::uint32_t, 3> offset;  ///< in threads; of the global id only
    std::array<std::uint32_t, 3> size;    ///< in workgroups
};

/// A job as its registers and descriptors said when it started; judged, so that all of it can be used as it
/// is. Trivially copyable: SUSPEND saves it. Not changed while it runs: any number of cores read it.
struct Job {
    std::uint64_t pc;            ///< of the first instruction
    std::uint32_t program_word;  ///< word 0 of the Shader Program descriptor: flush and suppress modes
    std::uint32_t attribute_offset;
    std::uint64_t resource_table;  ///< without the count
    std::uint32_t resource_tables;
    std::uint32_t uniform_count;  ///< in 32-bit words
    std::array<std::uint32_t, 256> uniforms;
    std::uint64_t thread_local_base;
    std::uint64_t workgroup_local_base;
    std::uint32_t thread_local_bytes;         ///< of a thread; 0: none
    std::uint32_t workgroup_local_bytes;      ///< of an instance; 0: none
    std::uint32_t workgroup_local_instances;  ///< of a core
    std::array<std::uint32_t, 3> workgroup_size;
    std::array<std::uint32_t, 3> offset;
    std::array<std::uint32_t, 3> size;

    [[nodiscard]] std::uint64_t workgroups() const { return std::uint64_t{size[0]} * size[1] * size[2]; }
};

/// Reads and judges the descriptors. Touches a bounded amount of memory, about 1.2 KiB.
std::expected<Job, Fault> start_job(const ComputeRegisters& registers, const Translation& translation);

/// A workgroup that runs or was left in the middle. Trivially copyable as far as `warp_count` goes.
struct Workgroup {
    std::array<std::uint32_t, 3> id;
    std::uint32_t warp_count;       ///< 0: none has been started
    std::uint32_t turn;             ///< warp that runs next
    std::uint32_t prepared_core;    ///< Task::core whose pointers the warps have; with the next
    std::uint64_t prepared_serial;  ///< Task::serial for which all registers have been cleared; 0: none
    std::uint64_t written;          ///< registers that may have been written since, one bit each
    std::array<Warp, kWorkgroupWarpsMax> warps;
};

/// What SUSPEND saves of a workgroup: as far as its warps go.
constexpr std::size_t workgroup_bytes(std::uint32_t warps) {
    return sizeof(Workgroup) - (kWorkgroupWarpsMax - warps) * sizeof(Warp);
}

/// Workgroups next ... end of a job, by linear index x + X * (y + Y * z), one after the other.
struct Task {
    const Job* job;
    std::uint64_t serial;  ///< of the job: a core looks at its program's code anew when it changes
    std::uint64_t next;    ///< workgroup that runs, or is started next
    std::uint64_t end;
    /// Which share of thread-local and workgroup memory is this task's, and the core id that its threads see:
    /// below the number of cores, and that of no other task in flight that could have the same memory.
    std::uint32_t core;
    Workgroup* workgroup;  ///< room for one, the task's for as long as it is in flight; warp_count 0 at first
};

}  // namespace belfry::gpu::shader
