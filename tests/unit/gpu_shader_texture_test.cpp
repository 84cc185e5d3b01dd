// TEX_* run as programs. What filters give is gpu_texture_sample_test.cpp's; here it is who gets what.
#include <cmath>

#include "gpu/texture/sample.hpp"
#include "gpu_shader_texture_rig.hpp"

namespace belfry::gpu::shader {
namespace {

constexpr std::uint32_t kR32F = 167U << 12 | 16;
constexpr std::uint32_t kR32Ui = 133U << 12 | 16;

/// Texel (x, y, z) of level l and layer n is 100000 n + 10000 l + 1000 z + 100 y + x.
TestImage counted(const ImageLayout& layout) {
    TestImage image(layout);
    for (unsigned layer = 0; layer < image.faces(); ++layer)
        for (unsigned level = 0; level < layout.levels; ++level)
            for (unsigned z = 0;
                 z < std::max(TestImage::minified(layout.depth, level), 1U << layout.samples_log2); ++z)
                for (unsigned y = 0; y < TestImage::minified(layout.height, level); ++y)
                    for (unsigned x = 0; x < TestImage::minified(layout.width, level); ++x) {
                        const unsigned number = 100000 * layer + 10000 * level + 1000 * z + 100 * y + x;
                        if (layout.format == kR32F)
                            image.put(static_cast<float>(number), x, y, z, level, layer);
                        else
                            image.put(number, x, y, z, level, layer);
                    }
    return image;
}

float centre(unsigned texel, unsigned size) {
    return (static_cast<float>(texel) + 0.5F) / static_cast<float>(size);
}

TEST(ShaderTexture, EachThreadLooksUpItsOwnPlace) {
    TextureRig rig;
    TestImage image =
        counted({.format = kR32F, .ordering = texture::Ordering::u_interleaved, .width = 32, .height = 16});
    rig.image(image);
    rig.sampler({});
    for (unsigned t = 0; t < 16; ++t) {
        rig.input(t, 0, centre(2 * t, 32));
        rig.input(t, 1, centre(t, 16));
    }
    ASSERT_EQ(rig.run_threads("TEX_SINGLE.slot0.f.32.2d.zero.wait0 @r16:r17:r18:r19, @r4:r5, u2"),
              Outcome::finished);
    for (unsigned t = 0; t < 16; ++t) {
        EXPECT_EQ(rig.result_float(t, 0), static_cast<float>(100 * t + 2 * t));
        EXPECT_EQ(rig.result_float(t, 1), 0.0F);
        EXPECT_EQ(rig.result_float(t, 3), 1.0F);
    }
}

TEST(ShaderTexture, WideHandlesMayDifferBetweenThreads) {
    TextureRig rig;
    TestImage image = counted({.format = kR32F, .width = 16, .height = 16});
    rig.image(image);
    rig.sampler({});
    for (unsigned t = 0; t < 16; ++t) {
        rig.input(t, 0, centre(t, 16));
        rig.input(t, 1, centre(1, 16));
        rig.input(t, 4, kSampler);
        rig.input(t, 5, t % 3 == 0 ? kTexture : t % 3 == 1 ? kNoDescriptor : 0x3f000000U);
    }
    ASSERT_EQ(
        rig.run_threads("TEX_SINGLE.slot0.f.32.2d.zero.wide_indices.wait0 @r16:r17:r18:r19, @r4:r5, r8"),
        Outcome::finished);
    for (unsigned t = 0; t < 16; ++t) {
        EXPECT_EQ(rig.result_float(t, 0), t % 3 == 0 ? static_cast<float>(100 + t) : 0.0F);
        EXPECT_EQ(rig.result_float(t, 3), t % 3 == 0 ? 1.0F : 0.0F);
    }
}

TEST(ShaderTexture, ResultsArePackedByMaskAndWidth) {
    TextureRig rig;
    TestImage image({});
    image.put(0xff00'80ffU, 0, 0);  // R 1, G 128 / 255, B 0, A 1
    rig.image(image);
    rig.sampler({});
    ASSERT_EQ(
        rig.run_threads("MOV.i32 r18, 0x0\nTEX_SINGLE.slot0.f.32.2d.zero.ga.wait0 @r16:r17, @r4:r5, u2"),
        Outcome::finished);
    EXPECT_EQ(rig.result_float(5, 0), 128 / 255.0F);
    EXPECT_EQ(rig.result_float(5, 1), 1.0F);
    ASSERT_EQ(rig.run_threads("TEX_SINGLE.slot0.f.16.2d.zero.rgb.wait0 @r16:r17, @r4:r5, u2"),
              Outcome::finished);
    EXPECT_EQ(rig.result(5, 0), 0x3c00U | texture::float_to_half(128 / 255.0F) << 16);
    EXPECT_EQ(rig.result(5, 1), 0U);
}

TEST(ShaderTexture, ResultsMayOverwriteTheCoordinatesOfTheQuad) {
    TextureRig rig;
    TestImage image = counted({.format = kR32F, .width = 16, .height = 16, .levels = 5});
    rig.image(image);
    rig.sampler({});
    for (unsigned t = 0; t < 16; ++t) {  // two texels from one pixel to the next: level 1
        rig.input(t, 0, centre(2 * (t & 1), 16));
        rig.input(t, 1, centre(2 * (t >> 1 & 1), 16));
    }
    ASSERT_EQ(rig.run_threads("MOV.i32 r16, r4\nMOV.i32 r17, r5\n"
                              "TEX_SINGLE.slot0.f.32.2d.computed.wait0 @r16:r17:r18:r19, @r16:r17, u2"),
              Outcome::finished);
    for (unsigned t = 0; t < 16; ++t)
        EXPECT_EQ(rig.result_float(t, 0), static_cast<float>(10000 + 100 * (t >> 1 & 1) + (t & 1)));
}

TEST(ShaderTexture, LevelsComeFromRegistersBiasAndSampler) {
    TextureRig rig;
    TestImage image = counted({.format = kR32F, .width = 16, .height = 16, .levels = 5});
    rig.image(image);
    const auto level = [&](std::string_view mode, std::uint32_t lod, int sampler_bias) {
        rig.sampler({.lod_bias_256 = sampler_bias});
        for (unsigned t = 0; t < 16; ++t) {
            rig.input(t, 0, centre(t & 1, 16));
            rig.input(t, 1, centre(t >> 1 & 1, 16));
            rig.input(t, 2, lod);
        }
        const std::string text =
            "TEX_SINGLE.slot0.f.32.2d." + std::string(mode) + ".wait0 @r16:r17:r18:r19, @r4:r5:r6, u2";
        EXPECT_EQ(rig.run_threads(text), Outcome::finished);
        return static_cast<int>(rig.result_float(6, 0)) / 10000;
    };
    EXPECT_EQ(level("explicit", 2 * 256, 0), 2);
    EXPECT_EQ(level("explicit", 0xffff, 0), 0);
    EXPECT_EQ(level("explicit", 1 * 256, 2 * 256), 3);
    EXPECT_EQ(level("computed_bias", 0, 0), 0);
    EXPECT_EQ(level("computed_bias", 3 * 256, 0), 3);
    EXPECT_EQ(level("computed_bias", 2U * 256 << 16, 0), 2);
    EXPECT_EQ(level("computed_bias", 1 * 256, 1 * 256), 2);
}

TEST(ShaderTexture, LayersAreFloatsOrIntegersAndClamped) {
    TextureRig rig;
    TestImage image = counted({.format = kR32F, .width = 4, .height = 4, .layers = 5});
    rig.image(image);
    rig.sampler({});
    const std::array<std::uint32_t, 8> words{std::bit_cast<std::uint32_t>(0.0F),
                                             std::bit_cast<std::uint32_t>(2.5F),
                                             std::bit_cast<std::uint32_t>(3.5F),
                                             std::bit_cast<std::uint32_t>(-7.0F),
                                             std::bit_cast<std::uint32_t>(1e30F),
                                             3,
                                             70,
                                             std::bit_cast<std::uint32_t>(NAN)};
    constexpr std::array<unsigned, 8> kLayers{0, 2, 4, 0, 4, 3, 4, 0};
    for (unsigned t = 0; t < 8; ++t) rig.input(t, 2, words[t]);
    ASSERT_EQ(
        rig.run_threads("TEX_SINGLE.slot0.f.32.2d.zero.array_enable.wait0 @r16:r17:r18:r19, @r4:r5:r6, u2"),
        Outcome::finished);
    for (unsigned t = 0; t < 8; ++t)
        EXPECT_EQ(rig.result_float(t, 0), static_cast<float>(100000 * kLayers[t])) << t;
}

TEST(ShaderTexture, CubesTakeTheFaceFromTheFirstCoordinate) {
    TextureRig rig;
    TestImage image =
        counted({.dimension = Dimension::cube, .format = kR32F, .width = 4, .height = 4, .layers = 2});
    rig.image(image);
    rig.sampler({});
    const auto packed = [](unsigned face, float s) {
        return (std::bit_cast<std::uint32_t>(s) & 0x1fffffffU) | face << 29;
    };
    for (unsigned t = 0; t < 12; ++t) {
        rig.input(t, 0, packed(t % 6, t % 2 == 0 ? 0.0F : centre(3, 4)));
        rig.input(t, 1, centre(1, 4));
        rig.input(t, 2, static_cast<float>(t / 6));
    }
    ASSERT_EQ(
        rig.run_threads("TEX_SINGLE.slot0.f.32.cube.zero.array_enable.wait0 @r16:r17:r18:r19, @r4:r5:r6, u2"),
        Outcome::finished);
    for (unsigned t = 0; t < 12; ++t)
        EXPECT_EQ(rig.result_float(t, 0), static_cast<float>(100000 * t + 100 + (t % 2 == 0 ? 0 : 3)));
}

TEST(ShaderTexture, ShadowsCompareWithTheirReference) {
    TextureRig rig;
    TestImage image({.format = kR32F});
    image.put(0.5F, 0, 0);
    rig.image(image);
    rig.sampler({.compare = 1});
    for (unsigned t = 0; t < 16; ++t) rig.input(t, 2, static_cast<float>(t) / 16);
    ASSERT_EQ(rig.run_threads("TEX_SINGLE.slot0.f.32.2d.zero.shadow.r.wait0 @r16, @r4:r5:r6, u2"),
              Outcome::finished);
    for (unsigned t = 0; t < 16; ++t) EXPECT_EQ(rig.result_float(t, 0), t > 8 ? 1.0F : 0.0F);
}

TEST(ShaderTexture, OffsetsMoveByTexels) {
    TextureRig rig;
    TestImage image =
        counted({.dimension = Dimension::d3, .format = kR32F, .width = 16, .height = 16, .depth = 4});
    rig.image(image);
    rig.sampler({.wrap_s = 8, .wrap_t = 8, .wrap_r = 8});
    for (unsigned t = 0; t < 16; ++t) {
        rig.input(t, 0, centre(3, 16));
        rig.input(t, 1, centre(3, 16));
        rig.input(t, 2, centre(1, 4));
        rig.input(t, 3, ((t - 8) & 0xff) | (2U << 8) | (0xffU << 16));
    }
    ASSERT_EQ(rig.run_threads(
                  "TEX_SINGLE.slot0.f.32.3d.zero.texel_offset.wait0 @r16:r17:r18:r19, @r4:r5:r6:r7, u2"),
              Outcome::finished);
    for (unsigned t = 0; t < 16; ++t)
        EXPECT_EQ(rig.result_float(t, 0), static_cast<float>(500 + (3 + t + 8) % 16));
}

TEST(ShaderTexture, GatherTakesOneComponentOfFour) {
    TextureRig rig;
    TestImage image = counted({.format = kR32F, .width = 8, .height = 8});
    rig.image(image);
    rig.sampler({});
    rig.input(0, 0, 0.5F);
    rig.input(0, 1, 0.5F);
    ASSERT_EQ(rig.run_threads("TEX_GATHER.slot0.f.32.2d.gather4_r.wait0 @r16:r17:r18:r19, @r4:r5, u2"),
              Outcome::finished);
    constexpr std::array<float, 4> kExpected{303, 304, 403, 404};
    for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(rig.result_float(0, i), kExpected[i]);
    ASSERT_EQ(rig.run_threads("TEX_GATHER.slot0.f.32.2d.gather4_a.wait0 @r16:r17:r18:r19, @r4:r5, u2"),
              Outcome::finished);
    for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(rig.result_float(0, i), 1.0F);
}

TEST(ShaderTexture, FetchesTakeTexelsLevelsLayersAndNothingOutside) {
    TextureRig rig;
    TestImage image = counted({.format = kR32Ui, .width = 8, .height = 8, .levels = 2, .layers = 2});
    rig.image(image);
    rig.handles(kTexture, kNoDescriptor);  // no sampler is needed
    const auto input = [&](unsigned t, std::array<std::uint32_t, 4> words) {
        for (unsigned i = 0; i < 4; ++i) rig.input(t, i, words[i]);
    };
    input(0, {7, 6, 1, 0});
    input(1, {3, 2, 1, 1U << 24});
    input(2, {4, 2, 1, 1U << 24});  // outside of level 1
    input(3, {8, 0, 0, 0});
    input(4, {~0U, 0, 0, 0});
    input(5, {~0U, 0, 0, 2});  // moved back in
    input(6, {0, 0, 2, 0});
    input(7, {0, 0, 0, 2U << 24});
    input(8, {1, 1, 0, 1U << 16});  // second sample of one
    ASSERT_EQ(rig.run_threads("TEX_FETCH.slot0.u.32.2d.array_enable.texel_offset.wait0 @r16:r17:r18:r19, "
                              "@r4:r5:r6:r7, u2"),
              Outcome::finished);
    constexpr std::array<std::uint32_t, 9> kExpected{100607, 110203, 0, 0, 0, 1, 0, 0, 0};
    constexpr std::array<std::uint32_t, 9> kAlpha{1, 1, 0, 0, 0, 1, 0, 0, 0};
    for (unsigned t = 0; t < 9; ++t) {
        EXPECT_EQ(rig.result(t, 0), kExpected[t]) << t;
        EXPECT_EQ(rig.result(t, 3), kAlpha[t]) << t;
    }
}

TEST(ShaderTexture, FetchesClampIfTheSamplerSaysSo) {
    TextureRig rig;
    TestImage image = counted({.format = kR32Ui, .width = 8, .height = 8, .layers = 2});
    rig.image(image);
    texture::DescriptorWords words = SamplerWords{}.words();
    words[0] |= 1U << 24 | 1U << 26;
    rig.descriptor(kSampler, words);
    rig.input(0, 0, ~0U);
    rig.input(0, 1, 9U);
    rig.input(0, 2, 5U);
    ASSERT_EQ(rig.run_threads("TEX_FETCH.slot0.u.32.2d.array_enable.wait0 @r16:r17:r18:r19, @r4:r5:r6, u2"),
              Outcome::finished);
    EXPECT_EQ(rig.result(0, 0), 100700U);
}

TEST(ShaderTexture, FetchesOfManySamplesTakeOne) {
    TextureRig rig;
    TestImage image = counted({.format = kR32Ui, .width = 8, .height = 8, .samples_log2 = 2});
    rig.image(image);
    for (unsigned t = 0; t < 5; ++t) {
        rig.input(t, 0, 2U);
        rig.input(t, 2, t << 16);
    }
    ASSERT_EQ(rig.run_threads("TEX_FETCH.slot0.u.32.2d.texel_offset.wait0 @r16:r17:r18:r19, @r4:r5:r6, u2"),
              Outcome::finished);
    for (unsigned t = 0; t < 4; ++t) EXPECT_EQ(rig.result(t, 0), 1000 * t + 2);
    EXPECT_EQ(rig.result(4, 0), 0U);
}

TEST(ShaderTexture, IntegersReadAsFloatsAreNotNormalised) {
    TextureRig rig;
    TestImage image({.format = 155U << 12});  // RGBA8 UINT
    image.put(0x04030201U, 0, 0);
    rig.image(image);
    ASSERT_EQ(rig.run_threads("TEX_FETCH.slot0.f.32.2d.wait0 @r16:r17:r18:r19, @r4:r5, u2"),
              Outcome::finished);
    for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(rig.result_float(0, i), static_cast<float>(i + 1));
}

TEST(ShaderTexture, AQueryGivesTheLodClampedOrRaw) {
    TextureRig rig;
    TestImage image = counted({.format = kR32F, .width = 16, .height = 16, .levels = 3});
    rig.image(image);
    rig.sampler({.lod_bias_256 = 128});
    for (unsigned t = 0; t < 16; ++t) {
        rig.input(t, 0, static_cast<float>(t & 1));  // a texture from one pixel to the next: 4
        rig.input(t, 1, 0.5F);
    }
    const auto lod = [&](std::string_view flags) {
        const std::string text =
            "TEX_GRADIENT.slot0.u.32.2d.r.force_delta" + std::string(flags) + ".wait0 @r16, @r4:r5, u2";
        EXPECT_EQ(rig.run_threads(text), Outcome::finished);
        return static_cast<std::int16_t>(rig.result(9, 0) & 0xffff);
    };
    EXPECT_EQ(lod(""), 2 * 256);
    EXPECT_EQ(lod(".lod_clamp_disable"), 4 * 256 + 128);
    EXPECT_EQ(lod(".lod_clamp_disable.lod_bias_disable"), 4 * 256);
}

TEST(ShaderTexture, GivenDerivativesChooseTheLevel) {
    TextureRig rig;
    TestImage image = counted({.format = kR32F, .width = 16, .height = 16, .levels = 5});
    rig.image(image);
    rig.sampler({.lod_bias_256 = 256});
    for (unsigned t = 0; t < 16; ++t) {
        rig.input(t, 0, centre(0, 16));
        rig.input(t, 1, centre(0, 16));
        rig.input(t, 4, 0.0F);
        rig.input(t, 5, static_cast<float>(1U << (t % 4)) / 16);  // ddy of x
        rig.input(t, 6, 0.0F);
        rig.input(t, 7, 0.0F);
    }
    ASSERT_EQ(rig.run_threads(
                  "TEX_GRADIENT.slot0.u.32.2d.rg.derivative_enable.lod_bias_disable.lod_clamp_disable.wait0 "
                  "@r6:r7, @r8:r9:r10:r11, u2\n"
                  "TEX_SINGLE.slot0.f.32.2d.grdesc.wait0 @r16:r17:r18:r19, @r4:r5:r6:r7, u2"),
              Outcome::finished);
    for (unsigned t = 0; t < 16; ++t)
        EXPECT_EQ(rig.result_float(t, 0), static_cast<float>(10000 * (t % 4 + 1)));
}

TEST(ShaderTexture, GradientWordsCarryAnisotropy) {
    TextureRig rig;
    TestImage image({.format = kR32F, .width = 16, .height = 16, .levels = 5});
    for (unsigned y = 0; y < 16; ++y)
        for (unsigned x = 0; x < 16; ++x) image.put(static_cast<float>(x * x), x, y);
    rig.image(image);
    rig.sampler({.minify_linear = true, .magnify_linear = true, .anisotropy = 4});
    rig.input(0, 0, 0.5F);
    rig.input(0, 1, 0.5F);
    rig.input(0, 4, 4.0F / 16);
    rig.input(0, 7, 1.0F / 16);
    ASSERT_EQ(rig.run_threads(
                  "TEX_GRADIENT.slot0.u.32.2d.rg.derivative_enable.lod_bias_disable.lod_clamp_disable.wait0 "
                  "@r6:r7, @r8:r9:r10:r11, u2\n"
                  "TEX_SINGLE.slot0.f.32.2d.grdesc.wait0 @r16:r17:r18:r19, @r4:r5:r6:r7, u2"),
              Outcome::finished);
    EXPECT_NEAR(rig.result_float(0, 0), (36 + 49 + 64 + 81) / 4.0, 1e-3);
}

TEST(ShaderTexture, TexelsThatAreNotMappedAreAFaultOfTheFirstThreadThatWantsThem) {
    TextureRig rig;
    TestImage image = counted({.format = kR32F, .width = 1024, .height = 4});
    rig.image(image);
    rig.sampler({});
    for (unsigned t = 0; t < 16; ++t) rig.input(t, 1, t < 11 ? centre(0, 4) : centre(3, 4));
    const std::uint64_t address = image.element(0, 0, 0, 3, 0);
    rig.memory.unmap(address);
    ASSERT_EQ(rig.run_threads("TEX_SINGLE.slot0.f.32.2d.zero.wait0 @r16:r17:r18:r19, @r4:r5, u2"),
              Outcome::faulted);
    EXPECT_EQ(rig.fault->exception, csf::Exception::translation_fault_3);
    EXPECT_EQ(rig.fault->address, address);
    EXPECT_EQ(rig.fault->lane, 11U);
    EXPECT_FALSE(rig.fault->write);
}

TEST(ShaderTexture, WhatIsNoTextureOrSamplerReadsAsZero) {
    TextureRig rig;
    TestImage image({});
    image.put(0xffffffffU, 0, 0);
    rig.image(image);
    rig.sampler({});
    for (const auto& [of_texture, of_sampler] : {std::pair{kNoDescriptor, kSampler},
                                                 {kSampler, kSampler},
                                                 {kTexture, kTexture},
                                                 {kTexture, kNoDescriptor}}) {
        rig.handles(of_texture, of_sampler);
        for (unsigned i = 0; i < 4; ++i) rig.input(3, i, 0U);
        ASSERT_EQ(rig.run_threads("TEX_SINGLE.slot0.f.32.2d.zero.wait0 @r16:r17:r18:r19, @r4:r5, u2"),
                  Outcome::finished);
        for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(rig.result(3, i), 0U) << of_texture << of_sampler;
    }
}

TEST(ShaderTexture, RandomInstructionsOnRandomDescriptorsFinishOrFault) {
    texture::Random random(11);
    TextureRig rig;
    TestImage image = counted({.format = kR32F, .width = 16, .height = 16, .levels = 5, .layers = 6});
    rig.image(image);
    unsigned finished = 0;
    unsigned faulted = 0;
    constexpr std::array kNames{valhall::Op::tex_single,   valhall::Op::tex_fetch,   valhall::Op::tex_gather,
                                valhall::Op::tex_gradient, valhall::Op::ld_tex,      valhall::Op::ld_tex_imm,
                                valhall::Op::lea_tex,      valhall::Op::lea_tex_imm, valhall::Op::st_cvt,
                                valhall::Op::ld_attr,      valhall::Op::ld_attr_imm, valhall::Op::lea_attr,
                                valhall::Op::lea_attr_imm};
    for (unsigned round = 0; round < 2000; ++round) {
        for (std::uint32_t index = 0; index < 16; ++index) {
            texture::DescriptorWords words = image.descriptor();
            if (index % 2 == 1) words = SamplerWords{.minify_linear = true, .anisotropy = 16}.words();
            if (index % 5 == 4) words = {5U | 1U << 4 | kR32F << 10, 0, 0, 15, 4, 0, 0, 0};
            for (unsigned change = random() % 3; change-- != 0;) words[random() % 8] ^= 1U << random() % 32;
            rig.descriptor(index, words);
        }
        rig.buffer(15, TestMemory::kBase, 1000);
        const valhall::Row& row = valhall::row(kNames[random() % kNames.size()]);
        const std::uint64_t noise = random() | std::uint64_t{random()} << 32;
        std::uint64_t word = valhall::encode(row);
        for (const valhall::Field& field : row.fields())
            word = valhall::insert(field, word, valhall::extract(field, noise));
        // Staging registers from r4 or r16 on, sources r8 ... r15.
        word |= (8ULL + 2 * (noise & 3)) | (8ULL + (noise >> 2 & 7)) << 8 |
                (row.sources().size() > 2 ? 8ULL << 16 : 0);
        word |= 4ULL << 40;
        if (row.destination == valhall::Destination::w16_r40) word = (word & ~(0x3fULL << 16)) | 16ULL << 16;
        for (unsigned t = 0; t < 16; ++t)
            for (unsigned i = 0; i < 12; ++i) {
                const std::array<std::uint32_t, 6> kinds{
                    random(),
                    random() % 16,
                    random() % 16 << 16 | random() % 16,
                    std::bit_cast<std::uint32_t>(static_cast<float>(random() % 64) / 16),
                    0x7fc00000U,
                    static_cast<std::uint32_t>(TestMemory::kBase >> 32)};
                rig.input(t, i, kinds[random() % kinds.size()]);
            }
        const Outcome outcome = rig.run_threads(".word " + std::to_string(word));
        ASSERT_NE(outcome, Outcome::paused);
        if (outcome == Outcome::finished) ++finished;
        if (outcome == Outcome::faulted) ++faulted;
    }
    EXPECT_GT(finished, 200U);
    EXPECT_GT(faulted, 200U);
}

}  // namespace
}  // namespace belfry::gpu::shader
