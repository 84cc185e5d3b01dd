// `belfry demo`: processes share out a file, and each copies its part through GPU buffers.
//
// Every second process submits in user mode, the others by requests; each has one job in flight, so that the
// latency it prints is that of a job and not of a queue.

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "base/fd.hpp"
#include "base/memory.hpp"
#include "belfry/belfry.hpp"
#include "cli/commands.hpp"
#include "cli/copy_job.hpp"
#include "cli/failure.hpp"
#include "cli/measure.hpp"

namespace belfry::cli {
namespace {

constexpr std::uint64_t kJobBytes = 16384;
constexpr std::uint64_t kPieceBytes = 1U << 20;  // of the file in a process' buffer at a time

/// What a process reports, in memory that it shares with its parent.
struct ProcessReport {
    std::uint64_t jobs;
    double seconds;
    Figure latency;
    std::uint64_t requests;
    std::uint64_t context_switches;  // voluntary
    std::uint64_t wake_ups;
    char error[256];  // empty: fine
};

struct Shared {
    std::atomic<std::uint64_t> bytes_done;
    std::array<ProcessReport, 64> reports;
};

/// A part of the file and where it goes.
struct Part {
    std::span<const std::byte> from;
    std::span<std::byte> to;
};

std::uint64_t voluntary_switches() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return static_cast<std::uint64_t>(usage.ru_nvcsw);
}

/// One process' side of the GPU: two buffers and a way to copy between them. `copy` copies the next kJobBytes
/// and returns once they are there.
class Copier {
  public:
    Copier(const std::string& socket, bool user_submit)
        : device_(must(Device::open({.socket_path = socket}))),
          vm_(must(device_.create_vm())),
          source_(must(device_.create_buffer(kPieceBytes))),
          destination_(must(device_.create_buffer(kPieceBytes))),
          control_(must(device_.create_buffer(base::kPageBytes))),
          source_va_(must(vm_.map(source_, {.read_only = true}))),
          destination_va_(must(vm_.map(destination_))),
          control_va_(must(vm_.map(control_))),
          group_(must(vm_.create_group({.user_submit = user_submit}))),
          done_(must(SyncObject::at(control_, 0, control_va_))),
          fence_(must(device_.create_syncobj())),
          user_submit_(user_submit) {
        if (user_submit) return;
        // Two streams: one that sets the pointers, one that copies on from where they are.
        CommandWriter rewind(control_.words().subspan(kRewindWord, 8));
        rewind.move48(kSource, source_va_).move48(kDestination, destination_va_);
        CommandWriter copy(control_.words().subspan(kCopyWord, kCopyWords));
        write_copy(copy, kJobBytes / kStepBytes);
        copy_bytes_ = static_cast<std::uint32_t>(copy.size_bytes());
        rewind_bytes_ = static_cast<std::uint32_t>(rewind.size_bytes());
    }

    [[nodiscard]] std::span<std::byte> source() const { return source_.bytes(); }
    [[nodiscard]] std::span<std::byte> destination() const { return destination_.bytes(); }
    [[nodiscard]] std::uint64_t requests() const { return device_.requests(); }
    [[nodiscard]] std::uint64_t wake_ups() const {
        return user_submit_ ? SyncObject::stats().wake_ups : waits_;
    }

    void rewind() {
        if (user_submit_) {
            CommandWriter writer = must(group_.queue().begin(4));
            writer.move48(kSource, source_va_)
                .move48(kDestination, destination_va_)
                .move48(kSync, control_va_)
                .move48(kOne, 1);
            must(group_.queue().submit(writer));
        } else {
            must(group_.submit(0, control_va_ + kRewindWord * 8, rewind_bytes_));
        }
    }

    void copy() {
        if (user_submit_) {
            CommandWriter writer = must(group_.queue().begin(kCopyWords));
            write_copy(writer, kJobBytes / kStepBytes);
            writer.sync_add64(kSync, kOne);
            must(group_.queue().submit(writer));
            must(group_.wait(done_, ++target_));
        } else {
            const SyncOp signal{.syncobj = fence_, .signal = true};
            must(group_.submit(0, control_va_ + kCopyWord * 8, copy_bytes_, {&signal, 1}));
            must(fence_.wait());
            ++waits_;
        }
    }

  private:
    static constexpr std::size_t kRewindWord = 8;  // behind the sync object, at multiples of 64 bytes
    static constexpr std::size_t kCopyWord = 16;

