// ETC2 and EAC blocks, packed here from what they shall mean.
#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "gpu/texture/etc2.hpp"
#include "gpu/texture/view.hpp"
#include "gpu_texture_rig.hpp"

namespace belfry::gpu::texture {
namespace {

using Rgb = std::array<int, 3>;
using Rgba = std::array<std::uint8_t, 4>;
using etc2::Alpha;

constexpr int kModifiers[8][2] = {{2, 8},   {5, 17},  {9, 29},   {13, 42},
                                  {18, 60}, {24, 80}, {33, 106}, {47, 183}};
constexpr int kDistances[8] = {3, 6, 11, 16, 23, 32, 41, 64};

/// A block by the names of its bits.
class Block {
  public:
    Block& set(unsigned high, unsigned low, int value) {
        const std::uint64_t mask = ((1ULL << (high - low + 1)) - 1) << low;
        bits_ = (bits_ & ~mask) | ((static_cast<std::uint64_t>(value) << low) & mask);
        return *this;
    }
    [[nodiscard]] int get(unsigned high, unsigned low) const {
        return static_cast<int>(bits_ >> low & ((1ULL << (high - low + 1)) - 1));
    }
    /// Sets the 2-bit index of a texel.
    Block& index(unsigned x, unsigned y, int value) {
        const unsigned i = x * 4 + y;
        return set(16 + i, 16 + i, value >> 1).set(i, i, value & 1);
    }
    [[nodiscard]] std::uint64_t bits() const { return bits_; }

    /// Whether base plus difference of channel 0, 1, 2 leaves 0 ... 31.
    [[nodiscard]] bool overflows(unsigned channel) const {
        const unsigned high = 63 - 8 * channel;
        const int difference = get(high - 5, high - 7);
        const int sum = get(high, high - 4) + (difference >= 4 ? difference - 8 : difference);
        return sum < 0 || sum > 31;
    }

