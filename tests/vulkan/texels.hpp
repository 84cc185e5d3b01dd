// The formats that the tests of images go through, and what a texel of each means, written from Vulkan's own
// text.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "vulkan/rig.hpp"

namespace belfry::vulkan_test {

/// What a shader tells of a texel: floats, or integers, as words.
using Texel = std::array<std::uint32_t, 4>;

enum class Numbers { unorm, snorm, uint, sint, sfloat, srgb };

struct TexelFormat {
    VkFormat format;
    const char* name;
    std::uint32_t bytes;
    Numbers numbers;
    std::array<unsigned, 4> bits;                  ///< of each channel, from the lowest bit on
    std::array<unsigned, 4> order = {0, 1, 2, 3};  ///< which of red, green, blue and alpha these channels are
    const char* storage = nullptr;  ///< as a shader calls it, if it must be there for storage images

    [[nodiscard]] const char* sampler() const {
        return numbers == Numbers::uint ? "unsigned" : numbers == Numbers::sint ? "signed" : "float";
    }

    /// What is no number, and what has two forms, is in none of them: so each can be stored again as it was.
    [[nodiscard]] std::vector<std::byte> random_texels(std::size_t count) const;

    /// Expects that these are what a shader reads of the texels.
    void expect_decoded(std::span<const std::byte> texels, std::span<const Texel> got) const;
};

inline const TexelFormat kTexelFormats[] = {
    {VK_FORMAT_R8_UNORM, "r8", 1, Numbers::unorm, {8}},
    {VK_FORMAT_R8_SNORM, "r8_snorm", 1, Numbers::snorm, {8}},
    {VK_FORMAT_R8_UINT, "r8ui", 1, Numbers::uint, {8}},
    {VK_FORMAT_R8_SINT, "r8i", 1, Numbers::sint, {8}},
    {VK_FORMAT_R8G8_UNORM, "rg8", 2, Numbers::unorm, {8, 8}},
    {VK_FORMAT_R8G8_SNORM, "rg8_snorm", 2, Numbers::snorm, {8, 8}},
    {VK_FORMAT_R8G8_SINT, "rg8i", 2, Numbers::sint, {8, 8}},
    {VK_FORMAT_R8G8B8A8_UNORM, "rgba8", 4, Numbers::unorm, {8, 8, 8, 8}, {0, 1, 2, 3}, "rgba8"},
    {VK_FORMAT_R8G8B8A8_SNORM, "rgba8_snorm", 4, Numbers::snorm, {8, 8, 8, 8}, {0, 1, 2, 3}, "rgba8_snorm"},
    {VK_FORMAT_R8G8B8A8_UINT, "rgba8ui", 4, Numbers::uint, {8, 8, 8, 8}, {0, 1, 2, 3}, "rgba8ui"},
    {VK_FORMAT_R8G8B8A8_SINT, "rgba8i", 4, Numbers::sint, {8, 8, 8, 8}, {0, 1, 2, 3}, "rgba8i"},
    {VK_FORMAT_R8G8B8A8_SRGB, "rgba8 srgb", 4, Numbers::srgb, {8, 8, 8, 8}},
    {VK_FORMAT_B8G8R8A8_UNORM, "bgra8", 4, Numbers::unorm, {8, 8, 8, 8}, {2, 1, 0, 3}},
    {VK_FORMAT_A8B8G8R8_UNORM_PACK32, "abgr8 packed", 4, Numbers::unorm, {8, 8, 8, 8}},
    {VK_FORMAT_A2B10G10R10_UNORM_PACK32, "a2b10g10r10", 4, Numbers::unorm, {10, 10, 10, 2}},
    {VK_FORMAT_A2R10G10B10_UNORM_PACK32, "a2r10g10b10", 4, Numbers::unorm, {10, 10, 10, 2}, {2, 1, 0, 3}},
    {VK_FORMAT_A2B10G10R10_UINT_PACK32, "a2b10g10r10ui", 4, Numbers::uint, {10, 10, 10, 2}},
    {VK_FORMAT_R5G6B5_UNORM_PACK16, "r5g6b5", 2, Numbers::unorm, {5, 6, 5}, {2, 1, 0}},
    {VK_FORMAT_A1R5G5B5_UNORM_PACK16, "a1r5g5b5", 2, Numbers::unorm, {5, 5, 5, 1}, {2, 1, 0, 3}},
    {VK_FORMAT_B4G4R4A4_UNORM_PACK16, "b4g4r4a4", 2, Numbers::unorm, {4, 4, 4, 4}, {3, 0, 1, 2}},
    {VK_FORMAT_R16_UNORM, "r16", 2, Numbers::unorm, {16}},
    {VK_FORMAT_R16_SNORM, "r16_snorm", 2, Numbers::snorm, {16}},
    {VK_FORMAT_R16_UINT, "r16ui", 2, Numbers::uint, {16}},
    {VK_FORMAT_R16_SFLOAT, "r16f", 2, Numbers::sfloat, {16}},
    {VK_FORMAT_R16G16_SINT, "rg16i", 4, Numbers::sint, {16, 16}},
    {VK_FORMAT_R16G16_SFLOAT, "rg16f", 4, Numbers::sfloat, {16, 16}},
    {VK_FORMAT_R16G16B16A16_UNORM, "rgba16", 8, Numbers::unorm, {16, 16, 16, 16}},
    {VK_FORMAT_R16G16B16A16_UINT, "rgba16ui", 8, Numbers::uint, {16, 16, 16, 16}, {0, 1, 2, 3}, "rgba16ui"},
    {VK_FORMAT_R16G16B16A16_SINT, "rgba16i", 8, Numbers::sint, {16, 16, 16, 16}, {0, 1, 2, 3}, "rgba16i"},
    {VK_FORMAT_R16G16B16A16_SFLOAT, "rgba16f", 8, Numbers::sfloat, {16, 16, 16, 16}, {0, 1, 2, 3}, "rgba16f"},
    {VK_FORMAT_R32_UINT, "r32ui", 4, Numbers::uint, {32}, {0, 1, 2, 3}, "r32ui"},
    {VK_FORMAT_R32_SINT, "r32i", 4, Numbers::sint, {32}, {0, 1, 2, 3}, "r32i"},
    {VK_FORMAT_R32_SFLOAT, "r32f", 4, Numbers::sfloat, {32}, {0, 1, 2, 3}, "r32f"},
    {VK_FORMAT_R32G32_UINT, "rg32ui", 8, Numbers::uint, {32, 32}},
    {VK_FORMAT_R32G32_SFLOAT, "rg32f", 8, Numbers::sfloat, {32, 32}},
    {VK_FORMAT_R32G32B32A32_UINT, "rgba32ui", 16, Numbers::uint, {32, 32, 32, 32}, {0, 1, 2, 3}, "rgba32ui"},
    {VK_FORMAT_R32G32B32A32_SINT, "rgba32i", 16, Numbers::sint, {32, 32, 32, 32}, {0, 1, 2, 3}, "rgba32i"},
    {VK_FORMAT_R32G32B32A32_SFLOAT,
     "rgba32f",
     16,
     Numbers::sfloat,
     {32, 32, 32, 32},
     {0, 1, 2, 3},
     "rgba32f"},
    {VK_FORMAT_B10G11R11_UFLOAT_PACK32, "r11f_g11f_b10f", 4, Numbers::sfloat, {11, 11, 10}},
};

/// One channel of a texel, and where the next one is.
inline std::uint32_t channel_of(const std::byte* texel, unsigned shift, unsigned bits) {
    std::uint64_t word = 0;
    std::memcpy(&word, texel + shift / 32 * 4, bits == 32 ? 4 : (shift % 32 + bits + 7) / 8);
    return static_cast<std::uint32_t>(word >> shift % 32 & ((std::uint64_t{1} << bits) - 1));
}

inline std::vector<std::byte> TexelFormat::random_texels(std::size_t count) const {
    Random random(static_cast<std::uint32_t>(format));
    std::vector<std::byte> texels(count * bytes);
    for (std::size_t i = 0; i < count; ++i) {
        std::array<std::uint32_t, 4> words{random.word(), random.word(), random.word(), random.word()};
        unsigned shift = 0;
        for (const unsigned each : bits) {
            if (each == 0) break;
            std::uint32_t& word = words[shift / 32];
            const unsigned at = shift % 32;
            // The lowest number has two forms; exponents are kept from being all ones (no number) or zero
            // (subnormal, which may be flushed).
            if (numbers == Numbers::snorm) word |= 1U << at;
            if (numbers == Numbers::sfloat) {
                const bool has_sign = each >= 16;
                const unsigned top = at + each - (has_sign ? 2 : 1);
                word &= ~(1U << top);
                word |= 1U << (top - 1);
            }
            shift += each;
        }
        std::memcpy(&texels[i * bytes], words.data(), bytes);
    }
    return texels;
}

inline void TexelFormat::expect_decoded(std::span<const std::byte> texels, std::span<const Texel> got) const {
    ASSERT_EQ(texels.size(), got.size() * bytes);
    const bool integer = numbers == Numbers::uint || numbers == Numbers::sint;
    unsigned told = 0;
    for (std::size_t i = 0; i < got.size() && told < 4; ++i) {
        std::array<double, 4> expected{0, 0, 0, 1};
        unsigned shift = 0;
        for (unsigned channel = 0; channel < 4 && bits[channel] != 0; ++channel) {
            const unsigned width = bits[channel];
            const std::uint32_t raw = channel_of(&texels[i * bytes], shift, width);
            shift += width;
            const std::int64_t with_sign =
                (raw >> (width - 1) & 1) != 0 ? std::int64_t{raw} - (std::int64_t{1} << width) : raw;
            double& value = expected[order[channel]];
            const double all_ones = std::ldexp(1, static_cast<int>(width)) - 1;
            switch (numbers) {
                case Numbers::uint:  value = raw; break;
                case Numbers::sint:  value = static_cast<double>(with_sign); break;
                case Numbers::unorm: value = raw / all_ones; break;
                case Numbers::snorm:
                    value = std::max(-1.0, static_cast<double>(with_sign) / ((all_ones - 1) / 2));
                    break;
                case Numbers::srgb:
                    value = raw / all_ones;
                    if (channel < 3)
                        value = value <= 0.04045 ? value / 12.92 : std::pow((value + 0.055) / 1.055, 2.4);
                    break;
                case Numbers::sfloat: {
                    if (width == 32) {
                        value = std::bit_cast<float>(raw);
                        break;
                    }
                    const unsigned mantissa = width == 10 ? 5 : width == 11 ? 6 : 10;
                    const double significand =
                        std::ldexp(1, static_cast<int>(mantissa)) + (raw & ((1U << mantissa) - 1));
                    value = std::ldexp(significand, static_cast<int>((raw >> mantissa & 31)) - 15 -
                                                        static_cast<int>(mantissa));
                    if (width == 16 && raw >> 15 != 0) value = -value;
                    break;
                }
            }
        }
        for (unsigned channel = 0; channel < 4; ++channel) {
            const std::uint32_t word = got[i][channel];
            const double value = !integer                   ? std::bit_cast<float>(word)
                                 : numbers == Numbers::uint ? double{static_cast<double>(word)}
                                                            : static_cast<std::int32_t>(word);
            // Normalised numbers are divided, with an error of a float's last place; sRGB comes from a table.
            const double allowed = numbers == Numbers::srgb                ? 0.002
                                   : integer || numbers == Numbers::sfloat ? 0
                                                                           : 2e-7;
            if (std::abs(value - expected[channel]) <= allowed) continue;
            ADD_FAILURE() << "texel " << i << ", channel " << channel << ": got " << value << ", expected "
                          << expected[channel];
            if (++told == 4) return;
        }
    }
}

}  // namespace belfry::vulkan_test
