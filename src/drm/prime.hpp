// PRIME: buffers as dma-bufs, descriptors that can be passed to other processes.
//
// Each handler is a row of the table in core_ioctls.cpp. What a dma-buf is, and which buffer lies behind a
// descriptor, is Exports' to know; which handle of this file belongs to it, BufferTable's.
#pragma once

#include <memory>

#include "drm/call.hpp"

namespace belfry::drm {

class CoreFile;

/// Answers when the buffer is in memory: whoever has a dma-buf may map it without asking.
void prime_handle_to_fd(CoreFile& file, const std::shared_ptr<Call>& call);
Result<void> prime_fd_to_handle(CoreFile& file, Call& call);

}  // namespace belfry::drm
