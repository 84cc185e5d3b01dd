// `belfry bench memory`: what it costs that there is not memory for two groups at a time.
//
// Two groups with 64 MiB each take turns on a belfryd of our own, whose budget holds one of them: each job
// has the other group's memory go to the backing file and its own come back. Beside it, the same bytes
// written to and read from a file in the same directory by one thread that does nothing else.

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "base/file.hpp"
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
    const Device device = must(Device::open({.belfryd_arguments = {"--memory", kBudget}}));
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
        const double took_ns = watch.elapsed_ns();
        const DeviceLoad after = must(device.load());
        // Both have memory for a moment where nothing could go when the other one came.
        if (after.restores == before.restores || after.evictions == before.evictions) continue;
        all.add(took_ns);
        evict.add(static_cast<double>((after.evicting - before.evicting).count()));
        restore.add(static_cast<double>((after.restoring - before.restoring).count()));
    }
    if (all.size() == 0) throw Failure{"groups had their memory though there is none for both"};
    return {.all = all.figure(), .evict = evict.figure(), .restore = restore.figure()};
}

struct FileLimits {
    Figure write;
    Figure read;
};

/// As many bytes, to and from a file where belfryd has its own.
FileLimits file_limits() {
    const std::string directory = base::large_file_directory();
    const base::Fd file = base::make_unnamed_file(directory);
    if (!file) throw Failure{fmt::format("cannot make a file in '{}': {}", directory, std::strerror(errno))};
    std::vector<std::byte> bytes(kGroupBytes, kFill);
    Samples write;
    Samples read;
    const auto timed = [&](auto transfer) {
        const Stopwatch watch;
        if (const auto done = transfer(file.get(), bytes.data(), bytes.size(), 0); !done)
            throw Failure{fmt::format("cannot write and read a file in '{}': {}", directory,
                                      std::strerror(static_cast<int>(done.error())))};
        return watch.elapsed_ns();
    };
    for (unsigned round = 0; round < kRounds; ++round) {
        write.add(timed(base::write_all));
        read.add(timed(base::read_all));
        // The place of what has come back is free again.
        if (::ftruncate(file.get(), 0) != 0)
            throw Failure{fmt::format("cannot empty a file in '{}': {}", directory, std::strerror(errno))};
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
        json[key] = json_of(figure);
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
