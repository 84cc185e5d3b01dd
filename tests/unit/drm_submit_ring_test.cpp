// The submit ring's framework part, with a driver that has one opcode and is no panthor.
#include <list>
#include <map>
#include <random>
#include <set>

#include <sys/eventfd.h>
#include <unistd.h>

#include "drm/submit_ring_ioctls.hpp"
#include "drm/syncobj_ioctls.hpp"
#include "unit/core_rig.hpp"
#include "unit/submit_ring_client.hpp"

namespace belfry::drm {
namespace {

using namespace uapi;

constexpr std::uint8_t kPromise = BELFRY_SUBMIT_DRIVER;

/// A driver whose one opcode makes a promise, which the test keeps, breaks, or lets be cancelled.
class TestFile final : public File, public SubmitDriver {
  public:
    explicit TestFile(Device& device)
        : core_(device, NodeKind::render, {}),
          syncobjs(device.fence_contexts, device.exports),
          rings({.device = device, .syncobjs = syncobjs, .advance = advance_, .poll = poll_}) {}

    void ioctl(const std::shared_ptr<Call>& call) override {
        switch (call->request()) {
            case DRM_IOCTL_BELFRY_SUBMIT_RING_CREATE: call->complete(submit_ring_create(rings, *call)); break;
            case DRM_IOCTL_BELFRY_SUBMIT_RING_DESTROY:
                call->complete(submit_ring_destroy(rings, *call));
                break;
            case DRM_IOCTL_BELFRY_SUBMIT_RING_ENTER: call->complete(submit_ring_enter(rings, *call)); break;
            default:                                 call->complete(std::unexpected(Errno::invalid));
        }
    }
    void mmap(const MapRequest& request, MapReply reply) override { reply(rings.map(request)); }

    Result<SubmitAccepted> submit(SubmitRequest& request) override {
        if (request.entry.opcode != kPromise) return std::unexpected(Errno::invalid);
        auto& promise = promises.emplace_back(request.entry.user_data, Fence::make(contexts_++, 1));
        request.move_waits_to(promise.dependencies);
        request.signals.all_armed(promise.fence);
        request.signals.publish();
        return SubmitAccepted{.finished = promise.fence, .job = &promise};
    }

    struct Promise final : SubmitJob {
        Promise(std::uint64_t number, FencePtr made) : name(number), fence(std::move(made)) {}
        bool cancel() override {
            if (!cancellable) return false;
            fence->signal(1, Errno::cancelled);
            return true;
        }
        std::uint64_t name;
        FencePtr fence;
        bool cancellable = true;
        Dependencies dependencies{[] {}};
    };
    Promise& promise(std::uint64_t name) { return *std::ranges::find(promises, name, &Promise::name); }

  private:
    struct Turn final : Work {
        Turn(TestFile& of, void (SubmitRings::*how)(SubmitDriver&)) : file(of), what(how) {}
        void advance() override { (file.rings.*what)(file); }
        TestFile& file;
        void (SubmitRings::*what)(SubmitDriver&);
    };
    CoreFile core_;
    std::uint64_t contexts_ = 1'000;
    Turn advance_{*this, &SubmitRings::advance};
    Turn poll_{*this, &SubmitRings::poll};

