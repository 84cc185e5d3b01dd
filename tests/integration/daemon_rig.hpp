// Rig for tests with real processes: a belfryd of the test's own, programs that use it, and the words to tell
// them what to do.
//
// Daemon    a belfryd; its destructor expects that it still runs and ends cleanly
// Child     a function in a forked process; what it throws fails the test
// Client    a program with one group, through libbelfry
// RawClient a program with one group, through ioctls and its own stores to the mapped pages
// Bystander a process that runs jobs all the time and must never notice anything
//
// Nothing sleeps for a while: tests wait for exits, sockets, futexes and sync objects, and eventually() looks
// again where there is no event. The test's process has one thread, so that it may fork.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <expected>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomic.hpp"
#include "base/clock.hpp"
#include "base/fd.hpp"
#include "base/futex.hpp"
#include "base/memory.hpp"
#include "belfry/belfry.hpp"
#include "belfry/uapi/panthor_drm.h"
#include "belfry/uapi/user_queue.h"
#include "client/transport.hpp"
#include "uapi/fault_text.hpp"

namespace belfry::rig {

/// For what must happen: only a test that fails waits so long.
inline constexpr auto kGenerous = std::chrono::seconds(60);

// ---- Failing, in this process or a child

struct Failed : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline std::string text_of(const Error& error) { return error.message; }
inline std::string text_of(base::Errno error) { return std::strerror(static_cast<int>(error)); }
inline std::string text_of(const std::string& error) { return error; }

template <typename T, typename E>
T must(std::expected<T, E> result) {
    if (!result) throw Failed(text_of(result.error()));
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

inline void require(bool condition, const std::string& what) {
    if (!condition) throw Failed(what);
}

/// The errno of a request that must fail; 0 if it did not.
template <typename T>
int code_of(const Result<T>& result) {
    return result ? 0 : result.error().code;
}

/// Looks again and again, for conditions whose change is no event.
[[nodiscard]] inline bool eventually(const std::function<bool()>& condition) {
    constexpr int kBetweenLooksMs = 1;
    const auto until = std::chrono::steady_clock::now() + kGenerous;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > until) return false;
        ::poll(nullptr, 0, kBetweenLooksMs);
    }
    return true;
}

inline void expect_mentions(const std::string& text, std::initializer_list<std::string> words) {
    for (const std::string& word : words)
        EXPECT_NE(text.find(word), std::string::npos) << word << "\nin: " << text;
}

inline std::string hex(std::uint64_t value) {
    std::ostringstream text;
    text << "0x" << std::hex << value;
    return text.str();
}

// ---- Files

class Directory {
  public:
    Directory() { require(::mkdtemp(path_.data()) != nullptr, "cannot make a directory in /tmp"); }
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;
    ~Directory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    std::string path_ = "/tmp/belfry-test-XXXXXX";
};

inline std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_file(const std::string& path, const std::string& bytes) {
    std::ofstream file(path, std::ios::binary);
    file << bytes;
    file.close();
    require(file.good(), "cannot write " + path);
}

// ---- Processes

