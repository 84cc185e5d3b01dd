// `belfry bench submit`: one stream of jobs by each way of submission, beside io_uring's own no-ops.
//
// Each job stores a word. What a way costs is told for one job: time, and what the submitting thread does:
// system calls (two for a request, one for each sleep in a futex, as strace counts them), requests, and
// voluntary context switches.

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <sys/resource.h>

#include "base/memory.hpp"
#include "belfry/belfry.hpp"
#include "cli/bench.hpp"
#include "cli/failure.hpp"
#include "cli/limits.hpp"
#include "cli/measure.hpp"

namespace belfry::cli {
namespace {

constexpr std::uint32_t kBatches[] = {1, 16, 128};
constexpr std::uint32_t kDeep = 128;
constexpr std::uint64_t kStreamOffset = 1024;
constexpr std::uint64_t kTargetOffset = 512;
constexpr Pair kSync = d(0);
constexpr Pair kOne = d(2);
constexpr Pair kTarget = d(4);
constexpr Reg kValue = r(6);

/// For one job.
struct Cost {
    Figure time{};
    double calls = 0;
    double requests = 0;
    double switches = 0;
};

/// What the calling thread has cost so far.
struct Meter {
    explicit Meter(const Device& device) {
        rusage usage{};
        ::getrusage(RUSAGE_THREAD, &usage);
        switches = static_cast<double>(usage.ru_nvcsw);
        requests = static_cast<double>(device.requests());
        sleeps = static_cast<double>(SyncObject::stats().sleeps);
    }
    double switches;
    double requests;
    double sleeps;
};

struct Bench {
    explicit Bench(const std::string& socket)
        : device(must(Device::open({.socket_path = socket}))),
          vm(must(device.create_vm())),
          buffer(must(device.create_buffer(base::kPageBytes))),
          va(must(vm.map(buffer))),
          sync(must(SyncObject::at(buffer, 0, va))),
          kernel_group(must(vm.create_group({.user_submit = false}))) {
        CommandWriter stream(buffer.words().subspan(kStreamOffset / 8, 8));
        stream.move48(kTarget, va + kTargetOffset).move32(kValue, 42).store_multiple(kValue, 1, kTarget);
        stream_bytes = static_cast<std::uint32_t>(stream.size_bytes());
    }

    /// `run` does so many jobs; called for each sample.
    template <typename Run>
    [[nodiscard]] Cost measure(std::uint32_t jobs, Run run) const {
        // By then memory is touched, the group has its slot, both sides are awake, and the machine has found
        // out which of the three threads had better not share a CPU.
        constexpr double kSettleNs = 500e6;
        constexpr double kEnoughNs = 500e6;
        const Stopwatch settling;
        while (settling.elapsed_ns() < kSettleNs) run();
        Samples samples;
        const Meter before(device);
        const Stopwatch whole;
        while (whole.elapsed_ns() < kEnoughNs) {
            const Stopwatch watch;
            run();
            samples.add(watch.elapsed_ns() / jobs);
        }
        const Meter after(device);
        const double all = static_cast<double>(samples.size()) * jobs;
        const double requests = after.requests - before.requests;
        return {.time = samples.figure(),
                .calls = (2 * requests + after.sleeps - before.sleeps) / all,
                .requests = requests / all,
                .switches = (after.switches - before.switches) / all};
    }

    [[nodiscard]] SubmitEntry job() const {
        return SubmitEntry::job(0, kernel_group, 0, va + kStreamOffset, stream_bytes);
    }

