// Who may still touch memory when: unbinding, closing, VMs and files that go while their groups run, the
// GPU's address-space commands in every order, and the page tables by themselves.
#include <cstdint>
#include <map>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "drivers/panthor/page_table.hpp"
#include "gpu/address_space.hpp"
#include "unit/panthor_rig.hpp"

namespace belfry::panthor {
namespace {

class MemoryOf : public testing::Test {
  protected:
    /// On a slot with nothing to do: its VM is on the GPU.
    UserGroup& resident_group(Client& owner) {
        UserGroup& group = owner.user_group();
        group.queue(0).run([](W& w) { w.nop(); });
        EXPECT_TRUE(group.active());
        return group;
    }
    UserGroup& resident_group() { return resident_group(client); }

    Rig rig;
    Client& client = rig.open();
};

// --- unbinding

TEST_F(MemoryOf, AVmOffTheGpuIsUnboundAtOnce) {
    const Memory memory = client.memory();
    EXPECT_EQ(client.gem_close(memory.handle), 0);
    EXPECT_EQ(rig.info().buffers, 1u);
    EXPECT_EQ(client.unmap(memory)->answer(), 0);
    EXPECT_EQ(rig.info().buffers, 0u);
    EXPECT_EQ(rig.info().buffer_bytes, 0u);
}

TEST_F(MemoryOf, AVmOnTheGpuIsUnboundWhenTheGpuHasFlushed) {
    resident_group();
    const Memory memory = client.memory();
    EXPECT_EQ(client.gem_close(memory.handle), 0);
    const auto before = rig.info();
    const auto call = client.unmap(memory);
    EXPECT_FALSE(call->answered());
    EXPECT_EQ(rig.info().buffers, before.buffers);
    rig.step_gpu();
    EXPECT_FALSE(call->answered()) << "the driver has not heard of it";
    EXPECT_EQ(rig.info().buffers, before.buffers);
    rig.deliver_interrupt();
    EXPECT_EQ(call->answer(), 0);
    EXPECT_EQ(rig.info().buffers, before.buffers - 1);
}

TEST_F(MemoryOf, AStreamThatStoresForEverFaultsAfterTheUnmapAndNotBefore) {
    const Memory memory = client.memory();
    UserGroup& group = client.user_group();
    group.queue(0).submit([&](W& w) { store_for_ever(w, memory.va); });
    EXPECT_EQ(group.kick(), 0);
    rig.run(3);
    EXPECT_EQ(memory.u64(), 1u);
    const auto call = client.unmap(memory);
    EXPECT_EQ(group.state().state, 0u);
    rig.run_until_idle();
    EXPECT_EQ(call->answer(), 0);
    EXPECT_EQ(group.fault().address, memory.va);
    EXPECT_EQ(group.fault().access, static_cast<unsigned>(gpu::Access::write));
    memory.u64() = 0;
    rig.run_until_idle();
    EXPECT_EQ(memory.u64(), 0u);
}

TEST_F(MemoryOf, AMapOverSomethingIsAnsweredWhenTheGpuHasFlushed) {
    resident_group();
    const Memory memory = client.memory();
    const auto call = client.bind(client.vm(), {Client::map_op(client.bo(), memory.va, kPage)});
    EXPECT_FALSE(call->answered());
    rig.run_until_idle();
    EXPECT_EQ(call->answer(), 0);
}

TEST_F(MemoryOf, AMapOfAHoleIsAnsweredAtOnce) {
    resident_group();
    EXPECT_EQ(client.bind(client.vm(), {Client::map_op(client.bo(), 0x10000, kPage)})->answer(), 0);
}

TEST_F(MemoryOf, ABindThatFailsAfterAnUnmapIsAnsweredWhenTheGpuHasFlushed) {
    resident_group();
    const Memory memory = client.memory();
    const auto call =
        client.bind(client.vm(), {Client::unmap_op(memory.va, kPage), Client::map_op(99, 0x10000, kPage)});
    EXPECT_FALSE(call->answered());
    rig.run_until_idle();
    EXPECT_EQ(call->answer(), EINVAL);
    EXPECT_EQ(call->args<drm_panthor_vm_bind>().ops.count, 1u);
}

TEST_F(MemoryOf, AClientThatIsGoneIsNotAnswered) {
    resident_group();
    const Memory memory = client.memory();
    const auto call = client.unmap(memory);
    call->cancel();
    rig.run_until_idle();
    EXPECT_TRUE(call->completed());
    EXPECT_FALSE(call->answered());
}

TEST_F(MemoryOf, ABufferThatIsClosedWhileBoundKeepsWorking) {
    const Memory memory = client.memory();
    EXPECT_EQ(client.gem_close(memory.handle), 0);
    client.user_group().queue(0).run([&](W& w) { add_one(w, memory.va); });
    EXPECT_EQ(memory.u64(), 1u);
}

TEST_F(MemoryOf, ABufferBoundTwiceLivesUntilItIsUnboundTwice) {
    const Memory memory = client.memory();
    EXPECT_EQ(client.bind(client.vm(), {Client::map_op(memory.handle, 0x10000, kPage)})->answer(), 0);
    EXPECT_EQ(client.gem_close(memory.handle), 0);
    EXPECT_EQ(client.unmap(memory)->answer(), 0);
    EXPECT_EQ(rig.info().buffers, 1u);
    EXPECT_EQ(client.bind(client.vm(), {Client::unmap_op(0x10000, kPage)})->answer(), 0);
    EXPECT_EQ(rig.info().buffers, 0u);
}

TEST_F(MemoryOf, APartOfABufferThatStaysBoundKeepsItAlive) {
    const Memory memory = client.memory(0, 3 * kPage);
    EXPECT_EQ(client.gem_close(memory.handle), 0);
    EXPECT_EQ(client.bind(client.vm(), {Client::unmap_op(memory.va + kPage, kPage)})->answer(), 0);
    EXPECT_EQ(rig.info().buffers, 1u);
    UserGroup& group = client.user_group();
    group.queue(0).run([&](W& w) { add_one(w, memory.va), add_one(w, memory.va + 2 * kPage); });
    EXPECT_EQ(memory.u64(), 1u);
    EXPECT_EQ(memory.u64(2 * kPage), 1u);
    group.queue(0).run([&](W& w) { add_one(w, memory.va + kPage); });
    EXPECT_EQ(group.fault().address, memory.va + kPage);
}

TEST_F(MemoryOf, ARingThatItsProgramUnbindsIsAFaultOfItsOwn) {
    UserGroup& group = resident_group();
    const auto call =
        client.bind(client.vm(), {Client::unmap_op(1ULL << 47, 1ULL << 47)});  // the kernel's part
    rig.run_until_idle();
    EXPECT_EQ(call->answer(), 0);
    group.queue(0).run([](W& w) { w.nop(); });
    EXPECT_EQ(group.state().state, DRM_PANTHOR_GROUP_STATE_FATAL_FAULT);
    EXPECT_EQ(group.destroy(), 0);
    resident_group();
}

// --- commands to an address space while one is under way

TEST_F(MemoryOf, TwoUnmapsBeforeTheFirstInterruptAreBothAnsweredAndTheSecondNotByTheFirstsFlush) {
    resident_group();
    const Memory first = client.memory();
    const Memory second = client.memory();
    client.gem_close(first.handle);
    client.gem_close(second.handle);
    const auto before = rig.info().buffers;
    const auto call1 = client.unmap(first);
    rig.step_gpu();  // flushed, and then comes the second
    const auto call2 = client.unmap(second);
    rig.deliver_interrupt();
    EXPECT_EQ(call1->answer(), 0);
    EXPECT_FALSE(call2->answered());
    EXPECT_EQ(rig.info().buffers, before - 1);
    rig.run_until_idle();
    EXPECT_EQ(call2->answer(), 0);
    EXPECT_EQ(rig.info().buffers, before - 2);
}

TEST_F(MemoryOf, ManyUnmapsBehindOneFlushShareTheNext) {
    resident_group();
    std::vector<Memory> memories;
    for (int i = 0; i < 20; ++i) memories.push_back(client.memory());
    std::vector<std::shared_ptr<TestCall>> calls;
    for (const Memory& memory : memories) calls.push_back(client.unmap(memory));
    unsigned commands = 0;
    rig.wires.on_write = [&](gpu::Reg reg, std::uint32_t) {
        commands += reg == gpu::as_reg(1, gpu::AsReg::command) ? 1 : 0;
    };
    rig.run_until_idle();
    for (const auto& call : calls) EXPECT_EQ(call->answer(), 0);
    EXPECT_EQ(commands, 1u) << "for all but the first";
}

TEST_F(MemoryOf, AVmThatLeavesTheGpuDuringAFlushIsAnswered) {
    UserGroup& group = resident_group();
    const Memory memory = client.memory();
    const auto call = client.unmap(memory);
    EXPECT_EQ(group.destroy(), 0);
    EXPECT_FALSE(call->answered());
    rig.run_until_idle();
    EXPECT_EQ(call->answer(), 0);
    EXPECT_EQ(rig.info().groups, 0u);
}

TEST_F(MemoryOf, AnAddressSpaceThatStillFlushesForItsLastVmIsNotGivenToTheNext) {
    UserGroup& group = resident_group();
    const Memory memory = client.memory();
    EXPECT_EQ(group.destroy(), 0);
    rig.step_gpu();
    const auto call =
        client.unmap(memory);  // after the GPU's answer to TERMINATE, before the driver's knowledge
    UserGroup& next = client.user_group({.vm = client.create_vm()});
    next.queue(0).submit([](W& w) { w.nop(); });
    EXPECT_EQ(next.kick(), 0);
    rig.run_until_idle();
    EXPECT_EQ(call->answer(), 0);
    EXPECT_TRUE(next.queue(0).drained());
    EXPECT_EQ(next.state().state, 0u);
}

TEST_F(MemoryOf, AnUnmapDuringTheActivationOfItsVmIsAnswered) {
    const Memory memory = client.memory();
    UserGroup& group = client.user_group();
    group.queue(0).submit([](W& w) { w.nop(); });
    EXPECT_EQ(group.kick(), 0);
    const auto call = client.unmap(memory);
    EXPECT_FALSE(call->answered());
    rig.run_until_idle();
    EXPECT_EQ(call->answer(), 0);
    EXPECT_TRUE(group.queue(0).drained());
}

TEST_F(MemoryOf, AFaultDuringAFlushStillEndsTheGroupAndTheCallIsAnswered) {
    UserGroup& group = resident_group();
    const Memory memory = client.memory();
    const auto call = client.unmap(memory);
    group.queue(0).submit([](W& w) { load(w, 0x10); });
    group.queue(0).ring();
    rig.run_until_idle();
    EXPECT_EQ(call->answer(), 0);
    EXPECT_EQ(group.fault().address, 0x10u);
    EXPECT_EQ(rig.info().groups_on_slot, 0u);
}

TEST_F(MemoryOf, AnUnmapAfterAFaultIsAnswered) {
    UserGroup& group = resident_group();
    const Memory memory = client.memory();
    group.queue(0).submit([](W& w) { load(w, 0x10); });
    group.queue(0).ring();
    rig.run_gpu_until_idle();
    rig.deliver_interrupt();  // the address space is asked to go off
    const auto call = client.unmap(memory);
    EXPECT_FALSE(call->answered());
    rig.run_until_idle();
    EXPECT_EQ(call->answer(), 0);
    EXPECT_EQ(group.fault().address, 0x10u);
}

TEST_F(MemoryOf, OneVmsFlushDoesNotAnswerAnothers) {
    Client& other = rig.open();
    resident_group();
    resident_group(other);
    const Memory mine = client.memory();
    const Memory theirs = other.memory();
    const auto call1 = client.unmap(mine);
    rig.step_gpu();
    const auto call2 = other.unmap(theirs);
    rig.deliver_interrupt();
    EXPECT_TRUE(call1->answered());
    EXPECT_FALSE(call2->answered());
    rig.run_until_idle();
    EXPECT_TRUE(call2->answered());
}

// --- VMs and files that go

TEST_F(MemoryOf, AVmThatIsDestroyedLivesAsLongAsItsGroupRuns) {
    const Memory memory = client.memory();
    UserGroup& group = client.user_group();
    group.queue(0).submit([&](W& w) { store_for_ever(w, memory.va); });
    EXPECT_EQ(group.kick(), 0);
    rig.run(3);
    EXPECT_EQ(client.vm_destroy(1), 0);
    EXPECT_EQ(client.gem_close(memory.handle), 0);
    EXPECT_EQ(rig.info().vms, 0u);
    memory.u64() = 0;
    rig.run(3);
    EXPECT_EQ(memory.u64(), 1u);
    EXPECT_EQ(group.state().state, 0u);
    EXPECT_EQ(group.destroy(), 0);
    rig.run_until_idle();
    EXPECT_EQ(rig.info().buffers, 0u);
    EXPECT_EQ(rig.info().groups, 0u);
}

TEST_F(MemoryOf, AVmIdThatIsGivenAgainIsAnotherVm) {
    const Memory memory = client.memory();
    UserGroup& old = client.user_group();
    EXPECT_EQ(client.vm_destroy(1), 0);
    EXPECT_EQ(client.create_vm(), 1u);
    UserGroup& fresh = client.user_group();
    fresh.queue(0).run([&](W& w) { load(w, memory.va); });
    EXPECT_NE(fresh.state().state, 0u);
    old.queue(0).run([&](W& w) { load(w, memory.va); });
    EXPECT_EQ(old.state().state, 0u);
}

TEST_F(MemoryOf, AFlushThatItsVmDoesNotLiveToSeeIsHarmless) {
    Client& leaver = rig.open();
    resident_group(leaver);
    const Memory memory = leaver.memory();
    const auto call = leaver.unmap(memory);
    rig.close(leaver);
    rig.run_until_idle();
    EXPECT_TRUE(call->completed());
    EXPECT_EQ(rig.info().buffers, 0u);
}

// --- closing the file, whatever its group is doing

struct Situation {
    const char* name;
    void (*reach)(Rig&, Client&);
};

void PrintTo(const Situation& situation, std::ostream* out) { *out << situation.name; }

UserGroup& kicked(Client& client, const Program& program, const GroupSetup& setup = {}) {
    UserGroup& group = client.user_group(setup);
    group.queue(0).submit(program);
    EXPECT_EQ(group.kick(), 0);
    return group;
}
void nothing(W& w) { w.nop(); }

constexpr Situation kSituations[] = {
    {"Nothing", [](Rig&, Client&) {}},
    {"Buffers", [](Rig&, Client& client) { client.memory(), client.bo(); }},
    {"IdleNeverKicked", [](Rig&, Client& client) { client.user_group({.queues = 3}); }},
    {"Starting", [](Rig&, Client& client) { kicked(client, loop_for_ever); }},
    {"StartedAndNotHeardOf",
     [](Rig& rig, Client& client) {
         kicked(client, loop_for_ever);
         rig.step_gpu();
     }},
    {"Running",
     [](Rig& rig, Client& client) {
         kicked(client, loop_for_ever);
         rig.run(3);
     }},
    {"ResidentAndIdle",
     [](Rig& rig, Client& client) {
         kicked(client, nothing);
         rig.run_until_idle();
     }},
    {"Waiting",
     [](Rig& rig, Client& client) {
         for (int i = 0; i < 12; ++i) kicked(client, loop_for_ever);
         rig.run(5);
         EXPECT_GE(rig.info().groups_waiting, 4u);
     }},
    {"Suspending",
     [](Rig& rig, Client& client) {
         for (int i = 0; i < 8; ++i) kicked(client, loop_for_ever, {.priority = PANTHOR_GROUP_PRIORITY_LOW});
         rig.run(20);
         kicked(client, loop_for_ever);
     }},
    {"SuspendedAndNotHeardOf",
     [](Rig& rig, Client& client) {
         for (int i = 0; i < 8; ++i) kicked(client, loop_for_ever, {.priority = PANTHOR_GROUP_PRIORITY_LOW});
         rig.run(20);
         kicked(client, loop_for_ever);
         rig.step_gpu();
     }},
    {"SuspendedAndIdle",
     [](Rig& rig, Client& client) {
         for (int i = 0; i < 12; ++i) kicked(client, nothing);
         rig.run_until_idle();
         EXPECT_EQ(rig.info().groups_waiting, 0u);
     }},
    {"Blocked",
     [](Rig& rig, Client& client) {
         const Memory memory = client.memory();
         for (int i = 0; i < 12; ++i) kicked(client, [&](W& w) { wait_for(w, memory.va, 1); });
         rig.run_until_idle();
         EXPECT_EQ(rig.info().groups_waiting, 0u);
     }},
    {"KernelJobsBlocked",
     [](Rig& rig, Client& client) {
         const Memory memory = client.memory();
         const Stream stream = client.stream([&](W& w) { wait_for(w, memory.va, 1); });
         for (int i = 0; i < 12; ++i) EXPECT_EQ(client.kernel_group().submit({{.stream = stream}}), 0);
         rig.run_until_idle();
         EXPECT_EQ(rig.info().groups_waiting, 0u);
     }},
    {"RunnableAfterSuspend",
     [](Rig& rig, Client& client) {
         for (int i = 0; i < 8; ++i) kicked(client, loop_for_ever, {.priority = PANTHOR_GROUP_PRIORITY_LOW});
         rig.run(20);
         for (int i = 0; i < 8; ++i) kicked(client, loop_for_ever);
         rig.run(40);
         EXPECT_EQ(rig.info().groups_waiting, 8u);
     }},
    {"Terminating",
     [](Rig& rig, Client& client) {
         UserGroup& group = kicked(client, loop_for_ever);
         rig.run(3);
         group.destroy();
     }},
    {"TerminatedAndNotHeardOf",
     [](Rig& rig, Client& client) {
         UserGroup& group = kicked(client, loop_for_ever);
         rig.run(3);
         group.destroy();
         rig.step_gpu();
     }},
    {"FaultedAndNotHeardOf",
     [](Rig& rig, Client& client) {
         kicked(client, [](W& w) { load(w, 0x10); });
         rig.run_gpu_until_idle();
     }},
    {"FaultedAndBeingDisabled",
     [](Rig& rig, Client& client) {
         kicked(client, [](W& w) { load(w, 0x10); });
         rig.run_gpu_until_idle();
         rig.deliver_interrupt();
     }},
    {"FaultedAndTerminating",
     [](Rig& rig, Client& client) {
         kicked(client, [](W& w) { load(w, 0x10); });
         rig.run_gpu_until_idle();
         rig.deliver_interrupt();
         rig.step_gpu();
         rig.deliver_interrupt();
     }},
    {"Dead",
     [](Rig& rig, Client& client) {
         kicked(client, [](W& w) { w.word(kBadWord); });
         rig.run_until_idle();
     }},
    {"KernelJobsWaitingForAFence",
     [](Rig&, Client& client) {
         const std::uint32_t gate = client.syncobj();
         const Stream loop = client.stream(loop_for_ever);
         EXPECT_EQ(client.kernel_group().submit({{.stream = loop, .syncs = {signal_op(gate)}}}), 0);
         EXPECT_EQ(client.kernel_group().submit({{.stream = loop, .syncs = {wait_op(gate)}}}), 0);
     }},
    {"KernelJobsInFlight",
     [](Rig& rig, Client& client) {
         const Stream loop = client.stream(loop_for_ever);
         EXPECT_EQ(client.kernel_group().submit(std::vector<JobSpec>(100, {.stream = loop})), 0);
         rig.run(3);
     }},
    {"KernelJobsDoneAndNotHeardOf",
     [](Rig& rig, Client& client) {
         const Stream stream = client.stream(nothing);
         EXPECT_EQ(client.kernel_group().submit(std::vector<JobSpec>(100, {.stream = stream})), 0);
         rig.run_gpu_until_idle();
     }},
    {"UnmapUnderWay",
     [](Rig& rig, Client& client) {
         kicked(client, loop_for_ever);
         rig.run(3);
         const Memory memory = client.memory();
         client.unmap(memory);
     }},
    {"UnmapBehindAnother",
     [](Rig& rig, Client& client) {
         kicked(client, loop_for_ever);
         rig.run(3);
         const Memory first = client.memory();
         const Memory second = client.memory();
         client.unmap(first);
         client.unmap(second);
     }},
    {"UnmapInTheBackgroundUnderWay",
     [](Rig& rig, Client& client) {
         kicked(client, loop_for_ever);
         rig.run(3);
         const Memory memory = client.memory();
         client.bind(client.vm(),
                     {Client::unmap_op(memory.va, kPage), Client::map_op(memory.handle, 0, kPage)},
                     DRM_PANTHOR_VM_BIND_ASYNC);
     }},
    {"BindsWaitingForAJob",
     [](Rig& rig, Client& client) {
         const std::uint32_t job = client.syncobj();
         const std::vector waits{wait_op(job)};
         const Memory memory = client.memory();
         const Stream loop = client.stream(loop_for_ever);
         EXPECT_EQ(client.kernel_group().submit({{.stream = loop, .syncs = {signal_op(job)}}}), 0);
         rig.run(3);
         auto unmap = Client::unmap_op(memory.va, kPage);
         unmap.syncs = obj_array(waits);
         const auto bound = client.bind(client.vm(), {unmap}, DRM_PANTHOR_VM_BIND_ASYNC);
         EXPECT_EQ(bound->answer(), 0);
     }},
    {"TilerHeapsInUse",
     [](Rig& rig, Client& client) {
         drm_panthor_tiler_heap_create heap{.vm_id = client.vm(),
                                            .initial_chunk_count = 5,
                                            .chunk_size = 2U << 20,
                                            .max_chunks = 64,
                                            .target_in_flight = 65535};
         EXPECT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_TILER_HEAP_CREATE, heap), 0);
         kicked(client, [&](W& w) { store_for_ever(w, heap.first_heap_chunk_gpu_va); });
         rig.run(3);
     }},
};