/// Becomes readable when the process ends, which need not be a child. By number: glibc's header is not for
/// C++ yet.
inline base::Fd open_pidfd(pid_t pid) {
    return base::Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

/// True once the process has ended.
[[nodiscard]] inline bool await_exit(int pidfd) {
    pollfd ended{.fd = pidfd, .events = POLLIN, .revents = 0};
    const auto timeout = std::chrono::duration_cast<std::chrono::milliseconds>(kGenerous);
    return ::poll(&ended, 1, static_cast<int>(timeout.count())) == 1;
}

/// Whether a process is asleep right now: it is marked so in the kernel's wait queue, not on the way there.
[[nodiscard]] inline bool sleeps(pid_t pid) {
    const std::string stat = read_file("/proc/" + std::to_string(pid) + "/stat");
    const auto end_of_name = stat.rfind(") ");
    return end_of_name != std::string::npos && stat[end_of_name + 2] == 'S';
}

/// One child process. Dies with this object, and with the test.
class Process {
  public:
    /// Forks; `work` never returns.
    explicit Process(const std::function<void()>& work) {
        std::fflush(nullptr);
        pid_ = ::fork();
        require(pid_ >= 0, "cannot fork");
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            work();
            std::abort();
        }
        pidfd_ = open_pidfd(pid_);
    }
    Process(Process&& other) noexcept
        : pid_(std::exchange(other.pid_, -1)),
          pidfd_(std::move(other.pidfd_)),
          status_(std::exchange(other.status_, std::nullopt)) {}
    Process& operator=(Process&&) = delete;
    ~Process() {
        if (pid_ <= 0 || status_) return;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }

    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] bool ended() const { return status_.has_value(); }
    void signal(int number) const { ::kill(pid_, number); }
    /// How it ended: its exit code, or minus the signal that ended it. One that does not end is killed.
    int wait() {
        if (!status_) {
            if (!await_exit(pidfd_.get())) {
                ADD_FAILURE() << "process " << pid_ << " does not end";
                signal(SIGKILL);
            }
            int status = 0;
            ::waitpid(pid_, &status, 0);
            status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
        }
        return *status_;
    }
    /// Returns when it has stopped by a signal.
    void await_stop() const { ::waitpid(pid_, nullptr, WUNTRACED); }

  private:
    pid_t pid_ = -1;
    base::Fd pidfd_;
    std::optional<int> status_;
};

/// Memory that processes share which are forked later. T must be fine with zeroes.
template <typename T>
class Shared {
  public:
    Shared()
        : memory_(static_cast<T*>(
              ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
        require(memory_ != MAP_FAILED, "no memory");
    }
    Shared(Shared&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)) {}
    Shared& operator=(Shared&&) = delete;
    ~Shared() {
        if (memory_ != nullptr) ::munmap(memory_, sizeof(T));
    }
    T* operator->() const { return memory_; }
    T& operator*() const { return *memory_; }

  private:
    T* memory_;
};

/// Counts across processes; one can sleep until it has reached a value.
class Counter {
  public:
    void add(std::uint32_t steps = 1) {
        base::fetch_add(*word_, steps, base::kSeqCst);
        base::futex_wake(*word_, ~0U);
    }
    [[nodiscard]] std::uint32_t value() const { return base::load(*word_, base::kSeqCst); }
    void await(std::uint32_t at_least) const {
        const auto until =
            base::monotonic_ns() + static_cast<std::uint64_t>(std::chrono::nanoseconds(kGenerous).count());
        for (std::uint32_t now = value(); now < at_least; now = value()) {
            const auto slept = base::futex_wait(*word_, now, ~0U, until);
            require(slept || slept.error() != base::Errno::timed_out,
                    "a count stays at " + std::to_string(now) + " instead of " + std::to_string(at_least));
        }
    }

  private:
    Shared<std::uint32_t> word_;
};

/// Runs `work` in a forked process. There it must(), require() and throw; EXPECT is for the test's own
/// process.
class Child {
  public:
    explicit Child(const std::function<void()>& work)
        : process_([this, &work] {
              int code = EXIT_SUCCESS;
              try {
                  work();
              } catch (const std::exception& error) {
                  std::strncpy(report_->data(), error.what(), report_->size() - 1);
                  code = EXIT_FAILURE;
              }
              ::_exit(code);
          }) {}
    Child(Child&&) = default;

    [[nodiscard]] pid_t pid() const { return process_.pid(); }
    void signal(int number) const { process_.signal(number); }
    void await_stop() const { process_.await_stop(); }
    int wait() { return process_.wait(); }
    /// Waits for its end, and expects that all was well.
    void finish() { EXPECT_EQ(process_.wait(), EXIT_SUCCESS) << report_->data(); }

