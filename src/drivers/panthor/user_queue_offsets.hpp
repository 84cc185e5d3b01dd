// Offsets at which a user queue's memory is mapped.
//
// They are made of the group's serial number, which is never used twice, and not of its handle: an offset
// that a slow thread still holds never maps another group's queue (facts/firmware-and-scheduling.md 7, G16).
#pragma once

#include <cstdint>

#include "belfry/uapi/panthor_drm.h"

namespace belfry::panthor {

enum class QueueObject : std::uint64_t { doorbell = 1, user_io = 2, ring = 3 };

struct QueueOffset {
    QueueObject object;
    std::uint64_t group_serial;
    std::uint32_t queue;
};

// Bits: 56 the user MMIO range, 53:52 object, 51:21 serial, 20:16 queue (at most 32), 15:0 zero (64 KiB
// apart).
constexpr std::uint64_t encode_offset(const QueueOffset& offset) {
    return DRM_PANTHOR_USER_MMIO_OFFSET | static_cast<std::uint64_t>(offset.object) << 52 |
           (offset.group_serial & 0x7fff'ffff) << 21 | std::uint64_t{offset.queue} << 16;
}
constexpr QueueOffset decode_offset(std::uint64_t offset) {
    return {.object = static_cast<QueueObject>(offset >> 52 & 3),
            .group_serial = offset >> 21 & 0x7fff'ffff,
            .queue = static_cast<std::uint32_t>(offset >> 16 & 31)};
}

}  // namespace belfry::panthor
