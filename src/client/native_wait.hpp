// The native wait in its parts: look, spin, sleep. For SyncObject and for Group::wait, which looks at more.
//
// Runs on any thread.
#pragma once

#include <cstdint>
#include <optional>

#include "belfry/error.hpp"
#include "belfry/sync_object.hpp"
#include "belfry/uapi/user_queue.h"

namespace belfry::client {

/// The value, if it has reached `target`.
std::optional<std::uint64_t> look(const uapi::belfry_sync_object64& object, std::uint64_t target);
std::optional<std::uint64_t> spin_for(const uapi::belfry_sync_object64& object, std::uint64_t target,
                                      std::uint64_t spin_ns);
/// Until the target is reached, `deadline_ns` (CLOCK_MONOTONIC, 0 = none) has come, or `group_state`, if
/// there is one, is no longer 0.
std::optional<std::uint64_t> sleep_for(uapi::belfry_sync_object64& object, std::uint64_t target,
                                       std::uint64_t deadline_ns, const std::uint32_t* group_state = nullptr);
/// Whether `value`, which was read from the object before, says that its group has ended.
[[nodiscard]] bool says_ended(const uapi::belfry_sync_object64& object, std::uint64_t value);
/// Of the calling thread: SyncObject::stats().
WaitStats& wait_stats();
std::uint64_t deadline_of(const WaitOptions& options);
Error wait_timed_out(const uapi::belfry_sync_object64& object, std::uint64_t target);

}  // namespace belfry::client
