// Vm: a GPU address space of a program: which buffers lie where, and the tables that say so to the GPU.
//
// Owns   the mappings (drm::VaSpace), the tables, the binds that are queued, and the tiler heaps. Owned by
//        the file's handle table, by groups, and by the device while binds are queued.
// Runs   in the driver actor. Called by File and Group; Mmu puts it on an address space of the GPU.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "belfry/uapi/panthor_drm.h"
#include "drivers/panthor/bind_queue.hpp"
#include "drivers/panthor/mmu.hpp"
#include "drivers/panthor/page_table.hpp"
#include "drivers/panthor/sync_waits.hpp"
#include "drivers/panthor/tiler_heap.hpp"
#include "drm/buffer.hpp"
#include "drm/residency.hpp"
#include "drm/va_space.hpp"

namespace belfry::panthor {

using base::Errno;
using base::Result;

class Device;

/// What AS_FAULTSTATUS and AS_FAULTADDRESS said.
struct VmFault {
    std::uint32_t type;
    std::uint32_t access;
    std::uint64_t address;
};

class Vm : public std::enable_shared_from_this<Vm> {
  public:
    static constexpr unsigned kVaBits = 48;

    /// `user_va_bytes` as VM_CREATE has it: 0 = the driver's choice. EINVAL: more than the hardware has.
    static Result<std::shared_ptr<Vm>> make(Device& device, std::uint64_t user_va_bytes);
    Vm(Device& device, std::uint64_t user_va_bytes);
    ~Vm();
    Vm(const Vm&) = delete;
    Vm& operator=(const Vm&) = delete;

    [[nodiscard]] std::uint64_t user_va_bytes() const { return user_va_bytes_; }
    /// Tells VMs apart for exclusive buffers: not 0, never used twice.
    [[nodiscard]] std::uint64_t tag() const { return tag_; }

    /// What an operation needs to be carried out whatever is mapped by then, so that it allocates nothing.
    struct Reserve {
        drm::VaSpace::Reserve pieces;
        PageTable::Tables tables;
        std::unique_ptr<drm::BufferUse> use;
    };
    /// ENOMEM.
    [[nodiscard]] Result<Reserve> reserve(const BindOp& op);
    /// Takes effect on the tables at once. What was unmapped stays alive until flush() is done. EINVAL: its
    /// addresses are not the VM's, or the VM is unusable; then nothing has changed.
    Result<void> execute(BindOp op, Reserve reserve);
    /// Maps a buffer of the driver's own into the upper part; returns where. Flags as of map().
    Result<std::uint64_t> map_kernel(const drm::BufferPtr& buffer, std::uint32_t flags);
    /// Unmaps what map_kernel() did, or what the program has bound over it. The addresses are given again
    /// after a flush.
    void unmap_kernel(std::uint64_t va, std::uint64_t bytes);

    /// What is to be done when the GPU can no longer touch anything that was unmapped before.
    class Flush;
    [[nodiscard]] std::unique_ptr<Flush> make_flush(std::function<void()> then);
    /// Allocates nothing. `flush` may be done when the Vm is gone.
    void flush(std::unique_ptr<Flush> flush);
    /// The same with one made for it.
    void flush(std::function<void()> then);

    [[nodiscard]] PageTable& tables() { return tables_; }
    [[nodiscard]] const drm::VaSpace& space() const { return space_; }
    [[nodiscard]] BindQueue& binds() { return binds_; }
    [[nodiscard]] VmSyncWaits& sync_waits() { return sync_waits_; }
    /// Its memory as a whole. On the hardware while a group is on a slot.
    [[nodiscard]] drm::LongRunningContext& memory() { return memory_; }

    /// The VM's heaps; null if it never had any.
    [[nodiscard]] TilerHeaps* tiler_heaps() { return tiler_heaps_.get(); }
    /// The same, made with the first request. ENOMEM.
    Result<TilerHeaps*> make_tiler_heaps();

    /// Nothing can be asked of it any more. Its heaps go; its mappings stay for those who still use them.
    void destroy();

    /// A bind in the background has failed: nothing can be mapped any more.
    bool unusable = false;

    /// The fault that took the address space off the GPU, until the groups on it have ended.
    VmFault fault{};
    bool faulted = false;

    void check_invariants() const;

  private:
    using KernelPieces = std::map<std::uint64_t, std::uint64_t>;  // address, bytes
    /// Out of the map, so that it goes in without an allocation.
    using KernelPiece = KernelPieces::node_type;

    Result<void> map(BindOp op, Reserve& reserve);
    Result<void> unmap(std::uint64_t va, std::uint64_t bytes, Reserve& reserve);
    void apply(const drm::VaStep& step, Reserve& reserve);
    [[nodiscard]] Result<KernelPiece> allocate_kernel_va(std::uint64_t bytes);
    void free_kernel_va(KernelPiece freed);

    Device& device_;
    std::uint64_t user_va_bytes_;
    std::uint64_t tag_;
    KernelPieces kernel_free_;  // of the upper part
    PageTable tables_;
    drm::VaSpace space_;
    // Since the last flush was asked for:
    drm::VaSpace::Removed removed_;
    std::vector<KernelPiece> kernel_freed_;
    unsigned flushes_ = 0;
    // Flushes hold this: they may be done when the Vm is gone.
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    drm::LongRunningContext memory_;  // goes before what keeps its buffers alive
    std::unique_ptr<TilerHeaps> tiler_heaps_;
    BindQueue binds_;
    VmSyncWaits sync_waits_;
};

/// Keeps what was unmapped until the GPU can no longer touch it: longer than the Vm lives, if it must.
class Vm::Flush final : public Mmu::Completion {
  public:
    Flush(Vm& vm, std::function<void()> then);
    void done() override;

  private:
    friend class Vm;

    Vm& vm_;
    std::shared_ptr<bool> alive_;
    bool taken_ = false;  // something was unmapped
    drm::VaSpace::Removed removed_;
    std::vector<KernelPiece> freed_;
    std::function<void()> then_;
};

}  // namespace belfry::panthor
