// `belfry bench latency`: the machine's limits and Belfry's figures, in one run on the same CPUs.

#include <chrono>
#include <deque>
#include <expected>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "base/memory.hpp"
#include "belfry/belfry.hpp"
#include "cli/bench.hpp"
#include "cli/failure.hpp"
#include "cli/limits.hpp"
#include "cli/measure.hpp"
#include "cli/vulkan_peer.hpp"

namespace belfry::cli {
namespace {

constexpr unsigned kSpinRounds = 100'000;
constexpr unsigned kSleepRounds = 20'000;
constexpr unsigned kRequestRounds = 20'000;
constexpr unsigned kKernelRounds = 10'000;

// Registers of the streams below.
constexpr Pair kSync = d(0);
constexpr Pair kOne = d(2);
constexpr Pair kTarget = d(4);
constexpr Reg kValue = r(6);
constexpr Reg kCount = r(10);

/// A VM with a page that holds a sync object at its start.
struct Bench {
    Device device;
    Vm vm;
    Buffer buffer;
    std::uint64_t va;
    SyncObject sync;

    static Bench make(const std::string& socket) {
        Device device = must(Device::open({.socket_path = socket}));
        Vm vm = must(device.create_vm());
        Buffer buffer = must(device.create_buffer(base::kPageBytes));
        const std::uint64_t va = must(vm.map(buffer));
        const SyncObject sync = must(SyncObject::at(buffer, 0, va));
        return {std::move(device), std::move(vm), std::move(buffer), va, sync};
    }

    Group user_group() {
        Group group = must(vm.create_group({}));
        CommandWriter setup = must(group.queue().begin(8));
        setup.move48(kSync, va).move48(kOne, 1).move48(kTarget, va + 256).move32(kValue, 42);
        must(group.queue().submit(setup));
        return group;
    }
};

/// An empty job: one addition to the sync object.
void submit_one(Queue& queue) {
    CommandWriter writer = must(queue.begin(8));
    writer.sync_add64(kSync, kOne);
    must(queue.submit(writer));
}

Figure request_round_trip(const Bench& bench) {
    Samples samples;
    samples.reserve(kRequestRounds);
    const Syncobj syncobj = must(bench.device.create_syncobj(true));
    for (unsigned i = 0; i < kRequestRounds; ++i) {
        const Stopwatch watch;
        must(syncobj.query());
        samples.add(watch.elapsed_ns());
    }
    return samples.figure();
}

/// What belfryd spends on a request that it answers at once, as a mean over each sample: from looking for it
/// to having sent the reply, without the looks in between that found nothing.
Figure request_cost(const Bench& bench) {
    constexpr unsigned kCostSamples = 100;
    constexpr unsigned kRequestsPerSample = 10'000;
    const Syncobj syncobj = must(bench.device.create_syncobj(true));
    Samples samples;
    samples.reserve(kCostSamples);
    for (unsigned sample = 0; sample < kCostSamples; ++sample) {
        const auto before = must(bench.device.load()).busy;
        for (unsigned n = 0; n < kRequestsPerSample; ++n) must(syncobj.query());
        const auto busy = must(bench.device.load()).busy - before;
        samples.add(static_cast<double>(busy.count()) / kRequestsPerSample);
    }
    return samples.figure();
}

Figure user_spin(Bench& bench) {
    Group group = bench.user_group();
    Queue& queue = group.queue();
    Samples samples;
    samples.reserve(kSpinRounds);
    const std::uint64_t start = bench.sync.value();
    for (unsigned i = 1; i <= kSpinRounds; ++i) {
        const Stopwatch watch;
        submit_one(queue);
        while (bench.sync.value() < start + i) {
        }
        samples.add(watch.elapsed_ns());
    }
    return samples.figure();
}

/// From submission to the first instruction, plus from the update to the program being awake. In between the
/// stream counts down for some 40 us, so that the program really sleeps; that time is taken out by the GPU's
/// own stamps, which are of the clock that we read.
Figure user_sleep(Bench& bench) {
    constexpr std::uint32_t kCountdown = 5'000;
    constexpr Pair kStamps = d(8);
    Group group = bench.user_group();
    Queue& queue = group.queue();
    Samples samples;
    samples.reserve(kSleepRounds);
    volatile std::uint64_t* const stamps = bench.buffer.words().data() + 64;
    const std::uint64_t start = bench.sync.value();
    for (unsigned i = 1; i <= kSleepRounds; ++i) {
        CommandWriter writer = must(queue.begin(16));
        writer.move48(kStamps, bench.va + std::uint64_t{64} * 8)
            .store_state(csf::State::timestamp, kStamps, 0);
        writer.move32(kCount, kCountdown).add_immediate32(kCount, kCount, -1);
        writer.branch(csf::Condition::gt, kCount, -2);
        writer.store_state(csf::State::timestamp, kStamps, 8).sync_add64(kSync, kOne);
        const std::uint64_t submitted = base::monotonic_ns();
        must(queue.submit(writer));
        must(bench.sync.wait(start + i, {.spin = {}}));
        const std::uint64_t woken = base::monotonic_ns();
        samples.add(static_cast<double>((stamps[0] - submitted) + (woken - stamps[1])));
    }
    return samples.figure();
}

/// A store and a sync addition each, a doorbell for every kBatch of them.
Figure user_jobs(Bench& bench) {
    constexpr unsigned kBatch = 128;
    constexpr unsigned kBatchesPerSample = 64;
    constexpr unsigned kSamples = 400;
    Group group = bench.user_group();
    Queue& queue = group.queue();
    Samples samples;
    const std::uint64_t start = bench.sync.value();
    for (unsigned sample = 0; sample < kSamples; ++sample) {
        const Stopwatch watch;
        for (unsigned i = 0; i < kBatchesPerSample; ++i) {
            CommandWriter writer = must(queue.begin(std::size_t{kBatch} * 3));
            for (unsigned job = 0; job < kBatch; ++job)
                writer.store_multiple(kValue, 1, kTarget).wait(slots(0)).sync_add64(kSync, kOne);
            must(queue.submit(writer));
        }
        samples.add(watch.elapsed_ns() / (kBatch * kBatchesPerSample));
    }
    must(group.wait(bench.sync, start + std::uint64_t{kSamples} * kBatchesPerSample * kBatch));
    return samples.figure();
}

/// Groups that have run and have nothing to do, of several programs.
struct IdleGroups {
    static constexpr unsigned kPrograms = 8;
    static constexpr unsigned kGroupsPerProgram = 125;

