// <belfry/uring.hpp>: GPU waits and doorbells in the caller's io_uring, in both ways that a wait can sleep.
#include "belfry/uring.hpp"

#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include <gtest/gtest.h>
#include <liburing.h>
#include <unistd.h>

#include "daemon_rig.hpp"

namespace belfry {
namespace {

using namespace rig;  // NOLINT: the rig is this file's language
using uring::Outcome;
using uring::Port;
using uring::Wait;
using uring::Way;

/// The caller's ring.
class Ring {
  public:
    explicit Ring(unsigned flags = 0) { require(::io_uring_queue_init(256, &ring_, flags) == 0, "no ring"); }
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    ~Ring() { ::io_uring_queue_exit(&ring_); }

    io_uring& operator*() { return ring_; }
    io_uring_sqe* sqe() { return ::io_uring_get_sqe(&ring_); }
    void submit() { require(::io_uring_submit(&ring_) >= 0, "the ring takes nothing"); }
    [[nodiscard]] bool quiet() {
        io_uring_cqe* cqe = nullptr;
        return ::io_uring_peek_cqe(&ring_, &cqe) == -EAGAIN;
    }

    struct Completion {
        std::uint64_t user_data;
        int res;
    };
    Completion next() {
        io_uring_cqe* cqe = nullptr;
        __kernel_timespec generous{.tv_sec = std::chrono::seconds(kGenerous).count(), .tv_nsec = 0};
        require(::io_uring_wait_cqe_timeout(&ring_, &cqe, &generous) == 0, "nothing completes");
        const Completion completion{.user_data = cqe->user_data, .res = cqe->res};
        ::io_uring_cqe_seen(&ring_, cqe);
        return completion;
    }

  private:
    io_uring ring_{};
};

/// A program with a group and a ring. Waits are for `done`, and their target is their entry's user_data.
class Program : public Client {
  public:
    explicit Program(const std::string& socket, std::optional<Way> way = {})
        : Client(socket), port(*ring, device, vm, way) {}

    /// Prepared, not submitted. `flags` as IOSQE_*.
    Wait prepare(std::uint64_t target, unsigned flags = 0) {
        io_uring_sqe* const sqe = ring.sqe();
        Wait wait = must(port.prep_wait(sqe, done, target));
        label(sqe, target, flags);
        return wait;
    }
    void prepare_again(Wait& wait) {
        io_uring_sqe* const sqe = ring.sqe();
        must(wait.prep(sqe));
        label(sqe, wait.target(), 0);
    }
    Wait start(std::uint64_t target) {
        Wait wait = prepare(target);
        ring.submit();
        return wait;
    }
    static void label(io_uring_sqe* sqe, std::uint64_t user_data, unsigned flags) {
        ::io_uring_sqe_set_data64(sqe, user_data);
        sqe->flags = static_cast<std::uint8_t>(sqe->flags | flags);
    }
    /// The GPU does it, and has done it.
    void gpu_sets(std::uint64_t value) {
        submit(
            [&](CommandWriter& job) { job.move48(d(80), va).move48(d(82), value).sync_set64(d(80), d(82)); });
        await(value);
    }
    [[nodiscard]] std::uint32_t waiters() const {
        return base::load(reinterpret_cast<const uapi::belfry_sync_object64*>(page.bytes().data())->waiters,
                          base::kSeqCst);
    }

