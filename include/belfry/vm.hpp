// Vm: a GPU address space. Buffers are mapped into it, groups run in it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "belfry/error.hpp"
#include "belfry/export.hpp"

namespace belfry {

class Buffer;
class Device;
class Group;
class XgsQueue;
struct GroupOptions;
struct XgsQueueOptions;

struct MapOptions {
    std::uint64_t offset = 0;              ///< in the buffer, bytes, whole pages
    std::uint64_t bytes = 0;               ///< whole pages; 0 = to the end of the buffer
    std::optional<std::uint64_t> address;  ///< GPU address, whole pages; none = a free one is chosen
    bool read_only = false;                ///< the GPU's writes fault
};

/// Move-only. Groups keep what they need of it alive.
class BELFRY_EXPORT Vm {
  public:
    Vm(Vm&&) noexcept;
    Vm& operator=(Vm&&) noexcept;
    ~Vm();

    /// Maps a buffer and returns its GPU address. What was mapped at a given address is replaced. Chosen
    /// addresses are never chosen again, so a stale one faults instead of meeting somebody else's memory.
    [[nodiscard]] Result<std::uint64_t> map(const Buffer& buffer, const MapOptions& options = {});
    /// Unmaps whole pages; holes are fine. When it returns the GPU can no longer touch them.
    [[nodiscard]] Result<void> unmap(std::uint64_t address, std::uint64_t bytes);

    [[nodiscard]] Result<Group> create_group(const GroupOptions& options);
    [[nodiscard]] Result<XgsQueue> create_xgs_queue(const XgsQueueOptions& options);

  private:
    friend class Device;
    struct Impl;
    explicit Vm(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace belfry
