// The blocks of shared memory through which driver and firmware talk.
//
// Layouts are those of facts/firmware-and-scheduling.md 1.2 to 1.4; fields that neither side of Belfry uses
// are `unused`. Control and output blocks are written by the firmware, input blocks by the driver; words that
// both sides use for handshakes are accessed atomically: a writer releases, the other side acquires.
//
// A request bit is pending while it differs between `req` and `ack`: the host raises a toggle by making req
// the inverse of *ack* (asking twice merges, it never cancels), the firmware completes it with the value it
// sampled. Firmware events run the other way round.
#pragma once

#include <cstddef>
#include <cstdint>

#include "belfry/uapi/csf.hpp"

namespace belfry::gpu {

/// The window of MCU addresses in which all blocks lie.
inline constexpr std::uint64_t kSharedBase = 0x0400'0000;
inline constexpr std::uint64_t kSharedEnd = 0x0800'0000;
inline constexpr std::uint32_t kGroupControlOffset = 0x1000;
inline constexpr std::uint32_t kStreamControlOffset = 0x40;

inline constexpr std::uint32_t kInterfaceVersion = (1U << 24) | (1U << 16);  ///< 1.1.0

// --- global ---
struct GlobalControl {  // firmware, at boot
    std::uint32_t version;
    std::uint32_t features;
    std::uint32_t input_va;
    std::uint32_t output_va;
    std::uint32_t group_num;
    std::uint32_t group_stride;
    std::uint32_t perfcnt_size;
    std::uint32_t instr_features;
};
struct GlobalInput {             // driver
    std::uint32_t req;           // release; firmware acquires
    std::uint32_t ack_irq_mask;  // which changes of ack raise the global interrupt
    std::uint32_t doorbell_req;  // bit a group slot: "look at this group"
    std::uint32_t progress_timer;
    std::uint32_t poweroff_timer;
    std::uint32_t unused0;
    std::uint64_t core_en_mask;
    std::uint32_t unused1[24];
    std::uint32_t idle_timer;
};
struct GlobalOutput {   // firmware
    std::uint32_t ack;  // release; driver acquires
    std::uint32_t unused0;
    std::uint32_t doorbell_ack;
    std::uint32_t unused1;
    std::uint32_t halt_status;
};
static_assert(sizeof(GlobalControl) == 0x20);
static_assert(offsetof(GlobalInput, core_en_mask) == 0x18 && offsetof(GlobalInput, idle_timer) == 0x80);
static_assert(offsetof(GlobalOutput, doorbell_ack) == 0x8 && offsetof(GlobalOutput, halt_status) == 0x10);

inline constexpr std::uint32_t kGlbHalt = 1U << 0;
inline constexpr std::uint32_t kGlbCfgProgressTimer = 1U << 1;
inline constexpr std::uint32_t kGlbCfgAllocEn = 1U << 2;
inline constexpr std::uint32_t kGlbCfgPoweroffTimer = 1U << 3;
inline constexpr std::uint32_t kGlbPing = 1U << 8;
inline constexpr std::uint32_t kGlbFwcfgUpdate = 1U << 9;
inline constexpr std::uint32_t kGlbIdleEn = 1U << 10;
inline constexpr std::uint32_t kGlbIdle = 1U << 26;  ///< event: all resident groups are idle
/// What the firmware completes by copying: all that Belfry's firmware has no further work for.
inline constexpr std::uint32_t kGlbCopied =
    kGlbCfgProgressTimer | kGlbCfgAllocEn | kGlbCfgPoweroffTimer | kGlbPing | kGlbFwcfgUpdate | kGlbIdleEn;

// --- group (CSG), one per slot ---
struct GroupControl {  // firmware, at boot
    std::uint32_t features;
    std::uint32_t input_va;
    std::uint32_t output_va;
    std::uint32_t suspend_size;
    std::uint32_t protm_suspend_size;
    std::uint32_t stream_num;
    std::uint32_t stream_stride;
    std::uint32_t reports_va;  // Belfry: a GroupReports
};
struct GroupInput {     // driver
    std::uint32_t req;  // release; firmware acquires
    std::uint32_t ack_irq_mask;
    std::uint32_t doorbell_req;  // bit a stream: "look at this stream"
    std::uint32_t cs_irq_ack;    // bit a stream: answer to cs_irq_req
    std::uint32_t unused0[4];
    std::uint64_t allow_compute;
    std::uint64_t allow_fragment;
    std::uint32_t allow_other;
    std::uint32_t endpoint_req;  // 31:28 slot priority, 15 highest
    std::uint64_t endpoint_req2;
    std::uint64_t suspend_buf;  // MCU address
    std::uint64_t protm_suspend_buf;
    std::uint32_t config;  // address-space number
    std::uint32_t iter_trace_config;
};
struct GroupOutput {    // firmware
    std::uint32_t ack;  // release; driver acquires
    std::uint32_t unused0;
    std::uint32_t doorbell_ack;
    std::uint32_t cs_irq_req;
    std::uint32_t status_endpoint_current;
    std::uint32_t status_endpoint_req;
    std::uint32_t status_state;  // bit 0: idle
    std::uint32_t resource_dep;
};
/// Belfry: which sync objects the group has updated. Written before the event, and only while that
/// interrupts.
inline constexpr std::uint32_t kReportsMax = 64;
struct GroupReports {       // firmware
    std::uint32_t written;  // counts for ever, release; the last kReportsMax are kept
    std::uint32_t unused0;
    std::uint64_t addresses[kReportsMax];  // GPU addresses, in the group's address space
};
static_assert(sizeof(GroupControl) == 0x20);
static_assert(offsetof(GroupReports, addresses) == 8);
static_assert((kReportsMax & (kReportsMax - 1)) == 0, "`written` goes round without a gap");
static_assert(offsetof(GroupInput, cs_irq_ack) == 0xc && offsetof(GroupInput, allow_compute) == 0x20 &&
              offsetof(GroupInput, endpoint_req) == 0x34 && offsetof(GroupInput, suspend_buf) == 0x40 &&
              offsetof(GroupInput, config) == 0x50);
static_assert(offsetof(GroupOutput, cs_irq_req) == 0xc && offsetof(GroupOutput, status_state) == 0x18);

inline constexpr std::uint32_t kGroupStateMask = 7;
enum class GroupRequest : std::uint32_t { terminate = 0, start = 1, suspend = 2, resume = 3 };
inline constexpr std::uint32_t kGroupEndpointConfig = 1U << 4;
inline constexpr std::uint32_t kGroupStatusUpdate = 1U << 5;
inline constexpr std::uint32_t kGroupSyncUpdate = 1U
                                                  << 28;  ///< event: a sync object was updated, system scope
inline constexpr std::uint32_t kGroupIdle = 1U << 29;     ///< event: the group became idle
inline constexpr std::uint32_t kGroupEvents = kGroupSyncUpdate | kGroupIdle;
inline constexpr std::uint32_t kGroupStatusIdle = 1U << 0;

// --- stream (CS), one per queue of a slot ---
struct StreamControl {       // firmware, at boot
    std::uint32_t features;  // 7:0 registers - 1, 15:8 scoreboards
    std::uint32_t input_va;
    std::uint32_t output_va;
};
struct StreamInput {       // driver
    std::uint32_t req;     // release; firmware acquires
    std::uint32_t config;  // 3:0 priority in the group, 15:8 user doorbell
    std::uint32_t unused0;
    std::uint32_t ack_irq_mask;
    std::uint64_t ringbuf_base;  // GPU address, group's address space
    std::uint32_t ringbuf_size;
    std::uint32_t unused1;
    std::uint64_t heap_start;
    std::uint64_t heap_end;
    std::uint64_t ringbuf_input;   // MCU address of a belfry_user_input
    std::uint64_t ringbuf_output;  // MCU address of a belfry_user_output
    std::uint32_t instr_config;
    std::uint32_t instrbuf_size;  // bytes, power of two
    std::uint64_t instrbuf_base;  // GPU address, group's address space
    std::uint64_t instrbuf_offset_ptr;
};
struct StreamOutput {   // firmware
    std::uint32_t ack;  // release; driver acquires
    std::uint32_t unused0[15];
    std::uint64_t status_cmd_ptr;
    std::uint32_t status_wait;
    std::uint32_t status_req_resource;
    std::uint64_t status_wait_sync_ptr;
    std::uint32_t status_wait_sync_value;
    std::uint32_t status_scoreboards;
    std::uint32_t status_blocked_reason;
    std::uint32_t status_wait_sync_value_hi;
    std::uint32_t unused1[6];
    std::uint32_t fault;
    std::uint32_t fatal;
    std::uint64_t fault_info;
    std::uint64_t fatal_info;
    std::uint64_t fault_cmd_ptr;      // Belfry: GPU address of the instruction behind `fault` or `fatal`
    std::uint64_t fault_instruction;  // Belfry: its word, 0 if it could not be fetched
    // Belfry: where in a shader that it had started; shader_pc is 0 if it was in none.
    std::uint64_t shader_pc;
    std::uint64_t shader_instruction;
    std::uint32_t shader_workgroup[3];
    std::uint32_t shader_lane;  // thread of the workgroup
};
static_assert(sizeof(StreamControl) == 0xc);
static_assert(offsetof(StreamInput, ringbuf_base) == 0x10 && offsetof(StreamInput, ringbuf_input) == 0x30 &&
              offsetof(StreamInput, instrbuf_base) == 0x48);
static_assert(offsetof(StreamOutput, status_cmd_ptr) == 0x40 &&
              offsetof(StreamOutput, status_wait_sync_ptr) == 0x50 &&
              offsetof(StreamOutput, status_scoreboards) == 0x5c &&
              offsetof(StreamOutput, status_wait_sync_value_hi) == 0x64 &&
              offsetof(StreamOutput, fault) == 0x80 && offsetof(StreamOutput, fatal_info) == 0x90);

inline constexpr std::uint32_t kStreamStateMask = 7;
inline constexpr std::uint32_t kStreamStop = 0;
inline constexpr std::uint32_t kStreamStart = 1;
inline constexpr std::uint32_t kStreamIdleSyncWait = 1U << 8;  ///< a stream blocked on sync counts as idle
inline constexpr std::uint32_t kStreamIdleEmpty = 1U << 10;    ///< an empty stream counts as idle
inline constexpr std::uint32_t kStreamProtmPending = 1U << 27;
inline constexpr std::uint32_t kStreamFatal = 1U << 30;
inline constexpr std::uint32_t kStreamFault = 1U << 31;
inline constexpr std::uint32_t kStreamEvents = kStreamProtmPending | kStreamFatal | kStreamFault;
constexpr std::uint32_t stream_config(std::uint32_t priority, std::uint32_t doorbell) {
    return (priority & 0xfU) | (doorbell & 0xffU) << 8;
}
inline constexpr std::uint32_t kNoDoorbell = 0xff;

// --- STATUS_WAIT ---
inline constexpr std::uint32_t kWaitSourceScoreboard = 8U << 16;
inline constexpr std::uint32_t kWaitProgress = 1U << 28;
inline constexpr std::uint32_t kWaitProtected = 1U << 29;
inline constexpr std::uint32_t kWaitSync64 = 1U << 30;
inline constexpr std::uint32_t kWaitSync = 1U << 31;
constexpr csf::Condition wait_condition(std::uint32_t status_wait) {
    return static_cast<csf::Condition>(status_wait >> 24 & 0xfU);
}
enum class BlockedReason : std::uint32_t {
    none = 0,
    scoreboard = 1,
    progress = 2,
    sync = 3,
    deferred = 4,
    resource = 5,
    flush = 6,
};

}  // namespace belfry::gpu
