// Syncobjs by descriptor, TRANSFER and EVENTFD: errno for errno, in the order of the checks.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "belfry/uapi/drm.h"
#include "drm/exports.hpp"
#include "drm/fence.hpp"
#include "drm/fence_merge.hpp"
#include "drm/syncobj_ioctls.hpp"
#include "drm/timers.hpp"
#include "test_call.hpp"
#include "test_exports.hpp"

namespace belfry::drm {
namespace {

constexpr std::uint32_t kBad = 0xdead'beef;
constexpr std::uint32_t kSyncFile = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE;
constexpr std::uint32_t kTimeline = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_TIMELINE;
constexpr std::uint32_t kForSubmit = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT;
constexpr std::uint32_t kAvailable = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_AVAILABLE;
constexpr std::uint64_t kStart = 1'000'000;
constexpr std::uint64_t kFiveSeconds = 5'000'000'000;

using Args = uapi::drm_syncobj_handle;
using Transfer = uapi::drm_syncobj_transfer;
using Eventfd = uapi::drm_syncobj_eventfd;

/// Two programs, each with an open file, and the driver's side.
struct Rig {
    using Handler = void (*)(SyncobjTable&, Timers&, const std::shared_ptr<Call>&);

    Rig() { timers.set_now(kStart); }
    ~Rig() {
        if (table) table->check_invariants();
    }

    template <typename T>
    std::shared_ptr<TestCall> send(Handler handler, const T& args, const base::Fd* fd = nullptr,
                                   SyncobjTable* to = nullptr) {
        std::vector<base::Fd> fds;
        if (fd != nullptr) fds.push_back(*fd->duplicate());
        auto call = TestCall::make(0, args, std::move(fds));
        handler(to != nullptr ? *to : *table, timers, call);
        table->check_invariants();
        return call;
    }

    std::uint32_t create() { return *table->insert(Syncobj::make(contexts)); }
    SyncobjPtr syncobj(std::uint32_t handle) { return table->find(handle); }
    FencePtr fence() { return Fence::make(contexts.allocate(), 1); }
    /// As the driver does for a job: 0 for a binary syncobj.
    FencePtr attach(std::uint32_t handle, std::uint64_t point = 0) {
        auto attached = fence();
        if (point == 0)
            syncobj(handle)->replace(attached);
        else
            syncobj(handle)->add_point(attached, point);
        return attached;
    }
    [[nodiscard]] int find(std::uint32_t handle, std::uint64_t point = 0) {
        const auto found = syncobj(handle)->find_point(point);
        return found ? (*found)->status() : -static_cast<int>(found.error());
    }

    int to_fd_answer(const Args& args) { return *send(syncobj_handle_to_fd, args)->answer(); }
    base::Fd to_fd(const Args& args) {
        const auto call = send(syncobj_handle_to_fd, args);
        EXPECT_EQ(call->answer(), 0);
        return *call->given_fds()[static_cast<std::size_t>(call->args<Args>().fd)].duplicate();
    }
    int to_handle_answer(const Args& args, const base::Fd* fd = nullptr) {
        return *send(syncobj_fd_to_handle, args, fd)->answer();
    }
    std::uint32_t to_handle(const base::Fd& fd, SyncobjTable* to = nullptr) {
        const auto call = send(syncobj_fd_to_handle, Args{}, &fd, to);
        EXPECT_EQ(call->answer(), 0);
        return call->args<Args>().handle;
    }
    int import(const base::Fd& sync_file, std::uint32_t handle, std::uint32_t flags = 0,
               std::uint64_t point = 0) {
        return to_handle_answer({.handle = handle, .flags = kSyncFile | flags, .point = point}, &sync_file);
    }
    int transfer(const Transfer& args) { return *send(syncobj_transfer, args)->answer(); }
    int eventfd(const Eventfd& args, const base::Fd& fd) {
        return *send(syncobj_eventfd, args, &fd)->answer();
    }
    void advance_to(std::uint64_t now_ns) {
        timers.run(now_ns);
        table->check_invariants();
    }

