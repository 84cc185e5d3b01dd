/* The submit ring (Belfry): entries go to the driver through shared memory, completions come back through it.
 *
 * At framework level, the same for every driver: a ring belongs to an open DRM file. What an entry asks for
 * is either of the framework (opcodes below BELFRY_SUBMIT_DRIVER) or of the driver, whose header says what
 * the payload means. Entries hold names of things (GPU addresses, handles, points of syncobjs), never
 * commands or data. docs/submission.md, "The submit ring", says what programs can rely on.
 *
 * Heads and tails count for ever, modulo 2^32; an entry lies at `counter & (entries - 1)`. Each field has one
 * writer, and each access goes through an atomic operation of the order that is named at the field. "client"
 * may be hostile: the consumer (the driver) reads each of its fields once, judges it, and uses that copy.
 *
 * Usable from C. In C++ everything lies in namespace belfry::uapi.
 */
#ifndef BELFRY_UAPI_SUBMIT_RING_H
#define BELFRY_UAPI_SUBMIT_RING_H

#include "belfry/uapi/drm.h"

#ifdef __cplusplus
#include <cstddef>
#include <type_traits>
namespace belfry::uapi {
#endif

/* ---- Entries */

enum belfry_submit_opcode {
    /* Completes once its wait points have signalled; then gives its signal points a signalled fence. Unlike
       the other opcodes it also waits for points that are not there yet. */
    BELFRY_SUBMIT_NOP = 0,
    BELFRY_SUBMIT_TIMEOUT = 1,   /* belfry_submit_timeout; no points */
    BELFRY_SUBMIT_CANCEL = 2,    /* belfry_submit_cancel; no points */
    BELFRY_SUBMIT_DRIVER = 0x40, /* the first of the driver's */
};

enum belfry_submit_entry_flags {
    /* The next entry starts when this one has completed without an error; it completes with ECANCELED, as do
       all that are linked behind it, if this one fails. */
    BELFRY_SUBMIT_LINK = 1 << 0,
    /* Starts when all entries before it have completed; those behind it start when it has. */
    BELFRY_SUBMIT_DRAIN = 1 << 1,
    /* No completion unless it fails. */
    BELFRY_SUBMIT_NO_SUCCESS_COMPLETION = 1 << 2,
    /* Completes when the driver has accepted it (all was found sound, and its signal points have their
       fences) and not when it is done; what becomes of it is known by its signal points alone. Driver opcodes
       only. */
    BELFRY_SUBMIT_COMPLETE_AT_ACCEPTANCE = 1 << 3,
};

struct belfry_submit_entry {
    uint8_t opcode;      /* enum belfry_submit_opcode, or the driver's */
    uint8_t flags;       /* enum belfry_submit_entry_flags */
    uint16_t more_syncs; /* number of further points in the arena */
    uint32_t
        more_syncs_offset;  /* belfry_submit_sync[more_syncs]: bytes from the arena's start, multiple of 8 */
    uint64_t user_data;     /* comes back with the completion */
    uint32_t wait_handle;   /* syncobj; 0 = none */
    uint32_t signal_handle; /* syncobj; 0 = none */
    uint64_t wait_point;    /* 0 = binary */
    uint64_t signal_point;  /* 0 = binary */
    uint64_t payload[3];    /* the opcode's struct; reserved bytes must be 0 */
};
BELFRY_UAPI_ASSERT_SIZE(belfry_submit_entry, 64);

enum belfry_submit_sync_flags {
    BELFRY_SUBMIT_SYNC_SIGNAL = -0x7fffffff - 1, /* bit 31; without it the entry waits for the point */
};

/* A further point. */
struct belfry_submit_sync {
    uint32_t flags; /* enum belfry_submit_sync_flags */
    uint32_t handle;
    uint64_t point; /* 0 = binary */
};
BELFRY_UAPI_ASSERT_SIZE(belfry_submit_sync, 16);

enum belfry_submit_timeout_flags {
    BELFRY_SUBMIT_TIMEOUT_ABSOLUTE = 1
                                     << 0, /* `ns` is a time of CLOCK_MONOTONIC, and not from the start on */
    /* Bounds the entry before it, which has LINK: starts with that one, and cancels it if it is not complete
       by then. A link behind this entry waits for the one that is bounded. */
    BELFRY_SUBMIT_TIMEOUT_LINKED = 1 << 1,
};

/* Completes with ETIME when the time has come (which does not break a link); with ECANCELED if it was
   cancelled, or if what it bounds has completed before; with EALREADY if what it bounds could not be
   cancelled any more. */
struct belfry_submit_timeout {
    uint64_t ns;
    uint32_t flags; /* enum belfry_submit_timeout_flags */
    uint32_t pad;
    uint64_t pad1;
};
BELFRY_UAPI_ASSERT_SIZE(belfry_submit_timeout, 24);

/* Cancels the oldest entry with this user_data that has not completed: that one completes with ECANCELED.
   ENOENT: there is none; EALREADY: it can not be cancelled any more. */
struct belfry_submit_cancel {
    uint64_t user_data;
    uint64_t pad[2];
};
BELFRY_UAPI_ASSERT_SIZE(belfry_submit_cancel, 24);

/* ---- Completions: one for each entry, in the order in which they complete */

struct belfry_submit_completion {
    uint64_t user_data;
    int32_t result; /* 0, or a negative errno */
    uint32_t flags; /* 0 */
};
BELFRY_UAPI_ASSERT_SIZE(belfry_submit_completion, 16);

/* ---- The ring's memory, mapped as one piece (belfry_submit_ring_create says where what is):
 *        belfry_submit_client           one page, which the client writes
 *        belfry_submit_entry[]          the submission queue, which the client writes
 *        arena                          what entries refer to by offset; the client writes it
 *        belfry_submit_consumer         one page; read-only for the client
 *        belfry_submit_completion[]     the completion queue; read-only for the client
 *
 * To sleep until the completion queue's tail has reached `target` (programs and io_uring alike): add 1 to
 * cq_waiters; full fence; read cq_event; look at cq_tail and `error`; if neither says "go on", futex wait on
 * cq_event for the value that was read, with the bitset 1 << (target % 32); subtract 1. The consumer
 * publishes the tail, changes cq_event, full fence, reads cq_waiters, and wakes the bits of the targets that
 * the tail has passed. To sleep until there is room in the submission queue: the same with sq_waiters,
 * sq_event and sq_head; any bit.
 */

struct belfry_submit_client {
    uint32_t sq_tail;    /* client (release, after the entries); consumer (acquire) */
    uint32_t cq_head;    /* client (release, after its reads of the completions); consumer (acquire) */
    uint32_t sq_waiters; /* client (seq_cst): how many sleep on sq_event; consumer reads it after its move */
    uint32_t cq_waiters; /* client (seq_cst): how many sleep on cq_event; consumer reads it after its move */
    uint32_t pad[1020];
};
BELFRY_UAPI_ASSERT_SIZE(belfry_submit_client, 4096);

enum belfry_submit_ring_flags {
    /* Nobody looks at the ring. A client that reads it after a move of sq_tail (full fence between) makes the
       request ENTER. */
    BELFRY_SUBMIT_NEED_WAKEUP = 1 << 0,
    /* Entries are not taken because there might be no room for their completions: an entry is taken only if
       there is room for its own beside those of all that are in flight, so none is ever lost. A client that
       reads both flags after a move of cq_head (full fence between) makes the request ENTER. */
    BELFRY_SUBMIT_CQ_FULL = 1 << 1,
};

struct belfry_submit_consumer {
    uint32_t sq_head;  /* consumer (release, after it has copied the entries); client (acquire) */
    uint32_t sq_event; /* consumer (seq_cst): changes with each move of sq_head, and when the ring ends */
    uint32_t cq_tail;  /* consumer (release, after the completions); client (acquire) */
    uint32_t cq_event; /* consumer (seq_cst): changes with each move of cq_tail, and when the ring ends */
    uint32_t flags;    /* consumer (seq_cst): enum belfry_submit_ring_flags */
    /* consumer (release): why no more entries are taken, an errno. 0: they are; EINVAL: a head or tail of the
       client's was out of range; ECANCELED: the ring was destroyed */
    uint32_t error;
    uint32_t pad[1018];
};
BELFRY_UAPI_ASSERT_SIZE(belfry_submit_consumer, 4096);

/* ---- Requests */

#define BELFRY_SUBMIT_SQ_ENTRIES_MAX 4096
#define BELFRY_SUBMIT_CQ_ENTRIES_MAX 8192
#define BELFRY_SUBMIT_ARENA_BYTES_MAX (16u << 20)
/* Elements of arrays in the arena that one entry may name, further points included, and that all entries in
   flight together may: EINVAL and EBUSY beyond. */
#define BELFRY_SUBMIT_ELEMENTS_PER_ENTRY_MAX 1024
#define BELFRY_SUBMIT_ELEMENTS_IN_FLIGHT_MAX 65536

/* EINVAL: flags, pad, out fields or sizes out of range; an eventfd that is none. EBADF: one that is not open.
   EBUSY: the file has 16 rings. ENOMEM. */
struct belfry_submit_ring_create {
    uint32_t sq_entries;  /* in/out: 1 ... max; rounded up to a power of two */
    uint32_t cq_entries;  /* in/out: sq_entries ... max; 0 = twice as many as sq_entries; rounded likewise */
    uint32_t arena_bytes; /* in/out: 0 ... max; rounded up to whole pages */
    uint32_t flags;       /* 0 */
    int32_t eventfd_completions; /* rung after each move of cq_tail; -1 = none */
    uint32_t handle;             /* out */
    uint64_t mmap_offset; /* out: for mmap() of mmap_bytes on the DRM file, shared, readable and writable */
    uint64_t mmap_bytes;  /* out */
    uint32_t entries_offset;     /* out: where in the mapping what lies; belfry_submit_client lies at 0 */
    uint32_t arena_offset;       /* out */
    uint32_t consumer_offset;    /* out */
    uint32_t completions_offset; /* out */
};
BELFRY_UAPI_ASSERT_SIZE(belfry_submit_ring_create, 56);

/* What the driver has accepted goes on; nothing of it is told through the ring any more. Mappings stay.
   EINVAL: no such ring. */
struct belfry_submit_ring_destroy {
    uint32_t handle;
    uint32_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(belfry_submit_ring_destroy, 8);

/* "Look at the ring": for a client that has read NEED_WAKEUP. EINVAL: no such ring, or one with an `error`.
 */
struct belfry_submit_ring_enter {
    uint32_t handle;
    uint32_t pad;
};
BELFRY_UAPI_ASSERT_SIZE(belfry_submit_ring_enter, 8);

/* Requests of the DRM core, which has no others from 0xf0 on. */
#define DRM_IOCTL_BELFRY_SUBMIT_RING_CREATE BELFRY_DRM_IOWR(0xf0, belfry_submit_ring_create)
#define DRM_IOCTL_BELFRY_SUBMIT_RING_DESTROY BELFRY_DRM_IOW(0xf1, belfry_submit_ring_destroy)
#define DRM_IOCTL_BELFRY_SUBMIT_RING_ENTER BELFRY_DRM_IOW(0xf2, belfry_submit_ring_enter)

#ifdef __cplusplus
static_assert(offsetof(belfry_submit_entry, user_data) == 8 &&
              offsetof(belfry_submit_entry, wait_handle) == 16 &&
              offsetof(belfry_submit_entry, wait_point) == 24 &&
              offsetof(belfry_submit_entry, payload) == 40);
static_assert(offsetof(belfry_submit_completion, result) == 8);
static_assert(offsetof(belfry_submit_client, cq_head) == 4 &&
              offsetof(belfry_submit_client, cq_waiters) == 12);
static_assert(offsetof(belfry_submit_consumer, cq_tail) == 8 &&
              offsetof(belfry_submit_consumer, cq_event) == 12 &&
              offsetof(belfry_submit_consumer, error) == 20);
static_assert(std::is_trivially_copyable_v<belfry_submit_entry> &&
              std::is_standard_layout_v<belfry_submit_entry>);
} /* namespace belfry::uapi */
#endif
#endif