  private:
    std::uint64_t bits_ = 0;
};

Rgba clamped(const Rgb& colour, int add) {
    Rgba result{0, 0, 0, 255};
    for (unsigned c = 0; c < 3; ++c)
        result[c] = static_cast<std::uint8_t>(std::clamp(colour[c] + add, 0, 255));
    return result;
}

int scaled(int value, unsigned bits) {  // by repeating its bits
    int result = 0;
    for (unsigned i = 0; i < 8; ++i) result |= (value >> ((bits - 1 - i % bits)) & 1) << (7 - i);
    return result;
}

Block random_indices(Random& random) {
    Block block;
    return block.set(31, 16, static_cast<int>(random() & 0xffff))
        .set(15, 0, static_cast<int>(random() & 0xffff));
}
int index_at(const Block& block, unsigned x, unsigned y) {
    const unsigned i = x * 4 + y;
    return block.get(16 + i, 16 + i) * 2 + block.get(i, i);
}

template <typename Expect>
void expect_all(const Block& block, Alpha alpha, Expect expected) {
    for (unsigned y = 0; y < 4; ++y)
        for (unsigned x = 0; x < 4; ++x)
            ASSERT_EQ(etc2::colour(block.bits(), x, y, alpha), expected(x, y)) << x << "," << y;
}

Rgba from_table(const Rgb& base, int table, int index) {
    const int sign = index >= 2 ? -1 : 1;
    return clamped(base, sign * kModifiers[table][index & 1]);
}

TEST(TextureEtc2, IndividualBasesHaveFourBits) {
    Random random(1);
    for (unsigned round = 0; round < 500; ++round) {
        Block block = random_indices(random);
        std::array<Rgb, 2> base{};
        for (unsigned c = 0; c < 3; ++c)
            for (unsigned half = 0; half < 2; ++half) {
                const int value = static_cast<int>(random() & 15);
                const unsigned high = 63 - 8 * c - 4 * half;
                block.set(high, high - 3, value);
                base[half][c] = scaled(value, 4);
            }
        const std::array<int, 2> table{static_cast<int>(random() & 7), static_cast<int>(random() & 7)};
        const bool flipped = (random() & 1) != 0;
        block.set(39, 37, table[0]).set(36, 34, table[1]).set(33, 33, 0).set(32, 32, flipped ? 1 : 0);
        expect_all(block, Alpha::opaque, [&](unsigned x, unsigned y) {
            const unsigned half = (flipped ? y : x) >= 2 ? 1 : 0;
            return from_table(base[half], table[half], index_at(block, x, y));
        });
    }
}

TEST(TextureEtc2, DifferentialBasesHaveFiveBitsAndThreeOfDifference) {
    Random random(2);
    for (unsigned round = 0; round < 1000; ++round) {
        Block block = random_indices(random);
        std::array<Rgb, 2> base{};
        for (unsigned c = 0; c < 3; ++c) {
            const int first = static_cast<int>(random() & 31);
            const int second = std::clamp(first + static_cast<int>(random() & 7) - 4, 0, 31);
            const unsigned high = 63 - 8 * c;
            block.set(high, high - 4, first).set(high - 5, high - 7, second - first);
            base[0][c] = scaled(first, 5);
            base[1][c] = scaled(second, 5);
        }
        const std::array<int, 2> table{static_cast<int>(random() & 7), static_cast<int>(random() & 7)};
        const bool flipped = (random() & 1) != 0;
        block.set(39, 37, table[0]).set(36, 34, table[1]).set(33, 33, 1).set(32, 32, flipped ? 1 : 0);
        const auto opaque = [&](unsigned x, unsigned y) {
            const unsigned half = (flipped ? y : x) >= 2 ? 1 : 0;
            return from_table(base[half], table[half], index_at(block, x, y));
        };
        expect_all(block, Alpha::opaque, opaque);
        expect_all(block, Alpha::punch_through, opaque);
        block.set(33, 33, 0);  // some texels are transparent
        expect_all(block, Alpha::punch_through, [&](unsigned x, unsigned y) -> Rgba {
            const int index = index_at(block, x, y);
            if (index == 2) return {0, 0, 0, 0};
            if (index == 0) return clamped(base[(flipped ? y : x) >= 2 ? 1 : 0], 0);
            return opaque(x, y);
        });
    }
}

TEST(TextureEtc2, TModeHasTwoColoursAndADistanceAroundTheSecond) {
    Random random(3);
    for (unsigned round = 0; round < 1000; ++round) {
        Block block = random_indices(random);
        const Rgb first{static_cast<int>(random() & 15), static_cast<int>(random() & 15),
                        static_cast<int>(random() & 15)};
        const Rgb second{static_cast<int>(random() & 15), static_cast<int>(random() & 15),
                         static_cast<int>(random() & 15)};
        const int distance = static_cast<int>(random() & 7);
        block.set(60, 59, first[0] >> 2).set(57, 56, first[0]).set(55, 52, first[1]).set(51, 48, first[2]);
        block.set(47, 44, second[0]).set(43, 40, second[1]).set(39, 36, second[2]);
        block.set(35, 34, distance >> 1).set(32, 32, distance & 1).set(33, 33, 1);
        for (int free = 0; !block.overflows(0); ++free) block.set(63, 61, free >> 1).set(58, 58, free & 1);
        const Rgb a{scaled(first[0], 4), scaled(first[1], 4), scaled(first[2], 4)};
        const Rgb b{scaled(second[0], 4), scaled(second[1], 4), scaled(second[2], 4)};
        const std::array<Rgba, 4> paint{clamped(a, 0), clamped(b, kDistances[distance]), clamped(b, 0),
                                        clamped(b, -kDistances[distance])};
        const auto opaque = [&](unsigned x, unsigned y) {
            return paint[static_cast<unsigned>(index_at(block, x, y))];
        };
        expect_all(block, Alpha::opaque, opaque);
        block.set(33, 33, 0);
        expect_all(block, Alpha::punch_through, [&](unsigned x, unsigned y) {
            return index_at(block, x, y) == 2 ? Rgba{0, 0, 0, 0} : opaque(x, y);
        });
    }
}

TEST(TextureEtc2, HModeHasADistanceAroundBothColours) {
    Random random(4);
    unsigned seen = 0;
    for (unsigned round = 0; round < 2000; ++round) {
        Block block = random_indices(random);
        const Rgb first{static_cast<int>(random() & 15), static_cast<int>(random() & 15),
                        static_cast<int>(random() & 15)};
        const Rgb second{static_cast<int>(random() & 15), static_cast<int>(random() & 15),
                         static_cast<int>(random() & 15)};
        const int high_distance = static_cast<int>(random() & 3);
        const int distance = high_distance << 1 | (first >= second ? 1 : 0);
        block.set(62, 59, first[0]).set(58, 56, first[1] >> 1).set(52, 52, first[1]);
        block.set(51, 51, first[2] >> 3).set(49, 47, first[2]);
        block.set(46, 43, second[0]).set(42, 39, second[1]).set(38, 35, second[2]);
        block.set(34, 34, high_distance >> 1).set(32, 32, high_distance & 1).set(33, 33, 1);
        for (int free = 0; free < 32 && (block.overflows(0) || !block.overflows(1)); ++free)
            block.set(63, 63, free >> 4).set(55, 53, free >> 1).set(50, 50, free & 1);
        if (block.overflows(0) || !block.overflows(1)) continue;
        ++seen;
        const Rgb a{scaled(first[0], 4), scaled(first[1], 4), scaled(first[2], 4)};
        const Rgb b{scaled(second[0], 4), scaled(second[1], 4), scaled(second[2], 4)};
        const int d = kDistances[distance];
        const std::array<Rgba, 4> paint{clamped(a, d), clamped(a, -d), clamped(b, d), clamped(b, -d)};
        expect_all(block, Alpha::opaque, [&](unsigned x, unsigned y) {
            return paint[static_cast<unsigned>(index_at(block, x, y))];
        });
    }
    EXPECT_GT(seen, 1000U);
}

TEST(TextureEtc2, PlanarBlocksAreRamps) {
    Random random(5);
    unsigned seen = 0;
    for (unsigned round = 0; round < 2000; ++round) {
        Block block;
        const auto six = [&random] { return static_cast<int>(random() & 63); };
        const auto seven = [&random] { return static_cast<int>(random() & 127); };
        const Rgb o{six(), seven(), six()};
        const Rgb h{six(), seven(), six()};
        const Rgb v{six(), seven(), six()};
        block.set(62, 57, o[0]).set(56, 56, o[1] >> 6).set(54, 49, o[1]);
        block.set(48, 48, o[2] >> 5).set(44, 43, o[2] >> 3).set(41, 39, o[2]);
        block.set(38, 34, h[0] >> 1).set(32, 32, h[0]).set(31, 25, h[1]).set(24, 19, h[2]);
        block.set(18, 13, v[0]).set(12, 6, v[1]).set(5, 0, v[2]).set(33, 33, 1);
        const auto planar = [&block] {
            return !block.overflows(0) && !block.overflows(1) && block.overflows(2);
        };
        for (int free = 0; free < 64 && !planar(); ++free)
            block.set(63, 63, free >> 5).set(55, 55, free >> 4).set(47, 45, free >> 1).set(42, 42, free & 1);
        if (!planar()) continue;
        ++seen;
        const auto expected = [&](unsigned x, unsigned y) {
            Rgba result{0, 0, 0, 255};
            for (unsigned c = 0; c < 3; ++c) {
                const unsigned bits = c == 1 ? 7 : 6;
                const double origin = scaled(o[c], bits);
                const double value =
                    origin + x * (scaled(h[c], bits) - origin) / 4 + y * (scaled(v[c], bits) - origin) / 4;
                result[c] = static_cast<std::uint8_t>(std::clamp(std::floor(value + 0.5), 0.0, 255.0));
            }
            return result;
        };
        expect_all(block, Alpha::opaque, expected);
        expect_all(block.set(33, 33, 0), Alpha::punch_through, expected);
    }
    EXPECT_GT(seen, 1000U);
}

TEST(TextureEtc2, AlphaIsABaseAndAScaledTable) {
    // Base 100, multiplier 3, table 0: -3 -6 -9 -15 2 5 8 14.
    Block block;
    block.set(63, 56, 100).set(55, 52, 3).set(51, 48, 0);
    constexpr std::array kExpected{91, 82, 73, 55, 106, 115, 124, 142};
    for (unsigned i = 0; i < 16; ++i) block.set(47 - 3 * i, 45 - 3 * i, static_cast<int>(i % 8));
    for (unsigned x = 0; x < 4; ++x)
        for (unsigned y = 0; y < 4; ++y)
            EXPECT_EQ(etc2::eac_alpha(block.bits(), x, y), kExpected[(x * 4 + y) % 8]);
    block.set(63, 56, 250).set(55, 52, 15);
    EXPECT_EQ(etc2::eac_alpha(block.bits(), 0, 3), 250 - 225);
    EXPECT_EQ(etc2::eac_alpha(block.bits(), 1, 3), 255);
}

TEST(TextureEtc2, ElevenBitsSpreadOverSixteen) {
    Block block;
    block.set(63, 56, 255)
        .set(55, 52, 1)
        .set(51, 48, 13)
        .set(47, 45, 7);  // 255 * 8 + 4 + 9 * 8, clamped to 2047
    EXPECT_EQ(etc2::eac_unsigned(block.bits(), 0, 0), 65535);
    block.set(63, 56, 0).set(47, 45, 3);
    EXPECT_EQ(etc2::eac_unsigned(block.bits(), 0, 0), 0);
    // A multiplier of zero adds the table's number itself: 16 * 8 + 4 - 10 = 122.
    block.set(63, 56, 16).set(55, 52, 0);
    EXPECT_EQ(etc2::eac_unsigned(block.bits(), 0, 0), 122 << 5 | 122 >> 6);

    block.set(63, 56, 127).set(55, 52, 1).set(47, 45, 7);
    EXPECT_EQ(etc2::eac_signed(block.bits(), 0, 0), 32767);
    block.set(63, 56, -128).set(47, 45, 3);
    EXPECT_EQ(etc2::eac_signed(block.bits(), 0, 0), -32767);
    block.set(63, 56, -2).set(55, 52, 0);  // -16 - 10
    EXPECT_EQ(etc2::eac_signed(block.bits(), 0, 0), -(26 << 5));
}

TEST(TextureEtc2, TexelsAreReadThroughTheirInterchangeFormats) {
    Block colour;  // one colour, (255, 0, 136) - 2, all over
    colour.set(63, 56, 0xff).set(47, 40, 0x88).set(31, 16, 0xffff);
    Block alpha;
    alpha.set(63, 56, 64);
    const auto first = [](const ImageLayout& layout, std::initializer_list<std::uint64_t> blocks) {
        TestImage image(layout);
        std::uint64_t address = image.element(0, 0, 0, 0, 0);
        for (const std::uint64_t block : blocks) {
            image.memory().write(address, __builtin_bswap64(block));
            address += 8;
        }
        View view(image.texture(), image.memory());
        return *view.fetch(0, 0, 2, 3, 0);
    };
    const auto value = [](unsigned byte) { return as_bits(static_cast<float>(byte) / 255.0F); };
    const ImageLayout rgb{.clump = 32, .element_bytes = 8, .edge = 4, .width = 4, .height = 4};
    EXPECT_EQ(first(rgb, {colour.bits()}), (Texel{value(253), 0, value(134), value(255)}));
    ImageLayout rgba = rgb;
    rgba.clump = 37;
    rgba.element_bytes = 16;
    EXPECT_EQ(first(rgba, {alpha.bits(), colour.bits()}), (Texel{value(253), 0, value(134), value(64)}));
    ImageLayout srgb = rgba;
    srgb.format |= 1U << 20;
    EXPECT_EQ(first(srgb, {alpha.bits(), colour.bits()})[0], as_bits(srgb_to_linear(253 / 255.0F)));
    EXPECT_EQ(first(srgb, {alpha.bits(), colour.bits()})[3], value(64));
    ImageLayout rg = rgba;
    rg.clump = 35;
    rg.format = 172U << 12 | 16;
    Block half;
    half.set(63, 56, 128).set(51, 48, 13).set(44, 0, 0);
    const Texel two = first(rg, {alpha.bits(), half.bits()});
    EXPECT_NEAR(as_float(two[0]), (64 * 8 + 4 - 3) / 2047.0, 1e-4);
    EXPECT_NEAR(as_float(two[1]), (128 * 8 + 4 - 1) / 2047.0, 1e-4);
    EXPECT_EQ(two[2], 0U);
    EXPECT_EQ(two[3], as_bits(1.0F));
    ImageLayout r_signed = rgb;
    r_signed.clump = 34;
    r_signed.format = 100U << 12 | 16;
    EXPECT_NEAR(as_float(first(r_signed, {Block{}.set(63, 56, -64).set(51, 48, 13).bits()})[0]),
                -513 / 1023.0, 1e-4);
}

}  // namespace
}  // namespace belfry::gpu::texture
