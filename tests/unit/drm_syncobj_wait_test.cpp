// The syncobj ioctls as a client sees them: errno for errno, and when a wait is answered with what.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "belfry/uapi/drm.h"
#include "drm/fence.hpp"
#include "drm/syncobj_ioctls.hpp"
#include "drm/timers.hpp"
#include "drm/version_ioctls.hpp"
#include "test_call.hpp"
#include "test_exports.hpp"

namespace belfry::drm {
namespace {

constexpr std::uint32_t kAll = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_ALL;
constexpr std::uint32_t kForSubmit = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT;
constexpr std::uint32_t kAvailable = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_AVAILABLE;
constexpr std::uint32_t kDeadline = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_DEADLINE;
constexpr std::uint32_t kNone = 0xffff'ffff;  // first_signaled of ALL that began with nothing
constexpr std::uint32_t kUntouched = 0x5555'5555;
constexpr std::int64_t kForever = std::numeric_limits<std::int64_t>::max();
constexpr std::uint32_t kBad = 0xdead'beef;
constexpr std::uint64_t kStart = 1'000'000;
constexpr std::int64_t kSoon = kStart + 100;

using Handles = std::vector<std::uint32_t>;
using Points = std::vector<std::uint64_t>;

/// A client of one file, and the driver's side: fences that are attached and signalled like those of sw_sync.
class Rig {
  public:
    using Handler = void (*)(SyncobjTable&, Timers&, const std::shared_ptr<Call>&);

    Rig() { timers.set_now(kStart); }
    ~Rig() {
        // Nothing that a test did left the file in disorder.
        if (table) table->check_invariants();
    }

    /// A wait that was sent, with the arrays that it points to.
    struct Wait {
        Handles handles;
        Points points;
        std::shared_ptr<TestCall> call;
        bool timeline = false;

        [[nodiscard]] std::optional<int> answer() const { return call->answer(); }
        [[nodiscard]] std::uint32_t first() const {
            return timeline ? call->args<uapi::drm_syncobj_timeline_wait>().first_signaled
                            : call->args<uapi::drm_syncobj_wait>().first_signaled;
        }
    };

    template <typename Args>
    std::shared_ptr<TestCall> send(Handler handler, const Args& args) {
        auto call = TestCall::make(0, args);
        handler(*table, timers, call);
        table->check_invariants();
        return call;
    }

    std::uint32_t create(std::uint32_t flags = 0) {
        const auto call = send(syncobj_create, uapi::drm_syncobj_create{.handle = 0, .flags = flags});
        EXPECT_EQ(call->answer(), 0);
        return call->args<uapi::drm_syncobj_create>().handle;
    }
    Handles create_many(std::size_t count) {
        Handles handles;
        while (handles.size() < count) handles.push_back(create());
        return handles;
    }
    int destroy(std::uint32_t handle, std::uint32_t pad = 0) {
        return *send(syncobj_destroy, uapi::drm_syncobj_destroy{.handle = handle, .pad = pad})->answer();
    }
    int reset(const Handles& handles, std::uint32_t pad = 0) { return on_array(syncobj_reset, handles, pad); }
    int signal(const Handles& handles, std::uint32_t pad = 0) {
        return on_array(syncobj_signal, handles, pad);
    }
    int timeline_signal(const Handles& handles, const Points& points, std::uint32_t flags = 0) {
        return *send(syncobj_timeline_signal, timeline_array(handles, points, flags))->answer();
    }
    int query(const Handles& handles, Points& points, std::uint32_t flags = 0) {
        return *send(syncobj_query, timeline_array(handles, points, flags))->answer();
    }
    std::uint64_t query(std::uint32_t handle, std::uint32_t flags = 0) {
        Points points{~std::uint64_t{0}};
        EXPECT_EQ(query(Handles{handle}, points, flags), 0);
        return points[0];
    }

    std::unique_ptr<Wait> wait(Handles handles, std::uint32_t flags, std::int64_t timeout_ns) {
        auto wait = std::make_unique<Wait>(std::move(handles));
        wait->call = send(syncobj_wait, uapi::drm_syncobj_wait{
                                            .handles = address(wait->handles),
                                            .timeout_nsec = timeout_ns,
                                            .count_handles = static_cast<std::uint32_t>(wait->handles.size()),
                                            .flags = flags,
                                            .first_signaled = kUntouched,
                                            .pad = kBad,  // never checked
                                            .deadline_nsec = 0});
        return wait;
    }
    std::unique_ptr<Wait> timeline_wait(Handles handles, Points points, std::uint32_t flags,
                                        std::int64_t timeout_ns) {
        auto wait = std::make_unique<Wait>(std::move(handles), std::move(points));
        wait->timeline = true;
        wait->call = send(
            syncobj_timeline_wait,
            uapi::drm_syncobj_timeline_wait{.handles = address(wait->handles),
                                            .points = address(wait->points),
                                            .timeout_nsec = timeout_ns,
                                            .count_handles = static_cast<std::uint32_t>(wait->handles.size()),
                                            .flags = flags,
                                            .first_signaled = kUntouched,
                                            .pad = kBad,
                                            .deadline_nsec = 0});
        return wait;
    }
    /// The answer of a wait that ends, at its timeout if not before.
    int waited(const Handles& handles, std::uint32_t flags = 0, std::int64_t timeout_ns = 0) {
        const auto call = wait(handles, flags, timeout_ns);
        advance_to(timeout_ns);
        return call->answer().value_or(-1);
    }
    int timeline_waited(const Handles& handles, const Points& points, std::uint32_t flags = 0,
                        std::int64_t timeout_ns = 0) {
        const auto call = timeline_wait(handles, points, flags, timeout_ns);
        advance_to(timeout_ns);
        return call->answer().value_or(-1);
    }
    void advance_to(std::int64_t time_ns) {
        timers.run(time_ns <= 0 ? 0 : static_cast<std::uint64_t>(time_ns));
        table->check_invariants();
    }

