// Residency by itself, with a driver that is no GPU's: contexts that are on the hardware when a test says so.
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "base/signalling.hpp"
#include "drm/residency.hpp"
#include "unit/test_store.hpp"

namespace belfry::drm {
namespace {

constexpr std::uint64_t kPage = base::kPageBytes;
constexpr std::uint64_t kBudget = 8 * kPage;
using Claim = Residency::Claim;
using Beyond = Residency::Beyond;

class Memory : public testing::Test {
  protected:
    ~Memory() override {
        store.stop();
        buffers.clear();
    }

    BufferPtr buffer(std::uint64_t pages, Residency::Use use = Residency::Use::evictable) {
        auto made = *Buffer::make(stats, {.bytes = pages * kPage});
        EXPECT_TRUE(residency.manage(*made, use));
        return buffers.emplace_back(std::move(made));  // as a mapping would keep it
    }
    void map(LongRunningContext& context, const BufferPtr& buffer) {
        auto reserve = context.reserve(*buffer);
        context.attach(*buffer, buffer->size(), reserve);
    }
    Claim claim(LongRunningContext& context, Beyond beyond = Beyond::wait) {
        const base::SignallingPath path;
        const auto claim = residency.claim(&context, beyond);
        residency.check_invariants();
        return claim;
    }
    void finish_all() {
        while (store.finish_one()) residency.check_invariants();
    }
    /// What a driver does when it is told of changes, until there are no more.
    void settle() {
        do {
            residency.trim();
            residency.check_invariants();
        } while (store.finish_one());
    }
    /// On the hardware and off again.
    void run(LongRunningContext& context) {
        while (claim(context) == Claim::restoring) ASSERT_TRUE(store.finish_one());
        context.arm_preempt_fence();
        context.signal_preempt_fence();
        residency.check_invariants();
    }
    static ResidencyState state(const BufferPtr& buffer) { return buffer->residence.state(); }

