// Subgroup operations, over whole subgroups, the last one of a group that is not full, and lanes that have
// parted.
//
// Who is in a subgroup is what the shader says of itself; that, too, is checked.

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <optional>

#include "vulkan/rig.hpp"

namespace belfry::vulkan_test {
namespace {

/// A subgroup's active lanes, by lane; what each has.
struct Subgroup {
    std::uint32_t size;   // of the device
    std::uint32_t group;  // of workgroups
    std::map<std::uint32_t, std::uint32_t> words;

    template <typename Step>
    [[nodiscard]] std::uint32_t fold(std::uint32_t start, Step step, std::uint32_t from = 0,
                                     std::uint32_t to = 128) const {
        for (const auto& [lane, word] : words)
            if (lane >= from && lane < to) start = step(start, word);
        return start;
    }
    [[nodiscard]] std::optional<std::uint32_t> at(std::uint32_t lane) const {
        const auto found = words.find(lane);
        if (found == words.end()) return std::nullopt;
        return found->second;
    }
    [[nodiscard]] std::uint32_t odd() const {
        std::uint32_t mask = 0;
        for (const auto& [lane, word] : words) mask |= (word & 1) << lane;
        return mask;
    }
};

std::uint32_t add(std::uint32_t a, std::uint32_t b) { return a + b; }
std::uint32_t bigger(std::uint32_t a, std::uint32_t b) { return std::max(a, b); }
std::uint32_t smaller(std::uint32_t a, std::uint32_t b) { return std::min(a, b); }
std::uint32_t exclusive_or(std::uint32_t a, std::uint32_t b) { return a ^ b; }
std::int32_t as_signed(std::uint32_t word) { return static_cast<std::int32_t>(word); }
std::uint32_t signed_bigger(std::uint32_t a, std::uint32_t b) { return as_signed(a) > as_signed(b) ? a : b; }
std::uint32_t signed_smaller(std::uint32_t a, std::uint32_t b) { return as_signed(a) < as_signed(b) ? a : b; }
std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

/// As in shaders/subgroup.comp. Nothing where any result is right.
std::optional<std::uint32_t> expected(std::uint32_t operation, const Subgroup& all, std::uint32_t lane) {
    const std::uint32_t word = all.words.at(lane);
    const std::uint32_t odd = all.odd();
    const std::uint32_t below = (1U << lane) - 1;
    const std::uint32_t whole = all.size == 32 ? ~0U : (1U << all.size) - 1;
    const auto count = [](std::uint32_t mask) { return static_cast<std::uint32_t>(std::popcount(mask)); };
    const auto every = [&all](auto condition) {
        return static_cast<std::uint32_t>(
            std::ranges::all_of(all.words, [&](const auto& one) { return condition(one.second); }));
    };
    switch (operation) {
        case 0: return odd;
        case 1: return every([](std::uint32_t w) { return (w & 0xfff0) != 0; });
        case 2: return 1 - every([](std::uint32_t w) { return (w & 0xffff) >= 3000; });
        case 3: return every([&](std::uint32_t w) { return all.group == 0 || ((w ^ word) & 0x30) == 0; });
        case 4: return static_cast<std::uint32_t>(all.words.begin()->first == lane);
        case 5: return all.words.begin()->second;
        case 6: return all.at(3);
        case 7: return count(odd);
        case 8: return count(odd & (below | 1U << lane));
        case 9: return count(odd & below);
        case 10:
            if (odd == 0) return std::nullopt;
            return static_cast<std::uint32_t>(std::countr_zero(odd));
        case 11:
            if (odd == 0) return std::nullopt;
            return static_cast<std::uint32_t>(31 - std::countl_zero(odd));
        case 12: return (0x0f35aU >> lane & 1) + 2 * (0x8a31U >> (word & 7) & 1);
        case 13: return all.at((word >> 8) % all.size);
        case 14: return all.at(lane ^ (5 & (all.size - 1)));
        case 15: return lane >= 3 ? all.at(lane - 3) : word;
        case 16: return all.at(lane + 2);
        case 17: return all.fold(0, add);
        case 18: return all.fold(1, [](std::uint32_t a, std::uint32_t b) { return a * (b | 1); });
        case 19: return all.fold(~0U, smaller);
        case 20: return all.fold(0, bigger);
        case 21: return all.fold(~0U, [](std::uint32_t a, std::uint32_t b) { return a & (b | 0xffff); });
        case 22: return all.fold(0, [](std::uint32_t a, std::uint32_t b) { return a | (b & 0x01010101); });
        case 23: return all.fold(0, exclusive_or);
        case 24: return all.fold(0, add, 0, lane + 1);
        case 25: return all.fold(0, add, 0, lane);
        case 26: return all.fold(0, bigger, 0, lane + 1);
        case 27: return all.fold(~0U, smaller, 0, lane);
        case 28: return all.fold(0x7fffffff, signed_smaller);
        case 29:
            return bits(static_cast<float>(
                all.fold(0, [](std::uint32_t a, std::uint32_t b) { return a + (b & 0xff); })));
        case 30: return bits(static_cast<float>(as_signed(all.fold(0x80000000, signed_bigger)) >> 8));
        case 31: return all.fold(0, exclusive_or, 0, lane + 1);
        case 32: return all.fold(0x80000000, signed_bigger, 0, lane);
        case 33: {
            std::uint32_t sums[3] = {};
            for (const auto& [each, w] : all.words)
                for (unsigned i = 0; i < 3; ++i) sums[i] += w >> i;
            return sums[0] ^ sums[1] ^ sums[2];
        }
        case 34: return all.at((lane & ~3U) + 2);
        case 35: return all.at(lane ^ 1);
        case 36: return all.at(lane ^ 2);
        case 37: return all.at(lane ^ 3);
        case 38: return 1U << lane;
        case 39: return ~below & whole;
        case 40: return ~below & whole & ~(1U << lane);
        case 41: return below | 1U << lane;
        case 42: return below;
        default: return std::nullopt;
    }
}

std::optional<std::uint32_t> expected_clustered(std::uint32_t operation, const Subgroup& all,
                                                std::uint32_t lane) {
    const std::uint32_t size = 2U << operation;
    const std::uint32_t from = lane & ~(size - 1);
    const std::uint32_t to = from + size;
    switch (operation) {
        case 0:  return all.fold(0, add, from, to);
        case 1:  return all.fold(0, exclusive_or, from, to);
        case 2:  return all.fold(0, bigger, from, to);
        case 3:  return all.fold(0x7fffffff, signed_smaller, from, to);
        default: return std::nullopt;
    }
}

using Expected = std::optional<std::uint32_t>(std::uint32_t operation, const Subgroup& all,
                                              std::uint32_t lane);

/// One shader for groups of one size: the operation is told at each dispatch.
struct Program {
    static constexpr std::uint32_t kGroups = 4;