  private:
    Shared<std::array<char, 1024>> report_;  // before the process that writes it
    Process process_;
};

inline std::string bin(const std::string& name) { return std::string(BELFRY_BIN_DIR) + "/" + name; }

[[noreturn]] inline void execute(const std::vector<std::string>& command) {
    std::vector<char*> arguments;
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
}

struct Outcome {
    int exit_code;  // or minus a signal
    std::string out;
    std::string err;
};

struct Redirection {
    std::string input = "/dev/null";
    std::string output{};  ///< empty: into Outcome::out
};

/// Runs a program to its end.
inline Outcome run(const std::vector<std::string>& command, const Redirection& to = {}) {
    const base::Fd out(::memfd_create("stdout", 0));
    const base::Fd err(::memfd_create("stderr", 0));
    Process process([&] {
        ::dup2(::open(to.input.c_str(), O_RDONLY | O_CLOEXEC), STDIN_FILENO);
        ::dup2(to.output.empty() ? out.get() : ::open(to.output.c_str(), O_WRONLY | O_CLOEXEC),
               STDOUT_FILENO);
        ::dup2(err.get(), STDERR_FILENO);
        execute(command);
    });
    const int code = process.wait();
    const auto text = [](const base::Fd& fd) {
        return read_file("/proc/self/fd/" + std::to_string(fd.get()));
    };
    return {.exit_code = code, .out = text(out), .err = text(err)};
}

// ---- belfryd

class Daemon {
  public:
    explicit Daemon(const std::string& socket, const std::vector<std::string>& options = {})
        : socket_(socket) {
        std::array<int, 2> ends{};
        require(::pipe2(ends.data(), O_CLOEXEC) == 0, "no pipe");
        errors_ = base::Fd(ends[0]);
        base::Fd theirs(ends[1]);
        std::vector<std::string> command = {bin("belfryd"), "--verbose", "--socket", socket};
        command.insert(command.end(), options.begin(), options.end());
        process_.emplace([&] {
            ::dup2(theirs.get(), STDERR_FILENO);
            execute(command);
        });
        theirs = base::Fd();  // so that its end is the end of what it says
        while (said_.find("serving ") == std::string::npos)
            require(read_more(), "belfryd did not come up: " + said_);
    }
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;
    ~Daemon() {
        if (!process_->ended()) stop();
    }

    [[nodiscard]] const std::string& socket() const { return socket_; }
    [[nodiscard]] pid_t pid() const { return process_->pid(); }
    [[nodiscard]] Device open() const { return must(Device::open({.socket_path = socket_})); }

    /// Its log, so far; whole once it has ended.
    [[nodiscard]] const std::string& said() const { return said_; }
    /// By SIGTERM; it must still be there, and end as it should.
    void stop() {
        process_->signal(SIGTERM);
        const int code = process_->wait();
        while (read_more()) {
        }
        EXPECT_EQ(code, EXIT_SUCCESS) << said_;
    }
    void kill() {
        process_->signal(SIGKILL);
        EXPECT_EQ(process_->wait(), -SIGKILL);
    }

    /// How many descriptors it has open.
    [[nodiscard]] std::size_t descriptors() const {
        const std::filesystem::directory_iterator entries(proc("fd"));
        return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
    }
    /// How many mappings of memory that it can share with clients it has.
    [[nodiscard]] std::size_t shared_mappings() const {
        std::ifstream maps(proc("maps"));
        std::size_t count = 0;
        for (std::string line; std::getline(maps, line);)
            count += line.find("/memfd:belfry") != std::string::npos;
        return count;
    }
    /// Processor time that it has used, in ticks.
    [[nodiscard]] std::uint64_t cpu_ticks() const {
        const std::string stat = read_file(proc("stat"));
        std::istringstream fields(stat.substr(stat.rfind(')') + 1));
        std::string skipped;
        std::uint64_t user = 0;
        std::uint64_t system = 0;
        for (int field = 3; field < 14; ++field) fields >> skipped;
        fields >> user >> system;
        return user + system;
    }

