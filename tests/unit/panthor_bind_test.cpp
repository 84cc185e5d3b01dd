// VM_BIND in the background: what is refused, order, fences to wait for and to signal, failures that are
// found when an operation runs, and who may vanish meanwhile.
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "unit/panthor_ioctls.hpp"

namespace belfry::panthor {
namespace {

constexpr std::uint64_t kVa = 0x4000'0000;
/// The first address that no VM has.
constexpr std::uint64_t kBeyond = 1ULL << 48;

using SyncOpList = std::vector<drm_panthor_sync_op>;
struct Op {
    drm_panthor_vm_bind_op op;
    SyncOpList syncs;
};
using Ops = std::vector<Op>;

drm_panthor_vm_bind_op sync_only() { return {.flags = DRM_PANTHOR_VM_BIND_OP_TYPE_SYNC_ONLY}; }
drm_panthor_vm_bind_op map(std::uint32_t bo, std::uint64_t va = kVa, std::uint64_t bytes = kPage) {
    return Client::map_op(bo, va, bytes);
}
drm_panthor_vm_bind_op unmap(std::uint64_t va = kVa, std::uint64_t bytes = kPage) {
    return Client::unmap_op(va, bytes);
}

class Bind : public testing::Test {
  protected:
    /// A fence that the test signals, as somebody else would, and the syncobj that holds it.
    struct Gate {
        Rig& rig;
        drm::FencePtr fence;
        std::uint32_t syncobj;

        void open() const {
            fence->signal(rig.host.now);
            rig.device().run_work();
            rig.check();
        }
    };
    Gate gate() {
        const Gate gate{.rig = rig,
                        .fence = drm::Fence::make(rig.device().fence_contexts().allocate(), 1),
                        .syncobj = client.syncobj()};
        static_cast<File&>(client.file()).syncobjs().find(gate.syncobj)->replace(gate.fence);
        return gate;
    }

    int bind(const Ops& ops, std::uint32_t vm = 0) {
        std::vector<drm_panthor_vm_bind_op> flat;
        for (const Op& op : ops) {
            flat.push_back(op.op);
            flat.back().syncs = obj_array(op.syncs);
        }
        return client.bind(vm != 0 ? vm : client.vm(), flat, DRM_PANTHOR_VM_BIND_ASYNC)
            ->answer()
            .value_or(-1);
    }
    int bind_now(const drm_panthor_vm_bind_op& op) {
        return client.bind(client.vm(), {op})->answer().value_or(-1);
    }
    /// Puts the client's VM onto the GPU, which has to forget what is unmapped then.
    void reside() {
        UserGroup& group = client.user_group();
        group.queue(0).run([](W& w) { w.nop(); });
        ASSERT_TRUE(group.active());
    }
    std::uint32_t state() {
        drm_panthor_vm_get_state args{.vm_id = client.vm(), .state = 9};
        EXPECT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_VM_GET_STATE, args), 0);
        return args.state;
    }
    /// Whether a job of the client's can write there.
    bool can_write(std::uint64_t va) {
        const std::uint32_t done = client.syncobj();
        KernelGroup& group = client.kernel_group();
        EXPECT_EQ(group.submit({{.stream = client.stream([&](W& w) { store(w, va, 1); }),
                                 .syncs = {signal_op(done)}}}),
                  0);
        rig.run_until_idle();
        EXPECT_EQ(group.destroy(), 0);
        rig.run_until_idle();
        return client.fence_status(done) == 1;
    }

    Rig rig;
    Client& client = rig.open();
    std::uint32_t bo = client.bo();
    std::uint32_t a = client.syncobj();
    std::uint32_t b = client.syncobj();
};

// --- what is refused

TEST_F(Bind, OfNothingSucceeds) { EXPECT_EQ(bind({}), 0); }