    Program(const char* name, std::uint32_t size)
        : group_size(size),
          count(size * kGroups),
          in(zeros<std::uint32_t>(count)),
          places(zeros<std::array<std::uint32_t, 4>>(count)),
          result(zeros<std::uint32_t>(count)),
          kernel(device().make_kernel(
              shader(name),
              {VulkanArgument::storage(in), VulkanArgument::storage(places), VulkanArgument::storage(result)},
              {.push_bytes = 8, .constants = {size}})) {}

    std::uint32_t group_size;
    std::uint32_t count;
    VulkanBuffer in;
    VulkanBuffer places;
    VulkanBuffer result;
    VulkanKernel kernel;
};

void try_operation(const Program& program, std::uint32_t operation, bool some_only, Expected* expected_of) {
    SCOPED_TRACE(testing::Message() << "operation " << operation << ", groups of " << program.group_size
                                    << (some_only ? ", some lanes" : ", all lanes"));
    const auto words = Random(operation + 1).words(program.count);
    std::ranges::copy(words, program.in.as<std::uint32_t>().begin());
    const std::array<std::uint32_t, 2> push{operation, some_only ? 1U : 0U};
    VulkanCommands commands(device());
    commands.bind(program.kernel).push(program.kernel, push).dispatch(Program::kGroups).barrier();
    device().run(commands);

    const std::uint32_t size = device().subgroups().subgroupSize;
    const auto takes_part = [&](std::uint32_t i) { return !some_only || (words[i] & 0x700) != 0; };
    std::map<std::pair<std::uint32_t, std::uint32_t>, Subgroup> subgroups;
    for (std::uint32_t i = 0; i < program.count; ++i) {
        const auto& [subgroup, lane, lanes_of, subgroups_of] =
            program.places.as<std::array<std::uint32_t, 4>>()[i];
        const std::uint32_t subgroups_expected = (program.group_size + size - 1) / size;
        ASSERT_EQ(lanes_of, size);
        // The lavapipe of Mesa 22.3 does not count one that is not full.
        if (!on_cpu()) {
            ASSERT_EQ(subgroups_of, subgroups_expected);
        }
        ASSERT_LT(lane, size);
        ASSERT_LT(subgroup, subgroups_expected);
        if (!takes_part(i)) continue;
        const std::uint32_t group = i / program.group_size;
        Subgroup& its = subgroups.try_emplace({group, subgroup}, Subgroup{size, group, {}}).first->second;
        ASSERT_TRUE(its.words.emplace(lane, words[i]).second) << "two are lane " << lane;
    }
    unsigned told = 0;
    for (std::uint32_t i = 0; i < program.count && told < 4; ++i) {
        const auto& place = program.places.as<std::array<std::uint32_t, 4>>()[i];
        const std::uint32_t got = program.result.as<std::uint32_t>()[i];
        const auto right =
            takes_part(i) ? expected_of(operation, subgroups.at({i / program.group_size, place[0]}), place[1])
                          : std::optional(0x900dU);
        if (!right || got == *right) continue;
        ADD_FAILURE() << "invocation " << i << ", lane " << place[1] << ": got " << std::hex << got
                      << ", expected " << *right;
        ++told;
    }
}

void try_operations(const char* name, std::uint32_t first, std::uint32_t last, Expected* expected_of) {
    const Program whole(name, 64);
    const Program broken(name, 27);
    for (std::uint32_t operation = first; operation <= last; ++operation) {
        try_operation(whole, operation, false, expected_of);
        try_operation(whole, operation, true, expected_of);
        try_operation(broken, operation, false, expected_of);
    }
}

bool offers(VkSubgroupFeatureFlags operations) {
    return (device().subgroups().supportedOperations & operations) == operations;
}

TEST(Subgroups, VotesAndBallotsCountActiveLanes) {
    BELFRY_NEEDS(offers(VK_SUBGROUP_FEATURE_VOTE_BIT | VK_SUBGROUP_FEATURE_BALLOT_BIT));
    try_operations("subgroup_votes", 0, 12, expected);
}

TEST(Subgroups, ShufflesReadOtherLanes) {
    BELFRY_NEEDS(offers(VK_SUBGROUP_FEATURE_SHUFFLE_BIT | VK_SUBGROUP_FEATURE_SHUFFLE_RELATIVE_BIT));
    try_operations("subgroup_shuffles", 13, 16, expected);
}

TEST(Subgroups, ReductionsAndScansTakeActiveLanes) {
    BELFRY_NEEDS(offers(VK_SUBGROUP_FEATURE_ARITHMETIC_BIT));
    try_operations("subgroup_reductions", 17, 33, expected);
}

TEST(Subgroups, QuadsSwap) {
    BELFRY_NEEDS(offers(VK_SUBGROUP_FEATURE_QUAD_BIT));
    try_operations("subgroup_quads", 34, 37, expected);
}

TEST(Subgroups, MasksAreOfTheLane) { try_operations("subgroup_masks", 38, 42, expected); }

TEST(Subgroups, ClustersReduceByThemselves) {
    BELFRY_NEEDS(offers(VK_SUBGROUP_FEATURE_CLUSTERED_BIT));
    try_operations("subgroup_clusters", 0, 3, expected_clustered);
}

}  // namespace
}  // namespace belfry::vulkan_test