    /// Submits: gives the syncobj a fence, as a timeline point if that is not 0.
    FencePtr attach(std::uint32_t handle, std::uint64_t point = 0) {
        auto fence = Fence::make(context_, ++seqno_);
        if (point == 0) {
            table->find(handle)->replace(fence);
        } else {
            table->find(handle)->add_point(fence, point);
        }
        table->check_invariants();
        return fence;
    }
    void signal_fence(const FencePtr& fence, std::optional<Errno> error = std::nullopt) {
        fence->signal(timers.now(), error);
        table->check_invariants();
    }

    template <typename T>
    static std::uint64_t address(const std::vector<T>& values) {
        return values.empty() ? 0 : reinterpret_cast<std::uint64_t>(values.data());
    }

    FenceContexts contexts;
    Timers timers;
    TestExports host;
    Exports exports{host};
    std::unique_ptr<SyncobjTable> table = std::make_unique<SyncobjTable>(contexts, exports);

  private:
    static uapi::drm_syncobj_timeline_array timeline_array(const Handles& handles, const Points& points,
                                                           std::uint32_t flags) {
        return {.handles = address(handles),
                .points = address(points),
                .count_handles = static_cast<std::uint32_t>(handles.size()),
                .flags = flags};
    }
    int on_array(Handler handler, const Handles& handles, std::uint32_t pad) {
        return *send(handler,
                     uapi::drm_syncobj_array{.handles = address(handles),
                                             .count_handles = static_cast<std::uint32_t>(handles.size()),
                                             .pad = pad})
                    ->answer();
    }

