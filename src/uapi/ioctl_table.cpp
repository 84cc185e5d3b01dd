#include "uapi/ioctl_table.hpp"

#include <algorithm>
#include <cstring>

#include <linux/ioctl.h>

#include "belfry/uapi/drm.h"
#include "belfry/uapi/panthor_drm.h"

namespace belfry::uapi {
namespace {

using enum FieldKind;

// A row of a struct's field table: name, offset and width come from the struct itself.
#define FIELD(type, member, kind) \
    Field { #member, offsetof(type, member), sizeof(type::member), kind }
#define LAYOUT(type, fields, attachments) \
    StructLayout { #type, sizeof(type), fields, attachments }

constexpr std::span<const Attachment> kNone;

/// A drm_panthor_obj_array at `offset`.
constexpr Attachment objects(std::string_view name, Direction direction, std::size_t offset,
                             const StructLayout& element, std::uint32_t stride_min,
                             std::uint64_t count_max = UINT32_MAX) {
    return {.name = name,
            .kind = AttachmentKind::obj_array,
            .direction = direction,
            .pointer_offset = static_cast<std::uint16_t>(offset),
            .count_offset = static_cast<std::uint16_t>(offset + offsetof(drm_panthor_obj_array, count)),
            .count_width = 4,
            .optional = false,
            .element_bytes = element.bytes,
            .stride_min = stride_min,
            .count_max = count_max,
            .element_kind = number,
            .element = &element};
}

struct Pointer {
    std::string_view name;
    std::size_t offset;
    std::size_t count_offset;
};

constexpr Attachment pointed_to(AttachmentKind kind, Direction direction, Pointer pointer,
                                std::uint8_t count_width, bool optional, std::uint32_t element_bytes,
                                FieldKind element_kind) {
    return {.name = pointer.name,
            .kind = kind,
            .direction = direction,
            .pointer_offset = static_cast<std::uint16_t>(pointer.offset),
            .count_offset = static_cast<std::uint16_t>(pointer.count_offset),
            .count_width = count_width,
            .optional = optional,
            .element_bytes = element_bytes,
            .stride_min = element_bytes,
            .count_max = UINT64_MAX,
            .element_kind = element_kind,
            .element = nullptr};
}

#define POINTER(type, pointer_member, count_member) \
    Pointer { #pointer_member, offsetof(type, pointer_member), offsetof(type, count_member) }

/// u32 handles[count_handles]
constexpr Attachment handles_in(Pointer pointer) {
    return pointed_to(AttachmentKind::array, Direction::in, pointer, 4, false, 4, handle);
}
/// u64 points[count_handles]; null = all 0
constexpr Attachment points_in(Pointer pointer) {
    return pointed_to(AttachmentKind::array, Direction::in, pointer, 4, true, 8, number);
}
constexpr Attachment points_out(Pointer pointer) {
    return pointed_to(AttachmentKind::array, Direction::out, pointer, 4, false, 8, number);
}
constexpr Attachment string_out(Pointer pointer) {
    return pointed_to(AttachmentKind::string, Direction::out, pointer, 8, true, 1, number);
}

// ---- DRM core

constexpr Field kVersionFields[] = {
    FIELD(drm_version, version_major, signed_number),
    FIELD(drm_version, version_minor, signed_number),
    FIELD(drm_version, version_patchlevel, signed_number),
    FIELD(drm_version, pad, padding),
    FIELD(drm_version, name_len, count),
    FIELD(drm_version, name, pointer),
    FIELD(drm_version, date_len, count),
    FIELD(drm_version, date, pointer),
    FIELD(drm_version, desc_len, count),
    FIELD(drm_version, desc, pointer),
};
constexpr Attachment kVersionStrings[] = {
    string_out(POINTER(drm_version, name, name_len)),
    string_out(POINTER(drm_version, date, date_len)),
    string_out(POINTER(drm_version, desc, desc_len)),
};
constexpr StructLayout kVersion = LAYOUT(drm_version, kVersionFields, kVersionStrings);

constexpr Field kGemCloseFields[] = {
    FIELD(drm_gem_close, handle, handle),
    FIELD(drm_gem_close, pad, padding),
};
constexpr StructLayout kGemClose = LAYOUT(drm_gem_close, kGemCloseFields, kNone);

constexpr Field kGetCapFields[] = {
    FIELD(drm_get_cap, capability, hex),
    FIELD(drm_get_cap, value, number),
};
constexpr StructLayout kGetCap = LAYOUT(drm_get_cap, kGetCapFields, kNone);

constexpr Field kSyncobjCreateFields[] = {
    FIELD(drm_syncobj_create, handle, handle),
    FIELD(drm_syncobj_create, flags, flags),
};
constexpr StructLayout kSyncobjCreate = LAYOUT(drm_syncobj_create, kSyncobjCreateFields, kNone);

constexpr Field kSyncobjDestroyFields[] = {
    FIELD(drm_syncobj_destroy, handle, handle),
    FIELD(drm_syncobj_destroy, pad, padding),
};
constexpr StructLayout kSyncobjDestroy = LAYOUT(drm_syncobj_destroy, kSyncobjDestroyFields, kNone);

constexpr Field kSyncobjWaitFields[] = {
    FIELD(drm_syncobj_wait, handles, pointer),       FIELD(drm_syncobj_wait, timeout_nsec, signed_number),
    FIELD(drm_syncobj_wait, count_handles, count),   FIELD(drm_syncobj_wait, flags, flags),
    FIELD(drm_syncobj_wait, first_signaled, number), FIELD(drm_syncobj_wait, pad, padding),
    FIELD(drm_syncobj_wait, deadline_nsec, number),
};
constexpr Attachment kSyncobjWaitArrays[] = {handles_in(POINTER(drm_syncobj_wait, handles, count_handles))};
constexpr StructLayout kSyncobjWait = LAYOUT(drm_syncobj_wait, kSyncobjWaitFields, kSyncobjWaitArrays);

constexpr Field kTimelineWaitFields[] = {
    FIELD(drm_syncobj_timeline_wait, handles, pointer),
    FIELD(drm_syncobj_timeline_wait, points, pointer),
    FIELD(drm_syncobj_timeline_wait, timeout_nsec, signed_number),
    FIELD(drm_syncobj_timeline_wait, count_handles, count),
    FIELD(drm_syncobj_timeline_wait, flags, flags),
    FIELD(drm_syncobj_timeline_wait, first_signaled, number),
    FIELD(drm_syncobj_timeline_wait, pad, padding),
    FIELD(drm_syncobj_timeline_wait, deadline_nsec, number),
};
constexpr Attachment kTimelineWaitArrays[] = {
    handles_in(POINTER(drm_syncobj_timeline_wait, handles, count_handles)),
    points_in(POINTER(drm_syncobj_timeline_wait, points, count_handles)),
};
constexpr StructLayout kTimelineWait =
    LAYOUT(drm_syncobj_timeline_wait, kTimelineWaitFields, kTimelineWaitArrays);

constexpr Field kSyncobjArrayFields[] = {
    FIELD(drm_syncobj_array, handles, pointer),
    FIELD(drm_syncobj_array, count_handles, count),
    FIELD(drm_syncobj_array, pad, padding),
};
constexpr Attachment kSyncobjArrayArrays[] = {handles_in(POINTER(drm_syncobj_array, handles, count_handles))};
constexpr StructLayout kSyncobjArray = LAYOUT(drm_syncobj_array, kSyncobjArrayFields, kSyncobjArrayArrays);

// QUERY and TIMELINE_SIGNAL share the struct; the points go opposite ways.
constexpr Field kTimelineArrayFields[] = {
    FIELD(drm_syncobj_timeline_array, handles, pointer),
    FIELD(drm_syncobj_timeline_array, points, pointer),
    FIELD(drm_syncobj_timeline_array, count_handles, count),
    FIELD(drm_syncobj_timeline_array, flags, flags),
};
constexpr Attachment kTimelineQueryArrays[] = {
    handles_in(POINTER(drm_syncobj_timeline_array, handles, count_handles)),
    points_out(POINTER(drm_syncobj_timeline_array, points, count_handles)),
};
constexpr Attachment kTimelineSignalArrays[] = {
    handles_in(POINTER(drm_syncobj_timeline_array, handles, count_handles)),
    points_in(POINTER(drm_syncobj_timeline_array, points, count_handles)),
};
constexpr StructLayout kTimelineQuery =
    LAYOUT(drm_syncobj_timeline_array, kTimelineArrayFields, kTimelineQueryArrays);
constexpr StructLayout kTimelineSignal =
    LAYOUT(drm_syncobj_timeline_array, kTimelineArrayFields, kTimelineSignalArrays);

// ---- panthor

constexpr Field kDevQueryFields[] = {
    FIELD(drm_panthor_dev_query, type, number),
    FIELD(drm_panthor_dev_query, size, count),
    FIELD(drm_panthor_dev_query, pointer, pointer),
};
constexpr Attachment kDevQueryObject[] = {pointed_to(AttachmentKind::object, Direction::out,
                                                     POINTER(drm_panthor_dev_query, pointer, size), 4, true,
                                                     1, number)};
constexpr StructLayout kDevQuery = LAYOUT(drm_panthor_dev_query, kDevQueryFields, kDevQueryObject);

constexpr Field kVmCreateFields[] = {
    FIELD(drm_panthor_vm_create, flags, flags),
    FIELD(drm_panthor_vm_create, id, handle),
    FIELD(drm_panthor_vm_create, user_va_range, hex),
};
constexpr StructLayout kVmCreate = LAYOUT(drm_panthor_vm_create, kVmCreateFields, kNone);

constexpr Field kVmDestroyFields[] = {
    FIELD(drm_panthor_vm_destroy, id, handle),
    FIELD(drm_panthor_vm_destroy, pad, padding),
};
constexpr StructLayout kVmDestroy = LAYOUT(drm_panthor_vm_destroy, kVmDestroyFields, kNone);

constexpr Field kSyncOpFields[] = {
    FIELD(drm_panthor_sync_op, flags, flags),
    FIELD(drm_panthor_sync_op, handle, handle),
    FIELD(drm_panthor_sync_op, timeline_value, number),
};
constexpr StructLayout kSyncOp = LAYOUT(drm_panthor_sync_op, kSyncOpFields, kNone);

constexpr Field kVmBindOpFields[] = {
    FIELD(drm_panthor_vm_bind_op, flags, flags),   FIELD(drm_panthor_vm_bind_op, bo_handle, handle),
    FIELD(drm_panthor_vm_bind_op, bo_offset, hex), FIELD(drm_panthor_vm_bind_op, va, hex),
    FIELD(drm_panthor_vm_bind_op, size, hex),      FIELD(drm_panthor_vm_bind_op, syncs, obj_array),
};
constexpr Attachment kVmBindOpArrays[] = {
    objects("syncs", Direction::in, offsetof(drm_panthor_vm_bind_op, syncs), kSyncOp, 16)};
constexpr StructLayout kVmBindOp = LAYOUT(drm_panthor_vm_bind_op, kVmBindOpFields, kVmBindOpArrays);

constexpr Field kVmBindFields[] = {
    FIELD(drm_panthor_vm_bind, vm_id, handle),
    FIELD(drm_panthor_vm_bind, flags, flags),
    FIELD(drm_panthor_vm_bind, ops, obj_array),
};
constexpr Attachment kVmBindArrays[] = {
    objects("ops", Direction::in, offsetof(drm_panthor_vm_bind, ops), kVmBindOp, 48)};
constexpr StructLayout kVmBind = LAYOUT(drm_panthor_vm_bind, kVmBindFields, kVmBindArrays);

constexpr Field kBoCreateFields[] = {
    FIELD(drm_panthor_bo_create, size, hex),
    FIELD(drm_panthor_bo_create, flags, flags),
    FIELD(drm_panthor_bo_create, exclusive_vm_id, handle),
    FIELD(drm_panthor_bo_create, handle, handle),
    FIELD(drm_panthor_bo_create, pad, padding),
};
constexpr StructLayout kBoCreate = LAYOUT(drm_panthor_bo_create, kBoCreateFields, kNone);

constexpr Field kBoMmapOffsetFields[] = {
    FIELD(drm_panthor_bo_mmap_offset, handle, handle),
    FIELD(drm_panthor_bo_mmap_offset, pad, padding),
    FIELD(drm_panthor_bo_mmap_offset, offset, hex),
};
constexpr StructLayout kBoMmapOffset = LAYOUT(drm_panthor_bo_mmap_offset, kBoMmapOffsetFields, kNone);

constexpr Field kQueueCreateFields[] = {
    FIELD(drm_panthor_queue_create, priority, number),
    FIELD(drm_panthor_queue_create, pad, padding),
    FIELD(drm_panthor_queue_create, ringbuf_size, hex),
    FIELD(drm_panthor_queue_create, ringbuf_offset, hex),
    FIELD(drm_panthor_queue_create, user_io_offset, hex),
    FIELD(drm_panthor_queue_create, doorbell_offset, hex),
};
constexpr StructLayout kQueueCreate = LAYOUT(drm_panthor_queue_create, kQueueCreateFields, kNone);

constexpr Field kGroupCreateFields[] = {
    FIELD(drm_panthor_group_create, queues, obj_array),
    FIELD(drm_panthor_group_create, max_compute_cores, number),
    FIELD(drm_panthor_group_create, max_fragment_cores, number),
    FIELD(drm_panthor_group_create, max_tiler_cores, number),
    FIELD(drm_panthor_group_create, priority, number),
    FIELD(drm_panthor_group_create, flags, flags),
    FIELD(drm_panthor_group_create, compute_core_mask, hex),
    FIELD(drm_panthor_group_create, fragment_core_mask, hex),
    FIELD(drm_panthor_group_create, tiler_core_mask, hex),
    FIELD(drm_panthor_group_create, vm_id, handle),
    FIELD(drm_panthor_group_create, group_handle, handle),
    FIELD(drm_panthor_group_create, eventfd_sync_update, descriptor),
    FIELD(drm_panthor_group_create, eventfd_group_state, descriptor),
    FIELD(drm_panthor_group_create, eventfd_doorbell, descriptor),
    FIELD(drm_panthor_group_create, pad, padding),
};
// 8: what queue_create was before user submission. 32 queues: the kernel looks before it copies.
constexpr Attachment kGroupCreateArrays[] = {
    objects("queues", Direction::in_out, offsetof(drm_panthor_group_create, queues), kQueueCreate, 8, 32)};
constexpr StructLayout kGroupCreate =
    LAYOUT(drm_panthor_group_create, kGroupCreateFields, kGroupCreateArrays);
constexpr DescriptorField kGroupCreateDescriptors[] = {
    {offsetof(drm_panthor_group_create, eventfd_sync_update), offsetof(drm_panthor_group_create, flags),
     DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT},
    {offsetof(drm_panthor_group_create, eventfd_group_state), offsetof(drm_panthor_group_create, flags),
     DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT},
    {offsetof(drm_panthor_group_create, eventfd_doorbell), offsetof(drm_panthor_group_create, flags),
     DRM_PANTHOR_GROUP_CREATE_DOORBELL_EVENTFD},
};

constexpr Field kGroupDestroyFields[] = {
    FIELD(drm_panthor_group_destroy, group_handle, handle),
    FIELD(drm_panthor_group_destroy, pad, padding),
};
constexpr StructLayout kGroupDestroy = LAYOUT(drm_panthor_group_destroy, kGroupDestroyFields, kNone);

constexpr Field kQueueSubmitFields[] = {
    FIELD(drm_panthor_queue_submit, queue_index, number), FIELD(drm_panthor_queue_submit, stream_size, hex),
    FIELD(drm_panthor_queue_submit, stream_addr, hex),    FIELD(drm_panthor_queue_submit, latest_flush, hex),
    FIELD(drm_panthor_queue_submit, pad, padding),        FIELD(drm_panthor_queue_submit, syncs, obj_array),
};
constexpr Attachment kQueueSubmitArrays[] = {
    objects("syncs", Direction::in, offsetof(drm_panthor_queue_submit, syncs), kSyncOp, 16)};
constexpr StructLayout kQueueSubmit =
    LAYOUT(drm_panthor_queue_submit, kQueueSubmitFields, kQueueSubmitArrays);

constexpr Field kGroupSubmitFields[] = {
    FIELD(drm_panthor_group_submit, group_handle, handle),
    FIELD(drm_panthor_group_submit, pad, padding),
    FIELD(drm_panthor_group_submit, queue_submits, obj_array),
};
constexpr Attachment kGroupSubmitArrays[] = {objects(
    "queue_submits", Direction::in, offsetof(drm_panthor_group_submit, queue_submits), kQueueSubmit, 40)};
constexpr StructLayout kGroupSubmit =
    LAYOUT(drm_panthor_group_submit, kGroupSubmitFields, kGroupSubmitArrays);

constexpr Field kGroupGetStateFields[] = {
    FIELD(drm_panthor_group_get_state, group_handle, handle),
    FIELD(drm_panthor_group_get_state, state, flags),
    FIELD(drm_panthor_group_get_state, fatal_queues, hex),
    FIELD(drm_panthor_group_get_state, pad, padding),
};
constexpr StructLayout kGroupGetState = LAYOUT(drm_panthor_group_get_state, kGroupGetStateFields, kNone);

constexpr Field kGroupKickFields[] = {
    FIELD(drm_panthor_group_kick, handle, handle),
    FIELD(drm_panthor_group_kick, queue_mask, hex),
};
constexpr StructLayout kGroupKick = LAYOUT(drm_panthor_group_kick, kGroupKickFields, kNone);

constexpr Field kGroupGetFaultFields[] = {
    FIELD(belfry_group_get_fault, group_handle, handle), FIELD(belfry_group_get_fault, flags, flags),
    FIELD(belfry_group_get_fault, queue, number),        FIELD(belfry_group_get_fault, exception, hex),
    FIELD(belfry_group_get_fault, access, number),       FIELD(belfry_group_get_fault, pad, padding),
    FIELD(belfry_group_get_fault, address, hex),         FIELD(belfry_group_get_fault, cmd_ptr, hex),
    FIELD(belfry_group_get_fault, instruction, hex),     FIELD(belfry_group_get_fault, info, hex),
};
constexpr StructLayout kGroupGetFault = LAYOUT(belfry_group_get_fault, kGroupGetFaultFields, kNone);

constexpr Field kDeviceInfoFields[] = {
    FIELD(belfry_device_info, groups, number),         FIELD(belfry_device_info, groups_on_slot, number),
    FIELD(belfry_device_info, groups_waiting, number), FIELD(belfry_device_info, files, number),
    FIELD(belfry_device_info, buffers, number),        FIELD(belfry_device_info, vms, number),
    FIELD(belfry_device_info, buffer_bytes, number),   FIELD(belfry_device_info, requests, number),
};
constexpr StructLayout kDeviceInfo = LAYOUT(belfry_device_info, kDeviceInfoFields, kNone);

// ---- All of them

#define ROW(request, name, layout, ...)                                     \
    Ioctl {                                                                 \
        static_cast<std::uint32_t>(request), name, &layout, { __VA_ARGS__ } \
    }
constexpr Ioctl kIoctls[] = {
    ROW(DRM_IOCTL_VERSION, "VERSION", kVersion),
    ROW(DRM_IOCTL_GEM_CLOSE, "GEM_CLOSE", kGemClose),
    ROW(DRM_IOCTL_GET_CAP, "GET_CAP", kGetCap),
    ROW(DRM_IOCTL_PANTHOR_DEV_QUERY, "PANTHOR_DEV_QUERY", kDevQuery),
    ROW(DRM_IOCTL_PANTHOR_VM_CREATE, "PANTHOR_VM_CREATE", kVmCreate),
    ROW(DRM_IOCTL_PANTHOR_VM_DESTROY, "PANTHOR_VM_DESTROY", kVmDestroy),
    ROW(DRM_IOCTL_PANTHOR_VM_BIND, "PANTHOR_VM_BIND", kVmBind),
    ROW(DRM_IOCTL_PANTHOR_BO_CREATE, "PANTHOR_BO_CREATE", kBoCreate),
    ROW(DRM_IOCTL_PANTHOR_BO_MMAP_OFFSET, "PANTHOR_BO_MMAP_OFFSET", kBoMmapOffset),
    ROW(DRM_IOCTL_PANTHOR_GROUP_CREATE, "PANTHOR_GROUP_CREATE", kGroupCreate, kGroupCreateDescriptors),
    ROW(DRM_IOCTL_PANTHOR_GROUP_DESTROY, "PANTHOR_GROUP_DESTROY", kGroupDestroy),
    ROW(DRM_IOCTL_PANTHOR_GROUP_SUBMIT, "PANTHOR_GROUP_SUBMIT", kGroupSubmit),
    ROW(DRM_IOCTL_PANTHOR_GROUP_GET_STATE, "PANTHOR_GROUP_GET_STATE", kGroupGetState),
    ROW(DRM_IOCTL_PANTHOR_GROUP_KICK, "PANTHOR_GROUP_KICK", kGroupKick),
    ROW(DRM_IOCTL_BELFRY_GROUP_GET_FAULT, "BELFRY_GROUP_GET_FAULT", kGroupGetFault),
    ROW(DRM_IOCTL_BELFRY_DEVICE_INFO, "BELFRY_DEVICE_INFO", kDeviceInfo),
    ROW(DRM_IOCTL_SYNCOBJ_CREATE, "SYNCOBJ_CREATE", kSyncobjCreate),
    ROW(DRM_IOCTL_SYNCOBJ_DESTROY, "SYNCOBJ_DESTROY", kSyncobjDestroy),
    ROW(DRM_IOCTL_SYNCOBJ_WAIT, "SYNCOBJ_WAIT", kSyncobjWait),
    ROW(DRM_IOCTL_SYNCOBJ_RESET, "SYNCOBJ_RESET", kSyncobjArray),
    ROW(DRM_IOCTL_SYNCOBJ_SIGNAL, "SYNCOBJ_SIGNAL", kSyncobjArray),
    ROW(DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, "SYNCOBJ_TIMELINE_WAIT", kTimelineWait),
    ROW(DRM_IOCTL_SYNCOBJ_QUERY, "SYNCOBJ_QUERY", kTimelineQuery),
    ROW(DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL, "SYNCOBJ_TIMELINE_SIGNAL", kTimelineSignal),
};

constexpr std::uint32_t number_of(const Ioctl& ioctl) { return _IOC_NR(ioctl.request); }
static_assert(std::ranges::is_sorted(kIoctls, {}, number_of), "find_ioctl() searches by halves");

template <typename T>
T read_field(std::span<const std::byte> object, std::size_t offset) {
    T value{};
    std::memcpy(&value, object.data() + offset, sizeof value);
    return value;
}

}  // namespace

std::span<const Ioctl> ioctls() { return kIoctls; }

base::Result<const Ioctl*> find_ioctl(std::uint32_t request) {
    if (_IOC_TYPE(request) != BELFRY_DRM_IOCTL_BASE) return std::unexpected(base::Errno::not_a_tty);
    const std::uint32_t nr = _IOC_NR(request);
    const auto* const row = std::ranges::lower_bound(kIoctls, nr, {}, number_of);
    if (row == std::end(kIoctls) || number_of(*row) != nr) return std::unexpected(base::Errno::invalid);
    return row;
}

std::uint32_t bytes_in(std::uint32_t user_request, const Ioctl& ioctl) {
    const bool copied = (_IOC_DIR(user_request) & _IOC_DIR(ioctl.request) & _IOC_WRITE) != 0;
    return copied ? _IOC_SIZE(user_request) : 0;
}

std::uint32_t bytes_out(std::uint32_t user_request, const Ioctl& ioctl) {
    const bool copied = (_IOC_DIR(user_request) & _IOC_DIR(ioctl.request) & _IOC_READ) != 0;
    return copied ? _IOC_SIZE(user_request) : 0;
}

base::Result<Extent> extent_of(const Attachment& attachment, std::span<const std::byte> object) {
    Extent extent;
    extent.count = attachment.count_width == 8 ? read_field<std::uint64_t>(object, attachment.count_offset)
                                               : read_field<std::uint32_t>(object, attachment.count_offset);
    extent.stride = attachment.element_bytes;
    if (attachment.kind == AttachmentKind::obj_array) {
        const auto array = read_field<drm_panthor_obj_array>(object, attachment.pointer_offset);
        extent.pointer = array.array;
        if (extent.count == 0) return extent;  // neither stride nor pointer is looked at
        if (extent.count > attachment.count_max || array.stride < attachment.stride_min)
            return std::unexpected(base::Errno::invalid);
        extent.stride = array.stride;
    } else {
        extent.pointer = read_field<std::uint64_t>(object, attachment.pointer_offset);
        if (extent.pointer == 0 && attachment.optional) return extent;
    }
    if (attachment.kind == AttachmentKind::string || attachment.kind == AttachmentKind::object) {
        const std::uint64_t carried = std::min(extent.count, kOutRoomMax);
        if (attachment.kind == AttachmentKind::object) extent.tail = extent.count - carried;
        extent.count = carried;
    }
    // Judged before it is multiplied: beyond this bound the product would be too big anyway, as no element is
    // empty.
    if (extent.count > kPayloadBytesMax) return std::unexpected(base::Errno::no_memory);
    extent.present = true;
    extent.bytes = extent.count * extent.stride;
    extent.our_bytes = extent.count * attachment.element_bytes;
    if (extent.bytes > kPayloadBytesMax || extent.our_bytes > kPayloadBytesMax)
        return std::unexpected(base::Errno::no_memory);
    return extent;
}

bool descriptor_present(const DescriptorField& field, std::span<const std::byte> object) {
    return (read_field<std::uint32_t>(object, field.flags_offset) & field.flag) != 0 &&
           read_field<std::int32_t>(object, field.offset) != -1;
}

}  // namespace belfry::uapi
