// What panthor's ioctls on groups answer, and which mistake is found first (facts/uapi.md 1.11 to 1.14).
// GROUP_SUBMIT's fences are in panthor_submit_test.cpp, what groups do in panthor_group_test.cpp.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "unit/panthor_ioctls.hpp"

namespace belfry::panthor {
namespace {

// --- GROUP_CREATE

struct GroupRequest {
    drm_panthor_group_create args;
    std::vector<drm_panthor_queue_create> queues;
    std::vector<int> fds;  ///< dup()ed for the call
    drm_panthor_queue_create nowhere{};

    /// The first queue, and the second; a request that has none is wrong for that already.
    drm_panthor_queue_create& first() { return queues.empty() ? nowhere : queues[0]; }
    drm_panthor_queue_create& second() { return queues.size() < 2 ? nowhere : queues[1]; }
};

class GroupCreate : public Ioctls {
  protected:
    GroupRequest good(std::uint32_t flags) {
        return {.args = {.priority = PANTHOR_GROUP_PRIORITY_MEDIUM,
                         .flags = flags,
                         .vm_id = client.vm(),
                         .eventfd_sync_update = -1,
                         .eventfd_group_state = -1,
                         .eventfd_doorbell = -1},
                .queues = queue_creates({.queues = 2})};
    }
    int send(GroupRequest& request) {
        if (request.args.queues.count == 0) request.args.queues = obj_array(request.queues);
        std::vector<base::Fd> fds;
        for (const int fd : request.fds) fds.emplace_back(::dup(fd));
        return client.ioctl(DRM_IOCTL_PANTHOR_GROUP_CREATE, request.args, std::move(fds));
    }
    /// What is wrong whether a group is user-mode or not, and comes before its eventfds are looked at.
    static std::vector<Mistake<GroupRequest>> early_mistakes() {
        return {
            {"33 queues", [](auto& request) { request.queues.resize(33, request.first()); }},
            {"no queues", [](auto& request) { request.queues.clear(); }},
            {"priority 4", [](auto& request) { request.args.priority = 4; }},
            {"high priority", [](auto& request) { request.args.priority = 2; }, EACCES},
            {"realtime priority", [](auto& request) { request.args.priority = 3; }, EACCES},
            {"flag 2", [](auto& request) { request.args.flags |= 4; }},
            {"padding", [](auto& request) { request.args.pad = 1; }},
            {"no such compute core", [](auto& request) { request.args.compute_core_mask = 2; }},
            {"no such fragment core", [](auto& request) { request.args.fragment_core_mask = 2; }},
            {"no such tiler", [](auto& request) { request.args.tiler_core_mask = 2; }},
            {"more compute cores than in the mask",
             [](auto& request) { request.args.max_compute_cores = 1; }},
            {"more fragment cores than in the mask",
             [](auto& request) { request.args.max_fragment_cores = 1; }},
            {"more tilers than in the mask", [](auto& request) { request.args.max_tiler_cores = 1; }},
            {"more queues than a slot has streams",
             [](auto& request) { request.queues.resize(9, request.first()); }},
        };
    }
    static std::vector<Mistake<GroupRequest>> queue_mistakes() {
        return {
            {"queue padding 0", [](auto& request) { request.second().pad[0] = 1; }},
            {"queue padding 1", [](auto& request) { request.second().pad[1] = 1; }},
            {"queue padding 2", [](auto& request) { request.second().pad[2] = 1; }},
            {"no ring", [](auto& request) { request.second().ringbuf_size = 0; }},
            {"a ring of 2 KiB", [](auto& request) { request.second().ringbuf_size = 2048; }},
            {"a ring of 12 KiB", [](auto& request) { request.second().ringbuf_size = 12288; }},
            {"a ring of 128 KiB", [](auto& request) { request.second().ringbuf_size = 131072; }},
            {"queue priority 16", [](auto& request) { request.second().priority = 16; }},
            {"a ring offset", [](auto& request) { request.second().ringbuf_offset = 1; }},
            {"a user I/O offset", [](auto& request) { request.second().user_io_offset = 1; }},
            {"a doorbell offset", [](auto& request) { request.second().doorbell_offset = 1; }},
        };
    }
    void expect_group_order(std::uint32_t flags, std::vector<Mistake<GroupRequest>> mistakes) {
        mistakes.push_back({"no such VM", [](auto& request) { request.args.vm_id = 9; }});
        std::ranges::copy(queue_mistakes(), std::back_inserter(mistakes));
        expect_order<GroupRequest>([&] { return good(flags); }, mistakes,
                                   [&](auto& request) { return send(request); });
    }
};

TEST_F(GroupCreate, FindsTheMistakesOfAKernelModeGroupInThisOrder) {
    auto mistakes = early_mistakes();
    mistakes.push_back({"an eventfd without user submission", [](auto& request) {
                            request.args.flags = DRM_PANTHOR_GROUP_CREATE_DOORBELL_EVENTFD;
                        }});
    expect_group_order(0, std::move(mistakes));
}

TEST_F(GroupCreate, FindsTheMistakesOfAUserGroupInThisOrder) {
    auto mistakes = early_mistakes();
    mistakes.push_back(
        {"a sync-update eventfd that is closed",
         [](auto& request) { request.args.eventfd_sync_update = drm::Call::kClosedDescriptor; }, EBADF});
    mistakes.push_back({"a sync-update eventfd that is none", [](auto& request) {
                            request.args.eventfd_sync_update = 0;
                            request.fds = {STDOUT_FILENO};
                        }});
    mistakes.push_back(
        {"a group-state eventfd that is closed",
         [](auto& request) { request.args.eventfd_group_state = drm::Call::kClosedDescriptor; }, EBADF});
    mistakes.push_back({"a group-state eventfd that is none", [](auto& request) {
                            request.args.eventfd_group_state = 0;
                            request.fds = {STDOUT_FILENO};
                        }});
    mistakes.push_back({"a doorbell eventfd that is not there",
                        [](auto& request) {
                            request.args.flags |= DRM_PANTHOR_GROUP_CREATE_DOORBELL_EVENTFD;
                            request.args.eventfd_doorbell = -1;
                        },
                        EBADF});
    mistakes.push_back({"a doorbell eventfd that is none", [](auto& request) {
                            request.args.flags |= DRM_PANTHOR_GROUP_CREATE_DOORBELL_EVENTFD;
                            request.args.eventfd_doorbell = 0;
                            request.fds = {STDOUT_FILENO};
                        }});
    expect_group_order(DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT, std::move(mistakes));
}

TEST_F(GroupCreate, HighPrioritiesAreForTheNiceAndForMasters) {
    const auto create = [](Client& by, std::uint8_t priority) {
        std::vector<drm_panthor_queue_create> queues{{.ringbuf_size = 4096}};
        drm_panthor_group_create args{.queues = obj_array(queues), .priority = priority, .vm_id = by.vm()};
        return by.ioctl(DRM_IOCTL_PANTHOR_GROUP_CREATE, args);
    };
    Client& nice = rig.open({.may_nice = true});
    Client& master = rig.open({}, drm::NodeKind::primary);
    Client& second = rig.open({}, drm::NodeKind::primary);
    for (std::uint8_t priority = 0; priority <= PANTHOR_GROUP_PRIORITY_REALTIME; ++priority) {
        const int of_others = priority <= PANTHOR_GROUP_PRIORITY_MEDIUM ? 0 : EACCES;
        EXPECT_EQ(create(client, priority), of_others);
        EXPECT_EQ(create(second, priority), of_others);
        EXPECT_EQ(create(nice, priority), 0);
        EXPECT_EQ(create(master, priority), 0);
    }
    EXPECT_EQ(create(nice, 4), EINVAL);
}

TEST_F(GroupCreate, AFullTableIsFoundAfterTheVmAndBeforeTheQueues) {
    auto request = good(0);
    for (std::uint32_t handle = 1; handle <= 128; ++handle) {
        request = good(0);
        ASSERT_EQ(send(request), 0);
        ASSERT_EQ(request.args.group_handle, handle);
    }
    std::vector<Mistake<GroupRequest>> mistakes{
        {"no such VM", [](auto& wrong) { wrong.args.vm_id = 9; }},
        {"full", [](auto&) {}, EBUSY},
        {"no ring", [](auto& wrong) { wrong.queues[0].ringbuf_size = 0; }, EBUSY},
    };
    for (const auto& mistake : mistakes) {
        request = good(0);
        mistake.make(request);
        EXPECT_EQ(send(request), mistake.answer) << mistake.what;
    }
    EXPECT_EQ(rig.info().groups, 128u);
    EXPECT_EQ(client.group_destroy(77), 0);
    request = good(0);
    EXPECT_EQ(send(request), 0);
    EXPECT_EQ(request.args.group_handle, 77u);
}

TEST_F(GroupCreate, RefusedGroupsLeaveNothingBehind) {
    const auto before = rig.info();
    for (const auto& mistake : queue_mistakes()) {
        auto request = good(DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT);
        mistake.make(request);
        EXPECT_EQ(send(request), EINVAL);
    }
    EXPECT_EQ(rig.info().groups, before.groups);
    EXPECT_EQ(rig.info().buffers, before.buffers);
}

TEST_F(GroupCreate, TakesCoresOfTheMasksAndAsManyQueuesAsASlotHasStreams) {
    auto request = good(DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT);
    request.queues = queue_creates({.queues = 8, .ring_bytes = 65536});
    request.args.compute_core_mask = request.args.fragment_core_mask = request.args.tiler_core_mask = 1;
    request.args.max_compute_cores = request.args.max_fragment_cores = request.args.max_tiler_cores = 1;
    request.queues[7].priority = 15;
    EXPECT_EQ(send(request), 0);
}

TEST_F(GroupCreate, AKernelModeGroupHasNothingToMap) {
    auto request = good(0);
    EXPECT_EQ(send(request), 0);
    for (const auto& queue : request.queues) {
        EXPECT_EQ(queue.ringbuf_offset, 0u);
        EXPECT_EQ(queue.user_io_offset, 0u);
        EXPECT_EQ(queue.doorbell_offset, 0u);
    }
}

TEST_F(GroupCreate, IgnoresTheEventfdsOfAKernelModeGroup) {
    auto request = good(0);
    request.args.eventfd_sync_update = request.args.eventfd_group_state = request.args.eventfd_doorbell = 0;
    EXPECT_EQ(send(request), 0);
}

TEST_F(GroupCreate, ADoorbellEventfdWakesTheGpuUntilTheGroupIsGone) {
    const base::Fd eventfd(::eventfd(0, EFD_CLOEXEC));
    auto request = good(DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT | DRM_PANTHOR_GROUP_CREATE_DOORBELL_EVENTFD);
    request.args.eventfd_doorbell = 0;
    request.fds = {eventfd.get()};
    EXPECT_EQ(send(request), 0);
    EXPECT_EQ(rig.lines.fds.size(), 1u);
    EXPECT_EQ(client.group_destroy(request.args.group_handle), 0);
    EXPECT_TRUE(rig.lines.fds.empty());
}

// --- GROUP_DESTROY, GROUP_GET_STATE, GROUP_KICK, GROUP_GET_FAULT, DEVICE_INFO

TEST_F(Ioctls, GroupDestroyRefusesPaddingAndUnknownHandles) {
    const std::uint32_t group = client.kernel_group().handle();
    for (const auto& wrong :
         {drm_panthor_group_destroy{.group_handle = group, .pad = 1},
          drm_panthor_group_destroy{.group_handle = 0}, drm_panthor_group_destroy{.group_handle = 2},
          drm_panthor_group_destroy{.group_handle = 129}})
        EXPECT_EQ(call(DRM_IOCTL_PANTHOR_GROUP_DESTROY, wrong), EINVAL);
    EXPECT_EQ(client.group_destroy(group), 0);
    EXPECT_EQ(client.group_destroy(group), EINVAL);
    EXPECT_EQ(rig.info().groups, 0u);
}

TEST_F(Ioctls, AGroupHandleIsFreeAtOnce) {
    EXPECT_EQ(client.user_group().handle(), 1u);
    EXPECT_EQ(client.user_group().handle(), 2u);
    EXPECT_EQ(client.group_destroy(1), 0);
    EXPECT_EQ(client.user_group().handle(), 1u);
}

TEST_F(Ioctls, GroupGetStateRewritesAllSixteenBytes) {
    drm_panthor_group_get_state args{
        .group_handle = client.kernel_group().handle(), .state = 0xffffffff, .fatal_queues = 0xffffffff};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_PANTHOR_GROUP_GET_STATE, args), 0);
    EXPECT_EQ(args.group_handle, 0u);
    EXPECT_EQ(args.state, 0u);
    EXPECT_EQ(args.fatal_queues, 0u);
    EXPECT_EQ(args.pad, 0u);
}