    FenceContexts contexts;
    Timers timers;
    TestExports host;
    Exports exports{host};
    std::unique_ptr<SyncobjTable> table = std::make_unique<SyncobjTable>(contexts, exports);
    SyncobjTable other{contexts, exports};
};

// --- HANDLE_TO_FD

TEST(SyncobjHandleToFd, ChecksPadFlagsAndPointThenTheHandle) {
    Rig rig;
    const auto handle = rig.create();
    EXPECT_EQ(rig.to_fd_answer({.handle = handle, .pad = kBad}), EINVAL);
    EXPECT_EQ(rig.to_fd_answer({.handle = handle, .flags = kBad}), EINVAL);
    EXPECT_EQ(rig.to_fd_answer({.handle = handle, .point = 1}), EINVAL);
    EXPECT_EQ(rig.to_fd_answer({.handle = handle, .flags = kTimeline, .point = 1}), EINVAL);
    EXPECT_EQ(rig.to_fd_answer({.handle = kBad}), EINVAL);
    rig.host.fail = Errno::too_many_files;
    EXPECT_EQ(rig.to_fd_answer({.handle = kBad}), EINVAL);
    EXPECT_EQ(rig.to_fd_answer({.handle = handle}), EMFILE);
}

TEST(SyncobjHandleToFd, OfASyncFileChecksPadAndFlagsThenTheHandleThenThePoint) {
    Rig rig;
    const auto handle = rig.create();
    EXPECT_EQ(rig.to_fd_answer({.handle = kBad, .flags = kSyncFile, .pad = 1}), EINVAL);
    EXPECT_EQ(rig.to_fd_answer({.handle = kBad, .flags = kSyncFile | 4}), EINVAL);
    EXPECT_EQ(rig.to_fd_answer({.handle = kBad, .flags = kSyncFile}), ENOENT);
    EXPECT_EQ(rig.to_fd_answer({.handle = handle, .flags = kSyncFile}), EINVAL);
    rig.attach(handle, 3);
    EXPECT_EQ(rig.to_fd_answer({.handle = handle, .flags = kSyncFile | kTimeline, .point = 4}), EINVAL);
    rig.host.fail = Errno::too_many_files;
    EXPECT_EQ(rig.to_fd_answer({.handle = handle, .flags = kSyncFile}), EMFILE);
}

TEST(SyncobjHandleToFd, ThePointOfASyncFileCountsOnlyWithTimeline) {
    Rig rig;
    const auto handle = rig.create();
    const auto fence = rig.attach(handle);
    const base::Fd fd = rig.to_fd({.handle = handle, .flags = kSyncFile, .point = 77});
    EXPECT_EQ(rig.exports.find_sync_file(fd)->fence(), fence);
}

TEST(SyncobjHandleToFd, ASyncFileIsASnapshot) {
    Rig rig;
    const auto handle = rig.create();
    const auto fence = rig.attach(handle);
    const base::Fd fd = rig.to_fd({.handle = handle, .flags = kSyncFile});
    rig.syncobj(handle)->replace(signalled_stub(1));
    EXPECT_FALSE(readable(fd));
    fence->signal(1);
    EXPECT_TRUE(readable(fd));
}

TEST(SyncobjHandleToFd, ASyncFileOfATimelinesPointFiresWithThatPoint) {
    Rig rig;
    const auto handle = rig.create();
    const auto one = rig.attach(handle, 1);
    const auto two = rig.attach(handle, 2);
    const auto three = rig.attach(handle, 3);
    const base::Fd fd = rig.to_fd({.handle = handle, .flags = kSyncFile | kTimeline, .point = 2});
    EXPECT_EQ(rig.exports.find_sync_file(fd)->fence(), *rig.syncobj(handle)->find_point(2));
    two->signal(1);
    EXPECT_FALSE(readable(fd));
    one->signal(2);
    EXPECT_TRUE(readable(fd));
    EXPECT_EQ(three->status(), 0);
}

// --- FD_TO_HANDLE

TEST(SyncobjFdToHandle, ChecksPadFlagsAndPointThenTheDescriptor) {
    Rig rig;
    const base::Fd fd = rig.to_fd({.handle = rig.create()});
    EXPECT_EQ(rig.to_handle_answer({.pad = kBad}, &fd), EINVAL);
    EXPECT_EQ(rig.to_handle_answer({.flags = kBad}, &fd), EINVAL);
    EXPECT_EQ(rig.to_handle_answer({.point = 1}, &fd), EINVAL);
    EXPECT_EQ(rig.to_handle_answer({.flags = kTimeline, .point = 1}, &fd), EINVAL);
    for (const std::int32_t none : {Call::kNoDescriptor, Call::kClosedDescriptor})
        EXPECT_EQ(rig.to_handle_answer({.fd = none}), EINVAL);
    const base::Fd strange = *base::make_eventfd();
    EXPECT_EQ(rig.to_handle_answer({}, &strange), EINVAL);
    const base::Fd sync_file = *rig.exports.export_fence(rig.fence());
    EXPECT_EQ(rig.to_handle_answer({}, &sync_file), EINVAL);
}

TEST(SyncobjFdToHandle, AlwaysGivesANewHandleToTheSameObject) {
    Rig rig;
    const auto handle = rig.create();
    const base::Fd fd = rig.to_fd({.handle = handle});
    const auto first = rig.to_handle(fd);
    const auto second = rig.to_handle(fd);
    EXPECT_NE(first, handle);
    EXPECT_NE(second, first);
    const auto elsewhere = rig.to_handle(fd, &rig.other);
    rig.attach(handle)->signal(1);
    EXPECT_EQ(rig.find(second), 1);
    EXPECT_EQ(rig.other.find(elsewhere), rig.syncobj(handle));
}

TEST(SyncobjFdToHandle, TheDescriptorKeepsTheObjectAlive) {
    Rig rig;
    const auto handle = rig.create();
    rig.attach(handle)->signal(1);
    const base::Fd fd = rig.to_fd({.handle = handle});
    ASSERT_TRUE(rig.table->remove(handle));
    EXPECT_EQ(rig.find(rig.to_handle(fd)), 1);
}

TEST(SyncobjFdToHandle, OfASyncFileChecksTheDescriptorThenTheHandle) {
    Rig rig;
    const auto handle = rig.create();
    const base::Fd syncobj = rig.to_fd({.handle = handle});
    const base::Fd sync_file = *rig.exports.export_fence(rig.fence());
    EXPECT_EQ(rig.to_handle_answer({.handle = handle, .flags = kSyncFile, .pad = 1}, &sync_file), EINVAL);
    EXPECT_EQ(rig.to_handle_answer({.handle = kBad, .flags = kSyncFile, .fd = -1}), EINVAL);
    EXPECT_EQ(rig.import(syncobj, handle), EINVAL);
    EXPECT_EQ(rig.import(sync_file, kBad), ENOENT);
}

TEST(SyncobjFdToHandle, ASyncFileReplacesTheFence) {
    Rig rig;
    const auto handle = rig.create();
    const auto fence = rig.fence();
    const base::Fd file = *rig.exports.export_fence(fence);
    rig.attach(handle);
    EXPECT_EQ(rig.import(file, handle), 0);
    EXPECT_EQ(rig.syncobj(handle)->fence(), fence);
    // Nor does a point matter without TIMELINE, or TIMELINE without a point.
    rig.syncobj(handle)->replace(nullptr);
    EXPECT_EQ(rig.import(file, handle, 0, 5), 0);
    EXPECT_EQ(rig.syncobj(handle)->fence(), fence);
    rig.syncobj(handle)->replace(nullptr);
    EXPECT_EQ(rig.import(file, handle, kTimeline, 0), 0);
    EXPECT_EQ(rig.syncobj(handle)->fence(), fence);
}

TEST(SyncobjFdToHandle, ASyncFileCanBeATimelinesPoint) {
    Rig rig;
    const auto handle = rig.create();
    const auto before = rig.attach(handle, 1);
    const auto fence = rig.fence();
    EXPECT_EQ(rig.import(*rig.exports.export_fence(fence), handle, kTimeline, 4), 0);
    EXPECT_EQ(rig.find(handle, 1), 0);
    EXPECT_EQ(rig.find(handle, 4), 0);
    fence->signal(1);
    before->signal(1);
    EXPECT_EQ(rig.syncobj(handle)->query(), 4u);
}

TEST(SyncobjFdToHandle, ATimelinesPointMayCarryAnotherTimelinesFences) {
    Rig rig;
    const auto source = rig.create();
    const auto one = rig.attach(source, 1);
    const auto two = rig.attach(source, 2);
    const auto handle = rig.create();
    const base::Fd file = rig.to_fd({.handle = source, .flags = kSyncFile | kTimeline, .point = 2});
    EXPECT_EQ(rig.import(file, handle, kTimeline, 9), 0);
    one->signal(1);
    EXPECT_EQ(rig.find(handle, 9), 0);
    two->signal(1);
    EXPECT_EQ(rig.find(handle, 9), 1);
}

TEST(SyncobjFdToHandle, AnImportWakesWhoWaitsForTheSubmission) {
    Rig rig;
    const auto handle = rig.create();
    const base::Fd eventfd = *base::make_eventfd();
    EXPECT_EQ(rig.eventfd({.handle = handle, .flags = kAvailable, .point = 2}, eventfd), 0);
    EXPECT_EQ(rig.import(*rig.exports.export_fence(rig.fence()), handle, kTimeline, 2), 0);
    EXPECT_TRUE(readable(eventfd));
}

// --- TRANSFER

TEST(SyncobjTransfer, ChecksPadThenTheTargetThenFlagsThenTheSourceThenItsPoint) {
    Rig rig;
    const auto handle = rig.create();
    const auto ok = rig.create();
    rig.attach(ok);
    EXPECT_EQ(rig.transfer({.src_handle = kBad, .dst_handle = kBad, .pad = 1}), EINVAL);
    EXPECT_EQ(rig.transfer({.src_handle = ok, .dst_handle = kBad, .flags = kBad}), ENOENT);
    EXPECT_EQ(rig.transfer({.src_handle = kBad, .dst_handle = handle, .flags = 1}), EINVAL);
    EXPECT_EQ(rig.transfer({.src_handle = kBad, .dst_handle = handle}), ENOENT);
    EXPECT_EQ(rig.transfer({.src_handle = handle, .dst_handle = ok}), EINVAL);
    EXPECT_EQ(rig.transfer({.src_handle = ok, .dst_handle = handle, .src_point = 1}), EINVAL);
}

TEST(SyncobjTransfer, ToAPointAddsThatPoint) {
    Rig rig;
    const auto binary = rig.create();
    const auto timeline = rig.create();
    const auto fence = rig.attach(binary);
    EXPECT_EQ(rig.transfer({.src_handle = binary, .dst_handle = timeline, .dst_point = 5}), 0);
    EXPECT_EQ(rig.syncobj(timeline)->query_last_submitted(), 5u);
    EXPECT_EQ(rig.find(timeline, 5), 0);
    fence->signal(1);
    EXPECT_EQ(rig.syncobj(timeline)->query(), 5u);
}

TEST(SyncobjTransfer, ToPointZeroSharesTheFence) {
    Rig rig;
    const auto timeline = rig.create();
    const auto binary = rig.create();
    rig.attach(timeline, 1);
    rig.attach(timeline, 2);
    rig.attach(binary);
    EXPECT_EQ(rig.transfer({.src_handle = timeline, .dst_handle = binary, .src_point = 1}), 0);
    EXPECT_EQ(rig.syncobj(binary)->fence(), *rig.syncobj(timeline)->find_point(1));
    EXPECT_EQ(rig.transfer({.src_handle = timeline, .dst_handle = binary}), 0);
    EXPECT_EQ(rig.syncobj(binary)->fence(), rig.syncobj(timeline)->fence());
}

TEST(SyncobjTransfer, OfATimelineToAPointFlattensWhatIsPending) {
    Rig rig;
    const auto source = rig.create();
    const auto target = rig.create();
    std::vector<FencePtr> fences;
    for (std::uint64_t point = 1; point <= 3; ++point) fences.push_back(rig.attach(source, point));
    fences[1]->signal(1);
    EXPECT_EQ(rig.transfer({.src_handle = source, .dst_handle = target, .src_point = 3, .dst_point = 8}), 0);
    EXPECT_EQ(unwrap_fence(*rig.syncobj(target)->find_point(8)), (std::vector{fences[0], fences[2]}));
    fences[2]->signal(2);
    EXPECT_EQ(rig.find(target, 8), 0);
    fences[0]->signal(3);
    EXPECT_EQ(rig.find(target, 8), 1);
}

TEST(SyncobjTransfer, OnOneTimelineMovesItOn) {
    Rig rig;
    const auto handle = rig.create();
    rig.syncobj(handle)->add_point(signalled_stub(1), 63);
    EXPECT_EQ(rig.transfer({.src_handle = handle, .dst_handle = handle, .src_point = 63, .dst_point = 74}),
              0);
    EXPECT_EQ(rig.syncobj(handle)->query(), 74u);
}

TEST(SyncobjTransfer, OfATimelinesPointWaitsForThatPoint) {
    Rig rig;
    const auto binary = rig.create();
    const auto timeline = rig.create();
    const auto fence = rig.attach(binary);
    EXPECT_EQ(rig.transfer({.src_handle = binary, .dst_handle = timeline, .dst_point = 1}), 0);
    EXPECT_EQ(rig.syncobj(timeline)->query(), 0u);
    fence->signal(1);
    EXPECT_EQ(rig.syncobj(timeline)->query(), 1u);
    rig.syncobj(timeline)->add_point(signalled_stub(1), 2);
    EXPECT_EQ(rig.transfer({.src_handle = timeline,
                            .dst_handle = timeline,
                            .src_point = 2,
                            .dst_point = 3,
                            .flags = kForSubmit}),
              0);
    EXPECT_EQ(rig.syncobj(timeline)->query(), 3u);
}

TEST(SyncobjTransfer, ForSubmitWaitsForTheSource) {
    Rig rig;
    const auto source = rig.create();
    const auto target = rig.create();
    const auto call = rig.send(
        syncobj_transfer,
        Transfer{
            .src_handle = source, .dst_handle = target, .src_point = 4, .dst_point = 6, .flags = kForSubmit});
    EXPECT_FALSE(call->answered());
    rig.attach(source, 3);
    rig.advance_to(kStart + 10);
    EXPECT_FALSE(call->answered());
    const auto four = rig.attach(source, 4);
    rig.syncobj(source)->replace(nullptr);  // what it waited for was there
    rig.advance_to(kStart + 11);
    EXPECT_EQ(call->answer(), 0);
    EXPECT_EQ(rig.syncobj(target)->query_last_submitted(), 6u);
    EXPECT_EQ(rig.find(target, 6), 0);
    EXPECT_EQ(rig.table->pending_transfers(), 0u);
    EXPECT_EQ(rig.timers.next_deadline(), std::nullopt);
}

TEST(SyncobjTransfer, ForSubmitGivesUpAfterFiveSeconds) {
    Rig rig;
    const auto source = rig.create();
    const auto target = rig.create();
    const auto call =
        rig.send(syncobj_transfer, Transfer{.src_handle = source, .dst_handle = target, .flags = kForSubmit});
    rig.advance_to(kStart + kFiveSeconds - 1);
    EXPECT_FALSE(call->answered());
    rig.advance_to(kStart + kFiveSeconds);
    EXPECT_EQ(call->answer(), ETIME);
    EXPECT_EQ(call.use_count(), 1);
    rig.attach(source);
    EXPECT_EQ(rig.find(target), -EINVAL);
}

TEST(SyncobjTransfer, ForSubmitOutlivesTheHandles) {
    Rig rig;
    const auto source = rig.create();
    const auto target = rig.create();
    const auto source_object = rig.syncobj(source);
    const auto target_object = rig.syncobj(target);
    const auto call =
        rig.send(syncobj_transfer, Transfer{.src_handle = source, .dst_handle = target, .flags = kForSubmit});
    ASSERT_TRUE(rig.table->remove(source) && rig.table->remove(target));
    source_object->replace(signalled_stub(1));
    rig.advance_to(kStart);
    EXPECT_EQ(call->answer(), 0);
    EXPECT_NE(target_object->fence(), nullptr);
}

TEST(SyncobjTransfer, ALineOfThemIsWalkedWithoutRecursion) {
    Rig rig;
    constexpr std::size_t kLength = 100'000;
    std::vector<std::uint32_t> handles;
    while (handles.size() <= kLength) handles.push_back(rig.create());
    std::vector<std::shared_ptr<TestCall>> calls;
    for (std::size_t i = 0; i < kLength; ++i) {
        calls.push_back(TestCall::make(
            0, Transfer{.src_handle = handles[i], .dst_handle = handles[i + 1], .flags = kForSubmit}));
        syncobj_transfer(*rig.table, rig.timers, calls.back());
    }
    const auto fence = rig.attach(handles.front());
    while (rig.timers.next_deadline() == kStart) rig.timers.run(kStart);
    EXPECT_EQ(calls.back()->answer(), 0);
    EXPECT_EQ(rig.syncobj(handles.back())->fence(), fence);
}

TEST(SyncobjTransfer, OfACancelledCallOrAClosedFileIsGone) {
    Rig rig;
    const auto source = rig.create();
    const auto target = rig.create();
    const Transfer args{.src_handle = source, .dst_handle = target, .flags = kForSubmit};
    const auto cancelled = rig.send(syncobj_transfer, args);
    cancelled->cancel();
    EXPECT_EQ(rig.table->pending_transfers(), 0u);
    EXPECT_EQ(cancelled.use_count(), 1);
    const auto pending = rig.send(syncobj_transfer, args);
    const auto source_object = rig.syncobj(source);
    rig.table.reset();
    source_object->replace(signalled_stub(1));
    rig.timers.run(kStart + kFiveSeconds);
    EXPECT_EQ(pending.use_count(), 1);
    pending->cancel();
    EXPECT_FALSE(pending->answered());
}

// --- EVENTFD

TEST(SyncobjEventfd, ChecksFlagsAndPadThenTheHandleThenTheDescriptor) {
    Rig rig;
    const auto handle = rig.create();
    const base::Fd eventfd = *base::make_eventfd();
    EXPECT_EQ(rig.eventfd({.handle = 0, .flags = kBad}, eventfd), EINVAL);
    EXPECT_EQ(rig.eventfd({.handle = 0, .pad = kBad}, eventfd), EINVAL);
    EXPECT_EQ(rig.send(syncobj_eventfd, Eventfd{.handle = 0, .fd = -1})->answer(), ENOENT);
    for (const std::int32_t none : {Call::kNoDescriptor, Call::kClosedDescriptor})
        EXPECT_EQ(rig.send(syncobj_eventfd, Eventfd{.handle = handle, .fd = none})->answer(), EBADF);
    const base::Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    EXPECT_EQ(rig.eventfd({.handle = handle}, null), EINVAL);
}

/// One eventfd for the point's submission and one for its signal, as IGT looks at them.
struct Pair {
    Pair(Rig& rig, std::uint32_t handle, std::uint64_t point) {
        EXPECT_EQ(rig.eventfd({.handle = handle, .flags = kAvailable, .point = point}, available), 0);
        EXPECT_EQ(rig.eventfd({.handle = handle, .point = point}, signalled), 0);
    }
    [[nodiscard]] std::pair<bool, bool> readable() const {
        return {drm::readable(available), drm::readable(signalled)};
    }
    base::Fd available = *base::make_eventfd();
    base::Fd signalled = *base::make_eventfd();
};

TEST(SyncobjEventfd, OfAnAttachedFenceTellsAtOnceThatItIsThereAndLaterThatItSignalled) {
    for (const std::uint64_t point : {0u, 1u}) {
        Rig rig;
        const auto handle = rig.create();
        const auto fence = rig.attach(handle, point);
        const Pair pair(rig, handle, point);
        EXPECT_EQ(pair.readable(), std::pair(true, false));
        fence->signal(1);
        EXPECT_EQ(pair.readable(), std::pair(true, true));
        EXPECT_EQ(rig.table->pending_eventfds(), 0u);
    }
}

TEST(SyncobjEventfd, BeforeTheFenceIsAttachedWaitsForIt) {
    for (const std::uint64_t point : {0u, 1u}) {
        Rig rig;
        const auto handle = rig.create();
        const Pair pair(rig, handle, point);
        EXPECT_EQ(pair.readable(), std::pair(false, false));
        const auto fence = rig.attach(handle, point);
        EXPECT_EQ(pair.readable(), std::pair(true, false));
        fence->signal(1);
        EXPECT_EQ(pair.readable(), std::pair(true, true));
    }
}

TEST(SyncobjEventfd, OfASignalledFenceIsRungAtOnce) {
    for (const std::uint64_t point : {0u, 1u}) {
        Rig rig;
        const auto handle = rig.create();
        rig.attach(handle, point)->signal(1);
        EXPECT_EQ(Pair(rig, handle, point).readable(), std::pair(true, true));
        EXPECT_EQ(rig.table->pending_eventfds(), 0u);
    }
}

TEST(SyncobjEventfd, IsRungOnce) {
    Rig rig;
    const auto handle = rig.create();
    const Pair pair(rig, handle, 0);
    rig.attach(handle)->signal(1);
    base::drain_eventfd(pair.available.get());
    base::drain_eventfd(pair.signalled.get());
    rig.attach(handle)->signal(2);
    EXPECT_EQ(pair.readable(), std::pair(false, false));
}

TEST(SyncobjEventfd, AResetDoesNotCancelWhatHasPickedItsFence) {
    Rig rig;
    const auto handle = rig.create();
    const Pair pair(rig, handle, 0);
    const auto fence = rig.attach(handle);
    rig.syncobj(handle)->replace(nullptr);
    rig.attach(handle)->signal(1);
    EXPECT_EQ(pair.readable(), std::pair(true, false));
    ASSERT_TRUE(rig.table->remove(handle));
    fence->signal(2);
    EXPECT_EQ(pair.readable(), std::pair(true, true));
}

TEST(SyncobjEventfd, TheSyncobjsLastReferenceCancelsWhatHasNoFence) {
    Rig rig;
    const auto handle = rig.create();
    auto object = rig.syncobj(handle);
    const Pair pair(rig, handle, 7);
    ASSERT_TRUE(rig.table->remove(handle));
    EXPECT_EQ(rig.table->pending_eventfds(), 2u);
    object.reset();
    EXPECT_EQ(rig.table->pending_eventfds(), 0u);
    EXPECT_EQ(pair.readable(), std::pair(false, false));
}

TEST(SyncobjEventfd, IsCancelledWithItsFile) {
    Rig rig;
    const auto handle = rig.create();
    const auto object = rig.syncobj(handle);
    const auto fence = rig.attach(handle);
    const Pair picked(rig, handle, 0);
    const Pair waiting(rig, handle, 1);
    rig.table.reset();
    fence->signal(1);
    object->add_point(signalled_stub(1), 1);
    EXPECT_EQ(picked.readable(), std::pair(true, false));
    EXPECT_EQ(waiting.readable(), std::pair(false, false));
    rig.table = std::make_unique<SyncobjTable>(rig.contexts, rig.exports);
}

TEST(SyncobjEventfd, OneThatIsFullAndBlocksHoldsNobodyUp) {
    Rig rig;
    const auto handle = rig.create();
    const base::Fd eventfd(::eventfd(0, EFD_CLOEXEC));
    const std::uint64_t full = ~std::uint64_t{0} - 1;
    ASSERT_EQ(::write(eventfd.get(), &full, sizeof full), static_cast<ssize_t>(sizeof full));
    EXPECT_EQ(rig.eventfd({.handle = handle}, eventfd), 0);
    rig.attach(handle)->signal(1);
    EXPECT_TRUE(readable(eventfd));
    EXPECT_EQ(rig.table->pending_eventfds(), 0u);
}

TEST(SyncobjEventfd, EachOneAddsOneToTheCounter) {
    Rig rig;
    const auto handle = rig.create();
    const base::Fd eventfd = *base::make_eventfd();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(rig.eventfd({.handle = handle}, eventfd), 0);
    rig.attach(handle)->signal(1);
    std::uint64_t count = 0;
    ASSERT_EQ(::read(eventfd.get(), &count, sizeof count), static_cast<ssize_t>(sizeof count));
    EXPECT_EQ(count, 3u);
}

TEST(SyncobjEventfd, AFileHasSoManyThatTheDriversDescriptorsLast) {
    Rig rig;
    const auto handle = rig.create();
    const base::Fd eventfd = *base::make_eventfd();
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    const auto before = limit;
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, SyncobjTable::kEventfdsMax + 100);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (std::size_t i = 0; i < SyncobjTable::kEventfdsMax; ++i)
        ASSERT_EQ(rig.eventfd({.handle = handle}, eventfd), 0);
    EXPECT_EQ(rig.eventfd({.handle = handle}, eventfd), ENOMEM);
    rig.attach(handle)->signal(1);
    EXPECT_EQ(rig.eventfd({.handle = handle}, eventfd), 0);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

}  // namespace
}  // namespace belfry::drm