    Device device;
    Vm vm;
    Buffer buffer;
    std::uint64_t va;
    SyncObject sync;
    Group kernel_group;
    std::uint32_t stream_bytes = 0;
};

/// A request for each job, and a wait for the last of a batch.
Cost by_request(Bench& bench) {
    const Syncobj fence = must(bench.device.create_syncobj());
    const SyncOp signal{.syncobj = fence, .signal = true};
    return bench.measure(kDeep, [&] {
        for (std::uint32_t i = 0; i < kDeep; ++i)
            must(bench.kernel_group.submit(0, bench.va + kStreamOffset, bench.stream_bytes,
                                           {&signal, i + 1 == kDeep ? 1U : 0U}));
        must(fence.wait());
    });
}

std::uint32_t take(SubmitRing& ring, std::vector<Completion>& into) {
    const std::size_t count = ring.reap(into);
    for (std::size_t i = 0; i < count; ++i)
        if (into[i].error != 0) throw Failure{"an entry of a submit ring has failed"};
    return static_cast<std::uint32_t>(count);
}

void push(SubmitRing& ring, const SubmitEntry& entry, std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i)
        if (!ring.push(entry)) throw Failure{"a submit ring has no room"};
    must(ring.submit());
}

/// A batch is pushed, and slept for.
Cost by_batch(Bench& bench, const SubmitEntry& entry, std::uint32_t batch) {
    const std::uint32_t rounds = 256 / batch;
    SubmitRing ring = must(bench.device.create_submit_ring({.entries = kDeep}));
    std::vector<Completion> completions(batch);
    return bench.measure(rounds * batch, [&] {
        for (std::uint32_t round = 0; round < rounds; ++round) {
            push(ring, entry, batch);
            must(ring.wait(batch, {.timeout = {}, .spin = {}}));
            take(ring, completions);
        }
    });
}

/// The queue is kept full, batch by batch. The program sleeps when there is nothing to reap: if it spun, it
/// would take the CPU from the consumer or the GPU on a machine that has no third.
Cost by_polling(Bench& bench, const SubmitEntry& entry) {
    constexpr std::uint32_t kRounds = 32;
    SubmitRing ring = must(bench.device.create_submit_ring({.entries = 4 * kDeep}));
    std::vector<Completion> completions(kDeep);
    return bench.measure(kRounds * kDeep, [&] {
        std::uint32_t pushed = 0;
        std::uint32_t reaped = 0;
        while (reaped < kRounds * kDeep) {
            if (pushed < kRounds * kDeep && pushed - reaped <= 3 * kDeep) {
                push(ring, entry, kDeep);
                pushed += kDeep;
            }
            const std::uint32_t taken = take(ring, completions);
            if (taken == 0) must(ring.wait(std::min(pushed - reaped, kDeep), {.timeout = {}, .spin = {}}));
            reaped += taken;
        }
    });
}

/// The same store, then a count; a doorbell a batch.
Cost by_doorbell(Bench& bench) {
    constexpr std::uint32_t kRounds = 32;
    Group group = must(bench.vm.create_group({}));
    Queue& queue = group.queue();
    CommandWriter setup = must(queue.begin(8));
    setup.move48(kSync, bench.va)
        .move48(kOne, 1)
        .move48(kTarget, bench.va + kTargetOffset)
        .move32(kValue, 42);
    must(queue.submit(setup));
    std::uint64_t done = bench.sync.value();
    return bench.measure(kRounds * kDeep, [&] {
        for (std::uint32_t round = 0; round < kRounds; ++round) {
            CommandWriter jobs = must(queue.begin(std::size_t{kDeep} * 3));
            for (std::uint32_t i = 0; i < kDeep; ++i)
                jobs.store_multiple(kValue, 1, kTarget).wait(slots(0)).sync_add64(kSync, kOne);
            must(queue.submit(jobs));
        }
        done += std::uint64_t{kRounds} * kDeep;
        while (bench.sync.value() < done) base::relax();
    });
}

}  // namespace

BenchReport bench_submit(const std::string& socket, const BenchStep& step) {
    Bench bench(socket);
    BenchReport report;
    report.table = fmt::format("{:<46}{:>10}{:>12}{:>9}{:>10}{:>10}  {}\n", "one job by each way: ns",
                               "median", "p99", "calls", "requests", "switches", "x io_uring no-op");
    auto& json = report.json["submit"];
    const auto row = [&](const std::string& key, const std::string& name, const Cost& cost, double limit) {
        report.table +=
            fmt::format("  {:<44}{:>10.1f}{:>12.1f}{:>9.3f}{:>10.4f}{:>10.4f}  {}\n", name,
                        cost.time.median_ns, cost.time.p99_ns, cost.calls, cost.requests, cost.switches,
                        limit > 0 ? fmt::format("{:.2f}", cost.time.median_ns / limit) : "-");
        json[key] = {{"ns", json_of(cost.time)},
                     {"calls", cost.calls},
                     {"requests", cost.requests},
                     {"switches", cost.switches},
                     {"uring_nop_ns", limit}};
    };
    // The machine changes its speed: a row is compared with a limit that was measured just before it.
    const auto beside_limit = [&](const std::string& key, const std::string& name, std::uint32_t batch,
                                  const auto& measure) {
        const auto nop = uring_nop(batch);
        row(key, name, measure(), nop ? nop->median_ns : 0);
    };

    step("io_uring's no-ops");
    for (const std::uint32_t batch : kBatches) {
        const auto nop = uring_nop(batch);
        if (nop)
            row(fmt::format("uring_nop_{}", batch), fmt::format("io_uring no-op, batch of {}", batch),
                {.time = *nop, .calls = 1.0 / batch}, nop->median_ns);
        else
            report.table += fmt::format("  io_uring no-op: {}\n", nop.error());
    }
    step("submit rings");
    for (const bool works : {false, true}) {
        const SubmitEntry entry = works ? bench.job() : SubmitEntry::nop(0);
        const char* const what = works ? "job" : "nop";
        for (const std::uint32_t batch : kBatches)
            beside_limit(fmt::format("ring_{}_{}", what, batch),
                         fmt::format("submit ring, {}, batch of {}, slept for", what, batch), batch,
                         [&] { return by_batch(bench, entry, batch); });
        beside_limit(fmt::format("ring_{}_polling", what),
                     fmt::format("submit ring, {}, batch of 128, polling", what), kDeep,
                     [&] { return by_polling(bench, entry); });
    }
    step("requests and doorbells");
    beside_limit("request_job", "kernel mode, a request a job", kDeep, [&] { return by_request(bench); });
    beside_limit("user_job", "user mode, a doorbell for 128", kDeep, [&] { return by_doorbell(bench); });
    return report;
}

}  // namespace belfry::cli
