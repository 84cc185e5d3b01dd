// Requests on dma-bufs, and the reservation behind them (facts/uapi.md 5.2).
#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <linux/ioctl.h>

#include "drm/fence_merge.hpp"
#include "drm/reservation.hpp"
#include "unit/core_rig.hpp"

namespace belfry::drm {
namespace {

using namespace belfry::uapi;
using Usage = Reservation::Usage;

class DmaBuf : public testing::Test {
  protected:
    FencePtr fence() { return Fence::make(rig.contexts.allocate(), 1); }

    std::shared_ptr<TestCall> sync(std::uint64_t flags) {
        return client.start(DMA_BUF_IOCTL_SYNC, dma_buf_sync{.flags = flags}, {}, *dma_buf.duplicate());
    }
    int import_sync_file(std::uint32_t flags, base::Fd fd) {
        std::vector<base::Fd> fds;
        fds.push_back(std::move(fd));
        dma_buf_sync_file args{.flags = flags, .fd = 0};
        return client.ioctl(DMA_BUF_IOCTL_IMPORT_SYNC_FILE, args, std::move(fds), *dma_buf.duplicate());
    }
    void add(std::uint32_t flags, const FencePtr& fence) {
        base::Fd fd = *rig.exports.export_fence(fence);
        const Inode inode = *inode_of(fd.get());
        EXPECT_EQ(import_sync_file(flags, std::move(fd)), 0);
        rig.host.close(inode);  // what was imported stays
    }
    /// What EXPORT_SYNC_FILE gives, as the fence behind it.
    FencePtr exported(std::uint32_t flags) {
        const auto call = client.start(DMA_BUF_IOCTL_EXPORT_SYNC_FILE,
                                       dma_buf_sync_file{.flags = flags, .fd = -1}, {}, *dma_buf.duplicate());
        EXPECT_EQ(call->answer(), 0);
        FencePtr fence = rig.exports.find_sync_file(call->given_fds()[0])->fence();
        rig.host.close(*inode_of(call->given_fds()[0].get()));
        return fence;
    }
    int export_error(std::uint32_t flags) {
        dma_buf_sync_file args{.flags = flags};
        return client.ioctl(DMA_BUF_IOCTL_EXPORT_SYNC_FILE, args, {}, *dma_buf.duplicate());
    }

