// belfryd as a process: its socket, its beginning and its end.
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "belfry/uapi/drm.h"
#include "belfry/uapi/sw_sync.h"
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

// ---- What it shows to programs in place of /dev and /sys

class DaemonView : public DaemonTest {
  protected:
    [[nodiscard]] std::string view() const { return daemon.socket() + ".view"; }
    [[nodiscard]] std::string at(const std::string& name) const { return view() + "/" + name; }
    [[nodiscard]] std::unique_ptr<client::SocketTransport> connect(const std::string& name) const {
        return must(client::SocketTransport::connect(at(name)));
    }
    /// 0, or the errno of it.
    static int set_master(client::Transport& file) {
        const auto done = file.ioctl(DRM_IOCTL_SET_MASTER, nullptr);
        return done ? 0 : static_cast<int>(done.error());
    }
};

TEST_F(DaemonView, HasAListeningSocketForEachNodeForItsOwnerOnly) {
    for (const char* const node : {"dev/dri/card0", "dev/dri/renderD128", "dev/sw_sync"}) {
        struct stat status{};
        ASSERT_EQ(::lstat(at(node).c_str(), &status), 0) << node;
        EXPECT_EQ(status.st_mode, S_IFSOCK | 0600U) << node;
        const auto file = connect(node);
        sockaddr_un name{};
        socklen_t length = sizeof name;
        ASSERT_EQ(::getpeername(file->fd(), reinterpret_cast<sockaddr*>(&name), &length), 0);
        EXPECT_EQ(name.sun_path, at(node)) << "by which a program that inherits it knows the node";
    }
    struct stat status{};
    ASSERT_EQ(::lstat(view().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode, S_IFDIR | 0700U);
}

TEST_F(DaemonView, HasTheSysfsOfBothMinorsOfOnePlatformDevice) {
    const auto device = std::filesystem::canonical(at("sys/devices/platform/fb000000.gpu"));
    for (const auto& [number, node] : {std::pair("226:0", "card0"), std::pair("226:128", "renderD128")}) {
        const auto minor = std::filesystem::canonical(at("sys/dev/char/") + number);
        EXPECT_EQ(minor, device / "drm" / node);
        EXPECT_EQ(std::filesystem::canonical(at("sys/class/drm/") + node), minor);
        EXPECT_EQ(std::filesystem::canonical(minor / "device"), device);
        EXPECT_EQ(std::filesystem::canonical(minor / "subsystem"),
                  std::filesystem::canonical(at("sys/class/drm")));
        EXPECT_EQ(read_file(minor / "dev"), std::string(number) + "\n");
        expect_mentions(read_file(minor / "uevent"),
                        {"MAJOR=226\n", "MINOR=" + std::string(number).substr(4) + "\n",
                         std::string("DEVNAME=dri/") + node + "\n", "DEVTYPE=drm_minor\n"});
    }
    EXPECT_EQ(std::filesystem::read_symlink(device / "subsystem").filename(), "platform");
    EXPECT_TRUE(std::filesystem::is_directory(device / "subsystem"));
    EXPECT_EQ(std::filesystem::canonical(device / "driver").filename(), "panthor");
    expect_mentions(read_file(device / "uevent"),
                    {"DRIVER=panthor\n", "OF_FULLNAME=/gpu@fb000000\n", "OF_COMPATIBLE_N=2\n"});
}

TEST_F(DaemonView, LeadsToARenderNodeAPrimaryNodeAndTimelines) {
    const auto primary = connect("dev/dri/card0");
    const auto render = connect("dev/dri/renderD128");
    const auto timeline = connect("dev/sw_sync");
    EXPECT_EQ(set_master(*render), EACCES);
    EXPECT_EQ(set_master(*primary), 0);
    std::uint32_t steps = 1;
    EXPECT_TRUE(timeline->ioctl(SW_SYNC_IOC_INC, &steps));
    EXPECT_EQ(must(daemon.open().load()).files, 3U) << "of the GPU: two of the view's and this one";
}

TEST_F(DaemonView, IsGoneAfterwards) {
    const auto primary = connect("dev/dri/card0");
    daemon.stop();
    EXPECT_FALSE(std::filesystem::exists(view()));
    EXPECT_EQ(set_master(*primary), ENODEV);
}

TEST_F(DaemonView, ThatADaemonLeftBehindIsReplaced) {
    daemon.kill();
    ASSERT_TRUE(std::filesystem::exists(at("dev/dri/card0"))) << "nobody was left to remove it";
    std::filesystem::remove(at("sys/class/drm/card0"));
    write_file(at("sys/of-another-version"), "");
    const Daemon next(daemon.socket());
    EXPECT_TRUE(std::filesystem::exists(at("sys/class/drm/card0")));
    EXPECT_FALSE(std::filesystem::exists(at("sys/of-another-version")));
    EXPECT_EQ(set_master(*connect("dev/dri/card0")), 0);
}

TEST_F(DaemonView, NeverReplacesADirectoryOfTheUsers) {
    const std::string precious = (directory / "other.view") + "/file";
    std::filesystem::create_directory(directory / "other.view");
    write_file(precious, "content");
    const Outcome outcome = run({bin("belfryd"), "--socket", directory / "other"});
    EXPECT_EQ(outcome.exit_code, EXIT_FAILURE);
    expect_mentions(outcome.err, {directory / "other.view", "was not made by belfryd"});
    EXPECT_EQ(read_file(precious), "content");
    EXPECT_FALSE(std::filesystem::exists(directory / "other"));
}

TEST_F(DaemonView, WhoseNamesAreTooLongForSocketsIsAnErrorSayingSo) {
    const std::string path = directory / std::string(70, 'x');
    const Outcome outcome = run({bin("belfryd"), "--socket", path});
    EXPECT_EQ(outcome.exit_code, EXIT_FAILURE);
    expect_mentions(outcome.err, {path + ".view/dev/dri/renderD128", "too long", "107"});
    EXPECT_FALSE(std::filesystem::exists(path)) << "it leaves nothing behind";
    EXPECT_FALSE(std::filesystem::exists(path + ".view"));
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

TEST_F(PrivateDaemon, EndsWithTheLastClientAtWhicheverNode) {
    for (const char* const node : {"dev/dri/card0", "dev/dri/renderD128", "dev/sw_sync"}) {
        Counter serves;
        Counter end;
        Child program([&] {
            enter();
            std::unique_ptr<client::SocketTransport> last;
            {
                const Device device = must(Device::open());
                must(device.load());
                last = must(client::SocketTransport::connect(device.socket_path() + ".view/" + node));
            }
            // Answered by the daemon, whatever the answer is.
            const auto answer = last->ioctl(DRM_IOCTL_SET_MASTER, nullptr);
            require(answer || answer.error() != base::Errno::no_device, "the daemon ended too early");
            serves.add();
            end.await(1);
        });
        serves.await(1);
        const base::Fd its = pidfd();
        ASSERT_TRUE(its);
        end.add();
        program.finish();
        EXPECT_TRUE(await_exit(its.get())) << node;
        EXPECT_TRUE(std::filesystem::is_empty(runtime())) << node << ": something is left behind";
    }
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
