// Exponents, and the pieces of transcendental functions: each piece, and the sequences that Mesa makes of
// them.
#include <numbers>

#include <fmt/format.h>

#include "gpu_shader_alu_numbers.hpp"

namespace belfry::gpu::shader {
namespace {

const std::vector<Values> kFloatValues = mixed(kFloats, 20000);
const std::vector<Values> kAllHalves = all_halves();

/// The float nearest to `exact`; there is no rounding to a format between.
std::uint32_t nearest(long double exact) { return as_word(static_cast<float>(exact)); }

/// Expects results within `ulps` of the exact value, half a one being what rounding alone costs.
void expect_near(std::string_view text, const std::function<long double(const Values&)>& exact, double ulps,
                 const std::vector<Values>& values) {
    const Instruction instruction(text);
    Registers registers{};
    for (const Values& in : values) {
        for (unsigned source = 0; source < 4; ++source) registers[source].word.fill(in[source]);
        ASSERT_NO_FATAL_FAILURE(instruction.run(registers));
        const float got = as_float(registers[8][7]);
        const long double expected = exact(in);
        if (!std::isfinite(static_cast<float>(expected))) {
            ASSERT_EQ(as_word(got), nearest(expected))
                << text << std::hex << " of 0x" << in[0] << ", 0x" << in[1];
            continue;
        }
        const int exponent = std::max(std::ilogb(static_cast<float>(expected)), -126);
        const long double ulp = std::ldexp(1.0L, exponent - 23);
        ASSERT_LE(std::fabs(got - expected) / ulp, ulps)
            << text << std::hex << " of 0x" << in[0] << ", 0x" << in[1];
    }
}

TEST(ShaderAluSpecial, ReciprocalsAreRoundedOnce) {
    expect_values(
        "FRCP.f32 r8, r0", [](const Values& in) { return nearest(1.0L / as_float(in[0])); }, kFloatValues);
    expect_values(
        "FRSQ.f32 r8, r0",
        [](const Values& in) { return nearest(1.0L / std::sqrt(static_cast<long double>(as_float(in[0])))); },
        kFloatValues);
    expect_values(
        "FRSQ.f32 r8, r0.abs.h1",
        [](const Values& in) {
            return nearest(1.0L / std::sqrt(static_cast<long double>(std::fabs(half_value(in[0] >> 16)))));
        },
        kAllHalves);
}

TEST(ShaderAluSpecial, ReciprocalsOfHalvesAreInBothHalves) {
    for (const unsigned half : {0U, 1U}) {
        const auto value = [half](const Values& in) { return half_value(in[0] >> (16 * half) & 0xffff); };
        // A double is more than twice as long as a half: rounding it is rounding once.
        expect_values(
            fmt::format("FRCP.f16 r8, r0.h{}{}", half, half),
            [&](const Values& in) { return float_to_half(1.0F / value(in), 0) * 0x10001; }, kAllHalves);
        expect_values(
            fmt::format("FRSQ.f16 r8, r0.h{}{}", half, half),
            [&](const Values& in) {
                const double exact = 1.0 / std::sqrt(static_cast<double>(value(in)));
                return float_to_half(static_cast<float>(exact), 0) * 0x10001;
            },
            kAllHalves);
    }
}

TEST(ShaderAluSpecial, MantissaTimesPowerIsTheNumber) {
    struct Form {
        std::string_view text;
        float least;  // of mantissas
        float end;
        int digits;  // of the base
    };
    for (const Form& form :
         {Form{"", 0.5F, 1.0F, 1}, Form{".sqrt", 0.25F, 1.0F, 2}, Form{".log", 0.75F, 1.5F, 1}}) {
        const auto exponent = [&](float value) {
            if (value == 0 || !std::isfinite(value)) return 0;
            int k = -200;
            while (!(std::fabs(std::ldexp(value, -form.digits * k)) < form.end)) ++k;
            return k;
        };
        const auto mantissa = [&](float value) { return std::ldexp(value, -form.digits * exponent(value)); };
        expect_values(
            fmt::format("FREXPE.f32{} r8, r0", form.text),
            [&](const Values& in) { return static_cast<std::uint32_t>(exponent(as_float(in[0]))); },
            mixed(kFloats, 3000));
        expect_values(
            fmt::format("FREXPM.f32{} r8, r0", form.text),
            [&](const Values& in) {
                const float value = as_float(in[0]);
                if (value == 0 || !std::isfinite(value)) return in[0];
                EXPECT_GE(std::fabs(mantissa(value)), form.least);
                return as_word(mantissa(value));
            },
            mixed(kFloats, 3000));
        expect_values(fmt::format("FREXPE.v2f16{} r8, r0", form.text), both_halves([&](auto a, auto, auto) {
                          return static_cast<std::uint32_t>(exponent(half_value(a))) & 0xffff;
                      }),
                      mixed(kHalves, 2000));
        expect_values(fmt::format("FREXPM.v2f16{} r8, r0", form.text), both_halves([&](auto a, auto, auto) {
                          return float_to_half(mantissa(half_value(a)), 0);
                      }),
                      mixed(kHalves, 2000));
    }
}

TEST(ShaderAluSpecial, LdexpRoundsOnceAndMayGoFar) {
    Random random(7);
    std::vector<Values> values = mixed(kFloats, 5000);
    for (Values& value : values)
        value[1] = random() % 4 == 0 ? kIntegers[random() % kIntegers.size()] : random() % 600 - 300;
    for (unsigned round = 0; round < 4; ++round) {
        expect_values(
            fmt::format("LDEXP.f32{} r8, r0, r1", kRoundNames[round]),
            [&](const Values& in) {
                // Exact as double if the float is not infinite or nothing anyway.
                const int power = std::clamp(static_cast<std::int32_t>(in[1]), -500, 500);
                const double exact = std::ldexp(static_cast<double>(as_float(in[0])), power);
                return as_word(rounded(kHostRounds[round], [&] { return static_cast<float>(exact); }));
            },
            values);
        expect_values(
            fmt::format("LDEXP.v2f16{} r8, r0, r1", kRoundNames[round]),
            [&](const Values& in) {
                std::uint32_t word = 0;
                for (const unsigned shift : {0U, 16U}) {
                    const int power = std::clamp<int>(static_cast<std::int16_t>(in[1] >> shift), -70, 70);
                    word |= float_to_half(std::ldexp(half_value(in[0] >> shift & 0xffff), power), round)
                            << shift;
                }
                return word;
            },
            values);
    }
}

TEST(ShaderAluSpecial, FmaRscaleScalesBeforeItRounds) {
    // Sources with 12 digits and a like exponent, so that a double holds the sum.
    Random random(8);
    std::vector<Values> values;
    for (unsigned i = 0; i < 20000; ++i) {
        const auto number = [&] { return (random() & 0x80fff000) | (0x3c + random() % 8) << 24; };
        values.push_back({number(), number(), number(), random() % 400 - 200});
    }
    const auto exact = [](const Values& in) {
        return static_cast<double>(as_float(in[0])) * static_cast<double>(as_float(in[1])) +
               static_cast<double>(as_float(in[2]));
    };
    for (unsigned clamp = 0; clamp < 4; ++clamp) {
        const auto formula = [&](const Values& in) {
            return as_word(clamped_as(
                clamp, static_cast<float>(std::ldexp(exact(in), static_cast<std::int32_t>(in[3])))));
        };
        for (const std::string_view name : {"FMA_RSCALE.f32", "FMA_RSCALE_N.f32", "FMA_RSCALE_LEFT.f32"})
            expect_values(fmt::format("{}{} r8, r0, r1, r2, r3", name, kClampNames[clamp]), formula, values);
    }
    expect_values(
        "FMA_RSCALE_SCALE16.f32 r8, r0, r1.neg, r2, r3",
        [&](Values in) {
            in[1] ^= 0x80000000;
            const auto power = static_cast<std::int16_t>(in[3]);
            return as_word(static_cast<float>(std::ldexp(exact(in), power)));
        },
        [&] {
            std::vector<Values> high = values;
            for (Values& value : high) value[3] = (value[3] & 0xffff) | random() << 16;
            return high;
        }());
    // Without scale it is FMA.
    std::vector<Values> unscaled = kFloatValues;
    for (Values& value : unscaled) value[3] = 0;
    expect_values(
        "FMA_RSCALE.f32 r8, r0, r1, r2, r3",
        [](const Values& in) { return as_word(std::fma(as_float(in[0]), as_float(in[1]), as_float(in[2]))); },
        unscaled);
    const auto zero_product = [](const Values& in) { return as_float(in[0]) == 0 || as_float(in[1]) == 0; };
    expect_values(
        "FMA_RSCALE_N.f32 r8, r0, r1, r2, r3",
        [&](const Values& in) {
            if (zero_product(in)) return as_word(0.0F + as_float(in[2]));
            return as_word(std::fma(as_float(in[0]), as_float(in[1]), as_float(in[2])));
        },
        unscaled);
    expect_values(
        "FMA_RSCALE_LEFT.f32 r8, r0, r1, r2, r3",
        [&](const Values& in) {
            if (zero_product(in)) return as_word(as_float(in[0]) + as_float(in[2]));
            return as_word(std::fma(as_float(in[0]), as_float(in[1]), as_float(in[2])));
        },
        unscaled);
}

TEST(ShaderAluSpecial, PowersOfTwoAreRoundedOnce) {
    std::vector<Values> values;
    Random random(9);
    for (unsigned i = 0; i < 20000; ++i)
        values.push_back(
            {0, as_word((static_cast<float>(random() % 0x1400000) / 0x10000 - 160) * 0x1p24F), 0, 0});
    for (const std::uint32_t edge : kFloats) values.push_back({0, edge, 0, 0});
    expect_near(
        "FEXP.f32 r8, r0, r1",
        [](const Values& in) { return std::exp2(static_cast<long double>(as_float(in[1])) * 0x1p-24L); },
        0.5000001, values);
}

TEST(ShaderAluSpecial, LogarithmsFromTheirPieces) {
    // Over two octaves of mantissas; then the edges.
    std::vector<Values> values;
    Random random(10);
    for (unsigned i = 0; i < 20000; ++i) values.push_back({0x3f400000 + random() % 0x00800000, 0, 0, 0});
    values.push_back({0x3f800000, 0, 0, 0});
    expect_near(
        "FLOGD.f32 r8, r0",
        [](const Values& in) {
            const long double m = as_float(in[0]);
            return m == 1 ? std::numbers::log2e_v<long double> : std::log2(m) / (m - 1);
        },
        0.5000001, values);
    for (const auto& [of, is] : {std::pair{0x00000000U, 0x7f800000U},
                                 {0x80000000U, 0x7f800000U},
                                 {0x7f800000U, 0x7f800000U},
                                 {0xff800000U, 0x7fc00000U},
                                 {0xbf800000U, 0x7fc00000U},
                                 {0x7fc00000U, 0x7fc00000U},
                                 {0x80000001U, 0x7fc00000U}})
        expect_values("FLOGD.f32 r8, r0", [is](const Values&) { return is; }, {{of, 0, 0, 0}});

    // k = float(FREXPE.log(x)); d = FADD_LSCALE(-1, x); FLOGD(x) * d + k.
    const Instruction exponent("FREXPE.f32.log r4, r0");
    const Instruction as_float_k("S32_TO_F32 r4, r4");
    const Instruction less_one("FADD_LSCALE.f32 r5, r1.neg, r0");
    const Instruction slope("FLOGD.f32 r6, r0");
    const Instruction sum("FMA.f32 r8, r6, r5, r4");
    for (unsigned i = 0; i < 20000; ++i) {
        const std::uint32_t word = i < kFloats.size() ? kFloats[i]
                                   : i % 2 == 0       ? random()
                                                      : 0x3f000000 + random() % 0x01000000;
        Registers registers{};
        registers[0].word.fill(word);
        registers[1].word.fill(as_word(1.0F));
        for (const Instruction* instruction : {&exponent, &as_float_k, &less_one, &slope, &sum})
            ASSERT_NO_FATAL_FAILURE(instruction->run(registers));
        const float got = as_float(registers[8][3]);
        const long double expected = std::log2(static_cast<long double>(as_float(word)));
        if (!std::isfinite(expected)) {
            ASSERT_EQ(as_word(got), nearest(expected)) << std::hex << word;
            continue;
        }
        const long double ulp =
            std::ldexp(1.0L, std::max(std::ilogb(static_cast<float>(expected)), -126) - 23);
        // The API's bounds are 3 ULP, and 2^-21 from 1/2 to 2.
        ASSERT_LE(std::fabs(got - expected), std::max(2 * ulp, 0.0L)) << std::hex << word;
    }
}

TEST(ShaderAluSpecial, TablesOfSinesGoAroundTheCircle) {
    for (std::uint32_t step = 0; step < 200; ++step) {
        const long double angle = std::numbers::pi_v<long double> * (step % 64) / 32;
        const auto rounded_to_zero = [](long double value) {
            return std::fabs(value) < 1e-15L ? 0.0L : value;
        };
        expect_values("FSIN_TABLE.u6 r8, r0",
                      [&](const Values&) { return nearest(rounded_to_zero(std::sin(angle))); },
                      {{step, 0, 0, 0}});
        expect_values("FCOS_TABLE.u6 r8, r0",
                      [&](const Values&) { return nearest(rounded_to_zero(std::cos(angle))); },
                      {{step, 0, 0, 0}});
    }
}

TEST(ShaderAluSpecial, SineAndCosineFromTheirPieces) {
    const Instruction steps("FMA.f32 r1, r0, r10, r11");  // n = x * 2/pi + 786432
    const Instruction whole("FADD.f32 r2, r1, r11.neg");
    const Instruction rest("FMA.f32 r2, r2, r12.neg, r0");  // e = x - n * pi/2
    const Instruction sine("FSIN_TABLE.u6 r3, r1");
    const Instruction cosine("FCOS_TABLE.u6 r4, r1");
    const Instruction square("FMA_RSCALE.f32 r5, r2, r2, r13.neg, r14");  // q = e * e / 2
    const Instruction sine_q("FMA.f32 r6, r5.neg, r3, r13.neg");
    const Instruction sine_change("FMA.f32.clamp_m1_1 r6, r2, r4, r6");
    const Instruction sine_sum("FADD.f32 r8, r3, r6");
    const Instruction cosine_q("FMA.f32 r7, r5.neg, r4, r13.neg");
    const Instruction cosine_change("FMA.f32.clamp_m1_1 r7, r2, r3.neg, r7");
    const Instruction cosine_sum("FADD.f32 r9, r4, r7");
    for (int i = -3000; i <= 3000; ++i) {
        const float x = static_cast<float>(i) * (std::numbers::pi_v<float> / 3000);
        Registers registers{};
        registers[0].word.fill(as_word(x));
        registers[10].word.fill(as_word(0.636619772F));
        registers[11].word.fill(as_word(786432.0F));
        registers[12].word.fill(as_word(1.57079633F));
        registers[14].word.fill(~0U);
        for (const Instruction* instruction :
             {&steps, &whole, &rest, &sine, &cosine, &square, &sine_q, &sine_change, &sine_sum, &cosine_q,
              &cosine_change, &cosine_sum})
            ASSERT_NO_FATAL_FAILURE(instruction->run(registers));
        // The API asks for 2^-11.
        ASSERT_NEAR(as_float(registers[8][0]), std::sin(static_cast<double>(x)), 0x1p-14) << x;
        ASSERT_NEAR(as_float(registers[9][0]), std::cos(static_cast<double>(x)), 0x1p-14) << x;
    }
}

TEST(ShaderAluSpecial, FacesOfCubesAndTheirCoordinates) {
    Random random(11);
    std::vector<Values> values;
    for (unsigned i = 0; i < 5000; ++i) {
        const auto coordinate = [&] {
            return as_word(static_cast<float>(static_cast<int>(random() % 9)) - 4);
        };
        values.push_back({coordinate(), coordinate(), coordinate(), 0});
    }
    const auto face = [](float x, float y, float z) -> std::uint32_t {
        const float greatest = std::max({std::fabs(x), std::fabs(y), std::fabs(z)});
        if (std::fabs(z) == greatest) return std::signbit(z) ? 5 : 4;
        if (std::fabs(y) == greatest) return std::signbit(y) ? 3 : 2;
        return std::signbit(x) ? 1 : 0;
    };
    expect_values(
        "CUBEFACE1 r8, r0, r1, r2",
        [](const Values& in) {
            return as_word(std::max(
                {std::fabs(as_float(in[0])), std::fabs(as_float(in[1])), std::fabs(as_float(in[2]))}));
        },
        values);
    expect_values(
        "CUBEFACE2_V9 r8, r0, r1, r2.neg",
        [&](const Values& in) { return face(as_float(in[0]), as_float(in[1]), -as_float(in[2])) << 29; },
        values);
    // The API's table of faces: s is -z +z +x +x +x -x, t is -y -y +z -z -y -y.
    for (std::uint32_t number = 0; number < 6; ++number) {
        std::vector<Values> of_face = values;
        for (Values& value : of_face) value[2] = number << 29 | (random() & 0x1fffffff);
        expect_values(
            "CUBE_SSEL r8, r0, r1, r2",
            [&](const Values& in) {
                const float z = as_float(in[0]);
                const float x = as_float(in[1]);
                return as_word(std::array{-z, z, x, x, x, -x}[number]);
            },
            of_face);
        expect_values(
            "CUBE_TSEL r8, r0, r1, r2",
            [&](const Values& in) {
                const float y = as_float(in[0]);
                const float z = as_float(in[1]);
                return as_word(std::array{-y, -y, z, -z, -y, -y}[number]);
            },
            of_face);
    }
}

}  // namespace
}  // namespace belfry::gpu::shader
