// The index of waits for values in memory: against a naive list, and how much of it an update looks at.
#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "drm/value_waits.hpp"

namespace belfry::drm {
namespace {

using Until = ValueWait::Until;

class ValueWaitsTest : public testing::Test {
  protected:
    std::uint64_t& wide(std::uint64_t offset) {
        return *reinterpret_cast<std::uint64_t*>(buffer->data() + offset);
    }
    std::uint32_t& narrow(std::uint64_t offset) {
        return *reinterpret_cast<std::uint32_t*>(buffer->data() + offset);
    }
    [[nodiscard]] std::uintptr_t at(std::uint64_t offset) const {
        return reinterpret_cast<std::uintptr_t>(buffer->data()) + offset;
    }
    /// How many waits a look at these offsets takes out.
    unsigned look(std::uint64_t first, std::uint64_t last) {
        unsigned taken = 0;
        waits.look(at(first), at(last), [&](ValueWait& wait) {
            EXPECT_FALSE(wait.waiting());
            ++taken;
        });
        return taken;
    }

    BufferStats stats;
    BufferPtr buffer = *Buffer::make(stats, {.bytes = 1 << 16});
    ValueWaits waits;
};

TEST_F(ValueWaitsTest, AnUpdateTakesExactlyThoseWhomTheValueSatisfies) {
    std::vector<ValueWait> least(10);
    std::vector<ValueWait> most(10);
    wide(0) = 100;
    for (std::uint64_t i = 0; i < 10; ++i) {
        waits.add(least[i], buffer, 0, true, Until::at_least, 101 + i);
        waits.add(most[i], buffer, 0, true, Until::at_most, 99 - i);
    }
    EXPECT_EQ(look(0, 0), 0u);
    wide(0) = 104;
    EXPECT_EQ(look(0, 0), 4u);
    EXPECT_FALSE(least[3].waiting());
    EXPECT_TRUE(least[4].waiting());
    wide(0) = 98;
    EXPECT_EQ(look(0, 0), 2u);
    EXPECT_FALSE(most[1].waiting());
    EXPECT_TRUE(most[2].waiting());
    wide(0) = UINT64_MAX;
    EXPECT_EQ(look(0, 0), 6u);
}

TEST_F(ValueWaitsTest, AValueThatCannotComeIsWaitedForInVain) {
    ValueWait never;
    ValueWait beyond;
    waits.add(never, buffer, 0, true, Until::never, 0);
    waits.add(beyond, buffer, 8, false, Until::at_least, 1ULL << 32);
    wide(0) = wide(8) = UINT64_MAX;
    EXPECT_EQ(look(0, 8), 0u);
    EXPECT_FALSE(waits.empty());
}

TEST_F(ValueWaitsTest, ObjectsOfBothSizesAtOneAddressAreEachReadAsTheyAre) {
    ValueWait low;
    ValueWait high;
    ValueWait both;
    waits.add(low, buffer, 0, false, Until::at_least, 5);
    waits.add(high, buffer, 4, false, Until::at_least, 1);
    waits.add(both, buffer, 0, true, Until::at_least, (1ULL << 32) + 4);
    wide(0) = (1ULL << 32) + 4;
    EXPECT_EQ(look(0, 7), 2u);
    EXPECT_TRUE(low.waiting());
}

TEST_F(ValueWaitsTest, AnUpdateReadsOneObjectHoweverManyOthersAreWaitedFor) {
    constexpr std::uint64_t kObjects = 1000;
    std::deque<ValueWait> many(kObjects * 10);
    for (std::uint64_t i = 0; i < many.size(); ++i)
        waits.add(many[i], buffer, i % kObjects * 16, true, Until::at_least, 1 + i);
    const std::uint64_t before = waits.reads();
    wide(160) = 11;
    EXPECT_EQ(look(160, 175), 1u);
    EXPECT_EQ(waits.reads(), before + 1);
    EXPECT_EQ(look(0, 0), 0u);
    EXPECT_EQ(waits.reads(), before + 2);
}

TEST_F(ValueWaitsTest, AWaitThatHasMovedIsFoundOnlyWhereItIsNow) {
    ValueWait wait;
    waits.add(wait, buffer, 0, true, Until::at_least, 1);
    waits.add(wait, buffer, 64, true, Until::at_least, 1);
    wide(0) = 1;
    EXPECT_EQ(look(0, 0), 0u);
    wide(64) = 1;
    EXPECT_EQ(look(64, 64), 1u);
    EXPECT_TRUE(waits.empty());
}

TEST_F(ValueWaitsTest, RandomValuesAgreeWithAListThatIsLookedAtAsAWhole) {
    struct Plain {
        std::uint64_t offset;
        bool wide;
        Until until;
        std::uint64_t value;
    };
    std::mt19937_64 random(7);
    std::deque<ValueWait> nodes(400);
    std::vector<Plain> plain(nodes.size());
    for (int step = 0; step < 20'000; ++step) {
        const auto i = static_cast<std::size_t>(random() % nodes.size());
        const auto which = random() % 3;
        if (which == 0) {
            plain[i] = {.offset = random() % 8 * 4,
                        .wide = false,
                        .until = static_cast<Until>(random() % 3),
                        .value = random() % 20};
            if (random() % 2 == 0 && plain[i].offset % 8 == 0) plain[i].wide = true;
            waits.add(nodes[i], buffer, plain[i].offset, plain[i].wide, plain[i].until, plain[i].value);
        } else if (which == 1) {
            ValueWaits::remove(nodes[i]);
        } else {
            narrow(random() % 9 * 4) = static_cast<std::uint32_t>(random() % 20);
            std::vector<bool> expected(nodes.size());
            for (std::size_t j = 0; j < nodes.size(); ++j) {
                const Plain& wait = plain[j];
                const std::uint64_t value = wait.wide ? wide(wait.offset) : narrow(wait.offset);
                expected[j] = nodes[j].waiting() && ((wait.until == Until::at_least && value >= wait.value) ||
                                                     (wait.until == Until::at_most && value <= wait.value));
            }
            std::vector<bool> was(nodes.size());
            for (std::size_t j = 0; j < nodes.size(); ++j) was[j] = nodes[j].waiting();
            waits.look_at_all([](ValueWait&) {});
            for (std::size_t j = 0; j < nodes.size(); ++j)
                ASSERT_EQ(was[j] && !nodes[j].waiting(), expected[j]) << step << " " << j;
        }
    }
}

}  // namespace
}  // namespace belfry::drm
