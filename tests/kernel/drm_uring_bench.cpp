// What a submission costs on a real kernel: run by ./dev vm bench, in a guest whose clock counts
// instructions.
//
// One nanosecond of the guest is one instruction of its only CPU, kernel and program together; so figures
// hardly differ between runs and machines, and say nothing of caches, branches or what a processor does at
// once.
#include <cstdint>
#include <functional>
#include <string>

#include <fmt/format.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "kernel/drm_uring_rig.hpp"

namespace {

using namespace belfry::kernel_tests;

constexpr unsigned kJobs = 8192;

std::int64_t now_ns() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}
long switches() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw;
}

/// Prints a row: `run` does kJobs jobs and returns how many system calls it made.
void measure(const std::string& what, const std::function<unsigned()>& run) {
    static double unit = 0;  // the row that the others are compared with
    run();                   // once to warm up
    const auto switched = switches();
    const auto start = now_ns();
    const auto calls = run();
    const auto instructions = static_cast<double>(now_ns() - start) / kJobs;
    if (what == "ioctl, one wait at the end") unit = instructions;
    fmt::print("{:44} {:8.0f} {:>7} {:9.3f} {:9.3f}\n", what, instructions,
               unit == 0 ? "" : fmt::format("{:.2f}", instructions / unit), double(calls) / kJobs,
               double(switches() - switched) / kJobs);
}

unsigned by_ioctl(const Node& node, const fake_gpu_job& args, bool wait_each) {
    const auto done = node.syncobj();
    unsigned calls = 0;
    for (unsigned i = 0; i < kJobs; ++i) {
        auto command = with_signal(job(args), done);
        if (node.ioctl(kSubmit, &command) != 0) throw std::runtime_error("SUBMIT");
        ++calls;
        if (wait_each) node.await(done), ++calls;
    }
    if (!wait_each) node.await(done), ++calls;
    return calls;
}

unsigned by_ring(const Node& node, const fake_gpu_job& args, unsigned batch, unsigned setup = 0) {
    Ring ring(256, IORING_SETUP_SQE128 | setup);
    unsigned calls = 0;
    for (unsigned i = 0; i < kJobs; i += batch) {
        for (unsigned n = 0; n < batch; ++n) ring.prepare(node, job(args));
        io_uring_submit_and_wait(&ring.raw(), batch);
        ++calls;
        for (unsigned n = 0; n < batch; ++n)
            if (ring.next().result != 0) throw std::runtime_error("a job failed");
    }
    return calls;
}

void measure_rows(const Node& node, const std::string& gpu, const fake_gpu_job& args) {
    for (const unsigned batch : {1u, 16u, 128u})
        measure(fmt::format("io_uring, batch of {}, CQE at the fence{}", batch, gpu),
                [&] { return by_ring(node, args, batch); });
    measure(fmt::format("the same, SQPOLL, batch of 128{}", gpu),
            [&] { return by_ring(node, args, 128, IORING_SETUP_SQPOLL); });
}

}  // namespace

int main() {
    const Node node;
    fmt::print("{:44} {:>8} {:>7} {:>9} {:>9}\n", "a job, of 8,192", "instr.", "ratio", "sys calls",
               "sleeps");
    measure("getppid", [] {
        for (unsigned i = 0; i < kJobs; ++i) ::getppid();
        return kJobs;
    });
    measure("ioctl, one wait at the end", [&] { return by_ioctl(node, kAtOnce, false); });
    measure("ioctl and wait for each", [&] { return by_ioctl(node, kAtOnce, true); });
    measure_rows(node, "", kAtOnce);
    measure("ioctl and wait for each, workqueue", [&] { return by_ioctl(node, kShort, true); });
    measure_rows(node, ", workqueue", kShort);
    return testing::Test::HasFailure() ? 1 : 0;
}