TEST_F(Bind, RefusesEachOfTheseOps) {
    const SyncOpList signal{signal_op(a)};
    const std::uint32_t other_vm = client.create_vm();
    const std::uint32_t exclusive = client.bo(kPage, 0, other_vm);
    const auto with = [](drm_panthor_vm_bind_op op,
                         const std::function<void(drm_panthor_vm_bind_op&)>& change) {
        change(op);
        return op;
    };
    const Ops mistakes{
        {with(map(bo), [](auto& op) { op.va = 1; }), signal},
        {with(map(bo), [](auto& op) { op.size = 1; }), signal},
        {with(map(bo), [](auto& op) { op.bo_offset = 1; }), signal},
        {with(map(bo), [](auto& op) { op.bo_handle = 0; }), signal},
        {with(map(bo), [](auto& op) { op.bo_handle = 99; }), signal},
        {with(map(bo), [](auto& op) { op.flags = 1U << 3; }), signal},
        {with(map(bo), [](auto& op) { op.size = 2 * kPage; }), signal},
        {with(map(bo), [](auto& op) { op.bo_offset = kPage; }), signal},
        {with(map(bo), [](auto& op) { op.bo_offset = ~(kPage - 1); }), signal},
        {with(map(bo), [&](auto& op) { op.bo_handle = exclusive; }), signal},
        {with(unmap(), [](auto& op) { op.flags |= DRM_PANTHOR_VM_BIND_OP_MAP_READONLY; }), signal},
        {with(unmap(), [&](auto& op) { op.bo_handle = bo; }), signal},
        {with(unmap(), [](auto& op) { op.bo_offset = kPage; }), signal},
        {with(unmap(), [](auto& op) { op.va = 1; }), signal},
        {with(sync_only(), [](auto& op) { op.flags |= DRM_PANTHOR_VM_BIND_OP_MAP_NOEXEC; }), signal},
        {with(sync_only(), [&](auto& op) { op.bo_handle = bo; }), signal},
        {with(sync_only(), [](auto& op) { op.bo_offset = kPage; }), signal},
        {with(sync_only(), [](auto& op) { op.va = kPage; }), signal},
        {with(sync_only(), [](auto& op) { op.size = kPage; }), signal},
        {sync_only(), {}},
        {with(sync_only(), [](auto& op) { op.flags = 3U << 28; }), signal},
        {with(sync_only(), [](auto& op) { op.flags = 0xfU << 28; }), signal},
    };
    for (std::size_t i = 0; i < mistakes.size(); ++i) {
        EXPECT_EQ(bind({mistakes[i]}), EINVAL) << i;
        EXPECT_EQ(bind({{map(bo), signal}, mistakes[i]}), EINVAL) << i << " as the second";
    }
    EXPECT_FALSE(client.has_fence(a));
    EXPECT_FALSE(can_write(kVa));
    EXPECT_EQ(state(), DRM_PANTHOR_VM_STATE_USABLE);
}

TEST_F(Bind, FindsTheVmFirstThenTheOpsThenSignalsThenWaits) {
    struct Request {
        std::uint32_t vm;
        Ops ops;
    };
    expect_order<Request>(
        [&] {
            return Request{.vm = client.vm(),
                           .ops = {{sync_only(), {signal_op(a)}}, {map(bo), {signal_op(b, 3)}}}};
        },
        {{"no such VM", [](auto& request) { request.vm = 9; }},
         {"a bad op", [](auto& request) { request.ops[1].op.va = 1; }},
         {"an unknown syncobj to signal",
          [](auto& request) { request.ops[1].syncs.push_back(signal_op(99)); }},
         {"an unknown syncobj to wait for",
          [](auto& request) { request.ops[0].syncs.push_back(wait_op(98)); }, ENOENT},
         {"a point that is not there",
          [&](auto& request) { request.ops[1].syncs.push_back(wait_op(client.syncobj(), 7)); }}},
        [&](auto& request) { return bind(request.ops, request.vm); });
}

TEST_F(Bind, RefusesSyncOpsWithUnknownFlagsOrTypes) {
    for (const std::uint32_t flags : {0x100U, 2U, 0xffU}) {
        auto op = signal_op(a);
        op.flags |= flags;
        EXPECT_EQ(bind({{sync_only(), {op}}}), EINVAL) << flags;
        op = wait_op(a);
        op.flags |= flags;
        EXPECT_EQ(bind({{sync_only(), {op}}}), EINVAL) << flags;
    }
    auto binary = signal_op(a);
    binary.timeline_value = 1;
    EXPECT_EQ(bind({{sync_only(), {binary}}}), EINVAL);
    EXPECT_FALSE(client.has_fence(a));
}

TEST_F(Bind, NothingIsBoundNorSignalledIfALaterOpIsRefused) {
    EXPECT_EQ(bind({{map(bo), {signal_op(a)}}, {unmap(), {wait_op(99)}}}), ENOENT);
    EXPECT_FALSE(client.has_fence(a));
    EXPECT_FALSE(can_write(kVa));
}

