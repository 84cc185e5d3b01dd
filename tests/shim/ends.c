/* Programs whose groups end: by a shader that runs into what is no instruction, each time. */
#include <signal.h>

#include "check.h"

struct obj_array {
    uint32_t stride;
    uint32_t count;
    uint64_t array;
};
struct vm_create {
    uint32_t flags, id;
    uint64_t user_va_range;
};
struct vm_bind_op {
    uint32_t flags, bo_handle;
    uint64_t bo_offset, va, size;
    struct obj_array syncs;
};
struct vm_bind {
    uint32_t vm_id, flags;
    struct obj_array ops;
};
struct queue_create {
    uint8_t priority, pad[3];
    uint32_t ringbuf_size;
};
struct group_create {
    struct obj_array queues;
    uint8_t max_compute_cores, max_fragment_cores, max_tiler_cores, priority;
    uint32_t pad;
    uint64_t compute_core_mask, fragment_core_mask, tiler_core_mask;
    uint32_t vm_id, group_handle;
};
struct group_destroy {
    uint32_t group_handle, pad;
};
struct sync_op {
    uint32_t flags, handle;
    uint64_t timeline_value;
};
struct queue_submit {
    uint32_t queue_index, stream_size;
    uint64_t stream_addr;
    uint32_t latest_flush, pad;
    struct obj_array syncs;
};
struct group_submit {
    uint32_t group_handle, pad;
    struct obj_array queue_submits;
};
#define VM_CREATE _IOWR('d', 0x41, struct vm_create)
#define VM_BIND _IOWR('d', 0x43, struct vm_bind)
#define GROUP_CREATE _IOWR('d', 0x47, struct group_create)
#define GROUP_DESTROY _IOWR('d', 0x48, struct group_destroy)
#define GROUP_SUBMIT _IOWR('d', 0x49, struct group_submit)
#define OBJECTS(pointer) {sizeof *(pointer), 1, (uint64_t)(uintptr_t)(pointer)}

/* GPU addresses in the one page that there is: the stream, the program and its descriptors. */
enum { VA = 0x100000, CODE = 1024, PROGRAM = 1088, LOCAL_STORAGE = 1152 };

static uint64_t move48(unsigned reg, uint64_t value) { return 1ULL << 56 | (uint64_t)reg << 48 | value; }
static uint64_t move32(unsigned reg, uint32_t value) { return 2ULL << 56 | (uint64_t)reg << 48 | value; }

/* A file and a VM in which lies a job of one workgroup that ends its group. */
struct device {
    int fd;
    uint32_t vm;
    uint32_t stream_bytes;
};

static struct device open_device(void) {
    struct device device = {.fd = open_render()};
    struct vm_create vm = {0};
    CHECK(ioctl(device.fd, VM_CREATE, &vm) == 0);
    device.vm = vm.id;
    uint32_t bo = create_bo(device.fd, 4096);
    volatile uint32_t* page = map_bo(device.fd, bo, 4096);
    struct vm_bind_op op = {.bo_handle = bo, .va = VA, .size = 4096};
    struct vm_bind bind = {.vm_id = vm.id, .ops = OBJECTS(&op)};
    CHECK(ioctl(device.fd, VM_BIND, &bind) == 0);

    page[CODE / 4] = 0;
    page[CODE / 4 + 1] = 0x80000000;
    page[PROGRAM / 4] = 8 | 1 << 4;
    page[PROGRAM / 4 + 2] = VA + CODE;
    page[LOCAL_STORAGE / 4 + 1] = 31;
    uint64_t stream[] = {
        move48(0, 0),
        move48(8, 0),
        move48(16, VA + PROGRAM),
        move48(24, VA + LOCAL_STORAGE),
        move32(32, 0),
        move32(33, 15),
        move32(34, 0),
        move32(35, 0),
        move32(36, 0),
        move32(37, 1),
        move32(38, 1),
        move32(39, 1),
        0x0400000000000001, /* RUN_COMPUTE */
    };
    for (size_t i = 0; i < sizeof stream / 4; ++i) page[i] = ((uint32_t*)stream)[i];
    device.stream_bytes = sizeof stream;
    return device;
}

/* Returns when a group has ended, which only the job's fence has told. */
static uint32_t end_a_group(struct device device) {
    struct queue_create queue = {.ringbuf_size = 4096};
    struct group_create group = {.queues = OBJECTS(&queue), .vm_id = device.vm};
    CHECK(ioctl(device.fd, GROUP_CREATE, &group) == 0);
    uint32_t syncobj = 0;
    CHECK(drmSyncobjCreate(device.fd, 0, &syncobj) == 0);
    struct sync_op signal = {.flags = 1U << 31, .handle = syncobj};
    struct queue_submit job = {
        .stream_size = device.stream_bytes, .stream_addr = VA, .syncs = OBJECTS(&signal)};
    struct group_submit submit = {.group_handle = group.group_handle, .queue_submits = OBJECTS(&job)};
    CHECK(ioctl(device.fd, GROUP_SUBMIT, &submit) == 0);
    CHECK(drmSyncobjWait(device.fd, &syncobj, 1, INT64_MAX, 0, NULL) == 0);
    CHECK(drmSyncobjDestroy(device.fd, syncobj) == 0);
    return group.group_handle;
}

static void a_group(void) { end_a_group(open_device()); }

static void a_group_of_a_program_that_is_killed(void) {
    end_a_group(open_device());
    raise(SIGKILL);
}

static void a_group_of_a_child_of_a_child(void) {
    pid_t child = fork();
    if (child == 0) {
        pid_t grandchild = fork();
        if (grandchild == 0)
            end_a_group(open_device());
        else
            expect_child_succeeds(grandchild);
        _exit(0);
    }
    expect_child_succeeds(child);
}

static void many_groups(void) {
    struct device device = open_device();
    for (int i = 0; i < 40; ++i) {
        struct group_destroy group = {.group_handle = end_a_group(device)};
        CHECK(ioctl(device.fd, GROUP_DESTROY, &group) == 0);
    }
}

static void a_group_while_standard_error_is_closed(void) {
    close(STDERR_FILENO);
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd != STDERR_FILENO) _exit(1);
    end_a_group(open_device());
}

int main(int argc, char** argv) {
    static const struct test_case cases[] = {
        {"one", a_group},
        {"killed", a_group_of_a_program_that_is_killed},
        {"grandchild", a_group_of_a_child_of_a_child},
        {"many", many_groups},
        {"closed", a_group_while_standard_error_is_closed},
    };
    return RUN_CASE(argc, argv, cases);
}
