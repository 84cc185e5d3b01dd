// Node and File: what a transport sees of a driver. Nothing but what user space triggers.
//
// Implemented by a driver (panthor::Node, panthor::File); called by a transport (the server's sessions,
// rigs). Everything runs in the driver actor.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/memory.hpp"
#include "base/result.hpp"
#include "belfry/uapi/submit_ring.h"
#include "drm/call.hpp"
#include "drm/fence.hpp"

namespace belfry::drm {

class ForeignSyncobjs;

/// A piece of an answer to mmap: `bytes` of the file behind `fd` (borrowed while the answer is given) from
/// `fd_offset` on.
struct MapSegment {
    int fd;
    std::uint64_t fd_offset;
    std::uint64_t bytes;
    base::Access access;  ///< the most that the client may do with it
};

/// What a client asks of mmap: PROT_* bits and a length in bytes, as it passed them.
struct MapRequest {
    std::uint64_t offset;
    std::uint64_t bytes;
    int protection;
};

/// How mmap is answered, once: the segments, in order, that make up the mapping. The page that the program
/// finds at offset n of its mapping is the page at offset n of the segments laid end to end.
using MapReply = std::function<void(const Result<std::vector<MapSegment>>&)>;

/// One open DRM file. Destroyed when its last descriptor is gone; that releases all it holds.
class File {
  public:
    virtual ~File() = default;
    /// Answers `call` now or later through Call::complete(). Calls of the table that the driver does not
    /// handle complete with EINVAL.
    virtual void ioctl(const std::shared_ptr<Call>& call) = 0;
    /// Answers now, or when the memory is there; never if the file is destroyed before.
    virtual void mmap(const MapRequest& request, MapReply reply) = 0;
    /// Work of an entry whose fence is owed already: none but such as ends within a bound. It waits for
    /// `waits`. Returns its fence; on failure nothing was done.
    virtual Result<FencePtr> submit_entry(const uapi::belfry_submit_entry& /*entry*/,
                                          std::vector<FencePtr>&& /*waits*/) {
        return std::unexpected(Errno::not_supported);
    }
};

/// renderD128, and card0, which alone knows masters and magics.
enum class NodeKind : std::uint8_t { render, primary };

/// Who opens a node, as far as drivers tell clients apart.
struct Opener {
    std::int32_t pid = 0;
    std::uint32_t uid = 0;
    std::string process{};                ///< its name, for people
    bool may_nice = false;                ///< CAP_SYS_NICE: high priorities
    bool may_admin = false;               ///< CAP_SYS_ADMIN: DRM master
    ForeignSyncobjs* syncobjs = nullptr;  ///< whose handles the file's requests name; null: its own
};

/// What open() of a device node makes files from.
class Node {
  public:
    virtual ~Node() = default;
    virtual Result<std::unique_ptr<File>> open(const Opener& opener) = 0;
};

}  // namespace belfry::drm