TEST_F(Bind, AnOpOfNoBytesDoesNothing) {
    EXPECT_EQ(bind({{map(bo, kVa, 0), {signal_op(a)}}, {unmap(kBeyond, 0), {signal_op(b)}}}), 0);
    EXPECT_EQ(client.fence_status(a), 1);
    EXPECT_EQ(client.fence_status(b), 1);
    EXPECT_EQ(state(), DRM_PANTHOR_VM_STATE_USABLE);
}

// --- order and fences

TEST_F(Bind, WhatWaitsForNothingIsDoneAtOnce) {
    ASSERT_EQ(bind({{map(bo), {}}, {sync_only(), {signal_op(a)}}}), 0);
    EXPECT_EQ(client.fence_status(a), 1);
    EXPECT_TRUE(can_write(kVa));
}

TEST_F(Bind, AnOpDoesNotRunBeforeWhatItWaitsFor) {
    const Gate held = gate();
    ASSERT_EQ(bind({{map(bo), {wait_op(held.syncobj), signal_op(a)}}}), 0);
    EXPECT_EQ(client.fence_status(a), 0);
    EXPECT_FALSE(can_write(kVa));
    held.open();
    EXPECT_EQ(client.fence_status(a), 1);
    EXPECT_TRUE(can_write(kVa));
}

TEST_F(Bind, AnOpWaitsForAllThatItNames) {
    const Gate first = gate();
    const Gate second = gate();
    ASSERT_EQ(bind({{map(bo), {wait_op(first.syncobj), wait_op(second.syncobj), signal_op(a)}}}), 0);
    second.open();
    EXPECT_EQ(client.fence_status(a), 0);
    first.open();
    EXPECT_EQ(client.fence_status(a), 1);
}

TEST_F(Bind, OpsRunInTheirOrderAlsoIfALaterOneIsReadyFirst) {
    const Gate held = gate();
    ASSERT_EQ(bind({{map(bo), {wait_op(held.syncobj)}}}), 0);
    ASSERT_EQ(bind({{unmap(), {signal_op(a)}}}), 0);
    EXPECT_EQ(client.fence_status(a), 0);
    held.open();
    EXPECT_EQ(client.fence_status(a), 1);
    EXPECT_FALSE(can_write(kVa));
}

TEST_F(Bind, QueuesOfTwoVmsDoNotWaitForEachOther) {
    const Gate held = gate();
    ASSERT_EQ(bind({{sync_only(), {wait_op(held.syncobj), signal_op(a)}}}), 0);
    ASSERT_EQ(bind({{sync_only(), {signal_op(b)}}}, client.create_vm()), 0);
    EXPECT_EQ(client.fence_status(b), 1);
    held.open();
}

TEST_F(Bind, ABindThatIsDoneAtOnceDoesNotWaitForThoseInTheBackground) {
    const Gate held = gate();
    const Memory memory = client.memory();
    ASSERT_EQ(bind({{map(memory.handle), {wait_op(held.syncobj)}}}), 0);
    ASSERT_EQ(bind_now(map(bo)), 0);
    ASSERT_TRUE(can_write(kVa));
    EXPECT_EQ(memory.u64(), 0u);
    held.open();
    ASSERT_TRUE(can_write(kVa));
    EXPECT_EQ(memory.u64(), 1u) << "the one in the background came later";
}

TEST_F(Bind, SyncOnlySignalsBehindTheOpsBeforeIt) {
    const Gate held = gate();
    ASSERT_EQ(bind({{map(bo), {wait_op(held.syncobj)}}, {sync_only(), {signal_op(a)}}}), 0);
    EXPECT_EQ(client.fence_status(a), 0);
    held.open();
    EXPECT_EQ(client.fence_status(a), 1);
}

TEST_F(Bind, PointsOfATimelineAreWaitedForAndSignalled) {
    const Gate held = gate();
    ASSERT_EQ(bind({{sync_only(), {wait_op(held.syncobj), signal_op(a, 5)}}}), 0);
    ASSERT_EQ(bind({{sync_only(), {wait_op(a, 5), signal_op(b, 2)}}}, client.create_vm()), 0);
    EXPECT_EQ(client.fence_status(a, 5), 0);
    EXPECT_FALSE(client.has_fence(a, 6));
    EXPECT_EQ(client.fence_status(b, 2), 0);
    held.open();
    EXPECT_EQ(client.fence_status(a, 5), 1);
    EXPECT_EQ(client.fence_status(b, 2), 1);
}

