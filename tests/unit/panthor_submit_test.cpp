// Kernel-mode jobs from GROUP_SUBMIT to their fences: dependencies, the ring, faults, timeouts, the group's
// end. What GROUP_SUBMIT refuses is in panthor_ioctl_test.cpp.
#include <cerrno>
#include <cstdint>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "unit/panthor_rig.hpp"

namespace belfry::panthor {
namespace {

/// Jobs of the driver's words, as many as a ring of 4 KiB holds.
constexpr unsigned kJobsOfARing = 32;

class Submit : public testing::Test {
  protected:
    /// Adds one to the first word of `done`.
    Stream one() {
        return client.stream([&](W& w) { add_one(w, done.va); });
    }
    /// SYNCOBJ_WAIT or its timeline form that is answered when the fence signals, or when time is up.
    std::shared_ptr<TestCall> wait(std::uint32_t syncobj, std::chrono::nanoseconds timeout = 1h) {
        waited.push_back(std::make_unique<std::uint32_t>(syncobj));
        return client.start(DRM_IOCTL_SYNCOBJ_WAIT,
                            drm_syncobj_wait{
                                .handles = reinterpret_cast<std::uint64_t>(waited.back().get()),
                                .timeout_nsec = static_cast<std::int64_t>(rig.host.now) + timeout.count(),
                                .count_handles = 1,
                            });
    }

    Rig rig;
    Client& client = rig.open();
    Memory done = client.memory();
    KernelGroup& group = client.kernel_group({.queues = 2});
    std::vector<std::unique_ptr<std::uint32_t>> waited;
};

// --- signals

TEST_F(Submit, AJobRunsAndThenSignalsItsBinarySyncobj) {
    const std::uint32_t syncobj = client.syncobj();
    ASSERT_EQ(group.submit({{.stream = one(), .syncs = {signal_op(syncobj)}}}), 0);
    EXPECT_EQ(client.fence_status(syncobj), 0);
    rig.run_gpu_until_idle();
    EXPECT_EQ(done.u64(), 1u);
    EXPECT_EQ(client.fence_status(syncobj), 0) << "the driver has not heard of it";
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(syncobj), 1);
}

TEST_F(Submit, AJobSignalsItsPointOfATimeline) {
    const std::uint32_t timeline = client.syncobj();
    ASSERT_EQ(group.submit({{.stream = one(), .syncs = {signal_op(timeline, 3)}}}), 0);
    EXPECT_FALSE(client.has_fence(timeline, 4));
    EXPECT_EQ(client.fence_status(timeline, 3), 0);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(timeline, 3), 1);
}

TEST_F(Submit, ATimelinePointZeroIsABinarySignal) {
    const std::uint32_t syncobj = client.syncobj();
    auto op = signal_op(syncobj);
    op.flags |= DRM_PANTHOR_SYNC_OP_HANDLE_TYPE_TIMELINE_SYNCOBJ;
    ASSERT_EQ(group.submit({{.stream = one(), .syncs = {op}}}), 0);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(syncobj), 1);
}

TEST_F(Submit, OneJobMaySignalSeveralSyncobjs) {
    const std::uint32_t a = client.syncobj();
    const std::uint32_t b = client.syncobj();
    ASSERT_EQ(group.submit({{.stream = one(), .syncs = {signal_op(a), signal_op(b, 7), signal_op(a)}}}), 0);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(a), 1);
    EXPECT_EQ(client.fence_status(b, 7), 1);
}

TEST_F(Submit, OfTwoJobsThatSignalOneSyncobjTheLaterOnesFenceStays) {
    const std::uint32_t syncobj = client.syncobj();
    const Memory gate = client.memory();
    const Stream held = client.stream([&](W& w) { wait_for(w, gate.va, 1); });
    ASSERT_EQ(group.submit({{.queue = 0, .stream = one(), .syncs = {signal_op(syncobj)}},
                            {.queue = 1, .stream = held, .syncs = {signal_op(syncobj)}}}),
              0);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 1u);
    EXPECT_EQ(client.fence_status(syncobj), 0);
}