TEST_F(Ioctls, GroupGetStateRefusesPaddingAndUnknownHandles) {
    const std::uint32_t group = client.kernel_group().handle();
    for (const auto& wrong :
         {drm_panthor_group_get_state{.group_handle = group, .pad = 1},
          drm_panthor_group_get_state{.group_handle = 0}, drm_panthor_group_get_state{.group_handle = 2}})
        EXPECT_EQ(call(DRM_IOCTL_PANTHOR_GROUP_GET_STATE, wrong), EINVAL);
}

TEST_F(Ioctls, GroupKickOfAnUnknownHandleIsIgnored) {
    EXPECT_EQ(client.kick(0), 0);
    EXPECT_EQ(client.kick(1), 0);
    EXPECT_EQ(client.kick(~0U, ~0U), 0);
}

TEST_F(Ioctls, GroupGetFaultRefusesPaddingAndUnknownHandles) {
    const std::uint32_t group = client.kernel_group().handle();
    for (const auto& wrong :
         {belfry_group_get_fault{.group_handle = group, .pad = 1}, belfry_group_get_fault{.group_handle = 0},
          belfry_group_get_fault{.group_handle = 2}})
        EXPECT_EQ(call(DRM_IOCTL_BELFRY_GROUP_GET_FAULT, wrong), EINVAL);
}