TEST_F(Bind, WaitsOfOneCallSeeTheSignalsOfItsEarlierOps) {
    ASSERT_EQ(bind({{map(bo), {signal_op(a)}}, {unmap(), {wait_op(a), signal_op(b)}}}), 0);
    EXPECT_EQ(client.fence_status(b), 1);
}

TEST_F(Bind, AWaitForALaterOpsSignalIsInvalid) {
    EXPECT_EQ(bind({{map(bo), {wait_op(a), signal_op(b)}}, {sync_only(), {signal_op(a)}}}), EINVAL);
    EXPECT_FALSE(client.has_fence(a));
    EXPECT_FALSE(client.has_fence(b));
}

TEST_F(Bind, OneFenceMayBeSignalledToSeveralSyncobjs) {
    ASSERT_EQ(bind({{sync_only(), {signal_op(a), signal_op(b, 4), signal_op(a)}}}), 0);
    EXPECT_EQ(client.fence_status(a), 1);
    EXPECT_EQ(client.fence_status(b, 4), 1);
}

TEST_F(Bind, FencesOfAVmAreOfOneContextAndRise) {
    ASSERT_EQ(bind({{sync_only(), {signal_op(a)}}}), 0);
    ASSERT_EQ(bind({{sync_only(), {signal_op(b)}}}), 0);
    EXPECT_EQ(client.fence(a)->context(), client.fence(b)->context());
    EXPECT_LT(client.fence(a)->seqno(), client.fence(b)->seqno());
}

TEST_F(Bind, AWaitThatEndsWithAnErrorIsAWaitThatEnds) {
    const Gate held = gate();
    ASSERT_EQ(bind({{map(bo), {wait_op(held.syncobj), signal_op(a)}}}), 0);
    held.fence->signal(rig.host.now, Errno::cancelled);
    rig.device().run_work();
    EXPECT_EQ(client.fence_status(a), 1);
    EXPECT_TRUE(can_write(kVa));
}

TEST_F(Bind, AnUnmapSignalsWhenTheGpuHasFlushed) {
    reside();
    const Memory memory = client.memory();
    EXPECT_EQ(client.gem_close(memory.handle), 0);
    const auto before = rig.info();
    ASSERT_EQ(bind({{unmap(memory.va), {signal_op(a)}}}), 0);
    EXPECT_EQ(client.fence_status(a), 0);
    rig.step_gpu();
    EXPECT_EQ(client.fence_status(a), 0) << "the driver has not heard of it";
    EXPECT_EQ(rig.info().buffers, before.buffers);
    rig.deliver_interrupt();
    EXPECT_EQ(client.fence_status(a), 1);
    EXPECT_EQ(rig.info().buffers, before.buffers - 1);
}

TEST_F(Bind, AnOpThatNeedsNoFlushDoesNotOvertakeOneThatDoes) {
    reside();
    ASSERT_EQ(bind_now(map(bo)), 0);
    ASSERT_EQ(bind({{unmap(), {signal_op(a)}}, {sync_only(), {signal_op(b)}}}), 0);
    EXPECT_EQ(client.fence_status(b), 0);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(a), 1);
    EXPECT_EQ(client.fence_status(b), 1);
}

TEST_F(Bind, AnOpMayWaitForTheFlushOfOneBeforeItInItsQueue) {
    reside();
    ASSERT_EQ(bind_now(map(bo)), 0);
    ASSERT_EQ(bind({{unmap(), {signal_op(a)}}, {map(bo), {wait_op(a), signal_op(b)}}}), 0);
    EXPECT_EQ(client.fence_status(b), 0);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(b), 1);
    EXPECT_TRUE(can_write(kVa));
}

TEST_F(Bind, ABufferThatIsClosedWhileItsMapIsQueuedIsStillMapped) {
    const Gate held = gate();
    const Memory memory = client.memory();
    ASSERT_EQ(bind({{map(memory.handle), {wait_op(held.syncobj)}}}), 0);
    ASSERT_EQ(bind_now(unmap(memory.va)), 0);
    ASSERT_EQ(client.gem_close(memory.handle), 0);
    held.open();
    ASSERT_TRUE(can_write(kVa));
    EXPECT_EQ(memory.u64(), 1u);
}

// --- with jobs

