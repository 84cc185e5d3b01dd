// belfryd as a process: its socket, its beginning and its end.
#include <cstdlib>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "daemon_rig.hpp"

namespace belfry {
namespace {

using namespace rig;  // NOLINT: the rig is this file's language

using DaemonProcess = DaemonTest;

TEST_F(DaemonProcess, ItsSocketIsForItsOwnerOnly) {
    struct stat status{};
    ASSERT_EQ(::stat(daemon.socket().c_str(), &status), 0);
    EXPECT_TRUE(S_ISSOCK(status.st_mode));
    EXPECT_EQ(status.st_mode & 07777, 0600U);
}

TEST_F(DaemonProcess, ASecondOneOnTheSameSocketRefuses) {
    const Outcome second = run({bin("belfryd"), "--socket", daemon.socket()});
    EXPECT_EQ(second.exit_code, EXIT_FAILURE);
    expect_mentions(second.err, {"another server already answers at '" + daemon.socket() + "'"});
    EXPECT_TRUE(daemon.open().load()) << "the first one goes on";
}

TEST_F(DaemonProcess, AStaleSocketIsReplaced) {
    daemon.kill();
    ASSERT_TRUE(std::filesystem::exists(daemon.socket())) << "nobody was left to remove it";
    const Daemon next(daemon.socket());
    EXPECT_TRUE(next.open().load());
}

TEST_F(DaemonProcess, WhatIsNoSocketIsNeverReplaced) {
    const std::string path = directory / "precious";
    write_file(path, "content");
    const Outcome outcome = run({bin("belfryd"), "--socket", path});
    EXPECT_EQ(outcome.exit_code, EXIT_FAILURE);
    expect_mentions(outcome.err, {path, "is not a socket"});
    EXPECT_EQ(read_file(path), "content");
}

TEST_F(DaemonProcess, SigtermEndsItCleanlyAndItsClientsHaveNoDevice) {
    Client busy(daemon.socket());
    busy.submit([&](CommandWriter& job) {
        busy.count(job);
        write_endless_loop(job);
    });
    ASSERT_EQ(code_of(busy.done.wait(1, {.timeout = kGenerous})), 0);
    Counter ready;
    Child waiter([&] {
        Client client(daemon.socket(), {.user_submit = false});
        const Syncobj fence = must(client.device.create_syncobj());
        submit(client.group, client.stream(write_endless_loop), {{.syncobj = fence, .signal = true}});
        ready.add();
        const auto waited = fence.wait();
        require(code_of(waited) == ENODEV,
                "a wait for a daemon that ends gave " + std::to_string(code_of(waited)));
    });
    ready.await(1);
    daemon.stop();
    EXPECT_FALSE(std::filesystem::exists(daemon.socket()));
    EXPECT_EQ(code_of(busy.device.load()), ENODEV);
    EXPECT_EQ(code_of(busy.group.status()), ENODEV);
    waiter.finish();
}

TEST_F(DaemonProcess, SigtermWithoutClientsEndsItToo) {
    daemon.stop();
    EXPECT_FALSE(std::filesystem::exists(daemon.socket()));
}

TEST_F(DaemonProcess, SleepsWhileAGroupOnASlotHasNothingToDo) {
    Client client(daemon.socket());
    client.submit_count();
    client.await(1);
    ASSERT_EQ(must(client.device.load()).groups_on_slot, 1U);
    const std::uint64_t before = daemon.cpu_ticks();
    const auto time = std::chrono::milliseconds(500);
    ASSERT_EQ(code_of(client.done.wait(2, {.timeout = time, .spin = {}})), ETIMEDOUT);
    // A thread that spins would have used all of it, and gets no more than that on a busy machine.
    const auto ticks = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK) * time.count() / 1000);
    EXPECT_LT(daemon.cpu_ticks() - before, ticks / 3);
}

TEST(DaemonOptions, TheHelpNamesEachOfThem) {
    const Outcome help = run({bin("belfryd"), "--help"});
    EXPECT_EQ(help.exit_code, EXIT_SUCCESS);
    expect_mentions(help.out, {"--help", "--socket", "--group-slots", "--streams", "--listen-fd", "--private",
                               "--verbose"});
}

TEST(DaemonOptions, WhatDoesNotExistIsNamedInTheError) {
    const Outcome outcome = run({bin("belfryd"), "--sokcet", "/tmp/x"});
    EXPECT_NE(outcome.exit_code, EXIT_SUCCESS);
    expect_mentions(outcome.err, {"--sokcet"});
}

TEST(DaemonOptions, ThePathOfADirectoryThatCannotBeMadeIsNamedInTheError) {
    const Outcome outcome = run({bin("belfryd"), "--socket", "/proc/no/such/directory/socket"});
    EXPECT_EQ(outcome.exit_code, EXIT_FAILURE);
    expect_mentions(outcome.err, {"/proc/no/such/directory"});
}

