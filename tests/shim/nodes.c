/* How the device is found: nodes, sysfs, and what libdrm makes of them. */
#include <dirent.h>
#include <glob.h>

#include "check.h"

static void libdrm_lists_one_device_with_both_nodes(void) {
    drmDevicePtr devices[8];
    int count = drmGetDevices2(0, devices, 8);
    CHECK(count == 1);
    CHECK(devices[0]->bustype == DRM_BUS_PLATFORM);
    CHECK((devices[0]->available_nodes & (1 << DRM_NODE_RENDER)) != 0);
    CHECK((devices[0]->available_nodes & (1 << DRM_NODE_PRIMARY)) != 0);
    CHECK(strcmp(devices[0]->nodes[DRM_NODE_RENDER], RENDER) == 0);
    CHECK(strcmp(devices[0]->nodes[DRM_NODE_PRIMARY], CARD) == 0);
    CHECK(strcmp(devices[0]->businfo.platform->fullname, "/gpu@fb000000") == 0);
    CHECK(strcmp(devices[0]->deviceinfo.platform->compatible[0], "rockchip,rk3588-mali") == 0);
    CHECK(strcmp(devices[0]->deviceinfo.platform->compatible[1], "arm,mali-valhall-csf") == 0);
    drmFreeDevices(devices, count);
}

static void libdrm_names_an_open_descriptor(void) {
    int fd = open_render();
    drmVersionPtr version = drmGetVersion(fd);
    CHECK(version != NULL);
    CHECK(strcmp(version->name, "panthor") == 0);
    CHECK(version->version_major == 1);
    drmFreeVersion(version);
    CHECK(drmGetNodeTypeFromFd(fd) == DRM_NODE_RENDER);
    char* name = drmGetRenderDeviceNameFromFd(fd);
    CHECK(name != NULL && strcmp(name, RENDER) == 0);
    free(name);
    name = drmGetPrimaryDeviceNameFromFd(fd);
    CHECK(name != NULL && strcmp(name, CARD) == 0);
    free(name);
    name = drmGetDeviceNameFromFd2(fd);
    CHECK(name != NULL && strcmp(name, RENDER) == 0);
    free(name);
    drmDevicePtr device;
    CHECK(drmGetDevice2(fd, 0, &device) == 0);
    CHECK(strcmp(device->nodes[DRM_NODE_RENDER], RENDER) == 0);
    drmFreeDevice(&device);

    int card = open(CARD, O_RDWR | O_CLOEXEC);
    CHECK(card >= 0);
    CHECK(drmGetNodeTypeFromFd(card) == DRM_NODE_PRIMARY);
}

static void expect_same(const struct stat* one, const struct stat* other) {
    CHECK(one->st_dev == other->st_dev);
    CHECK(one->st_ino == other->st_ino);
    CHECK(one->st_mode == other->st_mode);
    CHECK(one->st_rdev == other->st_rdev);
    CHECK(one->st_nlink == other->st_nlink);
}

static void a_descriptor_shows_what_its_path_shows(void) {
    static const struct {
        const char* path;
        unsigned minor;
        mode_t mode;
    } nodes[] = {{RENDER, 128, 0666}, {CARD, 0, 0660}};
    struct stat first = {0};
    for (size_t i = 0; i < 2; ++i) {
        struct stat of_path, of_fd, other;
        int fd = open(nodes[i].path, O_RDWR | O_CLOEXEC);
        CHECK(fd >= 0);
        CHECK(stat(nodes[i].path, &of_path) == 0);
        CHECK(fstat(fd, &of_fd) == 0);
        CHECK(of_path.st_mode == (S_IFCHR | nodes[i].mode));
        CHECK(of_path.st_rdev == makedev(226, nodes[i].minor));
        CHECK(of_path.st_nlink == 1);
        expect_same(&of_path, &of_fd);
        CHECK(lstat(nodes[i].path, &other) == 0);
        expect_same(&of_path, &other);
        CHECK(fstatat(fd, "", &other, AT_EMPTY_PATH) == 0);
        expect_same(&of_path, &other);
        int directory = open("/dev/dri", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CHECK(directory >= 0);
        CHECK(fstatat(directory, strrchr(nodes[i].path, '/') + 1, &other, 0) == 0);
        expect_same(&of_path, &other);
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        CHECK(stat(link, &other) == 0);
        expect_same(&of_path, &other);
        struct statx extended;
        CHECK(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &extended) == 0);
        CHECK(extended.stx_rdev_major == 226 && extended.stx_rdev_minor == nodes[i].minor);
        CHECK(extended.stx_ino == of_path.st_ino && S_ISCHR(extended.stx_mode));
        CHECK(statx(AT_FDCWD, nodes[i].path, 0, STATX_BASIC_STATS, &extended) == 0);
        CHECK(extended.stx_rdev_major == 226 && extended.stx_rdev_minor == nodes[i].minor);
        CHECK(extended.stx_ino == of_path.st_ino && S_ISCHR(extended.stx_mode));
        if (i == 0) {
            first = of_path;
        } else {
            CHECK(first.st_dev == of_path.st_dev && first.st_ino != of_path.st_ino);
        }
    }
    CHECK_ERRNO(ENOENT, stat("/dev/dri/card1", &first));
    CHECK_ERRNO(ENOENT, access("/dev/dri/card128", F_OK));
    CHECK(access(RENDER, R_OK | W_OK) == 0);
    CHECK(faccessat(AT_FDCWD, "/dev//dri/./renderD128", R_OK | W_OK, 0) == 0);
}

static int is_node(const struct dirent* entry) { return entry->d_name[0] != '.'; }

