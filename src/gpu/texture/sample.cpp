#include "gpu/texture/sample.hpp"

#include <bit>
#include <cmath>

#include "gpu/texture/cube.hpp"
#include "gpu/texture/filter.hpp"
#include "gpu/texture/numbers.hpp"

namespace belfry::gpu::texture {
namespace {

bool passes(std::uint8_t compare, float texel, float reference) {
    if (compare == 7) return true;
    const unsigned relation = texel < reference ? 1 : texel == reference ? 2 : texel > reference ? 4 : 0;
    return (compare & relation) != 0;
}

/// One lookup, with all that stays the same over its levels and taps.
class Lookup {
  public:
    Lookup(View& view, const Sampler& sampler, const Place& place, Shadow shadow, float reference)
        : view_(view), sampler_(sampler), layer_(place.layer), offset_(place.offset), shadow_(shadow) {
        const bool clamped = shadow == Shadow::yes && view.texture().format.encoding() == Encoding::unorm;
        reference_ = clamped ? std::fmin(std::fmax(reference, 0.0F), 1.0F) : reference;
        // A cube's own way over its edges, unless the sampler wants faces by themselves.
        if (view.texture().dimension == Dimension::cube && sampler.seamless_cube) cube_face_ = layer_ % 6;
        filters_bytes_ = shadow == Shadow::no && !seamless() && sampler.reduction == Reduction::average &&
                         view.texture().format.is_plain_bytes() && !reaches_border();
    }

    Texel nearest(unsigned level, const std::array<float, 3>& at) {
        const Plane* const plane = view_.plane(level, layer_);
        if (plane == nullptr) return {};
        std::array<int, 3> i{};
        for (unsigned axis = 0; axis < dimensions(); ++axis) {
            const int size = size_of(level, axis);
            const int unwrapped = floor_to_int(bounded(scaled(at[axis], size))) + offset_[axis];
            const Wrap wrap = seamless() ? Wrap::clamp_to_edge : sampler_.wrap[axis];
            i[axis] = wrapped(wrap, unwrapped, size);
        }
        return texel(*plane, i);
    }

    Colour linear(unsigned level, const std::array<float, 3>& at) {
        const Plane* const plane = view_.plane(level, layer_);
        if (plane == nullptr) return Colour{};
        std::array<Pair, 3> pair{};
        for (unsigned axis = 0; axis < dimensions(); ++axis) {
            const int size = size_of(level, axis);
            const float u = scaled(at[axis], size);
            pair[axis] = filters_bytes_ ? between_256ths(u) : between(u);
            // A texel of no weight takes no part, whatever it is.
            if (pair[axis].weight == 0) pair[axis].second = pair[axis].first;
            if (!seamless()) wrap_pair(pair[axis], axis, size);
        }
        if (filters_bytes_) return linear_bytes(*plane, pair);
        if (seamless()) return bilinear_cube(level, pair);
        const Colour front = bilinear(*plane, pair, pair[2].first);
        if (pair[2].first == pair[2].second) return front;
        return combined(front, bilinear(*plane, pair, pair[2].second), pair[2].weight);
    }

    /// Row by row.
    std::array<Texel, 4> footprint(const std::array<float, 3>& at) {
        const Plane* const plane = view_.plane(0, layer_);
        if (plane == nullptr) return {};
        std::array<Pair, 3> pair{};
        for (unsigned axis = 0; axis < dimensions(); ++axis) {
            const int size = size_of(0, axis);
            pair[axis] = between(scaled(at[axis], size));
            if (!seamless()) wrap_pair(pair[axis], axis, size);
        }
        if (seamless()) return cube_texels(0, pair);
        const auto [i0, i1, i_weight] = pair[0];
        const auto [j0, j1, j_weight] = pair[1];
        return {texel(*plane, {i0, j0, 0}), texel(*plane, {i1, j0, 0}), texel(*plane, {i0, j1, 0}),
                texel(*plane, {i1, j1, 0})};
    }

