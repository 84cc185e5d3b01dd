// Floating-point arithmetic against the host's, and against exact integers.
#include <fmt/format.h>

#include "gpu_shader_alu_numbers.hpp"

namespace belfry::gpu::shader {
namespace {

const std::vector<Values> kFloatValues = mixed(kFloats, 20000);
const std::vector<Values> kHalfValues = mixed(kHalves, 10000);

TEST(ShaderAluFloat, AddRoundsAsTheModeSays) {
    for (unsigned round = 0; round < 4; ++round)
        expect_values(
            fmt::format("FADD.f32{} r8, r0, r1", kRoundNames[round]),
            [&](const Values& in) {
                volatile const float a = as_float(in[0]);
                volatile const float b = as_float(in[1]);
                return as_word(rounded(kHostRounds[round], [&] { return a + b; }));
            },
            kFloatValues);
}

/// In all rounding modes.
void expect_fma(const std::vector<Values>& values) {
    for (unsigned round = 0; round < 4; ++round)
        expect_values(
            fmt::format("FMA.f32{} r8, r0, r1, r2", kRoundNames[round]),
            [&](const Values& in) {
                return as_word(rounded(kHostRounds[round], [&] {
                    return std::fma(as_float(in[0]), as_float(in[1]), as_float(in[2]));
                }));
            },
            values);
}

TEST(ShaderAluFloat, FmaRoundsOnce) { expect_fma(mixed(kFloats, 60000)); }

TEST(ShaderAluFloat, FmaOfNearlyOppositeNumbersIsExact) {
    // c = -(a * b) give or take some last digits: what is left are the product's digits beyond those of a
    // float.
    Random random(4);
    std::vector<Values> values;
    for (unsigned i = 0; i < 20000; ++i) {
        const std::uint32_t a = (random() & 0x00ffffff) | 0x3f000000;
        const std::uint32_t b = (random() & 0x80ffffff) | 0x3f000000;
        const std::uint32_t c = as_word(-(as_float(a) * as_float(b)));
        values.push_back({a, b, c + random() % 5 - 2, 0});
    }
    expect_fma(values);
}

TEST(ShaderAluFloat, HalvesAddAndMultiplyRoundingOnce) {
    for (unsigned round = 0; round < 4; ++round) {
        expect_values(fmt::format("FMA.v2f16{} r8, r0, r1, r2", kRoundNames[round]),
                      both_halves([&](auto a, auto b, auto c) { return half_fma(a, b, c, round); }),
                      kHalfValues);
        expect_values(fmt::format("FADD.v2f16{} r8, r0, r1", kRoundNames[round]),
                      both_halves([&](auto a, auto b, auto) { return half_fma(a, 0x3c00, b, round); }),
                      kHalfValues);
    }
}

TEST(ShaderAluFloat, ProductsKeepTheSignOfZero) {
    // A product is written as FMA with -0, which may come from the table of constants.
    std::vector<Values> values = kFloatValues;
    for (Values& value : values) value[2] = 0;
    for (const std::string_view zero : {"r2.neg", "0x0.neg"})
        for (const std::string_view neg : {"", ".neg"})
            for (unsigned clamp = 0; clamp < 4; clamp += 3) {
                const auto value = [&](const Values& in) {
                    return clamped_as(clamp,
                                      as_float(in[0]) * (neg.empty() ? as_float(in[1]) : -as_float(in[1])));
                };
                expect_values(
                    fmt::format("FMA.f32{} r8, r0, r1{}, {}", kClampNames[clamp], neg, zero),
                    [&](const Values& in) { return as_word(value(in)); }, values);
            }
    expect_values(
        "FMA.f32.rtn r8, r0, r1, 0x0.neg",
        [&](const Values& in) {
            volatile const float zero = -0.0F;  // or the compiler knows the sum, to nearest
            return as_word(
                rounded(FE_DOWNWARD, [&] { return std::fma(as_float(in[0]), as_float(in[1]), zero); }));
        },
        values);
    expect_values("FMA.v2f16 r8, r0, r1.neg, 0x0.neg",
                  both_halves([](auto a, auto b, auto) { return half_fma(a, b ^ 0x8000, 0x8000, 0); }),
                  kHalfValues);
    expect_values(
        "FMA.f32 r8, r0.h1, r1, 0x0.neg",
        [](const Values& in) { return as_word(half_value(in[0] >> 16) * as_float(in[1])); }, kHalfValues);
}

TEST(ShaderAluFloat, AbsThenNegOfEachSource) {
    for (unsigned modifiers = 0; modifiers < 64; ++modifiers) {
        const auto text = [&](unsigned source) {
            return fmt::format("r{}{}{}", source, (modifiers >> (2 * source) & 1) != 0 ? ".neg" : "",
                               (modifiers >> (2 * source) & 2) != 0 ? ".abs" : "");
        };
        const auto modified = [&](unsigned source, std::uint32_t word, std::uint32_t signs) {
            if ((modifiers >> (2 * source) & 2) != 0) word &= ~signs;
            if ((modifiers >> (2 * source) & 1) != 0) word ^= signs;
            return word;
        };
        expect_values(
            fmt::format("FMA.f32 r8, {}, {}, {}", text(0), text(1), text(2)),
            [&](const Values& in) {
                const auto value = [&](unsigned i) { return as_float(modified(i, in[i], 0x80000000)); };
                return as_word(std::fma(value(0), value(1), value(2)));
            },
            mixed(kFloats, 500));
        expect_values(
            fmt::format("FMA.v2f16 r8, {}, {}, {}", text(0), text(1), text(2)),
            [&](const Values& in) {
                Values read = in;
                for (unsigned i = 0; i < 3; ++i) read[i] = modified(i, in[i], 0x80008000);
                return both_halves([](auto a, auto b, auto c) { return half_fma(a, b, c, 0); })(read);
            },
            mixed(kHalves, 500));
    }
}

TEST(ShaderAluFloat, HalvesAsFloatsAndSwizzles) {
    for (const unsigned half : {0U, 1U})
        for (unsigned source = 0; source < 3; ++source) {
            const auto text = [&](unsigned i) {
                return fmt::format("r{}{}", i, i == source ? fmt::format(".h{}", half) : "");
            };
            expect_values(
                fmt::format("FMA.f32 r8, {}, {}.abs, {}", text(0), text(1), text(2)),
                [&](const Values& in) {
                    const auto value = [&](unsigned i) {
                        return i == source ? half_value(in[i] >> (16 * half) & 0xffff) : as_float(in[i]);
                    };
                    return as_word(std::fma(value(0), std::fabs(value(1)), value(2)));
                },
                mixed(kHalves, 1000));
        }
    for (const std::string_view swizzle : {"h00", "h10", "h11"})
        expect_values(
            fmt::format("FADD.v2f16 r8, r0.neg.{}, r1", swizzle),
            [&](const Values& in) {
                const auto half = [&](unsigned i) {
                    return swizzle[1 + i] == '1' ? in[0] >> 16 : in[0] & 0xffff;
                };
                const Values read = {(half(0) | half(1) << 16) ^ 0x80008000, in[1], 0, 0};
                return both_halves([](auto a, auto b, auto) { return half_fma(a, 0x3c00, b, 0); })(read);
            },
            kHalfValues);
}

TEST(ShaderAluFloat, ClampsComeAfterRounding) {
    for (unsigned clamp = 0; clamp < 4; ++clamp) {
        expect_values(
            fmt::format("FADD.f32{} r8, r0, r1", kClampNames[clamp]),
            [&](const Values& in) { return as_word(clamped_as(clamp, as_float(in[0]) + as_float(in[1]))); },
            kFloatValues);
        expect_values(
            fmt::format("FMA.f32{} r8, r0, r1, r2.neg", kClampNames[clamp]),
            [&](const Values& in) {
                return as_word(
                    clamped_as(clamp, std::fma(as_float(in[0]), as_float(in[1]), -as_float(in[2]))));
            },
            kFloatValues);
        expect_values(fmt::format("FADD.v2f16{} r8, r0, r1", kClampNames[clamp]),
                      both_halves([&](auto a, auto b, auto) {
                          return float_to_half(clamped_as(clamp, half_value(half_fma(a, 0x3c00, b, 0))), 0);
                      }),
                      kHalfValues);
    }
}

TEST(ShaderAluFloat, ImmediatesAreAdded) {
    expect_values(
        "FADD_IMM.f32 r8, r0, #0x3FC00000", [](const Values& in) { return as_word(as_float(in[0]) + 1.5F); },
        kFloatValues);
    expect_values(
        "FADD_IMM.v2f16 r8, r0, #0xBC003800",
        [](const Values& in) {
            return both_halves([](auto a, auto b, auto) { return half_fma(a, 0x3c00, b, 0); })(
                {in[0], 0xbc003800, 0, 0});
        },
        kHalfValues);
}

TEST(ShaderAluFloat, MinAndMaxPreferNumbersAndOrderZeros) {
    const auto lesser = [](float a, float b) {
        if (std::isnan(a)) return b;
        if (std::isnan(b)) return a;
        if (a == 0 && b == 0) return std::signbit(a) ? a : b;
        return a < b ? a : b;
    };
    const auto greater = [&](float a, float b) {
        return std::isnan(a) || std::isnan(b) ? lesser(a, b) : -lesser(-a, -b);
    };
    expect_values(
        "FMIN.f32 r8, r0, r1",
        [&](const Values& in) { return as_word(lesser(as_float(in[0]), as_float(in[1]))); }, kFloatValues);
    expect_values(
        "FMAX.f32 r8, r0, r1",
        [&](const Values& in) { return as_word(greater(as_float(in[0]), as_float(in[1]))); }, kFloatValues);
    expect_values(
        "FMAX.f32.clamp_0_1 r8, r0.neg, r1.abs",
        [&](const Values& in) {
            return as_word(clamped_as(3, greater(-as_float(in[0]), std::fabs(as_float(in[1])))));
        },
        kFloatValues);
    expect_values("FMIN.v2f16 r8, r0, r1", both_halves([&](auto a, auto b, auto) {
                      return float_to_half(lesser(half_value(a), half_value(b)), 0);
                  }),
                  kHalfValues);
    expect_values("FMAX.v2f16 r8, r0, r1", both_halves([&](auto a, auto b, auto) {
                      return float_to_half(greater(half_value(a), half_value(b)), 0);
                  }),
                  kHalfValues);
}

bool holds(std::string_view cmp, float a, float b) {
    return cmp == "eq"     ? a == b
           : cmp == "gt"   ? a > b
           : cmp == "ge"   ? a >= b
           : cmp == "ne"   ? a != b
           : cmp == "lt"   ? a < b
           : cmp == "le"   ? a <= b
           : cmp == "gtlt" ? a < b || a > b
                           : !std::isnan(a) && !std::isnan(b);
}
constexpr std::string_view kCmps[] = {"eq", "gt", "ge", "ne", "lt", "le", "gtlt", "total"};

TEST(ShaderAluFloat, ComparisonsKnowNan) {
    const std::vector<Values> floats = mixed(kFloats, 2500);
    const std::vector<Values> halves = mixed(kHalves, 1500);
    for (const std::string_view cmp : kCmps)
        for (const std::string_view result : {"i1", "f1", "m1"})
            for (const bool conjunction : {false, true}) {
                const std::uint32_t one = result == "m1" ? ~0U : result == "f1" ? 0x3f800000 : 1;
                const std::uint32_t half_one = result == "m1" ? 0xffff : result == "f1" ? 0x3c00 : 1;
                const auto combined = [&](std::uint32_t is, std::uint32_t other) {
                    return conjunction ? is & other : is | other;
                };
                const char* const name = conjunction ? "AND" : "OR";
                expect_values(
                    fmt::format("FCMP_{}.f32.{}.{} r8, r0, r1, r2", name, cmp, result),
                    [&](const Values& in) {
                        return combined(holds(cmp, as_float(in[0]), as_float(in[1])) ? one : 0, in[2]);
                    },
                    floats);
                expect_values(
                    fmt::format("FCMP_{}.f32.{}.{} r8, r0.neg, r1.abs, r2", name, cmp, result),
                    [&](const Values& in) {
                        return combined(holds(cmp, -as_float(in[0]), std::fabs(as_float(in[1]))) ? one : 0,
                                        in[2]);
                    },
                    floats);
                expect_values(fmt::format("FCMP_{}.v2f16.{}.{} r8, r0, r1, r2", name, cmp, result),
                              both_halves([&](auto a, auto b, auto c) {
                                  return combined(holds(cmp, half_value(a), half_value(b)) ? half_one : 0, c);
                              }),
                              halves);
            }
}

TEST(ShaderAluFloat, SelectionComparesFloatsAndMovesBits) {
    for (const std::string_view cmp : kCmps) {
        expect_values(
            fmt::format("CSEL.f32.{} r8, r0, r1, r2, r3", cmp),
            [&](const Values& in) { return in[holds(cmp, as_float(in[0]), as_float(in[1])) ? 2 : 3]; },
            kFloatValues);
        expect_values(
            fmt::format("CSEL.v2f16.{} r8, r0, r1, r2, r3", cmp),
            [&](const Values& in) {
                std::uint32_t word = 0;
                for (const unsigned shift : {0U, 16U}) {
                    const bool first =
                        holds(cmp, half_value(in[0] >> shift & 0xffff), half_value(in[1] >> shift & 0xffff));
                    word |= in[first ? 2 : 3] & (0xffffU << shift);
                }
                return word;
            },
            kHalfValues);
    }
}

// Modes of the program.

std::uint32_t flushed(std::uint32_t word) { return (word & 0x7f800000) == 0 ? word & 0x80000000 : word; }
std::uint32_t flushed_half(std::uint32_t half) { return (half & 0x7c00) == 0 ? half & 0x8000 : half; }

TEST(ShaderAluModes, SubnormalsOfFloatsAreFlushedInAndOut) {
    for (const FloatMode mode : {kFlushF32, kFlushAll}) {
        const auto value = [](std::uint32_t word) { return as_float(flushed(word)); };
        expect_values(
            "FADD.f32 r8, r0, r1.neg",
            [&](const Values& in) { return flushed(as_word(value(in[0]) - value(in[1]))); }, kFloatValues,
            mode);
        expect_values(
            "FMA.f32 r8, r0, r1, r2",
            [&](const Values& in) {
                return flushed(as_word(std::fma(value(in[0]), value(in[1]), value(in[2]))));
            },
            kFloatValues, mode);
        expect_values(
            "CSEL.f32.lt r8, r0, r1, r2, r3",
            [&](const Values& in) { return in[value(in[0]) < value(in[1]) ? 2 : 3]; }, kFloatValues, mode);
        expect_values(
            "FCMP_OR.f32.gt.m1 r8, r0, r1, r2",
            [&](const Values& in) { return (value(in[0]) > value(in[1]) ? ~0U : 0) | in[2]; }, kFloatValues,
            mode);
        expect_values("MOV.i32 r8, r0", [](const Values& in) { return in[0]; }, kFloatValues, mode);
    }
}

TEST(ShaderAluModes, SubnormalsOfHalvesAreFlushedOnlyIfAllAre) {
    const Formula kept = both_halves([](auto a, auto b, auto) { return half_fma(a, 0x3c00, b, 0); });
    const Formula all = both_halves([](auto a, auto b, auto) {
        return flushed_half(half_fma(flushed_half(a), 0x3c00, flushed_half(b), 0));
    });
    expect_values("FADD.v2f16 r8, r0, r1", kept, kHalfValues, kFlushF32);
    expect_values("FADD.v2f16 r8, r0, r1", all, kHalfValues, kFlushAll);
    // As floats they are not subnormal.
    expect_values(
        "F16_TO_F32 r8, r0.h1", [](const Values& in) { return as_word(half_value(in[0] >> 16)); },
        kHalfValues, kFlushF32);
    expect_values(
        "F16_TO_F32 r8, r0.h1",
        [](const Values& in) { return as_word(half_value(flushed_half(in[0] >> 16))); }, kHalfValues,
        kFlushAll);
}

TEST(ShaderAluModes, NansAndInfinitiesCanBeSuppressed) {
    const auto sum = [](const Values& in) { return as_float(in[0]) + as_float(in[1]); };
    expect_values(
        "FADD.f32 r8, r0, r1", [&](const Values& in) { return std::isnan(sum(in)) ? 0 : as_word(sum(in)); },
        kFloatValues, kSuppressNan);
    expect_values(
        "FADD.f32 r8, r0, r1",
        [&](const Values& in) {
            if (!std::isinf(sum(in))) return as_word(sum(in));
            return sum(in) < 0 ? 0xff7fffffU : 0x7f7fffffU;
        },
        kFloatValues, kSuppressInfinity);
}

}  // namespace
}  // namespace belfry::gpu::shader
