#include "belfry/sync_object.hpp"

#include <fmt/format.h>

#include "base/atomic.hpp"
#include "base/clock.hpp"
#include "base/futex.hpp"
#include "base/sync_object.hpp"
#include "belfry/buffer.hpp"
#include "belfry/uapi/user_queue.h"
#include "client/native_wait.hpp"

namespace belfry {
namespace {

uapi::belfry_sync_object64& object_at(void* memory) {
    return *static_cast<uapi::belfry_sync_object64*>(memory);
}

std::uint32_t bit_of(std::uint64_t target) { return 1U << (target % 32); }

/// Counted in first, looked at second: an update that a look after this misses sees the count (facts/
/// firmware-and-scheduling.md 7, F2). A waiter that dies leaves the count too high, which costs wake calls
/// and nothing else.
void count_in(uapi::belfry_sync_object64& object) {
    base::fetch_add(object.waiters, 1, base::kSeqCst);
    base::full_fence();
}
void count_out(uapi::belfry_sync_object64& object) { base::fetch_add(object.waiters, ~0U, base::kSeqCst); }

}  // namespace

namespace client {

WaitStats& wait_stats() {
    static thread_local WaitStats stats;
    return stats;
}

std::optional<std::uint64_t> look(const uapi::belfry_sync_object64& object, std::uint64_t target) {
    // Acquire: pairs with the release of the value, so that what was written before it is seen.
    const std::uint64_t value = base::load(object.value, base::kAcquire);
    return value >= target ? std::optional(value) : std::nullopt;
}

std::optional<std::uint64_t> spin_for(const uapi::belfry_sync_object64& object, std::uint64_t target,
                                      std::uint64_t spin_ns) {
    constexpr unsigned kLooksPerClock = 64;
    if (const auto value = look(object, target)) return value;
    const std::uint64_t until = base::monotonic_ns() + spin_ns;
    do {
        for (unsigned i = 0; i < kLooksPerClock; ++i) {
            if (const auto value = look(object, target)) return value;
            base::relax();
        }
    } while (base::monotonic_ns() < until);
    return std::nullopt;
}

namespace {

/// One sleep. Of a group's end the kernel tells by itself where it can wait for two words.
base::Result<void> sleep_once(const uapi::belfry_sync_object64& object, std::uint64_t value,
                              std::uint64_t target, std::uint64_t deadline_ns,
                              const std::uint32_t* group_state) {
    /// What is left where it cannot: to look at the group this often.
    constexpr std::uint64_t kLookNs = 50'000'000;
    const std::uint32_t& word = base::low_word(const_cast<std::uint64_t&>(object.value));
    const auto expected = static_cast<std::uint32_t>(value);
    if (group_state == nullptr) return base::futex_wait(word, expected, bit_of(target), deadline_ns);
    const auto slept = base::futex_wait_both(word, expected, *group_state, 0, deadline_ns);
    if (slept || slept.error() != base::Errno::no_system_call) return slept;
    const std::uint64_t look = base::monotonic_ns() + kLookNs;
    const bool last = deadline_ns != 0 && deadline_ns <= look;
    const auto looked = base::futex_wait(word, expected, bit_of(target), last ? deadline_ns : look);
    if (!last && !looked && looked.error() == base::Errno::timed_out)
        return std::unexpected(base::Errno::again);
    return looked;
}

}  // namespace

bool says_ended(const uapi::belfry_sync_object64& object, std::uint64_t value) {
    return value == ~0ULL && (base::load(object.error, base::kAcquire) & BELFRY_SYNC_OBJECT_ENDED) != 0;
}

std::optional<std::uint64_t> sleep_for(uapi::belfry_sync_object64& object, std::uint64_t target,
                                       std::uint64_t deadline_ns, const std::uint32_t* group_state) {
    count_in(object);
    std::optional<std::uint64_t> found;
    for (;;) {
        const std::uint64_t value = base::load(object.value, base::kSeqCst);
        if (value >= target) {
            found = value;
            break;
        }
        // What the group did before its end is seen by the look that follows the loop.
        if (group_state != nullptr && base::load(*group_state, base::kAcquire) != 0) break;
        ++wait_stats().sleeps;
        const auto slept = sleep_once(object, value, target, deadline_ns, group_state);
        if (slept)
            ++wait_stats().wake_ups;
        else if (slept.error() == base::Errno::timed_out)
            break;
    }
    count_out(object);
    return found ? found : look(object, target);
}

}  // namespace client

Result<SyncObject> SyncObject::at(const Buffer& buffer, std::uint64_t offset, std::uint64_t address) {
    constexpr std::uint64_t kBytes = sizeof(uapi::belfry_sync_object64);
    if (offset % kBytes != 0 || buffer.size() < kBytes || offset > buffer.size() - kBytes)
        return std::unexpected(
            Error{.code = EINVAL,
                  .message = fmt::format(
                      "a sync object at offset {:#x} of a buffer of {} bytes: the offset must be a multiple "
                      "of {} inside it",
                      offset, buffer.size(), kBytes)});
    return SyncObject(buffer.bytes().data() + offset, address);
}

std::uint64_t SyncObject::value() const { return base::load(object_at(object_).value, base::kAcquire); }
std::uint32_t SyncObject::error() const { return base::load(object_at(object_).error, base::kAcquire); }
bool SyncObject::ended() const { return client::says_ended(object_at(object_), value()); }

void SyncObject::set(std::uint64_t value) {
    auto& object = object_at(object_);
    base::update_sync_object(object, false, value, 0,
                             [](std::uint32_t& word, std::uint32_t bits) { base::futex_wake(word, bits); });
}

Result<std::uint64_t> SyncObject::wait(std::uint64_t target, const WaitOptions& options) const {
    auto& object = object_at(object_);
    const std::uint64_t deadline = client::deadline_of(options);
    auto value = client::spin_for(object, target, static_cast<std::uint64_t>(options.spin.count()));
    if (!value) value = client::sleep_for(object, target, deadline);
    if (!value) return std::unexpected(client::wait_timed_out(object, target));
    if (client::says_ended(object, *value))
        return std::unexpected(
            Error{.code = ECANCELED, .message = "the group that owned this sync object has ended"});
    return *value;
}

std::optional<FutexWait> SyncObject::begin_wait(std::uint64_t target) const {
    auto& object = object_at(object_);
    count_in(object);
    const std::uint64_t value = base::load(object.value, base::kSeqCst);
    if (value < target)
        return FutexWait{.word = &base::low_word(object.value),
                         .expected = static_cast<std::uint32_t>(value),
                         .bitset = bit_of(target)};
    count_out(object);
    return std::nullopt;
}

void SyncObject::end_wait() const { count_out(object_at(object_)); }

WaitStats SyncObject::stats() { return client::wait_stats(); }

namespace client {

std::uint64_t deadline_of(const WaitOptions& options) {
    if (!options.timeout) return 0;
    const auto timeout = options.timeout->count();
    return base::monotonic_ns() + (timeout > 0 ? static_cast<std::uint64_t>(timeout) : 0);
}

Error wait_timed_out(const uapi::belfry_sync_object64& object, std::uint64_t target) {
    return {.code = ETIMEDOUT,
            .message = fmt::format("timed out waiting for a sync object to reach {}: it is at {}", target,
                                   base::load(object.value, base::kRelaxed))};
}

}  // namespace client
}  // namespace belfry
