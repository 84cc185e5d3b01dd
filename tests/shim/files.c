/* Descriptors as Linux lets them be used: copied, inherited, passed on, closed; and memory behind them. */
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "check.h"

static void copies_are_one_file(void) {
    int fd = open_render();
    uint32_t handle = create_bo(fd, 4096);
    int copies[] = {dup(fd), dup2(fd, 50), dup3(fd, 51, O_CLOEXEC), fcntl(fd, F_DUPFD, 60),
                    fcntl(fd, F_DUPFD_CLOEXEC, 70)};
    close(fd);
    for (size_t i = 0; i < sizeof copies / sizeof copies[0]; ++i) {
        CHECK(copies[i] >= 0);
        CHECK(offset_of(copies[i], handle) != 0);
        close(copies[i]);
    }
    CHECK_ERRNO(EBADF, ioctl(copies[0], BO_CREATE, NULL));
}

static void a_reopened_descriptor_is_a_new_file(void) {
    int fd = open_render();
    uint32_t handle = create_bo(fd, 4096);
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int again = open(link, O_RDWR | O_CLOEXEC);
    CHECK(again >= 0);
    struct bo_mmap_offset bo = {.handle = handle};
    CHECK_ERRNO(ENOENT, ioctl(again, BO_MMAP_OFFSET, &bo));
    expect_works(again);
}

static void closing_all_descriptors_harms_nobody(void) {
    int fd = open_render();
    expect_works(fd);
    closefrom(fd + 1);
    expect_works(fd);
    CHECK(close_range((unsigned)fd + 1, UINT_MAX, 0) == 0);
    expect_works(fd);
    for (int other = fd + 1; other < 4096; ++other) close(other);
    expect_works(fd);
    closefrom(fd);
    CHECK_ERRNO(EBADF, ioctl(fd, BO_CREATE, NULL));
    /* The numbers that were closed go to the program, and to nobody else. */
    int first = open_render();
    CHECK(first == fd);
    expect_works(first);
    int plain = open("/dev/null", O_RDWR | O_CLOEXEC);
    CHECK(plain == fd + 1);
    expect_works(first);
    CHECK(write(plain, "x", 1) == 1);
}

static void files_open_until_the_program_may_have_no_more(void) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = 256;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    int count = 0, last = -1;
    for (int fd; (fd = open(RENDER, O_RDWR | O_CLOEXEC)) >= 0; ++count) {
        expect_works(fd);
        last = fd;
    }
    CHECK(errno == EMFILE);
    CHECK(count > 200 && last == 255);
    expect_works(last);
    struct rlimit after;
    CHECK(getrlimit(RLIMIT_NOFILE, &after) == 0 && after.rlim_cur == 256);
    close(last);  // a leak checker needs descriptors of its own at the end
    close(last - 1);
    close(last - 2);
}

static void a_number_that_another_file_gets_is_that_file(void) {
    int one = open_render();
    uint32_t in_one = create_bo(one, 4096);
    int two = open_render();
    CHECK(dup2(two, one) == one);
    struct bo_mmap_offset bo = {.handle = in_one};
    CHECK_ERRNO(ENOENT, ioctl(one, BO_MMAP_OFFSET, &bo));
    close(one);
    CHECK(open("/dev/null", O_RDWR | O_CLOEXEC) == one);
    CHECK_ERRNO(ENOTTY, ioctl(one, BO_MMAP_OFFSET, &bo));
    expect_works(two);
}

static void a_child_uses_what_it_inherits(void) {
    int fd = open_render();
    uint32_t handle = create_bo(fd, 4096);
    volatile uint32_t* mine = map_bo(fd, handle, 4096);
    pid_t child = fork();
    if (child == 0) {
        volatile uint32_t* theirs = map_bo(fd, handle, 4096);
        theirs[1] = mine[0] + 1;
        expect_works(fd);
        _exit(0);
    }
    for (int i = 0; i < 100; ++i) expect_works(fd); /* both at once */
    expect_child_succeeds(child);
    CHECK(mine[1] == 1);
}

static void another_program_uses_what_it_inherits(void) {
    int fd = open(RENDER, O_RDWR);
    CHECK(fd >= 0);
    int closed = open_render();
    uint32_t handle = create_bo(fd, 4096);
    pid_t child = fork();
    if (child == 0) {
        char number[16], name[16], gone[16];
        snprintf(number, sizeof number, "%d", fd);
        snprintf(name, sizeof name, "%u", handle);
        snprintf(gone, sizeof gone, "%d", closed);
        execl("/proc/self/exe", "files", "inherited", number, name, gone, NULL);
        _exit(1);
    }
    expect_child_succeeds(child);
}

static int inherited(char** argv) {
    int fd = atoi(argv[2]);
    struct stat status;
    CHECK(fstat(fd, &status) == 0 && S_ISCHR(status.st_mode));
    CHECK(offset_of(fd, (uint32_t)atoi(argv[3])) != 0);
    CHECK_ERRNO(EBADF, fcntl(atoi(argv[4]), F_GETFD));
    return 0;
}

