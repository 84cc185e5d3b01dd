// Exports: objects that clients hold by descriptor (sync files, syncobjs, dma-bufs), and how one is
// recognised when its descriptor comes back.
//
// Owns    a reference of each exported object for as long as any copy of its descriptor is open anywhere.
// Runs    in the driver actor. One for a device.
// Called  by the ioctls that export, import or work on descriptors; told by the host when the last copy of a
//         descriptor is closed.
// Why so  possession of the descriptor is the capability, and its inode the name: descriptors travel between
//         processes without us, so that nothing about them can be kept per file.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <variant>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "drm/buffer.hpp"
#include "drm/fence.hpp"
#include "drm/syncobj.hpp"

namespace belfry::drm {

/// Names what lies behind a descriptor, whichever copy of it one holds.
struct Inode {
    std::uint64_t device = 0;
    std::uint64_t number = 0;
    friend bool operator==(const Inode&, const Inode&) = default;
};
struct InodeHash {
    std::size_t operator()(const Inode& inode) const {
        return std::hash<std::uint64_t>()(inode.number * 31 + inode.device);
    }
};
/// EBADF.
[[nodiscard]] Result<Inode> inode_of(int fd);

/// What makes the descriptors that clients hold, and notices when the last copy of one is closed. The
/// server's; a test's.
class ExportHost {
  public:
    struct Token {
        base::Fd fd;  ///< to be handed out; the host keeps no copy of it
        Inode inode;
    };
    virtual ~ExportHost() = default;
    /// Where to tell that no copy is left: called from the event loop, never from within the functions here.
    virtual void on_last_closed(std::function<void(Inode)> closed) = 0;
    /// A descriptor that can be held, passed on and polled, and nothing else. EMFILE, ENFILE.
    virtual Result<Token> make_token() = 0;
    /// Makes the token readable (POLLIN), for good.
    virtual void signal_token(Inode token) = 0;
    /// A further open file of the memfd `memory`, to be handed out (the host keeps no copy). Told closed when
    /// no such file of it is left open, mappings included; its inode is that of `memory`.
    virtual Result<base::Fd> open_memory(int memory) = 0;
};

/// A fence behind a descriptor.
class SyncFile {
  public:
    SyncFile(ExportHost& host, Inode inode, FencePtr fence, std::string name);
    [[nodiscard]] const FencePtr& fence() const { return fence_; }
    /// As FILE_INFO reports it; at most 31 characters.
    [[nodiscard]] const std::string& name() const { return name_; }

  private:
    FencePtr fence_;
    std::string name_;
    FenceCallback signalled_;
    ExportHost& host_;
    Inode inode_;
};

class Exports {
  public:
    /// `host` outlives this.
    explicit Exports(ExportHost& host);
    Exports(const Exports&) = delete;
    Exports& operator=(const Exports&) = delete;

    /// A new sync file; readable once `fence` is signalled. An empty name: one is made of the fence's
    /// numbers.
    [[nodiscard]] Result<base::Fd> export_fence(FencePtr fence, std::string name = {});
    /// A descriptor of the syncobj itself.
    [[nodiscard]] Result<base::Fd> export_syncobj(SyncobjPtr syncobj);
    /// A file of the resident buffer's memory, the same for each call (same inode): its dma-buf, and what a
    /// client maps that must be seen to let go of it. Pins the buffer until no copy or mapping is left.
    /// ENOMEM.
    [[nodiscard]] Result<base::Fd> open_buffer(BufferPtr buffer);

    /// What lies behind a descriptor that a client brought; null if it is not one of that kind of ours.
    [[nodiscard]] SyncFile* find_sync_file(const base::Fd& fd) const;
    [[nodiscard]] SyncobjPtr find_syncobj(const base::Fd& fd) const;
    [[nodiscard]] BufferPtr find_buffer(const base::Fd& fd) const;

    [[nodiscard]] std::size_t size() const { return objects_.size(); }

  private:
    using Object = std::variant<std::unique_ptr<SyncFile>, SyncobjPtr, BufferPtr>;

    /// Null if what lies behind `fd` is not of that kind.
    template <typename Kind>
    [[nodiscard]] const Kind* find(const base::Fd& fd) const;

    ExportHost& host_;
    std::unordered_map<Inode, Object, InodeHash> objects_;
};

}  // namespace belfry::drm
