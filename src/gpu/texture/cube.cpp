#include "gpu/texture/cube.hpp"

#include <algorithm>
#include <array>

namespace belfry::gpu::texture {
namespace {

/// Along which axis of space, and which way, a face's outward normal, s and t go.
struct Direction {
    unsigned axis;
    int sign;
};
struct Face {
    Direction outward, s, t;
};
constexpr std::array<Face, 6> kFaces{{
    {{0, 1}, {2, -1}, {1, -1}},
    {{0, -1}, {2, 1}, {1, -1}},
    {{1, 1}, {0, 1}, {2, 1}},
    {{1, -1}, {0, 1}, {2, -1}},
    {{2, 1}, {0, 1}, {1, -1}},
    {{2, -1}, {0, -1}, {1, -1}},
}};

}  // namespace

std::optional<CubeTexel> cube_texel(unsigned face, int x, int y, int size) {
    const bool x_outside = x < 0 || x >= size;
    const bool y_outside = y < 0 || y >= size;
    if (!x_outside && !y_outside) return CubeTexel{.face = face, .x = x, .y = y};
    if (x_outside && y_outside) return std::nullopt;

    // Centres of texels in a cube from -size to size: odd or even numbers, all of them exact. A texel beyond
    // an edge lies in the neighbour's plane, half a texel down from the edge.
    const Face& from = kFaces[face];
    std::array<int, 3> point{};
    point[from.s.axis] = from.s.sign * ((2 * x) + 1 - size);
    point[from.t.axis] = from.t.sign * ((2 * y) + 1 - size);
    const Direction& out = x_outside ? from.s : from.t;
    point[from.outward.axis] = from.outward.sign * (size - 1);
    const int out_sign = point[out.axis] < 0 ? -1 : 1;
    for (unsigned to = 0; to < 6; ++to) {
        const Face& neighbour = kFaces[to];
        if (neighbour.outward.axis != out.axis || neighbour.outward.sign != out_sign) continue;
        const int s = neighbour.s.sign * point[neighbour.s.axis];
        const int t = neighbour.t.sign * point[neighbour.t.axis];
        return CubeTexel{.face = to, .x = (s + size - 1) / 2, .y = (t + size - 1) / 2};
    }
    return std::nullopt;
}

std::array<float, 2> on_plane_of(unsigned face, unsigned from, float s, float t) {
    if (face == from) return {s, t};
    const Face& source = kFaces[from];
    std::array<float, 3> point{};
    point[source.outward.axis] = static_cast<float>(source.outward.sign);
    point[source.s.axis] = static_cast<float>(source.s.sign) * ((2 * s) - 1);
    point[source.t.axis] = static_cast<float>(source.t.sign) * ((2 * t) - 1);
    const Face& plane = kFaces[face];
    const auto along = [&point](const Direction& d) { return static_cast<float>(d.sign) * point[d.axis]; };
    const float distance = std::max(along(plane.outward), 0x1p-20F);
    return {((along(plane.s) / distance) + 1) / 2, ((along(plane.t) / distance) + 1) / 2};
}

}  // namespace belfry::gpu::texture
