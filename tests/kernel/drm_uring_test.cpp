// drm_uring on a real kernel: run by ./dev vm test in a guest that has kernel/test/fake_gpu.ko loaded.
//
// Everything goes through the kernel's own doors: DRM ioctls and io_uring.
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include <gtest/gtest.h>
#include <liburing.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.hpp"
#include "kernel/drm_uring_rig.hpp"

namespace {

using namespace belfry::kernel_tests;

using Completion = Ring::Completion;

TEST(DrmUring, AJobCompletesWhenItsFenceSignals) {
    Node node;
    Ring ring;
    EXPECT_EQ(ring.run(node, job(kAtOnce)), 0);
    EXPECT_EQ(ring.run(node, job(kShort)), 0);
    EXPECT_EQ(ring.run(node, job({.delay_ms = 20})), 0);
}

TEST(DrmUring, AJobsErrorIsItsResult) {
    Node node;
    Ring ring;
    EXPECT_EQ(ring.run(node, job({.flags = FAKE_GPU_AT_ONCE, .error = EIO})), -EIO);
    EXPECT_EQ(ring.run(node, job({.delay_ms = 5, .error = EIO})), -EIO);
    EXPECT_EQ(ring.run(node, job(kEndless)), -ETIMEDOUT);
}

TEST(DrmUring, AtAcceptanceItCompletesBeforeItsFence) {
    Node node;
    Ring ring;
    const auto done = node.syncobj();
    auto command = with_signal(job(kEndless), done);
    command.entry.flags = BELFRY_SUBMIT_COMPLETE_AT_ACCEPTANCE;
    EXPECT_EQ(ring.run(node, command), 0);
    EXPECT_EQ(node.state(done), -ETIME);
    node.await(done);
}

TEST(DrmUring, SignalPointsHaveTheJobsFence) {
    Node node;
    Ring ring;
    const auto binary = node.syncobj(), timeline = node.syncobj(), more = node.syncobj();
    const std::vector<belfry_submit_sync> syncs{{kSignal, timeline, 7}, {kSignal, more, 0}};
    ring.prepare(node, with_more(with_signal(job({.delay_ms = 100}), binary), syncs));
    ring.enter();
    EXPECT_EQ(node.state(binary), -ETIME);
    EXPECT_EQ(node.state(timeline, 7), -ETIME);
    EXPECT_EQ(ring.next().result, 0);
    EXPECT_EQ(node.state(binary), 0);
    EXPECT_EQ(node.state(timeline, 7), 0);
    EXPECT_EQ(node.state(more), 0);
}

TEST(DrmUring, AJobRunsAfterAllThatItWaitsFor) {
    Node node;
    Ring ring;
    const auto first = node.syncobj(), second = node.syncobj(), last = node.syncobj();
    const std::vector<belfry_submit_sync> syncs{{0, second, 3}};
    ring.prepare(node, with_signal(job({.delay_ms = 30}), first));
    ring.prepare(node, with_signal(job({.delay_ms = 60}), second, 3));
    ring.prepare(node, with_more(with_signal(with_wait(job(kAtOnce), first), last), syncs));
    ring.enter();
    EXPECT_EQ(node.state(last), -ETIME);
    node.await(last);
    EXPECT_EQ(node.state(first), 0);
    EXPECT_EQ(node.state(second, 3), 0);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(ring.next().result, 0);  // in any order: task work has none
}

TEST(DrmUring, AJobDoesNotWaitForAPointThatNobodyHasSubmitted) {
    Node node;
    Ring ring;
    EXPECT_EQ(ring.run(node, with_wait(job(kAtOnce), node.syncobj())), -EINVAL);
    EXPECT_EQ(ring.run(node, with_wait(job(kAtOnce), node.syncobj(), 1)), -EINVAL);
}

TEST(DrmUring, ANopWaitsForFences) {
    Node node;
    Ring ring;
    const auto done = node.syncobj();
    ring.prepare(node, with_signal(job({.delay_ms = 50}, 1), done));
    ring.prepare(node, with_wait(nop(2), done));
    ring.enter();
    EXPECT_TRUE(ring.nothing_completed());
    EXPECT_EQ(ring.next().result, 0);
    EXPECT_EQ(ring.next().result, 0);
}

TEST(DrmUring, ANopWaitsForAPointThatIsNotThereYet) {
    Node node;
    Ring ring;
    const auto later = node.syncobj();
    ring.prepare(node, with_wait(nop(1), later, 5));
    ring.enter();
    EXPECT_TRUE(ring.nothing_completed());
    node.signal(later, 5);
    EXPECT_EQ(ring.next(), (Completion{1, 0}));
}

// The timeline has a fence, but none for the point: the kernel's look for it must not cost the fence a
// reference.
TEST(DrmUring, AWaitAheadOfItsTimelineLeavesTheTimelineAlone) {
    Node node;
    Ring ring;
    const auto timeline = node.syncobj();
    ring.prepare(node, with_signal(job(kEndless, 1), timeline, 3));
    for (int i = 0; i < 10; ++i) ring.prepare(node, with_wait(job(kAtOnce, 2), timeline, 5));
    ring.prepare(node, with_wait(nop(3), timeline, 5));
    ring.enter();
    for (int i = 0; i < 10; ++i) EXPECT_EQ(ring.next(), (Completion{2, -EINVAL}));
    EXPECT_EQ(node.state(timeline, 3), -ETIME);
    EXPECT_EQ(ring.next(), (Completion{1, -ETIMEDOUT}));
    node.signal(timeline, 5);
    EXPECT_EQ(ring.next(), (Completion{3, 0}));
}

TEST(DrmUring, ANopSignalsOnceItsWaitIsOver) {
    Node node;
    Ring ring;
    const auto before = node.syncobj(), after = node.syncobj();
    ring.prepare(node, with_signal(job({.delay_ms = 50}, 1), before));
    ring.prepare(node, with_signal(with_wait(nop(2), before), after, 9));
    ring.enter();
    EXPECT_EQ(node.state(after, 9), -EINVAL);  // not submitted: published late
    EXPECT_EQ(ring.next().result, 0);
    EXPECT_EQ(ring.next().result, 0);
    EXPECT_EQ(node.state(after, 9), 0);
    EXPECT_EQ(ring.run(node, with_signal(nop(), before)), 0);
}

TEST(DrmUring, ALinkedJobStartsAfterTheFirstIsDone) {
    Node node;
    Ring ring;
    ring.prepare(node, job({.delay_ms = 30}, 1))->flags |= IOSQE_IO_LINK;
    ring.prepare(node, job(kAtOnce, 2));
    ring.enter();
    EXPECT_EQ(ring.next(), (Completion{1, 0}));
    EXPECT_EQ(ring.next(), (Completion{2, 0}));
}

// Once they are submitted, programs write new entries over those that have not begun. Some kernels (6.12 is
// one) read what is linked only when it begins, unless it is asked for a worker.
TEST(DrmUring, ALinkedCommandForAWorkerIsWhatItWasWhenItWasSubmitted) {
    Node node;
    Ring ring(8);
    ring.prepare(node, job({.delay_ms = 20}, 1))->flags |= IOSQE_IO_LINK;
    ring.prepare(node, job({.delay_ms = 1, .error = EIO}, 2))->flags |= IOSQE_ASYNC;
    ring.enter();
    std::memset(ring.raw().sq.sqes, 0, 8 * 2 * sizeof(io_uring_sqe));
    EXPECT_EQ(ring.next(), (Completion{1, 0}));
    EXPECT_EQ(ring.next(), (Completion{2, -EIO}));
}

TEST(DrmUring, AFailedJobBreaksItsLink) {
    Node node;
    Ring ring;
    ring.prepare(node, job({.delay_ms = 5, .error = EIO}, 1))->flags |= IOSQE_IO_LINK;
    ring.prepare(node, job(kAtOnce, 2));
    ring.enter();
    EXPECT_EQ(ring.next(), (Completion{1, -EIO}));
    EXPECT_EQ(ring.next(), (Completion{2, -ECANCELED}));
}

TEST(DrmUring, ACancelledWaitPublishesNothing) {
    Node node;
    Ring ring;
    const auto pending = node.syncobj(), never = node.syncobj();
    ring.prepare(node, with_signal(job(kEndless, 1), pending));
    ring.prepare(node, with_signal(with_wait(nop(2), pending), never));
    ring.prepare(node, cancel(2, 3));
    ring.prepare(node, cancel(2, 4));
    ring.enter();
    int seen = 0;
    for (int i = 0; i < 3; ++i) {
        const auto completion = ring.next();
        EXPECT_EQ(completion.result, completion.user_data == 2   ? -ECANCELED
                                     : completion.user_data == 3 ? 0
                                                                 : -ENOENT);
        seen |= 1 << completion.user_data;
    }
    EXPECT_EQ(seen, 0b11100);
    EXPECT_EQ(node.state(never), -EINVAL);
    EXPECT_EQ(ring.next(), (Completion{1, -ETIMEDOUT}));
}

TEST(DrmUring, AnAcceptedJobCannotBeCancelled) {
    Node node;
    Ring ring;
    ring.prepare(node, job({.delay_ms = 50}, 1));
    ring.prepare(node, cancel(1, 2));
    ring.enter();
    EXPECT_EQ(ring.next(), (Completion{2, -EALREADY}));
    EXPECT_EQ(ring.next(), (Completion{1, 0}));
}

TEST(DrmUring, ATimeoutLinkedToACancelBoundsAWait) {
    Node node;
    Ring ring;
    const auto pending = node.syncobj();
    ring.prepare(node, with_signal(job(kEndless, 1), pending));
    ring.prepare(node, with_wait(nop(2), pending));
    __kernel_timespec soon{.tv_sec = 0, .tv_nsec = 10'000'000};
    io_uring_sqe* const timeout = ring.prepare_plain();
    io_uring_prep_timeout(timeout, &soon, 0, IORING_TIMEOUT_ETIME_SUCCESS);
    timeout->flags |= IOSQE_IO_LINK;
    timeout->user_data = 3;
    ring.prepare(node, cancel(2, 4));
    ring.enter();
    EXPECT_EQ(ring.next(), (Completion{3, -ETIME}));
    int sum = ring.next().result + ring.next().result;  // the cancel and whom it cancels, in either order
    EXPECT_EQ(sum, -ECANCELED);
    EXPECT_EQ(ring.next(), (Completion{1, -ETIMEDOUT}));
}

TEST(DrmUring, ALinkedTimeoutEndsAWaitForAPointThatNobodySubmits) {
    Node node;
    Ring ring;
    __kernel_timespec soon{.tv_sec = 0, .tv_nsec = 50'000'000};
    ring.prepare(node, with_wait(nop(1), node.syncobj()))->flags |= IOSQE_IO_LINK;
    io_uring_sqe* const timeout = ring.prepare_plain();
    io_uring_prep_link_timeout(timeout, &soon, 0);
    timeout->user_data = 2;
    ring.enter();
    for (int i = 0; i < 2; ++i) {
        const auto completion = ring.next();
        if (completion.user_data == 1) {
            EXPECT_EQ(completion.result, -ECANCELED);
        }
    }
}

TEST(DrmUring, SubmissionByIoctlIsTheSameJob) {
    Node node;
    const auto done = node.syncobj();
    auto command = with_signal(job(kShort), done);
    EXPECT_EQ(node.ioctl(kSubmit, &command), 0);
    node.await(done);
    command = nop();
    EXPECT_EQ(node.ioctl(kSubmit, &command), -EINVAL);
}

TEST(DrmUring, APollingThreadSubmitsToo) {
    Node node;
    Ring ring(64, IORING_SETUP_SQE128 | IORING_SETUP_SQPOLL);
    const auto done = node.syncobj();
    const std::vector<belfry_submit_sync> syncs{{kSignal, done, 1}};  // read with our memory
    EXPECT_EQ(ring.run(node, with_more(job(kShort), syncs)), 0);
    EXPECT_EQ(node.state(done, 1), 0);
}

TEST(DrmUring, ARegisteredFileOutlivesItsDescriptor) {
    Node node;
    Ring ring;
    ring.register_file(node);
    const auto done = node.syncobj();
    ring.prepare(node, with_signal(job({.delay_ms = 50}, 1), done));
    ring.enter();
    node.close();
    ring.prepare(node, with_wait(nop(2), done));
    ring.enter();
    EXPECT_EQ(ring.next().result, 0);
    EXPECT_EQ(ring.next().result, 0);
}

TEST(DrmUring, RingAndFileMayGoFirst) {
    {
        Node node;
        Ring ring;
        const auto pending = node.syncobj();
        ring.prepare(node, with_signal(job({.delay_ms = 100}), pending));
        ring.prepare(node, with_wait(nop(), pending));
        ring.prepare(node, with_wait(nop(), node.syncobj()));
        ring.enter();
        node.close();
    }
    Node node;
    auto ring = std::make_unique<Ring>();
    const auto pending = node.syncobj();
    ring->prepare(node, with_signal(job({.delay_ms = 100}), pending));
    ring->prepare(node, with_wait(nop(), pending));
    ring->enter();
    ring.reset();
    node.await(pending);
}

/// A program with commands of all kinds in flight, in the ways that there are to hold their file: it is open,
/// registered with the ring, or closed. It says that it is ready before it submits, after it, or when some of
/// them have been cancelled and timed out.
[[noreturn]] void fly(unsigned round, int ready) {
    Node node;
    Ring ring(64, IORING_SETUP_SQE128 | (round % 10 == 9 ? IORING_SETUP_SQPOLL : 0u));
    if (round % 2 == 1) ring.register_file(node);
    const auto prepare = [&](const belfry_uring_command& command) { return ring.prepare(node, command); };
    const auto pending = node.syncobj();
    const auto never = node.syncobj();
    prepare(with_signal(job(kEndless), pending));
    for (int n = 0; n < 4; ++n) prepare(with_wait(nop(), pending));
    for (int n = 0; n < 2; ++n) prepare(with_wait(nop(), never, 1));
    for (int n = 0; n < 8; ++n) prepare(job({.delay_ms = static_cast<std::uint32_t>(n)}));
    prepare(with_wait(nop(1), pending));
    prepare(cancel(1, 0));
    __kernel_timespec soon{.tv_sec = 0, .tv_nsec = 500'000};
    prepare(with_wait(nop(2), pending));
    io_uring_sqe* const timeout = ring.prepare_plain();
    io_uring_prep_timeout(timeout, &soon, 0, IORING_TIMEOUT_ETIME_SUCCESS);
    timeout->flags |= IOSQE_IO_LINK;
    prepare(cancel(2, 0));
    prepare(with_wait(nop(3), never, 1))->flags |= IOSQE_IO_LINK;
    io_uring_prep_link_timeout(ring.prepare_plain(), &soon, 0);
    const unsigned moment = round / 4 % 3;
    if (moment == 0) ::eventfd_write(ready, 1);
    ring.enter();
    if (round % 4 >= 2) node.close();
    if (moment == 1) ::eventfd_write(ready, 1);
    for (int completed = 0; completed < 10; ++completed) ring.next();
    if (moment == 2) ::eventfd_write(ready, 1);
    for (;;) ::pause();
}

TEST(DrmUring, KilledProgramsLeaveNothing) {
    for (unsigned round = 0; round < 1000; ++round)
        kill_when_ready([round](int ready) { fly(round, ready); });
    // What is left must go by itself: the guest then unloads the modules, which a file or a job would
    // prevent.
    Node node;
    Ring ring;
    EXPECT_EQ(ring.run(node, job(kEndless)), -ETIMEDOUT);  // later than all deadlines before it
}

TEST(DrmUring, CancelRacesWithTheFence) {
    Node node;
    Ring ring;
    for (int i = 0; i < 500; ++i) {
        const auto done = node.syncobj();
        ring.prepare(node, with_signal(job(kShort, 1), done));
        ring.prepare(node, with_wait(nop(2), done));
        ring.prepare(node, cancel(2, 3));
        ring.enter();
        int result[4] = {1, 1, 1, 1};
        for (int n = 0; n < 3; ++n) {
            const auto completion = ring.next();
            ASSERT_EQ(result[completion.user_data], 1) << "completed twice";
            result[completion.user_data] = completion.result;
        }
        ASSERT_EQ(result[1], 0);
        ASSERT_TRUE((result[2] == 0 && result[3] == -ENOENT) || (result[2] == -ECANCELED && result[3] == 0))
            << result[2] << ' ' << result[3];
    }
}

TEST(DrmUringRefuses, WhatIsNoCommand) {
    Node node;
    Ring ring;
    const auto refused = [&](const std::function<void(belfry_uring_command&)>& change, int error = -EINVAL) {
        auto command = job(kAtOnce);
        change(command);
        EXPECT_EQ(ring.run(node, command), error);
    };
    refused([](auto& command) { command.pad = 1; });
    refused([](auto& command) { command.entry.flags = BELFRY_SUBMIT_LINK; });
    refused([](auto& command) { command.entry.flags = 0x80; });
    refused([](auto& command) { command.entry.opcode = BELFRY_SUBMIT_TIMEOUT; });
    refused([](auto& command) { command.entry.opcode = 0x3f; });
    refused([](auto& command) { command.entry.opcode = 0xff; });
    refused([](auto& command) { command.entry.payload[2] = 1; });
    refused([](auto& command) { command.entry.wait_point = 1; });
    refused([](auto& command) { command.entry.signal_point = 1; });
    refused([](auto& command) { command.entry.wait_handle = 4711; }, -ENOENT);
    refused([](auto& command) { command.entry.signal_handle = 4711; }, -ENOENT);
    refused([](auto& command) { command = nop(), command.entry.payload[1] = 1; });
    refused(
        [](auto& command) { command = nop(), command.entry.flags = BELFRY_SUBMIT_COMPLETE_AT_ACCEPTANCE; });
    refused([](auto& command) { command = cancel(1, 0), command.entry.payload[1] = 1; });
    refused([](auto& command) { command = cancel(1, 0); }, -ENOENT);

    ring.prepare(node, job(kAtOnce))->cmd_op = 1;
    ring.enter();
    EXPECT_EQ(ring.next().result, -EINVAL);
    Ring small(8, 0);
    io_uring_sqe* const sqe = io_uring_get_sqe(&small.raw());
    std::memset(sqe, 0, sizeof *sqe);
    sqe->opcode = IORING_OP_URING_CMD;
    sqe->fd = node.fd();
    sqe->cmd_op = BELFRY_URING_CMD_SUBMIT;
    small.enter();
    EXPECT_EQ(small.next().result, -EINVAL);
}

TEST(DrmUringRefuses, ArenasThatAreNone) {
    Node node;
    Ring ring;
    const auto known = node.syncobj();
    node.signal(known);
    std::vector<belfry_submit_sync> syncs(1100, {0, known, 0});
    const auto result = [&](const std::function<void(belfry_uring_command&)>& change) {
        auto command = with_more(job(kAtOnce), syncs);
        command.entry.more_syncs = 2;
        change(command);
        return ring.run(node, command);
    };
    EXPECT_EQ(result([](auto&) {}), 0);
    EXPECT_EQ(result([](auto& command) { command.entry.more_syncs = 1024; }), 0);
    EXPECT_EQ(result([](auto& command) { command.entry.more_syncs = 1025; }), -EINVAL);
    EXPECT_EQ(result([](auto& command) { command.entry.more_syncs_offset = 4; }), -EINVAL);
    EXPECT_EQ(result([](auto& command) { command.entry.more_syncs_offset = command.arena_bytes - 16; }),
              -EINVAL);
    EXPECT_EQ(result([](auto& command) { command.entry.more_syncs_offset = 0xfffffff8; }), -EINVAL);
    EXPECT_EQ(result([](auto& command) { command.arena_bytes = 31; }), -EINVAL);
    EXPECT_EQ(result([](auto& command) { command.arena = 8; }), -EFAULT);
    EXPECT_EQ(result([](auto& command) { command.arena = ~0ull; }), -EFAULT);
    syncs[1].flags = 2;
    EXPECT_EQ(result([](auto&) {}), -EINVAL);
    syncs[1] = {kSignal, 4711, 0};
    EXPECT_EQ(result([](auto&) {}), -ENOENT);
}

TEST(DrmUringRefuses, NothingThatRandomBytesSay) {
    Node node;
    Ring ring;
    std::uint64_t state = 0x9e3779b97f4a7c15;
    const auto random = [&] { return state ^= state << 13, state ^= state >> 7, state ^= state << 17; };
    std::vector<belfry_submit_sync> arena(64);
    for (int i = 0; i < 20'000; ++i) {
        auto command = job(kAtOnce);
        auto* const bytes = reinterpret_cast<unsigned char*>(&command);
        for (auto changes = random() % 6; changes > 0; --changes)
            bytes[random() % (sizeof command)] =
                static_cast<unsigned char>(random() % 4 ? random() % 4 : random());
        if (random() % 2) {
            command.arena = reinterpret_cast<std::uintptr_t>(arena.data());
            command.arena_bytes = 1024;
        }
        // A NOP may wait for ever, and a job for as long as it says.
        if (command.entry.opcode == BELFRY_SUBMIT_NOP)
            command.entry.wait_handle = command.entry.more_syncs = 0;
        if (command.entry.opcode == FAKE_GPU_JOB) command.entry.payload[0] &= 0xf0000000fu;
        for (auto& sync : arena)
            sync = {random() % 2 ? 1u << 31 : 0, static_cast<std::uint32_t>(random() % 4), 0};
        EXPECT_LE(ring.run(node, command), 0);
    }
    EXPECT_EQ(ring.run(node, job(kAtOnce)), 0);
}

}  // namespace
