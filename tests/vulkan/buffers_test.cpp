// Buffers as a shader sees them: storage, uniform, push constants, offsets, sets, small and large types.

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "vulkan/rig.hpp"

namespace belfry::vulkan_test {
namespace {

TEST(Buffers, VectorsOfAnyLengthAreAdded) {
    for (const std::uint32_t count : {1U, 15U, 16U, 17U, 64U, 1000U, 65'537U}) {
        std::vector<float> a(count);
        std::vector<float> b(count);
        std::iota(a.begin(), a.end(), 0.5F);
        std::iota(b.rbegin(), b.rend(), 1.25F);
        std::vector<float> sum(count);
        std::ranges::transform(a, b, sum.begin(), std::plus{});
        // What lies behind is not ours.
        const VulkanBuffer c = zeros<float>(count + 64);
        sum.resize(count + 64);
        const VulkanBuffer left = buffer_of(a);
        const VulkanBuffer right = buffer_of(b);
        run("add", {(count + 63) / 64},
            {VulkanArgument::storage(left), VulkanArgument::storage(right), VulkanArgument::storage(c)},
            {count});
        expect_equal(values_of<float>(c), sum);
    }
}

TEST(Buffers, PushConstantsAreReadAtAnyIndex) {
    const VulkanBuffer result = zeros<std::uint32_t>(32);
    const auto words = Random(1).words(32);
    std::vector<std::uint32_t> expected;
    for (const std::uint32_t word : words) expected.push_back(word + 3 * words[31]);
    const std::vector arguments{VulkanArgument::storage(result)};
    run("push", {1}, arguments, words);
    expect_equal(values_of<std::uint32_t>(result), expected);
}

TEST(Buffers, UniformBlocksHaveTheirLayout) {
    std::vector<float> block(40);
    const auto put = [&block](std::size_t byte, auto value) { std::memcpy(&block[byte / 4], &value, 4); };
    for (std::uint32_t i = 0; i < 4; ++i) put(i * 16, 10 + i);
    for (std::size_t i = 0; i < 3; ++i) put(64 + i * 4, static_cast<float>(i + 1));
    put(76, 0.5F);
    for (std::size_t column = 0; column < 3; ++column)
        for (std::size_t row = 0; row < 3; ++row)
            put(80 + column * 16 + row * 4, static_cast<float>(1 + row + 3 * column));
    for (std::size_t i = 0; i < 2; ++i) {
        put(128 + i * 16, 100.0F + static_cast<float>(i));
        put(136 + i * 16, -3 - static_cast<std::int32_t>(i));
        put(140 + i * 16, 8);
    }
    const VulkanBuffer uniform = buffer_of(block);
    const VulkanBuffer result = zeros<float>(16);
    run("uniform", {1}, {VulkanArgument::uniform(uniform), VulkanArgument::storage(result)});
    expect_equal(values_of<float>(result), {10, 11, 12, 13, 1.5F, 2.5F, 3.5F, 0,  //
                                            30, 36, 42, 0, 100, -11, 101, -12});
}

TEST(Buffers, DynamicOffsetsMoveEachBinding) {
    constexpr std::uint32_t kStep = 256;  // as aligned as any device wants it
    std::vector<std::uint32_t> constants(kStep);
    for (std::uint32_t i = 0; i < 4; ++i) constants[i * kStep / 4] = 3 + i;
    std::vector<std::uint32_t> words(kStep);
    std::iota(words.begin(), words.end(), 1);
    const VulkanBuffer uniform = buffer_of(constants);
    const VulkanBuffer from = buffer_of(words);
    const VulkanBuffer to = zeros<std::uint32_t>(kStep);
    const VulkanKernel kernel = device().make_kernel(
        shader("offsets"),
        {VulkanArgument::uniform_dynamic(uniform, 16), VulkanArgument::uniform_dynamic(uniform, 16),
         VulkanArgument::storage_dynamic(from, 64), VulkanArgument::storage_dynamic(to, 64)});
    VulkanCommands commands(device());
    commands.bind(kernel, {0, kStep, 2 * kStep, 0}).dispatch(1);
    commands.bind(kernel, {2 * kStep, 3 * kStep, 0, 3 * kStep}).dispatch(1).barrier();
    device().run(commands);

    std::vector<std::uint32_t> expected(kStep);
    for (std::uint32_t i = 0; i < 16; ++i) {
        expected[i] = words[2 * kStep / 4 + i] * 3 + 4 + 1'616'000'000U;
        expected[3 * kStep / 4 + i] = words[i] * 5 + 6 + 1'616'000'000U;
    }
    expect_equal(values_of<std::uint32_t>(to), expected);
}

TEST(Buffers, SetsAndArraysOfBuffersAreTold) {
    const VulkanBuffer result = zeros<std::uint32_t>(16);
    const VulkanBuffer a = buffer_of(Random(2).words(16));
    const VulkanBuffer b = buffer_of(Random(3).words(4));
    const VulkanBuffer unused = zeros<std::uint32_t>(16);
    std::vector<VulkanBuffer> array;
    VulkanArgument arguments = VulkanArgument::storage(array.emplace_back(buffer_of(Random(4).words(16))));
    for (std::uint32_t i = 1; i < 4; ++i) {
        array.push_back(buffer_of(Random(4 + i).words(16)));
        arguments.buffers.push_back({array.back().handle.get(), 0, VK_WHOLE_SIZE});
    }
    for (std::uint32_t first = 0; first < 4; ++first) {
        run("sets", {1},
            {VulkanArgument::storage(result), VulkanArgument::storage(a).in_set(1),
             VulkanArgument::uniform(b).in_set(2), VulkanArgument::storage(unused).in_set(3),
             arguments.in_set(3)},
            {first});
        std::vector<std::uint32_t> expected(16);
        for (std::size_t i = 0; i < 16; ++i) {
            expected[i] = a.as<std::uint32_t>()[i] + b.as<std::uint32_t>()[0];
            for (std::size_t n = first; n < 4; ++n) expected[i] += array[n].as<std::uint32_t>()[i];
        }
        expect_equal(values_of<std::uint32_t>(result), expected);
    }
}

TEST(Buffers, BytesShortsAndHalvesAreLoadedAndStored) {
    BELFRY_NEEDS(device().storage8().storageBuffer8BitAccess);
    BELFRY_NEEDS(device().storage16().storageBuffer16BitAccess);
    BELFRY_NEEDS(device().small_types().shaderInt8 && device().features().shaderInt16);
    constexpr std::size_t kCount = 1024;
    Random random(5);
    std::vector<std::int8_t> bytes(kCount);
    std::vector<std::int16_t> shorts(kCount);
    std::vector<std::uint16_t> halves(kCount);
    for (std::size_t i = 0; i < kCount; ++i) {
        bytes[i] = static_cast<std::int8_t>(random.word());
        shorts[i] = static_cast<std::int16_t>(random.word());
        halves[i] =
            static_cast<std::uint16_t>((i % 2) << 15 | (0x3400 + i % 512));  // 0.25 to 0.4, both signs
    }
    const VulkanBuffer in8 = buffer_of(bytes);
    const VulkanBuffer in16 = buffer_of(shorts);
    const VulkanBuffer in_half = buffer_of(halves);
    const VulkanBuffer out8 = zeros<std::uint8_t>(kCount);
    const VulkanBuffer out16 = zeros<std::uint16_t>(kCount);
    const VulkanBuffer out_half = zeros<std::uint16_t>(kCount);
    const VulkanBuffer words = zeros<std::int32_t>(kCount);
    run("small_types", {kCount / 64},
        {VulkanArgument::storage(in8), VulkanArgument::storage(in16), VulkanArgument::storage(in_half),
         VulkanArgument::storage(out8), VulkanArgument::storage(out16), VulkanArgument::storage(out_half),
         VulkanArgument::storage(words)});

    for (std::size_t i = 0; i < kCount; ++i) {
        const auto product = static_cast<std::int16_t>(shorts[i] * bytes[i]);
        const auto unsigned_short = static_cast<std::uint16_t>(shorts[i]);
        ASSERT_EQ(words.as<std::int32_t>()[i], bytes[i] * 65536 + (product & 0x7fff)) << i;
        ASSERT_EQ(out8.as<std::uint8_t>()[i], static_cast<std::uint8_t>(bytes[i] + 3)) << i;
        ASSERT_EQ(out16.as<std::uint16_t>()[i],
                  static_cast<std::uint16_t>(unsigned_short / 7 + static_cast<std::uint16_t>(shorts[i] >> 3)))
            << i;
        // Between 0.25 and 0.75 halves are 2^-12 or 2^-11 apart; × 1.5 is a half way at worst.
        const auto as_double = [](std::uint16_t half) {
            return std::ldexp(1024 + (half & 1023), (half >> 10 & 31) - 25) * ((half & 0x8000) != 0 ? -1 : 1);
        };
        ASSERT_NEAR(as_double(out_half.as<std::uint16_t>()[i]), as_double(halves[i]) * 1.5, 0x1p-12) << i;
    }
}

std::int64_t operation64(std::uint32_t operation, std::int64_t x, std::int64_t y) {
    const auto ux = static_cast<std::uint64_t>(x);
    const auto uy = static_cast<std::uint64_t>(y);
    const unsigned by = static_cast<unsigned>(uy) & 63;
    const auto as_signed = [](std::uint64_t value) { return static_cast<std::int64_t>(value); };
    switch (operation) {
        case 0:  return as_signed(ux + uy);
        case 1:  return as_signed(ux - uy);
        case 2:  return as_signed(ux * uy);
        case 3:  return y == 0 ? 0 : y == -1 ? as_signed(0 - ux) : x / y;
        case 4:  return y == 0 ? 0 : as_signed(ux % uy);
        case 5:  return as_signed(ux << by);
        case 6:  return x >> by;
        case 7:  return as_signed(ux >> by);
        case 8:  return std::min(x, y);
        case 9:  return as_signed(std::max(ux, uy));
        case 10: return (x < y ? 1 : 0) + (ux < uy ? 2 : 0) + (x == y ? 4 : 0);
        case 11: return x < 0 ? as_signed(0 - ux) : x;
        case 12: return (x & y) ^ ~(x | y);
        case 14:
            return static_cast<std::int32_t>(x) + static_cast<std::int64_t>(static_cast<std::uint32_t>(y));
        default: return 0;
    }
}

TEST(Buffers, IntegersOf64BitsCompute) {
    BELFRY_NEEDS(device().features().shaderInt64);
    Random random(6);
    std::vector<std::int64_t> a;
    std::vector<std::int64_t> b;
    const std::vector<std::int64_t> edges{0,
                                          1,
                                          -1,
                                          2,
                                          63,
                                          64,
                                          0x7fffffff,
                                          0x80000000,
                                          0xffffffff,
                                          0x100000000,
                                          std::numeric_limits<std::int64_t>::max(),
                                          std::numeric_limits<std::int64_t>::min(),
                                          -0x80000000LL};
    for (const std::int64_t x : edges)
        for (const std::int64_t y : edges) {
            a.push_back(x);
            b.push_back(y);
        }
    while (a.size() < 1024) {
        const auto wide = [&random] {
            const std::uint64_t value = std::uint64_t{random.word()} << 32 | random.word();
            return static_cast<std::int64_t>(value) >> (random.word() & 63);
        };
        a.push_back(wide());
        b.push_back(wide());
    }
    const VulkanBuffer left = buffer_of(a);
    const VulkanBuffer right = buffer_of(b);
    const VulkanBuffer result = zeros<std::int64_t>(a.size());
    for (std::uint32_t operation = 0; operation < 15; ++operation) {
        if (operation == 13) continue;  // a conversion to float: where it overflows back, all is allowed
        SCOPED_TRACE(operation);
        run("int64", {static_cast<std::uint32_t>(a.size() / 64)},
            {VulkanArgument::storage(left), VulkanArgument::storage(right), VulkanArgument::storage(result)},
            {}, {operation});
        std::vector<std::int64_t> expected(a.size());
        for (std::size_t i = 0; i < a.size(); ++i) expected[i] = operation64(operation, a[i], b[i]);
        expect_equal(values_of<std::int64_t>(result), expected);
    }
}

TEST(Buffers, PointersAreFollowed) {
    BELFRY_NEEDS(device().has_addresses());
    // Each node is its next one's address, and two words.
    constexpr std::uint32_t kNodes = 64;
    const VulkanBuffer nodes = zeros<std::uint64_t>(kNodes * 2);
    const VulkanBuffer result = zeros<std::uint32_t>(64);
    const VkDeviceAddress start = device().address_of(nodes);
    const auto words = nodes.as<std::uint64_t>();
    for (std::uint64_t i = 0; i < kNodes; ++i) {
        words[i * 2] = start + (i * 37 + 11) % kNodes * 16;
        words[i * 2 + 1] = i * i;
    }
    run("pointers", {1}, {VulkanArgument::storage(result)},
        {static_cast<std::uint32_t>(start), static_cast<std::uint32_t>(start >> 32)});
    std::vector<std::uint32_t> expected;
    for (std::uint32_t i = 0; i < 64; ++i) {
        std::uint32_t sum = 0;
        for (std::uint32_t n = 0, at = i; n <= i; ++n, at = (at * 37 + 11) % kNodes) sum += at * at;
        expected.push_back(sum);
    }
    expect_equal(values_of<std::uint32_t>(result), expected);
    for (std::uint32_t i = 0; i < kNodes; ++i)
        ASSERT_EQ(words[i * 2 + 1] >> 32, i + 1) << "stored in node " << i;
}

TEST(Buffers, AccessOutsideOfThemTouchesNothing) {
    VulkanDevice robust({.robust_access = true});
    constexpr std::uint32_t kWords = 64;
    const VulkanBuffer all = robust.make_buffer(4096);
    const VulkanBuffer constants = robust.make_buffer(4096);
    const VulkanBuffer result = robust.make_buffer(kWords * 4);
    std::ranges::fill(all.as<std::uint32_t>(), 5);
    std::ranges::fill(constants.as<std::uint32_t>(), 100);
    // Of 1024 words the shader is given 64 to read and 64 to write.
    const VulkanKernel kernel =
        robust.make_kernel(shader("robust"),
                           {VulkanArgument::storage(all, 1024, 256), VulkanArgument::storage(all, 2048, 256),
                            VulkanArgument::uniform(constants, 0, 512), VulkanArgument::storage(result)},
                           {.push_bytes = 4});
    VulkanCommands commands(robust);
    commands.bind(kernel).push(kernel, 9U).dispatch(1).barrier();
    commands.push(kernel, 0x3fff'fff0U).dispatch(1).barrier();
    robust.run(commands);

    for (std::uint32_t i = 0; i < 1024; ++i) {
        const bool given = i >= 512 && i < 576;
        const std::uint32_t word = all.as<std::uint32_t>()[i];
        if (!given) {
            ASSERT_EQ(word, 5U) << "at " << i << ", which is not the shader's";
        } else if ((i - 512) % 9 == 0) {
            ASSERT_EQ(word, 7U) << i;
        } else if ((i - 512) % 9 != 8) {
            ASSERT_EQ(word, 5U) << i;
        }
    }
}

TEST(Buffers, CopiesAndFillsAreOfTheBytesThatWereSaid) {
    const auto words = Random(7).words(4096);
    const VulkanBuffer from = buffer_of(words);
    const VulkanBuffer to = zeros<std::uint32_t>(4096);
    const auto& vk = device().functions();
    VulkanCommands commands(device());
    const VkBufferCopy regions[] = {
        {0, 4, 1}, {3, 9, 2}, {16, 64, 64}, {1001, 1003, 777}, {4096, 8192, 4096}};
    vk.CmdCopyBuffer(commands.get(), from.handle.get(), to.handle.get(), std::size(regions), regions);
    vk.CmdFillBuffer(commands.get(), to.handle.get(), 12'288, 1020, 0xabcdef01);
    vk.CmdFillBuffer(commands.get(), to.handle.get(), 16'380, VK_WHOLE_SIZE, 0x12345678);
    vk.CmdUpdateBuffer(commands.get(), to.handle.get(), 14'000, 256, &words[100]);
    commands.barrier();
    device().run(commands);

    std::vector<std::byte> expected(16'384);
    const auto bytes = std::as_bytes(std::span(words));
    for (const VkBufferCopy& region : regions)
        std::memcpy(&expected[region.dstOffset], &bytes[region.srcOffset], region.size);
    for (std::size_t at = 12'288; at < 12'288 + 1020; at += 4) {
        constexpr std::uint32_t kFilled = 0xabcdef01;
        std::memcpy(&expected[at], &kFilled, 4);
    }
    constexpr std::uint32_t kLast = 0x12345678;
    std::memcpy(&expected[16'380], &kLast, 4);
    std::memcpy(&expected[14'000], &words[100], 256);
    const auto got = values_of<std::byte>(to);
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], expected[i]) << "byte " << i;
}

}  // namespace
}  // namespace belfry::vulkan_test
