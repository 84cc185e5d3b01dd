/* The part of Linux's DRM core uAPI that Belfry answers. Layouts and request numbers are the kernel's.
 *
 * Usable from C, also in a kernel module. In C++ everything lies in namespace belfry::uapi, so that it never
 * collides with libdrm's. All structs are little-endian, naturally aligned and without implicit padding.
 */
#ifndef BELFRY_UAPI_DRM_H
#define BELFRY_UAPI_DRM_H

#include <linux/ioctl.h>
#ifdef __cplusplus
#include <cstdint>
namespace belfry::uapi {
#define BELFRY_UAPI_ASSERT_SIZE(type, bytes) static_assert(sizeof(struct type) == (bytes), #type)
#define BELFRY_UAPI_STRUCT(type) ::belfry::uapi::type
#else
#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
#endif
#define BELFRY_UAPI_STRUCT(type) struct type
#define BELFRY_UAPI_ASSERT_SIZE(type, bytes) _Static_assert(sizeof(struct type) == (bytes), #type)
#endif

#define BELFRY_DRM_IOCTL_BASE 'd'
#define BELFRY_DRM_COMMAND_BASE 0x40 /* driver requests are 0x40 ... 0x9f */
#define BELFRY_DRM_COMMAND_END 0xa0
#define BELFRY_DRM_IOWR(nr, type) _IOWR(BELFRY_DRM_IOCTL_BASE, nr, BELFRY_UAPI_STRUCT(type))
#define BELFRY_DRM_IOW(nr, type) _IOW(BELFRY_DRM_IOCTL_BASE, nr, BELFRY_UAPI_STRUCT(type))

#ifndef __KERNEL__ /* whose own headers declare what follows */

/* Lengths come in as room, go out as the full length; the strings carry no NUL. */
struct drm_version {
    int32_t version_major;
    int32_t version_minor;
    int32_t version_patchlevel;
    uint32_t pad;
    uint64_t name_len;
    uint64_t name; /* user pointer, like every u64 that a *_len or count describes */
    uint64_t date_len;
    uint64_t date;
    uint64_t desc_len;
    uint64_t desc;
};
BELFRY_UAPI_ASSERT_SIZE(drm_version, 64);

/* GET_UNIQUE; primary nodes only. The length comes back whatever the room. */
struct drm_unique {
    uint64_t unique_len;
    uint64_t unique;
};
BELFRY_UAPI_ASSERT_SIZE(drm_unique, 16);

struct drm_auth { /* GET_MAGIC (out), AUTH_MAGIC (in) */
    uint32_t magic;
};
BELFRY_UAPI_ASSERT_SIZE(drm_auth, 4);

struct drm_client { /* GET_CLIENT; longs, as on every 64-bit machine */
    int32_t idx;
    int32_t auth;
    uint64_t pid;
    uint64_t uid;
    uint64_t magic;
    uint64_t iocs;
};
BELFRY_UAPI_ASSERT_SIZE(drm_client, 40);

struct drm_stats { /* GET_STATS: all zero */
    uint64_t count;
    uint64_t data[30];
};
BELFRY_UAPI_ASSERT_SIZE(drm_stats, 248);

struct drm_set_version {
    int32_t drm_di_major;
    int32_t drm_di_minor;
    int32_t drm_dd_major;
    int32_t drm_dd_minor;
};
BELFRY_UAPI_ASSERT_SIZE(drm_set_version, 16);

struct drm_set_client_cap {
    uint64_t capability;
    uint64_t value;
};
BELFRY_UAPI_ASSERT_SIZE(drm_set_client_cap, 16);

struct drm_set_client_name {
    uint64_t name_len;
    uint64_t name;
};
BELFRY_UAPI_ASSERT_SIZE(drm_set_client_name, 16);

struct drm_gem_change_handle {
    uint32_t handle;
    uint32_t new_handle;
};
BELFRY_UAPI_ASSERT_SIZE(drm_gem_change_handle, 8);

struct drm_gem_flink { /* primary nodes only */
    uint32_t handle;
    uint32_t name;
};
BELFRY_UAPI_ASSERT_SIZE(drm_gem_flink, 8);

struct drm_gem_open { /* primary nodes only */
    uint32_t name;
    uint32_t handle; /* out */
    uint64_t size;   /* out */
};
BELFRY_UAPI_ASSERT_SIZE(drm_gem_open, 16);

#define DRM_CLOEXEC 0x80000u /* O_CLOEXEC */
#define DRM_RDWR 0x2u        /* O_RDWR */

/* PRIME_HANDLE_TO_FD (fd is out), PRIME_FD_TO_HANDLE (handle is out, flags are ignored) */
struct drm_prime_handle {
    uint32_t handle;
    uint32_t flags;
    int32_t fd;
};
BELFRY_UAPI_ASSERT_SIZE(drm_prime_handle, 12);

struct drm_gem_close {
    uint32_t handle;
    uint32_t pad; /* never checked */
};
BELFRY_UAPI_ASSERT_SIZE(drm_gem_close, 8);

#define DRM_CAP_PRIME 0x5
#define DRM_CAP_TIMESTAMP_MONOTONIC 0x6
#define DRM_CAP_SYNCOBJ 0x13
#define DRM_CAP_SYNCOBJ_TIMELINE 0x14

struct drm_get_cap {
    uint64_t capability;
    uint64_t value; /* out */
};
BELFRY_UAPI_ASSERT_SIZE(drm_get_cap, 16);

#define DRM_SYNCOBJ_CREATE_SIGNALED (1u << 0)

struct drm_syncobj_create {
    uint32_t handle; /* out */
    uint32_t flags;
};
BELFRY_UAPI_ASSERT_SIZE(drm_syncobj_create, 8);

struct drm_syncobj_destroy {
    uint32_t handle;
    uint32_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(drm_syncobj_destroy, 8);

#define DRM_SYNCOBJ_WAIT_FLAGS_WAIT_ALL (1u << 0)
#define DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT (1u << 1)
#define DRM_SYNCOBJ_WAIT_FLAGS_WAIT_AVAILABLE (1u << 2) /* timeline wait only */
#define DRM_SYNCOBJ_WAIT_FLAGS_WAIT_DEADLINE (1u << 3)

struct drm_syncobj_wait {
    uint64_t handles;     /* u32[count_handles] */
    int64_t timeout_nsec; /* absolute, CLOCK_MONOTONIC; past = poll once */
    uint32_t count_handles;
    uint32_t flags;
    uint32_t first_signaled; /* out, on success only */
    uint32_t pad;
    uint64_t deadline_nsec;
};
BELFRY_UAPI_ASSERT_SIZE(drm_syncobj_wait, 40);

struct drm_syncobj_timeline_wait {
    uint64_t handles; /* u32[count_handles] */
    uint64_t points;  /* u64[count_handles]; null = all 0 */
    int64_t timeout_nsec;
    uint32_t count_handles;
    uint32_t flags;
    uint32_t first_signaled;
    uint32_t pad;
    uint64_t deadline_nsec;
};
BELFRY_UAPI_ASSERT_SIZE(drm_syncobj_timeline_wait, 48);

/* RESET and SIGNAL */
struct drm_syncobj_array {
    uint64_t handles;
    uint32_t count_handles;
    uint32_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(drm_syncobj_array, 16);

#define DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE (1u << 0)
#define DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_TIMELINE (1u << 1)
#define DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE (1u << 0)
#define DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_TIMELINE (1u << 1)

struct drm_syncobj_handle {
    uint32_t handle;
    uint32_t flags;
    int32_t fd;
    uint32_t pad;
    uint64_t point;
};
BELFRY_UAPI_ASSERT_SIZE(drm_syncobj_handle, 24);

struct drm_syncobj_transfer {
    uint32_t src_handle;
    uint32_t dst_handle;
    uint64_t src_point;
    uint64_t dst_point;
    uint32_t flags; /* DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT */
    uint32_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(drm_syncobj_transfer, 32);

struct drm_syncobj_eventfd {
    uint32_t handle;
    uint32_t flags; /* DRM_SYNCOBJ_WAIT_FLAGS_WAIT_AVAILABLE */
    uint64_t point;
    int32_t fd;
    uint32_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(drm_syncobj_eventfd, 24);

#define DRM_SYNCOBJ_QUERY_FLAGS_LAST_SUBMITTED (1u << 0)

/* QUERY (points are out) and TIMELINE_SIGNAL (points are in) */
struct drm_syncobj_timeline_array {
    uint64_t handles;
    uint64_t points;
    uint32_t count_handles;
    uint32_t flags;
};
BELFRY_UAPI_ASSERT_SIZE(drm_syncobj_timeline_array, 24);

#define DRM_IOCTL_VERSION BELFRY_DRM_IOWR(0x00, drm_version)
#define DRM_IOCTL_GET_UNIQUE BELFRY_DRM_IOWR(0x01, drm_unique)
#define DRM_IOCTL_GET_MAGIC _IOR(BELFRY_DRM_IOCTL_BASE, 0x02, BELFRY_UAPI_STRUCT(drm_auth))
#define DRM_IOCTL_GET_CLIENT BELFRY_DRM_IOWR(0x05, drm_client)
#define DRM_IOCTL_GET_STATS _IOR(BELFRY_DRM_IOCTL_BASE, 0x06, BELFRY_UAPI_STRUCT(drm_stats))
#define DRM_IOCTL_SET_VERSION BELFRY_DRM_IOWR(0x07, drm_set_version)
#define DRM_IOCTL_GEM_CLOSE BELFRY_DRM_IOW(0x09, drm_gem_close)
#define DRM_IOCTL_GEM_FLINK BELFRY_DRM_IOWR(0x0a, drm_gem_flink)
#define DRM_IOCTL_GEM_OPEN BELFRY_DRM_IOWR(0x0b, drm_gem_open)
#define DRM_IOCTL_GET_CAP BELFRY_DRM_IOWR(0x0c, drm_get_cap)
#define DRM_IOCTL_SET_CLIENT_CAP BELFRY_DRM_IOW(0x0d, drm_set_client_cap)
#define DRM_IOCTL_AUTH_MAGIC BELFRY_DRM_IOW(0x11, drm_auth)
#define DRM_IOCTL_SET_MASTER _IO(BELFRY_DRM_IOCTL_BASE, 0x1e)
#define DRM_IOCTL_DROP_MASTER _IO(BELFRY_DRM_IOCTL_BASE, 0x1f)
#define DRM_IOCTL_PRIME_HANDLE_TO_FD BELFRY_DRM_IOWR(0x2d, drm_prime_handle)
#define DRM_IOCTL_PRIME_FD_TO_HANDLE BELFRY_DRM_IOWR(0x2e, drm_prime_handle)
#define DRM_IOCTL_SYNCOBJ_CREATE BELFRY_DRM_IOWR(0xbf, drm_syncobj_create)
#define DRM_IOCTL_SYNCOBJ_DESTROY BELFRY_DRM_IOWR(0xc0, drm_syncobj_destroy)
#define DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD BELFRY_DRM_IOWR(0xc1, drm_syncobj_handle)
#define DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE BELFRY_DRM_IOWR(0xc2, drm_syncobj_handle)
#define DRM_IOCTL_SYNCOBJ_WAIT BELFRY_DRM_IOWR(0xc3, drm_syncobj_wait)
#define DRM_IOCTL_SYNCOBJ_RESET BELFRY_DRM_IOWR(0xc4, drm_syncobj_array)
#define DRM_IOCTL_SYNCOBJ_SIGNAL BELFRY_DRM_IOWR(0xc5, drm_syncobj_array)
#define DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT BELFRY_DRM_IOWR(0xca, drm_syncobj_timeline_wait)
#define DRM_IOCTL_SYNCOBJ_QUERY BELFRY_DRM_IOWR(0xcb, drm_syncobj_timeline_array)
#define DRM_IOCTL_SYNCOBJ_TRANSFER BELFRY_DRM_IOWR(0xcc, drm_syncobj_transfer)
#define DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL BELFRY_DRM_IOWR(0xcd, drm_syncobj_timeline_array)
#define DRM_IOCTL_SYNCOBJ_EVENTFD BELFRY_DRM_IOWR(0xcf, drm_syncobj_eventfd)
#define DRM_IOCTL_SET_CLIENT_NAME BELFRY_DRM_IOWR(0xd1, drm_set_client_name)
#define DRM_IOCTL_GEM_CHANGE_HANDLE BELFRY_DRM_IOWR(0xd2, drm_gem_change_handle)

#endif /* __KERNEL__ */

#ifdef __cplusplus
} /* namespace belfry::uapi */
#endif
#endif
