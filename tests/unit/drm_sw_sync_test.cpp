// Software timelines as programs use them: what sync files tell of them, and when they fire.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "belfry/uapi/sw_sync.h"
#include "belfry/uapi/sync_file.h"
#include "drm/exports.hpp"
#include "drm/fence_merge.hpp"
#include "drm/sw_sync.hpp"
#include "drm/sync_file_ioctls.hpp"
#include "test_call.hpp"
#include "test_exports.hpp"

namespace belfry::drm {
namespace {

/// A program with timelines; it counts what the driver is asked to catch up with.
struct Rig {
    Rig() { timers.set_now(1000); }

    std::unique_ptr<File> open() { return *node.open({}); }

    template <typename Args>
    static std::shared_ptr<TestCall> send(File& timeline, std::uint32_t request, const Args& args,
                                          const base::Fd* fd = nullptr) {
        std::vector<base::Fd> fds;
        if (fd != nullptr) fds.push_back(*fd->duplicate());
        auto call = TestCall::make(request, args, std::move(fds));
        timeline.ioctl(call);
        static_cast<SwSyncFile&>(timeline).check_invariants();
        return call;
    }
    static base::Fd fence(File& timeline, std::uint32_t value) {
        const auto call =
            send(timeline, SW_SYNC_IOC_CREATE_FENCE, uapi::sw_sync_create_fence_data{.value = value});
        EXPECT_EQ(call->answer(), 0);
        const auto at = static_cast<std::size_t>(call->args<uapi::sw_sync_create_fence_data>().fence);
        return *call->given_fds()[at].duplicate();
    }
    static void inc(File& timeline, std::uint32_t by) {
        EXPECT_EQ(send(timeline, SW_SYNC_IOC_INC, uapi::sw_sync_inc{.value = by})->answer(), 0);
    }
    [[nodiscard]] FencePtr behind(const base::Fd& fd) const { return exports.find_sync_file(fd)->fence(); }
    [[nodiscard]] int status(const base::Fd& fd) const { return behind(fd)->status(); }
    base::Fd merge(const base::Fd& a, const base::Fd& b) {
        return *exports.export_fence(merge_fences(contexts, std::array{behind(a), behind(b)}), "merged");
    }
    [[nodiscard]] std::size_t count(const base::Fd& fd) const { return unwrap_fence(behind(fd)).size(); }
    /// GET_DEADLINE's answer.
    static std::pair<int, std::uint64_t> deadline(File& timeline, const base::Fd& fd) {
        const auto call = send(timeline, SW_SYNC_GET_DEADLINE, uapi::sw_sync_get_deadline{}, &fd);
        return {*call->answer(), call->args<uapi::sw_sync_get_deadline>().deadline_ns};
    }

