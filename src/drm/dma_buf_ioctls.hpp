// The requests on dma-bufs: CPU access, and the fences of implicit synchronisation.
//
// Owns    DmaBufWaits belongs to an open DRM file: what waits in SYNC for fences of a buffer. Requests on a
//         dma-buf travel over any DRM file of its program; Call::target() says which dma-buf.
// Runs    in the driver actor.
// Called  by core_ioctl().
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <vector>

#include "drm/call.hpp"
#include "drm/fence.hpp"

namespace belfry::drm {

class CoreFile;

class DmaBufWaits {
  public:
    DmaBufWaits();
    DmaBufWaits(const DmaBufWaits&) = delete;
    DmaBufWaits& operator=(const DmaBufWaits&) = delete;
    /// Pending waits die unanswered: with the file there is nobody to answer.
    ~DmaBufWaits();

    /// Answers `call` with success when all of `fences` have signalled, however.
    void answer_after(std::vector<FencePtr> fences, const std::shared_ptr<Call>& call);

    [[nodiscard]] std::size_t pending() const { return waits_.size(); }

  private:
    class Wait;
    std::list<std::unique_ptr<Wait>> waits_;
};

/// Answers any request to a dma-buf, now or later. ENOTTY: the target is none of ours, or there is no such
/// request.
void dma_buf_ioctl(CoreFile& file, const std::shared_ptr<Call>& call);

}  // namespace belfry::drm