class ClosedFile : public testing::TestWithParam<Situation> {};

TEST_P(ClosedFile, LeavesNothingOnceTheGpuHasAnswered) {
    Rig rig;
    Client& client = rig.open();
    GetParam().reach(rig, client);
    rig.close(client);
    rig.run_until_idle();
    const auto info = rig.info();
    EXPECT_EQ(info.files, 0u);
    EXPECT_EQ(info.groups, 0u);
    EXPECT_EQ(info.groups_on_slot, 0u);
    EXPECT_EQ(info.groups_waiting, 0u);
    EXPECT_EQ(info.vms, 0u);
    EXPECT_EQ(info.buffers, 0u);
    EXPECT_EQ(info.buffer_bytes, 0u);
    EXPECT_FALSE(rig.device().next_deadline()) << "a timer is left";
    // All slots and address spaces work for the next.
    Client& next = rig.open();
    const Memory memory = next.memory();
    for (int i = 0; i < 8; ++i) kicked(next, [&](W& w) { add_one(w, memory.va); });
    rig.run_until_idle();
    EXPECT_EQ(memory.u64(), 8u);
}

TEST_P(ClosedFile, DoesNotDisturbAnother) {
    Rig rig;
    Client& other = rig.open();
    const Memory memory = other.memory();
    KernelGroup& group = other.kernel_group();
    const Stream stream = other.stream([&](W& w) { add_one(w, memory.va); });
    ASSERT_EQ(group.submit({{.stream = stream}}), 0);
    rig.run_until_idle();

    Client& leaver = rig.open();
    GetParam().reach(rig, leaver);
    const std::uint32_t end = other.syncobj();
    ASSERT_EQ(group.submit({{.stream = stream, .syncs = {signal_op(end)}}}), 0);
    rig.close(leaver);
    rig.run_until_idle();
    EXPECT_EQ(other.fence_status(end), 1);
    EXPECT_EQ(memory.u64(), 2u);
}

