// Workgroups: who is who in them, shared memory, barriers, atomics; and dispatches one after the other.

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
#include <ostream>

#include "vulkan/rig.hpp"

namespace belfry::vulkan_test {
namespace {

struct Ids {
    std::array<std::array<std::uint32_t, 4>, 4> of;
    bool operator==(const Ids&) const = default;
    friend std::ostream& operator<<(std::ostream& out, const Ids& ids) {
        for (const auto& four : ids.of) out << testing::PrintToString(four) << ' ';
        return out;
    }
};

TEST(Workgroups, EveryInvocationKnowsItsPlace) {
    struct Shape {
        std::array<std::uint32_t, 3> size;
        Groups groups;
    };
    for (const Shape& shape :
         {Shape{{1, 1, 1}, {3, 2, 2}}, Shape{{7, 3, 5}, {2, 3, 4}}, Shape{{16, 1, 1}, {5, 1, 1}},
          Shape{{1, 17, 1}, {1, 2, 1}}, Shape{{1, 1, 33}, {1, 1, 2}}, Shape{{32, 32, 1}, {2, 1, 1}},
          Shape{{8, 8, 16}, {1, 2, 1}}}) {
        const auto [sx, sy, sz] = shape.size;
        SCOPED_TRACE(testing::Message() << sx << " x " << sy << " x " << sz);
        const std::uint32_t size = sx * sy * sz;
        const std::uint32_t groups = shape.groups.x * shape.groups.y * shape.groups.z;
        const VulkanBuffer result = zeros<Ids>(std::size_t{size} * groups);
        run("ids", shape.groups, {VulkanArgument::storage(result)}, {}, {sx, sy, sz});
        std::vector<Ids> expected;
        for (std::uint32_t group = 0; group < groups; ++group)
            for (std::uint32_t i = 0; i < size; ++i) {
                const std::uint32_t gx = group % shape.groups.x;
                const std::uint32_t gy = group / shape.groups.x % shape.groups.y;
                const std::uint32_t gz = group / shape.groups.x / shape.groups.y;
                const std::uint32_t x = i % sx;
                const std::uint32_t y = i / sx % sy;
                const std::uint32_t z = i / sx / sy;
                expected.push_back({{{{gx, gy, gz, group},
                                      {x, y, z, i},
                                      {gx * sx + x, gy * sy + y, gz * sz + z, size},
                                      {shape.groups.x, shape.groups.y, shape.groups.z, 1}}}});
            }
        expect_equal(values_of<Ids>(result), expected);
    }
}

TEST(Workgroups, ManyGroupsInEachDirectionAllRun) {
    for (const Groups groups :
         {Groups{65'535, 1, 1}, Groups{1, 4099, 3}, Groups{1, 1, 65'535}, Groups{37, 41, 43}}) {
        const VulkanBuffer result = zeros<std::uint32_t>(5);
        run("count", groups, {VulkanArgument::storage(result)}, {}, {1});
        const std::uint32_t all = groups.x * groups.y * groups.z;
        expect_equal(values_of<std::uint32_t>(result),
                     {all, groups.x - 1, groups.y - 1, groups.z - 1,
                      all * (groups.x + 1000 * groups.y + 1'000'000 * groups.z)});
    }
}

TEST(Workgroups, ADispatchOfNoGroupRunsNothing) {
    const VulkanBuffer result = zeros<std::uint32_t>(5);
    for (const Groups groups : {Groups{0, 1, 1}, Groups{1, 0, 1}, Groups{1, 1, 0}})
        run("count", groups, {VulkanArgument::storage(result)}, {}, {64});
    expect_equal(values_of<std::uint32_t>(result), {0, 0, 0, 0, 0});
}

TEST(Workgroups, SizesOfADispatchComeFromMemory) {
    const VulkanBuffer result = zeros<std::uint32_t>(5);
    const VulkanBuffer sizes = buffer_of<std::uint32_t>({77, 77, 5, 3, 2, 0, 9, 9});
    const VulkanKernel kernel =
        device().make_kernel(shader("count"), {VulkanArgument::storage(result)}, {.constants = {64}});
    VulkanCommands commands(device());
    commands.bind(kernel);
    device().functions().CmdDispatchIndirect(commands.get(), sizes.handle.get(), 8);
    commands.barrier();
    device().functions().CmdDispatchIndirect(commands.get(), sizes.handle.get(), 20);  // of no group
    commands.barrier();
    device().run(commands);
    expect_equal(values_of<std::uint32_t>(result), {30 * 64, 5 * 64 - 1, 2, 1, 30 * 64 * 2'003'005U});
}

TEST(Workgroups, SizesThatAShaderWroteAreRead) {
    const VulkanBuffer sizes = buffer_of(std::vector<std::uint32_t>(128, 2));
    const VulkanBuffer result = zeros<std::uint32_t>(5);
    const VulkanKernel first =
        device().make_kernel(shader("increment"), {VulkanArgument::storage(sizes)}, {.push_bytes = 4});
    const VulkanKernel second =
        device().make_kernel(shader("count"), {VulkanArgument::storage(result)}, {.constants = {1}});
    VulkanCommands commands(device());
    commands.bind(first).push(first, 1U).dispatch(1).barrier().bind(second);  // words 64 to 127 become 3
    device().functions().CmdDispatchIndirect(commands.get(), sizes.handle.get(), 400);
    commands.barrier();
    device().run(commands);
    EXPECT_EQ(result.as<std::uint32_t>()[0], 27U);
}

TEST(Workgroups, ABaseIsAddedToTheGroups) {
    const VulkanBuffer result = zeros<std::uint32_t>(5);
    const VulkanKernel kernel =
        device().make_kernel(shader("count"), {VulkanArgument::storage(result)},
                             {.constants = {8}, .flags = VK_PIPELINE_CREATE_DISPATCH_BASE_BIT});
    VulkanCommands commands(device());
    commands.bind(kernel);
    device().functions().CmdDispatchBase(commands.get(), 10, 20, 30, 2, 3, 4);
    commands.barrier();
    device().run(commands);
    expect_equal(values_of<std::uint32_t>(result), {24 * 8, 12 * 8 - 1, 22, 33, 24 * 8 * 4'003'002U});
}

TEST(Workgroups, DispatchesWithABarrierSeeEachOther) {
    constexpr std::uint32_t kDispatches = 1000;
    constexpr std::uint32_t kCount = 256;
    std::vector<std::uint32_t> start(2 * kCount);
    std::iota(start.begin(), start.begin() + kCount, 0);
    const VulkanBuffer words = buffer_of(start);
    const VulkanKernel kernel =
        device().make_kernel(shader("increment"), {VulkanArgument::storage(words)}, {.push_bytes = 4});
    VulkanCommands commands(device());
    commands.bind(kernel);
    for (std::uint32_t i = 0; i < kDispatches; ++i)
        commands.push(kernel, (i + 1) % 2).dispatch(kCount / 64).barrier();
    device().run(commands);
    std::vector<std::uint32_t> expected(kCount);
    for (std::uint32_t i = 0; i < kCount; ++i) expected[i] = (i + kDispatches) % kCount + kDispatches;
    auto got = values_of<std::uint32_t>(words);
    got.resize(kCount);
    expect_equal(got, expected);
}

TEST(Workgroups, CommandsRunAsOftenAsTheyAreSubmitted) {
    const VulkanBuffer result = zeros<std::uint32_t>(5);
    const VulkanKernel kernel =
        device().make_kernel(shader("count"), {VulkanArgument::storage(result)}, {.constants = {64}});
    VulkanCommands commands(device());
    commands.bind(kernel).dispatch(2).barrier();
    device().finish(commands);
    for (unsigned i = 1; i <= 50; ++i) {
        ASSERT_EQ(device().submit_and_wait(&commands), VK_SUCCESS);
        ASSERT_EQ(result.as<std::uint32_t>()[0], i * 128);
    }
}

TEST(Workgroups, PrefixSumsByBarriersAreRight) {
    for (const std::uint32_t size : {1U, 2U, 16U, 24U, 100U, 256U, 1024U}) {
        SCOPED_TRACE(size);
        auto words = Random(size).words(std::size_t{size} * 5);
        const VulkanBuffer buffer = buffer_of(words);
        run("shared_scan", {5}, {VulkanArgument::storage(buffer)}, {}, {size});
        for (std::size_t group = 0; group < 5; ++group) {
            const auto first = words.begin() + static_cast<std::ptrdiff_t>(group * size);
            std::partial_sum(first, first + size, first);
        }
        expect_equal(values_of<std::uint32_t>(buffer), words);
    }
}

TEST(Workgroups, AllOfSharedMemoryIsTheGroupsOwn) {
    constexpr std::uint32_t kGroups = 40;
    const VulkanBuffer result = zeros<std::uint32_t>(128 * kGroups);
    run("shared_all", {kGroups}, {VulkanArgument::storage(result)});
    std::vector<std::uint32_t> expected;
    for (std::uint32_t group = 0; group < kGroups; ++group)
        for (std::uint32_t i = 0; i < 128; ++i) {
            std::uint32_t sum = 0;
            for (std::uint32_t n = 0; n < 64; ++n) {
                const std::uint32_t at = 8191 - (i * 64 + n);
                sum += (at * at + group) * (n + 1);
            }
            expected.push_back(sum);
        }
    expect_equal(values_of<std::uint32_t>(result), expected);
}

TEST(Workgroups, ShortsAndVectorsLieBesideEachOtherInSharedMemory) {
    BELFRY_NEEDS(device().features().shaderInt16 && device().storage16().storageBuffer16BitAccess);
    const VulkanBuffer result = zeros<std::array<std::uint32_t, 4>>(256);
    run("shared_small", {1}, {VulkanArgument::storage(result)});
    for (std::uint32_t i = 0; i < 256; ++i) {
        const std::uint32_t x = i % 16;
        const std::uint32_t y = i / 16;
        const std::array<std::uint32_t, 4> expected{y, x, x * y, (255 - i) * 257};
        const auto& got = result.as<std::array<std::uint32_t, 4>>()[i];
        ASSERT_EQ(got, expected) << i;
    }
}

TEST(Workgroups, AtomicsLoseNothing) {
    constexpr std::uint32_t kGroups = 32;
    constexpr std::uint32_t kCount = kGroups * 128;
    std::vector<std::uint32_t> start(32);
    start[3] = start[5] = ~0U;
    const VulkanBuffer words = buffer_of(start);
    const VulkanBuffer tickets = zeros<std::uint32_t>(kCount);
    const VulkanBuffer of_groups = zeros<std::uint32_t>(kGroups * 16);
    run("atomics", {kGroups},
        {VulkanArgument::storage(words), VulkanArgument::storage(tickets),
         VulkanArgument::storage(of_groups)});

    struct Expected {
        std::uint32_t count = 0, sum = 0, greatest = 0, least = ~0U, all = 0, parity = 0, ids = 0;
        std::int32_t signed_greatest = 0, signed_least = 0;
        void add(std::uint32_t i) {
            const std::uint32_t hash = i * 2'654'435'761U;
            ++count;
            sum += hash;
            greatest = std::max(greatest, hash);
            least = std::min(least, hash);
            all |= 1U << (i & 31);
            parity ^= hash;
            ids += i + 1;
            signed_greatest = std::max(signed_greatest, static_cast<std::int32_t>(hash));
            signed_least = std::min(signed_least, static_cast<std::int32_t>(hash));
        }
    };
    Expected of_all;
    for (std::uint32_t i = 0; i < kCount; ++i) of_all.add(i);
    const auto got = words.as<std::uint32_t>();
    EXPECT_EQ(got[0], kCount) << "add";
    EXPECT_EQ(got[1], of_all.sum) << "add";
    EXPECT_EQ(got[2], of_all.greatest) << "max";
    EXPECT_EQ(got[3], of_all.least) << "min";
    EXPECT_EQ(got[4], of_all.all) << "or";
    EXPECT_EQ(got[5], 0x80000000) << "and";
    EXPECT_EQ(got[6], of_all.parity) << "xor";
    EXPECT_EQ(std::bit_cast<float>(got[7]), static_cast<float>(kCount)) << "compare and swap";
    EXPECT_EQ(got[8] + got[9], of_all.ids) << "exchange";
    EXPECT_EQ(static_cast<std::int32_t>(got[16]), of_all.signed_greatest) << "signed max";
    EXPECT_EQ(static_cast<std::int32_t>(got[17]), of_all.signed_least) << "signed min";

    auto drawn = values_of<std::uint32_t>(tickets);
    std::ranges::sort(drawn);
    for (std::uint32_t i = 0; i < kCount; ++i) ASSERT_EQ(drawn[i], i) << "two have one ticket";

    for (std::uint32_t group = 0; group < kGroups; ++group) {
        SCOPED_TRACE(testing::Message() << "shared memory of group " << group);
        Expected of_group;
        for (std::uint32_t i = 0; i < 128; ++i) of_group.add(group * 128 + i);
        const auto shared = of_groups.as<std::uint32_t>().subspan(group * 16, 16);
        EXPECT_EQ(shared[0], 128U);
        EXPECT_EQ(shared[1], of_group.sum);
        EXPECT_EQ(shared[2], of_group.greatest);
        EXPECT_EQ(shared[3], of_group.least);
        EXPECT_EQ(shared[4], of_group.all);
        EXPECT_EQ(shared[6], of_group.parity);
        EXPECT_EQ(shared[8] + shared[9], of_group.ids);
        EXPECT_TRUE(shared[10] >= 1 && shared[10] <= 128) << shared[10];
        EXPECT_EQ(static_cast<std::int32_t>(shared[11]), of_group.signed_greatest);
        EXPECT_EQ(static_cast<std::int32_t>(shared[12]), of_group.signed_least);
    }
}

}  // namespace
}  // namespace belfry::vulkan_test
