#include "cli/limits.hpp"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <stdexcept>
#include <system_error>

#include <liburing.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomic.hpp"
#include "base/fd.hpp"
#include "base/futex.hpp"

namespace belfry::cli {
namespace {

constexpr std::uint32_t kSpinRounds = 200'000;
constexpr std::uint32_t kFutexRounds = 20'000;
constexpr std::uint32_t kWarmUpRounds = 1'000;
constexpr std::uint64_t kPatienceNs = 1'000'000'000;
constexpr std::uint32_t kAnyBit = ~0U;

/// The two words of a ping-pong. 128 bytes apart: CPUs fetch lines in pairs, and a shared pair would couple
/// them.
struct Table {
    alignas(128) std::uint32_t ping;  // written by us (release); read by the other process (acquire)
    alignas(128) std::uint32_t pong;  // the other way round
};

/// A Table in memory that a forked process shares.
class SharedTable {
  public:
    SharedTable()
        : page_(::mmap(nullptr, sizeof(Table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
        if (page_ == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
        table_ = new (page_) Table{};
    }
    ~SharedTable() { ::munmap(page_, sizeof(Table)); }
    SharedTable(const SharedTable&) = delete;
    SharedTable& operator=(const SharedTable&) = delete;

    [[nodiscard]] Table& operator*() const { return *table_; }

  private:
    void* page_;
    Table* table_;
};

/// The other side: a process that runs `body`, then waits for its end. It dies with us, and we notice if it
/// dies early.
class Partner {
  public:
    template <typename Body>
    explicit Partner(const Body& body) : pid_(::fork()) {
        if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            body();
            for (;;) ::pause();  // until we are ended: a process that is gone has failed, see expect_alive()
        }
    }
    ~Partner() {
        if (pid_ <= 0) return;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    Partner(const Partner&) = delete;
    Partner& operator=(const Partner&) = delete;

    /// Called while waiting, once patience ran out: a partner that was killed never answers.
    void expect_alive() {
        if (::waitpid(pid_, nullptr, WNOHANG) == 0) return;
        pid_ = -1;
        throw std::runtime_error("the other process of a measurement ended early");
    }

  private:
    pid_t pid_;
};

void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

/// Spins until `word` is `value`. After `spins_before_yield` it asks `patience_over` and lets others run.
template <typename PatienceOver>
void spin_until(const std::uint32_t& word, std::uint32_t value, std::uint32_t spins_before_yield,
                const PatienceOver& patience_over) {
    std::uint32_t spins = 0;
    while (base::load(word, base::kAcquire) != value) {
        pause_cpu();
        if (++spins % spins_before_yield != 0) continue;
        patience_over();
        ::sched_yield();
    }
}

/// Sleeps until `word`, whose value before is `value - 1`, is `value`. It does not look before it sleeps, so
/// that each round pays for the system call; the kernel looks.
template <typename PatienceOver>
void sleep_until(const std::uint32_t& word, std::uint32_t value, const PatienceOver& patience_over) {
    do {
        const auto slept = base::futex_wait(word, value - 1, kAnyBit, base::monotonic_ns() + kPatienceNs);
        if (!slept && slept.error() == base::Errno::timed_out) patience_over();
    } while (base::load(word, base::kAcquire) != value);
}

void post(std::uint32_t& word, std::uint32_t value) { base::store(word, value, base::kRelease); }

void post_and_wake(std::uint32_t& word, std::uint32_t value) {
    post(word, value);
    base::futex_wake(word, kAnyBit);
}

/// Plays ping-pong with a partner on another CPU. `give(word, value)` and `take(word, value, patience_over)`
/// are how a side posts a value and waits for one.
template <typename Give, typename Take>
Figure ping_pong(const CpuPair& cpus, std::uint32_t rounds, const Give& give, const Take& take) {
    const std::uint32_t last = kWarmUpRounds + rounds;
    const SharedTable shared;
    Table& table = *shared;
    const KeepAffinity keep;
    Samples samples;
    samples.reserve(rounds);
    Stopwatch watch;  // before the partner starts: it measures the clock first

    Partner partner([&] {
        pin_to_cpu(cpus.second);
        for (std::uint32_t round = 1; round <= last; ++round) {
            take(table.ping, round, [] {});
            give(table.pong, round);
        }
    });
    pin_to_cpu(cpus.first);
    for (std::uint32_t round = 1; round <= last; ++round) {
        watch.restart();
        give(table.ping, round);
        take(table.pong, round, [&partner] { partner.expect_alive(); });
        if (const double sample_ns = watch.elapsed_ns(); round > kWarmUpRounds) samples.add(sample_ns);
    }
    return samples.figure();
}

/// An io_uring with room for one batch.
class Ring {
  public:
    explicit Ring(unsigned batch) : batch_(batch), error_(::io_uring_queue_init(batch, &ring_, 0)) {}
    ~Ring() {
        if (error_ == 0) ::io_uring_queue_exit(&ring_);
    }
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;

    /// 0, or the negative errno with which the kernel refused.
    [[nodiscard]] int error() const { return error_; }

    /// Submits a batch of no-ops and reaps it. Returns a negative errno, or the number completed.
    int round_trip() {
        for (unsigned i = 0; i < batch_; ++i) ::io_uring_prep_nop(::io_uring_get_sqe(&ring_));
        if (const int submitted = ::io_uring_submit_and_wait(&ring_, batch_); submitted < 0) return submitted;
        const unsigned completed = ::io_uring_cq_ready(&ring_);
        ::io_uring_cq_advance(&ring_, completed);
        return static_cast<int>(completed);
    }

  private:
    io_uring ring_{};
    unsigned batch_;
    int error_;
};

}  // namespace

Figure spin_ping_pong() {
    const auto cpus = cpu_pair();
    // With one CPU the other side needs ours to answer: each spin then hands it over.
    const std::uint32_t spins_before_yield = cpus.distinct() ? 10'000 : 1;
    return ping_pong(cpus, kSpinRounds, post,
                     [=](const std::uint32_t& word, std::uint32_t value, const auto& patience_over) {
                         spin_until(word, value, spins_before_yield, patience_over);
                     });
}

Figure futex_ping_pong() {
    return ping_pong(cpu_pair(), kFutexRounds, post_and_wake,
                     [](const std::uint32_t& word, std::uint32_t value, const auto& patience_over) {
                         sleep_until(word, value, patience_over);
                     });
}

Figure message() {
    constexpr std::uint32_t kRounds = 20'000;
    constexpr std::size_t kBytes = 64;  // as a small request has
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
        throw std::system_error(errno, std::system_category(), "socketpair");
    const base::Fd from(ends[0]);
    const base::Fd to(ends[1]);
    std::array<std::byte, kBytes> bytes{};
    Samples samples;
    samples.reserve(kRounds);
    for (std::uint32_t i = 0; i < kRounds; ++i) {
        const Stopwatch watch;
        if (::send(from.get(), bytes.data(), kBytes, 0) != kBytes ||
            ::recv(to.get(), bytes.data(), kBytes, 0) != kBytes)
            throw std::system_error(errno, std::system_category(), "socketpair");
        samples.add(watch.elapsed_ns());
    }
    return samples.figure();
}

std::expected<Figure, std::string> uring_nop(unsigned per_batch) {
    constexpr std::uint32_t kBatches = 5'000;
    Ring ring(per_batch);
    if (ring.error() < 0)
        return std::unexpected(std::string("io_uring is not to be had: ") + std::strerror(-ring.error()));
    Samples samples;
    samples.reserve(kBatches);
    Stopwatch watch;
    for (std::uint32_t batch = 0; batch < kBatches; ++batch) {
        watch.restart();
        const int completed = ring.round_trip();
        const double batch_ns = watch.elapsed_ns();
        if (completed < 0) return std::unexpected(std::string("io_uring: ") + std::strerror(-completed));
        if (completed != static_cast<int>(per_batch))
            return std::unexpected(std::string("io_uring lost a completion"));
        samples.add(batch_ns / per_batch);
    }
    return samples.figure();
}

}  // namespace belfry::cli
