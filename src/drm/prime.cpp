#include "drm/prime.hpp"

#include <utility>

#include "belfry/uapi/drm.h"
#include "drm/core_ioctls.hpp"

namespace belfry::drm {

namespace {

Result<void> export_resident(CoreFile& file, const BufferPtr& buffer, Call& call) {
    auto& args = call.args<uapi::drm_prime_handle>();
    auto fd = file.device().exports.open_buffer(buffer);
    if (!fd) return std::unexpected(fd.error());
    // The handle may have been closed while the buffer was brought in.
    if (const BufferPtr* const named = file.buffers().find(args.handle); named != nullptr && *named == buffer)
        file.buffers().exported(args.handle);
    args.fd = call.give_fd(std::move(*fd));
    return {};
}

}  // namespace

void prime_handle_to_fd(CoreFile& file, const std::shared_ptr<Call>& call) {
    const auto& args = call->args<uapi::drm_prime_handle>();
    if ((args.flags & ~(DRM_CLOEXEC | DRM_RDWR)) != 0) return call->complete(std::unexpected(Errno::invalid));
    const BufferPtr* const found = file.buffers().find(args.handle);
    if (found == nullptr) return call->complete(std::unexpected(Errno::no_entry));
    if ((*found)->exclusive_vm() != 0) return call->complete(std::unexpected(Errno::invalid));
    file.when_resident({*found}, [&file, buffer = *found, call](Result<void> resident) {
        call->complete(resident ? export_resident(file, buffer, *call) : resident);
    });
}

Result<void> prime_fd_to_handle(CoreFile& file, Call& call) {
    auto& args = call.args<uapi::drm_prime_handle>();
    const base::Fd fd = call.take_fd(args.fd);
    if (!fd) return std::unexpected(Errno::bad_fd);
    const BufferPtr buffer = file.device().exports.find_buffer(fd);
    if (buffer == nullptr) return std::unexpected(Errno::invalid);
    const auto handle = file.buffers().import(buffer);
    if (!handle) return std::unexpected(handle.error());
    args.handle = *handle;
    return {};
}

}  // namespace belfry::drm
