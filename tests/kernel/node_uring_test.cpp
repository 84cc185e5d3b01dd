// <belfry/uring.hpp> on the node: jobs, waits and cancellations as entries of the program's io_uring. Run in
// the guest of ./dev vm test.

#include <array>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <liburing.h>

#include "belfry/uring.hpp"
#include "kernel/command_ring.hpp"
#include "kernel/node_rig.hpp"

namespace belfry::kernel_tests {
namespace {

using uring::FenceWait;
using uring::Port;
using uring::Submission;

/// A free entry; a preparation leaves its user_data.
io_uring_sqe* sqe_of(Ring& ring, std::uint64_t user_data = 0) {
    io_uring_sqe* const sqe = ::io_uring_get_sqe(&ring.raw());
    sqe->user_data = user_data;
    return sqe;
}

/// Whether nothing has completed that had time to.
bool quiet(Ring& ring) {
    __kernel_timespec time{.tv_sec = 0, .tv_nsec = 50'000'000};
    io_uring_cqe* cqe = nullptr;
    return ::io_uring_wait_cqe_timeout(&ring.raw(), &cqe, &time) != 0;
}

class KernelNodeUring : public KernelNodeJobs {
  protected:
    static constexpr std::uint64_t kWait = 1000;
    static constexpr std::uint64_t kOther = 1001;

    Ring ring;
    Port port{ring.raw(), device, rig.vm};
    Syncobj timeline = must(device.create_syncobj());
    SyncObject gate = must(SyncObject::at(rig.buffer, 2048, rig.va + 2048));

    io_uring_sqe* sqe(std::uint64_t user_data = 0) { return sqe_of(ring, user_data); }
    /// A wait for the timeline's first point, with the user_data kWait, and a job linked behind it, with 7;
    /// neither ends yet.
    std::pair<FenceWait, Submission> start_chain() {
        io_uring_sqe* const first = sqe(kWait);
        FenceWait wait = must(port.prep_wait(first, timeline, 1));
        first->flags |= IOSQE_IO_LINK;
        Submission job = must(port.prep_submit(sqe(), rig.job(7)));
        ring.enter();
        EXPECT_TRUE(quiet(ring));
        return {std::move(wait), std::move(job)};
    }
    /// A fence of the timeline that signals when open_gate() says so.
    void submit_gate(std::uint64_t point) {
        must(gate_queue_.submit(XgsOps().wait_gt(gate.address(), 0),
                                std::array{SyncOp{.syncobj = timeline, .signal = true, .point = point}},
                                {.bounded = true}));
    }
    void open_gate() {
        gate.set(1);
        must(device.sync_update());
    }

