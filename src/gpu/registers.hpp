// Registers of the Mali-CSF GPU: offsets and bits, for the driver and for the GPU.
//
// Numbers are panthor's (facts/firmware-and-scheduling.md 1.6; facts/uapi.md 2.1). 64-bit registers are two
// 32-bit ones, low half first. What only this GPU has is marked "Belfry".
#pragma once

#include <cstdint>

namespace belfry::gpu {

enum class Reg : std::uint32_t {
    gpu_id = 0x0,
    l2_features = 0x4,
    tiler_features = 0xc,
    mem_features = 0x10,
    mmu_features = 0x14,
    as_present = 0x18,
    csf_id = 0x1c,
    cycle_count_lo = 0x90,
    cycle_count_hi = 0x94,
    timestamp_lo = 0x98,
    timestamp_hi = 0x9c,
    thread_max_threads = 0xa0,
    thread_max_workgroup_size = 0xa4,
    thread_max_barrier_size = 0xa8,
    thread_features = 0xac,
    texture_features_0 = 0xb0,
    shader_present_lo = 0x100,
    shader_present_hi = 0x104,
    tiler_present_lo = 0x110,
    tiler_present_hi = 0x114,
    l2_present_lo = 0x120,
    l2_present_hi = 0x124,
    revidr = 0x280,
    coherency_features = 0x300,
    mcu_control = 0x700,
    mcu_status = 0x704,
    job_int_rawstat = 0x1000,
    job_int_clear = 0x1004,
    job_int_mask = 0x1008,
    job_int_stat = 0x100c,
    mmu_int_rawstat = 0x2000,
    mmu_int_clear = 0x2004,
    mmu_int_mask = 0x2008,
    mmu_int_stat = 0x200c,
    latest_flush_id = 0x10000,
};

constexpr Reg operator+(Reg base, std::uint32_t bytes) {
    return static_cast<Reg>(static_cast<std::uint32_t>(base) + bytes);
}

/// Frequency of the timestamp counter, Hz: nanoseconds. (The cycle counter counts instructions.)
inline constexpr std::uint64_t kTimestampHz = 1'000'000'000;

// --- job interrupt: bit n = group slot n, bit 31 = global ---
inline constexpr std::uint32_t kJobIntGlobal = 1U << 31;

// --- MCU ---
inline constexpr std::uint32_t kMcuControlDisable = 0;
inline constexpr std::uint32_t kMcuControlAuto = 2;
inline constexpr std::uint32_t kMcuStatusDisabled = 0;
inline constexpr std::uint32_t kMcuStatusEnabled = 1;
inline constexpr std::uint32_t kMcuStatusHalt = 2;

// --- address spaces; AS 0 is the firmware's ---
enum class AsReg : std::uint32_t {
    transtab_lo = 0x0,  ///< address of the level-0 table
    transtab_hi = 0x4,
    command = 0x18,
    faultstatus = 0x1c,
    faultaddress_lo = 0x20,
    faultaddress_hi = 0x24,
    status = 0x28,
    transcfg_lo = 0x30,
    transcfg_hi = 0x34,
};
constexpr Reg as_reg(std::uint32_t as, AsReg reg) {
    return static_cast<Reg>(0x2400U + as * 0x40U + static_cast<std::uint32_t>(reg));
}
inline constexpr std::uint32_t kAsCommandUpdate = 1;     ///< take TRANSTAB and TRANSCFG
inline constexpr std::uint32_t kAsCommandFlushMem = 5;   ///< forget all cached translations
inline constexpr std::uint32_t kAsStatusActive = 1;      ///< a command has not been carried out yet
inline constexpr std::uint32_t kTranscfgUnmapped = 1;    ///< disabled: every access faults
inline constexpr std::uint32_t kTranscfgAarch64_4k = 6;  ///< translation by tables

/// MMU interrupt: bit n = page fault in address space n. Belfry: bit 16 + n = a command of address space n
/// was carried out; on hardware the driver polls STATUS, which a driver without a clock or a wait cannot.
constexpr std::uint32_t mmu_int_fault(std::uint32_t as) { return 1U << as; }
constexpr std::uint32_t mmu_int_command_done(std::uint32_t as) { return 1U << (16 + as); }

// --- AS_FAULTSTATUS ---
constexpr std::uint32_t fault_type(std::uint32_t status) { return status & 0xffU; }
constexpr std::uint32_t fault_access(std::uint32_t status) { return (status >> 8) & 3U; }
constexpr std::uint32_t fault_source(std::uint32_t status) { return status >> 16; }

// --- translation tables: VMSAv8-64, 4 KiB granule, 48-bit addresses, levels 0 to 3 ---
// The software GPU's bus is the address space of the process it runs in: an output address is a host address.
inline constexpr unsigned kPageShift = 12;
inline constexpr unsigned kLevelBits = 9;
inline constexpr unsigned kEntries = 1U << kLevelBits;
inline constexpr unsigned kLastLevel = 3;
constexpr unsigned level_shift(unsigned level) { return kPageShift + (kLastLevel - level) * kLevelBits; }
inline constexpr std::uint64_t kPteValid = 1U << 0;
inline constexpr std::uint64_t kPteTableOrPage = 1U
                                                 << 1;  ///< set: table (levels 0-2) or page (3); clear: block
inline constexpr std::uint64_t kPteReadOnly = 1U << 7;  ///< AP[2]
inline constexpr std::uint64_t kPteNoExec = 1ULL << 54;  ///< XN
inline constexpr std::uint64_t kPteAddressMask = 0x0000'ffff'ffff'f000;

// --- doorbells: one 64 KiB page each; 0 is the driver's ---
inline constexpr std::uint32_t kDoorbellStride = 0x10000;
constexpr Reg doorbell_reg(std::uint32_t id) { return static_cast<Reg>(0x80000U + id * kDoorbellStride); }
/// Belfry: where the memory behind doorbell `id` lies (host address of a belfry_user_doorbell; 0 = none). On
/// hardware the page of the doorbell itself is mapped into the program; here every group has a page for life
/// and the slot is pointed at it, so nothing is ever remapped (facts/firmware-and-scheduling.md 7, B4).
/// Takes effect when the high half is written.
constexpr Reg doorbell_page_lo(std::uint32_t id) { return static_cast<Reg>(0x40000U + id * 8U); }
constexpr Reg doorbell_page_hi(std::uint32_t id) { return static_cast<Reg>(0x40004U + id * 8U); }

}  // namespace belfry::gpu
