// XGS queues through their ioctls: what is refused, what jobs wait for and signal, when fences are shown, how
// errors travel, and how a queue ends. SYNC_UPDATE, and the eventfds of queues and groups.
#include <cerrno>
#include <cstdint>
#include <memory>
#include <vector>

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "unit/panthor_ioctls.hpp"

namespace belfry::panthor {
namespace {

constexpr std::uint32_t kPre = DRM_PANTHOR_XGS_QUEUE_SUBMIT_ERROR_BARRIER_PRE;
constexpr std::uint32_t kPost = DRM_PANTHOR_XGS_QUEUE_SUBMIT_ERROR_BARRIER_POST;
constexpr std::uint32_t kBounded = DRM_PANTHOR_XGS_QUEUE_SUBMIT_BOUNDED;
constexpr auto kBound = std::chrono::nanoseconds(XgsQueue::kBoundNs);
constexpr std::uint8_t kU32 = DRM_PANTHOR_XGS_OP_FORMAT_U32;
constexpr std::uint8_t kU64 = DRM_PANTHOR_XGS_OP_FORMAT_U64;
constexpr auto kBusFault = static_cast<std::uint32_t>(csf::Exception::cs_bus_fault);

using XgsOp = drm_panthor_xgs_op;

XgsOp wait_gt(std::uint64_t va, std::uint64_t value, std::uint8_t format = kU64) {
    return {.addr = va, .value = value, .op = DRM_PANTHOR_XGS_OP_WAIT_GT, .format = format};
}
XgsOp wait_le(std::uint64_t va, std::uint64_t value, std::uint8_t format = kU64) {
    return {.addr = va, .value = value, .op = DRM_PANTHOR_XGS_OP_WAIT_LE, .format = format};
}
XgsOp set(std::uint64_t va, std::uint64_t value, std::uint8_t format = kU64) {
    return {.addr = va, .value = value, .op = DRM_PANTHOR_XGS_OP_SIGNAL_SET, .format = format};
}
XgsOp add(std::uint64_t va, std::uint64_t value, std::uint8_t format = kU64) {
    return {.addr = va, .value = value, .op = DRM_PANTHOR_XGS_OP_SIGNAL_ADD, .format = format};
}
XgsOp inheriting(XgsOp op) {
    op.flags = DRM_PANTHOR_XGS_OP_INHERIT_ERROR_WAIT;
    return op;
}

std::uint64_t take(const base::Fd& eventfd) {
    std::uint64_t count = 0;
    return ::read(eventfd.get(), &count, sizeof count) == static_cast<ssize_t>(sizeof count) ? count : 0;
}

class Xgs : public Ioctls {
  protected:
    std::uint32_t queue(std::uint32_t vm = 0, const base::Fd* eventfd = nullptr) {
        drm_panthor_xgs_queue_create args{.vm_id = vm != 0 ? vm : client.vm(), .eventfd_sync_update = -1};
        std::vector<base::Fd> fds;
        if (eventfd != nullptr) {
            args.eventfd_sync_update = 0;
            fds.push_back(*eventfd->duplicate());
        }
        EXPECT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_XGS_QUEUE_CREATE, args, std::move(fds)), 0);
        return args.handle;
    }
    int submit(std::uint32_t queue, const std::vector<XgsOp>& ops,
               const std::vector<drm_panthor_sync_op>& syncs = {}, std::uint32_t flags = 0) {
        return call(DRM_IOCTL_PANTHOR_XGS_QUEUE_SUBMIT,
                    drm_panthor_xgs_queue_submit{
                        .handle = queue, .flags = flags, .ops = obj_array(ops), .syncs = obj_array(syncs)});
    }
    int destroy(std::uint32_t queue) {
        return call(DRM_IOCTL_PANTHOR_XGS_QUEUE_DESTROY, drm_panthor_xgs_queue_destroy{.handle = queue});
    }
    int sync_update() { return call(DRM_IOCTL_PANTHOR_SYNC_UPDATE, drm_panthor_sync_update{}); }
    /// From the CPU, as a program does it.
    void write(std::uint64_t offset, std::uint64_t value) {
        base::store(memory.sync(offset).value, value, base::kSeqCst);
        ASSERT_EQ(sync_update(), 0);
    }
    std::uint64_t at(std::uint64_t offset) const { return memory.va + offset; }

    Memory memory = client.memory();
    /// What the sync objects of most tests are: offsets in `memory`.
    static constexpr std::uint64_t kGate = 0;
    static constexpr std::uint64_t kOut = 64;
};

// --- what is refused

TEST_F(Xgs, CreateChecksInOrder) {
    using Create = drm_panthor_xgs_queue_create;
    const std::vector<Mistake<Create>> mistakes{
        {"padding", [](Create& wrong) { wrong.pad = 1; }},
        {"an eventfd that is closed",
         [](Create& wrong) { wrong.eventfd_sync_update = drm::Call::kClosedDescriptor; }, EBADF},
        {"no such VM", [](Create& wrong) { wrong.vm_id = 9; }},
    };
    expect_order<Create>(
        [&] { return Create{.vm_id = client.vm(), .eventfd_sync_update = -1}; }, mistakes,
        [&](Create& args) { return client.ioctl(DRM_IOCTL_PANTHOR_XGS_QUEUE_CREATE, args); });
}

