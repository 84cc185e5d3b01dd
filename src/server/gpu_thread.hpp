// GpuThread: the GPU actor's thread, and the two lines between it and the rest of the world.
//
// Owns   the thread, the eventfd that wakes it, the eventfd that is the GPU's interrupt line, and the epoll
// set of
//        clients' doorbell eventfds. The Gpu is handed in by reference and must outlive it.
// Runs   run() on its own thread. interrupt_fd() is the driver actor's to read; add() and remove() are its
// calls.
//
// The thread steps the GPU as long as there is work, spins a little when there is none (the next doorbell is
// likely near), then sleeps: for good if only the driver can bring work, in bounded naps while a user group
// is on a slot, since a program that was written for hardware rings doorbells and knows of no eventfd.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "base/fd.hpp"
#include "gpu/board.hpp"
#include "gpu/gpu.hpp"
#include "server/shader_pool.hpp"

namespace belfry::server {

/// The GPU's surroundings: interrupt line, wake-up, futexes, clock.
class GpuHost final : public gpu::Host, public gpu::WakeLines {
  public:
    static base::Result<std::unique_ptr<GpuHost>> make();
    GpuHost(base::Fd interrupt, base::Fd wakeup, base::Fd epoll);

    void interrupt() override { base::ring_eventfd(interrupt_.get()); }
    void attention() override { base::ring_eventfd(wakeup_.get()); }
    void futex_wake(std::uint32_t& word, std::uint32_t bitset) override;
    void shader_work(unsigned tasks) override { pool_->wake(tasks); }
    std::uint64_t timestamp() override;
    void add(int eventfd) override;
    void remove(int eventfd) override;

    /// Readable while the interrupt line is up.
    [[nodiscard]] int interrupt_fd() const { return interrupt_.get(); }
    /// Before the GPU's thread starts.
    void set_pool(ShaderPool* pool) { pool_ = pool; }
    /// Sleeps until a line is rung, or `timeout_ms` (negative: no bound). GPU thread only.
    void sleep(int timeout_ms);

  private:
    base::Fd interrupt_;
    base::Fd wakeup_;
    base::Fd epoll_;
    ShaderPool* pool_ = nullptr;
};

class GpuThread {
  public:
    GpuThread(gpu::Gpu& gpu, GpuHost& host);
    ~GpuThread();
    GpuThread(const GpuThread&) = delete;
    GpuThread& operator=(const GpuThread&) = delete;

  private:
    void run();

    gpu::Gpu& gpu_;
    GpuHost& host_;
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

}  // namespace belfry::server