TEST_F(Bind, AJobWaitsForTheMapThatItNeeds) {
    const Gate held = gate();
    const Memory memory = client.memory();
    ASSERT_EQ(bind({{map(memory.handle), {wait_op(held.syncobj), signal_op(a)}}}), 0);
    KernelGroup& group = client.kernel_group();
    ASSERT_EQ(group.submit({{.stream = client.stream([](W& w) { store(w, kVa, 7); }),
                             .syncs = {wait_op(a), signal_op(b)}}}),
              0);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(b), 0);
    held.open();
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(b), 1);
    EXPECT_EQ(memory.u64(), 7u);
}

TEST_F(Bind, AnUnmapWaitsForTheJobThatUsesTheMemory) {
    const Memory memory = client.memory();
    const Memory doorstop = client.memory();
    KernelGroup& group = client.kernel_group();
    ASSERT_EQ(group.submit({{.stream = client.stream([&](W& w) {
                                 wait_for(w, doorstop.va, 1);
                                 store(w, memory.va, 7);
                             }),
                             .syncs = {signal_op(a)}}}),
              0);
    ASSERT_EQ(bind({{unmap(memory.va), {wait_op(a), signal_op(b)}}}), 0);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(b), 0);
    doorstop.sync().value = 1;
    rig.gpu.write(gpu::doorbell_reg(0), 1);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(a), 1);
    EXPECT_EQ(client.fence_status(b), 1);
    EXPECT_EQ(memory.u64(), 7u);
}

TEST_F(Bind, AChainOfMapsJobsAndUnmapsAtOneAddressRunsInItsOrder) {
    constexpr unsigned kRounds = 50;
    KernelGroup& group = client.kernel_group();
    const Stream stream = client.stream([](W& w) { add_one(w, kVa); });
    std::vector<Memory> memories;
    const Gate held = gate();
    ASSERT_EQ(bind({{sync_only(), {wait_op(held.syncobj), signal_op(a, 1)}}}), 0);
    for (unsigned i = 0; i < kRounds; ++i) {
        const std::uint64_t point = 3ULL * i;
        memories.push_back(client.memory());
        ASSERT_EQ(bind({{map(memories.back().handle), {wait_op(a, point + 1), signal_op(a, point + 2)}}}), 0);
        ASSERT_EQ(
            group.submit({{.stream = stream, .syncs = {wait_op(a, point + 2), signal_op(a, point + 3)}}}), 0);
        ASSERT_EQ(bind({{unmap(), {wait_op(a, point + 3), signal_op(a, point + 4)}}}), 0);
    }
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(a, 3 * kRounds + 1), 0);
    held.open();
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(a, 3 * kRounds + 1), 1);
    for (const Memory& memory : memories) EXPECT_EQ(memory.u64(), 1u);
    EXPECT_EQ(group.state().state, 0u);
}

TEST_F(Bind, AJobThatTakesTooLongDoesNotHoldTheBindsThatWaitForIt) {
    KernelGroup& group = client.kernel_group();
    ASSERT_EQ(group.submit({{.stream = client.stream(loop_for_ever), .syncs = {signal_op(a)}}}), 0);
    ASSERT_EQ(bind({{map(bo), {wait_op(a), signal_op(b)}}}), 0);
    rig.run(5);
    rig.advance(5s);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(a), -ETIMEDOUT);
    EXPECT_EQ(client.fence_status(b), 1);
}

// --- failures when an operation runs

TEST_F(Bind, AnAddressThatTheVmDoesNotHaveFailsTheFenceAndMakesTheVmUnusable) {
    for (const std::uint64_t va : {kBeyond, kBeyond - kPage, ~(kPage - 1)}) {
        const std::uint32_t wide = client.bo(2 * kPage);
        for (const auto& op : {map(wide, va, 2 * kPage), unmap(va, 2 * kPage)}) {
            const std::uint32_t vm = client.create_vm();
            const std::uint32_t failed = client.syncobj();
            EXPECT_EQ(bind({{op, {signal_op(failed)}}}, vm), 0);
            EXPECT_EQ(client.fence_status(failed), -EINVAL);
            drm_panthor_vm_get_state state{.vm_id = vm};
            EXPECT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_VM_GET_STATE, state), 0);
            EXPECT_EQ(state.state, DRM_PANTHOR_VM_STATE_UNUSABLE);
        }
    }
}

class UnusableVm : public Bind {
  protected:
    void SetUp() override {
        ASSERT_EQ(bind_now(map(bo)), 0);
        ASSERT_EQ(bind({{map(bo, kBeyond), {}}}), 0);
        ASSERT_EQ(state(), DRM_PANTHOR_VM_STATE_UNUSABLE);
    }
};

