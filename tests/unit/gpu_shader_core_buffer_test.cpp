// Buffers by handle: what lies inside is there, what lies outside is empty, and nothing of it is a fault.
#include "unit/shader_rig.hpp"

namespace belfry::gpu::shader {
namespace {

constexpr std::uint64_t kField = 0x40'0000'0000;
constexpr std::uint32_t kSize = 600;

/// Word i of the field is kWord + i; so is what lies behind the buffer.
constexpr std::uint32_t kWord = 0x100;

class ShaderBuffer : public testing::Test {
  protected:
    ShaderBuffer() {
        rig.memory.map(kField, 2 * kPageBytes);
        for (std::uint32_t i = 0; i < 2048; ++i) rig.memory.put(kField + 4 * i, kWord + i);
        rig.buffer(7, kField, kSize);
    }
    /// Runs `body` with u2 the handle, r2 = first + stride * thread; it leaves its result in r8 ... r11.
    Outcome run(std::uint32_t handle, std::uint32_t first, std::uint32_t stride, std::string_view body) {
        rig.uniform(2, handle);
        rig.uniform(3, first);
        rig.uniform(4, stride);
        rig.program("IMUL.i32 r2, r60, u4\nIADD.u32 r2, r2, u3\n" + std::string(body) + R"(
            SHADDX.u64 r0, u0, r60.w0, shift:4
            STORE.i128.slot0 @r8:r9:r10:r11, r0, offset:0
            NOP.end
        )");
        return rig.run();
    }
    [[nodiscard]] std::uint64_t out64(std::uint32_t thread) const {
        return rig.out(4 * thread) | std::uint64_t{rig.out(4 * thread + 1)} << 32;
    }