TEST_P(ClosedFile, AndTheDeviceThatGoesWithoutTheGpusAnswersAreClean) {
    Rig rig;
    Client& client = rig.open();
    GetParam().reach(rig, client);
    // The rig's end: files first, then the device, and the GPU is not stepped any more.
}

INSTANTIATE_TEST_SUITE_P(While, ClosedFile, testing::ValuesIn(kSituations),
                         [](const auto& tested) { return std::string(tested.param.name); });

// --- many

TEST_F(MemoryOf, TenThousandMappingsComeAndGoAndSoDoTheirTables) {
    constexpr std::uint64_t kMappings = 10'000;
    constexpr std::uint64_t kApart = 2ULL << 20;  // each in a last-level table of its own
    resident_group();
    Vm& vm = rig.on_slot(0)->vm();
    const std::size_t tables = vm.tables().tables();
    const std::size_t mappings = vm.space().size();
    const std::uint32_t bo = client.bo();
    std::vector<drm_panthor_vm_bind_op> ops;
    for (std::uint64_t i = 0; i < kMappings; ++i)
        ops.push_back(Client::map_op(bo, (1ULL << 32) + i * kApart, kPage));
    EXPECT_EQ(client.bind(client.vm(), ops)->answer(), 0);
    EXPECT_EQ(vm.space().size(), mappings + kMappings);
    EXPECT_GE(vm.tables().tables(), tables + kMappings);

    for (auto& op : ops) op = Client::unmap_op(op.va, op.size);
    const auto call = client.bind(client.vm(), ops);
    EXPECT_FALSE(call->answered());
    rig.run_until_idle();
    EXPECT_EQ(call->answer(), 0);
    EXPECT_EQ(vm.space().size(), mappings);
    EXPECT_EQ(vm.tables().tables(), tables);
    vm.space().check_invariants();
}

