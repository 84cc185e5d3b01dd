// What filters are made of: vectors of components, places between texels, wrapping, levels.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "gpu/texture/descriptor.hpp"
#include "gpu/texture/pixel_format.hpp"
#include "gpu/texture/sample.hpp"

namespace belfry::gpu::texture {

/// R, G, B, A at once.
using Colour = float __attribute__((vector_size(16)));

/// The same of 8-bit UNORM: four fields of 16 bits, of which channels 0, 2, 1 and 3 have the low halves.
using Bytes = std::uint64_t;

inline constexpr int kBorder = -1;

/// A coordinate that a texture could have: what is far outside stays outside.
inline float bounded(float value) {
    constexpr float kFar = 0x1p24F;
    if (value >= -kFar && value <= kFar) [[likely]]
        return value;
    return value > 0 ? kFar : value < 0 ? -kFar : 0;
}

/// Of a bounded value: no library's floor, which is a call.
inline int floor_to_int(float value) {
    const int towards_zero = static_cast<int>(value);
    return towards_zero - (static_cast<float>(towards_zero) > value ? 1 : 0);
}

/// Texel that coordinate `i` of an axis stands for, or kBorder. The formulas are those of Vulkan.
inline int wrapped(Wrap wrap, int i, int size) {
    if (i >= 0 && i < size) [[likely]]
        return i;
    const auto mirrored = [](int n) { return n >= 0 ? n : -1 - n; };
    const auto modulo = [](int n, int m) {
        const int rest = n % m;
        return rest < 0 ? rest + m : rest;
    };
    switch (wrap) {
        case Wrap::repeat:                 return modulo(i, size);
        case Wrap::clamp_to_edge:          return std::clamp(i, 0, size - 1);
        case Wrap::border:                 return i < 0 || i >= size ? kBorder : i;
        case Wrap::mirrored_repeat:        return size - 1 - mirrored(modulo(i, 2 * size) - size);
        case Wrap::mirrored_clamp_to_edge: return std::min(mirrored(i), size - 1);
        case Wrap::mirrored_border:        return mirrored(i) >= size ? kBorder : mirrored(i);
    }
    return kBorder;
}

/// The two texels of an axis that a linear lookup lies between.
struct Pair {
    int first, second;
    float weight;  // of the second
};

inline Pair between(float u) {
    const float centred = bounded(u - 0.5F);
    const int first = floor_to_int(centred);
    return {.first = first, .second = first + 1, .weight = centred - static_cast<float>(first)};
}

/// The same with weights of 8 bits, in 1/256.
inline Pair between_256ths(float u) {
    constexpr float kFar = 0x1p22F;
    const int fixed = static_cast<int>(std::clamp(bounded(u), -kFar, kFar) * 256) - 128;
    return {.first = fixed >> 8, .second = (fixed >> 8) + 1, .weight = static_cast<float>(fixed & 0xff)};
}

/// Of two colours, the second with `weight_256`: to the nearest, halves up. No field gets beyond its 16 bits.
inline Bytes mixed(Bytes first, Bytes second, float weight_256) {
    const auto weight = static_cast<std::uint64_t>(weight_256);
    return ((first * (256 - weight)) + (second * weight) + 0x0080'0080'0080'0080) >> 8 &
           0x00ff'00ff'00ff'00ff;
}

/// Channels in bytes, the first in the lowest.
inline Bytes widened(std::uint32_t channels) {
    return (channels & 0x00ff'00ffU) | std::uint64_t{channels >> 8 & 0x00ff'00ffU} << 32;
}

inline Texel arranged(const PixelFormat& format, Bytes channels) {
    const auto channel = [channels](unsigned low) { return static_cast<float>(channels >> low & 0xff); };
    const Colour colour{channel(0), channel(32), channel(16), channel(48)};
    return format.arranged(std::bit_cast<Texel>(colour / 255.0F));
}

/// Levels that a lookup takes, and how much of the second.
struct Levels {
    unsigned first, second;
    float weight;
};

inline Levels choose_levels(const Texture& texture, const Sampler& sampler, std::int32_t lod_256) {
    const auto lod = static_cast<unsigned>(clamp_to_texture(texture, lod_256));
    switch (sampler.mip_mode) {
        case MipMode::none:      return {0, 0, 0};
        case MipMode::nearest:   return {std::min((lod + 128) / 256, texture.levels - 1), 0, 0};
        case MipMode::trilinear: break;
    }
    const unsigned first = lod / 256;
    return {first, std::min(first + 1, texture.levels - 1), static_cast<float>(lod % 256) / 256};
}

}  // namespace belfry::gpu::texture