TEST_F(Submit, AWaitThatIsPendingIsAnsweredByTheJobsEnd) {
    const std::uint32_t syncobj = client.syncobj();
    ASSERT_EQ(group.submit({{.stream = one(), .syncs = {signal_op(syncobj)}}}), 0);
    const auto waiting = wait(syncobj);
    EXPECT_FALSE(waiting->answered());
    rig.run_until_idle();
    EXPECT_EQ(waiting->answer(), 0);
}

// --- waits

TEST_F(Submit, AJobDoesNotRunBeforeWhatItWaitsFor) {
    const std::uint32_t first = client.syncobj();
    const std::uint32_t second = client.syncobj();
    const Memory gate = client.memory();
    const Stream held = client.stream([&](W& w) { wait_for(w, gate.va, 1); });
    ASSERT_EQ(group.submit({{.queue = 0, .stream = held, .syncs = {signal_op(first)}}}), 0);
    ASSERT_EQ(group.submit({{.queue = 1, .stream = one(), .syncs = {wait_op(first), signal_op(second)}}}), 0);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 0u);
    KernelGroup& opener = client.kernel_group();
    ASSERT_EQ(opener.submit({{.stream = client.stream([&](W& w) { add_one(w, gate.va); })}}), 0);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 1u);
    EXPECT_EQ(client.fence_status(second), 1);
}

TEST_F(Submit, AJobWaitsForAPointThatAnotherGroupReaches) {
    const std::uint32_t timeline = client.syncobj();
    const std::uint32_t end = client.syncobj();
    const Memory gate = client.memory();
    KernelGroup& other = client.kernel_group();
    ASSERT_EQ(other.submit({{.stream = client.stream([&](W& w) { wait_for(w, gate.va, 1); }),
                             .syncs = {signal_op(timeline, 5)}}}),
              0);
    ASSERT_EQ(group.submit({{.stream = one(), .syncs = {wait_op(timeline, 5), signal_op(end)}}}), 0);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(end), 0);
    gate.sync().value = 1;
    rig.gpu.write(gpu::doorbell_reg(0), 1);  // as SYNC_UPDATE will
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(end), 1);
    EXPECT_EQ(done.u64(), 1u);
}

TEST_F(Submit, AWaitForATimelineWaitsForAllPointsUpToIt) {
    const std::uint32_t timeline = client.syncobj();
    const std::uint32_t end = client.syncobj();
    const Memory gate = client.memory();
    const Stream held = client.stream([&](W& w) { wait_for(w, gate.va, 1); });
    ASSERT_EQ(group.submit({{.queue = 0, .stream = held, .syncs = {signal_op(timeline, 1)}}}), 0);
    ASSERT_EQ(group.submit({{.queue = 1, .stream = one(), .syncs = {signal_op(timeline, 2)}}}), 0);
    KernelGroup& other = client.kernel_group();
    ASSERT_EQ(other.submit({{.syncs = {wait_op(timeline, 2), signal_op(end)}}}), 0);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 1u);
    EXPECT_EQ(client.fence_status(end), 0);
}

TEST_F(Submit, WaitsOfOneCallSeeTheSignalsOfItsEarlierJobs) {
    const std::uint32_t a = client.syncobj();
    const std::uint32_t b = client.syncobj();
    ASSERT_EQ(group.submit({{.queue = 0, .stream = one(), .syncs = {signal_op(a)}},
                            {.queue = 1, .stream = one(), .syncs = {wait_op(a), signal_op(b)}},
                            {.queue = 0, .stream = one(), .syncs = {wait_op(b)}}}),
              0);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 3u);
    EXPECT_EQ(client.fence_status(b), 1);
}

TEST_F(Submit, AWaitForALaterJobsSignalIsInvalidAndNothingIsSignalled) {
    const std::uint32_t a = client.syncobj();
    const std::uint32_t b = client.syncobj();
    EXPECT_EQ(group.submit({{.stream = one(), .syncs = {wait_op(a), signal_op(b)}},
                            {.stream = one(), .syncs = {signal_op(a)}}}),
              EINVAL);
    EXPECT_FALSE(client.has_fence(a));
    EXPECT_FALSE(client.has_fence(b));
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 0u);
}

