#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "drm/handles.hpp"

namespace belfry::drm {
namespace {

using base::Errno;

TEST(HandleTable, GivesTheLowestFreeNumberFromTheFirstOn) {
    HandleTable<int> table;
    EXPECT_EQ(*table.insert(10), 1u);
    EXPECT_EQ(*table.insert(20), 2u);
    EXPECT_EQ(*table.insert(30), 3u);
    table.remove(1);
    table.remove(2);
    EXPECT_EQ(*table.insert(40), 1u);
    EXPECT_EQ(*table.insert(50), 2u);
    EXPECT_EQ(*table.insert(60), 4u);
}

TEST(HandleTable, FullIsTheErrnoOfTheTable) {
    HandleTable<int> table({.first = 1, .last = 2, .when_full = Errno::busy});
    ASSERT_TRUE(table.insert(1));
    ASSERT_TRUE(table.insert(2));
    EXPECT_EQ(table.insert(3).error(), Errno::busy);
    table.remove(1);
    EXPECT_EQ(*table.insert(3), 1u);
}

TEST(HandleTable, FindsWhatIsThereAndNothingElse) {
    HandleTable<int> table({.first = 5});
    ASSERT_EQ(*table.insert(10), 5u);
    EXPECT_EQ(*table.find(5), 10);
    for (const std::uint32_t other : {0u, 4u, 6u, 0xffff'ffffu}) EXPECT_EQ(table.find(other), nullptr);
    EXPECT_EQ(std::as_const(table).find(4), nullptr);
}

TEST(HandleTable, RemoveHandsOutTheObjectOnce) {
    HandleTable<std::unique_ptr<int>> table;
    ASSERT_TRUE(table.insert(std::make_unique<int>(10)));
    const auto removed = table.remove(1);
    ASSERT_TRUE(removed);
    EXPECT_EQ(**removed, 10);
    EXPECT_FALSE(table.remove(1));
    EXPECT_FALSE(table.remove(0));
    EXPECT_TRUE(table.empty());
}

TEST(HandleTable, DestructorsSeeAnEmptyTableWhenItIsCleared) {
    struct Looker {
        explicit Looker(HandleTable<std::unique_ptr<Looker>>& in) : table(in) {}
        ~Looker() { EXPECT_EQ(table.find(1), nullptr); }
        HandleTable<std::unique_ptr<Looker>>& table;
    };
    HandleTable<std::unique_ptr<Looker>> table;
    ASSERT_TRUE(table.insert(std::make_unique<Looker>(table)));
    ASSERT_TRUE(table.insert(std::make_unique<Looker>(table)));
    table.clear();
    EXPECT_EQ(*table.insert(nullptr), 1u);
}

TEST(HandleTable, AnObjectMovesToANumberFarAway) {
    HandleTable<std::unique_ptr<int>> table;
    ASSERT_TRUE(table.insert(std::make_unique<int>(10)));
    ASSERT_TRUE(table.insert(std::make_unique<int>(20)));
    EXPECT_TRUE(table.move(1, 0x7fff'ffff));
    EXPECT_TRUE(table.move(2, 0));
    table.check_invariants();
    EXPECT_EQ(**table.find(0x7fff'ffff), 10);
    EXPECT_EQ(**table.find(0), 20);
    EXPECT_EQ(table.find(1), nullptr);
    EXPECT_EQ(table.size(), 2u);
    EXPECT_EQ(*table.insert(nullptr), 1u);
    EXPECT_EQ(**table.remove(0), 20);
    EXPECT_EQ(**table.remove(0x7fff'ffff), 10);
    EXPECT_EQ(table.size(), 1u);
}

TEST(HandleTable, InsertStepsOverNumbersThatWereMovedTo) {
    HandleTable<int> table;
    ASSERT_TRUE(table.insert(10));
    EXPECT_TRUE(table.move(1, 3));
    EXPECT_EQ(*table.insert(20), 1u);
    EXPECT_EQ(*table.insert(30), 2u);
    EXPECT_EQ(*table.insert(40), 4u);
    EXPECT_EQ(*table.find(3), 10);
    table.check_invariants();
}

TEST(HandleTable, MoveSaysWhatIsMissingOrTaken) {
    HandleTable<int> table;
    ASSERT_TRUE(table.insert(10));
    ASSERT_TRUE(table.insert(20));
    EXPECT_EQ(table.move(3, 3).error(), Errno::no_entry);
    EXPECT_EQ(table.move(1, 2).error(), Errno::no_space);
    EXPECT_TRUE(table.move(1, 1));
    EXPECT_EQ(*table.find(1), 10);
}

TEST(HandleTable, RandomUseAgreesWithAMap) {
    constexpr std::uint32_t kFirst = 3, kLast = 60;
    HandleTable<int> table({.first = kFirst, .last = kLast, .when_full = Errno::busy});
    std::map<std::uint32_t, int> model;
    std::mt19937 random(1);
    for (int step = 0; step < 20'000; ++step) {
        const auto what = random() % 8;
        if (what < 4) {
            std::uint32_t lowest = kFirst;
            while (model.contains(lowest)) ++lowest;
            const auto handle = table.insert(step);
            ASSERT_EQ(handle.has_value(), lowest <= kLast);
            if (!handle) continue;
            ASSERT_EQ(*handle, lowest);
            model[lowest] = step;
        } else if (what < 6) {
            const auto handle = static_cast<std::uint32_t>(random() % (kLast + 3));
            const auto to = static_cast<std::uint32_t>(random() % (kLast + 3));
            const bool there = model.contains(handle);
            const bool taken = handle != to && model.contains(to);
            const auto moved = table.move(handle, to);
            ASSERT_EQ(moved.has_value(), there && !taken);
            if (!moved) {
                ASSERT_EQ(moved.error(), there ? Errno::no_space : Errno::no_entry);
            }
            if (moved && handle != to) model.insert({to, model.extract(handle).mapped()});
        } else {
            const auto handle = static_cast<std::uint32_t>(random() % (kLast + 3));
            ASSERT_EQ(table.remove(handle).has_value(), model.erase(handle) == 1);
        }
        table.check_invariants();
        ASSERT_EQ(table.size(), model.size());
        std::vector<std::pair<std::uint32_t, int>> seen;
        std::as_const(table).for_each(
            [&](std::uint32_t handle, int object) { seen.emplace_back(handle, object); });
        ASSERT_TRUE(std::ranges::equal(seen, model, [](const auto& a, const auto& b) {
            return a.first == b.first && a.second == b.second;
        }));
    }
}

}  // namespace
}  // namespace belfry::drm
