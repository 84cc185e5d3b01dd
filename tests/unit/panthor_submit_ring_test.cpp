// panthor's entries of submit rings: jobs, binds, XGS jobs.
#include <cstring>

#include "unit/panthor_rig.hpp"
#include "unit/submit_ring_client.hpp"

namespace belfry::panthor {
namespace {

using drm::nop;
using drm::RingClient;
using List = std::vector<drm::Told>;

template <typename Payload>
belfry_submit_entry entry_of(int opcode, std::uint64_t user_data, const Payload& payload) {
    belfry_submit_entry entry{.opcode = static_cast<std::uint8_t>(opcode), .user_data = user_data};
    static_assert(sizeof payload == sizeof entry.payload);
    std::memcpy(entry.payload, &payload, sizeof payload);
    return entry;
}
belfry_submit_entry job(std::uint64_t user_data, std::uint32_t group, const Stream& stream) {
    return entry_of(BELFRY_PANTHOR_SUBMIT_JOB, user_data,
                    belfry_panthor_submit_job{
                        .group_handle = group, .stream_addr = stream.va, .stream_size = stream.bytes});
}
belfry_submit_entry bind(std::uint64_t user_data, std::uint32_t vm, std::uint32_t offset,
                         std::uint32_t count) {
    return entry_of(BELFRY_PANTHOR_SUBMIT_VM_BIND, user_data,
                    belfry_panthor_submit_vm_bind{.vm_id = vm, .op_count = count, .ops_offset = offset});
}
belfry_submit_entry xgs(std::uint64_t user_data, std::uint32_t queue, std::uint32_t offset,
                        std::uint32_t count, std::uint32_t flags = 0) {
    return entry_of(
        BELFRY_PANTHOR_SUBMIT_XGS, user_data,
        belfry_panthor_submit_xgs{.handle = queue, .flags = flags, .op_count = count, .ops_offset = offset});
}

class PanthorSubmitRing : public testing::Test {
  protected:
    List run(std::initializer_list<belfry_submit_entry> entries) {
        ring.submit(entries);
        rig.poll_rings();
        rig.run_until_idle();
        return ring.reap();
    }
    Stream counting(const Memory& memory) {
        return client.stream([&](W& w) { add_one(w, memory.va); });
    }
    std::uint32_t xgs_queue() {
        drm_panthor_xgs_queue_create args{.vm_id = client.vm(), .eventfd_sync_update = -1};
        EXPECT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_XGS_QUEUE_CREATE, args), 0);
        return args.handle;
    }
    int signal(std::uint32_t handle) {
        drm_syncobj_array args{.handles = reinterpret_cast<std::uint64_t>(&handle), .count_handles = 1};
        return client.ioctl(DRM_IOCTL_SYNCOBJ_SIGNAL, args);
    }

    Rig rig;
    Client& client = rig.open();
    RingClient ring{client.file(), {.sq_entries = 256}};
};

TEST_F(PanthorSubmitRing, AJobCompletesWhenTheGpuHasDoneIt) {
    const Memory memory = client.memory();
    const std::uint32_t group = client.kernel_group().handle();
    const Stream stream = counting(memory);
    const std::uint32_t fence = client.syncobj();
    auto last = job(2, group, stream);
    last.signal_handle = fence;
    ring.submit({job(1, group, stream), last});
    rig.poll_rings();
    EXPECT_EQ(ring.reap(), List{});
    EXPECT_EQ(client.fence_status(fence), 0) << "published when it was accepted";
    rig.run_until_idle();
    EXPECT_EQ(ring.reap(), (List{{1, 0}, {2, 0}}));
    EXPECT_EQ(client.fence_status(fence), 1);
    EXPECT_EQ(memory.u64(), 2u);
}

TEST_F(PanthorSubmitRing, ABatchOfJobsRingsOneDoorbell) {
    const Memory memory = client.memory();
    const std::uint32_t group = client.kernel_group().handle();
    const Stream stream = counting(memory);
    EXPECT_EQ(run({job(1, group, stream)}), (List{{1, 0}}));
    unsigned doorbells = 0;
    rig.wires.on_write = [&](gpu::Reg reg, std::uint32_t) {
        for (unsigned i = 0; i < 16; ++i) doorbells += reg == gpu::doorbell_reg(i) ? 1U : 0U;
    };
    for (std::uint64_t i = 0; i < 16; ++i) ring.write(job(i, group, stream));
    ring.publish();
    rig.poll_rings();
    EXPECT_EQ(doorbells, 1u);
    rig.run_until_idle();
    EXPECT_EQ(ring.reap().size(), 16u);
    EXPECT_EQ(memory.u64(), 17u);
}

