// Workgroup: what its threads find in their registers, and where its memory lies.
#pragma once

#include <array>
#include <cstdint>

#include "gpu/shader/task.hpp"
#include "gpu/shader/warp.hpp"

namespace belfry::gpu::shader {

/// Ids of threads within their workgroup, the same for all workgroups of a job.
class LocalIds {
  public:
    explicit LocalIds(const Job& job);
    LocalIds() = default;

    /// x in the low half, y in the high one; z. By warp.
    std::array<Lanes, kWorkgroupWarpsMax> xy{};
    std::array<Lanes, kWorkgroupWarpsMax> z{};
};

/// Makes `task.workgroup` the workgroup `task.next`, about to run its first instruction.
void start_workgroup(const Task& task, const LocalIds& ids);

std::uint64_t workgroup_local_pointer(const Job& job, std::uint32_t core);

}  // namespace belfry::gpu::shader
