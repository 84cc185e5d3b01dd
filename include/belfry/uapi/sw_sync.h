/* The uAPI of sw_sync, the kernel's software timelines for tests. Layouts and request numbers are the
 * kernel's.
 *
 * Usable from C. In C++ everything lies in namespace belfry::uapi.
 */
#ifndef BELFRY_UAPI_SW_SYNC_H
#define BELFRY_UAPI_SW_SYNC_H

#include "belfry/uapi/drm.h"

#ifdef __cplusplus
namespace belfry::uapi {
#endif

#define BELFRY_SW_SYNC_IOCTL_BASE 'W'

struct sw_sync_create_fence_data {
    uint32_t value;
    char name[32];
    int32_t fence; /* out: a sync file, close-on-exec */
};
BELFRY_UAPI_ASSERT_SIZE(sw_sync_create_fence_data, 40);

struct sw_sync_inc { /* the kernel's argument is a bare u32 */
    uint32_t value;
};
BELFRY_UAPI_ASSERT_SIZE(sw_sync_inc, 4);

struct sw_sync_get_deadline {
    uint64_t deadline_ns; /* 0 in, out */
    uint32_t pad;
    int32_t fence_fd;
};
BELFRY_UAPI_ASSERT_SIZE(sw_sync_get_deadline, 16);

#define SW_SYNC_IOC_CREATE_FENCE \
    _IOWR(BELFRY_SW_SYNC_IOCTL_BASE, 0, BELFRY_UAPI_STRUCT(sw_sync_create_fence_data))
#define SW_SYNC_IOC_INC _IOW(BELFRY_SW_SYNC_IOCTL_BASE, 1, BELFRY_UAPI_STRUCT(sw_sync_inc))
#define SW_SYNC_GET_DEADLINE _IOWR(BELFRY_SW_SYNC_IOCTL_BASE, 2, BELFRY_UAPI_STRUCT(sw_sync_get_deadline))

#ifdef __cplusplus
} /* namespace belfry::uapi */
#endif
#endif
