// Vm: a GPU address space of a program: which buffers lie where, and the tables that say so to the GPU.
//
// Owns   the mappings (drm::VaSpace) and the tables. Owned by the file's handle table and by groups.
// Runs   in the driver actor. Called by File and Group; Mmu puts it on an address space of the GPU.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "belfry/uapi/panthor_drm.h"
#include "drivers/panthor/mmu.hpp"
#include "drivers/panthor/page_table.hpp"
#include "drm/buffer.hpp"
#include "drm/va_space.hpp"

namespace belfry::panthor {

using base::Errno;
using base::Result;

/// What AS_FAULTSTATUS and AS_FAULTADDRESS said.
struct VmFault {
    std::uint32_t type;
    std::uint32_t access;
    std::uint64_t address;
};

class Vm {
  public:
    static constexpr unsigned kVaBits = 48;

    /// `user_va_bytes` as VM_CREATE has it: 0 = the driver's choice. EINVAL: more than the hardware has.
    /// `tag` tells VMs apart for exclusive buffers: not 0, never used twice.
    static Result<std::shared_ptr<Vm>> make(Mmu& mmu, std::uint64_t tag, std::uint64_t user_va_bytes);
    Vm(Mmu& mmu, std::uint64_t tag, std::uint64_t user_va_bytes);
    ~Vm();
    Vm(const Vm&) = delete;
    Vm& operator=(const Vm&) = delete;

    [[nodiscard]] std::uint64_t user_va_bytes() const { return user_va_bytes_; }
    [[nodiscard]] std::uint64_t tag() const { return tag_; }

    /// Both take effect on the tables at once. What was unmapped stays alive until flush() is done.
    Result<void> map(drm::BufferPtr buffer, std::uint64_t offset, std::uint64_t va, std::uint64_t bytes,
                     std::uint32_t flags);
    Result<void> unmap(std::uint64_t va, std::uint64_t bytes);
    /// Maps a buffer of the driver's own into the upper part; returns where. Flags as of map().
    Result<std::uint64_t> map_kernel(const drm::BufferPtr& buffer, std::uint32_t flags);

    /// Calls `done` when the GPU can no longer touch anything that was unmapped before.
    void flush(Mmu::Done done);

    [[nodiscard]] PageTable& tables() { return tables_; }
    [[nodiscard]] const drm::VaSpace& space() const { return space_; }

    /// The fault that took the address space off the GPU, until the groups on it have ended.
    VmFault fault{};
    bool faulted = false;

  private:
    void apply(const drm::VaStep& step);

    Mmu& mmu_;
    std::uint64_t user_va_bytes_;
    std::uint64_t tag_;
    std::uint64_t next_kernel_va_;
    PageTable tables_;
    drm::VaSpace space_;
    drm::VaSpace::Removed removed_;  // since the last flush was asked for
    unsigned flushes_ = 0;
    // Continuations of flushes hold this: they may be called when the Vm is gone.
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace belfry::panthor
