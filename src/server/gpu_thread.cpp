#include "server/gpu_thread.hpp"

#include <array>
#include <memory>

#include <pthread.h>
#include <sys/epoll.h>

#include "base/clock.hpp"
#include "base/futex.hpp"

namespace belfry::server {
namespace {

/// Longer than a client takes from waking up to its next doorbell, so that a ping-pong finds the GPU awake;
/// short enough that an idle GPU does not keep a CPU from those who have work.
constexpr std::uint64_t kSpinNs = 100'000;
/// Idle steps between two looks at the clock.
constexpr unsigned kStepsPerLook = 64;
/// How often doorbells are polled for programs that do not know need_wakeup, while the GPU sleeps.
constexpr int kNapMs = 10;

}  // namespace

base::Result<std::unique_ptr<GpuHost>> GpuHost::make() {
    auto interrupt = base::make_eventfd();
    if (!interrupt) return std::unexpected(interrupt.error());
    auto wakeup = base::make_eventfd();
    if (!wakeup) return std::unexpected(wakeup.error());
    base::Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll) return base::last_error();
    auto host = std::make_unique<GpuHost>(std::move(*interrupt), std::move(*wakeup), std::move(epoll));
    host->add(host->wakeup_.get());
    return host;
}

GpuHost::GpuHost(base::Fd interrupt, base::Fd wakeup, base::Fd epoll)
    : interrupt_(std::move(interrupt)), wakeup_(std::move(wakeup)), epoll_(std::move(epoll)) {}

void GpuHost::futex_wake(std::uint32_t& word, std::uint32_t bitset) { base::futex_wake(word, bitset); }

std::uint64_t GpuHost::timestamp() { return base::monotonic_ns(); }

void GpuHost::add(int eventfd) {
    // Edge-triggered: each ring wakes once, and nothing of the client's is ever read or written. A level
    // would let a client keep the GPU awake by not draining its own counter.
    epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.fd = eventfd}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, eventfd, &event);
}

void GpuHost::remove(int eventfd) { ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, eventfd, nullptr); }

void GpuHost::sleep(int timeout_ms) {
    std::array<epoll_event, 16> events{};
    ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);
}

GpuThread::GpuThread(gpu::Gpu& gpu, GpuHost& host) : gpu_(gpu), host_(host), thread_([this] { run(); }) {}

GpuThread::~GpuThread() {
    stop_.store(true, std::memory_order_release);
    host_.attention();
    thread_.join();
}

void GpuThread::run() {
    ::pthread_setname_np(::pthread_self(), "gpu");
    while (!stop_.load(std::memory_order_acquire)) {
        if (gpu_.step()) continue;
        const std::uint64_t spin_until = base::monotonic_ns() + kSpinNs;
        bool work = false;
        do {
            for (unsigned i = 0; i < kStepsPerLook && !work; ++i) {
                base::relax();
                work = gpu_.step();
            }
        } while (!work && base::monotonic_ns() < spin_until);
        if (work || !gpu_.prepare_sleep() || stop_.load(std::memory_order_acquire)) {
            gpu_.woke();
            continue;
        }
        host_.sleep(gpu_.has_user_doorbells() ? kNapMs : -1);
        gpu_.woke();
    }
}

}  // namespace belfry::server
