#include <algorithm>
#include <bit>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "drm/va_space.hpp"

namespace belfry::drm {
namespace {

using base::Errno;

constexpr std::uint64_t kPage = 4096;
constexpr VaRange kSpace{.va = 0, .bytes = std::uint64_t{1} << 48};

/// A space, two buffers, and the steps that were told last, as text: "-3+2" unmaps two pages from page 3 on.
struct Rig {
    base::Result<void> map(std::uint64_t page, std::uint64_t pages, std::uint64_t buffer_page = 0,
                           int which = 0, std::uint32_t flags = 0) {
        steps.clear();
        auto reserve = *VaSpace::reserve(VaStep::Kind::map);
        return space.map(
            {.range = {.va = page * kPage, .bytes = pages * kPage},
             .buffer = buffers[static_cast<std::size_t>(which)],
             .buffer_offset = buffer_page * kPage,
             .flags = flags},
            reserve, [this](const VaStep& step) { note(step); }, removed);
    }
    base::Result<void> unmap(std::uint64_t page, std::uint64_t pages) {
        steps.clear();
        auto reserve = *VaSpace::reserve(VaStep::Kind::unmap);
        return space.unmap(
            {.va = page * kPage, .bytes = pages * kPage}, reserve, [this](const VaStep& step) { note(step); },
            removed);
    }
    void note(const VaStep& step) {
        const auto& range = step.mapping.range;
        steps += (step.kind == VaStep::Kind::map ? "+" : "-") + std::to_string(range.va / kPage) + ":" +
                 std::to_string(range.bytes / kPage) + "@" +
                 std::to_string(step.mapping.buffer_offset / kPage) + " ";
    }
    [[nodiscard]] std::string layout() const {
        std::string text;
        space.for_each([&](const VaMapping& mapping) {
            text += std::to_string(mapping.range.va / kPage) + ":" +
                    std::to_string(mapping.range.bytes / kPage) + "@" +
                    std::to_string(mapping.buffer_offset / kPage) + " ";
        });
        return text;
    }

