// ETC2 and EAC: one texel of a 4x4 block, as the Khronos Data Format Specification defines it.
//
// Pure functions. A block is its 8 bytes as a big-endian number; x and y are 0 ... 3.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace belfry::gpu::texture::etc2 {

/// The 8 bytes of a block.
std::uint64_t load_block(const std::byte* from);

enum class Alpha : std::uint8_t { opaque, punch_through };

/// R, G, B and alpha (0 or 255).
std::array<std::uint8_t, 4> colour(std::uint64_t block, unsigned x, unsigned y, Alpha alpha);

/// The alpha half of an RGBA8 block.
std::uint8_t eac_alpha(std::uint64_t block, unsigned x, unsigned y);

/// A channel of R11 or RG11, its 11 bits spread over the 16 of UNORM16.
std::uint16_t eac_unsigned(std::uint64_t block, unsigned x, unsigned y);
/// The same for SNORM16.
std::int16_t eac_signed(std::uint64_t block, unsigned x, unsigned y);

}  // namespace belfry::gpu::texture::etc2
