// PixelFormat: what a texel's bytes mean, and back.
//
// A format is the 22-bit word that textures, attributes and conversions hold: a number, the order of
// components, sRGB. docs/hardware/textures.md has the table of numbers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace belfry::gpu::texture {

/// R, G, B, A as registers hold them.
using Texel = std::array<std::uint32_t, 4>;

/// What the words of a texel are.
enum class Kind : std::uint8_t { floating, sint, uint };

/// How a format stores a component.
enum class Encoding : std::uint8_t {
    none,  ///< no such format
    unorm,
    snorm,
    uint,
    sint,
    floating,         ///< half or float
    small_float,      ///< unsigned, 5 bits of exponent
    shared_exponent,  ///< fractions; a fifth field has the exponent
    fixed,            ///< 16.16, signed
    constant,         ///< takes no memory
};

/// Bits of a texel, counted from the lowest of its first byte.
struct BitField {
    std::uint8_t first;
    std::uint8_t bits;  ///< 0: reads as zero
};

/// Components in ascending bits, before their order is applied.
struct Layout {
    Encoding encoding = Encoding::none;
    std::uint8_t bytes = 0;
    std::uint8_t channels = 0;
    std::array<BitField, 4> field{};
};

/// All formats, by number; Encoding::none where there is none.
const Layout& layout_of(unsigned number);

class PixelFormat {
  public:
    static constexpr std::uint32_t kWordMask = 0x3fffff;
    static constexpr std::size_t kBytesMax = 16;

    /// What the low 22 bits of `word` say; nothing if their number or order is unknown.
    static std::optional<PixelFormat> from_word(std::uint32_t word);

    [[nodiscard]] Kind kind() const { return kind_; }
    [[nodiscard]] Encoding encoding() const { return layout_->encoding; }
    [[nodiscard]] unsigned bytes() const { return layout_->bytes; }
    /// Whether the texel's component comes from memory, and is not a constant for want of one.
    [[nodiscard]] bool stores(unsigned component) const { return source_[component] < kZero; }
    /// Reads sRGB as the plain numbers that are stored.
    void ignore_srgb() {
        srgb_ = false;
        in_order_ = stores_in_order();
    }

    [[nodiscard]] Texel decode(const std::byte* from) const {
        if (in_order_) [[likely]] {
            Texel texel{0, 0, 0, one_};
            codec_->decode(*layout_, from, texel.data());
            return texel;
        }
        return decode_reordered(from);
    }
    /// Whether all channels are 8-bit UNORM, and no more: decode() is then arranged() of bytes / 255.
    [[nodiscard]] bool is_plain_bytes() const { return plain_bytes_ && !srgb_; }
    /// R, G, B and A of these channels, as far as there are any; floats.
    [[nodiscard]] Texel arranged(const Texel& channels) const {
        if (in_order_ && layout_->channels == 4) return channels;
        const Channels all{channels[0], channels[1], channels[2], channels[3], 0, one_};
        return {all[source_[0]], all[source_[1]], all[source_[2]], all[source_[3]]};
    }
    void encode(const Texel& texel, std::byte* to) const;
    /// A texel of these words, where this format stores no such component: 0, 0, 0, 1.
    [[nodiscard]] Texel only_stored(const Texel& texel) const;

    /// How a format's channels are read and written; chosen once, by number.
    struct Codec {
        void (*decode)(const Layout& layout, const std::byte* from, std::uint32_t* channels) = nullptr;
        void (*encode)(const Layout& layout, const std::uint32_t* channels, std::byte* to) = nullptr;
    };

  private:
    // Where a component comes from: a channel, or one of two constants behind the channels.
    static constexpr std::uint8_t kZero = 4;
    static constexpr std::uint8_t kOne = 5;
    using Channels = std::array<std::uint32_t, 6>;

    [[nodiscard]] bool stores_in_order() const;
    [[nodiscard]] Texel decode_reordered(const std::byte* from) const;
    void to_linear(Texel& texel) const;

    const Layout* layout_ = nullptr;
    const Codec* codec_ = nullptr;
    std::array<std::uint8_t, 4> source_{};
    std::uint32_t one_ = 0;
    Kind kind_{};
    bool srgb_ = false;
    bool plain_bytes_ = false;
    bool in_order_ = false;  // channels are components, and there is nothing else to do
};

}  // namespace belfry::gpu::texture