TEST(DaemonOptions, TheGpuHasTheSlotsAndStreamsThatWereAskedFor) {
    const Directory directory;
    const Daemon daemon(directory / "socket", {"--group-slots", "3", "--streams", "5"});
    const DeviceInfo info = must(daemon.open().info());
    EXPECT_EQ(info.group_slots, 3U);
    EXPECT_EQ(info.streams_per_group, 5U);
}

// ---- A daemon of one's own

/// In an environment where no daemon runs, and where the one that is started leaves its process id in a file.
class PrivateDaemon : public testing::Test {
  protected:
    PrivateDaemon() {
        const std::string script = directory / "belfryd";
        write_file(script, "#!/bin/sh\necho $$ > " + pid_file() + "\nexec " + bin("belfryd") + " \"$@\"\n");
        std::filesystem::permissions(script, std::filesystem::perms::owner_all);
        std::filesystem::create_directory(runtime());
    }
    [[nodiscard]] std::string pid_file() const { return directory / "pid"; }
    [[nodiscard]] std::string runtime() const { return directory / "runtime"; }
    /// In a child.
    void enter() const {
        ::unsetenv("BELFRY_SOCKET");
        ::setenv("XDG_RUNTIME_DIR", runtime().c_str(), 1);
        ::setenv("BELFRYD", (directory / "belfryd").c_str(), 1);
    }
    /// Of the daemon that answers already.
    [[nodiscard]] base::Fd pidfd() const { return open_pidfd(std::stoi(read_file(pid_file()))); }

    Directory directory;
};

TEST_F(PrivateDaemon, StartsForAProgramThatFindsNoneAndEndsWithIt) {
    Counter serves;
    Counter end;
    Child program([&] {
        enter();
        Client client(must(Device::open()));
        client.submit_count();
        client.await(1);
        require(client.device.socket_path().starts_with(runtime()), client.device.socket_path());
        serves.add();
        end.await(1);
    });
    serves.await(1);
    const base::Fd its = pidfd();
    ASSERT_TRUE(its);
    EXPECT_FALSE(std::filesystem::is_empty(runtime()));
    end.add();
    program.finish();
    EXPECT_TRUE(await_exit(its.get()));
    EXPECT_TRUE(std::filesystem::is_empty(runtime())) << "its directory is left behind";
}

TEST_F(PrivateDaemon, EndsWithAProgramThatWasKilled) {
    Counter serves;
    Child program([&] {
        enter();
        Client client(must(Device::open()));
        client.submit(write_endless_loop);
        must(client.device.load());
        serves.add();
        Counter().await(1);
    });
    serves.await(1);
    const base::Fd its = pidfd();
    ASSERT_TRUE(its);
    program.signal(SIGKILL);
    EXPECT_EQ(program.wait(), -SIGKILL);
    EXPECT_TRUE(await_exit(its.get()));
    EXPECT_TRUE(std::filesystem::is_empty(runtime()));
}

TEST_F(PrivateDaemon, IsSharedByThoseWhoHaveItsSocketInTheEnvironmentUntilTheLastOfThemEnds) {
    Shared<std::array<char, 256>> path;
    Counter first_serves;
    Counter second_works;
    Counter end;
    Child first([&] {
        enter();
        const Device device = must(Device::open());
        must(device.load());
        std::strncpy(path->data(), device.socket_path().c_str(), path->size() - 1);
        first_serves.add();
        second_works.await(1);
    });
    first_serves.await(1);
    const base::Fd its = pidfd();
    ASSERT_TRUE(its);
    Child second([&] {
        enter();
        ::setenv("BELFRY_SOCKET", path->data(), 1);
        Client client(must(Device::open()));
        require(must(client.device.load()).files == 2, "the two do not share a daemon");
        second_works.add();
        end.await(1);
        client.submit_count();
        client.await(1);
    });
    second_works.await(1);
    first.finish();
    pollfd ended{.fd = its.get(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&ended, 1, 0), 0) << "it ends although somebody still uses it";
    end.add();
    second.finish();
    EXPECT_TRUE(await_exit(its.get()));
}

TEST_F(PrivateDaemon, IsNeverStartedInPlaceOfASocketThatWasAskedForAndDoesNotAnswer) {
    Child program([&] {
        enter();
        const std::string path = directory / "nobody-here";
        ::setenv("BELFRY_SOCKET", path.c_str(), 1);
        const auto opened = Device::open();
        require(code_of(opened) == ENOENT, "opened, or the wrong error");
        require(opened.error().message.find(path) != std::string::npos, opened.error().message);
    });
    program.finish();
    EXPECT_FALSE(std::filesystem::exists(pid_file()));
}

TEST_F(PrivateDaemon, ThatIsNoProgramIsAnErrorNamingIt) {
    Child program([&] {
        enter();
        ::setenv("BELFRYD", "/no/such/belfryd", 1);
        const auto opened = Device::open();
        require(code_of(opened) == ENOENT, "opened, or the wrong error");
        require(opened.error().message.find("/no/such/belfryd") != std::string::npos, opened.error().message);
    });
    program.finish();
    EXPECT_TRUE(std::filesystem::is_empty(runtime())) << "its directory is left behind";
}

}  // namespace
}  // namespace belfry
