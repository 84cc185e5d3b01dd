#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "drm/exports.hpp"
#include "drm/fence.hpp"
#include "drm/syncobj.hpp"
#include "test_exports.hpp"

namespace belfry::drm {
namespace {

struct Rig {
    /// What the host does when the last copy is gone.
    void close(base::Fd fd) {
        const Inode inode = *inode_of(fd.get());
        fd = {};
        host.close(inode);
    }

    FenceContexts contexts;
    BufferStats buffer_stats;
    TestExports host;
    Exports exports{host};
};

TEST(Exports, ASyncFileTurnsReadableWithItsFence) {
    Rig rig;
    const auto fence = Fence::make(3, 1);
    const base::Fd fd = *rig.exports.export_fence(fence);
    EXPECT_FALSE(readable(fd));
    fence->signal(1);
    EXPECT_TRUE(readable(fd));
}

TEST(Exports, ASyncFileTurnsReadableWithAFenceThatFails) {
    Rig rig;
    const auto fence = Fence::make(3, 1);
    const base::Fd fd = *rig.exports.export_fence(fence);
    fence->signal(1, Errno::timed_out);
    EXPECT_TRUE(readable(fd));
}

TEST(Exports, ASyncFileOfASignalledFenceIsReadableFromTheStart) {
    Rig rig;
    EXPECT_TRUE(readable(*rig.exports.export_fence(signalled_stub(5))));
}

TEST(Exports, ASyncFileOfATimelinesPointTurnsReadableWhenAllBeforeItHaveSignalled) {
    Rig rig;
    const auto syncobj = Syncobj::make(rig.contexts);
    const auto first = Fence::make(3, 1);
    const auto second = Fence::make(4, 1);
    syncobj->add_point(first, 1);
    syncobj->add_point(second, 2);
    const base::Fd fd = *rig.exports.export_fence(*syncobj->find_point(2));
    second->signal(1);
    EXPECT_FALSE(readable(fd));
    first->signal(2);
    EXPECT_TRUE(readable(fd));
}

TEST(Exports, ASyncFileIsNamedAfterItsFenceUnlessItIsGivenAName) {
    Rig rig;
    const auto fence = Fence::make(3, 17);
    const base::Fd plain = *rig.exports.export_fence(fence);
    EXPECT_EQ(rig.exports.find_sync_file(plain)->name(), "belfry-timeline3-17");
    const base::Fd named = *rig.exports.export_fence(fence, "frame");
    EXPECT_EQ(rig.exports.find_sync_file(named)->name(), "frame");
    const base::Fd wordy = *rig.exports.export_fence(fence, std::string(100, 'x'));
    EXPECT_EQ(rig.exports.find_sync_file(wordy)->name(), std::string(31, 'x'));
}

TEST(Exports, ASyncFileHoldsItsFenceUntilItsLastCopyIsClosed) {
    Rig rig;
    const auto fence = Fence::make(3, 1);
    base::Fd fd = *rig.exports.export_fence(fence);
    EXPECT_GT(fence->use_count(), 1);
    base::Fd copy = *fd.duplicate();
    fd = {};
    EXPECT_EQ(rig.exports.find_sync_file(copy)->fence(), fence);
    rig.close(std::move(copy));
    EXPECT_EQ(fence->use_count(), 1);
    EXPECT_EQ(rig.exports.size(), 0u);
    fence->signal(1);
}

TEST(Exports, EachExportOfAFenceIsASyncFileOfItsOwn) {
    Rig rig;
    const auto fence = Fence::make(3, 1);
    const base::Fd a = *rig.exports.export_fence(fence);
    base::Fd b = *rig.exports.export_fence(fence);
    EXPECT_NE(*inode_of(a.get()), *inode_of(b.get()));
    rig.close(std::move(b));
    EXPECT_EQ(rig.exports.find_sync_file(a)->fence(), fence);
}

TEST(Exports, AnExportedSyncobjLivesWithoutItsHandle) {
    Rig rig;
    auto syncobj = Syncobj::make(rig.contexts);
    base::Fd fd = *rig.exports.export_syncobj(syncobj);
    const auto* const behind = syncobj.get();
    syncobj.reset();
    EXPECT_EQ(rig.exports.find_syncobj(fd).get(), behind);
    EXPECT_FALSE(readable(fd));
    rig.close(std::move(fd));
    EXPECT_EQ(rig.exports.size(), 0u);
}

TEST(Exports, ABufferThatIsExportedTwiceIsOneDmaBuf) {
    Rig rig;
    auto buffer = *Buffer::make(rig.buffer_stats, {.bytes = 4096});
    base::Fd first = *rig.exports.open_buffer(buffer);
    base::Fd second = *rig.exports.open_buffer(buffer);
    EXPECT_EQ(*inode_of(first.get()), *inode_of(second.get()));
    EXPECT_EQ(rig.exports.size(), 1u);
    EXPECT_EQ(rig.exports.find_buffer(first), buffer);
    buffer.reset();
    first = {};
    EXPECT_EQ(rig.buffer_stats.count(), 1u);
    EXPECT_NE(rig.exports.find_buffer(second), nullptr);
    rig.close(std::move(second));
    EXPECT_EQ(rig.buffer_stats.count(), 0u);
}

TEST(Exports, OnlyWhatWasExportedIsFoundAndOnlyAsWhatItIs) {
    Rig rig;
    const auto buffer = *Buffer::make(rig.buffer_stats, {.bytes = 4096});
    const base::Fd sync_file = *rig.exports.export_fence(Fence::make(3, 1));
    const base::Fd syncobj = *rig.exports.export_syncobj(Syncobj::make(rig.contexts));
    const base::Fd dma_buf = *rig.exports.open_buffer(buffer);
    const base::Fd strange = *base::make_eventfd();
    const base::Fd none;
    for (const auto* const fd : {&syncobj, &dma_buf, &strange, &none})
        EXPECT_EQ(rig.exports.find_sync_file(*fd), nullptr);
    for (const auto* const fd : {&sync_file, &dma_buf, &strange, &none})
        EXPECT_EQ(rig.exports.find_syncobj(*fd), nullptr);
    for (const auto* const fd : {&sync_file, &syncobj, &strange, &none})
        EXPECT_EQ(rig.exports.find_buffer(*fd), nullptr);
}

TEST(Exports, NothingIsLeftOfAnExportForWhichThereIsNoDescriptor) {
    Rig rig;
    const auto fence = Fence::make(3, 1);
    const auto syncobj = Syncobj::make(rig.contexts);
    const auto buffer = *Buffer::make(rig.buffer_stats, {.bytes = 4096});
    rig.host.fail = Errno::too_many_files;
    EXPECT_EQ(rig.exports.export_fence(fence).error(), Errno::too_many_files);
    EXPECT_EQ(rig.exports.export_syncobj(syncobj).error(), Errno::too_many_files);
    EXPECT_EQ(rig.exports.open_buffer(buffer).error(), Errno::too_many_files);
    EXPECT_EQ(rig.exports.size(), 0u);
    EXPECT_EQ(fence->use_count(), 1);
}

}  // namespace
}  // namespace belfry::drm
