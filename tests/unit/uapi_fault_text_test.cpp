// The sentence that says what ended a group: one line for each kind of cause.
#include <gtest/gtest.h>

#include "belfry/uapi/csf.hpp"
#include "belfry/uapi/csf_exceptions.hpp"
#include "uapi/fault_text.hpp"
#include "uapi/shader_assembler.hpp"

namespace belfry::uapi {
namespace {

using csf::Exception;

constexpr std::uint32_t kTimedOut = DRM_PANTHOR_GROUP_STATE_TIMEDOUT;
constexpr std::uint32_t kFatal = DRM_PANTHOR_GROUP_STATE_FATAL_FAULT;
const std::uint64_t kRunCompute =
    csf::encode<csf::Op::run_compute>(csf::Operand<csf::Arg::task_increment>{1});

std::uint64_t shader_word(const std::string& text) { return valhall::assemble(text + "\n").value().front(); }

belfry_group_get_fault of_stream(Exception exception, std::uint64_t instruction, std::uint64_t info = 0) {
    return {.flags = BELFRY_FAULT_VALID | BELFRY_FAULT_QUEUE,
            .queue = 0,
            .exception = static_cast<std::uint32_t>(exception),
            .cmd_ptr = 0x8000'0000'9cc8,
            .instruction = instruction,
            .info = info};
}

belfry_group_get_fault of_shader(Exception exception, std::uint64_t word, std::uint64_t info = 0) {
    auto fault = of_stream(exception, kRunCompute, info);
    fault.flags |= BELFRY_FAULT_SHADER;
    fault.shader_pc = 0x1000'0018;
    fault.shader_instruction = word;
    fault.shader_workgroup_x = 3;
    fault.shader_workgroup_z = 1;
    fault.shader_thread = 17;
    return fault;
}

const std::string kRun =
    ", run by RUN_COMPUTE axis x, increment 1, srt 0, spd 0, tsd 0, fau 0 at 0x800000009cc8";

TEST(FaultText, OfAHealthyGroupIsEmpty) { EXPECT_EQ(fault_text({}, 0), ""); }

TEST(FaultText, OfAGroupWithoutAFaultOfItsOwnSaysWhatItsStateSays) {
    EXPECT_EQ(fault_text({}, kTimedOut), "a job took longer than it may, or the GPU did not answer");
    EXPECT_EQ(fault_text({}, kFatal), "ended without a fault of its own");
}

TEST(FaultText, OfACommandStreamNamesItsInstruction) {
    auto read = of_stream(Exception::translation_fault_3, 0x1446'0600'0001'0000);
    read.flags |= BELFRY_FAULT_MMU;
    read.access = 2;
    read.address = 0x123000;
    EXPECT_EQ(fault_text(read, kFatal),
              "queue 0: TRANSLATION_FAULT_3: a read of address 0x123000 by LOAD_MULTIPLE {r70}, [d6] at "
              "0x800000009cc8");
    EXPECT_EQ(fault_text(of_stream(Exception::cs_instr_invalid, 0xee00'0000'0000'0000), kFatal),
              "queue 0: CS_INSTR_INVALID: no such instruction, or operands that it cannot have by .word "
              "0xee00000000000000 (unassigned opcode 0xee) at 0x800000009cc8");
}

TEST(FaultText, OfAnAddressNobodyIsNamedForIsTheAddressAlone) {
    EXPECT_EQ(fault_text({.flags = BELFRY_FAULT_VALID | BELFRY_FAULT_MMU,
                          .exception = static_cast<std::uint32_t>(Exception::perm_fault_3),
                          .access = 3,
                          .address = 0x5008},
                         kFatal),
              "PERM_FAULT_3: a write of address 0x5008");
}

TEST(FaultText, OfAShaderThatRunsIntoWhatIsNoInstructionShowsIt) {
    EXPECT_EQ(fault_text(of_shader(Exception::instr_invalid_enc, 0x8000'0000'0000'0000), kFatal),
              "queue 0: INSTR_INVALID_ENC: no such instruction, or one that a compute shader cannot have: "
              "NOP (unused bits 0x8000000000000000; invalid: bit 63 is set) at shader address 0x10000018, "
              "workgroup "
              "(3, 0, 1), thread 17" +
                  kRun);
}

TEST(FaultText, OfAShaderThatRunsToWhereNoCodeIsNamesThePlace) {
    EXPECT_EQ(fault_text(of_shader(Exception::instr_invalid_pc, 0), kFatal),
              "queue 0: INSTR_INVALID_PC: no code that shaders may execute at shader address 0x10000018, "
              "workgroup (3, 0, 1), thread 17" +
                  kRun);
}

TEST(FaultText, OfAShadersAddressNamesAccessAndInstruction) {
    auto fault = of_shader(Exception::translation_fault_2, shader_word("STORE.i32.slot0 @r0, ^r2, offset:4"));
    fault.flags |= BELFRY_FAULT_MMU;
    fault.access = 3;
    fault.address = 0x666004;
    EXPECT_EQ(fault_text(fault, kFatal),
              "queue 0: TRANSLATION_FAULT_2: a write of address 0x666004 by STORE.i32.slot0 @r0, ^r2, "
              "offset:4 at shader address 0x10000018, workgroup (3, 0, 1), thread 17" +
                  kRun);
}

TEST(FaultText, OfAnAtomicThatIsNotAlignedNamesTheAddress) {
    EXPECT_EQ(fault_text(of_shader(Exception::addr_range_fault,
                                   shader_word("ATOM.i32.slot0.aadd @r60, u0, offset:0x2"), 0x5002),
                         kFatal),
              "queue 0: ADDR_RANGE_FAULT: an atomic access to address 0x5002, which is not aligned, by "
              "ATOM.i32.slot0.aadd @r60, u0, offset:0x2 at shader address 0x10000018, workgroup (3, 0, 1), "
              "thread 17" +
                  kRun);
}

TEST(FaultText, OfAShaderThatCannotBeginNamesItsDescriptor) {
    EXPECT_EQ(fault_text(of_shader(Exception::data_invalid_fault, 0), kFatal),
              "queue 0: DATA_INVALID_FAULT: registers or descriptors that no job can have, shader program "
              "descriptor at 0x10000018" +
                  kRun);
    auto unmapped = of_shader(Exception::translation_fault_3, 0);
    unmapped.flags |= BELFRY_FAULT_MMU;
    unmapped.access = 2;
    unmapped.address = 0x10000000;
    EXPECT_EQ(fault_text(unmapped, kFatal),
              "queue 0: TRANSLATION_FAULT_3: a read of address 0x10000000 before the first instruction, "
              "shader program descriptor at 0x10000018" +
                  kRun);
}

}  // namespace
}  // namespace belfry::uapi