TEST_F(Submit, AWaitForALaterJobsSignalTakesWhatTheSyncobjHeldBefore) {
    const std::uint32_t a = client.syncobj(true);
    ASSERT_EQ(group.submit({{.queue = 0, .stream = one(), .syncs = {wait_op(a)}},
                            {.queue = 1, .stream = one(), .syncs = {signal_op(a)}}}),
              0);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 2u);
}

TEST_F(Submit, NothingIsSignalledNorRunIfALaterJobIsRefused) {
    const std::uint32_t a = client.syncobj();
    EXPECT_EQ(
        group.submit({{.stream = one(), .syncs = {signal_op(a)}}, {.stream = one(), .syncs = {wait_op(99)}}}),
        ENOENT);
    EXPECT_FALSE(client.has_fence(a));
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 0u);
    EXPECT_EQ(rig.info().groups_on_slot, 0u);
}

TEST_F(Submit, AJobWithAnErrorSatisfiesThoseThatWaitForIt) {
    const std::uint32_t failed = client.syncobj();
    KernelGroup& doomed = client.kernel_group();
    ASSERT_EQ(doomed.submit({{.stream = client.stream(loop_for_ever), .syncs = {signal_op(failed)}}}), 0);
    ASSERT_EQ(group.submit({{.stream = one(), .syncs = {wait_op(failed)}}}), 0);
    rig.run(5);
    EXPECT_EQ(doomed.destroy(), 0);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(failed), -ECANCELED);
    EXPECT_EQ(done.u64(), 1u);
}

// --- jobs without a stream

TEST_F(Submit, ASyncOnlyJobOnAnEmptyQueueSignalsAtOnceAndTakesNoSlot) {
    const std::uint32_t syncobj = client.syncobj();
    ASSERT_EQ(group.submit({{.syncs = {signal_op(syncobj)}}}), 0);
    EXPECT_EQ(client.fence_status(syncobj), 1);
    EXPECT_EQ(rig.info().groups_on_slot, 0u);
}

TEST_F(Submit, ASyncOnlyJobSignalsWithTheJobBeforeItInItsQueue) {
    const std::uint32_t syncobj = client.syncobj();
    ASSERT_EQ(group.submit({{.stream = one()}, {.syncs = {signal_op(syncobj)}}}), 0);
    EXPECT_EQ(client.fence_status(syncobj), 0);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(syncobj), 1);
    EXPECT_EQ(done.u64(), 1u);
}

TEST_F(Submit, ASyncOnlyJobHoldsBackTheJobsBehindIt) {
    const std::uint32_t first = client.syncobj();
    const Memory gate = client.memory();
    KernelGroup& other = client.kernel_group();
    ASSERT_EQ(other.submit({{.stream = client.stream([&](W& w) { wait_for(w, gate.va, 1); }),
                             .syncs = {signal_op(first)}}}),
              0);
    ASSERT_EQ(group.submit({{.syncs = {wait_op(first)}}, {.stream = one()}}), 0);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 0u);
    other.destroy();
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 1u);
}

TEST_F(Submit, QueuesOfAGroupDoNotWaitForEachOther) {
    const Memory gate = client.memory();
    const Stream held = client.stream([&](W& w) { wait_for(w, gate.va, 1); });
    ASSERT_EQ(group.submit({{.queue = 0, .stream = held}, {.queue = 1, .stream = one()}}), 0);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 1u);
}

// --- the ring

TEST_F(Submit, MoreJobsThanTheRingHoldsAllComplete) {
    constexpr unsigned kJobs = 10 * kJobsOfARing + 1;
    const std::uint32_t last = client.syncobj();
    std::vector<JobSpec> jobs(kJobs, {.stream = one()});
    jobs.back().syncs = {signal_op(last)};
    ASSERT_EQ(group.submit(jobs), 0);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), kJobs);
    EXPECT_EQ(client.fence_status(last), 1);
}

