// Reservation: the fences that users of a buffer have attached to it.
//
// Owned   by its Buffer.
// Runs    in the driver actor.
// Called  by the dma-buf ioctls: SYNC and EXPORT_SYNC_FILE ask, IMPORT_SYNC_FILE adds.
// Why so  panthor's own jobs are never among them: their fences would be bookkeeping, which no client is
//         shown (facts/uapi.md 5.2). So what is here was imported, and both kinds matter to clients.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "drm/fence.hpp"

namespace belfry::drm {

class Reservation {
  public:
    enum class Usage : std::uint8_t { write, read };

    /// Adds a fence that is no container of others. Of one context the latest is kept for each usage, and
    /// nothing that is signalled: there are never more entries than pending contexts, twice.
    void add(const FencePtr& fence, Usage usage);

    /// What is pending: for `write` the writers' fences, for `read` those of readers too.
    [[nodiscard]] std::vector<FencePtr> fences(Usage up_to);

    [[nodiscard]] std::size_t size() const { return entries_.size(); }

  private:
    struct Entry {
        FencePtr fence;
        Usage usage;
    };

    void prune();

    std::vector<Entry> entries_;
};

}  // namespace belfry::drm
