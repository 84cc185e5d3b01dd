// Cube maps: where a face's texels go on beyond its edges.
#pragma once

#include <array>
#include <optional>

namespace belfry::gpu::texture {

struct CubeTexel {
    unsigned face;
    int x, y;
};

/// The texel that lies at (x, y) of the plane of `face`, of which each may be one outside 0 ... size - 1.
/// Nothing at a corner, where no texel is.
std::optional<CubeTexel> cube_texel(unsigned face, int x, int y, int size);

/// Where the plane of `face` is met by what points to (s, t) of face `from`, both 0 ... 1 within their face.
/// If nowhere, somewhere far.
std::array<float, 2> on_plane_of(unsigned face, unsigned from, float s, float t);

}  // namespace belfry::gpu::texture
