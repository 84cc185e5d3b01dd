// Submit rings through libbelfry and belfryd, with real processes. What each entry does is the business of
// tests/unit/drm_submit_ring_test.cpp and panthor_submit_ring_test.cpp.
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "daemon_rig.hpp"

namespace belfry {
namespace {

using namespace rig;  // NOLINT: the rig is this file's language
using SubmitRings = DaemonTest;

/// A kernel-mode group, a stream that counts, and a ring.
struct Program {
    explicit Program(const std::string& socket, const SubmitRingOptions& options = {})
        : client(socket, {.user_submit = false}),
          stream(client.stream([&](CommandWriter& job) { client.count(job); })),
          ring(must(client.device.create_submit_ring(options))) {}

    [[nodiscard]] SubmitEntry job(std::uint64_t user_data) const {
        return SubmitEntry::job(user_data, client.group, 0, stream.address, stream.bytes);
    }
    std::vector<Completion> reap(std::uint32_t count) {
        must(ring.wait(count, {.timeout = kGenerous}));
        std::vector<Completion> completions(count);
        require(ring.reap(completions) == count, "completions are missing");
        return completions;
    }

    Client client;
    StreamAt stream;
    SubmitRing ring;
};

TEST_F(SubmitRings, ManyJobsInBatchesCompleteOnceEachAndInOrder) {
    constexpr std::uint64_t kJobs = 10'000;
    constexpr std::uint32_t kBatch = 100;
    Program program(daemon.socket());
    const std::uint64_t before = program.client.device.requests();
    std::uint64_t told = 0;
    for (std::uint64_t next = 0; next < kJobs;) {
        for (std::uint32_t i = 0; i < kBatch; ++i) ASSERT_TRUE(program.ring.push(program.job(next++)));
        must(program.ring.submit());
        for (const Completion& job : program.reap(kBatch)) {
            EXPECT_EQ(job.user_data, told++);
            EXPECT_EQ(job.error, 0);
        }
    }
    EXPECT_EQ(program.client.done.value(), kJobs);
    EXPECT_EQ(program.client.device.requests() - before, program.ring.wake_ups());
    EXPECT_LE(program.ring.wake_ups(), kJobs / kBatch) << "at most one a batch, and only if nobody looks";
}

TEST_F(SubmitRings, AWaiterSleepsUntilTheLastOfItsCompletionsAndIsWoken) {
    Program program(daemon.socket());
    const Syncobj gate = must(program.client.device.create_syncobj());
    ASSERT_TRUE(program.ring.push(program.job(1)));
    ASSERT_TRUE(program.ring.push(SubmitEntry::nop(2).wait(gate)));
    must(program.ring.submit());
    std::thread opener([&] {
        must(program.ring.wait(1, {.timeout = kGenerous}));
        must(gate.signal());
    });
    must(program.ring.wait(2, {.timeout = kGenerous, .spin = std::chrono::nanoseconds(0)}));
    opener.join();
    EXPECT_EQ(program.ring.completed(), 2u);
}

TEST_F(SubmitRings, WaitersEndWithTheirTimeAndWithTheirRing) {
    Program program(daemon.socket(), {.entries = 2, .completions = 2});
    EXPECT_EQ(code_of(program.ring.wait(1, {.timeout = std::chrono::milliseconds(1)})), ETIMEDOUT);
    ASSERT_TRUE(program.ring.push(SubmitEntry::nop(1)) && program.ring.push(SubmitEntry::nop(2)));
    must(program.ring.submit());
    program.reap(2);
    // Seven completions read, of two: looked at when there is no room otherwise.
    base::store(program.ring.client_page().cq_head, 7, base::kRelease);
    ASSERT_TRUE(program.ring.push(SubmitEntry::nop(3)));
    must(program.ring.submit());
    EXPECT_EQ(code_of(program.ring.wait(1, {.timeout = kGenerous})), EINVAL);
}

TEST_F(SubmitRings, AFullQueueMakesItsProgramWaitForRoom) {
    constexpr std::uint64_t kJobs = 2'000;
    Program program(daemon.socket(), {.entries = 4, .completions = 4});
    std::thread reaper([&] {
        for (std::uint64_t told = 0; told < kJobs; ++told)
            if (const auto one = program.reap(1); one[0].user_data != told || one[0].error != 0) std::abort();
    });
    for (std::uint64_t next = 0; next < kJobs; ++next) {
        while (!program.ring.push(program.job(next))) {
            must(program.ring.submit());
            must(program.ring.wait_for_room({.timeout = kGenerous}));
        }
        must(program.ring.submit());
    }
    reaper.join();
    EXPECT_EQ(program.client.done.value(), kJobs);
}

TEST_F(SubmitRings, LinksAndXgsWorkAcrossModes) {
    Program program(daemon.socket(), {.arena_bytes = 4096});
    XgsQueue xgs = must(program.client.vm.create_xgs_queue({}));
    const uapi::drm_panthor_xgs_op op{.addr = program.client.va + 128,
                                      .value = 5,
                                      .op = uapi::DRM_PANTHOR_XGS_OP_SIGNAL_SET,
                                      .format = uapi::DRM_PANTHOR_XGS_OP_FORMAT_U64,
                                      .flags = 0,
                                      .pad = 0};
    std::memcpy(program.ring.arena().data(), &op, sizeof op);
    ASSERT_TRUE(program.ring.push(program.job(1).link()));
    ASSERT_TRUE(program.ring.push(SubmitEntry::xgs(2, xgs, 0, 1).link()));
    ASSERT_TRUE(program.ring.push(SubmitEntry::cancel(3, 77).link()));
    ASSERT_TRUE(program.ring.push(program.job(4)));
    must(program.ring.submit());
    std::vector<int> errors;
    for (const Completion& told : program.reap(4)) errors.push_back(told.error);
    EXPECT_EQ(errors, (std::vector{0, 0, ENOENT, ECANCELED}));
    EXPECT_EQ(program.client.word(128), 5u);
    EXPECT_EQ(program.client.done.value(), 1u);
}

TEST_F(SubmitRings, KilledInTheMiddleNothingIsLeftAndOthersGoOn) {
    constexpr unsigned kRounds = 30;
    Bystander bystander(daemon.socket(), Bystander::Mode::kernel);
    Device watcher = must(Device::open({.socket_path = daemon.socket()}));
    const DeviceLoad before = must(watcher.load());
    for (unsigned round = 0; round < kRounds; ++round) {
        Counter batches;
        Child child([&] {
            Program program(daemon.socket(), {.entries = 64});
            const Syncobj never = must(program.client.device.create_syncobj());
            for (std::uint64_t next = 0;; ++next) {
                while (program.ring.push(program.job(next))) {
                }
                must(program.ring.submit());
                batches.add();
                if (program.ring.completed() == 0) continue;
                std::vector<Completion> some(program.ring.completed());
                [[maybe_unused]] const auto reaped = program.ring.reap(some);
                if (next % 8 == 0 && program.ring.push(SubmitEntry::nop(0).wait(never))) batches.add(0);
            }
        });
        batches.await(1 + round);
        child.signal(SIGKILL);
        EXPECT_EQ(child.wait(), -SIGKILL);
    }
    bystander.await_more();
    bystander.finish();
    EXPECT_TRUE(eventually([&] { return must(watcher.load()).files == 1; })) << "files of the dead are left";
    const DeviceLoad after = must(watcher.load());
    EXPECT_LE(after.groups, before.groups);
    EXPECT_LE(after.buffers, before.buffers);
}

TEST_F(SubmitRings, AProgramThatNeverSleepsNorReapsDoesNotHoldUpOthers) {
    Child hostile([socket = daemon.socket()] {
        Device device = must(Device::open({.socket_path = socket}));
        SubmitRing full = must(device.create_submit_ring({.entries = 4096}));
        SubmitRing busy = must(device.create_submit_ring({.entries = 4096}));
        for (;;) {
            while (full.push(SubmitEntry::nop(1))) {
            }
            must(full.submit());
            while (busy.push(SubmitEntry::nop(1).quiet())) {
            }
            must(busy.submit());
        }
    });
    Bystander user(daemon.socket(), Bystander::Mode::user);
    Bystander kernel(daemon.socket(), Bystander::Mode::kernel);
    user.await_more();
    kernel.await_more();
    Program program(daemon.socket());
    ASSERT_TRUE(program.ring.push(program.job(1)));
    must(program.ring.submit());
    EXPECT_EQ(program.reap(1)[0].error, 0);
    user.finish();
    kernel.finish();
    hostile.signal(SIGKILL);
    EXPECT_EQ(hostile.wait(), -SIGKILL);
}

}  // namespace
}  // namespace belfry
