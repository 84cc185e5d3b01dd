#include "drivers/panthor/tiler_heap.hpp"

#include <cstring>

#include "base/memory.hpp"
#include "belfry/uapi/panthor_drm.h"
#include "drivers/panthor/device.hpp"
#include "drivers/panthor/vm.hpp"

namespace belfry::panthor {
namespace {

constexpr std::uint32_t kChunkBytesMin = 128U << 10;
constexpr std::uint32_t kChunkBytesMax = 8U << 20;
/// What one request can cost.
constexpr std::uint64_t kHeapBytesMax = 1ULL << 30;
/// 32 bytes a context, a line of the L2 cache each.
constexpr std::uint64_t kContextStride = 64;
constexpr std::uint32_t kMapFlags = uapi::DRM_PANTHOR_VM_BIND_OP_MAP_NOEXEC;
/// Of a chunk's header: the next one's address, and in the bits below its size in pages.
constexpr std::uint64_t kNextAddressMask = ~std::uint64_t{0xfff};
constexpr unsigned kNextSizeShift = 12;

}  // namespace

Result<void> TilerHeaps::allocate() {
    auto contexts = device_.make_buffer(
        {.bytes = (kLastId + 1) * kContextStride, .no_mmap = true, .name = "belfry-heap-contexts"},
        drm::Residency::Use::wired);
    if (!contexts) return std::unexpected(contexts.error());
    const auto va = vm_.map_kernel(*contexts, kMapFlags);
    if (!va) return std::unexpected(va.error());
    contexts_ = std::move(*contexts);
    contexts_va_ = *va;
    return {};
}

Result<TilerHeaps::Created> TilerHeaps::create(const TilerHeapOptions& options) {
    if (options.initial_chunks == 0 || options.initial_chunks > options.chunks_max)
        return std::unexpected(Errno::invalid);
    const std::uint64_t chunk_bytes = options.chunk_bytes;
    if (chunk_bytes % base::kPageBytes != 0 || chunk_bytes < kChunkBytesMin || chunk_bytes > kChunkBytesMax)
        return std::unexpected(Errno::invalid);
    const std::uint64_t bytes = options.initial_chunks * chunk_bytes;
    if (bytes > kHeapBytesMax) return std::unexpected(Errno::no_memory);
    auto chunks = device_.make_buffer({.bytes = bytes, .no_mmap = true, .name = "belfry-tiler-heap"},
                                      drm::Residency::Use::evictable);
    if (!chunks) return std::unexpected(chunks.error());
    const auto id = heaps_.insert({.va = 0, .bytes = bytes});
    if (!id) return std::unexpected(id.error());
    const auto va = vm_.map_kernel(*chunks, kMapFlags);
    if (!va) {
        heaps_.remove(*id);
        return std::unexpected(va.error());
    }
    heaps_.find(*id)->va = *va;
    device_.residency().commit(**chunks);
    // The last one's header stays 0.
    for (std::uint64_t next = chunk_bytes; next < bytes; next += chunk_bytes) {
        const std::uint64_t header = ((*va + next) & kNextAddressMask) | chunk_bytes >> kNextSizeShift;
        std::memcpy((*chunks)->data() + next - chunk_bytes, &header, sizeof header);
    }
    std::memset(contexts_->data() + *id * kContextStride, 0, kContextStride);
    return Created{.id = *id, .context_va = contexts_va_ + *id * kContextStride, .first_chunk_va = *va};
}

Result<void> TilerHeaps::destroy(std::uint32_t id) {
    const auto heap = heaps_.remove(id);
    if (!heap) return std::unexpected(Errno::invalid);
    vm_.unmap_kernel(heap->va, heap->bytes);
    return {};
}

void TilerHeaps::unmap_all() {
    heaps_.for_each([this](std::uint32_t, const Heap& heap) { vm_.unmap_kernel(heap.va, heap.bytes); });
    heaps_.clear();
    vm_.unmap_kernel(contexts_va_, contexts_->size());
}

}  // namespace belfry::panthor
