// Several processes on one device: each sees its own work only, and a shader that never ends ends nobody
// else.
//
// The other processes are this program with one test of those below that are off by themselves.

#include <cerrno>
#include <chrono>
#include <csignal>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

#include "vulkan/rig.hpp"

namespace belfry::vulkan_test {
namespace {

class Child {
  public:
    explicit Child(const std::string& test) {
        const std::string filter = "--gtest_filter=" + test;
        process_ = ::fork();
        if (process_ != 0) return;
        ::execl("/proc/self/exe", "vulkan_tests", "--any-device", filter.c_str(),
                "--gtest_also_run_disabled_tests", "--gtest_brief=1", nullptr);
        ::_exit(127);
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child() {
        if (process_ > 0) ::kill(process_, SIGKILL), wait();
    }
    bool has_ended() {
        if (process_ > 0 && ::waitpid(process_, &status_, WNOHANG) == process_) process_ = -1;
        return process_ < 0;
    }
    /// Its exit code; -1 if a signal ended it.
    int wait() {
        if (process_ > 0) {
            while (::waitpid(process_, &status_, 0) < 0 && errno == EINTR) {
            }
            process_ = -1;
        }
        return WIFEXITED(status_) ? WEXITSTATUS(status_) : -1;
    }

  private:
    pid_t process_ = -1;
    int status_ = 0;
};

/// One dispatch whose result is checked, and a wait.
void do_some_work(std::uint32_t seed) {
    const auto words = Random(seed).words(1280);
    const VulkanBuffer buffer = buffer_of(words);
    run("shared_scan", {5}, {VulkanArgument::storage(buffer)}, {}, {256});
    for (std::size_t group = 0; group < 5; ++group) {
        std::uint32_t sum = 0;
        for (std::size_t i = 0; i < 256; ++i) {
            sum += words[group * 256 + i];
            ASSERT_EQ(buffer.as<std::uint32_t>()[group * 256 + i], sum);
        }
    }
}

TEST(Isolation, DISABLED_Worker) {
    for (std::uint32_t i = 0; i < 100 && !HasFatalFailure(); ++i) do_some_work(i);
}

TEST(Isolation, DISABLED_Forever) {
    const VulkanBuffer result = zeros<std::uint32_t>(64);
    const VulkanKernel kernel = device().make_kernel(shader("forever"), {VulkanArgument::storage(result)});
    VulkanCommands commands(device());
    commands.bind(kernel).dispatch(64).barrier();
    device().finish(commands);
    EXPECT_EQ(device().submit_and_wait(&commands), VK_ERROR_DEVICE_LOST);
    EXPECT_EQ(device().submit_and_wait(nullptr), VK_ERROR_DEVICE_LOST) << "a lost device stays lost";
}

TEST(Isolation, DISABLED_Unmapped) {
    const VulkanBuffer result = zeros<std::uint32_t>(64);
    const VulkanKernel kernel =
        device().make_kernel(shader("unmapped"), {VulkanArgument::storage(result)}, {.push_bytes = 8});
    VulkanCommands commands(device());
    constexpr std::uint64_t kNowhere = 0x7f12'3456'7000;
    commands.bind(kernel).push(kernel, kNowhere).dispatch(1).barrier();
    device().finish(commands);
    EXPECT_EQ(device().submit_and_wait(&commands), VK_ERROR_DEVICE_LOST);
}

/// Jobs of ours that go on while another process does what loses it its device.
std::uint32_t jobs_beside(const std::string& test) {
    Child other(test);
    std::uint32_t jobs = 0;
    for (; !other.has_ended() && !testing::Test::HasFatalFailure(); ++jobs) do_some_work(jobs);
    EXPECT_EQ(other.wait(), 0) << test;
    return jobs;
}

TEST(Isolation, ProcessesComputeBesideEachOther) {
    Child first("Isolation.DISABLED_Worker");
    Child second("Isolation.DISABLED_Worker");
    for (std::uint32_t i = 0; i < 100 && !HasFatalFailure(); ++i) do_some_work(1000 + i);
    EXPECT_EQ(first.wait(), 0);
    EXPECT_EQ(second.wait(), 0);
}

TEST(Isolation, TwoDevicesOfAProcessComputeBesideEachOther) {
    VulkanDevice other;
    const VulkanBuffer result = other.make_buffer(20);
    std::ranges::fill(result.bytes, std::byte{0});
    const VulkanKernel kernel =
        other.make_kernel(shader("count"), {VulkanArgument::storage(result)}, {.constants = {64}});
    VulkanCommands commands(other);
    commands.bind(kernel).dispatch(3).barrier();
    other.finish(commands);
    for (std::uint32_t i = 1; i <= 20 && !HasFatalFailure(); ++i) {
        ASSERT_EQ(other.submit_and_wait(&commands), VK_SUCCESS);
        ASSERT_EQ(result.as<std::uint32_t>()[0], i * 192);
        do_some_work(i);
    }
}

TEST(Isolation, AShaderThatNeverEndsLosesItsOwnDeviceAlone) {
    if (on_cpu()) GTEST_SKIP() << "lavapipe has no limit of time";
    EXPECT_GE(jobs_beside("Isolation.DISABLED_Forever"), 20U);
}

TEST(Isolation, AnAddressOfNothingLosesItsOwnDeviceAlone) {
    if (on_cpu()) GTEST_SKIP() << "lavapipe has no address space of its own";
    BELFRY_NEEDS(device().has_addresses());
    jobs_beside("Isolation.DISABLED_Unmapped");
    do_some_work(1);
}

}  // namespace
}  // namespace belfry::vulkan_test