TEST_F(PanthorSubmitRing, BadJobsGetTheErrorsOfGroupSubmit) {
    const Memory memory = client.memory();
    const std::uint32_t group = client.kernel_group().handle();
    const Stream stream = counting(memory);
    auto wrong_queue = job(2, group, stream);
    wrong_queue.payload[0] |= 9ULL << 32;
    EXPECT_EQ(run({job(1, 77, stream),
                   wrong_queue,
                   job(3, group, {.va = stream.va + 8, .bytes = 8}),
                   job(4, client.user_group().handle(), stream),
                   {.opcode = 0x43, .user_data = 5},
                   job(6, group, stream)}),
              (List{{1, -EINVAL}, {2, -EINVAL}, {3, -EINVAL}, {4, -EINVAL}, {5, -EINVAL}, {6, 0}}));
    const Stream faulting = client.stream([](W& w) { load(w, 0xdead'0000); });
    EXPECT_EQ(run({job(7, group, faulting)}), (List{{7, -EINVAL}}));
}

TEST_F(PanthorSubmitRing, AJobThatWaitsCanBeCancelledAndItsFenceKeepsItsPlace) {
    const Memory memory = client.memory();
    const std::uint32_t group = client.kernel_group().handle();
    const Stream stream = counting(memory);
    const std::uint32_t gate = client.syncobj();
    const std::uint32_t later = client.syncobj();
    KernelGroup& other = client.kernel_group();
    const Stream slow = client.stream([&](W& w) { wait_for(w, memory.va + 64, 1); });
    ASSERT_EQ(other.submit({{.stream = slow, .syncs = {signal_op(gate)}}}), 0);
    auto waits = job(1, group, stream);
    waits.wait_handle = gate;
    waits.signal_handle = later;
    EXPECT_EQ(run({waits, job(2, group, stream)}), List{});
    EXPECT_EQ(run({drm::cancel(3, 1)}), (List{{3, 0}, {1, -ECANCELED}, {2, 0}}));
    EXPECT_EQ(client.fence_status(later), -ECANCELED);
    EXPECT_EQ(memory.u64(), 1u);
    EXPECT_EQ(run({job(4, group, client.stream([&](W& w) { wait_for(w, memory.va + 64, 1); }))}), List{});
    EXPECT_EQ(run({drm::cancel(5, 4)}), (List{{5, -EALREADY}})) << "it is in the group's ring";
    memory.u64(64) = 1;
}

TEST_F(PanthorSubmitRing, ATimeLimitEndsAJobThatWaits) {
    const Memory memory = client.memory();
    const std::uint32_t group = client.kernel_group().handle();
    const std::uint32_t gate = client.syncobj();
    KernelGroup& other = client.kernel_group();
    const Stream slow = client.stream([&](W& w) { wait_for(w, memory.va + 64, 1); });
    ASSERT_EQ(other.submit({{.stream = slow, .syncs = {signal_op(gate)}}}), 0);
    auto waits = job(1, group, counting(memory));
    waits.wait_handle = gate;
    waits.flags = BELFRY_SUBMIT_LINK;
    EXPECT_EQ(run({waits, drm::timeout(2, 1'000'000, BELFRY_SUBMIT_TIMEOUT_LINKED)}), List{});
    rig.advance(1ms);
    EXPECT_EQ(ring.reap(), (List{{2, -ETIME}, {1, -ECANCELED}}));
}

TEST_F(PanthorSubmitRing, EntriesOfAGroupThatEndsFail) {
    const Memory memory = client.memory();
    KernelGroup& group = client.kernel_group();
    const Stream stuck = client.stream([&](W& w) { wait_for(w, memory.va, 1); });
    EXPECT_EQ(run({job(1, group.handle(), stuck), job(2, group.handle(), stuck)}), List{});
    EXPECT_EQ(group.destroy(), 0);
    rig.run_until_idle();
    EXPECT_EQ(ring.reap(), (List{{1, -ECANCELED}, {2, -ECANCELED}}));
    EXPECT_EQ(run({nop(3)}), (List{{3, 0}}));
}

TEST_F(PanthorSubmitRing, AClientThatGoesTakesItsEntriesAlongAndNobodyElses) {
    const Memory memory = client.memory();
    const std::uint32_t group = client.kernel_group().handle();
    Client& doomed = rig.open();
    {
        RingClient theirs(doomed.file());
        const Memory their_memory = doomed.memory();
        const Stream stuck = doomed.stream([&](W& w) { wait_for(w, their_memory.va, 1); });
        theirs.submit({job(1, doomed.kernel_group().handle(), stuck),
                       drm::timeout(2, 1'000'000),
                       {.user_data = 3, .wait_handle = doomed.syncobj()}});
        rig.poll_rings();
        rig.run_until_idle();
        rig.close(doomed);
    }
    rig.run_until_idle();
    rig.advance(1s);
    EXPECT_EQ(run({job(1, group, counting(memory))}), (List{{1, 0}}));
    EXPECT_EQ(rig.info().groups, 1u);
}

TEST_F(PanthorSubmitRing, DestroyingTheRingLeavesAcceptedJobsToTheirFences) {
    const Memory memory = client.memory();
    auto entry = job(1, client.kernel_group().handle(), counting(memory));
    entry.signal_handle = client.syncobj();
    ring.submit({entry});
    rig.poll_rings();
    EXPECT_EQ(ring.destroy(), 0);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(entry.signal_handle), 1);
    EXPECT_EQ(memory.u64(), 1u);
    EXPECT_EQ(ring.reap(), List{});
}

TEST_F(PanthorSubmitRing, ABindIsDoneInOrderAndItsFirstFailureIsTold) {
    const std::uint32_t vm = client.vm();
    const std::uint32_t bo = client.bo(4 * kPage);
    const std::uint32_t good = ring.put<drm_panthor_vm_bind_op>(
        0, {Client::map_op(bo, 0x100000, kPage), Client::map_op(bo, 0x200000, kPage, kPage)});
    EXPECT_EQ(run({bind(1, vm, good, 2)}), (List{{1, 0}}));
    EXPECT_EQ(run({bind(2, vm, good, 0), bind(3, 77, good, 1), bind(4, vm, 4, 1), bind(5, vm, 65528, 1)}),
              (List{{2, -EINVAL}, {3, -EINVAL}, {4, -EINVAL}, {5, -EINVAL}}));
    const std::uint32_t beyond = ring.put<drm_panthor_vm_bind_op>(
        4096, {Client::map_op(bo, 1ULL << 60, kPage), Client::map_op(bo, 0x300000, kPage)});
    EXPECT_EQ(run({bind(6, vm, beyond, 2)}), (List{{6, -EINVAL}}));
    EXPECT_EQ(run({bind(7, vm, good, 2)}), (List{{7, -EINVAL}})) << "the VM is unusable";
}

TEST_F(PanthorSubmitRing, AnXgsJobWaitsForMemoryAndPublishesLate) {
    const Memory memory = client.memory();
    const std::uint32_t queue = xgs_queue();
    const std::uint32_t fence = client.syncobj();
    const std::uint32_t ops = ring.put<drm_panthor_xgs_op>(
        0, {{.addr = memory.va, .value = 4, .op = DRM_PANTHOR_XGS_OP_WAIT_GT, .format = 1},
            {.addr = memory.va + 64, .value = 7, .op = DRM_PANTHOR_XGS_OP_SIGNAL_SET, .format = 1}});
    auto entry = xgs(1, queue, ops, 2);
    entry.signal_handle = fence;
    EXPECT_EQ(run({entry}), List{});
    EXPECT_FALSE(client.has_fence(fence));
    EXPECT_EQ(run({job(2, client.kernel_group().handle(), client.stream([&](W& w) {
                  for (unsigned i = 0; i < 5; ++i) add_one(w, memory.va);
              }))}),
              (List{{2, 0}, {1, 0}}));
    EXPECT_EQ(memory.u64(64), 7u);
    EXPECT_EQ(client.fence_status(fence), 1);
    EXPECT_EQ(run({xgs(3, queue, ops, 2, 8), xgs(4, 77, ops, 2)}), (List{{3, -EINVAL}, {4, -EINVAL}}));
}

TEST_F(PanthorSubmitRing, AnXgsJobThatWaitsCanBeCancelled) {
    const Memory memory = client.memory();
    const std::uint32_t ops = ring.put<drm_panthor_xgs_op>(
        0, {{.addr = memory.va, .value = 4, .op = DRM_PANTHOR_XGS_OP_WAIT_GT, .format = 1}});
    EXPECT_EQ(run({xgs(1, xgs_queue(), ops, 1)}), List{});
    EXPECT_EQ(run({drm::cancel(2, 1)}), (List{{2, 0}, {1, -ECANCELED}}));
}

TEST_F(PanthorSubmitRing, ANopWaitsForWhatARequestSignals) {
    const std::uint32_t point = client.syncobj();
    EXPECT_EQ(run({{.user_data = 1, .wait_handle = point}}), List{});
    EXPECT_EQ(signal(point), 0);
    EXPECT_EQ(ring.reap(), (List{{1, 0}}));
}

}  // namespace
}  // namespace belfry::panthor
