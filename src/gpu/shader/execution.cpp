#include "gpu/shader/execution.hpp"

namespace belfry::gpu::shader {

bool Execution::raise(csf::Exception exception, unsigned lane, std::uint64_t address, AccessKind kind) {
    fault = {.exception = exception,
             .address = address,
             .workgroup = workgroup->id,
             .lane = first_lane + lane,
             .write = kind != AccessKind::read,
             .atomic = kind == AccessKind::atomic};
    return false;
}

bool Execution::raise_refusal(unsigned lane, AccessKind kind) {
    return raise(memory.refusal().exception, lane, memory.refusal().address, kind);
}

}  // namespace belfry::gpu::shader
