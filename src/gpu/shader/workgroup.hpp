// Workgroup: what its threads find in their registers, and where its memory lies.
#pragma once

#include <cstdint>

#include "gpu/shader/task.hpp"

namespace belfry::gpu::shader {

/// Makes `workgroup` the one with linear index `index`, about to run its first instruction as core id `core`.
void start_workgroup(Workgroup& workgroup, const Job& job, std::uint64_t index, std::uint32_t core);

std::uint64_t workgroup_local_pointer(const Job& job, std::uint32_t core);

}  // namespace belfry::gpu::shader
