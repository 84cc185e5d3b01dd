#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "drm/fence_merge.hpp"
#include "drm/syncobj.hpp"

namespace belfry::drm {
namespace {

using Fences = std::vector<FencePtr>;

struct Rig {
    FencePtr merge(const Fences& fences) { return merge_fences(contexts, fences); }
    /// Fences of a context each.
    Fences make(std::size_t count) {
        Fences fences(count);
        std::ranges::generate(fences, [this] { return Fence::make(contexts.allocate(), 1); });
        return fences;
    }

    FenceContexts contexts;
};

TEST(FenceMerge, OfPendingFencesSignalsWhenAllHaveAtTheTimeOfTheLatest) {
    Rig rig;
    const auto fences = rig.make(3);
    const auto merged = rig.merge(fences);
    fences[1]->signal(50);
    fences[0]->signal(20);
    EXPECT_EQ(merged->status(), 0);
    fences[2]->signal(30);
    EXPECT_EQ(merged->status(), 1);
    EXPECT_EQ(merged->timestamp_ns(), 50u);
}

TEST(FenceMerge, CallsItsCallbacksWithTheLastMissingMember) {
    for (const auto& order : {std::vector<std::size_t>{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {1, 0, 2}}) {
        Rig rig;
        const auto fences = rig.make(3);
        bool called = false;
        FenceCallback callback([&called] { called = true; });
        ASSERT_TRUE(rig.merge(fences)->add_callback(callback));
        fences[order[0]]->signal(1);
        fences[order[1]]->signal(2);
        EXPECT_FALSE(called);
        fences[order[2]]->signal(3);
        EXPECT_TRUE(called);
    }
}

TEST(FenceMerge, FailsWithTheErrorOfTheMemberThatFailedFirst) {
    Rig rig;
    const auto fences = rig.make(3);
    const auto merged = rig.merge(fences);
    fences[2]->signal(10, Errno::cancelled);
    fences[0]->signal(20, Errno::timed_out);
    fences[1]->signal(30);
    EXPECT_EQ(merged->status(), -ECANCELED);
}

TEST(FenceMerge, OfOneContextKeepsTheLatest) {
    Rig rig;
    const auto early = Fence::make(7, 3);
    const auto late = Fence::make(7, 9);
    EXPECT_EQ(rig.merge({late, early}), late);
    EXPECT_EQ(rig.merge({early, late, early}), late);
    const auto other = Fence::make(8, 1);
    const auto merged = rig.merge({early, other, late});
    EXPECT_EQ(unwrap_fence(merged), (Fences{late, other}));
}

TEST(FenceMerge, WithOnePendingLeftIsThatFenceItself) {
    Rig rig;
    const auto fences = rig.make(3);
    fences[0]->signal(1);
    fences[2]->signal(2, Errno::cancelled);
    EXPECT_EQ(rig.merge(fences), fences[1]);
}

TEST(FenceMerge, WithNothingPendingLeftIsASignalledStubOfTheLatestTime) {
    Rig rig;
    const auto fences = rig.make(2);
    fences[0]->signal(30);
    fences[1]->signal(20, Errno::cancelled);
    const auto merged = rig.merge(fences);
    EXPECT_EQ(merged->status(), 1);
    EXPECT_EQ(merged->timestamp_ns(), 30u);
}

TEST(FenceMerge, TakesMergedFencesApart) {
    Rig rig;
    const auto fences = rig.make(4);
    const auto left = rig.merge({fences[0], fences[1]});
    const auto right = rig.merge({fences[2], fences[3]});
    fences[1]->signal(1);
    EXPECT_EQ(unwrap_fence(rig.merge({left, right})), (Fences{fences[0], fences[2], fences[3]}));
}

TEST(FenceMerge, TakesTimelinesApartAndIsNoNode) {
    Rig rig;
    const auto fences = rig.make(3);
    const auto syncobj = Syncobj::make(rig.contexts);
    for (std::size_t i = 0; i < 3; ++i) syncobj->add_point(fences[i], i + 1);
    fences[1]->signal(1);
    const auto merged = rig.merge({*syncobj->find_point(3)});
    EXPECT_EQ(merged->chain_node(), nullptr);
    EXPECT_EQ(unwrap_fence(merged), (Fences{fences[0], fences[2]}));
    EXPECT_EQ(rig.merge({*syncobj->find_point(1)}), fences[0]);
}

TEST(FenceUnwrap, OfAMergedFenceListsMembersThatSignalledToo) {
    Rig rig;
    const auto fences = rig.make(3);
    const auto merged = rig.merge(fences);
    fences[0]->signal(1);
    fences[1]->signal(1);
    fences[2]->signal(1);
    EXPECT_TRUE(merged->is_signalled());
    EXPECT_EQ(unwrap_fence(merged), fences);
}

TEST(FenceUnwrap, OfATimelinesPointListsItsOwnAndThosePendingBefore) {
    Rig rig;
    const auto fences = rig.make(3);
    const auto binary = rig.make(1)[0];
    const auto syncobj = Syncobj::make(rig.contexts);
    syncobj->replace(binary);
    for (std::size_t i = 0; i < 3; ++i) syncobj->add_point(fences[i], i + 1);
    fences[1]->signal(1);
    fences[2]->signal(1);
    EXPECT_EQ(unwrap_fence(*syncobj->find_point(3)), (Fences{fences[2], fences[0], binary}));
}

TEST(FenceUnwrap, OfAPlainFenceIsThatFence) {
    Rig rig;
    const auto fence = rig.make(1)[0];
    EXPECT_EQ(unwrap_fence(fence), Fences{fence});
}

TEST(FenceMerge, MayBeTheFenceOfATimelinesPoint) {
    Rig rig;
    const auto fences = rig.make(2);
    const auto syncobj = Syncobj::make(rig.contexts);
    syncobj->add_point(rig.merge(fences), 1);
    const auto point = *syncobj->find_point(1);
    bool called = false;
    FenceCallback callback([&called] { called = true; });
    ASSERT_TRUE(point->add_callback(callback));
    EXPECT_EQ(unwrap_fence(point), fences);
    fences[0]->signal(1);
    EXPECT_EQ(syncobj->query(), 0u);
    fences[1]->signal(2);
    EXPECT_TRUE(called);
    EXPECT_EQ(syncobj->query(), 1u);
}

/// A fence that is found signalled by looking; looking at it tells somebody else at once.
class LookedAtFence final : public Fence {
  public:
    LookedAtFence(std::uint64_t context, const bool& done) : Fence(context, 1), done_(done) {}

  private:
    void poll() override {
        if (done_) signal(5);
    }
    const bool& done_;
};

TEST(FenceMerge, LookedAtByAMembersOwnCallbackForgetsNoMember) {
    Rig rig;
    bool done = false;
    const FencePtr looked_at(new LookedAtFence(rig.contexts.allocate(), done));
    const auto last = rig.make(1)[0];
    const auto merged = rig.merge({looked_at, last});
    struct Nosy {
        Fence& merged;
        FenceCallback callback{[this] { EXPECT_EQ(merged.status(), 0); }};
    } nosy{*merged};
    bool called = false;
    FenceCallback callback([&called] { called = true; });
    ASSERT_TRUE(looked_at->add_callback(nosy.callback));
    ASSERT_TRUE(merged->add_callback(callback));
    done = true;
    EXPECT_EQ(merged->status(), 0);
    EXPECT_FALSE(called);
    last->signal(9);
    EXPECT_TRUE(called);
}

TEST(FenceMerge, RandomMergesSignalExactlyWithTheirLastMember) {
    for (unsigned seed = 1; seed <= 30; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937 random(seed);
        Rig rig;
        constexpr std::size_t kTimelines = 6;
        struct Timeline {
            std::uint64_t context;
            Fences fences;
        };
        std::vector<Timeline> timelines(kTimelines);
        for (auto& timeline : timelines) timeline.context = rig.contexts.allocate();
        struct Merged {
            FencePtr fence;
            std::vector<std::uint64_t> needs;  // of each timeline
            bool called = false;
            FenceCallback callback{[this] { called = true; }};
        };
        std::vector<std::unique_ptr<Merged>> all;
        std::vector<std::uint64_t> reached(kTimelines);
        const auto done = [&](const Merged& merged) {
            return std::ranges::equal(merged.needs, reached, std::ranges::less_equal{});
        };
        for (int step = 0; step < 400; ++step) {
            const std::size_t which = random() % kTimelines;
            auto& timeline = timelines[which];
            switch (random() % 3) {
                case 0: {
                    timeline.fences.push_back(Fence::make(timeline.context, timeline.fences.size() + 1));
                    auto merged = std::make_unique<Merged>(timeline.fences.back(),
                                                           std::vector<std::uint64_t>(kTimelines));
                    merged->needs[which] = timeline.fences.size();
                    all.push_back(std::move(merged));
                    break;
                }
                case 1:
                    if (reached[which] < timeline.fences.size())
                        timeline.fences[reached[which]++]->signal(static_cast<std::uint64_t>(step) + 1);
                    break;
                default: {
                    if (all.size() < 2) break;
                    const auto& a = *all[random() % all.size()];
                    const auto& b = *all[random() % all.size()];
                    auto merged = std::make_unique<Merged>(rig.merge({a.fence, b.fence}),
                                                           std::vector<std::uint64_t>(kTimelines));
                    std::ranges::transform(a.needs, b.needs, merged->needs.begin(),
                                           [](auto x, auto y) { return std::max(x, y); });
                    if (random() % 2 == 0 && !merged->fence->add_callback(merged->callback))
                        merged->called = true;
                    EXPECT_LE(unwrap_fence(merged->fence).size(), kTimelines);
                    all.push_back(std::move(merged));
                }
            }
            for (const auto& merged : all) {
                if (merged->called || merged->callback.pending())
                    ASSERT_EQ(merged->called, done(*merged));
                else
                    ASSERT_EQ(merged->fence->is_signalled(), done(*merged));
            }
        }
    }
}

}  // namespace
}  // namespace belfry::drm
