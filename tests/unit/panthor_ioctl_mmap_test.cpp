// What mmap on the DRM file answers (facts/uapi.md 1.20).
#include <cerrno>
#include <cstdint>
#include <utility>

#include <gtest/gtest.h>
#include <unistd.h>

#include "unit/panthor_ioctls.hpp"

namespace belfry::panthor {
namespace {

class Mmap : public Ioctls {
  protected:
    int error(std::uint64_t offset, std::uint64_t bytes, int protection = PROT_READ | PROT_WRITE) {
        return error(client, offset, bytes, protection);
    }
    static int error(Client& by, std::uint64_t offset, std::uint64_t bytes,
                     int protection = PROT_READ | PROT_WRITE) {
        const auto segments = by.mmap(offset, bytes, protection);
        return segments ? 0 : static_cast<int>(segments.error());
    }
};

TEST_F(Mmap, OfABufferIsOneSegmentThatMayBeWritten) {
    const auto segments = client.mmap(client.mmap_offset(client.bo(2 * kPage)), 2 * kPage).value();
    ASSERT_EQ(segments.size(), 1u);
    EXPECT_EQ(segments[0].fd_offset, 0u);
    EXPECT_EQ(segments[0].bytes, 2 * kPage);
    EXPECT_EQ(segments[0].access, base::Access::read_write);
}

TEST_F(Mmap, OfABufferMayBeShorterAndIsWholePages) {
    const std::uint64_t offset = client.mmap_offset(client.bo(2 * kPage));
    EXPECT_EQ(client.mmap(offset, 1).value()[0].bytes, kPage);
    EXPECT_EQ(client.mmap(offset, kPage + 1).value()[0].bytes, 2 * kPage);
}

TEST_F(Mmap, OfABufferRefusesWrongOffsetsAndLengths) {
    const std::uint64_t offset = client.mmap_offset(client.bo(2 * kPage));
    EXPECT_EQ(error(offset, 0), EINVAL);
    EXPECT_EQ(error(offset, 2 * kPage + 1), EINVAL);
    EXPECT_EQ(error(offset, ~0ULL), EINVAL);  // rounds to nothing
    EXPECT_EQ(error(offset + 1, kPage), EINVAL);
    EXPECT_EQ(error(offset + kPage, kPage), EINVAL);
    EXPECT_EQ(error(offset - kPage, kPage), EINVAL);
    EXPECT_EQ(error(0, kPage), EINVAL);
}

TEST_F(Mmap, OfABufferThatIsNotOpenInThisFileIsAnAccessError) {
    const std::uint64_t offset = client.mmap_offset(client.bo());
    Client& other = rig.open();
    EXPECT_EQ(error(other, offset, kPage), EACCES);
    EXPECT_EQ(error(other, offset, 2 * kPage), EINVAL);  // nothing of that size is there
    other.bo();                                          // the same handle does not make it the same buffer
    EXPECT_EQ(error(other, offset, kPage), EACCES);
}

TEST_F(Mmap, OfABufferWorksAsLongAsOneOfItsHandlesIsOpen) {
    Client& by_name = rig.open({.may_admin = true}, drm::NodeKind::primary);
    drm_gem_flink flink{.handle = by_name.bo()};
    EXPECT_EQ(by_name.ioctl(DRM_IOCTL_GEM_FLINK, flink), 0);
    drm_gem_open open{.name = flink.name};
    EXPECT_EQ(by_name.ioctl(DRM_IOCTL_GEM_OPEN, open), 0);
    const std::uint64_t offset = by_name.mmap_offset(open.handle);
    EXPECT_EQ(by_name.gem_close(flink.handle), 0);
    EXPECT_EQ(error(by_name, offset, kPage), 0);
    EXPECT_EQ(by_name.gem_close(open.handle), 0);
    EXPECT_EQ(error(by_name, offset, kPage), EINVAL);
}

TEST_F(Mmap, OfABufferThatIsGoneIsInvalid) {
    const std::uint32_t bo = client.bo();
    const std::uint64_t offset = client.mmap_offset(bo);
    client.gem_close(bo);
    EXPECT_EQ(error(offset, kPage), EINVAL);
}

TEST_F(Mmap, OfABufferThatIsClosedButBoundIsAnAccessError) {
    const Memory memory = client.memory();
    const std::uint64_t offset = client.mmap_offset(memory.handle);
    client.gem_close(memory.handle);
    EXPECT_EQ(error(offset, kPage), EACCES);
}

TEST_F(Mmap, OfADoorbellIsOnePageAndNeverCode) {
    const std::uint64_t offset = client.user_group().offsets(0).doorbell_offset;
    EXPECT_EQ(error(offset, kPage), 0);
    EXPECT_EQ(error(offset, 1), 0);
    EXPECT_EQ(error(offset, kPage, PROT_WRITE), 0);
    EXPECT_EQ(error(offset, 2 * kPage), EINVAL);
    EXPECT_EQ(error(offset, 0), EINVAL);
    EXPECT_EQ(error(offset, ~0ULL), EINVAL);
    EXPECT_EQ(error(offset, kPage, PROT_READ | PROT_EXEC), EINVAL);
}

TEST_F(Mmap, OfUserIoIsAPageToWriteAndAPageToReadOnly) {
    UserGroup& group = client.user_group({.queues = 2});
    const auto segments = client.mmap(group.offsets(1).user_io_offset, 2 * kPage).value();
    ASSERT_EQ(segments.size(), 2u);
    EXPECT_EQ(segments[0].bytes, kPage);
    EXPECT_EQ(segments[0].access, base::Access::read_write);
    EXPECT_EQ(segments[1].bytes, kPage);
    EXPECT_EQ(segments[1].access, base::Access::read);
    EXPECT_EQ(error(group.offsets(1).user_io_offset, kPage), EINVAL);
    EXPECT_EQ(error(group.offsets(1).user_io_offset, 3 * kPage), EINVAL);
    EXPECT_EQ(error(group.offsets(1).user_io_offset, 2 * kPage, PROT_EXEC), EINVAL);
}

TEST_F(Mmap, TheOutputPageCannotBeMappedForWritingWhateverTheProgramTries) {  // H2
    const auto segments = client.mmap(client.user_group().offsets(0).user_io_offset, 2 * kPage).value();
    EXPECT_FALSE(base::map_shared(segments[1].fd, segments[1].fd_offset, kPage, base::Access::read_write));
    std::uint64_t forged = 64;
    EXPECT_LT(::pwrite(segments[1].fd, &forged, sizeof forged, 0), 0);
}

TEST_F(Mmap, OfARingIsUpToItsSize) {
    const std::uint64_t offset = client.user_group({.ring_bytes = 16384}).offsets(0).ringbuf_offset;
    EXPECT_EQ(client.mmap(offset, 16384).value()[0].access, base::Access::read_write);
    EXPECT_EQ(error(offset, kPage), 0);
    EXPECT_EQ(error(offset, 16385), EINVAL);
    EXPECT_EQ(error(offset, ~0ULL), EINVAL);
    EXPECT_EQ(error(offset, 16384, PROT_READ | PROT_EXEC), EINVAL);
}

TEST_F(Mmap, OfUserMmioRefusesWhatNobodyGave) {
    UserGroup& group = client.user_group();
    const std::uint64_t ring = group.offsets(0).ringbuf_offset;
    const std::uint64_t doorbell = group.offsets(0).doorbell_offset;
    EXPECT_EQ(error(ring + kPage, kPage), EINVAL);
    EXPECT_EQ(error(ring + (1ULL << 16), kPage), EINVAL);  // queue 1
    EXPECT_EQ(error(ring + (1ULL << 21), kPage), EINVAL);  // the next group
    EXPECT_EQ(error(ring | 1ULL << 57, kPage), EINVAL);
    EXPECT_EQ(error(ring | 1ULL << 63, kPage), EINVAL);
    EXPECT_EQ(error(doorbell + (1ULL << 54), kPage), EINVAL);
}

TEST_F(Mmap, OfTheFlushIdIsOnePageToRead) {
    const auto segments = client.mmap(DRM_PANTHOR_USER_FLUSH_ID_MMIO_OFFSET, kPage, PROT_READ).value();
    ASSERT_EQ(segments.size(), 1u);
    EXPECT_EQ(segments[0].bytes, kPage);
    EXPECT_EQ(segments[0].access, base::Access::read);
    EXPECT_EQ(error(DRM_PANTHOR_USER_FLUSH_ID_MMIO_OFFSET, 1, PROT_READ), 0);
    EXPECT_EQ(error(DRM_PANTHOR_USER_FLUSH_ID_MMIO_OFFSET, kPage, PROT_READ | PROT_WRITE), EINVAL);
    EXPECT_EQ(error(DRM_PANTHOR_USER_FLUSH_ID_MMIO_OFFSET, kPage, PROT_READ | PROT_EXEC), EINVAL);
    EXPECT_EQ(error(DRM_PANTHOR_USER_FLUSH_ID_MMIO_OFFSET, kPage + 1, PROT_READ), EINVAL);
    EXPECT_EQ(error(DRM_PANTHOR_USER_FLUSH_ID_MMIO_OFFSET, ~0ULL, PROT_READ), EINVAL);
    EXPECT_EQ(error(DRM_PANTHOR_USER_FLUSH_ID_MMIO_OFFSET + kPage, kPage, PROT_READ), EINVAL);
    EXPECT_FALSE(base::map_shared(segments[0].fd, 0, kPage, base::Access::read_write));
}

TEST_F(Mmap, TheFlushIdCountsTheGpusCacheFlushes) {
    const auto segments = client.mmap(DRM_PANTHOR_USER_FLUSH_ID_MMIO_OFFSET, kPage, PROT_READ).value();
    const auto page = base::map_shared(segments[0].fd, 0, kPage, base::Access::read).value();
    const auto flush_id = [&] { return *reinterpret_cast<const std::uint32_t*>(page.data()); };
    const std::uint32_t before = flush_id();
    EXPECT_GE(before, 1u);
    EXPECT_EQ(before, rig.gpu.read(gpu::Reg::latest_flush_id));
    client.user_group().queue(0).run([](W& w) { w.flush_cache2(r(0)).wait(kAllSlots); });
    EXPECT_EQ(flush_id(), before + 1);
}

TEST_F(Mmap, TheUserMmioOffsetMovesWhatBelongsToTheDevice) {
    constexpr std::uint64_t kLow = 1ULL << 43;
    UserGroup& early = client.user_group();
    EXPECT_EQ(error(kLow, kPage, PROT_READ), EINVAL);
    EXPECT_EQ(call(DRM_IOCTL_PANTHOR_SET_USER_MMIO_OFFSET, drm_panthor_set_user_mmio_offset{.offset = kLow}),
              0);
    EXPECT_EQ(error(kLow, kPage, PROT_READ), 0);
    EXPECT_EQ(error(DRM_PANTHOR_USER_MMIO_OFFSET, kPage, PROT_READ), EINVAL);
    EXPECT_EQ(error(early.offsets(0).ringbuf_offset, kPage), EINVAL);
    EXPECT_EQ(error(early.offsets(0).ringbuf_offset - DRM_PANTHOR_USER_MMIO_OFFSET + kLow, kPage), 0);
    EXPECT_EQ(error(client.user_group().offsets(0).ringbuf_offset, kPage), 0);
    EXPECT_EQ(error(client.mmap_offset(client.bo()), kPage), 0);
    EXPECT_EQ(error(rig.open(), kLow, kPage, PROT_READ), EINVAL);  // of this file alone
}

TEST_F(Mmap, OfAnotherFilesQueueIsInvalid) {
    const std::uint64_t offset = client.user_group().offsets(0).ringbuf_offset;
    Client& other = rig.open();
    other.user_group();
    EXPECT_EQ(error(other, offset, kPage), EINVAL);
}

TEST_F(Mmap, OfADestroyedGroupIsInvalidAlsoWhenItsHandleLivesAgain) {  // G16
    UserGroup& group = client.user_group();
    const auto stale = group.offsets(0);
    EXPECT_EQ(group.destroy(), 0);
    UserGroup& next = client.user_group();
    EXPECT_EQ(next.handle(), group.handle());
    EXPECT_EQ(error(stale.ringbuf_offset, kPage), EINVAL);
    EXPECT_EQ(error(stale.user_io_offset, 2 * kPage), EINVAL);
    EXPECT_EQ(error(stale.doorbell_offset, kPage), EINVAL);
}

TEST_F(Mmap, MappingsOutliveTheirGroup) {
    UserGroup& group = client.user_group();
    group.queue(0).submit([](W& w) { w.nop(); });
    EXPECT_EQ(group.destroy(), 0);
    rig.run_until_idle();
    group.queue(0).submit([](W& w) { w.nop(); });
    group.queue(0).ring();
    EXPECT_EQ(group.queue(0).output().active, 0u);
}

}  // namespace
}  // namespace belfry::panthor
