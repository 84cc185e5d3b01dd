// start_job: from the registers of RUN_COMPUTE and the descriptors that they name to a Job.
#include <array>
#include <bit>
#include <cstdint>

#include "gpu/shader/descriptors.hpp"
#include "gpu/shader/memory.hpp"
#include "gpu/shader/task.hpp"

namespace belfry::gpu::shader {
namespace {

using csf::Exception;

constexpr std::uint64_t kAddressMask = (1ULL << kAddressBits) - 1;
constexpr std::uint32_t kUniformSlotsMax = 128;
constexpr std::uint32_t kTableBytes = 64;  // of a resource table's alignment: its low bits count entries
constexpr std::uint32_t kStageCompute = 1;
constexpr std::uint32_t kStageVertex = 3;  // transform feedback is a compute job of a vertex program

std::unexpected<Fault> refuse(Exception exception, std::uint64_t descriptor, std::uint64_t address = 0) {
    return std::unexpected(Fault{.exception = exception, .address = address, .pc = descriptor});
}

std::uint64_t pair(std::uint32_t low, std::uint32_t high) { return low | std::uint64_t{high} << 32; }

/// Local Storage descriptor. A program that uses none runs whatever stands there. Memory that there is not
/// lies at address 0, which no driver maps: its use is a fault, and not what else may lie at some base.
void read_local_storage(Job& job, const std::array<std::uint32_t, 8>& word) {
    constexpr std::uint32_t kLargest = 26;
    constexpr std::uint32_t kNone = 31;
    constexpr std::uint32_t kPacked = 1;
    if (const std::uint32_t size = word[0] & 31; size <= kLargest) {
        const std::uint64_t base = pair(word[2], word[3] & 0xffff);
        job.thread_local_bytes = 16U << size;
        job.thread_local_base = (word[3] >> 28) == kPacked ? base << 8 & kAddressMask : base;
    }
    const std::uint32_t instances = word[1] & 31;
    const std::uint32_t scale = word[1] >> 8 & 31;
    if (instances != kNone && scale != 0) {
        job.workgroup_local_base = pair(word[4], word[5]);
        job.workgroup_local_bytes = 1U << (scale - 1);
        job.workgroup_local_instances = 1U << instances;
    }
}

}  // namespace

std::expected<Job, Fault> start_job(const ComputeRegisters& registers, const Translation& translation) {
    Job job{};
    job.size = registers.size;
    job.offset = registers.offset;
    job.attribute_offset = registers.attribute_offset;
    job.resource_table = registers.resource_table & ~std::uint64_t{kTableBytes - 1};
    job.resource_tables = registers.resource_table % kTableBytes;
    for (unsigned i = 0; i < 3; ++i)
        job.workgroup_size[i] = (registers.workgroup_size >> (10 * i) & 0x3ff) + 1;
    const auto& size = job.workgroup_size;
    if (std::uint64_t{size[0]} * size[1] * size[2] > kWorkgroupThreadsMax)
        return refuse(Exception::data_invalid_fault, registers.program);

    // Nothing runs, so nothing need be there.
    if (job.size[0] == 0 || job.size[1] == 0 || job.size[2] == 0) {
        job.size = {};
        return job;
    }
    std::uint64_t workgroups = 0;
    if (__builtin_mul_overflow(std::uint64_t{job.size[0]} * job.size[1], job.size[2], &workgroups))
        return refuse(Exception::data_invalid_fault, registers.program);

    Memory memory;
    memory.use(translation);
    std::array<std::uint32_t, 8> program{};
    if (registers.program % sizeof program != 0)
        return refuse(Exception::data_invalid_fault, registers.program);
    if (!memory.read(registers.program, program.data(), sizeof program))
        return refuse(memory.refusal().exception, registers.program, memory.refusal().address);
    const std::uint32_t stage = program[0] >> 4 & 15;
    if ((program[0] & 15) != static_cast<std::uint32_t>(DescriptorType::shader) ||
        (stage != kStageCompute && stage != kStageVertex))
        return refuse(Exception::data_invalid_fault, registers.program);
    job.program_word = program[0];
    job.pc = pair(program[2], program[3]);

    std::array<std::uint32_t, 8> local_storage{};
    // Memory that is not there is none: a fault comes with its use.
    if (memory.read(registers.local_storage, local_storage.data(), sizeof local_storage))
        read_local_storage(job, local_storage);

    const std::uint64_t slots = registers.uniforms >> 56;
    const std::uint64_t uniforms = registers.uniforms & kAddressMask;
    if (slots > kUniformSlotsMax) return refuse(Exception::data_invalid_fault, registers.program);
    job.uniform_count = static_cast<std::uint32_t>(2 * slots);
    if (!memory.read(uniforms, job.uniforms.data(), job.uniform_count * sizeof(std::uint32_t)))
        return refuse(memory.refusal().exception, registers.program, memory.refusal().address);
    return job;
}

}  // namespace belfry::gpu::shader
