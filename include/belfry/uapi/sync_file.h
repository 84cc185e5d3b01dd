/* The uAPI of sync files: fences held by descriptor. Layouts and request numbers are the kernel's.
 *
 * Usable from C. In C++ everything lies in namespace belfry::uapi.
 */
#ifndef BELFRY_UAPI_SYNC_FILE_H
#define BELFRY_UAPI_SYNC_FILE_H

#include "belfry/uapi/drm.h"

#ifdef __cplusplus
namespace belfry::uapi {
#endif

#define BELFRY_SYNC_FILE_IOCTL_BASE '>'

struct sync_merge_data {
    char name[32];
    int32_t fd2;
    int32_t fence; /* out: the new sync file, close-on-exec */
    uint32_t flags;
    uint32_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(sync_merge_data, 48);

struct sync_fence_info {
    char obj_name[32];
    char driver_name[32];
    int32_t status; /* 1 signalled, 0 active, negative: the fence's error */
    uint32_t flags;
    uint64_t timestamp_ns; /* CLOCK_MONOTONIC; 0 while active */
};
BELFRY_UAPI_ASSERT_SIZE(sync_fence_info, 80);

/* num_fences 0: fills in name, num_fences and status only */
struct sync_file_info {
    char name[32];
    int32_t status;
    uint32_t flags;
    uint32_t num_fences;
    uint32_t pad;
    uint64_t sync_fence_info; /* user pointer to num_fences of them */
};
BELFRY_UAPI_ASSERT_SIZE(sync_file_info, 56);

struct sync_set_deadline {
    uint64_t deadline_ns;
    uint64_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(sync_set_deadline, 16);

#define SYNC_IOC_MERGE _IOWR(BELFRY_SYNC_FILE_IOCTL_BASE, 3, BELFRY_UAPI_STRUCT(sync_merge_data))
#define SYNC_IOC_FILE_INFO _IOWR(BELFRY_SYNC_FILE_IOCTL_BASE, 4, BELFRY_UAPI_STRUCT(sync_file_info))
#define SYNC_IOC_SET_DEADLINE _IOW(BELFRY_SYNC_FILE_IOCTL_BASE, 5, BELFRY_UAPI_STRUCT(sync_set_deadline))

#ifdef __cplusplus
} /* namespace belfry::uapi */
#endif
#endif
