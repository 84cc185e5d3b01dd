// Samplers against a naive model in double.
#include <cmath>
#include <functional>

#include <gtest/gtest.h>

#include "gpu/texture/cube.hpp"
#include "gpu/texture/planar.hpp"
#include "gpu/texture/sample.hpp"
#include "gpu_texture_rig.hpp"

namespace belfry::gpu::texture {
namespace {

constexpr std::uint32_t kR32F = 167U << 12 | 16;
constexpr std::uint32_t kR32Ui = 133U << 12 | 16;
constexpr unsigned kRepeat = 8;
constexpr unsigned kClamp = 9;
constexpr unsigned kBorderWrap = 11;
constexpr unsigned kMirror = 12;
constexpr unsigned kMirrorClamp = 13;
constexpr unsigned kMirrorBorder = 15;
constexpr unsigned kWraps[] = {kRepeat, kClamp, kBorderWrap, kMirror, kMirrorClamp, kMirrorBorder};
constexpr double kBorderValue = -5;

float red(const Texel& texel) { return as_float(texel[0]); }
Footprint lod(double value) { return {.lod_256 = static_cast<std::int32_t>(std::lround(value * 256))}; }

/// Texels of one channel that answer for themselves.
struct Texels {
    TestImage image;
    std::vector<float> values;
    ImageLayout layout;