    CoreRig rig;
    CoreClient& client = rig.open(NodeKind::render);
    BufferPtr buffer = *client.file().buffers().find(client.buffer());
    base::Fd dma_buf = *rig.exports.open_buffer(buffer);
};

TEST_F(DmaBuf, ATargetThatIsNoneOfOursKnowsNoRequest) {
    dma_buf_sync args{.flags = DMA_BUF_SYNC_READ};
    EXPECT_EQ(client.ioctl(DMA_BUF_IOCTL_SYNC, args), ENOTTY);
    EXPECT_EQ(client.ioctl(DMA_BUF_IOCTL_SYNC, args, {}, *base::make_eventfd()), ENOTTY);
    EXPECT_EQ(client.ioctl(_IOW('b', 9, dma_buf_sync), args, {}, *dma_buf.duplicate()), ENOTTY);
}

TEST_F(DmaBuf, SyncRefusesOtherFlagsAndNone) {
    EXPECT_EQ(sync(0)->answer(), EINVAL);
    EXPECT_EQ(sync(DMA_BUF_SYNC_END)->answer(), EINVAL);
    EXPECT_EQ(sync(DMA_BUF_SYNC_READ | 8)->answer(), EINVAL);
    EXPECT_EQ(sync(DMA_BUF_SYNC_READ | 1ULL << 40)->answer(), EINVAL);
}

TEST_F(DmaBuf, SyncOfABufferWithoutFencesIsAnsweredAtOnce) {
    for (const std::uint64_t flags : {DMA_BUF_SYNC_READ, DMA_BUF_SYNC_WRITE, DMA_BUF_SYNC_RW}) {
        EXPECT_EQ(sync(flags)->answer(), 0);
        EXPECT_EQ(sync(flags | DMA_BUF_SYNC_END)->answer(), 0);
    }
}

TEST_F(DmaBuf, SyncToReadWaitsForWriters) {
    const FencePtr writer = fence();
    const FencePtr reader = fence();
    add(DMA_BUF_SYNC_WRITE, writer);
    add(DMA_BUF_SYNC_READ, reader);
    const auto call = sync(DMA_BUF_SYNC_READ);
    EXPECT_FALSE(call->answered());
    EXPECT_EQ(sync(DMA_BUF_SYNC_READ | DMA_BUF_SYNC_END)->answer(), 0);
    writer->signal(5);
    EXPECT_EQ(call->answer(), 0);
    EXPECT_EQ(sync(DMA_BUF_SYNC_READ)->answer(), 0);
    EXPECT_EQ(client.file().dma_buf_waits().pending(), 0u);
}

TEST_F(DmaBuf, SyncToWriteWaitsForEverybody) {
    for (const std::uint64_t flags : {DMA_BUF_SYNC_WRITE, DMA_BUF_SYNC_RW}) {
        const FencePtr writer = fence();
        const FencePtr reader = fence();
        add(DMA_BUF_SYNC_WRITE, writer);
        add(DMA_BUF_SYNC_READ, reader);
        const auto call = sync(flags);
        writer->signal(5);
        EXPECT_FALSE(call->answered());
        reader->signal(6, Errno::cancelled);  // a failure is an end, too
        EXPECT_EQ(call->answer(), 0);
    }
}

TEST_F(DmaBuf, ASyncThatIsCancelledLeavesNothingBehind) {
    const FencePtr writer = fence();
    add(DMA_BUF_SYNC_WRITE, writer);
    const auto call = sync(DMA_BUF_SYNC_READ);
    EXPECT_EQ(client.file().dma_buf_waits().pending(), 1u);
    call->cancel();
    EXPECT_EQ(client.file().dma_buf_waits().pending(), 0u);
    writer->signal(5);
    EXPECT_FALSE(call->answered());
}

TEST_F(DmaBuf, ASyncDiesUnansweredWithItsFile) {
    const FencePtr writer = fence();
    add(DMA_BUF_SYNC_WRITE, writer);
    const auto call = sync(DMA_BUF_SYNC_READ);
    rig.close(client);
    writer->signal(5);
    EXPECT_FALSE(call->answered());
    call->cancel();
}

TEST_F(DmaBuf, SyncFilesTakeReadAndWriteAndNothingElse) {
    EXPECT_EQ(export_error(0), EINVAL);
    EXPECT_EQ(export_error(4), EINVAL);
    EXPECT_EQ(export_error(DMA_BUF_SYNC_READ | 1U << 31), EINVAL);
    EXPECT_EQ(import_sync_file(0, *rig.exports.export_fence(fence())), EINVAL);
    EXPECT_EQ(import_sync_file(4, *rig.exports.export_fence(fence())), EINVAL);
    rig.host.fail = Errno::too_many_files;
    EXPECT_EQ(export_error(DMA_BUF_SYNC_READ), EMFILE);
}

TEST_F(DmaBuf, ImportRefusesWhatIsNoSyncFile) {
    EXPECT_EQ(import_sync_file(DMA_BUF_SYNC_READ, *base::make_eventfd()), EINVAL);
    EXPECT_EQ(import_sync_file(DMA_BUF_SYNC_READ, *dma_buf.duplicate()), EINVAL);
    dma_buf_sync_file none{.flags = DMA_BUF_SYNC_READ, .fd = Call::kNoDescriptor};
    EXPECT_EQ(client.ioctl(DMA_BUF_IOCTL_IMPORT_SYNC_FILE, none, {}, *dma_buf.duplicate()), EINVAL);
}

TEST_F(DmaBuf, ABufferThatNobodyUsesExportsASignalledFence) {
    EXPECT_EQ(exported(DMA_BUF_SYNC_READ)->status(), 1);
    EXPECT_EQ(exported(DMA_BUF_SYNC_WRITE)->status(), 1);
}

TEST_F(DmaBuf, ReadersAreGivenWritersAndWritersEverybody) {
    const FencePtr writer = fence();
    const FencePtr reader = fence();
    add(DMA_BUF_SYNC_READ, reader);
    EXPECT_EQ(exported(DMA_BUF_SYNC_READ)->status(), 1);
    EXPECT_EQ(exported(DMA_BUF_SYNC_WRITE), reader);
    EXPECT_EQ(exported(DMA_BUF_SYNC_RW), reader);
    add(DMA_BUF_SYNC_RW, writer);
    EXPECT_EQ(exported(DMA_BUF_SYNC_READ), writer);
    const FencePtr both = exported(DMA_BUF_SYNC_WRITE);
    writer->signal(5);
    EXPECT_EQ(both->status(), 0);
    reader->signal(6);
    EXPECT_EQ(both->status(), 1);
}

TEST_F(DmaBuf, ANameIsAtMost31Characters) {
    const auto name = [&](std::uint64_t request, const std::string& text) {
        dma_buf_set_name args{.name = reinterpret_cast<std::uint64_t>(text.c_str())};
        return client.ioctl(request, args, {}, *dma_buf.duplicate());
    };
    for (const std::uint64_t request : {DMA_BUF_SET_NAME_A, DMA_BUF_SET_NAME_B}) {
        EXPECT_EQ(name(request, ""), 0);
        EXPECT_EQ(name(request, std::string(31, 'x')), 0);
        EXPECT_EQ(name(request, std::string(32, 'x')), EINVAL);
    }
}

TEST_F(DmaBuf, AMergedFenceIsImportedAsItsParts) {
    const std::vector<FencePtr> parts{fence(), fence(), fence()};
    add(DMA_BUF_SYNC_WRITE, merge_fences(rig.contexts, parts));
    EXPECT_EQ(buffer->reservation.size(), 3u);
    parts[1]->signal(5);
    add(DMA_BUF_SYNC_READ, signalled_stub(1));
    EXPECT_EQ(buffer->reservation.size(), 2u);
}

TEST_F(DmaBuf, FencesLiveWithTheBufferWhereverItIsImported) {
    const FencePtr writer = fence();
    add(DMA_BUF_SYNC_WRITE, writer);
    CoreClient& other = rig.open(NodeKind::render);
    const auto call =
        other.start(DMA_BUF_IOCTL_SYNC, dma_buf_sync{.flags = DMA_BUF_SYNC_READ}, {}, *dma_buf.duplicate());
    EXPECT_FALSE(call->answered());
    writer->signal(5);
    EXPECT_EQ(call->answer(), 0);
}

TEST(Reservation, OfOneContextTheLatestIsKept) {
    Reservation reservation;
    const auto first = Fence::make(1, 1), second = Fence::make(1, 2), third = Fence::make(1, 3);
    reservation.add(second, Usage::write);
    reservation.add(first, Usage::write);  // implied by the second
    EXPECT_EQ(reservation.fences(Usage::write), std::vector{second});
    reservation.add(third, Usage::write);
    EXPECT_EQ(reservation.fences(Usage::write), std::vector{third});
}

TEST(Reservation, AWriterStandsForAReaderAndNotTheOtherWay) {
    Reservation reservation;
    const auto first = Fence::make(1, 1), second = Fence::make(1, 2);
    reservation.add(first, Usage::write);
    reservation.add(first, Usage::read);
    EXPECT_EQ(reservation.size(), 1u);
    reservation.add(second, Usage::read);  // who reads later waits for the writer only
    EXPECT_EQ(reservation.fences(Usage::write), std::vector{first});
    EXPECT_EQ(reservation.size(), 2u);
    reservation.add(second, Usage::write);
    EXPECT_EQ(reservation.fences(Usage::read), std::vector{second});
}

TEST(Reservation, StaysAsSmallAsThereArePendingContexts) {
    Reservation reservation;
    for (std::uint64_t seqno = 1; seqno <= 1000; ++seqno)
        reservation.add(Fence::make(1 + seqno % 3, seqno), seqno % 2 == 0 ? Usage::write : Usage::read);
    EXPECT_LE(reservation.size(), 6u);
    for (const FencePtr& fence : reservation.fences(Usage::read)) fence->signal(1);
    EXPECT_TRUE(reservation.fences(Usage::read).empty());
    EXPECT_EQ(reservation.size(), 0u);
}

}  // namespace
}  // namespace belfry::drm
