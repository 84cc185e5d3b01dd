// What a shader does wrong, through the door of the GPU: each kind ends its stream, is told with its place,
// and harms nobody else. And what looks wrong and is no fault.
#include <cstring>

#include "compute_job.hpp"
#include "uapi/shader_assembler.hpp"
#include "unit/gpu_rig.hpp"

namespace belfry::gpu {
namespace {

using Descriptors = ComputeDescriptors;

class ComputeFault : public testing::Test {
  protected:
    /// The shader's only thread, with u0 and u1 as `address`.
    void submit(std::string_view shader, std::uint64_t address = 0) {
        const auto words = valhall::assemble(shader);
        ASSERT_TRUE(words) << words.error();
        std::ranges::copy(*words, &code.u64());
        Descriptors descriptors = describe_compute(
            code.va, {static_cast<std::uint32_t>(address), static_cast<std::uint32_t>(address >> 32)});
        descriptors.local_storage[0] = local_storage[0];
        descriptors.local_storage[1] = local_storage[1];
        std::memcpy(data.host, &descriptors, sizeof descriptors);
        queue.submit([&](W& w) {
            run_compute(w, data.va, 1, 1, (data.va + kTables) | 1);
            w.wait(slots(0)).move32(r(90), 7);
        });
        queue.ring();
    }
    void expect_finished() {
        rig.run_until_idle();
        EXPECT_EQ(queue.reg(90), 7u) << csf::name(queue.fatal().type);
    }
    void expect_fatal(Exception exception, unsigned instruction) {
        rig.run_until_idle();
        EXPECT_EQ(queue.fatal().type, exception);
        expect_at(instruction);
    }
    /// What the address space's registers say of an access that the MMU refused.
    MmuFault mmu_fault() {
        rig.step_until([&] { return queue.status() == StreamStatus::faulted; });
        const unsigned number = group.vm().number();
        EXPECT_NE(rig.take_mmu_interrupts() & mmu_int_fault(number), 0u);
        const std::uint32_t status = rig.gpu.read(as_reg(number, AsReg::faultstatus));
        const MmuFault fault{.type = static_cast<Exception>(fault_type(status)),
                             .access = static_cast<Access>(fault_access(status)),
                             .address = rig.gpu.read64(as_reg(number, AsReg::faultaddress_lo))};
        rig.disable(group.vm());
        EXPECT_EQ(queue.fatal().type, Exception::cs_bus_fault);
        return fault;
    }
    void expect_at(unsigned instruction) {
        EXPECT_EQ(queue.out().shader_pc, code.va + instruction * 8);
        EXPECT_EQ(queue.out().shader_instruction, code.u64(instruction * 8));
        EXPECT_EQ(queue.out().shader_lane, 0u);
    }

