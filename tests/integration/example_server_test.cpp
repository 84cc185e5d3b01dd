// The example servers (examples/uring_server.cpp, asio_server.cpp), as their clients see them.
#include <cstdlib>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "daemon_rig.hpp"

namespace belfry {
namespace {

using namespace rig;  // NOLINT: the rig is this file's language

class ExampleServer : public DaemonTest, public testing::WithParamInterface<std::vector<std::string>> {
  protected:
    ExampleServer() {
        std::array<int, 2> ends{};
        require(::pipe2(ends.data(), O_CLOEXEC) == 0, "no pipe");
        output_ = base::Fd(ends[0]);
        base::Fd theirs(ends[1]);
        std::vector<std::string> command = GetParam();
        command[0] = bin(command[0]);
        command.insert(command.begin() + 1, socket_);
        server_.emplace([&] {
            ::setenv("BELFRY_SOCKET", daemon.socket().c_str(), 1);
            ::dup2(theirs.get(), STDOUT_FILENO);
            execute(command);
        });
        theirs = base::Fd();
        while (said_.find("listening") == std::string::npos)
            require(read_more(), "the server did not come up");
    }

    /// So many requests over 32 connections: REQUESTS, BAD and HANGUPS of lookup_client.
    [[nodiscard]] Outcome ask(const std::string& requests, const std::string& bad = "0",
                              const std::string& hangups = "0") const {
        return run({bin("lookup_client"), socket_, requests, "32", bad, hangups});
    }
    void stop() {
        server_->signal(SIGTERM);
        EXPECT_EQ(server_->wait(), EXIT_SUCCESS);
    }

  private:
    bool read_more() {
        std::array<char, 512> piece{};
        const auto got = ::read(output_.get(), piece.data(), piece.size());
        if (got > 0) said_.append(piece.data(), static_cast<std::size_t>(got));
        return got > 0;
    }

    std::string socket_ = directory / "lookup";
    base::Fd output_;
    std::string said_;
    std::optional<Process> server_;
};

INSTANTIATE_TEST_SUITE_P(Each, ExampleServer,
                         testing::Values(std::vector<std::string>{"uring_server"},
                                         std::vector<std::string>{"uring_server", "eventfd"},
                                         std::vector<std::string>{"asio_server"}),
                         [](const auto& command) {
                             return command.param[0] + (command.param.size() > 1 ? "_by_eventfd" : "");
                         });

TEST_P(ExampleServer, AnswersEachRequestOnce) {
    const Outcome clients = ask("2000");
    EXPECT_EQ(clients.exit_code, EXIT_SUCCESS) << clients.out << clients.err;
    expect_mentions(clients.out, {"2000 right replies, 0 of them errors, 0 wrong, 0 lost"});
    stop();
}

TEST_P(ExampleServer, GoesOnWithANewGroupWhenARequestEndsOneAndOthersNeverNotice) {
    const Outcome clients = ask("2000", "250");
    EXPECT_EQ(clients.exit_code, EXIT_SUCCESS) << clients.out << clients.err;
    expect_mentions(clients.out, {"2000 right replies, 8 of them errors, 0 wrong, 0 lost"});
    stop();
}

TEST_P(ExampleServer, OutlivesClientsThatHangUpInTheMiddleOfARequest) {
    const Outcome clients = ask("2000", "250", "100");
    EXPECT_EQ(clients.exit_code, EXIT_SUCCESS) << clients.out << clients.err;
    expect_mentions(clients.out, {"0 wrong, 0 lost, 20 hung up"});
    stop();
    const Device observer = daemon.open();
    EXPECT_TRUE(eventually([&] { return must(observer.load()).files == 1; }));
}

}  // namespace
}  // namespace belfry
