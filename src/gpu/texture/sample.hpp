// Filtered lookups: a sampler's rules over a View.
//
// Pure but for the reads of the View. Colours come back swizzled, as the texture's kind of number.
#pragma once

#include <array>
#include <cstdint>

#include "gpu/texture/descriptor.hpp"
#include "gpu/texture/view.hpp"

namespace belfry::gpu::texture {

/// Changes of s, t, r from one pixel to the next, in the coordinates' own unit.
struct Gradient {
    std::array<float, 3> ddx{}, ddy{};
};

/// What one lookup covers.
struct Footprint {
    std::int32_t lod_256 = 0;
    /// Lookups of an anisotropic one, and how far from the first's start to the last's end, in texels of
    /// level 0.
    unsigned taps = 1;
    std::array<float, 2> extent{};
};

/// Neither biased nor clamped; within 16 bits.
Footprint footprint_of(const Texture& texture, const Sampler& sampler, const Gradient& gradient);

/// As the sampler clamps it. Decides between magnifying and minifying.
std::int32_t clamp_to_sampler(const Sampler& sampler, std::int32_t lod_256);
/// As the texture clamps that: what levels are chosen by.
std::int32_t clamp_to_texture(const Texture& texture, std::int32_t lod_256);

struct Place {
    std::array<float, 3> at{};  ///< s, t, r; of cubes s and t of the face
    unsigned layer = 0;         ///< of cubes 6 * cube + face
    std::array<int, 3> offset{};
};

enum class Shadow : std::uint8_t { no, yes };

/// The colour there; with Shadow::yes, how much of it passes the comparison with `reference`, in R. The
/// footprint's LOD is biased, and not yet clamped. Reads 128 texels at most: 16 taps of 2 levels of 4.
Texel sample(View& view, const Sampler& sampler, const Place& place, Footprint footprint,
             Shadow shadow = Shadow::no, float reference = 0);

/// One component of the four texels that a linear lookup of level 0 would take, row by row.
Texel gather(View& view, const Sampler& sampler, const Place& place, unsigned component,
             Shadow shadow = Shadow::no, float reference = 0);

}  // namespace belfry::gpu::texture