    static constexpr std::uint64_t kTables = 1024;  // of `data`: the resource tables, of which there is one
    static constexpr std::uint64_t kTable0 = kTables;
    Rig rig;
    Memory code = rig.memory();
    Memory data = rig.memory();
    Memory out = rig.memory();
    Group& group = rig.group();
    Queue& queue = group.queue(0);
    std::uint32_t local_storage[2] = {0, 31};
};

TEST_F(ComputeFault, AWordThatIsNoInstruction) {
    submit("NOP\n.word 0x01FF000000000000\n");
    expect_fatal(Exception::instr_invalid_enc, 1);
}

TEST_F(ComputeFault, AJumpToWhereNoCodeIs) {
    submit("BRANCHZI.eq.absolute 0x0, u0\nNOP.end\n", 0x0777'0000);
    rig.run_until_idle();
    EXPECT_EQ(queue.fatal().type, Exception::instr_invalid_pc);
    EXPECT_EQ(queue.out().shader_pc, (code.va & 0xffff'ffff'0000'0000U) | 0x0777'0000U);
    EXPECT_EQ(queue.out().shader_instruction, 0u);
}

TEST_F(ComputeFault, AJumpToMemoryThatMayNotBeExecuted) {
    const Memory locked = rig.memory(1, {.no_exec = true});
    submit("BRANCHZI.eq.absolute 0x0, u0\nNOP.end\n", locked.va);
    rig.run_until_idle();
    EXPECT_EQ(queue.fatal().type, Exception::instr_invalid_pc);
    EXPECT_EQ(queue.out().shader_pc, locked.va);
}

TEST_F(ComputeFault, AReadOfMemoryThatIsNotMapped) {
    submit("NOP\nLOAD.i32.unsigned.slot0.wait0 @r2, u0, offset:0\nNOP.end\n", 0x0666'0000);
    const MmuFault fault = mmu_fault();
    EXPECT_EQ(fault.address, 0x0666'0000u);
    EXPECT_EQ(fault.access, Access::read);
    expect_at(1);
}

TEST_F(ComputeFault, AWriteToMemoryThatMayOnlyBeRead) {
    const Memory locked = rig.memory(1, {.read_only = true});
    submit("STORE.i32.slot0.end @r60, u0, offset:8\n", locked.va);
    const MmuFault fault = mmu_fault();
    EXPECT_EQ(fault.type, Exception::perm_fault_3);
    EXPECT_EQ(fault.access, Access::write);
    EXPECT_EQ(fault.address, locked.va + 8);
    expect_at(0);
}

TEST_F(ComputeFault, AnAtomicOnMemoryThatMayOnlyBeRead) {
    const Memory locked = rig.memory(1, {.read_only = true});
    submit("ATOM.i32.slot0.aadd.end @r60, u0, offset:0x0\n", locked.va);
    const MmuFault fault = mmu_fault();
    EXPECT_EQ(fault.type, Exception::perm_fault_3);
    EXPECT_EQ(fault.access, Access::atomic);
}

TEST_F(ComputeFault, AnAtomicThatIsNotAligned) {
    submit("ATOM.i32.slot0.aadd.end @r60, u0, offset:0x2\n", out.va);
    expect_fatal(Exception::addr_range_fault, 0);
    EXPECT_EQ(queue.fatal().info, out.va + 2);
}

TEST_F(ComputeFault, ADescriptorOfTheProgramThatIsNone) {
    submit("NOP.end\n");
    data.u32(0) = 9;
    rig.run_until_idle();
    EXPECT_EQ(queue.fatal().type, Exception::data_invalid_fault);
    EXPECT_EQ(queue.out().shader_pc, data.va);
    EXPECT_EQ(queue.out().shader_instruction, 0u);
}

TEST_F(ComputeFault, LocalMemoryOfAThreadThatHasNone) {
    submit(
        "MOV.i32 r2, thread_local_pointer.w0\nMOV.i32 r3, thread_local_pointer.w1\n"
        "STORE.i32.slot0.end @r60, r2, offset:64\n");
    EXPECT_EQ(mmu_fault().address, 64u);
    expect_at(2);
}

TEST_F(ComputeFault, LocalMemoryOfAWorkgroupThatHasNoneWhateverItsAddress) {
    submit(
        "MOV.i32 r2, workgroup_local_pointer.w0\nMOV.i32 r3, workgroup_local_pointer.w1\n"
        "STORE.i32.slot0.end @r60, r2, offset:64\n");
    data.u64(offsetof(Descriptors, local_storage) + 16) = out.va;
    EXPECT_EQ(mmu_fault().address, 64u);
    expect_at(2);
    EXPECT_EQ(out.u32(64), 0u);
}

TEST_F(ComputeFault, LocalMemoryThatIsTooSmallAndEndsWithItsMapping) {
    // 16 bytes a thread: the shader believes in more, and its pool in fewer threads.
    submit(
        "MOV.i32 r2, thread_local_pointer.w0\nMOV.i32 r3, thread_local_pointer.w1\n"
        "STORE.i32.slot0 @r60, r2, offset:0\nSTORE.i32.slot0.end @r60, r2, offset:4096\n");
    data.u64(offsetof(Descriptors, local_storage) + 8) = out.va;
    EXPECT_EQ(mmu_fault().address, out.va + 4096);
    expect_at(3);
}

TEST_F(ComputeFault, OfADescriptorThatIsMissingThereIsNone) {
    // A buffer of a table that there is not, of an index that there is not, and of no type; each reads as 0
    // and takes what is stored.
    for (const std::uint32_t handle : {7U << 24, 5U, 0U}) {
        const std::uint64_t table[] = {(data.va + 2048) | std::uint64_t{1} << 56, 32};
        submit(
            "LD_BUFFER.i32.unsigned.slot0.wait0 @r2, 0x0, u0\nSTORE.i32.slot0.wait0 @r2, u2, offset:0\n"
            "LEA_BUFFER.slot0.wait0 @r4:r5, 0x0, u0\nSTORE.i32.slot0.end @r60, r4, offset:0\n",
            handle);
        std::memcpy(data.host + kTable0, table, sizeof table);
        data.u64(offsetof(Descriptors, uniforms) + 8) = out.va;
        out.u32() = 0xffff'ffff;
        expect_finished();
        EXPECT_EQ(out.u32(), 0u) << handle;
    }
}

TEST_F(ComputeFault, OfATableThatIsNotMappedThereIsOneOfTheAddressSpace) {
    submit("LD_BUFFER.i32.unsigned.slot0.wait0 @r2, 0x0, u0\nNOP.end\n");
    const std::uint64_t table[] = {0x0555'0000 | std::uint64_t{1} << 56, 32};
    std::memcpy(data.host + kTable0, table, sizeof table);
    const MmuFault fault = mmu_fault();
    EXPECT_EQ(fault.address, 0x0555'0000u);
    EXPECT_EQ(fault.access, Access::read);
    expect_at(0);
}

}  // namespace
}  // namespace belfry::gpu