TEST_F(Submit, AFullRingsLastJobMakesRoomBeforeTheGpuSaysSo) {
    // The driver hears of the last job's end in the middle of the GPU's slice, when EXTRACT has not moved
    // yet.
    const std::uint32_t last = client.syncobj();
    std::vector<JobSpec> jobs(kJobsOfARing + 1, {.stream = one()});
    jobs.back().syncs = {signal_op(last)};
    ASSERT_EQ(group.submit(jobs), 0);
    rig.host.on_interrupt = [&] { rig.deliver_interrupt(); };
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), kJobsOfARing + 1);
    EXPECT_EQ(client.fence_status(last), 1);
}

TEST_F(Submit, AnInterruptInTheMiddleOfEachSliceLosesNoJob) {
    constexpr unsigned kJobs = 20 * kJobsOfARing;
    rig.host.on_interrupt = [&] { rig.deliver_interrupt(); };
    ASSERT_EQ(group.submit(std::vector<JobSpec>(kJobs, {.stream = one()})), 0);
    ASSERT_EQ(group.submit(std::vector<JobSpec>(kJobs, {.queue = 1, .stream = one()})), 0);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 2 * kJobs);
}

TEST_F(Submit, AGroupKeepsItsSlotBetweenJobs) {
    ASSERT_EQ(group.submit({{.stream = one()}}), 0);
    rig.run_until_idle();
    EXPECT_EQ(rig.info().groups_on_slot, 1u);
    ASSERT_EQ(group.submit({{.stream = one()}}), 0);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 2u);
}

TEST_F(Submit, AFullRingAndWaitsForAnotherQueueDoNotLock) {
    // Queue 0's ring is full of jobs behind one that waits for queue 1, whose job comes last.
    const std::uint32_t late = client.syncobj();
    const Memory gate = client.memory();
    const Stream held = client.stream([&](W& w) { wait_for(w, gate.va, 1); });
    const Stream open = client.stream([&](W& w) { add_one(w, gate.va); });
    std::vector<JobSpec> jobs{{.stream = held}};
    jobs.insert(jobs.end(), 3 * kJobsOfARing, {.stream = one()});
    jobs.push_back({.queue = 1, .stream = open, .syncs = {signal_op(late)}});
    ASSERT_EQ(group.submit(jobs), 0);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 3 * kJobsOfARing);
    EXPECT_EQ(client.fence_status(late), 1);
}

// --- time

TEST_F(Submit, AJobThatTakesFiveSecondsOnItsSlotEndsTheGroup) {
    const std::uint32_t syncobj = client.syncobj();
    const std::uint32_t behind = client.syncobj();
    ASSERT_EQ(group.submit({{.stream = client.stream(loop_for_ever), .syncs = {signal_op(syncobj)}},
                            {.stream = one(), .syncs = {signal_op(behind)}}}),
              0);
    rig.run(5);
    rig.advance(4999ms);
    rig.run(5);
    EXPECT_EQ(group.state().state, 0u);
    EXPECT_EQ(client.fence_status(syncobj), 0);
    rig.advance(1ms);
    EXPECT_EQ(group.state().state, DRM_PANTHOR_GROUP_STATE_TIMEDOUT);
    EXPECT_EQ(client.fence_status(syncobj), 0) << "the GPU may still write";
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(syncobj), -ETIMEDOUT);
    EXPECT_EQ(client.fence_status(behind), -ETIMEDOUT);
    EXPECT_EQ(group.state().fatal_queues, 0u);
    EXPECT_EQ(rig.info().groups_on_slot, 0u);
    EXPECT_EQ(group.submit({{.stream = one()}}), EINVAL);
}

TEST_F(Submit, EachJobThatEndsGivesTheNextOneFiveSeconds) {
    const Memory gate = client.memory();
    const std::uint32_t last = client.syncobj();
    for (std::uint64_t i = 1; i <= 3; ++i)
        ASSERT_EQ(group.submit({{.stream = client.stream([&](W& w) { wait_for(w, gate.va, i); }),
                                 .syncs = {signal_op(last)}}}),
                  0);
    for (int i = 0; i < 3; ++i) {
        rig.run_until_idle();
        rig.advance(4s);
        gate.sync().value += 1;
        rig.gpu.write(gpu::doorbell_reg(0), 1);
    }
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(last), 1);
}

