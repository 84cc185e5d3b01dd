// Texture, plane and sampler descriptors, judged.
//
// Pure functions of 32 bytes, which the caller has read once from memory that a client can write: what they
// return can be used as it is. Nothing means that there is no such descriptor: it reads as empty.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "gpu/texture/clump.hpp"
#include "gpu/texture/pixel_format.hpp"

namespace belfry::gpu::texture {

inline constexpr std::size_t kDescriptorBytes = 32;
using DescriptorBytes = std::span<const std::byte, kDescriptorBytes>;

/// Low four bits of every descriptor.
enum class DescriptorType : std::uint8_t {
    null = 0,
    sampler = 1,
    texture = 2,
    attribute = 5,
    depth_stencil = 7,
    shader = 8,
    buffer = 9,
    plane = 10,
};
DescriptorType type_of(DescriptorBytes bytes);

/// As texture descriptors number them; instructions have another order.
enum class Dimension : std::uint8_t { cube = 0, d1 = 1, d2 = 2, d3 = 3 };

struct Texture {
    PixelFormat format;
    std::uint32_t format_word;  ///< 22 bits
    Dimension dimension;
    std::uint32_t width, height, depth;  ///< of level 0; height is 1 of one dimension, depth 1 but of three
    std::uint32_t levels;
    std::uint32_t layers;                   ///< a cube counts as six
    std::uint32_t samples;                  ///< 1 ... 128
    std::array<std::uint8_t, 4> swizzle;    ///< 0 ... 3: component, 4: zero, 5: one
    bool swizzles;                          ///< whether it changes anything
    std::int32_t lod_min_256, lod_max_256;  ///< in 1/256
    std::uint64_t planes;                   ///< address of the plane of layer 0, level 0
};
std::optional<Texture> parse_texture(DescriptorBytes bytes);

/// How the elements of a plane follow one another.
enum class Ordering : std::uint8_t { u_interleaved = 1, linear = 2 };

struct Plane {
    Clump clump;
    Ordering ordering;
    std::uint64_t address;
    std::uint32_t row_stride;   ///< bytes between rows of elements, or of tiles
    std::int32_t slice_stride;  ///< bytes between depth slices or samples
};
std::optional<Plane> parse_plane(DescriptorBytes bytes);

enum class Wrap : std::uint8_t {
    repeat = 8,
    clamp_to_edge = 9,
    border = 11,
    mirrored_repeat = 12,
    mirrored_clamp_to_edge = 13,
    mirrored_border = 15,
};
enum class MipMode : std::uint8_t { nearest = 0, none = 1, trilinear = 3 };
enum class Reduction : std::uint8_t { average = 0, minimum = 2, maximum = 3 };

struct Sampler {
    std::array<Wrap, 3> wrap;  ///< of s, t, r
    MipMode mip_mode;
    Reduction reduction;
    std::uint8_t compare;  ///< bit 0: passes if the texel is less than the reference, 1: equal, 2: greater
    bool minify_nearest, magnify_nearest;
    bool normalized;
    bool seamless_cube;
    bool ignore_srgb;
    bool clamp_coordinates, clamp_layer;  ///< of fetches
    std::int32_t magnify_cutoff_256;      ///< LODs up to this one magnify
    std::int32_t lod_min_256, lod_max_256, lod_bias_256;
    std::uint32_t anisotropy;  ///< 1: isotropic
    Texel border;
};
std::optional<Sampler> parse_sampler(DescriptorBytes bytes);

}  // namespace belfry::gpu::texture