    /// Of two colours, the second with `weight`, which is not 0.
    [[nodiscard]] Colour combined(Colour first, Colour second, float weight) const {
        switch (sampler_.reduction) {
            case Reduction::minimum: return second < first ? second : first;
            case Reduction::maximum: return second > first ? second : first;
            case Reduction::average: break;
        }
        return first + ((second - first) * weight);
    }

  private:
    [[nodiscard]] unsigned dimensions() const {
        switch (view_.texture().dimension) {
            case Dimension::d1: return 1;
            case Dimension::d3: return 3;
            default:            return 2;
        }
    }
    [[nodiscard]] bool seamless() const { return cube_face_ < 6; }

    [[nodiscard]] int size_of(unsigned level, unsigned axis) const {
        const unsigned size = axis == 0   ? view_.width(level)
                              : axis == 1 ? view_.height(level)
                                          : view_.slices(level);
        return static_cast<int>(size);
    }
    [[nodiscard]] float scaled(float coordinate, int size) const {
        return sampler_.normalized ? coordinate * static_cast<float>(size) : coordinate;
    }
    void wrap_pair(Pair& pair, unsigned axis, int size) const {
        pair.first = wrapped(sampler_.wrap[axis], pair.first + offset_[axis], size);
        pair.second = wrapped(sampler_.wrap[axis], pair.second + offset_[axis], size);
    }

    /// The texel as the filter takes it: compared, or the border.
    Texel texel(const Plane& plane, const std::array<int, 3>& i) {
        const bool outside = i[0] == kBorder || i[1] == kBorder || i[2] == kBorder;
        const Texel colour = outside ? view_.texture().format.only_stored(sampler_.border)
                                     : view_.texel(plane, static_cast<unsigned>(i[0]),
                                                   static_cast<unsigned>(i[1]), static_cast<unsigned>(i[2]));
        return compared(colour);
    }
    [[nodiscard]] Texel compared(const Texel& colour) const {
        if (shadow_ == Shadow::no) return colour;
        const bool pass = passes(sampler_.compare, as_float(colour[0]), reference_);
        return {as_bits(pass ? 1.0F : 0.0F), 0, 0, as_bits(1.0F)};
    }

    Colour row(const Plane& plane, const Pair& x, int y, int z) {
        const auto first = std::bit_cast<Colour>(texel(plane, {x.first, y, z}));
        if (x.first == x.second) return first;
        return combined(first, std::bit_cast<Colour>(texel(plane, {x.second, y, z})), x.weight);
    }
    Colour bilinear(const Plane& plane, const std::array<Pair, 3>& pair, int z) {
        const Colour first = row(plane, pair[0], pair[1].first, z);
        if (pair[1].first == pair[1].second) return first;
        return combined(first, row(plane, pair[0], pair[1].second, z), pair[1].weight);
    }

    // 8-bit UNORM is filtered in 8 bits, as the CPU's driver of Mesa does: each step is rounded to the
    // nearest, halves up. Programs that only move texels about, by a filter that lies between them, get the
    // same of both.
    [[nodiscard]] bool reaches_border() const {
        for (unsigned axis = 0; axis < dimensions(); ++axis)
            if (sampler_.wrap[axis] == Wrap::border || sampler_.wrap[axis] == Wrap::mirrored_border)
                return true;
        return false;
    }
    Bytes bytes_at(const Plane& plane, int x, int y, int z) {
        return widened(view_.texel_bytes(plane, static_cast<unsigned>(x), static_cast<unsigned>(y),
                                         static_cast<unsigned>(z)));
    }
    Bytes row_bytes(const Plane& plane, const Pair& x, int y, int z) {
        const Bytes first = bytes_at(plane, x.first, y, z);
        return x.first == x.second ? first : mixed(first, bytes_at(plane, x.second, y, z), x.weight);
    }
    Bytes slice_bytes(const Plane& plane, const std::array<Pair, 3>& pair, int z) {
        const Bytes first = row_bytes(plane, pair[0], pair[1].first, z);
        if (pair[1].first == pair[1].second) return first;
        return mixed(first, row_bytes(plane, pair[0], pair[1].second, z), pair[1].weight);
    }
    Colour linear_bytes(const Plane& plane, const std::array<Pair, 3>& pair) {
        Bytes bytes = slice_bytes(plane, pair, pair[2].first);
        if (pair[2].first != pair[2].second)
            bytes = mixed(bytes, slice_bytes(plane, pair, pair[2].second), pair[2].weight);
        return std::bit_cast<Colour>(arranged(view_.texture().format, bytes));
    }