static void a_received_descriptor_is_the_same_file(void) {
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    pid_t child = fork();
    if (child == 0) {
        int fd = receive_fd(pair[1]);
        struct stat status;
        CHECK(fstat(fd, &status) == 0 && status.st_rdev == makedev(226, 128));
        uint32_t handle = create_bo(fd, 8192);
        CHECK(write(pair[1], &handle, sizeof handle) == sizeof handle);
        _exit(0);
    }
    int fd = open_render();
    send_fd(pair[0], fd);
    uint32_t handle = 0;
    CHECK(read(pair[0], &handle, sizeof handle) == sizeof handle);
    expect_child_succeeds(child);
    CHECK(offset_of(fd, handle) != 0);
}

static void* use(void* argument) {
    int fd = *(int*)argument;
    for (int i = 0; i < 200; ++i) {
        uint32_t handle = create_bo(fd, 4096);
        volatile uint32_t* at = map_bo(fd, handle, 4096);
        CHECK(at[0] == 0);
        at[0] = handle;
        CHECK(at[0] == handle);
        munmap((void*)at, 4096);
        CHECK(drmCloseBufferHandle(fd, handle) == 0);
    }
    return NULL;
}

static void threads_share_a_file(void) {
    int fd = open_render();
    pthread_t threads[8];
    for (int i = 0; i < 8; ++i) CHECK(pthread_create(&threads[i], NULL, use, &fd) == 0);
    for (int i = 0; i < 8; ++i) pthread_join(threads[i], NULL);
}

struct until_told {
    int fd;
    atomic_int enough;
};

static void* use_until_told(void* argument) {
    struct until_told* of = argument;
    while (!atomic_load(&of->enough)) {
        uint32_t handle = create_bo(of->fd, 4096);
        CHECK(drmCloseBufferHandle(of->fd, handle) == 0);
    }
    return NULL;
}

static void forks_at_any_moment_leave_both_sides_working(void) {
    struct until_told of = {.fd = open_render()};
    pthread_t threads[4];
    for (int i = 0; i < 4; ++i) CHECK(pthread_create(&threads[i], NULL, use_until_told, &of) == 0);
    for (int i = 0; i < 50; ++i) {
        pid_t child = fork();
        if (child == 0) {
            for (int j = 0; j < 5; ++j) expect_works(of.fd);
            int own = open_render();
            expect_works(own);
            _exit(0);
        }
        expect_child_succeeds(child);
    }
    atomic_store(&of.enough, 1);
    for (int i = 0; i < 4; ++i) pthread_join(threads[i], NULL);
}

static void* open_and_close(void* unused) {
    (void)unused;
    for (int i = 0; i < 100; ++i) {
        int fd = open_render();
        expect_works(fd);
        int copy = dup(fd);
        close(fd);
        expect_works(copy);
        close(copy);
    }
    return NULL;
}

static void threads_open_and_close_files(void) {
    pthread_t threads[8];
    for (int i = 0; i < 8; ++i) CHECK(pthread_create(&threads[i], NULL, open_and_close, NULL) == 0);
    for (int i = 0; i < 8; ++i) pthread_join(threads[i], NULL);
}

static void memory_is_shared_and_placed_where_asked(void) {
    int fd = open_render();
    uint32_t handle = create_bo(fd, 16384);
    volatile uint32_t* whole = map_bo(fd, handle, 16384);
    for (int i = 0; i < 4096; ++i) CHECK(whole[i] == 0);
    off_t offset = (off_t)offset_of(fd, handle);
    void* reserved = mmap(NULL, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(reserved != MAP_FAILED);
    void* wanted = (char*)reserved + 16384;
    CHECK(mmap(wanted, 16384, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, offset) == wanted);
    ((volatile uint32_t*)wanted)[7] = 42;
    CHECK(whole[7] == 42);
    errno = 0;
    CHECK(mmap(wanted, 4096, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, offset) == MAP_FAILED);
    CHECK(errno == EEXIST);
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, offset) != MAP_FAILED); /* shorter is fine */
    CHECK(mmap(NULL, 16384, PROT_READ, MAP_PRIVATE, fd, offset) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, 32768, PROT_READ, MAP_SHARED, fd, offset) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 4096) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, offset + 1) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, 0, PROT_READ, MAP_SHARED, fd, offset) == MAP_FAILED && errno == EINVAL);
    /* Memory outlives the file and its handle. */
    close(fd);
    whole[9] = 43;
    CHECK(((volatile uint32_t*)wanted)[9] == 43);
}

static void the_flush_id_page_can_only_be_read(void) {
    int fd = open_render();
    off_t offset = (off_t)(1ull << 56);
    CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, offset) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, offset) == MAP_FAILED && errno == EINVAL);
    volatile uint32_t* page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, offset);
    CHECK(page != MAP_FAILED);
    (void)page[0];
    CHECK_ERRNO(EACCES, mprotect((void*)page, 4096, PROT_READ | PROT_WRITE));
}