TEST_F(Xgs, CreateTakesNothingButAnEventfd) {
    drm_panthor_xgs_queue_create args{.vm_id = client.vm(), .eventfd_sync_update = 0};
    std::vector<base::Fd> fds;
    fds.emplace_back(::dup(STDERR_FILENO));
    EXPECT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_XGS_QUEUE_CREATE, args, std::move(fds)), EINVAL);
}

TEST_F(Xgs, AFileHas128Queues) {
    for (std::uint32_t i = 1; i <= 128; ++i) EXPECT_EQ(queue(), i);
    drm_panthor_xgs_queue_create args{.vm_id = client.vm(), .eventfd_sync_update = -1};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_XGS_QUEUE_CREATE, args), EBUSY);
    EXPECT_EQ(destroy(77), 0);
    EXPECT_EQ(queue(), 77u);
}

TEST_F(Xgs, DestroyRefusesPaddingAndUnknownHandles) {
    const std::uint32_t made = queue();
    for (const auto& wrong :
         {drm_panthor_xgs_queue_destroy{.handle = made, .pad = 1}, drm_panthor_xgs_queue_destroy{.handle = 0},
          drm_panthor_xgs_queue_destroy{.handle = made + 1}})
        EXPECT_EQ(call(DRM_IOCTL_PANTHOR_XGS_QUEUE_DESTROY, wrong), EINVAL);
    EXPECT_EQ(destroy(made), 0);
    EXPECT_EQ(destroy(made), EINVAL);
}

TEST_F(Xgs, SubmitChecksInOrder) {
    struct Request {
        std::uint32_t handle;
        std::uint32_t flags;
        std::vector<XgsOp> ops;
        std::vector<drm_panthor_sync_op> syncs;
    };
    const std::uint32_t handle = queue();
    const std::uint32_t syncobj = client.syncobj(true);
    const std::vector<Mistake<Request>> mistakes{
        {"a flag that does not exist", [](Request& wrong) { wrong.flags = 8; }},
        {"an operation that does not exist", [](Request& wrong) { wrong.ops[1].op = 4; }},
        {"a format that does not exist", [](Request& wrong) { wrong.ops[1].format = 2; }},
        {"an operation's flag that does not exist", [](Request& wrong) { wrong.ops[0].flags = 0x8000; }},
        {"a signal that inherits", [](Request& wrong) { wrong.ops[1].flags = 1; }},
        {"an operation's padding", [](Request& wrong) { wrong.ops[1].pad = 1; }},
        {"32 bits that are 33",
         [](Request& wrong) {
             wrong.ops[0].format = kU32;
             wrong.ops[0].value = 1ULL << 32;
         }},
        {"no such queue", [](Request& wrong) { wrong.handle = 9; }},
        {"more than a queue ever holds",
         [](Request& wrong) { wrong.ops.resize(XgsQueue::kLoadMax, set(0, 0)); }},
        {"a sync's flag that does not exist", [](Request& wrong) { wrong.syncs[1].flags |= 0x100; }},
        {"no such syncobj to signal", [](Request& wrong) { wrong.syncs[1].handle = 9; }},
        {"no such syncobj to wait for", [](Request& wrong) { wrong.syncs[0].handle = 9; }, ENOENT},
    };
    expect_order<Request>(
        [&] {
            return Request{.handle = handle,
                           .flags = 0,
                           .ops = {wait_le(at(kGate), 0), set(at(kOut), 1)},
                           .syncs = {wait_op(syncobj), signal_op(syncobj)}};
        },
        mistakes, [&](Request& r) { return submit(r.handle, r.ops, r.syncs, r.flags); });
}

TEST_F(Xgs, ASubmitThatIsRefusedSignalsNothing) {
    const std::uint32_t unsubmitted = client.syncobj();
    const std::uint32_t out = client.syncobj();
    EXPECT_EQ(submit(queue(), {set(at(kOut), 1)}, {signal_op(out), wait_op(unsubmitted)}, kBounded), EINVAL);
    EXPECT_FALSE(client.has_fence(out));
    EXPECT_EQ(memory.u64(kOut), 0u);
}

TEST_F(Xgs, AFullQueueIsBusyUntilItsJobsAreDone) {
    const std::uint32_t handle = queue();
    ASSERT_EQ(submit(handle, std::vector(XgsQueue::kLoadMax - 2, wait_gt(at(kGate), 0))), 0);
    EXPECT_EQ(submit(handle, {}), 0);
    EXPECT_EQ(submit(handle, {}), EBUSY);
    write(kGate, 1);
    rig.advance(1ns);  // slice by slice
    EXPECT_EQ(submit(handle, {}), 0);
}

// --- operations

