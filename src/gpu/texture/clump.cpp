#include "gpu/texture/clump.hpp"

#include <cstring>

#include "gpu/texture/etc2.hpp"

namespace belfry::gpu::texture {
namespace {

void put(std::byte* to, const std::array<std::uint8_t, 4>& rgba) {
    std::memcpy(to, rgba.data(), rgba.size());
}

void expand_a8(const std::byte* element, unsigned, unsigned, std::byte* texel) {
    put(texel, {0, 0, 0, static_cast<std::uint8_t>(element[0])});
}

void expand_l8a8(const std::byte* element, unsigned, unsigned, std::byte* texel) {
    const auto luminance = static_cast<std::uint8_t>(element[0]);
    put(texel, {luminance, luminance, luminance, static_cast<std::uint8_t>(element[1])});
}

void expand_l4a4(const std::byte* element, unsigned, unsigned, std::byte* texel) {
    const auto both = static_cast<unsigned>(element[0]);
    const auto luminance = static_cast<std::uint8_t>((both & 15) * 17);
    put(texel, {luminance, luminance, luminance, static_cast<std::uint8_t>((both >> 4) * 17)});
}

template <etc2::Alpha A>
void expand_etc2(const std::byte* block, unsigned x, unsigned y, std::byte* texel) {
    put(texel, etc2::colour(etc2::load_block(block), x, y, A));
}

void expand_etc2_rgba8(const std::byte* block, unsigned x, unsigned y, std::byte* texel) {
    std::array<std::uint8_t, 4> rgba = etc2::colour(etc2::load_block(block + 8), x, y, etc2::Alpha::opaque);
    rgba[3] = etc2::eac_alpha(etc2::load_block(block), x, y);
    put(texel, rgba);
}

template <auto Channel, unsigned Channels>
void expand_eac(const std::byte* block, unsigned x, unsigned y, std::byte* texel) {
    for (std::size_t i = 0; i < Channels; ++i) {
        const auto value = Channel(etc2::load_block(block + (8 * i)), x, y);
        std::memcpy(texel + (sizeof value * i), &value, sizeof value);
    }
}

struct Row {
    std::uint8_t number;
    Clump clump;
};

constexpr Row kClumps[] = {
    // Raw.
    {0, {.bytes = 1}},
    {1, {.bytes = 2}},
    {2, {.bytes = 4}},
    {3, {.bytes = 8}},
    {4, {.bytes = 16}},
    {8, {.bytes = 3}},
    {9, {.bytes = 6}},
    {10, {.bytes = 12}},
    // Depth and stencil beside what is not looked at.
    {16, {.bytes = 8}},
    {17, {.bytes = 8, .offset = 4}},
    {18, {.bytes = 8, .offset = 4}},
    {19, {.bytes = 8, .offset = 3}},
    {20, {.bytes = 4, .offset = 3}},
    {21, {.bytes = 4}},
    {22, {.bytes = 1}},
    // Luminance and alpha, interchanged as RGBA8.
    {24, {.bytes = 1, .expand = expand_l4a4, .texel_bytes = 4}},
    {25, {.bytes = 2, .expand = expand_l8a8, .texel_bytes = 4}},
    {26, {.bytes = 1, .expand = expand_a8, .texel_bytes = 4}},
    // ETC2 and EAC, interchanged as RGBA8, R16 and RG16.
    {32, {.bytes = 8, .edge = 4, .expand = expand_etc2<etc2::Alpha::opaque>, .texel_bytes = 4}},
    {33, {.bytes = 8, .edge = 4, .expand = expand_eac<etc2::eac_unsigned, 1>, .texel_bytes = 2}},
    {34, {.bytes = 8, .edge = 4, .expand = expand_eac<etc2::eac_signed, 1>, .texel_bytes = 2}},
    {35, {.bytes = 16, .edge = 4, .expand = expand_eac<etc2::eac_unsigned, 2>, .texel_bytes = 4}},
    {36, {.bytes = 16, .edge = 4, .expand = expand_eac<etc2::eac_signed, 2>, .texel_bytes = 4}},
    {37, {.bytes = 16, .edge = 4, .expand = expand_etc2_rgba8, .texel_bytes = 4}},
    {38, {.bytes = 8, .edge = 4, .expand = expand_etc2<etc2::Alpha::punch_through>, .texel_bytes = 4}},
};

}  // namespace

std::optional<Clump> clump_of(unsigned number) {
    for (const Row& row : kClumps)
        if (row.number == number) return row.clump;
    return std::nullopt;
}

}  // namespace belfry::gpu::texture