TEST_F(Ioctls, GroupGetFaultOfAHealthyGroupSaysSo) {
    belfry_group_get_fault args{.group_handle = client.kernel_group().handle(), .flags = ~0U, .address = 1};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_BELFRY_GROUP_GET_FAULT, args), 0);
    EXPECT_EQ(args.group_handle, 1u);
    EXPECT_EQ(args.flags, 0u);
    EXPECT_EQ(args.address, 0u);
}

TEST_F(Ioctls, DeviceInfoCountsWhatThereIs) {
    rig.open();
    client.bo(3 * kPage);
    client.user_group();
    belfry_device_info info{};
    EXPECT_EQ(client.ioctl(DRM_IOCTL_BELFRY_DEVICE_INFO, info), 0);
    EXPECT_EQ(info.files, 2u);
    EXPECT_EQ(info.vms, 1u);
    EXPECT_EQ(info.groups, 1u);
    EXPECT_EQ(info.groups_on_slot, 0u);
    EXPECT_EQ(info.groups_waiting, 0u);
    EXPECT_EQ(info.buffers, 2u);  // with the ring
    EXPECT_EQ(info.buffer_bytes, 4 * kPage);
    EXPECT_EQ(info.requests, 4u);
}

// --- GROUP_SUBMIT: what it refuses