TEST_F(MemoryOf, OneUnmapTakesTenThousandMappings) {
    constexpr std::uint64_t kMappings = 10'000;
    resident_group();
    Vm& vm = rig.on_slot(0)->vm();
    const std::size_t tables = vm.tables().tables();
    const std::uint32_t bo = client.bo(2 * kPage);
    std::vector<drm_panthor_vm_bind_op> ops;
    for (std::uint64_t i = 0; i < kMappings; ++i)
        ops.push_back(Client::map_op(bo, (1ULL << 32) + i * kPage, kPage, i % 2 * kPage));
    EXPECT_EQ(client.bind(client.vm(), ops)->answer(), 0);
    const auto call = client.bind(client.vm(), {Client::unmap_op(0, 1ULL << 40)});
    rig.run_until_idle();
    EXPECT_EQ(call->answer(), 0);
    EXPECT_EQ(vm.tables().tables(), tables);
}

TEST_F(MemoryOf, GroupsThatComeAndGoLeaveNoTablesBehind) {
    UserGroup& first = resident_group();
    Vm& vm = rig.on_slot(0)->vm();
    const std::size_t mappings = vm.space().size();
    for (int i = 0; i < 100; ++i) {
        UserGroup& group = client.user_group({.queues = 8, .ring_bytes = 65536});
        group.queue(7).run([](W& w) { w.nop(); });
        EXPECT_EQ(group.destroy(), 0);
        rig.run_until_idle();
    }
    EXPECT_EQ(vm.space().size(), mappings);
    EXPECT_LE(vm.tables().tables(), 8u);
    EXPECT_EQ(first.state().state, 0u);
}

