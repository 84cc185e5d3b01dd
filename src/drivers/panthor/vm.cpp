#include "drivers/panthor/vm.hpp"

#include <algorithm>
#include <bit>
#include <iterator>
#include <new>
#include <utility>

#include "base/check.hpp"
#include "drivers/panthor/device.hpp"

namespace belfry::panthor {
namespace {

constexpr std::uint64_t kFullBytes = 1ULL << Vm::kVaBits;
/// The driver's part is at least this.
constexpr std::uint64_t kKernelBytesMin = 256ULL << 20;
/// What a 64-bit program could use at most, as Linux on x86-64 has it (facts/uapi.md 1.5).
constexpr std::uint64_t kTaskBytes = 0x7fff'ffff'f000;

}  // namespace

Result<std::shared_ptr<Vm>> Vm::make(Device& device, std::uint64_t user_va_bytes) {
    if (user_va_bytes > kFullBytes - kKernelBytesMin) return std::unexpected(Errno::invalid);
    if (user_va_bytes == 0) user_va_bytes = kTaskBytes;
    // The driver's part is the largest power of two that is left; the program gets all below it.
    return std::make_shared<Vm>(device, kFullBytes - std::bit_floor(kFullBytes - user_va_bytes));
}

Vm::Vm(Device& device, std::uint64_t user_va_bytes)
    : device_(device),
      user_va_bytes_(user_va_bytes),
      tag_(device.next_serial()),
      kernel_free_{{user_va_bytes, kFullBytes - user_va_bytes}},
      space_({.va = 0, .bytes = kFullBytes}),
      memory_(device.residency()),
      binds_(device, *this) {}

// No flush: without a group on a slot the GPU has no translation of this VM that it could use.
Vm::~Vm() { *alive_ = false; }

void Vm::apply(const drm::VaStep& step) {
    device_.mappings_changed();
    const drm::VaMapping& mapping = step.mapping;
    if (step.kind == drm::VaStep::Kind::unmap) {
        tables_.unmap(mapping.range.va, mapping.range.bytes);
        return;
    }
    memory_.attach(*mapping.buffer, mapping.range.bytes);
    // What somebody waits for may lie in it: that can be looked at once it is in memory.
    if (!device_.sync_waits().empty()) device_.residency().restore(*mapping.buffer);
    tables_.map(mapping.range.va, mapping.buffer->data() + mapping.buffer_offset, mapping.range.bytes,
                {.read_only = (mapping.flags & uapi::DRM_PANTHOR_VM_BIND_OP_MAP_READONLY) != 0,
                 .no_exec = (mapping.flags & uapi::DRM_PANTHOR_VM_BIND_OP_MAP_NOEXEC) != 0});
}

Result<void> Vm::execute(BindOp op) {
    if (op.kind == BindOp::Kind::map && unusable) return std::unexpected(Errno::invalid);
    if (op.bytes == 0) return {};
    const auto bound = op.kind == BindOp::Kind::unmap
                           ? unmap(op.va, op.bytes)
                           : map(std::move(op.buffer), op.buffer_offset, op.va, op.bytes, op.flags);
    // Another object, or none, may lie where somebody waits (facts/firmware-and-scheduling.md 7, F8).
    device_.sync_waits().recheck();
    return bound;
}

Result<void> Vm::map(drm::BufferPtr buffer, std::uint64_t offset, std::uint64_t va, std::uint64_t bytes,
                     std::uint32_t flags) {
    // Where groups run on it, only what is in memory: the caller has seen to that, unless it is fresh.
    if (memory_.preempt_fence_pending()) device_.residency().commit(*buffer);
    const drm::BufferPtr mapped = buffer;
    Result<void> result;
    try {
        memory_.reserve(*mapped);
        result = space_.map(
            {.range = {.va = va, .bytes = bytes},
             .buffer = std::move(buffer),
             .buffer_offset = offset,
             .flags = flags},
            [this](const drm::VaStep& step) { apply(step); }, removed_);
    } catch (const std::bad_alloc&) {  // there is no memory for the tables
        static_cast<void>(unmap(va, bytes));
        result = std::unexpected(Errno::no_memory);
    }
    if (!result) memory_.detach(*mapped, 0);
    return result;
}

Result<void> Vm::unmap(std::uint64_t va, std::uint64_t bytes) {
    return space_.unmap(
        {.va = va, .bytes = bytes}, [this](const drm::VaStep& step) { apply(step); }, removed_);
}

Result<std::uint64_t> Vm::map_kernel(const drm::BufferPtr& buffer, std::uint32_t flags) {
    const auto va = allocate_kernel_va(buffer->size());
    if (!va) return va;
    if (const auto mapped = map(buffer, 0, *va, buffer->size(), flags); !mapped) {
        free_kernel_va({.va = *va, .bytes = buffer->size()});
        return std::unexpected(mapped.error());
    }
    return va;
}

void Vm::unmap_kernel(std::uint64_t va, std::uint64_t bytes) {
    if (unmap(va, bytes)) kernel_freed_.push_back({.va = va, .bytes = bytes});
}

/// The lowest that is free. There are as many pieces as the VM's groups and heaps have left holes: few.
Result<std::uint64_t> Vm::allocate_kernel_va(std::uint64_t bytes) {
    const auto piece =
        std::ranges::find_if(kernel_free_, [bytes](const auto& free) { return free.second >= bytes; });
    if (piece == kernel_free_.end()) return std::unexpected(Errno::no_memory);
    const auto [va, free_bytes] = *piece;
    auto rest = kernel_free_.extract(piece);
    if (free_bytes > bytes) {
        rest.key() = va + bytes;
        rest.mapped() = free_bytes - bytes;
        kernel_free_.insert(std::move(rest));
    }
    return va;
}

void Vm::free_kernel_va(const FreedRange& range) {
    const auto [piece, inserted] = kernel_free_.emplace(range.va, range.bytes);
    BELFRY_CHECK(inserted);
    if (const auto next = std::next(piece);
        next != kernel_free_.end() && next->first == range.va + range.bytes) {
        piece->second += next->second;
        kernel_free_.erase(next);
    }
    if (piece == kernel_free_.begin()) return;
    if (const auto before = std::prev(piece); before->first + before->second == range.va) {
        before->second += piece->second;
        kernel_free_.erase(piece);
    }
}

void Vm::flush(Mmu::Done done) {
    if (removed_.empty() && kernel_freed_.empty()) {
        done();
        return;
    }
    ++flushes_;
    // The references go with the continuation, which outlives the Vm if it must.
    device_.mmu().flush(*this, [this, alive = alive_, removed = std::exchange(removed_, {}),
                                freed = std::exchange(kernel_freed_, {}), done = std::move(done)] {
        if (*alive) {
            if (--flushes_ == 0) tables_.release_retired();
            for (const auto& [buffer, bytes] : removed) memory_.detach(*buffer, bytes);
            for (const FreedRange& range : freed) free_kernel_va(range);
        }
        done();
    });
}

Result<TilerHeaps*> Vm::make_tiler_heaps() {
    if (tiler_heaps_ == nullptr) {
        auto heaps = std::make_unique<TilerHeaps>(*this, device_);
        if (const auto allocated = heaps->allocate(); !allocated) return std::unexpected(allocated.error());
        tiler_heaps_ = std::move(heaps);
    }
    return tiler_heaps_.get();
}

void Vm::destroy() {
    if (tiler_heaps_ == nullptr) return;
    tiler_heaps_->unmap_all();
    tiler_heaps_.reset();
    flush([] {});
}

void Vm::check_invariants() const {
    std::uint64_t end = 0;
    for (const auto& [va, bytes] : kernel_free_) {
        BELFRY_CHECK(va >= user_va_bytes_ && va > end && bytes > 0);
        end = va + bytes;
    }
    BELFRY_CHECK(end <= kFullBytes);
}

}  // namespace belfry::panthor
