// The preload library and `belfry run`: C programs of our own against libdrm (tests/shim), and the system's
// own programs, as users run them.
#include <cstdlib>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "daemon_rig.hpp"

// The library carries its sanitizer along, which programs that were built without one do not let in.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BELFRY_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BELFRY_SANITIZED 1
#endif
#endif
#ifndef BELFRY_SANITIZED
#define BELFRY_SANITIZED 0
#endif

namespace belfry {
namespace {

using namespace rig;  // NOLINT: the rig is this file's language

std::vector<std::string> operator+(std::vector<std::string> words, const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
}

std::string library() { return std::string(BELFRY_BIN_DIR) + "/../lib/libbelfry-drm.so"; }

class Shim : public DaemonTest {
  protected:
    [[nodiscard]] Outcome belfry_run(const std::vector<std::string>& command,
                                     const std::vector<std::string>& options = {}) const {
        return run(std::vector<std::string>{bin("belfry"), "run", "--socket", daemon.socket()} + options +
                   std::vector<std::string>{"--"} + command);
    }
    /// One case of a program of tests/shim.
    void expect_passes(const std::string& program, const std::string& test_case) const {
        const Outcome outcome = belfry_run({bin("shim_" + program), test_case});
        EXPECT_EQ(outcome.exit_code, EXIT_SUCCESS) << outcome.err;
        EXPECT_EQ(outcome.err, "");
    }
    /// The driver's files are gone once it has heard that the programs have.
    [[nodiscard]] bool all_files_close() const {
        const Device device = daemon.open();
        return eventually([&] { return must(device.load()).files == 1; });
    }
};

/// Programs of the system, which know nothing of sanitizers.
class ShimOnTheSystem : public Shim {
  protected:
    void SetUp() override {
        if (BELFRY_SANITIZED)
            GTEST_SKIP() << "the system's programs cannot load a library that was built with a sanitizer";
    }
    /// What a program that has nothing to do with DRM says must be what it says without the library.
    void expect_undisturbed(const std::vector<std::string>& command) const {
        const Outcome without = run(std::vector<std::string>{"/usr/bin/env"} + command);
        const Outcome with = belfry_run(command);
        EXPECT_EQ(with.exit_code, without.exit_code) << with.err;
        EXPECT_EQ(with.out, without.out);
        EXPECT_EQ(with.err, without.err);
        EXPECT_NE(without.out, "") << "a test that shows nothing proves nothing";
    }
};

// ---- Finding the device

TEST_F(Shim, LibdrmListsOnePlatformDeviceWithBothNodes) { expect_passes("nodes", "devices"); }
TEST_F(Shim, LibdrmNamesTheNodesOfAnOpenDescriptor) { expect_passes("nodes", "names"); }
TEST_F(Shim, ADescriptorShowsWhatItsPathShows) { expect_passes("nodes", "stat"); }
TEST_F(Shim, TheDirectoryListsTwoCharacterDevices) { expect_passes("nodes", "directory"); }
TEST_F(Shim, PathsNeverShowWhereTheViewIs) { expect_passes("nodes", "paths"); }
TEST_F(Shim, SysfsReadsAsOnTheBoard) { expect_passes("nodes", "sysfs"); }
TEST_F(Shim, OpeningFailsAsItDoesOnLinux) { expect_passes("nodes", "open"); }

// ---- Descriptors and memory

TEST_F(Shim, CopiesOfADescriptorAreOneFile) { expect_passes("files", "copies"); }
TEST_F(Shim, ADescriptorThatIsReopenedThroughProcIsANewFile) { expect_passes("files", "reopen"); }
TEST_F(Shim, ClosingEveryDescriptorDisturbsNothing) { expect_passes("files", "closefrom"); }
TEST_F(Shim, ANumberThatAnotherFileGetsIsThatFile) { expect_passes("files", "renumber"); }
TEST_F(Shim, FilesOpenUntilTheProgramMayHaveNoMoreDescriptors) { expect_passes("files", "limit"); }
TEST_F(Shim, AForkedChildUsesWhatItInherits) { expect_passes("files", "fork"); }
TEST_F(Shim, AnotherProgramUsesWhatItInheritsOverExec) { expect_passes("files", "exec"); }
TEST_F(Shim, ADescriptorThatWasReceivedIsTheSameFile) { expect_passes("files", "pass"); }
TEST_F(Shim, ThreadsShareAFile) { expect_passes("files", "threads"); }
TEST_F(Shim, ForksAtAnyMomentLeaveBothSidesWorking) { expect_passes("files", "fork-threads"); }
TEST_F(Shim, ThreadsOpenAndCloseFilesAtOnce) { expect_passes("files", "open-threads"); }
TEST_F(Shim, MemoryIsSharedAndPlacedWhereAsked) { expect_passes("files", "mmap"); }
TEST_F(Shim, TheFlushIdPageCanOnlyBeRead) { expect_passes("files", "flush-id"); }
TEST_F(Shim, BadPointersAreErrors) { expect_passes("files", "fault"); }
TEST_F(Shim, UnknownRequestsAreRefusedAsOnLinux) { expect_passes("files", "unknown"); }

TEST_F(Shim, AFileDiesWithTheProgramsLastCopyOfItsDescriptor) {
    for (const char* const test_case : {"copies", "closefrom", "fork", "exec", "pass"})
        expect_passes("files", test_case);
    EXPECT_TRUE(all_files_close());
}

// ---- Syncobjs, sync files, dma-bufs

TEST_F(Shim, BinarySyncobjsSignalAndReset) { expect_passes("sync", "binary"); }
TEST_F(Shim, TimelineSyncobjsCount) { expect_passes("sync", "timeline"); }
TEST_F(Shim, AWaitingThreadIsWokenByAnother) { expect_passes("sync", "wake"); }
TEST_F(Shim, AForkInTheMiddleOfAWaitDisturbsNeitherSide) { expect_passes("sync", "fork"); }
TEST_F(Shim, TwoProcessesShareASyncobj) { expect_passes("sync", "share"); }
TEST_F(Shim, SyncFilesArePolledMergedAndDescribed) { expect_passes("sync", "sync-file"); }
TEST_F(Shim, ASoftwareTimelineSignalsItsFences) { expect_passes("sync", "sw-sync"); }
TEST_F(Shim, BuffersAreSharedBetweenFilesAndProcesses) { expect_passes("sync", "prime"); }

// ---- The system's programs

TEST_F(ShimOnTheSystem, ProgramsThatDoNotTouchDrmSayWhatTheySayWithout) {
    const std::string file = directory / "lines";
    write_file(file, "pear\napple\nfig\n");
    for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{
             {"ls", "-lan", "/usr/lib"},
             {"ls", "-l", "/dev", "/sys/class"},
             {"cat", "/proc/cpuinfo", file},
             {"bash", "-c",
              "echo $((6 * 7)) | (read -r x; echo \"<$x>\"); exec 3<" + file + "; cat <&3; exit 5"},
             {"python3", "-c",
              "import os, subprocess, json; print(sorted(os.listdir('/')), "
              "os.path.realpath('/proc/self/exe'));"
              "print(subprocess.run(['echo', 'hi'], capture_output=True, close_fds=True).stdout)"},
             {"tar", "-C", directory.path(), "-cf", "-", "lines"},
             {"sort", "-r", file},
             {"grep", "-n", "p", file},
             {"find", "/etc", "-maxdepth", "1", "-newermt", "1970-01-02"},
             {"sed", "s/p/q/g", file},
             {"awk", "{ print NR, $1 }", file},
             {"perl", "-e", "open(F, '<', $ARGV[0]); print reverse <F>; print -d '/dev' ? 'dir' : 'none'",
              file},
             {"gcc", "--version"},
             {"git", "--version"},
             {"stat", "-c", "%n %F %i", "/dev/null", "/", file},
             {"readlink", "-f", "/proc/self/exe"},
             {"sh", "-c", "kill -TERM $$; echo no; true", "[a,b]"},
             {"env", "echo", "[a,b]", "--", "-x"},
         }) {
        SCOPED_TRACE(command.front());
        if (command.front() == "sh") {
            EXPECT_EQ(belfry_run(command).exit_code, 128 + SIGTERM);
            continue;
        }
        expect_undisturbed(command);
    }
}

TEST_F(ShimOnTheSystem, ListAndStatShowTheNodes) {
    const Outcome list = belfry_run({"ls", "-ln", "/dev/dri"});
    EXPECT_EQ(list.err, "");
    expect_mentions(
        list.out, {"crw-rw---- 1 ", "226,   0 ", " card0\n", "crw-rw-rw- 1 ", "226, 128 ", " renderD128\n"});
    const Outcome stat =
        belfry_run({"stat", "-c", "%n %F %t:%T %a", "/dev/dri/card0", "/dev/dri/renderD128"});
    EXPECT_EQ(stat.out,
              "/dev/dri/card0 character special file e2:0 660\n"
              "/dev/dri/renderD128 character special file e2:80 666\n");
    const Outcome shell = belfry_run(
        {"bash", "-c", "cd /dev/dri && pwd -P && echo * && [ -c card0 ] && cat /sys/class/drm/card0/dev"});
    EXPECT_EQ(shell.out, "/dev/dri\ncard0 renderD128\n226:0\n");
    EXPECT_EQ(belfry_run({"find", "/sys/class/drm", "-name", "card*"}).out, "/sys/class/drm/card0\n");
}

// ---- belfryd that cannot be reached

TEST_F(ShimOnTheSystem, AProgramIsToldOnceThatThereIsNoBelfryd) {
    const std::string nowhere = directory / "nowhere";
    const std::vector<std::string> with_library = {"/usr/bin/env", "LD_PRELOAD=" + library(),
                                                   "BELFRY_SOCKET=" + nowhere};
    const Outcome outcome = run(with_library + std::vector<std::string>{"python3", "-c", R"(
import os
for i in range(3):
    for what in (lambda: os.open('/dev/dri/renderD128', os.O_RDWR), lambda: os.stat('/dev/dri/card0'),
                 lambda: os.listdir('/dev/dri')):
        try: what()
        except OSError as e: print(e.errno)
)"});
    EXPECT_EQ(outcome.exit_code, EXIT_SUCCESS);
    EXPECT_EQ(outcome.out, "19\n2\n2\n19\n2\n2\n19\n2\n2\n");
    EXPECT_EQ(outcome.err.find("belfry: "), 0U);
    expect_mentions(outcome.err, {nowhere});
    EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1) << "one line: " << outcome.err;

    const Outcome quiet = run(with_library + std::vector<std::string>{"ls", "/dev"});
    EXPECT_EQ(quiet.err, "") << "nothing to say to a program that asks for no GPU";
}

TEST_F(Shim, ADeadBelfrydIsNoDevice) {
    const Outcome outcome = belfry_run({bin("shim_nodes"), "devices"});
    EXPECT_EQ(outcome.exit_code, EXIT_SUCCESS) << outcome.err;
    const Outcome killer = belfry_run({bin("shim_files"), "no-driver"});
    EXPECT_EQ(killer.exit_code, EXIT_SUCCESS) << killer.err;
    daemon.kill();
    const Outcome later = belfry_run({bin("shim_nodes"), "devices"});
    EXPECT_EQ(later.exit_code, EXIT_FAILURE);
    expect_mentions(later.err, {daemon.socket()});
}

// ---- belfry run

TEST_F(ShimOnTheSystem, RunAnswersWithTheProgramsExitCode) {
    EXPECT_EQ(belfry_run({"sh", "-c", "exit 42"}).exit_code, 42);
    EXPECT_EQ(belfry_run({"sh", "-c", "kill -KILL $$"}).exit_code, 128 + SIGKILL);
    const Outcome missing = belfry_run({"/no/such/program"});
    EXPECT_EQ(missing.exit_code, 127);
    expect_mentions(missing.err, {"/no/such/program", "No such file"});
    EXPECT_EQ(belfry_run({"/etc/passwd"}).exit_code, 126);
}

TEST_F(ShimOnTheSystem, RunPassesSignalsOn) {
    Process runner([&] {
        execute({bin("belfry"), "run", "--socket", daemon.socket(), "--", "bash", "-c",
                 "trap 'exit 9' TERM; echo > '" + (directory / "ready") +
                     "'; while :; do read -rt 0.05 < /dev/zero; done"});
    });
    EXPECT_TRUE(eventually([&] { return std::filesystem::exists(directory / "ready"); }));
    runner.signal(SIGTERM);
    EXPECT_EQ(runner.wait(), 9);
}

TEST_F(Shim, RunStartsAPrivateDaemonThatEndsWithTheProgram) {
    const std::string file = directory / "path";
    Process runner([&] {
        ::unsetenv("BELFRY_SOCKET");
        ::setenv("XDG_RUNTIME_DIR", directory.path().c_str(), 1);
        execute({bin("belfry"), "run", "--trace-file", file, "--", bin("shim_nodes"), "names"});
    });
    EXPECT_EQ(runner.wait(), EXIT_SUCCESS);
    expect_mentions(read_file(file), {"VERSION", " = 0 "});
    EXPECT_TRUE(eventually([&] {
        for (const auto& entry : std::filesystem::directory_iterator(directory.path()))
            if (entry.path().filename().string().starts_with("belfry-")) return false;
        return true;
    }));
}

TEST_F(Shim, TraceShowsEachCallInWords) {
    const Outcome outcome = belfry_run({bin("shim_files"), "fault"}, {"--trace"});
    EXPECT_EQ(outcome.exit_code, EXIT_SUCCESS) << outcome.err;
    expect_mentions(outcome.err,
                    {"renderD128 open O_RDWR|O_CLOEXEC = ", "BO_CREATE", " = -1 EFAULT", " us>\n"});
    const Outcome mapped = belfry_run({bin("shim_files"), "mmap"}, {"--trace"});
    expect_mentions(
        mapped.err,
        {"BO_MMAP_OFFSET", "mmap {bytes=16384, prot=PROT_READ|PROT_WRITE, flags=MAP_SHARED", "= -1 EINVAL"});
}

TEST_F(Shim, HelpIsExact) {
    const Outcome outcome = run({bin("belfry"), "run", "--help"});
    EXPECT_EQ(outcome.exit_code, EXIT_SUCCESS);
    expect_mentions(outcome.out, {"belfry run [OPTIONS] -- PROGRAM [ARGS...]\n", "--socket TEXT", "--trace ",
                                  "--trace-file TEXT"});
    EXPECT_EQ(run({bin("belfry"), "run"}).exit_code, EXIT_FAILURE);
}

TEST_F(Shim, TheLibraryDependsOnLibcAlone) {
    const Outcome needed = run({"/usr/bin/env", "readelf", "-d", library()});
    EXPECT_EQ(needed.exit_code, EXIT_SUCCESS) << needed.err;
    if (BELFRY_SANITIZED) GTEST_SKIP() << "a sanitizer brings its own";
    for (const char* const runtime : {"libstdc++", "libgcc_s", "libbelfry.so"})
        EXPECT_EQ(needed.out.find(runtime), std::string::npos) << needed.out;
}

}  // namespace
}  // namespace belfry
