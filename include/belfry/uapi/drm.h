/* The part of Linux's DRM core uAPI that Belfry answers. Layouts and request numbers are the kernel's.
 *
 * Usable from C. In C++ everything lies in namespace belfry::uapi, so that it never collides with libdrm's.
 * All structs are little-endian, naturally aligned and without implicit padding.
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
#include <stdint.h>
#define BELFRY_UAPI_STRUCT(type) struct type
#define BELFRY_UAPI_ASSERT_SIZE(type, bytes) _Static_assert(sizeof(struct type) == (bytes), #type)
#endif

#define BELFRY_DRM_IOCTL_BASE 'd'
#define BELFRY_DRM_COMMAND_BASE 0x40 /* driver requests are 0x40 ... 0x9f */
#define BELFRY_DRM_COMMAND_END 0xa0

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

#define DRM_SYNCOBJ_QUERY_FLAGS_LAST_SUBMITTED (1u << 0)

/* QUERY (points are out) and TIMELINE_SIGNAL (points are in) */
struct drm_syncobj_timeline_array {
    uint64_t handles;
    uint64_t points;
    uint32_t count_handles;
    uint32_t flags;
};
BELFRY_UAPI_ASSERT_SIZE(drm_syncobj_timeline_array, 24);

#define BELFRY_DRM_IOWR(nr, type) _IOWR(BELFRY_DRM_IOCTL_BASE, nr, BELFRY_UAPI_STRUCT(type))
#define DRM_IOCTL_VERSION BELFRY_DRM_IOWR(0x00, drm_version)
#define DRM_IOCTL_GEM_CLOSE _IOW(BELFRY_DRM_IOCTL_BASE, 0x09, BELFRY_UAPI_STRUCT(drm_gem_close))
#define DRM_IOCTL_GET_CAP BELFRY_DRM_IOWR(0x0c, drm_get_cap)
#define DRM_IOCTL_SYNCOBJ_CREATE BELFRY_DRM_IOWR(0xbf, drm_syncobj_create)
#define DRM_IOCTL_SYNCOBJ_DESTROY BELFRY_DRM_IOWR(0xc0, drm_syncobj_destroy)
#define DRM_IOCTL_SYNCOBJ_WAIT BELFRY_DRM_IOWR(0xc3, drm_syncobj_wait)
#define DRM_IOCTL_SYNCOBJ_RESET BELFRY_DRM_IOWR(0xc4, drm_syncobj_array)
#define DRM_IOCTL_SYNCOBJ_SIGNAL BELFRY_DRM_IOWR(0xc5, drm_syncobj_array)
#define DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT BELFRY_DRM_IOWR(0xca, drm_syncobj_timeline_wait)
#define DRM_IOCTL_SYNCOBJ_QUERY BELFRY_DRM_IOWR(0xcb, drm_syncobj_timeline_array)
#define DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL BELFRY_DRM_IOWR(0xcd, drm_syncobj_timeline_array)

#ifdef __cplusplus
} /* namespace belfry::uapi */
#endif
#endif