    Colour bilinear_cube(unsigned level, const std::array<Pair, 3>& pair) {
        const auto texels = cube_texels(level, pair);
        const auto colour = [&texels](unsigned i) { return std::bit_cast<Colour>(texels[i]); };
        const float x_weight = pair[0].weight;
        const auto row = [&](unsigned i) {
            return x_weight == 0 ? colour(i) : combined(colour(i), colour(i + 1), x_weight);
        };
        return pair[1].weight == 0 ? row(0) : combined(row(0), row(2), pair[1].weight);
    }
    /// Four texels around a place of a face, some of them on its neighbours. Where three faces meet there are
    /// but three, and the fourth is their average.
    std::array<Texel, 4> cube_texels(unsigned level, const std::array<Pair, 3>& pair) {
        const int size = size_of(level, 0);
        const auto within = [size](int i) { return std::clamp(i, -1, size); };
        const std::array<int, 2> x{within(pair[0].first), within(pair[0].second)};
        const std::array<int, 2> y{within(pair[1].first), within(pair[1].second)};
        std::array<Texel, 4> texels{};
        unsigned corner = 4;
        for (unsigned i = 0; i < 4; ++i) {
            const auto at = cube_texel(cube_face_, x[i % 2], y[i / 2], size);
            if (!at) {
                corner = i;
                continue;
            }
            const auto found = view_.fetch(level, layer_ - cube_face_ + at->face,
                                           static_cast<unsigned>(at->x), static_cast<unsigned>(at->y), 0);
            texels[i] = compared(found.value_or(Texel{}));
        }
        if (corner < 4)
            texels[corner] =
                average(texels[(corner + 1) % 4], texels[(corner + 2) % 4], texels[(corner + 3) % 4]);
        return texels;
    }
    [[nodiscard]] Texel average(const Texel& a, const Texel& b, const Texel& c) const {
        if (view_.texture().format.kind() != Kind::floating) return a;
        return std::bit_cast<Texel>(
            (std::bit_cast<Colour>(a) + std::bit_cast<Colour>(b) + std::bit_cast<Colour>(c)) / 3.0F);
    }

