#include "drm/prime.hpp"

#include <utility>

#include "belfry/uapi/drm.h"
#include "drm/core_ioctls.hpp"

namespace belfry::drm {

Result<void> prime_handle_to_fd(CoreFile& file, Call& call) {
    auto& args = call.args<uapi::drm_prime_handle>();
    if ((args.flags & ~(DRM_CLOEXEC | DRM_RDWR)) != 0) return std::unexpected(Errno::invalid);
    const BufferPtr* const buffer = file.buffers().find(args.handle);
    if (buffer == nullptr) return std::unexpected(Errno::no_entry);
    if ((*buffer)->exclusive_vm() != 0) return std::unexpected(Errno::invalid);
    auto fd = file.device().exports.export_buffer(*buffer);
    if (!fd) return std::unexpected(fd.error());
    file.buffers().exported(args.handle);
    args.fd = call.give_fd(std::move(*fd));
    return {};
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
