// Buffer: memory that CPU and GPU share (a BO).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "belfry/error.hpp"
#include "belfry/export.hpp"

namespace belfry {

class Device;
class Vm;

/// Move-only. Destroying it unmaps it from this process and closes the handle; where it is mapped in a VM,
/// the GPU goes on seeing it until it is unmapped there.
class BELFRY_EXPORT Buffer {
  public:
    Buffer(Buffer&&) noexcept;
    Buffer& operator=(Buffer&&) noexcept;
    ~Buffer();

    /// The memory, as this process sees it; empty while it is unmapped. The GPU may write it at any time; see
    /// SyncObject for how to know when.
    [[nodiscard]] std::span<std::byte> bytes() const;
    [[nodiscard]] std::uint64_t size() const;
    /// Takes the memory out of this process, which it is in from its creation: spans and SyncObjects of it
    /// are void. Under `belfryd --memory`, a buffer that no process has mapped can be evicted while its
    /// groups are off the GPU; one that is mapped stays in memory.
    void unmap();
    /// Maps it again, perhaps elsewhere. Blocks while evicted memory is brought back. ENOMEM: more would be
    /// mapped, by all programs, than `--memory` allows; EIO: the memory is lost.
    Result<void> map();
    /// The same memory as 64-bit words, for a CommandWriter.
    [[nodiscard]] std::span<std::uint64_t> words() const;
    /// GEM handle.
    [[nodiscard]] std::uint32_t handle() const;

  private:
    friend class Device;
    struct Impl;
    explicit Buffer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace belfry
