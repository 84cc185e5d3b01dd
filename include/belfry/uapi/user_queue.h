/* The memory that a program, the driver and the GPU share for a user-submission queue.
 *
 * Fields are plain integers; each access goes through an atomic operation of the order that is named here.
 * "client" may be hostile: the GPU and the driver read each client field once, judge it, and use that copy.
 * Fields marked "Belfry" do not exist on hardware; a program written for hardware works without them.
 */
#ifndef BELFRY_UAPI_USER_QUEUE_H
#define BELFRY_UAPI_USER_QUEUE_H

#ifdef __cplusplus
#include <cstddef>
#include <cstdint>
#include <type_traits>
namespace belfry::uapi {
#else
#include <stdint.h>
#endif

/* First page at user_io_offset; the program writes it. INSERT and EXTRACT count bytes for ever: only the ring
 * wraps, at `counter & (ringbuf_size - 1)`. */
struct belfry_user_input {
    uint64_t insert;       /* client (release, after the ring's words); GPU (acquire) */
    uint64_t extract_init; /* driver, before the queue starts; where the GPU starts to fetch */
    uint32_t ring_waiters; /* Belfry: client (seq_cst) counts itself before it sleeps on `extract`'s low word;
                              GPU reads it after its store to `extract` (full fence between) */
    uint32_t pad[1019];
};

/* Second page at user_io_offset; read-only for the program. */
struct belfry_user_output {
    uint64_t extract; /* GPU (release, after its last read of the bytes before); client (acquire) */
    uint32_t active;  /* GPU: 1 = on a slot. Client reads it after INSERT and a full fence: 0 = kick */
    uint32_t
        group_state; /* Belfry: driver (release): drm_panthor_group_state_flags or DESTROYED; 0 = alive */
    uint32_t pad[1020];
};
#define BELFRY_GROUP_STATE_DESTROYED (1u << 31)

#define BELFRY_OWNED_SYNC_OBJECTS 64

/* The page at doorbell_offset: one for all queues of the group, the group's own for life. */
struct belfry_user_doorbell {
    uint32_t doorbell; /* client stores 1 (after INSERT, full fence); GPU exchanges it for 0, then looks */
    uint32_t pad0[15];
    uint32_t need_wakeup; /* Belfry: GPU stores 1 before it sleeps. A client that reads 1 after its doorbell
                             (full fence between) writes the eventfd that it gave at GROUP_CREATE */
    uint32_t pad1[15];
    uint64_t owned[BELFRY_OWNED_SYNC_OBJECTS]; /* Belfry: client: GPU addresses of 64-bit sync objects that
                                                  this group alone updates; 0 = none. Driver, once the group
                                                  has ended and updates nothing any more: gives each the value
                                                  UINT64_MAX and the error BELFRY_SYNC_OBJECT_ENDED */
    uint32_t pad2[864];
};

/* Native sync objects: memory that the client can write, hence a hint and never a DRM fence. */
struct belfry_sync_object64 {
    uint64_t value;   /* GPU (release) or client; waiters (acquire) */
    uint32_t error;   /* GPU or driver, before value; waiters, after value */
    uint32_t waiters; /* CPU waiters count themselves (seq_cst), look again, then sleep on the low word of
                         `value` with the futex bitset 1 << (target % 32); GPU reads it after its update */
};
/* In `error`, with the largest value: the group that owned the object has ended, and nothing will come any
 * more. */
#define BELFRY_SYNC_OBJECT_ENDED (1u << 31)
struct belfry_sync_object32 {
    uint32_t value; /* GPU (release) or client; waiters (acquire) */
    uint32_t error; /* GPU, before value */
};

#ifdef __cplusplus
static_assert(sizeof(belfry_user_input) == 4096 && offsetof(belfry_user_input, extract_init) == 8 &&
              offsetof(belfry_user_input, ring_waiters) == 16);
static_assert(sizeof(belfry_user_output) == 4096 && offsetof(belfry_user_output, active) == 8 &&
              offsetof(belfry_user_output, group_state) == 12);
static_assert(sizeof(belfry_user_doorbell) == 4096 && offsetof(belfry_user_doorbell, doorbell) == 0 &&
              offsetof(belfry_user_doorbell, need_wakeup) == 64 &&
              offsetof(belfry_user_doorbell, owned) == 128);
static_assert(sizeof(belfry_sync_object64) == 16 && offsetof(belfry_sync_object64, error) == 8 &&
              offsetof(belfry_sync_object64, waiters) == 12);
static_assert(sizeof(belfry_sync_object32) == 8 && offsetof(belfry_sync_object32, error) == 4);
static_assert(std::is_standard_layout_v<belfry_user_output> &&
              std::is_trivially_copyable_v<belfry_sync_object64>);
} /* namespace belfry::uapi */
#endif
#endif
