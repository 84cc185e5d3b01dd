// Work, from programs through belfryd to the GPU and back: user mode, kernel mode, and both at once.
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "daemon_rig.hpp"

namespace belfry {
namespace {

using namespace rig;  // NOLINT: the rig is this file's language
using csf::Condition;

constexpr std::uint32_t kSlots = 8;  // group slots of a GPU as belfryd makes it

using UserMode = DaemonTest;
using KernelMode = DaemonTest;
using BothModes = DaemonTest;
using GroupSlots = DaemonTest;
using GpuSleep = DaemonTest;

// ---- User mode

TEST_F(UserMode, AJobStoresToMemoryAndWakesAWaiterThatSleepsInAnotherProcess) {
    constexpr std::uint64_t kAnswer = 64;
    Client client(daemon.socket());
    Child waiter([&] {
        const WaitStats before = SyncObject::stats();  // inherited
        must(client.done.wait(1, {.timeout = kGenerous, .spin = {}}));
        require(client.word(kAnswer) == 42, "what the job stored is not seen");
        const WaitStats after = SyncObject::stats();
        require(after.sleeps - before.sleeps == 1 && after.wake_ups - before.wake_ups == 1,
                "it was not woken exactly once");
    });
    const auto& object = *reinterpret_cast<const uapi::belfry_sync_object64*>(client.page.bytes().data());
    ASSERT_TRUE(
        eventually([&] { return base::load(object.waiters, base::kSeqCst) == 1 && sleeps(waiter.pid()); }));
    client.submit([&](CommandWriter& job) {
        job.move48(d(0), client.va + kAnswer).move32(r(2), 42).store_multiple(r(2), 1, d(0)).wait(kAllSlots);
        client.count(job);
    });
    waiter.finish();
}

TEST_F(UserMode, TheBusyPathMakesNoRequest) {
    constexpr std::uint64_t kJobs = 10'000;
    Client client(daemon.socket());
    client.submit_count();
    client.await(1);
    ASSERT_EQ(must(client.device.load()).groups_on_slot, 1U);
    const std::uint64_t requests = client.device.requests();
    for (std::uint64_t job = 2; job <= kJobs; ++job) {
        client.submit_count();
        if (job % 100 == 0) client.await(job);
    }
    client.await(kJobs);
    EXPECT_EQ(client.device.requests(), requests);
    EXPECT_EQ(client.group.queue().kicks(), 1U) << "the one that got the slot";
}

TEST_F(UserMode, AFullRingIsBackPressureAndNoError) {
    constexpr std::uint64_t kJobs = 1000;  // of 128 bytes or more each
    constexpr std::uint32_t kLoops = 2000;
    constexpr std::uint64_t kBumped = 64;
    Child program([&] {
        Client client(daemon.socket(), {.queues = {{.ring_bytes = 4096}}});
        for (std::uint64_t i = 0; i < kJobs; ++i)
            client.submit([&](CommandWriter& job) {
                job.move32(r(0), kLoops).add_immediate32(r(0), r(0), -1).branch(Condition::gt, r(0), -2);
                client.bump(job, kBumped);
                client.count(job);
            });
        client.await(kJobs);
        require(client.word(kBumped) == kJobs, "jobs are missing");
        const Queue& queue = client.group.queue();
        require(eventually([&] { return queue.extracted() == queue.inserted(); }),
                "the ring does not become empty");
        require(must(client.group.status()).alive, "the group has ended");
    });
    program.finish();
}

TEST_F(UserMode, MoreThanTheRingHoldsIsInvalidAndTheErrorSaysTheNumbers) {
    Client client(daemon.socket(), {.queues = {{.ring_bytes = 4096}}});
    const auto writer = client.group.queue().begin(513);
    ASSERT_FALSE(writer);
    EXPECT_EQ(writer.error().code, EINVAL);
    expect_mentions(writer.error().message, {"513", "4096", "512"});
    EXPECT_TRUE(client.group.queue().begin(512)) << "what it holds exactly";
}

TEST_F(UserMode, AFullRingHasNoRoomUntilTheGpuHasMadeSome) {
    constexpr std::uint64_t kGate = 64;
    Client client(daemon.socket(), {.queues = {{.ring_bytes = 4096}}});
    SyncObject gate = must(SyncObject::at(client.page, kGate, client.va + kGate));
    Queue& queue = client.group.queue();
    client.submit([&](CommandWriter& job) {
        job.move48(d(0), gate.address()).move48(d(2), 0).sync_wait64(d(0), Condition::gt, d(2));
    });
    std::uint64_t jobs = 0;
    for (; auto writer = queue.try_begin(8); ++jobs) {
        client.count(*writer);
        must(queue.submit(*writer));
    }
    EXPECT_EQ(jobs, 4096U / 64 - 1);
    EXPECT_FALSE(queue.try_begin(1));
    EXPECT_EQ(code_of(queue.begin(1, std::chrono::milliseconds(1))), ETIMEDOUT);
    EXPECT_EQ(client.done.value(), 0U);
    gate.set(1);
    must(queue.ring());
    client.await(jobs);
    EXPECT_TRUE(queue.begin(512, kGenerous)) << "the whole ring is free again";
}

TEST_F(UserMode, AJobThatBecameLongerThanItsReservationIsNotPublished) {
    Client client(daemon.socket());
    CommandWriter writer = must(client.group.queue().begin(2));
    writer.nop().nop().nop();
    EXPECT_EQ(code_of(client.group.queue().submit(writer)), EOVERFLOW);
    EXPECT_EQ(client.group.queue().inserted(), 0U);
    client.submit_count();
    EXPECT_EQ(code_of(client.done.wait(1, {.timeout = kGenerous})), 0);
}

TEST_F(UserMode, TwoQueuesOfAGroupRunIndependentlyAndWakeEachOther) {
    constexpr std::uint64_t kThere = 64;
    constexpr std::uint64_t kBack = 80;
    constexpr std::uint32_t kRounds = 200;
    Client client(daemon.socket(), {.queues = {{}, {}}});
    const auto wait_for = [&](CommandWriter& job, std::uint64_t offset, std::uint32_t round) {
        job.move48(d(0), client.va + offset).move48(d(2), round).sync_wait64(d(0), Condition::gt, d(2));
    };
    const auto signal = [&](CommandWriter& job, std::uint64_t offset) {
        job.move48(d(0), client.va + offset)
            .move48(d(2), 1)
            .sync_add64(d(0), d(2), {.scope = csf::Scope::csg});
    };
    for (std::uint32_t round = 0; round < kRounds; ++round) {
        client.submit(
            [&](CommandWriter& job) {
                wait_for(job, kThere, round);
                signal(job, kBack);
            },
            1);
        client.submit(
            [&](CommandWriter& job) {
                signal(job, kThere);
                wait_for(job, kBack, round);
                client.count(job);
            },
            0);
    }
    client.await(kRounds);
}

// ---- Kernel mode

TEST_F(KernelMode, TimelinePointsOrderJobsOfTwoGroups) {
    // Job i of a chain that goes to and fro: log[i] = log[i - 1] + 1.
    constexpr std::uint32_t kJobs = 100;
    constexpr std::uint64_t kLog = 64;
    Client even(daemon.socket(), {.user_submit = false});
    Vm other_vm = must(even.device.create_vm());
    const std::uint64_t other_va = must(other_vm.map(even.page));
    Group odd = must(other_vm.create_group({.user_submit = false}));
    const Syncobj timeline = must(even.device.create_syncobj());
    for (std::uint32_t i = 1; i <= kJobs; ++i) {
        const bool is_odd = i % 2 == 1;
        const std::uint64_t va = is_odd ? other_va : even.va;
        StreamAt stream = even.stream([&](CommandWriter& job) {
            job.move48(d(0), va + kLog + 4 * (i - 1))
                .load_multiple(r(4), 1, d(0))
                .wait(kAllSlots)
                .add_immediate32(r(4), r(4), 1)
                .store_multiple(r(4), 1, d(0), 4);
        });
        stream.address = stream.address - even.va + va;
        std::vector<SyncOp> syncs = {{.syncobj = timeline, .signal = true, .point = i}};
        if (i > 1) syncs.push_back({.syncobj = timeline, .point = i - 1});
        submit(is_odd ? odd : even.group, stream, syncs);
    }
    ASSERT_EQ(code_of(timeline.wait(kJobs, kGenerous)), 0);
    EXPECT_EQ(must(timeline.query()), kJobs);
    EXPECT_EQ(even.word(kLog + 4 * kJobs), kJobs);
}

TEST_F(KernelMode, MoreJobsThanTheRingHoldsWaitInTheDriver) {
    constexpr std::uint32_t kJobs = 500;  // the ring holds 32
    constexpr std::uint64_t kBumped = 64;
    Client client(daemon.socket(), {.user_submit = false, .queues = {{.ring_bytes = 4096}}});
    const Syncobj fence = must(client.device.create_syncobj());
    const StreamAt stream = client.stream([&](CommandWriter& job) { client.bump(job, kBumped); });
    for (std::uint32_t i = 0; i < kJobs; ++i)
        submit(client.group, stream, {{.syncobj = fence, .signal = true}});
    ASSERT_EQ(code_of(fence.wait(0, kGenerous)), 0);
    EXPECT_EQ(client.word(kBumped), kJobs);
}

TEST_F(KernelMode, AForkedChildSubmitsWithWhatItInherited) {
    constexpr std::uint64_t kBumped = 64;
    Client client(daemon.socket(), {.user_submit = false});
    const StreamAt stream = client.stream([&](CommandWriter& job) { client.bump(job, kBumped); });
    const auto run_job = [&] {
        const Syncobj fence = must(client.device.create_syncobj());
        submit(client.group, stream, {{.syncobj = fence, .signal = true}});
        must(fence.wait(0, kGenerous));
    };
    run_job();
    Child child([&] {
        run_job();
        require(client.word(kBumped) == 2, "the child does not see what its job did");
        const Buffer own = must(client.device.create_buffer(4096));
        require(must(client.device.load()).files == 1, "the child has a file of its own");
    });
    child.finish();
    run_job();
    EXPECT_EQ(client.word(kBumped), 3U);
}

// ---- Both

TEST_F(BothModes, AKernelModeGroupAndAUserModeGroupShareAVm) {
    constexpr std::uint64_t kFlag = 64;
    constexpr std::uint32_t kRounds = 50;
    Client client(daemon.socket());
    Group kernel = must(client.vm.create_group({.user_submit = false}));
    const StreamAt stream = client.stream([&](CommandWriter& job) {
        job.move48(d(0), client.va + kFlag).move48(d(2), 1).sync_add64(d(0), d(2));
    });
    for (std::uint32_t round = 0; round < kRounds; ++round) {
        // The user-mode job stands until the kernel-mode job has come.
        client.submit([&](CommandWriter& job) {
            job.move48(d(0), client.va + kFlag).move48(d(2), round).sync_wait64(d(0), Condition::gt, d(2));
            client.count(job);
        });
        submit(kernel, stream);
        ASSERT_EQ(code_of(client.done.wait(round + 1, {.timeout = kGenerous})), 0);
    }
}

TEST_F(BothModes, EightProcessesAllGetTheirWorkDone) {
    constexpr std::uint32_t kJobs = 300;
    constexpr std::uint64_t kBumped = 64;
    std::vector<Child> processes;
    for (std::uint32_t i = 0; i < kSlots; ++i)
        processes.emplace_back([&, user_submit = i % 2 == 0] {
            Client client(daemon.socket(), {.user_submit = user_submit});
            const Syncobj fence = must(client.device.create_syncobj());
            const StreamAt stream = client.stream([&](CommandWriter& job) { client.bump(job, kBumped); });
            for (std::uint32_t job = 1; job <= kJobs; ++job) {
                if (user_submit) {
                    client.submit([&](CommandWriter& words) {
                        client.bump(words, kBumped);
                        client.count(words);
                    });
                } else {
                    submit(client.group, stream, {{.syncobj = fence, .signal = true}});
                }
                if (job % 10 != 0) continue;
                user_submit ? client.await(job) : must(fence.wait(0, kGenerous));
            }
            require(client.word(kBumped) == kJobs, "jobs are missing");
        });
    for (Child& process : processes) process.finish();
}

// ---- Slots

/// Groups of one VM, each with a sync object of its own in the VM's page.
struct Crowd : Client {
    explicit Crowd(const std::string& socket) : Client(socket) {}
    void add(const GroupOptions& options = {}) {
        groups.push_back(must(vm.create_group(options)));
        const std::uint64_t offset = 64 + 16 * syncs.size();
        syncs.push_back(must(SyncObject::at(page, offset, va + offset)));
        jobs.push_back(0);
    }
    void submit_to(std::size_t index, const std::function<void(CommandWriter&)>& write = {}) {
        CommandWriter writer = must(groups[index].queue().begin(8));
        writer.move48(d(0), syncs[index].address()).move48(d(2), 1).sync_add64(d(0), d(2));
        if (write) write(writer);
        must(groups[index].queue().submit(writer));
        ++jobs[index];
    }
    void await_group(std::size_t index) const {
        must(groups[index].wait(syncs[index], jobs[index], {.timeout = kGenerous}));
    }
    std::vector<Group> groups;
    std::vector<SyncObject> syncs;
    std::vector<std::uint64_t> jobs;
};

/// Has taken a slot when it returns, and wants one for ever.
Child endless_program(const std::string& socket) {
    Counter runs;
    Child child([&] {
        Client client(socket);
        client.submit([&](CommandWriter& job) {
            client.count(job);
            write_endless_loop(job);
        });
        client.await(1);
        runs.add();
        while (true) ::pause();
    });
    runs.await(1);
    return child;
}

TEST_F(GroupSlots, AreKeptWhileThereAreEnough) {
    Crowd crowd(daemon.socket());
    for (std::uint32_t i = 0; i < kSlots; ++i) crowd.add();
    for (int round = 0; round < 20; ++round)
        for (std::size_t i = 0; i < kSlots; ++i) {
            crowd.submit_to(i);
            crowd.await_group(i);
        }
    EXPECT_EQ(must(crowd.device.load()).groups_on_slot, kSlots);
    for (Group& group : crowd.groups) EXPECT_EQ(group.queue().kicks(), 1U) << "the one that got the slot";
}

TEST_F(GroupSlots, AreGivenUpByGroupsThatAreIdleAndGotBackByAKick) {
    constexpr std::size_t kGroups = 5 * kSlots;
    Crowd crowd(daemon.socket());
    for (std::size_t i = 0; i < kGroups; ++i) crowd.add();
    for (int round = 0; round < 5; ++round) {
        for (std::size_t i = 0; i < kGroups; ++i) crowd.submit_to(i);
        for (std::size_t i = 0; i < kGroups; ++i) crowd.await_group(i);
    }
    const DeviceLoad load = must(crowd.device.load());
    EXPECT_EQ(load.groups_on_slot, kSlots);
    EXPECT_EQ(load.groups_waiting, 0U);
}

TEST_F(GroupSlots, AreSharedWithProgramsThatNeverStop) {
    constexpr std::size_t kGroups = 2 * kSlots;
    std::vector<Child> endless;
    for (std::uint32_t i = 0; i < kSlots + 4; ++i) endless.push_back(endless_program(daemon.socket()));
    Crowd crowd(daemon.socket());
    Client kernel(daemon.socket(), {.user_submit = false});
    const Syncobj fence = must(kernel.device.create_syncobj());
    submit(kernel.group, kernel.stream([](CommandWriter& job) { job.nop(); }),
           {{.syncobj = fence, .signal = true}});
    for (std::size_t i = 0; i < kGroups; ++i) {
        crowd.add();
        crowd.submit_to(i);
    }
    for (std::size_t i = 0; i < kGroups; ++i) crowd.await_group(i);
    EXPECT_EQ(code_of(fence.wait(0, kGenerous)), 0);
}

TEST_F(GroupSlots, ComeToTheLowestPriorityAmongProgramsThatNeverStop) {
    std::vector<Child> endless;
    for (std::uint32_t i = 0; i < kSlots; ++i) endless.push_back(endless_program(daemon.socket()));
    Client user(daemon.socket(), {.priority = GroupPriority::low});
    Client kernel(daemon.socket(), {.user_submit = false, .priority = GroupPriority::low});
    const Syncobj fence = must(kernel.device.create_syncobj());
    user.submit_count();
    submit(kernel.group, kernel.stream([](CommandWriter& job) { job.nop(); }),
           {{.syncobj = fence, .signal = true}});
    user.await(1);
    EXPECT_EQ(code_of(fence.wait(0, kGenerous)), 0);
}

TEST_F(GroupSlots, AreFreeAgainWhenTheirProcessesEnd) {
    Client late(daemon.socket());
    {
        std::vector<Child> endless;
        for (std::uint32_t i = 0; i < 2 * kSlots; ++i) endless.push_back(endless_program(daemon.socket()));
        EXPECT_GE(must(late.device.load()).groups_waiting, kSlots / 2);
    }  // they die, some on a slot and some not
    EXPECT_TRUE(eventually([&] { return must(late.device.load()).groups == 1; }));
    EXPECT_EQ(must(late.device.load()).groups_on_slot, 0U);
    late.submit_count();
    late.await(1);
}

TEST_F(GroupSlots, AreNotWaitedForByGroupsThatAreDestroyed) {
    Child endless = endless_program(daemon.socket());
    Crowd crowd(daemon.socket());
    constexpr std::size_t kGroups = 4 * kSlots;
    for (std::size_t i = 0; i < kGroups; ++i) {
        crowd.add();
        crowd.submit_to(i, write_endless_loop);
    }
    // Most of them wait, and which they are changes all the time.
    EXPECT_GE(must(crowd.device.load()).groups_waiting, kGroups / 2);
    crowd.groups.clear();
    EXPECT_TRUE(eventually([&] {
        const DeviceLoad load = must(crowd.device.load());
        return load.groups == 2 && load.groups_waiting == 0;
    }));
    crowd.submit_count();
    crowd.await(1);
}

TEST_F(GroupSlots, ServeManyMoreVmsThanThereAreAddressSpaces) {
    constexpr std::size_t kVms = 40;
    std::vector<Client> clients;
    for (std::size_t i = 0; i < kVms; ++i) clients.emplace_back(daemon.socket());
    for (std::uint64_t round = 1; round <= 5; ++round) {
        for (Client& client : clients) client.submit_count();
        for (const Client& client : clients) client.await(round);
    }
    EXPECT_EQ(must(clients[0].device.load()).groups_on_slot, kSlots);
}

// ---- A GPU that sleeps

TEST_F(GpuSleep, AProgramThatKnowsNoNeedWakeupGetsItsWorkDone) {
    RawClient program(daemon.socket());
    for (std::uint64_t job = 1; job <= 20; ++job) {
        program.submit_count();
        ASSERT_TRUE(eventually([&] { return program.counted(job); }));
        ASSERT_TRUE(eventually([&] { return program.gpu_sleeps(); }));
    }
    EXPECT_FALSE(program.ended());
}

TEST_F(GpuSleep, IsEndedByTheDoorbellsEventfd) {
    Client client(daemon.socket());
    std::uint64_t jobs = 0;
    EXPECT_TRUE(eventually([&] {
        client.submit_count();
        client.await(++jobs);
        return client.group.queue().gpu_wake_ups() >= 3;
    }));
    EXPECT_EQ(client.group.queue().kicks(), 1U);
}

}  // namespace
}  // namespace belfry
