#include "uapi/ioctl_table.hpp"

#include <algorithm>
#include <cstring>

#include <linux/ioctl.h>

#include "belfry/uapi/dma_buf.h"
#include "belfry/uapi/drm.h"
#include "belfry/uapi/panthor_drm.h"
#include "belfry/uapi/submit_ring.h"
#include "belfry/uapi/sw_sync.h"
#include "belfry/uapi/sync_file.h"

namespace belfry::uapi {
namespace {

using enum FieldKind;

// A row of a struct's field table: name, offset and width come from the struct itself.
#define FIELD(type, member, kind) \
    Field { #member, offsetof(type, member), sizeof(type::member), kind }
#define FIELD_OUT(type, member, kind) \
    Field { #member, offsetof(type, member), sizeof(type::member), kind, Direction::out }
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
    return pointed_to(AttachmentKind::string, Direction::out, pointer, 8, true, 1, FieldKind::text);
}
/// Bytes of text, `count_member` of them.
constexpr Attachment text_in(Pointer pointer, std::uint64_t bytes_max) {
    Attachment text = pointed_to(AttachmentKind::text, Direction::in, pointer, 8, true, 1, FieldKind::text);
    text.count_max = bytes_max;
    return text;
}
/// A C string of at most `bytes_max` with its NUL.
constexpr Attachment c_string_in(std::string_view name, std::size_t offset, bool optional,
                                 std::uint64_t bytes_max) {
    Attachment string = pointed_to(AttachmentKind::c_string, Direction::in, {name, offset, offset}, 0,
                                   optional, 1, FieldKind::text);
    string.count_max = bytes_max;
    return string;
}

// ---- DRM core

constexpr Field kVersionFields[] = {
    FIELD_OUT(drm_version, version_major, signed_number),
    FIELD_OUT(drm_version, version_minor, signed_number),
    FIELD_OUT(drm_version, version_patchlevel, signed_number),
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

// The room's bytes travel too: a name that does not fit leaves them as they are.
constexpr Field kUniqueFields[] = {
    FIELD(drm_unique, unique_len, count),
    FIELD(drm_unique, unique, pointer),
};
constexpr Attachment kUniqueStrings[] = {pointed_to(AttachmentKind::string, Direction::in_out,
                                                    POINTER(drm_unique, unique, unique_len), 8, true, 1,
                                                    FieldKind::text)};
constexpr StructLayout kUnique = LAYOUT(drm_unique, kUniqueFields, kUniqueStrings);

constexpr Field kAuthFields[] = {FIELD(drm_auth, magic, number)};
constexpr StructLayout kAuth = LAYOUT(drm_auth, kAuthFields, kNone);

constexpr Field kClientFields[] = {
    FIELD(drm_client, idx, signed_number), FIELD_OUT(drm_client, auth, signed_number),
    FIELD_OUT(drm_client, pid, number),    FIELD_OUT(drm_client, uid, number),
    FIELD_OUT(drm_client, magic, number),  FIELD_OUT(drm_client, iocs, number),
};
constexpr StructLayout kClient = LAYOUT(drm_client, kClientFields, kNone);

constexpr Field kStatsFields[] = {
    FIELD(drm_stats, count, number),
    FIELD(drm_stats, data, padding),
};
constexpr StructLayout kStats = LAYOUT(drm_stats, kStatsFields, kNone);

constexpr Field kSetVersionFields[] = {
    FIELD(drm_set_version, drm_di_major, signed_number),
    FIELD(drm_set_version, drm_di_minor, signed_number),
    FIELD(drm_set_version, drm_dd_major, signed_number),
    FIELD(drm_set_version, drm_dd_minor, signed_number),
};
constexpr StructLayout kSetVersion = LAYOUT(drm_set_version, kSetVersionFields, kNone);

constexpr Field kGemCloseFields[] = {
    FIELD(drm_gem_close, handle, handle),
    FIELD(drm_gem_close, pad, padding),
};
constexpr StructLayout kGemClose = LAYOUT(drm_gem_close, kGemCloseFields, kNone);

constexpr Field kGetCapFields[] = {
    FIELD(drm_get_cap, capability, hex),
    FIELD_OUT(drm_get_cap, value, number),
};
constexpr StructLayout kGetCap = LAYOUT(drm_get_cap, kGetCapFields, kNone);

constexpr Field kGemFlinkFields[] = {
    FIELD(drm_gem_flink, handle, handle),
    FIELD_OUT(drm_gem_flink, name, number),
};
constexpr StructLayout kGemFlink = LAYOUT(drm_gem_flink, kGemFlinkFields, kNone);

constexpr Field kGemOpenFields[] = {
    FIELD(drm_gem_open, name, number),
    FIELD_OUT(drm_gem_open, handle, handle),
    FIELD_OUT(drm_gem_open, size, hex),
};
constexpr StructLayout kGemOpen = LAYOUT(drm_gem_open, kGemOpenFields, kNone);

constexpr Field kGemChangeHandleFields[] = {
    FIELD(drm_gem_change_handle, handle, handle),
    FIELD(drm_gem_change_handle, new_handle, handle),
};
constexpr StructLayout kGemChangeHandle = LAYOUT(drm_gem_change_handle, kGemChangeHandleFields, kNone);

constexpr Field kSetClientCapFields[] = {
    FIELD(drm_set_client_cap, capability, hex),
    FIELD(drm_set_client_cap, value, number),
};
constexpr StructLayout kSetClientCap = LAYOUT(drm_set_client_cap, kSetClientCapFields, kNone);

// 64 bytes at most: the handler refuses more before it looks at them.
constexpr Field kSetClientNameFields[] = {
    FIELD(drm_set_client_name, name_len, count),
    FIELD(drm_set_client_name, name, pointer),
};
constexpr Attachment kSetClientNameText[] = {text_in(POINTER(drm_set_client_name, name, name_len), 64)};
constexpr StructLayout kSetClientName = LAYOUT(drm_set_client_name, kSetClientNameFields, kSetClientNameText);

constexpr StructLayout kNothing{"nothing", 0, {}, kNone};

// What only devices with displays answer: nobody looks at it.
constexpr std::uint32_t kModesettingBytes = 64;
constexpr Field kModesettingFields[] = {{"arguments", 0, kModesettingBytes, padding}};
constexpr StructLayout kModesetting{"modesetting", kModesettingBytes, kModesettingFields, kNone};

// ---- Sharing

constexpr Field kPrimeFields[] = {
    FIELD(drm_prime_handle, handle, handle),
    FIELD(drm_prime_handle, flags, flags),
    FIELD(drm_prime_handle, fd, descriptor),
};
constexpr StructLayout kPrime = LAYOUT(drm_prime_handle, kPrimeFields, kNone);
constexpr DescriptorField kPrimeOut[] = {{.offset = offsetof(drm_prime_handle, fd),
                                          .flags_offset = offsetof(drm_prime_handle, flags),
                                          .flag = DRM_CLOEXEC,
                                          .direction = Direction::out}};
/// A descriptor that is always meant.
constexpr DescriptorField descriptor_in(std::size_t offset) {
    return {static_cast<std::uint16_t>(offset), 0, 0, Direction::in};
}
constexpr DescriptorField descriptor_out(std::size_t offset) {
    return {static_cast<std::uint16_t>(offset), 0, 0, Direction::out};
}
constexpr DescriptorField kPrimeIn[] = {descriptor_in(offsetof(drm_prime_handle, fd))};

// ---- Syncobjs

constexpr Field kSyncobjCreateFields[] = {
    FIELD_OUT(drm_syncobj_create, handle, handle),
    FIELD(drm_syncobj_create, flags, flags),
};
constexpr StructLayout kSyncobjCreate = LAYOUT(drm_syncobj_create, kSyncobjCreateFields, kNone);

constexpr Field kSyncobjDestroyFields[] = {
    FIELD(drm_syncobj_destroy, handle, handle),
    FIELD(drm_syncobj_destroy, pad, padding),
};
constexpr StructLayout kSyncobjDestroy = LAYOUT(drm_syncobj_destroy, kSyncobjDestroyFields, kNone);

constexpr Field kSyncobjWaitFields[] = {
    FIELD(drm_syncobj_wait, handles, pointer),           FIELD(drm_syncobj_wait, timeout_nsec, signed_number),
    FIELD(drm_syncobj_wait, count_handles, count),       FIELD(drm_syncobj_wait, flags, flags),
    FIELD_OUT(drm_syncobj_wait, first_signaled, number), FIELD(drm_syncobj_wait, pad, padding),
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
    FIELD_OUT(drm_syncobj_timeline_wait, first_signaled, number),
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

constexpr Field kSyncobjHandleFields[] = {
    FIELD(drm_syncobj_handle, handle, handle), FIELD(drm_syncobj_handle, flags, flags),
    FIELD(drm_syncobj_handle, fd, descriptor), FIELD(drm_syncobj_handle, pad, padding),
    FIELD(drm_syncobj_handle, point, number),
};
constexpr StructLayout kSyncobjHandle = LAYOUT(drm_syncobj_handle, kSyncobjHandleFields, kNone);
constexpr DescriptorField kSyncobjHandleOut[] = {descriptor_out(offsetof(drm_syncobj_handle, fd))};
constexpr DescriptorField kSyncobjHandleIn[] = {descriptor_in(offsetof(drm_syncobj_handle, fd))};

constexpr Field kSyncobjTransferFields[] = {
    FIELD(drm_syncobj_transfer, src_handle, handle), FIELD(drm_syncobj_transfer, dst_handle, handle),
    FIELD(drm_syncobj_transfer, src_point, number),  FIELD(drm_syncobj_transfer, dst_point, number),
    FIELD(drm_syncobj_transfer, flags, flags),       FIELD(drm_syncobj_transfer, pad, padding),
};
constexpr StructLayout kSyncobjTransfer = LAYOUT(drm_syncobj_transfer, kSyncobjTransferFields, kNone);

constexpr Field kSyncobjEventfdFields[] = {
    FIELD(drm_syncobj_eventfd, handle, handle), FIELD(drm_syncobj_eventfd, flags, flags),
    FIELD(drm_syncobj_eventfd, point, number),  FIELD(drm_syncobj_eventfd, fd, descriptor),
    FIELD(drm_syncobj_eventfd, pad, padding),
};
constexpr StructLayout kSyncobjEventfd = LAYOUT(drm_syncobj_eventfd, kSyncobjEventfdFields, kNone);
constexpr DescriptorField kSyncobjEventfdIn[] = {descriptor_in(offsetof(drm_syncobj_eventfd, fd))};

// ---- Sync files, dma-bufs, sw_sync

constexpr Field kSyncMergeFields[] = {
    FIELD(sync_merge_data, name, text),        FIELD(sync_merge_data, fd2, descriptor),
    FIELD(sync_merge_data, fence, descriptor), FIELD(sync_merge_data, flags, flags),
    FIELD(sync_merge_data, pad, padding),
};
constexpr StructLayout kSyncMerge = LAYOUT(sync_merge_data, kSyncMergeFields, kNone);
constexpr DescriptorField kSyncMergeDescriptors[] = {descriptor_in(offsetof(sync_merge_data, fd2)),
                                                     descriptor_out(offsetof(sync_merge_data, fence))};

constexpr Field kSyncFenceInfoFields[] = {
    FIELD_OUT(sync_fence_info, obj_name, text),        FIELD_OUT(sync_fence_info, driver_name, text),
    FIELD_OUT(sync_fence_info, status, signed_number), FIELD_OUT(sync_fence_info, flags, flags),
    FIELD_OUT(sync_fence_info, timestamp_ns, number),
};
constexpr StructLayout kSyncFenceInfo = LAYOUT(sync_fence_info, kSyncFenceInfoFields, kNone);

constexpr Field kSyncFileInfoFields[] = {
    FIELD_OUT(sync_file_info, name, text), FIELD_OUT(sync_file_info, status, signed_number),
    FIELD(sync_file_info, flags, flags),   FIELD(sync_file_info, num_fences, count),
    FIELD(sync_file_info, pad, padding),   FIELD(sync_file_info, sync_fence_info, pointer),
};
// More room than any file's fences need is not carried, and not touched.
constexpr Attachment kSyncFileInfoFences[] = {[] {
    Attachment fences = pointed_to(AttachmentKind::array, Direction::out,
                                   POINTER(sync_file_info, sync_fence_info, num_fences), 4, false,
                                   sizeof(struct sync_fence_info), number);
    fences.element = &kSyncFenceInfo;
    fences.count_max = 16384;
    return fences;
}()};
constexpr StructLayout kSyncFileInfo = LAYOUT(sync_file_info, kSyncFileInfoFields, kSyncFileInfoFences);

constexpr Field kSetDeadlineFields[] = {
    FIELD(sync_set_deadline, deadline_ns, number),
    FIELD(sync_set_deadline, pad, padding),
};
constexpr StructLayout kSetDeadline = LAYOUT(sync_set_deadline, kSetDeadlineFields, kNone);

constexpr Field kDmaBufSyncFields[] = {FIELD(dma_buf_sync, flags, flags)};
constexpr StructLayout kDmaBufSync = LAYOUT(dma_buf_sync, kDmaBufSyncFields, kNone);

constexpr Field kDmaBufSetNameFields[] = {FIELD(dma_buf_set_name, name, pointer)};
constexpr Attachment kDmaBufSetNameString[] = {
    c_string_in("name", offsetof(dma_buf_set_name, name), false, 32)};
constexpr StructLayout kDmaBufSetName = LAYOUT(dma_buf_set_name, kDmaBufSetNameFields, kDmaBufSetNameString);

constexpr Field kDmaBufSyncFileFields[] = {
    FIELD(dma_buf_sync_file, flags, flags),
    FIELD(dma_buf_sync_file, fd, descriptor),
};
constexpr StructLayout kDmaBufSyncFile = LAYOUT(dma_buf_sync_file, kDmaBufSyncFileFields, kNone);
constexpr DescriptorField kDmaBufSyncFileOut[] = {descriptor_out(offsetof(dma_buf_sync_file, fd))};
constexpr DescriptorField kDmaBufSyncFileIn[] = {descriptor_in(offsetof(dma_buf_sync_file, fd))};

constexpr Field kCreateFenceFields[] = {
    FIELD(sw_sync_create_fence_data, value, number),
    FIELD(sw_sync_create_fence_data, name, text),
    FIELD(sw_sync_create_fence_data, fence, descriptor),
};
constexpr StructLayout kCreateFence = LAYOUT(sw_sync_create_fence_data, kCreateFenceFields, kNone);
constexpr DescriptorField kCreateFenceOut[] = {descriptor_out(offsetof(sw_sync_create_fence_data, fence))};

constexpr Field kSwSyncIncFields[] = {FIELD(sw_sync_inc, value, number)};
constexpr StructLayout kSwSyncInc = LAYOUT(sw_sync_inc, kSwSyncIncFields, kNone);

constexpr Field kGetDeadlineFields[] = {
    FIELD(sw_sync_get_deadline, deadline_ns, number),
    FIELD(sw_sync_get_deadline, pad, padding),
    FIELD(sw_sync_get_deadline, fence_fd, descriptor),
};
constexpr StructLayout kGetDeadline = LAYOUT(sw_sync_get_deadline, kGetDeadlineFields, kNone);
constexpr DescriptorField kGetDeadlineIn[] = {descriptor_in(offsetof(sw_sync_get_deadline, fence_fd))};

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
    FIELD_OUT(drm_panthor_vm_create, id, handle),
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
    FIELD_OUT(drm_panthor_bo_create, handle, handle),
    FIELD(drm_panthor_bo_create, pad, padding),
};
constexpr StructLayout kBoCreate = LAYOUT(drm_panthor_bo_create, kBoCreateFields, kNone);

constexpr Field kBoMmapOffsetFields[] = {
    FIELD(drm_panthor_bo_mmap_offset, handle, handle),
    FIELD(drm_panthor_bo_mmap_offset, pad, padding),
    FIELD_OUT(drm_panthor_bo_mmap_offset, offset, hex),
};
constexpr StructLayout kBoMmapOffset = LAYOUT(drm_panthor_bo_mmap_offset, kBoMmapOffsetFields, kNone);

constexpr Field kQueueCreateFields[] = {
    FIELD(drm_panthor_queue_create, priority, number),
    FIELD(drm_panthor_queue_create, pad, padding),
    FIELD(drm_panthor_queue_create, ringbuf_size, hex),
    FIELD_OUT(drm_panthor_queue_create, ringbuf_offset, hex),
    FIELD_OUT(drm_panthor_queue_create, user_io_offset, hex),
    FIELD_OUT(drm_panthor_queue_create, doorbell_offset, hex),
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
    FIELD_OUT(drm_panthor_group_create, group_handle, handle),
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
    FIELD_OUT(drm_panthor_group_get_state, state, flags),
    FIELD_OUT(drm_panthor_group_get_state, fatal_queues, hex),
    FIELD(drm_panthor_group_get_state, pad, padding),
};
constexpr StructLayout kGroupGetState = LAYOUT(drm_panthor_group_get_state, kGroupGetStateFields, kNone);

constexpr Field kVmGetStateFields[] = {
    FIELD(drm_panthor_vm_get_state, vm_id, handle),
    FIELD_OUT(drm_panthor_vm_get_state, state, number),
};
constexpr StructLayout kVmGetState = LAYOUT(drm_panthor_vm_get_state, kVmGetStateFields, kNone);

constexpr Field kHeapCreateFields[] = {
    FIELD(drm_panthor_tiler_heap_create, vm_id, handle),
    FIELD(drm_panthor_tiler_heap_create, initial_chunk_count, number),
    FIELD(drm_panthor_tiler_heap_create, chunk_size, hex),
    FIELD(drm_panthor_tiler_heap_create, max_chunks, number),
    FIELD(drm_panthor_tiler_heap_create, target_in_flight, number),
    FIELD_OUT(drm_panthor_tiler_heap_create, handle, handle),
    FIELD_OUT(drm_panthor_tiler_heap_create, tiler_heap_ctx_gpu_va, hex),
    FIELD_OUT(drm_panthor_tiler_heap_create, first_heap_chunk_gpu_va, hex),
};
constexpr StructLayout kHeapCreate = LAYOUT(drm_panthor_tiler_heap_create, kHeapCreateFields, kNone);

constexpr Field kHeapDestroyFields[] = {
    FIELD(drm_panthor_tiler_heap_destroy, handle, handle),
    FIELD(drm_panthor_tiler_heap_destroy, pad, padding),
};
constexpr StructLayout kHeapDestroy = LAYOUT(drm_panthor_tiler_heap_destroy, kHeapDestroyFields, kNone);

constexpr Field kBoSetLabelFields[] = {
    FIELD(drm_panthor_bo_set_label, handle, handle),
    FIELD(drm_panthor_bo_set_label, pad, padding),
    FIELD(drm_panthor_bo_set_label, label, pointer),
};
constexpr Attachment kBoSetLabelString[] = {
    c_string_in("label", offsetof(drm_panthor_bo_set_label, label), true, 4096)};
constexpr StructLayout kBoSetLabel = LAYOUT(drm_panthor_bo_set_label, kBoSetLabelFields, kBoSetLabelString);

constexpr Field kSetUserMmioOffsetFields[] = {FIELD(drm_panthor_set_user_mmio_offset, offset, hex)};
constexpr StructLayout kSetUserMmioOffset =
    LAYOUT(drm_panthor_set_user_mmio_offset, kSetUserMmioOffsetFields, kNone);

constexpr Field kGroupKickFields[] = {
    FIELD(drm_panthor_group_kick, handle, handle),
    FIELD(drm_panthor_group_kick, queue_mask, hex),
};
constexpr StructLayout kGroupKick = LAYOUT(drm_panthor_group_kick, kGroupKickFields, kNone);

constexpr Field kRingCreateFields[] = {
    FIELD(belfry_submit_ring_create, sq_entries, number),
    FIELD(belfry_submit_ring_create, cq_entries, number),
    FIELD(belfry_submit_ring_create, arena_bytes, hex),
    FIELD(belfry_submit_ring_create, flags, flags),
    FIELD(belfry_submit_ring_create, eventfd_completions, descriptor),
    FIELD_OUT(belfry_submit_ring_create, handle, handle),
    FIELD_OUT(belfry_submit_ring_create, mmap_offset, hex),
    FIELD_OUT(belfry_submit_ring_create, mmap_bytes, hex),
    FIELD_OUT(belfry_submit_ring_create, entries_offset, hex),
    FIELD_OUT(belfry_submit_ring_create, arena_offset, hex),
    FIELD_OUT(belfry_submit_ring_create, consumer_offset, hex),
    FIELD_OUT(belfry_submit_ring_create, completions_offset, hex),
};
constexpr StructLayout kRingCreate = LAYOUT(belfry_submit_ring_create, kRingCreateFields, kNone);
constexpr DescriptorField kRingCreateDescriptors[] = {
    descriptor_in(offsetof(belfry_submit_ring_create, eventfd_completions))};

constexpr Field kRingDestroyFields[] = {
    FIELD(belfry_submit_ring_destroy, handle, handle),
    FIELD(belfry_submit_ring_destroy, pad, padding),
};
constexpr StructLayout kRingDestroy = LAYOUT(belfry_submit_ring_destroy, kRingDestroyFields, kNone);

constexpr Field kRingEnterFields[] = {
    FIELD(belfry_submit_ring_enter, handle, handle),
    FIELD(belfry_submit_ring_enter, pad, padding),
};
constexpr StructLayout kRingEnter = LAYOUT(belfry_submit_ring_enter, kRingEnterFields, kNone);

constexpr Field kXgsQueueCreateFields[] = {
    FIELD(drm_panthor_xgs_queue_create, vm_id, handle),
    FIELD(drm_panthor_xgs_queue_create, eventfd_sync_update, descriptor),
    FIELD_OUT(drm_panthor_xgs_queue_create, handle, handle),
    FIELD(drm_panthor_xgs_queue_create, pad, padding),
};
constexpr StructLayout kXgsQueueCreate = LAYOUT(drm_panthor_xgs_queue_create, kXgsQueueCreateFields, kNone);
constexpr DescriptorField kXgsQueueCreateDescriptors[] = {
    descriptor_in(offsetof(drm_panthor_xgs_queue_create, eventfd_sync_update))};

constexpr Field kXgsQueueDestroyFields[] = {
    FIELD(drm_panthor_xgs_queue_destroy, handle, handle),
    FIELD(drm_panthor_xgs_queue_destroy, pad, padding),
};
constexpr StructLayout kXgsQueueDestroy =
    LAYOUT(drm_panthor_xgs_queue_destroy, kXgsQueueDestroyFields, kNone);

constexpr Field kXgsOpFields[] = {
    FIELD(drm_panthor_xgs_op, addr, hex),    FIELD(drm_panthor_xgs_op, value, number),
    FIELD(drm_panthor_xgs_op, op, number),   FIELD(drm_panthor_xgs_op, format, number),
    FIELD(drm_panthor_xgs_op, flags, flags), FIELD(drm_panthor_xgs_op, pad, padding),
};
constexpr StructLayout kXgsOp = LAYOUT(drm_panthor_xgs_op, kXgsOpFields, kNone);

constexpr Field kXgsQueueSubmitFields[] = {
    FIELD(drm_panthor_xgs_queue_submit, handle, handle),
    FIELD(drm_panthor_xgs_queue_submit, flags, flags),
    FIELD(drm_panthor_xgs_queue_submit, ops, obj_array),
    FIELD(drm_panthor_xgs_queue_submit, syncs, obj_array),
};
constexpr Attachment kXgsQueueSubmitArrays[] = {
    objects("ops", Direction::in, offsetof(drm_panthor_xgs_queue_submit, ops), kXgsOp, 24),
    objects("syncs", Direction::in, offsetof(drm_panthor_xgs_queue_submit, syncs), kSyncOp, 16)};
constexpr StructLayout kXgsQueueSubmit =
    LAYOUT(drm_panthor_xgs_queue_submit, kXgsQueueSubmitFields, kXgsQueueSubmitArrays);

constexpr Field kSyncUpdateFields[] = {FIELD(drm_panthor_sync_update, pad, padding)};
constexpr StructLayout kSyncUpdate = LAYOUT(drm_panthor_sync_update, kSyncUpdateFields, kNone);

constexpr Field kGroupGetFaultFields[] = {
    FIELD(belfry_group_get_fault, group_handle, handle),
    FIELD_OUT(belfry_group_get_fault, flags, flags),
    FIELD_OUT(belfry_group_get_fault, queue, number),
    FIELD_OUT(belfry_group_get_fault, exception, hex),
    FIELD_OUT(belfry_group_get_fault, access, number),
    FIELD(belfry_group_get_fault, pad, padding),
    FIELD_OUT(belfry_group_get_fault, address, hex),
    FIELD_OUT(belfry_group_get_fault, cmd_ptr, hex),
    FIELD_OUT(belfry_group_get_fault, instruction, hex),
    FIELD_OUT(belfry_group_get_fault, info, hex),
    FIELD_OUT(belfry_group_get_fault, shader_pc, hex),
    FIELD_OUT(belfry_group_get_fault, shader_instruction, hex),
    FIELD_OUT(belfry_group_get_fault, shader_workgroup_x, number),
    FIELD_OUT(belfry_group_get_fault, shader_workgroup_y, number),
    FIELD_OUT(belfry_group_get_fault, shader_workgroup_z, number),
    FIELD_OUT(belfry_group_get_fault, shader_thread, number),
};
constexpr StructLayout kGroupGetFault = LAYOUT(belfry_group_get_fault, kGroupGetFaultFields, kNone);

constexpr Field kDeviceInfoFields[] = {
    FIELD_OUT(belfry_device_info, groups, number),
    FIELD_OUT(belfry_device_info, groups_on_slot, number),
    FIELD_OUT(belfry_device_info, groups_waiting, number),
    FIELD_OUT(belfry_device_info, files, number),
    FIELD_OUT(belfry_device_info, buffers, number),
    FIELD_OUT(belfry_device_info, vms, number),
    FIELD_OUT(belfry_device_info, buffer_bytes, number),
    FIELD_OUT(belfry_device_info, requests, number),
    FIELD_OUT(belfry_device_info, busy_ns, number),
    FIELD_OUT(belfry_device_info, suspends, number),
    FIELD_OUT(belfry_device_info, suspend_ns, number),
    FIELD_OUT(belfry_device_info, memory_budget, number),
    FIELD_OUT(belfry_device_info, resident_bytes, number),
    FIELD_OUT(belfry_device_info, evicted_bytes, number),
    FIELD_OUT(belfry_device_info, evictions, number),
    FIELD_OUT(belfry_device_info, evict_ns, number),
    FIELD_OUT(belfry_device_info, restores, number),
    FIELD_OUT(belfry_device_info, restore_ns, number),
    FIELD_OUT(belfry_device_info, missed_reports, number),
};
constexpr StructLayout kDeviceInfo = LAYOUT(belfry_device_info, kDeviceInfoFields, kNone);

// ---- All of them

#define ROW(request, name, layout, ...) \
    Ioctl { name, &(layout), {__VA_ARGS__}, static_cast<std::uint32_t>(request) }
/// A request to what a sync file's or dma-buf's descriptor stands for.
#define TARGET_ROW(request, name, layout, ...) \
    Ioctl { name, &(layout), {__VA_ARGS__}, static_cast<std::uint32_t>(request), true }
/// The argument is a pointer to a C string.
#define STRING_ROW(request, name, layout) \
    Ioctl { name, &(layout), {}, static_cast<std::uint32_t>(request), true, true }
#define MODESETTING_ROW(nr, name) \
    ROW(_IOC(_IOC_READ | _IOC_WRITE, BELFRY_DRM_IOCTL_BASE, (nr), kModesettingBytes), name, kModesetting)

constexpr Ioctl kIoctls[] = {
    TARGET_ROW(SYNC_IOC_MERGE, "SYNC_MERGE", kSyncMerge, kSyncMergeDescriptors),
    TARGET_ROW(SYNC_IOC_FILE_INFO, "SYNC_FILE_INFO", kSyncFileInfo),
    TARGET_ROW(SYNC_IOC_SET_DEADLINE, "SYNC_SET_DEADLINE", kSetDeadline),

    ROW(SW_SYNC_IOC_CREATE_FENCE, "SW_SYNC_CREATE_FENCE", kCreateFence, kCreateFenceOut),
    ROW(SW_SYNC_IOC_INC, "SW_SYNC_INC", kSwSyncInc),
    ROW(SW_SYNC_GET_DEADLINE, "SW_SYNC_GET_DEADLINE", kGetDeadline, kGetDeadlineIn),

    TARGET_ROW(DMA_BUF_IOCTL_SYNC, "DMA_BUF_SYNC", kDmaBufSync),
    STRING_ROW(DMA_BUF_SET_NAME_A, "DMA_BUF_SET_NAME_A", kDmaBufSetName),
    STRING_ROW(DMA_BUF_SET_NAME_B, "DMA_BUF_SET_NAME_B", kDmaBufSetName),
    TARGET_ROW(DMA_BUF_IOCTL_EXPORT_SYNC_FILE, "DMA_BUF_EXPORT_SYNC_FILE", kDmaBufSyncFile,
               kDmaBufSyncFileOut),
    TARGET_ROW(DMA_BUF_IOCTL_IMPORT_SYNC_FILE, "DMA_BUF_IMPORT_SYNC_FILE", kDmaBufSyncFile,
               kDmaBufSyncFileIn),

    ROW(DRM_IOCTL_VERSION, "VERSION", kVersion),
    ROW(DRM_IOCTL_GET_UNIQUE, "GET_UNIQUE", kUnique),
    ROW(DRM_IOCTL_GET_MAGIC, "GET_MAGIC", kAuth),
    ROW(DRM_IOCTL_GET_CLIENT, "GET_CLIENT", kClient),
    ROW(DRM_IOCTL_GET_STATS, "GET_STATS", kStats),
    ROW(DRM_IOCTL_SET_VERSION, "SET_VERSION", kSetVersion),
    ROW(DRM_IOCTL_GEM_CLOSE, "GEM_CLOSE", kGemClose),
    ROW(DRM_IOCTL_GEM_FLINK, "GEM_FLINK", kGemFlink),
    ROW(DRM_IOCTL_GEM_OPEN, "GEM_OPEN", kGemOpen),
    ROW(DRM_IOCTL_GET_CAP, "GET_CAP", kGetCap),
    ROW(DRM_IOCTL_SET_CLIENT_CAP, "SET_CLIENT_CAP", kSetClientCap),
    ROW(DRM_IOCTL_AUTH_MAGIC, "AUTH_MAGIC", kAuth),
    ROW(DRM_IOCTL_SET_MASTER, "SET_MASTER", kNothing),
    ROW(DRM_IOCTL_DROP_MASTER, "DROP_MASTER", kNothing),
    ROW(DRM_IOCTL_PRIME_HANDLE_TO_FD, "PRIME_HANDLE_TO_FD", kPrime, kPrimeOut),
    ROW(DRM_IOCTL_PRIME_FD_TO_HANDLE, "PRIME_FD_TO_HANDLE", kPrime, kPrimeIn),
    MODESETTING_ROW(0x3a, "WAIT_VBLANK"),
    MODESETTING_ROW(0x3b, "CRTC_GET_SEQUENCE"),
    MODESETTING_ROW(0x3c, "CRTC_QUEUE_SEQUENCE"),
    ROW(DRM_IOCTL_PANTHOR_DEV_QUERY, "PANTHOR_DEV_QUERY", kDevQuery),
    ROW(DRM_IOCTL_PANTHOR_VM_CREATE, "PANTHOR_VM_CREATE", kVmCreate),
    ROW(DRM_IOCTL_PANTHOR_VM_DESTROY, "PANTHOR_VM_DESTROY", kVmDestroy),
    ROW(DRM_IOCTL_PANTHOR_VM_BIND, "PANTHOR_VM_BIND", kVmBind),
    ROW(DRM_IOCTL_PANTHOR_VM_GET_STATE, "PANTHOR_VM_GET_STATE", kVmGetState),
    ROW(DRM_IOCTL_PANTHOR_BO_CREATE, "PANTHOR_BO_CREATE", kBoCreate),
    ROW(DRM_IOCTL_PANTHOR_BO_MMAP_OFFSET, "PANTHOR_BO_MMAP_OFFSET", kBoMmapOffset),
    ROW(DRM_IOCTL_PANTHOR_GROUP_CREATE, "PANTHOR_GROUP_CREATE", kGroupCreate, kGroupCreateDescriptors),
    ROW(DRM_IOCTL_PANTHOR_GROUP_DESTROY, "PANTHOR_GROUP_DESTROY", kGroupDestroy),
    ROW(DRM_IOCTL_PANTHOR_GROUP_SUBMIT, "PANTHOR_GROUP_SUBMIT", kGroupSubmit),
    ROW(DRM_IOCTL_PANTHOR_GROUP_GET_STATE, "PANTHOR_GROUP_GET_STATE", kGroupGetState),
    ROW(DRM_IOCTL_PANTHOR_TILER_HEAP_CREATE, "PANTHOR_TILER_HEAP_CREATE", kHeapCreate),
    ROW(DRM_IOCTL_PANTHOR_TILER_HEAP_DESTROY, "PANTHOR_TILER_HEAP_DESTROY", kHeapDestroy),
    ROW(DRM_IOCTL_PANTHOR_BO_SET_LABEL, "PANTHOR_BO_SET_LABEL", kBoSetLabel),
    ROW(DRM_IOCTL_PANTHOR_SET_USER_MMIO_OFFSET, "PANTHOR_SET_USER_MMIO_OFFSET", kSetUserMmioOffset),
    ROW(DRM_IOCTL_PANTHOR_GROUP_KICK, "PANTHOR_GROUP_KICK", kGroupKick),
    ROW(DRM_IOCTL_PANTHOR_XGS_QUEUE_CREATE, "PANTHOR_XGS_QUEUE_CREATE", kXgsQueueCreate,
        kXgsQueueCreateDescriptors),
    ROW(DRM_IOCTL_PANTHOR_XGS_QUEUE_DESTROY, "PANTHOR_XGS_QUEUE_DESTROY", kXgsQueueDestroy),
    ROW(DRM_IOCTL_PANTHOR_XGS_QUEUE_SUBMIT, "PANTHOR_XGS_QUEUE_SUBMIT", kXgsQueueSubmit),
    ROW(DRM_IOCTL_PANTHOR_SYNC_UPDATE, "PANTHOR_SYNC_UPDATE", kSyncUpdate),
    ROW(DRM_IOCTL_BELFRY_GROUP_GET_FAULT, "BELFRY_GROUP_GET_FAULT", kGroupGetFault),
    ROW(DRM_IOCTL_BELFRY_DEVICE_INFO, "BELFRY_DEVICE_INFO", kDeviceInfo),
    MODESETTING_ROW(0xa0, "MODE_GETRESOURCES"),
    MODESETTING_ROW(0xa1, "MODE_GETCRTC"),
    MODESETTING_ROW(0xa2, "MODE_SETCRTC"),
    MODESETTING_ROW(0xa3, "MODE_CURSOR"),
    MODESETTING_ROW(0xa4, "MODE_GETGAMMA"),
    MODESETTING_ROW(0xa5, "MODE_SETGAMMA"),
    MODESETTING_ROW(0xa6, "MODE_GETENCODER"),
    MODESETTING_ROW(0xa7, "MODE_GETCONNECTOR"),
    MODESETTING_ROW(0xa8, "MODE_ATTACHMODE"),
    MODESETTING_ROW(0xa9, "MODE_DETACHMODE"),
    MODESETTING_ROW(0xaa, "MODE_GETPROPERTY"),
    MODESETTING_ROW(0xab, "MODE_SETPROPERTY"),
    MODESETTING_ROW(0xac, "MODE_GETPROPBLOB"),
    MODESETTING_ROW(0xad, "MODE_GETFB"),
    MODESETTING_ROW(0xae, "MODE_ADDFB"),
    MODESETTING_ROW(0xaf, "MODE_RMFB"),
    MODESETTING_ROW(0xb0, "MODE_PAGE_FLIP"),
    MODESETTING_ROW(0xb1, "MODE_DIRTYFB"),
    MODESETTING_ROW(0xb2, "MODE_CREATE_DUMB"),
    MODESETTING_ROW(0xb3, "MODE_MAP_DUMB"),
    MODESETTING_ROW(0xb4, "MODE_DESTROY_DUMB"),
    MODESETTING_ROW(0xb5, "MODE_GETPLANERESOURCES"),
    MODESETTING_ROW(0xb6, "MODE_GETPLANE"),
    MODESETTING_ROW(0xb7, "MODE_SETPLANE"),
    MODESETTING_ROW(0xb8, "MODE_ADDFB2"),
    MODESETTING_ROW(0xb9, "MODE_OBJ_GETPROPERTIES"),
    MODESETTING_ROW(0xba, "MODE_OBJ_SETPROPERTY"),
    MODESETTING_ROW(0xbb, "MODE_CURSOR2"),
    MODESETTING_ROW(0xbc, "MODE_ATOMIC"),
    MODESETTING_ROW(0xbd, "MODE_CREATEPROPBLOB"),
    MODESETTING_ROW(0xbe, "MODE_DESTROYPROPBLOB"),
    ROW(DRM_IOCTL_SYNCOBJ_CREATE, "SYNCOBJ_CREATE", kSyncobjCreate),
    ROW(DRM_IOCTL_SYNCOBJ_DESTROY, "SYNCOBJ_DESTROY", kSyncobjDestroy),
    ROW(DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, "SYNCOBJ_HANDLE_TO_FD", kSyncobjHandle, kSyncobjHandleOut),
    ROW(DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, "SYNCOBJ_FD_TO_HANDLE", kSyncobjHandle, kSyncobjHandleIn),
    ROW(DRM_IOCTL_SYNCOBJ_WAIT, "SYNCOBJ_WAIT", kSyncobjWait),
    ROW(DRM_IOCTL_SYNCOBJ_RESET, "SYNCOBJ_RESET", kSyncobjArray),
    ROW(DRM_IOCTL_SYNCOBJ_SIGNAL, "SYNCOBJ_SIGNAL", kSyncobjArray),
    MODESETTING_ROW(0xc6, "MODE_CREATE_LEASE"),
    MODESETTING_ROW(0xc7, "MODE_LIST_LESSEES"),
    MODESETTING_ROW(0xc8, "MODE_GET_LEASE"),
    MODESETTING_ROW(0xc9, "MODE_REVOKE_LEASE"),
    ROW(DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, "SYNCOBJ_TIMELINE_WAIT", kTimelineWait),
    ROW(DRM_IOCTL_SYNCOBJ_QUERY, "SYNCOBJ_QUERY", kTimelineQuery),
    ROW(DRM_IOCTL_SYNCOBJ_TRANSFER, "SYNCOBJ_TRANSFER", kSyncobjTransfer),
    ROW(DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL, "SYNCOBJ_TIMELINE_SIGNAL", kTimelineSignal),
    MODESETTING_ROW(0xce, "MODE_GETFB2"),
    ROW(DRM_IOCTL_SYNCOBJ_EVENTFD, "SYNCOBJ_EVENTFD", kSyncobjEventfd, kSyncobjEventfdIn),
    MODESETTING_ROW(0xd0, "MODE_CLOSEFB"),
    ROW(DRM_IOCTL_SET_CLIENT_NAME, "SET_CLIENT_NAME", kSetClientName),
    ROW(DRM_IOCTL_GEM_CHANGE_HANDLE, "GEM_CHANGE_HANDLE", kGemChangeHandle),
    ROW(DRM_IOCTL_BELFRY_SUBMIT_RING_CREATE, "BELFRY_SUBMIT_RING_CREATE", kRingCreate,
        kRingCreateDescriptors),
    ROW(DRM_IOCTL_BELFRY_SUBMIT_RING_DESTROY, "BELFRY_SUBMIT_RING_DESTROY", kRingDestroy),
    ROW(DRM_IOCTL_BELFRY_SUBMIT_RING_ENTER, "BELFRY_SUBMIT_RING_ENTER", kRingEnter),
};

/// Type and number of a request: all but its size and direction bits.
constexpr std::uint32_t code_of(std::uint32_t request) { return request & 0xffff; }
constexpr std::uint32_t code_of_row(const Ioctl& ioctl) { return code_of(ioctl.request); }
static_assert(std::ranges::is_sorted(kIoctls, {}, code_of_row), "find_ioctl() searches by halves");

template <typename T>
T read_field(std::span<const std::byte> object, std::size_t offset) {
    T value{};
    std::memcpy(&value, object.data() + offset, sizeof value);
    return value;
}

}  // namespace

std::span<const Ioctl> ioctls() { return kIoctls; }

base::Result<const Ioctl*> find_ioctl(std::uint32_t request) {
    const auto rows = std::ranges::equal_range(kIoctls, code_of(request), {}, code_of_row);
    if (_IOC_TYPE(request) == BELFRY_DRM_IOCTL_BASE) {
        if (rows.empty()) return std::unexpected(base::Errno::invalid);
        return rows.data();
    }
    // All but DRM files compare the whole request.
    const auto* const row = std::ranges::find(rows, request, &Ioctl::request);
    if (row == rows.end()) return std::unexpected(base::Errno::not_a_tty);
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
    switch (attachment.count_width) {
        case 8:  extent.count = read_field<std::uint64_t>(object, attachment.count_offset); break;
        case 4:  extent.count = read_field<std::uint32_t>(object, attachment.count_offset); break;
        default: extent.count = attachment.count_max; break;
    }
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
    switch (attachment.kind) {
        case AttachmentKind::string: extent.count = std::min(extent.count, kOutRoomMax); break;
        case AttachmentKind::object:
            extent.tail = extent.count - std::min(extent.count, kOutRoomMax);
            extent.count -= extent.tail;
            break;
        case AttachmentKind::text:
            if (extent.count > attachment.count_max) return extent;  // refused before it is looked at
            break;
        case AttachmentKind::array:
            if (goes_out(attachment.direction)) extent.count = std::min(extent.count, attachment.count_max);
            break;
        case AttachmentKind::obj_array:
        case AttachmentKind::c_string:  break;
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

bool descriptor_meant(const DescriptorField& field, std::span<const std::byte> object) {
    return field.direction == Direction::in &&
           (field.flag == 0 || (read_field<std::uint32_t>(object, field.flags_offset) & field.flag) != 0);
}

}  // namespace belfry::uapi
