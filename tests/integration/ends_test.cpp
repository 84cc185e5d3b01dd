// Groups that end: what belfryd's log says of it, and `belfry run`.
#include <array>
#include <csignal>
#include <cstdlib>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon_rig.hpp"

namespace belfry {
namespace {

using namespace rig;  // NOLINT: the rig is this file's language

const std::string kSaid =
    "group 1 of shim_ends () has ended: queue 0: INSTR_INVALID_ENC: no such instruction, or one that a "
    "compute shader cannot have: NOP (unused bits 0x8000000000000000; invalid: bit 63 is set) at shader "
    "address 0x100400, workgroup (0, 0, 0), thread 0, run by RUN_COMPUTE axis x, increment 1, srt 0, spd 0, "
    "tsd 0, fau 0 at 0x100060\n";

class Ends : public DaemonTest {
  protected:
    [[nodiscard]] Outcome belfry_run(const std::string& test_case) const {
        return run({bin("belfry"), "run", "--socket", daemon.socket(), "--", bin("shim_ends"), test_case});
    }
    /// What belfryd has logged, but for what it says of itself.
    std::string log() {
        daemon.stop();
        std::istringstream lines(daemon.said());
        std::string text;
        for (std::string line; std::getline(lines, line);)
            if (line.find("serving ") == std::string::npos &&
                line.find("ended by signal") == std::string::npos)
                text += line + "\n";
        return text;
    }
    static std::string without_pids(const std::string& text) {
        return std::regex_replace(text, std::regex(R"(shim_ends \(\d+\))"), "shim_ends ()");
    }
};

TEST_F(Ends, AreSaidInTheLogAndByRunEachOnce) {
    const Outcome outcome = belfry_run("one");
    EXPECT_EQ(outcome.exit_code, EXIT_SUCCESS);
    EXPECT_EQ(without_pids(outcome.err), "belfry: " + kSaid);
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(without_pids(log()), "belfryd: " + kSaid);
}

TEST_F(Ends, AreSaidOfAProgramThatIsKilledBeforeItAsks) {
    const Outcome outcome = belfry_run("killed");
    EXPECT_EQ(outcome.exit_code, 128 + SIGKILL);
    EXPECT_EQ(without_pids(outcome.err), "belfry: " + kSaid);
}

TEST_F(Ends, AreSaidOfAllThatTheProgramStarts) {
    EXPECT_EQ(without_pids(belfry_run("grandchild").err), "belfry: " + kSaid);
}

TEST_F(Ends, AreSaidWhateverTheProgramDidWithItsStandardError) {
    EXPECT_EQ(without_pids(belfry_run("closed").err), "belfry: " + kSaid);
}

TEST_F(Ends, OfOtherProgramsAreNotSaidByRun) {
    // One that runs meanwhile and has nothing to do with this one.
    const base::Fd out(::memfd_create("stderr", 0));
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const base::Fd wait(ends[0]);
    base::Fd go(ends[1]);
    Process other([&] {
        ::dup2(wait.get(), STDIN_FILENO);
        ::dup2(out.get(), STDERR_FILENO);
        execute({bin("belfry"), "run", "--socket", daemon.socket(), "--", "/bin/cat"});
    });
    EXPECT_NE(belfry_run("one").err, "");
    go = base::Fd();
    EXPECT_EQ(other.wait(), EXIT_SUCCESS);
    EXPECT_EQ(read_file("/proc/self/fd/" + std::to_string(out.get())), "");
}

TEST_F(Ends, OfALoopAreCountedInsteadOfSaid) {
    const Outcome outcome = belfry_run("many");
    EXPECT_EQ(outcome.exit_code, EXIT_SUCCESS);
    // How many are said depends on how many seconds it took; the rest is counted.
    std::istringstream lines(outcome.err);
    unsigned long groups = 0;
    unsigned counted = 0;
    for (std::string text; std::getline(lines, text);) {
        if (text.find("has ended: queue 0") != std::string::npos) {
            ++groups;
            continue;
        }
        EXPECT_NE(text.find(" of shim_ends "), std::string::npos) << text;
        groups += std::stoul(text.substr(std::string("belfry: ").size()));
        ++counted;
    }
    EXPECT_EQ(groups, 40u) << outcome.err;
    EXPECT_GT(counted, 0u);
}

TEST_F(Ends, AreSaidOnceByAPrivateDaemonsRun) {
    const base::Fd err(::memfd_create("stderr", 0));
    Process runner([&] {
        ::unsetenv("BELFRY_SOCKET");
        ::setenv("XDG_RUNTIME_DIR", directory.path().c_str(), 1);
        ::dup2(err.get(), STDERR_FILENO);
        execute({bin("belfry"), "run", "--", bin("shim_ends"), "one"});
    });
    EXPECT_EQ(runner.wait(), EXIT_SUCCESS);
    EXPECT_EQ(without_pids(read_file("/proc/self/fd/" + std::to_string(err.get()))), "belfry: " + kSaid);
}

TEST_F(Ends, OfAProgramThatUsesTheClientLibraryAreLogged) {
    Client client(daemon.socket());
    client.submit([](CommandWriter& job) { job.word(0xee00'0000'0000'0000); });
    EXPECT_TRUE(eventually([&] { return !must(client.group.status()).alive; }));
    const std::string why = must(client.group.status()).message;
    expect_mentions(log(), {"belfryd: group 1 of process_tests (" + std::to_string(::getpid()) +
                            ") has ended: " + why + "\n"});
}

TEST_F(Ends, WhoeverWatchesAndNeverReadsHoldsNobodyUp) {
    std::vector<base::Fd> deaf;
    for (int i = 0; i < 80; ++i) {
        base::Fd watcher(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
        sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
        const std::string door = daemon.socket() + ".view/ended";
        door.copy(address.sun_path, sizeof address.sun_path - 1);
        ASSERT_EQ(::connect(watcher.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        deaf.push_back(std::move(watcher));
    }
    EXPECT_EQ(belfry_run("many").exit_code, EXIT_SUCCESS);
}

}  // namespace
}  // namespace belfry