  private:
    [[nodiscard]] std::string proc(const std::string& name) const {
        return "/proc/" + std::to_string(pid()) + "/" + name;
    }
    bool read_more() {
        std::array<char, 512> piece{};
        const auto got = ::read(errors_.get(), piece.data(), piece.size());
        if (got > 0) said_.append(piece.data(), static_cast<std::size_t>(got));
        return got > 0;
    }

    std::string socket_;
    base::Fd errors_;
    std::string said_;
    std::optional<Process> process_;
};

// ---- Programs

/// Where and how long a stream is that a kernel-mode job runs.
struct StreamAt {
    std::uint64_t address;
    std::uint32_t bytes;
};

/// One DRM file, one VM, one group, and a page for whatever its jobs touch: a sync object first, streams from
/// kStreams on, free room between.
class Client {
  public:
    static constexpr std::size_t kJobWords = 32;
    static constexpr std::uint64_t kStreams = 1024;
    static constexpr std::uint64_t kPageBytes = 65536;

    explicit Client(const std::string& socket, const GroupOptions& options = {})
        : Client(must(Device::open({.socket_path = socket})), options) {}
    explicit Client(Device on, const GroupOptions& options = {})
        : device(std::move(on)),
          vm(must(device.create_vm())),
          page(must(device.create_buffer(kPageBytes))),
          va(must(vm.map(page))),
          group(must(vm.create_group(options))),
          done(must(SyncObject::at(page, 0, va))) {}

    /// A user-mode job.
    void submit(const std::function<void(CommandWriter&)>& write, std::size_t queue = 0) {
        CommandWriter writer = must(group.queue(queue).begin(kJobWords, kGenerous));
        write(writer);
        must(group.queue(queue).submit(writer));
    }
    /// A user-mode job that does nothing but count.
    void submit_count() {
        submit([this](CommandWriter& job) { count(job); });
    }
    /// done += 1. Uses d80 and d82.
    void count(CommandWriter& job) const { job.move48(d(80), va).move48(d(82), 1).sync_add64(d(80), d(82)); }
    /// 32-bit word at `offset` += 1. Uses d80 and r82.
    void bump(CommandWriter& job, std::uint64_t offset) const {
        job.move48(d(80), va + offset)
            .load_multiple(r(82), 1, d(80))
            .wait(kAllSlots)
            .add_immediate32(r(82), r(82), 1)
            .store_multiple(r(82), 1, d(80))
            .wait(kAllSlots);
    }
    void await(std::uint64_t target) const { must(done.wait(target, {.timeout = kGenerous})); }

    /// A stream for kernel-mode jobs, behind those that were written before.
    StreamAt stream(const std::function<void(CommandWriter&)>& write) {
        CommandWriter writer(page.words().subspan(streams_ / 8, kJobWords));
        write(writer);
        require(!writer.overflowed(), "the stream is too long");
        const StreamAt at{.address = va + streams_, .bytes = static_cast<std::uint32_t>(writer.size_bytes())};
        streams_ += kJobWords * 8;
        return at;
    }
    [[nodiscard]] std::uint32_t word(std::uint64_t offset) const {
        return base::load(reinterpret_cast<const std::uint32_t&>(page.bytes()[offset]), base::kAcquire);
    }

    Device device;
    Vm vm;
    Buffer page;
    std::uint64_t va;
    Group group;
    SyncObject done;

  private:
    std::uint64_t streams_ = kStreams;
};

inline void submit(Group& group, const StreamAt& stream, const std::vector<SyncOp>& syncs = {},
                   std::size_t queue = 0) {
    must(group.submit(queue, stream.address, stream.bytes, syncs));
}

/// Never ends.
inline void write_endless_loop(CommandWriter& job) { job.branch(csf::Condition::always, r(0), -1); }

