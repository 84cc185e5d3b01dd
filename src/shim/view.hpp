// View: which paths and descriptors of the program are belfryd's, and where they really lead.
//
// Owns    what was learnt of belfryd in this process: its view, and a connection that keeps it and carries
// the
//         requests that have no DRM file of their own.
// Runs    on any thread of the program, in forked children and in signal handlers: no locks, and nothing is
//         allocated for a path or descriptor that is not belfryd's.
// Called  by the replaced functions.
//
// belfryd keeps a tree at SOCKET.view (src/server/view.cpp): the nodes in it are sockets, all else are plain
// files. So most of what the program asks is answered by the kernel once its path leads there. Nothing is
// remembered of descriptors: one is belfryd's if its peer is a node of a view, so that duplicated, inherited
// and received ones are known as well as those that were opened here.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <sys/types.h>

namespace belfry::shim {

struct Node {
    const char* path;  ///< as the program sees it
    mode_t mode;
    unsigned major;
    unsigned minor;

    [[nodiscard]] const char* name() const;
    [[nodiscard]] bool is_timeline() const;  ///< of sw_sync
};

/// A descriptor of the program that is connected to a node.
struct OpenNode {
    const Node* node;
    ino_t inode;         ///< of the connection: the same for all copies of the descriptor
    std::string socket;  ///< the node's, in the view
};

class View {
  public:
    enum class Start { yes, no };
    /// Finds belfryd at the first call, or starts a private one. Null: unreachable, which is said once; not
    /// if none was to be started.
    static const View* find(Start start = Start::yes);
    /// Null as long as nothing was looked for.
    static const View* known();

    /// Where the node's socket is.
    [[nodiscard]] std::string at(std::string_view seen) const { return root_ + std::string(seen); }
    /// What the program is shown for a path in the view; empty for any other.
    [[nodiscard]] std::string_view seen(std::string_view path) const;
    [[nodiscard]] bool is_in_sys(std::string_view path) const;
    /// By the file system's identity of its socket.
    [[nodiscard]] const Node* node(dev_t device, ino_t inode) const;
    /// For an entry of a directory.
    [[nodiscard]] bool has_node(std::string_view name, ino_t inode) const;

    /// A DRM file that the program does not see. -1: belfryd has gone.
    [[nodiscard]] int hidden_file() const;

  private:
    View(std::string root, dev_t device, std::uint64_t hidden_file)
        : root_(std::move(root)), device_(device), hidden_file_(hidden_file) {}
    std::string root_;  // canonical
    dev_t device_;      // of the file system that it lies on
    mutable std::atomic<std::uint64_t> hidden_file_;
};

/// A path of the program as the kernel is to see it.
class SeenPath {
  public:
    explicit SeenPath(const char* path, int directory = AT_FDCWD);
    /// Leads nowhere if belfryd is unreachable: then there are no such files.
    [[nodiscard]] const char* get() const { return real_.empty() ? path_ : real_.c_str(); }
    /// One of the nodes or their directory, while belfryd is unreachable.
    [[nodiscard]] bool is_missing_device() const { return missing_device_; }

  private:
    const char* path_;
    std::string real_;
    bool missing_device_ = false;
};

/// Where a directory that is open, or the current one (AT_FDCWD), really is; empty if that is nowhere.
std::string path_of(int fd);

std::optional<OpenNode> open_node(int fd);
/// The same for one that is known to be a socket with this inode.
std::optional<OpenNode> open_node(int fd, ino_t inode);
/// The same for a path that names a descriptor of this process, as /proc/self/fd/5 does.
std::optional<OpenNode> open_node_of_link(const char* path);
const Node* node_of_socket(const std::string& socket);

/// Opens the node whose socket is at `path`. -1 with errno; that belfryd is unreachable is said once.
int connect_to_node(const std::string& path, int open_flags);

// ---- Numbers of descriptors

/// A set of small descriptor numbers, without locks. Larger ones are never in it.
class FdSet {
  public:
    void add(int fd);
    void remove(int fd);
    [[nodiscard]] bool has(int fd) const;
    /// The first one from `fd` on; -1 if there is none.
    [[nodiscard]] int next(unsigned fd) const;

  private:
    static constexpr unsigned kMax = 1U << 16;
    std::uint64_t words_[kMax / 64] = {};
};

/// Descriptors of the library's own: the program cannot close them by chance.
extern FdSet own_fds;
/// Moves a descriptor of the library's own out of the program's way, where it may stay open until exec.
int hide_fd(int fd);

}  // namespace belfry::shim
