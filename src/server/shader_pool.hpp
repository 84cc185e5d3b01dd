// ShaderPool: the threads of the GPU's shader cores.
//
// Owns   the threads, one per core. The Gpu is handed in by reference and must outlive it.
// Runs   each core's loop on its own thread; wake() is the GPU actor's call.
// Called by GpuHost (work), Server (start, end).
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "gpu/gpu.hpp"

namespace belfry::server {

class ShaderPool {
  public:
    ShaderPool(gpu::Gpu& gpu, unsigned cores);
    ~ShaderPool();
    ShaderPool(const ShaderPool&) = delete;
    ShaderPool& operator=(const ShaderPool&) = delete;

    /// There are tasks for up to `tasks` threads more.
    void wake(unsigned tasks);

    /// As many as the machine has CPUs for this process, at most 8.
    [[nodiscard]] static unsigned default_cores();

  private:
    void run(unsigned core);

    gpu::Gpu& gpu_;
    std::atomic<std::uint32_t> wakes_{0};
    std::atomic<bool> stop_{false};
    std::vector<std::thread> threads_;
};

}  // namespace belfry::server
