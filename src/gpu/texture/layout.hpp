// Where an element of a plane lies.
#pragma once

#include <array>
#include <cstdint>

#include "gpu/texture/descriptor.hpp"

namespace belfry::gpu::texture {

/// Bits 0 ... 3 of the index, moved to 0, 2, 4, 6.
inline constexpr std::array<std::uint8_t, 16> kSpread{0x00, 0x01, 0x04, 0x05, 0x10, 0x11, 0x14, 0x15,
                                                      0x40, 0x41, 0x44, 0x45, 0x50, 0x51, 0x54, 0x55};

/// Place of an element in its tile of 16x16 or 4x4: from the lowest, pairs of bits x ^ y and y.
constexpr unsigned place_in_tile(unsigned x, unsigned y) { return kSpread[x] ^ (kSpread[y] * 3U); }

/// Address of the element that holds texel (x, y) of `slice` (depth slice, or sample). Any coordinates give
/// some address; those within the plane's size give one of the plane's.
inline std::uint64_t element_address(const Plane& plane, unsigned x, unsigned y, unsigned slice) {
    const Clump& clump = plane.clump;
    const bool blocks = clump.edge == 4;
    if (blocks) {
        x /= 4;
        y /= 4;
    }
    const std::uint64_t start =
        plane.address + (static_cast<std::uint64_t>(std::int64_t{plane.slice_stride}) * slice);
    if (plane.ordering == Ordering::linear)
        return start + (std::uint64_t{plane.row_stride} * y) + (std::uint64_t{x} * clump.bytes);
    const unsigned shift = blocks ? 2 : 4;
    const unsigned mask = (1U << shift) - 1;
    const std::uint64_t tile = (std::uint64_t{x} >> shift) << (2 * shift);
    return start + (std::uint64_t{plane.row_stride} * (y >> shift)) +
           ((tile + place_in_tile(x & mask, y & mask)) * clump.bytes);
}

}  // namespace belfry::gpu::texture
