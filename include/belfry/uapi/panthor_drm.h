/* panthor's uAPI of Linux 6.18, as far as Belfry answers it, with user submission added.
 *
 * Struct names, layouts and request numbers 0x40 ... 0x4e are the kernel's. User submission follows the
 * series of August 2024 (never merged); its requests are renumbered from driver command 0x30 on, because
 * upstream took the series' numbers for something else. What no kernel has is marked "Belfry".
 */
#ifndef BELFRY_UAPI_PANTHOR_DRM_H
#define BELFRY_UAPI_PANTHOR_DRM_H

#include "belfry/uapi/drm.h"

#ifdef __cplusplus
namespace belfry::uapi {
#endif

/* Offsets for mmap() on the DRM file */
#define DRM_PANTHOR_USER_MMIO_OFFSET (1ull << 56)
#define DRM_PANTHOR_USER_FLUSH_ID_MMIO_OFFSET DRM_PANTHOR_USER_MMIO_OFFSET

struct drm_panthor_obj_array {
    uint32_t stride;
    uint32_t count;
    uint64_t array; /* user pointer; not looked at if count is 0 */
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_obj_array, 16);

enum drm_panthor_sync_op_flags {
    DRM_PANTHOR_SYNC_OP_HANDLE_TYPE_MASK = 0xff,
    DRM_PANTHOR_SYNC_OP_HANDLE_TYPE_SYNCOBJ = 0,
    DRM_PANTHOR_SYNC_OP_HANDLE_TYPE_TIMELINE_SYNCOBJ = 1,
    DRM_PANTHOR_SYNC_OP_WAIT = 0,
    DRM_PANTHOR_SYNC_OP_SIGNAL = -0x7fffffff - 1, /* bit 31 */
};

struct drm_panthor_sync_op {
    uint32_t flags;
    uint32_t handle;
    uint64_t timeline_value;
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_sync_op, 16);

enum drm_panthor_dev_query_type {
    DRM_PANTHOR_DEV_QUERY_GPU_INFO = 0,
    DRM_PANTHOR_DEV_QUERY_CSIF_INFO = 1,
    DRM_PANTHOR_DEV_QUERY_TIMESTAMP_INFO = 2,
    DRM_PANTHOR_DEV_QUERY_GROUP_PRIORITIES_INFO = 3,
};

struct drm_panthor_gpu_info {
    uint32_t gpu_id;
    uint32_t gpu_rev;
    uint32_t csf_id;
    uint32_t l2_features;
    uint32_t tiler_features;
    uint32_t mem_features;
    uint32_t mmu_features;
    uint32_t thread_features;
    uint32_t max_threads;
    uint32_t thread_max_workgroup_size;
    uint32_t thread_max_barrier_size;
    uint32_t coherency_features;
    uint32_t texture_features[4];
    uint32_t as_present;
    uint32_t pad0;
    uint64_t shader_present;
    uint64_t l2_present;
    uint64_t tiler_present;
    uint32_t core_features;
    uint32_t pad;
    uint64_t gpu_features;
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_gpu_info, 112);

struct drm_panthor_csif_info {
    uint32_t csg_slot_count;
    uint32_t cs_slot_count;
    uint32_t cs_reg_count;
    uint32_t scoreboard_slot_count;
    uint32_t unpreserved_cs_reg_count; /* the last ones; overwritten by each kernel-mode job */
    uint32_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_csif_info, 24);

struct drm_panthor_timestamp_info {
    uint64_t timestamp_frequency; /* Hz */
    uint64_t current_timestamp;
    uint64_t timestamp_offset;
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_timestamp_info, 24);

struct drm_panthor_group_priorities_info {
    uint8_t allowed_mask;
    uint8_t pad[3];
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_group_priorities_info, 4);

struct drm_panthor_dev_query {
    uint32_t type;
    uint32_t size;
    uint64_t pointer; /* 0: only `size` is answered */
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_dev_query, 16);

struct drm_panthor_vm_create {
    uint32_t flags;
    uint32_t id;            /* out */
    uint64_t user_va_range; /* in/out: bytes from 0 on that are the program's; 0 = driver's choice */
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_vm_create, 16);

struct drm_panthor_vm_destroy {
    uint32_t id;
    uint32_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_vm_destroy, 8);

enum drm_panthor_vm_bind_op_flags {
    DRM_PANTHOR_VM_BIND_OP_MAP_READONLY = 1 << 0,
    DRM_PANTHOR_VM_BIND_OP_MAP_NOEXEC = 1 << 1,
    DRM_PANTHOR_VM_BIND_OP_MAP_UNCACHED = 1 << 2,
    DRM_PANTHOR_VM_BIND_OP_TYPE_MASK = -0x10000000, /* bits 31:28 */
    DRM_PANTHOR_VM_BIND_OP_TYPE_MAP = 0 << 28,
    DRM_PANTHOR_VM_BIND_OP_TYPE_UNMAP = 1 << 28,
    DRM_PANTHOR_VM_BIND_OP_TYPE_SYNC_ONLY = 2 << 28,
};

struct drm_panthor_vm_bind_op {
    uint32_t flags;
    uint32_t bo_handle;
    uint64_t bo_offset;
    uint64_t va;
    uint64_t size;
    struct drm_panthor_obj_array syncs;
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_vm_bind_op, 48);

enum drm_panthor_vm_bind_flags { DRM_PANTHOR_VM_BIND_ASYNC = 1 << 0 };

struct drm_panthor_vm_bind {
    uint32_t vm_id;
    uint32_t flags;
    struct drm_panthor_obj_array ops;
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_vm_bind, 24);

enum drm_panthor_bo_flags { DRM_PANTHOR_BO_NO_MMAP = 1 << 0 };

struct drm_panthor_bo_create {
    uint64_t size; /* in/out: rounded up to the page size */
    uint32_t flags;
    uint32_t exclusive_vm_id; /* 0 = bindable in any VM of the file */
    uint32_t handle;          /* out */
    uint32_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_bo_create, 24);

struct drm_panthor_bo_mmap_offset {
    uint32_t handle;
    uint32_t pad;
    uint64_t offset; /* out */
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_bo_mmap_offset, 16);

struct drm_panthor_queue_create {
    uint8_t priority; /* 0 ... 15 */
    uint8_t pad[3];
    uint32_t ringbuf_size; /* bytes; power of two, 4 KiB ... 64 KiB */
    /* User submission: offsets for mmap(), out, 0 on input. 0 for groups without USER_SUBMIT. */
    uint64_t ringbuf_offset;
    uint64_t user_io_offset; /* belfry_user_input, then belfry_user_output; see user_queue.h */
    uint64_t doorbell_offset;
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_queue_create, 32);

enum drm_panthor_group_priority {
    PANTHOR_GROUP_PRIORITY_LOW = 0,
    PANTHOR_GROUP_PRIORITY_MEDIUM = 1,
    PANTHOR_GROUP_PRIORITY_HIGH = 2,
    PANTHOR_GROUP_PRIORITY_REALTIME = 3,
};

enum drm_panthor_group_create_flags {
    DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT = 1 << 0,
    /* Belfry: eventfd_doorbell is valid. Needs USER_SUBMIT. */
    DRM_PANTHOR_GROUP_CREATE_DOORBELL_EVENTFD = 1 << 1,
};

struct drm_panthor_group_create {
    struct drm_panthor_obj_array queues; /* drm_panthor_queue_create */
    uint8_t max_compute_cores;
    uint8_t max_fragment_cores;
    uint8_t max_tiler_cores;
    uint8_t priority; /* enum drm_panthor_group_priority */
    uint32_t flags;
    uint64_t compute_core_mask;
    uint64_t fragment_core_mask;
    uint64_t tiler_core_mask;
    uint32_t vm_id;
    uint32_t group_handle;       /* out */
    int32_t eventfd_sync_update; /* -1 = none; read with USER_SUBMIT only, like the next */
    int32_t eventfd_group_state;
    int32_t eventfd_doorbell; /* Belfry: the program writes it after a doorbell to a GPU that sleeps */
    uint32_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_group_create, 72);

struct drm_panthor_group_destroy {
    uint32_t group_handle;
    uint32_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_group_destroy, 8);

struct drm_panthor_queue_submit {
    uint32_t queue_index;
    uint32_t stream_size; /* bytes, multiple of 8; 0 with stream_addr 0 = only syncs */
    uint64_t stream_addr; /* GPU address, multiple of 64 */
    uint32_t latest_flush;
    uint32_t pad;
    struct drm_panthor_obj_array syncs; /* drm_panthor_sync_op */
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_queue_submit, 40);

struct drm_panthor_group_submit {
    uint32_t group_handle;
    uint32_t pad;
    struct drm_panthor_obj_array queue_submits;
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_group_submit, 24);

enum drm_panthor_group_state_flags {
    DRM_PANTHOR_GROUP_STATE_TIMEDOUT = 1 << 0,
    DRM_PANTHOR_GROUP_STATE_FATAL_FAULT = 1 << 1,
    DRM_PANTHOR_GROUP_STATE_INNOCENT = 1 << 2,
};

/* On success all 16 bytes are rewritten; group_handle becomes 0. */
struct drm_panthor_group_get_state {
    uint32_t group_handle;
    uint32_t state;        /* out */
    uint32_t fatal_queues; /* out, bit mask */
    uint32_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_group_get_state, 16);

struct drm_panthor_group_kick {
    uint32_t handle;
    uint32_t queue_mask; /* a hint: every queue of the group is looked at */
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_group_kick, 8);

/* Cross-group-sync (XGS) queues: see docs/submission.md. */
struct drm_panthor_xgs_queue_create {
    uint32_t vm_id;              /* where the addresses of the queue's ops lie */
    int32_t eventfd_sync_update; /* -1 = none; rung when ops of the queue have signalled */
    uint32_t handle;             /* out */
    uint32_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_xgs_queue_create, 16);

struct drm_panthor_xgs_queue_destroy {
    uint32_t handle;
    uint32_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_xgs_queue_destroy, 8);

enum drm_panthor_xgs_op_type {
    DRM_PANTHOR_XGS_OP_WAIT_LE = 0, /* until the object's value <= `value` */
    DRM_PANTHOR_XGS_OP_WAIT_GT = 1, /* until the object's value > `value` */
    DRM_PANTHOR_XGS_OP_SIGNAL_SET = 2,
    DRM_PANTHOR_XGS_OP_SIGNAL_ADD = 3,
};

enum drm_panthor_xgs_op_format {
    DRM_PANTHOR_XGS_OP_FORMAT_U32 = 0, /* belfry_sync_object32 */
    DRM_PANTHOR_XGS_OP_FORMAT_U64 = 1, /* belfry_sync_object64 */
};

enum drm_panthor_xgs_op_flags {
    /* Waits only: the object's error word, once the wait is satisfied, becomes the queue's error state. */
    DRM_PANTHOR_XGS_OP_INHERIT_ERROR_WAIT = 1 << 0,
};

struct drm_panthor_xgs_op {
    uint64_t addr; /* of the sync object: aligned to its value, and mapped when the op runs */
    uint64_t value;
    uint8_t op;     /* enum drm_panthor_xgs_op_type */
    uint8_t format; /* enum drm_panthor_xgs_op_format */
    uint16_t flags; /* enum drm_panthor_xgs_op_flags */
    uint32_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_xgs_op, 24);

enum drm_panthor_xgs_queue_submit_flags {
    DRM_PANTHOR_XGS_QUEUE_SUBMIT_ERROR_BARRIER_PRE = 1 << 0,  /* end the error state before the ops */
    DRM_PANTHOR_XGS_QUEUE_SUBMIT_ERROR_BARRIER_POST = 1 << 1, /* end it after them */
    /* Belfry: the SIGNAL syncs get their fence at once, and it signals within a bound, with ETIMEDOUT if need
       be. Without it they get their fence, signalled, when the ops are done. */
    DRM_PANTHOR_XGS_QUEUE_SUBMIT_BOUNDED = 1 << 2,
};

struct drm_panthor_xgs_queue_submit {
    uint32_t handle;
    uint32_t flags;                     /* enum drm_panthor_xgs_queue_submit_flags */
    struct drm_panthor_obj_array ops;   /* drm_panthor_xgs_op */
    struct drm_panthor_obj_array syncs; /* drm_panthor_sync_op */
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_xgs_queue_submit, 40);

/* "The program has changed sync objects": whoever waits for one on the GPU or in the driver looks again. */
struct drm_panthor_sync_update {
    uint64_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_sync_update, 8);

/* panthor's entries of the submit ring (submit_ring.h): what their payload holds. */
enum belfry_panthor_submit_opcode {
    BELFRY_PANTHOR_SUBMIT_JOB = 0x40,     /* belfry_panthor_submit_job: GROUP_SUBMIT of one job */
    BELFRY_PANTHOR_SUBMIT_VM_BIND = 0x41, /* belfry_panthor_submit_vm_bind: VM_BIND, in the background */
    BELFRY_PANTHOR_SUBMIT_XGS = 0x42,     /* belfry_panthor_submit_xgs: XGS_QUEUE_SUBMIT */
};

/* The fields are those of drm_panthor_group_submit and drm_panthor_queue_submit. */
struct belfry_panthor_submit_job {
    uint32_t group_handle;
    uint32_t queue_index;
    uint64_t stream_addr;
    uint32_t stream_size;
    uint32_t latest_flush;
};
BELFRY_UAPI_ASSERT_SIZE(belfry_panthor_submit_job, 24);

/* Operations behind one that fails are not done. */
struct belfry_panthor_submit_vm_bind {
    uint32_t vm_id;
    uint32_t op_count;   /* 1 ... */
    uint32_t ops_offset; /* drm_panthor_vm_bind_op[op_count] without syncs: bytes from the arena's start */
    uint32_t pad;
    uint64_t pad1;
};
BELFRY_UAPI_ASSERT_SIZE(belfry_panthor_submit_vm_bind, 24);

/* The fields are those of drm_panthor_xgs_queue_submit. */
struct belfry_panthor_submit_xgs {
    uint32_t handle;
    uint32_t flags; /* enum drm_panthor_xgs_queue_submit_flags */
    uint32_t op_count;
    uint32_t ops_offset; /* drm_panthor_xgs_op[op_count]: bytes from the arena's start */
    uint64_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(belfry_panthor_submit_xgs, 24);

enum belfry_fault_flags {
    BELFRY_FAULT_VALID = 1 << 0,  /* 0: nothing has happened to this group */
    BELFRY_FAULT_QUEUE = 1 << 1,  /* `queue`, `cmd_ptr` and `instruction` are known */
    BELFRY_FAULT_MMU = 1 << 2,    /* `address` was accessed as `access` */
    BELFRY_FAULT_SHADER = 1 << 3, /* a shader that `instruction` runs: the fields shader_ are known */
};

/* Belfry: the first cause of a group's end, kept with its place. Later faults do not overwrite it. */
struct belfry_group_get_fault {
    uint32_t group_handle;
    uint32_t flags;     /* out: enum belfry_fault_flags */
    uint32_t queue;     /* out */
    uint32_t exception; /* out: exception type, as in CS_FATAL or AS_FAULTSTATUS */
    uint32_t access;    /* out: 0 atomic, 1 execute, 2 read, 3 write */
    uint32_t pad;
    uint64_t address;     /* out: GPU address of the access */
    uint64_t cmd_ptr;     /* out: GPU address of the instruction */
    uint64_t instruction; /* out: the instruction word that raised it, 0 if none did */
    uint64_t info;        /* out: exception data, by type; see docs/architecture.md, "Faults" */
    uint64_t shader_pc;   /* out: of the shader's instruction; of its descriptor, if it had not begun */
    uint64_t shader_instruction; /* out: the word there, 0 if there is none */
    uint32_t shader_workgroup_x; /* out */
    uint32_t shader_workgroup_y; /* out */
    uint32_t shader_workgroup_z; /* out */
    uint32_t shader_thread;      /* out: index within the workgroup */
};
BELFRY_UAPI_ASSERT_SIZE(belfry_group_get_fault, 88);

/* Belfry: figures about the device that panthor keeps in debugfs or nowhere. */
struct belfry_device_info {
    uint32_t groups;         /* out: groups that live, of all files */
    uint32_t groups_on_slot; /* out */
    uint32_t groups_waiting; /* out: with work, waiting for a free slot */
    uint32_t files;          /* out: open DRM files */
    uint32_t buffers;        /* out: BOs that live, the driver's own included */
    uint32_t vms;            /* out */
    uint64_t buffer_bytes;   /* out */
    uint64_t requests;       /* out: requests answered since the start */
    uint64_t busy_ns;        /* out: time that the driver has spent on requests and events since then */
    uint64_t suspends;       /* out: how often a group was taken off its slot for another since then */
    uint64_t suspend_ns;     /* out: how long that took, from asking the firmware to a free slot, in total */
    uint64_t memory_budget;  /* out: what `belfryd --memory` allows for the memory of BOs; 0: no bound */
    uint64_t resident_bytes; /* out: of BOs that are in memory, those on their way in or out included */
    uint64_t evicted_bytes;  /* out: of BOs that are in the backing file and not in memory */
    uint64_t evictions;      /* out: BOs that went to the backing file, since the start */
    uint64_t evict_ns;       /* out: how long that took, in total */
    uint64_t restores;       /* out: BOs that came back from it */
    uint64_t restore_ns;     /* out */
    uint64_t
        missed_reports; /* out: waits for values that had ended before the driver was told; should be 0 */
};
BELFRY_UAPI_ASSERT_SIZE(belfry_device_info, 128);

enum drm_panthor_vm_state { DRM_PANTHOR_VM_STATE_USABLE = 0, DRM_PANTHOR_VM_STATE_UNUSABLE = 1 };

struct drm_panthor_vm_get_state {
    uint32_t vm_id;
    uint32_t state; /* out */
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_vm_get_state, 8);

struct drm_panthor_tiler_heap_create {
    uint32_t vm_id;
    uint32_t initial_chunk_count;
    uint32_t chunk_size; /* bytes */
    uint32_t max_chunks;
    uint32_t target_in_flight;
    uint32_t handle;                  /* out */
    uint64_t tiler_heap_ctx_gpu_va;   /* out */
    uint64_t first_heap_chunk_gpu_va; /* out */
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_tiler_heap_create, 40);

struct drm_panthor_tiler_heap_destroy {
    uint32_t handle;
    uint32_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_tiler_heap_destroy, 8);

struct drm_panthor_bo_set_label {
    uint32_t handle;
    uint32_t pad;
    uint64_t label; /* user pointer to a C string; null clears */
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_bo_set_label, 16);

struct drm_panthor_set_user_mmio_offset {
    uint64_t offset;
};
BELFRY_UAPI_ASSERT_SIZE(drm_panthor_set_user_mmio_offset, 8);

#define BELFRY_PANTHOR_IOWR(id, type) \
    _IOWR(BELFRY_DRM_IOCTL_BASE, BELFRY_DRM_COMMAND_BASE + (id), BELFRY_UAPI_STRUCT(type))
#define DRM_IOCTL_PANTHOR_DEV_QUERY BELFRY_PANTHOR_IOWR(0, drm_panthor_dev_query)
#define DRM_IOCTL_PANTHOR_VM_CREATE BELFRY_PANTHOR_IOWR(1, drm_panthor_vm_create)
#define DRM_IOCTL_PANTHOR_VM_DESTROY BELFRY_PANTHOR_IOWR(2, drm_panthor_vm_destroy)
#define DRM_IOCTL_PANTHOR_VM_BIND BELFRY_PANTHOR_IOWR(3, drm_panthor_vm_bind)
#define DRM_IOCTL_PANTHOR_VM_GET_STATE BELFRY_PANTHOR_IOWR(4, drm_panthor_vm_get_state)
#define DRM_IOCTL_PANTHOR_BO_CREATE BELFRY_PANTHOR_IOWR(5, drm_panthor_bo_create)
#define DRM_IOCTL_PANTHOR_BO_MMAP_OFFSET BELFRY_PANTHOR_IOWR(6, drm_panthor_bo_mmap_offset)
/* The size field differs from the kernel's (56 bytes); both dispatch, missing fields read as 0. */
#define DRM_IOCTL_PANTHOR_GROUP_CREATE BELFRY_PANTHOR_IOWR(7, drm_panthor_group_create)
#define DRM_IOCTL_PANTHOR_GROUP_DESTROY BELFRY_PANTHOR_IOWR(8, drm_panthor_group_destroy)
#define DRM_IOCTL_PANTHOR_GROUP_SUBMIT BELFRY_PANTHOR_IOWR(9, drm_panthor_group_submit)
#define DRM_IOCTL_PANTHOR_GROUP_GET_STATE BELFRY_PANTHOR_IOWR(10, drm_panthor_group_get_state)
#define DRM_IOCTL_PANTHOR_TILER_HEAP_CREATE BELFRY_PANTHOR_IOWR(11, drm_panthor_tiler_heap_create)
#define DRM_IOCTL_PANTHOR_TILER_HEAP_DESTROY BELFRY_PANTHOR_IOWR(12, drm_panthor_tiler_heap_destroy)
#define DRM_IOCTL_PANTHOR_BO_SET_LABEL BELFRY_PANTHOR_IOWR(13, drm_panthor_bo_set_label)
#define DRM_IOCTL_PANTHOR_SET_USER_MMIO_OFFSET BELFRY_PANTHOR_IOWR(14, drm_panthor_set_user_mmio_offset)
#define DRM_IOCTL_PANTHOR_GROUP_KICK BELFRY_PANTHOR_IOWR(0x30, drm_panthor_group_kick)
#define DRM_IOCTL_PANTHOR_XGS_QUEUE_CREATE BELFRY_PANTHOR_IOWR(0x31, drm_panthor_xgs_queue_create)
#define DRM_IOCTL_PANTHOR_XGS_QUEUE_DESTROY BELFRY_PANTHOR_IOWR(0x32, drm_panthor_xgs_queue_destroy)
#define DRM_IOCTL_PANTHOR_XGS_QUEUE_SUBMIT BELFRY_PANTHOR_IOWR(0x33, drm_panthor_xgs_queue_submit)
#define DRM_IOCTL_PANTHOR_SYNC_UPDATE BELFRY_PANTHOR_IOWR(0x34, drm_panthor_sync_update)
#define DRM_IOCTL_BELFRY_GROUP_GET_FAULT BELFRY_PANTHOR_IOWR(0x38, belfry_group_get_fault)
#define DRM_IOCTL_BELFRY_DEVICE_INFO BELFRY_PANTHOR_IOWR(0x39, belfry_device_info)

#ifdef __cplusplus
} /* namespace belfry::uapi */
#endif
#endif
