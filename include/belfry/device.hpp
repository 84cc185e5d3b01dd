// Device: a connection to the driver; where buffers, VMs and syncobjs come from.
//
// A Device is one open DRM file. Handles are cheap references to it: what they name lives until the handle is
// destroyed, and the file until the last of them is. All methods may be called by any thread. After fork() a
// child may go on using what it inherited; both then work on the same file.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "belfry/error.hpp"
#include "belfry/export.hpp"

namespace belfry {

class Buffer;
class SubmitRing;
struct SubmitRingOptions;
class Syncobj;
class Vm;
namespace client {
struct Connection;
}

struct OpenOptions {
    /// Socket of a running belfryd, or a DRM node of the kernel that one serves. Empty: $BELFRY_SOCKET;
    /// without that the default path; if nobody answers there, such a node; and if there is none, a private
    /// belfryd is started, which ends with its last client.
    std::string socket_path{};
    /// Not empty: a private belfryd is started for this device, with these arguments besides, whoever else
    /// runs; `socket_path` is not looked at. As `belfryd --help` has them; one that it refuses ends it, and
    /// all requests fail with ENODEV.
    std::vector<std::string> belfryd_arguments{};
};

/// The GPU and the driver, as DEV_QUERY and VERSION tell it.
struct DeviceInfo {
    std::string driver;  ///< "panthor"
    int driver_major = 0;
    int driver_minor = 0;
    int driver_patchlevel = 0;
    std::uint32_t gpu_id = 0;
    std::uint32_t group_slots = 0;            ///< groups that can be on the GPU at a time
    std::uint32_t streams_per_group = 0;      ///< queues of a group
    std::uint32_t registers = 0;              ///< of a command stream, 32 bits each
    std::uint32_t unpreserved_registers = 0;  ///< the last ones; kernel-mode jobs lose them
    std::uint32_t scoreboard_slots = 0;
    std::uint32_t va_bits = 0;
    std::uint64_t shader_present = 0;
    std::uint64_t tiler_present = 0;
    std::uint64_t timestamp_hz = 0;
};

/// What lives in the driver right now, of all its clients.
struct DeviceLoad {
    std::uint32_t groups = 0;
    std::uint32_t groups_on_slot = 0;
    std::uint32_t groups_waiting = 0;  ///< have work and wait for a free slot
    std::uint32_t files = 0;
    std::uint32_t buffers = 0;  ///< the driver's own included
    std::uint32_t vms = 0;
    std::uint64_t buffer_bytes = 0;
    std::uint64_t requests = 0;       ///< since it started
    std::chrono::nanoseconds busy{};  ///< what its thread has spent on requests and events since then
    std::uint64_t suspends = 0;       ///< how often a group was taken off its slot for another since then
    std::chrono::nanoseconds suspending{};  ///< how long that took in total, until the slot was free
    std::uint64_t memory_budget = 0;        ///< bytes, of `belfryd --memory`; 0: no bound
    std::uint64_t resident_bytes = 0;       ///< of buffers that are in memory, or on their way in or out
    std::uint64_t evicted_bytes = 0;        ///< of buffers that are in the backing file instead
    std::uint64_t evictions = 0;            ///< buffers that went there since the start
    std::chrono::nanoseconds evicting{};    ///< how long that took, in total
    std::uint64_t restores = 0;             ///< buffers that came back
    std::chrono::nanoseconds restoring{};
    /// Waits for values in memory that had ended before the driver was told so, by the GPU's report or by
    /// SYNC_UPDATE: found within a second. A program that forgets to tell, or a lost report.
    std::uint64_t missed_reports = 0;
};

class BELFRY_EXPORT Device {
  public:
    /// Connects, or starts a private belfryd. Blocks for no longer than that takes.
    static Result<Device> open(const OpenOptions& options = {});

    [[nodiscard]] Result<DeviceInfo> info() const;
    [[nodiscard]] Result<DeviceLoad> load() const;

    /// Zeroed memory of at least `bytes` (whole pages), mapped into this process.
    [[nodiscard]] Result<Buffer> create_buffer(std::uint64_t bytes) const;
    [[nodiscard]] Result<Vm> create_vm() const;
    /// A DRM syncobj: unsubmitted, or signalled from the start.
    [[nodiscard]] Result<Syncobj> create_syncobj(bool signalled = false) const;

    /// A ring for entries and completions; see submit_ring.hpp. EBUSY: the file has 16.
    [[nodiscard]] Result<SubmitRing> create_submit_ring(const SubmitRingOptions& options) const;

    /// Tells the driver that this process has changed sync objects: command streams and XGS queues that wait
    /// for one look again. Not needed for CPU waiters, nor where Queue::ring() reaches the stream.
    [[nodiscard]] Result<void> sync_update() const;

    /// Where it is connected to. A child process that has it as $BELFRY_SOCKET meets the same belfryd.
    [[nodiscard]] const std::string& socket_path() const;
    /// The DRM file as a descriptor, for what needs one: passing it to another process, SO_PEERCRED. Lives as
    /// long as the file's last handle; not to be read, written or closed.
    [[nodiscard]] int fd() const;
    /// How often this process has asked the driver for something through this file. User-mode submission and
    /// native waits do not.
    [[nodiscard]] std::uint64_t requests() const;

  private:
    explicit Device(std::shared_ptr<client::Connection> connection);
    std::shared_ptr<client::Connection> connection_;
};

}  // namespace belfry
