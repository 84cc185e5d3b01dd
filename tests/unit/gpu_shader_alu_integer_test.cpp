// Integer instructions against formulas on lists of elements.
#include <fmt/format.h>

#include "gpu_shader_alu_rig.hpp"

namespace belfry::gpu::shader {
namespace {

/// The type that a name ends with.
struct ElementType {
    std::string_view name;
    unsigned bits;
    bool is_signed;

    [[nodiscard]] std::int64_t least() const { return is_signed ? -(std::int64_t{1} << (bits - 1)) : 0; }
    [[nodiscard]] std::int64_t most() const { return (std::int64_t{1} << (is_signed ? bits - 1 : bits)) - 1; }
    [[nodiscard]] std::int64_t saturated(std::int64_t value) const {
        return std::clamp(value, least(), most());
    }
    [[nodiscard]] unsigned count() const { return 32 / bits; }

    [[nodiscard]] std::int64_t element(std::uint32_t word, unsigned index) const {
        const std::int64_t value =
            static_cast<std::int64_t>(std::uint64_t{word} >> (bits * index)) & ((1LL << bits) - 1);
        return is_signed && value > most() ? value - (1LL << bits) : value;
    }
    [[nodiscard]] std::uint32_t place(std::int64_t value, unsigned index) const {
        return static_cast<std::uint32_t>((static_cast<std::uint64_t>(value) & ((1ULL << bits) - 1))
                                          << (bits * index));
    }
};
constexpr ElementType kTypes[] = {{"u32", 32, false}, {"v2u16", 16, false}, {"v4u8", 8, false},
                                  {"s32", 32, true},  {"v2s16", 16, true},  {"v4s8", 8, true}};
constexpr ElementType kPlainTypes[] = {{"i32", 32, false}, {"v2i16", 16, false}, {"v4i8", 8, false}};

using OfTwo = std::function<std::int64_t(std::int64_t, std::int64_t)>;

Formula each(const ElementType& type, const OfTwo& f) {
    return [type, f](const Values& in) {
        std::uint32_t word = 0;
        for (unsigned i = 0; i < type.count(); ++i)
            word |= type.place(f(type.element(in[0], i), type.element(in[1], i)), i);
        return word;
    };
}

const std::vector<Values> kValues = mixed(kIntegers, 4000);

TEST(ShaderAluInteger, SumsAndDifferencesWrapOrSaturate) {
    for (const ElementType& type : kTypes) {
        const auto sum = [](std::int64_t a, std::int64_t b) { return a + b; };
        const auto difference = [](std::int64_t a, std::int64_t b) { return a - b; };
        const auto saturated = [&](const OfTwo& f) {
            return each(type, [=](std::int64_t a, std::int64_t b) { return type.saturated(f(a, b)); });
        };
        expect_values(fmt::format("IADD.{} r8, r0, r1", type.name), each(type, sum), kValues);
        expect_values(fmt::format("ISUB.{} r8, r0, r1", type.name), each(type, difference), kValues);
        expect_values(fmt::format("IADD.{}.saturate r8, r0, r1", type.name), saturated(sum), kValues);
        expect_values(fmt::format("ISUB.{}.saturate r8, r0, r1", type.name), saturated(difference), kValues);
    }
}

TEST(ShaderAluInteger, ProductsWrapOrSaturate) {
    const auto product = [](std::int64_t a, std::int64_t b) {
        return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
    };
    for (const ElementType& type : kTypes) {
        // Unsigned ones are called i.
        const std::string name =
            type.is_signed ? std::string(type.name) : kPlainTypes[32 / type.bits / 2].name.data();
        expect_values(fmt::format("IMUL.{} r8, r0, r1", name), each(type, product), kValues);
        const auto saturated = [&](std::int64_t a, std::int64_t b) {
            std::int64_t exact = 0;
            return __builtin_mul_overflow(a, b, &exact) ? type.most() : type.saturated(exact);
        };
        expect_values(fmt::format("IMUL.{}.saturate r8, r0, r1", name), each(type, saturated), kValues);
    }
}

TEST(ShaderAluInteger, HalvedSumsDoNotOverflow) {
    const auto floor_half = [](std::int64_t sum) { return sum >= 0 ? sum / 2 : -((1 - sum) / 2); };
    for (const ElementType& type : kTypes) {
        expect_values(fmt::format("HADD.{} r8, r0, r1", type.name),
                      each(type, [&](std::int64_t a, std::int64_t b) { return floor_half(a + b); }), kValues);
        expect_values(fmt::format("HADD.{}.rhadd r8, r0, r1", type.name),
                      each(type, [&](std::int64_t a, std::int64_t b) { return floor_half(a + b + 1); }),
                      kValues);
    }
}

TEST(ShaderAluInteger, ImmediatesAreAddedByElement) {
    for (const ElementType& type : kPlainTypes) {
        const auto constant = 0x80ff7f01U;
        const Formula sum = each(type, [](std::int64_t a, std::int64_t b) { return a + b; });
        expect_values(
            fmt::format("IADD_IMM.{} r8, r0, #0x{:X}", type.name, constant),
            [&](const Values& in) { return sum({in[0], constant, 0, 0}); }, kValues);
    }
}

TEST(ShaderAluInteger, CountsAndBits) {
    const auto leading = [](unsigned bits) {
        return [bits](std::int64_t a, std::int64_t) {
            std::int64_t count = 0;
            while (count < bits && (a >> (bits - 1 - static_cast<unsigned>(count)) & 1) == 0) ++count;
            return count;
        };
    };
    expect_values("CLZ.u32 r8, r0", each(kTypes[0], leading(32)), kValues);
    expect_values("CLZ.v2u16 r8, r0", each(kTypes[1], leading(16)), kValues);
    expect_values("CLZ.v4u8 r8, r0", each(kTypes[2], leading(8)), kValues);
    for (const ElementType& type : {kTypes[3], kTypes[4], kTypes[5]})
        expect_values(fmt::format("IABS.{} r8, r0", type.name),
                      each(type, [](std::int64_t a, std::int64_t) { return a < 0 ? -a : a; }), kValues);
    expect_values(
        "POPCOUNT.i32 r8, r0",
        [](const Values& in) { return static_cast<std::uint32_t>(std::popcount(in[0])); }, kValues);
    expect_values(
        "BITREV.i32 r8, r0",
        [](const Values& in) {
            std::uint32_t word = 0;
            for (unsigned bit = 0; bit < 32; ++bit) word |= (in[0] >> bit & 1) << (31 - bit);
            return word;
        },
        kValues);
    expect_values("NOT_OLD.i32 r8, r0", [](const Values& in) { return ~in[0]; }, kValues);
    expect_values("MOV.i32 r8, r0", [](const Values& in) { return in[0]; }, kValues);
}

TEST(ShaderAluInteger, ShiftsAreModuloTheWidth) {
    const auto logic = [](std::string_view op, std::int64_t a, std::int64_t b) {
        return op == "AND" ? a & b : op == "OR" ? a | b : a ^ b;
    };
    for (const ElementType& type : kPlainTypes)
        for (const std::string_view op : {"AND", "OR", "XOR"})
            for (const bool left : {true, false})
                for (const bool is_signed : {false, true})
                    for (unsigned modifiers = 0; modifiers < 4; ++modifiers) {
                        if (left && is_signed) continue;
                        const bool inverted = (modifiers & 1) != 0;
                        const bool not_result = (modifiers & 2) != 0;
                        const unsigned byte = modifiers;
                        const ElementType of{type.name, type.bits, is_signed};
                        const std::string text =
                            fmt::format("{}SHIFT_{}.{}{}{} r8, r0, r1.b{}{}, r2{}", left ? "L" : "R", op,
                                        type.name, is_signed ? ".signed" : "",
                                        not_result ? ".not_result" : "", byte, byte, inverted ? ".not" : "");
                        const auto formula = [&](const Values& in) {
                            const unsigned amount = (in[1] >> (8 * byte)) % type.bits;
                            std::uint32_t word = 0;
                            for (unsigned i = 0; i < type.count(); ++i) {
                                const std::int64_t a = of.element(in[0], i);
                                const std::int64_t shifted = left ? a << amount : a >> amount;
                                const std::int64_t c = type.element(inverted ? ~in[2] : in[2], i);
                                const std::int64_t t = logic(op, shifted, c);
                                word |= type.place(not_result ? ~t : t, i);
                            }
                            return word;
                        };
                        expect_values(text, formula, kValues);
                    }
}

TEST(ShaderAluInteger, ShiftsOfMesasAssembler) {
    // LSHIFT_AND.i32 r11, r11, 0x0.b00, r12: a plain AND.
    expect_values(
        "LSHIFT_AND.i32 r8, r0, r3.b00, r1", [](const Values& in) { return (in[0] << (in[3] % 32)) & in[1]; },
        kValues);
}

TEST(ShaderAluInteger, SelectorsReadAsTheirNamesSay) {
    const auto digits = [](std::string_view name, std::uint32_t word, unsigned width, bool is_signed) {
        // "h10", "b2301": letter of the part, then one digit an element.
        std::uint32_t result = 0;
        const unsigned part = name[0] == 'h' ? 16 : name[0] == 'b' ? 8 : 32;
        const ElementType from{"", part, is_signed};
        const ElementType to{"", width, is_signed};
        for (unsigned i = 0; i < to.count(); ++i) {
            const unsigned index = static_cast<unsigned>(name[1 + i] - '0');
            result |= to.place(from.element(word, index), i);
        }
        return result;
    };
    for (const ElementType& type : kTypes) {
        const valhall::Choices& choices = type.bits == 32   ? valhall::choices::kWiden32
                                          : type.bits == 16 ? valhall::choices::kWiden16
                                                            : valhall::choices::kWiden8;
        for (const std::string_view name : choices.names) {
            if (name.empty() || name == "none") continue;
            const bool implied = &name - choices.names.data() == choices.implied;
            const std::string suffix = implied ? "" : fmt::format(".{}", name);
            for (const unsigned source : {0U, 1U})
                expect_values(
                    fmt::format("ISUB.{} r8, r0{}, r1{}", type.name, source == 0 ? suffix : "",
                                source == 1 ? suffix : ""),
                    [&](const Values& in) {
                        Values read = in;
                        read[source] = digits(name, in[source], type.bits, type.is_signed);
                        return each(type, [](std::int64_t a, std::int64_t b) { return a - b; })(read);
                    },
                    kValues);
        }
    }
    // What has no sign extends with zeros.
    for (const std::string_view name : {"h0", "h1", "b0", "b3"})
        expect_values(
            fmt::format("RSHIFT_OR.i32.signed r8, r0.{}, r1.b00, r2", name),
            [&](const Values& in) { return digits(name, in[0], 32, false) >> (in[1] % 32) | in[2]; },
            kValues);
}

TEST(ShaderAluInteger, VectorsAreMade) {
    for (const unsigned a : {0U, 1U})
        for (const unsigned b : {0U, 1U})
            expect_values(
                fmt::format("MKVEC.v2i16 r8, r0.h{}{}, r1.h{}{}", a, 1, b, 1),
                [&](const Values& in) {
                    return (in[0] >> (16 * a) & 0xffff) | (in[1] >> (16 * b) & 0xffff) << 16;
                },
                kValues);
    for (unsigned a = 0; a < 4; ++a)
        for (unsigned b = 0; b < 4; ++b)
            expect_values(
                fmt::format("MKVEC.v2i8 r8, r0.b{}, r1.b{}, r2", a, b),
                [&](const Values& in) {
                    return (in[0] >> (8 * a) & 0xff) | (in[1] >> (8 * b) & 0xff) << 8 | in[2] << 16;
                },
                kValues);
}

TEST(ShaderAluInteger, MuxChoosesByItsThirdSource) {
    for (const ElementType& type : kPlainTypes) {
        const auto choose = [&](const std::function<bool(std::int64_t)>& first) {
            return [&type, first](const Values& in) {
                std::uint32_t word = 0;
                for (unsigned i = 0; i < type.count(); ++i) {
                    const std::uint32_t from = first(type.element(in[2], i)) ? in[0] : in[1];
                    word |= type.place(type.element(from, i), i);
                }
                return word;
            };
        };
        const std::int64_t sign = std::int64_t{1} << (type.bits - 1);
        expect_values(fmt::format("MUX.{} r8, r0, r1, r2", type.name),
                      choose([](std::int64_t c) { return c == 0; }), kValues);
        expect_values(fmt::format("MUX.{}.neg r8, r0, r1, r2", type.name),
                      choose([&](std::int64_t c) { return (c & sign) != 0; }), kValues);
        expect_values(fmt::format("MUX.{}.fp_zero r8, r0, r1, r2", type.name),
                      choose([&](std::int64_t c) { return c == 0 || c == sign; }), kValues);
        expect_values(
            fmt::format("MUX.{}.bit r8, r0, r1, r2", type.name),
            [](const Values& in) { return (in[0] & in[2]) | (in[1] & ~in[2]); }, kValues);
    }
    expect_values(
        "MUX.v2i16 r8, r0.h10, r1.h11, r2.h00",
        [](const Values& in) {
            const std::uint32_t a = in[0] >> 16 | in[0] << 16;
            const std::uint32_t b = (in[1] >> 16) * 0x10001;
            return (in[2] & 0xffff) == 0 ? a : b;
        },
        kValues);
}

bool holds(std::string_view cmp, std::int64_t a, std::int64_t b) {
    return cmp == "eq"   ? a == b
           : cmp == "gt" ? a > b
           : cmp == "ge" ? a >= b
           : cmp == "ne" ? a != b
           : cmp == "lt" ? a < b
                         : a <= b;
}
constexpr std::string_view kCmps[] = {"eq", "gt", "ge", "ne", "lt", "le"};

TEST(ShaderAluInteger, ComparisonsGiveWhatTheirResultTypeSays) {
    for (const ElementType& type : kTypes)
        for (const std::string_view cmp : kCmps)
            for (const std::string_view result : {"i1", "f1", "m1", "u1"})
                for (const bool conjunction : {false, true}) {
                    if (type.bits == 8 && result == "f1") continue;  // no such float
                    const std::int64_t one = result == "m1"                      ? -1
                                             : result == "f1" && type.bits == 32 ? 0x3f800000
                                             : result == "f1"                    ? 0x3c00
                                                                                 : 1;
                    expect_values(
                        fmt::format("ICMP_{}.{}.{}.{} r8, r0, r1, r2", conjunction ? "AND" : "OR", type.name,
                                    cmp, result),
                        [&](const Values& in) {
                            const std::uint32_t is = each(type, [&](std::int64_t a, std::int64_t b) {
                                return holds(cmp, a, b) ? one : 0;
                            })(in);
                            return conjunction ? is & in[2] : is | in[2];
                        },
                        mixed(kIntegers, 1000));
                }
}

TEST(ShaderAluInteger, ComparisonsOfParts) {
    expect_values(
        "ICMP_OR.s32.lt.m1 r8, r0.b3, r1.h0, r2",
        [](const Values& in) {
            return (static_cast<std::int8_t>(in[0] >> 24) < static_cast<std::int16_t>(in[1]) ? ~0U : 0) |
                   in[2];
        },
        kValues);
    expect_values(
        "ICMP_AND.u32.ge.i1 r8, r0.b3, r1.h0, r2",
        [](const Values& in) { return (in[0] >> 24 >= (in[1] & 0xffff) ? 1U : 0) & in[2]; }, kValues);
}

TEST(ShaderAluInteger, ComparisonsOfTwoWordsAreThoseOfSixtyFourBits) {
    for (const bool is_signed : {false, true})
        for (const std::string_view cmp : kCmps) {
            const std::string name = is_signed ? "s32" : "u32";
            // The low words first, always unsigned: r4 = of r0 and r1; then r2 and r3 with it.
            const Instruction low(fmt::format("ICMP_MULTI.u32.{}.u1 r4, r0, r1, r5", cmp));
            const Instruction high(fmt::format("ICMP_MULTI.{}.{}.m1 r8, r2, r3, r4", name, cmp));
            Registers registers{};
            Random random(3);
            for (unsigned round = 0; round < 200; ++round) {
                for (unsigned lane = 0; lane < kLanes; ++lane)
                    for (unsigned r = 0; r < 4; ++r) registers[r][lane] = random() % 4 - 2;
                ASSERT_NO_FATAL_FAILURE(low.run(registers));
                ASSERT_NO_FATAL_FAILURE(high.run(registers));
                for (unsigned lane = 0; lane < kLanes; ++lane) {
                    const std::uint64_t a = std::uint64_t{registers[2][lane]} << 32 | registers[0][lane];
                    const std::uint64_t b = std::uint64_t{registers[3][lane]} << 32 | registers[1][lane];
                    const std::uint64_t bias = is_signed ? 0 : 1ULL << 63;
                    const bool expected =
                        holds(cmp, static_cast<std::int64_t>(a ^ bias), static_cast<std::int64_t>(b ^ bias));
                    ASSERT_EQ(registers[8][lane], expected ? ~0U : 0U)
                        << name << cmp << std::hex << a << " " << b;
                }
            }
        }
}

TEST(ShaderAluInteger, ConditionalSelection) {
    for (const ElementType& type : {kTypes[0], kTypes[1], kTypes[3], kTypes[4]})
        for (const std::string_view cmp : kCmps)
            expect_values(
                fmt::format("CSEL.{}.{} r8, r0, r1, r2, r3", type.name, cmp),
                [&](const Values& in) {
                    std::uint32_t word = 0;
                    for (unsigned i = 0; i < type.count(); ++i) {
                        const bool first = holds(cmp, type.element(in[0], i), type.element(in[1], i));
                        word |= type.place(type.element(in[first ? 2 : 3], i), i);
                    }
                    return word;
                },
                kValues);
}

TEST(ShaderAluInteger, DotProductsSaturateIfAsked) {
    for (const bool is_signed : {false, true})
        for (const bool saturates : {false, true}) {
            const ElementType bytes{"", 8, is_signed};
            const ElementType sum{"", 32, is_signed};
            expect_values(
                fmt::format("IDP.{}{} r8, r0, r1, r2", is_signed ? "v4s8" : "v4u8",
                            saturates ? ".saturate" : ""),
                [&](const Values& in) {
                    std::int64_t total = sum.element(in[2], 0);
                    for (unsigned i = 0; i < 4; ++i)
                        total += bytes.element(in[0], i) * bytes.element(in[1], i);
                    return static_cast<std::uint32_t>(saturates ? sum.saturated(total) : total);
                },
                kValues);
        }
}

// 64 bits.

using OfPairs = std::function<std::uint64_t(std::uint64_t a, std::uint64_t b, std::uint64_t c)>;

/// Sources are r0:r1, r2:r3 and r4:r5; the result is r8:r9.
void expect_pairs(std::string_view text, const OfPairs& formula) {
    const Instruction instruction(text);
    ASSERT_TRUE(instruction.runs()) << text;
    Registers registers{};
    Random random(5);
    for (unsigned round = 0; round < 200; ++round) {
        for (unsigned lane = 0; lane < kLanes; ++lane)
            for (unsigned r = 0; r < 6; ++r)
                registers[r][lane] = random() % 2 != 0 ? random() : kIntegers[random() % kIntegers.size()];
        ASSERT_NO_FATAL_FAILURE(instruction.run(registers));
        for (unsigned lane = 0; lane < kLanes; ++lane) {
            const auto pair = [&](unsigned r) {
                return std::uint64_t{registers[r + 1][lane]} << 32 | registers[r][lane];
            };
            ASSERT_EQ(pair(8), formula(pair(0), pair(2), pair(4)))
                << text << std::hex << " 0x" << pair(0) << " 0x" << pair(2) << " 0x" << pair(4);
        }
    }
}

std::uint64_t low_part(std::string_view selector, std::uint64_t pair, bool is_signed) {
    const auto word = static_cast<std::uint32_t>(pair);
    if (selector.empty()) return pair;
    const unsigned index = static_cast<unsigned>(selector[1] - '0');
    const unsigned bits = selector[0] == 'h' ? 16 : selector[0] == 'b' ? 8 : 32;
    return static_cast<std::uint64_t>(ElementType{"", bits, is_signed}.element(word, index));
}

TEST(ShaderAluInteger, PairsAddSubtractAndSaturate) {
    for (const std::string_view selector : {"", "w0", "h0", "h1", "b0", "b2"}) {
        const std::string suffix = selector.empty() ? "" : fmt::format(".{}", selector);
        const auto u = [&](std::uint64_t b) { return low_part(selector, b, false); };
        const auto s = [&](std::uint64_t b) { return low_part(selector, b, true); };
        const auto text = [&](std::string_view name) { return fmt::format("{} r8, r0, r2{}", name, suffix); };
        expect_pairs(text("IADD.u64"), [&](auto a, auto b, auto) { return a + u(b); });
        expect_pairs(text("IADD.s64"), [&](auto a, auto b, auto) { return a + s(b); });
        expect_pairs(text("ISUB.u64"), [&](auto a, auto b, auto) { return a - u(b); });
        expect_pairs(text("ISUB.s64"), [&](auto a, auto b, auto) { return a - s(b); });
        expect_pairs(text("IADD.u64.saturate"), [&](auto a, auto b, auto) {
            std::uint64_t sum = 0;
            return __builtin_add_overflow(a, u(b), &sum) ? ~0ULL : sum;
        });
        expect_pairs(text("ISUB.u64.saturate"),
                     [&](auto a, auto b, auto) { return a < u(b) ? 0 : a - u(b); });
        const auto most = [](std::uint64_t a) { return a >> 63 != 0 ? 1ULL << 63 : ~0ULL >> 1; };
        expect_pairs(text("IADD.s64.saturate"), [&](auto a, auto b, auto) {
            std::int64_t sum = 0;
            const bool over =
                __builtin_add_overflow(static_cast<std::int64_t>(a), static_cast<std::int64_t>(s(b)), &sum);
            return over ? most(a) : static_cast<std::uint64_t>(sum);
        });
        expect_pairs(text("ISUB.s64.saturate"), [&](auto a, auto b, auto) {
            std::int64_t sum = 0;
            const bool over =
                __builtin_sub_overflow(static_cast<std::int64_t>(a), static_cast<std::int64_t>(s(b)), &sum);
            return over ? most(a) : static_cast<std::uint64_t>(sum);
        });
        for (const unsigned shift : {0U, 2U, 7U}) {
            expect_pairs(fmt::format("SHADDX.u64 r8, r0, r2{}, shift:0x{:X}", suffix, shift),
                         [&](auto a, auto b, auto) { return a + (u(b) << shift); });
            expect_pairs(fmt::format("SHADDX.s64 r8, r0, r2{}, shift:0x{:X}", suffix, shift),
                         [&](auto a, auto b, auto) { return a + (s(b) << shift); });
        }
    }
}

TEST(ShaderAluInteger, PairsMultiplyInvertAndShift) {
    expect_pairs("IMULD.u64 r8, r0, r2",
                 [](auto a, auto b, auto) { return (a & 0xffffffff) * (b & 0xffffffff); });
    expect_pairs("IMULD.u64 r8, r0.b1, r2.h1",
                 [](auto a, auto b, auto) { return (a >> 8 & 0xff) * (b >> 16 & 0xffff); });
    expect_pairs("NOT_OLD.i64 r8, r0", [](auto a, auto, auto) { return ~a; });
    expect_pairs("LSHIFT_OR.i64 r8, r0, r2.b11, r4",
                 [](auto a, auto b, auto c) { return a << (b >> 8 & 63) | c; });
    expect_pairs("LSHIFT_AND.i64.not_result r8, r0, r2.b00, r4.not",
                 [](auto a, auto b, auto c) { return ~(a << (b & 63) & ~c); });
    expect_pairs("RSHIFT_XOR.i64 r8, r0.w0, r2.b22, r4",
                 [](auto a, auto b, auto c) { return (a & 0xffffffff) >> (b >> 16 & 63) ^ c; });
    expect_pairs("RSHIFT_AND.i64.signed r8, r0, r2.b33, r4", [](auto a, auto b, auto c) {
        return static_cast<std::uint64_t>(static_cast<std::int64_t>(a) >> (b >> 24 & 63)) & c;
    });
}

}  // namespace
}  // namespace belfry::gpu::shader