    std::uint64_t context_ = contexts.allocate();
    std::uint64_t seqno_ = 0;
};

// --- CREATE, DESTROY

TEST(SyncobjCreate, GivesTheLowestFreeHandleFromOne) {
    Rig rig;
    EXPECT_EQ(rig.create(), 1u);
    EXPECT_EQ(rig.create(), 2u);
    EXPECT_EQ(rig.destroy(1), 0);
    EXPECT_EQ(rig.create(), 1u);
}

TEST(SyncobjCreate, UnknownFlagsAreInvalid) {
    Rig rig;
    EXPECT_EQ(rig.send(syncobj_create, uapi::drm_syncobj_create{.handle = 0, .flags = kBad})->answer(),
              EINVAL);
    EXPECT_EQ(rig.table->size(), 0u);
}

TEST(SyncobjCreate, SignaledCanBeWaitedForAtOnce) {
    Rig rig;
    EXPECT_EQ(rig.waited({rig.create(DRM_SYNCOBJ_CREATE_SIGNALED)}), 0);
    EXPECT_EQ(rig.waited({rig.create()}), EINVAL);
}

TEST(SyncobjDestroy, AnUnknownHandleIsInvalid) {
    Rig rig;
    EXPECT_EQ(rig.destroy(kBad), EINVAL);
    EXPECT_EQ(rig.destroy(0), EINVAL);
}

TEST(SyncobjDestroy, APadIsInvalidAndTheHandleStays) {
    Rig rig;
    const auto handle = rig.create();
    EXPECT_EQ(rig.destroy(handle, kBad), EINVAL);
    EXPECT_EQ(rig.destroy(handle), 0);
    EXPECT_EQ(rig.destroy(handle), EINVAL);
}

TEST(SyncobjDestroy, AWaitOutlivesTheHandle) {
    Rig rig;
    const auto handle = rig.create();
    const auto syncobj = rig.table->find(handle);
    const auto wait = rig.wait({handle}, kForSubmit, kSoon);
    EXPECT_EQ(rig.destroy(handle), 0);
    EXPECT_FALSE(wait->answer());
    syncobj->replace(signalled_stub(1));
    EXPECT_EQ(wait->answer(), 0);
}

// --- WAIT: checks

TEST(SyncobjWait, BadFlagsComeBeforeEverything) {
    Rig rig;
    EXPECT_EQ(rig.waited({}, kBad), EINVAL);
    EXPECT_EQ(rig.timeline_waited({}, {}, kBad), EINVAL);
    EXPECT_EQ(rig.timeline_waited({}, {}, 0x10), EINVAL);
}

TEST(SyncobjWait, AvailableBelongsToTheTimelineWaitOnly) {
    Rig rig;
    EXPECT_EQ(rig.waited({}, kAvailable), EINVAL);
    EXPECT_EQ(rig.timeline_waited({}, {}, kAvailable), 0);
}

TEST(SyncobjWait, ZeroHandlesAreSuccess) {
    Rig rig;
    EXPECT_EQ(rig.waited({}), 0);
    EXPECT_EQ(rig.timeline_waited({}, {}), 0);
}

TEST(SyncobjWait, HandlesThatAreNotThereFault) {
    Rig rig;
    const uapi::drm_syncobj_wait args{.handles = 0,
                                      .timeout_nsec = 0,
                                      .count_handles = 1,
                                      .flags = 0,
                                      .first_signaled = 0,
                                      .pad = 0,
                                      .deadline_nsec = 0};
    EXPECT_EQ(rig.send(syncobj_wait, args)->answer(), EFAULT);
}

TEST(SyncobjWait, AnIllegalHandleIsNoEntry) {
    Rig rig;
    EXPECT_EQ(rig.waited({0}), ENOENT);
    EXPECT_EQ(rig.timeline_waited({0}, {1}), ENOENT);
    EXPECT_EQ(rig.waited({rig.create(DRM_SYNCOBJ_CREATE_SIGNALED), 0}), ENOENT);
}

TEST(SyncobjWait, MissingPointsMeanZeros) {
    Rig rig;
    const auto handle = rig.create(DRM_SYNCOBJ_CREATE_SIGNALED);
    EXPECT_EQ(rig.timeline_waited({handle}, {}), 0);
    EXPECT_EQ(rig.timeline_waited({handle}, {1}), EINVAL);
}

// --- WAIT of one

struct SingleCase {
    std::uint32_t flags;
    int unsubmitted;
    int submitted;
};

/// The poll, the wait, and UINT64_MAX, which is negative and so polls too.
constexpr std::int64_t kTimeouts[] = {0, kSoon, -1};

TEST(SyncobjWait, OneAnswersByItsStateAndTheFlags) {
    const SingleCase cases[] = {
        {0, EINVAL, ETIME},
        {kAll, EINVAL, ETIME},
        {kDeadline, EINVAL, ETIME},
        {kForSubmit, ETIME, ETIME},
        {kAll | kForSubmit, ETIME, ETIME},
    };
    for (const auto& expected : cases) {
        for (const auto timeout : kTimeouts) {
            SCOPED_TRACE(std::to_string(expected.flags) + " " + std::to_string(timeout));
            Rig rig;
            const auto handle = rig.create();
            EXPECT_EQ(rig.waited({handle}, expected.flags, timeout), expected.unsubmitted);
            const auto fence = rig.attach(handle);
            EXPECT_EQ(rig.waited({handle}, expected.flags, timeout + (timeout > 0 ? 1000 : 0)),
                      expected.submitted);
            rig.signal_fence(fence);
            EXPECT_EQ(rig.waited({handle}, expected.flags, timeout), 0);
        }
    }
}

TEST(SyncobjTimelineWait, OneAnswersByItsStateAndTheFlags) {
    const SingleCase cases[] = {
        {0, EINVAL, ETIME},
        {kAll, EINVAL, ETIME},
        {kForSubmit, ETIME, ETIME},
        {kAll | kForSubmit, ETIME, ETIME},
        {kAvailable, ETIME, 0},
        {kForSubmit | kAvailable, ETIME, 0},
        {kAll | kAvailable, ETIME, 0},
        {kAll | kForSubmit | kAvailable, ETIME, 0},
    };
    for (const auto& expected : cases) {
        for (const auto timeout : kTimeouts) {
            SCOPED_TRACE(std::to_string(expected.flags) + " " + std::to_string(timeout));
            Rig rig;
            const auto handle = rig.create();
            EXPECT_EQ(rig.timeline_waited({handle}, {1}, expected.flags, timeout), expected.unsubmitted);
            const auto fence = rig.attach(handle, 1);
            EXPECT_EQ(rig.timeline_waited({handle}, {1}, expected.flags, timeout + (timeout > 0 ? 1000 : 0)),
                      expected.submitted);
            rig.signal_fence(fence);
            EXPECT_EQ(rig.timeline_waited({handle}, {1}, expected.flags, timeout), 0);
        }
    }
}

TEST(SyncobjWait, TheTimeoutIsAbsoluteAndMetExactly) {
    Rig rig;
    const auto handle = rig.create();
    rig.attach(handle);
    const auto wait = rig.wait({handle}, 0, kSoon);
    EXPECT_EQ(rig.timers.next_deadline(), static_cast<std::uint64_t>(kSoon));
    rig.advance_to(kSoon - 1);
    EXPECT_FALSE(wait->answer());
    rig.advance_to(kSoon);
    EXPECT_EQ(wait->answer(), ETIME);
    EXPECT_EQ(wait->first(), kUntouched);
    EXPECT_EQ(rig.table->pending_waits(), 0u);
}

TEST(SyncobjWait, ATimeoutThatHasPassedLooksOnce) {
    Rig rig;
    const auto handle = rig.create();
    const auto fence = rig.attach(handle);
    EXPECT_EQ(rig.wait({handle}, 0, kStart)->answer(), ETIME);
    EXPECT_EQ(rig.wait({handle}, 0, std::numeric_limits<std::int64_t>::min())->answer(), ETIME);
    rig.signal_fence(fence);
    EXPECT_EQ(rig.wait({handle}, 0, 1)->answer(), 0);
}

TEST(SyncobjWait, ADelayedSignalAnswers) {
    for (const std::uint32_t flags : {0u, kAll}) {
        Rig rig;
        const auto handle = rig.create();
        const auto fence = rig.attach(handle);
        const auto wait = rig.wait({handle}, flags, kForever);
        rig.advance_to(kSoon);
        EXPECT_FALSE(wait->answer());
        rig.signal_fence(fence);
        EXPECT_EQ(wait->answer(), 0);
        EXPECT_EQ(wait->first(), flags == kAll ? kNone : 0u);
        EXPECT_EQ(rig.timers.next_deadline(), std::nullopt);
    }
}

TEST(SyncobjWait, ADelayedSubmitAndSignalAnswer) {
    for (const std::uint32_t flags : {kForSubmit, kForSubmit | kAll}) {
        Rig rig;
        const auto handle = rig.create();
        const auto wait = rig.wait({handle}, flags, kForever);
        const auto fence = rig.attach(handle);
        EXPECT_FALSE(wait->answer());
        rig.signal_fence(fence);
        EXPECT_EQ(wait->answer(), 0);
    }
}

TEST(SyncobjTimelineWait, ADelayedPointAndSignalAnswer) {
    for (const std::uint32_t flags : {kForSubmit, kForSubmit | kAll}) {
        Rig rig;
        const auto handle = rig.create();
        const auto wait = rig.timeline_wait({handle}, {5}, flags, kForever);
        const auto three = rig.attach(handle, 3);
        rig.signal_fence(three);
        EXPECT_FALSE(wait->answer());
        const auto six = rig.attach(handle, 6);
        EXPECT_FALSE(wait->answer());
        rig.signal_fence(six);
        EXPECT_EQ(wait->answer(), 0);
    }
}

TEST(SyncobjTimelineWait, AvailableIsAnsweredByTheSubmit) {
    Rig rig;
    const auto handle = rig.create();
    const auto wait = rig.timeline_wait({handle}, {2}, kAvailable, kForever);
    rig.attach(handle, 1);
    EXPECT_FALSE(wait->answer());
    rig.attach(handle, 2);
    EXPECT_EQ(wait->answer(), 0);
    EXPECT_EQ(wait->first(), 0u);
}

TEST(SyncobjWait, AFenceWithAnErrorSatisfies) {
    Rig rig;
    const auto handle = rig.create();
    const auto fence = rig.attach(handle);
    const auto wait = rig.wait({handle}, 0, kForever);
    rig.signal_fence(fence, Errno::cancelled);
    EXPECT_EQ(wait->answer(), 0);
}

// --- RESET and SIGNAL

TEST(SyncobjReset, ChecksPadThenCountThenHandles) {
    Rig rig;
    for (const auto call : {&Rig::reset, &Rig::signal}) {
        EXPECT_EQ((rig.*call)({0}, kBad), EINVAL);
        EXPECT_EQ((rig.*call)({}, 0), EINVAL);
        EXPECT_EQ((rig.*call)({0}, 0), ENOENT);
    }
    const uapi::drm_syncobj_array nowhere{.handles = 0, .count_handles = 1, .pad = 0};
    EXPECT_EQ(rig.send(syncobj_reset, nowhere)->answer(), EFAULT);
    EXPECT_EQ(rig.send(syncobj_signal, nowhere)->answer(), EFAULT);
}

TEST(SyncobjReset, MakesUnsubmitted) {
    Rig rig;
    const auto handles = rig.create_many(3);
    EXPECT_EQ(rig.signal(handles), 0);
    EXPECT_EQ(rig.waited(handles, kAll), 0);
    EXPECT_EQ(rig.reset(handles), 0);
    for (const auto handle : handles) EXPECT_EQ(rig.waited({handle}), EINVAL);
}

TEST(SyncobjReset, OfOneIllegalHandleChangesNone) {
    Rig rig;
    const auto handles = rig.create_many(2);
    EXPECT_EQ(rig.signal(handles), 0);
    EXPECT_EQ(rig.reset({handles[0], 0, handles[1]}), ENOENT);
    EXPECT_EQ(rig.waited(handles, kAll), 0);
}

TEST(SyncobjSignal, OfOneIllegalHandleChangesNone) {
    Rig rig;
    const auto handles = rig.create_many(2);
    EXPECT_EQ(rig.signal({handles[0], 0, handles[1]}), ENOENT);
    for (const auto handle : handles) EXPECT_EQ(rig.waited({handle}), EINVAL);
}

TEST(SyncobjSignal, SatisfiesWaitsAndReplacesATimeline) {
    Rig rig;
    const auto handle = rig.create();
    const auto wait = rig.wait({handle}, kForSubmit, kForever);
    EXPECT_EQ(rig.signal({handle}), 0);
    EXPECT_EQ(wait->answer(), 0);
    rig.attach(handle, 4);
    EXPECT_EQ(rig.waited({handle}), ETIME);
    EXPECT_EQ(rig.signal({handle}), 0);
    EXPECT_EQ(rig.waited({handle}), 0);
    EXPECT_EQ(rig.query(handle), 0u);
}

TEST(SyncobjReset, DuringAWaitForSubmitDoesNotEndIt) {
    Rig rig;
    const auto handle = rig.create();
    const auto wait = rig.wait({handle}, kForSubmit, kForever);
    EXPECT_EQ(rig.reset({handle}), 0);
    EXPECT_FALSE(wait->answer());
    rig.signal_fence(rig.attach(handle));
    EXPECT_EQ(wait->answer(), 0);
}

// --- WAIT of several, by the states that they are in

enum State { unsubmitted, submitted, signaled };

struct MultiCase {
    std::vector<State> states;
    std::uint32_t flags;
    int answer;
    int timeline_answer;
};

TEST(SyncobjWait, SeveralAnswerByTheirStatesAndTheFlags) {
    const std::vector<State> u{unsubmitted, unsubmitted, unsubmitted}, s{submitted, submitted, submitted},
        d{signaled, signaled, signaled}, us{unsubmitted, submitted, submitted},
        ud{unsubmitted, signaled, signaled}, sd{submitted, signaled, signaled},
        usd{unsubmitted, submitted, signaled};
    // The answer of TIMELINE_WAIT where AVAILABLE makes it differ; WAIT is not asked then (-1).
    const std::vector<MultiCase> cases{
        {u, 0, EINVAL, EINVAL},
        {us, 0, EINVAL, EINVAL},
        {ud, 0, EINVAL, EINVAL},
        {usd, 0, EINVAL, EINVAL},
        {u, kAll, EINVAL, EINVAL},
        {us, kAll, EINVAL, EINVAL},
        {ud, kAll, EINVAL, EINVAL},
        {usd, kAll, EINVAL, EINVAL},
        {u, kForSubmit, ETIME, ETIME},
        {u, kAll | kForSubmit, ETIME, ETIME},
        {s, 0, ETIME, ETIME},
        {s, kForSubmit, ETIME, ETIME},
        {s, kAll, ETIME, ETIME},
        {s, kAll | kForSubmit, ETIME, ETIME},
        {us, kForSubmit, ETIME, ETIME},
        {us, kAll | kForSubmit, ETIME, ETIME},
        {ud, kAll | kForSubmit, ETIME, ETIME},
        {sd, kAll, ETIME, ETIME},
        {sd, kAll | kForSubmit, ETIME, ETIME},
        {usd, kAll | kForSubmit, ETIME, ETIME},
        {d, 0, 0, 0},
        {d, kForSubmit, 0, 0},
        {d, kAll, 0, 0},
        {d, kAll | kForSubmit, 0, 0},
        {ud, kForSubmit, 0, 0},
        {sd, 0, 0, 0},
        {sd, kForSubmit, 0, 0},
        {usd, kForSubmit, 0, 0},
        {u, kAvailable, -1, ETIME},
        {u, kForSubmit | kAvailable, -1, ETIME},
        {u, kAll | kAvailable, -1, ETIME},
        {u, kAll | kForSubmit | kAvailable, -1, ETIME},
        {us, kAll | kAvailable, -1, ETIME},
        {us, kAll | kForSubmit | kAvailable, -1, ETIME},
        {ud, kAll | kAvailable, -1, ETIME},
        {ud, kAll | kForSubmit | kAvailable, -1, ETIME},
        {usd, kAll | kAvailable, -1, ETIME},
        {s, kAvailable, -1, 0},
        {s, kForSubmit | kAvailable, -1, 0},
        {s, kAll | kAvailable, -1, 0},
        {s, kAll | kForSubmit | kAvailable, -1, 0},
        {us, kAvailable, -1, 0},
        {us, kForSubmit | kAvailable, -1, 0},
        {ud, kAvailable, -1, 0},
        {d, kAvailable, -1, 0},
        {d, kAll | kAvailable, -1, 0},
        {sd, kAvailable, -1, 0},
        {sd, kAll | kAvailable, -1, 0},
        {usd, kAvailable, -1, 0},
        {usd, kForSubmit | kAvailable, -1, 0},
    };
    for (const auto& expected : cases) {
        for (const auto timeout : kTimeouts) {
            std::string name =
                "flags " + std::to_string(expected.flags) + " timeout " + std::to_string(timeout);
            for (const State state : expected.states) name += " " + std::to_string(state);
            SCOPED_TRACE(name);
            const auto prepare = [&](Rig& rig, const Handles& handles, std::uint64_t point) {
                for (std::size_t i = 0; i < handles.size(); ++i) {
                    if (expected.states[i] == unsubmitted) continue;
                    const auto fence = rig.attach(handles[i], point);
                    if (expected.states[i] == signaled) rig.signal_fence(fence);
                }
            };
            if (expected.answer >= 0) {
                Rig rig;
                const auto handles = rig.create_many(3);
                prepare(rig, handles, 0);
                EXPECT_EQ(rig.waited(handles, expected.flags, timeout), expected.answer);
            }
            Rig rig;
            const auto handles = rig.create_many(3);
            prepare(rig, handles, 7);
            EXPECT_EQ(rig.timeline_waited(handles, {7, 3, 7}, expected.flags, timeout),
                      expected.timeline_answer);
        }
    }
}

TEST(SyncobjWait, OneUnsubmittedIsInvalidEvenIfAnotherIsSignaled) {
    Rig rig;
    const auto handles = rig.create_many(2);
    EXPECT_EQ(rig.signal({handles[0]}), 0);
    EXPECT_EQ(rig.waited(handles), EINVAL);
}

TEST(SyncobjWait, TheLowestThatIsSignaledAtOnceIsTold) {
    Rig rig;
    const auto handles = rig.create_many(4);
    rig.attach(handles[0]);
    EXPECT_EQ(rig.signal({handles[1], handles[3]}), 0);
    const auto any = rig.wait(handles, kForSubmit, 0);
    EXPECT_EQ(any->answer(), 0);
    EXPECT_EQ(any->first(), 1u);
}

TEST(SyncobjWait, AllTellsTheLowestThatWasSignaledWhenItBegan) {
    Rig rig;
    const auto handles = rig.create_many(3);
    const auto first = rig.attach(handles[0]);
    EXPECT_EQ(rig.signal({handles[1], handles[2]}), 0);
    const auto wait = rig.wait(handles, kAll, kForever);
    EXPECT_FALSE(wait->answer());
    rig.signal_fence(first);
    EXPECT_EQ(wait->answer(), 0);
    EXPECT_EQ(wait->first(), 1u);
}

TEST(SyncobjWait, AllThatBeganWithNoneSignaledTellsNone) {
    Rig rig;
    const auto handles = rig.create_many(2);
    const auto a = rig.attach(handles[0]);
    const auto b = rig.attach(handles[1]);
    const auto wait = rig.wait(handles, kAll, kForever);
    rig.signal_fence(b);
    EXPECT_FALSE(wait->answer());
    rig.signal_fence(a);
    EXPECT_EQ(wait->answer(), 0);
    EXPECT_EQ(wait->first(), kNone);
}

TEST(SyncobjWait, TheSameSyncobjSeveralTimesCountsEachTime) {
    Rig rig;
    const auto handle = rig.create();
    const auto any = rig.wait({handle, handle}, kForSubmit, kForever);
    const auto all = rig.timeline_wait({handle, handle}, {0, 2}, kForSubmit | kAll, kForever);
    const auto fence = rig.attach(handle);
    rig.signal_fence(fence);
    EXPECT_EQ(any->answer(), 0);
    EXPECT_EQ(any->first(), 0u);
    EXPECT_FALSE(all->answer());
    EXPECT_EQ(rig.timeline_signal({handle}, {2}), 0);
    EXPECT_EQ(all->answer(), 0);
}

TEST(SyncobjWait, OneSignalAnswersAllWaitsThatItSatisfiesAndNoOther) {
    Rig rig;
    const auto handle = rig.create();
    std::vector<std::unique_ptr<Rig::Wait>> waits;
    for (std::uint64_t point = 1; point <= 20; ++point)
        waits.push_back(rig.timeline_wait({handle}, {point}, kForSubmit, kForever));
    EXPECT_EQ(rig.timeline_signal({handle}, {7}), 0);
    for (std::uint64_t point = 1; point <= 20; ++point)
        EXPECT_EQ(waits[point - 1]->call->answered(), point <= 7) << point;
    EXPECT_EQ(rig.table->pending_waits(), 13u);
}

// --- Snapshots: what a wait has found is not taken from it by later changes.

TEST(SyncobjWait, AnySnapshotKeepsTheFenceThatItFound) {
    for (const std::uint32_t flags : {0u, kForSubmit}) {
        Rig rig;
        const auto handles = rig.create_many(2);
        const auto kept = rig.attach(handles[0]);
        const auto second = rig.attach(handles[1]);
        const auto wait = rig.wait(handles, flags, kForever);
        EXPECT_EQ(rig.reset({handles[0]}), 0);
        rig.attach(handles[0]);
        EXPECT_FALSE(wait->answer());
        rig.signal_fence(second);
        EXPECT_EQ(wait->answer(), 0);
        EXPECT_EQ(wait->first(), 1u);
    }
}

TEST(SyncobjWait, ForSubmitSnapshotKeepsTheFirstFenceThatCame) {
    Rig rig;
    const auto handles = rig.create_many(2);
    const auto wait = rig.wait(handles, kForSubmit, kForever);
    const auto kept = rig.attach(handles[0]);
    EXPECT_EQ(rig.reset({handles[0]}), 0);
    const auto never = rig.attach(handles[0]);
    rig.signal_fence(never);  // not the one that was picked up
    EXPECT_FALSE(wait->answer());
    rig.signal_fence(rig.attach(handles[1]));
    EXPECT_EQ(wait->answer(), 0);
    EXPECT_EQ(wait->first(), 1u);
}

TEST(SyncobjWait, AllSnapshotKeepsWhatWasSignaled) {
    for (const std::uint32_t flags : {kAll, kAll | kForSubmit}) {
        Rig rig;
        const auto handles = rig.create_many(2);
        const auto first = rig.attach(handles[0]);
        const auto second = rig.attach(handles[1]);
        const auto wait = rig.wait(handles, flags, kForever);
        rig.signal_fence(first);
        EXPECT_EQ(rig.reset({handles[0]}), 0);
        rig.attach(handles[0]);
        EXPECT_FALSE(wait->answer());
        rig.signal_fence(second);
        EXPECT_EQ(wait->answer(), 0);
    }
}

TEST(SyncobjTimelineWait, AllForSubmitSnapshotKeepsPointsAcrossAReset) {
    Rig rig;
    const auto handles = rig.create_many(2);
    const auto wait = rig.timeline_wait(handles, {1, 1}, kAll | kForSubmit, kForever);
    rig.signal_fence(rig.attach(handles[0], 1));
    EXPECT_EQ(rig.reset({handles[0]}), 0);
    rig.attach(handles[0], 1);
    EXPECT_FALSE(wait->answer());
    rig.signal_fence(rig.attach(handles[1], 1));
    EXPECT_EQ(wait->answer(), 0);
}

/// Steps eight objects through submit, signal, reset and resubmit, the second first.
void step_through(Rig& rig, const Handles& handles, std::vector<FencePtr>& fences, std::uint64_t point,
                  const std::function<bool()>& stop) {
    for (const std::size_t i : {1u, 4u, 0u, 7u, 2u, 6u, 3u, 5u}) {
        if (!fences[i]) fences[i] = rig.attach(handles[i], point);
        rig.signal_fence(fences[i]);
        EXPECT_EQ(rig.reset({handles[i]}), 0);
        rig.attach(handles[i], point);
        if (stop()) return;
    }
}

TEST(SyncobjWait, AnyComplexTellsTheOneThatWasSignaled) {
    for (const std::uint64_t point : {0u, 1u}) {
        for (const bool for_submit : {false, true}) {
            Rig rig;
            const auto handles = rig.create_many(8);
            std::vector<FencePtr> fences(8);
            for (std::size_t i = 0; i < 8 && !for_submit; ++i) fences[i] = rig.attach(handles[i], point);
            const auto wait = rig.timeline_wait({handles[0], handles[1]}, {point, point},
                                                for_submit ? kForSubmit : 0, kForever);
            step_through(rig, handles, fences, point, [&] { return wait->call->answered(); });
            EXPECT_EQ(wait->answer(), 0);
            EXPECT_EQ(wait->first(), 1u);
        }
    }
}

TEST(SyncobjWait, AllComplexIsAnsweredOnceBothWereSignaled) {
    for (const std::uint64_t point : {0u, 1u}) {
        for (const bool for_submit : {false, true}) {
            Rig rig;
            const auto handles = rig.create_many(8);
            std::vector<FencePtr> fences(8);
            for (std::size_t i = 0; i < 8 && !for_submit; ++i) fences[i] = rig.attach(handles[i], point);
            const auto wait = rig.timeline_wait({handles[0], handles[1]}, {point, point},
                                                kAll | (for_submit ? kForSubmit : 0), kForever);
            int steps = 0;
            step_through(rig, handles, fences, point, [&] {
                EXPECT_EQ(wait->call->answered(),
                          ++steps >= 3);  // the first of the two is the third to be signalled
                return false;
            });
            EXPECT_EQ(wait->answer(), 0);
        }
    }
}

// --- QUERY and TIMELINE_SIGNAL

TEST(SyncobjQuery, ChecksFlagsThenCountThenHandlesThenPoints) {
    Rig rig;
    Points none;
    EXPECT_EQ(rig.query({0}, none, kBad), EINVAL);
    EXPECT_EQ(rig.query({}, none), EINVAL);
    EXPECT_EQ(rig.query({0}, none), ENOENT);
    const auto handle = rig.create();
    EXPECT_EQ(rig.query({handle, 0, handle}, none), ENOENT);
    EXPECT_EQ(rig.query({handle}, none), EFAULT);
    const uapi::drm_syncobj_timeline_array nowhere{.handles = 0, .points = 0, .count_handles = 1, .flags = 0};
    EXPECT_EQ(rig.send(syncobj_query, nowhere)->answer(), EFAULT);
}

TEST(SyncobjQuery, AnswersForEachHandle) {
    Rig rig;
    const auto handles = rig.create_many(3);
    rig.attach(handles[0]);
    EXPECT_EQ(rig.timeline_signal({handles[1]}, {5}), 0);
    rig.attach(handles[1], 9);
    Points points(3, 77);
    EXPECT_EQ(rig.query(handles, points), 0);
    EXPECT_EQ(points, (Points{0, 5, 0}));
    EXPECT_EQ(rig.query(handles, points, DRM_SYNCOBJ_QUERY_FLAGS_LAST_SUBMITTED), 0);
    EXPECT_EQ(points, (Points{0, 9, 0}));
}

TEST(SyncobjTimelineSignal, ChecksFlagsThenCountThenHandles) {
    Rig rig;
    EXPECT_EQ(rig.timeline_signal({0}, {1}, kBad), EINVAL);
    EXPECT_EQ(rig.timeline_signal({}, {}), EINVAL);
    EXPECT_EQ(rig.timeline_signal({1}, {0}), ENOENT);
    const auto handle = rig.create();
    EXPECT_EQ(rig.timeline_signal({handle, 0, handle}, {}), ENOENT);
    EXPECT_EQ(rig.waited({handle}), EINVAL);
    const uapi::drm_syncobj_timeline_array nowhere{.handles = 0, .points = 0, .count_handles = 1, .flags = 0};
    EXPECT_EQ(rig.send(syncobj_timeline_signal, nowhere)->answer(), EFAULT);
}

TEST(SyncobjTimelineSignal, AnArrayReachesEachPoint) {
    Rig rig;
    const auto handles = rig.create_many(4);
    EXPECT_EQ(rig.timeline_signal(handles, {1, 1, 1, 0}), 0);
    EXPECT_EQ(rig.timeline_waited({handles[0], handles[1], handles[2]}, {1, 1, 1}, kAll), 0);
    EXPECT_EQ(rig.waited({handles[3]}), 0);
}

TEST(SyncobjTimelineSignal, OfPointZeroCanBeWaitedForBothWays) {
    Rig rig;
    const auto handle = rig.create();
    EXPECT_EQ(rig.timeline_signal({handle}, {}), 0);
    EXPECT_EQ(rig.timeline_waited({handle}, {0}), 0);
    EXPECT_EQ(rig.waited({handle}), 0);
}

TEST(SyncobjTimelineSignal, OutOfOrderIsNoError) {
    Rig rig;
    const auto handle = rig.create();
    EXPECT_EQ(rig.timeline_signal({handle}, {5}), 0);
    EXPECT_EQ(rig.timeline_signal({handle}, {3}), 0);
    EXPECT_EQ(rig.query(handle), 5u);
}

TEST(SyncobjTimelineSignal, HostSignalPointsAreQueriedAndWaitedFor) {
    Rig rig;
    const auto handle = rig.create();
    for (std::uint64_t point = 1; point <= 100; ++point) {
        EXPECT_EQ(rig.timeline_signal({handle}, {point}), 0);
        EXPECT_EQ(rig.query(handle), point);
        EXPECT_EQ(rig.timeline_waited({handle}, {point}), 0);
        EXPECT_EQ(rig.timeline_waited({handle}, {point - 1}), 0);
    }
}

// --- The ends of a wait that nobody hears

TEST(SyncobjWait, ACancelledWaitIsGone) {
    Rig rig;
    const auto handles = rig.create_many(2);
    const auto fence = rig.attach(handles[0]);
    const auto wait = rig.wait(handles, kForSubmit, kSoon);
    ASSERT_EQ(rig.table->pending_waits(), 1u);
    wait->call->cancel();
    EXPECT_EQ(rig.table->pending_waits(), 0u);
    EXPECT_EQ(rig.timers.next_deadline(), std::nullopt);
    EXPECT_EQ(wait->call.use_count(), 1);
    rig.signal_fence(fence);
    rig.advance_to(kSoon);
    EXPECT_FALSE(wait->answer());
}

TEST(SyncobjWait, PendingWaitsDieWithTheFile) {
    Rig rig;
    const auto handles = rig.create_many(2);
    const auto fence = rig.attach(handles[0]);
    const auto wait = rig.wait(handles, kForSubmit, kSoon);
    const auto syncobj = rig.table->find(handles[1]);
    rig.table.reset();
    EXPECT_EQ(rig.timers.next_deadline(), std::nullopt);
    EXPECT_EQ(wait->call.use_count(), 1);
    fence->signal(1);
    syncobj->replace(signalled_stub(1));
    rig.timers.run(kSoon);
    wait->call->cancel();  // the transport may still do so
    EXPECT_FALSE(wait->answer());
}

TEST(SyncobjWait, AnAnsweredWaitIsNoLongerHeld) {
    Rig rig;
    const auto handle = rig.create();
    const auto fence = rig.attach(handle);
    const auto wait = rig.wait({handle}, 0, kForever);
    rig.signal_fence(fence);
    EXPECT_EQ(wait->call.use_count(), 1);
    wait->call->cancel();
    EXPECT_EQ(wait->answer(), 0);
}

TEST(SyncobjWait, AnAnswerMayStartTheNextRequestOrCloseTheFile) {
    Rig rig;
    const auto handle = rig.create();
    const auto wait = rig.wait({handle}, kForSubmit, kForever);
    const auto doomed = rig.timeline_wait({handle}, {9}, kForSubmit, kForever);
    std::unique_ptr<Rig::Wait> next;
    wait->call->when_answered = [&] {
        EXPECT_EQ(rig.reset({handle}), 0);
        next = rig.wait({handle}, kForSubmit, kForever);
        next->call->when_answered = [&] { rig.table.reset(); };
    };
    const auto syncobj = rig.table->find(handle);
    syncobj->replace(signalled_stub(1));
    ASSERT_TRUE(next);
    EXPECT_FALSE(next->answer());
    syncobj->replace(signalled_stub(2));
    EXPECT_EQ(next->answer(), 0);
    EXPECT_FALSE(doomed->answer());
}

/// A fence that turns out to be signalled when its first waiter comes.
class LateFence final : public Fence {
  public:
    LateFence(std::uint64_t context, Fence* also) : Fence(context, 1), also_(also) {}

