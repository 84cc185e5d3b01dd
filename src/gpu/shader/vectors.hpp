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

/// Whether all lanes hold the same.
inline bool all_equal(const Lanes& lanes) {
    std::uint32_t differences = 0;
    for (unsigned i = 0; i < kLanes; ++i) differences |= lanes.word[i] ^ lanes.word[0];
    return differences == 0;
}

/// Whether each lane holds 4 more than the one before, modulo 2^32.
inline bool ascend_by_4(const Lanes& lanes) {
    std::uint32_t differences = 0;
    for (unsigned i = 0; i < kLanes; ++i) differences |= (lanes.word[i] - lanes.word[0]) ^ (4 * i);
    return differences == 0;
}

/// Lanes whose word is not 0.
inline LaneMask non_zero(const Lanes& lanes, std::uint32_t bits) {
    LaneMask mask = 0;
    for (unsigned i = 0; i < kLanes; ++i) mask |= (lanes.word[i] & bits) != 0 ? 1U << i : 0;
    return mask;
}

constexpr bool within_page(std::uint64_t address, std::size_t bytes) {
    return (address & kPageOffsetMask) + bytes <= kPageBytes;
}

// All lanes from or to consecutive words. Others may access these at the same time, which is theirs to order:
// hence not instrumented. The words do not tear where they are aligned: vector moves keep them whole.
[[gnu::no_sanitize("thread")]] inline void load_lanes(const std::byte* from, Lanes& to) {
    __builtin_memcpy(to.word.data(), from, sizeof to);
}
[[gnu::no_sanitize("thread")]] inline void store_lanes(std::byte* to, const Lanes& from) {
    __builtin_memcpy(to, from.word.data(), sizeof from);
}

}  // namespace belfry::gpu::shader
