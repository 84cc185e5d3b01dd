#include "server/shader_pool.hpp"

#include <algorithm>
#include <string>

#include <pthread.h>
#include <sched.h>

namespace belfry::server {
namespace {

constexpr unsigned kDefaultCoresMax = 8;

}  // namespace

unsigned ShaderPool::default_cores() {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    if (::sched_getaffinity(0, sizeof cpus, &cpus) != 0) return 1;
    return std::clamp(static_cast<unsigned>(CPU_COUNT(&cpus)), 1U, kDefaultCoresMax);
}

ShaderPool::ShaderPool(gpu::Gpu& gpu, unsigned cores) : gpu_(gpu) {
    threads_.reserve(cores);
    for (unsigned core = 0; core < cores; ++core) threads_.emplace_back([this, core] { run(core); });
}

ShaderPool::~ShaderPool() {
    stop_.store(true, std::memory_order_relaxed);
    wake(static_cast<unsigned>(threads_.size()));
    for (std::thread& thread : threads_) thread.join();
}

void ShaderPool::wake(unsigned tasks) {
    // Release: pairs with the acquire in run(), so that whoever does not sleep finds the tasks.
    wakes_.fetch_add(1, std::memory_order_release);
    if (tasks >= threads_.size())
        wakes_.notify_all();
    else
        for (unsigned i = 0; i < tasks; ++i) wakes_.notify_one();
}

void ShaderPool::run(unsigned core) {
    ::pthread_setname_np(::pthread_self(), ("shader " + std::to_string(core)).c_str());
    for (;;) {
        // Read before the look for tasks: a wake in between is not slept over.
        const std::uint32_t seen = wakes_.load(std::memory_order_acquire);
        if (stop_.load(std::memory_order_relaxed)) return;
        if (!gpu_.run_shader_task(core)) wakes_.wait(seen, std::memory_order_acquire);
    }
}

}  // namespace belfry::server
