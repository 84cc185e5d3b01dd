#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "drm/timers.hpp"

namespace belfry::drm {
namespace {

/// Timers that write down when they were called.
struct Rig {
    struct Entry {
        Rig& rig;
        int name;
        Timer timer{rig.timers, [this] { rig.calls.push_back(name); }};
    };

    Timers timers;
    std::vector<int> calls;
};

TEST(Timers, WithoutATimerThereIsNoDeadline) {
    Timers timers;
    EXPECT_EQ(timers.next_deadline(), std::nullopt);
    timers.run(100);
    EXPECT_EQ(timers.now(), 100u);
}

TEST(Timers, ATimerIsCalledOnceWhenItsDeadlineHasCome) {
    Rig rig;
    Rig::Entry a{rig, 1};
    a.timer.arm(100);
    EXPECT_TRUE(a.timer.armed());
    EXPECT_EQ(rig.timers.next_deadline(), 100u);
    rig.timers.run(99);
    EXPECT_TRUE(rig.calls.empty());
    rig.timers.run(100);
    EXPECT_EQ(rig.calls, (std::vector{1}));
    EXPECT_FALSE(a.timer.armed());
    rig.timers.run(1000);
    EXPECT_EQ(rig.calls, (std::vector{1}));
}

TEST(Timers, AreCalledByDeadlineThenInTheOrderOfArming) {
    Rig rig;
    Rig::Entry a{rig, 1}, b{rig, 2}, c{rig, 3}, d{rig, 4};
    a.timer.arm(30);
    b.timer.arm(10);
    c.timer.arm(20);
    d.timer.arm(10);
    rig.timers.run(50);
    EXPECT_EQ(rig.calls, (std::vector{2, 4, 3, 1}));
}

TEST(Timers, ArmingAgainReplacesTheDeadline) {
    Rig rig;
    Rig::Entry a{rig, 1};
    a.timer.arm(100);
    a.timer.arm(200);
    rig.timers.run(150);
    EXPECT_TRUE(rig.calls.empty());
    EXPECT_EQ(rig.timers.next_deadline(), 200u);
    a.timer.arm(50);
    rig.timers.run(150);
    EXPECT_EQ(rig.calls, (std::vector{1}));
}

TEST(Timers, ACancelledOrDestroyedTimerIsNotCalled) {
    Rig rig;
    Rig::Entry a{rig, 1};
    auto b = std::make_unique<Rig::Entry>(rig, 2);
    a.timer.arm(10);
    b->timer.arm(10);
    a.timer.cancel();
    b.reset();
    EXPECT_EQ(rig.timers.next_deadline(), std::nullopt);
    rig.timers.run(20);
    EXPECT_TRUE(rig.calls.empty());
}

TEST(Timers, TimeNeverGoesBack) {
    Timers timers;
    timers.set_now(100);
    timers.set_now(50);
    EXPECT_EQ(timers.now(), 100u);
    timers.run(70);
    EXPECT_EQ(timers.now(), 100u);
}

TEST(Timers, ACallbackMayCancelAndDestroyTimersThatAreDue) {
    Timers timers;
    struct Owner {
        void strike() {
            cancelled.cancel();
            destroyed.reset();
        }
        Timers& in;
        Timer first{in, [this] { strike(); }};
        Timer cancelled{in, [] { FAIL(); }};
        std::unique_ptr<Timer> destroyed = std::make_unique<Timer>(in, [] { FAIL(); });
    } owner{timers};
    owner.first.arm(1);
    owner.cancelled.arm(2);
    owner.destroyed->arm(3);
    timers.run(10);
    EXPECT_EQ(timers.next_deadline(), std::nullopt);
}

TEST(Timers, ACallbackMayDestroyItsOwnTimer) {
    Timers timers;
    struct Owner {
        void end() {
            timer.reset();
            ++calls;
        }
        Timers& in;
        int calls = 0;
        std::unique_ptr<Timer> timer = std::make_unique<Timer>(in, [this] { end(); });
    } owner{timers};
    owner.timer->arm(1);
    timers.run(1);
    EXPECT_EQ(owner.calls, 1);
}

TEST(Timers, ATimerThatArmsItselfForThePastWaitsForTheNextRun) {
    Timers timers;
    struct Owner {
        void tick() {
            ++calls;
            timer.arm(0);
        }
        Timers& in;
        int calls = 0;
        Timer timer{in, [this] { tick(); }};
    } owner{timers};
    owner.timer.arm(5);
    timers.run(10);
    EXPECT_EQ(owner.calls, 1);
    EXPECT_EQ(timers.next_deadline(), 0u);
    timers.run(10);
    EXPECT_EQ(owner.calls, 2);
}

TEST(Timers, RandomArmingAndCancellingAgreesWithASortedList) {
    constexpr int kTimers = 40;
    std::mt19937 random(4711);
    Rig rig;
    std::vector<std::unique_ptr<Rig::Entry>> entries;
    std::vector<std::optional<std::pair<std::uint64_t, int>>> model(kTimers);  // deadline, order of arming
    for (int i = 0; i < kTimers; ++i) entries.push_back(std::make_unique<Rig::Entry>(rig, i));
    std::uint64_t now = 0;
    for (int step = 0; step < 5000; ++step) {
        const auto i = random() % kTimers;
        switch (random() % 4) {
            case 0:
            case 1:
                model[i] = {now + random() % 50, step};
                entries[i]->timer.arm(model[i]->first);
                break;
            case 2:
                model[i].reset();
                entries[i]->timer.cancel();
                break;
            default: {
                now += random() % 20;
                std::vector<std::pair<std::pair<std::uint64_t, int>, int>> due;
                for (int k = 0; k < kTimers; ++k) {
                    auto& entry = model[static_cast<std::size_t>(k)];
                    if (!entry || entry->first > now) continue;
                    due.emplace_back(*entry, k);
                    entry.reset();
                }
                std::ranges::sort(due);
                std::vector<int> expected;
                for (const auto& [key, name] : due) expected.push_back(name);
                rig.calls.clear();
                rig.timers.run(now);
                ASSERT_EQ(rig.calls, expected);
            }
        }
        rig.timers.check_invariants();
    }
}

}  // namespace
}  // namespace belfry::drm
