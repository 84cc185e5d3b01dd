// Access: what one lane loads and stores, by the sizes that LOAD, STORE and LD_BUFFER share.
#pragma once

#include <array>
#include <cstdint>

#include "gpu/shader/memory.hpp"
#include "gpu/shader/warp.hpp"

namespace belfry::gpu::shader {

/// Registers that `bytes` fill.
constexpr unsigned words_of(unsigned bytes) { return (bytes + 3) / 4; }

/// What an access of `kBytes` moves; the rest of the last word is 0.
template <unsigned kBytes>
using Words = std::array<std::uint32_t, words_of(kBytes)>;

/// 64-bit operand `index` of `lane`.
inline std::uint64_t pair_of(const Operands& operands, OperandIndex index, unsigned lane) {
    const auto high = static_cast<OperandIndex>(index + 1);
    return operands(index)[lane] | std::uint64_t{operands(high)[lane]} << 32;
}

/// Reads from a page that holds all of it.
template <unsigned kBytes>
Words<kBytes> load_words(const std::byte* host) {
    Words<kBytes> value{};
    if constexpr (kBytes == 1) {
        value[0] = load_from<std::uint8_t>(host);
    } else if constexpr (kBytes == 2) {
        value[0] = load_from<std::uint16_t>(host);
    } else if constexpr (kBytes == 3) {
        for (unsigned i = 0; i < 3; ++i)
            value[0] |= std::uint32_t{load_from<std::uint8_t>(host + i)} << (8 * i);
    } else if constexpr (kBytes == 6) {
        value[0] = load_from<std::uint32_t>(host);
        value[1] = load_from<std::uint16_t>(host + 4);
    } else if constexpr (kBytes == 8) {
        const auto both = load_from<std::uint64_t>(host);
        value = {static_cast<std::uint32_t>(both), static_cast<std::uint32_t>(both >> 32)};
    } else {
        for (unsigned i = 0; i < kBytes / 4; ++i) value[i] = load_from<std::uint32_t>(host + 4 * i);
    }
    return value;
}

template <unsigned kBytes>
void store_words(std::byte* host, const Words<kBytes>& value) {
    if constexpr (kBytes == 1) {
        store_to(host, static_cast<std::uint8_t>(value[0]));
    } else if constexpr (kBytes == 2) {
        store_to(host, static_cast<std::uint16_t>(value[0]));
    } else if constexpr (kBytes == 3) {
        for (unsigned i = 0; i < 3; ++i) store_to(host + i, static_cast<std::uint8_t>(value[0] >> (8 * i)));
    } else if constexpr (kBytes == 6) {
        store_to(host, value[0]);
        store_to(host + 4, static_cast<std::uint16_t>(value[1]));
    } else if constexpr (kBytes == 8) {
        store_to(host, value[0] | std::uint64_t{value[1]} << 32);
    } else {
        for (unsigned i = 0; i < kBytes / 4; ++i) store_to(host + 4 * i, value[i]);
    }
}

/// False: memory.refusal().
template <unsigned kBytes>
bool read_words(Memory& memory, std::uint64_t address, Words<kBytes>& value) {
    if ((address & kPageOffsetMask) + kBytes > kPageBytes) [[unlikely]] {
        value = {};
        return memory.read(address, value.data(), kBytes);
    }
    const std::byte* const host = memory.readable(address);
    if (host == nullptr) return false;
    value = load_words<kBytes>(host);
    return true;
}

template <unsigned kBytes>
bool write_words(Memory& memory, std::uint64_t address, const Words<kBytes>& value) {
    if ((address & kPageOffsetMask) + kBytes > kPageBytes) [[unlikely]]
        return memory.write(address, value.data(), kBytes);
    std::byte* const host = memory.writable(address);
    if (host == nullptr) return false;
    store_words<kBytes>(host, value);
    return true;
}

/// Where in its register, or two, a loaded value of up to 32 bits goes, and how it is extended.
struct Placement {
    std::uint8_t value_bits;  ///< 8, 16 or 32
    std::uint8_t bits;        ///< of the place: value_bits ... 64
    std::uint8_t shift;
    bool sign;

    [[nodiscard]] unsigned registers() const { return bits == 64 ? 2 : 1; }
    /// Only a whole word needs no extension and leaves nothing of its register.
    [[nodiscard]] bool plain() const { return value_bits == 32 && bits == 32; }

    void put(const Operands& operands, unsigned first, unsigned lane, std::uint32_t value) const {
        const unsigned unused = 32U - value_bits;
        // Shifts of the signed type repeat the sign.
        const std::uint32_t extended =
            sign ? static_cast<std::uint32_t>(static_cast<std::int32_t>(value << unused) >> unused) : value;
        std::uint32_t& low = operands.reg(first)[lane];
        if (bits >= 32) {
            low = extended;
        } else {
            const std::uint32_t mask = ((1U << bits) - 1) << shift;
            low = (low & ~mask) | (extended << shift & mask);
        }
        if (bits == 64)
            operands.reg(first + 1)[lane] =
                sign ? static_cast<std::uint32_t>(static_cast<std::int32_t>(extended) >> 31) : 0;
    }
};

/// Placement by the instruction's ldlane field. `value_bits` is 8, 16 or 32.
constexpr Placement placement(unsigned value_bits, unsigned ldlane, bool is_unsigned) {
    struct Place {
        std::uint8_t bits, shift;
    };
    constexpr std::array<Place, 8> kOf8 = {
        {{8, 0}, {8, 8}, {8, 16}, {8, 24}, {16, 0}, {16, 16}, {32, 0}, {64, 0}}};
    constexpr std::array<Place, 4> kOf16 = {{{16, 0}, {16, 16}, {32, 0}, {64, 0}}};
    constexpr std::array<Place, 2> kOf32 = {{{32, 0}, {64, 0}}};
    const Place place = value_bits == 8    ? kOf8[ldlane % kOf8.size()]
                        : value_bits == 16 ? kOf16[ldlane % kOf16.size()]
                                           : kOf32[ldlane % kOf32.size()];
    return {static_cast<std::uint8_t>(value_bits), place.bits, place.shift, !is_unsigned};
}

}  // namespace belfry::gpu::shader
