/* Syncobjs, sync files and dma-bufs, in one process and across several. */
#include <linux/dma-buf.h>
#include <linux/sync_file.h>
#include <poll.h>
#include <pthread.h>
#include <time.h>

#include "check.h"

#define FOREVER INT64_MAX
#define ALL DRM_SYNCOBJ_WAIT_FLAGS_WAIT_ALL
#define FOR_SUBMIT DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT

static uint32_t create_syncobj(int fd, uint32_t flags) {
    uint32_t handle = 0;
    CHECK(drmSyncobjCreate(fd, flags, &handle) == 0);
    CHECK(handle != 0);
    return handle;
}

static int wait_for(int fd, uint32_t handle, int64_t timeout, uint32_t flags) {
    return drmSyncobjWait(fd, &handle, 1, timeout, flags, NULL);
}

static int64_t in_ms(int64_t ms) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec + ms * 1000000;
}

static void binary_syncobjs_signal_and_reset(void) {
    int fd = open_render();
    uint32_t handle = create_syncobj(fd, 0);
    CHECK(wait_for(fd, handle, 0, 0) == -EINVAL);
    CHECK(wait_for(fd, handle, 0, FOR_SUBMIT) == -ETIME);
    CHECK(wait_for(fd, handle, in_ms(20), FOR_SUBMIT) == -ETIME);
    CHECK(drmSyncobjSignal(fd, &handle, 1) == 0);
    CHECK(wait_for(fd, handle, 0, 0) == 0);
    CHECK(drmSyncobjReset(fd, &handle, 1) == 0);
    CHECK(wait_for(fd, handle, 0, FOR_SUBMIT) == -ETIME);
    CHECK(drmSyncobjDestroy(fd, handle) == 0);
    CHECK_ERRNO(EINVAL, drmSyncobjDestroy(fd, handle));
    handle = create_syncobj(fd, DRM_SYNCOBJ_CREATE_SIGNALED);
    CHECK(wait_for(fd, handle, 0, 0) == 0);
}

static void timelines_count(void) {
    int fd = open_render();
    uint32_t handle = create_syncobj(fd, 0);
    uint64_t point = 5, value = 0;
    CHECK(drmSyncobjTimelineSignal(fd, &handle, &point, 1) == 0);
    CHECK(drmSyncobjQuery(fd, &handle, &value, 1) == 0);
    CHECK(value == 5);
    point = 4;
    CHECK(drmSyncobjTimelineWait(fd, &handle, &point, 1, 0, 0, NULL) == 0);
    point = 6;
    CHECK(drmSyncobjTimelineWait(fd, &handle, &point, 1, in_ms(10), FOR_SUBMIT, NULL) == -ETIME);
    uint32_t other = create_syncobj(fd, 0);
    CHECK(drmSyncobjTransfer(fd, other, 0, handle, 5, 0) == 0);
    CHECK(wait_for(fd, other, 0, 0) == 0);
}

static void* signal_soon(void* argument) {
    uint32_t* of = argument;
    int fd = (int)of[0];
    usleep(20000);
    CHECK(drmSyncobjSignal(fd, &of[1], 1) == 0);
    return NULL;
}

static void a_waiting_thread_is_woken_by_another(void) {
    int fd = open_render();
    uint32_t of[2] = {(uint32_t)fd, create_syncobj(fd, 0)};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, signal_soon, of) == 0);
    CHECK(wait_for(fd, of[1], FOREVER, FOR_SUBMIT) == 0);
    pthread_join(thread, NULL);
}

static void* wait_forever(void* argument) {
    uint32_t* of = argument;
    CHECK(wait_for((int)of[0], of[1], FOREVER, FOR_SUBMIT) == 0);
    return NULL;
}