  private:
    XgsQueue gate_queue_ = must(rig.vm.create_xgs_queue({}));
};

template <typename T>
int code_of(const Result<T>& result) {
    return result ? 0 : result.error().code;
}

// ---- Jobs

TEST_F(KernelNodeUring, ABatchOfJobsIsNoRequest) {
    constexpr std::uint64_t kJobs = 128;
    const std::uint64_t requests = device.requests();
    for (std::uint64_t i = 0; i < kJobs; ++i) must(port.prep_submit(sqe(), rig.job(i)));
    ring.enter();
    const auto results = ring.results(kJobs);
    EXPECT_EQ(results.size(), kJobs);
    for (const auto& [job, result] : results) EXPECT_EQ(result, 0) << job;
    EXPECT_EQ(rig.result(), 42U);
    EXPECT_EQ(device.requests(), requests);
}

TEST_F(KernelNodeUring, AJobCompletesAtItsFenceAndNotBefore) {
    submit_gate(1);
    const std::array syncs{SyncOp{.syncobj = timeline, .point = 1},
                           SyncOp{.syncobj = timeline, .signal = true, .point = 2}};
    const Submission job = must(port.prep_submit(sqe(), rig.job(7), syncs));
    ring.enter();
    EXPECT_TRUE(quiet(ring));
    open_gate();
    must(job.finish(ring.results(1).at(7)));
    EXPECT_EQ(rig.result(), 42U);
    EXPECT_EQ(must(timeline.query()), 2U);
}

TEST_F(KernelNodeUring, AJobThatIsDoneAtAcceptanceCompletesBeforeItsFence) {
    submit_gate(1);
    const std::array syncs{SyncOp{.syncobj = timeline, .point = 1},
                           SyncOp{.syncobj = timeline, .signal = true, .point = 2}};
    must(port.prep_submit(sqe(), rig.job(7).at_acceptance(), syncs));
    ring.enter();
    EXPECT_EQ(ring.results(1).at(7), 0);
    EXPECT_EQ(must(timeline.query()), 0U);
    open_gate();
    must(timeline.wait(2));
}

TEST_F(KernelNodeUring, AJobHasAllThePointsThatItIsGiven) {
    constexpr std::size_t kPoints = 20;
    std::vector<Syncobj> before;
    std::vector<Syncobj> after;
    for (std::size_t i = 0; i < kPoints; ++i) {
        before.push_back(must(device.create_syncobj(true)));
        after.push_back(must(device.create_syncobj()));
    }
    submit_gate(1);
    std::optional<Submission> job;
    {
        std::vector<SyncOp> syncs;
        for (std::size_t i = 0; i < kPoints; ++i) {
            syncs.push_back({.syncobj = before[i]});
            syncs.push_back({.syncobj = after[i], .signal = true});
        }
        syncs.push_back({.syncobj = timeline, .point = 1});
        job.emplace(must(port.prep_submit(sqe(), rig.job(7), syncs)));
    }
    ring.enter();
    EXPECT_TRUE(quiet(ring));
    for (const Syncobj& syncobj : after) EXPECT_EQ(code_of(syncobj.wait(0, 0ns)), ETIME);
    open_gate();
    must(job->finish(ring.results(1).at(7)));
    for (const Syncobj& syncobj : after) must(syncobj.wait(0, 0ns));
}

TEST_F(KernelNodeUring, WhatTheDriverRefusesHasItsErrorAndNamesItself) {
    auto no_queue = SubmitEntry::job(7, rig.group, 9, rig.va, 64);
    const Submission job = must(port.prep_submit(sqe(), no_queue));
    ring.enter();
    const auto refused = job.finish(ring.results(1).at(7));
    EXPECT_EQ(code_of(refused), EINVAL);
    EXPECT_NE(refused.error().message.find("entry 7"), std::string::npos) << refused.error().message;
}

TEST_F(KernelNodeUring, WhatIsNoEntryOfTheNodeLeavesANoOp) {
    const auto timeout = port.prep_submit(sqe(), SubmitEntry::timeout(7, 1s));
    EXPECT_EQ(code_of(timeout), EOPNOTSUPP);
    EXPECT_NE(timeout.error().message.find("IORING_OP_TIMEOUT"), std::string::npos);
    auto in_an_arena = rig.job(7);
    in_an_arena.raw.more_syncs = 1;
    EXPECT_EQ(code_of(port.prep_submit(sqe(1), in_an_arena)), EINVAL);
    const std::vector<SyncOp> many(1026, {.syncobj = timeline, .signal = true});
    EXPECT_EQ(code_of(port.prep_submit(sqe(2), rig.job(7), many)), EINVAL);
    ring.enter();
    EXPECT_EQ(ring.results(3), (std::map<std::uint64_t, int>{{0, 0}, {1, 0}, {2, 0}}));
}

TEST_F(KernelNodeUring, ARingWithSmallEntriesTakesNoJobs) {
    Ring small(8, 0);
    Port small_port(small.raw(), device, rig.vm);
    const auto refused = small_port.prep_submit(sqe_of(small), rig.job(7));
    EXPECT_EQ(code_of(refused), EINVAL);
    EXPECT_NE(refused.error().message.find("IORING_SETUP_SQE128"), std::string::npos);
}

// ---- Waits

TEST_F(KernelNodeUring, AWaitForAFenceMakesNoRequestAndEndsWhenTheFenceSignals) {
    submit_gate(1);
    const std::uint64_t requests = device.requests();
    const FenceWait wait = must(port.prep_wait(sqe(kWait), timeline, 1));
    ring.enter();
    EXPECT_EQ(device.requests(), requests);
    EXPECT_TRUE(quiet(ring));
    open_gate();
    must(wait.finish(ring.results(1).at(kWait)));
}

TEST_F(KernelNodeUring, AWaitForAPointThatIsSubmittedLaterEndsWithIt) {
    const FenceWait wait = must(port.prep_wait(sqe(kWait), timeline, 1));
    ring.enter();
    EXPECT_TRUE(quiet(ring));
    must(rig.submit(std::array{SyncOp{.syncobj = timeline, .signal = true, .point = 1}}));
    must(wait.finish(ring.results(1).at(kWait)));
    EXPECT_EQ(must(timeline.query()), 1U);
}

TEST_F(KernelNodeUring, AJobLinkedBehindAWaitStartsWhenThatHasEnded) {
    const auto [wait, job] = start_chain();
    EXPECT_EQ(rig.result(), 0U);
    must(timeline.signal(1));
    const auto results = ring.results(2);
    must(wait.finish(results.at(kWait)));
    must(job.finish(results.at(7)));
    EXPECT_EQ(rig.result(), 42U);
}

TEST_F(KernelNodeUring, LinksOfEntriesAreIoUrings) {
    SubmitEntry before = SubmitEntry::nop(6).wait(timeline, 1).link();
    const std::array syncs{SyncOp{.syncobj = timeline, .signal = true, .point = 2}};
    const Submission nop = must(port.prep_submit(sqe(), before, syncs));
    must(port.prep_submit(sqe(), rig.job(7).wait(timeline, 2)));
    ring.enter();
    EXPECT_TRUE(quiet(ring));
    must(timeline.signal(1));
    EXPECT_EQ(ring.results(2), (std::map<std::uint64_t, int>{{6, 0}, {7, 0}}));
    EXPECT_EQ(rig.result(), 42U);
}

// A wait for a fence is the driver's, one for a point without a fence is io_uring's.
TEST_F(KernelNodeUring, AWaitForAFenceIsCancelledAndWhatIsLinkedBehindIt) {
    submit_gate(1);
    const auto [wait, job] = start_chain();
    port.prep_cancel(sqe(kOther), sqe(kOther + 1), wait, kWait);
    ring.enter();
    const auto results = ring.results(4);
    EXPECT_EQ(code_of(wait.finish(results.at(kWait))), ECANCELED);
    EXPECT_EQ(code_of(job.finish(results.at(7))), ECANCELED);
    EXPECT_EQ(rig.result(), 0U);
}

TEST_F(KernelNodeUring, AWaitForAPointThatNobodySubmitsIsCancelled) {
    const FenceWait wait = must(port.prep_wait(sqe(kWait), timeline, 1));
    ring.enter();
    EXPECT_TRUE(quiet(ring));
    port.prep_cancel(sqe(kOther), sqe(kOther + 1), wait, kWait);
    ring.enter();
    EXPECT_EQ(code_of(wait.finish(ring.results(3).at(kWait))), ECANCELED);
}

// The worker that waited has been woken by the fence, and runs after the cancellations.
TEST_F(KernelNodeUring, AWaitIsCancelledInTheMomentInWhichItsPointIsSubmitted) {
    submit_gate(1);
    const Syncobj later = must(device.create_syncobj());
    const FenceWait wait = must(port.prep_wait(sqe(kWait), later, 1));
    ring.enter();
    EXPECT_TRUE(quiet(ring));
    must(port.prep_submit(sqe(), rig.job(7).wait(timeline, 1).signal(later, 1)));
    port.prep_cancel(sqe(kOther), sqe(kOther + 1), wait, kWait);
    ring.enter();
    EXPECT_EQ(code_of(wait.finish(ring.results(3).at(kWait))), ECANCELED);
    open_gate();
    EXPECT_EQ(ring.results(1).at(7), 0);
}

// As other operations of io_uring's that sleep in its workers.
TEST_F(KernelNodeUring, AWaitOfAProgramThatIsStoppedBeforeItsPointIsSubmittedIsInterrupted) {
    const pid_t child = ::fork();
    if (child == 0) {
        const Device own = server.device();
        Vm vm = must(own.create_vm());
        const Syncobj later = must(own.create_syncobj());
        Ring own_ring;
        Port own_port(own_ring.raw(), own, vm);
        const FenceWait wait = must(own_port.prep_wait(sqe_of(own_ring, kWait), later, 1));
        own_ring.enter();
        if (!quiet(own_ring)) ::_exit(1);
        ::raise(SIGSTOP);
        ::_exit(code_of(wait.finish(own_ring.results(1).at(kWait))));
    }
    int status = 0;
    ::waitpid(child, &status, WUNTRACED);
    ASSERT_TRUE(WIFSTOPPED(status));
    ::kill(child, SIGCONT);
    ::waitpid(child, &status, 0);
    EXPECT_EQ(WEXITSTATUS(status), EINTR);
}

TEST_F(KernelNodeUring, ACancellationEndsNoOtherWaitForTheSameFence) {
    submit_gate(1);
    Port second(ring.raw(), device, rig.vm);
    const FenceWait one = must(port.prep_wait(sqe(1), timeline, 1));
    const FenceWait other = must(second.prep_wait(sqe(2), timeline, 1));
    port.prep_cancel(sqe(kOther), sqe(kOther + 1), other, 2);
    ring.enter();
    EXPECT_EQ(code_of(other.finish(ring.results(3).at(2))), ECANCELED);
    open_gate();
    must(one.finish(ring.results(1).at(1)));
}

TEST_F(KernelNodeUring, WithSmallEntriesAWaitForAFenceIsAnEventfdsWhereTheKernelRingsThem) {
    Ring small(8, 0);
    Port small_port(small.raw(), device, rig.vm);
    const auto wait = small_port.prep_wait(sqe_of(small, kWait), timeline, 1);
    if (code_of(wait) == EOPNOTSUPP) {
        EXPECT_NE(wait.error().message.find("IORING_SETUP_SQE128"), std::string::npos);
        GTEST_SKIP() << wait.error().message;
    }
    small.enter();
    EXPECT_TRUE(quiet(small));
    must(timeline.signal(1));
    must(wait->finish(small.results(1).at(kWait)));
}

TEST_F(KernelNodeUring, WaitsForValuesNeedNoEventfdsOfTheKernels) {
    Ring small(8, 0);
    Port by_eventfd(small.raw(), device, rig.vm, uring::Way::eventfd);
    uring::Wait wait = must(by_eventfd.prep_wait(sqe_of(small, kWait), gate, 1));
    small.enter();
    EXPECT_TRUE(quiet(small));
    open_gate();
    EXPECT_EQ(must(wait.finish(small.results(1).at(kWait))), uring::Outcome::reached);
}

}  // namespace
}  // namespace belfry::kernel_tests