    Ring ring;
    Port port;
};

constexpr std::uint64_t kTimeout = 1000;  // user_data of what is not a wait
constexpr std::uint64_t kOther = 1001;

class UringWait : public DaemonTest, public testing::WithParamInterface<Way> {
  protected:
    void SetUp() override {
        Ring ring;
        if (GetParam() == Way::futex && Port(*ring, program.device, program.vm).way() != Way::futex)
            GTEST_SKIP() << "this kernel's io_uring knows no futexes";
    }
    Program program{daemon.socket(), GetParam()};
};

INSTANTIATE_TEST_SUITE_P(BothWays, UringWait, testing::Values(Way::futex, Way::eventfd),
                         [](const auto& way) { return way.param == Way::futex ? "ByFutex" : "ByEventfd"; });

Outcome expect_outcome(Wait& wait, const Ring::Completion& completion) {
    EXPECT_EQ(completion.user_data, wait.target());
    return must(wait.finish(completion.res));
}

int cancelled(Wait& wait, const Ring::Completion& completion) {
    EXPECT_EQ(completion.user_data, wait.target());
    return code_of(wait.finish(completion.res));
}

TEST_P(UringWait, ForAValueThatHasPassedCompletesAtOnceAndMakesNoRequest) {
    program.gpu_sets(3);
    const std::uint64_t requests = program.device.requests();
    Wait exact = program.prepare(3);
    Wait passed = program.prepare(2);
    program.ring.submit();
    EXPECT_EQ(expect_outcome(exact, program.ring.next()), Outcome::reached);
    EXPECT_EQ(expect_outcome(passed, program.ring.next()), Outcome::reached);
    EXPECT_EQ(program.device.requests(), requests);
    EXPECT_EQ(program.waiters(), 0U);
}

TEST_P(UringWait, ForAValueThatComesBetweenPreparationAndSubmissionCompletesAtOnce) {
    Wait wait = program.prepare(1);
    program.gpu_sets(1);
    program.ring.submit();
    EXPECT_EQ(expect_outcome(wait, program.ring.next()), Outcome::reached);
    EXPECT_EQ(program.waiters(), 0U);
}

TEST_P(UringWait, ForAValueThatComesLaterCompletesThenAndNotBefore) {
    Wait wait = program.start(2);
    program.gpu_sets(1);
    EXPECT_TRUE(program.ring.quiet());
    program.gpu_sets(2);
    EXPECT_EQ(expect_outcome(wait, program.ring.next()), Outcome::reached);
    EXPECT_EQ(program.waiters(), 0U);
}

TEST_P(UringWait, ForAValueThatComesCloserOnTheWayIsPreparedAgain) {
    Wait wait = program.prepare(2);
    program.gpu_sets(1);
    program.ring.submit();
    if (GetParam() == Way::futex) {
        EXPECT_EQ(expect_outcome(wait, program.ring.next()), Outcome::again);
        program.prepare_again(wait);
        program.ring.submit();
    }
    EXPECT_TRUE(program.ring.quiet());
    program.gpu_sets(2);
    EXPECT_EQ(expect_outcome(wait, program.ring.next()), Outcome::reached);
}

TEST_P(UringWait, OfManyThoseThatAreDueComplete) {
    constexpr std::uint64_t kWaits = 100;
    std::vector<Wait> waits;
    for (std::uint64_t target = 1; target <= kWaits; ++target) waits.push_back(program.prepare(target));
    program.ring.submit();
    // One at a time, then several at once: more than there are futex bits, too.
    const std::array<std::uint64_t, 8> steps{1, 2, 3, 10, 11, 64, 65, 100};
    std::uint64_t reached = 0;
    for (const std::uint64_t value : steps) {
        program.gpu_sets(value);
        std::set<std::uint64_t> due;
        while (due.size() < value - reached) {
            const Ring::Completion completion = program.ring.next();
            Wait& wait = waits[completion.user_data - 1];
            if (must(wait.finish(completion.res)) == Outcome::reached) {
                EXPECT_TRUE(wait.target() > reached && wait.target() <= value) << wait.target();
                EXPECT_TRUE(due.insert(wait.target()).second) << wait.target();
            } else {
                EXPECT_EQ(GetParam(), Way::futex) << "an eventfd is for one value alone";
                program.prepare_again(wait);
                program.ring.submit();
            }
        }
        reached = value;
        EXPECT_LE(program.waiters(), kWaits - value);
    }
    EXPECT_EQ(program.waiters(), 0U);
}

TEST_P(UringWait, IsEndedByATimeoutThatIsLinkedBehindIt) {
    Wait wait = program.prepare(1, IOSQE_IO_LINK);
    __kernel_timespec soon{.tv_sec = 0, .tv_nsec = 1'000'000};
    io_uring_sqe* const timeout = program.ring.sqe();
    ::io_uring_prep_link_timeout(timeout, &soon, 0);
    Program::label(timeout, kTimeout, 0);
    program.ring.submit();
    for (int i = 0; i < 2; ++i) {
        const Ring::Completion completion = program.ring.next();
        if (completion.user_data == kTimeout) continue;
        EXPECT_EQ(cancelled(wait, completion), ECANCELED);
    }
    EXPECT_EQ(program.waiters(), 0U);
    Wait next = program.start(1);
    program.gpu_sets(1);
    EXPECT_EQ(expect_outcome(next, program.ring.next()), Outcome::reached);
    EXPECT_TRUE(program.ring.quiet());
}

TEST_P(UringWait, ThatCompletesInTimeCancelsItsTimeout) {
    Wait wait = program.prepare(1, IOSQE_IO_LINK);
    __kernel_timespec late{.tv_sec = 3600, .tv_nsec = 0};
    io_uring_sqe* const timeout = program.ring.sqe();
    ::io_uring_prep_link_timeout(timeout, &late, 0);
    Program::label(timeout, kTimeout, 0);
    program.ring.submit();
    program.gpu_sets(1);
    for (int i = 0; i < 2; ++i) {
        const Ring::Completion completion = program.ring.next();
        if (completion.user_data == kTimeout) {
            EXPECT_EQ(completion.res, -ECANCELED);
        } else {
            EXPECT_EQ(expect_outcome(wait, completion), Outcome::reached);
        }
    }
}

TEST_P(UringWait, CanBeCancelledAndOthersOfTheObjectGoOn) {
    Wait one = program.start(33);
    Wait other = program.start(1);
    io_uring_sqe* const cancel = program.ring.sqe();
    ::io_uring_prep_cancel64(cancel, 33, 0);
    Program::label(cancel, kOther, 0);
    program.ring.submit();
    for (int i = 0; i < 2; ++i) {
        const Ring::Completion completion = program.ring.next();
        if (completion.user_data == kOther) {
            EXPECT_GE(completion.res, 0);
        } else {
            EXPECT_EQ(cancelled(one, completion), ECANCELED);
        }
    }
    EXPECT_EQ(program.waiters(), GetParam() == Way::futex ? 1U : 0U);
    program.gpu_sets(1);
    EXPECT_EQ(expect_outcome(other, program.ring.next()), Outcome::reached);
}

TEST_P(UringWait, ThatIsCancelledAfterItsValueHasComeHasReachedIt) {
    Wait wait = program.prepare(1, 0);
    program.gpu_sets(1);
    EXPECT_EQ(must(wait.finish(-ECANCELED)), Outcome::reached);
    EXPECT_EQ(program.waiters(), 0U);
}

TEST_P(UringWait, BehindAnEntryBeginsWhenThatHasCompleted) {
    std::array<int, 2> pipe{};
    require(::pipe(pipe.data()) == 0, "no pipe");
    const base::Fd from(pipe[0]);
    const base::Fd to(pipe[1]);
    char byte = 'x';
    io_uring_sqe* const read = program.ring.sqe();
    ::io_uring_prep_read(read, from.get(), &byte, 1, 0);
    Program::label(read, kOther, IOSQE_IO_LINK);
    Wait wait = program.prepare(1);
    program.ring.submit();
    program.gpu_sets(1);
    EXPECT_TRUE(program.ring.quiet());
    require(::write(to.get(), &byte, 1) == 1, "the pipe takes nothing");
    EXPECT_EQ(program.ring.next().user_data, kOther);
    EXPECT_EQ(expect_outcome(wait, program.ring.next()), Outcome::reached);
}

TEST_P(UringWait, BehindAnEntryThatFailsIsCancelled) {
    char byte = 'x';
    io_uring_sqe* const read = program.ring.sqe();
    ::io_uring_prep_read(read, -1, &byte, 1, 0);
    Program::label(read, kOther, IOSQE_IO_LINK);
    Wait wait = program.prepare(1);
    program.ring.submit();
    EXPECT_EQ(program.ring.next().res, -EBADF);
    EXPECT_EQ(cancelled(wait, program.ring.next()), ECANCELED);
    EXPECT_EQ(program.waiters(), 0U);
}

TEST_P(UringWait, ThatIsDroppedWithItsRingLeavesNobodyCounted) {
    std::optional<Ring> ring(std::in_place);
    std::optional<Port> port(std::in_place, **ring, program.device, program.vm, GetParam());
    {
        const Wait wait = must(port->prep_wait(ring->sqe(), program.done, 1));
        ring->submit();
        ring.reset();
    }
    EXPECT_EQ(program.waiters(), 0U);
    program.gpu_sets(1);
}

TEST_P(UringWait, OfAGroupThatEndsIsCancelledWhenItsStateEventfdSaysSo) {
    const base::Fd state = must(base::make_eventfd());
    Group group = must(program.vm.create_group({.group_state_eventfd = state.get()}));
    io_uring_sqe* const end = program.ring.sqe();
    ::io_uring_prep_poll_add(end, state.get(), POLLIN);
    Program::label(end, kOther, 0);
    Wait wait = program.start(1);
    CommandWriter job = must(group.queue().begin(8));
    job.word(0xee00'0000'0000'0000);
    must(group.queue().submit(job));
    EXPECT_EQ(program.ring.next().user_data, kOther);
    EXPECT_FALSE(must(group.status()).alive);
    io_uring_sqe* const cancel = program.ring.sqe();
    ::io_uring_prep_cancel64(cancel, wait.target(), 0);
    Program::label(cancel, kTimeout, IOSQE_CQE_SKIP_SUCCESS);
    program.ring.submit();
    EXPECT_EQ(cancelled(wait, program.ring.next()), ECANCELED);
}

TEST_P(UringWait, ForAnObjectThatItsGroupOwnsEndsWithTheGroupAndHasNotReachedItsValue) {
    must(program.group.own(program.done));
    Wait wait = program.start(1);
    program.submit([](CommandWriter& job) { job.word(0xee00'0000'0000'0000); });
    EXPECT_EQ(cancelled(wait, program.ring.next()), ECANCELED);
    Wait late = program.start(1);
    EXPECT_EQ(cancelled(late, program.ring.next()), ECANCELED);
    EXPECT_EQ(program.waiters(), 0U);
}

// ---- Completions of a submit ring

class UringRingWait : public UringWait {
  protected:
    base::Fd completions = must(base::make_eventfd());
    SubmitRing submit_ring =
        must(program.device.create_submit_ring({.entries = 64, .completions_eventfd = completions.get()}));

    uring::RingWait start(std::uint32_t count) {
        uring::RingWait wait =
            must(program.port.prep_ring_wait(program.ring.sqe(), submit_ring, count, completions.get()));
        program.ring.submit();
        return wait;
    }
    /// Reaps the ring's completions until it is not "again".
    Outcome finish(uring::RingWait& wait) {
        for (;;) {
            const Outcome outcome = must(wait.finish(program.ring.next().res));
            if (outcome == Outcome::reached) return outcome;
            must(wait.prep(program.ring.sqe()));
            program.ring.submit();
        }
    }
    void push_nops(std::uint64_t count) {
        for (std::uint64_t i = 0; i < count; ++i) require(submit_ring.push(SubmitEntry::nop(i)), "no room");
        must(submit_ring.submit());
    }
    /// Until the driver, which answers nobody meanwhile, has also rung the eventfd for them.
    void await_completions(std::uint32_t count) {
        must(submit_ring.wait(count, {.timeout = kGenerous}));
        must(program.device.load());
    }
};

INSTANTIATE_TEST_SUITE_P(BothWays, UringRingWait, testing::Values(Way::futex, Way::eventfd),
                         [](const auto& way) { return way.param == Way::futex ? "ByFutex" : "ByEventfd"; });

TEST_P(UringRingWait, CompletesWhenSoManyAreThere) {
    const Syncobj gate = must(program.device.create_syncobj());
    require(submit_ring.push(SubmitEntry::nop(7).wait(gate)), "no room");
    push_nops(2);
    uring::RingWait wait = start(3);
    must(gate.signal());
    EXPECT_EQ(finish(wait), Outcome::reached);
    EXPECT_EQ(submit_ring.completed(), 3U);
    EXPECT_EQ(base::load(submit_ring.client_page().cq_waiters, base::kSeqCst), 0U);
}

TEST_P(UringRingWait, CompletesAtOnceIfTheyAreThereAlready) {
    push_nops(2);
    await_completions(2);
    uring::RingWait wait = start(2);
    EXPECT_EQ(must(wait.finish(program.ring.next().res)), Outcome::reached);
    std::array<Completion, 2> reaped{};
    EXPECT_EQ(submit_ring.reap(reaped), 2U);
    uring::RingWait next = start(1);
    EXPECT_TRUE(program.ring.quiet());
    push_nops(1);
    EXPECT_EQ(finish(next), Outcome::reached);
}

TEST_P(UringRingWait, EndsWithTheRingsError) {
    submit_ring = must(program.device.create_submit_ring(
        {.entries = 2, .completions = 2, .completions_eventfd = completions.get()}));
    push_nops(2);
    await_completions(2);
    std::array<Completion, 2> reaped{};
    EXPECT_EQ(submit_ring.reap(reaped), 2U);
    uring::RingWait wait = start(1);
    // Seven completions read, of two.
    base::store(submit_ring.client_page().cq_head, 7, base::kRelease);
    push_nops(1);
    EXPECT_EQ(code_of(wait.finish(program.ring.next().res)), EINVAL);
}

// ---- What one of the ways alone does

class Uring : public DaemonTest {
  protected:
    Program program{daemon.socket()};
};

TEST_F(Uring, ARingThatRefusesFutexesWaitsByEventfd) {
    if (program.port.way() != Way::futex) GTEST_SKIP() << "this kernel's io_uring knows no futexes";
    Ring ring(IORING_SETUP_R_DISABLED);
    std::array<io_uring_restriction, 3> allowed{};
    allowed[0] = {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_POLL_ADD};
    allowed[1] = {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_NOP};
    allowed[2] = {.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_REGISTER_PROBE};
    // By number: Debian 12's liburing declares the functions and does not have them.
    const auto enrol = [&](unsigned opcode, void* argument, unsigned count) {
        return ::syscall(SYS_io_uring_register, (*ring).ring_fd, opcode, argument, count);
    };
    ASSERT_EQ(enrol(IORING_REGISTER_RESTRICTIONS, allowed.data(), allowed.size()), 0);
    ASSERT_EQ(enrol(IORING_REGISTER_ENABLE_RINGS, nullptr, 0), 0);
    Port port(*ring, program.device, program.vm);
    Wait wait = must(port.prep_wait(ring.sqe(), program.done, 1));
    ring.submit();
    EXPECT_EQ(must(wait.finish(ring.next().res)), Outcome::again);
    ASSERT_EQ(port.way(), Way::eventfd);
    must(wait.prep(ring.sqe()));
    ring.submit();
    program.gpu_sets(1);
    EXPECT_EQ(must(wait.finish(ring.next().res)), Outcome::reached);
}

TEST_F(Uring, WhatIsLinkedBehindAWaitByEventfdStartsWithItsValueAndNotWithAnothers) {
    Port port(*program.ring, program.device, program.vm, Way::eventfd);
    const base::Fd told = must(base::make_eventfd());
    const std::uint64_t one = 1;
    io_uring_sqe* const sqe = program.ring.sqe();
    Wait wait = must(port.prep_wait(sqe, program.done, 33));
    Program::label(sqe, 33, IOSQE_IO_LINK);
    io_uring_sqe* const tell = program.ring.sqe();
    ::io_uring_prep_write(tell, told.get(), &one, sizeof one, 0);
    Program::label(tell, kOther, 0);
    program.ring.submit();
    program.gpu_sets(1);  // the same futex bit
    EXPECT_TRUE(program.ring.quiet());
    program.gpu_sets(33);
    EXPECT_EQ(expect_outcome(wait, program.ring.next()), Outcome::reached);
    EXPECT_EQ(program.ring.next().res, 8);
}

TEST_F(Uring, AWaitForAFenceCompletesWhenItSignalsAlsoIfItComesLate) {
    XgsQueue xgs = must(program.vm.create_xgs_queue({}));
    const Syncobj fence = must(program.device.create_syncobj());
    const uring::FenceWait late = must(program.port.prep_wait(program.ring.sqe(), fence, 1));
    program.ring.submit();
    must(xgs.submit(XgsOps().wait_gt(program.va, 0),
                    std::vector<SyncOp>{{.syncobj = fence, .signal = true, .point = 1}}));
    EXPECT_TRUE(program.ring.quiet());
    program.submit_count();
    EXPECT_EQ(code_of(late.finish(program.ring.next().res)), 0);
    const uring::FenceWait passed = must(program.port.prep_wait(program.ring.sqe(), fence, 1));
    program.ring.submit();
    EXPECT_EQ(code_of(passed.finish(program.ring.next().res)), 0);
}

TEST_F(Uring, AWaitForAFenceThatTheDriverRefusesLeavesANoOp) {
    const Syncobj fence = must(program.device.create_syncobj());
    daemon.kill();
    EXPECT_EQ(code_of(program.port.prep_wait(program.ring.sqe(), fence, 1)), ENODEV);
    program.ring.submit();
    EXPECT_EQ(program.ring.next().res, 0);
}

TEST_F(Uring, AJobInTheProgramsRingIsForAKernelsNodeAndLeavesANoOpElsewhere) {
    Ring ring(IORING_SETUP_SQE128);
    Port port(*ring, program.device, program.vm);
    const auto refused = port.prep_submit(ring.sqe(), SubmitEntry::job(7, program.group, 0, program.va, 64));
    EXPECT_EQ(code_of(refused), EOPNOTSUPP);
    EXPECT_NE(refused.error().message.find(daemon.socket()), std::string::npos) << refused.error().message;
    ring.submit();
    EXPECT_EQ(ring.next().res, 0);
}

// ---- Doorbells

TEST_F(Uring, ADoorbellReachesAGroupThatHasNoSlotYet) {
    CommandWriter job = must(program.group.queue().begin(8));
    program.count(job);
    must(program.group.queue().publish(job));
    io_uring_sqe* const store = program.ring.sqe();
    io_uring_sqe* const wake = program.ring.sqe();
    must(program.port.prep_doorbell(store, wake, program.group.queue()));
    Program::label(wake, kOther, 0);
    program.ring.submit();
    EXPECT_EQ(program.ring.next().res, 8);
    EXPECT_EQ(program.done.value(), 0U);
    must(program.group.queue().ring_off_slot());
    program.await(1);
    EXPECT_EQ(program.group.queue().kicks(), 1U);
    EXPECT_TRUE(program.ring.quiet()) << "one completion for the two entries";
}

TEST_F(Uring, AMessageLetsAStreamGoThatWaitsWhileProgramAndGpuSleep) {
    constexpr std::uint64_t kGo = 64;
    program.submit([&](CommandWriter& job) {
        job.move48(d(0), program.va + kGo).move48(d(2), 0).sync_wait64(d(0), csf::Condition::gt, d(2));
        program.count(job);
    });
    const auto* const page =
        reinterpret_cast<const uapi::belfry_user_doorbell*>(program.group.queue().doorbell().word);
    ASSERT_TRUE(eventually([&] { return base::load(page->need_wakeup, base::kSeqCst) != 0; }));
    std::array<int, 2> pipe{};
    require(::pipe(pipe.data()) == 0, "no pipe");
    const base::Fd from(pipe[0]);
    const base::Fd to(pipe[1]);

    // The message is the value itself; what follows it needs no program.
    io_uring_sqe* const receive = program.ring.sqe();
    ::io_uring_prep_read(receive, from.get(), program.page.bytes().data() + kGo, 8, 0);
    Program::label(receive, kOther, IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS);
    io_uring_sqe* const store = program.ring.sqe();
    io_uring_sqe* const wake = program.ring.sqe();
    must(program.port.prep_doorbell(store, wake, program.group.queue()));
    Program::label(wake, kOther, IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS);
    Wait wait = program.start(1);
    const std::uint64_t requests = program.device.requests();
    const std::uint64_t go = 1;
    require(::write(to.get(), &go, sizeof go) == sizeof go, "the pipe takes nothing");
    EXPECT_EQ(expect_outcome(wait, program.ring.next()), Outcome::reached);
    EXPECT_EQ(program.device.requests(), requests);
}

// ---- Waits by eventfd, without a ring

using EventfdWaiting = DaemonTest;

TEST_F(EventfdWaiting, OneThatIsDroppedEndsAndLeavesRoomForMoreThanAFileMayHaveAtATime) {
    constexpr int kAtATime = 128;
    Client client(daemon.socket());
    EventfdWaits waits(client.device, client.vm);
    std::vector<EventfdWait> pending;
    for (int i = 0; i < kAtATime; ++i) pending.push_back(must(waits.start(client.done, 1)));
    EXPECT_EQ(code_of(waits.start(client.done, 1)), EBUSY);
    pending.clear();
    const EventfdWait wait = must(waits.start(client.done, 1));
    client.submit_count();
    pollfd ready{.fd = wait.fd(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&ready, 1, static_cast<int>(std::chrono::milliseconds(kGenerous).count())), 1);
}

TEST_F(EventfdWaiting, ForAnObjectThatIsNotMappedEnds) {
    Client client(daemon.socket());
    const Buffer page = must(client.device.create_buffer(4096));
    EventfdWaits waits(client.device, client.vm);
    for (int i = 0; i < 2; ++i) {  // the queue of one that failed serves the next
        const EventfdWait wait = must(waits.start(must(SyncObject::at(page, 0, 0x7000)), 1));
        pollfd ready{.fd = wait.fd(), .events = POLLIN, .revents = 0};
        EXPECT_EQ(::poll(&ready, 1, static_cast<int>(std::chrono::milliseconds(kGenerous).count())), 1);
    }
}

TEST_F(EventfdWaiting, ALaterWaitCostsOneRequest) {
    Client client(daemon.socket());
    EventfdWaits waits(client.device, client.vm);
    const auto wait_for = [&](std::uint64_t target) {
        const EventfdWait wait = must(waits.start(client.done, target));
        client.submit_count();
        pollfd ready{.fd = wait.fd(), .events = POLLIN, .revents = 0};
        EXPECT_EQ(::poll(&ready, 1, static_cast<int>(std::chrono::milliseconds(kGenerous).count())), 1);
    };
    wait_for(1);
    const std::uint64_t requests = client.device.requests();
    wait_for(2);
    EXPECT_EQ(client.device.requests(), requests + 1);
}

}  // namespace
}  // namespace belfry
