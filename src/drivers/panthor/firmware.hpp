// FirmwareInterface: the driver's side of the blocks that it shares with the firmware.
//
// Owns   nothing but where the blocks lie. Runs in the driver actor. Called by Device (events) and Scheduler
//        (requests). The rules of each word are in gpu/firmware_interface.hpp.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/atomic.hpp"
#include "base/result.hpp"
#include "gpu/board.hpp"
#include "gpu/firmware_interface.hpp"

namespace belfry::panthor {

/// The blocks of one stream of a slot.
struct StreamBlocks {
    gpu::StreamInput* input;
    const gpu::StreamOutput* output;
};

/// The blocks of one group slot.
struct SlotBlocks {
    gpu::GroupInput* input;
    const gpu::GroupOutput* output;
    std::vector<StreamBlocks> streams;
    const gpu::GroupReports* reports;
};

class FirmwareInterface {
  public:
    explicit FirmwareInterface(const gpu::Board& board) : board_(board) {}

    /// Reads the control blocks that the firmware wrote at boot. ENODEV: they make no sense.
    base::Result<void> init();

    [[nodiscard]] unsigned group_slots() const { return static_cast<unsigned>(slots_.size()); }
    [[nodiscard]] unsigned streams_per_group() const { return streams_; }
    [[nodiscard]] std::uint32_t stream_features() const { return stream_features_; }
    [[nodiscard]] std::uint32_t suspend_bytes() const { return suspend_bytes_; }
    [[nodiscard]] std::uint32_t version() const { return version_; }
    [[nodiscard]] const SlotBlocks& slot(unsigned index) const { return slots_[index]; }

    /// Makes `bits` of a request word pending. Computed from what the firmware acknowledged, so that asking
    /// twice merges and never cancels. Seen by the firmware after ring().
    static void toggle(std::uint32_t& req, const std::uint32_t& ack, std::uint32_t bits);
    /// Writes a field of a request word.
    static void set_field(std::uint32_t& req, std::uint32_t mask, std::uint32_t value);
    /// Takes the events of a word that are pending, acknowledges just those, and returns them.
    static std::uint32_t take_events(std::uint32_t& req, const std::uint32_t& ack, std::uint32_t bits);

    /// Has the firmware look at group slot `index`.
    void ring(unsigned index);

    /// Calls `visit(address)` for each sync object that the slot's group has reported since. False: there was
    /// none, or more than the firmware keeps.
    template <typename Visit>
    bool take_reports(unsigned index, Visit visit) {
        const gpu::GroupReports& reports = *slots_[index].reports;
        // Acquire: the addresses before it. Nothing is given back to the firmware, which overwrites the
        // oldest: the look after the loop decides whether any was lost, the one before it bounds the loop.
        const std::uint32_t written = base::load(reports.written, base::kAcquire);
        const std::uint32_t first = std::exchange(taken_reports_[index], written);
        if (written == first || written - first > gpu::kReportsMax) return false;
        for (std::uint32_t i = first; i != written; ++i)
            visit(base::load(reports.addresses[i % gpu::kReportsMax], base::kRelaxed));
        base::full_fence();
        return base::load(reports.written, base::kRelaxed) - first <= gpu::kReportsMax;
    }
    /// What was reported until now is nobody's concern.
    void discard_reports(unsigned index) {
        taken_reports_[index] = base::load(slots_[index].reports->written, base::kAcquire);
    }

  private:
    template <typename T>
    [[nodiscard]] T* at(std::uint64_t mcu_address) const;

    gpu::Board board_;
    gpu::GlobalInput* global_input_ = nullptr;
    const gpu::GlobalOutput* global_output_ = nullptr;
    std::vector<SlotBlocks> slots_;
    std::vector<std::uint32_t> taken_reports_;
    unsigned streams_ = 0;
    std::uint32_t stream_features_ = 0;
    std::uint32_t suspend_bytes_ = 0;
    std::uint32_t version_ = 0;
};

}  // namespace belfry::panthor
