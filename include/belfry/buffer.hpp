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

    /// The memory, as this process sees it. The GPU may write it at any time; see SyncObject for how to know
    /// when.
    [[nodiscard]] std::span<std::byte> bytes() const;
    [[nodiscard]] std::uint64_t size() const { return bytes().size(); }
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
