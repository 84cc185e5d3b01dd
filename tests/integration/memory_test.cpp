// belfryd with a memory budget, and programs that need several times as much.
#include <algorithm>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "integration/daemon_rig.hpp"

namespace belfry {
namespace {

using namespace rig;  // NOLINT: the rig is this file's language

constexpr std::uint64_t kBudget = 16U << 20;
constexpr std::uint64_t kBufferBytes = 2U << 20;
constexpr unsigned kPrograms = 6;
constexpr unsigned kBuffers = 6;  // of a program
constexpr unsigned kRounds = 3;
static_assert(kPrograms * kBuffers * kBufferBytes > 4 * kBudget);

/// Bytes of the pages that buffers have, all programs' and belfryd's mappings included.
std::uint64_t pages_of_buffers(pid_t belfryd) {
    std::uint64_t bytes = 0;
    for (const auto& entry :
         std::filesystem::directory_iterator("/proc/" + std::to_string(belfryd) + "/fd")) {
        std::error_code gone;
        if (!std::filesystem::read_symlink(entry, gone).native().starts_with("/memfd:belfry-bo")) continue;
        struct stat status{};
        if (::stat(entry.path().c_str(), &status) == 0)
            bytes += static_cast<std::uint64_t>(status.st_blocks) * 512;
    }
    return bytes;
}

/// A program that counts in each page of more memory than there is for it, and checks what it finds.
class Counting {
  public:
    Counting(const std::string& socket, bool user_mode, std::uint32_t seed)
        : client_(socket, {.user_submit = user_mode}), user_mode_(user_mode), seed_(seed) {
        for (unsigned i = 0; i < kBuffers; ++i) {
            Buffer& buffer = buffers_.emplace_back(must(client_.device.create_buffer(kBufferBytes)));
            for (std::uint64_t page = 0; page < kBufferBytes; page += base::kPageBytes)
                word(buffer, page) = first_value(i, page);
            vas_.push_back(must(client_.vm.map(buffer)));
            buffer.unmap();
        }
    }
    void run() {
        for (unsigned round = 0; round < kRounds; ++round)
            for (const std::uint64_t va : vas_) count_in_all_pages(va);
    }
    void verify() {
        for (unsigned i = 0; i < kBuffers; ++i) {
            must(buffers_[i].map());
            for (std::uint64_t page = 0; page < kBufferBytes; page += base::kPageBytes)
                require(word(buffers_[i], page) == first_value(i, page) + kRounds,
                        "buffer " + std::to_string(i) + " at " + hex(page) + " holds " +
                            std::to_string(word(buffers_[i], page)));
            buffers_[i].unmap();
        }
    }

  private:
    static std::uint32_t& word(const Buffer& buffer, std::uint64_t at) {
        return *reinterpret_cast<std::uint32_t*>(buffer.bytes().data() + at);
    }
    [[nodiscard]] std::uint32_t first_value(unsigned buffer, std::uint64_t page) const {
        return seed_ * 1'000'000 + buffer * 10'000 + static_cast<std::uint32_t>(page / base::kPageBytes);
    }
    /// A loop over the pages: the word at the start of each, plus one.
    void write_loop(CommandWriter& job, std::uint64_t va) const {
        job.move48(d(0), va).move32(r(2), kBufferBytes / base::kPageBytes);
        job.load_multiple(r(4), 1, d(0)).wait(kAllSlots).add_immediate32(r(4), r(4), 1);
        job.store_multiple(r(4), 1, d(0)).wait(kAllSlots);
        job.add_immediate64(d(0), d(0), base::kPageBytes).add_immediate32(r(2), r(2), -1);
        job.branch(csf::Condition::gt, r(2), -8);
    }
    void count_in_all_pages(std::uint64_t va) {
        if (user_mode_) {
            client_.submit([&](CommandWriter& job) {
                write_loop(job, va);
                client_.count(job);
            });
            client_.await(++jobs_);
            return;
        }
        CommandWriter stream(client_.page.words().subspan(Client::kStreams / 8, Client::kJobWords));
        write_loop(stream, va);
        const Syncobj fence = must(client_.device.create_syncobj());
        submit(client_.group,
               {.address = client_.va + Client::kStreams,
                .bytes = static_cast<std::uint32_t>(stream.size_bytes())},
               {{.syncobj = fence, .signal = true}});
        must(fence.wait(0, kGenerous));
    }