    ShaderRig rig;
};

TEST_F(ShaderBuffer, ALoadReadsWhatLiesInside) {
    // Consecutive, the same, scattered; each of a vector's components outside is 0.
    for (const std::uint32_t stride : {16U, 0U, 64U}) {
        for (const std::uint32_t first : {0U, kSize - 8, kSize - 16 * 16, kSize, 0xffff'fff0U}) {
            ASSERT_EQ(run(7, first, stride, "LD_BUFFER.i128.unsigned.slot0.wait0 @r8:r9:r10:r11, r2, u2\n"),
                      Outcome::finished);
            for (std::uint32_t thread = 0; thread < kLanes; ++thread)
                for (std::uint32_t i = 0; i < 4; ++i) {
                    const std::uint32_t at = first + stride * thread;
                    const bool inside = std::uint64_t{at} + 4 * i + 4 <= kSize;
                    ASSERT_EQ(rig.out(4 * thread + i), inside ? kWord + at / 4 + i : 0)
                        << first << " " << stride << " " << thread << " " << i;
                }
        }
    }
}

TEST_F(ShaderBuffer, AWordIsReadWholeOrNotAtAll) {
    rig.buffer(7, kField, 62);
    ASSERT_EQ(run(7, 0, 4, "LD_BUFFER.i32.unsigned.slot0.wait0 @r8, r2, u2\n"), Outcome::finished);
    for (std::uint32_t thread = 0; thread < kLanes; ++thread)
        EXPECT_EQ(rig.out(4 * thread), thread < 15 ? kWord + thread : 0);
    ASSERT_EQ(run(7, 30, 2, "LD_BUFFER.i16.w0.unsigned.slot0.wait0 @r8, r2, u2\n"), Outcome::finished);
    EXPECT_EQ(rig.out(4 * 15), kWord + 15);  // the last half that is inside
    ASSERT_EQ(run(7, 32, 2, "LD_BUFFER.i16.w0.unsigned.slot0.wait0 @r8, r2, u2\n"), Outcome::finished);
    EXPECT_EQ(rig.out(4 * 15), 0U);
}

TEST_F(ShaderBuffer, EachLaneMayHaveAnotherHandle) {
    for (std::uint32_t i = 0; i < 4; ++i) rig.buffer(20 + i, kField + 256 * i, 256);
    ASSERT_EQ(run(0, 4, 0, R"(
        IADD_IMM.i32 r5, 0x0, #0x3
        LSHIFT_AND.i32 r5, r60, 0x0.b00, r5
        IADD_IMM.i32 r5, r5, #20
        LD_BUFFER.i32.unsigned.slot0.wait0 @r8, r2, r5
    )"),
              Outcome::finished);
    for (std::uint32_t thread = 0; thread < kLanes; ++thread)
        EXPECT_EQ(rig.out(4 * thread), kWord + 1 + thread % 4 * 64);
}

TEST_F(ShaderBuffer, WhatIsNotABufferIsEmpty) {
    constexpr std::uint32_t kTexture = 2;
    rig.memory.put(kTable0 + 32 * 9, kTexture);
    rig.memory.put(kTable0 + 32 * 9 + 4, 0xffff'ffffU);
    const std::uint32_t beyond_the_table = kPageBytes / 32;
    for (const std::uint32_t handle :
         {8U, 9U, beyond_the_table, 0xff'ffffU, 1U << 24, 63U << 24, 61U << 24, 200U << 24, 62U << 24 | 1}) {
        ASSERT_EQ(run(handle, 0, 4, R"(
            LD_BUFFER.i32.unsigned.slot0.wait0 @r8, r2, u2
            LEA_BUFFER.slot0.wait0 @r10:r11, r2, u2
        )"),
                  Outcome::finished);
        for (std::uint32_t thread = 0; thread < kLanes; ++thread) {
            EXPECT_EQ(rig.out(4 * thread), 0U) << handle;
            EXPECT_EQ(rig.out(4 * thread + 3) >> 16, 0xffffU);
        }
    }
}

TEST_F(ShaderBuffer, Table62IsTheMemoryOfTheTables) {
    // The second word of descriptor 7: its size.
    ASSERT_EQ(run(62U << 24, 7 * 32 + 4, 0, "LD_BUFFER.i32.unsigned.slot0.wait0 @r8, r2, u2\n"),
              Outcome::finished);
    EXPECT_EQ(rig.out(0), kSize);
    ASSERT_EQ(run(62U << 24, kPageBytes - 4, 4, "LD_BUFFER.i32.unsigned.slot0.wait0 @r8, r2, u2\n"),
              Outcome::finished);
    EXPECT_EQ(rig.out(4), 0U);
}

TEST_F(ShaderBuffer, AnAddressInsideIsThatOfItsByte) {
    ASSERT_EQ(run(7, kSize - 20, 4, "LEA_BUFFER.slot0.wait0 @r8:r9, r2, u2\n"), Outcome::finished);
    for (std::uint32_t thread = 0; thread < kLanes; ++thread) {
        if (thread < 5)
            EXPECT_EQ(out64(thread), kField + kSize - 20 + 4 * thread);
        else
            EXPECT_EQ(out64(thread) >> 48, 0xffffU);
    }
}

TEST_F(ShaderBuffer, AccessesOutsideChangeNothingAndReadZero) {
    // Threads 5 ... 15 are outside.
    ASSERT_EQ(run(7, kSize - 20, 4, R"(
        LEA_BUFFER.slot0.wait0 @r6:r7, r2, u2
        IADD_IMM.i32 r5, 0x0, #0x1000
        STORE.i32.slot0.wait0 @r5, r6, offset:0
        STORE.i32.slot0.wait0 @r5, r6, offset:-4
        LOAD.i32.unsigned.slot0.wait0 @r8, r6, offset:0
        ATOM_RETURN.i32.slot0.aadd.wait0 @r9, @r5, r6, offset:0x0
        ATOM_RETURN.i32.slot0.aadd.wait0 @r10, @r5, r6, offset:0x0
    )"),
              Outcome::finished);
    for (std::uint32_t thread = 0; thread < kLanes; ++thread) {
        EXPECT_EQ(rig.out(4 * thread), thread < 5 ? 0x1000U : 0U);
        EXPECT_EQ(rig.out(4 * thread + 1), thread < 5 ? 0x1000U : 0U);
        EXPECT_EQ(rig.out(4 * thread + 2), thread < 5 ? 0x2000U : 0U);
    }
    for (std::uint32_t i = kSize / 4; i < 2048; ++i)
        ASSERT_EQ(rig.memory.get<std::uint32_t>(kField + 4 * i), kWord + i);
}

TEST_F(ShaderBuffer, ADescriptorThatChangesIsSeenByTheNextJob) {
    constexpr std::string_view kLoad = "LD_BUFFER.i32.unsigned.slot0.wait0 @r8, r2, u2\n";
    ASSERT_EQ(run(7, 0, 0, kLoad), Outcome::finished);
    EXPECT_EQ(rig.out(0), kWord);
    rig.buffer(7, kField + 64, kSize);
    ASSERT_EQ(run(7, 0, 0, kLoad), Outcome::finished);
    EXPECT_EQ(rig.out(0), kWord + 16);
}

}  // namespace
}  // namespace belfry::gpu::shader
