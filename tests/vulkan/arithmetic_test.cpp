// Integers over edge values, to the bit; floats as near to the CPU's doubles as Vulkan asks for.

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>

#include "vulkan/rig.hpp"

namespace belfry::vulkan_test {
namespace {

std::int32_t as_signed(std::uint32_t word) { return static_cast<std::int32_t>(word); }
std::uint32_t as_word(std::int32_t value) { return static_cast<std::uint32_t>(value); }
std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }

/// As in shaders/integers.comp.
std::uint32_t expected(std::uint32_t operation, std::uint32_t x, std::uint32_t y) {
    const std::int32_t sx = as_signed(x);
    const std::int32_t sy = as_signed(y);
    const unsigned by = y & 31;
    const unsigned offset = y & 15;
    const unsigned bits = y >> 4 & 15;
    const std::uint32_t field = (1U << bits) - 1;
    const auto quotient = [](std::int32_t a, std::int64_t b) {
        return as_word(static_cast<std::int32_t>(a / b));
    };
    switch (operation) {
        case 0:  return x + y;
        case 1:  return x - y;
        case 2:  return x * y;
        case 3:  return y == 0 ? 0 : x / y;
        case 4:  return y == 0 ? 0 : x % y;
        case 5:  return y == 0 || y == ~0U ? 0 : quotient(sx, sy);
        case 6:  return sx < 0 || sy <= 0 ? 0 : as_word(sx % sy);
        case 7:  return x << by;
        case 8:  return x >> by;
        case 9:  return as_word(sx >> by);
        case 10: return x & y;
        case 11: return x | y;
        case 12: return x ^ y;
        case 13: return ~x;
        case 14: return 0 - x;
        case 15: return std::min(x, y);
        case 16: return std::max(x, y);
        case 17: return as_word(std::min(sx, sy));
        case 18: return as_word(std::max(sx, sy));
        case 19: return sx < 0 ? 0 - x : x;
        case 20: return as_word((sx > 0 ? 1 : 0) - (sx < 0 ? 1 : 0));
        case 21: return as_word(std::popcount(x));
        case 22: return x == 0 ? ~0U : as_word(std::countr_zero(x));
        case 23: return as_word(31 - std::countl_zero(x));
        case 24: return as_word(31 - std::countl_zero(sx < 0 ? ~x : x));
        case 25: {
            std::uint32_t reversed = 0;
            for (unsigned i = 0; i < 32; ++i) reversed |= (x >> i & 1) << (31 - i);
            return reversed;
        }
        case 26: return x >> offset & field;
        case 27: return bits == 0 ? 0 : as_word(as_signed(x << (32 - offset - bits)) >> (32 - bits));
        case 28: return (x & ~(field << offset)) | (y & field) << offset;
        case 29: return static_cast<std::uint32_t>(std::uint64_t{x} * y >> 32);
        case 30: return static_cast<std::uint32_t>(static_cast<std::uint64_t>(std::int64_t{sx} * sy) >> 32);
        case 31: return (x + y < x ? 2U : 0U) + ((x + y) & 1);
        case 32: return (x < y ? 2U : 0U) + ((x - y) & 1);
        case 33:
            return (x < y ? 1U : 0U) + (x <= y ? 2U : 0U) + (x == y ? 4U : 0U) + (sx < sy ? 8U : 0U) +
                   (sx >= sy ? 16U : 0U);
        case 34: return std::clamp(x, 100U, std::max(y, 100U));
        case 35: return sx < sy ? x * 3 : y * 5;
        case 36: return (x & 0xffff) * (y & 0xffff) + (x >> 16);
        case 37: return x / 7 + x % 10 + x / 641 + x % 65537;
        case 38: return quotient(sx, -3) + quotient(sx, 16) + as_word(sx >> 1);
        case 39: return bits_of(static_cast<float>(x));
        case 40: return bits_of(static_cast<float>(sx));
        case 41: return x * 5 + (y << 3) - (x << 4);
        case 42: return (x >> 8 & 0xff) + as_word(as_signed(x << 8) >> 24) + ((y & 0xff00) | x >> 24);
        default: return 0;
    }
}

TEST(Arithmetic, IntegersAreRightToTheBit) {
    constexpr std::uint32_t kOperations = 43;
    std::vector<std::uint32_t> a;
    std::vector<std::uint32_t> b;
    const std::vector<std::uint32_t> edges{0,          1,          2,          3,          7,
                                           31,         32,         0x7f,       0x80,       0xff,
                                           0x7fff,     0x8000,     0xffff,     0x10000,    0xffffff,
                                           0x1000001,  0x55555555, 0x7fffffff, 0x80000000, 0x80000001,
                                           0xaaaaaaaa, 0xffff8000, 0xffffff80, 0xfffffffe, 0xffffffff};
    for (const std::uint32_t x : edges)
        for (const std::uint32_t y : edges) {
            a.push_back(x);
            b.push_back(y);
        }
    for (Random random(21); a.size() < 2048;) {
        a.push_back(random.word() >> (random.word() & 31));
        b.push_back(random.word() >> (random.word() & 31));
    }
    const VulkanBuffer left = buffer_of(a);
    const VulkanBuffer right = buffer_of(b);
    const VulkanBuffer result = zeros<std::uint32_t>(a.size());
    for (std::uint32_t operation = 0; operation < kOperations; ++operation) {
        SCOPED_TRACE(testing::Message() << "operation " << operation);
        run("integers", {static_cast<std::uint32_t>(a.size() / 64)},
            {VulkanArgument::storage(left), VulkanArgument::storage(right), VulkanArgument::storage(result)},
            {}, {operation});
        const auto got = result.as<std::uint32_t>();
        unsigned told = 0;
        for (std::size_t i = 0; i < a.size() && told < 4; ++i)
            if (const std::uint32_t right_one = expected(operation, a[i], b[i]); got[i] != right_one) {
                ADD_FAILURE() << std::hex << a[i] << " and " << b[i] << ": got " << got[i] << ", expected "
                              << right_one;
                ++told;
            }
    }
}

// ---- Floats

/// What may be between a result and the exact one: so many units in the last place, or an absolute error.
struct Bound {
    double ulp = 0;
    double absolute = 0;
};

struct Range {
    double from;
    double to;
};

struct FloatOperation {
    std::uint32_t number;
    const char* name;
    double (*exact)(double x, double y);
    Bound (*bound)(double x, double y);
    Range x = {-1000, 1000};
    Range y = {-1000, 1000};
};

Bound exactly(double /*x*/, double /*y*/) { return {}; }
Bound rounded(double /*x*/, double /*y*/) { return {.ulp = 0.5}; }
template <int Ulp>
Bound within(double /*x*/, double /*y*/) {
    return {.ulp = Ulp};
}
constexpr double kPi = std::numbers::pi;
double half(double x);

/// Bounds of Vulkan's "Precision and Operation of SPIR-V Instructions"; those that inherit theirs are summed
/// up.
const FloatOperation kFloatOperations[] = {
    {0, "+", [](double x, double y) { return x + y; }, rounded},
    {1, "-", [](double x, double y) { return x - y; }, rounded},
    {2, "*", [](double x, double y) { return x * y; }, rounded},
    {3, "/", [](double x, double y) { return x / y; }, [](double, double) { return Bound{.ulp = 2.5}; }},
    {4, "sqrt", [](double x, double) { return std::sqrt(x); }, within<5>, {0, 1e6}},
    {5, "inversesqrt", [](double x, double) { return 1 / std::sqrt(x); }, within<2>, {1e-6, 1e6}},
    {6,
     "exp2",
     [](double x, double) { return std::exp2(x); },
     [](double x, double) { return Bound{.ulp = 3 + 2 * std::abs(x)}; },
     {-100, 100}},
    {7,
     "log2",
     [](double x, double) { return std::log2(x); },
     [](double x, double) { return x < 0.5 || x > 2 ? Bound{.ulp = 3} : Bound{.absolute = 0x1p-21}; },
     {1e-3, 8}},
    {8,
     "exp",
     [](double x, double) { return std::exp(x); },
     [](double x, double) { return Bound{.ulp = 3 + 2 * std::abs(x)}; },
     {-80, 80}},
    {9,
     "log",
     [](double x, double) { return std::log(x); },
     [](double x, double) { return x < 0.5 || x > 2 ? Bound{.ulp = 3} : Bound{.absolute = 0x1p-21}; },
     {1e-3, 8}},
    {10,
     "pow",
     [](double x, double y) { return std::pow(x, y); },
     [](double x, double y) { return Bound{.ulp = 16 + 2 * (3 + 4 * std::abs(y * std::log2(x)))}; },
     {0.1, 10},
     {-8, 8}},
    {11,
     "sin",
     [](double x, double) { return std::sin(x); },
     [](double, double) { return Bound{.absolute = 0x1p-11}; },
     {-kPi, kPi}},
    {12,
     "cos",
     [](double x, double) { return std::cos(x); },
     [](double, double) { return Bound{.absolute = 0x1p-11}; },
     {-kPi, kPi}},
    {13,
     "tan",
     [](double x, double) { return std::tan(x); },
     [](double x, double) {
         return Bound{.ulp = 4, .absolute = 0x1p-10 * (1 + std::abs(std::tan(x))) / std::abs(std::cos(x))};
     },
     {-1.4, 1.4}},
    {14, "atan", [](double x, double) { return std::atan(x); }, within<4096>},
    {15, "atan2", [](double y, double x) { return std::atan2(y, x); }, within<4096>},
    {16,
     "asin",
     [](double x, double) { return std::asin(x); },
     [](double, double) { return Bound{.ulp = 4096, .absolute = 0x1p-10}; },
     {-1, 1}},
    {17,
     "acos",
     [](double x, double) { return std::acos(x); },
     [](double, double) { return Bound{.ulp = 4096, .absolute = 0x1p-10}; },
     {-1, 1}},
    {18,
     "sinh",
     [](double x, double) { return std::sinh(x); },
     [](double x, double) { return Bound{.ulp = 16 + 4 * std::abs(x), .absolute = 0x1p-20}; },
     {-20, 20}},
    {19,
     "tanh",
     [](double x, double) { return std::tanh(x); },
     [](double, double) { return Bound{.ulp = 64, .absolute = 0x1p-18}; },
     {-9, 9}},
    {20, "floor", [](double x, double) { return std::floor(x); }, exactly},
    {21, "ceil", [](double x, double) { return std::ceil(x); }, exactly},
    {22, "trunc", [](double x, double) { return std::trunc(x); }, exactly},
    {23, "roundEven", [](double x, double) { return std::nearbyint(x); }, exactly},
    {24, "fract", [](double x, double) { return x - std::floor(x); }, rounded},
    {25, "min", [](double x, double y) { return std::min(x, y); }, exactly},
    {26, "max", [](double x, double y) { return std::max(x, y); }, exactly},
    {27, "abs - abs", [](double x, double y) { return std::abs(x) - std::abs(y); }, rounded},
    {28, "sign", [](double x, double) { return x > 0   ? 1.0
                                               : x < 0 ? -1.0
                                                       : 0.0; }, exactly},
    {29, "clamp", [](double x, double) { return std::clamp(x, -1.0, 1.0); }, exactly},
    {30, "compare", [](double x, double y) { return x < y    ? 1.0
                                                    : x == y ? 2.0
                                                             : 3.0; }, exactly},
    {31, "int", [](double x, double) { return std::trunc(x); }, exactly},
    {32, "uint", [](double x, double) { return std::trunc(std::abs(x)); }, exactly},
    {33,
     "ldexp",
     [](double x, double y) { return std::ldexp(x, static_cast<int>(y)); },
     exactly,
     {-1000, 1000},
     {-60, 60}},
    {34, "frexp",
     [](double x, double) {
         int e = 0;
         return std::frexp(x, &e);
     },
     exactly},
    {35, "frexp's exponent",
     [](double x, double) {
         int e = 0;
         std::frexp(x, &e);
         return double(e);
     },
     exactly},
    {37, "half", [](double x, double) { return half(x); }, exactly, {-70'000, 70'000}},
    {42,
     "mod",
     [](double x, double) { return x - 3 * std::floor(x / 3); },
     [](double x, double) { return Bound{.absolute = 4e-7 * (std::abs(x) + 1)}; },
     {-1000, 1000}},
    {43, "-x / 2", [](double x, double) { return -x * 0.5; }, exactly},
    {44, "fma", [](double x, double y) { return x * y + 1; },
     [](double x, double y) { return Bound{.ulp = 0.5, .absolute = std::abs(x * y) * 0x1p-24}; }},
};

/// The nearest half, of ties the even one; infinite from 65,520 on.
double half(double x) {
    if (std::abs(x) >= 65'520) return std::copysign(INFINITY, x);
    const int exponent = std::max(-14, x == 0 ? -14 : std::ilogb(x));
    const double unit = std::ldexp(1, exponent - 10);
    return std::nearbyint(x / unit) * unit;
}

double ulp_of(double exact) {
    const int exponent = exact == 0 ? -126 : std::max(-126, std::ilogb(exact));
    return std::ldexp(1, exponent - 23);
}

std::vector<float> run_floats(std::uint32_t operation, const std::vector<float>& a,
                              const std::vector<float>& b) {
    const VulkanBuffer left = buffer_of(a);
    const VulkanBuffer right = buffer_of(b);
    const VulkanBuffer result = zeros<float>(a.size());
    run("floats", {static_cast<std::uint32_t>((a.size() + 63) / 64)},
        {VulkanArgument::storage(left), VulkanArgument::storage(right), VulkanArgument::storage(result)}, {},
        {operation});
    return values_of<float>(result);
}

TEST(Arithmetic, FloatsAreAsNearAsVulkanWants) {
    constexpr std::size_t kCount = 2048;
    for (const FloatOperation& operation : kFloatOperations) {
        SCOPED_TRACE(operation.name);
        Random random(operation.number + 100);
        const auto draw = [&random](const Range& range) {
            if (random.word() % 8 == 0)
                return static_cast<float>(
                    std::round(
                        std::clamp(static_cast<double>(random.word() % 64) - 32, range.from, range.to) * 2) /
                    2);
            return static_cast<float>(range.from + (range.to - range.from) * (random.word() / 0x1p32));
        };
        std::vector<float> a(kCount);
        std::vector<float> b(kCount);
        for (std::size_t i = 0; i < kCount; ++i) {
            a[i] = std::clamp(draw(operation.x), static_cast<float>(operation.x.from),
                              static_cast<float>(operation.x.to));
            b[i] = std::clamp(draw(operation.y), static_cast<float>(operation.y.from),
                              static_cast<float>(operation.y.to));
        }
        const auto got = run_floats(operation.number, a, b);
        unsigned told = 0;
        for (std::size_t i = 0; i < kCount && told < 4; ++i) {
            const double exact = operation.exact(a[i], b[i]);
            const Bound bound = operation.bound(a[i], b[i]);
            // Where the exact result is no float's, nothing is asked.
            if (std::isnan(exact) || (std::isinf(exact) && operation.number != 37)) continue;
            const double allowed = bound.ulp * ulp_of(exact) + bound.absolute;
            if (got[i] == exact || std::abs(got[i] - exact) <= allowed) continue;
            ADD_FAILURE() << std::hexfloat << operation.name << " of " << a[i] << " and " << b[i] << ": got "
                          << got[i] << ", exactly " << exact << std::defaultfloat << ", "
                          << std::abs(got[i] - exact) / ulp_of(exact) << " ULP off, allowed "
                          << allowed / ulp_of(exact);
            ++told;
        }
    }
}

TEST(Arithmetic, InfinitiesAndZerosAreKept) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    struct Case {
        std::uint32_t operation;
        float x;
        float y;
        float result;
    };
    const Case cases[] = {{0, kInfinity, 1, kInfinity},
                          {2, -kInfinity, 2, -kInfinity},
                          {3, 1, 0, kInfinity},
                          {3, -1, 0, -kInfinity},
                          {3, 1, kInfinity, 0},
                          {4, 0, 0, 0},
                          {4, kInfinity, 0, kInfinity},
                          {5, kInfinity, 0, 0},
                          {6, -kInfinity, 0, 0},
                          {6, kInfinity, 0, kInfinity},
                          {6, 0, 0, 1},
                          {7, 1, 0, 0},
                          {7, 0, 0, -kInfinity},
                          {8, 0, 0, 1},
                          {11, 0, 0, 0},
                          {12, 0, 0, 1},
                          {25, kInfinity, 3, 3},
                          {26, -kInfinity, 3, 3},
                          {36, kInfinity, 0, 2},
                          {36, kNan, 0, 1},
                          {36, 1, 0, 0},
                          {30, 1, kNan, 4},
                          {30, kNan, kNan, 4},
                          {37, kInfinity, 0, kInfinity},
                          {0, 0x1.fffffep127F, 0x1p120F, kInfinity},
                          {2, 0x1p100F, 0x1p100F, kInfinity}};
    for (const Case& each : cases) {
        const float got = run_floats(each.operation, {each.x}, {each.y})[0];
        EXPECT_EQ(got, each.result) << "operation " << each.operation << " of " << each.x << " and "
                                    << each.y;
    }
}

TEST(Arithmetic, PackedNumbersAreRounded) {
    const std::vector<float> a{0.0F, 0.25F, 0.5F, 0.75F, 1.0F, 2.0F, -0.5F, 0.1F};
    const std::vector<float> b{1.0F, 0.5F, 0.3F, -1.0F, 0.9F, 0.0F, -0.25F, 0.6F};
    const auto near = [](double scaled, std::uint32_t packed) {
        return std::abs(scaled - static_cast<double>(packed)) <= 0.50001;  // of two that are as near, either
    };
    const auto unorm = run_floats(38, a, b);
    const auto snorm = run_floats(39, a, b);
    for (std::size_t i = 0; i < a.size(); ++i) {
        const std::uint32_t word = bits_of(unorm[i]);
        EXPECT_TRUE(near(std::clamp(a[i], 0.0F, 1.0F) * 255.0, word & 0xff)) << a[i] << ": " << (word & 0xff);
        EXPECT_TRUE(near(std::clamp(b[i], 0.0F, 1.0F) * 255.0, word >> 8 & 0xff)) << b[i];
        EXPECT_EQ(word >> 16 & 0xff, 0xffU);
        const std::uint32_t shorts = bits_of(snorm[i]);
        const auto low = static_cast<std::int16_t>(shorts & 0xffff);
        EXPECT_NEAR(low, std::clamp(a[i], -1.0F, 1.0F) * 32767.0, 0.5) << a[i];
    }
    const auto bytes =
        run_floats(40, {std::bit_cast<float>(0x12345678U), std::bit_cast<float>(0x3f00ff00U)}, {0, 0});
    EXPECT_FLOAT_EQ(bytes[0], 0x56 / 255.0F);
    EXPECT_FLOAT_EQ(bytes[1], 1.0F);
    const auto shorts =
        run_floats(41, {std::bit_cast<float>(0x12348000U), std::bit_cast<float>(0x3f004000U)}, {0, 0});
    EXPECT_FLOAT_EQ(shorts[0], -1.0F);
    EXPECT_FLOAT_EQ(shorts[1], 0x4000 / 32767.0F);
}

}  // namespace
}  // namespace belfry::vulkan_test
