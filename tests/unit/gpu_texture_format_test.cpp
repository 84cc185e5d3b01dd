// Pixel formats against formulas in double, over all values where there are few.
#include <cmath>
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "gpu/texture/pixel_format.hpp"
#include "gpu/texture/register_format.hpp"

namespace belfry::gpu::texture {
namespace {

using Random = std::independent_bits_engine<std::mt19937, 32, std::uint32_t>;

constexpr std::uint32_t kOrderRgba = 0;
constexpr std::uint32_t kOrderRgbOne = 16;
constexpr std::uint32_t kSrgb = 1U << 20;

constexpr std::uint32_t word_of(unsigned number, std::uint32_t order = kOrderRgba) {
    return number << 12 | order;
}

PixelFormat format_of(unsigned number, std::uint32_t order = kOrderRgba) {
    const auto format = PixelFormat::from_word(word_of(number, order));
    EXPECT_TRUE(format.has_value()) << number;
    return *format;
}

template <typename Number>
Texel decoded(const PixelFormat& format, Number raw) {
    std::array<std::byte, 16> bytes{};
    std::memcpy(bytes.data(), &raw, sizeof raw);
    return format.decode(bytes.data());
}

std::uint32_t encoded(const PixelFormat& format, const Texel& texel) {
    std::array<std::byte, 16> bytes{};
    format.encode(texel, bytes.data());
    std::uint32_t raw = 0;
    std::memcpy(&raw, bytes.data(), sizeof raw);
    return raw;
}

/// What a half is, by its definition.
double half_value(unsigned half) {
    const double sign = (half & 0x8000) != 0 ? -1 : 1;
    const int exponent = static_cast<int>(half >> 10 & 31);
    const double fraction = (half & 0x3ff) / 1024.0;
    if (exponent == 31) return fraction != 0 ? NAN : sign * INFINITY;
    return sign * (exponent == 0 ? fraction * std::pow(2, -14) : (1 + fraction) * std::pow(2, exponent - 15));
}

// The rule that numbers follow, written down once more.
struct Numbered {
    unsigned number, channels, bits;
};
std::vector<Numbered> regular_numbers() {
    std::vector<Numbered> all;
    for (const unsigned type : {3U, 4U, 5U, 6U})
        for (unsigned channels = 1; channels <= 4; ++channels)
            for (unsigned size = 1; size <= 5; ++size)
                all.push_back({(type * 32) + ((channels - 1) * 8) + size, channels, 1U << size});
    return all;
}

TEST(TextureFormat, NumbersOutsideTheTableAreNoFormats) {
    for (unsigned number :
         {0U, 1U, 31U, 32U, 55U, 63U, 79U, 80U, 85U, 94U, 96U, 103U, 128U, 135U, 166U, 230U, 240U})
        EXPECT_FALSE(PixelFormat::from_word(word_of(number)).has_value()) << number;
    EXPECT_FALSE(PixelFormat::from_word(word_of(187, 1)).has_value());
    EXPECT_FALSE(PixelFormat::from_word(word_of(187, 240)).has_value());
    EXPECT_FALSE(PixelFormat::from_word(word_of(187, 256)).has_value());
    EXPECT_FALSE(PixelFormat::from_word(word_of(187) | 1U << 21).has_value());
    EXPECT_TRUE(PixelFormat::from_word(word_of(187)).has_value());
}

TEST(TextureFormat, SizesFollowFromNumbers) {
    for (const auto& [number, channels, bits] : regular_numbers())
        EXPECT_EQ(format_of(number).bytes(), (channels * bits + 7) / 8) << number;
    EXPECT_EQ(format_of(187).bytes(), 4U);
    EXPECT_EQ(format_of(191).bytes(), 16U);
    EXPECT_EQ(format_of(223).bytes(), 8U);
    EXPECT_EQ(format_of(93).bytes(), 1U);
    EXPECT_EQ(format_of(95).bytes(), 0U);
}

TEST(TextureFormat, UnormIsCorrectlyRounded) {
    for (unsigned raw = 0; raw < 256; ++raw)
        EXPECT_EQ(as_float(decoded(format_of(163), raw)[0]), static_cast<float>(raw / 255.0));
    for (unsigned raw = 0; raw < 65536; ++raw)
        ASSERT_EQ(as_float(decoded(format_of(164), raw)[0]), static_cast<float>(raw / 65535.0));
}

TEST(TextureFormat, SnormIsCorrectlyRoundedAndNeverBelowMinusOne) {
    for (int raw = -128; raw < 128; ++raw)
        EXPECT_EQ(as_float(decoded(format_of(99), static_cast<std::int8_t>(raw))[0]),
                  static_cast<float>(std::max(raw / 127.0, -1.0)));
    for (int raw = -32768; raw < 32768; ++raw)
        ASSERT_EQ(as_float(decoded(format_of(100), static_cast<std::int16_t>(raw))[0]),
                  static_cast<float>(std::max(raw / 32767.0, -1.0)));
}

TEST(TextureFormat, HalvesAreWhatTheyAre) {
    for (unsigned raw = 0; raw < 65536; ++raw) {
        const float value = as_float(decoded(format_of(199), raw)[0]);
        const double expected = half_value(raw);
        if (std::isnan(expected)) {
            ASSERT_TRUE(std::isnan(value)) << raw;
        } else {
            ASSERT_EQ(as_bits(value), as_bits(static_cast<float>(expected))) << raw;
        }
    }
}

TEST(TextureFormat, SmallFloatsAreHalvesWithoutSignAndLastBits) {
    for (unsigned raw = 0; raw < 2048; ++raw) {
        const double expected = half_value(raw << 4);
        const float value = as_float(decoded(format_of(89), raw)[0]);
        if (std::isnan(expected)) {
            EXPECT_TRUE(std::isnan(value));
        } else {
            EXPECT_EQ(value, expected);
        }
    }
    for (unsigned raw = 0; raw < 1024; ++raw) {
        const double expected = half_value(raw << 5);
        const float value = as_float(decoded(format_of(89), raw << 22)[2]);
        const float reversed = as_float(decoded(format_of(90), raw)[0]);
        if (std::isnan(expected)) {
            EXPECT_TRUE(std::isnan(value));
        } else {
            EXPECT_EQ(value, expected);
            EXPECT_EQ(reversed, expected);
        }
    }
}

TEST(TextureFormat, FloatsBecomeTheNearestHalfTiesToEven) {
    Random random(1);
    const auto check = [](float value) {
        const unsigned half = float_to_half(value);
        const double exact = value;
        if (std::abs(exact) >= 65520) {
            ASSERT_EQ(half & 0x7fff, 0x7c00U);
            return;
        }
        const double got = half_value(half);
        const unsigned magnitude = half & 0x7fff;
        const double below = magnitude == 0 ? got : half_value((half & 0x8000) | (magnitude - 1));
        const double above =
            magnitude == 0x7bff ? std::copysign(65536, exact) : half_value((half & 0x8000) | (magnitude + 1));
        const double error = std::abs(got - exact);
        ASSERT_LE(error, std::abs(below - exact) + (magnitude == 0 ? 1 : 0)) << value;
        ASSERT_LE(error, std::abs(above - exact)) << value;
        if (error == std::abs(above - exact) || (magnitude != 0 && error == std::abs(below - exact))) {
            ASSERT_EQ(half & 1, 0U) << value;
        }
        ASSERT_EQ(half >> 15, as_bits(value) >> 31);
    };
    for (unsigned i = 0; i < 200000; ++i) {
        const float value = as_float(random());
        if (!std::isnan(value)) check(value);
        check(std::ldexp(static_cast<float>(random() % 8192) - 4096, static_cast<int>(random() % 40) - 36));
    }
    for (unsigned half = 0; half < 0x7c00; ++half) {
        EXPECT_EQ(float_to_half(static_cast<float>(half_value(half))), half);
        check(static_cast<float>((half_value(half) + half_value(half + 1)) / 2));
    }
    EXPECT_EQ(float_to_half(NAN) & 0x7fff, 0x7e00U);
}

TEST(TextureFormat, FloatsBecomeSmallFloatsThatStayFiniteAndUnsigned) {
    const PixelFormat format = format_of(89);
    const auto red = [&format](float value) { return encoded(format, {as_bits(value)}) & 0x7ffU; };
    EXPECT_EQ(red(65024), 0x7bfU);
    EXPECT_EQ(red(1e9F), 0x7bfU);
    EXPECT_EQ(red(INFINITY), 0x7c0U);
    EXPECT_EQ(red(-1), 0U);
    EXPECT_EQ(red(-INFINITY), 0U);
    EXPECT_GT(red(NAN), 0x7c0U);
    EXPECT_EQ(red(1.0F + 1 / 128.0F), red(1.0F));  // a tie
    EXPECT_EQ(red(1.0F + 3 / 128.0F), red(1.0F + 2 / 64.0F));
}

TEST(TextureFormat, SharedExponentsKeepEveryValueThatTheyCanHold) {
    Random random(2);
    for (const unsigned number : {91U, 92U}) {
        const PixelFormat format = format_of(number);
        for (unsigned i = 0; i < 20000; ++i) {
            const std::uint32_t raw = random();
            const std::array<std::uint32_t, 3> fraction =
                number == 91 ? std::array{raw & 511, raw >> 9 & 511, raw >> 18 & 511}
                             : std::array{raw >> 5 & 511, raw >> 14 & 511, raw >> 23};
            const std::uint32_t exponent = number == 91 ? raw >> 27 : raw & 31;
            const Texel texel = decoded(format, raw);
            for (unsigned c = 0; c < 3; ++c)
                ASSERT_EQ(as_float(texel[c]), fraction[c] * std::pow(2.0, static_cast<int>(exponent) - 24));
            ASSERT_EQ(decoded(format, encoded(format, texel)), texel);
        }
    }
    const PixelFormat format = format_of(91);
    const Texel most = decoded(format, encoded(format, {as_bits(1e10F), as_bits(-1.0F), as_bits(NAN), 0}));
    EXPECT_EQ(as_float(most[0]), 65408.0F);
    EXPECT_EQ(as_float(most[1]), 0.0F);
    EXPECT_EQ(as_float(most[2]), 0.0F);
}

TEST(TextureFormat, SrgbFollowsItsFormulaAndLeavesAlphaAlone) {
    const auto format = *PixelFormat::from_word(word_of(187) | kSrgb);
    for (unsigned raw = 0; raw < 256; ++raw) {
        const double coded = raw / 255.0;
        const double linear = coded <= 0.04045 ? coded / 12.92 : std::pow((coded + 0.055) / 1.055, 2.4);
        const Texel texel = decoded(format, raw * 0x01010101U);
        for (unsigned c = 0; c < 3; ++c) EXPECT_NEAR(as_float(texel[c]), linear, 1e-6);
        EXPECT_EQ(as_float(texel[3]), static_cast<float>(coded));
        EXPECT_EQ(encoded(format, texel), raw * 0x01010101U);
    }
    auto plain = format;
    plain.ignore_srgb();
    EXPECT_EQ(decoded(plain, 0x80808080U), decoded(format_of(187), 0x80808080U));
}

TEST(TextureFormat, EncodingUndoesDecodingOfEveryByteAndHalfword) {
    for (unsigned number = 64; number < 256; ++number) {
        const auto format = PixelFormat::from_word(word_of(number));
        if (!format || format->bytes() == 0 || format->bytes() > 2) continue;
        const Layout& layout = layout_of(number);
        std::uint32_t used = 0;
        for (const auto& [first, bits] : layout.field) used |= bits == 0 ? 0 : low_bits(bits) << first;
        // A format of one channel cannot tell what the others were; its order says where the channel goes.
        const auto ordered =
            layout.channels == 1 ? PixelFormat::from_word(word_of(number, kOrderRgbOne)) : format;
        for (std::uint32_t raw = 0; raw < 1U << (8 * format->bytes()); ++raw) {
            const Texel texel = decoded(*ordered, raw);
            const std::uint32_t again = encoded(*ordered, texel);
            if (again == (raw & used)) continue;
            // What has two codes: the lowest of SNORM, and NaN.
            ASSERT_TRUE(format->kind() == Kind::floating) << number << " " << raw;
            ASSERT_TRUE(layout.encoding == Encoding::snorm || layout.encoding == Encoding::floating)
                << number << " " << raw;
            const Texel twice = decoded(*ordered, again);
            for (unsigned c = 0; c < 4; ++c)
                ASSERT_TRUE(texel[c] == twice[c] || std::isnan(as_float(texel[c]))) << number << " " << raw;
        }
    }
}

TEST(TextureFormat, EncodingUndoesDecodingOfRandomTexels) {
    Random random(3);
    for (unsigned number = 64; number < 256; ++number) {
        const auto format = PixelFormat::from_word(word_of(number));
        if (!format || format->bytes() < 3) continue;
        for (unsigned i = 0; i < 2000; ++i) {
            std::array<std::uint32_t, 4> raw{random(), random(), random(), random()};
            std::array<std::byte, 16> bytes{};
            std::memcpy(bytes.data(), raw.data(), sizeof raw);
            const Texel texel = format->decode(bytes.data());
            std::array<std::byte, 16> again{};
            format->encode(texel, again.data());
            const Texel twice = format->decode(again.data());
            for (unsigned c = 0; c < 4; ++c) {
                if (format->kind() == Kind::floating && std::isnan(as_float(texel[c]))) continue;
                ASSERT_EQ(texel[c], twice[c]) << number << " channel " << c;
            }
            for (unsigned b = format->bytes(); b < 16; ++b) ASSERT_EQ(again[b], std::byte{0}) << number;
        }
    }
}

TEST(TextureFormat, StoringUnormRoundsToTheNearestAndClamps) {
    Random random(4);
    std::uniform_real_distribution<float> around(-0.2F, 1.2F);
    for (const auto& [number, bits] :
         {std::pair{163U, 8U}, {164U, 16U}, {165U, 32U}, {162U, 4U}, {161U, 2U}}) {
        const PixelFormat format = format_of(number);
        const double scale = std::pow(2.0, bits) - 1;
        for (unsigned i = 0; i < 20000; ++i) {
            const float value = around(random);
            const double exact = std::clamp(static_cast<double>(value), 0.0, 1.0) * scale;
            ASSERT_LE(std::abs(encoded(format, {as_bits(value)}) - exact), 0.5) << value;
        }
        EXPECT_EQ(encoded(format, {as_bits(NAN)}), 0U);
        EXPECT_EQ(encoded(format, {as_bits(INFINITY)}), low_bits(bits));
    }
    // Ties: 0.5 of 255 lies between 127 and 128.
    EXPECT_EQ(encoded(format_of(163), {as_bits(0.5F)}), 128U);
    const PixelFormat snorm = format_of(99);
    EXPECT_EQ(encoded(snorm, {as_bits(-1.0F)}), 0x81U);
    EXPECT_EQ(encoded(snorm, {as_bits(-7.0F)}), 0x81U);
    EXPECT_EQ(encoded(snorm, {as_bits(NAN)}), 0U);
    EXPECT_EQ(encoded(snorm, {as_bits(-1.4F / 127)}), 0xffU);
    EXPECT_EQ(encoded(snorm, {as_bits(-1.6F / 127)}), 0xfeU);
}

TEST(TextureFormat, NarrowIntegersKeepTheLowBits) {
    EXPECT_EQ(encoded(format_of(155), {0x12345678, 1, 2, 3}), 0x03020178U);
    EXPECT_EQ(encoded(format_of(219), {~0U, 1, 2, 3}), 0x030201ffU);
    EXPECT_EQ(encoded(format_of(71), {0x7ff, 0, 0, 5}), 0x400003ffU);
    EXPECT_EQ(decoded(format_of(219), 0x807f00ffU), (Texel{~0U, 0, 127, static_cast<std::uint32_t>(-128)}));
    EXPECT_EQ(decoded(format_of(155), 0x807f00ffU), (Texel{255, 0, 127, 128}));
}

TEST(TextureFormat, VulkanFormatsReadAsVulkanSays) {
    const auto check = [](std::uint32_t word, std::uint32_t raw, std::array<double, 4> expected) {
        const Texel texel = decoded(*PixelFormat::from_word(word), raw);
        for (unsigned c = 0; c < 4; ++c)
            EXPECT_EQ(as_float(texel[c]), static_cast<float>(expected[c])) << word;
    };
    check(word_of(187, 4), 0x04030201, {3 / 255.0, 2 / 255.0, 1 / 255.0, 4 / 255.0});   // B8G8R8A8
    check(word_of(64, 20), 0xf841, {1, 2 / 63.0, 1 / 31.0, 1});                         // R5G6B5_PACK16
    check(word_of(65, 4), 0x8000 | 31 << 10 | 2 << 5 | 1, {1, 2 / 31.0, 1 / 31.0, 1});  // A1R5G5B5_PACK16
    check(word_of(66, 12), 31 << 11 | 2 << 6 | 1 << 1, {1, 2 / 31.0, 1 / 31.0, 0});     // R5G5B5A1_PACK16
    check(word_of(67), 3U << 30 | 1023, {1, 0, 0, 1});                                  // A2B10G10R10_PACK32
    check(word_of(187, 229), 0x80000000, {0, 0, 0, 128 / 255.0});                       // A8
    check(word_of(163, 16), 0xff, {1, 0, 0, 1});                                        // R8
    check(word_of(163, 227), 0xff, {1, 1, 1, 1});                                       // luminance
    check(word_of(171, 228), 0x00ff, {1, 1, 1, 0});                                     // luminance and alpha
    check(word_of(75), 0xffff, {1, 0, 0, 1});                                           // D16
    check(word_of(77), 0xffffffff, {1, 0, 0, 1});                                       // D24
    check(word_of(78), 0x000000ff, {0, 0, 0, 1});
    check(word_of(81), 0xffff8000, {-0.5, 0, 0, 1});                                             // 16.16
    EXPECT_EQ(decoded(*PixelFormat::from_word(word_of(93, 2)), 0xa5U), (Texel{0xa5, 0, 0, 1}));  // S8
    EXPECT_EQ(decoded(format_of(95, 231), 0U), (Texel{0, 0, 0, 0}));
    EXPECT_EQ(decoded(*PixelFormat::from_word(word_of(131, 16)), 7U), (Texel{7, 0, 0, 1}));
}

TEST(TextureFormat, RegistersOfAnotherKindAreConvertedWithoutNormalising) {
    using enum RegisterFormat;
    EXPECT_EQ(as_float(to_register(Kind::uint, f32, 200)), 200.0F);
    EXPECT_EQ(as_float(to_register(Kind::sint, f32, static_cast<std::uint32_t>(-3))), -3.0F);
    EXPECT_EQ(to_register(Kind::uint, f16, 2), 0x4000U);
    EXPECT_EQ(to_register(Kind::floating, f16, as_bits(1.0F)), 0x3c00U);
    EXPECT_EQ(to_register(Kind::floating, s32, as_bits(-2.7F)), static_cast<std::uint32_t>(-2));
    EXPECT_EQ(to_register(Kind::floating, u32, as_bits(-2.7F)), 0U);
    EXPECT_EQ(to_register(Kind::floating, u32, as_bits(1e20F)), ~0U);
    EXPECT_EQ(to_register(Kind::sint, s16, static_cast<std::uint32_t>(-1)), 0xffffU);
    EXPECT_EQ(to_register(Kind::floating, automatic, as_bits(0.25F)), as_bits(0.25F));

    EXPECT_EQ(from_register(Kind::floating, f16, 0xabcd3c00), as_bits(1.0F));
    EXPECT_EQ(from_register(Kind::uint, f32, as_bits(7.9F)), 7U);
    EXPECT_EQ(from_register(Kind::sint, f32, as_bits(-7.9F)), static_cast<std::uint32_t>(-7));
    EXPECT_EQ(from_register(Kind::sint, s16, 0xffff), ~0U);
    EXPECT_EQ(from_register(Kind::uint, u16, 0xabcdffff), 0xffffU);
    EXPECT_EQ(from_register(Kind::floating, s16, 0xffff), as_bits(-1.0F));
    EXPECT_EQ(from_register(Kind::uint, s32, 5), 5U);
    EXPECT_EQ(from_register(Kind::floating, automatic, as_bits(0.25F)), as_bits(0.25F));
    for (const Kind kind : {Kind::floating, Kind::sint, Kind::uint})
        for (unsigned half = 0; half < 0x7c00; ++half) {
            const RegisterFormat format = kind == Kind::floating ? f16 : s16;
            ASSERT_EQ(to_register(kind, format, from_register(kind, format, half)), half);
        }
}

}  // namespace
}  // namespace belfry::gpu::texture
