#include "gpu/gpu.hpp"

#include <bit>
#include <memory>

#include "base/atomic.hpp"

namespace belfry::gpu {
namespace {

using base::kAcqRel;
using base::kAcquire;
using base::kRelaxed;
using base::kRelease;
using base::kSeqCst;

constexpr std::uint32_t reg(Reg r) { return static_cast<std::uint32_t>(r); }
constexpr std::uint32_t kAsFirst = reg(as_reg(0, AsReg::transtab_lo));
constexpr std::uint32_t kAsEnd = reg(as_reg(kAddressSpaces, AsReg::transtab_lo));
constexpr std::uint32_t kBlockAlign = 64;
/// The uAPI refuses flush ids with any of the bits 30:24 (facts/uapi.md 1.13), so the counter wraps before
/// them.
constexpr std::uint32_t kFlushIdMask = 0x00ff'ffff;
/// Of a task that the GPU actor runs itself before it wakes another thread for it: about what the wake would
/// take.
constexpr std::uint32_t kInlineSteps = 4'000;

struct Constant {
    Reg reg;
    std::uint32_t value;
};
/// A Mali-G610 as on RK3588 (facts/uapi.md 2.1), so that Mesa knows what it is; but with twice the address
/// spaces, one for each group slot that there can be.
constexpr Constant kConstants[] = {
    {Reg::gpu_id, 0xa867'0005},
    {Reg::l2_features, 0x0712'0306},
    {Reg::tiler_features, 0x0000'0809},
    {Reg::mem_features, 0x0000'0301},
    {Reg::mmu_features, 0x0000'2830},
    {Reg::as_present, (1U << kAddressSpaces) - 1},
    {Reg::csf_id, 0x040a'0412},
    {Reg::thread_max_threads, 2048},
    {Reg::thread_max_workgroup_size, 1024},
    {Reg::thread_max_barrier_size, 1024},
    {Reg::thread_features, 0x0401'0000},
    // The compressed formats that there are decoders for: ETC2 and EAC.
    {Reg::texture_features_0, 0x000e'001e},
    {Reg::tiler_present_lo, 1},
    {Reg::l2_present_lo, 1},
};

}  // namespace

Gpu::Gpu(const FirmwareConfig& config, Host& host)
    : host_(host),
      core_threads_(config.core_threads),
      task_steps_(config.task_steps),
      cores_(config.shader_cores, config.group_slots, config.streams_per_group, *this),
      shared_storage_(shared_bytes(config) + kBlockAlign),
      shared_([this, &config] {
          void* start = shared_storage_.data();
          std::size_t room = shared_storage_.size();
          std::align(kBlockAlign, shared_bytes(config), start, room);
          return std::span(static_cast<std::byte*>(start), shared_bytes(config));
      }()),
      flush_id_page_(
          base::make_shared_memory("belfry-flush-id", base::kPageBytes, base::Sharing::read_only).value()),
      firmware_(config, shared_, *this) {
    base::store(latest_flush_id(), 1, kRelaxed);
}

void Gpu::flushed_caches() {
    base::store(latest_flush_id(), (base::load(latest_flush_id(), kRelaxed) + 1) & kFlushIdMask, kRelaxed);
}

bool Gpu::step() {
    // Relaxed: only a hint that the exchange below is worth its price; it is looked at again in each step.
    if (attention_.load(kRelaxed)) take_latched();
    if (bound_doorbells_ != 0) poll_doorbells();
    if (cores_.has_news()) take_shader_news();
    const bool ran = firmware_.has_runnable();
    if (ran) {
        cycles_ += firmware_.run_slice();
        published_cycles_.store(cycles_, kRelaxed);
    }
    return run_cores() || ran;
}

/// Runs a slice of a task. With threads for that, just the first one of new work, and a short one: most jobs
/// are done before a thread would be awake, and streams wait for it no longer than for each other.
bool Gpu::run_cores() {
    if (cores_.ready() == 0) return false;
    if (!core_threads_) {
        cores_.run(cores_.cores(), task_steps_);
    } else {
        if (!cores_.take_fresh()) return false;
        cores_.run(cores_.cores(), kInlineSteps);
        if (const unsigned ready = cores_.ready(); ready != 0) host_.shader_work(ready);
    }
    take_shader_news();
    return true;
}

bool Gpu::take_shader_news() {
    if (!cores_.take_news()) return false;
    for (std::uint32_t left = flushing_spaces_; left != 0; left &= left - 1) {
        const auto number = static_cast<std::uint32_t>(std::countr_zero(left));
        if (cores_.flushed(number)) as_command_done(number);
    }
    firmware_.shader_news();
    // The driver may have it start again by now.
    if (stopping_mcu_ && stop_mcu()) attention_.store(true, kSeqCst);
    return true;
}

/// On whatever thread runs a core.
void Gpu::shader_news() {
    base::full_fence();  // Dekker with prepare_sleep(): the news before the look at asleep_
    if (asleep_.load(kSeqCst)) host_.attention();
}

bool Gpu::prepare_sleep() {
    asleep_.store(true, kSeqCst);
    for (std::uint32_t left = bound_doorbells_; left != 0; left &= left - 1)
        base::store(pages_[static_cast<unsigned>(std::countr_zero(left))]->need_wakeup, 1, kSeqCst);
    // Dekker with client and driver, who store a doorbell or latch, fence, and read need_wakeup or asleep_.
    base::full_fence();
    bool work = attention_.load(kSeqCst) && take_latched();
    base::full_fence();  // for pages that this has bound, and marked, only now
    work |= poll_doorbells();
    work |= take_shader_news();
    return !(work || firmware_.has_runnable() || attention_.load(kSeqCst) || cores_.has_news());
}

void Gpu::woke() {
    asleep_.store(false, kSeqCst);
    for (std::uint32_t left = bound_doorbells_; left != 0; left &= left - 1)
        base::store(pages_[static_cast<unsigned>(std::countr_zero(left))]->need_wakeup, 0, kRelaxed);
}

/// Whatever the driver has written since: consumed first, then acted upon.
bool Gpu::take_latched() {
    if (!attention_.exchange(false, kSeqCst)) return false;
    // Doorbells are taken first and answered last: whatever the driver wrote before it rang is seen in
    // between. The other order starts a group on an address space whose UPDATE came while this function ran.
    std::uint32_t rung = rung_.exchange(0, kSeqCst);

    for (std::uint32_t i = 0; i < kAddressSpaces; ++i)
        if (as_[i].command.load(kAcquire) != 0) run_as_command(i);

    take_doorbell_pages();

    const std::uint32_t control = mcu_control_.load(kAcquire);
    const std::uint32_t status = mcu_status_.load(kRelaxed);
    if (control != kMcuControlDisable && status == kMcuStatusDisabled) {
        firmware_.boot();
        mcu_status_.store(kMcuStatusEnabled, kRelease);
        raise(job_, kJobIntGlobal);
    } else if (control == kMcuControlDisable && status != kMcuStatusDisabled) {
        stop_mcu();
    }

    if ((rung & 1U) != 0) {
        firmware_.driver_doorbell();
        if (firmware_.halted()) mcu_status_.store(kMcuStatusHalt, kRelease);
    }
    for (rung &= ~1U; rung != 0; rung &= rung - 1)
        firmware_.user_doorbell(static_cast<std::uint32_t>(std::countr_zero(rung)));
    return true;
}

/// Once no core is in a shader any more.
bool Gpu::stop_mcu() {
    stopping_mcu_ = !firmware_.abandon_jobs();
    if (stopping_mcu_) return false;
    firmware_.reset();
    mcu_status_.store(kMcuStatusDisabled, kRelease);
    return true;
}

void Gpu::take_doorbell_pages() {
    for (unsigned i = 0; i < kDoorbells; ++i) {
        auto* const page = reinterpret_cast<uapi::belfry_user_doorbell*>(page_asked_[i].load(kAcquire));
        if (page == pages_[i]) continue;
        pages_[i] = page;
        bound_doorbells_ = page != nullptr ? bound_doorbells_ | 1U << i : bound_doorbells_ & ~(1U << i);
        if (page != nullptr) base::store(page->need_wakeup, asleep_.load(kRelaxed) ? 1 : 0, kSeqCst);
    }
}

void Gpu::run_as_command(std::uint32_t number) {
    AsRegisters& as = as_[number];
    // Acquire: pairs with the driver's release of the command, after the registers and tables it is about.
    const std::uint32_t command = as.command.exchange(0, kAcqRel);
    AddressSpace& space = spaces_[number];
    const bool enable = command == kAsCommandUpdate && as.transcfg == kTranscfgAarch64_4k;
    const bool disable = command == kAsCommandUpdate && !enable;
    const bool left = cores_.change_space(number, [&] {
        if (enable)
            space.enable(as.transtab);
        else if (disable)
            space.disable();
        else
            space.flush();
    });
    if (disable)
        firmware_.address_space_disabled(number);
    else
        firmware_.address_space_changed(number);
    if (left)
        as_command_done(number);
    else
        flushing_spaces_ |= 1U << number;
}

void Gpu::as_command_done(std::uint32_t number) {
    flushing_spaces_ &= ~(1U << number);
    // Release: the driver gives memory away once it sees the command done.
    as_[number].status.store(0, kRelease);
    raise(mmu_, mmu_int_command_done(number));
}

bool Gpu::poll_doorbells() {
    bool rung = false;
    for (std::uint32_t left = bound_doorbells_; left != 0; left &= left - 1) {
        const auto id = static_cast<unsigned>(std::countr_zero(left));
        std::uint32_t& doorbell = pages_[id]->doorbell;
        base::prefetch_for_write(doorbell);
        if (base::load(doorbell, kRelaxed) == 0) continue;
        firmware_.prefetch(id);
        // Consumed, then looked (A3): what was published before the ring that this takes is seen, and a ring
        // that comes later is found the next time.
        base::exchange(doorbell, 0, kAcquire);
        firmware_.user_doorbell(id);
        rung = true;
    }
    return rung;
}

void Gpu::raise(Interrupt& interrupt, std::uint32_t bits) {
    const std::uint32_t before = interrupt.raw.fetch_or(bits, kSeqCst);
    const std::uint32_t mask = interrupt.mask.load(kSeqCst);
    // The line is a level: it rises once, and stays until the driver has cleared all that is unmasked.
    if ((bits & mask) != 0 && (before & mask) == 0) host_.interrupt();
}

void Gpu::set_mask(Interrupt& interrupt, std::uint32_t mask) {
    const std::uint32_t before = interrupt.mask.exchange(mask, kSeqCst);
    const std::uint32_t raw = interrupt.raw.load(kSeqCst);
    if ((raw & mask) != 0 && (raw & before) == 0) host_.interrupt();
}

void Gpu::raise_mmu_fault(std::uint32_t number, const MmuFault& fault) {
    AsRegisters& as = as_[number % kAddressSpaces];
    if ((mmu_.raw.load(kAcquire) & mmu_int_fault(number)) == 0) {  // the first one is kept
        as.faultaddress.store(fault.address, kRelaxed);
        as.faultstatus.store(
            static_cast<std::uint32_t>(fault.type) | static_cast<std::uint32_t>(fault.access) << 8, kRelaxed);
    }
    raise(mmu_, mmu_int_fault(number));
}

void Gpu::want_attention() {
    attention_.store(true, kSeqCst);
    base::full_fence();  // Dekker with prepare_sleep()
    if (asleep_.load(kSeqCst)) host_.attention();
}

std::uint32_t Gpu::read(Reg address) {
    for (const Constant& constant : kConstants)
        if (constant.reg == address) return constant.value;
    if (reg(address) >= kAsFirst && reg(address) < kAsEnd) {
        const AsRegisters& as = as_[(reg(address) - kAsFirst) / 0x40];
        switch (static_cast<AsReg>((reg(address) - kAsFirst) % 0x40)) {
            case AsReg::status:          return as.status.load(kAcquire);
            case AsReg::faultstatus:     return as.faultstatus.load(kRelaxed);
            case AsReg::faultaddress_lo: return static_cast<std::uint32_t>(as.faultaddress.load(kRelaxed));
            case AsReg::faultaddress_hi:
                return static_cast<std::uint32_t>(as.faultaddress.load(kRelaxed) >> 32);
            case AsReg::transtab_lo: return static_cast<std::uint32_t>(as.transtab);
            case AsReg::transtab_hi: return static_cast<std::uint32_t>(as.transtab >> 32);
            case AsReg::transcfg_lo: return static_cast<std::uint32_t>(as.transcfg);
            default:                 return 0;
        }
    }
    switch (address) {
        case Reg::shader_present_lo: return (1U << cores_.cores()) - 1;
        case Reg::job_int_rawstat:   return job_.raw.load(kAcquire);
        case Reg::job_int_mask:      return job_.mask.load(kRelaxed);
        case Reg::job_int_stat:      return job_.raw.load(kAcquire) & job_.mask.load(kRelaxed);
        case Reg::mmu_int_rawstat:   return mmu_.raw.load(kAcquire);
        case Reg::mmu_int_mask:      return mmu_.mask.load(kRelaxed);
        case Reg::mmu_int_stat:      return mmu_.raw.load(kAcquire) & mmu_.mask.load(kRelaxed);
        case Reg::mcu_control:       return mcu_control_.load(kRelaxed);
        case Reg::mcu_status:        return mcu_status_.load(kAcquire);
        case Reg::latest_flush_id:   return base::load(latest_flush_id(), kRelaxed);
        case Reg::timestamp_lo:      return static_cast<std::uint32_t>(host_.timestamp());
        case Reg::timestamp_hi:      return static_cast<std::uint32_t>(host_.timestamp() >> 32);
        case Reg::cycle_count_lo:    return static_cast<std::uint32_t>(published_cycles_.load(kRelaxed));
        case Reg::cycle_count_hi:    return static_cast<std::uint32_t>(published_cycles_.load(kRelaxed) >> 32);
        default:                     return 0;
    }
}

void Gpu::write(Reg address, std::uint32_t value) {
    const auto set_half = [value](std::uint64_t& word, bool high) {
        word = high ? (word & 0xffff'ffff) | std::uint64_t{value} << 32 : (word & ~0xffff'ffffULL) | value;
    };
    if (reg(address) >= kAsFirst && reg(address) < kAsEnd) {
        AsRegisters& as = as_[(reg(address) - kAsFirst) / 0x40];
        switch (static_cast<AsReg>((reg(address) - kAsFirst) % 0x40)) {
            case AsReg::transtab_lo: set_half(as.transtab, false); return;
            case AsReg::transtab_hi: set_half(as.transtab, true); return;
            case AsReg::transcfg_lo: set_half(as.transcfg, false); return;
            case AsReg::transcfg_hi: set_half(as.transcfg, true); return;
            case AsReg::command:
                as.status.store(kAsStatusActive, kRelaxed);
                as.command.store(value, kRelease);
                want_attention();
                return;
            default: return;
        }
    }
    if (reg(address) >= reg(doorbell_reg(0)) && reg(address) < reg(doorbell_reg(kDoorbells))) {
        // Release: whatever the doorbell is about was written before.
        rung_.fetch_or(1U << ((reg(address) - reg(doorbell_reg(0))) / kDoorbellStride), kRelease);
        want_attention();
        return;
    }
    if (reg(address) >= reg(doorbell_page_lo(0)) && reg(address) < reg(doorbell_page_lo(kDoorbells))) {
        const std::uint32_t id = (reg(address) - reg(doorbell_page_lo(0))) / 8;
        if (address == doorbell_page_lo(id)) {
            page_low_[id] = value;
        } else {
            page_asked_[id].store(page_low_[id] | std::uint64_t{value} << 32, kRelease);
            want_attention();
        }
        return;
    }
    switch (address) {
        case Reg::job_int_clear: job_.raw.fetch_and(~value, kSeqCst); return;
        case Reg::job_int_mask:  set_mask(job_, value); return;
        case Reg::mmu_int_clear: mmu_.raw.fetch_and(~value, kSeqCst); return;
        case Reg::mmu_int_mask:  set_mask(mmu_, value); return;
        case Reg::mcu_control:
            mcu_control_.store(value, kRelease);
            want_attention();
            return;
        default: return;
    }
}

}  // namespace belfry::gpu