// --- the tables, against a naive model, read by the GPU's own walker

void map(PageTable& tables, std::uint64_t va, const std::byte* host, std::uint64_t bytes,
         PageFlags flags = {}) {
    auto reserve = *PageTable::reserve(va, bytes);
    tables.map(va, host, bytes, flags, reserve);
}

TEST(PageTables, TranslateAsTheModelDoesAfterRandomMapsAndUnmaps) {
    constexpr std::uint64_t kPages = 1 << 11;  // four last-level tables
    constexpr std::uint64_t kBases[] = {0, (1ULL << 47) - kPages / 2 * kPage, (1ULL << 48) - kPages * kPage};
    auto memory = base::make_shared_memory("test", kPages * kPage, base::Sharing::writable).value();
    std::mt19937_64 random(1);
    PageTable tables;
    std::map<std::uint64_t, const std::byte*> model;  // page address -> host
    gpu::AddressSpace space;
    space.enable(tables.root());
    for (int round = 0; round < 300; ++round) {
        const std::uint64_t first = random() % kPages;
        const std::uint64_t count = 1 + random() % (kPages - first);
        const std::uint64_t va = kBases[random() % std::size(kBases)] + first * kPage;
        const std::uint64_t offset = random() % (kPages - count + 1) * kPage;
        const bool maps = random() % 2 == 0;
        if (maps)
            map(tables, va, memory.mapping.data() + offset, count * kPage);
        else
            tables.unmap(va, count * kPage);
        for (std::uint64_t page = 0; page < count; ++page) {
            if (maps)
                model[va + page * kPage] = memory.mapping.data() + offset + page * kPage;
            else
                model.erase(va + page * kPage);
        }
        space.flush();
        tables.release_retired();
        for (int look = 0; look < 200; ++look) {
            const std::uint64_t at = kBases[random() % std::size(kBases)] + random() % kPages * kPage;
            const auto found = model.find(at);
            const std::byte* const expected = found != model.end() ? found->second : nullptr;
            ASSERT_EQ(space.translate(at, gpu::Access::read), expected) << std::hex << at;
        }
    }
    for (const std::uint64_t base : kBases) tables.unmap(base, kPages * kPage);
    EXPECT_EQ(tables.tables(), 1u);
}

