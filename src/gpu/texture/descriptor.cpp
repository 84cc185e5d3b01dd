#include "gpu/texture/descriptor.hpp"

#include <cstring>

#include "gpu/texture/numbers.hpp"

namespace belfry::gpu::texture {
namespace {

/// The eight words of a descriptor.
class Words {
  public:
    explicit Words(DescriptorBytes bytes) { std::memcpy(word_.data(), bytes.data(), bytes.size()); }

    [[nodiscard]] std::uint32_t operator()(unsigned word, unsigned high, unsigned low) const {
        return (word_[word] >> low) & low_bits(high - low + 1);
    }
    [[nodiscard]] bool bit(unsigned word, unsigned at) const { return ((word_[word] >> at) & 1) != 0; }
    [[nodiscard]] std::uint32_t word(unsigned index) const { return word_[index]; }
    [[nodiscard]] std::uint64_t pair(unsigned index) const {
        return word_[index] | (std::uint64_t{word_[index + 1]} << 32);
    }
    [[nodiscard]] std::int32_t fixed_5_8(unsigned word, unsigned low) const {
        return static_cast<std::int32_t>((*this)(word, low + 12, low));
    }

  private:
    std::array<std::uint32_t, 8> word_{};
};

std::optional<Wrap> wrap_of(std::uint32_t number) {
    switch (number) {
        case 8:
        case 9:
        case 11:
        case 12:
        case 13:
        case 15: return static_cast<Wrap>(number);
        default: return std::nullopt;
    }
}

}  // namespace

DescriptorType type_of(DescriptorBytes bytes) {
    return static_cast<DescriptorType>(static_cast<std::uint8_t>(bytes[0]) & 15U);
}

std::optional<Texture> parse_texture(DescriptorBytes bytes) {
    if (type_of(bytes) != DescriptorType::texture) return std::nullopt;
    const Words words(bytes);
    const std::uint32_t format_word = words(0, 31, 10);
    const auto format = PixelFormat::from_word(format_word);
    if (!format) return std::nullopt;
    const auto dimension = static_cast<Dimension>(words(0, 5, 4));
    const bool is_3d = dimension == Dimension::d3;
    Texture texture{
        .format = *format,
        .format_word = format_word,
        .dimension = dimension,
        .width = words(1, 15, 0) + 1,
        .height = dimension == Dimension::d1 ? 1 : words(1, 31, 16) + 1,
        .depth = is_3d ? words(7, 15, 0) + 1 : 1,
        .levels = words(2, 20, 16) + 1,
        .layers = (words(6, 15, 0) + 1) * (dimension == Dimension::cube ? 6 : 1),
        .samples = 1U << words(3, 15, 13),
        .swizzle = {},
        .swizzles = false,
        .lod_min_256 = words.fixed_5_8(3, 0),
        .lod_max_256 = words.fixed_5_8(3, 16),
        .planes = words.pair(4),
    };
    for (unsigned i = 0; i < 4; ++i) {
        const std::uint32_t source = words(2, (3 * i) + 2, 3 * i);
        if (source > 5) return std::nullopt;
        texture.swizzle[i] = static_cast<std::uint8_t>(source);
        texture.swizzles = texture.swizzles || source != i;
    }
    return texture;
}

std::optional<Plane> parse_plane(DescriptorBytes bytes) {
    constexpr std::uint32_t kGeneric = 1;
    const Words words(bytes);
    if (type_of(bytes) != DescriptorType::plane || words(0, 7, 4) != kGeneric) return std::nullopt;
    const std::uint32_t ordering = words(0, 11, 8);
    const auto clump = clump_of(words(0, 31, 24));
    if (!clump || (ordering != 1 && ordering != 2)) return std::nullopt;
    return Plane{
        .clump = *clump,
        .ordering = static_cast<Ordering>(ordering),
        .address = words.pair(2),
        .row_stride = words.word(4),
        .slice_stride = static_cast<std::int32_t>(words.word(6)),
    };
}

std::optional<Sampler> parse_sampler(DescriptorBytes bytes) {
    if (type_of(bytes) != DescriptorType::sampler) return std::nullopt;
    const Words words(bytes);
    const auto wrap_r = wrap_of(words(0, 11, 8));
    const auto wrap_t = wrap_of(words(0, 15, 12));
    const auto wrap_s = wrap_of(words(0, 19, 16));
    const std::uint32_t mip_mode = words(0, 31, 30);
    const std::uint32_t reduction = words(0, 5, 4);
    if (!wrap_r || !wrap_t || !wrap_s || mip_mode == 2 || reduction == 1) return std::nullopt;
    constexpr std::uint32_t kAnisotropic = 3;
    return Sampler{
        .wrap = {*wrap_s, *wrap_t, *wrap_r},
        .mip_mode = static_cast<MipMode>(mip_mode),
        .reduction = static_cast<Reduction>(reduction),
        .compare = static_cast<std::uint8_t>(words(1, 15, 13)),
        .minify_nearest = words.bit(0, 27),
        .magnify_nearest = words.bit(0, 28),
        .normalized = words.bit(0, 25),
        .seamless_cube = words.bit(0, 23),
        .ignore_srgb = words.bit(0, 22),
        .clamp_coordinates = words.bit(0, 24),
        .clamp_layer = words.bit(0, 26),
        .magnify_cutoff_256 = words.bit(0, 29) ? 128 : 0,
        .lod_min_256 = words.fixed_5_8(1, 0),
        .lod_max_256 = words.fixed_5_8(1, 16),
        .lod_bias_256 = sign_extend(words(2, 15, 0), 16),
        .anisotropy = words(2, 25, 24) == kAnisotropic ? std::min(words(2, 20, 16) + 1, 16U) : 1,
        .border = {words.word(4), words.word(5), words.word(6), words.word(7)},
    };
}

}  // namespace belfry::gpu::texture