TEST_F(UnusableVm, RefusesEveryOpInTheBackground) {
    EXPECT_EQ(bind({{map(bo), {}}}), EINVAL);
    EXPECT_EQ(bind({{unmap(), {}}}), EINVAL);
    EXPECT_EQ(bind({{sync_only(), {signal_op(a)}}}), EINVAL);
    EXPECT_FALSE(client.has_fence(a));
    EXPECT_EQ(bind({}), 0);
}

TEST_F(UnusableVm, CanStillBeUnmappedAtOnceButNotMapped) {
    EXPECT_EQ(bind_now(map(bo)), EINVAL);
    EXPECT_EQ(bind_now(unmap()), 0);
    EXPECT_EQ(bind_now(map(bo, kVa, 0)), 0) << "and nothing else is looked at";
}

TEST_F(Bind, AnUnusableVmStillRunsJobsAlsoOfNewGroups) {
    const Memory memory = client.memory();
    const Stream stream = client.stream([&](W& w) { add_one(w, memory.va); });
    KernelGroup& group = client.kernel_group();
    ASSERT_EQ(bind({{map(bo, kBeyond), {}}}), 0);
    ASSERT_EQ(state(), DRM_PANTHOR_VM_STATE_UNUSABLE);
    EXPECT_EQ(group.submit({{.stream = stream}}), 0);
    EXPECT_EQ(client.kernel_group().submit({{.stream = stream}}), 0);
    rig.run_until_idle();
    EXPECT_EQ(memory.u64(), 2u);
}

TEST_F(Bind, AFailureThatIsFoundAtOnceLeavesTheVmUsable) {
    EXPECT_EQ(bind_now(map(bo, kBeyond)), EINVAL);
    EXPECT_EQ(state(), DRM_PANTHOR_VM_STATE_USABLE);
}

TEST_F(Bind, OfTheOpsBehindAFailureMapsFailAndOthersRun) {
    const std::uint32_t failed = client.syncobj();
    const Memory memory = client.memory();
    ASSERT_EQ(bind({{unmap(kBeyond), {signal_op(failed)}},
                    {map(bo), {signal_op(a)}},
                    {unmap(memory.va), {signal_op(b, 1)}},
                    {sync_only(), {signal_op(b, 2)}}}),
              0);
    EXPECT_EQ(client.fence_status(failed), -EINVAL);
    EXPECT_EQ(client.fence_status(a), -EINVAL);
    EXPECT_EQ(client.fence_status(b, 1), 1);
    EXPECT_EQ(client.fence_status(b, 2), 1);
}

TEST_F(Bind, WhoWaitsForABindThatFailedGoesOn) {
    const Memory memory = client.memory();
    const Stream stream = client.stream([&](W& w) { add_one(w, memory.va); });
    const Gate held = gate();
    ASSERT_EQ(bind({{unmap(kBeyond), {wait_op(held.syncobj), signal_op(a)}}}), 0);
    ASSERT_EQ(client.kernel_group().submit({{.stream = stream, .syncs = {wait_op(a)}}}), 0);
    held.open();
    rig.run_until_idle();
    EXPECT_EQ(memory.u64(), 1u);
}

TEST_F(Bind, VmGetStateOfAnUnknownVmIsInvalid) {
    drm_panthor_vm_get_state args{.vm_id = 9};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_VM_GET_STATE, args), EINVAL);
}

// --- who goes meanwhile

TEST_F(Bind, OpsThatAreQueuedOutliveTheirVmsHandle) {
    const Gate held = gate();
    const std::uint32_t vm = client.create_vm();
    ASSERT_EQ(bind({{map(bo), {wait_op(held.syncobj), signal_op(a)}}}, vm), 0);
    EXPECT_EQ(client.vm_destroy(vm), 0);
    EXPECT_EQ(bind({{map(bo), {}}}, vm), EINVAL);
    EXPECT_EQ(client.gem_close(bo), 0);
    EXPECT_EQ(rig.info().buffers, 1u);
    held.open();
    EXPECT_EQ(client.fence_status(a), 1);
    EXPECT_EQ(rig.info().buffers, 0u) << "nobody has the VM any more";
}

