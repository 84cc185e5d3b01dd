// The requests on sync files, errno for errno.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <poll.h>

#include "belfry/uapi/sync_file.h"
#include "drm/exports.hpp"
#include "drm/sync_file_ioctls.hpp"
#include "drm/syncobj.hpp"
#include "test_call.hpp"
#include "test_exports.hpp"

namespace belfry::drm {
namespace {

struct Info {
    int answer;
    uapi::sync_file_info file;
    std::vector<uapi::sync_fence_info> fences;
    [[nodiscard]] std::vector<int> statuses() const {
        std::vector<int> statuses;
        for (const auto& fence : fences) statuses.push_back(fence.status);
        return statuses;
    }
};

struct Rig {
    base::Fd export_fence(FencePtr fence) { return *exports.export_fence(std::move(fence)); }

    template <typename Args>
    std::shared_ptr<TestCall> send(std::uint32_t request, const base::Fd& target, const Args& args,
                                   const base::Fd* fd = nullptr) {
        std::vector<base::Fd> fds;
        if (fd != nullptr) fds.push_back(*fd->duplicate());
        auto call = TestCall::make(request, args, std::move(fds));
        if (target) call->set_target(*target.duplicate());
        sync_file_ioctl(exports, contexts, call);
        return call;
    }
    static uapi::sync_merge_data merge_args(std::string_view name, std::int32_t fd2 = 0) {
        uapi::sync_merge_data args{};
        name.copy(args.name, sizeof args.name);
        args.fd2 = fd2;
        return args;
    }
    base::Fd merge(const base::Fd& a, const base::Fd& b, std::string_view name = "merged") {
        const auto call = send(SYNC_IOC_MERGE, a, merge_args(name), &b);
        EXPECT_EQ(call->answer(), 0);
        return *call->given_fds()[static_cast<std::size_t>(call->args<uapi::sync_merge_data>().fence)]
                    .duplicate();
    }
    Info info(const base::Fd& file, std::uint32_t room) {
        Info info{.answer = 0, .file = {}, .fences = std::vector<uapi::sync_fence_info>(room)};
        info.file.num_fences = room;
        info.file.sync_fence_info = reinterpret_cast<std::uint64_t>(info.fences.data());
        const auto call = send(SYNC_IOC_FILE_INFO, file, info.file);
        info.answer = *call->answer();
        info.file = call->args<uapi::sync_file_info>();
        return info;
    }

