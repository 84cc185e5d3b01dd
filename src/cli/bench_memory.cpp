// `belfry bench memory`: what it costs that there is not memory for two groups at a time.
//
// Two groups with 64 MiB each take turns on a belfryd of our own, whose budget holds one of them: each job
// has the other group's memory go to the backing file and its own come back. Beside it, the same bytes
// written to and read from a file in the same directory by one thread that does nothing else.

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.hpp"
#include "base/memory.hpp"
#include "belfry/belfry.hpp"
#include "cli/bench.hpp"
#include "cli/failure.hpp"
#include "cli/measure.hpp"

namespace belfry::cli {
namespace {

constexpr std::uint64_t kGroupBytes = 64U << 20;
constexpr const char* kBudget = "96M";
constexpr unsigned kRounds = 20;
constexpr auto kFill = std::byte{0x5a};  // a page that was never written is never copied

[[noreturn]] void give_up(const std::string& what, int error = errno) {
    throw Failure{fmt::format("{}: {}", what, std::strerror(error))};
}

/// A belfryd with a budget, which ends with its last client. Must outlive that one.
class BudgetedDaemon {
  public:
    BudgetedDaemon() {
        std::string directory = std::filesystem::temp_directory_path() / "belfry-XXXXXX";
        if (::mkdtemp(directory.data()) == nullptr)
            give_up(fmt::format("cannot make a directory '{}'", directory));
        path_ = directory + "/belfry.sock";
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        if (path_.size() >= sizeof address.sun_path)
            give_up(fmt::format("socket path '{}'", path_), ENAMETOOLONG);
        std::ranges::copy(path_, address.sun_path);
        // It listens before belfryd exists: nothing has to be awaited.
        const base::Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
        if (!socket ||
            ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
            ::listen(socket.get(), SOMAXCONN) != 0)
            give_up(fmt::format("cannot listen on '{}'", path_));
        start(socket.get());
    }
    BudgetedDaemon(const BudgetedDaemon&) = delete;
    BudgetedDaemon& operator=(const BudgetedDaemon&) = delete;
    ~BudgetedDaemon() { ::waitpid(pid_, nullptr, 0); }

    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    void start(int socket) {
        constexpr int kListenFd = 3;
        const char* const named = ::secure_getenv("BELFRYD");
        std::string binary =
            named != nullptr ? named
                             : std::filesystem::read_symlink("/proc/self/exe").replace_filename("belfryd");
        std::array<std::string, 6> words{binary,      "--listen-fd", std::to_string(kListenFd),
                                         "--private", "--memory",    kBudget};
        std::vector<char*> arguments;
        arguments.reserve(words.size() + 1);
        for (std::string& word : words) arguments.push_back(word.data());
        arguments.push_back(nullptr);
        posix_spawn_file_actions_t actions;
        ::posix_spawn_file_actions_init(&actions);
        ::posix_spawn_file_actions_adddup2(&actions, socket, kListenFd);
        const int error = ::posix_spawnp(&pid_, binary.c_str(), &actions, nullptr, arguments.data(), environ);
        ::posix_spawn_file_actions_destroy(&actions);
        if (error == 0) return;
        std::filesystem::remove_all(std::filesystem::path(path_).parent_path());  // else belfryd's to remove
        give_up(fmt::format("cannot start '{}'", binary), error);
    }

    std::string path_;
    pid_t pid_ = -1;
};

/// A group, and the memory that comes and goes with it.
class Tenant {
  public:
    explicit Tenant(const Device& device)
        : vm_(must(device.create_vm())),
          page_(must(device.create_buffer(base::kPageBytes))),
          memory_(must(device.create_buffer(kGroupBytes))),
          fence_(must(device.create_syncobj())),
          group_(must(vm_.create_group({.user_submit = false}))) {
        std::ranges::fill(memory_.bytes(), kFill);
        const std::uint64_t target = must(vm_.map(memory_));
        stream_ = must(vm_.map(page_));
        CommandWriter job(page_.words().first(8));
        job.move48(d(4), target).move32(r(6), 42).store_multiple(r(6), 1, d(4));
        stream_bytes_ = static_cast<std::uint32_t>(job.size_bytes());
        memory_.unmap();  // or it could not go
    }
    /// A store to it.
    void run() {
        const SyncOp signal{.syncobj = fence_, .signal = true};
        must(group_.submit(0, stream_, stream_bytes_, {&signal, 1}));
        must(fence_.wait());
    }

