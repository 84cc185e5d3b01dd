// CLOCK_MONOTONIC in nanoseconds, for those actors that may look at a clock (server, client, tools).
#pragma once

#include <cstdint>

#include <time.h>

namespace belfry::base {

inline std::uint64_t monotonic_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace belfry::base
