#include "gpu/firmware.hpp"

#include <bit>
#include <cstring>

#include "base/atomic.hpp"
#include "base/check.hpp"
#include "gpu/group_slot.hpp"

namespace belfry::gpu {
namespace {

using base::kAcquire;
using base::kRelaxed;
using base::kRelease;
using base::kSeqCst;

// Strides of the control blocks, as Arm's firmware has them where they are large enough.
constexpr std::uint32_t kGroupStrideMin = 0x100;
constexpr std::uint32_t kBlockBytes = 0x100;  // an input or output block; keeps writers on lines of their own
constexpr std::uint32_t kReportsBytes = 0x280;
static_assert(sizeof(GroupReports) <= kReportsBytes);
static_assert(sizeof(GlobalInput) <= kBlockBytes && sizeof(GroupInput) <= kBlockBytes &&
              sizeof(StreamInput) <= kBlockBytes && sizeof(StreamOutput) <= kBlockBytes);

std::uint32_t group_stride(const FirmwareConfig& config) {
    const auto needed =
        static_cast<std::uint32_t>(kStreamControlOffset + config.streams_per_group * sizeof(StreamControl));
    return std::max(kGroupStrideMin, std::bit_ceil(needed));
}

/// First byte after all control blocks: input and output blocks follow, two a block owner.
std::uint32_t blocks_offset(const FirmwareConfig& config) {
    return kGroupControlOffset + config.group_slots * group_stride(config);
}

}  // namespace

std::size_t shared_bytes(const FirmwareConfig& config) {
    const std::size_t owners = 1 + config.group_slots * (1 + config.streams_per_group);
    return blocks_offset(config) + owners * 2 * kBlockBytes + std::size_t{config.group_slots} * kReportsBytes;
}

Firmware::Firmware(const FirmwareConfig& config, std::span<std::byte> shared, FirmwarePort& port)
    : config_(config), shared_(shared), port_(port) {
    BELFRY_CHECK(config.group_slots >= 1 && config.group_slots <= 31);
    BELFRY_CHECK(config.streams_per_group >= 1 && config.streams_per_group <= 32);
    BELFRY_CHECK(config.slice_instructions >= 1);
    BELFRY_CHECK(shared.size() >= shared_bytes(config));
    for (unsigned i = 0; i < config.group_slots; ++i)
        slots_.push_back(std::make_unique<GroupSlot>(*this, i, config.streams_per_group));
}

Firmware::~Firmware() = default;

void Firmware::boot() {
    std::memset(shared_.data(), 0, shared_.size());
    std::uint32_t next = blocks_offset(config_);
    const auto take_block = [&next](std::uint32_t bytes = kBlockBytes) {
        return std::exchange(next, next + bytes);
    };

    auto& global = block<GlobalControl>(0);
    global.version = kInterfaceVersion;
    global.input_va = mcu_address(take_block());
    global.output_va = mcu_address(take_block());
    global.group_num = config_.group_slots;
    global.group_stride = group_stride(config_);

    for (unsigned i = 0; i < config_.group_slots; ++i) {
        const std::uint32_t group_offset = kGroupControlOffset + i * global.group_stride;
        auto& group = block<GroupControl>(group_offset);
        const std::uint32_t input = take_block();
        const std::uint32_t output = take_block();
        const std::uint32_t reports = take_block(kReportsBytes);
        group.reports_va = mcu_address(reports);
        group.input_va = mcu_address(input);
        group.output_va = mcu_address(output);
        group.suspend_size = static_cast<std::uint32_t>(
            sizeof(StreamState) * config_.streams_per_group +
            ShaderCores::save_bytes(config_.shader_cores, config_.streams_per_group));
        group.stream_num = config_.streams_per_group;
        group.stream_stride = sizeof(StreamControl);

        std::vector<GroupSlot::StreamBlocks> blocks;
        for (unsigned j = 0; j < config_.streams_per_group; ++j) {
            auto& stream = block<StreamControl>(group_offset + kStreamControlOffset +
                                                j * static_cast<std::uint32_t>(sizeof(StreamControl)));
            const std::uint32_t stream_input = take_block();
            const std::uint32_t stream_output = take_block();
            stream.features = (kRegisters - 1) | kScoreboards << 8;
            stream.input_va = mcu_address(stream_input);
            stream.output_va = mcu_address(stream_output);
            blocks.push_back({&block<StreamInput>(stream_input), &block<StreamOutput>(stream_output)});
        }
        slots_[i]->bind_blocks(block<GroupInput>(input), block<GroupOutput>(output),
                               block<GroupReports>(reports), std::move(blocks));
    }
    booted_ = true;
    halted_ = false;
}

void Firmware::reset() {
    for (const auto& slot : slots_) slot->reset();
    booted_ = false;
}

void Firmware::driver_doorbell() {
    if (!booted_ || halted_) return;
    auto& control = block<GlobalControl>(0);
    auto& input = block<GlobalInput>(control.input_va - static_cast<std::uint32_t>(kSharedBase));
    auto& output = block<GlobalOutput>(control.output_va - static_cast<std::uint32_t>(kSharedBase));

    // Acquire: pairs with the driver's release of each request word, so that what it wrote before is seen.
    const std::uint32_t req = base::load(input.req, kAcquire);
    const std::uint32_t ack = base::load(output.ack, kRelaxed);
    const std::uint32_t done = (req ^ ack) & kGlbCopied;
    if (done != 0) {
        base::store(output.ack, ack ^ done, kRelease);
        if ((done & base::load(input.ack_irq_mask, kRelaxed)) != 0) port_.raise_job_interrupt(kJobIntGlobal);
    }
    if ((req & kGlbHalt) != 0) {
        halted_ = true;
        return;
    }

    const std::uint32_t rung = base::load(input.doorbell_req, kAcquire);
    const std::uint32_t answered = base::load(output.doorbell_ack, kRelaxed);
    // Consume, then look: the other order loses a ring (facts/firmware-and-scheduling.md 7, A3 and E8).
    base::store(output.doorbell_ack, rung, kRelease);
    base::full_fence();
    for (std::uint32_t left = rung ^ answered; left != 0; left &= left - 1) {
        const auto slot = static_cast<unsigned>(std::countr_zero(left));
        if (slot < slots_.size()) slots_[slot]->look();
    }
    // Doorbell 0 also says that a CPU may have written what a stream waits for.
    for (const auto& slot : slots_) slot->wake_waiting(nullptr);
}

bool Firmware::user_doorbell(std::uint32_t id) {
    bool found = false;
    for (const auto& slot : slots_) found |= slot->user_doorbell(id);
    return found;
}

void Firmware::prefetch(std::uint32_t id) const {
    for (const auto& slot : slots_) slot->prefetch(id);
}

void Firmware::address_space_changed(std::uint32_t number) {
    for (const auto& slot : slots_) slot->address_space_changed(number);
}

void Firmware::address_space_disabled(std::uint32_t number) {
    for (const auto& slot : slots_) slot->address_space_disabled(number);
}

void Firmware::shader_news() {
    for (const auto& slot : slots_) slot->shader_news();
}

bool Firmware::abandon_jobs() {
    bool out = true;
    for (const auto& slot : slots_) out &= slot->abandon_all_jobs();
    return out;
}

std::uint32_t Firmware::run_slice() {
    if (!has_runnable()) return 0;
    // The next runnable slot after the one that ran last, round the ring.
    const std::uint32_t after = turn_ + 1 < 32 ? runnable_slots_ & ~0U << (turn_ + 1) : 0;
    turn_ = static_cast<unsigned>(std::countr_zero(after != 0 ? after : runnable_slots_));
    return slots_[turn_]->run_slice();
}

const Stream& Firmware::stream(unsigned slot, unsigned index) const { return slots_[slot]->stream(index); }

std::byte* Firmware::mcu(std::uint64_t address, std::uint64_t bytes) {
    if (address >= kSharedBase && address < kSharedEnd) {
        const std::uint64_t offset = address - kSharedBase;
        return offset + bytes <= shared_.size() ? shared_.data() + offset : nullptr;
    }
    return port_.address_space(0).translate(address, Access::write);
}

/// Calls copy(host, offset, bytes) for each piece of a range that lies in one page.
template <typename Copy>
bool Firmware::for_each_mcu_page(std::uint64_t address, std::uint64_t bytes, Copy copy) {
    constexpr std::uint64_t kPage = 1U << kPageShift;
    for (std::uint64_t offset = 0; offset < bytes;) {
        const std::uint64_t piece = std::min(bytes - offset, kPage - (address + offset) % kPage);
        std::byte* const memory = mcu(address + offset, piece);
        if (memory == nullptr) return false;
        copy(memory, offset, piece);
        offset += piece;
    }
    return true;
}

bool Firmware::read_mcu(std::uint64_t address, std::span<std::byte> own) {
    return for_each_mcu_page(address, own.size(),
                             [own](const std::byte* memory, std::uint64_t offset, std::uint64_t bytes) {
                                 std::memcpy(own.data() + offset, memory, bytes);
                             });
}

bool Firmware::write_mcu(std::uint64_t address, std::span<const std::byte> own) {
    return for_each_mcu_page(address, own.size(),
                             [own](std::byte* memory, std::uint64_t offset, std::uint64_t bytes) {
                                 std::memcpy(memory, own.data() + offset, bytes);
                             });
}

/// An event of the global block or of a group, with its interrupt if the driver listens.
void Firmware::raise_event(const std::uint32_t& req, std::uint32_t& ack_word,
                           const std::uint32_t& ack_irq_mask, std::uint32_t event, std::uint32_t interrupt) {
    const std::uint32_t ack = base::load(ack_word, kRelaxed);
    if (((base::load(req, kAcquire) ^ ack) & event) != 0) {
        // Pending already. One that nobody hears stays so: sequentially consistent after what the event is
        // about, so that a driver which begins to listen (mask, fence, then memory) misses neither. Of one
        // that is heard the driver may be copying the acknowledgement right now: it then looks at memory
        // after that, so look once more (Dekker).
        if ((base::load(ack_irq_mask, kSeqCst) & event) == 0) return;
        base::full_fence();
        if (((base::load(req, kAcquire) ^ ack) & event) != 0) return;
    }
    // The event before the look at the mask, both sequentially consistent: a driver that begins to listen
    // stores the mask, fences, and looks for events that nobody heard (Dekker).
    base::store(ack_word, ack ^ event, kSeqCst);
    if ((base::load(ack_irq_mask, kSeqCst) & event) != 0) port_.raise_job_interrupt(interrupt);
}

void Firmware::sync_updated(csf::Scope scope, const GroupSlot& from, const std::byte* host) {
    if (waiting_slots_ == 0) return;
    for (const auto& slot : slots_)
        if (scope == csf::Scope::system || slot.get() == &from) slot->wake_waiting(host);
}

void Firmware::check_all_idle() {
    auto& control = block<GlobalControl>(0);
    auto& input = block<GlobalInput>(control.input_va - static_cast<std::uint32_t>(kSharedBase));
    auto& output = block<GlobalOutput>(control.output_va - static_cast<std::uint32_t>(kSharedBase));
    if ((base::load(output.ack, kRelaxed) & kGlbIdleEn) == 0) return;
    for (const auto& slot : slots_)
        if (slot->running() && !slot->idle()) return;
    raise_event(input.req, output.ack, input.ack_irq_mask, kGlbIdle, kJobIntGlobal);
}

}  // namespace belfry::gpu