TEST_F(Bind, AFileThatIsClosedWithBindsBehindItsOwnJobLeavesNothing) {
    Client& leaver = rig.open();
    const Memory memory = leaver.memory();
    const std::uint32_t job = leaver.syncobj();
    const std::uint32_t end = leaver.syncobj();
    ASSERT_EQ(
        leaver.kernel_group().submit({{.stream = leaver.stream(loop_for_ever), .syncs = {signal_op(job)}}}),
        0);
    const SyncOpList syncs{wait_op(job), signal_op(end)};
    auto op = unmap(memory.va);
    op.syncs = obj_array(syncs);
    ASSERT_EQ(leaver.bind(leaver.vm(), {op}, DRM_PANTHOR_VM_BIND_ASYNC)->answer(), 0);
    rig.run(5);
    const drm::FencePtr fence = leaver.fence(end);
    rig.close(leaver);
    EXPECT_EQ(fence->status(), 0);
    rig.run_until_idle();
    EXPECT_EQ(fence->status(), 1);
    EXPECT_EQ(rig.info().buffers, 1u) << "of the client that stays";
}

TEST_F(Bind, AFileThatIsClosedWithBindsBehindSomebodyElsesFenceLeavesNothingOnceThatSignals) {
    const Gate held = gate();
    Client& leaver = rig.open();
    const std::uint32_t wait = leaver.syncobj();
    const std::uint32_t end = leaver.syncobj();
    static_cast<File&>(leaver.file()).syncobjs().find(wait)->replace(held.fence);
    const SyncOpList syncs{wait_op(wait), signal_op(end)};
    auto op = map(leaver.bo());
    op.syncs = obj_array(syncs);
    ASSERT_EQ(leaver.bind(leaver.vm(), {op}, DRM_PANTHOR_VM_BIND_ASYNC)->answer(), 0);
    const drm::FencePtr fence = leaver.fence(end);
    rig.close(leaver);
    EXPECT_EQ(fence->status(), 0);
    held.open();
    EXPECT_EQ(fence->status(), 1);
    EXPECT_EQ(rig.info().buffers, 1u) << "of the client that stays";
}

