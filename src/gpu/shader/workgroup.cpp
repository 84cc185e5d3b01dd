#include "gpu/shader/workgroup.hpp"

#include <algorithm>

namespace belfry::gpu::shader {
namespace {

// Registers that a compute shader starts with.
constexpr unsigned kLocalXY = 55;      // x in the low half, y in the high one
constexpr unsigned kLocalZ = 56;       // likewise z
constexpr unsigned kWorkgroupId = 57;  // x, y, z
constexpr unsigned kGlobalId = 60;     // x, y, z

}  // namespace

std::uint64_t workgroup_local_pointer(const Job& job, std::uint32_t core) {
    return job.workgroup_local_base +
           std::uint64_t{core} * job.workgroup_local_instances * job.workgroup_local_bytes;
}

void start_workgroup(Workgroup& workgroup, const Job& job, std::uint64_t index, std::uint32_t core) {
    const auto& size = job.workgroup_size;
    const std::uint32_t threads = size[0] * size[1] * size[2];
    const std::uint64_t row = index / job.size[0];
    workgroup.id = {static_cast<std::uint32_t>(index % job.size[0]),
                    static_cast<std::uint32_t>(row % job.size[1]),
                    static_cast<std::uint32_t>(row / job.size[1])};
    workgroup.warp_count = (threads + kLanes - 1) / kLanes;
    workgroup.turn = 0;

    std::array<std::uint32_t, 3> local{};
    for (std::uint32_t w = 0; w < workgroup.warp_count; ++w) {
        Warp& warp = workgroup.warps[w];
        // All of it: what another job left there is nobody's to see.
        std::ranges::fill(warp.bank, Lanes{});
        warp.pc.fill(job.pc);
        warp.live = 0;
        warp.at_barrier = 0;
        warp.running = 0;
        warp.bank[kWarpId].word.fill(w);
        warp.bank[kWarpId + 1].word.fill(kThreadsPerCore / kLanes - 1);
        for (unsigned i = 0; i < 3; ++i) warp.bank[kWorkgroupId + i].word.fill(workgroup.id[i]);
        for (unsigned lane = 0; lane < kLanes && w * kLanes + lane < threads; ++lane) {
            warp.live |= 1U << lane;
            warp.bank[kLocalXY][lane] = local[0] | local[1] << 16;
            warp.bank[kLocalZ][lane] = local[2];
            for (unsigned i = 0; i < 3; ++i)
                warp.bank[kGlobalId + i][lane] = job.offset[i] + workgroup.id[i] * size[i] + local[i];
            const std::uint64_t thread = std::uint64_t{core} * kThreadsPerCore + w * kLanes + lane;
            const std::uint64_t pointer = job.thread_local_base + thread * job.thread_local_bytes;
            warp.bank[kThreadLocalPointer][lane] = static_cast<std::uint32_t>(pointer);
            warp.bank[kThreadLocalPointer + 1][lane] = static_cast<std::uint32_t>(pointer >> 32);

            if (++local[0] < size[0]) continue;
            local[0] = 0;
            if (++local[1] < size[1]) continue;
            local[1] = 0;
            ++local[2];
        }
    }
}

}  // namespace belfry::gpu::shader
