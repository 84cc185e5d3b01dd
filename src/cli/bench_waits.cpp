// `belfry bench waits`: what a completion costs while N others wait on the same timeline.
//
// Four ways to wait, in one run. Two of Belfry's: driver waits (points of a DRM timeline, with an eventfd for
// each that becomes due) and native waits (a futex bitset on a sync object). Two naive ones: an eventfd that
// all waiters of a process share, and a futex of which each completion wakes all.
//
// The waiters are in forked processes, one thread each: entries of that thread's io_uring, since nobody has
// 100,000 threads. Those of a driver wait that never becomes due are points of one blocked TIMELINE_WAIT,
// each an entry of its own in the driver's index, since nobody has 100,000 descriptors either.
//
// There are two passes. In the first each completion is waited for by exactly one waiter, of the processes in
// turn, in the second by nobody; the N others wait for what is far ahead. The next completion comes when the
// due waiter has been served; the naive ways, which wake all, also have all go to sleep again first.

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <liburing.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/atomic.hpp"
#include "base/fd.hpp"
#include "base/futex.hpp"
#include "base/sync_object.hpp"
#include "belfry/belfry.hpp"
#include "belfry/uapi/drm.h"
#include "belfry/uapi/user_queue.h"
#include "cli/bench.hpp"
#include "cli/failure.hpp"
#include "client/transport.hpp"

