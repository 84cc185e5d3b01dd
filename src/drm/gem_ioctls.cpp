#include "drm/gem_ioctls.hpp"

#include <climits>

#include "belfry/uapi/drm.h"
#include "drm/core_ioctls.hpp"

namespace belfry::drm {

Result<void> gem_close(CoreFile& file, Call& call) {
    if (!file.buffers().remove(call.args<uapi::drm_gem_close>().handle))
        return std::unexpected(Errno::invalid);
    return {};
}

Result<void> gem_change_handle(CoreFile& file, Call& call) {
    const auto& args = call.args<uapi::drm_gem_change_handle>();
    if (args.new_handle > INT_MAX) return std::unexpected(Errno::invalid);
    return file.buffers().move(args.handle, args.new_handle);
}

Result<void> gem_flink(CoreFile& file, Call& call) {
    auto& args = call.args<uapi::drm_gem_flink>();
    const BufferPtr* const buffer = file.buffers().find(args.handle);
    if (buffer == nullptr) return std::unexpected(Errno::no_entry);
    const auto name = file.device().buffer_names.name_of(**buffer);
    if (!name) return std::unexpected(name.error());
    args.name = *name;
    return {};
}

Result<void> gem_open(CoreFile& file, Call& call) {
    auto& args = call.args<uapi::drm_gem_open>();
    const BufferPtr buffer = file.device().buffer_names.find(args.name);
    if (buffer == nullptr) return std::unexpected(Errno::no_entry);
    const auto handle = file.buffers().insert(buffer);
    if (!handle) return std::unexpected(handle.error());
    args.handle = *handle;
    args.size = buffer->size();
    return {};
}

}  // namespace belfry::drm
