#include "gpu/texture/etc2.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace belfry::gpu::texture::etc2 {
namespace {

using Rgb = std::array<int, 3>;
using Rgba = std::array<std::uint8_t, 4>;

constexpr int kModifiers[8][2] = {{2, 8},   {5, 17},  {9, 29},   {13, 42},
                                  {18, 60}, {24, 80}, {33, 106}, {47, 183}};
constexpr int kDistances[8] = {3, 6, 11, 16, 23, 32, 41, 64};
constexpr int kEacModifiers[16][8] = {
    {-3, -6, -9, -15, 2, 5, 8, 14}, {-3, -7, -10, -13, 2, 6, 9, 12}, {-2, -5, -8, -13, 1, 4, 7, 12},
    {-2, -4, -6, -13, 1, 3, 5, 12}, {-3, -6, -8, -12, 2, 5, 7, 11},  {-3, -7, -9, -11, 2, 6, 8, 10},
    {-4, -7, -8, -11, 3, 6, 7, 10}, {-3, -5, -8, -11, 2, 4, 7, 10},  {-2, -6, -8, -10, 1, 5, 7, 9},
    {-2, -5, -8, -10, 1, 4, 7, 9},  {-2, -4, -8, -10, 1, 3, 7, 9},   {-2, -5, -7, -10, 1, 4, 6, 9},
    {-3, -4, -7, -10, 2, 3, 6, 9},  {-1, -2, -3, -10, 0, 1, 2, 9},   {-4, -6, -8, -9, 3, 5, 7, 8},
    {-3, -5, -7, -9, 2, 4, 6, 8},
};

constexpr int field(std::uint64_t block, unsigned high, unsigned low) {
    return static_cast<int>((block >> low) & ((1ULL << (high - low + 1)) - 1));
}
constexpr int signed_3(int value) { return (value ^ 4) - 4; }

constexpr int extend_4(int value) { return (value << 4) | value; }
constexpr int extend_5(int value) { return (value << 3) | (value >> 2); }
constexpr int extend_6(int value) { return (value << 2) | (value >> 4); }
constexpr int extend_7(int value) { return (value << 1) | (value >> 6); }

/// Texels go down columns.
constexpr unsigned texel_index(unsigned x, unsigned y) { return (x * 4) + y; }

std::uint8_t to_byte(int value) { return static_cast<std::uint8_t>(std::clamp(value, 0, 255)); }

Rgba moved(const Rgb& colour, int by) {
    return {to_byte(colour[0] + by), to_byte(colour[1] + by), to_byte(colour[2] + by), 255};
}

constexpr Rgba kTransparent{0, 0, 0, 0};

/// Two bases, each with a table of what is added; the halves lie beside or above one another.
Rgba halves(std::uint64_t block, const std::array<Rgb, 2>& base, unsigned x, unsigned y, int index,
            bool transparent) {
    const bool flipped = field(block, 32, 32) != 0;
    const unsigned half = (flipped ? y : x) / 2;
    const auto& modifier = kModifiers[half == 0 ? field(block, 39, 37) : field(block, 36, 34)];
    if (transparent && index == 2) return kTransparent;
    int by = modifier[index & 1];
    if (transparent && index == 0) by = 0;
    return moved(base[half], index >= 2 ? -by : by);
}

Rgba t_mode(std::uint64_t block, int index) {
    const Rgb first{extend_4((field(block, 60, 59) << 2) | field(block, 57, 56)),
                    extend_4(field(block, 55, 52)), extend_4(field(block, 51, 48))};
    const Rgb second{extend_4(field(block, 47, 44)), extend_4(field(block, 43, 40)),
                     extend_4(field(block, 39, 36))};
    const int distance = kDistances[(field(block, 35, 34) << 1) | field(block, 32, 32)];
    switch (index) {
        case 0:  return moved(first, 0);
        case 1:  return moved(second, distance);
        case 2:  return moved(second, 0);
        default: return moved(second, -distance);
    }
}

Rgba h_mode(std::uint64_t block, int index) {
    const Rgb first{extend_4(field(block, 62, 59)),
                    extend_4((field(block, 58, 56) << 1) | field(block, 52, 52)),
                    extend_4((field(block, 51, 51) << 3) | field(block, 49, 47))};
    const Rgb second{extend_4(field(block, 46, 43)), extend_4(field(block, 42, 39)),
                     extend_4(field(block, 38, 35))};
    // The order of the two is the last bit of the distance.
    const int distance =
        kDistances[(field(block, 34, 34) << 2) | (field(block, 32, 32) << 1) | (first >= second)];
    return moved(index < 2 ? first : second, (index & 1) != 0 ? -distance : distance);
}

Rgba planar(std::uint64_t block, unsigned x, unsigned y) {
    const Rgb origin{
        extend_6(field(block, 62, 57)), extend_7((field(block, 56, 56) << 6) | field(block, 54, 49)),
        extend_6((field(block, 48, 48) << 5) | (field(block, 44, 43) << 3) | field(block, 41, 39))};
    const Rgb right{extend_6((field(block, 38, 34) << 1) | field(block, 32, 32)),
                    extend_7(field(block, 31, 25)), extend_6(field(block, 24, 19))};
    const Rgb below{extend_6(field(block, 18, 13)), extend_7(field(block, 12, 6)),
                    extend_6(field(block, 5, 0))};
    Rgba result{0, 0, 0, 255};
    for (unsigned i = 0; i < 3; ++i) {
        const int sum = (static_cast<int>(x) * (right[i] - origin[i])) +
                        (static_cast<int>(y) * (below[i] - origin[i])) + (4 * origin[i]) + 2;
        result[i] = to_byte(sum >> 2);
    }
    return result;
}

int eac_modifier(std::uint64_t block, unsigned x, unsigned y) {
    const unsigned low = 45 - (3 * texel_index(x, y));
    return kEacModifiers[field(block, 51, 48)][field(block, low + 2, low)];
}

/// What is added to the base of an 11-bit channel.
int eac_difference(std::uint64_t block, unsigned x, unsigned y) {
    const int multiplier = field(block, 55, 52);
    return eac_modifier(block, x, y) * (multiplier == 0 ? 1 : multiplier * 8);
}

}  // namespace

