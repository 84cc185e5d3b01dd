/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * /dev/belfry: how a driver process serves a DRM node of the kernel. Spoken by kernel/node (belfry.ko) and
 * belfryd.
 *
 * Who opens it is the server of a fresh node. It fetches the calls that programs make on the node, and
 * answers them, by IORING_OP_URING_CMD with the 16-byte payload below: many in one io_uring_enter. The kernel
 * carries bytes between the two processes and knows the meaning of none; it never writes where the program's
 * own call did not ask for it, and the server never looks at a program's memory by itself, which could make
 * it wait.
 */
#ifndef BELFRY_UAPI_NODE_H
#define BELFRY_UAPI_NODE_H

#include "belfry/uapi/drm.h"

#ifdef __cplusplus
namespace belfry::uapi {
#endif

/* sqe->cmd_op. Each names a slot, which is the kernel's until the completion. */
#define BELFRY_NODE_FETCH 1  /* completes with a call in the slot */
#define BELFRY_NODE_ANSWER 2 /* gives the slot's answer; completes at once */
#define BELFRY_NODE_ANSWER_AND_FETCH 3

/* sqe->cmd */
struct belfry_node_command {
    uint64_t slot; /* address of a struct belfry_node_slot */
    uint64_t pad;  /* 0 */
};

#define BELFRY_NODE_IOCTL 1
#define BELFRY_NODE_MMAP 2
#define BELFRY_NODE_RELEASE 3 /* the file is gone; whatever is answered is not looked at */
/* A submission through io_uring (uring_cmd.h), which owes the fence named by `argument`: `arguments` hold the
   entry, then u64 ids of `bytes` fences that it waits for. They may be told of before, and entries out of
   order: by `id`. Not to be answered. */
#define BELFRY_NODE_ENTRY 5
#define BELFRY_NODE_ENTRY_WAITS_MAX 24
#define BELFRY_NODE_FENCE 4 /* a fence that FIND told of has signalled; not to be answered */

#define BELFRY_NODE_MAY_NICE (1U << 0)  /* CAP_SYS_NICE */
#define BELFRY_NODE_MAY_ADMIN (1U << 1) /* CAP_SYS_ADMIN */

#define BELFRY_NODE_ARGUMENT_BYTES_MAX 256

/* A call, as the kernel tells it. */
struct belfry_node_call {
    uint64_t id;   /* names it in the answer; FENCE: names the fence */
    uint64_t file; /* the open file; never used twice */
    uint32_t kind;
    uint32_t command;      /* IOCTL: the request */
    uint64_t argument;     /* IOCTL: as the program passed it; MMAP: the offset */
    uint64_t bytes;        /* MMAP */
    uint32_t protection;   /* MMAP: PROT_* */
    uint32_t opener_flags; /* what the opener might do */
    int32_t opener_pid;
    uint32_t opener_uid;
    int32_t caller_pid;      /* the process that calls; it sleeps until the answer unless it is killed */
    int32_t result;          /* READ: 0, or -EFAULT if it could not be read; FENCE: 0 or the fence's error */
    uint32_t reads;          /* how many READs this call has had */
    uint32_t argument_bytes; /* IOCTL that writes: so much of the struct is in `arguments` */
    uint8_t arguments[BELFRY_NODE_ARGUMENT_BYTES_MAX];
};

/* Bytes to be copied between the caller's memory and the server's. */
struct belfry_node_copy {
    uint64_t caller;
    uint64_t server;
    uint64_t bytes;
};
/* Of one answer. */
#define BELFRY_NODE_COPIES_MAX 4096
#define BELFRY_NODE_COPY_BYTES_MAX (32U << 20)

/* MMAP: a piece of the mapping; pieces are laid end to end. The file is a memfd that can't shrink. */
struct belfry_node_segment {
    int32_t fd;
    uint32_t writable;
    uint64_t offset; /* page-aligned */
    uint64_t bytes;
};
#define BELFRY_NODE_SEGMENTS_MAX 4

/* The call is over: the copies are made to the caller, then it returns `result`. */
#define BELFRY_NODE_DONE 1
/* The copies are made from the caller, then the call is told once more. */
#define BELFRY_NODE_READ 2

struct belfry_node_answer {
    uint64_t id; /* one that is not outstanding, as of a caller that was killed, is no error */
    uint32_t what;
    int32_t result;    /* 0 or a negative errno */
    uint64_t copies;   /* address of struct belfry_node_copy[copy_count] */
    uint64_t segments; /* address of struct belfry_node_segment[segment_count]; MMAP, DONE */
    uint32_t copy_count;
    uint32_t segment_count;
};

/*
 * Syncobjs, by ioctl on the control file: none of these waits. A point is prepared while a call may still
 * fail; from its publication on, what it holds is a fence that the server owes. While it owes some it says
 * every BELFRY_NODE_ALIVE_SECONDS that it lives, from the thread that signals them. It loses its node if it
 * does not for five times as long.
 */
#define BELFRY_NODE_ALIVE_SECONDS 2

struct belfry_node_sync {
    uint64_t file;  /* FIND, PREPARE: whose handle it is */
    uint64_t point; /* likewise; 0 = binary */
    uint64_t id;    /* FIND: comes back, 0 if the fence has signalled; PREPARE: comes back; PUBLISH: which */
    uint32_t handle;
    int32_t error; /* FIND: comes back for a fence that has signalled */
};
struct belfry_node_signal {
    uint64_t id;
    int32_t error; /* 0 or a negative errno */
    uint32_t pad;  /* 0 */
};
struct belfry_node_signals {
    uint64_t signals; /* address of struct belfry_node_signal[count] */
    uint32_t count;
    uint32_t pad; /* 0 */
};
#define BELFRY_NODE_SIGNALS_MAX 256
#define BELFRY_NODE_IOCTL_BASE 'B'
/* The fence to wait for. ENOENT: no such syncobj; EINVAL: nobody has submitted the point. */
#define BELFRY_NODE_SYNC_FIND _IOWR(BELFRY_NODE_IOCTL_BASE, 1, BELFRY_UAPI_STRUCT(belfry_node_sync))
/* A point that is to get a fence. ENOENT. */
#define BELFRY_NODE_SYNC_PREPARE _IOWR(BELFRY_NODE_IOCTL_BASE, 2, BELFRY_UAPI_STRUCT(belfry_node_sync))
#define BELFRY_NODE_SYNC_PUBLISH _IOW(BELFRY_NODE_IOCTL_BASE, 3, BELFRY_UAPI_STRUCT(belfry_node_sync))
/* The end of points: published ones signal, prepared ones are forgotten. ENOENT: one is not there; the others
   have ended. */
#define BELFRY_NODE_SYNC_SIGNAL _IOW(BELFRY_NODE_IOCTL_BASE, 4, BELFRY_UAPI_STRUCT(belfry_node_signals))

#define BELFRY_NODE_ALIVE _IO(BELFRY_NODE_IOCTL_BASE, 5)

struct belfry_node_slot {
    struct belfry_node_call call;     /* written by the kernel */
    struct belfry_node_answer answer; /* read by the kernel */
};

BELFRY_UAPI_ASSERT_SIZE(belfry_node_call, 328);
BELFRY_UAPI_ASSERT_SIZE(belfry_node_answer, 40);
BELFRY_UAPI_ASSERT_SIZE(belfry_node_sync, 32);
BELFRY_UAPI_ASSERT_SIZE(belfry_node_signal, 16);
BELFRY_UAPI_ASSERT_SIZE(belfry_node_signals, 16);

#ifdef __cplusplus
} /* namespace belfry::uapi */
#endif
#endif
