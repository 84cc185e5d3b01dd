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

using FourLanes = std::uint32_t __attribute__((vector_size(16)));
inline constexpr unsigned kQuarters = kLanes / 4;

inline FourLanes quarter(const Lanes& lanes, unsigned index) {
    FourLanes four;
    __builtin_memcpy(&four, &lanes.word[4 * index], sizeof four);
    return four;
}
inline void set_quarter(Lanes& lanes, unsigned index, FourLanes four) {
    __builtin_memcpy(&lanes.word[4 * index], &four, sizeof four);
}
inline bool is_zero(FourLanes four) {
    const auto halves = reinterpret_cast<std::uint64_t __attribute__((vector_size(16)))>(four);
    return (halves[0] | halves[1]) == 0;
}

/// Whether all lanes hold the same.
inline bool all_equal(const Lanes& lanes) {
    FourLanes differences{};
    for (unsigned i = 0; i < kQuarters; ++i) differences |= quarter(lanes, i) ^ lanes[0];
    return is_zero(differences);
}

/// Whether each lane holds so many more than the one before, modulo 2^32.
template <std::uint32_t kStep>
bool ascend_by(const Lanes& lanes) {
    const FourLanes first = FourLanes{0, kStep, 2 * kStep, 3 * kStep} + lanes[0];
    FourLanes differences{};
    for (unsigned i = 0; i < kQuarters; ++i) differences |= quarter(lanes, i) ^ (first + 4 * kStep * i);
    return is_zero(differences);
}

/// Lanes whose word has one of these bits.
inline LaneMask lanes_with(const Lanes& lanes, std::uint32_t bits) {
    FourLanes mask{};
    for (unsigned i = 0; i < kQuarters; ++i) {
        const auto set = reinterpret_cast<FourLanes>((quarter(lanes, i) & bits) != 0);
        mask |= set & (FourLanes{1, 2, 4, 8} << (4 * i));
    }
    return mask[0] | mask[1] | mask[2] | mask[3];
}

inline void fill(Lanes& lanes, std::uint32_t value) {
    for (unsigned i = 0; i < kQuarters; ++i) set_quarter(lanes, i, FourLanes{} + value);
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
__attribute__((no_sanitize("thread"))) void load_lanes(const std::byte* from, Lanes* to) {
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
__attribute__((no_sanitize("thread"))) void store_lanes(std::byte* to, const Lanes* from) {
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
