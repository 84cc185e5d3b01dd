// Gpu: the software Mali-CSF GPU as a whole. Registers, address spaces, doorbells, firmware, shader cores.
//
// Owns   all of the above and the memory that driver and firmware share.
// Runs   step(), prepare_sleep() and woke() in the GPU actor; read() and write() in the driver actor;
//        run_shader_task() on threads of their own, if FirmwareConfig::core_threads says that there are some.
//        It has no thread: whoever runs it calls step() as long as that says there is more to do, and may
//        then put its thread to sleep between prepare_sleep() and woke() (server/gpu_thread.hpp); a rig just
//        steps.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/memory.hpp"
#include "gpu/address_space.hpp"
#include "gpu/board.hpp"
#include "gpu/firmware.hpp"

namespace belfry::gpu {

class Gpu final : public Mmio, private FirmwarePort, private ShaderCores::Listener {
  public:
    Gpu(const FirmwareConfig& config, Host& host);

    /// The memory at MCU address kSharedBase.
    [[nodiscard]] std::span<std::byte> shared() { return shared_; }
    /// The page whose first word is LATEST_FLUSH_ID. Whoever has the descriptor can only read it.
    [[nodiscard]] int flush_id_fd() const { return flush_id_page_.fd.get(); }

    /// One bounded piece of work: latched register writes, doorbells, a slice of one stream. True if there is
    /// or may be more to do.
    bool step();
    /// Announces sleep to clients (need_wakeup) and to the driver, and looks at everything once more. False:
    /// do not sleep, there is work. woke() follows either way.
    bool prepare_sleep();
    void woke();
    /// Whether some client could ring without anybody waking a sleeping GPU: then sleep is bounded by the
    /// runner.
    [[nodiscard]] bool has_user_doorbells() const { return bound_doorbells_ != 0; }

    /// Takes a task of the shader cores and runs it for a slice. False: there was none; the host is told
    /// when there are some (Host::shader_work). `runner`: 0 ... shader_cores - 1, each on one thread at a
    /// time.
    bool run_shader_task(unsigned runner) { return cores_.run(runner, task_steps_); }

    std::uint32_t read(Reg reg) override;
    void write(Reg reg, std::uint32_t value) override;

    /// For rigs.
    [[nodiscard]] const Firmware& firmware() const { return firmware_; }

  private:
    struct AsRegisters {
        std::uint64_t transtab = 0;  // driver's, published by `command`
        std::uint64_t transcfg = 0;
        std::atomic<std::uint32_t> command{0};
        std::atomic<std::uint32_t> status{0};
        std::atomic<std::uint32_t> faultstatus{0};
        std::atomic<std::uint64_t> faultaddress{0};
    };
    struct Interrupt {
        std::atomic<std::uint32_t> raw{0};
        std::atomic<std::uint32_t> mask{0};
    };
    static constexpr unsigned kDoorbells = 32;

    void want_attention();
    bool take_latched();
    void run_as_command(std::uint32_t number);
    void as_command_done(std::uint32_t number);
    bool stop_mcu();
    bool take_shader_news();
    bool run_cores();
    bool poll_doorbells();
    void raise(Interrupt& interrupt, std::uint32_t bits);
    void set_mask(Interrupt& interrupt, std::uint32_t mask);

    /// A command for it that is still latched runs first: the firmware reads requests in memory, where a
    /// START may be seen that was written while take_latched() had passed the UPDATE before it.
    AddressSpace& address_space(std::uint32_t number) override {
        number %= kAddressSpaces;
        if (as_[number].command.load(std::memory_order_acquire) != 0) run_as_command(number);
        return spaces_[number];
    }
    void take_doorbell_pages() override;
    void raise_job_interrupt(std::uint32_t bits) override { raise(job_, bits); }
    void raise_mmu_fault(std::uint32_t number, const MmuFault& fault) override;
    void wake(std::uint32_t& word, std::uint32_t bitset) override { host_.futex_wake(word, bitset); }
    std::uint64_t timestamp() override { return host_.timestamp(); }
    std::uint64_t cycles() override { return cycles_; }
    void flushed_caches() override;
    ShaderCores& shader_cores() override { return cores_; }
    void shader_news() override;
    [[nodiscard]] std::uint32_t& latest_flush_id() const {
        return *reinterpret_cast<std::uint32_t*>(flush_id_page_.mapping.data());
    }

    Host& host_;
    const bool core_threads_;
    const std::uint32_t task_steps_;
    ShaderCores cores_;
    std::vector<std::byte> shared_storage_;
    std::span<std::byte> shared_;
    base::SharedMemory flush_id_page_;
    Firmware firmware_;
    std::array<AddressSpace, kAddressSpaces> spaces_;

    // Register state; written by both actors, hence atomic.
    std::array<AsRegisters, kAddressSpaces> as_;
    Interrupt job_;
    Interrupt mmu_;
    std::atomic<std::uint32_t> mcu_control_{kMcuControlDisable};
    std::atomic<std::uint32_t> mcu_status_{kMcuStatusDisabled};
    std::atomic<std::uint64_t> published_cycles_{0};
    std::array<std::uint32_t, kDoorbells> page_low_{};                 // driver's
    std::array<std::atomic<std::uint64_t>, kDoorbells> page_asked_{};  // host address of the page
    std::atomic<std::uint32_t> rung_{0};                               // doorbells that the driver wrote
    std::atomic<bool> attention_{false};                               // some latch above was written
    std::atomic<bool> asleep_{false};  // attention must go through Host::attention()

    // The GPU actor's own.
    std::array<uapi::belfry_user_doorbell*, kDoorbells> pages_{};
    std::uint32_t bound_doorbells_ = 0;
    std::uint32_t flushing_spaces_ = 0;  // bit an address space: its command is done once the cores have left
    bool stopping_mcu_ = false;          // likewise
    std::uint64_t cycles_ = 0;
};

}  // namespace belfry::gpu