    explicit Texels(ImageLayout of, unsigned seed = 1) : image(of), layout(of) {
        Random random(seed);
        for (unsigned layer = 0; layer < image.faces(); ++layer)
            for (unsigned level = 0; level < of.levels; ++level)
                for (unsigned z = 0; z < size(2, level); ++z)
                    for (unsigned y = 0; y < size(1, level); ++y)
                        for (unsigned x = 0; x < size(0, level); ++x) {
                            const float value = static_cast<float>(random() % 1000) / 8;
                            image.put(value, x, y, z, level, layer);
                        }
    }
    [[nodiscard]] unsigned size(unsigned axis, unsigned level) const {
        return TestImage::minified(axis == 0   ? layout.width
                                   : axis == 1 ? layout.height
                                               : layout.depth,
                                   level);
    }
    double at(int x, int y, int z = 0, unsigned level = 0, unsigned layer = 0) {
        float value = 0;
        const std::uint64_t address = image.element(layer, level, static_cast<unsigned>(x),
                                                    static_cast<unsigned>(y), static_cast<unsigned>(z));
        std::memcpy(&value, &image.memory().bytes()[address - TestMemory::kBase], sizeof value);
        return value;
    }
    /// As `at`, for coordinates that may lie outside.
    double wrapped(const std::array<unsigned, 3>& wrap, std::array<int, 3> i, unsigned level,
                   unsigned layer = 0) {
        for (unsigned axis = 0; axis < 3; ++axis) {
            const int n = static_cast<int>(size(axis, level));
            if (axis == 2 && layout.dimension != Dimension::d3) continue;
            if (axis == 1 && layout.dimension == Dimension::d1) continue;
            int& c = i[axis];
            switch (wrap[axis]) {
                case kRepeat:
                    while (c < 0) c += n;
                    while (c >= n) c -= n;
                    break;
                case kMirror:
                    while (c < 0 || c >= n) c = c < 0 ? -1 - c : 2 * n - 1 - c;
                    break;
                case kMirrorClamp:
                case kMirrorBorder:
                    if (c < 0) c = -1 - c;
                    [[fallthrough]];
                default:
                    if (wrap[axis] == kBorderWrap || wrap[axis] == kMirrorBorder) {
                        if (c < 0 || c >= n) return kBorderValue;
                    }
                    c = std::max(0, std::min(c, n - 1));
            }
        }
        return at(i[0], i[1], i[2], level, layer);
    }
    /// The filter by its definition: every texel times its weight.
    double linear(const std::array<unsigned, 3>& wrap, std::array<double, 3> coordinate, unsigned level,
                  const std::array<int, 3>& offset = {}, unsigned layer = 0) {
        const unsigned dimensions = layout.dimension == Dimension::d1   ? 1
                                    : layout.dimension == Dimension::d3 ? 3
                                                                        : 2;
        double sum = 0;
        for (unsigned corner = 0; corner < 1U << dimensions; ++corner) {
            double weight = 1;
            std::array<int, 3> i{};
            for (unsigned axis = 0; axis < dimensions; ++axis) {
                const double u = coordinate[axis] * size(axis, level) - 0.5;
                const bool upper = (corner >> axis & 1) != 0;
                const double fraction = u - std::floor(u);
                weight *= upper ? fraction : 1 - fraction;
                i[axis] = static_cast<int>(std::floor(u)) + (upper ? 1 : 0) + offset[axis];
            }
            sum += weight * wrapped(wrap, i, level, layer);
        }
        return sum;
    }
};

SamplerWords with_border(SamplerWords words) {
    words.border[0] = as_bits(static_cast<float>(kBorderValue));
    return words;
}

TEST(TextureSample, NearestWrapsAsVulkanSays) {
    for (const unsigned width : {1U, 2U, 5U, 8U})
        for (const unsigned wrap : kWraps) {
            Texels texels({.dimension = Dimension::d1, .format = kR32F, .width = width});
            const Sampler sampler = with_border({.wrap_s = wrap}).sampler();
            View view(texels.image.texture(), texels.image.memory());
            for (int i = -40; i < 40; ++i) {
                const float s = (static_cast<float>(i) + 0.5F) / static_cast<float>(width);
                EXPECT_EQ(red(sample(view, sampler, {.at = {s}}, {})),
                          texels.wrapped({wrap, 9, 9}, {i, 0, 0}, 0))
                    << wrap << " " << i;
            }
        }
}

TEST(TextureSample, LinearIsTheWeightedSumOfTexels) {
    Random random(2);
    std::uniform_real_distribution<float> anywhere(-2.5F, 3.5F);
    for (const Dimension dimension : {Dimension::d1, Dimension::d2, Dimension::d3})
        for (const Ordering ordering : {Ordering::linear, Ordering::u_interleaved}) {
            Texels texels({.dimension = dimension,
                           .format = kR32F,
                           .ordering = ordering,
                           .width = 19,
                           .height = dimension == Dimension::d1 ? 1U : 13U,
                           .depth = dimension == Dimension::d3 ? 6U : 1U});
            View view(texels.image.texture(), texels.image.memory());
            for (unsigned round = 0; round < 1000; ++round) {
                const std::array<unsigned, 3> wrap{kWraps[random() % 6], kWraps[random() % 6],
                                                   kWraps[random() % 6]};
                const Sampler sampler = with_border({.wrap_s = wrap[0],
                                                     .wrap_t = wrap[1],
                                                     .wrap_r = wrap[2],
                                                     .minify_linear = true,
                                                     .magnify_linear = true})
                                            .sampler();
                const Place place{
                    .at = {anywhere(random), anywhere(random), anywhere(random)},
                    .offset = {static_cast<int>(random() % 16) - 8, static_cast<int>(random() % 16) - 8,
                               static_cast<int>(random() % 16) - 8}};
                const double expected =
                    texels.linear(wrap, {place.at[0], place.at[1], place.at[2]}, 0, place.offset);
                ASSERT_NEAR(red(sample(view, sampler, place, {})), expected, 2e-3);
            }
        }
}

TEST(TextureSample, ATexelsCentreIsThatTexel) {
    Texels texels({.format = kR32F, .width = 8, .height = 8});
    View view(texels.image.texture(), texels.image.memory());
    const Sampler sampler = SamplerWords{.minify_linear = true, .magnify_linear = true}.sampler();
    for (int y = 0; y < 8; ++y)
        for (int x = 0; x < 8; ++x) {
            const Place place{
                .at = {(static_cast<float>(x) + 0.5F) / 8, (static_cast<float>(y) + 0.5F) / 8, 0}};
            EXPECT_EQ(red(sample(view, sampler, place, {})), texels.at(x, y));
        }
}

TEST(TextureSample, AColourThatIsTheSameEverywhereStaysExact) {
    TestImage image({.width = 7, .height = 5});
    for (unsigned y = 0; y < 5; ++y)
        for (unsigned x = 0; x < 7; ++x) image.put(0xff336699U, x, y);
    View view(image.texture(), image.memory());
    const Sampler sampler =
        SamplerWords{.wrap_s = kRepeat, .wrap_t = kMirror, .minify_linear = true, .magnify_linear = true}
            .sampler();
    Random random(3);
    for (unsigned i = 0; i < 1000; ++i) {
        const Place place{
            .at = {static_cast<float>(random()) / 1e9F, static_cast<float>(random()) / 1e9F, 0}};
        const Texel texel = sample(view, sampler, place, {});
        ASSERT_EQ(red(texel), 0x99 / 255.0F);
        ASSERT_EQ(as_float(texel[3]), 1.0F);
    }
}

TEST(TextureSample, BytesAreFilteredInBytesHalvesUp) {
    Random random(5);
    TestImage image({.format = 187U << 12 | 4, .ordering = Ordering::u_interleaved, .width = 9, .height = 6});
    std::array<std::array<std::uint32_t, 9>, 6> texels{};
    for (unsigned y = 0; y < 6; ++y)
        for (unsigned x = 0; x < 9; ++x) {
            texels[y][x] = random();
            image.put(texels[y][x], x, y);
        }
    View view(image.texture(), image.memory());
    const Sampler sampler = SamplerWords{.magnify_linear = true, .normalized = false}.sampler();
    const auto mixed = [](int first, int second, int weight) {
        return first + static_cast<int>(std::floor(weight * (second - first) / 256.0 + 0.5));
    };
    for (unsigned round = 0; round < 5000; ++round) {
        const unsigned i = random() % 8;
        const unsigned j = random() % 5;
        const int a = static_cast<int>(random() % 256);
        const int b = static_cast<int>(random() % 256);
        const Place place{.at = {static_cast<float>(i) + 0.5F + static_cast<float>(a) / 256,
                                 static_cast<float>(j) + 0.5F + static_cast<float>(b) / 256, 0}};
        const Texel texel = sample(view, sampler, place, {});
        constexpr std::array<unsigned, 4> kShift{16, 8, 0, 24};  // B G R A
        for (unsigned c = 0; c < 4; ++c) {
            const auto at = [&](unsigned x, unsigned y) {
                return static_cast<int>(texels[y][x] >> kShift[c] & 255);
            };
            const int expected =
                mixed(mixed(at(i, j), at(i + 1, j), a), mixed(at(i, j + 1), at(i + 1, j + 1), a), b);
            ASSERT_EQ(as_float(texel[c]), static_cast<float>(expected) / 255.0F);
        }
    }
}

TEST(TextureSample, LevelsAreChosenByRoundingOrMixed) {
    Texels texels({.format = kR32F, .width = 16, .height = 16, .levels = 5});
    View view(texels.image.texture(), texels.image.memory());
    const std::array<unsigned, 3> wrap{kClamp, kClamp, kClamp};
    const Place place{.at = {0.3F, 0.6F, 0}};
    const auto level = [&](unsigned number) { return texels.linear(wrap, {0.3F, 0.6F, 0}, number); };
    const Sampler nearest = SamplerWords{.minify_linear = true, .magnify_linear = true}.sampler();
    EXPECT_NEAR(red(sample(view, nearest, place, lod(1.45))), level(1), 1e-3);
    EXPECT_NEAR(red(sample(view, nearest, place, lod(1.55))), level(2), 1e-3);
    EXPECT_NEAR(red(sample(view, nearest, place, lod(100))), level(4), 1e-3);
    EXPECT_NEAR(red(sample(view, nearest, place, lod(-3))), level(0), 1e-3);
    const Sampler mixed =
        SamplerWords{.minify_linear = true, .magnify_linear = true, .mip_mode = 3}.sampler();
    EXPECT_NEAR(red(sample(view, mixed, place, lod(1.25))), 0.75 * level(1) + 0.25 * level(2), 1e-3);
    EXPECT_NEAR(red(sample(view, mixed, place, lod(4))), level(4), 1e-3);
    EXPECT_NEAR(red(sample(view, mixed, place, lod(9))), level(4), 1e-3);
    const Sampler none = SamplerWords{.minify_linear = true, .magnify_linear = true, .mip_mode = 1}.sampler();
    EXPECT_NEAR(red(sample(view, none, place, lod(3))), level(0), 1e-3);
    const Sampler clamped =
        SamplerWords{.minify_linear = true, .magnify_linear = true, .lod_min_256 = 512, .lod_max_256 = 768}
            .sampler();
    EXPECT_NEAR(red(sample(view, clamped, place, lod(0))), level(2), 1e-3);
    EXPECT_NEAR(red(sample(view, clamped, place, lod(9))), level(3), 1e-3);
}

TEST(TextureSample, MinifyingWithOneLevelStillUsesTheMinifyFilter) {
    Texels texels({.format = kR32F, .width = 16, .height = 16});
    View view(texels.image.texture(), texels.image.memory());
    const Sampler sampler = SamplerWords{.minify_linear = true, .magnify_linear = false}.sampler();
    const Place place{.at = {0.3F, 0.6F, 0}};
    EXPECT_NEAR(red(sample(view, sampler, place, lod(2))),
                texels.linear({kClamp, kClamp, kClamp}, {0.3F, 0.6F, 0}, 0), 1e-3);
    EXPECT_EQ(red(sample(view, sampler, place, lod(0))), texels.at(4, 9));
}

TEST(TextureSample, UnnormalisedCoordinatesCountTexels) {
    Texels texels({.format = kR32F, .width = 9, .height = 7});
    View view(texels.image.texture(), texels.image.memory());
    const Sampler sampler = SamplerWords{.normalized = false}.sampler();
    EXPECT_EQ(red(sample(view, sampler, {.at = {7.9F, 3.2F, 0}}, {})), texels.at(7, 3));
    EXPECT_EQ(red(sample(view, sampler, {.at = {-4.0F, 100.0F, 0}}, {})), texels.at(0, 6));
}

TEST(TextureSample, TheViewsSizeCountsAndNotTheImages) {
    // As of a view that sees 4x4 blocks as texels: planes tell the image's size.
    Texels texels({.format = kR32F, .width = 16, .height = 16});
    DescriptorWords words = texels.image.descriptor();
    words[1] = 3 | 3 << 16;
    View view(parse_texture(bytes_of(words)).value(), texels.image.memory());
    const Sampler sampler = SamplerWords{}.sampler();
    EXPECT_EQ(red(sample(view, sampler, {.at = {2.5F / 4, 1.5F / 4, 0}}, {})), texels.at(2, 1));
    EXPECT_TRUE(view.fetch(0, 0, 3, 3, 0).has_value());
    EXPECT_FALSE(view.fetch(0, 0, 4, 3, 0).has_value());
    EXPECT_FALSE(view.address(0, 3, 4, 0).has_value());
}

TEST(TextureSample, BordersHaveOnlyTheComponentsOfTheFormat) {
    const auto outside = [](std::uint32_t format, std::uint32_t clump, unsigned bytes,
                            std::uint32_t swizzle) {
        TestImage image({.format = format, .clump = clump, .element_bytes = bytes, .swizzle = swizzle});
        View view(image.texture(), image.memory());
        SamplerWords words{.wrap_s = kBorderWrap, .wrap_t = kBorderWrap};
        words.border = {1, 2, 3, 4};
        return sample(view, words.sampler(), {.at = {2, 2, 0}}, {});
    };
    constexpr std::uint32_t kIdentity = 0 | 1 << 3 | 2 << 6 | 3 << 9;
    const std::uint32_t one = as_bits(1.0F);
    EXPECT_EQ(outside(187U << 12, 2, 4, kIdentity), (Texel{1, 2, 3, 4}));
    EXPECT_EQ(outside(kR32F, 2, 4, kIdentity), (Texel{1, 0, 0, one}));
    EXPECT_EQ(outside(187U << 12 | 4, 2, 4, 2 | 1 << 3 | 0 << 6 | 5 << 9), (Texel{3, 2, 1, one}));
    EXPECT_EQ(outside(kR32Ui, 2, 4, kIdentity), (Texel{1, 0, 0, 1}));
}

TEST(TextureSample, ComparisonsAreOfTheTexelWithTheReference) {
    TestImage image({.format = kR32F});
    image.put(0.5F, 0, 0);
    View view(image.texture(), image.memory());
    for (unsigned compare = 0; compare < 8; ++compare) {
        const Sampler sampler = SamplerWords{.compare = compare}.sampler();
        const auto passes = [&](float reference) {
            return red(sample(view, sampler, {}, {}, Shadow::yes, reference)) == 1.0F;
        };
        EXPECT_EQ(passes(0.75F), (compare & 1) != 0);
        EXPECT_EQ(passes(0.5F), (compare & 2) != 0);
        EXPECT_EQ(passes(0.25F), (compare & 4) != 0);
        EXPECT_EQ(passes(NAN), compare == 7);
    }
}

TEST(TextureSample, ComparisonsComeBeforeTheFilterAndUnormReferencesAreClamped) {
    TestImage image({.format = 75U << 12, .clump = 1, .element_bytes = 2, .width = 2});
    image.put(std::uint16_t{0xffff}, 0, 0);
    image.put(std::uint16_t{0}, 1, 0);
    View view(image.texture(), image.memory());
    const Sampler equal = SamplerWords{.magnify_linear = true, .compare = 2}.sampler();
    EXPECT_EQ(red(sample(view, equal, {.at = {0.625F, 0.5F, 0}}, {}, Shadow::yes, 7.0F)), 0.25F);
}

TEST(TextureSample, ReductionsTakeOnlyTexelsOfSomeWeight) {
    TestImage image({.format = kR32F, .width = 3});
    for (unsigned x = 0; x < 3; ++x) image.put(static_cast<float>(x), x, 0);
    View view(image.texture(), image.memory());
    const Sampler least = SamplerWords{.magnify_linear = true, .reduction = 2}.sampler();
    const Sampler most = SamplerWords{.magnify_linear = true, .reduction = 3}.sampler();
    EXPECT_EQ(red(sample(view, least, {.at = {0.6F, 0.5F, 0}}, {})), 1.0F);
    EXPECT_EQ(red(sample(view, most, {.at = {0.6F, 0.5F, 0}}, {})), 2.0F);
    EXPECT_EQ(red(sample(view, most, {.at = {0.5F, 0.5F, 0}}, {})), 1.0F);
    EXPECT_EQ(red(sample(view, least, {.at = {0.5F, 0.5F, 0}}, {})), 1.0F);
}

TEST(TextureSample, IntegersAreNotFiltered) {
    TestImage image({.format = kR32Ui, .width = 4});
    for (unsigned x = 0; x < 4; ++x) image.put(0x80000000U + x, x, 0);
    View view(image.texture(), image.memory());
    const Sampler sampler =
        SamplerWords{.minify_linear = true, .magnify_linear = true, .mip_mode = 3}.sampler();
    EXPECT_EQ(sample(view, sampler, {.at = {0.7F, 0.5F, 0}}, {}), (Texel{0x80000002U, 0, 0, 1}));
}

TEST(TextureSample, GatherTakesFourTexelsRowByRow) {
    Texels texels({.format = kR32F, .width = 5, .height = 5, .swizzle = 5 | 0 << 3 | 4 << 6 | 3 << 9});
    View view(texels.image.texture(), texels.image.memory());
    const Sampler sampler = SamplerWords{}.sampler();
    const Place place{.at = {0.5F, 0.5F, 0}, .offset = {1, -1, 0}};  // between columns 2 and 3, rows 0 and 1
    const Texel gathered = gather(view, sampler, place, 1);
    constexpr std::array<std::array<int, 2>, 4> kOrder{{{3, 1}, {4, 1}, {3, 2}, {4, 2}}};
    for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(as_float(gathered[i]), texels.at(kOrder[i][0], kOrder[i][1]));
    EXPECT_EQ(gather(view, sampler, place, 0), (Texel{as_bits(1), as_bits(1), as_bits(1), as_bits(1)}));
    const Sampler always = SamplerWords{.compare = 7}.sampler();
    EXPECT_EQ(gather(view, always, place, 0, Shadow::yes, 0),
              (Texel{as_bits(1), as_bits(1), as_bits(1), as_bits(1)}));
}

// --- cubes
// ----------------------------------------------------------------------------------------------------

/// Where (s, t) of the plane of a face points; both may leave 0 ... 1.
std::array<double, 3> direction(unsigned face, double s, double t) {
    const double x = 2 * s - 1;
    const double y = 2 * t - 1;
    switch (face) {
        case 0:  return {1, -y, -x};
        case 1:  return {-1, -y, x};
        case 2:  return {x, 1, y};
        case 3:  return {x, -1, -y};
        case 4:  return {x, -y, 1};
        default: return {-x, -y, -1};
    }
}

/// Texel that a direction meets.
CubeTexel met(const std::array<double, 3>& d, int size) {
    for (unsigned face = 0; face < 6; ++face) {
        const double along = (face % 2 == 0 ? 1 : -1) * d[face / 2];
        if (along < std::abs(d[0]) || along < std::abs(d[1]) || along < std::abs(d[2])) continue;
        constexpr int kS[6][2] = {{2, -1}, {2, 1}, {0, 1}, {0, 1}, {0, 1}, {0, -1}};
        constexpr int kT[6][2] = {{1, -1}, {1, -1}, {2, 1}, {2, -1}, {1, -1}, {1, -1}};
        const auto texel = [&](const int(&axis)[2]) {
            return static_cast<int>(
                std::floor((axis[1] * d[static_cast<unsigned>(axis[0])] / along + 1) / 2 * size));
        };
        return {.face = face, .x = texel(kS[face]), .y = texel(kT[face])};
    }
    return {.face = 6, .x = 0, .y = 0};
}

TEST(TextureCube, FacesGoOnOverTheirEdges) {
    for (const int size : {1, 2, 3, 8})
        for (unsigned face = 0; face < 6; ++face)
            for (int y = -1; y <= size; ++y)
                for (int x = -1; x <= size; ++x) {
                    const bool x_out = x < 0 || x == size;
                    const bool y_out = y < 0 || y == size;
                    const auto found = cube_texel(face, x, y, size);
                    ASSERT_EQ(found.has_value(), !(x_out && y_out));
                    if (!found) continue;
                    // Along an edge a texel's neighbour is the one that a hair's breadth beyond the edge lies
                    // in.
                    const auto place = [size](int i, bool out) {
                        if (out) return i < 0 ? -1e-6 : 1 + 1e-6;
                        return (i + 0.5) / size;
                    };
                    const CubeTexel expected = met(direction(face, place(x, x_out), place(y, y_out)), size);
                    ASSERT_EQ(found->face, expected.face) << face << " " << x << " " << y << " " << size;
                    ASSERT_EQ(found->x, expected.x) << face << " " << x << " " << y << " " << size;
                    ASSERT_EQ(found->y, expected.y) << face << " " << x << " " << y << " " << size;
                }
}

TEST(TextureCube, EdgesAreMixedOfBothFacesAndCornersOfThree) {
    Texels texels({.dimension = Dimension::cube, .format = kR32F, .width = 4, .height = 4, .layers = 2});
    View view(texels.image.texture(), texels.image.memory());
    const Sampler sampler = SamplerWords{.minify_linear = true, .magnify_linear = true}.sampler();
    const auto texel = [&](unsigned face, int x, int y) {
        const CubeTexel at = *cube_texel(face, x, y, 4);
        return texels.at(at.x, at.y, 0, 0, 6 + at.face);
    };
    for (unsigned face = 0; face < 6; ++face) {
        const double on_edge = red(sample(view, sampler, {.at = {1.0F, 0.625F, 0}, .layer = 6 + face}, {}));
        EXPECT_NEAR(on_edge, (texel(face, 3, 2) + texel(face, 4, 2)) / 2, 1e-4);
        const double within = red(sample(view, sampler, {.at = {0.375F, 0.375F, 0}, .layer = 6 + face}, {}));
        EXPECT_NEAR(within, texel(face, 1, 1), 1e-4);
        const double at_corner = red(sample(view, sampler, {.at = {0.0F, 1.0F, 0}, .layer = 6 + face}, {}));
        EXPECT_NEAR(at_corner, (texel(face, 0, 3) + texel(face, -1, 3) + texel(face, 0, 4)) / 3, 1e-3);
    }
}

TEST(TextureCube, WithoutSeamlessEdgesEachFaceIsByItself) {
    Texels texels({.dimension = Dimension::cube, .format = kR32F, .width = 4, .height = 4});
    View view(texels.image.texture(), texels.image.memory());
    const Sampler sampler = SamplerWords{.magnify_linear = true, .seamless = false}.sampler();
    EXPECT_EQ(red(sample(view, sampler, {.at = {1.0F, 0.625F, 0}, .layer = 3}, {})),
              texels.at(3, 2, 0, 0, 3));
}

// --- levels of detail
// -----------------------------------------------------------------------------------------

TEST(TextureLod, IsTheLogarithmOfTheLongerChangeInTexels) {
    TestImage image({.width = 64, .height = 32});
    const Sampler sampler = SamplerWords{}.sampler();
    const Texture texture = image.texture();
    const auto lod_of = [&](float sx, float tx, float sy, float ty) {
        return footprint_of(texture, sampler, {.ddx = {sx, tx, 0}, .ddy = {sy, ty, 0}}).lod_256 / 256.0;
    };
    EXPECT_EQ(lod_of(1 / 64.0F, 0, 0, 1 / 32.0F), 0);
    EXPECT_EQ(lod_of(2 / 64.0F, 0, 0, 1 / 32.0F), 1);
    EXPECT_EQ(lod_of(1 / 64.0F, 0, 0, 8 / 32.0F), 3);
    EXPECT_EQ(lod_of(0.25F / 64.0F, 0, 0, 0), -2);
    EXPECT_NEAR(lod_of(3 / 64.0F, 4 / 32.0F, 0, 0), std::log2(5), 1 / 256.0);
    EXPECT_EQ(lod_of(0, 0, 0, 0), -128);
    EXPECT_EQ(lod_of(INFINITY, 0, 0, 0), 32767 / 256.0);
    EXPECT_EQ(lod_of(NAN, 0, 0, 0), -128);
}

TEST(TextureLod, IsClampedBySamplerThenByTexture) {
    TestImage image({.width = 64, .height = 32, .levels = 4});
    const Sampler sampler = SamplerWords{.lod_min_256 = 128, .lod_max_256 = 5 * 256}.sampler();
    EXPECT_EQ(clamp_to_sampler(sampler, -1000), 128);
    EXPECT_EQ(clamp_to_sampler(sampler, 300), 300);
    EXPECT_EQ(clamp_to_sampler(sampler, 3000), 5 * 256);
    EXPECT_EQ(clamp_to_texture(image.texture(), 5 * 256), 3 * 256);
    EXPECT_EQ(clamp_to_texture(image.texture(), -5), 0);
    DescriptorWords words = image.descriptor();
    words[3] = 256 | 512U << 16;
    const Texture narrow = parse_texture(bytes_of(words)).value();
    EXPECT_EQ(clamp_to_texture(narrow, 0), 256);
    EXPECT_EQ(clamp_to_texture(narrow, 5 * 256), 512);
}

TEST(TextureLod, AnisotropyTakesMoreLookupsOfASharperLevel) {
    TestImage image({.width = 64, .height = 64, .levels = 7});
    const Sampler sampler = SamplerWords{.anisotropy = 8}.sampler();
    const auto footprint = [&](float x, float y) {
        return footprint_of(image.texture(), sampler, {.ddx = {x / 64, 0, 0}, .ddy = {0, y / 64, 0}});
    };
    EXPECT_EQ(footprint(4, 4).taps, 1U);
    EXPECT_EQ(footprint(4, 4).lod_256, 2 * 256);
    EXPECT_EQ(footprint(8, 2).taps, 4U);
    EXPECT_EQ(footprint(8, 2).lod_256, 256);
    EXPECT_EQ(footprint(8, 2).extent[0], 8);
    EXPECT_EQ(footprint(64, 1).taps, 8U);
    EXPECT_EQ(footprint(64, 1).lod_256, 3 * 256);
    EXPECT_EQ(footprint(1, 16).extent[1], 16);
    EXPECT_EQ(footprint(5, 0).taps, 8U);
    EXPECT_EQ(footprint(0, 0).taps, 1U);
}

TEST(TextureLod, AnisotropicLookupsAverageAlongTheirAxis) {
    TestImage image({.format = kR32F, .width = 16});
    for (unsigned x = 0; x < 16; ++x) image.put(static_cast<float>(x * x), x, 0);
    View view(image.texture(), image.memory());
    const Sampler sampler = SamplerWords{.magnify_linear = true, .anisotropy = 4}.sampler();
    // Four lookups, one texel apart, around the border between texels 7 and 8.
    const Footprint footprint{.lod_256 = 0, .taps = 4, .extent = {4, 0}};
    EXPECT_NEAR(red(sample(view, sampler, {.at = {0.5F, 0.5F, 0}}, footprint)), (36 + 49 + 64 + 81) / 4.0,
                1e-3);
}

TEST(TextureSample, PlanarLookupsAreNoOthers) {
    Random random(21);
    unsigned planar_ones = 0;
    for (unsigned round = 0; round < 300; ++round) {
        constexpr std::array<std::uint32_t, 4> kFormats{187U << 12 | 4, kR32F, 187U << 12 | 1U << 20, kR32Ui};
        ImageLayout layout{.format = kFormats[random() % 4],
                           .ordering = random() % 2 == 0 ? Ordering::linear : Ordering::u_interleaved,
                           .width = 1 + random() % 40,
                           .height = 1 + random() % 40,
                           .levels = 1 + random() % 3};
        if (random() % 3 == 0) layout.swizzle = 2 | 5 << 3 | 0 << 6 | 4 << 9;
        TestImage image(layout);
        for (std::byte& byte : image.memory().bytes().subspan(64 + 3 * kDescriptorBytes))
            byte = std::byte(random() & 63);
        View view(image.texture(), image.memory());
        const Sampler sampler = SamplerWords{.wrap_s = kWraps[random() % 6],
                                             .wrap_t = kWraps[random() % 6],
                                             .minify_linear = random() % 2 == 0,
                                             .magnify_linear = random() % 2 == 0,
                                             .mip_mode = random() % 2 * 3,
                                             .reduction = random() % 8 == 0 ? 2U : 0U,
                                             .normalized = random() % 4 != 0}
                                    .sampler();
        const Footprint footprint{.lod_256 = static_cast<std::int32_t>(random() % 5) * 128 - 128};
        const auto planar = PlanarLookup::prepare(view, sampler, footprint.lod_256);
        if (!planar) continue;
        ++planar_ones;
        std::uniform_real_distribution<float> anywhere(-2, 3);
        for (unsigned i = 0; i < 200; ++i) {
            const float scale = sampler.normalized ? 1.0F : 20.0F;
            const float s =
                i % 8 == 0 ? static_cast<float>(random() % 64) / 32 * scale : anywhere(random) * scale;
            const float t = i % 50 == 0 ? NAN : anywhere(random) * scale;
            ASSERT_EQ(planar->at(s, t), sample(view, sampler, {.at = {s, t, 0}}, footprint)) << s << " " << t;
        }
    }
    EXPECT_GT(planar_ones, 60U);
}

// --- hostile input
// --------------------------------------------------------------------------------------------

TEST(TextureSample, RandomDescriptorsAndCoordinatesNeverReadOutsideOrForLong) {
    Random random(7);
    TestMemory memory(1 << 16);
    unsigned valid = 0;
    const auto words = [&random] {
        DescriptorWords result{};
        for (std::uint32_t& word : result) word = random();
        return result;
    };
    const auto anything = [&random] {
        constexpr std::array kEdges{0.0F, -0.0F, 1.0F, 1e30F, -1e30F, INFINITY, -INFINITY, NAN, 0.5F, 1e-40F};
        return random() % 2 == 0 ? kEdges[random() % kEdges.size()] : as_float(random());
    };
    for (unsigned round = 0; round < 40000; ++round) {
        DescriptorWords texture_words = words();
        texture_words[0] = (texture_words[0] & ~0x3ffU & ~(0xfffU << 10)) | 2 | (random() & 0x330) | 1U << 9;
        texture_words[2] = (random() % 3 == 0 ? texture_words[2] : 0U | 1 << 3 | 2 << 6 | 3 << 9);
        texture_words[4] = TestMemory::kBase & 0xffffffff;
        texture_words[5] = TestMemory::kBase >> 32;
        DescriptorWords sampler_words = words();
        constexpr std::array<std::uint32_t, 6> kModes{8, 9, 11, 12, 13, 15};
        sampler_words[0] = (sampler_words[0] & 0xfff00000) | 1 | kModes[random() % 6] << 8 |
                           kModes[random() % 6] << 12 | kModes[random() % 6] << 16;
        for (unsigned plane = 0; plane < 8; ++plane) {
            DescriptorWords plane_words = words();
            plane_words[0] = 10 | 1 << 4 | (1 + random() % 2) << 8 | (random() % 40) << 24;
            plane_words[2] = static_cast<std::uint32_t>(TestMemory::kBase + random() % 0x12000);
            plane_words[3] = TestMemory::kBase >> 32;
            plane_words[4] &= 0xfff;
            plane_words[6] &= 0xfff;
            plane_words[7] &= random();
            memory.write(TestMemory::kBase + plane * kDescriptorBytes, plane_words);
        }
        const auto texture = parse_texture(bytes_of(texture_words));
        const auto sampler = parse_sampler(bytes_of(sampler_words));
        if (!texture || !sampler) continue;
        ++valid;
        View view(*texture, memory);
        const Place place{.at = {anything(), anything(), anything()},
                          .layer = random() % 2 == 0 ? random() : random() % 8,
                          .offset = {static_cast<std::int8_t>(random()), static_cast<std::int8_t>(random()),
                                     static_cast<std::int8_t>(random())}};
        const Footprint footprint = footprint_of(
            *texture, *sampler,
            {.ddx = {anything(), anything(), anything()}, .ddy = {anything(), anything(), anything()}});
        memory.reads = 0;
        const Shadow shadow = random() % 4 == 0 ? Shadow::yes : Shadow::no;
        (void)sample(view, *sampler, place, footprint, shadow, anything());
        ASSERT_LE(memory.reads, 16 * 2 * 4 + 16U);
        (void)gather(view, *sampler, place, random(), shadow, anything());
        (void)view.fetch(random() % 8, random() % 8, random(), random(), random());
    }
    EXPECT_GT(valid, 2000U);
}

}  // namespace
}  // namespace belfry::gpu::texture