TEST(PageTables, AReserveIsAsManyTablesAsAMapOfAnEmptySpaceTakes) {
    constexpr std::uint64_t kLevel3 = 1ULL << 21;  // what a last-level table maps
    constexpr std::uint64_t kLevel2 = 1ULL << 30;
    auto memory = base::make_shared_memory("test", 2 * kPage, base::Sharing::writable).value();
    const std::pair<std::uint64_t, std::uint64_t> taken[] = {
        {0, 3}, {kLevel3 - kPage, 3 + 1}, {kLevel2 - kPage, 3 + 2}, {(1ULL << 39) - kPage, 3 + 3}};
    for (const auto& [va, count] : taken) {
        PageTable tables;
        // A reserve of too few would end here, and one of too many leaves some.
        auto reserve = *PageTable::reserve(va, 2 * kPage);
        tables.map(va, memory.mapping.data(), 2 * kPage, {}, reserve);
        EXPECT_EQ(tables.tables(), 1 + count);
        EXPECT_TRUE(reserve.empty()) << va;
    }
}

TEST(PageTables, TellWhatMayBeDoneWithAPage) {
    auto memory = base::make_shared_memory("test", 4 * kPage, base::Sharing::writable).value();
    PageTable tables;
    gpu::AddressSpace space;
    space.enable(tables.root());
    for (unsigned bits = 0; bits < 4; ++bits) {
        const bool read_only = (bits & 1) != 0;
        const bool no_exec = (bits & 2) != 0;
        const std::uint64_t va = bits * kPage;
        map(tables, va, memory.mapping.data(), kPage, {.read_only = read_only, .no_exec = no_exec});
        EXPECT_NE(space.translate(va, gpu::Access::read), nullptr);
        EXPECT_EQ(space.translate(va, gpu::Access::write) != nullptr, !read_only);
        EXPECT_EQ(space.translate(va, gpu::Access::atomic) != nullptr, !read_only);
        EXPECT_EQ(space.translate(va, gpu::Access::execute) != nullptr, !no_exec);
    }
}

TEST(PageTables, MapThatReplacesTakesTheNewRights) {
    auto memory = base::make_shared_memory("test", 2 * kPage, base::Sharing::writable).value();
    PageTable tables;
    gpu::AddressSpace space;
    map(tables, kPage, memory.mapping.data(), kPage);
    map(tables, kPage, memory.mapping.data() + kPage, kPage, {.read_only = true});
    space.enable(tables.root());
    EXPECT_EQ(space.translate(kPage, gpu::Access::read), memory.mapping.data() + kPage);
    EXPECT_EQ(space.translate(kPage, gpu::Access::write), nullptr);
}

}  // namespace
}  // namespace belfry::panthor