class GroupSubmit : public Ioctls {
  protected:
    struct Request {
        drm_panthor_group_submit args;
        std::vector<drm_panthor_queue_submit> jobs;
        std::vector<drm_panthor_sync_op> first_syncs;   // of job 0
        std::vector<drm_panthor_sync_op> second_syncs;  // of job 1
    };

    Request good() {
        return {.args = {.group_handle = group.handle()},
                .jobs = {{.stream_size = stream.bytes, .stream_addr = stream.va}, {.queue_index = 1}},
                .first_syncs = {wait_op(ready), signal_op(unsubmitted)},
                .second_syncs = {wait_op(ready)}};
    }
    int send(Request& request) {
        request.jobs[0].syncs = obj_array(request.first_syncs);
        request.jobs[1].syncs = obj_array(request.second_syncs);
        request.args.queue_submits = obj_array(request.jobs);
        const int result = client.ioctl(DRM_IOCTL_PANTHOR_GROUP_SUBMIT, request.args);
        // What a good one signals must be unsubmitted again for the next.
        std::vector<std::uint32_t> handles{unsubmitted};
        EXPECT_EQ(result == 0, client.has_fence(unsubmitted));
        EXPECT_EQ(call(DRM_IOCTL_SYNCOBJ_RESET,
                       drm_syncobj_array{.handles = reinterpret_cast<std::uint64_t>(handles.data()),
                                         .count_handles = 1}),
                  0);
        return result;
    }
    /// In a new group each time, since it kills it.
    KernelGroup& dead_group() {
        KernelGroup& dead = client.kernel_group();
        const Stream bad = client.stream([](W& w) { w.word(kBadWord); });
        EXPECT_EQ(dead.submit({{.stream = bad}}), 0);
        rig.run_until_idle();
        EXPECT_EQ(dead.state().fatal_queues, 1u);
        return dead;
    }

    Stream stream = client.stream([](W& w) { w.nop(); });
    KernelGroup& group = client.kernel_group({.queues = 2});
    UserGroup& user = client.user_group();
    std::uint32_t ready = client.syncobj(true);
    std::uint32_t unsubmitted = client.syncobj();
    std::uint32_t other = client.syncobj();
};