static void a_fork_in_the_middle_of_a_wait_disturbs_neither_side(void) {
    int fd = open_render();
    uint32_t of[2] = {(uint32_t)fd, create_syncobj(fd, 0)};
    pthread_t threads[4];
    for (int i = 0; i < 4; ++i) CHECK(pthread_create(&threads[i], NULL, wait_forever, of) == 0);
    usleep(20000); /* most likely they all wait */
    for (int i = 0; i < 8; ++i) {
        pid_t child = fork();
        if (child == 0) {
            uint32_t own = create_syncobj(fd, 0);
            CHECK(wait_for(fd, own, in_ms(5), FOR_SUBMIT) == -ETIME);
            CHECK(wait_for(fd, of[1], 0, FOR_SUBMIT) == -ETIME);
            int other = open_render();
            expect_works(other);
            if (i == 7) CHECK(drmSyncobjSignal(fd, &of[1], 1) == 0);
            _exit(0);
        }
        expect_child_succeeds(child);
    }
    for (int i = 0; i < 4; ++i) pthread_join(threads[i], NULL);
}

static void two_processes_share_a_syncobj(void) {
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    pid_t child = fork();
    if (child == 0) {
        int fd = open_render(); /* a file of its own */
        int exported = receive_fd(pair[1]);
        uint32_t handle = 0;
        CHECK(drmSyncobjFDToHandle(fd, exported, &handle) == 0);
        CHECK(wait_for(fd, handle, 0, FOR_SUBMIT) == -ETIME);
        CHECK(write(pair[1], "r", 1) == 1);
        CHECK(wait_for(fd, handle, FOREVER, FOR_SUBMIT) == 0);
        _exit(0);
    }
    int fd = open_render();
    uint32_t handle = create_syncobj(fd, 0);
    int exported = -1;
    CHECK(drmSyncobjHandleToFD(fd, handle, &exported) == 0);
    CHECK((fcntl(exported, F_GETFD) & FD_CLOEXEC) != 0);
    send_fd(pair[0], exported);
    char ready;
    CHECK(read(pair[0], &ready, 1) == 1);
    CHECK(drmSyncobjSignal(fd, &handle, 1) == 0);
    expect_child_succeeds(child);
    uint32_t wrong = 0;
    CHECK_ERRNO(EINVAL, drmSyncobjFDToHandle(fd, pair[0], &wrong));
}

static void sync_files_are_polled_merged_and_described(void) {
    int fd = open_render();
    uint32_t handle = create_syncobj(fd, DRM_SYNCOBJ_CREATE_SIGNALED);
    int one = -1;
    CHECK(drmSyncobjExportSyncFile(fd, handle, &one) == 0);
    struct pollfd ready = {.fd = one, .events = POLLIN};
    CHECK(poll(&ready, 1, 1000) == 1 && (ready.revents & POLLIN) != 0);
    struct sync_file_info info = {0};
    CHECK(ioctl(one, SYNC_IOC_FILE_INFO, &info) == 0);
    CHECK(info.status == 1);
    struct sync_merge_data merge = {.name = "both", .fd2 = one};
    CHECK(ioctl(one, SYNC_IOC_MERGE, &merge) == 0);
    CHECK((fcntl(merge.fence, F_GETFD) & FD_CLOEXEC) != 0);
    memset(&info, 0, sizeof info);
    CHECK(ioctl(merge.fence, SYNC_IOC_FILE_INFO, &info) == 0);
    CHECK(strcmp(info.name, "both") == 0);
    merge.fd2 = fd;
    CHECK_ERRNO(ENOENT, ioctl(one, SYNC_IOC_MERGE, &merge));
    uint32_t imported = create_syncobj(fd, 0);
    CHECK(drmSyncobjImportSyncFile(fd, imported, one) == 0);
    CHECK(wait_for(fd, imported, 0, 0) == 0);
    CHECK_ERRNO(EFAULT, ioctl(one, SYNC_IOC_FILE_INFO, (void*)8));
}

#define CREATE_FENCE _IOWR('W', 0, struct sw_fence)
#define INC _IOW('W', 1, uint32_t)
struct sw_fence {
    uint32_t value;
    char name[32];
    int32_t fence;
};

