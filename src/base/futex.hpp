// Futex wait and wake with a bitset, shared between processes.
#pragma once

#include <array>
#include <cerrno>
#include <cstdint>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/result.hpp"

namespace belfry::base {

/// Sleeps while `word` holds `expected`, until a wake whose bitset meets `bitset`, or until `deadline_ns`
/// (CLOCK_MONOTONIC; 0 = none). EAGAIN: the word differed. ETIMEDOUT, EINTR as they say.
inline Result<void> futex_wait(const std::uint32_t& word, std::uint32_t expected, std::uint32_t bitset,
                               std::uint64_t deadline_ns) {
    const timespec deadline{.tv_sec = static_cast<time_t>(deadline_ns / 1'000'000'000),
                            .tv_nsec = static_cast<long>(deadline_ns % 1'000'000'000)};
    if (::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, expected, deadline_ns == 0 ? nullptr : &deadline,
                  nullptr, bitset) != 0)
        return last_error();
    return {};
}

/// Sleeps while both words hold what is expected of them, until any wake of one of them: there is no bitset.
/// ENOSYS: Linux before 5.16. The rest as futex_wait().
inline Result<void> futex_wait_both(const std::uint32_t& first, std::uint32_t first_expected,
                                    const std::uint32_t& second, std::uint32_t second_expected,
                                    std::uint64_t deadline_ns) {
    const timespec deadline{.tv_sec = static_cast<time_t>(deadline_ns / 1'000'000'000),
                            .tv_nsec = static_cast<long>(deadline_ns % 1'000'000'000)};
    std::array<::futex_waitv, 2> words{};
    words[0] = {.val = first_expected, .uaddr = reinterpret_cast<std::uintptr_t>(&first), .flags = FUTEX_32};
    words[1] = {
        .val = second_expected, .uaddr = reinterpret_cast<std::uintptr_t>(&second), .flags = FUTEX_32};
    if (::syscall(SYS_futex_waitv, words.data(), words.size(), 0, deadline_ns == 0 ? nullptr : &deadline,
                  CLOCK_MONOTONIC) < 0)
        return last_error();
    return {};
}

/// Wakes every sleeper on `word` whose bitset meets `bitset`. Returns how many.
inline int futex_wake(std::uint32_t& word, std::uint32_t bitset) {
    return static_cast<int>(
        ::syscall(SYS_futex, &word, FUTEX_WAKE_BITSET, INT32_MAX, nullptr, nullptr, bitset));
}

}  // namespace belfry::base
