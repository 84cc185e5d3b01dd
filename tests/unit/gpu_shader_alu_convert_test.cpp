// Conversions between integers and floats, and what changes only the form of a float.
#include <fmt/format.h>

#include "gpu_shader_alu_numbers.hpp"

namespace belfry::gpu::shader {
namespace {

const std::vector<Values> kFloatValues = mixed(kFloats, 20000);
const std::vector<Values> kIntegerValues = mixed(kIntegers, 20000);
const std::vector<Values> kAllHalves = all_halves();

float whole(float value, unsigned round) {
    return round == 0   ? rounded(FE_TONEAREST, [&] { return std::nearbyint(value); })
           : round == 1 ? std::ceil(value)
           : round == 2 ? std::floor(value)
                        : std::trunc(value);
}
std::int64_t integer(float value, unsigned round, std::int64_t least, std::int64_t most) {
    const float number = whole(value, round);
    if (std::isnan(number)) return 0;
    if (number <= static_cast<float>(least)) return least;
    if (number >= static_cast<float>(most)) return most;
    return static_cast<std::int64_t>(number);
}
std::uint32_t s32(float value, unsigned round) {
    return static_cast<std::uint32_t>(integer(value, round, INT32_MIN, INT32_MAX));
}
std::uint32_t u32(float value, unsigned round) {
    return static_cast<std::uint32_t>(integer(value, round, 0, UINT32_MAX));
}
std::uint32_t s16(float value, unsigned round) {
    return static_cast<std::uint32_t>(integer(value, round, INT16_MIN, INT16_MAX)) & 0xffff;
}
std::uint32_t u16(float value, unsigned round) {
    return static_cast<std::uint32_t>(integer(value, round, 0, UINT16_MAX));
}

TEST(ShaderAluConvert, FloatsBecomeWholeNumbers) {
    for (unsigned round = 0; round < 4; ++round) {
        expect_values(
            fmt::format("FROUND.f32{} r8, r0", kRoundNames[round]),
            [&](const Values& in) { return as_word(whole(as_float(in[0]), round)); }, kFloatValues);
        expect_values(
            fmt::format("FROUND.f32{} r8, r0.neg.h1", kRoundNames[round]),
            [&](const Values& in) { return as_word(whole(-half_value(in[0] >> 16), round)); }, kAllHalves);
        expect_values(
            fmt::format("FROUND.v2f16{} r8, r0", kRoundNames[round]),
            both_halves([&](auto a, auto, auto) { return float_to_half(whole(half_value(a), round), 0); }),
            kAllHalves);
        expect_values(
            fmt::format("F32_TO_S32{} r8, r0", kRoundNames[round]),
            [&](const Values& in) { return s32(as_float(in[0]), round); }, kFloatValues);
        expect_values(
            fmt::format("F32_TO_U32{} r8, r0", kRoundNames[round]),
            [&](const Values& in) { return u32(as_float(in[0]), round); }, kFloatValues);
        expect_values(
            fmt::format("F32_TO_U32{} r8, r0.neg.abs", kRoundNames[round]),
            [&](const Values& in) { return u32(-std::fabs(as_float(in[0])), round); }, kFloatValues);
        for (const unsigned half : {0U, 1U}) {
            const auto value = [half](const Values& in) { return half_value(in[0] >> (16 * half) & 0xffff); };
            const std::string text = fmt::format("{} r8, r0.h{}{}", kRoundNames[round], half, half);
            expect_values(
                "F16_TO_S32" + text, [&](const Values& in) { return s32(value(in), round); }, kAllHalves);
            expect_values(
                "F16_TO_U32" + text, [&](const Values& in) { return u32(value(in), round); }, kAllHalves);
        }
        expect_values(fmt::format("V2F16_TO_V2S16{} r8, r0", kRoundNames[round]),
                      both_halves([&](auto a, auto, auto) { return s16(half_value(a), round); }), kAllHalves);
        expect_values(fmt::format("V2F16_TO_V2U16{} r8, r0", kRoundNames[round]),
                      both_halves([&](auto a, auto, auto) { return u16(half_value(a), round); }), kAllHalves);
    }
}

TEST(ShaderAluConvert, AHalfWrittenResultHasTheLowBits) {
    const Instruction instruction("F32_TO_S32.rtz r8.h0, r0");
    Registers registers{};
    registers[0].word.fill(as_word(-3.7F));
    registers[8].word.fill(0x12345678);
    ASSERT_NO_FATAL_FAILURE(instruction.run(registers));
    EXPECT_EQ(registers[8][5], 0x1234fffdU);
}

TEST(ShaderAluConvert, IntegersBecomeFloats) {
    for (unsigned round = 0; round < 4; ++round) {
        expect_values(
            fmt::format("S32_TO_F32{} r8, r0", kRoundNames[round]),
            [&](const Values& in) {
                const auto value = static_cast<std::int32_t>(in[0]);
                return as_word(rounded(kHostRounds[round], [&] { return static_cast<float>(value); }));
            },
            kIntegerValues);
        expect_values(
            fmt::format("U32_TO_F32{} r8, r0", kRoundNames[round]),
            [&](const Values& in) {
                // Long enough a float that its rounding is the last one.
                const double value = in[0];
                return as_word(rounded(kHostRounds[round], [&] { return static_cast<float>(value); }));
            },
            kIntegerValues);
        expect_values(fmt::format("V2S16_TO_V2F16{} r8, r0", kRoundNames[round]),
                      both_halves([&](auto a, auto, auto) {
                          return float_to_half(static_cast<float>(static_cast<std::int16_t>(a)), round);
                      }),
                      kAllHalves);
        expect_values(
            fmt::format("V2U16_TO_V2F16{} r8, r0", kRoundNames[round]),
            both_halves([&](auto a, auto, auto) { return float_to_half(static_cast<float>(a), round); }),
            kAllHalves);
    }
    expect_values(
        "V2U16_TO_V2F16 r8, r0.b31",
        [](const Values& in) {
            return float_to_half(static_cast<float>(in[0] >> 24), 0) |
                   float_to_half(static_cast<float>(in[0] >> 8 & 0xff), 0) << 16;
        },
        kIntegerValues);
    expect_values(
        "S32_TO_F32 r8, r0.b2",
        [](const Values& in) { return as_word(static_cast<std::int8_t>(in[0] >> 16)); }, kIntegerValues);
}

TEST(ShaderAluConvert, PartsOfRegistersAreExtended) {
    for (unsigned part = 0; part < 4; ++part) {
        const auto byte = [part](const Values& in) { return in[0] >> (8 * part) & 0xff; };
        const auto signed_byte = [=](const Values& in) { return static_cast<std::int8_t>(byte(in)); };
        const auto text = [part](std::string_view name) { return fmt::format("{} r8, r0.b{}", name, part); };
        expect_values(text("U8_TO_U32"), byte, kIntegerValues);
        expect_values(
            text("S8_TO_S32"), [&](const Values& in) { return static_cast<std::uint32_t>(signed_byte(in)); },
            kIntegerValues);
        expect_values(
            text("U8_TO_F32"), [&](const Values& in) { return as_word(static_cast<float>(byte(in))); },
            kIntegerValues);
        expect_values(
            text("S8_TO_F32"), [&](const Values& in) { return as_word(signed_byte(in)); }, kIntegerValues);
    }
    for (const unsigned part : {0U, 1U}) {
        const auto half = [part](const Values& in) { return in[0] >> (16 * part) & 0xffff; };
        const auto signed_half = [=](const Values& in) { return static_cast<std::int16_t>(half(in)); };
        const auto text = [part](std::string_view name) {
            return fmt::format("{} r8, r0.h{}{}", name, part, part);
        };
        expect_values(text("U16_TO_U32"), half, kIntegerValues);
        expect_values(
            text("S16_TO_S32"), [&](const Values& in) { return static_cast<std::uint32_t>(signed_half(in)); },
            kIntegerValues);
        expect_values(
            text("U16_TO_F32"), [&](const Values& in) { return as_word(static_cast<float>(half(in))); },
            kIntegerValues);
        expect_values(
            text("S16_TO_F32"), [&](const Values& in) { return as_word(signed_half(in)); }, kIntegerValues);
    }
    for (unsigned low = 0; low < 4; ++low)
        for (unsigned high = 0; high < 4; ++high) {
            const auto pair = [&](const Values& in, auto f) {
                return (f(in[0] >> (8 * low) & 0xff) & 0xffff) | f(in[0] >> (8 * high) & 0xff) << 16;
            };
            const auto text = [&](std::string_view name) {
                return fmt::format("{} r8, r0.b{}{}", name, low, high);
            };
            const auto extended = [](std::uint32_t byte) {
                return static_cast<std::uint32_t>(static_cast<std::int8_t>(byte));
            };
            const std::vector<Values> values = mixed(kIntegers, 1000);
            expect_values(
                text("V2U8_TO_V2U16"), [&](const Values& in) { return pair(in, [](auto b) { return b; }); },
                values);
            expect_values(
                text("V2S8_TO_V2S16"), [&](const Values& in) { return pair(in, extended); }, values);
            expect_values(
                text("V2U8_TO_V2F16"),
                [&](const Values& in) {
                    return pair(in, [](auto b) { return float_to_half(static_cast<float>(b), 0); });
                },
                values);
            expect_values(
                text("V2S8_TO_V2F16"),
                [&](const Values& in) {
                    return pair(in, [](auto b) { return float_to_half(static_cast<std::int8_t>(b), 0); });
                },
                values);
        }
}

TEST(ShaderAluConvert, HalvesBecomeFloatsExactly) {
    for (const unsigned half : {0U, 1U}) {
        const auto value = [half](const Values& in) { return half_value(in[0] >> (16 * half) & 0xffff); };
        expect_values(
            fmt::format("F16_TO_F32 r8, r0.h{}", half), [&](const Values& in) { return as_word(value(in)); },
            kAllHalves);
        expect_values(
            fmt::format("F16_TO_F32 r8, r0.neg.abs.h{}", half),
            [&](const Values& in) { return as_word(-std::fabs(value(in))); }, kAllHalves);
    }
}

TEST(ShaderAluConvert, FloatsBecomeHalvesRoundedOnce) {
    // Near halves and their middles, too.
    std::vector<Values> values = kFloatValues;
    Random random(6);
    for (unsigned i = 0; i < 20000; ++i) {
        const std::uint32_t near =
            as_word(half_value(random() & 0xffff)) + (random() % 3 << 12) + random() % 3 - 1;
        values.push_back({near, random() % 2 != 0 ? near ^ 0x80000000 : random(), 0, 0});
    }
    for (unsigned round = 0; round < 4; ++round)
        for (unsigned clamp = 0; clamp < 4; ++clamp)
            expect_values(
                fmt::format("V2F32_TO_V2F16{}{} r8, r0, r1.neg", kClampNames[clamp], kRoundNames[round]),
                [&](const Values& in) {
                    const auto half = [&](float value) {
                        const std::uint32_t rounded = float_to_half(value, round);
                        return float_to_half(clamped_as(clamp, half_value(rounded)), 0);
                    };
                    return half(as_float(in[0])) | half(-as_float(in[1])) << 16;
                },
                clamp == 0 ? values : kFloatValues);
}

TEST(ShaderAluConvert, FlushTakesOutWhatItIsAskedTo) {
    for (unsigned modifiers = 0; modifiers < 12; ++modifiers) {
        const unsigned nan_mode = modifiers % 3;
        const bool ftz = (modifiers / 3 & 1) != 0;
        const bool infinity = modifiers >= 6;
        const auto formula = [&](std::uint32_t word, std::uint32_t exponent, std::uint32_t sign) {
            const std::uint32_t magnitude = word & (sign - 1);
            const std::uint32_t lowest = exponent & ~(exponent - 1);
            if (magnitude > exponent) return nan_mode == 0 ? word : nan_mode == 1 ? 0 : word | lowest >> 1;
            if (magnitude == exponent) return infinity ? word - 1 : word;
            return ftz && (word & exponent) == 0 ? word & sign : word;
        };
        const std::string text =
            fmt::format("{}{}{}", std::array{".none", ".flush_nan", ".quiet_nan"}[nan_mode],
                        ftz ? ".ftz" : "", infinity ? ".flush_inf" : "");
        expect_values(
            fmt::format("FLUSH.f32{} r8, r0", text),
            [&](const Values& in) { return formula(in[0], 0x7f800000, 0x80000000); }, kFloatValues);
        expect_values(fmt::format("FLUSH.v2f16{} r8, r0", text),
                      both_halves([&](auto a, auto, auto) { return formula(a, 0x7c00, 0x8000); }),
                      kAllHalves);
    }
}

}  // namespace
}  // namespace belfry::gpu::shader
