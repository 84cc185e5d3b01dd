#include "drivers/panthor/vm.hpp"

#include <bit>
#include <utility>

namespace belfry::panthor {
namespace {

constexpr std::uint64_t kFullBytes = 1ULL << Vm::kVaBits;
/// The driver's part is at least this.
constexpr std::uint64_t kKernelBytesMin = 256ULL << 20;
/// What a 64-bit program could use at most, as Linux on x86-64 has it (facts/uapi.md 1.5).
constexpr std::uint64_t kTaskBytes = 0x7fff'ffff'f000;

}  // namespace

Result<std::shared_ptr<Vm>> Vm::make(Mmu& mmu, std::uint64_t tag, std::uint64_t user_va_bytes) {
    if (user_va_bytes > kFullBytes - kKernelBytesMin) return std::unexpected(Errno::invalid);
    if (user_va_bytes == 0) user_va_bytes = kTaskBytes;
    // The driver's part is the largest power of two that is left; the program gets all below it.
    return std::make_shared<Vm>(mmu, tag, kFullBytes - std::bit_floor(kFullBytes - user_va_bytes));
}

Vm::Vm(Mmu& mmu, std::uint64_t tag, std::uint64_t user_va_bytes)
    : mmu_(mmu),
      user_va_bytes_(user_va_bytes),
      tag_(tag),
      next_kernel_va_(user_va_bytes),
      space_({.va = 0, .bytes = kFullBytes}) {}

// No flush: without a group on a slot the GPU has no translation of this VM that it could use.
Vm::~Vm() { *alive_ = false; }

void Vm::apply(const drm::VaStep& step) {
    const drm::VaMapping& mapping = step.mapping;
    if (step.kind == drm::VaStep::Kind::unmap) {
        tables_.unmap(mapping.range.va, mapping.range.bytes);
        return;
    }
    tables_.map(mapping.range.va, mapping.buffer->data() + mapping.buffer_offset, mapping.range.bytes,
                {.read_only = (mapping.flags & uapi::DRM_PANTHOR_VM_BIND_OP_MAP_READONLY) != 0,
                 .no_exec = (mapping.flags & uapi::DRM_PANTHOR_VM_BIND_OP_MAP_NOEXEC) != 0});
}

Result<void> Vm::map(drm::BufferPtr buffer, std::uint64_t offset, std::uint64_t va, std::uint64_t bytes,
                     std::uint32_t flags) {
    return space_.map(
        {.range = {.va = va, .bytes = bytes},
         .buffer = std::move(buffer),
         .buffer_offset = offset,
         .flags = flags},
        [this](const drm::VaStep& step) { apply(step); }, removed_);
}

Result<void> Vm::unmap(std::uint64_t va, std::uint64_t bytes) {
    return space_.unmap(
        {.va = va, .bytes = bytes}, [this](const drm::VaStep& step) { apply(step); }, removed_);
}

Result<std::uint64_t> Vm::map_kernel(const drm::BufferPtr& buffer, std::uint32_t flags) {
    const std::uint64_t va = next_kernel_va_;
    if (buffer->size() > kFullBytes - va) return std::unexpected(Errno::no_memory);
    if (const auto mapped = map(buffer, 0, va, buffer->size(), flags); !mapped)
        return std::unexpected(mapped.error());
    next_kernel_va_ += buffer->size();
    return va;
}

void Vm::flush(Mmu::Done done) {
    if (removed_.empty()) {
        done();
        return;
    }
    ++flushes_;
    // The references go with the continuation, which outlives the Vm if it must.
    mmu_.flush(*this, [this, alive = alive_, removed = std::exchange(removed_, {}), done = std::move(done)] {
        if (*alive && --flushes_ == 0) tables_.release_retired();
        done();
    });
}

}  // namespace belfry::panthor