    BufferStats stats;
    std::vector<BufferPtr> buffers{*Buffer::make(stats, {.bytes = 1 << 30}),
                                   *Buffer::make(stats, {.bytes = 1 << 30})};
    VaSpace space{kSpace};
    VaSpace::Removed removed;
    std::string steps;
};

TEST(VaSpace, AMappingIsFoundByEachOfItsAddresses) {
    Rig rig;
    ASSERT_TRUE(rig.map(10, 2, 5, 1, 3));
    EXPECT_EQ(rig.steps, "+10:2@5 ");
    EXPECT_EQ(rig.space.find(10 * kPage - 1), nullptr);
    EXPECT_EQ(rig.space.find(12 * kPage), nullptr);
    const VaMapping* const mapping = rig.space.find(12 * kPage - 1);
    ASSERT_NE(mapping, nullptr);
    EXPECT_EQ(mapping, rig.space.find(10 * kPage));
    EXPECT_EQ(mapping->buffer, rig.buffers[1]);
    EXPECT_EQ(mapping->flags, 3u);
}

TEST(VaSpace, UnmappingAHoleSucceedsWithoutAStep) {
    Rig rig;
    ASSERT_TRUE(rig.map(10, 2));
    ASSERT_TRUE(rig.unmap(0, 10));
    ASSERT_TRUE(rig.unmap(12, 100));
    EXPECT_EQ(rig.steps, "");
    EXPECT_EQ(rig.layout(), "10:2@0 ");
    EXPECT_TRUE(rig.removed.empty());
}

TEST(VaSpace, UnmappingTheMiddleLeavesBothEnds) {
    Rig rig;
    ASSERT_TRUE(rig.map(10, 10, 100));
    ASSERT_TRUE(rig.unmap(13, 4));
    EXPECT_EQ(rig.steps, "-13:4@103 ");
    EXPECT_EQ(rig.layout(), "10:3@100 17:3@107 ");
}

TEST(VaSpace, UnmappingOneEndLeavesTheOther) {
    Rig rig;
    ASSERT_TRUE(rig.map(10, 10, 100));
    ASSERT_TRUE(rig.unmap(8, 4));
    EXPECT_EQ(rig.steps, "-10:2@100 ");
    EXPECT_EQ(rig.layout(), "12:8@102 ");
    ASSERT_TRUE(rig.unmap(18, 10));
    EXPECT_EQ(rig.steps, "-18:2@108 ");
    EXPECT_EQ(rig.layout(), "12:6@102 ");
}

TEST(VaSpace, UnmappingASupersetTakesAllWithinInRisingOrder) {
    Rig rig;
    ASSERT_TRUE(rig.map(20, 2, 50));
    ASSERT_TRUE(rig.map(10, 2, 40));
    ASSERT_TRUE(rig.unmap(0, 100));
    EXPECT_EQ(rig.steps, "-10:2@40 -20:2@50 ");
    EXPECT_EQ(rig.space.size(), 0u);
}

TEST(VaSpace, MappingOverOthersReplacesExactlyTheOverlap) {
    Rig rig;
    ASSERT_TRUE(rig.map(10, 10, 100));
    ASSERT_TRUE(rig.map(25, 10, 200));
    ASSERT_TRUE(rig.map(15, 15, 0, 1));
    EXPECT_EQ(rig.steps, "-15:5@105 -25:5@200 +15:15@0 ");
    EXPECT_EQ(rig.layout(), "10:5@100 15:15@0 30:5@205 ");
}

TEST(VaSpace, MappingInsideAnotherSplitsIt) {
    Rig rig;
    ASSERT_TRUE(rig.map(10, 10, 100));
    ASSERT_TRUE(rig.map(12, 1, 0, 1));
    EXPECT_EQ(rig.steps, "-12:1@102 +12:1@0 ");
    EXPECT_EQ(rig.layout(), "10:2@100 12:1@0 13:7@103 ");
}

TEST(VaSpace, MappingTheSameRangeAgainReplacesIt) {
    Rig rig;
    ASSERT_TRUE(rig.map(10, 2));
    ASSERT_TRUE(rig.map(10, 2, 7));
    EXPECT_EQ(rig.steps, "-10:2@0 +10:2@7 ");
    EXPECT_EQ(rig.layout(), "10:2@7 ");
}

TEST(VaSpace, RangesOutsideTheSpaceAreInvalidAndChangeNothing) {
    Rig rig;
    const std::uint64_t pages = kSpace.bytes / kPage;
    ASSERT_TRUE(rig.map(0, 1));
    ASSERT_TRUE(rig.map(pages - 1, 1));
    const auto before = rig.layout();
    EXPECT_EQ(rig.map(pages - 1, 2).error(), Errno::invalid);
    EXPECT_EQ(rig.map(pages, 1).error(), Errno::invalid);
    EXPECT_EQ(rig.map(0, pages + 1).error(), Errno::invalid);
    EXPECT_EQ(rig.map(5, 0).error(), Errno::invalid);
    EXPECT_EQ(rig.unmap(5, 0).error(), Errno::invalid);
    EXPECT_EQ(rig.unmap(pages, 1).error(), Errno::invalid);
    const std::uint64_t last_page = ~std::uint64_t{0} / kPage;
    EXPECT_EQ(rig.unmap(last_page, 2).error(), Errno::invalid);
    EXPECT_EQ(rig.unmap(2, last_page).error(), Errno::invalid);
    EXPECT_EQ(rig.steps, "");
    EXPECT_EQ(rig.layout(), before);
}

TEST(VaSpace, ASpaceNeedNotBeginAtZero) {
    VaSpace space({.va = 16 * kPage, .bytes = 16 * kPage});
    EXPECT_FALSE(space.contains({.va = 15 * kPage, .bytes = kPage}));
    EXPECT_TRUE(space.contains({.va = 16 * kPage, .bytes = 16 * kPage}));
    EXPECT_FALSE(space.contains({.va = 17 * kPage, .bytes = 16 * kPage}));
}

TEST(VaSpace, ReferencesOfWhatGoesAreHandedToTheCaller) {
    Rig rig;
    ASSERT_TRUE(rig.map(10, 2, 0, 0));
    ASSERT_TRUE(rig.map(20, 2, 0, 1));
    const Buffer* const first = rig.buffers[0].get();
    const Buffer* const second = rig.buffers[1].get();
    rig.buffers.clear();
    ASSERT_TRUE(rig.unmap(0, 100));
    std::vector<const Buffer*> removed;
    for (const VaMapping& piece : rig.removed) removed.push_back(piece.buffer.get());
    EXPECT_EQ(removed, (std::vector{first, second}));
    EXPECT_EQ(rig.stats.count(), 2u);
    rig.removed.clear();  // the flush is done
    EXPECT_EQ(rig.stats.count(), 0u);
}

/// What lies at each page: which buffer, which of its pages, which flags.
struct PageModel {
    struct Entry {
        const Buffer* buffer = nullptr;
        std::uint64_t page = 0;
        std::uint32_t flags = 0;
        friend bool operator==(const Entry&, const Entry&) = default;
    };
    std::vector<Entry> pages;
};

TEST(VaSpace, RandomOperationsAgreeWithAMapOfPages) {
    constexpr std::uint64_t kPages = 96;
    for (const unsigned seed : {1u, 2u, 3u, 4u, 5u}) {
        SCOPED_TRACE(seed);
        std::mt19937 random(seed);
        BufferStats stats;
        std::vector<BufferPtr> buffers;
        for (int i = 0; i < 3; ++i) buffers.push_back(*Buffer::make(stats, {.bytes = 256 * kPage}));
        VaSpace space({.va = 0, .bytes = kPages * kPage});
        std::vector<PageModel::Entry> model(kPages);
        std::vector<PageModel::Entry> page_tables(kPages);  // written by the steps alone
        VaSpace::Removed removed;
        const auto apply = [&](const VaStep& step) {
            const auto& mapping = step.mapping;
            for (std::uint64_t i = 0; i < mapping.range.bytes / kPage; ++i) {
                auto& entry = page_tables[mapping.range.va / kPage + i];
                const PageModel::Entry told{mapping.buffer.get(), mapping.buffer_offset / kPage + i,
                                            mapping.flags};
                if (step.kind == VaStep::Kind::map) {
                    ASSERT_EQ(entry, PageModel::Entry{});  // what was there has been unmapped before
                    entry = told;
                } else {
                    ASSERT_EQ(entry, told);
                    entry = {};
                }
            }
        };
        for (int step = 0; step < 4000; ++step) {
            const std::uint64_t page = random() % kPages;
            const std::uint64_t pages = 1 + random() % std::min<std::uint64_t>(kPages - page, 24);
            const VaRange range{.va = page * kPage, .bytes = pages * kPage};
            if (random() % 3 != 0) {
                const VaMapping mapping{.range = range,
                                        .buffer = buffers[random() % buffers.size()],
                                        .buffer_offset = random() % 200 * kPage,
                                        .flags = static_cast<std::uint32_t>(random() % 8)};
                auto reserve = *VaSpace::reserve(VaStep::Kind::map);
                ASSERT_TRUE(space.map(mapping, reserve, apply, removed));
                for (std::uint64_t i = 0; i < pages; ++i)
                    model[page + i] = {mapping.buffer.get(), mapping.buffer_offset / kPage + i,
                                       mapping.flags};
            } else {
                auto reserve = *VaSpace::reserve(VaStep::Kind::unmap);
                ASSERT_TRUE(space.unmap(range, reserve, apply, removed));
                for (std::uint64_t i = 0; i < pages; ++i) model[page + i] = {};
            }
            space.check_invariants();
            ASSERT_EQ(page_tables, model);
            for (std::uint64_t i = 0; i < kPages; ++i) {
                const VaMapping* const mapping = space.find(i * kPage + random() % kPage);
                ASSERT_EQ(mapping != nullptr, model[i].buffer != nullptr);
                if (mapping == nullptr) continue;
                ASSERT_EQ((PageModel::Entry{mapping->buffer.get(),
                                            mapping->buffer_offset / kPage + (i - mapping->range.va / kPage),
                                            mapping->flags}),
                          model[i]);
            }
            removed.clear();
        }
    }
}

TEST(VaSpace, WithTenThousandMappingsAnOperationLooksAtFewOfThem) {
    constexpr std::uint64_t kMappings = 10'000;
    // A red-black tree is at most 2 log2(n + 1) high; map() goes down it twice (look, insert).
    const std::uint64_t few = 2 * 2 * static_cast<std::uint64_t>(std::bit_width(kMappings));
    Rig rig;
    for (std::uint64_t i = 0; i < kMappings; ++i) ASSERT_TRUE(rig.map(i * 4, 3, i));
    ASSERT_EQ(rig.space.size(), kMappings);
    std::mt19937 random(5);
    std::uint64_t most = 0;
    for (int step = 0; step < 1000; ++step) {
        const std::uint64_t page = random() % kMappings * 4;
        const auto before = rig.space.comparisons();
        if (step % 3 == 0) {
            ASSERT_TRUE(rig.map(page + 1, 1, 7));
        } else if (step % 3 == 1) {
            ASSERT_TRUE(rig.unmap(page + 1, 1));
        } else {
            ASSERT_NE(rig.space.find(page * kPage), nullptr);
        }
        most = std::max(most, rig.space.comparisons() - before);
    }
    EXPECT_LE(most, few);
    EXPECT_GT(most, 0u);
    rig.space.check_invariants();
}

}  // namespace
}  // namespace belfry::drm
