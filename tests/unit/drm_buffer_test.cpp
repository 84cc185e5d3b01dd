#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "base/memory.hpp"
#include "drm/buffer.hpp"

namespace belfry::drm {
namespace {

using base::Errno;

constexpr std::uint64_t kTiB = std::uint64_t{1} << 40;
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

TEST(Buffer, IsRoundedUpToPagesAndZeroed) {
    BufferStats stats;
    const auto buffer = *Buffer::make(stats, {.bytes = 5000});
    EXPECT_EQ(buffer->size(), 8192u);
    EXPECT_TRUE(std::all_of(buffer->data(), buffer->data() + buffer->size(),
                            [](std::byte byte) { return byte == std::byte{0}; }));
}

TEST(Buffer, RemembersWhatItWasMadeFor) {
    BufferStats stats;
    const auto plain = *Buffer::make(stats, {.bytes = 1});
    EXPECT_FALSE(plain->no_mmap());
    EXPECT_EQ(plain->exclusive_vm(), 0u);
    const auto special = *Buffer::make(stats, {.bytes = 1, .no_mmap = true, .exclusive_vm = 42});
    EXPECT_TRUE(special->no_mmap());
    EXPECT_EQ(special->exclusive_vm(), 42u);
}

TEST(Buffer, ItsDescriptorIsTheSameMemory) {
    BufferStats stats;
    const auto buffer = *Buffer::make(stats, {.bytes = 4096});
    const auto client = *base::map_shared(buffer->fd(), 0, 4096, base::Access::read_write);
    client.data()[17] = std::byte{0x5a};
    EXPECT_EQ(buffer->data()[17], std::byte{0x5a});
}

TEST(Buffer, NobodyCanTruncateItsMemory) {
    BufferStats stats;
    const auto buffer = *Buffer::make(stats, {.bytes = 4096});
    EXPECT_NE(::ftruncate(buffer->fd(), 0), 0);
    EXPECT_NE(::ftruncate(buffer->fd(), 8192), 0);
}

TEST(Buffer, NoBytesIsInvalidAndTooManyIsNoMemory) {
    BufferStats stats;
    EXPECT_EQ(Buffer::make(stats, {.bytes = 0}).error(), Errno::invalid);
    EXPECT_EQ(Buffer::make(stats, {.bytes = kTiB + 1}).error(), Errno::no_memory);
    EXPECT_EQ(Buffer::make(stats, {.bytes = ~std::uint64_t{0}}).error(), Errno::no_memory);
    EXPECT_EQ(stats.count(), 0u);
}

TEST(Buffer, TheStatsCountWhatLives) {
    BufferStats stats;
    auto a = *Buffer::make(stats, {.bytes = 4096});
    auto b = *Buffer::make(stats, {.bytes = 5000});
    const auto also_a = a;
    EXPECT_EQ(stats.count(), 2u);
    EXPECT_EQ(stats.bytes(), 4096u + 8192u);
    b.reset();
    a.reset();
    EXPECT_EQ(stats.count(), 1u);
    EXPECT_EQ(stats.bytes(), 4096u);
}

TEST(MmapOffsets, ABufferKeepsItsOffset) {
    BufferStats stats;
    MmapOffsets offsets;
    const auto a = *Buffer::make(stats, {.bytes = 4096});
    const auto b = *Buffer::make(stats, {.bytes = 4096});
    const auto offset = *offsets.offset_of(*a);
    EXPECT_GE(offset, std::uint64_t{1} << 32);
    EXPECT_EQ(offset % 4096, 0u);
    EXPECT_NE(*offsets.offset_of(*b), offset);
    EXPECT_EQ(*offsets.offset_of(*a), offset);
    EXPECT_EQ(offsets.find(offset), a);
}

TEST(MmapOffsets, OnlyTheExactStartNamesABuffer) {
    BufferStats stats;
    MmapOffsets offsets;
    const auto buffer = *Buffer::make(stats, {.bytes = 8192});
    const auto offset = *offsets.offset_of(*buffer);
    for (const auto other : {std::uint64_t{0}, offset - 4096, offset + 1, offset + 4096, offset + 8192})
        EXPECT_EQ(offsets.find(other), nullptr);
}

TEST(MmapOffsets, AnOffsetNamesNothingOnceItsBufferIsGone) {
    BufferStats stats;
    MmapOffsets offsets;
    auto buffer = *Buffer::make(stats, {.bytes = 4096});
    const auto offset = *offsets.offset_of(*buffer);
    buffer.reset();
    EXPECT_EQ(offsets.find(offset), nullptr);
}

TEST(MmapOffsets, AFullSpaceIsNoMemoryUntilABufferGoes) {
    BufferStats stats;
    MmapOffsets offsets;
    auto big = *Buffer::make(stats, {.bytes = kTiB});
    const auto small = *Buffer::make(stats, {.bytes = 4096});
    ASSERT_TRUE(offsets.offset_of(*big));
    EXPECT_EQ(offsets.offset_of(*small).error(), Errno::no_memory);
    offsets.check_invariants();
    big.reset();
    EXPECT_TRUE(offsets.offset_of(*small));
}

TEST(MmapOffsets, RandomBuffersNeverOverlapAndLeaveTheSpaceWhole) {
    BufferStats stats;
    MmapOffsets offsets;
    std::mt19937 random(99);
    std::vector<BufferPtr> buffers;
    for (int step = 0; step < 3000; ++step) {
        if (buffers.size() < 40 && random() % 2 == 0) {
            const auto buffer = *Buffer::make(stats, {.bytes = (1 + random() % 64) * kGiB});
            if (offsets.offset_of(*buffer)) buffers.push_back(buffer);
        } else if (!buffers.empty()) {
            std::swap(buffers[random() % buffers.size()], buffers.back());
            buffers.pop_back();
        }
        offsets.check_invariants();  // pieces lie end to end and fill the space
        for (const auto& buffer : buffers) ASSERT_EQ(offsets.find(*offsets.offset_of(*buffer)), buffer);
    }
    buffers.clear();
    const auto whole = *Buffer::make(stats, {.bytes = kTiB});
    EXPECT_TRUE(offsets.offset_of(*whole));
}

}  // namespace
}  // namespace belfry::drm