    Client client_;
    bool user_mode_;
    std::uint32_t seed_;
    std::deque<Buffer> buffers_;
    std::vector<std::uint64_t> vas_;
    std::uint64_t jobs_ = 0;
};

class MemoryBudget : public testing::Test {
  protected:
    Directory directory;
    Daemon daemon{directory / "socket", {"--memory", "16M", "--group-slots", "3"}};
};

TEST_F(MemoryBudget, ProgramsThatNeedFourTimesAsMuchComputeRightWithinIt) {
    Counter ended;
    std::deque<Child> programs;
    for (unsigned i = 0; i < kPrograms; ++i)
        programs.emplace_back([this, i, &ended] {
            Counting program(daemon.socket(), i % 2 == 0, i + 1);
            program.run();
            program.verify();
            ended.add();
        });
    // What the programs have mapped at a moment may come on top, until others have made room.
    std::uint64_t most = 0;
    EXPECT_TRUE(eventually([&] {
        most = std::max(most, pages_of_buffers(daemon.pid()));
        return ended.value() == kPrograms;
    }));
    for (Child& program : programs) program.finish();
    EXPECT_LE(most, kBudget + kPrograms * kBufferBytes);
    const Device device = daemon.open();
    const DeviceLoad load = must(device.load());
    EXPECT_EQ(load.memory_budget, kBudget);
    EXPECT_GT(load.evictions, 0U);
    EXPECT_GT(load.restores, 0U);
    // Nothing is left of those who have gone.
    EXPECT_TRUE(eventually([&] {
        const DeviceLoad now = must(device.load());
        return now.buffers == 0 && now.resident_bytes == 0 && now.evicted_bytes == 0;
    }));
}

TEST_F(MemoryBudget, ProgramsThatAreKilledLeaveNothingBehind) {
    for (unsigned round = 0; round < 3; ++round) {
        Counter running;
        std::deque<Child> programs;
        for (unsigned i = 0; i < kPrograms; ++i)
            programs.emplace_back([this, i, &running] {
                Counting program(daemon.socket(), i % 2 == 0, i + 1);
                running.add();
                for (;;) program.run();
            });
        running.await(kPrograms);
        for (Child& program : programs) program.signal(SIGKILL);
        for (Child& program : programs) EXPECT_EQ(program.wait(), -SIGKILL);
    }
    const Device device = daemon.open();
    EXPECT_TRUE(eventually([&] {
        const DeviceLoad load = must(device.load());
        return load.buffers == 0 && load.groups == 0 && load.resident_bytes == 0 && load.evicted_bytes == 0;
    }));
}

TEST_F(MemoryBudget, MoreThanItAllowsCannotBeMappedAtATime) {
    const Device device = daemon.open();
    std::deque<Buffer> buffers;
    for (unsigned i = 0; i < kBudget / kBufferBytes; ++i)
        buffers.push_back(must(device.create_buffer(kBufferBytes)));
    EXPECT_EQ(code_of(device.create_buffer(kBufferBytes)), ENOMEM);
    buffers.front().bytes()[0] = std::byte{42};
    buffers.front().unmap();
    // That nobody maps it any more is heard a moment later.
    std::deque<Buffer> more;
    EXPECT_TRUE(eventually([&] {
        auto buffer = device.create_buffer(kBufferBytes);
        if (buffer) more.push_back(std::move(*buffer));
        return !more.empty();
    }));
    more.clear();
    EXPECT_TRUE(eventually([&] { return buffers.front().map().has_value(); }));
    EXPECT_EQ(buffers.front().bytes()[0], std::byte{42});
}

TEST_F(MemoryBudget, IsThatOfTheBelfrydWhichADeviceStartsForItself) {
    const Device device = must(Device::open({.belfryd_arguments = {"--memory", "32M"}}));
    EXPECT_EQ(must(device.load()).memory_budget, 32U << 20);
    EXPECT_NE(device.socket_path(), daemon.socket());
}

TEST_F(MemoryBudget, ABelfrydThatFindsNoPlaceForItsFileSaysSo) {
    const Outcome outcome = run({"/usr/bin/env", "TMPDIR=/nowhere", bin("belfryd"), "--socket",
                                 directory / "other", "--memory", "1G"});
    EXPECT_EQ(outcome.exit_code, EXIT_FAILURE);
    expect_mentions(outcome.err, {"/nowhere", "No such file or directory"});
}

}  // namespace
}  // namespace belfry
