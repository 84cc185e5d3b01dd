#include "drm/reservation.hpp"

#include <algorithm>

namespace belfry::drm {

void Reservation::prune() {
    std::erase_if(entries_, [](const Entry& entry) { return entry.fence->is_signalled(); });
}

void Reservation::add(const FencePtr& fence, Usage usage) {
    prune();
    if (fence->is_signalled()) return;
    // A context signals in the order of its numbers. A writer's fence stands for a reader's, not the other
    // way.
    const bool implied = std::ranges::any_of(entries_, [&](const Entry& old) {
        return old.fence->context() == fence->context() && old.fence->seqno() >= fence->seqno() &&
               old.usage <= usage;
    });
    if (implied) return;
    std::erase_if(entries_, [&](const Entry& old) {
        return old.fence->context() == fence->context() && old.fence->seqno() <= fence->seqno() &&
               old.usage >= usage;
    });
    entries_.push_back({.fence = fence, .usage = usage});
}

std::vector<FencePtr> Reservation::fences(Usage up_to) {
    prune();
    std::vector<FencePtr> found;
    found.reserve(entries_.size());
    for (const Entry& entry : entries_)
        if (entry.usage <= up_to) found.push_back(entry.fence);
    return found;
}

}  // namespace belfry::drm