    View& view_;
    const Sampler& sampler_;
    unsigned layer_;
    unsigned cube_face_ = 6;  // 6: each face by itself
    std::array<int, 3> offset_;
    bool filters_bytes_ = false;
    Shadow shadow_;
    float reference_;
};

}  // namespace

Footprint footprint_of(const Texture& texture, const Sampler& sampler, const Gradient& gradient) {
    const std::array<std::uint32_t, 3> size{texture.width, texture.height, texture.depth};
    std::array<float, 3> x{};
    std::array<float, 3> y{};
    const unsigned dimensions = texture.dimension == Dimension::d1   ? 1
                                : texture.dimension == Dimension::d3 ? 3
                                                                     : 2;
    for (unsigned i = 0; i < dimensions; ++i) {
        const float scale = sampler.normalized ? static_cast<float>(size[i]) : 1;
        x[i] = gradient.ddx[i] * scale;
        y[i] = gradient.ddy[i] * scale;
    }
    const auto squared = [](const std::array<float, 3>& v) {
        return (v[0] * v[0]) + (v[1] * v[1]) + (v[2] * v[2]);
    };
    const bool x_longer = !(squared(x) < squared(y));
    const float longest = std::sqrt(x_longer ? squared(x) : squared(y));
    const float shortest = std::sqrt(x_longer ? squared(y) : squared(x));
    Footprint footprint;
    float rho = longest;
    if (sampler.anisotropy > 1 && dimensions == 2 && longest > 0 && std::isfinite(longest)) {
        const auto most = static_cast<float>(sampler.anisotropy);
        const float ratio = shortest > 0 ? std::ceil(longest / shortest) : most;
        footprint.taps = static_cast<unsigned>(std::min(ratio, most));
        footprint.extent = x_longer ? std::array{x[0], x[1]} : std::array{y[0], y[1]};
        rho = longest / static_cast<float>(footprint.taps);
    }
    // No change at all is a LOD of minus infinity.
    const float lod = rho > 0 ? std::log2(rho) * 256 : -0x1p15F;
    footprint.lod_256 = static_cast<std::int32_t>(std::nearbyint(std::clamp(lod, -0x1p15F, 0x1p15F - 1)));
    return footprint;
}

std::int32_t clamp_to_sampler(const Sampler& sampler, std::int32_t lod_256) {
    return std::min(std::max(lod_256, sampler.lod_min_256), sampler.lod_max_256);
}

std::int32_t clamp_to_texture(const Texture& texture, std::int32_t lod_256) {
    const auto last_256 = static_cast<std::int32_t>(texture.levels - 1) * 256;
    return std::min({std::max(lod_256, texture.lod_min_256), texture.lod_max_256, last_256});
}

Texel sample(View& view, const Sampler& sampler, const Place& place, Footprint footprint, Shadow shadow,
             float reference) {
    const Texture& texture = view.texture();
    Lookup lookup(view, sampler, place, shadow, reference);
    const std::int32_t lod_256 = sampler.normalized ? clamp_to_sampler(sampler, footprint.lod_256) : 0;
    const bool magnify = lod_256 <= sampler.magnify_cutoff_256;
    const Levels levels = choose_levels(texture, sampler, lod_256);
    const bool one_level = levels.weight == 0;
    const bool one_texel = magnify ? sampler.magnify_nearest : sampler.minify_nearest;
    // Integers are not filtered, whatever the sampler says.
    if ((one_texel && one_level && footprint.taps == 1) || texture.format.kind() != Kind::floating)
        return view.swizzled(lookup.nearest(levels.first, place.at));

    const auto of_level = [&](unsigned level, const std::array<float, 3>& at) {
        return one_texel ? std::bit_cast<Colour>(lookup.nearest(level, at)) : lookup.linear(level, at);
    };
    const auto of_tap = [&](const std::array<float, 3>& at) {
        const Colour first = of_level(levels.first, at);
        return one_level ? first : lookup.combined(first, of_level(levels.second, at), levels.weight);
    };
    if (footprint.taps == 1) return view.swizzled(std::bit_cast<Texel>(of_tap(place.at)));

    Colour colour{};
    for (unsigned tap = 0; tap < footprint.taps; ++tap) {
        const float along = ((static_cast<float>(tap) + 0.5F) / static_cast<float>(footprint.taps)) - 0.5F;
        std::array<float, 3> at = place.at;
        at[0] += footprint.extent[0] * along / static_cast<float>(texture.width);
        at[1] += footprint.extent[1] * along / static_cast<float>(texture.height);
        const Colour next = of_tap(at);
        colour = tap == 0 ? next : lookup.combined(colour, next, 1.0F / static_cast<float>(tap + 1));
    }
    return view.swizzled(std::bit_cast<Texel>(colour));
}

Texel gather(View& view, const Sampler& sampler, const Place& place, unsigned component, Shadow shadow,
             float reference) {
    Lookup lookup(view, sampler, place, shadow, reference);
    const auto texels = lookup.footprint(place.at);
    Texel result{};
    for (unsigned i = 0; i < 4; ++i)
        result[i] = shadow == Shadow::yes ? texels[i][0] : view.swizzled(texels[i])[component & 3];
    return result;
}

}  // namespace belfry::gpu::texture
