// The core requests: what every DRM device answers, whatever its driver, and the rule of who may ask.
//
// Owns    drm::Device: what the core knows of a device, embedded in the driver's. CoreFile: what it knows of
//         an open file, embedded in the driver's: buffer handles, master state, waits for dma-bufs.
// Runs    in the driver actor.
// Called  by a driver's dispatch, before its own requests. The table is kRows in core_ioctls.cpp.
// Why so  which node a request came through decides what it may do (facts/uapi.md 1.1 step 6, 4.1). A
//         driver's own requests and those on syncobjs are allowed on both, so they are not checked here.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "drm/buffer_table.hpp"
#include "drm/call.hpp"
#include "drm/dma_buf_ioctls.hpp"
#include "drm/exports.hpp"
#include "drm/master.hpp"
#include "drm/node.hpp"
#include "drm/residency.hpp"
#include "drm/timers.hpp"
#include "drm/version_ioctls.hpp"
#include "drm/work.hpp"

namespace belfry::drm {

struct Device {
    const VersionInfo& version;
    std::string_view unique;  ///< the name of the platform device
    Exports& exports;
    Timers& timers;
    FenceContexts& fence_contexts;
    Masters masters{};
    BufferNames buffer_names{};
    /// What has become ready; whoever runs the driver has every entry into it end with work.run().
    WorkQueue work{};
    /// What looks at memory of clients that may have changed without anybody saying so. Whoever runs the
    /// driver calls polled.run_one() as often as it can while there is any.
    WorkQueue polled{};
    /// Entries of submit rings that were taken since the start.
    std::uint64_t submit_entries = 0;
};

class CoreFile {
  public:
    CoreFile(Device& device, NodeKind kind, const Opener& opener);
    ~CoreFile();
    CoreFile(const CoreFile&) = delete;
    CoreFile& operator=(const CoreFile&) = delete;

    [[nodiscard]] Device& device() { return device_; }
    [[nodiscard]] const Opener& opener() const { return opener_; }
    [[nodiscard]] BufferTable& buffers() { return buffers_; }
    [[nodiscard]] DmaBufWaits& dma_buf_waits() { return dma_buf_waits_; }
    /// Of files of the primary node; null for the others.
    [[nodiscard]] MasterFile* master() { return master_ ? &*master_ : nullptr; }

    using WhenResident = std::function<void(Result<void>)>;
    /// Calls `go` when all of `buffers` are in memory, which may be at once, and keeps them there during that
    /// call. EIO: one could not be restored. Never called if the file is destroyed before.
    void when_resident(const std::vector<BufferPtr>& buffers, WhenResident go);

  private:
    class AwaitedBuffers;

    Device& device_;
    Opener opener_;
    std::optional<MasterFile> master_;
    BufferTable buffers_;
    DmaBufWaits dma_buf_waits_;
    std::list<std::unique_ptr<AwaitedBuffers>> awaited_;
};

/// Answers `call` if it is a core request. False: it is the driver's (or a syncobj's), and was not touched.
[[nodiscard]] bool core_ioctl(CoreFile& file, const std::shared_ptr<Call>& call);

}  // namespace belfry::drm
