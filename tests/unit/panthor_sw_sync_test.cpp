// Jobs that depend on what programs signal by hand, by way of sync files and syncobjs.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <poll.h>

#include "belfry/uapi/sw_sync.h"
#include "belfry/uapi/sync_file.h"
#include "drm/sw_sync.hpp"
#include "unit/panthor_rig.hpp"

namespace belfry::panthor {
namespace {

class SwSyncJobs : public testing::Test {
  protected:
    std::unique_ptr<drm::File> open_timeline() { return *sw_sync.open({}); }
    static base::Fd sync_file(drm::File& timeline, std::uint32_t value) {
        const auto call =
            TestCall::make(SW_SYNC_IOC_CREATE_FENCE, sw_sync_create_fence_data{.value = value, .fence = 0});
        timeline.ioctl(call);
        EXPECT_EQ(call->answer(), 0);
        const auto at = static_cast<std::size_t>(call->args<sw_sync_create_fence_data>().fence);
        return *call->given_fds()[at].duplicate();
    }
    /// INC, by one; everything that follows from it, the GPU's part too.
    void inc(drm::File& timeline) {
        const auto call = TestCall::make(SW_SYNC_IOC_INC, sw_sync_inc{.value = 1});
        timeline.ioctl(call);
        EXPECT_EQ(call->answer(), 0);
        rig.run_until_idle();
    }
    /// A syncobj with the sync file's fence.
    std::uint32_t import(const base::Fd& file) {
        const std::uint32_t handle = client.syncobj();
        std::vector<base::Fd> fds;
        fds.push_back(*file.duplicate());
        drm_syncobj_handle args{.handle = handle, .flags = DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE};
        EXPECT_EQ(client.ioctl(DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, args, std::move(fds)), 0);
        return handle;
    }
    Stream one() {
        return client.stream([&](W& w) { add_one(w, done.va); });
    }

    Rig rig;
    drm::SwSyncNode sw_sync{rig.device().exports(), rig.device().fence_contexts(), rig.device().timers(),
                            [this] { rig.device().run_work(); }};
    Client& client = rig.open();
    Memory done = client.memory();
    KernelGroup& group = client.kernel_group();
};

TEST_F(SwSyncJobs, AJobRunsWhenTheTimelineThatItWaitsForMovesOn) {
    const auto timeline = open_timeline();
    const std::uint32_t dependency = import(sync_file(*timeline, 2));
    const std::uint32_t finished = client.syncobj();
    ASSERT_EQ(group.submit({{.stream = one(), .syncs = {wait_op(dependency), signal_op(finished)}}}), 0);
    inc(*timeline);
    EXPECT_EQ(done.u64(), 0u);
    inc(*timeline);
    EXPECT_EQ(done.u64(), 1u);
    EXPECT_EQ(client.fence_status(finished), 1);
}

TEST_F(SwSyncJobs, AJobRunsWhenTheTimelineThatItWaitsForIsClosed) {
    auto timeline = open_timeline();
    const std::uint32_t dependency = import(sync_file(*timeline, 1));
    ASSERT_EQ(group.submit({{.stream = one(), .syncs = {wait_op(dependency)}}}), 0);
    timeline.reset();
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 1u);
}

TEST_F(SwSyncJobs, ASyncFilesRequestsTravelOverADrmFile) {
    const auto timeline = open_timeline();
    const base::Fd file = sync_file(*timeline, 1);
    const auto status = [&] {
        const auto call = TestCall::make(SYNC_IOC_FILE_INFO, sync_file_info{});
        call->set_target(*file.duplicate());
        client.file().ioctl(call);
        EXPECT_EQ(call->answer(), 0);
        return call->args<sync_file_info>().status;
    };
    EXPECT_EQ(status(), 0);
    inc(*timeline);
    EXPECT_EQ(status(), 1);
}

TEST_F(SwSyncJobs, ASyncFileOfAJobFiresWithTheJob) {
    const std::uint32_t finished = client.syncobj();
    ASSERT_EQ(group.submit({{.stream = one(), .syncs = {signal_op(finished, 3)}}}), 0);
    const auto call =
        client.start(DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD,
                     drm_syncobj_handle{.handle = finished,
                                        .flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE |
                                                 DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_TIMELINE,
                                        .point = 3});
    ASSERT_EQ(call->answer(), 0);
    const auto& file = call->given_fds()[static_cast<std::size_t>(call->args<drm_syncobj_handle>().fd)];
    const auto readable = [&] {
        pollfd entry{.fd = file.get(), .events = POLLIN, .revents = 0};
        return ::poll(&entry, 1, 0) == 1;
    };
    EXPECT_FALSE(readable());
    rig.run_until_idle();
    EXPECT_TRUE(readable());
}

}  // namespace
}  // namespace belfry::panthor
