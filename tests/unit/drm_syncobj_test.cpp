#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "drm/fence.hpp"
#include "drm/syncobj.hpp"

namespace belfry::drm {
namespace {

/// A syncobj, and numbered fences that the test signals like those of a sw_sync timeline.
struct Rig {
    FencePtr fence() { return Fence::make(context, ++seqno); }
    void submit(const std::vector<std::uint64_t>& points) {
        for (const std::uint64_t point : points) {
            fences.push_back(fence());
            syncobj->add_point(fences.back(), point);
            syncobj->check_invariants();
        }
    }
    void signal(std::size_t which) { fences.at(which)->signal(++now); }
    void host_signal(std::uint64_t point) { syncobj->add_point(signalled_stub(++now), point); }
    [[nodiscard]] bool reached(std::uint64_t point) {
        const auto found = syncobj->find_point(point);
        return found && (*found)->is_signalled();
    }

    FenceContexts contexts;
    std::uint64_t context = contexts.allocate();
    std::uint64_t seqno = 0;
    std::uint64_t now = 100;
    SyncobjPtr syncobj = Syncobj::make(contexts);
    std::vector<FencePtr> fences;
};

/// A waiter that keeps what it was given.
struct Waiter {
    std::uint64_t point;
    std::optional<FencePtr> found{};
    SyncobjWaiter waiter{point, [this](FencePtr fence) { found = std::move(fence); }};
};

TEST(Syncobj, WithoutAFenceNoPointIsSubmitted) {
    Rig rig;
    EXPECT_EQ(rig.syncobj->fence(), nullptr);
    EXPECT_EQ(rig.syncobj->find_point(0).error(), Errno::invalid);
    EXPECT_EQ(rig.syncobj->find_point(1).error(), Errno::invalid);
    EXPECT_EQ(rig.syncobj->query(), 0u);
    EXPECT_EQ(rig.syncobj->query_last_submitted(), 0u);
}

TEST(Syncobj, ABinaryFenceIsFoundAtPointZeroOnly) {
    Rig rig;
    const auto fence = rig.fence();
    rig.syncobj->replace(fence);
    EXPECT_EQ(*rig.syncobj->find_point(0), fence);
    EXPECT_EQ(rig.syncobj->find_point(1).error(), Errno::invalid);
    EXPECT_EQ(rig.syncobj->query(), 0u);
    EXPECT_EQ(rig.syncobj->query_last_submitted(), 0u);
}

TEST(Syncobj, ReplacingWithNothingMakesItUnsubmitted) {
    Rig rig;
    rig.syncobj->replace(rig.fence());
    rig.syncobj->replace(nullptr);
    EXPECT_EQ(rig.syncobj->find_point(0).error(), Errno::invalid);
}

TEST(Syncobj, APointBeyondTheLastIsNotSubmitted) {
    Rig rig;
    rig.submit({1, 5});
    EXPECT_TRUE(rig.syncobj->find_point(5));
    EXPECT_EQ(rig.syncobj->find_point(6).error(), Errno::invalid);
}

TEST(Syncobj, APointBetweenTwoIsReachedByTheHigher) {
    Rig rig;
    rig.submit({1, 5});
    rig.signal(0);
    EXPECT_TRUE(rig.reached(1));
    EXPECT_FALSE(rig.reached(3));
    rig.signal(1);
    EXPECT_TRUE(rig.reached(3));
}

TEST(Syncobj, RisingPointsShareAContextAndRememberTheirPredecessor) {
    Rig rig;
    rig.submit({1, 5});
    const auto five = *rig.syncobj->find_point(5);
    const auto one = *rig.syncobj->find_point(1);
    EXPECT_EQ(five->context(), one->context());
    EXPECT_EQ(five->seqno(), 5u);
    EXPECT_EQ(five->chain_node()->prev_seqno(), 1u);
    EXPECT_EQ(one->seqno(), 1u);
    EXPECT_EQ(one->chain_node()->prev_seqno(), 0u);
}

TEST(Syncobj, AnOutOfOrderPointStartsAContextWithTheHigherNumber) {
    Rig rig;
    rig.submit({5});
    const auto five = *rig.syncobj->find_point(0);
    rig.submit({3});
    const auto three = *rig.syncobj->find_point(0);
    EXPECT_NE(three->context(), five->context());
    EXPECT_EQ(three->seqno(), 5u);
    EXPECT_EQ(three->chain_node()->prev_seqno(), 0u);
    EXPECT_EQ(rig.syncobj->query_last_submitted(), 5u);
}

TEST(Syncobj, TheSamePointAgainIsOutOfOrderToo) {
    Rig rig;
    rig.submit({5});
    const auto first = *rig.syncobj->find_point(0);
    rig.submit({5});
    EXPECT_NE((*rig.syncobj->find_point(0))->context(), first->context());
}

TEST(Syncobj, PointZeroOfATimelineIsAllOfIt) {
    Rig rig;
    rig.submit({1, 2, 3});
    rig.signal(2);
    EXPECT_FALSE(rig.reached(0));
    rig.signal(0);
    EXPECT_FALSE(rig.reached(0));
    rig.signal(1);
    EXPECT_TRUE(rig.reached(0));
}

TEST(Syncobj, AddingPointZeroMakesANodeThatAWaitForZeroFinds) {
    Rig rig;
    rig.host_signal(0);
    EXPECT_NE(rig.syncobj->fence()->chain_node(), nullptr);
    EXPECT_TRUE(rig.reached(0));
    EXPECT_FALSE(rig.syncobj->find_point(1));
}

TEST(Syncobj, APointWaitsForTheBinaryFenceBeforeIt) {
    Rig rig;
    const auto binary = rig.fence();
    rig.syncobj->replace(binary);
    rig.submit({1});
    rig.signal(0);
    EXPECT_FALSE(rig.reached(1));
    EXPECT_EQ(rig.syncobj->query(), 0u);
    binary->signal(1);
    EXPECT_TRUE(rig.reached(1));
    EXPECT_EQ(rig.syncobj->query(), 1u);
}

TEST(Syncobj, AnErrorInAPointDoesNotPassToTheTimeline) {
    Rig rig;
    rig.submit({1, 2});
    const auto one = *rig.syncobj->find_point(1);
    rig.fences[0]->signal(1, Errno::cancelled);
    EXPECT_EQ(one->status(), 1);
    EXPECT_EQ(ChainNode::contained(one)->status(), -ECANCELED);
}

TEST(Syncobj, APointIsSignalledAtTheTimeOfItsLatestFence) {
    Rig rig;
    rig.submit({1, 2});
    rig.fences[1]->signal(300);
    rig.fences[0]->signal(500);
    const auto two = *rig.syncobj->find_point(2);
    EXPECT_TRUE(two->is_signalled());
    EXPECT_EQ(two->timestamp_ns(), 500u);
}

TEST(Syncobj, SignalledEarlierPointsAreUnlinkedByLooking) {
    Rig rig;
    rig.submit({1, 2, 3});
    const auto* const head = rig.syncobj->fence()->chain_node();
    rig.signal(0);
    rig.signal(1);
    EXPECT_EQ(rig.fences[1]->use_count(), 2);  // the test's and the node's
    EXPECT_EQ(rig.syncobj->query(), 2u);
    EXPECT_EQ(rig.fences[1]->use_count(), 1);
    EXPECT_EQ(ChainNode::walk(rig.syncobj->fence()), nullptr);
    EXPECT_EQ(head->prev_seqno(), 2u);
}

TEST(Syncobj, APointThatWasUnlinkedIsFoundSignalled) {
    Rig rig;
    rig.submit({1, 2, 3});
    rig.signal(0);
    rig.signal(1);
    EXPECT_EQ(rig.syncobj->query(), 2u);
    EXPECT_TRUE(rig.reached(1));
    EXPECT_TRUE(rig.reached(2));
    EXPECT_FALSE(rig.reached(3));
}

TEST(Syncobj, PointsComeAndGoWithoutTheTimelineGrowing) {
    Rig rig;
    const auto blocker = rig.fence();
    rig.syncobj->add_point(blocker, 1);
    std::vector<FencePtr> all;
    for (std::uint64_t point = 2; point < 1000; ++point) {
        all.push_back(rig.fence());
        rig.syncobj->add_point(all.back(), point);
        // Signalled only when it is no longer the last, so that no look at the head alone unlinks it.
        if (all.size() >= 2) all[all.size() - 2]->signal(1);
    }
    const auto held =
        std::ranges::count_if(all, [](const FencePtr& fence) { return fence->use_count() > 1; });
    EXPECT_LT(held, 10);
}

TEST(Syncobj, AMillionPendingPointsAreAddedAndDroppedWithoutRecursion) {
    Rig rig;
    const auto never = rig.fence();
    for (std::uint64_t point = 1; point <= 1'000'000; ++point) rig.syncobj->add_point(never, point);
    EXPECT_FALSE(rig.reached(1'000'000));
    rig.syncobj.reset();
    EXPECT_EQ(never->use_count(), 1);
}

TEST(Syncobj, AFoundFenceIsASnapshotThatOutlivesTheSyncobj) {
    Rig rig;
    rig.submit({1, 2});
    const auto two = *rig.syncobj->find_point(2);
    rig.syncobj->replace(nullptr);
    rig.syncobj.reset();
    rig.signal(1);
    EXPECT_FALSE(two->is_signalled());
    rig.signal(0);
    EXPECT_TRUE(two->is_signalled());
}

TEST(Syncobj, ACallbackOnAPointIsCalledByItsLastMissingFence) {
    for (const auto& order :
         {std::vector<std::size_t>{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {1, 0, 2}, {0, 2, 1}, {2, 0, 1}}) {
        Rig rig;
        rig.submit({1, 2, 3});
        bool called = false;
        FenceCallback callback([&called] { called = true; });
        ASSERT_TRUE((*rig.syncobj->find_point(3))->add_callback(callback));
        rig.syncobj.reset();
        rig.signal(order[0]);
        rig.signal(order[1]);
        EXPECT_FALSE(called);
        rig.signal(order[2]);
        EXPECT_TRUE(called);
    }
}

TEST(Syncobj, APointThatNobodyWaitsForPutsNoCallbackOnItsFence) {
    Rig rig;
    rig.submit({1});
    const auto point = *rig.syncobj->find_point(1);
    rig.signal(0);
    EXPECT_EQ(point->timestamp_ns(), 0u);  // signalled when somebody looks
    EXPECT_TRUE(point->is_signalled());
}

TEST(Syncobj, AWaiterGetsTheFirstFenceThatSatisfiesItsPoint) {
    Rig rig;
    Waiter zero{0}, three{3}, four{4};
    for (auto* const waiter : {&zero, &three, &four}) rig.syncobj->add_waiter(waiter->waiter);
    rig.submit({2});
    ASSERT_TRUE(zero.found);
    EXPECT_EQ(*zero.found, rig.syncobj->fence());
    EXPECT_FALSE(three.found);
    rig.submit({3});
    ASSERT_TRUE(three.found);
    EXPECT_EQ((*three.found)->seqno(), 3u);
    EXPECT_FALSE(four.found);
    EXPECT_TRUE(four.waiter.pending());
    rig.syncobj->check_invariants();
}

TEST(Syncobj, ABinaryFenceSatisfiesOnlyWaitersForPointZero) {
    Rig rig;
    Waiter zero{0}, one{1};
    rig.syncobj->add_waiter(zero.waiter);
    rig.syncobj->add_waiter(one.waiter);
    const auto fence = rig.fence();
    rig.syncobj->replace(fence);
    EXPECT_EQ(zero.found, fence);
    EXPECT_FALSE(one.found);
}

TEST(Syncobj, AResetSatisfiesNobody) {
    Rig rig;
    rig.syncobj->replace(rig.fence());
    Waiter one{1};
    rig.syncobj->add_waiter(one.waiter);
    rig.syncobj->replace(nullptr);
    EXPECT_FALSE(one.found);
    EXPECT_TRUE(one.waiter.pending());
}

TEST(Syncobj, AWaiterThatIsDestroyedIsNotCalled) {
    Rig rig;
    auto waiter = std::make_unique<Waiter>(1u);
    rig.syncobj->add_waiter(waiter->waiter);
    waiter.reset();
    rig.host_signal(1);
    rig.syncobj->check_invariants();
}

TEST(Syncobj, AnObserverGetsTheFenceAsAWaiterDoes) {
    Rig rig;
    Waiter two{2};
    rig.syncobj->add_observer(two.waiter);
    rig.submit({1});
    EXPECT_FALSE(two.found);
    rig.submit({2});
    EXPECT_EQ(two.found, rig.syncobj->fence());
}

TEST(Syncobj, AnObserverDoesNotKeepTheSyncobjAndIsToldOfItsEnd) {
    Rig rig;
    Waiter observer{0}, gone{0};
    rig.syncobj->add_observer(observer.waiter);
    rig.syncobj->add_observer(gone.waiter);
    gone.waiter.cancel();
    rig.syncobj.reset();
    EXPECT_EQ(observer.found, FencePtr());
    EXPECT_FALSE(gone.found);
}

TEST(Syncobj, AWaiterMayChangeTheSyncobjAndDestroyOthersWhileItIsCalled) {
    Rig rig;
    struct Owner {
        void strike() {
            syncobj->replace(nullptr);
            doomed.reset();
            syncobj.reset();
        }
        SyncobjPtr syncobj;
        SyncobjWaiter first{1, [this](FencePtr) { strike(); }};
        std::unique_ptr<Waiter> doomed = std::make_unique<Waiter>(1u);
        Waiter last{2};
    } owner{rig.syncobj};
    rig.syncobj->add_waiter(owner.first);
    rig.syncobj->add_waiter(owner.doomed->waiter);
    rig.syncobj->add_waiter(owner.last.waiter);
    auto* const syncobj = rig.syncobj.get();
    rig.syncobj.reset();  // only the waiters and their owner hold it now
    const auto fence = rig.fence();
    syncobj->add_point(fence, 2);
    ASSERT_TRUE(owner.last.found);  // it has seen the fence that the first one took away
    EXPECT_EQ(ChainNode::contained(*owner.last.found), fence);
}

// The logic of IGT's syncobj_timeline, on this object alone.

TEST(SyncobjTimeline, HostSignalPointsAreReachedOneByOne) {
    Rig rig;
    for (std::uint64_t point = 1; point <= 100; ++point) {
        rig.host_signal(point);
        EXPECT_EQ(rig.syncobj->query(), point);
        EXPECT_TRUE(rig.reached(point));
        EXPECT_TRUE(rig.reached(point - 1));
    }
}

TEST(SyncobjTimeline, DeviceSignalUnorderedNeverLowersTheQuery) {
    Rig rig;
    rig.submit({1, 2, 3, 4, 5});
    std::uint64_t last = 0;
    std::vector<std::uint64_t> answers;
    for (const std::size_t which : {0u, 2u, 1u, 4u, 3u}) {
        rig.signal(which);
        const auto value = rig.syncobj->query();
        EXPECT_GE(value, last);
        EXPECT_TRUE(rig.reached(value));
        answers.push_back(last = value);
    }
    EXPECT_EQ(answers, (std::vector<std::uint64_t>{1, 1, 3, 3, 5}));
}

TEST(SyncobjTimeline, DeviceSubmitUnorderedCountsPointsOfOldContextsAsTheirHighest) {
    Rig rig;
    rig.submit({1, 5, 3, 6, 7});
    for (const std::size_t which : {0u, 1u, 2u}) rig.signal(which);
    EXPECT_EQ(rig.syncobj->query(), 5u);
    EXPECT_TRUE(rig.reached(5));
    EXPECT_FALSE(rig.reached(6));
}

TEST(SyncobjTimeline, HostSignalOrderedWaitsForWhatTheDeviceStillHas) {
    Rig rig;
    rig.submit({1, 2, 3, 4, 5});
    for (const std::size_t which : {0u, 1u, 2u}) rig.signal(which);
    EXPECT_EQ(rig.syncobj->query(), 3u);
    rig.host_signal(8);
    EXPECT_EQ(rig.syncobj->query(), 3u);
    EXPECT_EQ(rig.syncobj->query_last_submitted(), 8u);
    rig.signal(3);
    rig.signal(4);
    EXPECT_EQ(rig.syncobj->query(), 8u);
}

TEST(SyncobjTimeline, PointsBeyond32BitsKeepTheirOrder) {
    Rig rig;
    std::uint64_t last = 0;
    const std::uint64_t limit = std::uint64_t{1} << 31;
    for (const std::uint64_t point :
         {std::uint64_t{1}, std::uint64_t{5}, limit + 4, limit + 5, 2 * (limit - 1)}) {
        rig.host_signal(point);
        EXPECT_GE(rig.syncobj->query(), last);
        last = rig.syncobj->query();
        EXPECT_EQ(last, point);
    }
}

/// The rules, on a list that never forgets a point: slow, obvious, and without links to get wrong.
struct Model {
    struct Node {
        int context;
        std::uint64_t seqno;
        std::uint64_t prev_seqno;
        std::size_t fence;
    };
    std::optional<std::size_t> binary;  // below the nodes
    std::vector<Node> nodes;
    int contexts = 0;

    void replace(std::optional<std::size_t> fence) {
        binary = fence;
        nodes.clear();
    }
    void add(std::uint64_t point, std::size_t fence) {
        if (!nodes.empty() && point > nodes.back().seqno) {
            nodes.push_back({nodes.back().context, point, nodes.back().seqno, fence});
        } else {
            const std::uint64_t seqno = nodes.empty() ? point : std::max(point, nodes.back().seqno);
            nodes.push_back({++contexts, seqno, 0, fence});
        }
    }
    /// The fences that must all be signalled for `point`; nothing if it is not submitted.
    [[nodiscard]] std::optional<std::vector<std::size_t>> needs(std::uint64_t point,
                                                                const std::vector<bool>& done) const {
        if (nodes.empty()) {
            if (!binary || point != 0) return std::nullopt;
            return std::vector{*binary};
        }
        std::size_t at = nodes.size();  // one beyond the node that is looked at
        if (point != 0) {
            if (nodes.back().seqno < point) return std::nullopt;
            const int context = nodes.back().context;
            while (at > 0 && nodes[at - 1].context == context && nodes[at - 1].prev_seqno >= point) {
                do {
                    --at;
                } while (at > 0 && done[nodes[at - 1].fence]);
            }
        }
        std::vector<std::size_t> fences;
        for (std::size_t i = 0; i < at; ++i) fences.push_back(nodes[i].fence);
        if (binary) fences.push_back(*binary);
        return fences;
    }
    [[nodiscard]] std::uint64_t query(const std::vector<bool>& done) const {
        if (nodes.empty()) return 0;
        const auto all_done_to = [&](std::size_t end) {
            for (std::size_t i = 0; i < end; ++i)
                if (!done[nodes[i].fence]) return false;
            return !binary || done[*binary];
        };
        // The oldest node of the head's context that is not done by itself; the head if all are.
        std::size_t oldest = nodes.size() - 1;
        for (std::size_t i = nodes.size() - 1; i-- > 0 && nodes[i].context == nodes.back().context;)
            if (!done[nodes[i].fence]) oldest = i;
        return all_done_to(oldest + 1) ? nodes[oldest].seqno : nodes[oldest].prev_seqno;
    }
};

TEST(Syncobj, RandomUseAgreesWithAListOfPoints) {
    for (unsigned seed = 1; seed <= 40; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937 random(seed);
        Rig rig;
        Model model;
        std::vector<bool> done;
        struct Found {
            FencePtr fence;
            std::vector<std::size_t> needs;
            bool called = false;
            FenceCallback callback{[this] { called = true; }};
            bool watched = false;
        };
        std::vector<std::unique_ptr<Found>> found;
        const auto is_done = [&](const std::vector<std::size_t>& needs) {
            return std::ranges::all_of(needs, [&](std::size_t fence) { return done[fence]; });
        };
        for (int step = 0; step < 600; ++step) {
            const auto what = random() % 100;
            if (what < 35) {
                const std::uint64_t top = rig.syncobj->query_last_submitted();
                const std::uint64_t point = random() % 4 == 0 ? random() % (top + 2) : top + 1 + random() % 3;
                rig.fences.push_back(rig.fence());
                done.push_back(false);
                rig.syncobj->add_point(rig.fences.back(), point);
                model.add(point, done.size() - 1);
            } else if (what < 37) {
                if (random() % 2 == 0) {
                    rig.syncobj->replace(nullptr);
                    model.replace(std::nullopt);
                } else {
                    rig.fences.push_back(rig.fence());
                    done.push_back(false);
                    rig.syncobj->replace(rig.fences.back());
                    model.replace(done.size() - 1);
                }
            } else if (what < 75 && !done.empty()) {
                // Mostly old ones, so that timelines move on.
                const std::size_t pending =
                    static_cast<std::size_t>(std::ranges::find(done, false) - done.begin());
                const std::size_t which = random() % 2 == 0 ? pending : random() % done.size();
                if (which < done.size() && !done[which]) {
                    done[which] = true;
                    rig.signal(which);
                }
            } else {
                const std::uint64_t point = random() % (rig.syncobj->query_last_submitted() + 2);
                const auto needs = model.needs(point, done);
                auto fence = rig.syncobj->find_point(point);
                ASSERT_EQ(fence.has_value(), needs.has_value()) << point;
                if (fence) {
                    found.push_back(std::make_unique<Found>(*fence, *needs));
                    if (random() % 2 == 0) {
                        found.back()->watched = true;
                        ASSERT_EQ(found.back()->fence->add_callback(found.back()->callback),
                                  !is_done(*needs));
                        found.back()->called = is_done(*needs);
                    }
                }
            }
            rig.syncobj->check_invariants();
            if (random() % 3 == 0) {
                ASSERT_EQ(rig.syncobj->query(), model.query(done));
            }
            for (const auto& entry : found) {
                if (entry->watched) {
                    ASSERT_EQ(entry->called, is_done(entry->needs));
                } else if (random() % 8 == 0) {
                    ASSERT_EQ(entry->fence->is_signalled(), is_done(entry->needs));
                }
            }
            if (found.size() > 30) found.erase(found.begin());
        }
    }
}

}  // namespace
}  // namespace belfry::drm
