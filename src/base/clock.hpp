// CLOCK_MONOTONIC in nanoseconds and waiting by it, for those actors that may look at a clock (server,
// client, tools).
#pragma once

#include <cstdint>

#include <time.h>

namespace belfry::base {

inline std::uint64_t monotonic_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(now.tv_nsec);
}

/// For loops that wait for another CPU.
inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

/// relax() for so long; returns the time.
inline std::uint64_t relax_for(std::uint64_t ns) {
    const std::uint64_t start = monotonic_ns();
    std::uint64_t now = start;
    for (; now - start < ns; now = monotonic_ns()) relax();
    return now;
}

}  // namespace belfry::base