  private:
    void enable_signalling() override {
        if (also_ != nullptr) also_->signal(4);
        signal(5);
    }
    Fence* also_;
};

TEST(SyncobjWait, FencesThatSignalWhileTheWaitIsRegisteredAnswerItOnce) {
    Rig rig;
    const auto handles = rig.create_many(2);
    const auto first = rig.attach(handles[0]);
    rig.table->find(handles[1])->replace(new LateFence(rig.contexts.allocate(), first.get()));
    const auto wait = rig.wait(handles, 0, kForever);
    EXPECT_EQ(wait->answer(), 0);
    EXPECT_EQ(wait->first(), 0u);
    EXPECT_EQ(rig.table->pending_waits(), 0u);
}

// --- VERSION and GET_CAP

constexpr VersionInfo kInfo{
    .major = 1, .minor = 5, .patchlevel = 0, .name = "panthor", .date = "0", .desc = "Panthor DRM driver"};

TEST(Version, WithoutRoomTellsTheLengths) {
    const auto call = TestCall::make(0, uapi::drm_version{});
    version(kInfo, *call);
    const auto& args = call->args<uapi::drm_version>();
    EXPECT_EQ(args.version_major, 1);
    EXPECT_EQ(args.version_minor, 5);
    EXPECT_EQ(args.version_patchlevel, 0);
    EXPECT_EQ(args.name_len, 7u);
    EXPECT_EQ(args.date_len, 1u);
    EXPECT_EQ(args.desc_len, 18u);
}

TEST(Version, FillsTheRoomWithoutANulAndTellsTheFullLength) {
    std::string name(4, '#'), date(4, '#'), desc(18, '#');
    uapi::drm_version request{};
    request.name = reinterpret_cast<std::uint64_t>(name.data());
    request.name_len = 3;
    request.date = reinterpret_cast<std::uint64_t>(date.data());
    request.date_len = 4;
    request.desc = reinterpret_cast<std::uint64_t>(desc.data());
    request.desc_len = 18;
    const auto call = TestCall::make(0, request);
    version(kInfo, *call);
    EXPECT_EQ(name, "pan#");
    EXPECT_EQ(date, "0###");
    EXPECT_EQ(desc, "Panthor DRM driver");
    const auto& args = call->args<uapi::drm_version>();
    EXPECT_EQ(args.name_len, 7u);
    EXPECT_EQ(args.date_len, 1u);
    EXPECT_EQ(args.desc_len, 18u);
}

std::pair<int, std::uint64_t> cap(std::uint64_t capability) {
    const auto call = TestCall::make(0, uapi::drm_get_cap{.capability = capability, .value = 0x77});
    const auto result = get_cap(*call);
    return {result ? 0 : static_cast<int>(result.error()), call->args<uapi::drm_get_cap>().value};
}

TEST(GetCap, TellsWhatARenderNodeHas) {
    EXPECT_EQ(cap(DRM_CAP_PRIME), std::pair(0, std::uint64_t{3}));
    EXPECT_EQ(cap(DRM_CAP_TIMESTAMP_MONOTONIC), std::pair(0, std::uint64_t{1}));
    EXPECT_EQ(cap(DRM_CAP_SYNCOBJ), std::pair(0, std::uint64_t{1}));
    EXPECT_EQ(cap(DRM_CAP_SYNCOBJ_TIMELINE), std::pair(0, std::uint64_t{1}));
}

TEST(GetCap, AnyOtherIsNotSupportedAndReadsZero) {
    for (const std::uint64_t other : {0x0u, 0x1u, 0x7u, 0x10u, 0x15u, 0xffff'ffffu})
        EXPECT_EQ(cap(other), std::pair(EOPNOTSUPP, std::uint64_t{0}));
}

}  // namespace
}  // namespace belfry::drm
