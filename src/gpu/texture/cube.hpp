// Cube maps: where a face's texels go on beyond its edges.
#pragma once

#include <optional>

namespace belfry::gpu::texture {

struct CubeTexel {
    unsigned face;
    int x, y;
};

/// The texel that lies at (x, y) of the plane of `face`, of which each may be one outside 0 ... size - 1.
/// Nothing at a corner, where no texel is.
std::optional<CubeTexel> cube_texel(unsigned face, int x, int y, int size);

}  // namespace belfry::gpu::texture
