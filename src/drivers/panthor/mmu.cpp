#include "drivers/panthor/mmu.hpp"

#include <utility>

#include "base/check.hpp"
#include "drivers/panthor/vm.hpp"

namespace belfry::panthor {

using gpu::AsReg;

void Mmu::enable_firmware(std::uint64_t root) {
    slots_[0].users = 1;
    update(0, root, gpu::kTranscfgAarch64_4k);
}

std::optional<unsigned> Mmu::slot_of(const Vm& vm) const {
    for (unsigned i = 1; i < kSlots; ++i)
        if (slots_[i].vm == &vm) return i;
    return std::nullopt;
}

std::optional<unsigned> Mmu::activate(Vm& vm) {
    if (vm.faulted) return std::nullopt;
    if (const auto number = slot_of(vm)) {
        ++slots_[*number].users;
        return number;
    }
    for (unsigned i = 1; i < kSlots; ++i) {
        Slot& slot = slots_[i];
        // One that is still busy for its last VM is left alone: it takes one command at a time.
        if (slot.users != 0 || slot.busy) continue;
        slot.vm = &vm;
        slot.users = 1;
        // A fault that is still pending was of streams that have ended (facts/firmware-and-scheduling.md 7,
        // F10).
        mmio_.write(gpu::Reg::mmu_int_clear, gpu::mmu_int_fault(i));
        update(i, vm.tables().root(), gpu::kTranscfgAarch64_4k);
        return i;
    }
    return std::nullopt;
}

void Mmu::deactivate(Vm& vm) {
    const auto number = slot_of(vm);
    BELFRY_CHECK(number && slots_[*number].users > 0);
    Slot& slot = slots_[*number];
    if (--slot.users != 0) return;
    slot.vm = nullptr;
    vm.faulted = false;  // those whom the fault ended have left; the next use starts afresh
}

std::unique_ptr<Mmu::Completion> Mmu::when_done(std::function<void()> call) {
    struct Call final : Completion {
        explicit Call(std::function<void()> made) : call(std::move(made)) {}
        void done() override { call(); }
        std::function<void()> call;
    };
    return std::make_unique<Call>(std::move(call));
}

void Mmu::flush(const Vm& vm, std::unique_ptr<Completion> flushed) {
    if (const auto number = slot_of(vm))
        flush(*number, std::move(flushed));
    else
        flushed->done();
}

void Mmu::flush(unsigned number, std::unique_ptr<Completion> flushed) {
    Slot& slot = slots_[number];
    if (slot.busy) {
        slot.next.push_back(std::move(flushed));
        return;
    }
    slot.current.push_back(std::move(flushed));
    command(number, gpu::kAsCommandFlushMem);
}

void Mmu::disable(const Vm& vm, std::function<void()> done) {
    const auto number = slot_of(vm);
    if (!number) {
        done();
        return;
    }
    Slot& slot = slots_[*number];
    if (slot.busy) {
        // After the command under way; the VM may have left the address space by then.
        slot.next.push_back(when_done([this, &slot, vm = slot.vm, done = std::move(done)]() mutable {
            if (slot.vm == vm)
                disable(*vm, std::move(done));
            else
                done();
        }));
        return;
    }
    slot.current.push_back(when_done(std::move(done)));
    update(*number, 0, gpu::kTranscfgUnmapped);
}

void Mmu::command_done(unsigned number) {
    Slot& slot = slots_[number];
    if (!slot.busy || mmio_.read(gpu::as_reg(number, AsReg::status)) != 0) return;
    slot.busy = false;
    auto finished = std::move(slot.current);
    if (!slot.next.empty()) {
        slot.current.append(slot.next);
        command(number, gpu::kAsCommandFlushMem);
    }
    while (!finished.empty()) finished.pop_front()->done();
}

void Mmu::command(unsigned number, std::uint32_t command) {
    BELFRY_CHECK(!slots_[number].busy);
    slots_[number].busy = true;
    mmio_.write(gpu::as_reg(number, AsReg::command), command);
}

void Mmu::update(unsigned number, std::uint64_t root, std::uint32_t config) {
    mmio_.write64(gpu::as_reg(number, AsReg::transtab_lo), root);
    mmio_.write64(gpu::as_reg(number, AsReg::transcfg_lo), config);
    command(number, gpu::kAsCommandUpdate);
}

}  // namespace belfry::panthor