    FenceContexts contexts;
    TestExports host;
    Exports exports{host};
};

TEST(SyncFileMerge, ChecksFlagsAndPadThenTheOtherFile) {
    Rig rig;
    const base::Fd file = rig.export_fence(Fence::make(3, 1));
    auto args = rig.merge_args("x", Call::kNoDescriptor);
    args.flags = 1;
    EXPECT_EQ(rig.send(SYNC_IOC_MERGE, file, args)->answer(), EINVAL);
    args = rig.merge_args("x", Call::kNoDescriptor);
    args.pad = 1;
    EXPECT_EQ(rig.send(SYNC_IOC_MERGE, file, args)->answer(), EINVAL);
    for (const std::int32_t none : {Call::kNoDescriptor, Call::kClosedDescriptor})
        EXPECT_EQ(rig.send(SYNC_IOC_MERGE, file, rig.merge_args("x", none))->answer(), ENOENT);
    const base::Fd strange = *base::make_eventfd();
    EXPECT_EQ(rig.send(SYNC_IOC_MERGE, file, rig.merge_args("x"), &strange)->answer(), ENOENT);
    const base::Fd syncobj = *rig.exports.export_syncobj(Syncobj::make(rig.contexts));
    EXPECT_EQ(rig.send(SYNC_IOC_MERGE, file, rig.merge_args("x"), &syncobj)->answer(), ENOENT);
    rig.host.fail = Errno::too_many_files;
    EXPECT_EQ(rig.send(SYNC_IOC_MERGE, file, rig.merge_args("x"), &file)->answer(), EMFILE);
}

TEST(SyncFileMerge, GivesANewFileOfThatName) {
    Rig rig;
    const base::Fd a = rig.export_fence(Fence::make(3, 1));
    const base::Fd b = rig.export_fence(Fence::make(4, 1));
    const auto info = rig.info(rig.merge(a, b, "both"), 0);
    EXPECT_STREQ(info.file.name, "both");
    EXPECT_EQ(info.file.num_fences, 2u);
}

TEST(SyncFileMerge, CutsANameThatFillsItsField) {
    Rig rig;
    const base::Fd a = rig.export_fence(Fence::make(3, 1));
    const auto info = rig.info(rig.merge(a, a, std::string(32, 'n')), 0);
    EXPECT_STREQ(info.file.name, std::string(31, 'n').c_str());
}

TEST(SyncFileMerge, OfAFileWithItselfHasItsFence) {
    Rig rig;
    const auto fence = Fence::make(3, 1);
    const base::Fd a = rig.export_fence(fence);
    EXPECT_EQ(rig.exports.find_sync_file(rig.merge(a, a))->fence(), fence);
}

TEST(SyncFileMerge, OfExpiredFilesIsSignalled) {
    Rig rig;
    const base::Fd a = rig.export_fence(signalled_stub(4));
    const auto info = rig.info(rig.merge(a, a), 1);
    EXPECT_EQ(info.file.status, 1);
    EXPECT_EQ(info.file.num_fences, 1u);
    EXPECT_EQ(info.fences[0].timestamp_ns, 4u);
}

TEST(SyncFileInfo, ChecksFlagsAndPadThenTheRoom) {
    Rig rig;
    const base::Fd a = rig.export_fence(Fence::make(3, 1));
    const base::Fd b = rig.export_fence(Fence::make(4, 1));
    const base::Fd both = rig.merge(a, b);
    EXPECT_EQ(rig.send(SYNC_IOC_FILE_INFO, both, uapi::sync_file_info{.flags = 1})->answer(), EINVAL);
    EXPECT_EQ(rig.send(SYNC_IOC_FILE_INFO, both, uapi::sync_file_info{.pad = 1})->answer(), EINVAL);
    const auto short_of_room = rig.info(both, 1);
    EXPECT_EQ(short_of_room.answer, EINVAL);
    EXPECT_STREQ(short_of_room.file.name, "");
    EXPECT_EQ(short_of_room.file.num_fences, 1u);
    EXPECT_EQ(short_of_room.fences[0].driver_name[0], '\0');
    EXPECT_EQ(rig.send(SYNC_IOC_FILE_INFO, both, uapi::sync_file_info{.num_fences = 2})->answer(), EFAULT);
}

TEST(SyncFileInfo, WithoutRoomTellsNameStatusAndHowManyThereAre) {
    Rig rig;
    const auto fence = Fence::make(3, 8);
    const base::Fd file = rig.export_fence(fence);
    auto info = rig.info(file, 0);
    EXPECT_EQ(info.answer, 0);
    EXPECT_STREQ(info.file.name, "belfry-timeline3-8");
    EXPECT_EQ(info.file.status, 0);
    EXPECT_EQ(info.file.num_fences, 1u);
    fence->signal(7, Errno::cancelled);
    EXPECT_EQ(rig.info(file, 0).file.status, -ECANCELED);
}

TEST(SyncFileInfo, TellsOfEachFence) {
    Rig rig;
    const auto fence = Fence::make(3, 8);
    const base::Fd file = rig.export_fence(fence);
    auto info = rig.info(file, 3);  // more room than needed
    EXPECT_EQ(info.file.num_fences, 1u);
    EXPECT_EQ(info.fences[0].status, 0);
    EXPECT_EQ(info.fences[0].timestamp_ns, 0u);
    EXPECT_STREQ(info.fences[0].driver_name, "belfry");
    EXPECT_STREQ(info.fences[0].obj_name, "timeline");
    fence->signal(7);
    info = rig.info(file, 1);
    EXPECT_EQ(info.file.status, 1);
    EXPECT_EQ(info.fences[0].status, 1);
    EXPECT_EQ(info.fences[0].timestamp_ns, 7u);
    EXPECT_STREQ(info.fences[0].driver_name, "detached-driver");
    EXPECT_STREQ(info.fences[0].obj_name, "signaled-timeline");
}

TEST(SyncFileInfo, ListsTheMembersOfAMergedFileWhileTheyFireOneByOne) {
    Rig rig;
    std::vector<FencePtr> fences;
    for (std::uint64_t context = 11; context < 14; ++context) fences.push_back(Fence::make(context, 1));
    const base::Fd first = rig.merge(rig.export_fence(fences[0]), rig.export_fence(fences[1]));
    const base::Fd all = rig.merge(first, rig.export_fence(fences[2]));
    EXPECT_EQ(rig.info(all, 3).statuses(), (std::vector{0, 0, 0}));
    fences[1]->signal(1);
    EXPECT_EQ(rig.info(all, 3).statuses(), (std::vector{0, 1, 0}));
    EXPECT_EQ(rig.info(all, 3).file.status, 0);
    fences[0]->signal(2);
    fences[2]->signal(3);
    const auto info = rig.info(all, 3);
    EXPECT_EQ(info.statuses(), (std::vector{1, 1, 1}));
    EXPECT_EQ(info.file.num_fences, 3u);
    EXPECT_EQ(info.file.status, 1);
}

TEST(SyncFileInfo, OfATimelinesPointListsWhatIsPending) {
    Rig rig;
    const auto syncobj = Syncobj::make(rig.contexts);
    std::vector<FencePtr> fences;
    for (std::uint64_t point = 1; point <= 3; ++point) {
        fences.push_back(Fence::make(rig.contexts.allocate(), 1));
        syncobj->add_point(fences.back(), point);
    }
    const base::Fd file = rig.export_fence(*syncobj->find_point(3));
    EXPECT_EQ(rig.info(file, 0).file.num_fences, 3u);
    fences[0]->signal(1);
    EXPECT_EQ(rig.info(file, 0).file.num_fences, 2u);
    fences[2]->signal(1);
    EXPECT_EQ(rig.info(file, 2).statuses(), (std::vector{1, 0}));
    EXPECT_EQ(rig.info(file, 2).file.status, 0);
    fences[1]->signal(1);
    EXPECT_EQ(rig.info(file, 1).statuses(), (std::vector{1}));
    EXPECT_EQ(rig.info(file, 1).file.status, 1);
}

TEST(SyncFileSetDeadline, ChecksThePad) {
    Rig rig;
    const base::Fd file = rig.export_fence(Fence::make(3, 1));
    const auto set = [&](const uapi::sync_set_deadline& args) {
        return rig.send(SYNC_IOC_SET_DEADLINE, file, args)->answer();
    };
    EXPECT_EQ(set({.deadline_ns = 5, .pad = 1}), EINVAL);
    EXPECT_EQ(set({.deadline_ns = 5, .pad = 0}), 0);
}

TEST(SyncFile, ARequestOnAnythingElseOrOfAnyOtherNumberIsNotATty) {
    Rig rig;
    const base::Fd file = rig.export_fence(Fence::make(3, 1));
    const base::Fd strange = *base::make_eventfd();
    const base::Fd syncobj = *rig.exports.export_syncobj(Syncobj::make(rig.contexts));
    const base::Fd none;
    for (const auto* const target : {&strange, &syncobj, &none})
        EXPECT_EQ(rig.send(SYNC_IOC_FILE_INFO, *target, uapi::sync_file_info{})->answer(), ENOTTY);
    EXPECT_EQ(rig.send(_IO('>', 9), file, std::uint64_t{0})->answer(), ENOTTY);
}

}  // namespace
}  // namespace belfry::drm