TEST_F(Submit, TheTimeOfAJobDoesNotBeginWithOneBeforeItThatHadNoStream) {
    ASSERT_EQ(group.submit({{.syncs = {signal_op(client.syncobj())}}}), 0);
    rig.advance(4s);
    const std::uint32_t end = client.syncobj();
    const Stream loop = client.stream(loop_for_ever);
    ASSERT_EQ(group.submit({{.stream = loop, .syncs = {signal_op(end)}}}), 0);
    rig.run(100);
    rig.advance(4s);
    rig.run(100);
    EXPECT_EQ(client.fence_status(end), 0);
    rig.advance(1s);
    rig.run(100);
    EXPECT_EQ(client.fence_status(end), -ETIMEDOUT);
}

TEST_F(Submit, AJobsTimeBeginsWhenTheFirmwareHasStartedItsGroup) {
    const std::uint32_t end = client.syncobj();
    const Stream loop = client.stream(loop_for_ever);
    rig.wires.firmware_deaf = true;
    ASSERT_EQ(group.submit({{.stream = loop, .syncs = {signal_op(end)}}}), 0);
    rig.advance(4s);
    rig.wires.firmware_deaf = false;
    rig.gpu.write(gpu::doorbell_reg(0), 1);
    rig.run(5);
    rig.advance(4999ms);
    EXPECT_EQ(group.state().state, 0u);
    rig.advance(1ms);
    EXPECT_EQ(group.state().state, DRM_PANTHOR_GROUP_STATE_TIMEDOUT);
}

TEST_F(Submit, AnIdleGroupDoesNotTimeOut) {
    ASSERT_EQ(group.submit({{.stream = one()}}), 0);
    rig.run_until_idle();
    rig.advance(1h);
    ASSERT_EQ(group.submit({{.stream = one()}}), 0);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 2u);
    EXPECT_EQ(group.state().state, 0u);
    EXPECT_FALSE(rig.device().next_deadline());
}

TEST_F(Submit, AJobThatWaitsForAFenceTakesNoTime) {
    const std::uint32_t gate = client.syncobj();
    KernelGroup& other = client.kernel_group();
    const Memory memory = client.memory();
    ASSERT_EQ(other.submit({{.stream = client.stream([&](W& w) { wait_for(w, memory.va, 1); }),
                             .syncs = {signal_op(gate)}}}),
              0);
    ASSERT_EQ(group.submit({{.stream = one(), .syncs = {wait_op(gate)}}}), 0);
    rig.run_until_idle();
    rig.advance(6s);  // the other job's time is up
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(gate), -ETIMEDOUT);
    EXPECT_EQ(group.state().state, 0u);
    EXPECT_EQ(done.u64(), 1u);
}

TEST_F(Submit, AJobThatEndsAsItsTimeIsUpHasEnded) {  // G7
    const std::uint32_t syncobj = client.syncobj();
    ASSERT_EQ(group.submit({{.stream = one(), .syncs = {signal_op(syncobj)}}}), 0);
    rig.run(2);
    ASSERT_EQ(group.submit({{.stream = one(), .syncs = {signal_op(syncobj)}}}), 0);
    rig.run_gpu_until_idle();  // done, and the interrupt not yet delivered
    rig.advance(5s);
    EXPECT_EQ(client.fence_status(syncobj), 1);
    EXPECT_EQ(group.state().state, 0u);
}

// --- faults