    explicit IdleGroups(const std::string& socket) {
        for (unsigned i = 0; i < kPrograms; ++i) {
            Bench& program = programs.emplace_back(Bench::make(socket));
            for (unsigned n = 1; n <= kGroupsPerProgram; ++n) {
                Group& group = groups.emplace_back(program.user_group());
                submit_one(group.queue());
                must(group.wait(program.sync, n));
            }
        }
    }
    std::deque<Bench> programs;
    std::deque<Group> groups;  // before their VMs
};

/// How long it takes until a group that runs without end has left its slot. More of them than there are
/// slots, so that they take turns.
Figure suspend_to_free(Bench& bench) {
    constexpr unsigned kSamples = 200;
    const unsigned slots = must(bench.device.info()).group_slots;
    std::deque<Group> groups;
    for (unsigned i = 0; i < slots + 1; ++i) {
        Queue& queue = groups.emplace_back(must(bench.vm.create_group({}))).queue();
        CommandWriter writer = must(queue.begin(1));
        writer.branch(csf::Condition::always, kValue, -1);
        must(queue.submit(writer));
    }
    Samples samples;
    samples.reserve(kSamples);
    for (DeviceLoad before = must(bench.device.load()); samples.size() < kSamples;) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        const DeviceLoad after = must(bench.device.load());
        if (after.suspends == before.suspends) continue;
        samples.add(static_cast<double>((after.suspending - before.suspending).count()) /
                    static_cast<double>(after.suspends - before.suspends));
        before = after;
    }
    return samples.figure();
}

Figure kernel_fence(Bench& bench) {
    Group group = must(bench.vm.create_group({.user_submit = false}));
    constexpr std::uint64_t kStreamOffset = 1024;
    CommandWriter stream(bench.buffer.words().subspan(kStreamOffset / 8, 8));
    stream.move48(kTarget, bench.va + 512).move32(kValue, 42).store_multiple(kValue, 1, kTarget);
    const auto bytes = static_cast<std::uint32_t>(stream.size_bytes());
    const Syncobj fence = must(bench.device.create_syncobj());
    const SyncOp signal{.syncobj = fence, .signal = true};
    Samples samples;
    samples.reserve(kKernelRounds);
    for (unsigned i = 0; i < kKernelRounds; ++i) {
        const Stopwatch watch;
        must(group.submit(0, bench.va + kStreamOffset, bytes, {&signal, 1}));
        must(fence.wait());
        samples.add(watch.elapsed_ns());
    }
    return samples.figure();
}

/// A loop of moves and additions in the ring.
Figure interpreter(Bench& bench) {
    constexpr unsigned kBody = 30;  // and the counter and the branch
    constexpr std::int32_t kRounds = 30'000;
    constexpr unsigned kSamples = 100;
    Group group = bench.user_group();
    Queue& queue = group.queue();
    Samples samples;
    for (unsigned sample = 0; sample < kSamples; ++sample) {
        const std::uint64_t start = bench.sync.value();
        const Stopwatch watch;
        CommandWriter writer = must(queue.begin(kBody + 4));
        writer.move32(kCount, kRounds);
        for (unsigned i = 0; i < kBody; i += 3)
            writer.move32(r(20), i).add_immediate32(r(21), r(20), 7).add_immediate64(d(22), d(22), 9);
        writer.add_immediate32(kCount, kCount, -1);
        writer.branch(csf::Condition::gt, kCount, -static_cast<std::int16_t>(kBody + 2));
        writer.sync_add64(kSync, kOne);
        must(queue.submit(writer));
        while (bench.sync.value() == start) {
        }
        samples.add(watch.elapsed_ns() / (double{kRounds} * (kBody + 2)));
    }
    return samples.figure();
}

}  // namespace