  public:
    SyncobjTable syncobjs;
    std::list<Promise> promises;
    SubmitRings rings;
};

class SubmitRingTest : public testing::Test {
  protected:
    static belfry_submit_entry promise(std::uint64_t user_data, std::uint8_t flags = 0) {
        return {.opcode = kPromise, .flags = flags, .user_data = user_data};
    }
    RingClient& open(const RingSetup& setup = {}) { return clients_.emplace_back(file, setup); }
    std::uint32_t syncobj() { return *file.syncobjs.insert(Syncobj::make(rig.contexts)); }
    void signal(std::uint32_t handle, std::uint64_t point = 0) {
        if (point != 0)
            file.syncobjs.find(handle)->add_point(signalled_stub(1), point);
        else
            file.syncobjs.find(handle)->replace(signalled_stub(1));
        work();
    }
    bool is_signalled(std::uint32_t handle, std::uint64_t point = 0) {
        const auto fence = file.syncobjs.find(handle)->find_point(point);
        return fence && (*fence)->is_signalled();
    }
    void keep(std::uint64_t name, std::optional<Errno> error = std::nullopt) {
        file.promise(name).fence->signal(1, error);
        work();
    }
    /// What ends each entry into the driver.
    void work() {
        rig.device.work.run();
        file.rings.check_invariants();
    }
    /// So many looks at rings that are awake.
    void poll(unsigned rounds = 4) {
        for (unsigned i = 0; i < rounds; ++i) {
            rig.device.polled.run_one();
            work();
        }
    }
    void advance(std::uint64_t ns) {
        rig.timers.run(rig.timers.now() + ns);
        work();
    }
    std::vector<Told> run(RingClient& ring, std::initializer_list<belfry_submit_entry> entries) {
        ring.submit(entries);
        poll();
        return ring.reap();
    }

    CoreRig rig;
    TestFile file{rig.device};