TEST_F(Submit, ARecoverableFaultMarksItsOwnJobAndTheGroupGoesOn) {
    const Memory spoilt = client.memory();
    spoilt.sync() = {.value = 1, .error = 5};
    const Stream inherits = client.stream([&](W& w) { wait_for(w, spoilt.va, 1), add_one(w, done.va); });
    std::vector<std::uint32_t> ends{client.syncobj(), client.syncobj(), client.syncobj()};
    for (unsigned i = 0; i < 3; ++i) {
        ASSERT_EQ(group.submit({{.stream = i == 1 ? inherits : one(), .syncs = {signal_op(ends[i])}}}), 0);
        rig.run_until_idle();
    }
    EXPECT_EQ(client.fence_status(ends[0]), 1);
    EXPECT_EQ(client.fence_status(ends[1]), -EINVAL);
    EXPECT_EQ(client.fence_status(ends[2]), 1);
    EXPECT_EQ(done.u64(), 3u) << "it completes all the same";
    EXPECT_EQ(group.state().state, 0u);
    EXPECT_EQ(group.fault().flags, 0u);
}

TEST_F(Submit, ARecoverableFaultMarksItsOwnJobHoweverLateTheDriverHearsOfIt) {
    const Memory spoilt = client.memory();
    spoilt.sync() = {.value = 1, .error = 5};
    const Stream inherits = client.stream([&](W& w) { wait_for(w, spoilt.va, 1), add_one(w, done.va); });
    std::vector<std::uint32_t> ends;
    std::vector<JobSpec> jobs;
    for (const bool bad : {false, true, false, true, true, false}) {
        ends.push_back(client.syncobj());
        jobs.push_back({.stream = bad ? inherits : one(), .syncs = {signal_op(ends.back())}});
    }
    ASSERT_EQ(group.submit(jobs), 0);
    rig.run_gpu_until_idle();
    rig.run_until_idle();
    std::vector<int> status;
    for (const std::uint32_t end : ends) status.push_back(client.fence_status(end));
    EXPECT_EQ(status, (std::vector{1, -EINVAL, 1, -EINVAL, -EINVAL, 1}));
}

TEST_F(Submit, ARecoverableFaultMarksItsOwnJobIfTheDriverHearsOfItAtOnce) {
    const Memory spoilt = client.memory();
    spoilt.sync() = {.value = 1, .error = 5};
    const Stream inherits = client.stream([&](W& w) { wait_for(w, spoilt.va, 1); });
    std::vector<std::uint32_t> ends{client.syncobj(), client.syncobj(), client.syncobj()};
    rig.host.on_interrupt = [&] { rig.deliver_interrupt(); };
    ASSERT_EQ(group.submit({{.stream = one(), .syncs = {signal_op(ends[0])}},
                            {.stream = inherits, .syncs = {signal_op(ends[1])}},
                            {.stream = one(), .syncs = {signal_op(ends[2])}}}),
              0);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(ends[0]), 1);
    EXPECT_EQ(client.fence_status(ends[1]), -EINVAL);
    EXPECT_EQ(client.fence_status(ends[2]), 1);
}

TEST_F(Submit, AStreamBeyondAllAddressesFaultsAndTheNextGroupRuns) {
    for (const unsigned bit : {48U, 55U, 56U, 63U}) {
        KernelGroup& faulty = client.kernel_group();
        const std::uint32_t end = client.syncobj();
        ASSERT_EQ(
            faulty.submit({{.stream = Stream{.va = 1ULL << bit, .bytes = 8}, .syncs = {signal_op(end)}}}), 0);
        rig.run_until_idle();
        EXPECT_EQ(client.fence_status(end), -EINVAL) << bit;
        EXPECT_EQ(faulty.state().state, DRM_PANTHOR_GROUP_STATE_FATAL_FAULT);
    }
    const std::uint32_t end = client.syncobj();
    ASSERT_EQ(client.kernel_group().submit({{.stream = one(), .syncs = {signal_op(end)}}}), 0);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(end), 1);
}

