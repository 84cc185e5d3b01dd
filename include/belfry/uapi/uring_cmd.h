/* Submission through io_uring (Belfry): the payload of an IORING_OP_URING_CMD on a DRM file of a kernel
 * driver that uses kernel/drm_uring.h. The ring must have been made with IORING_SETUP_SQE128.
 *
 * The entry is the submit ring's, and so are its opcodes. What io_uring has itself is left to it: the entry's
 * flags may be BELFRY_SUBMIT_COMPLETE_AT_ACCEPTANCE alone (IOSQE_IO_LINK, IOSQE_IO_DRAIN and
 * IOSQE_CQE_SKIP_SUCCESS are the others), and BELFRY_SUBMIT_TIMEOUT is refused (IORING_OP_TIMEOUT, linked to
 * a BELFRY_SUBMIT_CANCEL, cancels after a time). `user_data` is what CANCEL names; completions carry the
 * SQE's. docs/kernel.md says what programs can rely on.
 *
 * Usable from C, also in a kernel module. In C++ everything lies in namespace belfry::uapi.
 */
#ifndef BELFRY_UAPI_URING_CMD_H
#define BELFRY_UAPI_URING_CMD_H

#include "belfry/uapi/submit_ring.h"

#ifdef __cplusplus
namespace belfry::uapi {
#endif

/* The only cmd_op. */
#define BELFRY_URING_CMD_SUBMIT BELFRY_DRM_IOW(0xf3, belfry_uring_command)

struct belfry_uring_command {
    struct belfry_submit_entry entry;
    uint64_t arena;       /* user address from which the entry's offsets count */
    uint32_t arena_bytes; /* nothing at or beyond this offset is read */
    uint32_t pad;         /* 0 */
};
BELFRY_UAPI_ASSERT_SIZE(belfry_uring_command, 80);

#ifdef __cplusplus
} /* namespace belfry::uapi */
#endif
#endif