  private:
    std::list<RingClient> clients_;
};

using List = std::vector<Told>;

TEST_F(SubmitRingTest, EachEntryCompletesOnceInOrder) {
    RingClient& ring = open();
    EXPECT_EQ(run(ring, {nop(1), nop(2), nop(3)}), (List{{1, 0}, {2, 0}, {3, 0}}));
    EXPECT_EQ(ring.consumer().sq_head, 3u);
    EXPECT_EQ(run(ring, {}), List{});
}

TEST_F(SubmitRingTest, CountersGoOnAroundTheQueues) {
    RingClient& ring = open({.sq_entries = 2});
    for (std::uint64_t i = 0; i < 20; ++i) EXPECT_EQ(run(ring, {nop(i), nop(i + 100)}).size(), 2u);
    EXPECT_EQ(ring.consumer().cq_tail, 40u);
}

TEST_F(SubmitRingTest, ADriversEntryCompletesWithItsFence) {
    RingClient& ring = open();
    EXPECT_EQ(run(ring, {promise(1), promise(2)}), List{});
    keep(2);
    keep(1, Errno::io);
    EXPECT_EQ(ring.reap(), (List{{2, 0}, {1, -EIO}}));
}

TEST_F(SubmitRingTest, AtAcceptanceMeansBeforeItIsDone) {
    RingClient& ring = open();
    EXPECT_EQ(run(ring, {promise(1, BELFRY_SUBMIT_COMPLETE_AT_ACCEPTANCE)}), (List{{1, 0}}));
    keep(1, Errno::io);
    EXPECT_EQ(ring.reap(), List{});
}

TEST_F(SubmitRingTest, SuccessIsNotToldIfItIsNotAskedFor) {
    RingClient& ring = open();
    constexpr std::uint8_t kQuiet = BELFRY_SUBMIT_NO_SUCCESS_COMPLETION;
    EXPECT_EQ(run(ring, {nop(1, kQuiet), promise(2, kQuiet), promise(3, kQuiet)}), List{});
    keep(2);
    keep(3, Errno::io);
    EXPECT_EQ(ring.reap(), (List{{3, -EIO}}));
}

TEST_F(SubmitRingTest, BadEntriesAreRefusedByThemselves) {
    RingClient& ring = open();
    EXPECT_EQ(run(ring, {{.opcode = 3, .user_data = 1},
                         {.opcode = 0xff, .user_data = 2},
                         {.flags = 0x10, .user_data = 3},
                         {.user_data = 4, .wait_point = 1},
                         {.user_data = 5, .payload = {0, 0, 1}},
                         nop(6, BELFRY_SUBMIT_COMPLETE_AT_ACCEPTANCE),
                         timeout(7, 1, 8),
                         nop(8)}),
              (List{{1, -EINVAL},
                    {2, -EINVAL},
                    {3, -EINVAL},
                    {4, -EINVAL},
                    {5, -EINVAL},
                    {6, -EINVAL},
                    {7, -EINVAL},
                    {8, 0}}));
    EXPECT_EQ(run(ring, {{.user_data = 1, .wait_handle = 77}, {.user_data = 2, .signal_handle = 77}}),
              (List{{1, -ENOENT}, {2, -EINVAL}}));
    EXPECT_EQ(run(ring, {{.more_syncs = 1, .more_syncs_offset = 65536, .user_data = 1},
                         {.more_syncs = 1, .more_syncs_offset = 4, .user_data = 2},
                         {.more_syncs = 2, .more_syncs_offset = 65536 - 16, .user_data = 3},
                         {.more_syncs = 1025, .user_data = 4}}),
              (List{{1, -EINVAL}, {2, -EINVAL}, {3, -EINVAL}, {4, -EINVAL}}));
}

// ---- Links and drains

TEST_F(SubmitRingTest, ALinkedEntryStartsWhenTheOneBeforeIsComplete) {
    RingClient& ring = open();
    EXPECT_EQ(run(ring, {promise(1, BELFRY_SUBMIT_LINK), promise(2, BELFRY_SUBMIT_LINK), nop(3), nop(4)}),
              (List{{4, 0}}));
    EXPECT_EQ(file.promises.size(), 1u);
    keep(1);
    EXPECT_EQ(file.promises.size(), 2u);
    keep(2);
    EXPECT_EQ(ring.reap(), (List{{1, 0}, {2, 0}, {3, 0}}));
}

TEST_F(SubmitRingTest, AFailureCancelsAllThatIsLinkedBehind) {
    RingClient& ring = open();
    EXPECT_EQ(run(ring, {promise(1, BELFRY_SUBMIT_LINK), promise(2, BELFRY_SUBMIT_LINK), nop(3), nop(4)}),
              (List{{4, 0}}));
    keep(1, Errno::io);
    EXPECT_EQ(ring.reap(), (List{{1, -EIO}, {2, -ECANCELED}, {3, -ECANCELED}}));
    EXPECT_EQ(run(ring, {{.opcode = 9, .flags = BELFRY_SUBMIT_LINK, .user_data = 5},
                         nop(6, BELFRY_SUBMIT_LINK),
                         nop(7),
                         nop(8)}),
              (List{{5, -EINVAL}, {6, -ECANCELED}, {7, -ECANCELED}, {8, 0}}));
}

TEST_F(SubmitRingTest, AChainGoesOnInTheNextBatch) {
    RingClient& ring = open();
    EXPECT_EQ(run(ring, {promise(1, BELFRY_SUBMIT_LINK)}), List{});
    EXPECT_EQ(run(ring, {nop(2, BELFRY_SUBMIT_LINK)}), List{});
    keep(1);
    EXPECT_EQ(ring.reap(), (List{{1, 0}, {2, 0}}));
    EXPECT_EQ(run(ring, {nop(3)}), (List{{3, 0}}));
    EXPECT_EQ(run(ring, {promise(4, BELFRY_SUBMIT_LINK)}), List{});
    keep(4, Errno::io);
    EXPECT_EQ(run(ring, {nop(5), nop(6)}), (List{{4, -EIO}, {5, -ECANCELED}, {6, 0}}));
}

TEST_F(SubmitRingTest, ADrainWaitsForAllBeforeAndHoldsAllBehind) {
    RingClient& ring = open();
    EXPECT_EQ(run(ring, {promise(1), promise(2, BELFRY_SUBMIT_DRAIN), nop(3)}), List{});
    EXPECT_EQ(ring.consumer().sq_head, 1u);
    keep(1);
    EXPECT_EQ(ring.reap(), (List{{1, 0}}));
    EXPECT_EQ(ring.consumer().sq_head, 2u);
    keep(2);
    EXPECT_EQ(ring.reap(), (List{{2, 0}, {3, 0}}));
}

TEST_F(SubmitRingTest, ADrainedRingThatRestsGoesOnByItself) {
    RingClient& ring = open();
    EXPECT_EQ(run(ring, {promise(1), nop(2, BELFRY_SUBMIT_DRAIN)}), List{});
    advance(SubmitRings::kAwakeNs + 1);
    poll();
    EXPECT_TRUE(ring.needs_wakeup());
    keep(1);
    EXPECT_EQ(ring.reap(), (List{{1, 0}, {2, 0}}));
}

// ---- Points

TEST_F(SubmitRingTest, ANopWaitsForAPointThatIsNotThereYet) {
    RingClient& ring = open();
    const std::uint32_t awaited = syncobj();
    const std::uint32_t told = syncobj();
    EXPECT_EQ(run(ring, {{.user_data = 1,
                          .wait_handle = awaited,
                          .signal_handle = told,
                          .wait_point = 3,
                          .signal_point = 7}}),
              List{});
    EXPECT_EQ(file.syncobjs.find(told)->fence(), nullptr) << "nothing may be promised yet";
    signal(awaited, 2);
    EXPECT_EQ(ring.reap(), List{});
    signal(awaited, 3);
    EXPECT_EQ(ring.reap(), (List{{1, 0}}));
    EXPECT_TRUE(is_signalled(told, 7));
}

TEST_F(SubmitRingTest, FurtherPointsLieInTheArena) {
    RingClient& ring = open();
    const std::uint32_t one = syncobj();
    const std::uint32_t two = syncobj();
    const std::uint32_t told = syncobj();
    const std::uint32_t offset = ring.put<belfry_submit_sync>(
        64, {{.flags = 0, .handle = one, .point = 0},
             {.flags = static_cast<std::uint32_t>(BELFRY_SUBMIT_SYNC_SIGNAL), .handle = told, .point = 0},
             {.flags = 0, .handle = two, .point = 5}});
    EXPECT_EQ(run(ring, {{.more_syncs = 3, .more_syncs_offset = offset, .user_data = 1}}), List{});
    signal(one);
    EXPECT_EQ(ring.reap(), List{});
    EXPECT_FALSE(is_signalled(told));
    signal(two, 5);
    EXPECT_EQ(ring.reap(), (List{{1, 0}}));
    EXPECT_TRUE(is_signalled(told));
}

TEST_F(SubmitRingTest, ADriversEntryWaitsForFencesThatAreThereAndPublishesItsOwn) {
    RingClient& ring = open();
    const std::uint32_t point = syncobj();
    EXPECT_EQ(run(ring, {{.opcode = kPromise, .user_data = 1, .wait_handle = point}}), (List{{1, -EINVAL}}));
    EXPECT_EQ(run(ring, {{.opcode = kPromise, .user_data = 2, .signal_handle = point},
                         {.opcode = kPromise, .user_data = 3, .wait_handle = point}}),
              List{});
    EXPECT_FALSE(is_signalled(point));
    EXPECT_FALSE(file.promise(3).dependencies.ready());
    keep(2);
    EXPECT_TRUE(file.promise(3).dependencies.ready());
    EXPECT_TRUE(is_signalled(point));
}

TEST_F(SubmitRingTest, ElementsInFlightAreBounded) {
    RingClient& ring = open({.sq_entries = 128, .arena_bytes = 65536});
    const std::uint32_t never = syncobj();
    std::vector<belfry_submit_sync> points(1024, {.handle = never, .point = 1});
    ring.put(0, points);
    const belfry_submit_entry entry{.more_syncs = 1024, .user_data = 1};
    for (unsigned i = 0; i < 65; ++i) ring.write(entry);
    ring.publish();
    poll(70);
    EXPECT_EQ(ring.reap(), (List{{1, -EBUSY}}));
    signal(never, 1);
    EXPECT_EQ(ring.reap().size(), 64u);
    EXPECT_EQ(run(ring, {entry}), (List{{1, 0}}));
}

// ---- Time

TEST_F(SubmitRingTest, ATimeoutCompletesWhenItsTimeHasCome) {
    RingClient& ring = open();
    EXPECT_EQ(run(ring, {timeout(1, 1'000, 0, BELFRY_SUBMIT_LINK), nop(2)}), List{});
    advance(999);
    EXPECT_EQ(ring.reap(), List{});
    advance(1);
    EXPECT_EQ(ring.reap(), (List{{1, -ETIME}, {2, 0}}));
    EXPECT_EQ(run(ring, {timeout(3, 1'500, BELFRY_SUBMIT_TIMEOUT_ABSOLUTE)}), List{});
    advance(500);
    EXPECT_EQ(ring.reap(), (List{{3, -ETIME}}));
}

TEST_F(SubmitRingTest, ALinkedTimeoutCancelsWhatItBounds) {
    RingClient& ring = open();
    EXPECT_EQ(run(ring, {promise(1, BELFRY_SUBMIT_LINK),
                         timeout(2, 1'000, BELFRY_SUBMIT_TIMEOUT_LINKED, BELFRY_SUBMIT_LINK), nop(3)}),
              List{});
    advance(1'000);
    EXPECT_EQ(ring.reap(), (List{{1, -ECANCELED}, {2, -ETIME}, {3, -ECANCELED}}));
}

TEST_F(SubmitRingTest, ALinkedTimeoutEndsWithWhatItBounds) {
    RingClient& ring = open();
    EXPECT_EQ(run(ring, {promise(1, BELFRY_SUBMIT_LINK),
                         timeout(2, 1'000, BELFRY_SUBMIT_TIMEOUT_LINKED, BELFRY_SUBMIT_LINK), nop(3)}),
              List{});
    keep(1);
    EXPECT_EQ(ring.reap(), (List{{1, 0}, {2, -ECANCELED}, {3, 0}}));
    advance(2'000);
    EXPECT_EQ(ring.reap(), List{});
    EXPECT_EQ(run(ring, {nop(4, BELFRY_SUBMIT_LINK), timeout(5, 1, BELFRY_SUBMIT_TIMEOUT_LINKED),
                         timeout(6, 1, BELFRY_SUBMIT_TIMEOUT_LINKED)}),
              (List{{4, 0}, {5, -ECANCELED}, {6, -EINVAL}}));
}

TEST_F(SubmitRingTest, ALinkedTimeoutSaysIfItCameTooLate) {
    RingClient& ring = open();
    EXPECT_EQ(run(ring, {promise(1, BELFRY_SUBMIT_LINK), timeout(2, 1'000, BELFRY_SUBMIT_TIMEOUT_LINKED)}),
              List{});
    file.promise(1).cancellable = false;
    advance(1'000);
    EXPECT_EQ(ring.reap(), (List{{2, -EALREADY}}));
    keep(1);
    EXPECT_EQ(ring.reap(), (List{{1, 0}}));
}

TEST_F(SubmitRingTest, ALinkedTimeoutStartsWithWhatItBounds) {
    RingClient& ring = open();
    EXPECT_EQ(run(ring, {promise(1, BELFRY_SUBMIT_LINK), promise(2, BELFRY_SUBMIT_LINK),
                         timeout(3, 1'000, BELFRY_SUBMIT_TIMEOUT_LINKED)}),
              List{});
    advance(5'000);
    keep(1);
    EXPECT_EQ(ring.reap(), (List{{1, 0}}));
    advance(999);
    EXPECT_EQ(ring.reap(), List{});
    advance(1);
    EXPECT_EQ(ring.reap(), (List{{2, -ECANCELED}, {3, -ETIME}}));
}

// ---- Cancelling

TEST_F(SubmitRingTest, CancelEndsTheOldestOfThatName) {
    RingClient& ring = open();
    const std::uint32_t never = syncobj();
    EXPECT_EQ(run(ring, {{.user_data = 7, .wait_handle = never}, timeout(7, 1'000'000), cancel(1, 7)}),
              (List{{1, 0}, {7, -ECANCELED}}));
    EXPECT_EQ(run(ring, {cancel(2, 7), cancel(3, 7)}), (List{{2, 0}, {7, -ECANCELED}, {3, -ENOENT}}));
}

TEST_F(SubmitRingTest, CancelReachesTheDriverOrSaysThatItIsTooLate) {
    RingClient& ring = open();
    EXPECT_EQ(run(ring, {promise(1), promise(2)}), List{});
    file.promise(2).cancellable = false;
    EXPECT_EQ(run(ring, {cancel(3, 1), cancel(4, 2)}), (List{{3, 0}, {1, -ECANCELED}, {4, -EALREADY}}));
    keep(2);
    EXPECT_EQ(ring.reap(), (List{{2, 0}}));
}

TEST_F(SubmitRingTest, CancelEndsAnEntryThatIsHeldAndWhatHangsOnIt) {
    RingClient& ring = open();
    EXPECT_EQ(run(ring, {promise(1, BELFRY_SUBMIT_LINK), promise(2, BELFRY_SUBMIT_LINK), nop(3)}), List{});
    EXPECT_EQ(run(ring, {cancel(4, 2)}), (List{{4, 0}, {2, -ECANCELED}, {3, -ECANCELED}}));
    keep(1);
    EXPECT_EQ(ring.reap(), (List{{1, 0}}));
}

TEST_F(SubmitRingTest, WhoTakesTheRoomOfACancelledEntryIsNotStartedByWhatThatWasLinkedTo) {
    RingClient& ring = open();
    EXPECT_EQ(run(ring, {promise(1, BELFRY_SUBMIT_LINK), nop(2), promise(3)}), List{});
    EXPECT_EQ(run(ring, {cancel(4, 2)}), (List{{4, 0}, {2, -ECANCELED}}));
    keep(3);
    EXPECT_EQ(ring.reap(), (List{{3, 0}}));
    // The first gets the room of 3, the second that of 2.
    EXPECT_EQ(run(ring, {promise(5, BELFRY_SUBMIT_LINK), nop(6)}), List{});
    keep(1);
    EXPECT_EQ(ring.reap(), (List{{1, 0}}));
    keep(5);
    EXPECT_EQ(ring.reap(), (List{{5, 0}, {6, 0}}));
}

// ---- Sleep, fullness, fairness

TEST_F(SubmitRingTest, ARingIsPolledWithoutRequestsUntilItIsIdleForAWhile) {
    RingClient& ring = open();
    EXPECT_TRUE(ring.needs_wakeup());
    run(ring, {nop(1)});
    EXPECT_FALSE(ring.needs_wakeup());
    ring.write(nop(2));
    base::store(ring.client().sq_tail, 2, base::kRelease);
    poll();
    EXPECT_EQ(ring.reap(), (List{{2, 0}}));
    advance(SubmitRings::kAwakeNs + 1);
    poll();
    EXPECT_TRUE(ring.needs_wakeup());
    EXPECT_TRUE(rig.device.polled.empty());
}

TEST_F(SubmitRingTest, NoCompletionIsLostWhenNobodyReaps) {
    RingClient& ring = open({.sq_entries = 4, .cq_entries = 4});
    ring.submit({promise(1), nop(2), nop(3), nop(4)});
    poll();
    ring.write(nop(5));
    ring.write(nop(6));
    ring.publish();
    poll();
    EXPECT_EQ(ring.consumer().sq_head, 4u) << "room for 1 is kept";
    EXPECT_NE(ring.consumer().flags & BELFRY_SUBMIT_CQ_FULL, 0u);
    keep(1);
    advance(SubmitRings::kAwakeNs + 1);
    poll();
    EXPECT_TRUE(ring.needs_wakeup()) << "a client that never reaps is not polled for ever";
    EXPECT_EQ(ring.reap(), (List{{2, 0}, {3, 0}, {4, 0}, {1, 0}}));
    poll();
    EXPECT_EQ(ring.reap(), (List{{5, 0}, {6, 0}}));
    EXPECT_EQ(ring.consumer().flags & BELFRY_SUBMIT_CQ_FULL, 0u);
}

TEST_F(SubmitRingTest, ATurnIsBoundedAndRingsTakeTurns) {
    RingClient& greedy = open({.sq_entries = 1024});
    RingClient& modest = open();
    for (std::uint64_t i = 0; i < 1024; ++i) greedy.write(nop(i));
    greedy.publish();
    modest.submit({nop(1)});
    poll(2);
    EXPECT_EQ(greedy.consumer().sq_head, SubmitRings::kTurnEntries);
    EXPECT_EQ(modest.reap(), (List{{1, 0}}));
}

TEST_F(SubmitRingTest, TheEventfdIsRungOnceABatch) {
    const base::Fd eventfd = *base::make_eventfd();
    RingClient& ring = open({.eventfd = eventfd.get()});
    EXPECT_EQ(run(ring, {nop(1), nop(2), nop(3)}).size(), 3u);
    std::uint64_t count = 0;
    EXPECT_EQ(::read(eventfd.get(), &count, sizeof count), 8);
    EXPECT_EQ(count, 1u);
    EXPECT_EQ(run(ring, {nop(1, BELFRY_SUBMIT_NO_SUCCESS_COMPLETION)}).size(), 0u);
    EXPECT_EQ(::read(eventfd.get(), &count, sizeof count), -1);
}

// ---- Ends

TEST_F(SubmitRingTest, ATailOutOfRangeEndsTheRingAndNotItsEntries) {
    RingClient& ring = open();
    EXPECT_EQ(run(ring, {promise(1)}), List{});
    base::store(ring.client().sq_tail, 1 + 9, base::kRelease);
    poll();
    EXPECT_EQ(ring.consumer().error, static_cast<unsigned>(EINVAL));
    EXPECT_EQ(ring.enter(), EINVAL);
    keep(1);
    EXPECT_EQ(ring.reap(), (List{{1, 0}}));
}

TEST_F(SubmitRingTest, AHeadOutOfRangeEndsTheRing) {
    RingClient& ring = open({.sq_entries = 2, .cq_entries = 2});
    ring.submit({nop(1), nop(2)});
    poll();
    base::store(ring.client().cq_head, 3, base::kRelease);
    ring.submit({nop(3)});
    poll();
    EXPECT_EQ(ring.consumer().error, static_cast<unsigned>(EINVAL));
    EXPECT_EQ(ring.consumer().cq_tail, 2u);
}

TEST_F(SubmitRingTest, EntriesDieWithTheirRingAndTheDriversGoOn) {
    RingClient& ring = open();
    const std::uint32_t never = syncobj();
    const std::uint32_t events = ring.consumer().cq_event;
    EXPECT_EQ(run(ring, {promise(1, BELFRY_SUBMIT_LINK),
                         nop(2),
                         {.user_data = 3, .wait_handle = never},
                         timeout(4, 1'000)}),
              List{});
    EXPECT_EQ(ring.destroy(), 0);
    EXPECT_EQ(ring.consumer().error, static_cast<unsigned>(ECANCELED));
    EXPECT_NE(ring.consumer().cq_event, events) << "whoever sleeps must not do so for ever";
    keep(1);
    signal(never);
    advance(2'000);
    EXPECT_EQ(ring.reap(), List{});
    EXPECT_EQ(ring.destroy(), EINVAL);
}

TEST_F(SubmitRingTest, BadSizesAreRefused) {
    const auto create = [&](belfry_submit_ring_create args) {
        const auto call =
            TestCall::make(static_cast<std::uint32_t>(DRM_IOCTL_BELFRY_SUBMIT_RING_CREATE), args);
        file.ioctl(call);
        return *call->answer();
    };
    belfry_submit_ring_create good{.sq_entries = 5, .eventfd_completions = -1};
    EXPECT_EQ(create({.sq_entries = 0, .eventfd_completions = -1}), EINVAL);
    EXPECT_EQ(create({.sq_entries = 4097, .eventfd_completions = -1}), EINVAL);
    EXPECT_EQ(create({.sq_entries = 8, .cq_entries = 4, .eventfd_completions = -1}), EINVAL);
    EXPECT_EQ(create({.sq_entries = 8, .cq_entries = 8193, .eventfd_completions = -1}), EINVAL);
    EXPECT_EQ(create({.sq_entries = 8, .arena_bytes = (16U << 20) + 1, .eventfd_completions = -1}), EINVAL);
    EXPECT_EQ(create({.sq_entries = 8, .flags = 1, .eventfd_completions = -1}), EINVAL);
    EXPECT_EQ(create({.sq_entries = 8, .eventfd_completions = Call::kClosedDescriptor}), EBADF);
    for (std::uint32_t i = 0; i < SubmitRings::kRingsMax; ++i) EXPECT_EQ(create(good), 0);
    EXPECT_EQ(create(good), EBUSY);
}

TEST_F(SubmitRingTest, OnlyTheWholeRingIsMapped) {
    RingClient& ring = open();
    const auto map = [&](std::uint64_t offset, std::uint64_t bytes, int protection = PROT_READ) {
        return mmap_now(file, {.offset = offset, .bytes = bytes, .protection = protection}).has_value();
    };
    EXPECT_TRUE(map(ring.made.mmap_offset, ring.made.mmap_bytes));
    EXPECT_FALSE(map(ring.made.mmap_offset, ring.made.mmap_bytes, PROT_EXEC));
    EXPECT_FALSE(map(ring.made.mmap_offset, 4096));
    EXPECT_FALSE(map(ring.made.mmap_offset + 4096, ring.made.mmap_bytes));
    EXPECT_FALSE(map(ring.made.mmap_offset + (1ULL << 32), ring.made.mmap_bytes));
}

TEST(SubmitEntryState, EveryStepLeadsOnAndNoneLeavesComplete) {
    using enum SubmitState;
    for (const SubmitStep& step : kSubmitSteps) {
        EXPECT_NE(step.from, complete);
        EXPECT_NE(step.to, held);
    }
    static_assert(!next(complete, SubmitEvent::settled));
    static_assert(!next(accepted, SubmitEvent::parked));
}

/// Random entries, promises kept in any order, cancels, time: each entry is told exactly once.
TEST_F(SubmitRingTest, WhateverHappensEachEntryIsToldOnce) {
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937_64 random(seed);
        const auto below = [&](std::uint64_t n) { return random() % n; };
        TestFile other(rig.device);
        RingClient ring(other, {.sq_entries = 16, .cq_entries = 32});
        std::set<std::uint64_t> due;
        std::uint64_t last = 0;
        const auto reap = [&] {
            for (const Told& told : ring.reap()) EXPECT_EQ(due.erase(told.user_data), 1u) << told.user_data;
        };
        const auto keep_one = [&] {
            if (other.promises.empty()) return;
            auto at =
                std::next(other.promises.begin(), static_cast<std::ptrdiff_t>(below(other.promises.size())));
            if (!at->fence->is_signalled())
                at->fence->signal(1, below(4) == 0 ? std::optional(Errno::io) : std::nullopt);
            other.promises.erase(at);
        };
        for (unsigned i = 0; i < 100; ++i) {
            while (last - ring.consumer().sq_head < 16 && below(4) != 0) {
                belfry_submit_entry entry = nop(++last);
                switch (below(5)) {
                    case 0: break;
                    case 1:
                        entry = timeout(last, below(3'000),
                                        below(2) == 0 ? std::uint32_t{BELFRY_SUBMIT_TIMEOUT_LINKED} : 0);
                        break;
                    case 2:  entry = cancel(last, last - std::min(last, below(20))); break;
                    default: entry = promise(last); break;
                }
                if (below(2) == 0) entry.flags |= BELFRY_SUBMIT_LINK;
                if (below(10) == 0) entry.flags |= BELFRY_SUBMIT_DRAIN;
                ring.write(entry);
                due.insert(last);
            }
            ring.publish();
            poll(static_cast<unsigned>(below(3)));
            if (below(2) == 0) keep_one();
            work();
            if (below(3) == 0) advance(below(2'000));
            if (below(4) == 0) reap();
            other.rings.check_invariants();
        }
        for (unsigned i = 0; i < 400 && !due.empty(); ++i) {
            keep_one();
            work();
            advance(5'000);
            ring.publish();
            poll(1);
            reap();
        }
        EXPECT_EQ(due, std::set<std::uint64_t>{});
    }
}

}  // namespace
}  // namespace belfry::drm
