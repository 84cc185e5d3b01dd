// What a submission costs on a real kernel: run by ./dev vm bench, in a guest whose clock counts
// instructions.
//
// One nanosecond of the guest is one instruction of its only CPU; so figures hardly differ between runs and
// machines, and say nothing of caches, branches or what a processor does at once. The scheduler tells who
// spent them. A row is run twice: to warm up, when its system calls are counted, which is not free, and to
// be measured.
#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include <fmt/format.h>
#include <linux/perf_event.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kernel/drm_uring_rig.hpp"
#include "kernel/node_rig.hpp"

namespace belfry::kernel_tests {
namespace {

constexpr unsigned kJobs = 4096;
constexpr unsigned kDeep = 128;

// ---- Who did what

std::int64_t cpu_ns(clockid_t clock) {
    timespec time{};
    ::clock_gettime(clock, &time);
    return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

/// The first number of a line of /proc that begins with `label`, behind `skip` others.
std::int64_t number(const std::filesystem::path& path, const std::string& label, unsigned skip) {
    std::ifstream file(path);
    std::string word;
    while (!label.empty() && word != label && file >> word) {
    }
    for (unsigned i = 0; i < skip; ++i) file >> word;
    std::int64_t value = 0;
    if (!(file >> value)) throw std::runtime_error("no number in " + path.string());
    return value;
}

/// A belfryd's process, and its GPU's thread.
struct Daemon {
    explicit Daemon(pid_t pid) {
        ::clock_getcpuclockid(pid, &clock);
        for (const auto& thread :
             std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
            std::string name;
            std::ifstream(thread.path() / "comm") >> name;
            if (name == "gpu") gpu = thread.path();
        }
    }
    clockid_t clock{};
    std::filesystem::path gpu;
};

/// Instructions so far. What is in `all` and nowhere else is of the kernel's threads.
struct Usage {
    explicit Usage(const Daemon* daemon) {
        ::usleep(1);  // a thread's time is added to `all` when it leaves the CPU
        all = number("/proc/schedstat", "cpu0", 6);
        program = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
        if (daemon != nullptr) {
            gpu = number(daemon->gpu / "schedstat", "", 0);
            driver = cpu_ns(daemon->clock) - gpu;
        }
        rusage usage{};
        ::getrusage(RUSAGE_SELF, &usage);
        sleeps = usage.ru_nvcsw;
    }
    std::int64_t all = 0;
    std::int64_t program = 0;
    std::int64_t driver = 0;
    std::int64_t gpu = 0;
    long sleeps = 0;
};

/// Of this thread.
std::int64_t system_calls(const std::function<void()>& run) {
    perf_event_attr attr{};
    attr.type = PERF_TYPE_TRACEPOINT;
    attr.size = sizeof attr;
    attr.config = number("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id", "", 0);
    const base::Fd counter(static_cast<int>(::syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0)));
    run();
    std::int64_t count = 0;
    if (::read(counter.get(), &count, sizeof count) != sizeof count)
        throw std::runtime_error("the kernel counts no system calls");
    return count - 1;  // the read
}

double unit = 0;  // the row that the others of its table are compared with

void print_head(const std::string& what) {
    unit = 0;
    fmt::print("{:44} {:>7} {:>6} {:>8} {:>8} {:>8} {:>8} {:>7} {:>7}\n", what, "instr.", "ratio", "program",
               "belfryd", "kernel", "(GPU)", "calls", "sleeps");
}

/// `run` does kJobs jobs.
void measure(const std::string& what, const Daemon* daemon, const std::function<void()>& run) {
    const auto calls = system_calls(run);
    const Usage before(daemon);
    const auto start = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
    run();
    const auto end = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);  // by itself: taking a Usage is not free either
    const Usage after(daemon);
    const auto each = [](auto from, auto to) { return static_cast<double>(to - from) / kJobs; };
    const double program = each(start, end);
    const double driver = each(before.driver, after.driver);
    const double gpu = each(before.gpu, after.gpu);
    const double kernel = each(before.all - before.program, after.all - after.program) - driver - gpu;
    const double sum = program + driver + kernel;
    if (unit == 0) unit = sum;
    fmt::print("{:44} {:7.0f} {:6.2f} {:8.0f} {:8.0f} {:8.0f} {:8.0f} {:7.3f} {:7.3f}\n", what, sum,
               sum / unit, program, driver, std::max(kernel, 0.0), gpu, static_cast<double>(calls) / kJobs,
               each(before.sleeps, after.sleeps));
}

void by_ring(Ring& ring, const auto& node, const belfry_uring_command& command, unsigned batch) {
    for (unsigned i = 0; i < kJobs; i += batch) {
        for (unsigned n = 0; n < batch; ++n) ring.prepare(node, command);
        io_uring_submit_and_wait(&ring.raw(), batch);
        for (unsigned n = 0; n < batch; ++n)
            if (ring.next().result != 0) throw std::runtime_error("a job failed");
    }
}

void measure_rings(const auto& node, const Daemon* daemon, const belfry_uring_command& command) {
    const auto row = [&](const std::string& what, unsigned batch, unsigned setup = 0) {
        Ring ring(kDeep, IORING_SETUP_SQE128 | setup);
        measure(what, daemon, [&] { by_ring(ring, node, command, batch); });
    };
    for (const unsigned batch : {1U, 16U, kDeep})
        row(fmt::format("io_uring, batch of {}, CQE at the fence", batch), batch);
    row("the same, SQPOLL, batch of 128", kDeep, IORING_SETUP_SQPOLL);
}

// ---- drm_uring, with a driver that has no GPU

void by_ioctl(const Node& node, const belfry_uring_command& command, std::uint32_t done, bool wait_each) {
    for (unsigned i = 0; i < kJobs; ++i) {
        auto args = command;
        if (node.ioctl(kSubmit, &args) != 0) throw std::runtime_error("SUBMIT");
        if (wait_each) node.await(done);
    }
    node.await(done);
}

void measure_fake_gpu(const std::string& when, const fake_gpu_job& args) {
    const Node node;
    const auto done = node.syncobj();
    const auto signalling = with_signal(job(args), done);
    print_head("fake_gpu, done " + when);
    measure("ioctl, one wait at the end", nullptr, [&] { by_ioctl(node, signalling, done, false); });
    measure("ioctl, and a wait for each", nullptr, [&] { by_ioctl(node, signalling, done, true); });
    measure_rings(node, nullptr, job(args));
}

// ---- The node, with a belfryd

void by_group_submit(JobRig& rig, const Syncobj& done, bool wait_each) {
    const std::array syncs{SyncOp{.syncobj = done, .signal = true}};
    for (unsigned i = 0; i < kJobs; ++i) {
        must(rig.submit(syncs));
        if (wait_each) must(done.wait(0));
    }
    must(done.wait(0));
}

/// The same store by a user-mode group. Each job counts itself; the last of a batch counts the batch, and
/// that is slept for.
void by_doorbell(const JobRig& rig, Queue& queue, const SyncObject& batches) {
    for (unsigned i = 0; i < kJobs; i += kDeep) {
        CommandWriter jobs = must(queue.begin(std::size_t{kDeep} * 8));
        for (unsigned n = 0; n < kDeep; ++n) {
            rig.write_job(jobs);
            jobs.wait(slots(0)).sync_add64(d(4), d(8));
        }
        jobs.sync_add64(d(6), d(8));
        const auto before = batches.value();
        must(queue.submit(jobs));
        must(batches.wait(before + 1, {.timeout = {}, .spin = {}}));
    }
}

void measure_node() {
    const Server server;
    const Daemon daemon(server.pid());
    const Device device = server.device();
    JobRig rig(device);
    const Syncobj done = must(device.create_syncobj());
    print_head("belfry.ko and belfryd");
    measure("GROUP_SUBMIT, one wait at the end", &daemon, [&] { by_group_submit(rig, done, false); });
    measure("GROUP_SUBMIT, and a wait for each", &daemon, [&] { by_group_submit(rig, done, true); });
    measure_rings(device, &daemon, rig.command());

    Group group = must(rig.vm.create_group({}));
    const SyncObject batches = must(SyncObject::at(rig.buffer, 2064, rig.va + 2064));
    CommandWriter setup = must(group.queue().begin(8));
    setup.move48(d(4), rig.va + 2048).move48(d(6), batches.address()).move48(d(8), 1);
    must(group.queue().submit(setup));
    measure("user mode, a doorbell for 128", &daemon, [&] { by_doorbell(rig, group.queue(), batches); });
}

void measure_all() {
    print_head("a job, of 4,096");
    measure("getppid", nullptr, [] {
        for (unsigned i = 0; i < kJobs; ++i) ::getppid();
    });
    measure_fake_gpu("at once", kAtOnce);
    measure_fake_gpu("by an interrupt", {.delay_ms = 1});
    measure_node();
}

}  // namespace
}  // namespace belfry::kernel_tests

int main() {
    belfry::kernel_tests::measure_all();
    return testing::Test::HasFailure() ? 1 : 0;
}
