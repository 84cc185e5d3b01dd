// Native waits end with the group that they wait for, in each process that shares the buffer, and nobody
// polls: a waiter sleeps once and is woken once.
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "daemon_rig.hpp"

namespace belfry {
namespace {

using namespace rig;  // NOLINT: the rig is this file's language

/// No sync object gets there.
constexpr std::uint64_t kNever = 1ULL << 40;
/// Sleeps for a wait that had to wait: one, and one more if the count of waiters was seen before it fell
/// asleep.
constexpr std::uint64_t kSleepsMax = 2;

/// What ends the group; called by its owner.
struct End {
    const char* name;
    void (*come)(std::optional<Client>& client);
};

constexpr End kEnds[] = {
    {"AFault", [](auto& client) { client->submit([](CommandWriter& job) { job.word(~0ULL); }); }},
    {"BeingDestroyed", [](auto& client) { client.reset(); }},
    {"ItsProcessBeingKilled", [](auto&) { ::kill(::getpid(), SIGKILL); }},
};

class NativeWait : public DaemonTest, public testing::WithParamInterface<End> {
  protected:
    static constexpr unsigned kWaiters = 8;

    /// Forks a process that waits until the group has ended, and says so. It outlives its owner, and has the
    /// buffer and nothing else of it.
    void fork_waiter(const SyncObject& object, std::uint64_t target) {
        if (::fork() != 0) return;
        ::prctl(PR_SET_PDEATHSIG, 0);
        ::close_range(3, ~0U, 0);
        const std::uint64_t sleeps = SyncObject::stats().sleeps;  // its parent's
        const auto waited = object.wait(target, {.timeout = kGenerous, .spin = {}});
        if (waited || waited.error().code != ECANCELED) not_cancelled.add();
        if (SyncObject::stats().sleeps - sleeps > kSleepsMax) polled.add();
        done.add();
        ::_exit(EXIT_SUCCESS);
    }
    /// How many wait for the client's object, as they count themselves.
    static std::uint32_t waiters(const Client& client) { return client.word(12); }

    Counter done;
    Counter not_cancelled;
    Counter polled;
};

TEST_P(NativeWait, EndsInEachProcessOnceTheGroupThatOwnsTheObjectHas) {
    Child owner([this] {
        std::optional<Client> client(std::in_place, daemon.socket());
        must(client->group.own(client->done));
        client->submit_count();
        client->await(1);
        for (unsigned i = 0; i < kWaiters; ++i) fork_waiter(client->done, 2 + 17 * i);
        require(eventually([&client] { return waiters(*client) == kWaiters; }), "they do not wait");
        GetParam().come(client);
        done.await(kWaiters);
    });
    done.await(kWaiters);
    EXPECT_EQ(not_cancelled.value(), 0U);
    EXPECT_EQ(polled.value(), 0U);
    owner.wait();
}

TEST_F(DaemonTest, AWaitWithAGroupEndsWithItThoughTheGroupOwnsNothing) {
    Client client(daemon.socket());
    WaitStats stats;
    int code = 0;
    std::thread waiter([&] {
        code = code_of(client.group.wait(client.done, kNever, {.timeout = kGenerous, .spin = {}}));
        stats = SyncObject::stats();
    });
    EXPECT_TRUE(eventually([&client] { return client.word(12) == 1; }));
    client.submit([](CommandWriter& job) { job.word(~0ULL); });
    waiter.join();
    EXPECT_EQ(code, ECANCELED);
    EXPECT_LE(stats.sleeps, kSleepsMax);
}

TEST_F(DaemonTest, AnObjectIsUsableAgainOnceItIsSet) {
    std::optional<Client> client(std::in_place, daemon.socket());
    Group next = must(client->vm.create_group({}));
    must(client->group.own(client->done));
    client->group = std::move(next);  // which ends the one before
    EXPECT_EQ(code_of(client->done.wait(1, {.timeout = kGenerous})), ECANCELED);
    client->done.set(0);
    client->submit_count();
    EXPECT_EQ(must(client->group.wait(client->done, 1, {.timeout = kGenerous})), 1U);
}

TEST_F(DaemonTest, AGroupOwnsNoMoreThanSixtyFourObjectsAndNoneTwice) {
    Client client(daemon.socket());
    for (unsigned i = 0; i < 64; ++i) {
        const SyncObject object = must(SyncObject::at(client.page, 64 * i, client.va + 64 * i));
        must(client.group.own(object));
        must(client.group.own(object));
    }
    const SyncObject further = must(SyncObject::at(client.page, 64 * 64, client.va + 64 * 64));
    EXPECT_EQ(code_of(client.group.own(further)), ENOSPC);
    EXPECT_EQ(code_of(Group(must(client.vm.create_group({.user_submit = false}))).own(further)), EINVAL);
}

INSTANTIATE_TEST_SUITE_P(By, NativeWait, testing::ValuesIn(kEnds),
                         [](const auto& end) { return std::string(end.param.name); });

}  // namespace
}  // namespace belfry
