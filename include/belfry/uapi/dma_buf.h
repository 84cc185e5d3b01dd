/* The uAPI of dma-bufs: buffers held by descriptor. Layouts and request numbers are the kernel's.
 *
 * Usable from C. In C++ everything lies in namespace belfry::uapi.
 */
#ifndef BELFRY_UAPI_DMA_BUF_H
#define BELFRY_UAPI_DMA_BUF_H

#include "belfry/uapi/drm.h"

#ifdef __cplusplus
namespace belfry::uapi {
#endif

#define BELFRY_DMA_BUF_IOCTL_BASE 'b'

#define DMA_BUF_SYNC_READ (1u << 0)
#define DMA_BUF_SYNC_WRITE (2u << 0)
#define DMA_BUF_SYNC_RW (DMA_BUF_SYNC_READ | DMA_BUF_SYNC_WRITE)
#define DMA_BUF_SYNC_END (1u << 2)

struct dma_buf_sync {
    uint64_t flags;
};
BELFRY_UAPI_ASSERT_SIZE(dma_buf_sync, 8);

/* EXPORT_SYNC_FILE (fd is out), IMPORT_SYNC_FILE (fd is in) */
struct dma_buf_sync_file {
    uint32_t flags; /* DMA_BUF_SYNC_READ, _WRITE */
    int32_t fd;
};
BELFRY_UAPI_ASSERT_SIZE(dma_buf_sync_file, 8);

/* SET_NAME has no struct: its argument is the pointer itself. _A and _B differ in size bits only. */
struct dma_buf_set_name {
    uint64_t name; /* user pointer to a C string of at most 32 bytes */
};
BELFRY_UAPI_ASSERT_SIZE(dma_buf_set_name, 8);
#define DMA_BUF_IOCTL_SYNC _IOW(BELFRY_DMA_BUF_IOCTL_BASE, 0, BELFRY_UAPI_STRUCT(dma_buf_sync))
#define DMA_BUF_SET_NAME_A _IOW(BELFRY_DMA_BUF_IOCTL_BASE, 1, uint32_t)
#define DMA_BUF_SET_NAME_B _IOW(BELFRY_DMA_BUF_IOCTL_BASE, 1, uint64_t)
#define DMA_BUF_IOCTL_EXPORT_SYNC_FILE \
    _IOWR(BELFRY_DMA_BUF_IOCTL_BASE, 2, BELFRY_UAPI_STRUCT(dma_buf_sync_file))
#define DMA_BUF_IOCTL_IMPORT_SYNC_FILE \
    _IOW(BELFRY_DMA_BUF_IOCTL_BASE, 3, BELFRY_UAPI_STRUCT(dma_buf_sync_file))

#ifdef __cplusplus
} /* namespace belfry::uapi */
#endif
#endif
