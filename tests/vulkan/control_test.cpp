// Where lanes of a warp part and meet again: loops, switches, early ends, arrays with indices that differ.

#include <algorithm>
#include <cmath>

#include "vulkan/rig.hpp"

namespace belfry::vulkan_test {
namespace {

std::vector<std::uint32_t> words_by(const char* name, Groups groups, std::size_t count) {
    const VulkanBuffer result = zeros<std::uint32_t>(count);
    run(name, groups, {VulkanArgument::storage(result)});
    return values_of<std::uint32_t>(result);
}

TEST(Control, LoopsEndWhenEachLaneSays) {
    std::vector<std::uint32_t> expected(4096);
    for (std::uint32_t i = 0; i < expected.size(); ++i)
        for (std::uint32_t x = i + 1; x != 1; ++expected[i]) x = x % 2 == 0 ? x / 2 : 3 * x + 1;
    expect_equal(words_by("collatz", {4096 / 64}, 4096), expected);
}

TEST(Control, TheMandelbrotSetIsThatOfTheCpu) {
    constexpr std::uint32_t kSize = 64;
    std::vector<std::uint32_t> expected(std::size_t{kSize} * kSize);
    for (std::uint32_t row = 0; row < kSize; ++row)
        for (std::uint32_t column = 0; column < kSize; ++column) {
            const float cx = static_cast<float>(column) * 0.046875F - 2.25F;
            const float cy = static_cast<float>(row) * 0.046875F - 1.5F;
            float x = 0;
            float y = 0;
            std::uint32_t n = 0;
            for (; n < 200; ++n) {
                const float xx = x * x;
                const float yy = y * y;
                if (xx + yy > 4) break;
                const float xy = x * y;
                x = (xx - yy) + cx;
                y = (xy + xy) + cy;
            }
            expected[row * kSize + column] = n;
        }
    expect_equal(words_by("mandelbrot", {kSize / 8, kSize / 8}, expected.size()), expected);
}

// As in shaders/control.comp.
std::uint32_t depth3(std::uint32_t x) {
    if ((x & 3) == 3) return x * 3;
    for (std::uint32_t i = 0; i < 10; ++i) {
        if (i == x) continue;
        if (i * x > 40) return i + 100;
        x += i;
    }
    return x;
}
std::uint32_t depth2(std::uint32_t x) {
    std::uint32_t sum = 0;
    for (std::uint32_t outer = 0; outer < (x & 7) + 1; ++outer) {
        std::uint32_t inner = 0;
        do {
            if (inner == 5 && (x & 16) != 0) break;
            sum += depth3(outer * 7 + inner + x);
            ++inner;
        } while (inner < (x & 15));
        if (sum > 5000) break;
    }
    return sum;
}
std::uint32_t kind(std::uint32_t x) {
    switch (x % 7) {
        case 0: return 11;
        case 1: x += 5; [[fallthrough]];
        case 2: x *= 3; break;
        case 3:
            for (std::uint32_t i = 0; i < x; ++i) {
                if (i > 20) return i;
                x -= 1;
            }
            break;
        case 5:  return x ^ 0xff;
        default: x = ~x;
    }
    return x + 1;
}

TEST(Control, LanesPartAndMeetInsideOfEachOther) {
    std::vector<std::uint32_t> expected(8192);
    for (std::uint32_t i = 0; i < expected.size(); ++i) {
        const std::uint32_t x = depth2(i);
        expected[i] = i % 11 == 3 ? 0xdead0000 + i : x ^ kind(i + x) << 8;
    }
    expect_equal(words_by("control", {8192 / 64}, 8192), expected);
}

TEST(Control, ArraysOfALaneAreItsOwn) {
    constexpr std::size_t kLanes = 320;
    auto words = Random(11).words(kLanes * 48);
    const VulkanBuffer buffer = buffer_of(words);
    run("sort", {kLanes / 32}, {VulkanArgument::storage(buffer)});
    for (std::size_t lane = 0; lane < kLanes; ++lane)
        std::sort(words.begin() + static_cast<std::ptrdiff_t>(lane * 48),
                  words.begin() + static_cast<std::ptrdiff_t>(lane * 48 + 48));
    expect_equal(values_of<std::uint32_t>(buffer), words);
}

}  // namespace
}  // namespace belfry::vulkan_test
