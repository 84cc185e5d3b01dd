// The requests on sync files: merging, telling what is in one, and deadlines.
//
// Runs    in the driver actor.
// Called  by core_ioctl(): a request on a sync file travels over any DRM file of its program, and
//         Call::target() says which sync file.
#pragma once

#include <memory>

#include "drm/call.hpp"
#include "drm/exports.hpp"
#include "drm/fence.hpp"

namespace belfry::drm {

/// Answers any request to a sync file. ENOTTY: the target is none of ours, or there is no such request.
void sync_file_ioctl(Exports& exports, FenceContexts& contexts, const std::shared_ptr<Call>& call);

}  // namespace belfry::drm
