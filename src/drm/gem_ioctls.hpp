// The core requests on buffer handles: close, renumber, name and open by name.
//
// Each handler is a row of the table in core_ioctls.cpp; nothing is kept here.
#pragma once

#include "drm/call.hpp"

namespace belfry::drm {

class CoreFile;

Result<void> gem_close(CoreFile& file, Call& call);
Result<void> gem_change_handle(CoreFile& file, Call& call);
Result<void> gem_flink(CoreFile& file, Call& call);
Result<void> gem_open(CoreFile& file, Call& call);

}  // namespace belfry::drm