TEST_F(GroupSubmit, FindsTheMistakesOfJobsAndSignalsBeforeThoseOfWaits) {
    // All of these are EINVAL; what can be told apart is that a wait's ENOENT comes after them.
    const std::uint32_t dead = dead_group().handle();
    expect_order<Request>(
        [&] { return good(); },
        {
            {"padding", [](auto& request) { request.args.pad = 1; }},
            {"job padding", [](auto& request) { request.jobs[1].pad = 1; }},
            {"a size without an address", [](auto& request) { request.jobs[1].stream_size = 8; }},
            {"an address without a size", [](auto& request) { request.jobs[0].stream_size = 0; }},
            {"an address that is not a cache line's",
             [](auto& request) { request.jobs[0].stream_addr += 8; }},
            {"a size that is not of instructions", [](auto& request) { request.jobs[0].stream_size = 12; }},
            {"flush id bit 24", [](auto& request) { request.jobs[0].latest_flush = 1U << 24; }},
            {"flush id bit 30", [](auto& request) { request.jobs[0].latest_flush = 1U << 30; }},
            {"no such group", [](auto& request) { request.args.group_handle = 99; }},
            {"a group that has ended", [&](auto& request) { request.args.group_handle = dead; }},
            {"a user group", [&](auto& request) { request.args.group_handle = user.handle(); }},
            {"no such queue", [](auto& request) { request.jobs[1].queue_index = 2; }},
            {"a signal's flag 8", [](auto& request) { request.first_syncs[1].flags |= 1U << 8; }},
            {"a signal's handle type 2", [](auto& request) { request.first_syncs[1].flags |= 2; }},
            {"a point for a binary signal", [](auto& request) { request.first_syncs[1].timeline_value = 1; }},
            {"no such syncobj to signal", [](auto& request) { request.first_syncs[1].handle = 99; }},
            {"no such syncobj to wait for", [](auto& request) { request.first_syncs[0].handle = 99; },
             ENOENT},
            {"an unsubmitted one to wait for, later",
             [&](auto& request) { request.second_syncs[0].handle = other; }},
        },
        [&](auto& request) { return send(request); });
}

TEST_F(GroupSubmit, FindsTheFlagsOfAWaitBeforeItsSyncobj) {
    expect_order<Request>(
        [&] { return good(); },
        {{"flag 8", [](auto& request) { request.first_syncs[0].flags = 1U << 8; }},
         {"handle type 2", [](auto& request) { request.first_syncs[0].flags = 2; }},
         {"a point for a binary wait", [](auto& request) { request.first_syncs[0].timeline_value = 1; }},
         {"no such syncobj", [](auto& request) { request.first_syncs[0].handle = 99; }, ENOENT},
         {"no such syncobj, next job", [](auto& request) { request.second_syncs[0].handle = 99; }, ENOENT}},
        [&](auto& request) { return send(request); });
}

TEST_F(GroupSubmit, FindsTheMistakesOfWaitsInTheOrderOfTheJobs) {
    auto request = good();
    request.first_syncs[0].handle = other;  // unsubmitted
    request.second_syncs[0].handle = 99;    // unknown
    EXPECT_EQ(send(request), EINVAL);
    request = good();
    request.first_syncs[0].handle = 99;
    request.second_syncs[0].handle = other;
    EXPECT_EQ(send(request), ENOENT);
}

TEST_F(GroupSubmit, OfNothingSucceedsForAnyGroup) {
    EXPECT_EQ(call(DRM_IOCTL_PANTHOR_GROUP_SUBMIT, drm_panthor_group_submit{.group_handle = 99}), 0);
    EXPECT_EQ(call(DRM_IOCTL_PANTHOR_GROUP_SUBMIT, drm_panthor_group_submit{.group_handle = 99, .pad = 1}),
              EINVAL);
}

TEST_F(GroupSubmit, CutsTheHandleToSixteenBits) {
    auto request = good();
    request.args.group_handle |= 0xabcd0000;
    EXPECT_EQ(send(request), 0);
}

TEST_F(GroupSubmit, TakesTheFlushIdsThatTheGpuGives) {
    auto request = good();
    request.jobs[0].latest_flush = 0x80ffffff;
    EXPECT_EQ(send(request), 0);
}

}  // namespace
}  // namespace belfry::panthor
