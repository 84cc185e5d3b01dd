#include "gpu/shader/workgroup.hpp"

#include <bit>

#include "gpu/shader/vectors.hpp"

namespace belfry::gpu::shader {
namespace {

// Registers that a compute shader starts with.
constexpr unsigned kLocalXY = 55;      // x in the low half, y in the high one
constexpr unsigned kLocalZ = 56;       // likewise z
constexpr unsigned kWorkgroupId = 57;  // x, y, z
constexpr unsigned kGlobalId = 60;     // x, y, z

std::uint32_t threads_of(const Job& job) {
    return job.workgroup_size[0] * job.workgroup_size[1] * job.workgroup_size[2];
}

/// What is the same for all workgroups that this room is for, until another job or another core id has it.
void prepare(const Task& task) {
    const Job& job = *task.job;
    Workgroup& workgroup = *task.workgroup;
    workgroup.warp_count = (threads_of(job) + kLanes - 1) / kLanes;
    for (std::uint32_t w = 0; w < workgroup.warp_count; ++w) {
        Warp& warp = workgroup.warps[w];
        // All of it: what another job left there is nobody's to see.
        warp.bank.fill(Lanes{});
        fill(warp.bank[kWarpId], w);
        fill(warp.bank[kWarpId + 1], kThreadsPerCore / kLanes - 1);
        for (unsigned lane = 0; lane < kLanes; ++lane) {
            const std::uint64_t thread = std::uint64_t{task.core} * kThreadsPerCore + w * kLanes + lane;
            const std::uint64_t pointer = job.thread_local_base + thread * job.thread_local_bytes;
            warp.bank[kThreadLocalPointer][lane] = static_cast<std::uint32_t>(pointer);
            warp.bank[kThreadLocalPointer + 1][lane] = static_cast<std::uint32_t>(pointer >> 32);
        }
    }
    workgroup.written = 0;
    workgroup.prepared_serial = task.serial;
    workgroup.prepared_core = task.core;
}

}  // namespace

LocalIds::LocalIds(const Job& job) {
    const auto& size = job.workgroup_size;
    std::array<std::uint32_t, 3> local{};
    for (std::uint32_t thread = 0; thread < threads_of(job); ++thread) {
        xy[thread / kLanes][thread % kLanes] = local[0] | local[1] << 16;
        z[thread / kLanes][thread % kLanes] = local[2];
        if (++local[0] < size[0]) continue;
        local[0] = 0;
        if (++local[1] < size[1]) continue;
        local[1] = 0;
        ++local[2];
    }
}

std::uint64_t workgroup_local_pointer(const Job& job, std::uint32_t core) {
    return job.workgroup_local_base +
           std::uint64_t{core} * job.workgroup_local_instances * job.workgroup_local_bytes;
}

void start_workgroup(const Task& task, const LocalIds& ids) {
    const Job& job = *task.job;
    Workgroup& workgroup = *task.workgroup;
    if (workgroup.prepared_serial != task.serial || workgroup.prepared_core != task.core) prepare(task);

    const std::uint32_t threads = threads_of(job);
    const std::uint64_t row = task.next / job.size[0];
    workgroup.id = {static_cast<std::uint32_t>(task.next % job.size[0]),
                    static_cast<std::uint32_t>(row % job.size[1]),
                    static_cast<std::uint32_t>(row / job.size[1])};
    workgroup.warp_count = (threads + kLanes - 1) / kLanes;
    workgroup.turn = 0;
    std::array<std::uint32_t, 3> base{};
    for (unsigned i = 0; i < 3; ++i) base[i] = job.offset[i] + workgroup.id[i] * job.workgroup_size[i];

    for (std::uint32_t w = 0; w < workgroup.warp_count; ++w) {
        Warp& warp = workgroup.warps[w];
        // So that what a program reads before it has written it does not depend on who ran what before.
        for (std::uint64_t rest = workgroup.written; rest != 0; rest &= rest - 1)
            fill(warp.bank[static_cast<unsigned>(std::countr_zero(rest))], 0);
        warp.pc.fill(job.pc);
        warp.live = threads - w * kLanes >= kLanes ? kAllLanes : (1U << (threads - w * kLanes)) - 1;
        warp.at_barrier = 0;
        warp.running = 0;
        warp.bank[kLocalXY] = ids.xy[w];
        warp.bank[kLocalZ] = ids.z[w];
        for (unsigned i = 0; i < 3; ++i) fill(warp.bank[kWorkgroupId + i], workgroup.id[i]);
        for (unsigned four = 0; four < kQuarters; ++four) {
            const FourLanes xy = quarter(ids.xy[w], four);
            set_quarter(warp.bank[kGlobalId], four, (xy & 0xffff) + base[0]);
            set_quarter(warp.bank[kGlobalId + 1], four, (xy >> 16) + base[1]);
            set_quarter(warp.bank[kGlobalId + 2], four, quarter(ids.z[w], four) + base[2]);
        }
    }
}

}  // namespace belfry::gpu::shader
