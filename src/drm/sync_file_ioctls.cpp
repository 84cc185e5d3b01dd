#include "drm/sync_file_ioctls.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "belfry/uapi/sync_file.h"
#include "drm/fence_merge.hpp"

namespace belfry::drm {

namespace {

using namespace uapi;

constexpr auto kInvalid = std::unexpected(Errno::invalid);

/// Cuts `text` to fit, with its NUL; `to` is zeroed.
template <std::size_t Size>
void fill(char (&to)[Size], std::string_view text) {
    text.copy(to, Size - 1);
}

Result<void> merge(Exports& exports, FenceContexts& contexts, const SyncFile& file, Call& call) {
    auto& args = call.args<sync_merge_data>();
    if (args.flags != 0 || args.pad != 0) return kInvalid;
    const base::Fd fd = call.take_fd(args.fd2);
    const SyncFile* const other = exports.find_sync_file(fd);
    if (other == nullptr) return std::unexpected(Errno::no_entry);
    const auto merged = merge_fences(contexts, std::array{file.fence(), other->fence()});
    auto sync_file =
        exports.export_fence(merged, std::string(args.name, ::strnlen(args.name, sizeof args.name)));
    if (!sync_file) return std::unexpected(sync_file.error());
    args.fence = call.give_fd(std::move(*sync_file));
    return {};
}

sync_fence_info info_of(Fence& fence) {
    sync_fence_info info{};
    info.status = fence.status();
    info.timestamp_ns = fence.timestamp_ns();
    // Whose a fence was is forgotten with its signal (facts/uapi.md 5.1).
    const FenceNames names = info.status != 0
                                 ? FenceNames{.driver = "detached-driver", .timeline = "signaled-timeline"}
                                 : fence.names();
    fill(info.obj_name, names.timeline);
    fill(info.driver_name, names.driver);
    return info;
}

Result<void> file_info(const SyncFile& file, Call& call) {
    auto& args = call.args<sync_file_info>();
    if (args.flags != 0 || args.pad != 0) return kInvalid;
    const auto parts = unwrap_fence(file.fence());
    if (args.num_fences == 0) {
        args.status = file.fence()->status();
    } else {
        if (args.num_fences < parts.size()) return kInvalid;
        if (args.sync_fence_info == 0) return std::unexpected(Errno::fault);
        const std::span infos(reinterpret_cast<struct sync_fence_info*>(args.sync_fence_info), parts.size());
        std::ranges::transform(parts, infos.begin(), [](const FencePtr& fence) { return info_of(*fence); });
        const auto unfinished = std::ranges::find_if(
            infos, [](std::int32_t status) { return status <= 0; }, &sync_fence_info::status);
        args.status = unfinished != infos.end() ? unfinished->status : 1;
    }
    std::ranges::fill(args.name, '\0');
    fill(args.name, file.name());
    args.num_fences = static_cast<std::uint32_t>(parts.size());
    return {};
}

Result<void> set_deadline(const SyncFile& file, Call& call) {
    const auto& args = call.args<sync_set_deadline>();
    if (args.pad != 0) return kInvalid;
    file.fence()->set_deadline(args.deadline_ns);
    return {};
}

}  // namespace

void sync_file_ioctl(Exports& exports, FenceContexts& contexts, const std::shared_ptr<Call>& call) {
    Result<void> result = std::unexpected(Errno::not_a_tty);
    try {
        if (const SyncFile* const file = exports.find_sync_file(call->target())) {
            switch (call->request()) {
                case SYNC_IOC_MERGE:        result = merge(exports, contexts, *file, *call); break;
                case SYNC_IOC_FILE_INFO:    result = file_info(*file, *call); break;
                case SYNC_IOC_SET_DEADLINE: result = set_deadline(*file, *call); break;
                default:                    break;
            }
        }
    } catch (const std::bad_alloc&) {
        result = std::unexpected(Errno::no_memory);
    }
    call->complete(result);
}

}  // namespace belfry::drm
