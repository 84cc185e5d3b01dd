// What ended a group: as GROUP_GET_FAULT tells of a shader, and who else is told of it.
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "compute_job.hpp"
#include "uapi/fault_text.hpp"
#include "uapi/shader_assembler.hpp"
#include "unit/panthor_rig.hpp"

namespace belfry::panthor {
namespace {

class Faults : public testing::Test {
  protected:
    /// Puts a job into the queue that runs the shader, whose code is at the page's start.
    void submit(UserQueue& queue, const Memory& page, std::string_view shader, std::uint32_t groups = 1,
                std::uint32_t threads = 16, std::initializer_list<std::uint32_t> uniforms = {}) {
        const auto words = valhall::assemble(shader);
        ASSERT_TRUE(words) << words.error();
        std::memcpy(page.mapping.data(), words->data(), words->size() * sizeof words->front());
        page.as<ComputeDescriptors>(kDescriptors) = describe_compute(page.va, uniforms);
        queue.submit([&](W& w) {
            w.nop();
            run_compute(w, page.va + kDescriptors, groups, threads);
        });
    }
    void run(UserGroup& group) {
        EXPECT_EQ(group.kick(), 0);
        rig.run_until_idle();
    }
    std::vector<std::string> take_ended() {
        std::vector<std::string> told;
        rig.device().take_ended([&](const Group& group) {
            told.push_back(group.owner.process + " " + std::to_string(group.owner.pid) + " group " +
                           std::to_string(group.owner.handle) + ": " +
                           fault_text(group.fault(), group.state_flags()));
        });
        return told;
    }

