#include "belfry/device.hpp"

#include <array>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <sys/mman.h>

#include "base/memory.hpp"
#include "belfry/buffer.hpp"
#include "belfry/syncobj.hpp"
#include "belfry/uapi/panthor_drm.h"
#include "belfry/vm.hpp"
#include "client/connection.hpp"
#include "client/daemon.hpp"
#include "client/impl.hpp"
#include "client/vm_impl.hpp"

namespace belfry {

using client::request;

Device::Device(std::shared_ptr<client::Connection> connection) : connection_(std::move(connection)) {}

Result<Device> Device::open(const OpenOptions& options) {
    auto connected = options.belfryd_arguments.empty()
                         ? client::connect_or_start({.socket_path = options.socket_path, .may_be_node = true})
                         : client::start_private({.belfryd_arguments = options.belfryd_arguments});
    if (!connected)
        return std::unexpected(Error{.code = connected.error().error, .message = connected.error().message});
    return Device(std::make_shared<client::Connection>(client::make_transport(std::move(connected->primary)),
                                                       connected->path));
}

namespace {

template <typename T>
Result<T> query(const client::Connection& connection, std::uint32_t type, std::string_view what) {
    T answer{};
    uapi::drm_panthor_dev_query args{
        .type = type, .size = sizeof answer, .pointer = reinterpret_cast<std::uint64_t>(&answer)};
    if (const auto done = request(connection, DRM_IOCTL_PANTHOR_DEV_QUERY, &args, what); !done)
        return std::unexpected(done.error());
    return answer;
}

}  // namespace

Result<DeviceInfo> Device::info() const {
    std::array<char, 64> name{};
    uapi::drm_version version{.name_len = name.size(), .name = reinterpret_cast<std::uint64_t>(name.data())};
    if (const auto done = request(*connection_, DRM_IOCTL_VERSION, &version, "VERSION"); !done)
        return std::unexpected(done.error());
    const auto gpu = query<uapi::drm_panthor_gpu_info>(*connection_, uapi::DRM_PANTHOR_DEV_QUERY_GPU_INFO,
                                                       "DEV_QUERY of GPU_INFO");
    if (!gpu) return std::unexpected(gpu.error());
    const auto csif = query<uapi::drm_panthor_csif_info>(*connection_, uapi::DRM_PANTHOR_DEV_QUERY_CSIF_INFO,
                                                         "DEV_QUERY of CSIF_INFO");
    if (!csif) return std::unexpected(csif.error());
    const auto timestamp = query<uapi::drm_panthor_timestamp_info>(
        *connection_, uapi::DRM_PANTHOR_DEV_QUERY_TIMESTAMP_INFO, "DEV_QUERY of TIMESTAMP_INFO");
    if (!timestamp) return std::unexpected(timestamp.error());
    return DeviceInfo{
        .driver = std::string(name.data(), std::min<std::size_t>(version.name_len, name.size())),
        .driver_major = version.version_major,
        .driver_minor = version.version_minor,
        .driver_patchlevel = version.version_patchlevel,
        .gpu_id = gpu->gpu_id,
        .group_slots = csif->csg_slot_count,
        .streams_per_group = csif->cs_slot_count,
        .registers = csif->cs_reg_count,
        .unpreserved_registers = csif->unpreserved_cs_reg_count,
        .scoreboard_slots = csif->scoreboard_slot_count,
        .va_bits = gpu->mmu_features & 0xff,
        .shader_present = gpu->shader_present,
        .tiler_present = gpu->tiler_present,
        .timestamp_hz = timestamp->timestamp_frequency,
    };
}

Result<DeviceLoad> Device::load() const {
    uapi::belfry_device_info info{};
    if (const auto done = request(*connection_, DRM_IOCTL_BELFRY_DEVICE_INFO, &info, "DEVICE_INFO"); !done)
        return std::unexpected(done.error());
    return DeviceLoad{.groups = info.groups,
                      .groups_on_slot = info.groups_on_slot,
                      .groups_waiting = info.groups_waiting,
                      .files = info.files,
                      .buffers = info.buffers,
                      .vms = info.vms,
                      .buffer_bytes = info.buffer_bytes,
                      .requests = info.requests,
                      .busy = std::chrono::nanoseconds(info.busy_ns),
                      .suspends = info.suspends,
                      .suspending = std::chrono::nanoseconds(info.suspend_ns),
                      .memory_budget = info.memory_budget,
                      .resident_bytes = info.resident_bytes,
                      .evicted_bytes = info.evicted_bytes,
                      .evictions = info.evictions,
                      .evicting = std::chrono::nanoseconds(info.evict_ns),
                      .restores = info.restores,
                      .restoring = std::chrono::nanoseconds(info.restore_ns),
                      .missed_reports = info.missed_reports};
}

Result<Buffer> Device::create_buffer(std::uint64_t bytes) const {
    const std::string what = fmt::format("creating a buffer of {} bytes", bytes);
    uapi::drm_panthor_bo_create create{.size = bytes};
    if (const auto done = request(*connection_, DRM_IOCTL_PANTHOR_BO_CREATE, &create, what); !done)
        return std::unexpected(done.error());
    Buffer buffer(std::make_unique<Buffer::Impl>(connection_, create.handle, create.size));
    if (const auto mapped = buffer.map(); !mapped) return std::unexpected(mapped.error());
    return buffer;
}

Result<Vm> Device::create_vm() const {
    uapi::drm_panthor_vm_create create{};
    if (const auto done = request(*connection_, DRM_IOCTL_PANTHOR_VM_CREATE, &create, "creating a VM"); !done)
        return std::unexpected(done.error());
    return Vm(std::make_unique<Vm::Impl>(connection_, create.id, create.user_va_range));
}

Result<Syncobj> Device::create_syncobj(bool signalled) const {
    uapi::drm_syncobj_create create{.flags = signalled ? DRM_SYNCOBJ_CREATE_SIGNALED : 0};
    if (const auto done = request(*connection_, DRM_IOCTL_SYNCOBJ_CREATE, &create, "creating a syncobj");
        !done)
        return std::unexpected(done.error());
    return Syncobj(connection_, create.handle);
}

Result<void> Device::sync_update() const {
    uapi::drm_panthor_sync_update update{};
    return request(*connection_, DRM_IOCTL_PANTHOR_SYNC_UPDATE, &update, "telling of changed sync objects");
}

const std::string& Device::socket_path() const { return connection_->path; }
int Device::fd() const { return connection_->transport->fd(); }
std::uint64_t Device::requests() const { return connection_->transport->requests(); }

}  // namespace belfry
