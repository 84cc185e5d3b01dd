#include "server/view.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include <sys/stat.h>
#include <unistd.h>

namespace belfry::server {

namespace {

namespace fs = std::filesystem;

struct Entry {
    const char* path;
    const char* content;  // of a file; of a link, where it leads
};

/// Tells a tree that a daemon made from a directory of the user's. Written first, so it goes with a torn tree
/// too.
constexpr Entry kMark = {
    ".belfryd", "What belfryd shows to programs in place of /dev and /sys. It goes when belfryd ends.\n"};

// facts/uapi.md 6.3: what libdrm, Mesa's loader and udev look for, as a real RK3588 has it.
constexpr std::array kFiles = {
    Entry{"sys/devices/platform/fb000000.gpu/uevent",
          "DRIVER=panthor\n"
          "OF_NAME=gpu\n"
          "OF_FULLNAME=/gpu@fb000000\n"
          "OF_COMPATIBLE_0=rockchip,rk3588-mali\n"
          "OF_COMPATIBLE_1=arm,mali-valhall-csf\n"
          "OF_COMPATIBLE_N=2\n"
          "MODALIAS=of:NgpuT(null)Crockchip,rk3588-maliCarm,mali-valhall-csf\n"},
    Entry{"sys/devices/platform/fb000000.gpu/modalias",
          "of:NgpuT(null)Crockchip,rk3588-maliCarm,mali-valhall-csf\n"},
    Entry{"sys/devices/platform/fb000000.gpu/profiling", "0\n"},
    Entry{"sys/devices/platform/fb000000.gpu/drm/card0/dev", "226:0\n"},
    Entry{"sys/devices/platform/fb000000.gpu/drm/card0/uevent",
          "MAJOR=226\nMINOR=0\nDEVNAME=dri/card0\nDEVTYPE=drm_minor\n"},
    Entry{"sys/devices/platform/fb000000.gpu/drm/renderD128/dev", "226:128\n"},
    Entry{"sys/devices/platform/fb000000.gpu/drm/renderD128/uevent",
          "MAJOR=226\nMINOR=128\nDEVNAME=dri/renderD128\nDEVTYPE=drm_minor\n"},
};

constexpr std::array kLinks = {
    Entry{"sys/devices/platform/fb000000.gpu/driver", "../../../bus/platform/drivers/panthor"},
    Entry{"sys/devices/platform/fb000000.gpu/subsystem", "../../../bus/platform"},
    Entry{"sys/devices/platform/fb000000.gpu/drm/card0/device", "../../../fb000000.gpu"},
    Entry{"sys/devices/platform/fb000000.gpu/drm/card0/subsystem", "../../../../../class/drm"},
    Entry{"sys/devices/platform/fb000000.gpu/drm/renderD128/device", "../../../fb000000.gpu"},
    Entry{"sys/devices/platform/fb000000.gpu/drm/renderD128/subsystem", "../../../../../class/drm"},
    Entry{"sys/bus/platform/devices/fb000000.gpu", "../../../devices/platform/fb000000.gpu"},
    Entry{"sys/bus/platform/drivers/panthor/fb000000.gpu", "../../../../devices/platform/fb000000.gpu"},
    Entry{"sys/class/drm/card0", "../../devices/platform/fb000000.gpu/drm/card0"},
    Entry{"sys/class/drm/renderD128", "../../devices/platform/fb000000.gpu/drm/renderD128"},
    Entry{"sys/dev/char/226:0", "../../devices/platform/fb000000.gpu/drm/card0"},
    Entry{"sys/dev/char/226:128", "../../devices/platform/fb000000.gpu/drm/renderD128"},
};

std::unexpected<std::string> cannot(const std::string& what, const std::string& path, int error) {
    return std::unexpected("cannot " + what + " '" + path + "': " + std::strerror(error));
}

/// Whether a daemon of this user made the directory; one that was killed before it wrote anything included.
bool is_left_behind(const std::string& root, const struct stat& status) {
    std::error_code ignored;
    return S_ISDIR(status.st_mode) && status.st_uid == ::geteuid() &&
           (fs::is_regular_file(fs::symlink_status(root + "/" + kMark.path, ignored)) ||
            fs::is_empty(root, ignored));
}

std::expected<void, std::string> make_directories(const fs::path& path) {
    std::error_code failed;
    fs::create_directories(path, failed);
    if (failed) return cannot("make directory", path, failed.value());
    return {};
}

std::expected<void, std::string> write_file(const fs::path& root, const Entry& entry) {
    const fs::path path = root / entry.path;
    if (auto made = make_directories(path.parent_path()); !made) return made;
    std::ofstream file(path);
    file << entry.content;
    file.close();
    if (!file) return cannot("write", path, errno);
    return {};
}

std::expected<void, std::string> write_link(const fs::path& root, const Entry& entry) {
    const fs::path path = root / entry.path;
    if (auto made = make_directories(path.parent_path()); !made) return made;
    std::error_code failed;
    fs::create_symlink(entry.content, path, failed);
    if (failed) return cannot("make the link", path, failed.value());
    return {};
}

std::expected<void, std::string> write_tree(const fs::path& root) {
    if (auto written = write_file(root, kMark); !written) return written;
    for (const Entry& file : kFiles)
        if (auto written = write_file(root, file); !written) return written;
    for (const Entry& link : kLinks)
        if (auto written = write_link(root, link); !written) return written;
    return make_directories(root / "dev/dri");
}

}  // namespace

std::expected<View, std::string> View::make(const std::string& socket_path) {
    const std::string root = socket_path + ".view";
    struct stat status{};
    if (::lstat(root.c_str(), &status) == 0) {
        if (!is_left_behind(root, status))
            return std::unexpected("'" + root +
                                   "' exists and was not made by belfryd: refusing to replace it");
        std::error_code failed;
        fs::remove_all(root, failed);
        if (failed) return cannot("remove the stale directory", root, failed.value());
    }
    if (::mkdir(root.c_str(), 0700) != 0 || ::lstat(root.c_str(), &status) != 0)
        return cannot("make directory", root, errno);
    View view(root, status.st_dev, status.st_ino);
    if (auto written = write_tree(root); !written) return std::unexpected(std::move(written.error()));
    return view;
}

View::~View() {
    struct stat status{};
    if (root_.empty() || ::lstat(root_.c_str(), &status) != 0 || status.st_dev != device_ ||
        status.st_ino != inode_)
        return;
    std::error_code ignored;
    fs::remove_all(root_, ignored);
}

}  // namespace belfry::server