    static constexpr std::uint64_t kDescriptors = 2048;
    Rig rig;
    Client& client = rig.open({.pid = 42, .process = "program"});
};

/// Thread 17 of workgroup 3, of workgroups of 32, runs into what is none.
constexpr std::string_view kBadInOneThread = R"(
    IADD_IMM.i32 r4, r60, #0xFFFFFF8F
    BRANCHZ.eq.reconverge r4, offset:bad
    NOP.end
bad:
    .word 0x8000000000000000
)";

TEST_F(Faults, OfAShaderNameItsInstructionWorkgroupAndThread) {
    UserGroup& group = client.user_group({.queues = 2});
    const Memory page = client.memory();
    submit(group.queue(1), page, kBadInOneThread, 5, 32);
    run(group);
    const auto fault = group.fault();
    EXPECT_EQ(fault.flags, BELFRY_FAULT_VALID | BELFRY_FAULT_QUEUE | BELFRY_FAULT_SHADER);
    EXPECT_EQ(fault.queue, 1u);
    EXPECT_EQ(fault.exception, static_cast<unsigned>(csf::Exception::instr_invalid_enc));
    EXPECT_EQ(fault.instruction,
              csf::encode<csf::Op::run_compute>(csf::Operand<csf::Arg::task_increment>{1}));
    EXPECT_EQ(fault.shader_pc, page.va + 3 * 8);
    EXPECT_EQ(fault.shader_instruction, 0x8000'0000'0000'0000u);
    EXPECT_EQ(fault.shader_workgroup_x, 3u);
    EXPECT_EQ(fault.shader_workgroup_y, 0u);
    EXPECT_EQ(fault.shader_workgroup_z, 0u);
    EXPECT_EQ(fault.shader_thread, 17u);
    EXPECT_EQ(group.state().fatal_queues, 2u);
}

TEST_F(Faults, OfAShadersAddressNameTheAccessToo) {
    UserGroup& group = client.user_group();
    const Memory page = client.memory();
    submit(group.queue(0), page, "NOP\nSTORE.i32.slot0.end @r60, u0, offset:0\n", 1, 16, {0x0abc'0000});
    run(group);
    const auto fault = group.fault();
    EXPECT_EQ(fault.flags, BELFRY_FAULT_VALID | BELFRY_FAULT_QUEUE | BELFRY_FAULT_MMU | BELFRY_FAULT_SHADER);
    EXPECT_EQ(fault.address, 0x0abc'0000u);
    EXPECT_EQ(fault.access, static_cast<unsigned>(gpu::Access::write));
    EXPECT_EQ(fault.shader_pc, page.va + 8);
    EXPECT_EQ(fault.shader_instruction, page.u64(8));
}

TEST_F(Faults, OfACommandStreamKnowNoShaderThoughOneHadFaultedOnTheSlot) {
    UserGroup& first = client.user_group();
    const Memory page = client.memory();
    submit(first.queue(0), page, kBadInOneThread, 5, 32);
    run(first);
    UserGroup& second = client.user_group();
    second.queue(0).submit([](W& w) { w.word(kBadWord); });
    run(second);
    EXPECT_EQ(second.fault().flags, BELFRY_FAULT_VALID | BELFRY_FAULT_QUEUE);
    EXPECT_EQ(second.fault().shader_pc, 0u);
    EXPECT_EQ(second.fault().shader_instruction, 0u);
}

TEST_F(Faults, OfADescriptorNameIt) {
    UserGroup& group = client.user_group();
    const Memory page = client.memory();
    submit(group.queue(0), page, "NOP.end\n");
    page.as<ComputeDescriptors>(kDescriptors).program[0] = 9;
    run(group);
    EXPECT_EQ(group.fault().exception, static_cast<unsigned>(csf::Exception::data_invalid_fault));
    EXPECT_EQ(group.fault().shader_pc, page.va + kDescriptors);
    EXPECT_EQ(group.fault().shader_instruction, 0u);
}

// --- who is told

TEST_F(Faults, AreToldOnceWithWhoseGroupItWas) {
    UserGroup& first = client.user_group();
    UserGroup& second = client.user_group({.queues = 2});
    for (std::size_t i = 0; i < 2; ++i) second.queue(i).submit([](W& w) { w.word(kBadWord); });
    run(second);
    first.queue(0).submit([](W& w) { load(w, 0x123000); });
    run(first);
    const auto told = take_ended();
    ASSERT_EQ(told.size(), 2u);
    EXPECT_EQ(told[0], "program 42 group 2: " + fault_text(second.fault(), 0));
    EXPECT_EQ(told[1], "program 42 group 1: " + fault_text(first.fault(), 0));
    EXPECT_EQ(take_ended().size(), 0u);
    EXPECT_EQ(second.destroy(), 0);
    rig.run_until_idle();
    EXPECT_EQ(take_ended().size(), 0u);
}

TEST_F(Faults, OfAJobThatTakesTooLongAreTold) {
    KernelGroup& group = client.kernel_group();
    EXPECT_EQ(group.submit({{.stream = client.stream(loop_for_ever)}}), 0);
    rig.run(2);
    rig.advance(6s);
    ASSERT_EQ(take_ended(),
              std::vector<std::string>{
                  "program 42 group 1: a job took longer than it may, or the GPU did not answer"});
    rig.run_until_idle();
    EXPECT_EQ(take_ended().size(), 0u);
}

TEST_F(Faults, OfAFirmwareThatDoesNotAnswerAreTold) {
    UserGroup& group = client.user_group();
    rig.wires.firmware_deaf = true;
    group.queue(0).submit([](W& w) { w.nop(); });
    EXPECT_EQ(group.kick(), 0);
    rig.advance(6s);
    EXPECT_EQ(take_ended().size(), 1u);
    rig.wires.firmware_deaf = false;
}

TEST_F(Faults, AGroupThatItsProgramEndsIsNoneAndIsNotTold) {
    UserGroup& group = client.user_group();
    group.queue(0).run([](W& w) { w.nop(); });
    EXPECT_EQ(group.destroy(), 0);
    client.user_group().queue(0).run([](W& w) { w.nop(); });
    rig.close(client);
    rig.run_until_idle();
    EXPECT_EQ(take_ended().size(), 0u);
}

TEST_F(Faults, OfAGroupThatIsGoneBeforeAnybodyIsToldAreNotTold) {
    UserGroup& group = client.user_group();
    group.queue(0).submit([](W& w) { w.word(kBadWord); });
    run(group);
    rig.close(client);
    rig.run_until_idle();
    EXPECT_EQ(take_ended().size(), 0u);
}

}  // namespace
}  // namespace belfry::panthor