static void bad_pointers_are_errors(void) {
    int fd = open_render();
    char* page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    CHECK(munmap(page + 4096, 4096) == 0);
    CHECK_ERRNO(EFAULT, ioctl(fd, BO_CREATE, NULL));
    CHECK_ERRNO(EFAULT, ioctl(fd, BO_CREATE, (void*)8));
    CHECK_ERRNO(EFAULT, ioctl(fd, BO_CREATE, page + 4096 - 8));
    CHECK_ERRNO(EFAULT, ioctl(fd, BO_CREATE, (void*)~0ul));
    struct bo_create* bo = (struct bo_create*)page;
    bo->size = 4096;
    CHECK(mprotect(page, 4096, PROT_READ) == 0);
    CHECK_ERRNO(EFAULT, ioctl(fd, BO_CREATE, bo)); /* the answer cannot be written */
    struct {
        uint64_t handles;
        int64_t timeout;
        uint32_t count, flags, first, pad;
        uint64_t deadline;
    } wait = {.handles = 8, .count = 1};
    CHECK_ERRNO(EFAULT, ioctl(fd, _IOWR('d', 0xc3, wait), &wait));
    struct drm_version version = {.name_len = 16, .name = (char*)8};
    CHECK_ERRNO(EFAULT, ioctl(fd, DRM_IOCTL_VERSION, &version));
}

static void unknown_requests_are_refused(void) {
    int fd = open_render();
    char room[256] = {0};
    CHECK_ERRNO(ENOTTY, ioctl(fd, _IOWR('x', 1, room), room));
    CHECK_ERRNO(ENOTTY, ioctl(fd, _IOWR('>', 3, room), room));
    CHECK_ERRNO(EINVAL, ioctl(fd, _IOWR('d', 0x9f, struct bo_create), room));
    CHECK_ERRNO(ENOTTY, ioctl(STDIN_FILENO, BO_CREATE, room));
    int pipe_ends[2];
    CHECK(pipe(pipe_ends) == 0);
    CHECK_ERRNO(ENOTTY, ioctl(pipe_ends[0], _IOWR('>', 4, room), room)); /* no sync file of ours */
    CHECK_ERRNO(ENOTTY, ioctl(pipe_ends[0], BO_CREATE, room));
    int memory = memfd_create("mine", MFD_CLOEXEC);
    CHECK_ERRNO(ENOTTY, ioctl(memory, _IOW('b', 0, uint64_t), room));
    CHECK(isatty(fd) == 0);
}

static void* wait_in_vain(void* argument) {
    int fd = *(int*)argument;
    uint32_t handle = 0;
    CHECK(drmSyncobjCreate(fd, 0, &handle) == 0);
    CHECK(drmSyncobjWait(fd, &handle, 1, INT64_MAX, DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT, NULL) == -ENODEV);
    return NULL;
}

static void a_dead_driver_is_no_device(void) {
    int fd = open_render();
    volatile uint32_t* memory = map_bo(fd, create_bo(fd, 4096), 4096);
    pthread_t waiter;
    CHECK(pthread_create(&waiter, NULL, wait_in_vain, &fd) == 0);
    usleep(20000);
    struct ucred driver;
    socklen_t length = sizeof driver;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &driver, &length) == 0);
    CHECK(kill(driver.pid, SIGKILL) == 0);
    pthread_join(waiter, NULL);
    struct drm_version version = {0};
    CHECK_ERRNO(ENODEV, ioctl(fd, DRM_IOCTL_VERSION, &version));
    int again; /* its doors close a moment after its connections, perhaps */
    while ((again = open(RENDER, O_RDWR)) >= 0) close(again);
    CHECK(errno == ENODEV);
    struct stat status;
    CHECK(fstat(fd, &status) == 0 && status.st_rdev == makedev(226, 128));
    memory[0] = 1; /* what is mapped stays */
    CHECK(close(fd) == 0);
}

int main(int argc, char** argv) {
    static const struct test_case cases[] = {
        {"copies", copies_are_one_file},
        {"reopen", a_reopened_descriptor_is_a_new_file},
        {"closefrom", closing_all_descriptors_harms_nobody},
        {"limit", files_open_until_the_program_may_have_no_more},
        {"renumber", a_number_that_another_file_gets_is_that_file},
        {"fork", a_child_uses_what_it_inherits},
        {"exec", another_program_uses_what_it_inherits},
        {"pass", a_received_descriptor_is_the_same_file},
        {"threads", threads_share_a_file},
        {"fork-threads", forks_at_any_moment_leave_both_sides_working},
        {"open-threads", threads_open_and_close_files},
        {"mmap", memory_is_shared_and_placed_where_asked},
        {"flush-id", the_flush_id_page_can_only_be_read},
        {"fault", bad_pointers_are_errors},
        {"unknown", unknown_requests_are_refused},
        {"no-driver", a_dead_driver_is_no_device},
    };
    if (argc == 5 && strcmp(argv[1], "inherited") == 0) return inherited(argv);
    return RUN_CASE(argc, argv, cases);
}