TEST_F(Bind, AFileThatIsClosedBetweenSlicesHasTheRestDone) {
    Client& leaver = rig.open();
    const std::uint32_t end = leaver.syncobj();
    const SyncOpList syncs{signal_op(end)};
    std::vector<drm_panthor_vm_bind_op> ops(40'000, unmap());
    ops.back().syncs = obj_array(syncs);
    ASSERT_EQ(leaver.bind(leaver.vm(), ops, DRM_PANTHOR_VM_BIND_ASYNC)->answer(), 0);
    const drm::FencePtr fence = leaver.fence(end);
    rig.close(leaver);
    EXPECT_EQ(fence->status(), 0);
    for (unsigned turns = 0; turns < 10; ++turns) rig.advance(0ns);
    EXPECT_EQ(fence->status(), 1);
    EXPECT_FALSE(rig.device().next_deadline());
}

TEST_F(Bind, WhenTheDeviceGoesTheFencesOfWhatIsStillQueuedAreCancelled) {
    std::optional<Rig> other(std::in_place);
    Client& leaver = other->open();
    const std::uint32_t wait = leaver.syncobj();
    const std::uint32_t end = leaver.syncobj();
    const auto held = drm::Fence::make(other->device().fence_contexts().allocate(), 1);
    static_cast<File&>(leaver.file()).syncobjs().find(wait)->replace(held);
    const SyncOpList syncs{wait_op(wait), signal_op(end)};
    auto op = map(leaver.bo());
    op.syncs = obj_array(syncs);
    ASSERT_EQ(leaver.bind(leaver.vm(), {op}, DRM_PANTHOR_VM_BIND_ASYNC)->answer(), 0);
    const drm::FencePtr fence = leaver.fence(end);
    other.reset();
    EXPECT_EQ(fence->status(), -ECANCELED);
}

// --- no memory

#ifndef BELFRY_SANITIZED  // a sanitizer's allocator ends the process when it is given nothing

/// While it lives, there are some 4 MiB of memory, and then nothing.
class ScarceMemory {
  public:
    ScarceMemory() {
        std::ifstream statm("/proc/self/statm");
        rlim_t pages = 0;
        statm >> pages;
        ::getrlimit(RLIMIT_AS, &before_);
        const rlimit scarce{.rlim_cur = pages * kPage + kLeft, .rlim_max = before_.rlim_max};
        ::setrlimit(RLIMIT_AS, &scarce);
        // What the allocator has kept of tests before this one would be found too.
        while (auto* const block = new (std::nothrow) Block{.next = blocks_}) blocks_ = block;
        for (std::uint64_t left = 0; left < kLeft && blocks_ != nullptr; left += sizeof(Block)) give_back();
    }
    ~ScarceMemory() {
        ::setrlimit(RLIMIT_AS, &before_);
        while (blocks_ != nullptr) give_back();
    }
    ScarceMemory(const ScarceMemory&) = delete;
    ScarceMemory& operator=(const ScarceMemory&) = delete;

  private:
    static constexpr std::uint64_t kLeft = 4 << 20;
    struct alignas(kPage) Block {
        Block* next;
    };
    void give_back() { delete std::exchange(blocks_, blocks_->next); }

    rlimit before_{};
    Block* blocks_ = nullptr;
};

/// Takes 8 MiB of page tables.
constexpr std::uint64_t kHuge = 4ULL << 30;

TEST_F(Bind, WithoutMemoryForItsTablesChangesNothing) {
    const std::uint32_t huge = client.bo(kHuge);
    ASSERT_EQ(bind_now(map(bo)), 0);
    int error = 0;
    {
        const ScarceMemory scarce;
        error = bind_now(map(huge, kVa, kHuge));
    }
    EXPECT_EQ(error, ENOMEM);
    EXPECT_TRUE(can_write(kVa));
    EXPECT_FALSE(can_write(kVa + kPage));
    EXPECT_EQ(state(), DRM_PANTHOR_VM_STATE_USABLE);
}

TEST_F(Bind, InTheBackgroundWithoutMemoryForItsTablesIsRefusedWithAllThatCameWithIt) {
    const std::uint32_t huge = client.bo(kHuge);
    int error = 0;
    {
        const ScarceMemory scarce;
        error = bind({{map(bo), {signal_op(a)}}, {map(huge, kVa + kPage, kHuge), {signal_op(b)}}});
    }
    EXPECT_EQ(error, ENOMEM);
    EXPECT_FALSE(client.has_fence(a));
    EXPECT_FALSE(client.has_fence(b));
    EXPECT_FALSE(can_write(kVa));
    EXPECT_EQ(state(), DRM_PANTHOR_VM_STATE_USABLE);
}

TEST_F(Bind, OnceAcceptedNeedsNoMoreMemory) {
    const std::uint32_t huge = client.bo(kHuge);
    const Gate held = gate();
    ASSERT_EQ(bind({{map(huge, kVa, kHuge), {wait_op(held.syncobj), signal_op(a)}}}), 0);
    {
        const ScarceMemory scarce;
        held.open();
    }
    EXPECT_EQ(client.fence_status(a), 1);
    EXPECT_TRUE(can_write(kVa + kHuge - kPage));
}

#endif

// --- many

TEST_F(Bind, TenThousandOpsOfOneCallShareFewFlushes) {
    constexpr std::uint64_t kPages = 5'000;
    reside();
    const std::uint32_t large = client.bo(kPages * kPage);
    Ops ops;
    ops.reserve(2 * kPages);
    for (std::uint64_t i = 0; i < kPages; ++i)
        ops.push_back({Client::map_op(large, kVa + i * kPage, kPage, i * kPage), {signal_op(a, 1 + i)}});
    for (std::uint64_t i = 0; i < kPages; ++i)
        ops.push_back({unmap(kVa + i * kPage), {wait_op(a, 1 + i), signal_op(a, 1 + kPages + i)}});
    unsigned commands = 0;
    rig.wires.on_write = [&](gpu::Reg reg, std::uint32_t) {
        if (reg == gpu::as_reg(1, gpu::AsReg::command)) ++commands;
    };
    ASSERT_EQ(bind(ops), 0);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(a, 2 * kPages), 1);
    EXPECT_LE(commands, 2u);
}

TEST_F(Bind, WhatWouldHoldTheDriverTooLongIsDoneInSlicesBetweenWhichOthersHaveTheirTurn) {
    constexpr std::uint64_t kOps = 40'000;
    const SyncOpList last{signal_op(a)};
    Ops ops(kOps, {unmap(), {}});
    ops.back().syncs = last;
    ASSERT_EQ(bind(ops), 0);
    EXPECT_EQ(client.fence_status(a), 0);
    Client& other = rig.open();
    EXPECT_NE(other.create_vm(), 0u);
    for (unsigned turns = 0; client.fence_status(a) == 0; ++turns) {
        ASSERT_LT(turns, 10u);
        ASSERT_LE(rig.device().next_deadline(), rig.host.now) << "due at once";
        rig.device().tick();
    }
    EXPECT_FALSE(rig.device().next_deadline());
}

}  // namespace
}  // namespace belfry::panthor