TEST_F(Submit, AFatalFaultEndsTheQueuesJobsAsInvalidAndTheOthersAsCancelled) {
    const std::uint32_t before = client.syncobj();
    const std::uint32_t bad = client.syncobj();
    const std::uint32_t behind = client.syncobj();
    const std::uint32_t other = client.syncobj();
    ASSERT_EQ(
        group.submit({{.stream = one(), .syncs = {signal_op(before)}},
                      {.stream = client.stream([](W& w) { w.word(kBadWord); }), .syncs = {signal_op(bad)}},
                      {.stream = one(), .syncs = {signal_op(behind)}},
                      {.queue = 1, .stream = client.stream(loop_for_ever), .syncs = {signal_op(other)}}}),
        0);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(before), 1);
    EXPECT_EQ(client.fence_status(bad), -EINVAL);
    EXPECT_EQ(client.fence_status(behind), -EINVAL);
    EXPECT_EQ(client.fence_status(other), -ECANCELED);
    EXPECT_EQ(done.u64(), 1u);
    EXPECT_EQ(group.state().state, DRM_PANTHOR_GROUP_STATE_FATAL_FAULT);
    EXPECT_EQ(group.state().fatal_queues, 1u);
    EXPECT_EQ(rig.info().groups_on_slot, 0u);
}

TEST_F(Submit, AnMmuFaultEndsAllQueuesJobsAsInvalid) {
    const std::uint32_t bad = client.syncobj();
    const std::uint32_t other = client.syncobj();
    ASSERT_EQ(
        group.submit({{.stream = client.stream([](W& w) { load(w, 0x10); }), .syncs = {signal_op(bad)}},
                      {.queue = 1, .stream = client.stream(loop_for_ever), .syncs = {signal_op(other)}}}),
        0);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(bad), -EINVAL);
    EXPECT_EQ(client.fence_status(other), -EINVAL);
    EXPECT_EQ(group.state().fatal_queues, 3u);
}

TEST_F(Submit, AStreamAtAnAddressThatNothingIsBoundToIsAFaultOfItsJob) {
    const std::uint32_t bad = client.syncobj();
    ASSERT_EQ(group.submit({{.stream = Stream{.va = 0x40, .bytes = 8}, .syncs = {signal_op(bad)}}}), 0);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(bad), -EINVAL);
    EXPECT_EQ(group.fault().address, 0x40u);
}

TEST_F(Submit, ADeadGroupReleasesStreamsOfOthersThatWaitForItsJobs) {
    // Another group waits, on the GPU, for what a job of this one was to count: the queue's sync object.
    const std::uint32_t syncobj = client.syncobj();
    ASSERT_EQ(group.submit({{.stream = client.stream(loop_for_ever), .syncs = {signal_op(syncobj)}}}), 0);
    rig.run(3);
    const std::uint64_t kernel_part = 1ULL << 47;
    const std::uint64_t sync_va = kernel_part + 4096;  // queue 0: ring, then its sync object
    UserGroup& waiter = client.user_group();
    waiter.queue(0).submit([&](W& w) { wait_for(w, sync_va, 1), add_one(w, done.va); });
    waiter.queue(0).tell();
    rig.run(5);
    EXPECT_EQ(done.u64(), 0u);
    rig.advance(5s);
    rig.run(5);
    EXPECT_EQ(client.fence_status(syncobj), -ETIMEDOUT);
    EXPECT_EQ(done.u64(), 1u);
}

// --- the group's end

TEST_F(Submit, DestroyWithJobsInFlightCancelsThem) {
    std::vector<std::uint32_t> ends;
    std::vector<JobSpec> jobs;
    for (unsigned i = 0; i < 3; ++i) {
        ends.push_back(client.syncobj());
        jobs.push_back(
            {.stream = i == 0 ? client.stream(loop_for_ever) : one(), .syncs = {signal_op(ends.back())}});
    }
    ASSERT_EQ(group.submit(jobs), 0);
    rig.run(5);
    EXPECT_EQ(group.destroy(), 0);
    EXPECT_EQ(client.fence_status(ends[0]), 0) << "not before the GPU has let go";
    rig.run_until_idle();
    for (const std::uint32_t end : ends) EXPECT_EQ(client.fence_status(end), -ECANCELED);
    EXPECT_EQ(done.u64(), 0u);
    EXPECT_EQ(rig.info().groups, 0u);
}