namespace belfry::cli {
namespace {

enum class Way : std::uint8_t { driver, native, shared_eventfd, wake_all };
struct WayName {
    Way way;
    const char* json;
    const char* text;
};
constexpr WayName kWays[] = {
    {.way = Way::driver, .json = "driver", .text = "driver waits"},
    {.way = Way::native, .json = "native", .text = "native waits, futex bitset"},
    {.way = Way::shared_eventfd, .json = "shared_eventfd", .text = "naive: one eventfd for all"},
    {.way = Way::wake_all, .json = "wake_all", .text = "naive: a futex, all woken"},
};
/// Wakes everybody at each completion.
constexpr bool is_naive(Way way) { return way == Way::shared_eventfd || way == Way::wake_all; }

constexpr std::array<unsigned, 6> kWaiters{1, 10, 100, 1'000, 10'000, 100'000};
constexpr std::array<unsigned, 2> kProcesses{1, 8};
constexpr unsigned kCompletionsMax = 500;
constexpr unsigned kCompletionsMin = 5;
/// Wake-ups of one pass that a naive way may cost.
constexpr unsigned kWakeUpsPerPass = 500'000;
/// Where the targets of those begin that are never due.
constexpr std::uint64_t kFar = 1U << 20;

/// Memory of all processes of one case.
struct Table {
    alignas(128) std::uint64_t completed;  // completer (release); waiters (acquire)
    alignas(128) uapi::belfry_sync_object64 object;
};
class SharedTable {
  public:
    SharedTable()
        : page_(::mmap(nullptr, sizeof(Table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
        if (page_ == MAP_FAILED) throw Failure{"cannot map a page for a benchmark"};
    }
    ~SharedTable() { ::munmap(page_, sizeof(Table)); }
    SharedTable(const SharedTable&) = delete;
    SharedTable& operator=(const SharedTable&) = delete;
    [[nodiscard]] Table& operator*() const { return *static_cast<Table*>(page_); }

  private:
    void* page_;
};

struct Case {
    Way way;
    unsigned others;
    unsigned processes;
    unsigned completions;  // of each pass
};

/// What a waiter process says of itself.
struct Counts {
    std::uint64_t wake_ups;
    std::uint64_t cpu_ns;
};

constexpr char kSay = 's';   // completer to waiters: say your Counts
constexpr char kEnd = 'e';   // and: end
constexpr char kDone = 'd';  // waiters to completer: ready, a due waiter was served, or the end

std::uint64_t cpu_ns(clockid_t clock = CLOCK_PROCESS_CPUTIME_ID) {
    timespec now{};
    ::clock_gettime(clock, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

/// The clock of belfryd's CPU time. Its GPU has nothing to do here, and sleeps. None: a node of the kernel,
/// whose syncobjs belfryd has no part in.
std::optional<clockid_t> driver_clock(const Device& device) {
    ucred peer{};
    socklen_t bytes = sizeof peer;
    if (::getsockopt(device.fd(), SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0) return {};
    clockid_t clock{};
    if (::clock_getcpuclockid(peer.pid, &clock) != 0) throw Failure{"cannot find belfryd's CPU time"};
    return clock;
}

/// What a process that waits does until it is told to end.
class WaiterProcess {
  public:
    WaiterProcess(const Case& what, unsigned index, Table& table, const Device& device,
                  const Syncobj& timeline, int control, int shared_eventfd)
        : case_(what),
          table_(table),
          timeline_(timeline),
          control_(control),
          shared_eventfd_(shared_eventfd) {
        if (::io_uring_queue_init(kEntries, &ring_, 0) != 0) throw Failure{"cannot make an io_uring"};
        if (index < what.completions) waiters_.push_back({.target = 1 + index, .eventfd = base::Fd()});
        std::vector<std::uint64_t> far;
        for (unsigned i = index; i < what.others; i += what.processes) far.push_back(kFar + i);
        if (what.way == Way::driver)
            wait_far(device, std::move(far));
        else
            for (const std::uint64_t target : far)
                waiters_.push_back({.target = target, .eventfd = base::Fd()});
        for (Waiter& waiter : waiters_) {
            if (what.way == Way::driver) waiter.eventfd = base::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
            arm(waiter);
        }
        asleep_ = waiters_.size();
    }

    void run() {
        poll(control_, nullptr);
        ::io_uring_submit(&ring_);
        send(kDone);
        for (bool ended = false; !ended;) {
            ::io_uring_submit_and_wait(&ring_, 1);
            unsigned due = 0;
            bool told = false;
            unsigned head = 0;
            unsigned seen = 0;
            io_uring_cqe* cqe = nullptr;
            io_uring_for_each_cqe(&ring_, head, cqe) {
                ++seen;
                auto* const waiter = static_cast<Waiter*>(::io_uring_cqe_get_data(cqe));
                if (waiter == nullptr)
                    told = true;
                else
                    due += woken(*waiter, cqe->res) ? 1 : 0;
            }
            ::io_uring_cq_advance(&ring_, seen);
            // Asleep again before the next completion comes: what is told is told after this.
            for (Waiter* const waiter : std::exchange(again_, {})) arm(*waiter);
            ::io_uring_submit(&ring_);
            if (!is_naive(case_.way)) {
                for (; due != 0; --due) send(kDone);
            } else if (woken_ == asleep_ && woken_ != 0) {
                asleep_ -= std::exchange(served_, 0);
                woken_ = 0;
                send(kDone);
            }
            if (told) ended = !obey();
        }
    }

  private:
    static constexpr unsigned kEntries = 4096;
    struct Waiter {
        std::uint64_t target;
        base::Fd eventfd;
    };

    io_uring_sqe* entry() {
        io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
        if (sqe != nullptr) return sqe;
        ::io_uring_submit(&ring_);
        return ::io_uring_get_sqe(&ring_);
    }
    void poll(int fd, Waiter* waiter) {
        io_uring_sqe* const sqe = entry();
        ::io_uring_prep_poll_add(sqe, fd, POLLIN);
        ::io_uring_sqe_set_data(sqe, waiter);
    }
    void arm(Waiter& waiter) {
        if (case_.way == Way::driver) {
            must(timeline_.ring_eventfd(waiter.eventfd.get(), waiter.target));
            return poll(waiter.eventfd.get(), &waiter);
        }
        if (case_.way == Way::shared_eventfd) return poll(shared_eventfd_, &waiter);
        constexpr std::uint8_t kOpFutexWait = 51;  // IORING_OP_FUTEX_WAIT: Linux 6.7
        constexpr int kFutexWord32 = 0x02;         // FUTEX2_SIZE_U32
        io_uring_sqe* const sqe = entry();
        std::uint32_t& word = base::low_word(table_.object.value);
        ::io_uring_prep_rw(kOpFutexWait, sqe, kFutexWord32, &word, 0, base::load(word, base::kAcquire));
        sqe->addr3 = case_.way == Way::native ? 1U << (waiter.target % 32) : ~0U;
        ::io_uring_sqe_set_data(sqe, &waiter);
    }

    /// True: it was due.
    bool woken(Waiter& waiter, int result) {
        if (result == -EAGAIN) {  // the value changed while it fell asleep
            again_.push_back(&waiter);
            return false;
        }
        if (result < 0)
            throw Failure{fmt::format("a wait of a benchmark failed: {}", std::strerror(-result))};
        ++wake_ups_;
        ++woken_;
        std::uint64_t rings = 0;
        if (case_.way == Way::shared_eventfd)  // each takes it for its own
            static_cast<void>(!::read(shared_eventfd_, &rings, sizeof rings));
        if (case_.way == Way::driver) static_cast<void>(!::read(waiter.eventfd.get(), &rings, sizeof rings));
        const bool due = waiter.target <= base::load(table_.completed, base::kAcquire);
        // The next completion that is this process's.
        if (due) waiter.target += case_.processes;
        if (due && waiter.target > case_.completions)
            ++served_;
        else
            again_.push_back(&waiter);
        return due;
    }

    void send(char word) {
        if (::send(control_, &word, 1, MSG_NOSIGNAL) != 1) ::_exit(EXIT_FAILURE);
    }
    /// False: it is the end.
    bool obey() {
        char word = kEnd;
        static_cast<void>(!::recv(control_, &word, 1, 0));
        if (word == kSay) {
            const Counts counts{.wake_ups = wake_ups_, .cpu_ns = cpu_ns()};
            ::send(control_, &counts, sizeof counts, MSG_NOSIGNAL);
            poll(control_, nullptr);
            return true;
        }
        // They have waited for all that time, and for nothing else: so they end well, and now.
        if (far_.joinable()) far_.join();
        send(kDone);
        return false;
    }

    /// One request that waits for all points, in a thread that it blocks.
    void wait_far(const Device& device, std::vector<std::uint64_t> points) {
        if (points.empty()) return;
        far_ = std::thread([this, points = std::move(points),
                            transport = client::SocketTransport::adopt(base::Fd(::dup(device.fd())))] {
            const std::vector<std::uint32_t> handles(points.size(), timeline_.handle());
            uapi::drm_syncobj_timeline_wait wait{
                .handles = reinterpret_cast<std::uint64_t>(handles.data()),
                .points = reinterpret_cast<std::uint64_t>(points.data()),
                .timeout_nsec = INT64_MAX,
                .count_handles = static_cast<std::uint32_t>(points.size()),
                .flags = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_ALL | DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT};
            if (!transport->ioctl(DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &wait)) ::_exit(EXIT_FAILURE);
        });
    }

    Case case_;
    Table& table_;
    const Syncobj& timeline_;
    int control_;
    int shared_eventfd_;
    io_uring ring_{};
    std::vector<Waiter> waiters_;
    std::vector<Waiter*> again_;  // to be put to sleep again
    std::thread far_;
    std::uint64_t wake_ups_ = 0;
    std::size_t asleep_ = 0;  // of a naive way: those whom the next completion wakes
    std::size_t woken_ = 0;   // ... whom it has woken so far
    std::size_t served_ = 0;  // ... who wait for nothing more
};

/// A process with waiters, as the completer sees it.
class Waiters {
  public:
    Waiters(const Case& what, unsigned index, Table& table, const Device& device, const Syncobj& timeline)
        : eventfd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
        std::array<int, 2> pair{};
        if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0)
            throw Failure{"cannot make a socket pair"};
        control_ = base::Fd(pair[0]);
        const base::Fd theirs(pair[1]);
        pid_ = ::fork();
        if (pid_ < 0) throw Failure{"cannot fork"};
        if (pid_ != 0) return;
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        control_ = {};
        try {
            WaiterProcess process(what, index, table, device, timeline, theirs.get(), eventfd_.get());
            process.run();
        } catch (const Failure& failure) {
            fmt::print(stderr, "belfry: {}\n", failure.message);
            ::_exit(EXIT_FAILURE);
        }
        ::_exit(EXIT_SUCCESS);
    }
    ~Waiters() {
        if (pid_ <= 0) return;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    Waiters(const Waiters&) = delete;
    Waiters& operator=(const Waiters&) = delete;

    void tell(char word) const { ::send(control_.get(), &word, 1, MSG_NOSIGNAL); }
    void ring() const { ::eventfd_write(eventfd_.get(), 1); }
    void await_done() const {
        char word = 0;
        receive(&word, sizeof word);
    }
    [[nodiscard]] Counts counts() const {
        tell(kSay);
        Counts counts{};
        receive(&counts, sizeof counts);
        return counts;
    }

  private:
    void receive(void* what, std::size_t bytes) const {
        if (::recv(control_.get(), what, bytes, 0) != static_cast<ssize_t>(bytes))
            throw Failure{"a process with waiters ended early"};
    }

    base::Fd eventfd_;
    base::Fd control_;
    pid_t pid_ = -1;
};

struct Pass {
    double wake_ups;  // a completion
    double cpu_ns;    // a completion: of completer, waiters and driver
};
struct Result {
    Pass due;
    Pass none_due;
};

class Completer {
  public:
    Completer(const Case& what, const Device& device)
        : case_(what), driver_clock_(driver_clock(device)), timeline_(must(device.create_syncobj())) {
        for (unsigned i = 0; i < what.processes; ++i)
            waiters_.push_back(std::make_unique<Waiters>(what, i, *table_, device, timeline_));
        for (const auto& waiters : waiters_) waiters->await_done();
        // What waiters asked for lies in the driver's sockets: it is served before what is asked after it, in
        // one turn of the driver's loop or two.
        constexpr unsigned kTurns = 100;
        for (unsigned i = 0; i < kTurns; ++i) must(timeline_.query());
        (*table_).object.waiters = 1;
    }

    Result run() {
        const Pass due = pass(1);
        const Pass none_due = pass(1 + case_.completions);
        must(timeline_.signal(kFar + case_.others));
        for (const auto& waiters : waiters_) {
            waiters->tell(kEnd);
            waiters->await_done();
        }
        return {.due = due, .none_due = none_due};
    }

  private:
    struct Total {
        std::uint64_t wake_ups;
        std::uint64_t cpu_ns;
    };
    [[nodiscard]] Total total() const {
        Total total{.wake_ups = 0, .cpu_ns = cpu_ns() + (driver_clock_ ? cpu_ns(*driver_clock_) : 0)};
        for (const auto& waiters : waiters_) {
            const Counts counts = waiters->counts();
            total.wake_ups += counts.wake_ups;
            total.cpu_ns += counts.cpu_ns;
        }
        return total;
    }

    Pass pass(std::uint64_t first) {
        const Total before = total();
        for (unsigned i = 0; i < case_.completions; ++i) complete(first + i, first == 1);
        const Total after = total();
        return {.wake_ups = static_cast<double>(after.wake_ups - before.wake_ups) / case_.completions,
                .cpu_ns = static_cast<double>(after.cpu_ns - before.cpu_ns) / case_.completions};
    }

    void complete(std::uint64_t point, bool due) {
        Table& table = *table_;
        const auto wake = [](std::uint32_t& word, std::uint32_t bits) { base::futex_wake(word, bits); };
        base::store(table.completed, point, base::kRelease);
        switch (case_.way) {
            case Way::driver: must(timeline_.signal(point)); break;
            case Way::native: base::update_sync_object(table.object, false, point, 0, wake); break;
            case Way::wake_all:
                base::store(table.object.value, point, base::kSeqCst);
                wake(base::low_word(table.object.value), ~0U);
                break;
            case Way::shared_eventfd:
                for (const auto& waiters : waiters_) waiters->ring();
                break;
        }
        if (is_naive(case_.way))
            for (const auto& waiters : waiters_) waiters->await_done();
        else if (due)
            waiters_[(point - 1) % waiters_.size()]->await_done();
    }

    Case case_;
    std::optional<clockid_t> driver_clock_;
    Syncobj timeline_;
    SharedTable table_;
    std::vector<std::unique_ptr<Waiters>> waiters_;
};

bool futexes_in_rings() {
    io_uring_probe* const probe = ::io_uring_get_probe();
    constexpr int kOpFutexWait = 51;
    const bool found = probe != nullptr && ::io_uring_opcode_supported(probe, kOpFutexWait) != 0;
    if (probe != nullptr) ::io_uring_free_probe(probe);
    return found;
}

}  // namespace

BenchReport bench_waits(const std::string& socket, const BenchStep& step) {
    const Device device = must(Device::open({.socket_path = socket}));
    const bool futexes = futexes_in_rings();
    BenchReport report;
    report.json["waits"] = nlohmann::ordered_json::array();
    const auto out = std::back_inserter(report.table);
    fmt::format_to(out, "{:<30}{:>9}{:>11}{:>12}{:>12}{:>14}{:>14}\n", "a completion, among", "waiting",
                   "processes", "wake-ups", "none due", "CPU ns", "none due");
    for (const WayName& name : kWays) {
        step(name.text);
        if ((name.way == Way::native || name.way == Way::wake_all) && !futexes) {
            fmt::format_to(out, "{:<30} - this kernel's io_uring has no futex wait (Linux 6.7)\n", name.text);
            continue;
        }
        if (name.way == Way::driver && !driver_clock(device)) {
            fmt::format_to(out, "{:<30} - the device is a node of the kernel, where waits are the kernel's\n",
                           name.text);
            continue;
        }
        for (const unsigned processes : kProcesses) {
            for (const unsigned others : kWaiters) {
                if (others < processes) continue;
                const Case what{.way = name.way,
                                .others = others,
                                .processes = processes,
                                .completions = is_naive(name.way)
                                                   ? std::clamp(kWakeUpsPerPass / others, kCompletionsMin,
                                                                kCompletionsMax)
                                                   : kCompletionsMax};
                const Result result = Completer(what, device).run();
                fmt::format_to(out, "{:<30}{:>9}{:>11}{:>12.2f}{:>12.2f}{:>14.0f}{:>14.0f}\n", name.text,
                               others, processes, result.due.wake_ups, result.none_due.wake_ups,
                               result.due.cpu_ns, result.none_due.cpu_ns);
                report.json["waits"].push_back({{"way", name.json},
                                                {"waiting", others},
                                                {"processes", processes},
                                                {"completions", what.completions},
                                                {"wake_ups", result.due.wake_ups},
                                                {"wake_ups_none_due", result.none_due.wake_ups},
                                                {"cpu_ns", result.due.cpu_ns},
                                                {"cpu_ns_none_due", result.none_due.cpu_ns}});
            }
        }
    }
    return report;
}

}  // namespace belfry::cli
