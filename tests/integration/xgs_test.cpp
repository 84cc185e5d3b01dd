// XGS queues and eventfds through libbelfry and belfryd: between user-mode work of one process and whoever
// waits for fences. What each operation does is tests/unit/panthor_xgs_test.cpp's.
#include <cerrno>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>
#include <poll.h>

#include "daemon_rig.hpp"

namespace belfry {
namespace {

using namespace rig;  // NOLINT: the rig is this file's language
using CrossGroupSync = DaemonTest;

bool rings(const base::Fd& eventfd) {
    pollfd wanted{.fd = eventfd.get(), .events = POLLIN, .revents = 0};
    return ::poll(&wanted, 1, static_cast<int>(std::chrono::milliseconds(kGenerous).count())) == 1;
}

TEST_F(CrossGroupSync, UserModeWorkSignalsAFenceAndAFenceLetsUserModeWorkGo) {
    constexpr std::uint64_t kGo = 256;
    Client client(daemon.socket());
    XgsQueue xgs = must(client.vm.create_xgs_queue({}));
    const Syncobj in = must(client.device.create_syncobj());
    const Syncobj out = must(client.device.create_syncobj());
    // The fence `in` -> the value at kGo -> the stream -> `done` -> the fence `out`.
    client.submit([&](CommandWriter& job) {
        job.move48(d(0), client.va + kGo).move48(d(2), 0).sync_wait64(d(0), csf::Condition::gt, d(2));
        client.count(job);
    });
    must(in.signal());
    XgsQueue release = must(client.vm.create_xgs_queue({}));
    must(xgs.submit(XgsOps().wait_gt(client.va, 0), std::vector<SyncOp>{{.syncobj = out, .signal = true}}));
    EXPECT_EQ(code_of(out.wait()), EINVAL) << "late: there is no fence yet";
    must(release.submit(XgsOps().set(client.va + kGo, 1), std::vector<SyncOp>{{.syncobj = in}}));
    EXPECT_EQ(code_of(out.wait_for_submit(0, kGenerous)), 0);
    client.await(1);
}

TEST_F(CrossGroupSync, AProgramsOwnUpdateIsHeardAfterSyncUpdate) {
    Client client(daemon.socket());
    XgsQueue xgs = must(client.vm.create_xgs_queue({}));
    const Syncobj out = must(client.device.create_syncobj());
    must(xgs.submit(XgsOps().wait_gt(client.va, 6), std::vector<SyncOp>{{.syncobj = out, .signal = true}},
                    {.bounded = true}));
    client.done.set(7);
    must(client.device.sync_update());
    EXPECT_EQ(code_of(out.wait(0, kGenerous)), 0);
}

TEST_F(CrossGroupSync, EventfdsRingForUpdatesAndStatesAlsoWhenTheProgramKeepsNoOther) {
    const base::Fd updates = must(base::make_eventfd());
    const base::Fd states = must(base::make_eventfd());
    const base::Fd signals = must(base::make_eventfd());
    Client client(daemon.socket(),
                  {.sync_update_eventfd = updates.get(), .group_state_eventfd = states.get()});
    XgsQueue xgs = must(client.vm.create_xgs_queue({.sync_update_eventfd = signals.get()}));
    must(xgs.submit(XgsOps().wait_gt(client.va, 0).add(client.va, 1)));
    client.submit_count();
    EXPECT_TRUE(rings(updates));
    EXPECT_TRUE(rings(signals));
    client.submit([](CommandWriter& job) { job.word(0xee00'0000'0000'0000); });
    EXPECT_TRUE(rings(states));
    EXPECT_FALSE(must(client.group.status()).alive);
}

TEST_F(CrossGroupSync, AProgramThatDiesLeavesNothing) {
    Child program([&] {
        Client client(daemon.socket());
        XgsQueue xgs = must(client.vm.create_xgs_queue({}));
        const Syncobj out = must(client.device.create_syncobj());
        must(xgs.submit(XgsOps().wait_gt(client.va, 0), std::vector<SyncOp>{{.syncobj = out, .signal = true}},
                        {.bounded = true}));
        ::_exit(0);
    });
    program.finish();
    Client client(daemon.socket());
    EXPECT_TRUE(eventually([&] { return must(client.device.load()).files == 1; }));
}

}  // namespace
}  // namespace belfry
