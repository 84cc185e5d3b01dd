#include "drivers/panthor/firmware.hpp"

#include <algorithm>

#include "base/atomic.hpp"
#include "drivers/panthor/mmu.hpp"

namespace belfry::panthor {
namespace {

using base::Errno;
using base::kAcquire;
using base::kRelaxed;
using base::kRelease;

/// Each slot may need an address space of its own, and the firmware has one.
constexpr unsigned kGroupSlotsMax = Mmu::kSlots - 1;
constexpr unsigned kStreamsMax = 32;

}  // namespace

template <typename T>
T* FirmwareInterface::at(std::uint64_t mcu_address) const {
    const std::uint64_t offset = mcu_address - gpu::kSharedBase;
    if (mcu_address < gpu::kSharedBase || offset + sizeof(T) > board_.shared.size()) return nullptr;
    return reinterpret_cast<T*>(board_.shared.data() + offset);
}

base::Result<void> FirmwareInterface::init() {
    const auto* const global = at<gpu::GlobalControl>(gpu::kSharedBase);
    if (global == nullptr || global->version == 0 || global->group_num == 0)
        return std::unexpected(Errno::no_device);
    version_ = global->version;
    global_input_ = at<gpu::GlobalInput>(global->input_va);
    global_output_ = at<gpu::GlobalOutput>(global->output_va);
    if (global_input_ == nullptr || global_output_ == nullptr) return std::unexpected(Errno::no_device);

    for (unsigned i = 0; i < std::min(global->group_num, kGroupSlotsMax); ++i) {
        const std::uint64_t group_va =
            gpu::kSharedBase + gpu::kGroupControlOffset + std::uint64_t{i} * global->group_stride;
        const auto* const group = at<gpu::GroupControl>(group_va);
        if (group == nullptr || group->stream_num == 0 || group->stream_num > kStreamsMax)
            return std::unexpected(Errno::no_device);
        SlotBlocks slot{.input = at<gpu::GroupInput>(group->input_va),
                        .output = at<gpu::GroupOutput>(group->output_va),
                        .streams = {},
                        .reports = at<gpu::GroupReports>(group->reports_va)};
        if (slot.input == nullptr || slot.output == nullptr || slot.reports == nullptr)
            return std::unexpected(Errno::no_device);
        for (unsigned j = 0; j < group->stream_num; ++j) {
            const auto* const stream = at<gpu::StreamControl>(group_va + gpu::kStreamControlOffset +
                                                              std::uint64_t{j} * group->stream_stride);
            if (stream == nullptr) return std::unexpected(Errno::no_device);
            const StreamBlocks blocks{.input = at<gpu::StreamInput>(stream->input_va),
                                      .output = at<gpu::StreamOutput>(stream->output_va)};
            if (blocks.input == nullptr || blocks.output == nullptr) return std::unexpected(Errno::no_device);
            stream_features_ = stream->features;
            slot.streams.push_back(blocks);
        }
        // Slots are one like the other (facts/firmware-and-scheduling.md 1.1).
        if (!slots_.empty() && (slot.streams.size() != streams_ || group->suspend_size != suspend_bytes_))
            return std::unexpected(Errno::no_device);
        streams_ = group->stream_num;
        suspend_bytes_ = group->suspend_size;
        slots_.push_back(std::move(slot));
    }
    taken_reports_.resize(slots_.size());
    return {};
}

void FirmwareInterface::toggle(std::uint32_t& req, const std::uint32_t& ack, std::uint32_t bits) {
    const std::uint32_t wanted = ~base::load(ack, kAcquire) & bits;
    // Release: what the request is about was written before. Only the driver writes this word.
    base::store(req, (base::load(req, kRelaxed) & ~bits) | wanted, kRelease);
}

void FirmwareInterface::set_field(std::uint32_t& req, std::uint32_t mask, std::uint32_t value) {
    base::store(req, (base::load(req, kRelaxed) & ~mask) | (value & mask), kRelease);
}

std::uint32_t FirmwareInterface::take_events(std::uint32_t& req, const std::uint32_t& ack,
                                             std::uint32_t bits) {
    // One sample of ack: it is judged and acknowledged, so that no event in between is swallowed (E2).
    const std::uint32_t sampled = base::load(ack, kAcquire);
    const std::uint32_t pending = (base::load(req, kRelaxed) ^ sampled) & bits;
    if (pending == 0) return 0;
    base::store(req, (base::load(req, kRelaxed) & ~pending) | (sampled & pending), kRelease);
    // Acknowledged first, memory looked at second: an event that merged with this one is seen there (D2).
    base::full_fence();
    return pending;
}

void FirmwareInterface::ring(unsigned index) {
    toggle(global_input_->doorbell_req, global_output_->doorbell_ack, 1U << index);
    board_.mmio.write(gpu::doorbell_reg(0), 1);
}

}  // namespace belfry::panthor
