// Mmu: which VM sits on which of the GPU's address spaces, and the commands to those.
//
// Owns   the address-space slots. AS 0 is the firmware's (McuMemory); the others go to VMs with a group on a
// slot. Runs   in the driver actor. Called by Scheduler (activate, deactivate), Vm (flush) and Device
// (interrupt).
//
// An address space takes one command at a time; its completion comes as an interrupt. A VM without a group on
// a slot needs no flush at all: it is given fresh translations when it is activated again.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include <boost/intrusive/list.hpp>

#include "base/owning_list.hpp"
#include "gpu/board.hpp"

namespace belfry::panthor {

class Vm;

class Mmu {
  public:
    static constexpr unsigned kSlots = 16;

    /// What is to be done when a command has been carried out. Made before the command is asked for, so that
    /// asking allocates nothing; the Mmu's until then.
    class Completion : public boost::intrusive::list_base_hook<> {
      public:
        virtual ~Completion() = default;
        virtual void done() = 0;
    };
    [[nodiscard]] static std::unique_ptr<Completion> when_done(std::function<void()> call);

    explicit Mmu(gpu::Mmio& mmio) : mmio_(mmio) {}

    /// Puts the firmware's tables into AS 0, for good.
    void enable_firmware(std::uint64_t root);

    /// One more user of `vm`'s address space, which it gets if it has none. Takes effect before any firmware
    /// request that is made afterwards. Nothing if all are taken, or if the VM has faulted and those whom
    /// that ended have not left: then try again after a deactivate() or an interrupt.
    std::optional<unsigned> activate(Vm& vm);
    void deactivate(Vm& vm);

    /// Has the GPU forget translations, then completes `flushed`: at once if it can have none. What was
    /// unmapped from AS `number`, or from `vm`, can then be given away.
    void flush(const Vm& vm, std::unique_ptr<Completion> flushed);
    void flush(unsigned number, std::unique_ptr<Completion> flushed);

    /// Switches the VM's address space off: its streams end with a bus fault. Then calls `done`.
    void disable(const Vm& vm, std::function<void()> done);

    /// The VM on an address space that faulted.
    [[nodiscard]] Vm* vm(unsigned number) const { return slots_[number].vm; }
    /// A command of address space `number` was carried out.
    void command_done(unsigned number);

  private:
    struct Slot {
        Vm* vm = nullptr;  // kept alive by the groups that use it
        unsigned users = 0;
        bool busy = false;                     // a command is under way
        base::OwningList<Completion> current;  // when that is done
        base::OwningList<Completion> next;     // when a flush after that is done
    };

    [[nodiscard]] std::optional<unsigned> slot_of(const Vm& vm) const;
    void command(unsigned number, std::uint32_t command);
    void update(unsigned number, std::uint64_t root, std::uint32_t config);

    gpu::Mmio& mmio_;
    std::array<Slot, kSlots> slots_;
};

}  // namespace belfry::panthor