/// A program that was written for hardware, or by an enemy: it does all by itself and nothing for anybody's
/// sake.
class RawClient {
  public:
    static constexpr std::uint32_t kRingBytes = 4096;
    static constexpr std::uint64_t kVa = 0x100'0000;
    static constexpr std::uint32_t kSubmitOnly = uapi::DRM_PANTHOR_GROUP_CREATE_USER_SUBMIT;

    explicit RawClient(const std::string& socket)
        : transport(must(client::SocketTransport::connect(socket))) {
        uapi::drm_panthor_vm_create vm{};
        ioctl(DRM_IOCTL_PANTHOR_VM_CREATE, vm);
        vm_ = vm.id;
        uapi::drm_panthor_bo_create buffer{.size = base::kPageBytes};
        ioctl(DRM_IOCTL_PANTHOR_BO_CREATE, buffer);
        uapi::drm_panthor_bo_mmap_offset offset{.handle = buffer.handle};
        ioctl(DRM_IOCTL_PANTHOR_BO_MMAP_OFFSET, offset);
        page = map(offset.offset, base::kPageBytes);
        uapi::drm_panthor_vm_bind_op op{.bo_handle = buffer.handle, .va = kVa, .size = base::kPageBytes};
        uapi::drm_panthor_vm_bind bind{
            .vm_id = vm_,
            .ops = {.stride = sizeof op, .count = 1, .array = reinterpret_cast<std::uint64_t>(&op)}};
        ioctl(DRM_IOCTL_PANTHOR_VM_BIND, bind);
        create_group();
    }

    void create_group() {
        uapi::drm_panthor_queue_create queue{.ringbuf_size = kRingBytes};
        uapi::drm_panthor_group_create create{
            .queues = {.stride = sizeof queue, .count = 1, .array = reinterpret_cast<std::uint64_t>(&queue)},
            .flags = kSubmitOnly,
            .vm_id = vm_,
            .eventfd_sync_update = -1,
            .eventfd_group_state = -1};
        ioctl(DRM_IOCTL_PANTHOR_GROUP_CREATE, create);
        group = create.group_handle;
        ring = map(queue.ringbuf_offset, kRingBytes);
        io = map(queue.user_io_offset, 2 * base::kPageBytes);
        doorbell_page = map(queue.doorbell_offset, base::kPageBytes);
        io_offset = queue.user_io_offset;
        inserted = 0;
    }
    void destroy_group() {
        uapi::drm_panthor_group_destroy destroy{.group_handle = group};
        ioctl(DRM_IOCTL_PANTHOR_GROUP_DESTROY, destroy);
    }
    void kick() {
        uapi::drm_panthor_group_kick kick{.handle = group, .queue_mask = 1};
        ioctl(DRM_IOCTL_PANTHOR_GROUP_KICK, kick);
    }

    [[nodiscard]] uapi::belfry_user_input& input() const {
        return *reinterpret_cast<uapi::belfry_user_input*>(io.data());
    }
    [[nodiscard]] const uapi::belfry_user_output& output() const {
        return *reinterpret_cast<const uapi::belfry_user_output*>(io.data() + base::kPageBytes);
    }
    [[nodiscard]] uapi::belfry_user_doorbell& doorbell() const {
        return *reinterpret_cast<uapi::belfry_user_doorbell*>(doorbell_page.data());
    }
    [[nodiscard]] const uapi::belfry_sync_object64& sync() const {
        return *reinterpret_cast<const uapi::belfry_sync_object64*>(page.data());
    }
    [[nodiscard]] bool gpu_sleeps() const { return base::load(doorbell().need_wakeup, base::kSeqCst) != 0; }

