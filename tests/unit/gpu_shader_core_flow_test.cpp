// Control flow of warps and workgroups: which lanes run what in which order, barriers, and leaving anywhere.
#include "unit/shader_rig.hpp"

namespace belfry::gpu::shader {
namespace {

/// r0 r1: the address of this thread's word in out(). r2: its lane. r5: 1.
constexpr std::string_view kPrologue = R"(
    SHADDX.u64 r0, u0, r60.w0, shift:2
    MOV.i32 r2, lane_id.w0
    IADD_IMM.i32 r5, 0x0, #0x1
)";
constexpr std::string_view kStoreR3 = R"(
    STORE.i32.slot0 @r3, r0, offset:0
    NOP.end
)";

std::string whole(std::string_view body) {
    return std::string(kPrologue) + std::string(body) + std::string(kStoreR3);
}

TEST(ShaderFlow, EachThreadStoresToItsPlace) {
    ShaderRig rig(R"(
        SHADDX.u64 r0, u0, r60.w0, shift:2
        STORE.i32.slot0 @r60, r0, offset:0
        NOP.end
    )");
    rig.grid = {3, 1, 1};
    ASSERT_EQ(rig.run(), Outcome::finished);
    for (std::uint32_t i = 0; i < 48; ++i) EXPECT_EQ(rig.out(i), i);
    EXPECT_EQ(rig.out(48), 0u);
}

