// TilerHeaps: the heaps of a VM that its tiler may take chunks of memory from.
//
// Owns    the heap contexts, one buffer for all, and the addresses of the heaps. The chunks' memory is kept
//         by its mapping. Owned by its Vm, from the first TILER_HEAP_CREATE until the VM is destroyed.
// Runs    in the driver actor. Called by File.
//
// What the GPU reads of it is in the chunks' headers; the contexts are the GPU's (facts/uapi.md 1.15). The
// chunks of a heap lie one behind the other in one buffer, so that a heap costs one descriptor. Heaps do not
// grow: there is no tiler that could ask for more.
#pragma once

#include <cstdint>

#include "base/result.hpp"
#include "drm/buffer.hpp"
#include "drm/handles.hpp"

namespace belfry::panthor {

using base::Errno;
using base::Result;

class Device;
class Vm;

struct TilerHeapOptions {
    std::uint32_t initial_chunks;
    std::uint32_t chunk_bytes;
    std::uint32_t chunks_max;
};

class TilerHeaps {
  public:
    TilerHeaps(Vm& vm, Device& device) : vm_(vm), device_(device) {}
    TilerHeaps(const TilerHeaps&) = delete;
    TilerHeaps& operator=(const TilerHeaps&) = delete;

    /// Makes and maps the contexts. Once, before anything else. ENOMEM.
    Result<void> allocate();

    struct Created {
        std::uint32_t id;
        std::uint64_t context_va;
        std::uint64_t first_chunk_va;
    };
    /// EINVAL: the options; ENOMEM: more than one request may cost, or no room; EBUSY: 128 heaps.
    Result<Created> create(const TilerHeapOptions& options);
    /// Unmaps it; the VM's next flush makes that true for the GPU. EINVAL: there is no such heap.
    Result<void> destroy(std::uint32_t id);
    /// The same for all of it.
    void unmap_all();

  private:
    struct Heap {
        std::uint64_t va;
        std::uint64_t bytes;
    };
    static constexpr std::uint32_t kLastId = 127;

    Vm& vm_;
    Device& device_;
    drm::BufferPtr contexts_;
    std::uint64_t contexts_va_ = 0;
    drm::HandleTable<Heap> heaps_{{.first = 0, .last = kLastId, .when_full = Errno::busy}};
};

}  // namespace belfry::panthor