    Device device_;
    Vm vm_;
    Buffer source_;
    Buffer destination_;
    Buffer control_;
    std::uint64_t source_va_;
    std::uint64_t destination_va_;
    std::uint64_t control_va_;
    Group group_;
    SyncObject done_;
    Syncobj fence_;
    bool user_submit_;
    std::uint32_t copy_bytes_ = 0;
    std::uint32_t rewind_bytes_ = 0;
    std::uint64_t target_ = 0;
    std::uint64_t waits_ = 0;
};

void copy_part(const std::string& socket, bool user_submit, const Part& part, ProcessReport& report,
               std::atomic<std::uint64_t>& bytes_done) {
    Copier copier(socket, user_submit);
    Samples samples;
    const std::uint64_t requests_before = copier.requests();
    const std::uint64_t switches_before = voluntary_switches();
    const Stopwatch whole;
    for (std::uint64_t at = 0; at < part.from.size(); at += kPieceBytes) {
        const std::uint64_t bytes = std::min<std::uint64_t>(kPieceBytes, part.from.size() - at);
        std::memcpy(copier.source().data(), part.from.data() + at, bytes);
        copier.rewind();
        for (std::uint64_t copied = 0; copied < bytes; copied += kJobBytes) {
            const Stopwatch job;
            copier.copy();
            samples.add(job.elapsed_ns());
            bytes_done.fetch_add(std::min(kJobBytes, bytes - copied), std::memory_order_relaxed);
        }
        std::memcpy(part.to.data() + at, copier.destination().data(), bytes);
    }
    report.jobs = samples.size();
    report.seconds = whole.elapsed_ns() / 1e9;
    if (samples.size() != 0) report.latency = samples.figure();
    report.requests = copier.requests() - requests_before;
    report.context_switches = voluntary_switches() - switches_before;
    report.wake_ups = copier.wake_ups();
}

std::string sha256(std::span<const std::byte> bytes) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned length = 0;
    if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr) != 1)
        throw Failure{"libcrypto cannot make a SHA-256"};
    std::string text;
    for (const unsigned char byte : std::span(digest).first(length)) text += fmt::format("{:02x}", byte);
    return text;
}

/// A library of some MB that is there wherever this program runs: it has loaded it.
std::string default_file() {
    Dl_info info{};
    if (::dladdr(reinterpret_cast<void*>(&EVP_sha256), &info) == 0 || info.dli_fname == nullptr)
        throw Failure{"no default file was found: name one"};
    return info.dli_fname;
}

base::Mapping map_file(const std::string& path) {
    const base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status{};
    if (!fd || ::fstat(fd.get(), &status) != 0)
        throw Failure{fmt::format("cannot open {}: {}", path, std::strerror(errno))};
    if (status.st_size == 0) throw Failure{fmt::format("{} is empty: there is nothing to copy", path)};
    void* const data =
        ::mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (data == MAP_FAILED) throw Failure{fmt::format("cannot map {}: {}", path, std::strerror(errno))};
    return {static_cast<std::byte*>(data), static_cast<std::size_t>(status.st_size)};
}

base::Mapping map_anonymous(std::size_t bytes) {
    void* const data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        throw Failure{fmt::format("no room for {} bytes: {}", bytes, std::strerror(errno))};
    return {static_cast<std::byte*>(data), bytes};
}

/// A line that is drawn over while the work goes on; nothing if nobody looks.
class ProgressBar {
  public:
    explicit ProgressBar(std::uint64_t bytes) : bytes_(bytes), shown_(::isatty(STDERR_FILENO) != 0) {}
    ~ProgressBar() {
        if (shown_) fmt::print(stderr, "\r{:60}\r", "");
    }
    void show(std::uint64_t done) const {
        constexpr std::uint64_t kCells = 40;
        if (!shown_) return;
        const auto cells = static_cast<int>(done * kCells / bytes_);
        fmt::print(stderr, "\r[{:#<{}}{:<{}}] {:3}%", "", cells, "", kCells - static_cast<unsigned>(cells),
                   done * 100 / bytes_);
        std::fflush(stderr);
    }

  private:
    std::uint64_t bytes_;
    bool shown_;
};

void write_file(const std::string& path, std::span<const std::byte> bytes) {
    const base::Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!fd) throw Failure{fmt::format("cannot write {}: {}", path, std::strerror(errno))};
    while (!bytes.empty()) {
        const auto written = ::write(fd.get(), bytes.data(), bytes.size());
        if (written < 0) throw Failure{fmt::format("cannot write {}: {}", path, std::strerror(errno))};
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
}

