// Clump: the memory element of a plane, and how a texel is had from it.
//
// A plain element holds a texel as the texture's pixel format says. From any other, what it holds is expanded
// to the interchange format: the one that the texture's pixel format must then be shaped like.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "gpu/texture/pixel_format.hpp"

namespace belfry::gpu::texture {

struct Clump {
    using Expand = void (*)(const std::byte* element, unsigned x, unsigned y, std::byte* texel);

    std::uint8_t bytes = 0;   ///< of an element
    std::uint8_t edge = 1;    ///< texels along each side of an element: 4 of a compressed block
    std::uint8_t offset = 0;  ///< of the texel in a plain element
    /// Null for plain elements. x and y count texels within the element; a texel takes `texel_bytes`.
    Expand expand = nullptr;
    std::uint8_t texel_bytes = 0;

    /// Whether texels of `format` can be had from such elements.
    [[nodiscard]] bool suits(const PixelFormat& format) const {
        return expand != nullptr ? format.bytes() == texel_bytes : format.bytes() + offset <= bytes;
    }
};

/// What number `clump` means; nothing if it is unknown, or compressed in a way that is not offered.
std::optional<Clump> clump_of(unsigned number);

}  // namespace belfry::gpu::texture
