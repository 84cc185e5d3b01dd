// Firmware: the protocol of the shared blocks, group slots, and which stream runs next.
//
// Owns   the group slots with their streams, and the layout of the shared section.
// Runs   in the GPU actor.
// Called by Gpu: boot, doorbells, address-space events, slices. Talks to the driver through the shared blocks
//        (firmware_interface.hpp) and the job interrupt only.
//
// Streams take turns, a bounded slice each, whatever their group's priority, and so do groups on the shader
// cores: slot priorities rank nothing. A group leaves its slot once no core is in a shader of it. A stream
// that waits for a sync object is parked and tried again when that object is updated by a stream, when its
// group's doorbell or doorbell 0 is rung, or when its address space changes; it is never polled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "gpu/address_space.hpp"
#include "gpu/board.hpp"
#include "gpu/firmware_interface.hpp"
#include "gpu/stream.hpp"

namespace belfry::gpu {

inline constexpr unsigned kAddressSpaces = 16;

/// How many instructions a stream executes before the next one has its turn.
inline constexpr std::uint32_t kSliceInstructions = 1024;

struct FirmwareConfig {
    unsigned group_slots = 8;        ///< 1 ... 31
    unsigned streams_per_group = 8;  ///< 1 ... 32
    std::uint32_t slice_instructions = kSliceInstructions;
    unsigned shader_cores = 1;              ///< 1 ... 31
    std::uint32_t task_steps = kTaskSteps;  ///< of a turn of a core
    bool core_threads = false;              ///< others call run_shader_task(); else step() does all of it
};

/// Bytes of the shared section that this configuration takes.
std::size_t shared_bytes(const FirmwareConfig& config);

/// What the firmware needs of the rest of the GPU.
class FirmwarePort {
  public:
    virtual ~FirmwarePort() = default;
    virtual AddressSpace& address_space(std::uint32_t number) = 0;
    /// Takes the doorbell pages as the driver has set them by now.
    virtual void take_doorbell_pages() = 0;
    virtual void raise_job_interrupt(std::uint32_t bits) = 0;
    virtual void raise_mmu_fault(std::uint32_t address_space, const MmuFault& fault) = 0;
    virtual void wake(std::uint32_t& word, std::uint32_t bitset) = 0;
    virtual std::uint64_t timestamp() = 0;
    virtual std::uint64_t cycles() = 0;
    virtual void flushed_caches() = 0;
    virtual ShaderCores& shader_cores() = 0;
};

class GroupSlot;

class Firmware {
  public:
    Firmware(const FirmwareConfig& config, std::span<std::byte> shared, FirmwarePort& port);
    ~Firmware();

    /// Fills the control blocks. The caller then tells the driver, by the global interrupt.
    void boot();
    /// Stops everything, forgets every group. The MCU is off then.
    void reset();
    [[nodiscard]] bool halted() const { return halted_; }

    /// Doorbell 0: looks at the global block, at every group that it names, and at all waiting streams.
    void driver_doorbell();
    /// Looks at every stream that is configured with this doorbell. True if one has something to run.
    bool user_doorbell(std::uint32_t id);
    /// Has the CPU fetch what user_doorbell() and the slice after it will read, all at once: another CPU
    /// wrote each line of it, and one after the other is what most of a round trip would be.
    void prefetch(std::uint32_t id) const;
    void address_space_changed(std::uint32_t number);
    void address_space_disabled(std::uint32_t number);
    /// Takes what jobs on the shader cores came to, and has groups that were to leave do so if they can.
    void shader_news();
    /// Has all groups leave the shader cores for good. True: none is in them any more.
    bool abandon_jobs();

    /// Runs one slice of the stream whose turn it is. Returns how many instructions that executed.
    std::uint32_t run_slice();
    [[nodiscard]] bool has_runnable() const { return runnable_slots_ != 0 && !halted_; }

    /// For rigs: the stream as it stands.
    [[nodiscard]] const Stream& stream(unsigned slot, unsigned index) const;

  private:
    friend class GroupSlot;

    /// The host address behind an MCU address, `bytes` of it within a page or the shared section; null if
    /// none.
    std::byte* mcu(std::uint64_t address, std::uint64_t bytes);
    /// Copy between a buffer that the driver mapped for the MCU and our own memory. False: it is not mapped.
    bool read_mcu(std::uint64_t address, std::span<std::byte> own);
    bool write_mcu(std::uint64_t address, std::span<const std::byte> own);
    template <typename Copy>
    bool for_each_mcu_page(std::uint64_t address, std::uint64_t bytes, Copy copy);

    void raise_event(const std::uint32_t& req, std::uint32_t& ack_word, const std::uint32_t& ack_irq_mask,
                     std::uint32_t event, std::uint32_t interrupt);
    void sync_updated(csf::Scope scope, const GroupSlot& from, const std::byte* host);
    void check_all_idle();

    template <typename T>
    T& block(std::uint32_t offset) {
        return *reinterpret_cast<T*>(shared_.data() + offset);
    }
    [[nodiscard]] std::uint32_t mcu_address(std::uint32_t offset) const {
        return static_cast<std::uint32_t>(kSharedBase) + offset;
    }

    FirmwareConfig config_;
    std::span<std::byte> shared_;
    FirmwarePort& port_;
    std::vector<std::unique_ptr<GroupSlot>> slots_;
    std::uint32_t runnable_slots_ = 0;
    std::uint32_t waiting_slots_ = 0;  // slots with a stream that waits for a sync object
    unsigned turn_ = 0;                // slot that ran last
    bool booted_ = false;
    bool halted_ = false;
};

}  // namespace belfry::gpu