TEST(ShaderFlow, LanesThatBranchRunApartAndMeetAgain) {
    ShaderRig rig(whole(R"(
        LSHIFT_AND.i32 r4, r2, 0x0.b00, r5
        BRANCHZ.eq.reconverge r4, offset:even
        WMASK r3, r5
        BRANCHZ.eq.reconverge 0x0, offset:join
    even:
        WMASK.reconverge r3, r5
    join:
        WMASK r6, r5
        LSHIFT_OR.i32 r3, r6, 0x13121110.b00, r3
    )"));
    ASSERT_EQ(rig.run(), Outcome::finished);
    for (std::uint32_t lane = 0; lane < kLanes; ++lane)
        EXPECT_EQ(rig.out(lane), lane % 2 == 1 ? 0xffff'aaaaU : 0xffff'5555U) << lane;
}

TEST(ShaderFlow, LanesThatLoopAgainRunBeforeThoseThatLeft) {
    // Lane i goes round i + 1 times and notes who goes round with it the last time.
    ShaderRig rig(whole(R"(
        IADD_IMM.i32 r6, r2, #0x1
    again:
        WMASK r3, r5
        IADD_IMM.i32 r6, r6, #0xFFFFFFFF
        BRANCHZ.reconverge r6, offset:again
        WMASK r7, r5
        LSHIFT_OR.i32 r3, r7, 0x13121110.b00, r3
    )"));
    ASSERT_EQ(rig.run(), Outcome::finished);
    for (std::uint32_t lane = 0; lane < kLanes; ++lane)
        EXPECT_EQ(rig.out(lane), 0xffff'0000U | (0xffffU << lane & 0xffffU)) << lane;
}

TEST(ShaderFlow, BranchesTestAHalfOfTheirSource) {
    // r6: 0x10000 in odd lanes, 1 in even ones.
    ShaderRig rig(whole(R"(
        LSHIFT_AND.i32 r4, r2, 0x0.b00, r5
        IADD_IMM.i32 r6, 0x0, #0x1
        BRANCHZ.eq.reconverge r4, offset:set
        IADD_IMM.i32.reconverge r6, 0x0, #0x10000
    set:
        IADD_IMM.i32 r3, 0x0, #0x0
        BRANCHZ.reconverge r6.h0, offset:low
        IADD_IMM.i32.reconverge r3, r3, #0x1
    low:
        BRANCHZ.reconverge r6.h1, offset:high
        IADD_IMM.i32.reconverge r3, r3, #0x2
    high:
        BRANCHZ.reconverge r6, offset:all
        IADD_IMM.i32.reconverge r3, r3, #0x4
    all:
    )"));
    ASSERT_EQ(rig.run(), Outcome::finished);
    for (std::uint32_t lane = 0; lane < kLanes; ++lane) EXPECT_EQ(rig.out(lane), lane % 2 == 1 ? 1U : 2U);
}

TEST(ShaderFlow, LanesThatEndedAreInNoBallot) {
    ShaderRig rig(whole(R"(
        IADD_IMM.i32 r3, r2, #0xFFFFFFFC
        BRANCHZ.reconverge r3, offset:go_on
        NOP.end
    go_on:
        WMASK r3, r5
    )"));
    ASSERT_EQ(rig.run(), Outcome::finished);
    for (std::uint32_t lane = 0; lane < kLanes; ++lane)
        EXPECT_EQ(rig.out(lane), lane == 4 ? 0U : 0xffefU) << lane;
}

TEST(ShaderFlow, AnIndirectBranchGoesToTheLowHalfOfTheAddress) {
    // The instruction after the branch, 16 bytes further, as a blend shader is called and returns.
    ShaderRig rig(whole(R"(
        IADD_IMM.i32 r3, 0x0, #0x7
        IADD_IMM.i32 r6, program_counter.w0, #0x10
        BRANCHZI.eq.absolute 0x0, r6
        IADD_IMM.i32 r3, 0x0, #0x8
        IADD_IMM.i32 r3, r3, #0x100
    )"));
    ASSERT_EQ(rig.run(), Outcome::finished);
    EXPECT_EQ(rig.out(3), 0x107U);
}

TEST(ShaderFlow, AProgramMayBeLongerThanAPage) {
    std::string body = "IADD_IMM.i32 r3, 0x0, #0x0\n";
    constexpr unsigned kMany = 1200;
    for (unsigned i = 0; i < kMany; ++i) body += "IADD_IMM.i32 r3, r3, #0x1\n";
    ShaderRig rig(whole(body));
    ASSERT_EQ(rig.run(), Outcome::finished);
    EXPECT_EQ(rig.out(0), kMany);
}

TEST(ShaderFlow, ABarrierHoldsAllWarpsOfTheWorkgroup) {
    // Each thread leaves its number in shared memory and takes that of a thread of another warp.
    ShaderRig rig(R"(
        SHADDX.u64 r0, u0, r60.w0, shift:2
        MOV.i32 r10, workgroup_local_pointer.w0
        MOV.i32 r11, workgroup_local_pointer.w1
        SHADDX.u64 r8, r10, r55.w0, shift:2
        IADD_IMM.i32 r4, r60, #0x1000
        STORE.i32.slot0.wait0 @r4, r8, offset:0
        BARRIER.slot7.wait
        IADD_IMM.i32 r6, r55, #0x15
        IADD_IMM.i32 r7, 0x0, #0x3F
        LSHIFT_AND.i32 r6, r6, 0x0.b00, r7
        SHADDX.u64 r8, r10, r6.w0, shift:2
        LOAD.i32.unsigned.slot0.wait0 @r3, r8, offset:0
        BARRIER.slot7.wait
        STORE.i32.slot0 @r3, r0, offset:0
        NOP.end
    )");
    rig.threads = {64, 1, 1};
    rig.grid = {9, 1, 1};
    ASSERT_EQ(rig.run(), Outcome::finished);
    const auto once = rig.outs(9 * 64);
    for (std::uint32_t i = 0; i < 9 * 64; ++i)
        ASSERT_EQ(once[i], 0x1000 + i / 64 * 64 + (i % 64 + 0x15) % 64) << i;
    for (std::uint32_t seed = 1; seed < 20; ++seed) {
        for (std::uint32_t i = 0; i < 9 * 64; ++i) rig.set_out(i, 0);
        ASSERT_EQ(rig.run_in_pieces(seed, seed), Outcome::finished);
        ASSERT_EQ(rig.outs(9 * 64), once) << seed;
    }
}

TEST(ShaderFlow, ABarrierDoesNotWaitForThreadsThatEnded) {
    // The first warp ends, and odd threads of the others.
    ShaderRig rig(R"(
        SHADDX.u64 r0, u0, r60.w0, shift:2
        IADD_IMM.i32 r5, 0x0, #0x1
        IADD_IMM.i32 r6, 0x0, #0xFFFFFFF0
        LSHIFT_AND.i32 r6, r55, 0x0.b00, r6
        BRANCHZ.reconverge r6, offset:stay
        NOP.end
    stay:
        LSHIFT_AND.i32 r4, r55, 0x0.b00, r5
        BRANCHZ.eq.reconverge r4, offset:wait
        NOP.end
    wait:
        BARRIER.slot7.wait
        STORE.i32.slot0 @r5, r0, offset:0
        NOP.end
    )");
    rig.threads = {64, 1, 1};
    ASSERT_EQ(rig.run(), Outcome::finished);
    for (std::uint32_t i = 0; i < 64; ++i) EXPECT_EQ(rig.out(i), i >= 16 && i % 2 == 0 ? 1U : 0U) << i;
}

TEST(ShaderFlow, ABarrierInDivergentCodeHangsNobody) {
    ShaderRig rig(whole(R"(
        LSHIFT_AND.i32 r4, r2, 0x0.b00, r5
        IADD_IMM.i32 r3, 0x0, #0x5
        BRANCHZ.eq.reconverge r4, offset:join
        BARRIER.slot7.wait
        BARRIER.slot7.wait
        IADD_IMM.i32.reconverge r3, 0x0, #0x6
    join:
    )"));
    rig.threads = {256, 1, 1};
    ASSERT_EQ(rig.run(), Outcome::finished);
    for (std::uint32_t i = 0; i < 256; ++i) EXPECT_EQ(rig.out(i), i % 2 == 1 ? 6U : 5U);
}

TEST(ShaderFlow, WarpsThatWaitForOneAnotherGetThere) {
    // The first warp goes round until the last one has set a word of shared memory.
    ShaderRig rig(R"(
        SHADDX.u64 r0, u0, r60.w0, shift:2
        MOV.i32 r10, workgroup_local_pointer.w0
        MOV.i32 r11, workgroup_local_pointer.w1
        IADD_IMM.i32 r5, 0x0, #0x1
        IADD_IMM.i32 r4, r55, #0xFFFFFFD0
        BRANCHZ.reconverge r4, offset:look
        STORE.i32.slot0.wait0.reconverge @r5, r10, offset:0
    look:
        LOAD.i32.unsigned.slot0.wait0 @r3, r10, offset:0
        BRANCHZ.eq.reconverge r3, offset:look
        STORE.i32.slot0 @r3, r0, offset:0
        NOP.end
    )");
    rig.threads = {64, 1, 1};
    ASSERT_EQ(rig.run(), Outcome::finished);
    for (std::uint32_t i = 0; i < 64; ++i) EXPECT_EQ(rig.out(i), 1U);
}

TEST(ShaderFlow, LanesThatWereLeftGoOnAloneWhereNothingSaysThatTheyMeet) {
    // Odd lanes pass the place where even ones wait, with no `reconverge`: they have the ballot for
    // themselves, also if they are left on the way.
    ShaderRig rig(whole(R"(
        LSHIFT_AND.i32 r4, r2, 0x0.b00, r5
        BRANCHZ.eq.reconverge r4, offset:join
        LOAD.i32.unsigned.slot0.wait0 @r8, u0, offset:0
    join:
        LOAD.i32.unsigned.slot0.wait0 @r8, u0, offset:0
        LOAD.i32.unsigned.slot0.wait0 @r8, u0, offset:0
        LOAD.i32.unsigned.slot0.wait0 @r8, u0, offset:0
        WMASK r3, r5
    )"));
    for (std::uint32_t steps = 1; steps < 30; ++steps) {
        ASSERT_EQ(rig.run(steps), Outcome::finished);
        for (std::uint32_t lane = 0; lane < kLanes; ++lane)
            ASSERT_EQ(rig.out(lane), lane % 2 == 1 ? 0xaaaaU : 0x5555U) << steps;
    }
}

TEST(ShaderFlow, AnEndlessLoopIsLeft) {
    ShaderRig rig(R"(
    loop:
        BRANCHZ.eq.reconverge 0x0, offset:loop
    )");
    ASSERT_TRUE(rig.start());
    EXPECT_EQ(rig.step(0, 0, 100'000), Outcome::paused);
    EXPECT_EQ(rig.step(0, 1, 100'000), Outcome::paused);
    rig.leave = true;
    EXPECT_EQ(rig.step(0, 0, 1U << 31), Outcome::paused);
}

TEST(ShaderFlow, AnEndlessRunOfInstructionsIsLeft) {
    // A page of NOPs, over and over: there is no branch to leave at.
    ShaderRig rig;
    rig.memory.map(kCode, 64 * kPageBytes, kRead | kExecute);
    ASSERT_TRUE(rig.start());
    rig.leave = true;
    EXPECT_EQ(rig.step(0, 0, 1U << 31), Outcome::paused);
    EXPECT_EQ(rig.tasks[0].workgroup->warp_count, 0U);  // not even begun
    rig.leave = false;
    EXPECT_EQ(rig.step(0, 0, 600), Outcome::paused);
}

// Random structured programs against a model that runs one thread at a time.

class Program {
  public:
    explicit Program(std::uint32_t seed) : random_(seed) {
        text_ = std::string(kPrologue) + "IADD_IMM.i32 r3, r60, #0x0\nIADD_IMM.i32 r9, 0x0, #0x3\n";
        model_ = block(0);
        // Where all meet again, all lanes are there.
        text_ += "WMASK r6, r5\nLSHIFT_OR.i32 r3, r6, 0x13121110.b00, r3\n";
        text_ += kStoreR3;
    }

    [[nodiscard]] const std::string& text() const { return text_; }
    [[nodiscard]] std::uint32_t expected(std::uint32_t thread) const {
        std::uint32_t value = thread;
        run(model_, thread % kLanes, value);
        return value | 0xffff'0000;
    }

  private:
    enum class Kind : std::uint8_t { add, add_lane, branch, loop };
    struct Node {
        Kind kind{};
        std::uint32_t number = 0;
        std::vector<Node> first;
        std::vector<Node> second;
    };

    static void run(const std::vector<Node>& nodes, std::uint32_t lane, std::uint32_t& value) {
        for (const Node& node : nodes) {
            switch (node.kind) {
                case Kind::add:      value += node.number; break;
                case Kind::add_lane: value += lane; break;
                case Kind::branch:
                    run((value & node.number) != 0 ? node.first : node.second, lane, value);
                    break;
                case Kind::loop:
                    for (std::uint32_t n = (value & 3) + 1; n != 0; --n) run(node.first, lane, value);
                    break;
            }
        }
    }

    std::vector<Node> block(unsigned depth) {
        std::vector<Node> nodes(1 + random_() % 3);
        for (Node& node : nodes) {
            const std::string label = "l" + std::to_string(labels_++);
            node.kind = static_cast<Kind>(random_() % (depth < 4 ? 4 : 2));
            switch (node.kind) {
                case Kind::add:
                    node.number = static_cast<std::uint32_t>(random_() & 0xff);
                    text_ += "IADD_IMM.i32 r3, r3, #" + std::to_string(node.number) + "\n";
                    break;
                case Kind::add_lane: text_ += "IADD.u32 r3, r3, r2\n"; break;
                case Kind::branch:
                    node.number = 1U << random_() % 4;
                    text_ +=
                        "IADD_IMM.i32 r8, 0x0, #" + std::to_string(node.number) +
                        "\nLSHIFT_AND.i32 r8, r3, 0x0.b00, r8\nBRANCHZ.eq.reconverge r8, offset:" + label +
                        "\n";
                    node.first = block(depth + 1);
                    text_ += "BRANCHZ.eq.reconverge 0x0, offset:" + label + "x\n" + label + ":\n";
                    node.second = block(depth + 1);
                    text_ += "NOP.reconverge\n" + label + "x:\n";
                    break;
                case Kind::loop: {
                    const std::string counter = "r" + std::to_string(20 + depth);
                    text_ += "LSHIFT_AND.i32 " + counter + ", r3, 0x0.b00, r9\nIADD_IMM.i32.reconverge " +
                             counter + ", " + counter + ", #0x1\n" + label + ":\n";
                    node.first = block(depth + 1);
                    text_ += "IADD_IMM.i32 " + counter + ", " + counter +
                             ", #0xFFFFFFFF\nBRANCHZ.reconverge " + counter + ", offset:" + label + "\n";
                    break;
                }
            }
        }
        return nodes;
    }

    std::mt19937 random_;
    unsigned labels_ = 0;
    std::string text_;
    std::vector<Node> model_;
};

TEST(ShaderFlow, StructuredProgramsDoAsOneThreadAtATimeHoweverTheyAreCut) {
    for (std::uint32_t seed = 1; seed <= 150; ++seed) {
        const Program program(seed);
        ShaderRig rig(program.text());
        rig.threads = {32, 1, 1};
        rig.grid = {3, 1, 1};
        ASSERT_EQ(rig.run(), Outcome::finished);
        for (std::uint32_t i = 0; i < 96; ++i)
            ASSERT_EQ(rig.out(i), program.expected(i))
                << "seed " << seed << " thread " << i << program.text();
        const auto once = rig.outs(96);
        for (std::uint32_t i = 0; i < 96; ++i) rig.set_out(i, 0);
        ASSERT_EQ(rig.run_in_pieces(seed, 1 + seed % 40), Outcome::finished);
        ASSERT_EQ(rig.outs(96), once) << "seed " << seed;
    }
}

}  // namespace
}  // namespace belfry::gpu::shader
