// CLPER and WMASK: what lanes see of each other.
#include <fmt/format.h>

#include "gpu_shader_alu_rig.hpp"

namespace belfry::gpu::shader {
namespace {

constexpr unsigned kClusters[] = {2, 4, 8, 16};

std::string cluster_text(unsigned lanes) { return lanes == 16 ? "" : fmt::format(".subgroup{}", lanes); }

TEST(ShaderAluWarp, ClperReadsALaneOfTheCluster) {
    Random random(1);
    for (const unsigned lanes : kClusters)
        for (const bool exclusive_or : {false, true})
            for (unsigned byte = 0; byte < 4; ++byte)
                for (unsigned round = 0; round < 50; ++round) {
                    const Instruction instruction(fmt::format("CLPER.i32{}{}.umax r8, r0, r1.b{}{}",
                                                              cluster_text(lanes), exclusive_or ? ".xor" : "",
                                                              byte, byte));
                    Registers registers{};
                    for (unsigned lane = 0; lane < kLanes; ++lane) {
                        registers[0][lane] = 100 + lane;
                        registers[1][lane] = random();
                    }
                    const LaneMask active = random() & random() & kAllLanes;
                    const Registers before = registers;
                    ASSERT_NO_FATAL_FAILURE(instruction.run(registers, active));
                    for (unsigned lane = 0; lane < kLanes; ++lane) {
                        if ((active >> lane & 1) == 0) {
                            ASSERT_EQ(registers[8][lane], 0U);
                            continue;
                        }
                        const unsigned index = before[1][lane] >> (8 * byte) & 0xff;
                        const unsigned first = lane / lanes * lanes;
                        const unsigned from = first + (exclusive_or ? (lane ^ index) % lanes : index % lanes);
                        ASSERT_EQ(registers[8][lane], (active >> from & 1) != 0 ? 100 + from : 0xffffffff);
                    }
                }
}

TEST(ShaderAluWarp, ClperMayWriteWhatItReads) {
    const Instruction instruction("CLPER.i32 r0, r0, r0.b00");
    Registers registers{};
    for (unsigned lane = 0; lane < kLanes; ++lane)
        registers[0][lane] = 0x100 * (lane + 1) + (lane + 5) % kLanes;
    const Registers before = registers;
    ASSERT_NO_FATAL_FAILURE(instruction.run(registers));
    for (unsigned lane = 0; lane < kLanes; ++lane)
        EXPECT_EQ(registers[0][lane], before[0][(lane + 5) % kLanes]);
}

TEST(ShaderAluWarp, ClperOfPairs) {
    const Instruction instruction("CLPER.u64.f1 r8, r0, r2.b00");
    Registers registers{};
    for (unsigned lane = 0; lane < kLanes; ++lane) {
        registers[0][lane] = lane;
        registers[1][lane] = 100 + lane;
        registers[2][lane] = 15 - lane;
    }
    ASSERT_NO_FATAL_FAILURE(instruction.run(registers, 0x7fff));  // lane 15 does not run
    for (unsigned lane = 1; lane < 15; ++lane) {
        EXPECT_EQ(registers[8][lane], 15 - lane);
        EXPECT_EQ(registers[9][lane], 115 - lane);
    }
    EXPECT_EQ(registers[8][0], 0x3f800000U);
    EXPECT_EQ(registers[8][15], 0U);
}

TEST(ShaderAluWarp, ClperDoesNotKnowAccumulateAndShift) {
    EXPECT_FALSE(Instruction("CLPER.i32.accumulate r8, r0, r1.b00").runs());
    EXPECT_FALSE(Instruction("CLPER.i32.shift r8, r0, r1.b00").runs());
}

TEST(ShaderAluWarp, WmaskIsABallotOfTheLanesThatRun) {
    Random random(2);
    for (const unsigned lanes : kClusters)
        for (unsigned round = 0; round < 50; ++round) {
            Registers registers{};
            LaneMask set = 0;
            for (unsigned lane = 0; lane < kLanes; ++lane) {
                registers[0][lane] = random() % 2 == 0 ? 0 : random();
                set |= registers[0][lane] != 0 ? 1U << lane : 0;
            }
            const LaneMask active = random() & kAllLanes;
            ASSERT_NO_FATAL_FAILURE(
                Instruction(fmt::format("WMASK{} r8, r0", cluster_text(lanes))).run(registers, active));
            for (unsigned lane = 0; lane < kLanes; ++lane) {
                const LaneMask cluster = (set & active) >> (lane / lanes * lanes) & ((1U << lanes) - 1);
                ASSERT_EQ(registers[8][lane], (active >> lane & 1) != 0 ? cluster : 0);
            }
        }
}

}  // namespace
}  // namespace belfry::gpu::shader
