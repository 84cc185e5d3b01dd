// The start of a job: descriptors are judged, and each thread finds its ids and the special values.
#include "unit/shader_rig.hpp"

namespace belfry::csf {
inline void PrintTo(Exception exception, std::ostream* out) { *out << name(exception); }
}  // namespace belfry::csf

namespace belfry::gpu::shader {
namespace {

using csf::Exception;

constexpr std::string_view kStoreIds = R"(
    ; r1: index of the thread, over all workgroups, by its ids; r2 r3: 32 bytes for each
    MOV.i32 r4, r55
    IADD_IMM.i32 r5, 0x0, #0xFFFF
    LSHIFT_AND.i32 r6, r4, 0x0.b00, r5
    RSHIFT_AND.i32 r7, r4, 0x13121110.b00, r5
    IMUL.i32 r1, r56, u3
    IADD.u32 r1, r1, r7
    IMUL.i32 r1, r1, u2
    IADD.u32 r1, r1, r6
    IMUL.i32 r8, r59, u6
    IADD.u32 r8, r8, r58
    IMUL.i32 r8, r8, u5
    IADD.u32 r8, r8, r57
    IMUL.i32 r8, r8, u4
    IADD.u32 r1, r1, r8
    SHADDX.u64 r2, u0, r1.w0, shift:5
    STORE.i64.slot0 @r56:r57, r2, offset:0
    MOV.i32 r10, r58
    MOV.i32 r11, r59
    STORE.i64.slot0 @r10:r11, r2, offset:8
    STORE.i64.slot0 @r60:r61, r2, offset:16
    MOV.i32 r10, r62
    MOV.i32 r11, r55
    STORE.i64.slot0 @r10:r11, r2, offset:24
    NOP.end
)";

TEST(ShaderJob, EachThreadFindsItsIds) {
    for (const std::array<std::uint32_t, 3> threads :
         {std::array<std::uint32_t, 3>{3, 5, 2}, {16, 1, 1}, {1, 1, 7}, {9, 9, 1}}) {
        ShaderRig rig(kStoreIds);
        rig.threads = threads;
        rig.grid = {2, 3, 4};
        rig.offset = {100, 200, 0xffff'fff0};
        const std::uint32_t of_workgroup = threads[0] * threads[1] * threads[2];
        const std::array<std::uint32_t, 5> sizes = {threads[0], threads[1], of_workgroup, rig.grid[0],
                                                    rig.grid[1]};
        for (unsigned i = 0; i < sizes.size(); ++i) rig.uniform(2 + i, sizes[i]);
        ASSERT_EQ(rig.run_in_pieces(1, 100, 5), Outcome::finished);
        for (std::uint32_t i = 0; i < of_workgroup * 24; ++i) {
            const std::uint32_t local = i % of_workgroup;
            const std::uint32_t group = i / of_workgroup;
            const std::array<std::uint32_t, 3> l = {local % threads[0], local / threads[0] % threads[1],
                                                    local / threads[0] / threads[1]};
            const std::array<std::uint32_t, 3> g = {group % 2, group / 2 % 3, group / 6};
            ASSERT_EQ(rig.out(8 * i + 0), l[2]) << i;
            ASSERT_EQ(rig.out(8 * i + 1), g[0]);
            ASSERT_EQ(rig.out(8 * i + 2), g[1]);
            ASSERT_EQ(rig.out(8 * i + 3), g[2]);
            for (unsigned axis = 0; axis < 3; ++axis)
                ASSERT_EQ(rig.out(8 * i + 4 + axis), rig.offset[axis] + g[axis] * threads[axis] + l[axis]);
            ASSERT_EQ(rig.out(8 * i + 7), l[0] | l[1] << 16);
        }
    }
}

TEST(ShaderJob, SubgroupsAreSixteenThreadsByTheirIndex) {
    ShaderRig rig(R"(
        SHADDX.u64 r0, u0, r60.w0, shift:4
        MOV.i32 r4, warp_id.w0
        MOV.i32 r5, lane_id.w0
        IADD_IMM.i32 r7, 0x0, #0x1
        WMASK r6, r7
        MOV.i32 r7, core_id.w0
        STORE.i128.slot0 @r4:r5:r6:r7, r0, offset:0
        NOP.end
    )");
    rig.threads = {40, 1, 1};
    ASSERT_TRUE(rig.start());
    rig.tasks[0].task.core = 3;
    ASSERT_EQ(rig.step(0, 0, 1U << 20), Outcome::finished);
    for (std::uint32_t i = 0; i < 40; ++i) {
        EXPECT_EQ(rig.out(4 * i), i / 16);
        EXPECT_EQ(rig.out(4 * i + 1), i % 16);
        EXPECT_EQ(rig.out(4 * i + 2), i < 32 ? 0xffffU : 0xffU);
        EXPECT_EQ(rig.out(4 * i + 3), 3U);
    }
    EXPECT_EQ(rig.out(160 + 2), 0U);  // no thread 40
}

TEST(ShaderJob, UniformsBeyondTheirNumberRead0) {
    ShaderRig rig(
        "STORE.i64.slot0 @r60:r61, u0, offset:0\nMOV.i32 r2, u9\nSTORE.i32.slot0 @r2, u0, "
        "offset:0\nNOP.end\n");
    rig.uniform(9, 77);
    ASSERT_EQ(rig.run(), Outcome::finished);
    EXPECT_EQ(rig.out(0), 77U);
    // A job with fewer, on the same core.
    ASSERT_TRUE(rig.start());
    EXPECT_EQ(rig.job.uniform_count, 128U);
    rig.job.uniform_count = 4;
    ASSERT_EQ(rig.step(0, 0, 1U << 20), Outcome::finished);
    EXPECT_EQ(rig.out(0), 0U);
}

TEST(ShaderJob, RegistersHoldNothingOfAnotherJob) {
    std::string text = "IADD.u32 r54, r60, r60\nSHADDX.u64 r54, u0, r54.w0, shift:7\n";
    for (unsigned i = 0; i < 54; ++i)
        text += "STORE.i32.slot0 @r" + std::to_string(i) + ", r54, offset:" + std::to_string(4 * i) + "\n";
    ShaderRig rig(text + "NOP.end\n");
    ASSERT_EQ(rig.run(), Outcome::finished);
    for (std::uint32_t i = 0; i < 16 * 64; ++i) ASSERT_EQ(rig.out(i), 0U) << i;
}

TEST(ShaderJob, RegistersHoldNothingOfAnotherWorkgroup) {
    // Stores them, then writes them: by arithmetic, loads of several registers, and atomics.
    std::string text = "IADD.u32 r54, r60, r60\nSHADDX.u64 r54, u0, r54.w0, shift:7\n";
    for (unsigned i = 0; i < 54; ++i)
        text += "STORE.i32.slot0 @r" + std::to_string(i) + ", r54, offset:" + std::to_string(4 * i) + "\n";
    for (unsigned i = 0; i < 20; ++i) text += "IADD_IMM.i32 r" + std::to_string(i) + ", 0x0, #0x77\n";
    text += R"(
        IMUL.i32 r20, r60, r60
        SHADDX.u64 r22, u0, r60.w0, shift:2
        LOAD.i128.unsigned.slot0.wait0 @r24:r25:r26:r27, u2, offset:0
        LD_BUFFER.i64.unsigned.slot0.wait0 @r30:r31, 0x0, 0x0
        ATOM_RETURN.i32.slot0.aor.wait0 @r40, @r20, u4, offset:0x0
        ATOM1_RETURN.i32.slot0.aor1.wait0 @r41, u4, offset:0x0
        LEA_BUFFER.slot0.wait0 @r50:r51, 0x0, 0x0
        NOP.end
    )";
    ShaderRig rig(text);
    rig.buffer(0, kDescriptors, 64);
    rig.uniform(2, kDescriptors);
    rig.uniform(4, kThreadLocal);
    rig.grid = {6, 1, 1};
    for (std::uint32_t seed = 0; seed < 8; ++seed) {
        ASSERT_EQ(seed == 0 ? rig.run() : rig.run_in_pieces(seed, 60, 2), Outcome::finished);
        for (std::uint32_t i = 0; i < 6 * 16 * 64; ++i) ASSERT_EQ(rig.out(i), 0U) << i;
    }
}

TEST(ShaderJob, TheClockIsTheTimestamp) {
    ShaderRig rig(R"(
        LD_GCLK.u64.slot0.system_timestamp.wait0 @r2:r3
        STORE.i64.slot0 @r2:r3, u0, offset:0
        NOP.end
    )");
    rig.memory.now = 0x1234'5678'9abc;
    ASSERT_EQ(rig.run(), Outcome::finished);
    EXPECT_EQ(rig.memory.get<std::uint64_t>(kOut), 0x1234'5678'9abcU);
}

TEST(ShaderJob, AnEmptyGridReadsNothing) {
    ShaderRig rig;
    rig.grid = {5, 0, 1};
    rig.memory.unmap(kDescriptors);
    ASSERT_EQ(rig.run(), Outcome::finished);
    EXPECT_EQ(rig.job.workgroups(), 0U);
}

TEST(ShaderJob, WhatTheRegistersNameIsJudged) {
    const auto refused = [](const std::function<void(ShaderRig&)>& change) {
        ShaderRig rig;
        change(rig);
        EXPECT_FALSE(rig.start());
        return rig.fault.value_or(Fault{}).exception;
    };
    // Not a program; not one for compute; too many threads; too many workgroups.
    EXPECT_EQ(refused([](ShaderRig& rig) { rig.memory.put(kProgram, 0x19U); }),
              Exception::data_invalid_fault);
    EXPECT_EQ(refused([](ShaderRig& rig) { rig.memory.put(kProgram, 0x28U); }),
              Exception::data_invalid_fault);
    EXPECT_EQ(refused([](ShaderRig& rig) { rig.threads = {32, 32, 2}; }), Exception::data_invalid_fault);
    EXPECT_EQ(refused([](ShaderRig& rig) { rig.grid = {~0U, ~0U, ~0U}; }), Exception::data_invalid_fault);
    EXPECT_EQ(refused([](ShaderRig& rig) { rig.memory.unmap(kProgram); }), Exception::translation_fault_3);

    ShaderRig rig;
    ComputeRegisters registers = rig.registers();
    registers.uniforms = 0x6000'0000 | std::uint64_t{64} << 56;
    EXPECT_EQ(start_job(registers, rig.memory).error().exception, Exception::translation_fault_3);
    EXPECT_EQ(start_job(registers, rig.memory).error().address, 0x6000'0000U);
    registers = rig.registers();
    registers.uniforms |= 0xffULL << 56;
    EXPECT_EQ(start_job(registers, rig.memory).error().exception, Exception::data_invalid_fault);
    registers = rig.registers();
    registers.program += 4;
    EXPECT_EQ(start_job(registers, rig.memory).error().exception, Exception::data_invalid_fault);
}

TEST(ShaderJob, AProgramWithoutLocalMemoryRunsWithoutItsDescriptor) {
    ShaderRig rig;
    ComputeRegisters registers = rig.registers();
    registers.local_storage = 0x6000'0000;
    ASSERT_TRUE(start_job(registers, rig.memory).has_value());
    EXPECT_EQ(start_job(registers, rig.memory)->workgroup_local_bytes, 0U);
}

TEST(ShaderJob, ThePackedFormOfThreadLocalMemoryIsInUnitsOf256Bytes) {
    ShaderRig rig;
    rig.memory.put(kLocalStorage, std::array<std::uint32_t, 8>{3, 31, 0x1234'5678, 0x1000'0002, 0, 0});
    ASSERT_TRUE(rig.start());
    EXPECT_EQ(rig.job.thread_local_base, 0x212'3456'7800U);
    EXPECT_EQ(rig.job.thread_local_bytes, 128U);
    EXPECT_EQ(rig.job.workgroup_local_bytes, 0U);
}

}  // namespace
}  // namespace belfry::gpu::shader
