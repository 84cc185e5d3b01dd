#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "base/signalling.hpp"
#include "drm/fence.hpp"

namespace belfry::drm {
namespace {

constexpr std::uint64_t kContext = 7;

/// A waiter that writes its name down when it is called.
struct Waiter {
    std::vector<int>& log;
    int name;
    FenceCallback callback{[this] { log.push_back(name); }};
};

TEST(Fence, IsPendingUntilItIsSignalled) {
    const auto fence = Fence::make(kContext, 3);
    EXPECT_EQ(fence->context(), kContext);
    EXPECT_EQ(fence->seqno(), 3u);
    EXPECT_FALSE(fence->is_signalled());
    EXPECT_EQ(fence->status(), 0);
    EXPECT_EQ(fence->timestamp_ns(), 0u);
    fence->signal(55);
    EXPECT_TRUE(fence->is_signalled());
    EXPECT_EQ(fence->status(), 1);
    EXPECT_EQ(fence->error(), std::nullopt);
    EXPECT_EQ(fence->timestamp_ns(), 55u);
}

TEST(Fence, KeepsTheErrorThatItWasSignalledWith) {
    const auto fence = Fence::make(kContext, 1);
    fence->signal(55, Errno::timed_out);
    EXPECT_TRUE(fence->is_signalled());
    EXPECT_EQ(fence->error(), Errno::timed_out);
    EXPECT_EQ(fence->status(), -ETIMEDOUT);
}

TEST(FenceDeathTest, SignalsOnlyOnce) {
    const auto fence = Fence::make(kContext, 1);
    fence->signal(1);
    EXPECT_DEATH(fence->signal(2), "check failed");
}

TEST(Fence, CallsItsCallbacksInTheOrderOfRegistration) {
    std::vector<int> log;
    const auto fence = Fence::make(kContext, 1);
    Waiter a{log, 1}, b{log, 2}, c{log, 3};
    EXPECT_TRUE(fence->add_callback(b.callback));
    EXPECT_TRUE(fence->add_callback(a.callback));
    EXPECT_TRUE(fence->add_callback(c.callback));
    EXPECT_TRUE(log.empty());
    fence->signal(1);
    EXPECT_EQ(log, (std::vector{2, 1, 3}));
    EXPECT_FALSE(a.callback.pending());
}

TEST(Fence, ASignalledOneTakesNoCallback) {
    std::vector<int> log;
    const auto fence = signalled_stub(9);
    EXPECT_EQ(fence->timestamp_ns(), 9u);
    EXPECT_EQ(fence->status(), 1);
    Waiter a{log, 1};
    EXPECT_FALSE(fence->add_callback(a.callback));
    EXPECT_FALSE(a.callback.pending());
    EXPECT_TRUE(log.empty());
}

TEST(Fence, ACallbackThatIsCancelledOrDestroyedIsNotCalled) {
    std::vector<int> log;
    const auto fence = Fence::make(kContext, 1);
    Waiter a{log, 1};
    auto b = std::make_unique<Waiter>(log, 2);
    ASSERT_TRUE(fence->add_callback(a.callback));
    ASSERT_TRUE(fence->add_callback(b->callback));
    a.callback.cancel();
    b.reset();
    fence->signal(1);
    EXPECT_TRUE(log.empty());
}

TEST(Fence, ACallbackMayDestroyOthersAndItself) {
    struct Owner {
        void strike() {
            ++calls;
            self.reset();
            other = nullptr;
        }
        int calls = 0;
        std::unique_ptr<FenceCallback> self = std::make_unique<FenceCallback>([this] { strike(); });
        std::unique_ptr<FenceCallback> other = std::make_unique<FenceCallback>([] { FAIL(); });
        FenceCallback last{[this] { ++calls; }};
    } owner;
    const auto fence = Fence::make(kContext, 1);
    ASSERT_TRUE(fence->add_callback(*owner.self));
    ASSERT_TRUE(fence->add_callback(*owner.other));
    ASSERT_TRUE(fence->add_callback(owner.last));
    fence->signal(1);
    EXPECT_EQ(owner.calls, 2);
}

TEST(Fence, LivesUntilItsCallbacksAreThroughEvenIfTheyDropTheLastReference) {
    struct Owner {
        FencePtr fence = Fence::make(kContext, 1);
        FenceCallback drop{[this] { fence.reset(); }};
        bool second_called = false;
        FenceCallback second{[this] { second_called = true; }};
    } owner;
    ASSERT_TRUE(owner.fence->add_callback(owner.drop));
    ASSERT_TRUE(owner.fence->add_callback(owner.second));
    owner.fence->signal(1);
    EXPECT_EQ(owner.fence, nullptr);
    EXPECT_TRUE(owner.second_called);
}

TEST(Fence, ACallbackMayBeEnteredAgainAfterItWasCalled) {
    std::vector<int> log;
    const auto first = Fence::make(kContext, 1);
    const auto second = Fence::make(kContext, 2);
    Waiter a{log, 1};
    ASSERT_TRUE(first->add_callback(a.callback));
    first->signal(1);
    ASSERT_TRUE(second->add_callback(a.callback));
    second->signal(2);
    EXPECT_EQ(log, (std::vector{1, 1}));
}

/// A fence whose signal is found by looking at a value, as with memory that a device writes.
class PolledFence final : public Fence {
  public:
    explicit PolledFence(const bool& done) : Fence(kContext, 1), done_(done) {}
    int times_enabled = 0;

  private:
    void poll() override {
        if (done_) signal(77);
    }
    void enable_signalling() override {
        ++times_enabled;
        poll();
    }
    const bool& done_;
};

TEST(Fence, LookingFindsASignalThatNobodyReported) {
    bool done = false;
    const boost::intrusive_ptr<PolledFence> fence(new PolledFence(done));
    EXPECT_FALSE(fence->is_signalled());
    done = true;
    EXPECT_TRUE(fence->is_signalled());
    EXPECT_EQ(fence->timestamp_ns(), 77u);
}

TEST(Fence, SignallingIsEnabledByTheFirstWaiterOnly) {
    std::vector<int> log;
    bool done = false;
    const boost::intrusive_ptr<PolledFence> fence(new PolledFence(done));
    EXPECT_EQ(fence->times_enabled, 0);
    Waiter a{log, 1}, b{log, 2};
    ASSERT_TRUE(fence->add_callback(a.callback));
    ASSERT_TRUE(fence->add_callback(b.callback));
    EXPECT_EQ(fence->times_enabled, 1);
    done = true;
    EXPECT_TRUE(fence->is_signalled());
    EXPECT_EQ(log, (std::vector{1, 2}));
}

TEST(FenceContexts, GivesEachNumberOnceAndNeverThatOfStubs) {
    FenceContexts contexts;
    const auto a = contexts.allocate();
    const auto b = contexts.allocate();
    EXPECT_NE(a, b);
    EXPECT_NE(a, signalled_stub(0)->context());
}

#ifdef BELFRY_CHECK_ALLOCATIONS
TEST(SignallingPath, AllocatingOnItAborts) {
    EXPECT_DEATH(
        {
            const base::SignallingPath path;
            const auto memory = std::make_unique<int>(1);
        },
        "4 bytes are allocated between publishing a fence and signalling it");
}

TEST(SignallingPath, TellingAClientIsNotPartOfIt) {
    const base::SignallingPath path;
    const base::OffSignallingPath answering;
    EXPECT_NE(std::make_unique<int>(1), nullptr);
}
#endif

}  // namespace
}  // namespace belfry::drm
