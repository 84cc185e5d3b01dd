// Device: panthor's device as a whole, from boot to the last file.
//
// Owns   the helpers' device-wide state (timers, fence numbers, buffer statistics, mmap offsets), the
// firmware
//        interface, the MMU slots and the scheduler. Files and groups refer to it and must be gone before it.
// Runs   in the driver actor. Whoever runs that (server, rig) tells the time before each entry (set_now),
// calls
//        interrupt() when the GPU's line rises, tick() when next_deadline() has come, and hands requests to
//        Files.
//
// Constructed explicitly by main: board, device, boot(); a node is shown to clients when boot() has said so.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include <boost/intrusive/list.hpp>

#include "belfry/uapi/panthor_drm.h"
#include "drivers/panthor/bind_queue.hpp"
#include "drivers/panthor/firmware.hpp"
#include "drivers/panthor/group.hpp"
#include "drivers/panthor/mcu_memory.hpp"
#include "drivers/panthor/mmu.hpp"
#include "drivers/panthor/scheduler.hpp"
#include "drivers/panthor/sync_waits.hpp"
#include "drm/buffer.hpp"
#include "drm/core_ioctls.hpp"
#include "drm/exports.hpp"
#include "drm/fence.hpp"
#include "drm/residency.hpp"
#include "drm/timers.hpp"
#include "drm/work.hpp"
#include "gpu/board.hpp"

namespace belfry::panthor {

class Device {
  public:
    /// `exports` outlives the device.
    Device(const gpu::Board& board, drm::ExportHost& exports, const drm::MemoryOptions& memory = {});
    /// The GPU must not run any more: what it could still touch is freed here.
    ~Device();
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    /// Starts the firmware. `ready` is called from interrupt() once it is up, or has failed.
    void boot(std::function<void(Result<void>)> ready);

    /// Before any entry into the driver: the time, CLOCK_MONOTONIC.
    void set_now(std::uint64_t now_ns) { timers_.set_now(now_ns); }
    void interrupt();
    void tick();
    /// Handles what the firmware has said about a group slot.
    void slot_events(unsigned index);
    [[nodiscard]] std::optional<std::uint64_t> next_deadline() const { return timers_.next_deadline(); }

    /// Does what fences and jobs have become ready for. Every entry ends with it.
    void run_work();
    /// Has `work` looked at before the current entry returns.
    void wake(drm::Work& work);

    /// Submit rings are awake: poll() is to be called as often as can be.
    [[nodiscard]] bool polls() const { return !core_.polled.empty(); }
    /// Looks at one of them. True if it had entries.
    bool poll();

    /// A fault or a timeout ends it: take_ended() tells.
    void group_failed(Group& group) { ended_.push_back(group); }
    /// Tells `visit(group)` of each group that has ended so since the last call, once, in order. To be called
    /// at the end of an entry, when all that is known of it is.
    template <typename Visit>
    void take_ended(Visit visit) {
        while (!ended_.empty()) {
            const Group& group = ended_.front();
            ended_.pop_front();
            visit(group);
        }
    }

    /// Sync objects were written by somebody who is not the GPU: its streams that wait for one look again
    /// (facts/firmware-and-scheduling.md 7, B9).
    void wake_waiting_streams();

    [[nodiscard]] gpu::Mmio& mmio() { return board_.mmio; }
    [[nodiscard]] gpu::WakeLines& wake_lines() { return board_.wake_lines; }
    [[nodiscard]] drm::Timers& timers() { return timers_; }
    [[nodiscard]] drm::FenceContexts& fence_contexts() { return fence_contexts_; }
    [[nodiscard]] drm::Residency& residency() { return residency_; }
    /// A buffer that takes part in the memory budget. Errors of Buffer::make(); ENOMEM also if it can never
    /// be within the budget.
    [[nodiscard]] Result<drm::BufferPtr> make_buffer(const drm::Buffer::Options& options,
                                                     drm::Residency::Use use);
    [[nodiscard]] drm::MmapOffsets& mmap_offsets() { return mmap_offsets_; }
    [[nodiscard]] drm::Exports& exports() { return exports_; }
    [[nodiscard]] drm::Device& core() { return core_; }
    [[nodiscard]] const FirmwareInterface& firmware() const { return firmware_; }
    [[nodiscard]] Mmu& mmu() { return mmu_; }
    [[nodiscard]] McuMemory& mcu_memory() { return mcu_memory_; }
    [[nodiscard]] Scheduler& scheduler() { return scheduler_; }
    [[nodiscard]] SyncWaits& sync_waits() { return sync_waits_; }
    /// A number that was never given before.
    [[nodiscard]] std::uint64_t next_serial() { return ++last_serial_; }

    /// The page of LATEST_FLUSH_ID, for clients to read.
    [[nodiscard]] int flush_id_fd() const { return board_.flush_id_fd; }

    [[nodiscard]] uapi::drm_panthor_gpu_info gpu_info();
    [[nodiscard]] uapi::drm_panthor_csif_info csif_info() const;
    [[nodiscard]] uapi::drm_panthor_timestamp_info timestamp_info();
    [[nodiscard]] uapi::belfry_device_info device_info() const;

    // What there is, for device_info(); each object counts itself.
    std::uint32_t files = 0;
    std::uint32_t groups = 0;
    std::uint32_t vms = 0;
    std::uint64_t requests = 0;
    /// Of the actor, while it had something to do: whoever runs the driver adds to it.
    std::uint64_t busy_ns = 0;

    /// Those with jobs.
    boost::intrusive::list<BindQueue, boost::intrusive::base_hook<BindQueueHook>,
                           boost::intrusive::constant_time_size<false>>
        binding;

    void check_invariants() const;

  private:
    void job_interrupt(std::uint32_t bits);
    void mmu_interrupt(std::uint32_t bits);
    void memory_changed();
    void sync_updates(unsigned index);
    void stream_events(Group& group, unsigned slot, unsigned stream);
    void address_space_faulted(unsigned number);

    gpu::Board board_;
    drm::Timers timers_;
    drm::FenceContexts fence_contexts_;
    drm::BufferStats buffer_stats_;
    drm::MmapOffsets mmap_offsets_;
    drm::Residency residency_;
    drm::Exports exports_;
    drm::Device core_;
    FirmwareInterface firmware_;
    Mmu mmu_;
    McuMemory mcu_memory_;
    Scheduler scheduler_;
    SyncWaits sync_waits_;
    EndedGroups ended_;
    /// Buffers have come or gone, or may go now.
    struct MemoryChanged final : drm::Work {
        explicit MemoryChanged(Device& in) : device(in) {}
        void advance() override { device.memory_changed(); }
        Device& device;
    } memory_changed_{*this};
    std::function<void(Result<void>)> on_boot_;
    std::uint64_t last_serial_ = 0;
    bool booted_ = false;
};

}  // namespace belfry::panthor
