#include "cli/shader_work.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "cli/shaders.hpp"

namespace belfry::cli {
namespace {

constexpr std::uint32_t kAluInvocations = 16'384;
constexpr std::uint32_t kAluRounds = 128;
constexpr double kFloatOperationsPerRound = 32;
constexpr double kIntegerOperationsPerRound = 16;
constexpr std::uint32_t kMatrixSize = 256;
constexpr std::uint32_t kReducedWords = 1U << 22;
constexpr std::uint32_t kCopiedBytes = 16U << 20;
constexpr std::uint32_t kHistogramWords = 1U << 20;
constexpr std::uint32_t kWordsPerInvocation = 64;
constexpr std::uint32_t kPictureSize = 512;
constexpr std::uint32_t kSamplesPerInvocation = 4;

/// Words that look random, and are the same everywhere.
void fill(std::span<std::uint32_t> words) {
    std::uint32_t word = 0;
    for (std::uint32_t& each : words) each = (word = word * 1'664'525 + 1'013'904'223);
}

struct Groups {
    std::uint32_t x;
    std::uint32_t y = 1;
};

/// One dispatch; `push` is its push constant, if it has one.
PreparedWork one_dispatch(VulkanDevice& device, std::string_view name, std::vector<VulkanBuffer> buffers,
                          Groups groups, std::optional<std::uint32_t> push) {
    PreparedWork work;
    std::vector<VulkanArgument> arguments;
    for (const VulkanBuffer& buffer : buffers) arguments.push_back(VulkanArgument::storage(buffer));
    work.buffers = std::move(buffers);
    work.kernel = device.make_kernel(shader(name), arguments, {.push_bytes = push ? 4U : 0U});
    work.commands.emplace(device);
    work.commands->bind(work.kernel);
    if (push) work.commands->push(work.kernel, *push);
    work.commands->dispatch(groups.x, groups.y).barrier();
    return work;
}

std::vector<VulkanBuffer> make_buffers(const VulkanDevice& device,
                                       std::initializer_list<std::uint32_t> bytes) {
    std::vector<VulkanBuffer> buffers;
    for (const std::uint32_t each : bytes) {
        buffers.push_back(device.make_buffer(each));
        fill(buffers.back().as<std::uint32_t>());
    }
    std::ranges::fill(buffers.front().bytes, std::byte{0});
    return buffers;
}

PreparedWork floats(VulkanDevice& device) {
    return one_dispatch(device, "alu_float", make_buffers(device, {kAluInvocations * 16}),
                        {.x = kAluInvocations / 64}, kAluRounds);
}

PreparedWork integers(VulkanDevice& device) {
    return one_dispatch(device, "alu_int", make_buffers(device, {kAluInvocations * 4}),
                        {.x = kAluInvocations / 64}, kAluRounds);
}

/// Of small whole numbers, so that no order of additions rounds.
PreparedWork product(VulkanDevice& device) {
    constexpr std::uint32_t kBytes = kMatrixSize * kMatrixSize * 4;
    auto buffers = make_buffers(device, {kBytes, kBytes, kBytes});
    for (const VulkanBuffer& matrix : {std::cref(buffers[1]), std::cref(buffers[2])})
        for (std::uint32_t& word : matrix.as<std::uint32_t>()) {
            const float value = static_cast<float>(word >> 28) - 8;
            std::memcpy(&word, &value, sizeof value);
        }
    return one_dispatch(device, "matmul", std::move(buffers), {kMatrixSize / 16, kMatrixSize / 16},
                        kMatrixSize);
}

PreparedWork reduction(VulkanDevice& device) {
    return one_dispatch(device, "reduction", make_buffers(device, {4, kReducedWords * 4}),
                        {.x = kReducedWords / (256 * kWordsPerInvocation)}, kWordsPerInvocation);
}

PreparedWork copy(VulkanDevice& device) {
    return one_dispatch(device, "copy", make_buffers(device, {kCopiedBytes, kCopiedBytes}),
                        {.x = kCopiedBytes / (64 * 16)}, {});
}

PreparedWork histogram(VulkanDevice& device) {
    return one_dispatch(device, "histogram", make_buffers(device, {256 * 4, kHistogramWords * 4}),
                        {.x = kHistogramWords / (256 * kWordsPerInvocation)}, kWordsPerInvocation);
}

PreparedWork sampling(VulkanDevice& device) {
    PreparedWork work;
    work.buffers = make_buffers(device, {kPictureSize * kPictureSize * 16, kPictureSize * kPictureSize * 4});
    work.image.emplace(device.make_image({.format = VK_FORMAT_R8G8B8A8_UNORM,
                                          .extent = {kPictureSize, kPictureSize, 1},
                                          .usage = VK_IMAGE_USAGE_SAMPLED_BIT}));
    const VkBufferImageCopy all{
        .imageSubresource = {.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT, .layerCount = 1},
        .imageExtent = {kPictureSize, kPictureSize, 1}};
    VulkanCommands upload(device);
    upload.make_usable(*work.image).copy(work.buffers[1], *work.image, {&all, 1}).barrier();
    device.run(upload);
    work.sampler = device.make_sampler({.magFilter = VK_FILTER_LINEAR, .minFilter = VK_FILTER_LINEAR});
    work.kernel = device.make_kernel(
        shader("sampling"),
        {VulkanArgument::storage(work.buffers[0]), VulkanArgument::sampled(*work.image, work.sampler)});
    work.commands.emplace(device);
    work.commands->bind(work.kernel).dispatch(kPictureSize / 16, kPictureSize / 16).barrier();
    return work;
}

PreparedWork job(VulkanDevice& device) {
    return one_dispatch(device, "job", make_buffers(device, {64 * 4}), {.x = 1}, {});
}

constexpr ShaderWork kWorks[] = {
    {.name = "float",
     .label = "ALU loop, multiply and add",
     .unit = "GFLOP/s",
     .units_per_run = kFloatOperationsPerRound * kAluRounds * kAluInvocations / 1e9,
     .tolerance = 1e-5F,
     .prepare = floats},
    {.name = "integer",
     .label = "ALU loop, shift, xor, multiply, add",
     .unit = "Gop/s",
     .units_per_run = kIntegerOperationsPerRound * kAluRounds * kAluInvocations / 1e9,
     .tolerance = 0,
     .prepare = integers},
    {.name = "matrix",
     .label = "matrix multiply, tiles in shared memory",
     .unit = "GFLOP/s",
     .units_per_run = 2.0 * kMatrixSize * kMatrixSize * kMatrixSize / 1e9,
     .tolerance = 0,
     .prepare = product},
    {.name = "reduction",
     .label = "reduction with subgroups",
     .unit = "GB/s",
     .units_per_run = kReducedWords * 4.0 / 1e9,
     .tolerance = 0,
     .prepare = reduction},
    {.name = "copy",
     .label = "memory copy",
     .unit = "GB/s",
     .units_per_run = kCopiedBytes / 1e9,
     .tolerance = 0,
     .prepare = copy},
    {.name = "histogram",
     .label = "histogram, atomics in shared memory",
     .unit = "MB/s",
     .units_per_run = kHistogramWords * 4.0 / 1e6,
     .tolerance = 0,
     .prepare = histogram},
    {.name = "sampling",
     .label = "bilinear samples of an image",
     .unit = "Mtexel/s",
     .units_per_run = double{kSamplesPerInvocation} * kPictureSize * kPictureSize / 1e6,
     .tolerance = 1.0F / 128,
     .prepare = sampling},
    {.name = "job",
     .label = "one workgroup, and a wait for it",
     .unit = "jobs/s",
     .units_per_run = 1,
     .tolerance = 0,
     .prepare = job},
};

}  // namespace

std::span<const ShaderWork> shader_works() { return kWorks; }

const char* difference(const ShaderWork& work, std::span<const std::byte> result,
                       std::span<const std::byte> other) {
    if (result.size() != other.size()) return "it has another size";
    if (work.tolerance == 0) return std::ranges::equal(result, other) ? nullptr : "words differ";
    for (std::size_t at = 0; at + sizeof(float) <= result.size(); at += sizeof(float)) {
        float ours = 0;
        float theirs = 0;
        std::memcpy(&ours, &result[at], sizeof ours);
        std::memcpy(&theirs, &other[at], sizeof theirs);
        // Not the other way round: what is no number is wrong.
        if (!(std::abs(ours - theirs) <= work.tolerance)) return "floats differ by more than rounding";
    }
    return nullptr;
}

}  // namespace belfry::cli
