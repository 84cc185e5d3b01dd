// Where texels lie, and what descriptors say, against a naive reading of the rules.
#include <set>

#include <gtest/gtest.h>

#include "gpu/texture/view.hpp"
#include "gpu_texture_rig.hpp"

namespace belfry::gpu::texture {
namespace {

/// Raw clump number of an element size, and a format of unsigned integers as large.
struct Element {
    unsigned bytes;
    std::uint32_t clump, format;
};
constexpr Element kElements[] = {
    {1, 0, 131U << 12 | 16}, {2, 1, 132U << 12 | 16}, {3, 8, 147U << 12 | 16},   {4, 2, 133U << 12 | 16},
    {6, 9, 148U << 12 | 16}, {8, 3, 141U << 12 | 16}, {12, 10, 149U << 12 | 16}, {16, 4, 157U << 12},
};

TEST(TextureLayout, TilesHoldEveryElementOnce) {
    std::set<unsigned> places;
    for (unsigned y = 0; y < 16; ++y)
        for (unsigned x = 0; x < 16; ++x) places.insert(place_in_tile(x, y));
    EXPECT_EQ(places.size(), 256U);
    EXPECT_EQ(*places.rbegin(), 255U);
    EXPECT_EQ(place_in_tile(1, 0), 1U);
    EXPECT_EQ(place_in_tile(1, 1), 2U);
    EXPECT_EQ(place_in_tile(0, 1), 3U);
}

TEST(TextureLayout, AddressesAgreeWithTheNaiveModelForAllSizes) {
    Random random(1);
    for (const Element& element : kElements)
        for (const Ordering ordering : {Ordering::linear, Ordering::u_interleaved})
            for (const Dimension dimension : {Dimension::d1, Dimension::d2, Dimension::d3, Dimension::cube}) {
                const bool flat = dimension == Dimension::d1;
                ImageLayout layout{.dimension = dimension,
                                   .format = element.format,
                                   .clump = element.clump,
                                   .element_bytes = element.bytes,
                                   .ordering = ordering,
                                   .width = 37,
                                   .height = flat ? 1U : 37U,
                                   .depth = dimension == Dimension::d3 ? 5U : 1U,
                                   .levels = 3,
                                   .layers = dimension == Dimension::d3 ? 1U : 2U};
                TestImage image(layout);
                for (std::byte& byte : image.memory().bytes().subspan(4096 / 2)) byte = std::byte(random());
                View view(image.texture(), image.memory());
                for (unsigned i = 0; i < 300; ++i) {
                    const unsigned level = random() % 3;
                    const unsigned layer = random() % image.faces();
                    const unsigned x = random() % TestImage::minified(layout.width, level);
                    const unsigned y = random() % TestImage::minified(layout.height, level);
                    const unsigned z = random() % TestImage::minified(layout.depth, level);
                    const std::uint64_t address = image.element(layer, level, x, y, z);
                    ASSERT_EQ(element_address(*view.plane(level, layer), x, y, z), address);
                    if (level == 0) {
                        ASSERT_EQ(view.address(layer, x, y, z), address);
                    }
                    const Texel texel =
                        image.texture().format.decode(&image.memory().bytes()[address - TestMemory::kBase]);
                    ASSERT_EQ(view.fetch(level, layer, x, y, z), texel);
                }
            }
}

TEST(TextureLayout, BlocksTileByFour) {
    // ETC2 RGBA8: 16 bytes a block.
    const ImageLayout layout{.format = 187U << 12,
                             .clump = 37,
                             .element_bytes = 16,
                             .edge = 4,
                             .ordering = Ordering::u_interleaved,
                             .width = 70,
                             .height = 33};
    TestImage image(layout);
    View view(image.texture(), image.memory());
    for (unsigned y = 0; y < 33; ++y)
        for (unsigned x = 0; x < 70; ++x)
            ASSERT_EQ(element_address(*view.plane(0, 0), x, y, 0), image.element(0, 0, x / 4, y / 4, 0));
    EXPECT_FALSE(view.address(0, 0, 0, 0).has_value());
}

TEST(TextureLayout, SamplesAreSlices) {
    const ImageLayout layout{.format = 133U << 12 | 16,
                             .ordering = Ordering::u_interleaved,
                             .width = 20,
                             .height = 20,
                             .samples_log2 = 2};
    TestImage image(layout);
    for (unsigned sample = 0; sample < 4; ++sample) image.put(100 + sample, 17, 3, sample);
    View view(image.texture(), image.memory());
    for (unsigned sample = 0; sample < 4; ++sample)
        EXPECT_EQ((*view.fetch(0, 0, 17, 3, sample))[0], 100 + sample);
    EXPECT_FALSE(view.fetch(0, 0, 17, 3, 4).has_value());
}

TEST(TextureLayout, OutsideThereIsNothing) {
    const ImageLayout layout{.dimension = Dimension::d3, .width = 8, .height = 4, .depth = 6, .levels = 2};
    TestImage image(layout);
    View view(image.texture(), image.memory());
    EXPECT_TRUE(view.fetch(0, 0, 7, 3, 5).has_value());
    EXPECT_FALSE(view.fetch(0, 0, 8, 3, 5).has_value());
    EXPECT_FALSE(view.fetch(0, 0, 7, 4, 5).has_value());
    EXPECT_FALSE(view.fetch(0, 0, 7, 3, 6).has_value());
    EXPECT_FALSE(view.fetch(0, 0, ~0U, 3, 5).has_value());
    EXPECT_TRUE(view.fetch(1, 0, 3, 1, 2).has_value());
    EXPECT_FALSE(view.fetch(1, 0, 3, 1, 3).has_value());
    EXPECT_FALSE(view.fetch(2, 0, 0, 0, 0).has_value());
    EXPECT_FALSE(view.fetch(0, 1, 0, 0, 0).has_value());
    EXPECT_FALSE(view.faulted());
}

TEST(TextureLayout, MemoryThatIsNotMappedReadsAsZeroAndIsToldOf) {
    TestImage image({.width = 4, .height = 4});
    DescriptorWords words = image.descriptor();
    words[5] ^= 1;  // planes elsewhere
    View astray(parse_texture(bytes_of(words)).value(), image.memory());
    EXPECT_FALSE(astray.fetch(0, 0, 0, 0, 0).has_value());
    EXPECT_TRUE(astray.faulted());

    const std::uint32_t nowhere = 1;
    image.memory().write(TestMemory::kBase + 12, nowhere);  // texels elsewhere
    View view(image.texture(), image.memory());
    EXPECT_EQ(view.fetch(0, 0, 0, 0, 0), Texel{});
    EXPECT_TRUE(view.faulted());
}

TEST(TextureLayout, TexelsOfOneTileCostOneRead) {
    TestImage image({.ordering = Ordering::u_interleaved, .width = 16, .height = 16});
    View view(image.texture(), image.memory());
    for (unsigned y = 0; y < 16; ++y)
        for (unsigned x = 0; x < 16; ++x) (void)view.fetch(0, 0, x, y, 0);
    EXPECT_EQ(image.memory().reads, 2U);  // and the plane
}

TEST(TextureLayout, DepthAndStencilAreFoundBesideOneAnother) {
    const auto first_texel = [](std::uint32_t clump, std::uint32_t format, unsigned bytes, auto value) {
        TestImage image({.format = format, .clump = clump, .element_bytes = bytes});
        image.put(value, 0, 0);
        View view(image.texture(), image.memory());
        return (*view.fetch(0, 0, 0, 0, 0))[0];
    };
    constexpr std::uint32_t kDepth32 = 167U << 12 | 16;
    constexpr std::uint32_t kStencil = 93U << 12 | 2;
    EXPECT_EQ(first_texel(16, kDepth32, 8, 0x11'3f000000ULL), 0x3f000000U);
    EXPECT_EQ(first_texel(17, kDepth32, 8, 0x3f000000'00000011ULL), 0x3f000000U);
    EXPECT_EQ(first_texel(18, kStencil, 8, 0x000000a5'3f000000ULL), 0xa5U);
    EXPECT_EQ(first_texel(19, kStencil, 8, 0x00000000'a5000000ULL), 0xa5U);
    EXPECT_EQ(first_texel(20, kStencil, 4, 0xa5123456U), 0xa5U);
    EXPECT_EQ(first_texel(21, kStencil, 4, 0x123456a5U), 0xa5U);
    EXPECT_EQ(first_texel(22, kStencil, 1, std::uint8_t{0xa5}), 0xa5U);
    EXPECT_EQ(first_texel(0, kStencil, 1, std::uint8_t{0xa5}), 0xa5U);
}

TEST(TextureLayout, AlphaAndLuminanceAreInterchangedAsRgba8) {
    const auto texel = [](std::uint32_t clump, std::uint32_t order, unsigned bytes, auto value) {
        TestImage image({.format = 187U << 12 | order, .clump = clump, .element_bytes = bytes});
        image.put(value, 0, 0);
        View view(image.texture(), image.memory());
        Texel result = *view.fetch(0, 0, 0, 0, 0);
        for (std::uint32_t& word : result) word = static_cast<std::uint32_t>(as_float(word) * 255 + 0.5F);
        return result;
    };
    EXPECT_EQ(texel(26, 229, 1, std::uint8_t{0x80}), (Texel{0, 0, 0, 0x80}));
    EXPECT_EQ(texel(25, 0, 2, std::uint16_t{0x8040}), (Texel{0x40, 0x40, 0x40, 0x80}));
    EXPECT_EQ(texel(24, 0, 1, std::uint8_t{0x84}), (Texel{0x44, 0x44, 0x44, 0x88}));
}

TEST(TextureLayout, FormatsLargerThanTheirElementsReadAsNothing) {
    TestImage small({.format = 191U << 12, .clump = 2, .element_bytes = 4});
    View view(small.texture(), small.memory());
    EXPECT_EQ(view.plane(0, 0), nullptr);
    TestImage compressed({.format = 191U << 12, .clump = 32, .element_bytes = 8, .edge = 4});
    View other(compressed.texture(), compressed.memory());
    EXPECT_EQ(other.plane(0, 0), nullptr);
}

TEST(TextureLayout, SwizzlesReachConstants) {
    TestImage image({.swizzle = 3 | 2 << 3 | 4 << 6 | 5 << 9});
    const View view(image.texture(), image.memory());
    EXPECT_EQ(view.swizzled({10, 11, 12, 13}), (Texel{13, 12, 0, as_bits(1.0F)}));
    TestImage integers({.format = 219U << 12, .swizzle = 5 | 5 << 3 | 4 << 6 | 0 << 9});
    const View other(integers.texture(), integers.memory());
    EXPECT_EQ(other.swizzled({10, 11, 12, 13}), (Texel{1, 1, 0, 10}));
}

TEST(TextureLayout, DescriptorsOfTheWrongTypeAreNone) {
    TestImage image({});
    const DescriptorWords texture = image.descriptor();
    const DescriptorWords sampler = SamplerWords{}.words();
    EXPECT_TRUE(parse_texture(bytes_of(texture)).has_value());
    EXPECT_FALSE(parse_texture(bytes_of(sampler)).has_value());
    EXPECT_FALSE(parse_sampler(bytes_of(texture)).has_value());
    EXPECT_FALSE(parse_plane(bytes_of(texture)).has_value());
    EXPECT_EQ(type_of(bytes_of(sampler)), DescriptorType::sampler);
    EXPECT_FALSE(parse_texture(bytes_of(DescriptorWords{})).has_value());
}

}  // namespace
}  // namespace belfry::gpu::texture