static void the_directory_lists_two_devices(void) {
    DIR* directory = opendir("/dev/dri");
    CHECK(directory != NULL);
    int cards = 0, renders = 0, others = 0;
    for (struct dirent* entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        CHECK(entry->d_type == DT_CHR || entry->d_type == DT_UNKNOWN);
        if (strcmp(entry->d_name, "card0") == 0)
            ++cards;
        else if (strcmp(entry->d_name, "renderD128") == 0)
            ++renders;
        else
            ++others;
    }
    closedir(directory);
    CHECK(cards == 1 && renders == 1 && others == 0);

    struct dirent** entries;
    CHECK(scandir("/dev/dri", &entries, is_node, alphasort) == 2);
    CHECK(strcmp(entries[0]->d_name, "card0") == 0 && entries[0]->d_type != DT_SOCK);

    free(entries[0]);
    free(entries[1]);
    free(entries);

    glob_t found;
    CHECK(glob("/dev/dri/card*", 0, NULL, &found) == 0);
    CHECK(found.gl_pathc == 1 && strcmp(found.gl_pathv[0], CARD) == 0);
    globfree(&found);
    CHECK(glob("/sys/class/drm/*", 0, NULL, &found) == 0);
    CHECK(found.gl_pathc == 2 && strcmp(found.gl_pathv[1], "/sys/class/drm/renderD128") == 0);
    globfree(&found);
}

static void names_never_show_where_the_view_is(void) {
    char path[PATH_MAX], link[64];
    int fd = open_render();
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    CHECK(length == (ssize_t)strlen(RENDER) && memcmp(path, RENDER, (size_t)length) == 0);
    CHECK(readlink(link, path, 4) == 4 && memcmp(path, "/dev", 4) == 0);
    CHECK(realpath(link, path) != NULL && strcmp(path, RENDER) == 0);
    CHECK(realpath(RENDER, path) != NULL && strcmp(path, RENDER) == 0);
    CHECK(realpath("/sys/dev/char/226:0/device", path) != NULL);
    CHECK(strcmp(path, "/sys/devices/platform/fb000000.gpu") == 0);
    CHECK(realpath("/sys/dev/char/226:128/device", path) != NULL);
    CHECK(strcmp(path, "/sys/devices/platform/fb000000.gpu") == 0);
    char* name = canonicalize_file_name("/sys/class/drm/card0");
    CHECK(name != NULL && strcmp(name, "/sys/devices/platform/fb000000.gpu/drm/card0") == 0);
    free(name);
    length = readlink("/sys/dev/char/226:128/device/subsystem", path, sizeof path - 1);
    CHECK(length > 0);
    path[length] = '\0';
    CHECK(strcmp(strrchr(path, '/'), "/platform") == 0);

    int directory = open("/dev/dri", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    length = readlink(link, path, sizeof path);
    CHECK(length == 8 && memcmp(path, "/dev/dri", 8) == 0);
    CHECK(chdir("/dev/dri") == 0);
    CHECK(getcwd(path, sizeof path) != NULL && strcmp(path, "/dev/dri") == 0);
    CHECK(open("renderD128", O_RDWR | O_CLOEXEC) >= 0);
    CHECK(openat(directory, "card0", O_RDWR | O_CLOEXEC) >= 0);
    CHECK(chdir("/dev") == 0);
    int relative = open("dri/renderD128", O_RDWR | O_CLOEXEC);
    CHECK(relative >= 0);
    expect_works(relative);
}

static void sysfs_reads_as_on_the_board(void) {
    static const struct {
        const char *path, *line;
    } files[] = {
        {"/sys/dev/char/226:128/uevent", "DEVNAME=dri/renderD128\n"},
        {"/sys/dev/char/226:0/uevent", "DEVNAME=dri/card0\n"},
        {"/sys/dev/char/226:0/device/uevent", "OF_FULLNAME=/gpu@fb000000\n"},
        {"/sys/class/drm/renderD128/dev", "226:128\n"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; ++i) {
        char line[256];
        int found = 0;
        FILE* file = fopen(files[i].path, "r");
        CHECK(file != NULL);
        while (fgets(line, sizeof line, file) != NULL) found += strcmp(line, files[i].line) == 0;
        fclose(file);
        CHECK(found == 1);
    }
    struct stat status;
    CHECK(stat("/sys/dev/char/226:128/device/drm", &status) == 0 && S_ISDIR(status.st_mode));
}

static void opening_fails_as_it_does_on_linux(void) {
    CHECK_ERRNO(EBUSY, open(RENDER, O_RDWR | O_EXCL));
    CHECK_ERRNO(ENOENT, open("/dev/dri/renderD129", O_RDWR));
    CHECK_ERRNO(ENOTDIR, open("/dev/dri/renderD128/x", O_RDWR));
    CHECK_ERRNO(ENOTDIR, open(RENDER, O_RDONLY | O_DIRECTORY));
    int fd = open(RENDER, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    char byte;
    CHECK_ERRNO(EAGAIN, read(fd, &byte, 1));
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    expect_works(fd);
}

int main(int argc, char** argv) {
    static const struct test_case cases[] = {
        {"devices", libdrm_lists_one_device_with_both_nodes}, {"names", libdrm_names_an_open_descriptor},
        {"stat", a_descriptor_shows_what_its_path_shows},     {"directory", the_directory_lists_two_devices},
        {"paths", names_never_show_where_the_view_is},        {"sysfs", sysfs_reads_as_on_the_board},
        {"open", opening_fails_as_it_does_on_linux},
    };
    return RUN_CASE(argc, argv, cases);
}
