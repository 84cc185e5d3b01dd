/* What the programs of shim_test.cpp share: checks, and the few panthor requests that they make by hand.
 *
 * They are written as programs for Linux are, against libdrm and the kernel's headers; nothing of Belfry is
 * included. Each runs the case that is its first argument, says what went wrong, and exits with 1 then.
 */
#ifndef SHIM_CHECK_H
#define SHIM_CHECK_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xf86drm.h>

#define RENDER "/dev/dri/renderD128"
#define CARD "/dev/dri/card0"

#define CHECK(condition)                                                                                 \
    do {                                                                                                 \
        if (!(condition)) {                                                                              \
            fprintf(stderr, "%s:%d: not so: %s (errno %d, %s)\n", __FILE__, __LINE__, #condition, errno, \
                    strerror(errno));                                                                    \
            _exit(1);                                                                                    \
        }                                                                                                \
    } while (0)

/* The call must fail with just this errno. */
#define CHECK_ERRNO(error, call) \
    do {                         \
        errno = 0;               \
        CHECK((call) == -1);     \
        CHECK(errno == (error)); \
    } while (0)

struct bo_create {
    uint64_t size;
    uint32_t flags;
    uint32_t exclusive_vm_id;
    uint32_t handle;
    uint32_t pad;
};
struct bo_mmap_offset {
    uint32_t handle;
    uint32_t pad;
    uint64_t offset;
};
#define BO_CREATE _IOWR('d', 0x45, struct bo_create)
#define BO_MMAP_OFFSET _IOWR('d', 0x46, struct bo_mmap_offset)

static inline int open_render(void) {
    int fd = open(RENDER, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

static inline uint32_t create_bo(int fd, uint64_t size) {
    struct bo_create bo = {.size = size};
    CHECK(ioctl(fd, BO_CREATE, &bo) == 0);
    CHECK(bo.handle != 0);
    return bo.handle;
}

static inline uint64_t offset_of(int fd, uint32_t handle) {
    struct bo_mmap_offset bo = {.handle = handle};
    CHECK(ioctl(fd, BO_MMAP_OFFSET, &bo) == 0);
    return bo.offset;
}

static inline volatile uint32_t* map_bo(int fd, uint32_t handle, uint64_t size) {
    void* at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset_of(fd, handle));
    CHECK(at != MAP_FAILED);
    return at;
}

/* Works only for as long as the DRM file behind the descriptor lives. */
static inline void expect_works(int fd) {
    struct drm_version version = {0};
    CHECK(ioctl(fd, DRM_IOCTL_VERSION, &version) == 0);
    CHECK(version.name_len == strlen("panthor"));
}

/* The exit code of a forked child; 0 if all was well in it. */
static inline void expect_child_succeeds(pid_t child) {
    int status = 0;
    CHECK(child > 0);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static inline void send_fd(int socket, int fd) {
    char byte = 0;
    struct iovec part = {&byte, 1};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    CHECK(sendmsg(socket, &message, 0) == 1);
}

static inline int receive_fd(int socket) {
    char byte = 0;
    struct iovec part = {&byte, 1};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    CHECK(recvmsg(socket, &message, 0) == 1);
    struct cmsghdr* header = CMSG_FIRSTHDR(&message);
    CHECK(header != NULL && header->cmsg_type == SCM_RIGHTS);
    int fd = -1;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

struct test_case {
    const char* name;
    void (*run)(void);
};

static inline int run_case(int argc, char** argv, const struct test_case* cases, size_t count) {
    for (size_t i = 0; argc > 1 && i < count; ++i) {
        if (strcmp(argv[1], cases[i].name) != 0) continue;
        cases[i].run();
        return 0;
    }
    fprintf(stderr, "%s: no such case\n", argv[0]);
    return 2;
}
#define RUN_CASE(argc, argv, cases) run_case(argc, argv, cases, sizeof(cases) / sizeof((cases)[0]))

#endif