    FenceContexts contexts;
    Timers timers;
    TestExports host;
    Exports exports{host};
    int entries = 0;
    SwSyncNode node{exports, contexts, timers, [this] { ++entries; }};
};

TEST(SwSync, AFenceSignalsWhenItsTimelineReachesItsValue) {
    Rig rig;
    const auto timeline = rig.open();
    const base::Fd fence = rig.fence(*timeline, 5);
    rig.inc(*timeline, 1);
    rig.inc(*timeline, 3);
    EXPECT_EQ(rig.status(fence), 0);
    EXPECT_FALSE(readable(fence));
    rig.timers.set_now(2000);
    rig.inc(*timeline, 1);
    EXPECT_EQ(rig.status(fence), 1);
    EXPECT_EQ(rig.behind(fence)->timestamp_ns(), 2000u);
    EXPECT_TRUE(readable(fence));
}

TEST(SwSync, AFenceOfAValueThatIsReachedIsSignalledFromTheStart) {
    Rig rig;
    const auto timeline = rig.open();
    EXPECT_EQ(rig.status(rig.fence(*timeline, 0)), 1);
    rig.inc(*timeline, 10);
    const base::Fd fence = rig.fence(*timeline, 7);
    EXPECT_EQ(rig.status(fence), 1);
    EXPECT_EQ(rig.behind(fence)->timestamp_ns(), 1000u);
}

TEST(SwSync, IncSignalsInTheOrderOfTheValuesAndNoFurther) {
    Rig rig;
    const auto timeline = rig.open();
    std::vector<int> log;
    struct Waiter {
        std::vector<int>& log;
        int name;
        FenceCallback callback{[this] { log.push_back(name); }};
    };
    Waiter nine{log, 9}, three{log, 3}, five{log, 5}, eleven{log, 11};
    std::vector<base::Fd> files;
    for (auto* const waiter : {&nine, &three, &five, &eleven}) {
        files.push_back(rig.fence(*timeline, static_cast<std::uint32_t>(waiter->name)));
        ASSERT_TRUE(rig.behind(files.back())->add_callback(waiter->callback));
    }
    rig.inc(*timeline, 10);
    EXPECT_EQ(log, (std::vector{3, 5, 9}));
}

TEST(SwSync, FencesOfOneValueAreOneFence) {
    Rig rig;
    const auto timeline = rig.open();
    const base::Fd a = rig.fence(*timeline, 5);
    const base::Fd b = rig.fence(*timeline, 5);
    EXPECT_EQ(rig.behind(a), rig.behind(b));
    EXPECT_NE(*inode_of(a.get()), *inode_of(b.get()));
    rig.inc(*timeline, 5);
    EXPECT_TRUE(readable(a) && readable(b));
}

TEST(SwSync, ValuesWrapAt32Bits) {
    Rig rig;
    const auto timeline = rig.open();
    rig.inc(*timeline, 0xffff'fff0);
    const base::Fd before = rig.fence(*timeline, 0xffff'fff8);
    const base::Fd beyond = rig.fence(*timeline, 4);
    EXPECT_EQ(rig.status(rig.fence(*timeline, 0xffff'ff00)), 1);
    EXPECT_EQ(rig.behind(rig.merge(before, beyond)), rig.behind(beyond));
    rig.inc(*timeline, 8);
    EXPECT_EQ(rig.status(before), 1);
    EXPECT_EQ(rig.status(beyond), 0);
    rig.inc(*timeline, 12);
    EXPECT_EQ(rig.status(beyond), 1);
}

TEST(SwSync, TimelinesAreIndependent) {
    Rig rig;
    const auto a = rig.open();
    const auto b = rig.open();
    const base::Fd of_a = rig.fence(*a, 1);
    const base::Fd of_b = rig.fence(*b, 1);
    rig.inc(*a, 1);
    EXPECT_EQ(rig.status(of_a), 1);
    EXPECT_EQ(rig.status(of_b), 0);
}

TEST(SwSync, ClosingATimelineFailsWhatIsPending) {
    Rig rig;
    auto timeline = rig.open();
    const base::Fd reached = rig.fence(*timeline, 1);
    rig.inc(*timeline, 1);
    const base::Fd pending = rig.fence(*timeline, 2);
    const base::Fd later = rig.fence(*timeline, 0x7fff'ffff);
    timeline.reset();
    EXPECT_EQ(rig.status(reached), 1);
    EXPECT_EQ(rig.status(pending), -ENOENT);
    EXPECT_EQ(rig.status(later), -ENOENT);
    EXPECT_TRUE(readable(pending));
}

TEST(SwSync, SeveralFencesOfOneTimelineMergeIntoOne) {
    Rig rig;
    const auto timeline = rig.open();
    base::Fd merged = rig.fence(*timeline, 1);
    for (const std::uint32_t value : {2u, 3u}) merged = rig.merge(merged, rig.fence(*timeline, value));
    EXPECT_EQ(rig.count(merged), 1u);
    rig.inc(*timeline, 2);
    EXPECT_EQ(rig.status(merged), 0);
    rig.inc(*timeline, 1);
    EXPECT_EQ(rig.status(merged), 1);
}

TEST(SwSync, AMergeOverTimelinesFiresWithTheLastOfThem) {
    Rig rig;
    std::vector<std::unique_ptr<File>> timelines;
    for (int i = 0; i < 3; ++i) timelines.push_back(rig.open());
    base::Fd merged = rig.fence(*timelines[0], 5);
    for (const std::size_t i : {1u, 2u}) merged = rig.merge(merged, rig.fence(*timelines[i], 5));
    EXPECT_EQ(rig.count(merged), 3u);
    for (const auto& timeline : timelines) {
        EXPECT_FALSE(readable(merged));
        rig.inc(*timeline, 5);
    }
    EXPECT_TRUE(readable(merged));
    EXPECT_EQ(rig.count(merged), 3u);
}

TEST(SwSync, AFenceThatNobodyHoldsIsGone) {
    Rig rig;
    const auto timeline = rig.open();
    base::Fd fd = rig.fence(*timeline, 5);
    const Inode inode = *inode_of(fd.get());
    fd = {};
    rig.host.close(inode);
    rig.inc(*timeline, 5);
    EXPECT_EQ(rig.exports.size(), 0u);
}

TEST(SwSync, TenThousandFencesAreSignalledOneByOneAndAllAtOnce) {
    Rig rig;
    const auto timeline = rig.open();
    // Held without descriptors, of which there are fewer.
    std::vector<FencePtr> fences;
    for (std::uint32_t value = 1; value <= 10'000; ++value) {
        const base::Fd fd = rig.fence(*timeline, value);
        fences.push_back(rig.behind(fd));
        rig.host.close(*inode_of(fd.get()));
    }
    for (std::size_t value = 1; value <= 5'000; ++value) {
        rig.inc(*timeline, 1);
        EXPECT_EQ(fences[value - 1]->status(), 1);
        EXPECT_EQ(fences[value]->status(), 0);
    }
    rig.inc(*timeline, 5'000);
    for (const auto& fence : fences) EXPECT_EQ(fence->status(), 1);
}

TEST(SwSync, LeavesNothingOfAFenceForWhichThereIsNoDescriptor) {
    Rig rig;
    const auto timeline = rig.open();
    rig.host.fail = Errno::too_many_files;
    EXPECT_EQ(
        rig.send(*timeline, SW_SYNC_IOC_CREATE_FENCE, uapi::sw_sync_create_fence_data{.value = 5})->answer(),
        EMFILE);
    rig.inc(*timeline, 5);
}

TEST(SwSync, GetDeadlineTellsTheEarliestThatWasSet) {
    Rig rig;
    const auto timeline = rig.open();
    const auto other = rig.open();
    const base::Fd fence = rig.fence(*timeline, 5);
    EXPECT_EQ(rig.deadline(*timeline, fence), std::pair(ENOENT, std::uint64_t{0}));
    const auto set = [&](const base::Fd& file, std::uint64_t deadline_ns) {
        const auto call =
            TestCall::make(SYNC_IOC_SET_DEADLINE, uapi::sync_set_deadline{.deadline_ns = deadline_ns});
        call->set_target(*file.duplicate());
        sync_file_ioctl(rig.exports, rig.contexts, call);
        EXPECT_EQ(call->answer(), 0);
    };
    set(fence, 700);
    set(rig.merge(fence, rig.fence(*other, 1)), 500);
    set(fence, 600);
    EXPECT_EQ(rig.deadline(*timeline, fence), std::pair(0, std::uint64_t{500}));
    EXPECT_EQ(rig.deadline(*other, fence), std::pair(0, std::uint64_t{500}));
}

TEST(SwSync, GetDeadlineRefusesAnythingElse) {
    Rig rig;
    const auto timeline = rig.open();
    const base::Fd fence = rig.fence(*timeline, 5);
    const auto ask = [&](uapi::sw_sync_get_deadline args) {
        return *rig.send(*timeline, SW_SYNC_GET_DEADLINE, args, &fence)->answer();
    };
    EXPECT_EQ(ask({.deadline_ns = 1}), EINVAL);
    EXPECT_EQ(ask({.pad = 1}), EINVAL);
    EXPECT_EQ(ask({.fence_fd = Call::kNoDescriptor}), EINVAL);
    EXPECT_EQ(rig.deadline(*timeline, *rig.exports.export_fence(Fence::make(99, 1))).first, EINVAL);
    EXPECT_EQ(rig.deadline(*timeline, *base::make_eventfd()).first, EINVAL);
}

TEST(SwSync, KnowsNoOtherRequestAndNoMapping) {
    Rig rig;
    const auto timeline = rig.open();
    EXPECT_EQ(rig.send(*timeline, _IO('W', 9), std::uint32_t{0})->answer(), ENOTTY);
    std::optional<Errno> mapped;
    timeline->mmap({.offset = 0, .bytes = 4096, .protection = 0},
                   [&](const Result<std::vector<MapSegment>>& answer) { mapped = answer.error(); });
    EXPECT_EQ(mapped, Errno::no_device);
}

TEST(SwSync, TheDriverCatchesUpAfterEachRequestAndEachClose) {
    Rig rig;
    auto timeline = rig.open();
    EXPECT_EQ(rig.entries, 0);
    const base::Fd fence = rig.fence(*timeline, 1);
    EXPECT_EQ(rig.entries, 1);
    rig.inc(*timeline, 1);
    EXPECT_EQ(rig.entries, 2);
    timeline.reset();
    EXPECT_EQ(rig.entries, 3);
}

}  // namespace
}  // namespace belfry::drm
