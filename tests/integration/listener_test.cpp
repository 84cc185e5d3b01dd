// The Listener's doors: who comes in, to which node, and when nobody is left.
#include "server/listener.hpp"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <asio/io_context.hpp>

#include "daemon_rig.hpp"

namespace belfry::server {
namespace {

using namespace rig;  // NOLINT: the rig is this file's language
using base::Fd;

/// A node that nobody asks for anything.
class IdleNode final : public drm::Node {
  public:
    base::Result<std::unique_ptr<drm::File>> open(const drm::Opener& opener) override {
        openers.push_back(opener);
        return std::make_unique<IdleFile>();
    }
    std::vector<drm::Opener> openers;

  private:
    class IdleFile final : public drm::File {
        void ioctl(const std::shared_ptr<drm::Call>& call) override { call->complete({}); }
        void mmap(const drm::MapRequest&, drm::MapReply reply) override {
            reply(std::unexpected(base::Errno::no_device));
        }
    };
};

Fd connect(const std::string& path) {
    Fd primary(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    require(::connect(primary.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0,
            "cannot connect to " + path);
    return primary;
}

class Doors : public testing::Test {
  protected:
    Doors() {
        listener.add_door(must(ListeningSocket::bind(second_path)), second);
        listener.start();
    }
    void turn() {
        io.restart();
        io.poll();
    }
    [[nodiscard]] bool sessions_become(std::size_t count) {
        return eventually([&] {
            turn();
            return listener.sessions() == count;
        });
    }
    /// Of the process that `work` connects in.
    const drm::Opener& opener_of(const std::function<void()>& work) {
        Child child([&] {
            work();
            const Fd primary = connect(first_path);
            known.await(1);
        });
        EXPECT_TRUE(sessions_become(1));
        known.add();
        child.finish();
        EXPECT_EQ(first.openers.back().pid, child.pid());
        return first.openers.back();
    }

    Directory directory;
    const std::string first_path = directory / "first";
    const std::string second_path = directory / "second";
    Counter known;
    int last_closed = 0;
    IdleNode first;
    IdleNode second;
    asio::io_context io;
    Listener listener{io,
                      must(ListeningSocket::bind(first_path)),
                      first,
                      {.on_last_closed = [this] { ++last_closed; }},
                      {.sessions_max = 3}};
};

TEST_F(Doors, LeadToTheirNodes) {
    const Fd client = connect(second_path);
    ASSERT_TRUE(sessions_become(1));
    EXPECT_EQ(first.openers.size(), 0U);
    ASSERT_EQ(second.openers.size(), 1U);
    EXPECT_EQ(second.openers[0].pid, ::getpid());
    EXPECT_EQ(second.openers[0].uid, ::getuid());
}

TEST_F(Doors, ReportTheLastClientOfAllOfThem) {
    Fd at_first = connect(first_path);
    Fd at_second = connect(second_path);
    ASSERT_TRUE(sessions_become(2));
    at_first = Fd();
    ASSERT_TRUE(sessions_become(1));
    EXPECT_EQ(last_closed, 0);
    Fd waits_to_be_accepted = connect(first_path);
    at_second = Fd();
    ASSERT_TRUE(eventually([&] {
        turn();
        return first.openers.size() == 2;
    }));
    ASSERT_TRUE(sessions_become(1));
    EXPECT_EQ(last_closed, 0);
    waits_to_be_accepted = Fd();
    ASSERT_TRUE(sessions_become(0));
    EXPECT_EQ(last_closed, 1);
}

TEST_F(Doors, ShareTheLimitOfSessions) {
    const std::vector<Fd> clients = [&] {
        std::vector<Fd> connected;
        for (int i = 0; i < 2; ++i) {
            connected.push_back(connect(first_path));
            connected.push_back(connect(second_path));
        }
        return connected;
    }();
    ASSERT_TRUE(eventually([&] {
        turn();
        return listener.accepted() == 4;
    }));
    EXPECT_EQ(listener.sessions(), 3U);
}

TEST_F(Doors, TellWhatTheOpenerMayDo) {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    __user_cap_data_struct ours[2]{};
    ASSERT_EQ(::syscall(SYS_capget, &header, ours), 0);
    const drm::Opener& with_ours = opener_of([] {});
    EXPECT_EQ(with_ours.may_admin, (ours[0].effective >> CAP_SYS_ADMIN & 1) != 0);
    EXPECT_EQ(with_ours.may_nice, (ours[0].effective >> CAP_SYS_NICE & 1) != 0);
}

TEST_F(Doors, TellThatRootWithoutCapabilitiesMayNothing) {
    const drm::Opener& opener = opener_of([] {
        __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
        const __user_cap_data_struct none[2]{};
        require(::syscall(SYS_capset, &header, none) == 0, "cannot drop capabilities");
    });
    EXPECT_FALSE(opener.may_admin);
    EXPECT_FALSE(opener.may_nice);
}

TEST_F(Doors, TellThatTheRootOfAUserNamespaceOfItsOwnMayNothing) {
    // For whom we are when we are not root already.
    ASSERT_EQ(::chmod(directory.path().c_str(), 0755), 0);
    ASSERT_EQ(::chmod(first_path.c_str(), 0666), 0);
    Child can([] {
        if (::getuid() == 0) require(::setresuid(65534, 65534, 65534) == 0, "cannot become nobody");
        require(::unshare(CLONE_NEWUSER) == 0, "no user namespaces here");
    });
    if (can.wait() != EXIT_SUCCESS) GTEST_SKIP() << "user namespaces are not allowed here";
    const drm::Opener& opener = opener_of([] {
        if (::getuid() == 0) require(::setresuid(65534, 65534, 65534) == 0, "cannot become nobody");
        require(::unshare(CLONE_NEWUSER) == 0, "no user namespaces here");
    });
    EXPECT_FALSE(opener.may_admin);
    EXPECT_FALSE(opener.may_nice);
}

}  // namespace
}  // namespace belfry::server