BenchReport bench_latency(const std::string& socket, const BenchStep& step) {
    // belfryd starts before anything is pinned: its threads go where there is room.
    Bench bench = Bench::make(socket);

    step("the machine's limits");
    const Figure spin = spin_ping_pong();
    const Figure futex = futex_ping_pong();
    const auto nop = uring_nop();
    const Figure one_message = message();
    step("requests");
    const Figure request = request_round_trip(bench);
    const Figure cost = request_cost(bench);

    Figure seen{};
    Figure seen_among_idle{};
    Figure woken{};
    Figure job{};
    Figure instruction{};
    {
        const KeepAffinity keep;
        pin_to_cpu(cpu_pair().first);
        step("user-mode submission");
        seen = user_spin(bench);
        woken = user_sleep(bench);
        job = user_jobs(bench);
        {
            const IdleGroups idle(socket);
            seen_among_idle = user_spin(bench);
        }
        step("the interpreter");
        instruction = interpreter(bench);
    }
    step("kernel-mode submission");
    const Figure fence = kernel_fence(bench);
    step("the scheduler");
    const Figure suspend = suspend_to_free(bench);
    step("the peer");
    const auto peer = vulkan_peer();

    BenchReport report;
    nlohmann::ordered_json& json = report.json;
    json["limits"] = {{"spin_ns", json_of(spin)},
                      {"futex_ns", json_of(futex)},
                      {"message_ns", json_of(one_message)},
                      {"request_ns", json_of(request)}};
    json["limits"]["uring_nop_ns"] = nop ? json_of(*nop) : nlohmann::ordered_json(nullptr);
    json["user"] = {{"spin_ns", json_of(seen)},
                    {"spin_among_1000_idle_ns", json_of(seen_among_idle)},
                    {"sleep_ns", json_of(woken)},
                    {"job_ns", json_of(job)}};
    json["scheduler"] = {{"suspend_ns", json_of(suspend)}};
    json["kernel"] = {{"fence_ns", json_of(fence)}};
    json["interpreter"] = {{"instruction_ns", json_of(instruction)}};
    json["server"] = {{"request_busy_ns", json_of(cost)}};
    json["peer"] = nlohmann::ordered_json::object();
    if (peer)
        json["peer"] = {{"device", peer->device}, {"submit_to_woken_ns", json_of(peer->submit_to_woken)}};

    const auto out = std::back_inserter(report.table);
    const auto row = [&out](const char* name, const Figure& figure, const std::string& remark) {
        fmt::format_to(out, "  {:<44}{:>10.1f}{:>12.1f}  {}\n", name, figure.median_ns, figure.p99_ns,
                       remark);
    };
    const auto times = [](const Figure& ours, const Figure& limit, const char* of) {
        return fmt::format("{:.2f} x {}", ours.median_ns / limit.median_ns, of);
    };
    fmt::format_to(out, "{:<46}{:>10}{:>12}\n", "ns", "median", "p99");
    fmt::format_to(out, "limits of this machine\n");
    row("spinning ping-pong, two processes", spin, "");
    row("futex ping-pong, two processes", futex, "");
    row("a message over a socket, one thread", one_message, "");
    row("request to belfryd and back (IPC)", request, times(request, futex, "futex"));
    if (nop)
        row("io_uring no-op, batch of 32", *nop, "");
    else
        fmt::format_to(out, "  {:<44}{:>10}{:>12}  {}\n", "io_uring no-op, batch of 32", "-", "-",
                       nop.error());
    fmt::format_to(out, "user-mode submission\n");
    row("submit to seen, both sides spinning", seen, times(seen, spin, "spin"));
    row("the same beside 1,000 idle groups", seen_among_idle, times(seen_among_idle, spin, "spin"));
    row("submit to woken from sleep", woken, times(woken, futex, "futex"));
    row("a job, pipelined: store and sync add", job,
        fmt::format("{:.1f} million jobs/s", 1e3 / job.median_ns));
    fmt::format_to(out, "kernel-mode submission\n");
    row("submit to fence (two requests)", fence, times(fence, request, "request"));
    fmt::format_to(out, "scheduler\n");
    row("suspend to slot free, a mean of a few", suspend, "");
    fmt::format_to(out, "belfryd\n");
    row("its time for a request, of 1,000,000", cost, times(cost, one_message, "message"));
    fmt::format_to(out, "interpreter\n");
    row("a simple instruction", instruction, fmt::format("{:.0f} million/s", 1e3 / instruction.median_ns));
    fmt::format_to(out, "peer\n");
    if (peer)
        row("empty vkQueueSubmit to vkWaitSemaphores", peer->submit_to_woken,
            fmt::format("{:.2f} x ours, woken ({})", peer->submit_to_woken.median_ns / woken.median_ns,
                        peer->device));
    else
        fmt::format_to(out, "  none: {}\n", peer.error());
    return report;
}

}  // namespace belfry::cli
