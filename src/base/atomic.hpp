// Atomic access to plain integers in shared memory.
//
// Shared structs hold plain fixed-width integers; each access says its order through these. Memory that a
// client can write is read by load() only: once, into a local, which is then judged and used.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace belfry::base {

inline constexpr auto kRelaxed = std::memory_order_relaxed;
inline constexpr auto kAcquire = std::memory_order_acquire;
inline constexpr auto kRelease = std::memory_order_release;
inline constexpr auto kAcqRel = std::memory_order_acq_rel;
inline constexpr auto kSeqCst = std::memory_order_seq_cst;

template <typename T>
[[nodiscard]] T load(const T& word, std::memory_order order) {
    // atomic_ref<const T> comes with C++26 only; a load does not write.
    return std::atomic_ref(const_cast<T&>(word)).load(order);
}

/// A copy of a struct in memory that a client can write, each word of it read once. Whole words, aligned.
template <typename T>
    requires(std::is_trivially_copyable_v<T> && sizeof(T) % sizeof(std::uint64_t) == 0)
[[nodiscard]] T copy_once(const std::byte* from) {
    std::array<std::uint64_t, sizeof(T) / sizeof(std::uint64_t)> words{};
    for (std::size_t i = 0; i < words.size(); ++i)
        words[i] = load(reinterpret_cast<const std::uint64_t*>(from)[i], kRelaxed);
    return std::bit_cast<T>(words);
}

template <typename T>
void store(T& word, std::type_identity_t<T> value, std::memory_order order) {
    std::atomic_ref(word).store(value, order);
}

template <typename T>
T exchange(T& word, std::type_identity_t<T> value, std::memory_order order) {
    return std::atomic_ref(word).exchange(value, order);
}

template <typename T>
T fetch_add(T& word, std::type_identity_t<T> value, std::memory_order order) {
    return std::atomic_ref(word).fetch_add(value, order);
}

template <typename T>
T fetch_or(T& word, std::type_identity_t<T> value, std::memory_order order) {
    return std::atomic_ref(word).fetch_or(value, order);
}

template <typename T>
T fetch_and(T& word, std::type_identity_t<T> value, std::memory_order order) {
    return std::atomic_ref(word).fetch_and(value, order);
}

/// Has the CPU fetch the line of `word` as one that it will write: whoever looks first and then takes has it
/// moved once, and not read first and claimed after.
template <typename T>
void prefetch_for_write(const T& word) {
#if defined(__x86_64__)
    asm volatile("prefetchw %0" : : "m"(word));  // GCC's builtin asks for a line to read, unless -mprfchw
#else
    __builtin_prefetch(&word, 1);
#endif
}

/// The half of a 64-bit word that a futex can sleep on. Little-endian, so it lies first.
inline std::uint32_t& low_word(std::uint64_t& word) {
    return *static_cast<std::uint32_t*>(static_cast<void*>(&word));
}

/// The fence of both halves of a Dekker handshake ("store mine; full fence; load yours").
inline void full_fence() { std::atomic_thread_fence(std::memory_order_seq_cst); }

}  // namespace belfry::base