  private:
    Vm vm_;
    Buffer page_;
    Buffer memory_;
    Syncobj fence_;
    Group group_;
    std::uint64_t stream_ = 0;
    std::uint32_t stream_bytes_ = 0;
};

struct Turns {
    Figure all;  // submit to fence
    Figure evict;
    Figure restore;
};

Turns take_turns() {
    const BudgetedDaemon daemon;
    const Device device = must(Device::open({.socket_path = daemon.path()}));
    Tenant first(device);
    first.run();
    Tenant second(device);
    second.run();
    Samples all;
    Samples evict;
    Samples restore;
    for (unsigned round = 0; round < kRounds; ++round) {
        const DeviceLoad before = must(device.load());
        const Stopwatch watch;
        (round % 2 == 0 ? first : second).run();
        all.add(watch.elapsed_ns());
        const DeviceLoad after = must(device.load());
        if (after.restores == before.restores || after.evictions == before.evictions)
            throw Failure{"a group had its memory though there is none for it"};
        evict.add(static_cast<double>((after.evicting - before.evicting).count()));
        restore.add(static_cast<double>((after.restoring - before.restoring).count()));
    }
    return {.all = all.figure(), .evict = evict.figure(), .restore = restore.figure()};
}

struct FileLimits {
    Figure write;
    Figure read;
};

/// As many bytes, to and from a file where belfryd has its own.
FileLimits file_limits() {
    const char* const named = ::secure_getenv("TMPDIR");
    std::string name = fmt::format("{}/belfry-XXXXXX", named != nullptr ? named : "/var/tmp");
    const base::Fd file(::mkostemp(name.data(), O_CLOEXEC));
    if (!file) give_up(fmt::format("cannot make a file '{}'", name));
    ::unlink(name.c_str());
    std::vector<std::byte> bytes(kGroupBytes, kFill);
    Samples write;
    Samples read;
    const auto whole = [&](auto transfer) {
        const Stopwatch watch;
        for (std::size_t done = 0; done < bytes.size();) {
            const ssize_t moved =
                transfer(file.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
            if (moved <= 0) give_up(fmt::format("cannot write and read '{}'", name));
            done += static_cast<std::size_t>(moved);
        }
        return watch.elapsed_ns();
    };
    for (unsigned round = 0; round < kRounds; ++round) {
        write.add(whole(::pwrite));
        read.add(whole(::pread));
        // The place of what has come back is free again.
        if (::ftruncate(file.get(), 0) != 0) give_up(fmt::format("cannot empty '{}'", name));
    }
    return {.write = write.figure(), .read = read.figure()};
}

}  // namespace

BenchReport bench_memory(const std::string& /*socket*/, const BenchStep& step) {
    step("groups that have memory in turns");
    const Turns turns = take_turns();
    step("a file");
    const FileLimits limits = file_limits();

    BenchReport report;
    auto& json = report.json["memory"];
    json["bytes"] = kGroupBytes;
    report.table =
        fmt::format("{:<46}{:>10}{:>12}\n", "64 MiB, of two groups where one has room: ms", "median", "p99");
    const auto row = [&](const char* key, const char* name, const Figure& figure, const std::string& remark) {
        json[key] = {{"median", figure.median_ns}, {"p99", figure.p99_ns}};
        fmt::format_to(std::back_inserter(report.table), "  {:<44}{:>10.1f}{:>12.1f}  {}\n", name,
                       figure.median_ns / 1e6, figure.p99_ns / 1e6, remark);
    };
    const auto beside = [](const Figure& ours, double limit_ns, const char* of) {
        return fmt::format("{:.2f} x {}", ours.median_ns / limit_ns, of);
    };
    row("write_ns", "written to a file, one thread", limits.write, "");
    row("read_ns", "read from it", limits.read, "");
    row("evict_ns", "evicted", turns.evict, beside(turns.evict, limits.write.median_ns, "write"));
    row("restore_ns", "brought back", turns.restore, beside(turns.restore, limits.read.median_ns, "read"));
    row("turn_ns", "submit to fence, with both", turns.all,
        beside(turns.all, limits.write.median_ns + limits.read.median_ns, "write and read"));
    return report;
}

}  // namespace belfry::cli