static void a_software_timeline_signals_its_fences(void) {
    int timeline = open("/dev/sw_sync", O_RDWR);
    CHECK(timeline >= 0);
    CHECK(access("/sys/kernel/debug/sync/sw_sync", R_OK | W_OK) == 0);
    struct sw_fence fence = {.value = 1, .name = "one", .fence = -1};
    CHECK(ioctl(timeline, CREATE_FENCE, &fence) == 0);
    CHECK(fence.fence >= 0);
    struct pollfd ready = {.fd = fence.fence, .events = POLLIN};
    CHECK(poll(&ready, 1, 0) == 0);
    pid_t child = fork();
    if (child == 0) {
        uint32_t by = 1;
        CHECK(ioctl(timeline, INC, &by) == 0);
        _exit(0);
    }
    CHECK(poll(&ready, 1, 10000) == 1);
    expect_child_succeeds(child);
    int fd = open_render();
    uint32_t handle = create_syncobj(fd, 0);
    CHECK(drmSyncobjImportSyncFile(fd, handle, fence.fence) == 0);
    CHECK(wait_for(fd, handle, 0, 0) == 0);
    /* The end of the timeline is the end of its fences. */
    fence.value = 10;
    CHECK(ioctl(timeline, CREATE_FENCE, &fence) == 0);
    close(timeline);
    ready.fd = fence.fence;
    CHECK(poll(&ready, 1, 0) == 1); /* at once */
    struct sync_file_info info = {0};
    CHECK(ioctl(fence.fence, SYNC_IOC_FILE_INFO, &info) == 0);
    CHECK(info.status == -ENOENT);
}

static void buffers_are_shared_between_files_and_processes(void) {
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    pid_t child = fork();
    if (child == 0) {
        int fd = open_render();
        int buffer = receive_fd(pair[1]);
        uint32_t handle = 0, again = 0;
        CHECK(drmPrimeFDToHandle(fd, buffer, &handle) == 0);
        CHECK(drmPrimeFDToHandle(fd, buffer, &again) == 0);
        CHECK(handle == again);
        volatile uint32_t* through_handle = map_bo(fd, handle, 8192);
        CHECK(through_handle[3] == 3);
        volatile uint32_t* direct = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, buffer, 0);
        CHECK(direct != MAP_FAILED);
        direct[4] = 4;
        CHECK(through_handle[4] == 4);
        CHECK(lseek(buffer, 0, SEEK_END) == 8192 && lseek(buffer, 0, SEEK_SET) == 0);
        struct dma_buf_sync sync = {DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ};
        CHECK(ioctl(buffer, DMA_BUF_IOCTL_SYNC, &sync) == 0);
        sync.flags = 8;
        CHECK_ERRNO(EINVAL, ioctl(buffer, DMA_BUF_IOCTL_SYNC, &sync));
        _exit(0);
    }
    int fd = open_render();
    uint32_t handle = create_bo(fd, 8192), same = 0;
    volatile uint32_t* at = map_bo(fd, handle, 8192);
    at[3] = 3;
    int buffer = -1;
    CHECK(drmPrimeHandleToFD(fd, handle, DRM_CLOEXEC | DRM_RDWR, &buffer) == 0);
    CHECK(drmPrimeFDToHandle(fd, buffer, &same) == 0);
    CHECK(same == handle);
    send_fd(pair[0], buffer);
    close(buffer);
    expect_child_succeeds(child);
    CHECK(at[4] == 4);
    uint32_t wrong = 0;
    CHECK(drmPrimeFDToHandle(fd, pair[0], &wrong) != 0 && errno == EINVAL);
    CHECK(drmPrimeFDToHandle(fd, -1, &wrong) != 0 && errno == EBADF);
}

int main(int argc, char** argv) {
    static const struct test_case cases[] = {
        {"binary", binary_syncobjs_signal_and_reset},
        {"timeline", timelines_count},
        {"wake", a_waiting_thread_is_woken_by_another},
        {"fork", a_fork_in_the_middle_of_a_wait_disturbs_neither_side},
        {"share", two_processes_share_a_syncobj},
        {"sync-file", sync_files_are_polled_merged_and_described},
        {"sw-sync", a_software_timeline_signals_its_fences},
        {"prime", buffers_are_shared_between_files_and_processes},
    };
    return RUN_CASE(argc, argv, cases);
}
