// One fence that stands for several, and what a fence is made of.
//
// Runs    in the driver actor.
// Called  by what takes fences apart or together: sync files (MERGE, FILE_INFO), TRANSFER to a point, dma-buf
//         imports.
// Why so  merged fences and timelines nest as their clients please. Taken apart into plain fences before they
//         are put together, nothing ever nests: a signal's way from fence to waiter has a fixed depth.
#pragma once

#include <span>
#include <vector>

#include "drm/fence.hpp"

namespace belfry::drm {

/// The plain fences that `fence` is made of: of a merged one all members, signalled or not; of a timeline's
/// node its own, and those before it that are not signalled. (The kernel's dma_fence_unwrap.) Throws
/// std::bad_alloc.
[[nodiscard]] std::vector<FencePtr> unwrap_fence(const FencePtr& fence);

/// A fence that is signalled when all of `fences` are, never a timeline's node. Signalled parts are dropped,
/// of each context only the latest is kept; nothing left: a signalled stub with the time of the latest; one
/// left: that. Else a merged fence, with the error of the member that failed first. Throws std::bad_alloc.
[[nodiscard]] FencePtr merge_fences(FenceContexts& contexts, std::span<const FencePtr> fences);

}  // namespace belfry::drm