std::uint64_t load_block(const std::byte* from) {
    std::uint64_t block = 0;
    std::memcpy(&block, from, sizeof block);
    return __builtin_bswap64(block);
}

Rgba colour(std::uint64_t block, unsigned x, unsigned y, Alpha alpha) {
    const unsigned i = texel_index(x, y);
    const int index = (field(block, 16 + i, 16 + i) << 1) | field(block, i, i);
    // The bit that tells individual from differential bases is, with punch-through alpha, the one that says
    // that no texel is transparent; bases are differential then.
    const bool bit = field(block, 33, 33) != 0;
    const bool transparent = alpha == Alpha::punch_through && !bit;
    if (alpha == Alpha::opaque && !bit) {
        return halves(block,
                      {Rgb{extend_4(field(block, 63, 60)), extend_4(field(block, 55, 52)),
                           extend_4(field(block, 47, 44))},
                       Rgb{extend_4(field(block, 59, 56)), extend_4(field(block, 51, 48)),
                           extend_4(field(block, 43, 40))}},
                      x, y, index, false);
    }
    const Rgb base{field(block, 63, 59), field(block, 55, 51), field(block, 47, 43)};
    const Rgb second{base[0] + signed_3(field(block, 58, 56)), base[1] + signed_3(field(block, 50, 48)),
                     base[2] + signed_3(field(block, 42, 40))};
    // A second base that cannot be is how the other modes are told.
    const auto impossible = [&second](unsigned channel) {
        return second[channel] < 0 || second[channel] > 31;
    };
    if (impossible(0)) return transparent && index == 2 ? kTransparent : t_mode(block, index);
    if (impossible(1)) return transparent && index == 2 ? kTransparent : h_mode(block, index);
    if (impossible(2)) return planar(block, x, y);
    const auto extended = [](const Rgb& c) { return Rgb{extend_5(c[0]), extend_5(c[1]), extend_5(c[2])}; };
    return halves(block, {extended(base), extended(second)}, x, y, index, transparent);
}

std::uint8_t eac_alpha(std::uint64_t block, unsigned x, unsigned y) {
    return to_byte(field(block, 63, 56) + (eac_modifier(block, x, y) * field(block, 55, 52)));
}

std::uint16_t eac_unsigned(std::uint64_t block, unsigned x, unsigned y) {
    const int value = std::clamp((field(block, 63, 56) * 8) + 4 + eac_difference(block, x, y), 0, 2047);
    return static_cast<std::uint16_t>((value << 5) | (value >> 6));
}

std::int16_t eac_signed(std::uint64_t block, unsigned x, unsigned y) {
    const int base = std::max(static_cast<int>(static_cast<std::int8_t>(field(block, 63, 56))), -127);
    const int value = std::clamp((base * 8) + eac_difference(block, x, y), -1023, 1023);
    const int magnitude = value < 0 ? -value : value;
    const int spread = (magnitude << 5) | (magnitude >> 5);
    return static_cast<std::int16_t>(value < 0 ? -spread : spread);
}

}  // namespace belfry::gpu::texture::etc2