/// Runs `work(index)` in `count` child processes; calls `meanwhile` until all have ended.
void run_processes(unsigned count, Shared& shared, const std::function<void(unsigned)>& work,
                   const std::function<void()>& meanwhile) {
    std::vector<pid_t> children;
    for (unsigned i = 0; i < count; ++i) {
        const pid_t child = ::fork();
        if (child < 0) throw Failure{fmt::format("cannot start a process: {}", std::strerror(errno))};
        if (child == 0) {
            int code = EXIT_SUCCESS;
            try {
                work(i);
            } catch (const Failure& failure) {
                std::strncpy(shared.reports[i].error, failure.message.c_str(),
                             sizeof shared.reports[i].error - 1);
                code = EXIT_FAILURE;
            }
            std::_Exit(code);
        }
        children.push_back(child);
    }
    constexpr useconds_t kRedrawUs = 50'000;
    for (std::size_t ended = 0; ended < children.size();) {
        int status = 0;
        const pid_t child = ::waitpid(-1, &status, WNOHANG);
        meanwhile();
        if (child <= 0) {
            ::usleep(kRedrawUs);
            continue;
        }
        const auto found = std::ranges::find(children, child);
        if (found == children.end()) continue;  // not one of ours
        ++ended;
        auto& error = shared.reports[static_cast<std::size_t>(found - children.begin())].error;
        if (status != 0 && error[0] == '\0') std::strncpy(error, "it was killed", sizeof error - 1);
    }
}

nlohmann::ordered_json report_json(unsigned index, const ProcessReport& report) {
    return {{"process", index},
            {"mode", index % 2 == 0 ? "kernel" : "user"},
            {"jobs", report.jobs},
            {"jobs_per_s", report.seconds > 0 ? static_cast<double>(report.jobs) / report.seconds : 0},
            {"p50_us", report.latency.median_ns / 1000},
            {"p99_us", report.latency.p99_ns / 1000},
            {"requests", report.requests},
            {"context_switches", report.context_switches},
            {"wake_ups", report.wake_ups}};
}

}  // namespace

int run_demo(const CommonOptions& common, const DemoOptions& options) {
    // Opened before the children are started, so that all meet one belfryd.
    const Device device = must(Device::open({.socket_path = common.socket_path}));
    const std::string path = options.file.empty() ? default_file() : options.file;
    const base::Mapping input = map_file(path);
    const base::Mapping output = map_anonymous(input.size());
    const base::Mapping shared_memory = map_anonymous(sizeof(Shared));
    Shared& shared = *new (shared_memory.data()) Shared{};

    // Whole jobs for each process but the last.
    const std::uint64_t jobs = (input.size() + kJobBytes - 1) / kJobBytes;
    const std::uint64_t part_bytes = (jobs + options.processes - 1) / options.processes * kJobBytes;
    if (!common.json)
        fmt::print("copying {} ({} bytes) in {} processes, {} bytes a job, one job in flight each\n", path,
                   input.size(), options.processes, kJobBytes);
    std::fflush(stdout);
    {
        const ProgressBar bar(input.size());
        run_processes(
            options.processes, shared,
            [&](unsigned index) {
                const std::uint64_t from = std::min<std::uint64_t>(index * part_bytes, input.size());
                const std::uint64_t bytes = std::min<std::uint64_t>(part_bytes, input.size() - from);
                copy_part(
                    device.socket_path(), index % 2 == 1,
                    {.from = input.bytes().subspan(from, bytes), .to = output.bytes().subspan(from, bytes)},
                    shared.reports[index], shared.bytes_done);
            },
            [&] { bar.show(shared.bytes_done.load(std::memory_order_relaxed)); });
    }
    for (unsigned i = 0; i < options.processes; ++i)
        if (shared.reports[i].error[0] != '\0')
            throw Failure{fmt::format("process {} failed: {}", i, shared.reports[i].error)};

    const std::string before = sha256(input.bytes());
    const std::string after = sha256(output.bytes());
    if (!options.output.empty()) write_file(options.output, output.bytes());
    if (common.json) {
        nlohmann::ordered_json json = {
            {"file", path}, {"bytes", input.size()}, {"sha256", after}, {"verified", before == after}};
        for (unsigned i = 0; i < options.processes; ++i)
            json["processes"].push_back(report_json(i, shared.reports[i]));
        fmt::print("{}\n", json.dump(2));
    } else {
        fmt::print("{:>3} {:<7}{:>7}{:>10}{:>11}{:>11}{:>10}{:>14}{:>10}\n", "#", "mode", "jobs", "jobs/s",
                   "p50 us", "p99 us", "requests", "ctx switches", "wake-ups");
        for (unsigned i = 0; i < options.processes; ++i) {
            const ProcessReport& report = shared.reports[i];
            fmt::print("{:>3} {:<7}{:>7}{:>10.0f}{:>11.1f}{:>11.1f}{:>10}{:>14}{:>10}\n", i,
                       i % 2 == 0 ? "kernel" : "user", report.jobs,
                       report.seconds > 0 ? static_cast<double>(report.jobs) / report.seconds : 0,
                       report.latency.median_ns / 1000, report.latency.p99_ns / 1000, report.requests,
                       report.context_switches, report.wake_ups);
        }
        fmt::print("SHA-256 {} {}\n", after, before == after ? "verified" : "DIFFERS");
    }
    if (before != after) throw Failure{fmt::format("the copy differs: its SHA-256 should be {}", before)};
    return EXIT_SUCCESS;
}

}  // namespace belfry::cli
