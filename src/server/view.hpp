// View: the directory tree that programs are shown in place of /dev/dri and of what lies in /sys about it.
//
// Owns    the tree at PATH.view, beside the socket PATH: mode 0700, removed in the end.
// Runs    in the driver actor: made before clients are served.
// Called  by Server, which opens a door at each of the nodes' names in it; read by the preload library.
// Why so  real files and links answer stat, readlink, realpath and readdir as sysfs does, in any process, and
//         nothing must be kept up to date; a connected socket's peer name tells which node a program has
//         open.
#pragma once

#include <expected>
#include <string>
#include <utility>

#include <sys/types.h>

namespace belfry::server {

class View {
  public:
    // Where the listening sockets belong.
    static constexpr auto* kRenderNode = "dev/dri/renderD128";
    static constexpr auto* kPrimaryNode = "dev/dri/card0";
    static constexpr auto* kSwSyncNode = "dev/sw_sync";
    /// Not for programs: who connects here is told which groups of its programs have ended (EndReports).
    static constexpr auto* kEnded = "ended";

    /// Writes the tree for the socket at `socket_path`; all but the nodes. Replaces one that a daemon left
    /// behind there, refuses to replace anything else. The error is a sentence.
    static std::expected<View, std::string> make(const std::string& socket_path);

    View(View&& other) noexcept
        : root_(std::exchange(other.root_, {})), device_(other.device_), inode_(other.inode_) {}
    View& operator=(View&&) = delete;
    ~View();

    /// The path of what programs see at "/" + `name`.
    [[nodiscard]] std::string at(const std::string& name) const { return root_ + "/" + name; }

  private:
    View(std::string root, dev_t device, ino_t inode)
        : root_(std::move(root)), device_(device), inode_(inode) {}

    std::string root_;
    dev_t device_;  // with inode_: which directory is ours
    ino_t inode_;
};

}  // namespace belfry::server