    Timers timers;
    BufferStats stats;
    TestStore store;
    unsigned told_to_evict = 0;
    unsigned changes = 0;
    std::vector<BufferPtr> buffers;
    Residency residency{timers,
                        {.budget_bytes = kBudget, .store = &store},
                        {.about_to_evict = [this] { ++told_to_evict; }, .changed = [this] { ++changes; }}};
};

TEST_F(Memory, EachStateGoesOnlyWhereTheTableSays) {
    unsigned steps = 0;
    for (unsigned state = 0; state < 4; ++state)
        for (unsigned event = 0; event < 6; ++event)
            steps += next(static_cast<ResidencyState>(state), static_cast<ResidencyEvent>(event)).has_value();
    EXPECT_EQ(steps, std::size(kResidencySteps));
}

TEST_F(Memory, AContextIsCompleteWhenAllItMapsIsThere) {
    LongRunningContext context(residency);
    EXPECT_TRUE(context.complete());
    const BufferPtr one = buffer(2);
    map(context, one);
    EXPECT_FALSE(context.complete());
    EXPECT_EQ(claim(context), Claim::ready);  // it is fresh
    EXPECT_TRUE(context.complete());
    context.detach(*one, kPage);
    context.detach(*one, kPage);
    EXPECT_EQ(residency.resident_bytes(), 2 * kPage);
}

TEST_F(Memory, EvictionWaitsForThePreemptFenceAndForNothingElse) {
    LongRunningContext first(residency);
    LongRunningContext second(residency);
    const BufferPtr one = buffer(6);
    const BufferPtr two = buffer(6);
    map(first, one);
    map(second, two);
    EXPECT_EQ(claim(first), Claim::ready);
    first.arm_preempt_fence();
    first.arm_preempt_fence();  // two parts of it run
    EXPECT_TRUE(residency.would_yield(first));
    EXPECT_EQ(claim(second), Claim::no_room);
    first.signal_preempt_fence();
    EXPECT_EQ(claim(second), Claim::no_room);
    first.signal_preempt_fence();
    EXPECT_EQ(claim(second), Claim::restoring);  // when the other is out
    EXPECT_EQ(state(one), ResidencyState::evicting);
    EXPECT_EQ(state(two), ResidencyState::evicted);
    EXPECT_EQ(told_to_evict, 1u);
    EXPECT_TRUE(store.finish_one());
    EXPECT_GT(changes, 0u);
    EXPECT_EQ(claim(second), Claim::ready);
    EXPECT_EQ(state(one), ResidencyState::evicted);
}

TEST_F(Memory, WhatIsClaimedIsNotEvictedForAnybodyUntilItHasRun) {
    LongRunningContext first(residency);
    LongRunningContext second(residency);
    const BufferPtr one = buffer(6);
    map(first, one);
    map(second, buffer(1));
    run(second);
    EXPECT_EQ(claim(first), Claim::ready);
    const BufferPtr wanted = buffer(6);
    Hold hold{[] {}};
    EXPECT_FALSE(hold.take(wanted));
    settle();
    EXPECT_EQ(state(wanted), ResidencyState::resident);  // beyond the budget
    EXPECT_EQ(state(one), ResidencyState::resident);
    EXPECT_EQ(claim(second), Claim::restoring);
    settle();
}

TEST_F(Memory, AHoldIsReadyWhenTheBufferIsBackAndKeepsItThere) {
    LongRunningContext first(residency);
    LongRunningContext second(residency);
    const BufferPtr one = buffer(6);
    map(first, one);
    map(second, buffer(6));
    run(first);
    run(second);
    ASSERT_EQ(state(one), ResidencyState::evicted);
    bool ready = false;
    Hold hold{[&] { ready = true; }};
    EXPECT_FALSE(hold.take(one));
    EXPECT_FALSE(hold.take(one));
    settle();
    EXPECT_TRUE(ready);
    EXPECT_TRUE(hold.take(one));
    residency.commit(*buffer(6));
    settle();
    EXPECT_EQ(state(one), ResidencyState::resident);
    hold.release();
}

TEST_F(Memory, AHoldThatComesWhileTheBufferGoesHasItBroughtBack) {
    LongRunningContext first(residency);
    LongRunningContext second(residency);
    const BufferPtr one = buffer(6);
    map(first, one);
    map(second, buffer(6));
    run(first);
    EXPECT_EQ(claim(second), Claim::restoring);
    ASSERT_EQ(state(one), ResidencyState::evicting);
    bool ready = false;
    Hold hold{[&] { ready = true; }};
    EXPECT_FALSE(hold.take(one));
    EXPECT_TRUE(store.finish_one());
    EXPECT_FALSE(ready);
    residency.trim();
    EXPECT_EQ(state(one), ResidencyState::restoring);
    EXPECT_TRUE(store.finish_one());
    EXPECT_TRUE(ready);
}

TEST_F(Memory, AHoldMayGoWhileItWaitsAndTheBufferWithIt) {
    BufferPtr one = buffer(6);
    {
        Hold once{[] {}};
        EXPECT_TRUE(once.take(one));
    }
    residency.commit(*buffer(6));
    residency.trim();
    EXPECT_EQ(state(one), ResidencyState::evicting);
    {
        Hold gone{[] { FAIL(); }};
        EXPECT_FALSE(gone.take(one));
    }
    buffers.erase(buffers.begin());
    one.reset();
    finish_all();
    EXPECT_EQ(store.kept(), 0u);
}

TEST_F(Memory, WhatClientsHoldOpenStaysAndNoMoreThanTheBudgetIsOpen) {
    const BufferPtr one = buffer(6);
    const BufferPtr two = buffer(6);
    residency.restore(*one);
    EXPECT_TRUE(one->residence.check_open());
    one->residence.set_open(true);
    EXPECT_EQ(two->residence.check_open().error(), base::Errno::no_memory);
    residency.commit(*two);
    settle();
    EXPECT_EQ(state(one), ResidencyState::resident);
    EXPECT_EQ(state(two), ResidencyState::evicted);
    one->residence.set_open(false);
    residency.restore(*two);
    settle();
    EXPECT_EQ(state(one), ResidencyState::evicted);
    EXPECT_EQ(state(two), ResidencyState::resident);
}

TEST_F(Memory, WhatIsWiredIsThereForGood) {
    const BufferPtr wired = buffer(4, Residency::Use::wired);
    EXPECT_EQ(state(wired), ResidencyState::resident);
    {
        const BufferPtr more = *Buffer::make(stats, {.bytes = 5 * kPage});
        EXPECT_EQ(residency.manage(*more, Residency::Use::wired).error(), base::Errno::no_memory);
    }
    LongRunningContext context(residency);
    map(context, buffer(4));
    map(context, wired);
    run(context);
    EXPECT_TRUE(residency.would_yield(context));
    residency.commit(*buffer(4));
    settle();
    EXPECT_EQ(state(wired), ResidencyState::resident);
}

TEST_F(Memory, AContextThatIsTooLargeGoesBeyondTheBudgetWhenItIsToldTo) {
    LongRunningContext small(residency);
    LongRunningContext large(residency);
    const BufferPtr one = buffer(4);
    map(small, one);
    run(small);
    map(large, buffer(6));
    map(large, buffer(6));
    EXPECT_EQ(claim(large), Claim::no_room);
    EXPECT_EQ(claim(large, Beyond::exceed), Claim::ready);
    EXPECT_EQ(state(one), ResidencyState::evicting);
    finish_all();
    EXPECT_EQ(residency.resident_bytes(), 12 * kPage);
}

TEST_F(Memory, WhatCameBeyondTheBudgetForOneThatDidNotRunGoesAgain) {
    LongRunningContext first(residency);
    LongRunningContext second(residency);
    map(first, buffer(6));
    const BufferPtr two = buffer(6);
    map(second, two);
    EXPECT_EQ(claim(first), Claim::ready);
    first.arm_preempt_fence();
    EXPECT_EQ(claim(second, Beyond::exceed), Claim::ready);
    EXPECT_FALSE(residency.exceeds_in_vain());
    const unsigned before = changes;
    EXPECT_EQ(residency.claim(nullptr, Beyond::wait), Claim::ready);
    EXPECT_GT(changes, before);
    settle();
    EXPECT_EQ(state(two), ResidencyState::evicted);
    first.signal_preempt_fence();
}

TEST_F(Memory, WhatCameBeyondTheBudgetForAHoldGoesWithIt) {
    LongRunningContext first(residency);
    map(first, buffer(6));
    EXPECT_EQ(claim(first), Claim::ready);
    first.arm_preempt_fence();
    const BufferPtr wanted = buffer(6);
    Hold hold{[] {}};
    EXPECT_FALSE(hold.take(wanted));
    settle();
    EXPECT_EQ(state(wanted), ResidencyState::resident);
    const unsigned before = changes;
    hold.release();
    EXPECT_GT(changes, before);
    settle();
    EXPECT_EQ(state(wanted), ResidencyState::evicted);
    first.signal_preempt_fence();
}

TEST_F(Memory, AFullStoreIsNotAskedAgainBeforeItGaveSomethingBack) {
    LongRunningContext first(residency);
    LongRunningContext second(residency);
    const BufferPtr one = buffer(6);
    map(first, one);
    map(second, buffer(6));
    run(first);
    store.evicting_fails = base::Errno::no_space;
    EXPECT_EQ(claim(second), Claim::restoring);
    EXPECT_TRUE(store.finish_one());
    EXPECT_EQ(state(one), ResidencyState::resident);
    EXPECT_EQ(claim(second), Claim::no_room);
    EXPECT_FALSE(residency.would_yield(first));
    EXPECT_EQ(store.pending(), 0u);
    EXPECT_EQ(claim(second, Beyond::exceed), Claim::ready);
}

TEST_F(Memory, AFailedRestoreIsToldToEachWhoWaitedAndCanBeTriedAgain) {
    LongRunningContext first(residency);
    LongRunningContext second(residency);
    const BufferPtr one = buffer(6);
    map(first, one);
    map(second, buffer(6));
    run(first);
    run(second);
    ASSERT_EQ(state(one), ResidencyState::evicted);
    store.restoring_fails = base::Errno::io;
    Hold hold{[] {}};
    EXPECT_FALSE(hold.take(one));
    settle();
    EXPECT_TRUE(hold.failed());
    hold.release();
    EXPECT_EQ(claim(first), Claim::failed);
    store.restoring_fails.reset();
    while (claim(first) == Claim::restoring) ASSERT_TRUE(store.finish_one());
    EXPECT_EQ(state(one), ResidencyState::resident);
}

TEST_F(Memory, ContentsSurviveAWayOutAndBack) {
    LongRunningContext first(residency);
    LongRunningContext second(residency);
    const BufferPtr one = buffer(6);
    map(first, one);
    map(second, buffer(6));
    run(first);
    one->data()[5 * kPage + 7] = std::byte{42};
    run(second);
    EXPECT_NE(one->data()[5 * kPage + 7], std::byte{42});
    run(first);
    EXPECT_EQ(one->data()[5 * kPage + 7], std::byte{42});
    EXPECT_EQ(residency.evictions(), 2u);
    EXPECT_EQ(residency.restores(), 1u);
}

}  // namespace
}  // namespace belfry::drm