    /// Stores INSERT and rings, or kicks. No more.
    void publish(std::uint64_t insert) {
        base::store(input().insert, insert, base::kRelease);
        base::full_fence();
        if (base::load(output().active, base::kRelaxed) == 0)
            kick();
        else
            base::store(doorbell().doorbell, 1, base::kRelease);
    }
    /// A job that adds one to the sync object.
    void submit_count() {
        std::array<std::uint64_t, 8> words{};
        CommandWriter(words).move48(d(0), kVa).move48(d(2), 1).sync_add64(d(0), d(2));
        std::memcpy(ring.data() + inserted % kRingBytes, words.data(), sizeof words);
        inserted += sizeof words;
        publish(inserted);
    }
    [[nodiscard]] bool counted(std::uint64_t jobs) const {
        return base::load(sync().value, base::kAcquire) >= jobs;
    }

    [[nodiscard]] bool ended() const { return base::load(output().group_state, base::kAcquire) != 0; }
    /// What ended the group, as Group::status() says it.
    std::string message() {
        uapi::drm_panthor_group_get_state state{.group_handle = group};
        ioctl(DRM_IOCTL_PANTHOR_GROUP_GET_STATE, state);
        uapi::belfry_group_get_fault fault{.group_handle = group};
        ioctl(DRM_IOCTL_BELFRY_GROUP_GET_FAULT, fault);
        return uapi::fault_text(fault, state.state);
    }

    template <typename T>
    void ioctl(std::uint32_t request, T& args) {
        must(transport->ioctl(request, &args));
    }
    base::Mapping map(std::uint64_t offset, std::size_t bytes) {
        return must(transport->mmap(offset, bytes, PROT_READ | PROT_WRITE));
    }

    std::unique_ptr<client::SocketTransport> transport;
    base::Mapping page;
    std::uint32_t group = 0;
    base::Mapping ring;
    base::Mapping io;
    base::Mapping doorbell_page;
    std::uint64_t io_offset = 0;
    std::uint64_t inserted = 0;

  private:
    std::uint32_t vm_ = 0;
};

/// Runs jobs one after the other until it is told to end, and checks each of them.
class Bystander {
  public:
    enum class Mode { user, kernel };
    Bystander(const std::string& socket, Mode mode)
        : child_([this, socket, mode] {
              mode == Mode::user ? run_user_jobs(socket) : run_kernel_jobs(socket);
          }) {
        await_more();
    }
    /// Returns when jobs have been done that were submitted after this call.
    void await_more() const { jobs_.await(jobs_.value() + kMore); }
    void finish() {
        end_.add();
        child_.finish();
    }

  private:
    static constexpr std::uint32_t kMore = 10;
    static constexpr std::uint64_t kBumped = 64;

    void run_user_jobs(const std::string& socket) {
        Client client(socket);
        for (std::uint32_t jobs = 1; end_.value() == 0; ++jobs) {
            client.submit([&](CommandWriter& job) {
                client.bump(job, kBumped);
                client.count(job);
            });
            client.await(jobs);
            job_done(client, jobs);
        }
    }
    void run_kernel_jobs(const std::string& socket) {
        Client client(socket, {.user_submit = false});
        const Syncobj fence = must(client.device.create_syncobj());
        const StreamAt stream = client.stream([&](CommandWriter& job) { client.bump(job, kBumped); });
        for (std::uint32_t jobs = 1; end_.value() == 0; ++jobs) {
            submit(client.group, stream, {{.syncobj = fence, .signal = true}});
            must(fence.wait(0, kGenerous));
            job_done(client, jobs);
        }
    }
    void job_done(const Client& client, std::uint32_t jobs) {
        require(client.word(kBumped) == jobs, "a bystander's job " + std::to_string(jobs) + " left no trace");
        jobs_.add();
    }

    Counter jobs_;
    Counter end_;
    Child child_;
};

/// A test with a belfryd.
class DaemonTest : public testing::Test {
  protected:
    Directory directory;
    Daemon daemon{directory / "socket"};
};

}  // namespace belfry::rig
