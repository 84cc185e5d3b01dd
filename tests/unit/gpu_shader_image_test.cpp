// LD_TEX, LEA_TEX, ST_CVT, LD_ATTR and LEA_ATTR run as programs.
#include "gpu_shader_texture_rig.hpp"

namespace belfry::gpu::shader {
namespace {

constexpr std::uint32_t kR32Ui = 133U << 12 | 16;
constexpr std::uint32_t kRgba8 = 187U << 12;

constexpr std::uint32_t halves(unsigned low, unsigned high) { return low | high << 16; }

TEST(ShaderImage, LoadsTakeTexelsByHalvesOfTwoOperands) {
    TextureRig rig;
    TestImage image({.dimension = Dimension::d3, .format = kR32Ui, .width = 8, .height = 8, .depth = 4});
    image.put(77U, 3, 5, 2);
    rig.image(image);
    rig.input(0, 0, halves(3, 5));
    rig.input(0, 1, halves(2, 0));
    rig.input(1, 0, halves(8, 5));
    rig.input(2, 0, halves(3, 8));
    rig.input(3, 1, halves(4, 0));
    rig.input(4, 1, halves(0, 1));
    ASSERT_EQ(
        rig.run_threads("LD_TEX_IMM.v4.auto.slot0.wait0 @r16:r17:r18:r19, r4, r5, table:0x0, index:0x1"),
        Outcome::finished);
    EXPECT_EQ(rig.result(0, 0), 77U);
    EXPECT_EQ(rig.result(0, 3), 1U);
    for (unsigned t = 1; t < 5; ++t)
        for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(rig.result(t, i), 0U) << t;
}

TEST(ShaderImage, CubeFacesAndLayersAreTheHighHalf) {
    TextureRig rig;
    TestImage image({.dimension = Dimension::cube, .format = kR32Ui, .width = 4, .height = 4, .layers = 2});
    for (unsigned layer = 0; layer < 12; ++layer) image.put(100 + layer, 1, 2, 0, 0, layer);
    rig.image(image);
    for (unsigned t = 0; t < 16; ++t) {
        rig.input(t, 0, halves(1, 2));
        rig.input(t, 1, halves(0, t));
        rig.input(t, 2, kTexture);
    }
    ASSERT_EQ(rig.run_threads("LD_TEX.u32.slot0.wait0 @r16, r4, r5, r6"), Outcome::finished);
    for (unsigned t = 0; t < 16; ++t) EXPECT_EQ(rig.result(t, 0), t < 12 ? 100 + t : 0);
}

TEST(ShaderImage, RegistersGetTheFormatThatTheInstructionNames) {
    TextureRig rig;
    TestImage image({});
    image.put(0x8040'00ffU, 0, 0);
    rig.image(image);
    ASSERT_EQ(rig.run_threads("LD_TEX_IMM.v4.f16.slot0.wait0 @r16:r17, r4, r5, table:0x0, index:0x1"),
              Outcome::finished);
    EXPECT_EQ(rig.result(0, 0), 0x3c00U);
    EXPECT_EQ(rig.result(0, 1), texture::float_to_half(64 / 255.0F) | texture::float_to_half(128 / 255.0F)
                                                                          << 16);
}

TEST(ShaderImage, StoresConvertAndGoNowhereOutside) {
    TextureRig rig;
    TestImage image(
        {.format = kRgba8, .ordering = texture::Ordering::u_interleaved, .width = 20, .height = 20});
    rig.image(image);
    for (unsigned t = 0; t < 16; ++t) {
        rig.input(t, 0, halves(2 * t, 19));
        rig.input(t, 4, static_cast<float>(t) / 255);
        rig.input(t, 5, 2.0F);
        rig.input(t, 6, -1.0F);
        rig.input(t, 7, 0.5F);
    }
    ASSERT_EQ(rig.run_threads("LEA_TEX_IMM.slot0.wait0 @r12:r13:r14, r4, r5, table:0x0, index:0x1\n"
                              "ST_CVT.v4.auto.slot0.wait0 @r8:r9:r10:r11, r12, r14, offset:0x0\n"
                              "MOV.i32 r16, r12\nMOV.i32 r17, r13\nMOV.i32 r18, r14"),
              Outcome::finished);
    for (unsigned t = 0; t < 16; ++t) {
        const std::uint64_t address = rig.result(t, 0) | std::uint64_t{rig.result(t, 1)} << 32;
        EXPECT_EQ(rig.result(t, 2), kRgba8);
        if (2 * t >= 20) {
            EXPECT_EQ(address >> 48, 0xffffU);
            continue;
        }
        ASSERT_EQ(address, image.element(0, 0, 2 * t, 19, 0));
        EXPECT_EQ(rig.memory.get<std::uint32_t>(address), t | 0xffU << 8 | 0x80U << 24);
    }
}

TEST(ShaderImage, StoresTakeSmallRegisters) {
    TextureRig rig;
    TestImage image({.format = kRgba8, .width = 16});
    rig.image(image);
    for (unsigned t = 0; t < 16; ++t) {
        rig.input(t, 0, halves(t, 0));
        rig.input(t, 4, 0x3c00'0000U);  // 0, 1
        rig.input(t, 5, 0x3800'3c00U);  // 1, 0.5
    }
    ASSERT_EQ(rig.run_threads("LEA_TEX_IMM.slot0.wait0 @r12:r13:r14, r4, r5, table:0x0, index:0x1\n"
                              "ST_CVT.v4.f16.slot0.wait0 @r8:r9, r12, r14, offset:0x0"),
              Outcome::finished);
    EXPECT_EQ(rig.memory.get<std::uint32_t>(image.element(0, 0, 7, 0, 0)), 0x80ffff00U);
}

TEST(ShaderImage, WithoutAnImageNothingIsStoredAndNothingFaults) {
    TextureRig rig;
    ASSERT_EQ(
        rig.run_threads("LEA_TEX_IMM.slot0.wait0 @r12:r13:r14, r4, r5, table:0x0, index:0x9\n"
                        "ST_CVT.v4.auto.slot0.wait0 @r8:r9:r10:r11, r12, r14, offset:0x0\n"
                        "LD_TEX_IMM.v4.auto.slot0.wait0 @r16:r17:r18:r19, r4, r5, table:0xF, index:0x1"),
        Outcome::finished);
    for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(rig.result(0, i), 0U);
}

TEST(ShaderImage, StoresToReadOnlyMemoryFaultAsWrites) {
    TextureRig rig;
    TestImage image({.format = kRgba8, .width = 16});
    rig.image(image);
    rig.memory.map(TestMemory::kBase, kPageBytes, kRead);
    rig.memory.write(TestMemory::kBase, image.memory().bytes().first(kPageBytes));
    ASSERT_EQ(rig.run_threads("LEA_TEX_IMM.slot0.wait0 @r12:r13:r14, r4, r5, table:0x0, index:0x1\n"
                              "ST_CVT.v4.auto.slot0.wait0 @r8:r9:r10:r11, r12, r14, offset:0x0"),
              Outcome::faulted);
    EXPECT_EQ(rig.fault->address, image.element(0, 0, 0, 0, 0));
    EXPECT_TRUE(rig.fault->write);
}

TEST(ShaderImage, AtomicsReachTexelsByTheirAddress) {
    TextureRig rig;
    TestImage image({.format = kR32Ui, .width = 16});
    rig.image(image);
    for (unsigned t = 0; t < 16; ++t) {
        rig.input(t, 0, halves(t == 15 ? 99 : 4, 0));
        rig.input(t, 4, 1U);
    }
    ASSERT_EQ(rig.run_threads("LEA_TEX_IMM.slot0.wait0 @r12:r13:r14, r4, r5, table:0x0, index:0x1\n"
                              "ATOM.i32.slot0.aadd.wait0 @r8, r12, offset:0x0"),
              Outcome::finished);
    EXPECT_EQ(rig.memory.get<std::uint32_t>(image.element(0, 0, 4, 0, 0)), 15U);
}

/// An attribute of elements of `stride` bytes in the buffer of descriptor 3.
texture::DescriptorWords attribute(std::uint32_t format, unsigned type, std::uint32_t frequency,
                                   std::uint32_t stride, std::int32_t offset = 0,
                                   std::uint32_t divisor_word = 0, std::uint32_t divisor = 0) {
    return {5U | type << 4 | format << 10,
            0U | frequency << 6 | divisor_word,
            static_cast<std::uint32_t>(offset),
            kBufferDescriptor,
            stride,
            divisor,
            0,
            0};
}

class ShaderAttribute : public testing::Test {
  protected:
    static constexpr std::uint64_t kElements = 0x4000'0000;
    ShaderAttribute() {
        rig.memory.map(kElements, kPageBytes);
        for (std::uint32_t i = 0; i < 64; ++i)
            rig.memory.put(kElements + 8 * i,
                           std::array<std::uint16_t, 4>{static_cast<std::uint16_t>(i), 1, 2, 3});
        rig.buffer(kBufferDescriptor, kElements, 64 * 8);
        for (unsigned t = 0; t < 16; ++t) {
            rig.input(t, 0, 5 * t);
            rig.input(t, 1, t);
        }
    }
    Outcome load(const texture::DescriptorWords& words) {
        rig.descriptor(kAttribute, words);
        return rig.run_threads(
            "LD_ATTR_IMM.v4.auto.slot0.wait0 @r16:r17:r18:r19, r4, r5, index:0x4, table:0x0");
    }
    static constexpr std::uint32_t kRgba16Ui = 156U << 12;
    static constexpr std::uint32_t kR16Ui = 132U << 12 | 16;
    TextureRig rig;
};

TEST_F(ShaderAttribute, VerticesStepByStrideWithinTheBuffer) {
    ASSERT_EQ(load(attribute(kRgba16Ui, 1, 0, 8)), Outcome::finished);
    for (unsigned t = 0; t < 16; ++t)
        for (unsigned i = 0; i < 4; ++i)
            EXPECT_EQ(rig.result(t, i), 5 * t >= 64 ? 0 : i == 0 ? 5 * t : i) << t;
}

TEST_F(ShaderAttribute, InstancesAreDividedAndOffset) {
    ASSERT_EQ(load(attribute(kR16Ui, 2, 1, 8, 16, 1U << 24)), Outcome::finished);
    for (unsigned t = 0; t < 16; ++t) EXPECT_EQ(rig.result(t, 0), t / 2 + 2);
    // Divided by 3: 2^33 / 3, rounded up, without its top bit; one shift more.
    ASSERT_EQ(load(attribute(kR16Ui, 3, 1, 8, 0, 1U << 24, 0xaaaaaaabU & 0x7fffffffU)), Outcome::finished);
    for (unsigned t = 0; t < 16; ++t) EXPECT_EQ(rig.result(t, 0), t / 3);
    EXPECT_EQ(rig.result(3, 3), 1U);
}

TEST_F(ShaderAttribute, OffsetsMayLeadOutsideWhereThereIsNothing) {
    ASSERT_EQ(load(attribute(kR16Ui, 1, 1, 8, -8)), Outcome::finished);
    EXPECT_EQ(rig.result(0, 3), 0U);
    for (unsigned t = 1; t < 16; ++t) EXPECT_EQ(rig.result(t, 0), t - 1);
    ASSERT_EQ(load(attribute(kR16Ui, 1, 0, 0xffffffff, 0x7fffffff)), Outcome::finished);
    EXPECT_EQ(rig.result(15, 0), 0U);
}

TEST_F(ShaderAttribute, AddressesOutsideAreTheSink) {
    rig.descriptor(kAttribute, attribute(kRgba16Ui, 1, 0, 8));
    for (unsigned t = 0; t < 16; ++t) rig.input(t, 2, kAttribute);
    ASSERT_EQ(rig.run_threads("LEA_ATTR.slot0.wait0 @r16:r17:r18, r4, r5, r6"), Outcome::finished);
    for (unsigned t = 0; t < 16; ++t) {
        const std::uint64_t address = rig.result(t, 0) | std::uint64_t{rig.result(t, 1)} << 32;
        if (5 * t < 64) {
            EXPECT_EQ(address, kElements + 40 * t);
        } else {
            EXPECT_EQ(address >> 48, 0xffffU);
        }
        EXPECT_EQ(rig.result(t, 2), kRgba16Ui);
    }
}

TEST_F(ShaderAttribute, OtherDescriptorsAreNone) {
    ASSERT_EQ(load(SamplerWords{}.words()), Outcome::finished);
    EXPECT_EQ(rig.result(2, 1), 0U);
    ASSERT_EQ(load(attribute(kRgba16Ui, 6, 0, 8)), Outcome::finished);
    EXPECT_EQ(rig.result(2, 1), 0U);
}

}  // namespace
}  // namespace belfry::gpu::shader
