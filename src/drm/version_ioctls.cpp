#include "drm/version_ioctls.hpp"

#include <algorithm>
#include <cstring>

#include "belfry/uapi/drm.h"

namespace belfry::drm {

namespace {

/// Fills the room that the client has, without a NUL, and tells the full length in any case.
void answer_string(std::string_view text, std::uint64_t pointer, std::uint64_t& length) {
    const auto bytes = std::min<std::uint64_t>(length, text.size());
    if (pointer != 0 && bytes != 0) std::memcpy(reinterpret_cast<char*>(pointer), text.data(), bytes);
    length = text.size();
}

}  // namespace

void version(const VersionInfo& info, Call& call) {
    auto& args = call.args<uapi::drm_version>();
    args.version_major = info.major;
    args.version_minor = info.minor;
    args.version_patchlevel = info.patchlevel;
    answer_string(info.name, args.name, args.name_len);
    answer_string(info.date, args.date, args.date_len);
    answer_string(info.desc, args.desc, args.desc_len);
}

Result<void> get_cap(Call& call) {
    auto& args = call.args<uapi::drm_get_cap>();
    args.value = 0;
    switch (args.capability) {
        case DRM_CAP_PRIME:               args.value = 3; break;  // import and export
        case DRM_CAP_TIMESTAMP_MONOTONIC:
        case DRM_CAP_SYNCOBJ:
        case DRM_CAP_SYNCOBJ_TIMELINE:    args.value = 1; break;
        // Known capabilities are no better off than unknown ones: they all belong to modesetting.
        default: return std::unexpected(Errno::not_supported);
    }
    return {};
}

}  // namespace belfry::drm
