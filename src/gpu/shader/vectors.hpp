// Vectors: the few questions that a core asks of 16 lanes at once, in a form that compilers make vector code
// of.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "gpu/shader/memory.hpp"
#include "gpu/shader/warp.hpp"

namespace belfry::gpu::shader {

/// The lowest lane of a mask that has one.
constexpr unsigned first_of(LaneMask lanes) { return static_cast<unsigned>(std::countr_zero(lanes)); }

/// Whether all lanes hold the same.
inline bool all_equal(const Lanes& lanes) {
    std::uint32_t differences = 0;
    for (unsigned i = 0; i < kLanes; ++i) differences |= lanes.word[i] ^ lanes.word[0];
    return differences == 0;
}

/// Whether each lane holds so many more than the one before, modulo 2^32.
template <std::uint32_t kStep>
bool ascend_by(const Lanes& lanes) {
    std::uint32_t differences = 0;
    for (unsigned i = 0; i < kLanes; ++i) differences |= (lanes.word[i] - lanes.word[0]) ^ (kStep * i);
    return differences == 0;
}

/// Lanes whose word is not 0.
inline LaneMask non_zero(const Lanes& lanes, std::uint32_t bits) {
    LaneMask mask = 0;
    for (unsigned i = 0; i < kLanes; ++i) mask |= (lanes.word[i] & bits) != 0 ? 1U << i : 0;
    return mask;
}

/// Replaces what the lanes of `active` hold.
inline void assign(Lanes& to, const Lanes& from, LaneMask active) {
    if (active == kAllLanes) {
        to = from;
        return;
    }
    for (LaneMask rest = active; rest != 0; rest &= rest - 1) to[first_of(rest)] = from[first_of(rest)];
}

constexpr bool within_page(std::uint64_t address, std::size_t bytes) {
    return (address & kPageOffsetMask) + bytes <= kPageBytes;
}

// All lanes' kWords registers from or to consecutive memory, lane by lane. Others may access it at the same
// time, which is theirs to order: hence not instrumented. Words do not tear where they are aligned: vector
// moves keep them whole.
template <unsigned kWords>
[[gnu::no_sanitize("thread")]] void load_lanes(const std::byte* from, Lanes* to) {
    if constexpr (kWords == 1) {
        __builtin_memcpy(to->word.data(), from, sizeof(Lanes));
    } else {
        std::array<std::uint32_t, kLanes * kWords> words;
        __builtin_memcpy(words.data(), from, sizeof words);
        for (unsigned i = 0; i < kWords; ++i)
            for (unsigned lane = 0; lane < kLanes; ++lane) to[i].word[lane] = words[lane * kWords + i];
    }
}
template <unsigned kWords>
[[gnu::no_sanitize("thread")]] void store_lanes(std::byte* to, const Lanes* from) {
    if constexpr (kWords == 1) {
        __builtin_memcpy(to, from->word.data(), sizeof(Lanes));
    } else {
        std::array<std::uint32_t, kLanes * kWords> words;
        for (unsigned i = 0; i < kWords; ++i)
            for (unsigned lane = 0; lane < kLanes; ++lane) words[lane * kWords + i] = from[i].word[lane];
        __builtin_memcpy(to, words.data(), sizeof words);
    }
}

}  // namespace belfry::gpu::shader
