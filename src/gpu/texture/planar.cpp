#include "gpu/texture/planar.hpp"

#include "gpu/texture/filter.hpp"

namespace belfry::gpu::texture {

std::optional<PlanarLookup> PlanarLookup::prepare(View& view, const Sampler& sampler, std::int32_t lod_256) {
    const Texture& texture = view.texture();
    const auto reaches_border = [](Wrap wrap) {
        return wrap == Wrap::border || wrap == Wrap::mirrored_border;
    };
    if (texture.dimension != Dimension::d2 || reaches_border(sampler.wrap[0]) ||
        reaches_border(sampler.wrap[1]))
        return std::nullopt;
    const std::int32_t clamped_256 = sampler.normalized ? clamp_to_sampler(sampler, lod_256) : 0;
    const Levels levels = choose_levels(texture, sampler, clamped_256);
    PlanarLookup lookup;
    lookup.view_ = &view;
    lookup.sampler_ = &sampler;
    lookup.plane_ = view.plane(levels.first, 0);
    if (levels.weight != 0 || lookup.plane_ == nullptr) return std::nullopt;
    const bool magnify = clamped_256 <= sampler.magnify_cutoff_256;
    if ((magnify ? sampler.magnify_nearest : sampler.minify_nearest) ||
        texture.format.kind() != Kind::floating)
        lookup.way_ = Way::nearest;
    else if (sampler.reduction != Reduction::average)
        return std::nullopt;
    else
        lookup.way_ = !texture.format.is_plain_bytes()                                 ? Way::floats
                      : lookup.plane_->clump.bytes == 4 && texture.format.bytes() == 4 ? Way::words
                                                                                       : Way::bytes;
    lookup.width_ = static_cast<int>(view.width(levels.first));
    lookup.height_ = static_cast<int>(view.height(levels.first));
    if (sampler.normalized) {
        lookup.s_scale_ = static_cast<float>(lookup.width_);
        lookup.t_scale_ = static_cast<float>(lookup.height_);
    }
    return lookup;
}

/// The most common one, by itself: what texels of a row share is found once.
template <Ordering kOrdering>
Bytes PlanarLookup::mixed_words(float u, float v) const {
    const Pair x = between_256ths(u);
    const Pair y = between_256ths(v);
    constexpr bool kTiled = kOrdering == Ordering::u_interleaved;
    struct Row {
        std::uint64_t start;
        unsigned bits;  // of y in the place within a tile
    };
    const auto row = [&](int i) -> Row {
        const auto j = static_cast<unsigned>(wrapped(sampler_->wrap[1], i, height_));
        return {plane_->address + (std::uint64_t{plane_->row_stride} * (kTiled ? j / 16 : j)),
                kTiled ? kSpread[j % 16] * 3U : 0};
    };
    const auto column = [&](int i) { return static_cast<unsigned>(wrapped(sampler_->wrap[0], i, width_)); };
    const auto texel = [&](const Row& r, unsigned i) {
        const unsigned index = kTiled ? (i / 16 * 256) + (kSpread[i % 16] ^ r.bits) : i;
        return widened(view_->word(r.start + (std::uint64_t{index} * 4)));
    };
    const unsigned left = column(x.first);
    const unsigned right = x.weight == 0 ? left : column(x.second);
    const auto along = [&](const Row& r) {
        const Bytes first = texel(r, left);
        return left == right ? first : mixed(first, texel(r, right), x.weight);
    };
    const Bytes upper = along(row(y.first));
    if (y.weight == 0) return upper;
    return mixed(upper, along(row(y.second)), y.weight);
}

Texel PlanarLookup::at(float s, float t) const {
    const auto column = [&](int i) { return static_cast<unsigned>(wrapped(sampler_->wrap[0], i, width_)); };
    const auto row = [&](int i) { return static_cast<unsigned>(wrapped(sampler_->wrap[1], i, height_)); };
    const float u = s * s_scale_;
    const float v = t * t_scale_;
    if (way_ == Way::nearest)
        return view_->swizzled(
            view_->texel(*plane_, column(floor_to_int(bounded(u))), row(floor_to_int(bounded(v))), 0));

    // As sample() does, a texel of no weight is not looked at: it may be one that can't be read.
    const auto filtered = [&](const Pair& x, const Pair& y, auto texel, auto mix) {
        const auto along = [&](unsigned j) {
            const unsigned first = column(x.first);
            const auto colour = texel(first, j);
            if (x.weight == 0) return colour;
            const unsigned second = column(x.second);
            return first == second ? colour : mix(colour, texel(second, j), x.weight);
        };
        const unsigned first = row(y.first);
        const auto colour = along(first);
        if (y.weight == 0) return colour;
        const unsigned second = row(y.second);
        return first == second ? colour : mix(colour, along(second), y.weight);
    };
    if (way_ == Way::words)
        return view_->swizzled(
            arranged(view_->texture().format, plane_->ordering == Ordering::linear
                                                  ? mixed_words<Ordering::linear>(u, v)
                                                  : mixed_words<Ordering::u_interleaved>(u, v)));
    if (way_ == Way::bytes) {
        const Bytes channels = filtered(
            between_256ths(u), between_256ths(v),
            [&](unsigned x, unsigned y) { return widened(view_->texel_bytes(*plane_, x, y, 0)); }, mixed);
        return view_->swizzled(arranged(view_->texture().format, channels));
    }
    const Colour colour = filtered(
        between(u), between(v),
        [&](unsigned x, unsigned y) { return std::bit_cast<Colour>(view_->texel(*plane_, x, y, 0)); },
        [](Colour first, Colour second, float weight) { return first + ((second - first) * weight); });
    return view_->swizzled(std::bit_cast<Texel>(colour));
}

}  // namespace belfry::gpu::texture