TEST_F(Xgs, SetsAndAddsInBothFormats) {
    memory.u64(16) = 5;
    memory.as<std::uint32_t>(32) = 7;
    memory.as<std::uint32_t>(36) = 0xbad;  // an old error
    ASSERT_EQ(submit(queue(), {set(at(0), 1ULL << 40), add(at(16), 3), add(at(32), 0xffff'ffff, kU32),
                               set(at(48), 9, kU32)}),
              0);
    EXPECT_EQ(memory.u64(0), 1ULL << 40);
    EXPECT_EQ(memory.u64(16), 8u);
    EXPECT_EQ(memory.as<std::uint32_t>(32), 6u);
    EXPECT_EQ(memory.as<std::uint32_t>(36), 0u);
    EXPECT_EQ(memory.as<std::uint32_t>(48), 9u);
}

TEST_F(Xgs, WaitsCompareUnsignedAndAllBitsOfTheFormat) {
    struct Case {
        XgsOp wait;
        std::uint64_t before;
        std::uint64_t after;
    };
    const std::vector<Case> cases{
        {wait_gt(at(kGate), 5), 5, 6},
        {wait_gt(at(kGate), 1ULL << 40), 1ULL << 40, 1ULL << 63},
        {wait_gt(at(kGate), 5, kU32), 5, 0x8000'0000},
        {wait_gt(at(kGate), 0, kU32), 1ULL << 32, 1},
        {wait_le(at(kGate), 5), 6, 5},
        {wait_le(at(kGate), 5, kU32), 6, (1ULL << 32) + 5},
    };
    for (const Case& one : cases) {
        const std::uint32_t handle = queue();
        memory.u64(kOut) = 0;
        memory.u64(kGate) = one.before;
        ASSERT_EQ(submit(handle, {one.wait, set(at(kOut), 1)}), 0);
        EXPECT_EQ(memory.u64(kOut), 0u) << one.before;
        write(kGate, one.after);
        EXPECT_EQ(memory.u64(kOut), 1u) << one.after;
    }
}

TEST_F(Xgs, OperationsAreDoneInOrderAndNeverAgain) {
    ASSERT_EQ(submit(queue(), {add(at(kOut), 1), wait_gt(at(kGate), 0), add(at(kOut), 1),
                               wait_gt(at(kGate), 1), add(at(kOut), 1)}),
              0);
    EXPECT_EQ(memory.u64(kOut), 1u);
    for (int i = 0; i < 3; ++i) ASSERT_EQ(sync_update(), 0);
    EXPECT_EQ(memory.u64(kOut), 1u);
    write(kGate, 1);
    EXPECT_EQ(memory.u64(kOut), 2u);
    write(kGate, 2);
    EXPECT_EQ(memory.u64(kOut), 3u);
    write(kGate, 3);
    EXPECT_EQ(memory.u64(kOut), 3u);
}

TEST_F(Xgs, AWaitThatWasSatisfiedIsNotTakenBack) {
    ASSERT_EQ(submit(queue(), {wait_gt(at(kGate), 0), wait_gt(at(kOut), 0), set(at(128), 1)}), 0);
    write(kGate, 1);
    write(kGate, 0);
    write(kOut, 1);
    EXPECT_EQ(memory.u64(128), 1u);
}

TEST_F(Xgs, JobsOfAQueueKeepTheirOrderAndThoseOfTwoQueuesDoNot) {
    const std::uint32_t first = queue();
    const std::uint32_t second = queue();
    ASSERT_EQ(submit(first, {wait_gt(at(kGate), 0), set(at(kOut), 1)}), 0);
    ASSERT_EQ(submit(first, {set(at(kOut), 2)}), 0);
    ASSERT_EQ(submit(second, {set(at(kOut), 3)}), 0);
    EXPECT_EQ(memory.u64(kOut), 3u);
    write(kGate, 1);
    EXPECT_EQ(memory.u64(kOut), 2u);
}

TEST_F(Xgs, ALongJobIsDoneInSlices) {
    ASSERT_EQ(submit(queue(), std::vector(1000, add(at(kOut), 1))), 0);
    EXPECT_LT(memory.u64(kOut), 1000u);
    rig.advance(1ns);
    EXPECT_EQ(memory.u64(kOut), 1000u);
}

// --- DRM syncs

TEST_F(Xgs, OperationsWaitForFencesFirst) {
    const std::uint32_t in = client.syncobj();
    const Memory done = client.memory();
    KernelGroup& group = client.kernel_group();
    const Stream held = client.stream([&](W& w) { wait_for(w, done.va, 1); });
    ASSERT_EQ(group.submit({{.stream = held, .syncs = {signal_op(in)}}}), 0);
    ASSERT_EQ(submit(queue(), {set(at(kOut), 1)}, {wait_op(in)}), 0);
    rig.run_until_idle();
    EXPECT_EQ(memory.u64(kOut), 0u);
    base::store(done.u64(), 1, base::kSeqCst);
    ASSERT_EQ(sync_update(), 0);
    rig.run_until_idle();
    EXPECT_EQ(memory.u64(kOut), 1u);
}

TEST_F(Xgs, ByDefaultASignalIsPublishedLate) {
    const std::uint32_t binary = client.syncobj(true);
    const std::uint32_t timeline = client.syncobj();
    const drm::FencePtr before = client.fence(binary);
    ASSERT_EQ(submit(queue(), {wait_gt(at(kGate), 0)}, {signal_op(binary), signal_op(timeline, 3)}), 0);
    EXPECT_EQ(client.fence(binary), before);
    EXPECT_FALSE(client.has_fence(timeline, 3));
    rig.advance(1h);
    EXPECT_FALSE(client.has_fence(timeline, 3));
    write(kGate, 1);
    EXPECT_NE(client.fence(binary), before);
    EXPECT_EQ(client.fence_status(binary), 1);
    EXPECT_EQ(client.fence_status(timeline, 3), 1);
}

TEST_F(Xgs, WhoeverWaitsForSubmissionIsAnsweredByTheLatePublication) {
    const std::uint32_t out = client.syncobj();
    const auto waits = client.start(DRM_IOCTL_SYNCOBJ_WAIT,
                                    drm_syncobj_wait{.handles = reinterpret_cast<std::uint64_t>(&out),
                                                     .timeout_nsec = INT64_MAX,
                                                     .count_handles = 1,
                                                     .flags = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT});
    ASSERT_EQ(submit(queue(), {wait_gt(at(kGate), 0)}, {signal_op(out)}), 0);
    EXPECT_FALSE(waits->answered());
    write(kGate, 1);
    EXPECT_EQ(waits->answer(), 0);
}

TEST_F(Xgs, ABoundedSignalIsPublishedAtOnceAndSignalledByTheJob) {
    const std::uint32_t out = client.syncobj();
    ASSERT_EQ(submit(queue(), {wait_gt(at(kGate), 0)}, {signal_op(out)}, kBounded), 0);
    EXPECT_EQ(client.fence_status(out), 0);
    write(kGate, 1);
    EXPECT_EQ(client.fence_status(out), 1);
    EXPECT_FALSE(rig.device().next_deadline());
}

TEST_F(Xgs, ABoundedJobFailsWhenItsTimeIsOverAndSignalsWithAnError) {
    const std::uint32_t out = client.syncobj();
    ASSERT_EQ(submit(queue(), {wait_gt(at(kGate), 0), set(at(kOut), 1)}, {signal_op(out)}, kBounded), 0);
    rig.advance(kBound - 1ns);
    EXPECT_EQ(client.fence_status(out), 0);
    EXPECT_EQ(memory.u64(kOut), 0u);
    rig.advance(1ns);
    EXPECT_EQ(client.fence_status(out), -ETIMEDOUT);
    EXPECT_EQ(memory.sync(kOut).value, 1u);
    EXPECT_EQ(memory.sync(kOut).error, static_cast<std::uint32_t>(csf::Exception::cs_res_term));
}

TEST_F(Xgs, AnUpdateThatNobodyToldOfIsFoundBeforeAJobFailsByTime) {
    const std::uint32_t out = client.syncobj();
    ASSERT_EQ(submit(queue(), {wait_gt(at(kGate), 0), set(at(kOut), 1)}, {signal_op(out)}, kBounded), 0);
    base::store(memory.u64(kGate), 1, base::kSeqCst);
    rig.advance(kBound);
    EXPECT_EQ(client.fence_status(out), 1);
    EXPECT_EQ(memory.sync(kOut).error, 0u);
}

TEST_F(Xgs, TheBoundHoldsBehindAJobThatNeverEndsAndTheOrderToo) {
    const std::uint32_t handle = queue();
    const std::uint32_t out = client.syncobj();
    ASSERT_EQ(submit(handle, {wait_gt(at(kGate), 0), set(at(kOut), 1)}), 0);
    ASSERT_EQ(submit(handle, {set(at(kOut), 2)}, {signal_op(out)}, kBounded), 0);
    rig.advance(kBound);
    EXPECT_EQ(client.fence_status(out), -ETIMEDOUT);
    EXPECT_EQ(memory.u64(kOut), 0u);
    write(kGate, 1);
    EXPECT_EQ(memory.sync(kOut).value, 2u);
    EXPECT_NE(memory.sync(kOut).error, 0u);
}

// --- errors

TEST_F(Xgs, BadAddressesFailTheJobWhenItRuns) {
    const Memory read_only = client.memory();
    drm_panthor_vm_bind_op map = Client::map_op(read_only.handle, read_only.va, kPage);
    map.flags |= DRM_PANTHOR_VM_BIND_OP_MAP_READONLY;
    ASSERT_EQ(bind_one(client.vm(), map), 0);
    const std::uint64_t unmapped = memory.va + kPage;
    for (const XgsOp& bad : {wait_gt(unmapped, 0), wait_le(unmapped, 0, kU32), set(unmapped, 1),
                             add(unmapped, 1, kU32), wait_gt(at(4), 0), set(at(12), 1), set(at(2), 1, kU32),
                             set(~0ULL - 7, 1), set(unmapped - 8, 1), set(read_only.va, 1), wait_gt(0, 0)}) {
        const std::uint32_t handle = queue();
        const std::uint32_t late = client.syncobj();
        const std::uint32_t bounded = client.syncobj();
        memory.sync(kOut) = {};
        ASSERT_EQ(submit(handle, {bad, wait_gt(at(kGate), 0), set(at(kOut), 1)}, {signal_op(late)}, kPost),
                  0);
        EXPECT_EQ(client.fence_status(late), -EINVAL);
        EXPECT_EQ(memory.sync(kOut).value, 1u) << "whoever waits for a failed job is told";
        EXPECT_EQ(memory.sync(kOut).error, kBusFault);
        ASSERT_EQ(submit(handle, {bad}, {signal_op(bounded)}, kBounded | kPost), 0);
        EXPECT_EQ(client.fence_status(bounded), -EINVAL);
        ASSERT_EQ(submit(handle, {set(at(kOut), 2)}, {signal_op(late)}), 0);
        EXPECT_EQ(client.fence_status(late), 1) << "the barrier behind the failed job ends its error";
    }
    ASSERT_EQ(submit(queue(), {wait_le(read_only.va, 0), set(at(kOut), 3)}), 0);
    EXPECT_EQ(memory.u64(kOut), 3u) << "reading is all that a wait does";
}

TEST_F(Xgs, AWaitInheritsTheErrorOfItsObjectAndSignalsPassItOn) {
    const std::uint32_t handle = queue();
    const std::uint32_t out = client.syncobj();
    memory.sync(kGate) = {.value = 1, .error = 0x58};
    ASSERT_EQ(submit(handle, {inheriting(wait_gt(at(kGate), 0)), set(at(kOut), 1)}, {signal_op(out)}), 0);
    EXPECT_EQ(memory.sync(kOut).error, 0x58u);
    EXPECT_EQ(client.fence_status(out), -EINVAL);
    // The state is the queue's, and lasts.
    ASSERT_EQ(submit(handle, {add(at(kOut), 1, kU32)}), 0);
    EXPECT_EQ(memory.as<belfry_sync_object32>(kOut).error, 0x58u);
}

TEST_F(Xgs, WithoutTheFlagAWaitIgnoresTheError) {
    const std::uint32_t out = client.syncobj();
    memory.sync(kGate) = {.value = 1, .error = 0x58};
    ASSERT_EQ(submit(queue(), {wait_gt(at(kGate), 0), set(at(kOut), 1)}, {signal_op(out)}), 0);
    EXPECT_EQ(memory.sync(kOut).error, 0u);
    EXPECT_EQ(client.fence_status(out), 1);
}

TEST_F(Xgs, BarriersEndTheErrorStateBeforeAndAfterAJob) {
    const std::uint32_t handle = queue();
    memory.as<belfry_sync_object32>(kGate) = {.value = 1, .error = 0x58};
    const XgsOp fails = inheriting(wait_gt(at(kGate), 0, kU32));
    ASSERT_EQ(submit(handle, {fails}), 0);
    ASSERT_EQ(submit(handle, {set(at(kOut), 1)}, {}, kPre), 0);
    EXPECT_EQ(memory.sync(kOut).error, 0u);
    ASSERT_EQ(submit(handle, {fails, set(at(kOut), 1)}, {}, kPost), 0);
    EXPECT_EQ(memory.sync(kOut).error, 0x58u);
    ASSERT_EQ(submit(handle, {set(at(kOut), 1)}), 0);
    EXPECT_EQ(memory.sync(kOut).error, 0u);
}

// --- mappings

TEST_F(Xgs, AWaitLooksAgainWhenItsAddressMeansOtherMemory) {
    const Memory other = client.memory();
    base::store(other.u64(kGate), 1, base::kSeqCst);
    ASSERT_EQ(submit(queue(), {wait_gt(at(kGate), 0), set(other.va + kOut, 1)}), 0);
    EXPECT_EQ(other.u64(kOut), 0u);
    ASSERT_EQ(bind_one(client.vm(), Client::map_op(other.handle, memory.va, kPage)), 0);
    EXPECT_EQ(other.u64(kOut), 1u);
}

TEST_F(Xgs, AWaitFailsWhenItsAddressIsUnmapped) {
    const std::uint32_t out = client.syncobj();
    ASSERT_EQ(submit(queue(), {wait_gt(at(kGate), 0)}, {signal_op(out)}), 0);
    EXPECT_EQ(client.unmap(memory)->answer(), 0);
    ASSERT_TRUE(client.has_fence(out));
    EXPECT_EQ(client.fence_status(out), -EINVAL);
}

TEST_F(Xgs, AQueueGoesOnInAVmThatWasDestroyed) {
    const std::uint32_t vm = client.create_vm();
    const Memory there = client.memory(vm);
    const std::uint32_t handle = queue(vm);
    ASSERT_EQ(submit(handle, {wait_gt(there.va, 0), set(there.va + 64, 1)}), 0);
    ASSERT_EQ(client.vm_destroy(vm), 0);
    base::store(there.u64(), 1, base::kSeqCst);
    ASSERT_EQ(sync_update(), 0);
    EXPECT_EQ(there.u64(64), 1u);
    EXPECT_EQ(submit(handle, {set(there.va + 64, 2)}), 0);
    EXPECT_EQ(there.u64(64), 2u);
}

// --- with the GPU

TEST_F(Xgs, AUserGroupsUpdateIsHeard) {
    UserGroup& group = client.user_group();
    ASSERT_EQ(submit(queue(), {wait_gt(at(kGate), 0), set(at(kOut), 1)}), 0);
    group.queue(0).run([&](W& w) { add_one(w, at(kGate)); });
    EXPECT_EQ(memory.u64(kOut), 1u);
}

TEST_F(Xgs, AKernelModeJobsUpdateIsHeard) {
    ASSERT_EQ(submit(queue(), {wait_gt(at(kGate), 0), set(at(kOut), 1)}), 0);
    const Stream one = client.stream([&](W& w) { add_one(w, at(kGate)); });
    ASSERT_EQ(client.kernel_group().submit({{.stream = one}}), 0);
    rig.run_until_idle();
    EXPECT_EQ(memory.u64(kOut), 1u);
}

// --- which waits an update looks at

TEST_F(Xgs, AnUpdateLooksAtItsOwnObjectAndAtNoOther) {
    constexpr std::uint64_t kQueues = 60;
    for (std::uint64_t i = 0; i < kQueues; ++i) ASSERT_EQ(submit(queue(), {wait_gt(at(i * 16), 0)}), 0);
    UserGroup& group = client.user_group();
    group.queue(0).run([&](W& w) { w.nop(); });
    const std::uint64_t before = rig.device().sync_waits().reads();
    group.queue(0).run([&](W& w) { add_one(w, at(160)); });
    EXPECT_EQ(rig.device().sync_waits().reads(), before + 1);
}

TEST_F(Xgs, AnUpdateThroughAnotherVmsMappingIsHeard) {
    ASSERT_EQ(submit(queue(), {wait_gt(at(kGate), 0), set(at(kOut), 1)}), 0);
    const std::uint32_t vm = client.create_vm();
    constexpr std::uint64_t kElsewhere = 0x7000'0000;
    ASSERT_EQ(bind_one(vm, Client::map_op(memory.handle, kElsewhere, kPage)), 0);
    UserGroup& group = client.user_group({.vm = vm});
    group.queue(0).run([&](W& w) { add_one(w, kElsewhere + kGate); });
    EXPECT_EQ(memory.u64(kOut), 1u);
}

TEST_F(Xgs, AnUpdateThroughAMappingThatIsGoneButNotYetForgottenIsHeard) {
    const std::uint32_t vm = client.create_vm();
    constexpr std::uint64_t kElsewhere = 0x7000'0000;
    ASSERT_EQ(bind_one(vm, Client::map_op(memory.handle, kElsewhere, kPage)), 0);
    ASSERT_EQ(submit(queue(), {wait_gt(at(kGate), 0), set(at(kOut), 1)}), 0);
    // The mapping goes between two instructions of one slice: the second one's translation is still known.
    std::shared_ptr<TestCall> unbound;
    UserGroup& group = client.user_group({.vm = vm});
    group.queue(0).run([](W& w) { w.nop(); });
    group.queue(0).submit([&](W& w) {
        add_one(w, kElsewhere + 128);
        add_one(w, kElsewhere + kGate);
    });
    group.queue(0).tell();
    rig.host.on_interrupt = [&] {
        if (unbound == nullptr) unbound = client.bind(vm, {Client::unmap_op(kElsewhere, kPage)});
    };
    rig.run_until_idle();
    EXPECT_EQ(unbound->answer(), 0);
    EXPECT_EQ(memory.u64(kGate), 1u);
    EXPECT_EQ(memory.u64(kOut), 1u);
    EXPECT_EQ(rig.info().missed_reports, 0u);
}

TEST_F(Xgs, MoreUpdatesThanTheFirmwareReportsAtOnceAreAllHeard) {
    constexpr std::uint64_t kQueues = 100;
    static_assert(kQueues > gpu::kReportsMax);
    const Memory objects = client.memory();
    for (std::uint64_t i = 0; i < kQueues; ++i)
        ASSERT_EQ(submit(queue(), {wait_gt(objects.va + i * 16, 0), add(at(kOut), 1)}), 0);
    UserGroup& group = client.user_group();
    group.queue(0).submit([&](W& w) {
        for (std::uint64_t i = 0; i < kQueues; ++i) add_one(w, objects.va + i * 16);
    });
    EXPECT_EQ(group.queue(0).kick(), 0);
    rig.run_gpu_until_idle();
    rig.run_until_idle();
    EXPECT_EQ(memory.u64(kOut), kQueues);
}

TEST_F(Xgs, AnUpdateOfHalfAnObjectIsHeard) {
    ASSERT_EQ(submit(queue(), {wait_gt(at(kGate), 1ULL << 32), set(at(kOut), 1)}), 0);
    const std::uint32_t halves = queue();
    ASSERT_EQ(submit(halves, {set(at(kGate), 1, kU32)}), 0);
    EXPECT_EQ(memory.u64(kOut), 0u);
    // The 32-bit object there has the other half as its error word: written by whoever inherits an error.
    base::store(memory.as<std::uint32_t>(kGate + 4), 1, base::kRelaxed);
    ASSERT_EQ(submit(halves, {add(at(kGate + 4), 1, kU32)}), 0);
    EXPECT_EQ(memory.u64(kOut), 1u);
}

/// A firmware that updates the gate, and what of it the driver learns.
class XgsAndABadFirmware : public Xgs {
  protected:
    void update() {
        ASSERT_EQ(submit(queue(), {wait_gt(at(kGate), 0), set(at(kOut), 1)}), 0);
        group.queue(0).run([&](W& w) { w.nop(); });
        group.queue(0).submit([&](W& w) { add_one(w, at(kGate)); });
        group.queue(0).tell();
        rig.run_gpu_until_idle();
        EXPECT_EQ(memory.u64(kGate), 1u);
    }
    const SlotBlocks& slot() { return rig.device().firmware().slot(0); }
    void lose_the_report() { --const_cast<gpu::GroupReports*>(slot().reports)->written; }
    void lose_the_event() {
        const_cast<gpu::GroupOutput*>(slot().output)->ack ^= gpu::kGroupSyncUpdate;
        rig.run_until_idle();
        EXPECT_EQ(memory.u64(kOut), 0u);
    }

    UserGroup& group = client.user_group();
};

TEST_F(XgsAndABadFirmware, AnEventThatNamesNothingHasAllLookedAt) {
    update();
    lose_the_report();
    rig.run_until_idle();
    EXPECT_EQ(memory.u64(kOut), 1u);
    EXPECT_EQ(rig.info().missed_reports, 0u);
}

TEST_F(XgsAndABadFirmware, AnUpdateThatIsNeverToldIsFoundWithinASecondAndCounted) {
    update();
    lose_the_report();
    lose_the_event();
    rig.advance(1s);
    rig.run_until_idle();
    EXPECT_EQ(memory.u64(kOut), 1u);
    EXPECT_EQ(rig.info().missed_reports, 1u);
    EXPECT_FALSE(rig.device().next_deadline()) << "nobody waits any more";
}

TEST_F(XgsAndABadFirmware, AnUpdateWhoseInterruptIsStillOnItsWayIsNotCounted) {
    update();
    rig.advance(1s);
    EXPECT_EQ(memory.u64(kOut), 1u);
    EXPECT_EQ(rig.info().missed_reports, 0u);
    EXPECT_FALSE(rig.device().next_deadline()) << "nobody waits any more";
}

TEST_F(XgsAndABadFirmware, NorIsOneThatNamesNothing) {
    update();
    lose_the_report();
    rig.advance(1s);
    EXPECT_EQ(memory.u64(kOut), 1u);
    EXPECT_EQ(rig.info().missed_reports, 0u);
}

TEST_F(XgsAndABadFirmware, UpdatesInterruptOnlyWhileSomebodyWaits) {
    const auto interrupt = [&] { return (slot().input->ack_irq_mask & gpu::kGroupSyncUpdate) != 0; };
    group.queue(0).run([&](W& w) { add_one(w, at(kOut + 64)); });
    EXPECT_FALSE(interrupt());
    EXPECT_EQ(slot().reports->written, 0u);
    ASSERT_EQ(submit(queue(), {wait_gt(at(kGate), 0)}), 0);
    EXPECT_TRUE(interrupt());
    group.queue(0).run([&](W& w) { add_one(w, at(kGate)); });
    EXPECT_FALSE(interrupt());
    group.queue(0).run([&](W& w) { add_one(w, at(kGate)); });
    EXPECT_EQ(slot().reports->written, 1u);
}

TEST_F(XgsAndABadFirmware, AReportOfAnAddressThatMeansNothingIsNobodysHarm) {
    update();
    const_cast<gpu::GroupReports*>(slot().reports)->addresses[0] = ~0ULL;
    rig.run_until_idle();
    rig.advance(1s);
    rig.run_until_idle();
    EXPECT_EQ(memory.u64(kOut), 1u);
}

TEST_F(Xgs, ASignalReleasesAStreamThatWaitsOnTheGpu) {
    UserGroup& group = client.user_group();
    group.queue(0).run([&](W& w) {
        wait_for(w, at(kGate), 1);
        add_one(w, at(kOut));
    });
    EXPECT_EQ(memory.u64(kOut), 0u);
    ASSERT_EQ(submit(queue(), {set(at(kGate), 1)}), 0);
    rig.run_until_idle();
    EXPECT_EQ(memory.u64(kOut), 1u);
}

TEST_F(Xgs, SyncUpdateHasWaitingStreamsLookAgain) {
    UserGroup& group = client.user_group();
    group.queue(0).run([&](W& w) {
        wait_for(w, at(kGate), 1);
        add_one(w, at(kOut));
    });
    base::store(memory.u64(kGate), 1, base::kSeqCst);
    rig.run_until_idle();
    EXPECT_EQ(memory.u64(kOut), 0u);
    EXPECT_EQ(call(DRM_IOCTL_PANTHOR_SYNC_UPDATE, drm_panthor_sync_update{.pad = 1}), EINVAL);
    rig.run_until_idle();
    EXPECT_EQ(memory.u64(kOut), 0u);
    ASSERT_EQ(sync_update(), 0);
    rig.run_until_idle();
    EXPECT_EQ(memory.u64(kOut), 1u);
}

TEST_F(Xgs, QueuesSignalEachOther) {
    const std::uint32_t a = queue();
    const std::uint32_t b = queue();
    for (std::uint64_t i = 0; i < 20; ++i) {
        ASSERT_EQ(submit(a, {wait_gt(at(kGate), i), add(at(kOut), 1)}), 0);
        ASSERT_EQ(submit(b, {wait_gt(at(kOut), i), add(at(kGate), 1)}), 0);
    }
    EXPECT_EQ(memory.u64(kOut), 0u);
    write(kGate, 1);
    EXPECT_EQ(memory.u64(kOut), 20u);
    EXPECT_EQ(memory.u64(kGate), 21u);
}

// --- the end

TEST_F(Xgs, DestroyingAQueueCancelsItsJobs) {
    const std::uint32_t handle = queue();
    const std::uint32_t late = client.syncobj();
    const std::uint32_t bounded = client.syncobj();
    const std::uint32_t behind = client.syncobj();
    ASSERT_EQ(submit(handle, {wait_gt(at(kGate), 0), set(at(kOut), 1)}, {signal_op(late)}), 0);
    ASSERT_EQ(submit(handle, {set(at(kOut), 1)}, {signal_op(bounded)}, kBounded), 0);
    ASSERT_EQ(client.kernel_group().submit({{.stream = client.stream([&](W& w) { add_one(w, at(128)); }),
                                             .syncs = {wait_op(bounded), signal_op(behind)}}}),
              0);
    ASSERT_EQ(destroy(handle), 0);
    EXPECT_EQ(client.fence_status(late), -ECANCELED);
    EXPECT_EQ(client.fence_status(bounded), -ECANCELED);
    EXPECT_EQ(memory.u64(kOut), 0u) << "what is cancelled is not done";
    write(kGate, 1);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(behind), 1);
    EXPECT_FALSE(rig.device().next_deadline());
}

TEST_F(Xgs, AFileThatClosesCancelsItsJobsAndLeavesNothing) {
    Client& leaver = rig.open();
    const Memory there = leaver.memory();
    drm_panthor_xgs_queue_create create{.vm_id = leaver.vm(), .eventfd_sync_update = -1};
    ASSERT_EQ(leaver.ioctl(DRM_IOCTL_PANTHOR_XGS_QUEUE_CREATE, create), 0);
    const std::uint32_t out = leaver.syncobj();
    const std::vector<XgsOp> ops{wait_gt(there.va, 0)};
    const std::vector<drm_panthor_sync_op> syncs{signal_op(out)};
    drm_panthor_xgs_queue_submit args{
        .handle = create.handle, .flags = kBounded, .ops = obj_array(ops), .syncs = obj_array(syncs)};
    ASSERT_EQ(leaver.ioctl(DRM_IOCTL_PANTHOR_XGS_QUEUE_SUBMIT, args), 0);
    const drm::FencePtr fence = leaver.fence(out);
    const std::uint32_t buffers = rig.info().buffers;
    rig.close(leaver);
    EXPECT_EQ(fence->status(), -ECANCELED);
    EXPECT_EQ(rig.info().buffers, buffers - 1);
    EXPECT_TRUE(rig.device().sync_waits().empty());
    EXPECT_FALSE(rig.device().next_deadline());
}

TEST_F(Xgs, QueuesThatWaitForEachOtherEndCleanly) {
    const std::uint32_t a = queue();
    const std::uint32_t b = queue();
    const std::uint32_t late = client.syncobj();
    const std::uint32_t bounded = client.syncobj();
    ASSERT_EQ(submit(a, {wait_gt(at(kGate), 0), set(at(kOut), 1)}, {signal_op(late)}), 0);
    ASSERT_EQ(
        submit(b, {inheriting(wait_gt(at(kOut), 0)), set(at(kGate), 1)}, {signal_op(bounded)}, kBounded), 0);
    rig.advance(kBound);
    EXPECT_EQ(client.fence_status(bounded), -ETIMEDOUT);
    // The bounded one's failure released the other, which was not told to mind.
    EXPECT_EQ(client.fence_status(late), 1);
    const std::uint32_t never = client.syncobj();
    ASSERT_EQ(submit(a, {wait_gt(at(128), 0), set(at(192), 1)}, {signal_op(never)}), 0);
    ASSERT_EQ(submit(b, {wait_gt(at(192), 0), set(at(128), 1)}), 0);
    rig.advance(1h);
    EXPECT_FALSE(client.has_fence(never));
    EXPECT_EQ(destroy(a), 0);
    EXPECT_EQ(destroy(b), 0);
    EXPECT_EQ(client.fence_status(never), -ECANCELED);
}

// --- eventfds

TEST_F(Xgs, AQueuesEventfdIsRungWhenItHasSignalled) {
    const base::Fd eventfd = *base::make_eventfd();
    const std::uint32_t handle = queue(0, &eventfd);
    ASSERT_EQ(submit(handle, {wait_gt(at(kGate), 0), set(at(kOut), 1), set(at(kOut), 2)}), 0);
    EXPECT_EQ(take(eventfd), 0u);
    write(kGate, 1);
    EXPECT_EQ(take(eventfd), 1u);
    ASSERT_EQ(submit(handle, {wait_gt(at(kGate), 0)}), 0);
    EXPECT_EQ(take(eventfd), 0u);
}

class GroupEventfds : public Xgs {
  protected:
    std::uint32_t create() {
        drm_panthor_group_create args{.queues = obj_array(queues),
                                      .priority = PANTHOR_GROUP_PRIORITY_MEDIUM,
                                      .flags = DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT,
                                      .vm_id = client.vm(),
                                      .eventfd_sync_update = 0,
                                      .eventfd_group_state = 1,
                                      .eventfd_doorbell = -1};
        std::vector<base::Fd> fds;
        fds.push_back(*updates.duplicate());
        fds.push_back(*states.duplicate());
        EXPECT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_GROUP_CREATE, args, std::move(fds)), 0);
        doorbell = std::move(client.map(queues[0].doorbell_offset, kPage).at(0));
        return args.group_handle;
    }

    base::Fd updates = *base::make_eventfd();
    const base::Fd states = *base::make_eventfd();
    std::vector<drm_panthor_queue_create> queues = queue_creates({});
    base::Mapping doorbell;
};