TEST_F(Submit, DestroyOfAGroupWhoseJobsWaitForFencesCancelsThemAtOnce) {
    const std::uint32_t gate = client.syncobj();
    const std::uint32_t end = client.syncobj();
    KernelGroup& other = client.kernel_group();
    ASSERT_EQ(other.submit({{.stream = client.stream(loop_for_ever), .syncs = {signal_op(gate)}}}), 0);
    ASSERT_EQ(group.submit({{.stream = one(), .syncs = {wait_op(gate), signal_op(end)}}}), 0);
    const auto waiting = wait(end);
    EXPECT_EQ(group.destroy(), 0);
    EXPECT_EQ(client.fence_status(end), -ECANCELED);
    EXPECT_EQ(waiting->answer(), 0);
    EXPECT_EQ(other.destroy(), 0);
    rig.run_until_idle();
    EXPECT_EQ(done.u64(), 0u);
}

TEST_F(Submit, AJobThatEndedBeforeDestroyHasEndedEvenIfTheDriverHearsOfItLater) {
    const std::uint32_t end = client.syncobj();
    ASSERT_EQ(group.submit({{.stream = one(), .syncs = {signal_op(end)}}}), 0);
    rig.run_gpu_until_idle();
    EXPECT_EQ(group.destroy(), 0);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(end), 1);
}

TEST_F(Submit, ClosingTheFileEndsItsGroupsAndNoOthers) {
    Client& leaver = rig.open();
    const Stream loop = leaver.stream(loop_for_ever);
    KernelGroup& left = leaver.kernel_group();
    ASSERT_EQ(left.submit({{.stream = loop, .syncs = {signal_op(leaver.syncobj())}}}), 0);
    rig.run(3);
    rig.close(leaver);
    rig.run_until_idle();
    EXPECT_EQ(rig.info().groups, 1u);  // the fixture's
    EXPECT_EQ(rig.info().files, 1u);
}

// --- long lines

TEST_F(Submit, ALineOfTenThousandDependentJobsAcrossTwoGroupsCompletesInOrder) {
    constexpr std::uint64_t kJobs = 10'000;
    const std::uint32_t timeline = client.syncobj();
    KernelGroup& other = client.kernel_group();
    KernelGroup* const groups[] = {&group, &other};
    const Stream stream = one();
    for (std::uint64_t i = 1; i <= kJobs; ++i) {
        JobSpec job{.stream = stream, .syncs = {signal_op(timeline, i)}};
        if (i > 1) job.syncs.push_back(wait_op(timeline, i - 1));
        ASSERT_EQ(groups[i % 2]->submit({job}), 0);
    }
    EXPECT_EQ(done.u64(), 0u);
    rig.run_until_idle(10 * kJobs);
    EXPECT_EQ(done.u64(), kJobs);
    EXPECT_EQ(client.fence_status(timeline, kJobs), 1);
}

TEST_F(Submit, ALineOfTenThousandJobsThatFailsFailsWithoutRecursion) {
    constexpr std::uint64_t kJobs = 10'000;
    KernelGroup& other = client.kernel_group();
    KernelGroup* const groups[] = {&group, &other};
    const Stream loop = client.stream(loop_for_ever);
    std::uint32_t last = client.syncobj();
    ASSERT_EQ(group.submit({{.stream = loop, .syncs = {signal_op(last)}}}), 0);
    for (std::uint64_t i = 0; i < kJobs; ++i) {
        const std::uint32_t next = client.syncobj();
        ASSERT_EQ(groups[i % 2]->submit({{.syncs = {wait_op(last), signal_op(next)}}}), 0);
        last = next;
    }
    rig.run(3);
    EXPECT_EQ(client.fence_status(last), 0);
    group.destroy();
    other.destroy();
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(last), -ECANCELED);
}

TEST_F(Submit, ThousandsOfSignalsInOneCallAreNotComparedWithEachOther) {
    constexpr std::uint64_t kPoints = 100'000;
    const std::uint32_t timeline = client.syncobj();
    JobSpec job{.stream = one()};
    for (std::uint64_t point = 1; point <= kPoints; ++point) job.syncs.push_back(signal_op(timeline, point));
    ASSERT_EQ(group.submit({job}), 0);
    rig.run_until_idle();
    EXPECT_EQ(client.fence_status(timeline, kPoints), 1);
}

}  // namespace
}  // namespace belfry::panthor
