#include "drivers/panthor/device.hpp"

#include <bit>
#include <string_view>
#include <utility>

#include "base/atomic.hpp"
#include "base/check.hpp"
#include "belfry/uapi/csf_exceptions.hpp"

namespace belfry::panthor {
namespace {

using gpu::AsReg;
using gpu::Reg;

constexpr drm::VersionInfo kVersion{
    .major = 1, .minor = 5, .patchlevel = 0, .name = "panthor", .date = "0", .desc = "Panthor DRM driver"};
/// As the GPU of an RK3588 is called.
constexpr std::string_view kPlatformDevice = "fb000000.gpu";

constexpr std::uint32_t kAllBits = ~0U;
/// The last registers, which each kernel-mode job overwrites (facts/csf-isa.md 1.2).
constexpr std::uint32_t kUnpreservedRegisters = 4;

template <typename Visit>
void for_each_bit(std::uint32_t bits, Visit visit) {
    for (; bits != 0; bits &= bits - 1) visit(static_cast<unsigned>(std::countr_zero(bits)));
}

/// What a stream's output block says of its end.
uapi::belfry_group_get_fault fatal_of(const gpu::StreamOutput& output, std::uint32_t stream) {
    const auto word = [](const auto& field) { return base::load(field, base::kRelaxed); };
    const std::uint64_t shader_pc = word(output.shader_pc);
    return {.flags = uapi::BELFRY_FAULT_VALID | uapi::BELFRY_FAULT_QUEUE |
                     (shader_pc != 0 ? std::uint32_t{uapi::BELFRY_FAULT_SHADER} : 0),
            .queue = stream,
            .exception = word(output.fatal) & 0xff,
            .cmd_ptr = word(output.fault_cmd_ptr),
            .instruction = word(output.fault_instruction),
            .info = word(output.fatal_info),
            .shader_pc = shader_pc,
            .shader_instruction = word(output.shader_instruction),
            .shader_workgroup_x = word(output.shader_workgroup[0]),
            .shader_workgroup_y = word(output.shader_workgroup[1]),
            .shader_workgroup_z = word(output.shader_workgroup[2]),
            .shader_thread = word(output.shader_lane)};
}

}  // namespace

Device::Device(const gpu::Board& board, drm::ExportHost& exports, const drm::MemoryOptions& memory)
    : board_(board),
      residency_(timers_, memory,
                 {.about_to_evict = [this] { sync_waits_.look_now(); },
                  .changed = [this] { wake(memory_changed_); }}),
      exports_(exports),
      core_{.version = kVersion,
            .unique = kPlatformDevice,
            .exports = exports_,
            .timers = timers_,
            .fence_contexts = fence_contexts_},
      firmware_(board),
      mmu_(board.mmio),
      mcu_memory_(mmu_),
      scheduler_(firmware_, mmu_, board.mmio, timers_, residency_),
      sync_waits_(timers_, {.listen = [this](bool on) { scheduler_.listen_for_sync_updates(on); },
                            .catch_up =
                                [this] {
                                    for (unsigned i = 0; i < scheduler_.slot_count(); ++i)
                                        if (scheduler_.on_slot(i) != nullptr) slot_events(i);
                                },
                            .wake = [this](drm::Work& work) { wake(work); }}) {}

Device::~Device() {
    scheduler_.gpu_gone();
    run_work();
    // What is still queued waits for somebody who has gone before.
    while (!binding.empty()) binding.front().cancel();
    board_.mmio.write(Reg::job_int_mask, 0);
    board_.mmio.write(Reg::mmu_int_mask, 0);
    board_.mmio.write(Reg::mcu_control, gpu::kMcuControlDisable);
}

void Device::boot(std::function<void(Result<void>)> ready) {
    on_boot_ = std::move(ready);
    board_.mmio.write(Reg::job_int_clear, kAllBits);
    board_.mmio.write(Reg::mmu_int_clear, kAllBits);
    board_.mmio.write(Reg::job_int_mask, kAllBits);
    board_.mmio.write(Reg::mmu_int_mask, kAllBits);
    mcu_memory_.enable();
    board_.mmio.write(Reg::mcu_control, gpu::kMcuControlAuto);
}

void Device::interrupt() {
    const std::uint32_t mmu = board_.mmio.read(Reg::mmu_int_stat);
    const std::uint32_t job = board_.mmio.read(Reg::job_int_stat);
    // Faults first: they say why a stream of the same interrupt has ended.
    if (mmu != 0) mmu_interrupt(mmu);
    if (job != 0) {
        board_.mmio.write(Reg::job_int_clear, job);
        job_interrupt(job);
    }
    // The GPU raises its line only when nothing stood. What has come since stands: unmasking raises the line
    // again for it, and it is served behind whoever waits for the driver now. Looking until all is quiet
    // would let a stream that raises events without end keep the driver here.
    for (const Reg mask : {Reg::mmu_int_mask, Reg::job_int_mask}) {
        board_.mmio.write(mask, 0);
        board_.mmio.write(mask, kAllBits);
    }
    run_work();
}

void Device::tick() {
    timers_.run(timers_.now());
    run_work();
}

void Device::wake(drm::Work& work) { core_.work.wake(work); }

void Device::wake_waiting_streams() { board_.mmio.write(gpu::doorbell_reg(0), 1); }

/// Here, and not where it was noticed: eviction and scheduling start from a state in which all is settled.
void Device::memory_changed() {
    if (!sync_waits_.empty()) sync_waits_.recheck();
    residency_.trim();
    scheduler_.schedule();
}

Result<drm::BufferPtr> Device::make_buffer(const drm::Buffer::Options& options, drm::Residency::Use use) {
    auto buffer = drm::Buffer::make(buffer_stats_, options);
    if (!buffer || !residency_.bounded()) return buffer;
    // Also where it lies in the backing store.
    if (const auto offset = mmap_offsets_.offset_of(**buffer); !offset)
        return std::unexpected(offset.error());
    if (const auto managed = residency_.manage(**buffer, use); !managed)
        return std::unexpected(managed.error());
    return buffer;
}

bool Device::poll() {
    const std::uint64_t before = core_.submit_entries;
    core_.polled.run_one();
    run_work();
    return core_.submit_entries != before;
}

void Device::run_work() { core_.work.run(); }

void Device::job_interrupt(std::uint32_t bits) {
    if (!booted_ && (bits & gpu::kJobIntGlobal) != 0) {
        booted_ = true;
        const auto up = firmware_.init();
        if (up) scheduler_.start();
        if (const auto ready = std::exchange(on_boot_, nullptr)) ready(up);
        return;
    }
    for_each_bit(bits & ~gpu::kJobIntGlobal, [this](unsigned index) {
        if (index < scheduler_.slot_count()) slot_events(index);
    });
}

void Device::slot_events(unsigned index) {
    const SlotBlocks& blocks = firmware_.slot(index);
    // One sample for events and acknowledgement, and the streams' notices after it: so what a group did
    // before it left its slot is known before it is seen to have left (facts/firmware-and-scheduling.md 7,
    // B11).
    const std::uint32_t ack = base::load(blocks.output->ack, base::kAcquire);
    const std::uint32_t events = FirmwareInterface::take_events(blocks.input->req, ack, gpu::kGroupEvents);
    // Copied first, looked at second (E1): what comes in between shows again.
    const std::uint32_t notices = base::load(blocks.output->cs_irq_req, base::kAcquire) ^
                                  base::load(blocks.input->cs_irq_ack, base::kRelaxed);
    base::store(blocks.input->cs_irq_ack, base::load(blocks.input->cs_irq_ack, base::kRelaxed) ^ notices,
                base::kRelease);
    base::full_fence();

    if ((events & gpu::kGroupSyncUpdate) != 0) sync_updates(index);
    // Events of a slot without a group are those of a group that has left it (B11): drained and forgotten.
    if (Group* const group = scheduler_.on_slot(index)) {
        const auto alive = group->shared_from_this();
        for_each_bit(notices, [&](unsigned stream) { stream_events(*group, index, stream); });
        const base::Fd& updates = group->options().sync_update_eventfd;
        if ((events & gpu::kGroupSyncUpdate) != 0 && updates) base::ring_foreign_eventfd(updates.get());
        if ((events & gpu::kGroupSyncUpdate) != 0 && !group->user_submit())
            for (std::size_t i = 0; i < group->queue_count(); ++i) group->queue(i).check_done();
        if ((events & gpu::kGroupIdle) != 0) scheduler_.became_idle(index);
    }
    scheduler_.acknowledged(index, static_cast<gpu::GroupRequest>(ack & gpu::kGroupStateMask));
}

/// The group on slot `index` has updated sync objects.
void Device::sync_updates(unsigned index) {
    if (sync_waits_.empty()) return;
    const Group* const group = scheduler_.on_slot(index);
    const bool named = firmware_.take_reports(index, [&](std::uint64_t address) {
        if (group != nullptr) sync_waits_.reported(*group->options().vm, address);
    });
    // Reports were lost, or the firmware did not see that it was to write one; or nobody knows any more in
    // which address space they were.
    if (!named || group == nullptr) sync_waits_.recheck();
}

void Device::stream_events(Group& group, unsigned slot, unsigned stream) {
    const StreamBlocks& blocks = firmware_.slot(slot).streams[stream];
    // Read before the events are acknowledged: from then on the firmware may write the next one.
    const std::uint32_t pending =
        (base::load(blocks.input->req, base::kRelaxed) ^ base::load(blocks.output->ack, base::kAcquire)) &
        gpu::kStreamEvents;
    const auto fatal = fatal_of(*blocks.output, stream);
    FirmwareInterface::take_events(blocks.input->req, blocks.output->ack, pending);
    if (stream >= group.queue_count()) return;

    if ((pending & gpu::kStreamFatal) != 0) {
        // After a page fault every stream of the address space ends; the one whose access it was is named by
        // it.
        uapi::belfry_group_get_fault record = fatal;
        const Vm& vm = group.vm();
        const bool by_page_fault =
            vm.faulted && fatal.exception == static_cast<unsigned>(csf::Exception::cs_bus_fault);
        const bool culprit = by_page_fault && fatal.info == vm.fault.address && fatal.cmd_ptr != 0;
        if (culprit) {
            record.exception = vm.fault.type;
            record.access = vm.fault.access;
            record.address = vm.fault.address;
            record.flags |= uapi::BELFRY_FAULT_MMU;
        }
        // The others end with the address space, below: whoever hears of a group's end finds its cause then.
        if (by_page_fault && !culprit) return;
        group.record_fault(record);
        group.end({.fatal_queues = culprit ? (1U << group.queue_count()) - 1 : 1U << stream});
    }
}

void Device::mmu_interrupt(std::uint32_t bits) {
    // The fault registers hold the first fault until its bit is cleared.
    for (unsigned i = 1; i < Mmu::kSlots; ++i)
        if ((bits & gpu::mmu_int_fault(i)) != 0) address_space_faulted(i);
    board_.mmio.write(Reg::mmu_int_clear, bits);
    for (unsigned i = 0; i < Mmu::kSlots; ++i)
        if ((bits & gpu::mmu_int_command_done(i)) != 0) mmu_.command_done(i);
    scheduler_.schedule();  // an address space may have become free
}

void Device::address_space_faulted(unsigned number) {
    // Held by a group on a slot; if there is none, it is a late fault of streams that have left.
    std::shared_ptr<Vm> vm;
    for (unsigned i = 0; i < scheduler_.slot_count(); ++i)
        if (Group* const group = scheduler_.on_slot(i); group != nullptr && &group->vm() == mmu_.vm(number))
            vm = group->options().vm;
    if (vm == nullptr || vm->faulted) return;
    const std::uint32_t status = board_.mmio.read(gpu::as_reg(number, AsReg::faultstatus));
    vm->fault = {.type = gpu::fault_type(status),
                 .access = gpu::fault_access(status),
                 .address = board_.mmio.read64(gpu::as_reg(number, AsReg::faultaddress_lo))};
    vm->faulted = true;
    // With the address space off, each stream on it reports where it stood; then the groups are ended.
    mmu_.disable(*vm, [this, vm] {
        if (!vm->faulted) return;  // they have left meanwhile
        for (unsigned i = 0; i < scheduler_.slot_count(); ++i) {
            Group* const group = scheduler_.on_slot(i);
            if (group == nullptr || &group->vm() != vm.get()) continue;
            const auto alive = group->shared_from_this();
            slot_events(i);
            group->record_fault({.flags = uapi::BELFRY_FAULT_VALID | uapi::BELFRY_FAULT_MMU,
                                 .exception = vm->fault.type,
                                 .access = vm->fault.access,
                                 .address = vm->fault.address});
            if (group->can_run()) group->end({.fatal_queues = (1U << group->queue_count()) - 1});
        }
    });
}

uapi::drm_panthor_gpu_info Device::gpu_info() {
    gpu::Mmio& mmio = board_.mmio;
    return {
        .gpu_id = mmio.read(Reg::gpu_id),
        .gpu_rev = mmio.read(Reg::revidr),
        .csf_id = mmio.read(Reg::csf_id),
        .l2_features = mmio.read(Reg::l2_features),
        .tiler_features = mmio.read(Reg::tiler_features),
        .mem_features = mmio.read(Reg::mem_features),
        .mmu_features = mmio.read(Reg::mmu_features),
        .thread_features = mmio.read(Reg::thread_features),
        .max_threads = mmio.read(Reg::thread_max_threads),
        .thread_max_workgroup_size = mmio.read(Reg::thread_max_workgroup_size),
        .thread_max_barrier_size = mmio.read(Reg::thread_max_barrier_size),
        .coherency_features = mmio.read(Reg::coherency_features),
        .texture_features = {mmio.read(Reg::texture_features_0)},
        .as_present = mmio.read(Reg::as_present),
        .shader_present = mmio.read64(Reg::shader_present_lo),
        .l2_present = mmio.read64(Reg::l2_present_lo),
        .tiler_present = mmio.read64(Reg::tiler_present_lo),
    };
}

uapi::drm_panthor_csif_info Device::csif_info() const {
    return {
        .csg_slot_count = firmware_.group_slots(),
        .cs_slot_count = firmware_.streams_per_group(),
        .cs_reg_count = (firmware_.stream_features() & 0xff) + 1,
        .scoreboard_slot_count = firmware_.stream_features() >> 8 & 0xff,
        .unpreserved_cs_reg_count = kUnpreservedRegisters,
    };
}

uapi::drm_panthor_timestamp_info Device::timestamp_info() {
    return {.timestamp_frequency = gpu::kTimestampHz,
            .current_timestamp = board_.mmio.read64(Reg::timestamp_lo)};
}

uapi::belfry_device_info Device::device_info() const {
    return {.groups = groups,
            .groups_on_slot = scheduler_.occupied(),
            .groups_waiting = scheduler_.waiting(),
            .files = files,
            .buffers = static_cast<std::uint32_t>(buffer_stats_.count()),
            .vms = vms,
            .buffer_bytes = buffer_stats_.bytes(),
            .requests = requests,
            .busy_ns = busy_ns,
            .suspends = scheduler_.suspends(),
            .suspend_ns = scheduler_.suspend_ns(),
            .memory_budget = residency_.budget(),
            .resident_bytes = residency_.bounded() ? residency_.resident_bytes() : buffer_stats_.bytes(),
            .evicted_bytes = residency_.stored_bytes(),
            .evictions = residency_.evictions(),
            .evict_ns = residency_.evict_ns(),
            .restores = residency_.restores(),
            .restore_ns = residency_.restore_ns(),
            .missed_reports = sync_waits_.missed()};
}

void Device::check_invariants() const {
    scheduler_.check_invariants();
    timers_.check_invariants();
    residency_.check_invariants();
    BELFRY_CHECK(!residency_.exceeds_in_vain());
    mmap_offsets_.check_invariants();
}

}  // namespace belfry::panthor