TEST_F(GroupEventfds, AreRungWithEachUpdateAndWithAChangeOfState) {
    const std::uint32_t group = create();
    UserQueue ring(client, group, queues[0], doorbell);
    for (int i = 0; i < 3; ++i) {
        ring.run([&](W& w) { add_one(w, at(kOut)); });
        EXPECT_EQ(take(updates), 1u);
    }
    EXPECT_EQ(take(states), 0u);
    ring.run([](W& w) { w.word(kBadWord); });
    EXPECT_EQ(take(states), 1u);
    EXPECT_EQ(client.group_destroy(group), 0);
    rig.run_until_idle();
    EXPECT_EQ(take(states), 1u);
}

TEST_F(GroupEventfds, AnUpdateIsNotSwallowedBySomebodyElsesWait) {
    UserQueue ring(client, create(), queues[0], doorbell);
    ring.run([](W& w) { w.move48(d(60), 0); });
    ring.submit([&](W& w) { add_one(w, at(kOut)); });
    ring.tell();
    rig.run_gpu_until_idle();  // the driver has not heard of it
    ASSERT_EQ(submit(queue(), {wait_gt(at(kGate), 0)}), 0);
    rig.run_until_idle();
    EXPECT_EQ(take(updates), 1u);
}

TEST_F(GroupEventfds, MayBeClosedByTheProgram) {
    const std::uint32_t group = create();
    const std::uint32_t handle = queue(0, &updates);
    updates = base::Fd();
    UserQueue ring(client, group, queues[0], doorbell);
    ring.run([&](W& w) { add_one(w, at(kOut)); });
    EXPECT_EQ(submit(handle, {set(at(kOut), 1)}), 0);
}

}  // namespace
}  // namespace belfry::panthor
