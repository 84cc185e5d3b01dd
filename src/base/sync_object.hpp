// How a native sync object in shared memory is updated, by the GPU and by the driver alike, and whom an
// update may wake (docs/architecture.md, "Waits").
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "base/atomic.hpp"

namespace belfry::base {

/// The futex bits of all targets that a step from `before` to `after` passes; 0 if the value stays.
inline std::uint32_t wake_bits(std::uint64_t before, std::uint64_t after) {
    const std::uint64_t steps = after - before;
    // A step down, or one over 32 targets or more, may satisfy a waiter on any bit.
    if (after < before || steps >= 32) return ~0U;
    const auto run = static_cast<std::uint32_t>((1ULL << steps) - 1);
    return std::rotl(run, static_cast<int>((before + 1) % 32));
}

/// Sets the value, or adds to it. `Object` is a belfry_sync_object64 or ..32; the first counts its CPU
/// waiters. `wake(word, bits)` wakes those among them whom the step may satisfy.
template <typename Object, typename Wake>
void update_sync_object(Object& sync, bool add, std::uint64_t operand, std::uint32_t error, Wake wake) {
    using Value = decltype(sync.value);
    const auto value = static_cast<Value>(operand);
    // The error word comes first: a waiter that sees the value sees the error behind it.
    store(sync.error, error, kRelaxed);
    // Sequentially consistent: releases the error word, and is this side's store of the Dekker handshake with
    // waiters, which count themselves, fence, and read the value again.
    [[maybe_unused]] const Value before =
        add ? fetch_add(sync.value, value, kSeqCst) : exchange(sync.value, value, kSeqCst);
    if constexpr (requires { sync.waiters; }) {
        const std::uint32_t bits = wake_bits(before, add ? before + value : value);
        if (load(sync.waiters, kSeqCst) != 0 && bits != 0) wake(low_word(sync.value), bits);
    }
}

}  // namespace belfry::base
